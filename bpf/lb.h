/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LB_H
#define L3AF_LB_H

/*
 * Contract between the kernel function lb and lib/lb*.c: a layer-4 load balancer that
 * sends each packet for a VIP to a backend by GUE; the answer goes straight to the client.
 * Below kf/<instance>/, arrays but for the hashes; m: mmapable; sizes are fixed when the
 * instance is made:
 *
 *   config    one struct lb_config (m)
 *   places    struct lb_place by the place constant of a loaded program (m); as many again,
 *             for lb_config.aside
 *   prefilter one struct lb_prefilter (m): addresses that may be a VIP's
 *   vipkeys   HASH of struct lb_key to u32, a VIP's number; proto and port 0: any VIP with
 *             this address, there is at least one
 *   vips      struct lb_vip by number (m)
 *   rings     ARRAY_OF_MAPS: 2n is the ring in use by VIP n, 2n+1 the one before it; each an
 *             ARRAY of one struct lb_ring
 *   backends  struct lb_backend by number (m); 0 is nobody. A backend belongs to one VIP: an
 *             address that serves two VIPs has two numbers
 *   flows     struct lb_bucket (m)
 *   hops      struct lb_hop, next hops that the kernel was asked for: place * backends + number (m)
 *   frags     LB_FRAGS words (m): where the first fragment of a datagram went
 *   scratch   of the programs alone
 *   stats     per-CPU struct lb_stat by backend number
 *   vipstats  per-CPU struct lb_vip_stat by VIP number
 *   health    struct lb_health by backend number (m): of user space alone
 *
 * Life of a backend: user space fills a record that is FREE, makes it ALIVE, publishes a ring
 * that has it. Down: a ring without it, then DEAD: its flows are as if unknown from their next
 * packet on. Removed: the same, then a grace period, then every flow and fragment that points
 * to it is erased, another grace period, then FREE: a number is never in use while a flow has it.
 *
 * What is true of a VIP's settings and backends (who they are, weight, drain, down) is in its
 * ring in use: it changes with the ring, in one step. The copies in struct lb_vip and struct
 * lb_backend are for packets and readers, who may not be allowed to open the ring, and right
 * unless lb_vip.is_changing.
 *
 * The ring before may still name a number that is another VIP's backend by now: compare
 * lb_backend.vip.
 */
#include <linux/types.h>

#define LB_ABI 1
#define LB_PLACES 8
#define LB_RING 65537    /* slots, a prime (Maglev, NSDI 2016, section 3.4) */
#define LB_MEMBERS 4096  /* backends of one VIP */
#define LB_FRAGS 4096    /* a power of two */
#define LB_PORT 6080     /* GUE, IANA */

#define LB_KEYS 12
struct lb_config {
	__u32 abi;         /* LB_ABI */
	__u32 vips, backends; /* sizes; numbers are below */
	__u32 buckets;     /* a power of two */
	__u32 tick_shift;  /* time in a flow's entry: jiffies64 >> this, about a second */
	__u32 tick_us;     /* how long a tick is */
	__u32 swept;       /* tick when user space last erased what was forgotten */
	__u32 aside;       /* bit i: packets read places[LB_PLACES + i], places[i] is being rewritten */
	__u32 key[LB_KEYS]; /* random: of the flow table's hash */
};

/* Where a chain is that has an lb. Addresses in network byte order. */
struct lb_place {
	__u64 netns;
	__u32 ifindex;     /* 0: free */
	__u32 mtu;         /* of the interface, when this was written */
	__u32 source4;     /* outer source addresses; 0: none, backends of that family are not reached */
	__u32 source6[4];
	__u8 gateway[6];   /* next hop of everything; zeroes: ask the kernel for each backend */
	__be16 port;       /* GUE destination port */
	__u32 is_changing; /* of user space alone: is being enabled or disabled; set by a killed run too */
	__u32 reserved[4];
};

/* Bit hash(address): lb_prefilter_bit of lbhash.h. */
#define LB_PREFILTER_WORDS 64
struct lb_prefilter {
	__u64 word[LB_PREFILTER_WORDS];
};

