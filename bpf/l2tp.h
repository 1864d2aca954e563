/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TP_H
#define L3AF_L2TP_H

/*
 * Contract between the kernel function l2tp (Ethernet pseudowires in L2TPv3, RFC 3931 and
 * 4719) and lib/l2tp*.c. Below kf/<instance>/:
 *
 *   config     one struct l2tp_config
 *   places     struct l2tp_place by the place constant of a loaded program
 *   received   HASH of struct l2tp_rx_key to struct l2tp_rx: sessions as their packets arrive.
 *              This is the session: all that was configured is in it (l2tp_rx.session)
 *   access     HASH of struct l2tp_access to struct l2tp_tx: sessions as their frames leave;
 *              made of what is in received
 *   endpoints  HASH of struct l2tp_endpoint to u8, 1: local addresses that have a session.
 *              What arrives at none of them is not ours
 *   stats      per-CPU HASH of a session's number to struct l2tp_stat
 *   sequences  HASH of a session's number to struct l2tp_sequence: of those that use them
 *   errors     struct l2tp_error by place
 *
 * One program at tc ingress, last in its chain, of two sorts of interfaces; one may be both.
 * On the underlay packets to an endpoint are taken out of their headers and sent by the access
 * interface. On the access interface frames of a session (all of them, or those with a tag) are
 * put into headers and sent by the underlay. What belongs to no session goes on as it came.
 *
 * Order of changes. A session comes: stats, sequences, endpoint, received, access. It goes: the
 * other way round. A change: received, access (each one update, which replaces the element). So
 * whoever finds a session in received without its like in access, or an entry of stats, sequences
 * or endpoints without a session, knows that a command was killed, and what there is to do.
 */
#include <linux/types.h>

#define L2TP_ABI 1
#define L2TP_PLACES 4096
#define L2TP_SESSIONS 65536
#define L2TP_PORT 1701

struct l2tp_config {
	__u32 abi;            /* L2TP_ABI */
	__u32 is_busy;        /* a command is at work, or was killed */
	__u64 making_netns;
	char making[16];      /* helper interface that it is about to make, or has made */
	__u32 reserved[8];
};

enum {
	L2TP_UNDERLAY = 1,    /* sessions' packets arrive here */
	L2TP_ACCESS = 2,      /* sessions' frames arrive here: */
	L2TP_PLAIN = 4,       /* of a session without vlan, */
	L2TP_VLAN = 8,        /* with one tag, */
	L2TP_QINQ = 16,       /* with two */
};
struct l2tp_place {
	__u64 netns;          /* struct netns of lib/nl.h: cookie or inode */
	__u64 since;          /* CLOCK_REALTIME, seconds; 0: not used */
	__u32 ifindex;
	__u32 flags;          /* L2TP_UNDERLAY... Set before the sessions come, cleared after they went */
	__u8 is_cookie;
	__u8 is_helper;       /* its veth peer was made with it (netdev) */
	__u8 is_promiscuous;  /* made so by us */
	__u8 reserved[5];
	char name[16];        /* the interface's, when the first session came */
	__u64 reserved2[2];
};

enum l2tp_encap { L2TP_UDP, L2TP_IP };
enum {
	L2TP_V6 = 1,          /* the outer header */
	L2TP_CHECKSUM = 2,    /* of UDP, is sent */
	L2TP_SUBLAYER = 4,    /* the default L2-specific sublayer is there */
	L2TP_SEQUENCE = 8,    /* and has sequence numbers; with L2TP_SUBLAYER only */
	L2TP_NETDEV = 16,     /* the access interface is the helper of one that was made with the session */
	L2TP_MTU = 32,        /* mtu was given; else it follows the underlay's */
};

