/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_HOST_H
#define L3AF_HOST_H

/* What the kernel says of this network namespace's addresses, routes, neighbours and
 * settings. Prints nothing. */
#include "nl.h"
#include "parse.h"

/* 1: it is an address of this host, of iface (filled); 0: it is not; or an error. */
must_use int host_has_addr(const struct addr *a, struct iface *iface);
/* The first address of a family of this interface that is not link-local: 1, 0, or an error. */
must_use int host_iface_addr(const struct iface *i, bool is_v4, struct addr *a);

struct host_route {
	int type;          /* RTN_UNICAST, RTN_LOCAL, ... */
	struct iface iface;
	struct addr next;  /* who is asked for his MAC: the gateway, or the destination */
	bool has_source;
	struct addr source; /* what the kernel would send from */
};
/* Where packets from src to dst go; -ENETUNREACH: nowhere. */
must_use int host_route(const struct addr *src, const struct addr *dst, struct host_route *r);
/* The same of packets that leave by this interface. */
must_use int host_route_by(const struct iface *i, const struct addr *dst, struct host_route *r);
/* The same of packets that come in at iface and are not for this host: they are forwarded
 * only if the answer is 0 and RTN_UNICAST. */
must_use int host_route_forward(const struct iface *i, const struct addr *src, const struct addr *dst,
				struct host_route *r);
/* 1: its MAC is known; 0: it is not. */
must_use int host_neighbour(const struct iface *i, const struct addr *a, __u8 mac[6]);

/* net/<family>/conf/<name>/<what>; name "all", or an interface's. */
must_use int host_sysctl(bool is_v4, const char *name, const char *what, int *value);

struct host_nic {
	char driver[32];
	bool is_up;
	bool has_lro, has_hw_gro; /* on */
};
must_use int host_nic(const struct iface *i, struct host_nic *nic);

#endif
