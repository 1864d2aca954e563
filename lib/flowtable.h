/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWTABLE_H
#define L3AF_FLOWTABLE_H

/*
 * The flow table of an instance, mapped into memory: reading it needs no system call per
 * flow. bpf/flow.h says who writes what and how a slot lives.
 *
 * Locks: bpffs_open's lock is held only while pins are looked up, made or removed. A
 * slot's state is changed under the instance's lock (flowtable_lock); an export to a
 * collector holds that collector's lock while it sends, so that several collectors are
 * served at the same time and a dead one delays nobody.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <string.h>
#include "bpffs.h"
#include "chain.h"
#include "flow.h"

struct bpf_object;

/* One collector of the instance, mapped; slot numbers are its place in begin[]. */
struct flow_peer {
	struct flow_collector *state; /* NULL: no collector has this number */
	struct flow_line *lines;      /* by slot */
	int lock;                     /* fd of its directory, -1; flock(2) */
};

struct flowtable {
	char instance[16];
	int keys, stats;              /* maps */
	int lock;                     /* fd of the instance's directory */
	bool is_writable;
	__u32 max;
	__u32 mapped;                 /* slots of rec and of lines: at least those that were in use then */
	struct flow_rec *rec;
	__u64 *ring;
	struct flow_ends *ends;
	struct flow_config *config;
	struct flow_place *place;
	struct flow_peer peer[FLOW_COLLECTORS];
	__u64 waiting[FLOW_COLLECTORS]; /* closed flows that wait for each; from flowtable_recycle */
	/* the clock, read when the table was opened: jiffies64, CLOCK_REALTIME */
	__u64 now_jiffies, now_ns;
	__u32 tick_ns;
};
#define FLOWTABLE_INIT { .keys = -1, .stats = -1, .lock = -1, .peer = { { .lock = -1 }, { .lock = -1 }, \
			 { .lock = -1 }, { .lock = -1 } } }
void flowtable_close(struct flowtable *t);
#define auto_flowtable __attribute__((cleanup(flowtable_close)))

/* Maps the instance; 1: done; 0: there is no such instance; or an error, printed. */
must_use int flowtable_open(const struct bpffs *b, const char *instance, bool is_writable, struct flowtable *t);

#define FLOW_MAX_DEFAULT 262144
#define FLOW_MAX_LEAST 16
#define FLOW_MAX_MOST 16777216
#define FLOW_IDLE_DEFAULT_US 15000000
struct flow_settings {
	__u32 max;
	__u64 active_us, idle_us;
};
/* Make the maps of an instance that is not there. All or nothing; prints its errors. */
must_use int flowtable_make(const struct bpffs *b, const char *instance, const struct flow_settings *s);
/* Unpin the instance with its collectors, having waited for runs that are at work on it
 * or export from it. Prints its errors; not there: fine. */
must_use int flowtable_remove(const struct run *run, const struct bpffs *b, const char *instance);

/* 1: it has flows, which no collector may have yet: kf.keeps. */
must_use int flowtable_keeps(const struct bpffs *b, const char *instance);

/* Take an instance's or a collector's lock within run->wait_us; -E_LOCKED, printed. who
 * says whose: "instance flows", "collector 192.0.2.1:4739/udp". */
must_use int flow_lock(const struct run *run, int fd, const char *who);
void flow_unlock(int fd);
/* All of an instance's, until t is closed: collectors' first, as an export takes them. */
must_use int flowtable_lock_all(const struct run *run, const struct flowtable *t);

/* The place of a direction of an interface in this network namespace: existing, or a
 * free one, or one of an interface that is gone and no record refers to any more. Its
 * number, or an error, printed. */
must_use int flowtable_place(struct flowtable *t, const struct chain_id *at, const char *name);

/* Can packets be counted there? Only where they have Ethernet headers. Prints why not. */
must_use int flow_check_iface(const struct iface *i);

/* What the kernel function flows is given when it is loaded: kf.prepare. Makes the
 * instance with default settings where it is not there. */
must_use int flowtable_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			       const struct chain_id *at);

static inline bool flow_is_there(__u32 life)
{
	return FLOW_STATE(life) == FLOW_LIVE || FLOW_STATE(life) == FLOW_CLOSING || FLOW_STATE(life) == FLOW_CLOSED;
}

