// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps called like those of a chain's root, with other contents. */
#include "udp.h"

#define MAP(name)                             \
	struct {                              \
		__uint(type, BPF_MAP_TYPE_ARRAY); \
		__uint(max_entries, 1);       \
		__type(key, __u32);           \
		__type(value, __u64);         \
	} name SEC(".maps")

MAP(slots);
MAP(gen);
MAP(bank0);
MAP(bank1);
MAP(desc);
MAP(stat);
MAP(root);
MAP(link);

SEC("xdp")
int root_xdp(struct xdp_md *ctx)
{
	void *maps[] = { &slots, &gen, &bank0, &bank1, &desc, &stat, &root, &link };
	__u32 zero = 0;

	if (UDP_PORT(ctx) != 7001)
		return XDP_PASS;
#pragma clang loop unroll(full)
	for (int i = 0; i < 8; i++) {
		__u64 *n = bpf_map_lookup_elem(maps[i], &zero);

		if (n)
			__sync_fetch_and_add(n, 1);
	}
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
