/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LIMIT_H
#define L3AF_LIMIT_H

/*
 * Contract between the kernel functions ratelimit and connlimit and lib/limitrules.c.
 * Both have, below kf/<instance>/:
 *
 *   rules   ARRAY of two struct limit_table: one is in use, the other is idle and may
 *           be rewritten after a grace period
 *   active  ARRAY of one u32: 0 or 1, which of the two is in use
 *   stats   per-CPU ARRAY of struct limit_stat, by limit_rule.stat
 *   resets  ARRAY of one u64: the window.h word that caps the RSTs sent
 *
 * ratelimit:
 *   shared  ARRAY of u64, a window.h word, by slot: rules per interface
 *   keyed   LRU_HASH of struct limit_key to a word: all other rules
 *
 * connlimit:
 *   shared    ARRAY of struct limit_conn, by slot: rules per interface
 *   keyed     LRU_HASH of struct limit_key to struct limit_conn: all other rules
 *   halfopen  LRU_HASH of struct limit_tuple to struct limit_halfopen
 *   stale     ARRAY of one u32: 0, or the tick until which a reservation that expired may
 *             still become a connection
 *   socks     SK_STORAGE of struct limit_sock
 *   listening ARRAY of one struct limit_listening, for tcp_seed; empty before each run
 *   tcp_state the pinned link of the tracepoint program, tcp_seed the iterator program
 *
 * A slot is a rule's place in the table and in shared. It is zeroed by user space
 * before a rule takes it, and while a rule is in it the rule stays there.
 */
#include <linux/types.h>

#define LIMIT_ABI 1
#define LIMIT_RULES 64
#define LIMIT_KEYS 131072

enum limit_kind { LIMIT_RATE, LIMIT_CONNECTIONS, LIMIT_KINDS };
enum limit_per { LIMIT_PER_INTERFACE, LIMIT_PER_PORT, LIMIT_PER_SOURCE, LIMIT_PER_VIP };
enum limit_action { LIMIT_DROP, LIMIT_RESET };
enum limit_state {
	LIMIT_COUNTS,   /* counts, refuses nothing: it is being seeded. Connections only */
	LIMIT_ENFORCED,
};

struct limit_rule {
	__u64 netns;      /* struct netns of lib/nl.h: cookie or inode */
	__u64 vip[2];     /* destination, network byte order, IPv4 as ::ffff:a.b.c.d; 0: any */
	__u64 threshold;  /* rate: of window.h; connections: how many may be open */
	__u64 since;      /* CLOCK_REALTIME, seconds */
	__u64 count;      /* rate: as typed, count per unit_us */
	__u64 unit_us;
	__u32 window_us;
	__u32 id;         /* unique, never used again; 0: an empty slot */
	__u32 ifindex;
	__u16 port_lo, port_hi; /* host byte order; both 0: any */
	__u8 kind;        /* enum limit_* */
	__u8 per;
	__u8 action;
	__u8 state;
	__u8 len4, len6;  /* LIMIT_PER_SOURCE: prefix lengths, of IPv4 in 0..32 */
	__u8 stat;        /* index into stats: stays with the rule when it changes slots */
	__u8 reserved;
};

struct limit_table {
	__u32 abi;             /* LIMIT_ABI */
	__u32 slots;           /* rules are in slots below this one */
	__u32 last_id;         /* of all rules ever made */
	__u32 netns_is_cookie; /* what limit_rule.netns is */
	struct limit_rule rule[LIMIT_RULES];
};

/* Where a chain is: a constant of each loaded copy of the programs (.rodata.place). */
struct limit_place {
	__u64 netns;
	__u32 ifindex;
	__u32 reserved;
};

/* SYNs that this rule accepted (and all others did), and that it refused: dropped
 * silently, of which suppressed would have been answered but for the cap, or answered. */
struct limit_stat {
	__u64 accepted, dropped, reset, suppressed;
};

struct limit_key {
	__u32 id;
	__u32 reserved;
	__u32 part[4];    /* source prefix or VIP as in limit_rule.vip; port: part[0] */
};

/*
 * Open connections, and room reserved for handshakes under way: each word of pending
 * is a tick (upper 32 bits) and how many SYNs it admitted. A reservation lasts until
 * the connection is established, at most LIMIT_TICKS ticks. A handshake that ends later
 * needs a free place again: connlimit looks at its last ACK as at a SYN.
 */
#define LIMIT_TICKS 8
#define LIMIT_TICK_SHIFT 29 /* tick = CLOCK_MONOTONIC ns >> 29: 537 ms */
/* How long the kernel itself waits for the end of a handshake (63 s with the default
 * tcp_synack_retries), and some more. */
#define LIMIT_STALE_TICKS 131
struct limit_conn {
	__u64 established;
	__u64 pending[LIMIT_TICKS];
};

struct limit_tuple {
	__u32 remote[4], local[4]; /* as limit_rule.vip */
	__u16 remote_port, local_port; /* host byte order */
	__u32 reserved;
	__u64 netns;
};

/* A handshake that was let in: where its reservations are. */
struct limit_halfopen {
	__u32 tick;
	__u32 last_id;    /* rules up to this id have one */
	__u32 ifindex;
	__u32 reserved;
};

/* Which rules count this socket, by slot, and as what. */
struct limit_sock {
	__u32 id[LIMIT_RULES];
	struct limit_tuple tuple;
};

/* TCP ports that are listened on, a bit each. */
struct limit_listening {
	__u64 word[65536 / 64];
};

/* RSTs per second, over all rules of an instance. */
#define LIMIT_RESETS 1000

_Static_assert(sizeof(struct limit_rule) == 80, "ABI");
_Static_assert(sizeof(struct limit_table) == 16 + 80 * LIMIT_RULES, "ABI");
_Static_assert(sizeof(struct limit_place) == 16, "ABI");
_Static_assert(sizeof(struct limit_stat) == 32, "ABI");
_Static_assert(sizeof(struct limit_key) == 24, "ABI");
_Static_assert(sizeof(struct limit_conn) == 72, "ABI");
_Static_assert(sizeof(struct limit_tuple) == 48, "ABI");
_Static_assert(sizeof(struct limit_halfopen) == 16, "ABI");
_Static_assert(sizeof(struct limit_sock) == 304, "ABI");

#endif