/* A walk over all slots waits for memory more than for anything else. */
static inline void flowtable_ahead(const struct flowtable *t, __u32 slot)
{
	__builtin_prefetch(&t->rec[slot + 24]);
}

/* One past the last slot that was ever in use, as far as mapped. */
__u32 flowtable_end(const struct flowtable *t);
/* A copy of a slot in state LIVE, CLOSING or CLOSED; false: none is there. Of one flow;
 * of one that is LIVE or CLOSING octets may be those of a packet more, and so may last. */
static inline bool flowtable_read(const struct flowtable *t, __u32 slot, struct flow_rec *rec)
{
	const struct flow_rec *r = &t->rec[slot];
	__u32 life = __atomic_load_n(&r->life, __ATOMIC_ACQUIRE);
	__u64 packets = __atomic_load_n(&r->packets, __ATOMIC_ACQUIRE);

	if (!flow_is_there(life))
		return false;
	memcpy(rec, r, sizeof(*rec));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	rec->packets = packets;
	rec->life = life;
	/* a slot that is being filled again has its old generation, but is free by then */
	life = __atomic_load_n(&r->life, __ATOMIC_RELAXED);
	return flow_is_there(life) && FLOW_GENERATION(life) == FLOW_GENERATION(rec->life);
}

/* Sums over CPUs. Prints nothing. */
must_use int flowtable_stat(const struct flowtable *t, __u32 place, struct flow_stat *sum);

/* Reads the clock again: now_jiffies, now_ns, tick_ns. Prints nothing. */
must_use int flow_clock_read(struct flowtable *t);
/* CLOCK_REALTIME in ms of a jiffies64 value; whole microseconds since it. */
static inline __u64 flow_time_ms(const struct flowtable *t, __u64 jiffies)
{
	return (t->now_ns - (t->now_jiffies - jiffies) * t->tick_ns) / 1000000;
}
static inline __u64 flow_age_us(const struct flowtable *t, __u64 jiffies)
{
	return (__s64)(t->now_jiffies - jiffies) < 0 ? 0 : (t->now_jiffies - jiffies) * t->tick_ns / 1000;
}
/* From the low half of jiffies64, of a time not after last. */
static inline __u64 flow_jiffies(__u64 last, __u32 low)
{
	return last - ((__u32)last - low);
}

/*
 * Under the instance's lock; they print their errors.
 */
/* Finish what a killed run left: freeing, CLOSING. Call it first; rec and lines may move,
 * so that they hold all slots that are in use by now. */
must_use int flowtable_recover(struct flowtable *t);
/* Why a flow in state LIVE would be closed now; FLOW_REASON_NONE: it would not. */
enum flow_reason flow_due(const struct flowtable *t, const struct flow_rec *rec, bool is_all);
/* Close flows: idle for config->idle_us (FLOW_IDLE), ended by FIN or RST and quiet for
 * two seconds (FLOW_END), or all (FLOW_FORCED). Without a collector: none but all.
 * *closed counts them. */
must_use int flowtable_expire(struct flowtable *t, bool is_all, __u64 *closed);
/* Free the slots of closed flows that every collector has all of, also one that was made
 * after t was opened, and orphans. With no collector: none. is_forced: all closed ones;
 * what some collector was not told is added to config->flushed. *freed counts flows. */
must_use int flowtable_recycle(struct flowtable *t, bool is_forced, __u64 *freed);

/*
 * Collectors; the caller holds bpffs_open's lock for BPFFS_CHANGE.
 */
/* The number of the collector called name; it is made if there is none; -E2BIG: there
 * are FLOW_COLLECTORS others. Prints its errors. */
must_use int flowtable_peer_make(const struct bpffs *b, struct flowtable *t, const char *name);
/* Forget it, having waited for an export to it. Prints its errors. */
must_use int flowtable_peer_remove(const struct run *run, const struct bpffs *b, struct flowtable *t, int number);
/* The number of the collector called name, or -ENOENT. Needs no lock, prints nothing. */
must_use int flowtable_peer_find(const struct flowtable *t, const char *name);

/* Has a collector all counts of this record? */
static inline bool flow_is_reported(const struct flow_line *line, const struct flow_rec *rec)
{
	return line->generation == FLOW_GENERATION(rec->life) && line->packets == rec->packets &&
	       line->octets == rec->octets;
}

#endif
