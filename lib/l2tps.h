/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPS_H
#define L3AF_L2TPS_H

/*
 * L2TPv3 Ethernet pseudowires: the kernel function l2tp (bpf/l2tp.h). The lock is held by the
 * caller. All print their errors unless they say otherwise.
 */
#include "chain.h"
#include "l2tp.h"
#include "l2tptable.h"
#include "parsel2tp.h"

/* What may be given beside what a session is named by; the others are defaults, or stay. */
enum l2tp_has {
	L2TP_HAS_ENDS = 1 << 0,     /* dev or netdev, underlay, local, both session IDs, encap: of add */
	L2TP_HAS_REMOTE = 1 << 1,
	L2TP_HAS_SPORT = 1 << 2,
	L2TP_HAS_DPORT = 1 << 3,
	L2TP_HAS_TX_COOKIE = 1 << 4,
	L2TP_HAS_RX_COOKIE = 1 << 5,
	L2TP_HAS_SUBLAYER = 1 << 6,
	L2TP_HAS_SEQUENCE = 1 << 7,
	L2TP_HAS_VLAN = 1 << 8,
	L2TP_HAS_MTU = 1 << 9,
	L2TP_HAS_UDP_CSUM = 1 << 10,
};

struct l2tp_want {
	unsigned has;                /* enum l2tp_has */
	struct iface dev;            /* an interface that is there, */
	char netdev[NAME_LEN];       /* or the name of one to make */
	struct iface underlay;
	struct addr local, remote;
	__u32 session, peer_session;
	int encap;                   /* enum l2tp_encap */
	__u16 sport, dport;
	struct cookie tx, rx[2];
	int rxs;
	bool has_sublayer, has_sequence, has_udp_csum;
	struct vlans vlans;
	__u32 mtu;                   /* 0: as large as fits */
};

/* Make it so, or change what is given. */
must_use int l2tp_add(const struct run *run, const struct bpffs *b, const char *name, const struct l2tp_want *want);
/* Change what is given of one that is there. */
must_use int l2tp_set(const struct run *run, const struct bpffs *b, const char *name, const struct l2tp_want *want);
must_use int l2tp_remove(const struct run *run, const struct bpffs *b, const char *name);
/* All of this network namespace. */
must_use int l2tp_flush(const struct run *run, const struct bpffs *b);

extern const char *const l2tp_encap_words[];    /* by enum l2tp_encap */
extern const char *const l2tp_sublayer_words[]; /* none, default */
extern const char *const l2tp_switch_words[];   /* off, on */

/* kf.keeps: sessions outlive their last member. */
must_use int l2tp_keeps(const struct bpffs *b, const char *instance);
/* kf.prepare. */
struct bpf_object;
must_use int l2tp_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			  const struct chain_id *at);

#endif
