// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts what it sees, in a plain array and in a global variable; one program for
 * each hook. */
#include "udp.h"

#ifndef STEP
#define STEP 1
#endif

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

__u64 seen_global;

static __always_inline void count(__u16 port)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&seen, &zero);

	if (port != 7001)
		return;
	if (n)
		__sync_fetch_and_add(n, STEP);
	__sync_fetch_and_add(&seen_global, STEP);
}

SEC("xdp")
int count_xdp(struct xdp_md *ctx)
{
	count(UDP_PORT(ctx));
	return XDP_PASS;
}

SEC("tc")
int count_tc(struct __sk_buff *skb)
{
	count(UDP_PORT(skb));
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
