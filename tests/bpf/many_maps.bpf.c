// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Maps whose kernel side does not look like their definition: sizes that the loader
 * fills in or rounds, maps in maps, flags that the kernel adds. */
#include "udp.h"

#define MAP(name, kind, ktype, vtype, n) \
	struct {                         \
		__uint(type, kind);      \
		__uint(max_entries, n);  \
		__type(key, ktype);      \
		__type(value, vtype);    \
	} name SEC(".maps")

struct lpm {
	__u32 len, addr;
};

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
};

struct inner one SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &one } };

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16);
	__type(key, struct lpm);
	__type(value, __u32);
} trie SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

MAP(lru, BPF_MAP_TYPE_LRU_HASH, __u32, __u64, 100);
MAP(percpu, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 1);
MAP(dev, BPF_MAP_TYPE_DEVMAP, __u32, __u32, 4);
MAP(xsk, BPF_MAP_TYPE_XSKMAP, __u32, __u32, 4);
MAP(a_name_that_is_longer_than_the_kernel_keeps_1, BPF_MAP_TYPE_ARRAY, __u32, __u64, 1);
MAP(a_name_that_is_longer_than_the_kernel_keeps_2, BPF_MAP_TYPE_ARRAY, __u32, __u64, 2);

SEC("xdp")
int drop_by_all(struct xdp_md *ctx)
{
	struct lpm key = { 32, 7 };
	__u32 zero = 0;
	__u64 first = 1, *n;
	void *in;

	if (UDP_PORT(ctx) != 7001)
		return XDP_PASS;
	in = bpf_map_lookup_elem(&outer, &zero);
	if (!in)
		return XDP_PASS;
	n = bpf_map_lookup_elem(in, &zero);
	if (!n)
		return XDP_PASS;
	__sync_fetch_and_add(n, 1);
	bpf_map_update_elem(&lru, &zero, &first, BPF_ANY);
	bpf_map_lookup_elem(&trie, &key);
	bpf_map_lookup_elem(&percpu, &zero);
	bpf_map_lookup_elem(&a_name_that_is_longer_than_the_kernel_keeps_1, &zero);
	bpf_map_lookup_elem(&a_name_that_is_longer_than_the_kernel_keeps_2, &zero);
	bpf_ringbuf_output(&ring, &first, sizeof(first), 0);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &first, sizeof(first));
	bpf_redirect_map(&dev, 1, XDP_PASS);
	bpf_redirect_map(&xsk, 1, XDP_PASS);
	return XDP_DROP;
}

char _license[] SEC("license") = "GPL";
