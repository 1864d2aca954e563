/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_GUE_H
#define L3AF_GUE_H

/*
 * Generic UDP Encapsulation (draft-ietf-intarea-gue-09), as the load balancer sends it and
 * the agent takes it. Variant 1 has no header: the first four bits behind UDP are those of
 * an IP header, 4 or 6 (their first two bits are the variant, 01). Variant 0 has struct gue.
 */
#include <linux/types.h>

struct gue {
	__u8 first;    /* 2 bits variant, 1 bit "control message", 5 bits length in words behind this header */
	__u8 proto;    /* of what follows: IPPROTO_IPIP, IPPROTO_IPV6 */
	__be16 flags;  /* 0: everything behind the header is private data */
};
#define GUE_WORDS 0x1f

/*
 * A second hop, as private data in variant 0: a load balancer got a packet in the middle of
 * a TCP connection that it does not know (another load balancer failed), and the ring before
 * the last change would have sent it elsewhere. A backend that does not know the connection
 * sends it on to addr, without this header; whoever does not know this header (Linux fou)
 * skips it.
 */
#define GUE_HOP_MAGIC 0x4c334146U /* "L3AF" */
struct gue_hop {
	__be32 magic;
	__u32 addr[4]; /* network byte order, IPv4 as ::ffff:a.b.c.d */
};
#define GUE_HOP_WORDS 5

_Static_assert(sizeof(struct gue) == 4, "wire");
_Static_assert(sizeof(struct gue_hop) == 4 * GUE_HOP_WORDS, "wire");

#endif
