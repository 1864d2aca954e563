/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWMAPS_H
#define L3AF_FLOWMAPS_H

/* What the parts of the flow table share: its maps. Nothing here prints. */
#include "flowtable.h"

enum flow_map_id {
	FLOW_MAP_KEYS, FLOW_MAP_RECORDS, FLOW_MAP_RING, FLOW_MAP_ENDS, FLOW_MAP_CONFIG, FLOW_MAP_PLACES,
	FLOW_MAP_STATS, FLOW_MAP_HINTS, FLOW_MAP_STATE, FLOW_MAP_LINES,
};
struct flow_map {
	const char *name;
	__u32 type, key_size, value_size, flags;
};
extern const struct flow_map flow_maps[];

/* Entries of the ring: a power of two. */
static inline __u32 flow_ring_size(__u32 max)
{
	return max <= 1 ? 1 : 1u << (32 - __builtin_clz(max - 1));
}

/* Sets of hints: a power of two, so that half of the cells are in use at most. */
static inline __u32 flow_hints_sets(__u32 max)
{
	return flow_ring_size(max) * 2 / FLOW_HINTS;
}

/* dir/NAME as an fd; -EINVAL where it is not such a map of so many entries. */
must_use int flow_map_fd(const struct bpffs *b, const char *dir, const struct flow_map *m, __u32 entries);
must_use int flow_map_mmap(int fd, const struct flow_map *m, __u32 entries, bool is_writable, void **at);
void flow_map_munmap(const struct flow_map *m, __u32 entries, void *at);

/* Slots that were taken since t was opened, by somebody whose run may have to be finished,
 * are mapped too. rec and lines may move. */
must_use int flowtable_grow(struct flowtable *t);

/* -ENOENT: there is no collector of this number. */
must_use int flow_peer_open(const struct flowtable *t, int number, struct flow_peer *p);
void flow_peer_close(struct flow_peer *p, __u32 mapped);

#endif
