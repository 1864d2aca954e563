/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MATCH_H
#define L3AF_MATCH_H

/*
 * The matcher: which of up to MATCH_RULES rules, in their order, is the first that a packet
 * matches. Compiled by lib/matcher.c, looked up by match_first() below, the same code in the
 * kernel and in user space.
 *
 * Bit vectors (Lakshman and Stiliadis, SIGCOMM 1998) with a summary (Baboescu and Varghese,
 * SIGCOMM 2001): each dimension of a packet (source, destination, ports, VLAN, TCP flags,
 * direction and protocol) is classified, each class has a bitmap of the rules that allow it,
 * and the lowest bit of all bitmaps' AND is the answer. The cost is that of the classes, not
 * that of the rules.
 *
 * Addresses are classified by tries of 16 ways that skip what all of a subtree has in common:
 * a node compares all bits of its half of the address before its own nibble; an address that
 * differs there is of the class of the longest prefix around the node. No node looks at both
 * halves: whoever comes to one of the second half has compared all of the first.
 */
#include <linux/types.h>
#include <stdbool.h>

#define MATCH_RULES 1024
#define MATCH_WORDS (MATCH_RULES / 64)
/* Of N prefixes, each source's and destination's: N nodes where they end, N - 1 where ways
 * part, N where the first half of an address ends */
#define MATCH_NODES (6 * MATCH_RULES)
/* A power of two, so that a number is in bounds by a mask. Of N rules, K of them of a protocol that
 * has no ports: 1, 2 (N + 1) of addresses, 2 (2 (N - K) + 2) of ports, N + 1 of VLANs, 257 of flags,
 * 2 + 4 (K + 6) of protocols: less than 7 N + 292. Those that are equal are one. */
#define MATCH_CLASSES 8192

/* What of a packet is compared. What it does not have is 0, and its bit of has is clear. */
enum match_has {
	MATCH_V4 = 1,
	MATCH_V6 = 2,
	MATCH_PORTS = 4,  /* TCP, UDP, UDP-Lite, SCTP, DCCP with four bytes there; not a later fragment */
	MATCH_FLAGS = 8,  /* TCP with fourteen bytes there */
};
struct match_key {
	__u64 src[2], dst[2]; /* host byte order, first half first; IPv4 as ::ffff:a.b.c.d */
	__u16 sport, dport;   /* host byte order */
	__u16 vlan;           /* VID of the outer tag; MATCH_NO_VLAN: it has none */
	__u8 proto;           /* with MATCH_V4 or MATCH_V6: IP protocol behind the extension headers */
	__u8 flags;           /* byte 13 of the TCP header */
	__u8 direction;       /* 0 or 1, as enum flow_direction: ingress, egress */
	__u8 has;             /* enum match_has */
};
#define MATCH_NO_VLAN 4095 /* reserved as a VID (802.1Q 9.6) */

/* One rule, as user space writes it. What is not asked for is left open. */
struct match_rule {
	__u32 src[4], dst[4];    /* network byte order, IPv4 as ::ffff:a.b.c.d */
	__u8 src_len, dst_len;   /* of the 128-bit form: IPv4 /24 is 120; 0: any */
	__u8 directions;         /* 1 ingress | 2 egress */
	__u8 flags, flags_mask;  /* TCP: (packet & mask) == flags; mask 0: any */
	__u8 has_proto, proto;
	__u8 version;            /* 4 or 6: of IP, the only one that matches; 0: any packet, there is no prefix */
	__u16 sport[2], dport[2];/* lo, hi, host byte order; both 0: any, also what has no ports */
	__u16 vlan;              /* VID, or MATCH_NO_VLAN: untagged */
	__u8 has_vlan;
	__u8 reserved2[5];
};

/* A number of a class, plus MATCH_NODES of these bases, is the next node. */
#define MATCH_SECOND MATCH_CLASSES              /* compares the second half of the address */
#define MATCH_FIRST (MATCH_SECOND + MATCH_NODES) /* the first one */

struct match_node {
	__u64 key;          /* the half's bits before the nibble that chooses */
	__u16 otherwise;    /* class of an address where they differ */
	__u8 shift;         /* of that nibble: 0, 4, .. 60 */
	__u8 reserved[5];
	__u16 next[16];     /* by the nibble: a class, or a node */
	__u64 reserved2[2]; /* one cache line */
};

enum match_uses {
	MATCH_USES_SPORT = 1,
	MATCH_USES_DPORT = 2,
	MATCH_USES_FLAGS = 4,
	MATCH_USES_VLAN = 8,
};

/* Everything one lookup needs: 1.8 MB. The value of a map; all zeroes: no rules. */
struct match_set {
	__u32 rules;
	__u32 uses;                /* enum match_uses: the tables of others are not looked at */
	__u16 root[2][4];          /* src, dst; by has & 3: a class, or a node */
	__u16 no_ports[2];         /* sport, dport: class of packets that have none */
	__u16 no_flags;            /* class of packets that have none */
	__u16 all;                 /* class 0; read, not known: or the verifier would follow both ways */
	__u16 classes, nodes;      /* that are used */
	__u16 reserved[14];
	__u16 flags[256];          /* by byte 13: class */
	__u16 proto[2][4][256];    /* direction, has & 3, protocol: class */
	__u16 vlan[4096];          /* by VID and MATCH_NO_VLAN: class */
	__u16 port[2][65536];      /* sport, dport: class */
	/* Class 0 is that of all rules. */
	__u16 summary[MATCH_CLASSES];         /* bit n: word n is not 0 */
	struct match_node node[MATCH_NODES];
	__u64 word[MATCH_WORDS][MATCH_CLASSES]; /* the bitmap's; bit n of word w: rule 64 * w + n */
};

