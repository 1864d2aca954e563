/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORMAPS_BPF_H
#define L3AF_MIRRORMAPS_BPF_H

/* The maps of bpf/mirror.h that both programs use. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "mirror.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MIRROR_ARRAY(name, type_, flags, entries, value_) \
	struct {                                          \
		__uint(type, type_);                      \
		__uint(map_flags, flags);                 \
		__uint(max_entries, entries);             \
		__type(key, __u32);                       \
		__type(value, value_);                    \
	} name SEC(".maps")

MIRROR_ARRAY(config, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 1, struct mirror_config);
MIRROR_ARRAY(targets, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, 2 * MIRROR_TARGETS, struct mirror_target);
MIRROR_ARRAY(sent, BPF_MAP_TYPE_PERCPU_ARRAY, 0, MIRROR_TARGETS, struct mirror_stat);
MIRROR_ARRAY(way, BPF_MAP_TYPE_PERCPU_ARRAY, 0, 1, struct mirror_way);

/* Inner maps are declared by size: clang 14 leaves a struct out that nothing else names. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, MIRROR_PLACES);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
		__uint(max_entries, MIRROR_STATS);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct mirror_stat));
	});
} stats SEC(".maps");

static __always_inline struct mirror_target *target_get(__u32 copy)
{
	return bpf_map_lookup_elem(&targets, &copy);
}

static __always_inline struct mirror_way *way_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&way, &zero);
}

/* A filter's, and a target's. */
static __always_inline struct mirror_stat *stat_get(__u32 place, __u32 stat)
{
	void *inner = bpf_map_lookup_elem(&stats, &place);

	return inner ? bpf_map_lookup_elem(inner, &stat) : NULL;
}

static __always_inline struct mirror_stat *sent_get(__u32 copy)
{
	__u32 target = copy % MIRROR_TARGETS;

	return bpf_map_lookup_elem(&sent, &target);
}

#endif
