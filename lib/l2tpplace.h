/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPPLACE_H
#define L3AF_L2TPPLACE_H

/* Interfaces that take part in pseudowires, and those made for them. These print their errors. */
#include "l2tptable.h"

/* The interface takes part, as flags (L2TP_UNDERLAY...) say and what it did before: its program
 * is in the chain. Its place, or an error. With run->dry_run nothing is touched. */
must_use int l2tp_place_up(const struct run *run, const struct bpffs *b, struct l2tps *t, const struct chain_id *at,
			   __u32 flags, bool is_helper);
/* Interfaces of this network namespace that no session, or not in all they do, needs any more: out
 * of the chain, no longer promiscuous, and away where they were made for it. */
must_use int l2tp_places_settle(const struct run *run, const struct bpffs *b, struct l2tps *t,
				const struct netns *self);

/* The flags that sessions need. */
__u32 l2tp_place_flags(const struct l2tps *t, int place);

/* The name of the other end of netdev NAME. */
void l2tp_helper_name(const char *netdev, char helper[NAME_LEN]);
/* A pair of interfaces, ready for frames; both exist or none. */
must_use int l2tp_pair_make(struct l2tps *t, const struct netns *self, const char *netdev, unsigned mtu,
			    struct iface *helper);
/* The pair of a run that was killed before it had a place, if there is one. */
must_use int l2tp_pair_settle(struct l2tps *t, const struct netns *self);
/* Those of this network namespace have the MTUs of their sessions, after these changed. */
must_use int l2tp_pairs_mtu(const struct l2tps *t, const struct netns *self);

#endif