/* What was configured. Numbers in host byte order, addresses and cookies as on the wire. */
struct l2tp_session {
	char name[16];
	__u64 since;          /* CLOCK_REALTIME, seconds */
	__u32 number;         /* 1..., of one session in all the instance */
	__u32 id;             /* session ID that the peer sends */
	__u32 peer_id;        /* session ID that is sent */
	__u32 underlay;       /* places */
	__u32 access;
	__u32 underlay_ifindex;
	__u32 access_ifindex;
	__u32 ask;            /* ifindex of an interface that may forward packets (net.ipv4.conf.X.forwarding and
	                       * ipv6): what the kernel is asked for the next hop as if the packet came in by;
	                       * 0: the underlay */
	__u32 local[4];       /* IPv4: ::ffff:a.b.c.d */
	__u32 remote[4];
	__u16 local_port;     /* UDP */
	__u16 remote_port;
	__u16 vlan[2];        /* outer, inner; L2TP_NO_VLAN */
	__u16 mtu;            /* largest IP packet in an untagged frame */
	__u16 frame;          /* largest frame that fits into the underlay's MTU, octets from its Ethernet header
	                       * on, tags included */
	__u8 encap;           /* enum l2tp_encap */
	__u8 flags;           /* L2TP_V6... */
	__u8 tx_cookie_len;   /* 0, 4, 8 octets */
	__u8 rx_cookie_len;   /* of each; 0: none expected */
	__u8 rx_cookies;      /* how many are accepted: 0..2 */
	__u8 reserved[7];
	__u8 tx_cookie[8];
	__u8 rx_cookie[2][8];
	char dev[16];         /* NEWIF or IF when the session came */
	__u32 reserved2[4];
};
#define L2TP_NO_VLAN 0xffff

/* The headers behind the outer Ethernet header, and so what a frame grows by less 14. */
#define L2TP_HEADERS(flags, encap, cookie_len)                                      \
	(((flags) & L2TP_V6 ? 40 : 20) + ((encap) == L2TP_UDP ? 12 : 0) + 4 +        \
	 (cookie_len) + ((flags) & L2TP_SUBLAYER ? 4 : 0))
#define L2TP_HEADERS_MAX 72

struct l2tp_rx_key {
	__be32 id;            /* session ID */
	__u32 place;          /* the underlay's */
};

struct l2tp_rx {
	__u32 remote[4];      /* what the packet has to say */
	__u32 local[4];
	__u32 ports;          /* as they stand in UDP's header: remote, local; IP: 0 */
	__u32 cookie[2][2];   /* as on the wire; unused words 0; if there is one cookie, twice */
	__u32 cookie_mask[2]; /* ~0: the word is there */
	__u32 number;
	__u32 out;            /* ifindex of the access interface */
	__u16 mss[2];         /* largest of TCP over IPv4, IPv6 in an untagged frame */
	__u8 encap;
	__u8 flags;
	__u8 l2tp_len;        /* from the session ID to the frame: 4..16 */
	__u8 reserved[5];
	struct l2tp_session session;
};

struct l2tp_access {
	__u32 place;
	__u16 vlan[2];        /* VLAN IDs, outer, inner; L2TP_NO_VLAN */
};

/* Next hop, written by packets: both words are one answer if their stamps are the same. 0: not
 * known yet, as after each update. */
struct l2tp_hop {
	__u64 word[2];        /* MAC << 16 | stamp: destination, source */
};

struct l2tp_tx {
	__u32 number;
	__u32 underlay;       /* ifindex */
	__u32 ask;            /* ifindex, or 0 */
	__u16 mtu;
	__u16 frame;
	__u16 mss[2];
	__u8 encap;
	__u8 flags;
	__u8 len;             /* of header behind the outer Ethernet header */
	__u8 reserved;
	__u32 ip_sum;         /* of the IPv4 header without its length; ones' complement sum of the
	                       * 16-bit words as they are in memory, not folded */
	__u32 udp_sum;        /* of the pseudo header, UDP and all up to the frame, without lengths
	                       * and sequence number */
	__u32 addr[2][4];     /* local, remote: as l2tp_session */
	struct l2tp_hop hop;
	__u8 header[96];      /* from Ethernet on: MACs, lengths, checksums and sequence number 0 */
};

