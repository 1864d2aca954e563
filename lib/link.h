/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LINK_H
#define L3AF_LINK_H

/* Interfaces as l3afctl makes and changes them. These print nothing. */
#include "nl.h"

struct link_info {
	unsigned mtu;
	bool is_up;          /* administratively */
	bool has_carrier;
	bool is_promiscuous; /* by its user's own flag, not by a socket or a bridge */
	bool is_loopback;
	bool is_enslaved;    /* to a bridge, bond, ... */
	int peer;            /* of a veth: the index of its other end; 0: none, or in another network namespace */
};
must_use int link_get(const struct iface *i, struct link_info *info);

/* A veth pair, in one step, down. -EEXIST: a name is taken. */
must_use int link_make_pair(const char *name, const char *peer, unsigned mtu);
/* Absent is fine. */
must_use int link_remove(const struct iface *i);
must_use int link_set_up(const struct iface *i, bool is_up);
must_use int link_set_promiscuous(const struct iface *i, bool is_on);
/* Off: the kernel does not report groups by itself. */
must_use int link_set_multicast(const struct iface *i, bool is_on);
must_use int link_set_mtu(const struct iface *i, unsigned mtu);
/* No link-local address of its own. */
must_use int link_set_no_address(const struct iface *i);

/* Frames that it sends are whole: no segmentation, no checksum is left to it. */
must_use int link_set_whole(const struct iface *i);
/* 1: it puts segments that come in together to larger packets (GRO); 0: it does not; or an error. */
must_use int link_merges(const struct iface *i);

#endif
