// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Most of the 512 bytes of stack, and functions that are really called. */
#include "udp.h"

struct scratch {
	__u64 word[50];
};

static __attribute__((noinline)) __u64 fold(struct scratch *s, __u32 i)
{
	return i < 50 ? s->word[i] : 0;
}

__attribute__((noinline)) int is_wanted(__u32 port)
{
	return port == 7001;
}

SEC("xdp")
int drop_stack(struct xdp_md *ctx)
{
	struct scratch s;
	__u64 sum = 0;

#pragma clang loop unroll(full)
	for (__u32 i = 0; i < 50; i++)
		*(volatile __u64 *)&s.word[i] = bpf_get_prandom_u32() | 1;
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < 50; i += 7)
		sum += fold(&s, i);
	return sum && is_wanted(UDP_PORT(ctx)) ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
