/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBS_H
#define L3AF_LBS_H

/*
 * Load balancers: what the verbs of l3afctl lb do. Each of them reads what is, records the
 * difference in run->changes and, unless run->dry_run, makes it. The lock is held by the
 * caller (BPFFS_CHANGE). They print their errors.
 */
#include "chain.h"
#include "lbtable.h"

extern const char *const lb_sticky_words[];  /* by is_sticky; each list ends with NULL */
extern const char *const lb_admin_words[];   /* by enum lb_admin */
extern const char *const lb_healthy_words[]; /* by enum lb_healthy */

/* " instance NAME", the end of a command line that a message names; "" of the default one. */
struct lb_of {
	char text[12 + NAME_LEN];
};
struct lb_of lb_of(const char *instance);

struct lb_enable {
	enum xdp_mode mode;
	struct lb_sizes sizes;         /* 0: not given */
	struct addr source4, source6;
	bool has_source4, has_source6; /* else: kept, or the interface's own addresses */
	__u8 gateway[6];
	enum { LB_GATEWAY_KEEP, LB_GATEWAY_AUTO, LB_GATEWAY_MAC } has_gateway;
	__u16 port;                    /* 0: not given */
};
must_use int lb_enable(const struct run *run, const struct bpffs *b, const struct chain_id *at,
		       const char *instance, const struct lb_enable *want);
/* Out of the chain; the instance goes with its last chain only if it has no VIPs. */
must_use int lb_disable(const struct run *run, const struct bpffs *b, const struct chain_id *at, const char *instance);

struct lb_vip_want {
	struct vip vip;
	bool has_sticky, is_sticky;
	bool has_idle, has_seed;
	__u64 idle_us;
	__u32 seed;
};
must_use int lb_vip_add(const struct run *run, struct lb *lb, const struct lb_vip_want *want);
must_use int lb_vip_remove(const struct run *run, struct lb *lb, const struct vip *vip);

/* The number of a live VIP, or -ENOENT, printed. */
must_use int lb_vip_number(const struct lb *lb, const struct vip *vip);

/* A backend as it should be; what is not given stays (or gets its default: weight 1, up). */
struct lb_backend_want {
	struct addr addr;
	bool has_weight, has_admin, has_healthy;
	__u16 weight;
	enum lb_admin admin;
	enum lb_healthy healthy;
};
/* Make these n backends of a VIP be so, in one step for all traffic of the VIP. is_add:
 * those not there are made; else they are errors. */
must_use int lb_backends_set(const struct run *run, struct lb *lb, const struct vip *vip,
			     const struct lb_backend_want *want, int n, bool is_add);
/* Wait until a backend has no flow, or as long as this. No lock is needed. -EBUSY, printed
 * with how many are left; progress is shown on a terminal. */
must_use int lb_drain_wait(struct lb *lb, const struct vip *vip, const struct addr *addr, __u64 wait_us);
must_use int lb_backend_remove(const struct run *run, struct lb *lb, const struct vip *vip, const struct addr *addr);

/* Forget flows: of a VIP (number, -1: all), of a backend (number, 0: all). *n counts them. */
must_use int lb_flows_purge(struct lb *lb, int vip, int backend, __u64 *n);

/* Where a packet of a new or known flow would go now, and why. */
struct lb_answer {
	int backend;                   /* number, 0: nobody */
	enum { LB_BY_FLOW, LB_BY_CLIENT, LB_BY_RING, LB_BY_NOBODY } by;
	__u64 entry;                   /* BY_FLOW, BY_CLIENT: of the flow table */
	__u32 slot;                    /* of the ring */
	int ring;                      /* the backend in that slot */
	int moved_from;                /* a flow is known, but this backend of it is down; 0: no */
};
must_use int lb_which(const struct lb *lb, int vip, const struct addr *src, __u16 sport, __u16 dport,
		      struct lb_answer *answer);

#endif
