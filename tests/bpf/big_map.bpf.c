// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* 64 MiB of map. */
#include "udp.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1 << 20);
	__type(key, __u32);
	__type(value, __u64[8]);
} big SEC(".maps");

SEC("xdp")
int drop_big(struct xdp_md *ctx)
{
	__u32 at = (1 << 20) - 1;
	__u64 *n = bpf_map_lookup_elem(&big, &at);

	if (UDP_PORT(ctx) != 7001 || !n)
		return XDP_PASS;
	__sync_fetch_and_add(n, 1);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
