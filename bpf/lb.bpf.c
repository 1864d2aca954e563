// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The maps alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "lb.h"

const volatile struct lb_here here SEC(".rodata.place") = { 0 };

#define LB_ARRAY(name, flags, entries, type_)          \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(map_flags, flags);              \
		__uint(max_entries, entries);          \
		__type(key, __u32);                    \
		__type(value, type_);                  \
	} name SEC(".maps")

LB_ARRAY(config, BPF_F_MMAPABLE, 1, struct lb_config);
LB_ARRAY(places, BPF_F_MMAPABLE, LB_PLACES, struct lb_place);
LB_ARRAY(prefilter, BPF_F_MMAPABLE, 1, struct lb_prefilter);
LB_ARRAY(vips, BPF_F_MMAPABLE, 1, struct lb_vip);
LB_ARRAY(backends, BPF_F_MMAPABLE, 1, struct lb_backend);
LB_ARRAY(flows, BPF_F_MMAPABLE, 1, struct lb_bucket);
LB_ARRAY(hops, BPF_F_MMAPABLE, 1, struct lb_hop);
LB_ARRAY(frags, BPF_F_MMAPABLE, LB_FRAGS, __u64);
LB_ARRAY(health, BPF_F_MMAPABLE, 1, struct lb_health);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct lb_key);
	__type(value, __u32);
} vipkeys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__type(key, __u32);
		__uint(value_size, sizeof(struct lb_ring));
	});
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_vip_stat);
} vipstats SEC(".maps");

SEC("xdp.frags") int lb_xdp(struct xdp_md *ctx)
{
	__u32 place = here.place;

	bpf_map_lookup_elem(&places, &place);
	bpf_map_lookup_elem(&vipkeys, &(struct lb_key){ 0 });
	return XDP_PASS;
}

SEC("tc") int lb_tc(struct __sk_buff *ctx)
{
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
