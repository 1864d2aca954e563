// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls its own programs through an array that the loader fills: first sets a mark
 * in the packet and hands on, step tests the mark and hands on, last drops. When any
 * call falls through the packet passes. */
#include "udp.h"

int step(struct xdp_md *ctx);
int last(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, int(void *));
} steps SEC(".maps") = {
	.values = { (void *)&step, (void *)&last },
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} trace SEC(".maps");

static __always_inline void leave_trace(__u32 where)
{
	__u64 *n = bpf_map_lookup_elem(&trace, &where);

	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("xdp")
int first(struct xdp_md *ctx)
{
	if (UDP_PORT(ctx) != 7001)
		return XDP_PASS;
	leave_trace(0);
	bpf_tail_call(ctx, &steps, 0);
	return XDP_PASS;
}

SEC("xdp")
int step(struct xdp_md *ctx)
{
	leave_trace(1);
	bpf_tail_call(ctx, &steps, 1);
	return XDP_PASS;
}

SEC("xdp")
int last(struct xdp_md *ctx)
{
	leave_trace(2);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
