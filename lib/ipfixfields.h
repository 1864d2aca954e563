/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_IPFIXFIELDS_H
#define L3AF_IPFIXFIELDS_H

/*
 * Which elements a flow record has: templates made from one table of elements, and
 * records made of templates. For lib/ipfix.c only.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "ipfix.h"

#define IPFIX_VARIABLE 0xffff
#define IPFIX_FIELDS_MOST 40
#define IPFIX_RUNS_MOST 32
#define IPFIX_COPY 16          /* records are written in steps of this many octets */
#define IPFIX_STRING_MOST 15   /* octets of the variable fields of a flow */

/* What a template is for. */
enum ipfix_kind { IPFIX_PORTS, IPFIX_ICMP, IPFIX_OTHER, IPFIX_KINDS };
#define IPFIX_VARIANTS (2 * 2 * 3 * IPFIX_KINDS) /* families, biflow or not, tags, kinds */

/* A field specifier (RFC 7011 3.2). */
struct ipfix_field {
	__u16 id, length;
	__u32 enterprise;       /* 0: IANA */
};

/* Octets of the wire image that follow one another in a record. */
struct ipfix_run {
	__u16 from, length;
};

struct ipfix_template {
	__u16 id;
	__u16 n_fields, n_runs;
	__u16 length;           /* of the fields that are not variable */
	bool is_ifname, is_label; /* variable fields, at the end of the record in this order */
	__u64 keys;             /* flowKeyIndicator */
	struct ipfix_field field[IPFIX_FIELDS_MOST];
	struct ipfix_run run[IPFIX_RUNS_MOST];
};

/* The variant of a flow, 0..IPFIX_VARIANTS - 1. */
unsigned int ipfix_variant(const struct flow_key *key, bool is_biflow);
bool ipfix_variant_is_biflow(unsigned int variant);
/* No flow is of that variant. */
bool ipfix_variant_is_void(unsigned int variant);
void ipfix_template_make(struct ipfix_template *t, unsigned int variant, struct ipfix_fields fields);

/* Every fixed field of a flow as it is sent, network byte order; a record is cut out of
 * it. In the order of records, so that the fields of a record are few runs. */
struct ipfix_wire {
	struct {
		__u64 octets, packets, start, end;
		__u8 tos, ttl_min, ttl_max;
		__u16 flags;
	} __attribute__((packed)) reverse;
	__u8 src[16], dst[16];
	__u16 sport, dport;
	__u8 icmp[2];
	__u16 vlan[2];
	__u8 proto, tos;
	__u16 flags;
	__u8 ttl_min, ttl_max, reason, direction;
	__u32 in_ifindex, out_ifindex;
	__u64 packets, octets, start, end;
	__u64 id, selector;
	__u32 interval, space;
	__u8 biflow;
	__u8 reserved[IPFIX_COPY]; /* copied, and written over */
} __attribute__((packed));
void ipfix_wire_fill(struct ipfix_wire *w, const struct ipfix_flow *f);
void ipfix_wire_fill_reverse(struct ipfix_wire *w, const struct ipfix_flow *f);

#endif
