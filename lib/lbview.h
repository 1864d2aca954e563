/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBVIEW_H
#define L3AF_LBVIEW_H

/*
 * Looking at a load balancer: a copy of everything that listings tell, made under the lock
 * of readers, and let go of before anything is printed or waited for.
 */
#include "lbs.h"

#define LB_KF "lb"

struct lb_view_backend {
	struct lb_backend rec;
	struct addr addr;
	struct lb_stat stat;
	struct lb_use use;
	struct lb_health health;
	bool is_usable;            /* takes new flows */
};

struct lb_view_vip {
	struct lb_vip rec;
	struct vip vip;
	__u64 count[LB_COUNTS];    /* by enum lb_count */
	int first, n;              /* its backends, in lb_view.backend */
	int usable;                /* of them */
	struct lb_stat stat;       /* sums, with those of backends that were removed */
	struct lb_use use;
};

struct lb_view {
	struct lb_view_vip *vip;   /* in the order of their addresses, ports, protocols */
	struct lb_view_backend *backend;
	int vips, backends;
	__u32 tick_us;
	__u64 read_us;             /* run_now_us() */
};
#define LB_VIEW_INIT { 0 }
void lb_view_free(struct lb_view *v);
#define auto_lb_view __attribute__((cleanup(lb_view_free)))

/* instance NULL: the default one, which need not be there (then there are no VIPs); vip
 * NULL: all of them, else it has to be there.
 * Prints its errors. */
must_use int lb_view_read(const struct run *run, const char *instance, const struct vip *vip, struct lb_view *v);
must_use int lb_view_copy(const struct lb_view *v, struct lb_view *to);
/* What v counted since before: what is not there before counts from 0. */
void lb_view_subtract(struct lb_view *v, const struct lb_view *before);

/* Where a packet from a client to a VIP would go now, and why. */
struct lb_view_which {
	struct lb_answer answer;
	struct vip vip;            /* that takes it: where none has the port, the one for any */
	struct lb_view_backend backend; /* who gets it */
	struct addr ring, moved_from; /* where answer has numbers */
	__u64 idle_us;             /* of the flow or client */
};
/* to has a port. -ENOENT where there is no such VIP or nobody who takes it. Prints its errors. */
must_use int lb_view_which(const struct run *run, const char *instance, const struct addr *client, __u16 port,
			   const struct vip *to, struct lb_view_which *w);

/* Forget flows: vip NULL: of all VIPs, else it has to be there; addr NULL: of all backends.
 * Records the change; the caller holds no lock. Prints its errors. */
must_use int lb_view_purge(const struct run *run, const char *instance, const struct vip *vip,
			   const struct addr *addr);

/* Flows that packets would still follow: without clients of sticky VIPs. */
__u64 lb_use_active(const struct lb_use *use);

extern const char *const lb_count_words[LB_COUNTS]; /* "no_backend", ... */
extern const char *const lb_flow_words[];           /* "new", "established", "closing", "client", NULL */

/* An interface that an instance has, or an instance that has none. */
struct lb_view_place {
	const struct lb *lb;
	const struct lb_place *place; /* NULL: none */
	const char *dev;           /* its name; "7(gone)"; "7@NETNS" of another network namespace */
	bool is_here, is_gone;
	bool is_on;                /* lb is in its chain, on these maps; where is_here */
	enum xdp_mode mode;        /* where is_on: as attached */
	int vips, backends;        /* in use */
	__u64 memory_bytes;        /* of the instance; 0: the kernel does not tell */
};
/* Calls fn for each; only NULL: of every instance, else that one has to be there. Prints
 * its errors. */
must_use int lb_view_places(const struct run *run, const struct bpffs *b, const char *only,
			    int (*fn)(const struct lb_view_place *p, void *arg), void *arg);

#endif
