/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOW_H
#define L3AF_FLOW_H

/*
 * Contract between the kernel function flows and lib/flowtable.c. An instance has,
 * below kf/<instance>/:
 *
 *   keys     HASH of struct flow_key to a slot: the flows that packets are counted to
 *   hints    ARRAY of struct flow_hints: slots by a hash of their keys, a cache
 *   records  ARRAY of struct flow_rec by slot, memory-mapped
 *   ring     ARRAY of u64, memory-mapped: free slots, at positions head..tail of ends
 *   ends     ARRAY of one struct flow_ends, memory-mapped
 *   config   ARRAY of one struct flow_config, memory-mapped
 *   places   ARRAY of struct flow_place, memory-mapped: where packets are seen
 *   stats    per-CPU ARRAY of struct flow_stat, by place
 *   spare    per-CPU ARRAY of one u64: a slot + 1 in state NEW that has no flow, or 0
 *   frags    LRU_HASH of struct flow_frag to flow_frag_ports: whose flow later fragments are of
 *   collector/<n>/state  ARRAY of one struct flow_collector, memory-mapped
 *   collector/<n>/lines  ARRAY of struct flow_line by slot, memory-mapped
 *
 * Exactness (each line is a test): counters of a record only grow, by atomic adds; a
 * collector's lines are written by exports to it alone, so that deltas telescope; after
 * a flow is CLOSING, its key deleted and a grace period over no program can hold its slot
 * (one found by a hint was LIVE in that program's own lifetime), what is read then is final; a slot is free again only when every collector has all of that;
 * a packet that cannot be counted to a flow is counted as ignored, by cause.
 *
 * Life of a slot, who makes the step:
 *   FREE    -> NEW      packet path, having popped it off the ring; where another CPU was
 *                       first with its key it is kept in spare, for the next
 *   NEW     -> LIVE     packet path, its key is in keys
 *   NEW     -> ORPHAN   packet path, where spare holds one already; never counted
 *   LIVE    -> CLOSING  user space, under the instance's lock; then the key is deleted
 *   CLOSING -> CLOSED   user space, after a grace period: counters are final
 *   CLOSED, ORPHAN -> FREE  user space, under the lock, back into the ring
 */
#include <linux/types.h>

#define FLOW_ABI 1
#define FLOW_PLACES 256
#define FLOW_COLLECTORS 4

enum flow_direction { FLOW_INGRESS, FLOW_EGRESS }; /* as IE 61 flowDirection */
enum flow_state { FLOW_FREE, FLOW_NEW, FLOW_LIVE, FLOW_ORPHAN, FLOW_CLOSING, FLOW_CLOSED };

/* IE 136 flowEndReason. */
enum flow_reason {
	FLOW_REASON_NONE,
	FLOW_IDLE = 1,
	FLOW_ACTIVE = 2,
	FLOW_END = 3,     /* TCP FIN or RST was seen */
	FLOW_FORCED = 4,  /* the operator's flush */
	FLOW_LACK = 5,
};

struct flow_key {
	__u32 src[4], dst[4]; /* network byte order, IPv4 as ::ffff:a.b.c.d */
	__u16 sport, dport;   /* host byte order; ICMP: type and code; 0 where there are none */
	__u16 vlan[2];        /* outer, inner: FLOW_TAGGED | VID; 0: no tag */
	__u16 place;
	__u8 proto;           /* IP protocol behind the extension headers */
	__u8 family;          /* 4 or 6 */
};
#define FLOW_TAGGED 0x8000

struct flow_rec {
	/* line 0: every packet; and all that is asked of a slot without news */
	__u64 packets;        /* segments of a GSO packet counted each */
	__u64 octets;         /* IP headers and payload of each, as on the wire */
	__u64 first, last;    /* jiffies64 of the first and the latest packet */
	__u32 fresh;          /* bit c: the next packet begins an interval for collector c */
	__u32 flags;          /* TCP flags seen, ORed: the low byte of bytes 13, NS in bit 8 */
	__u32 ttl_min, ttl_max;
	__u32 in_ifindex;     /* egress of a forwarded packet: where it came in; else 0 */
	__u32 life;           /* enum flow_state | enum flow_reason << 8 | generation << 16 */
	__u8 tos;             /* of the first packet: TOS byte or traffic class */
	__u8 reserved[7];
	/* line 1: written when the slot is taken, and rarely after */
	struct flow_key key;
	__u32 begin[FLOW_COLLECTORS]; /* low half of jiffies64: first packet of the interval
				       * under way for each collector */
	__u32 reserved2;
};

/* The generation counts the flows that had this slot; 0 never occurs in one that has. */
#define FLOW_STATE(life) ((life) & 0xff)
#define FLOW_REASON(life) ((life) >> 8 & 0xff)
#define FLOW_GENERATION(life) ((life) >> 16)
#define FLOW_LIFE(generation, reason, state) \
	((__u32)(generation) << 16 | (__u32)(reason) << 8 | (__u32)(state))

/* What one collector was told of a slot's flow. Counts hold if the generation is the
 * slot's; else nothing was told. */
struct flow_line {
	__u64 packets, octets;
	__u32 begin;          /* of an interval that was read and not yet sent */
	__u32 reported;       /* low half of jiffies64: the last report */
	__u16 generation;
	__u16 begun;          /* generation whose interval's first packet is in begin; 0: none */
	__u8 reserved[4];
};

/* Free slots are ring[head & mask] .. ring[(tail - 1) & mask]. Packets pop at head by
 * compare-and-swap. User space pushes: entries and config->flushing first, then freeing =
 * the new tail, then the slots' states and flushed = flushing, then tail; freeing != tail
 * tells a run killed in between, which the next one finishes. The ring starts
 * as 0, 1, 2 ...: slots from head on were never used. */
