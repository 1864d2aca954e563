/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWS_H
#define L3AF_FLOWS_H

/*
 * The kernel function flows on interfaces, and reading what it counted. Everything here
 * prints its errors.
 */
#include "flowtable.h"
#include "parse.h"
#include "run.h"

#define FLOW_KF "flows"

struct flows_request {
	struct iface dev;
	bool is_on[2];             /* enum flow_direction */
	const char *instance;      /* NULL: "flows" */
	/* what was given; 0 or NULL: left as it is, or the default */
	const __u32 *max, *sample;
	const __u64 *active_us, *idle_us;
};

/* Makes the instance, sets its settings, puts the kernel function on the interface's
 * hooks; each only as far as it is not so yet. The caller holds bpffs_open's lock. */
must_use int flows_enable(const struct run *run, const struct bpffs *b, const struct flows_request *r);
/* Takes it off; dev NULL: off all interfaces of this network namespace. The instance
 * goes with its last interface if nothing in it is unsent; else it says what is. */
must_use int flows_disable(const struct run *run, const struct bpffs *b, const struct iface *dev,
			   const char *instance);
/* Drop all flows, unsent ones too. An instance without interface goes whole. */
must_use int flows_flush(const struct run *run, const struct bpffs *b, const char *instance);

/* Which flows: all that is given has to match; host byte order. */
struct flow_match {
	const struct prefix *src, *dst;
	const struct ports *sport, *dport;
	const struct iface *dev;
	int direction;             /* -1: both */
	int proto;                 /* -1: any */
	int vlan;                  /* -1: any; the outer VID, 0: untagged */
};
bool flow_matches(const struct flowtable *t, const struct flow_match *m, const struct flow_rec *rec);

/* "tcp/10.0.0.1:1000-10.0.0.2:80", "udp/[fd00::1]:53-[fd00::2]:999",
 * "icmp/10.0.0.1-10.0.0.2/8.0", "47/10.0.0.1-10.0.0.2": parses back (parse_flow). */
const char *flow_format(const struct flow_key *key, char *buf, size_t size);

#endif