/* n is what the compiler would know and the verifier does not. */
#define match_hide(n) __asm__ volatile("" : "+r"(n))

static __always_inline __u32 match_class(__u32 class)
{
	match_hide(class);
	return class & (MATCH_CLASSES - 1);
}

/* base: MATCH_FIRST or MATCH_SECOND, as the half. */
static __always_inline __u32 match_walk(const struct match_set *set, __u32 at, __u64 half, __u32 base)
{
#ifdef __bpf__
#pragma nounroll
#endif
	for (int depth = 0; depth < 16; depth++) {
		const struct match_node *node;
		__u32 n = at - base;
		__u64 rest;

		match_hide(n);
		if (n >= MATCH_NODES)
			break;
		node = &set->node[n];
		rest = half >> (node->shift & 63);
		if (rest >> 4 != node->key)
			return node->otherwise;
		at = node->next[rest & 15];
	}
	return at;
}

static __always_inline __u32 match_addr(const struct match_set *set, __u32 root, const __u64 addr[2])
{
	__u32 at = match_walk(set, root, addr[0], MATCH_FIRST);

	return match_class(match_walk(set, at, addr[1], MATCH_SECOND));
}

/* Number of the lowest bit that is set: there is no instruction for it in BPF. */
static __always_inline __u32 match_lowest16(__u32 v)
{
	/* a de Bruijn sequence of 16 bits, and by each four bits of it where they stand */
	return 0xcd7ea84fb6935210 >> (((v & -v) * 0x09af >> 12 & 15) * 4) & 15;
}

static __always_inline __u32 match_lowest64(__u64 v)
{
	/* the bits below it, counted */
	v = ~v & (v - 1);
	v -= v >> 1 & 0x5555555555555555;
	v = (v & 0x3333333333333333) + (v >> 2 & 0x3333333333333333);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return v * 0x0101010101010101 >> 56;
}

/* The first rule, of those in the words of summary, that all classes allow. */
static __always_inline int match_and(const struct match_set *set, const __u32 class[7], __u32 summary)
{
#ifdef __bpf__
#pragma nounroll
#endif
	for (int i = 0; i < MATCH_WORDS; i++) {
		__u32 w = match_lowest16(summary);
		const __u64 *word = set->word[w];
		__u64 bits = word[class[0]] & word[class[1]] & word[class[2]] & word[class[3]] & word[class[4]] &
			     word[class[5]] & word[class[6]];

		if (bits)
			return w * 64 + match_lowest64(bits);
		summary &= summary - 1;
		if (!summary)
			break;
	}
	return -1;
}

/* The index of the first rule that matches, -1: none does. */
static __always_inline int match_first(const struct match_set *set, const struct match_key *key)
{
	__u32 class[7], family = key->has & (MATCH_V4 | MATCH_V6), summary, uses = set->uses;
	bool has_ports = key->has & MATCH_PORTS;

	if (!set->rules)
		return -1;
	class[0] = match_class(set->proto[key->direction & 1][family][key->proto]);
	summary = set->summary[class[0]];
	if (!summary)
		return -1;
	class[1] = class[2] = class[3] = class[4] = set->all;
	if (uses & MATCH_USES_SPORT)
		class[1] = has_ports ? set->port[0][key->sport] : set->no_ports[0];
	if (uses & MATCH_USES_DPORT)
		class[2] = has_ports ? set->port[1][key->dport] : set->no_ports[1];
	if (uses & MATCH_USES_FLAGS)
		class[3] = key->has & MATCH_FLAGS ? set->flags[key->flags] : set->no_flags;
	if (uses & MATCH_USES_VLAN)
		class[4] = set->vlan[key->vlan & 4095];
	for (int i = 1; i < 5; i++) {
		class[i] = match_class(class[i]);
		summary &= set->summary[class[i]];
	}
	if (!summary)
		return -1;
	class[5] = match_addr(set, set->root[0][family], key->src);
	summary &= set->summary[class[5]];
	if (!summary)
		return -1;
	class[6] = match_addr(set, set->root[1][family], key->dst);
	summary &= set->summary[class[6]];
	if (!summary)
		return -1;
	return match_and(set, class, summary);
}

_Static_assert(sizeof(struct match_rule) == 56, "ABI");
_Static_assert(sizeof(struct match_node) == 64, "a cache line");
_Static_assert(__builtin_offsetof(struct match_set, node) % 64 == 0, "a cache line");
_Static_assert(__builtin_offsetof(struct match_set, flags) == 64, "a cache line");
_Static_assert(__builtin_offsetof(struct match_set, word) % 64 == 0, "a cache line");
_Static_assert(7 * MATCH_RULES + 292 <= MATCH_CLASSES, "any rules fit");
_Static_assert(MATCH_FIRST + MATCH_NODES <= 65536, "16 bits");

#endif
