/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORMAPS_H
#define L3AF_MIRRORMAPS_H

/* What the parts of lib/mirror*.c share. Nothing here prints unless it says so. */
#include "mirrortable.h"
#include "run.h"

enum mirror_map_id {
	MIRROR_MAP_CONFIG, MIRROR_MAP_PLACES, MIRROR_MAP_SETS, MIRROR_MAP_STATS, MIRROR_MAP_TARGETS,
	MIRROR_MAP_SENT, MIRROR_MAP_STATE, MIRROR_MAP_WAY,
	MIRROR_MAPS,
};
struct mirror_map {
	const char *name;
	__u32 type, value_size, entries, flags; /* keys are indices */
};
extern const struct mirror_map mirror_maps[MIRROR_MAPS];

/* mirror_open with nothing settled. Prints its errors. */
must_use int mirror_map(const struct bpffs *b, bool is_writable, struct mirror *m);
/* Make the instance, if it is not there, and open it. Prints its errors. */
must_use int mirror_make(const struct bpffs *b, struct mirror *m);
/* Targets and filters of network namespaces in which no chain is left go, to make room; such as
 * were deleted. Prints its errors. */
must_use int mirror_forget_gone(struct mirror *m, const struct netns *here);
/* Is it another network namespace, with no chain left? */
bool mirror_netns_is_gone(const struct mirror *m, const struct netns *here, __u64 netns);
/* The instance goes if it has neither a place nor a target. Prints its errors. */
must_use int mirror_remove_unused(const struct run *run, struct mirror *m);
/* Finish what a killed run began, of this network namespace. Prints its errors. */
must_use int mirror_settle(const struct run *run, struct mirror *m);

/*
 * Places.
 */
/* A new set for packets, nobody's yet: an fd, and where it is mapped to be filled. */
must_use int mirror_set_make(struct mirror_set **set);
void mirror_set_unmap(struct mirror_set *set);
static inline void cleanup_mirror_set(struct mirror_set **set) { mirror_set_unmap(*set); }
#define auto_mirror_set __attribute__((cleanup(cleanup_mirror_set)))
/* From now on packets of the place are compared with it: the one step of all changes. The
 * kernel waits until no packet is in the set that was there. */
must_use int mirror_set_publish(const struct mirror *m, int place, int set);
/* A place without filters for the interface: its number or -E2BIG. It is_changing. */
must_use int mirror_place_new(struct mirror *m, const struct chain_id *at);
/* The place's filters are no more; its program is in no chain. */
must_use int mirror_place_free(struct mirror *m, int place);
/* Counters from zero. */
must_use int mirror_stat_zero(int stats, __u32 stat);
/* Bits 1 ingress, 2 egress: for which of them there are filters. */
unsigned mirror_directions(const struct mirror_filter *f, int n);

/*
 * Members of chains: mirror where there are filters for the direction, mirrortarget where
 * there is a target. They print their errors.
 */
/* mirror is in the interface's chains for these directions (bits 1 ingress, 2 egress), and out of
 * those for these; others stay as they are. */
must_use int mirror_members_set(const struct run *run, const struct mirror *m, const struct iface *dev, unsigned in,
				unsigned out);
/* mirror of an instance that was removed by hand, which goes on by its maps, is in no chain of the
 * interface (NULL: of any one) more. */
must_use int mirror_orphans_out(const struct run *run, const struct mirror *m, const struct iface *dev);
/* mirrortarget is in the interface's chain, or is not. */
must_use int mirror_target_member(const struct run *run, const struct mirror *m, const struct iface *dev, bool is_in);
/* It is in the chain of no interface of this network namespace that has no target. */
must_use int mirror_target_members_settle(const struct run *run, const struct mirror *m);
/* The copy of each target that is not in use becomes as the one that is. */
must_use int mirror_target_copies_settle(struct mirror *m);
/* Is there a target by this interface, except (-1: none)? */
bool mirror_has_target(const struct mirror *m, const struct netns *ns, __u32 ifindex, int except);

/* This run with nobody told of its changes. */
struct mirror_silence {
	struct run run;
	struct changes *changes;
};
must_use int mirror_silence(const struct run *run, struct mirror_silence *s);
void mirror_silence_end(struct mirror_silence *s);
#define auto_silence __attribute__((cleanup(mirror_silence_end)))

#endif
