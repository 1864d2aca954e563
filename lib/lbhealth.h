/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBHEALTH_H
#define L3AF_LBHEALTH_H

/* Health of a load balancer's backends: one probe of each, by the way a client's packets
 * take, and what follows from it. */
#include "lbs.h"
#include "probe.h"

struct lb_health_want {
	struct probe_how how;
	struct vip vip;
	bool has_vip;      /* else: of all TCP VIPs that have a port */
	__u16 port;        /* of the probes; 0: the VIP's */
	__u32 rise, fall;  /* so many in a row make a backend healthy, sick */
};

/* Takes bpffs's lock itself, before and after it probes, not meanwhile. That backends are
 * sick is no error. Prints its errors. */
must_use int lb_health_run(const struct run *run, const char *instance, const struct lb_health_want *want);

#endif
