/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENT_H
#define L3AF_AGENT_H

/*
 * Contract between the kernel function agent and lib/agent*.c: a host behind a load balancer
 * takes packets out of GUE (bpf/gue.h) and, where the application does not own the VIP,
 * translates its address. Below kf/<instance>/:
 *
 *   config   one struct agent_config
 *   places   struct agent_place by the place constant of a loaded program
 *   vips     HASH of struct agent_vip_key to struct agent_vip
 *   sources  LPM_TRIE of struct agent_source to u8, 1: who may send to a place that is strict
 *   conns    LRU_HASH of struct agent_conn_key to struct agent_conn: translated connections
 *   frags    LRU_HASH of struct agent_frag to struct agent_conn_key: whose reply a datagram is
 *   stats    per-CPU struct agent_stat by place
 *   vipstats per-CPU struct agent_vip_stat by agent_vip.stat
 *   agent/   an empty directory: the instance is an agent's, and outlives its chain members
 *
 * Two hooks of an interface take part. At a NIC packets are decapsulated where they come in
 * (xdp or tc-ingress) and replies leave by tc-egress; at the interface of a guest, a tap or
 * veth, both are turned round: tc-egress and tc-ingress. A packet that is not taken goes on as
 * it came, not one byte of it changed.
 *
 * A VIP's packet that is decapsulated has its destination translated if to is not zero, and
 * an entry in conns is made or refreshed: its reply, from to, leaves with the VIP as its
 * source. A packet to the same address and ports that did not come out of a tunnel, a SYN or
 * a datagram, takes the entry away: who speaks to the application directly gets no VIP.
 */
#include <linux/types.h>

#define AGENT_ABI 1
#define AGENT_PLACES 64
#define AGENT_VIPS 4096
#define AGENT_SOURCES 4096
#define AGENT_CONNS 131072
#define AGENT_FRAGS 4096
#define AGENT_PORT 6080 /* GUE, IANA */

struct agent_config {
	__u32 abi;         /* AGENT_ABI */
	__u32 reserved[15];
};

enum agent_at { AGENT_NIC, AGENT_GUEST };
enum agent_hook { AGENT_XDP, AGENT_TC };

/* Settings of an interface. */
struct agent_place {
	__u64 netns;       /* struct netns of lib/nl.h: cookie or inode */
	__u64 since;       /* CLOCK_REALTIME, seconds */
	__u32 ifindex;     /* 0: free */
	__be16 port;       /* GUE destination port */
	__u8 at;           /* enum agent_at */
	__u8 hook;         /* enum agent_hook: where packets are decapsulated */
	__u8 is_strict;    /* outer sources that are not in sources are not believed */
	__u8 is_local;     /* its VIPs without a purpose of their own follow the host's addresses */
	__u8 is_translating; /* a VIP has an address to translate to, or had one */
	__u8 reserved[5];
	char name[16];     /* the interface's, when it was enabled */
	__u64 reserved2[2];
};

/* Addresses: network byte order, IPv4 as ::ffff:a.b.c.d. */
struct agent_vip_key {
	__u32 addr[4];
	__u32 place;
};

enum { AGENT_OWN = 1 /* an address of this host, found by "local" */ };

struct agent_vip {
	__u32 to[4];       /* the application's address, of the same family; 0: the host owns the VIP */
	__u32 stat;        /* index into vipstats */
	__u16 diff;        /* ones' complement sum of to - addr in 16-bit words as in memory */
	__u8 overhead;     /* written by packets: what the widest tunnel added to them, 0: none yet */
	__u8 flags;        /* AGENT_OWN */
	__u64 since;       /* CLOCK_REALTIME, seconds */
};

struct agent_source {
	__u32 len;         /* of place and addr, bits */
	__u32 place;
	__u32 addr[4];
};

/* Whose connections are told apart: all NICs of a network namespace share theirs, since replies
 * may leave by another one than packets come in by; a guest has its own. */
#define AGENT_SCOPE(place, at, netns) ((at) == AGENT_GUEST ? (place) : 0x8000 | ((netns) & 0x7fff))

