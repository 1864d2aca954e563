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
 * protocol) is classified, each class has a bitmap of the rules that allow it, and the
 * lowest bit of all bitmaps' AND is the answer. The cost is that of the classes, not that
 * of the rules.
 *
 * Addresses are classified by a trie of 16 ways that skips what all of a subtree has in
 * common: each node first compares the bits from its parent to its own place (key and
 * mask), and one that differs there is of the class of the longest prefix around the node.
 */
#include <linux/types.h>

#define MATCH_RULES 1024
#define MATCH_WORDS (MATCH_RULES / 64)
/* n prefixes make at most n leaves, n - 1 branches and what splits a nibble */
#define MATCH_NODES 4096   /* of both tries of addresses */
/* 2 (N + 1) of addresses, 2 (2 N + 1) of ports, N + 1 of VLANs, 256 of flags, 1542 of protocols
 * at most, for 1000 rules; those that are equal are one */
#define MATCH_BITMAPS 9216
#define MATCH_DEPTH 33     /* nodes on the longest way: 128 bits, and the leaf */

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
	__u8 proto;           /* IP protocol behind the extension headers */
	__u8 flags;           /* byte 13 of the TCP header */
	__u8 direction;       /* 0 or 1, as enum flow_direction: ingress, egress */
	__u8 has;             /* enum match_has */
};
#define MATCH_NO_VLAN 4095 /* reserved as a VID (802.1Q 9.6) */

/* One rule, as user space writes it. What is not asked for is left open. */
struct match_rule {
	__u32 src[4], dst[4];    /* network byte order, IPv4 as ::ffff:a.b.c.d; bits behind the prefix 0 */
	__u8 src_len, dst_len;   /* of the 128-bit form: IPv4 /24 is 120; 0: any */
	__u8 directions;         /* 1 ingress | 2 egress */
	__u8 flags, flags_mask;  /* TCP: (packet & mask) == flags; mask 0: any */
	__u8 has_proto, proto;
	__u8 reserved;
	__u16 sport[2], dport[2];/* lo, hi, host byte order; both 0: any, also what has no ports */
	__u16 vlan;              /* VID, or MATCH_NO_VLAN: untagged */
	__u8 has_vlan;
	__u8 reserved2[5];
};

struct match_node {
	__u64 key[2];       /* host byte order, as in struct match_key */
	__u64 mask[2];      /* the bits to compare: (addr ^ key) & mask must be 0 */
	__u16 otherwise;    /* bitmap of an address that differs there */
	__u8 shift;         /* the nibble that chooses: bits shift..shift+3 of word; */
	__u8 word;          /* 0 or 1; 2: a leaf, next[0] is the bitmap */
	__u16 reserved[2];
	__u16 next[16];     /* a node, or MATCH_BITMAP | bitmap */
};
#define MATCH_BITMAP 0x8000

struct match_bitmap {
	__u64 word[MATCH_WORDS];
	__u64 summary;      /* bit n: word n is not 0 */
};

/* Everything one lookup needs: about 2 MB. The value of a map. */
struct match_set {
	__u32 rules;               /* 0: nothing matches */
	__u16 root[2][3];          /* src, dst; of packets of no IP version, IPv4, IPv6: as next[] */
	__u16 proto[2][3][257];    /* direction; no IP, IPv4, IPv6; 256: a protocol without ports or unknown: bitmap */
	__u16 no_ports[2];         /* sport, dport: bitmap of packets that have none */
	__u16 no_flags;            /* bitmap of packets that have none */
	__u16 flags[256];          /* by byte 13: bitmap */
	__u16 vlan[4096];          /* by VID and MATCH_NO_VLAN: bitmap */
	__u16 port[2][65536];      /* sport, dport: bitmap */
	struct match_node node[MATCH_NODES];
	struct match_bitmap bitmap[MATCH_BITMAPS];
};

/* Placeholder until the matcher is here. */
static inline __attribute__((always_inline)) int match_first(const struct match_set *s, const struct match_key *k)
{
	return s->rules ? 0 : -1;
}

#endif
