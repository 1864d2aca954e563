/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBPROBE_H
#define L3AF_LBPROBE_H

/*
 * Does a backend take what the load balancer sends it? An echo request to the VIP, in GUE
 * (variant 1), as the load balancer would send a client's; the answer comes straight back.
 * A host that does not decapsulate it refuses it by ICMP: its UDP port is closed.
 */
#include "parse.h"

enum lb_probe_result {
	LB_PROBE_SILENT,      /* no answer of any kind */
	LB_PROBE_ANSWERED,    /* by the VIP */
	LB_PROBE_REFUSED,     /* port unreachable */
	LB_PROBE_UNREACHABLE, /* no route, or no neighbour */
	LB_PROBE_UNSENT,      /* err says why */
	LB_PROBE_NOT_ASKED,   /* client is unspecified */
};

struct lb_probe {
	struct addr source;        /* outer */
	struct addr client;        /* inner source, of the VIP's family */
	struct addr backend, vip;
	__u16 port;
	enum lb_probe_result result;
	int err;
};

/* All of them at once, in a second for each 128; -EPERM without CAP_NET_RAW. */
must_use int lb_probe(struct lb_probe *list, int n);

#endif