/* A connection as its reply knows it: from own to client. */
struct agent_conn_key {
	__u32 client[4], own[4];
	__be16 client_port, own_port;
	__u16 scope;
	__u8 proto;        /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 reserved;
};

enum {
	AGENT_FIN_CLIENT = 1, AGENT_FIN_OWN = 2, /* seen */
	AGENT_RST = 4,
};
struct agent_conn {
	__u32 vip[4];
	__u32 seen;        /* low half of jiffies64 of its latest packet */
	__u32 since;       /* of its first one */
	__u16 diff;        /* of agent_vip */
	__u8 flags;
	__u8 overhead;     /* of the tunnel */
};
/* An entry that nothing was heard of for so long, in seconds, is as if it were not there. */
#define AGENT_TCP_IDLE 3600
#define AGENT_UDP_IDLE 60
#define AGENT_CLOSING_IDLE 10 /* RST, or FIN from both */

struct agent_frag {
	__u32 src[4], dst[4];
	__be32 id;
	__u16 scope;
	__u8 proto;        /* IPv6: 0 (RFC 8200, section 4.5) */
	__u8 reserved;
};

enum agent_count {
	AGENT_DECAPSULATED, /* taken out of a tunnel */
	AGENT_TRANSLATED,   /* of those, with another destination */
	AGENT_REPLIES,      /* translated back */
	AGENT_ICMP,         /* errors about translated connections, of both directions, passed on */
	AGENT_CLAMPED,      /* SYN-ACKs whose maximum segment size was lowered */
	AGENT_SECOND_HOP,   /* passed on to the backend before */
	/* packets to the GUE port that were left to the network stack */
	AGENT_NO_VIP,       /* for an address that is no VIP here */
	AGENT_NOT_ALLOWED,  /* by none of the strict sources */
	AGENT_OUTER,        /* a fragment, or with IP options or extension headers */
	AGENT_UNKNOWN,      /* no GUE that we know: control message, flags, other payload */
	AGENT_BAD_LENGTH,   /* headers say more than there is */
	AGENT_NOT_TRANSLATABLE, /* not TCP, UDP or an ICMP error about them */
	AGENT_UNABLE,       /* this kernel cannot take it apart: see l3afctl-agent(8) */
	/* dropped */
	AGENT_CONFLICT,     /* another connection has the same addresses and ports behind its VIP */
	AGENT_CONGESTED,    /* "congestion experienced" around a packet that knows no ECN (RFC 6040) */
	/* replies */
	AGENT_LOST_FRAGMENT, /* later fragments, the first was not seen: passed untranslated */
	AGENT_DIRECT,       /* entries taken away, the client speaks to the application directly */
	AGENT_COUNTS,
};
struct agent_stat {
	__u64 count[24];   /* by enum agent_count */
};

/* Inner IP packets. */
struct agent_vip_stat {
	__u64 packets, bytes, replies, reply_bytes;
};

/* Constants of each loaded program (.rodata.place). */
enum agent_role { AGENT_DECAPSULATES, AGENT_REPLIES_ONLY };
struct agent_here {
	__u32 place;
	__u32 role;
	__u32 hz;          /* jiffies a second */
	__u32 ifindex;
	__u32 scope;
	__u32 reserved[3];
};

_Static_assert(sizeof(struct agent_config) == 64, "ABI");
_Static_assert(sizeof(struct agent_place) == 64, "ABI");
_Static_assert(sizeof(struct agent_vip_key) == 20, "ABI");
_Static_assert(sizeof(struct agent_vip) == 32, "ABI");
_Static_assert(sizeof(struct agent_source) == 24, "ABI");
_Static_assert(sizeof(struct agent_conn_key) == 40, "ABI");
_Static_assert(sizeof(struct agent_conn) == 28, "ABI");
_Static_assert(sizeof(struct agent_frag) == 40, "ABI");
_Static_assert(sizeof(struct agent_stat) == 192, "ABI");
_Static_assert(sizeof(struct agent_vip_stat) == 32, "ABI");
_Static_assert(sizeof(struct agent_here) == 32, "ABI");

#endif
