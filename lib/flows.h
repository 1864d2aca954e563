/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWS_H
#define L3AF_FLOWS_H

/*
 * The kernel function flows on interfaces, and its settings. Everything here prints its
 * errors, unless it says otherwise. The caller holds bpffs_open's lock, BPFFS_CHANGE to
 * change something; changes are recorded in run->changes.
 */
#include "flowtable.h"
#include "parse.h"
#include "run.h"

#define FLOW_KF "flows"

extern const char *const flow_direction_words[]; /* "ingress", "egress", NULL */

struct flows_request {
	struct iface dev;
	bool is_on[2];             /* enum flow_direction */
	const char *instance;      /* NULL: "flows" */
	/* what was given; NULL: left as it is, or the default */
	const __u32 *max;
	const __u64 *sample, *active_us, *idle_us;
};

/* Makes the instance, sets its settings, puts the kernel function on the interface's
 * hooks; each only as far as it is not so yet. On ingress it becomes the first member of
 * the chain, on egress the last: it counts what is on the wire. */
must_use int flows_enable(const struct run *run, const struct bpffs *b, const struct flows_request *r);

/* Takes it off again; dev NULL: off all interfaces of this network namespace; instance
 * NULL: whichever it is. An instance goes with its last interface if nothing in it is
 * unsent; else a warning says what is. */
must_use int flows_disable(const struct run *run, const struct bpffs *b, const struct iface *dev,
			   const bool is_off[2], const char *instance);

/* Drop all flows, unsent ones too. An instance without interface goes whole. */
must_use int flows_flush(const struct run *run, const struct bpffs *b, const char *instance);

/* Forget a collector, and so what it was not sent. None of that name: no change. */
must_use int flows_collector_remove(const struct run *run, const struct bpffs *b, const char *instance,
				    const char *name);

/* Calls fn for the instance called only, which has to be there, or (NULL) for all. */
must_use int flows_each(const struct bpffs *b, const char *only,
			int (*fn)(const struct flowtable *t, void *arg), void *arg);

/* What is in a table now. Prints nothing. */
struct flows_unsent {
	__u64 flows, closed, packets, octets; /* closed: of the flows those that ended */
};
struct flows_count {
	__u64 live, closed;
	struct flows_unsent unsent[FLOW_COLLECTORS]; /* to each collector */
	struct flows_unsent kept;    /* that some collector was not sent; without any: all */
};
void flows_count(const struct flowtable *t, struct flows_count *c);
/* Octets of kernel memory that an instance's maps take, or 0 where the kernel hides it. */
must_use int flows_memory(const struct bpffs *b, const char *instance, __u64 *octets);

/* The dev of a place as listings show it: its name now; "NAME(gone)"; "NAME@NETNS" of
 * another network namespace. Into buf, which it returns. */
#define FLOW_DEV_LEN 48
const char *flow_format_dev(const struct flow_place *place, const struct netns *self, char *buf, size_t size);
/* 1: the kernel function counts at this place; 0: no longer; -ENOENT: it is a place of
 * another network namespace. */
must_use int flow_place_is_on(const struct bpffs *b, const struct flowtable *t, __u32 place,
			      const struct netns *self);

#endif
