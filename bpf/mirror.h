/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRROR_H
#define L3AF_MIRROR_H

/*
 * Contract between the kernel functions mirror and mirrortarget and lib/mirror*.c. Both run on
 * one instance, which has below kf/mirror/:
 *
 *   config   ARRAY of one struct mirror_config, memory-mapped
 *   places   ARRAY of struct mirror_place, memory-mapped: interfaces that are mirrored
 *   sets     ARRAY_OF_MAPS by place: ARRAY of one struct mirror_set, memory-mapped: the
 *            interface's filters, written once, then published by one pointer swap
 *   stats    ARRAY_OF_MAPS by place: per-CPU ARRAY of struct mirror_stat by mirror_filter.stat
 *   targets  ARRAY of struct mirror_target, memory-mapped: two copies of each (config.which)
 *   sent     per-CPU ARRAY of struct mirror_stat by target
 *   state    ARRAY of struct mirror_state by target, memory-mapped
 *   way      per-CPU ARRAY of one struct mirror_way: the clone that is on its way
 *
 * mirror (tc ingress, first member; tc egress, last member) finds the filter, clones the packet
 * to the target's interface and goes on, whatever becomes of the clone: the packet, its
 * metadata and the verdict are what they were. mirrortarget (tc egress of that interface, first
 * member) knows the clone by tc_index, cb and way, cuts and encapsulates it.
 *
 * A packet is not mirrored (the three guards)
 *   1. that is a mirrored one: tc_index says so all the way down to the wire,
 *   2. from or to a target's address,
 *   3. that is in a tunnel of GUE or VXLAN inside another one: a second mirror already.
 */
#include <linux/types.h>
#include "match.h"

#define MIRROR_ABI 1
#define MIRROR_PLACES 256
#define MIRROR_TARGETS 16
#define MIRROR_FILTERS 1000 /* of one interface */
#define MIRROR_STATS (2 * MIRROR_FILTERS) /* so that all filters can make way for others in one step */

#define MIRROR_GUE_PORT 6080
#define MIRROR_VXLAN_PORT 4789 /* RFC 7348, section 8 */
enum mirror_encap { MIRROR_GUE, MIRROR_VXLAN };
enum mirror_action { MIRROR_ACCEPT, MIRROR_REJECT };
enum mirror_sample { MIRROR_BY_PACKET, MIRROR_BY_FLOW };

struct mirror_config {
	__u32 abi;            /* MIRROR_ABI */
	__u32 which;          /* bit t: the copy of target t that is in use, targets[t + 16 * bit] */
	__u32 targets;        /* bit t: target t is there */
	__u32 serial;         /* the last one given to a target */
	__u64 changing;       /* of user space: the network namespace whose targets are being changed;
			       * who finds it set there completes that */
	__u32 reserved[10];
};

struct mirror_place {
	__u64 netns;          /* struct netns of lib/nl.h: cookie or inode */
	__u64 since;          /* CLOCK_REALTIME, seconds; 0: the place is not used */
	__u32 ifindex;
	__u8 is_cookie;
	__u8 is_changing;     /* of user space: as mirror_config.changing */
	__u8 reserved[2];
	char name[16];        /* the interface's, when the first filter was added */
	__u32 reserved2[6];
};

#define MIRROR_HEADERS 0xffff
#define MIRROR_SNAPLEN_LEAST 64
struct mirror_filter {
	struct match_rule rule;
	__u64 since;          /* CLOCK_REALTIME, seconds */
	__u32 number;         /* 1.. : filters are in this order */
	__u32 sample;         /* one of so many; 0 and 1: all */
	__u16 snaplen;        /* octets of the frame from its Ethernet header on, tags included;
			       * 0: all; MIRROR_HEADERS: up to the end of the transport header */
	__u16 stat;           /* index into the place's stats: stays with the filter */
	__u8 action;          /* enum mirror_action */
	__u8 target;          /* MIRROR_ACCEPT */
	__u8 sample_by;       /* enum mirror_sample */
	__u8 reserved[9];
};

struct mirror_set {
	struct match_set match;                    /* rule n is filter[n] */
	struct mirror_filter filter[MATCH_RULES];
};

struct mirror_target {
	char name[16];
	__u64 netns;          /* as mirror_place */
	__u64 since;
	__u32 to[4];          /* the collector: network byte order, IPv4 as ::ffff:a.b.c.d */
	__u32 source[4];      /* the same family */
	__u32 ifindex;
	__u32 vni;            /* VXLAN, 24 bits */
	__u16 port;           /* UDP destination, host byte order */
	__u8 encap;           /* enum mirror_encap */
	__u8 has_checksum;    /* UDP checksum of the outer header */
	__u8 has_gateway;     /* 0: by routes and neighbours */
	__u8 gateway[6];
	__u8 is_cookie;
	__u64 cap;            /* bits per second of the frames sent, 0: no cap */
	__u64 cap_ps;         /* picoseconds per octet: what the program reckons with */
	char dev[16];         /* the interface's name when the target was added */
	__u8 mac[6];          /* the interface's own */
	__u8 variant;         /* of GUE: 0, with struct gue; 1, the IP packet is right behind UDP */
	__u8 has_source;      /* source was given; else it is what the kernel's route has */
	__u32 serial;         /* another one with each change: a next hop is one of these */
	__u8 reserved2[12];
};