struct l2tp_endpoint {
	__u32 local[4];
	__u32 place;
	__u16 port;           /* host byte order; 0: L2TP over IP */
	__u16 reserved;
};

/* Written by packets. */
struct l2tp_sequence {
	__u64 received;       /* 0: none yet; else as in bpf/l2tpseq.bpf.h */
	__u32 sent;           /* number of the next one, its lower 24 bits */
	__u32 reserved;
};

enum l2tp_count {
	/* frames into the session, not sent */
	L2TP_TX_TOO_BIG,      /* dropped */
	L2TP_TX_TOLD,         /* dropped, and the sender told by ICMP */
	L2TP_TX_NO_HOP,       /* no route by the underlay, or no neighbour */
	L2TP_TX_GSO,          /* a super-packet that cannot be segmented in these headers: see l3afctl-l2tp(8) */
	L2TP_TX_PARTIAL,      /* its checksum is left to the interface, and so cannot be in UDP's */
	L2TP_TX_MEMORY,       /* or more tags than we know */
	/* packets out of the session, dropped */
	L2TP_RX_COOKIE,       /* not one of those expected */
	L2TP_RX_PEER,         /* not from the peer's address and port, or not to the session's */
	L2TP_RX_OLD,          /* sequence number not above the last one */
	L2TP_RX_SHORT,        /* headers say more than there is, or no frame is in it */
	L2TP_RX_VLAN,         /* the frame has not the session's tags */
	L2TP_RX_MEMORY,       /* or the kernel cannot take it apart */
	/* and passed on all the same */
	L2TP_RX_LOST,         /* sequence numbers left out */
	L2TP_RX_RESTARTED,    /* the peer began anew with its sequence numbers */
	L2TP_TX_CLAMPED,      /* SYNs whose maximum segment size was lowered */
	L2TP_RX_CLAMPED,
	L2TP_COUNTS,
};
/* Octets of frames from their Ethernet header on, tags included; of a GSO packet as it is. */
struct l2tp_stat {
	__u64 tx, tx_octets, rx, rx_octets; /* taken into the session, out of it */
	__u64 count[20];      /* by enum l2tp_count */
};

/* Packets to an endpoint, left to the network stack as they came. */
enum l2tp_place_count {
	L2TP_CONTROL,         /* control messages: T bit, session 0 */
	L2TP_UNKNOWN,         /* no session of ours */
	L2TP_FRAGMENT,        /* of the outer packet */
	L2TP_MALFORMED,       /* shorter than their headers */
	L2TP_VERSION,         /* UDP: not L2TPv3 */
	L2TP_RUNT,            /* access interface: no whole Ethernet header */
	L2TP_PLACE_COUNTS,
};
struct l2tp_error {
	__u64 count[8];
};

/* Constants of each loaded program (.rodata.place). */
struct l2tp_here {
	__u32 place;
	__u32 reserved[3];
};

_Static_assert(sizeof(struct l2tp_config) == 64, "ABI");
_Static_assert(sizeof(struct l2tp_place) == 64, "ABI");
_Static_assert(sizeof(struct l2tp_session) == 168, "ABI");
_Static_assert(sizeof(struct l2tp_rx_key) == 8, "ABI");
_Static_assert(sizeof(struct l2tp_rx) == 248, "ABI");
_Static_assert(sizeof(struct l2tp_access) == 8, "ABI");
_Static_assert(sizeof(struct l2tp_tx) == 176, "ABI");
_Static_assert(sizeof(struct l2tp_endpoint) == 24, "ABI");
_Static_assert(sizeof(struct l2tp_sequence) == 16, "ABI");
_Static_assert(sizeof(struct l2tp_stat) == 192, "ABI");
_Static_assert(sizeof(struct l2tp_error) == 64, "ABI");
_Static_assert(sizeof(struct l2tp_here) == 16, "ABI");

#endif
