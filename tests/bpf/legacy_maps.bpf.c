// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps as they were declared before BTF; libbpf 1.x refuses them. */
#include "udp.h"

struct bpf_map_def {
	unsigned int type, key_size, value_size, max_entries, map_flags;
};

struct bpf_map_def SEC("maps") old_map = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 1,
};

SEC("xdp")
int legacy(struct xdp_md *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&old_map, &zero) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