/* Addresses: network byte order, IPv4 as ::ffff:a.b.c.d. */
struct lb_key {
	__u32 addr[4];
	__be16 port;       /* 0: any */
	__u8 proto;        /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 reserved;
};

enum { LB_STICKY = 1 /* by the client's address alone */ };

struct lb_vip {
	struct lb_key key;
	__u32 is_live;     /* 0: free, or being made, or removed: packets are nobody's. The commit */
	__u32 flags;       /* LB_STICKY */
	__u32 seed;        /* of the ring's hashes: the same on every load balancer of a group */
	__u32 idle;        /* ticks without a packet after which a flow is forgotten; 0: never */
	/* of user space alone */
	__u32 is_changing; /* a ring is being published; set by a killed run too */
	__u64 idle_us;     /* as asked for */
	__u64 since;       /* CLOCK_REALTIME, seconds */
	__u64 gone_packets, gone_bytes, gone_flows; /* of backends that were removed */
	__u64 going_packets, going_bytes, going_flows; /* what gone_* will be when going is 0 again */
	__u32 going;       /* the backend whose counts are being added to gone_* */
	__u32 reserved;
	__u64 spare[2];
};

/* LB_GONE: is being removed; to packets the same as LB_DEAD. */
enum lb_state { LB_FREE, LB_ALIVE, LB_DEAD, LB_GONE };
enum lb_admin { LB_UP, LB_DRAIN, LB_DOWN };           /* what the operator said */
enum lb_healthy { LB_UNKNOWN, LB_HEALTHY, LB_SICK };  /* what probes said */

struct lb_backend {
	__u32 addr[4];
	__u32 vip;         /* its number */
	__u8 state;        /* enum lb_state */
	__u8 is_v4;
	__u8 admin, healthy; /* copies of the ring's member list */
	__u16 weight;
	__u16 reserved;
	__u32 sum;         /* ones' complement sum of the address's 16-bit words, not folded to 16 bits */
	__u64 since;       /* CLOCK_REALTIME, seconds */
	__u64 admin_since; /* since when admin is what it is */
	__u64 spare[2];
};

struct lb_member {
	__u16 number;
	__u16 weight;      /* 0: takes no new flows */
	__u8 admin, healthy;
	__u16 reserved;
};

/* slot: backend numbers, 0 where nobody takes flows. */
struct lb_ring {
	__u32 n;           /* members, in ascending order of their addresses */
	__u32 seed, flags; /* the VIP's */
	__u32 reserved;
	__u64 idle_us;
	struct lb_member member[LB_MEMBERS];
	__u16 slot[LB_RING];
	__u16 pad[3];
};

/*
 * The flow table. Every way of a bucket is one word, read and written whole:
 *
 *   63..32 tag of the flow, not 0   31..16 backend   15..14 enum lb_flow   13..0 tick
 *
 * 0 is empty. New flows are put only into the last LB_PROBATION ways, in place of new ones:
 * only a later packet that is no SYN makes a flow established, which may be in any way but the
 * last. So a flood of SYNs evicts nobody who was heard of twice. An entry does not tell who the
 * client is.
 *
 * Ticks come around after four hours and a half; what was forgotten long ago would look young
 * again. So changes of user space erase it, one of them each half an hour (lb_config.swept).
 */
#define LB_WAYS 8
#define LB_PROBATION 2
enum lb_flow { LB_NEW, LB_ESTABLISHED, LB_CLOSING /* FIN or RST seen, and no more */, LB_CLIENT /* sticky: an address */ };
#define LB_TICKS 0x3fffU
#define LB_CLOSING_TICKS 120 /* a closing flow is forgotten after this, if idle is not less */
#define LB_NEW_TICKS 60      /* a flow of one packet, or of SYNs alone */
struct lb_bucket {
	__u64 way[LB_WAYS];
};
#define LB_ENTRY(tag, backend, flow, tick) \
	((__u64)(tag) << 32 | (__u64)(backend) << 16 | (__u64)(flow) << 14 | ((tick) & LB_TICKS))