/* Written by packets. */
struct mirror_state {
	__u64 due;            /* cap: CLOCK_MONOTONIC ns when what was sent is paid off (GCRA, ITU-T I.371) */
	__u32 is_stray;       /* a clone left without mirrortarget seeing it: nothing is sent to this target
			       * until user space has put mirrortarget back and cleared this */
	__u32 reserved[13];
};

/* Why nothing was sent, or not all of it. */
enum mirror_cause {
	MIRROR_SAMPLED_OUT,
	MIRROR_CAPPED,
	MIRROR_LOOP,          /* a guard */
	MIRROR_NOT_IP,        /* GUE carries IP only */
	MIRROR_NO_MEMORY,
	MIRROR_NO_NEXT_HOP,
	MIRROR_DOWN,          /* the target's interface is down, or gone */
	MIRROR_QUEUE_FULL,    /* its queueing discipline refused it */
	MIRROR_STRAY,         /* mirrortarget is not on the target's interface */
	MIRROR_ERROR,         /* a helper failed otherwise */
	MIRROR_CAUSES,
};
struct mirror_stat {
	__u64 packets, octets;   /* matched, as the interface counts: a GSO packet is one, octets
				  * with Ethernet header. Of a target: accepted by filters */
	__u64 sent, sent_octets; /* handed to the interface; octets of the encapsulated frame
				  * before segmentation */
	__u64 cut;               /* sent, shortened to snaplen */
	__u64 fitted;            /* sent, shortened to the MTU */
	__u64 not_sent[MIRROR_CAUSES];
};
/* packets = sent + the sum of not_sent; a reject filter has packets and octets alone. */

/* tc_index of a clone, down to the wire and over bridges, which wipe cb */
#define MIRROR_INDEX 0x4c4d
/* and its cb[0] */
#define MIRROR_MAGIC 0x4c33414dU /* "L3AM": on its way to mirrortarget; cb[1] is its cookie */
#define MIRROR_DONE 0x4c33414eU  /* encapsulated; cb[1..4]: cookie, copy, place << 16 | stat, serial,
				  * where the kernel was asked for the next hop (cb[1] != 0) */

/* From mirror to mirrortarget, on one CPU, while bpf_clone_redirect runs. */
struct mirror_job {
	__u32 cookie;         /* cb[1] of the clone; 0: none is on its way */
	__u32 copy;           /* index into targets */
	__u32 place;
	__u32 stat;
	__u32 hash;           /* of the flow: source port and flow label */
	__u32 snaplen;        /* octets that stay of the frame with its tags; 0: all */
	__u16 headers;        /* octets of the IP and transport header; 0: it is not IP */
	__u8 proto;           /* IP protocol, of headers */
	__u8 is_waiting;      /* the kernel was asked for the next hop and did not send it yet */
	__u32 is_taken;       /* mirrortarget saw it */
	__u32 cause;          /* 1 + enum mirror_cause: why mirrortarget dropped it */
	__u32 octets;         /* as sent */
	__u32 flags;          /* MIRROR_WAY_* */
	__u32 reserved[3];
};
#define MIRROR_WAY_CUT 1
#define MIRROR_WAY_FITTED 2

struct mirror_way {
	struct mirror_job job;
	__u32 count;          /* the last cookie */
	__u32 reserved;
	__u8 head[176];       /* an outer header, as it is made, and zeroes */
	__u8 chunk[520];      /* of a packet whose sum is reckoned */
	struct mirror_hop {   /* next hop by target, good for MIRROR_HOP_JIFFIES */
		__u64 dev;    /* the kernel's struct net_device: only ever read through, as what may be gone */
		__u32 since;  /* jiffies */
		__u32 serial; /* of the target */
		__u32 mtu;    /* of the interface; 0: nothing is known */
		__u32 is_doubted; /* something was refused: is the interface still up? */
		__u8 dst[6], src[6];
		__u32 reserved;
	} hop[MIRROR_TARGETS];
};
#define MIRROR_HOP_JIFFIES 250

/* Constants of each loaded copy of mirror (.rodata.place). */
struct mirror_here {
	__u32 place;
	__u32 direction; /* as enum flow_direction */
};

_Static_assert(sizeof(struct mirror_config) == 64, "ABI");
_Static_assert(sizeof(struct mirror_place) == 64, "ABI");
_Static_assert(sizeof(struct mirror_filter) == 88, "ABI");
_Static_assert(sizeof(struct mirror_target) == 144, "ABI");
_Static_assert(sizeof(struct mirror_state) == 64, "ABI");
_Static_assert(sizeof(struct mirror_job) == 56, "ABI");
_Static_assert(sizeof(struct mirror_stat) == 48 + 8 * MIRROR_CAUSES, "ABI");

#endif
