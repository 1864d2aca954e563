/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_NL_H
#define L3AF_NL_H

/* Network namespaces and interfaces, and the little rtnetlink that libbpf lacks. */
#include <linux/types.h>
#include "args.h"
#include "err.h"
#include "parse.h"

/* Enter only the network namespace: a name below /run/netns, a path, or a pid. Prints. */
must_use int netns_enter(const char *ns);

/* This network namespace: its cookie where the kernel has SO_NETNS_COOKIE (5.14),
 * else the inode of its nsfs file. */
struct netns {
	__u64 id;
	bool is_cookie;
};
must_use int netns_self(struct netns *ns);

must_use int iface_by_name(const char *name, struct iface *i);  /* 0, -ENODEV */
must_use int iface_by_index(int index, struct iface *i);        /* 0, -ENODEV */
must_use int iface_mtu(const struct iface *i, unsigned *mtu);
/* 1: its packets have Ethernet headers; 0: they have not; or an error. */
must_use int iface_is_ethernet(const struct iface *i);
/* Its own MAC address; -EOPNOTSUPP: it is no Ethernet interface, or the loopback one. */
must_use int iface_mac(const struct iface *i, __u8 mac[6]);
/* The first address of a family that other hosts reach it by: 1; 0: it has none; or an error. */
struct addr;
must_use int iface_address(const struct iface *i, bool is_v6, struct addr *a);
/* 1: the kernel forwards what comes in there; 0: it does not; or an error. */
must_use int iface_forwards(const struct iface *i, bool is_v6);
/* 1: it is a tun or tap device, behind which is a program, mostly a virtual machine; 0: it is not. */
must_use int iface_is_tap(const struct iface *i);
/* Calls fn for each unicast address of this network namespace that other hosts can send to:
 * no loopback, no link-local one. 0, -errno, or what fn returned. */
must_use int iface_addrs(int (*fn)(const struct addr *addr, void *arg), void *arg);
/* Its description (ip link set alias), "" where it has none. */
must_use int iface_alias(const struct iface *i, char *alias, size_t size);

/* One cls_bpf filter of an interface, as the kernel lists it. */
struct tc_filter {
	__u32 prog_id;
	__u32 handle;
	__u16 priority;
	char name[64];
};
/* Calls fn for each bpf filter of the clsact ingress or egress hook. -ENOENT-like
 * absence of clsact is no error: fn is not called. */
must_use int tc_filters(const struct iface *i, bool egress,
			int (*fn)(const struct tc_filter *f, void *arg), void *arg);

#endif