#define LB_ENTRY_TAG(e) ((__u32)((e) >> 32))
#define LB_ENTRY_BACKEND(e) ((__u16)((e) >> 16))
#define LB_ENTRY_FLOW(e) ((enum lb_flow)((e) >> 14 & 3))
#define LB_ENTRY_TICK(e) ((__u32)(e) & LB_TICKS)
/* In ticks. Another processor may be a tick ahead, and user space has read the time before. */
#define LB_AHEAD 60
static inline __attribute__((always_inline)) __u32 LB_AGE(__u32 now, __u64 entry)
{
	__u32 age = (now - (__u32)entry) & LB_TICKS;

	return age > LB_TICKS - LB_AHEAD ? 0 : age;
}

/* The next hop's MAC (word[0]), ours (word[1]; as in memory, from its lowest byte on) and the
 * ifindex below a hash of its address (word[2]), in the upper 48 bits; in the lower 16 of each
 * the tick of when the kernel was asked, which tells words of different answers apart. All 0:
 * it was not. */
struct lb_hop {
	__u64 word[3];
};
#define LB_HOP_TICKS 1 /* older ones are asked for anew */

/* A word of frags, at (hash & LB_FRAGS - 1): 63..32 tag   31..16 backend, 0: passed on to this
 * host   15..0 tick. */
#define LB_FRAG_TICKS 30

/* Packets for a backend, and their octets from the inner IP header on. */
struct lb_stat {
	__u64 packets, bytes, flows, reserved;
};

/* Drops first. */
enum lb_count {
	LB_NO_BACKEND,     /* nobody takes flows */
	LB_NO_SOURCE,      /* no outer source address of the backend's family */
	LB_NO_NEXT_HOP,    /* no route to the backend, or no neighbour entry yet */
	LB_BAD_LENGTH,     /* headers say more than there is */
	LB_LOST_FRAGMENT,  /* the first fragment was not seen */
	LB_BAD_ICMP,       /* an error about no packet of ours */
	LB_NO_ROOM,        /* the driver has no headroom */
	LB_TOO_BIG,        /* dropped, the client was told */
	LB_DROPS,
	LB_ECHO = LB_DROPS, /* answered */
	LB_ICMP,           /* errors passed on to backends */
	LB_FRAGMENT,       /* passed on */
	LB_STRAY,          /* not the first packet of a flow, which was not known */
	LB_SECOND_HOP,     /* of those, sent with the backend that the ring before had */
	LB_MOVED,          /* flows whose backend was down or gone, and that go elsewhere now */
	LB_COUNTS,
};
struct lb_vip_stat {
	__u64 count[16];   /* by enum lb_count */
};

struct lb_health {
	__u64 at;          /* CLOCK_REALTIME, ms, of the last probe; 0: none */
	__u32 took_us;     /* that probe */
	__u16 rise, fall;  /* probes in a row that went well, that failed */
	__u64 ok, failed;  /* ever */
	char why[96];      /* the last failure */
};

/* Constant of each loaded program (.rodata.place). */
struct lb_here {
	__u32 place;       /* index into places */
	__u32 ifindex;
};

/* Mark (SO_MARK) of a probe's packets: the tc-egress program sends them to this backend. */
#define LB_MARK 0x4c420000U /* and the number in the lower half */

_Static_assert(sizeof(struct lb_config) == 80, "ABI");
_Static_assert(sizeof(struct lb_place) == 64, "ABI");
_Static_assert(sizeof(struct lb_key) == 20, "ABI");
_Static_assert(sizeof(struct lb_vip) == 128, "ABI");
_Static_assert(sizeof(struct lb_backend) == 64, "ABI");
_Static_assert(sizeof(struct lb_ring) == 24 + 8 * LB_MEMBERS + 2 * LB_RING + 6, "ABI");
_Static_assert(sizeof(struct lb_bucket) == 64, "ABI");
_Static_assert(sizeof(struct lb_hop) == 24, "ABI");
_Static_assert(sizeof(struct lb_stat) == 32, "ABI");
_Static_assert(sizeof(struct lb_vip_stat) == 128, "ABI");
_Static_assert(sizeof(struct lb_health) == 128, "ABI");

#endif