struct flow_ends {
	__u64 head;
	__u64 reserved[7];
	__u64 tail;
	__u64 freeing;
	__u64 closing;        /* not 0: slots may be CLOSING */
	__u64 reserved2[5];
};

struct flow_config {
	__u32 abi;            /* FLOW_ABI */
	__u32 max;            /* flows: slots */
	__u32 mask;           /* ring entries - 1, a power of two - 1 */
	__u32 reserved;
	__u64 active_us;      /* report a flow that goes on this long after its last report; 0: each run */
	__u64 idle_us;        /* close a flow after this long without a packet; 0: never */
	struct flow_flushed { __u64 flows, packets, octets; } flushed; /* dropped unsent by the operator */
	struct flow_flushed flushing; /* will be those with freeing */
	__u64 reserved2[3];
};

/* Where packets are seen: an interface's direction. A place keeps its number while any
 * record refers to it. */
struct flow_place {
	__u64 netns;          /* struct netns of lib/nl.h: cookie or inode */
	__u32 ifindex;        /* 0: the place is not used */
	__u8 direction;       /* enum flow_direction */
	__u8 is_cookie;
	__u16 reserved;
	__u32 sample;         /* count every sample-th packet, of each CPU; 0 and 1: all */
	__u32 reserved2;
	__u64 since;          /* CLOCK_REALTIME, seconds */
	char name[16];        /* the interface's, when it was enabled */
	__u64 reserved3[2];
};

enum flow_ignored {
	FLOW_IGNORED_FULL,      /* no free slot */
	FLOW_IGNORED_SAMPLED,   /* not this one of N */
	FLOW_IGNORED_NOT_IP,    /* ARP and other EtherTypes */
	FLOW_IGNORED_MALFORMED, /* no whole IP header, or a wrong one */
	FLOW_IGNORED_ERROR,     /* keys refused the key */
	FLOW_IGNORED_CAUSES,
};

/* packets and octets = those of all flows ever made at this place + all ignored. Octets
 * of what is not IP are those behind the Ethernet header and tags. */
struct flow_stat {
	__u64 frames, bytes;  /* as the interface counts: a GSO packet once, with Ethernet header */
	__u64 packets, octets; /* as flows count */
	struct { __u64 packets, octets; } ignored[FLOW_IGNORED_CAUSES];
	__u64 first_ignored, last_ignored; /* jiffies64, of causes but SAMPLED and NOT_IP */
	__u64 flows;          /* made */
	__u64 sampler;
};

/* What the fragments of a datagram have in common (IPv6: not the protocol, RFC 8200 4.5). */
struct flow_frag {
	__u32 src[4], dst[4];
	__u32 id;
	__u16 vlan[2];
	__u16 place;
	__u8 proto;           /* IPv6: 0 */
	__u8 family;
};
struct flow_frag_ports {
	__u16 sport, dport;
	__u8 proto;
	__u8 reserved[3];
};

/* A set of hints: hash of the key << 32 | slot each. One that is old does no harm: it
 * leads to a record that is not LIVE, or of another key. */
#define FLOW_HINTS 8
struct flow_hints {
	__u64 cell[FLOW_HINTS];
};

/* Constants of each loaded copy of the program (.rodata.place). */
struct flow_here {
	__u32 place;
	__u32 direction;
	__u32 hints_shift;    /* 64 - log2 of the sets of hints */
};

/* What the kernel remembers of a collector. */
struct flow_collector {
	char name[256];       /* HOST:PORT/udp, HOST:PORT/tcp or "file PATH", as given */
	__u32 domain;         /* observation domain ID */
	__u32 sequence;       /* of the next message: data records sent. TCP: of the last session */
	__u16 port;           /* UDP: our source port; 0: none yet */
	__u16 reserved;
	__u32 template_id;    /* checksum of the templates last sent */
	__u64 since;          /* all times CLOCK_REALTIME, seconds */
	__u64 exported_at;    /* Export Time of the last message */
	__u64 succeeded_at;   /* end of the last run without error */
	__u64 failed_at;      /* of the last run with one */
	__s32 failure;        /* its -errno; 0: the last run succeeded */
	__u32 options_sequence; /* as sequence, of observation domain 0 */
	__u64 messages, octets, records; /* sent; records with those of options */
	__u64 flows, flow_packets, flow_octets; /* sent as flow records */
	__u64 file_dev, file_ino, file_size; /* FILE: what was committed, up to this size */
	__u64 file_born;      /* its birth, ns; 0: the file system does not know */
	__u64 file_at;        /* the time that patterns in its name stand for */
	__u64 file_pending;   /* octets being written behind file_size; 0: none */
	__u64 refused;        /* FLOW_IGNORED_FULL packets of all places at the end of the last run */
	__u64 reserved3[12];
};

_Static_assert(sizeof(struct flow_key) == 44, "ABI");
_Static_assert(sizeof(struct flow_rec) == 128, "ABI");
_Static_assert(sizeof(struct flow_line) == 32, "ABI");
_Static_assert(sizeof(struct flow_ends) == 128, "ABI");
_Static_assert(sizeof(struct flow_config) == 104, "ABI");
_Static_assert(sizeof(struct flow_place) == 64, "ABI");
_Static_assert(sizeof(struct flow_stat) == 144, "ABI");
_Static_assert(sizeof(struct flow_frag) == 44, "ABI");
_Static_assert(sizeof(struct flow_hints) == 64, "ABI");
_Static_assert(sizeof(struct flow_collector) == 512, "ABI");

#endif
