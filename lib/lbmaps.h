/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBMAPS_H
#define L3AF_LBMAPS_H

/* What the parts of lib/lb*.c share: the maps, and a VIP's ring. Nothing here prints but lb_map. */
#include "lbtable.h"

#define LB_KF "lb"

enum lb_map_id {
	LB_MAP_CONFIG, LB_MAP_PLACES, LB_MAP_PREFILTER, LB_MAP_VIPKEYS, LB_MAP_VIPS, LB_MAP_RINGS,
	LB_MAP_BACKENDS, LB_MAP_FLOWS, LB_MAP_HOPS, LB_MAP_FRAGS, LB_MAP_STATS, LB_MAP_VIPSTATS, LB_MAP_HEALTH,
	LB_MAPS,
};
struct lb_map {
	const char *name;
	__u32 type, key_size, value_size, flags;
};
extern const struct lb_map lb_maps[LB_MAPS];

/* Entries of each map. flows is a power of two of at least LB_WAYS. */
void lb_map_entries(const struct lb_sizes *s, __u32 entries[LB_MAPS]);
must_use int lb_map_mmap(int fd, enum lb_map_id id, __u32 entries, bool is_writable, void **at);
void lb_map_munmap(enum lb_map_id id, __u32 entries, void *at);

/* lb_open without the clock, and with nothing settled. */
must_use int lb_map(const struct bpffs *b, const char *instance, bool is_writable, struct lb *lb);

struct vip lb_key_vip(const struct lb_key *key);
struct lb_key lb_vip_key(const struct vip *vip);
/* So many ticks that at least this time is over; 0: 0. */
__u32 lb_ticks(const struct lb_config *config, __u64 us);

/* A VIP's settings and members, with their ring. */
struct lb_part {
	struct addr addr;
	struct lb_member m;
};
struct lb_set {
	__u32 seed, flags;
	__u64 idle_us;
	int n;
	struct lb_part part[LB_MEMBERS]; /* in the order of their addresses */
	__u16 slot[LB_RING];
	bool has_slots;
};

/* What the ring in use of a VIP says, or where it may not be opened what the copies say.
 * -EPERM: a killed run left them different, and the ring may not be opened. */
must_use int lb_set_read(const struct lb *lb, int vip, struct lb_set *set);
/* The part with this address, or -1; *at: where it would be. */
int lb_set_find(const struct lb_set *set, const struct addr *addr, int *at);
/* Its slots, from its members. */
must_use int lb_set_build(struct lb_set *set);
/* Make it so: old is what lb_set_read said. New members have records that are complete
 * but for their state. Those that are left out become LB_GONE. */
must_use int lb_set_publish(struct lb *lb, int vip, struct lb_set *old, struct lb_set *new);

/* The rings of a new VIP, and of one that is removed. */
must_use int lb_rings_make(struct lb *lb, int vip, struct lb_set *set);
must_use int lb_rings_remove(struct lb *lb, int vip);
/* Free the numbers of backends that are LB_GONE: flows, fragments and counts first. */
must_use int lb_gone_free(struct lb *lb);

/* Erase forgotten flows, where that was not done lately. */
void lb_sweep(struct lb *lb);

must_use int lb_vip_stat_zero(struct lb *lb, int vip);
/* The rest of a VIP that is not live: its backends, keys, rings and record. */
must_use int lb_vip_free(struct lb *lb, int vip);

/* "- lb backend 10.0.0.1 vip 192.0.2.1:80/tcp"; the caller adds more. */
void lb_note_backend(const struct run *run, const struct lb *lb, char op, const struct vip *vip,
		     const struct addr *addr);

/* After a change that is made: what it left was not freed, and why. */
void lb_warn_gone(int err, const struct lb *lb);

/* Finish what a killed run began: interfaces, VIPs and backends. */
must_use int lb_places_settle(struct lb *lb);
must_use int lb_settle(struct lb *lb);

/* Erase the flows for which is_mine says so; counts those that were still remembered. */
__u64 lb_flows_erase(struct lb *lb, bool (*is_mine)(const struct lb *lb, __u64 entry, const void *arg),
		     const void *arg);

#endif
