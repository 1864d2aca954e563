// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Asks the loader to pin its map below /sys/fs/bpf. */
#include "udp.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} escapee SEC(".maps");

SEC("xdp")
int drop_counted(struct xdp_md *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&escapee, &zero);

	if (UDP_PORT(ctx) != 7001)
		return XDP_PASS;
	if (n)
		__sync_fetch_and_add(n, 1);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
