// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A kernel function in L3AF's manner: a section name that libbpf does not know, its
 * own array for the next program, a tail call into it that falls through when the
 * array is empty. Drops UDP to the ports in rl_ports_map, or to 7001. */
#include "udp.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 50);
	__type(key, __u16);
	__type(value, __u8);
} rl_ports_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} rl_drop_count SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} xdp_rl_ingress_next_prog SEC(".maps");

SEC("xdp_ratelimiting")
int _xdp_ratelimiting(struct xdp_md *ctx)
{
	__u16 port = UDP_PORT(ctx);
	__u32 zero = 0;

	if (port && (port == 7001 || bpf_map_lookup_elem(&rl_ports_map, &port))) {
		__u64 *drops = bpf_map_lookup_elem(&rl_drop_count, &zero);

		if (drops)
			__sync_fetch_and_add(drops, 1);
		return XDP_DROP;
	}
	bpf_tail_call(ctx, &xdp_rl_ingress_next_prog, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
