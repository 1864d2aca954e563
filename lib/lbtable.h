/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBTABLE_H
#define L3AF_LBTABLE_H

/*
 * The maps of an instance of lb, mapped into memory. bpf/lb.h says who writes what.
 * Everything that changes them runs under bpffs_open's lock.
 */
#include <stdbool.h>
#include "bpffs.h"
#include "chain.h"
#include "lb.h"
#include "parse.h"

struct bpf_object;
struct run;

struct lb {
	char instance[NAME_LEN];
	const struct bpffs *b;
	int vipkeys, rings, stats, vipstats; /* maps; -1: not open */
	bool is_writable;
	struct lb_config *config;
	struct lb_place *place;
	struct lb_prefilter *prefilter;
	struct lb_vip *vip;           /* config->vips of them */
	struct lb_backend *backend;   /* config->backends */
	struct lb_bucket *bucket;     /* config->buckets */
	struct lb_hop *hop;           /* LB_PLACES * config->backends */
	struct lb_health *health;
	__u64 *frag;                  /* LB_FRAGS */
	__u32 now;                    /* tick, when the instance was opened */
};
#define LB_INIT { .vipkeys = -1, .rings = -1, .stats = -1, .vipstats = -1 }
void lb_close(struct lb *lb);
#define auto_lb __attribute__((cleanup(lb_close)))

#define LB_FLOWS_DEFAULT 1048576
#define LB_VIPS_DEFAULT 512
#define LB_BACKENDS_DEFAULT 2048
#define LB_VIPS_MOST 16384
#define LB_BACKENDS_MOST 65535
struct lb_sizes {
	__u32 flows, vips, backends;
};

/* Maps the instance; 1: done; 0: there is none; or an error, printed. To change it: also
 * finishes what a killed run began (lb_settle). */
must_use int lb_open(const struct run *run, const struct bpffs *b, const char *instance, bool is_writable,
		     struct lb *lb);
/* Read lb->now again. Prints nothing. */
must_use int lb_now(struct lb *lb);
/* Make an instance that is not there. All or nothing; prints its errors. */
must_use int lb_make(const struct bpffs *b, const char *instance, const struct lb_sizes *sizes);
struct lb_sizes lb_sizes_of(const struct lb *lb);
/* As lb_make makes them: 0 becomes the default, flows a power of two. */
struct lb_sizes lb_sizes_round(const struct lb_sizes *want);
/*
 * An instance lives as long as it has a VIP or an interface: lb disable removes it with the
 * last of them. To take the program out of the chain by chain remove changes neither; of an
 * interface that is gone nothing stays, and an instance that is left with nothing goes with
 * the next change of a chain, if it is not the default one.
 */
/* Has it a VIP, or an interface, which is there, beside place except (-1: none)? */
bool lb_is_needed(const struct lb *lb, int except);
/* The same of a name, which may be of no instance of lb: kf.keeps. */
must_use int lb_keeps(const struct bpffs *b, const char *instance);
/* Unpin it; nobody runs on it any more. Prints its errors. */
must_use int lb_remove(const struct bpffs *b, const char *instance);

/* The place of an interface in this network namespace: existing, or a free one, or one of an
 * interface that is gone; with defaults where it is new. Its number, or an error, printed. */
must_use int lb_place(struct lb *lb, const struct chain_id *at);

/* Other settings for a place, in one step for all packets. Prints nothing. */
must_use int lb_place_write(struct lb *lb, int place, const struct lb_place *new);
/* What packets are told, also where a run was killed while it wrote. */
static inline struct lb_place *lb_place_seen(const struct lb *lb, int place)
{
	return &lb->place[place + (lb->config->aside >> place & 1 ? LB_PLACES : 0)];
}

/* Is the interface of a place no more, and nothing left of its chain? here: this network namespace. */
bool lb_place_is_gone(const struct lb *lb, const struct lb_place *p, const struct netns *here);

/* What a new one is like, its ifindex left out. Prints its errors. */
must_use int lb_place_defaults(const struct chain_id *at, struct lb_place *p);
/* Its number, or -ENOENT. Prints nothing. */
must_use int lb_place_find(const struct lb *lb, const struct chain_id *at);
/* Can packets be balanced there? Only where they have Ethernet headers. Prints why not. */
must_use int lb_check_iface(const struct iface *i);

/* What the kernel function lb is given when it is loaded: kf.prepare. Makes the instance
 * and the place, with defaults, where they are not there. */
must_use int lb_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			const struct chain_id *at);

/*
 * VIPs and backends by their numbers. These print nothing.
 */
/* The number of a live VIP, or -ENOENT. */
must_use int lb_vip_find(const struct lb *lb, const struct vip *vip);
void lb_vip_get(const struct lb *lb, int number, struct vip *vip);
/* The number of a VIP's backend, or -ENOENT. */
must_use int lb_backend_find(const struct lb *lb, int vip, const struct addr *addr);
/* Of what takes part in VIP vip: ALIVE and DEAD, not yet those being removed. n of them,
 * numbers in the order of their addresses, to be freed by the caller; or -ENOMEM. */
must_use int lb_backends(const struct lb *lb, int vip, __u16 **numbers);
/* May it take new flows? */
bool lb_is_usable(const struct lb_backend *b);

/* Sums over CPUs. */
must_use int lb_stat_read(const struct lb *lb, int backend, struct lb_stat *sum);
must_use int lb_vip_stat_read(const struct lb *lb, int vip, struct lb_vip_stat *sum);

/* Octets of the rings, which have no pins. Prints nothing. */
must_use int lb_rings_bytes(const struct lb *lb, __u64 *bytes);

/* Is this entry of the flow table a flow that is still remembered? */
bool lb_is_flow(const struct lb *lb, __u64 entry);
/* Flows of a backend by enum lb_flow, those that idle has forgotten left out. */
struct lb_use {
	__u32 flows[4];
	__u32 youngest, oldest; /* idle for so many ticks */
};
/* One walk over the flow table; use has config->backends elements and is filled. */
void lb_count(const struct lb *lb, struct lb_use *use);

#endif
