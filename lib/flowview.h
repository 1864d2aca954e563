/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWVIEW_H
#define L3AF_FLOWVIEW_H

/* Looking at a flow table: which flows, in which order, at what rate. Prints nothing. */
#include "flowtable.h"
#include "parse.h"

/* Which flows: all that is given has to match; NULL or -1: any. */
struct flow_match {
	const struct flow_tuple *tuple;
	const struct prefix *src, *dst;
	const struct ports *sport, *dport; /* never of ICMP */
	const struct iface *dev;           /* of the network namespace self */
	struct netns self;
	const int *vlan;                   /* the outer VID; -1: untagged */
	int direction;                     /* enum flow_direction */
	int proto;
};
bool flow_matches(const struct flowtable *t, const struct flow_match *m, const struct flow_rec *rec);

/* As listings name it; parse_flow reads it. */
const char *flow_format(const struct flow_key *key, char *buf, size_t size);

/*
 * Rates: what was counted between two readings of the table.
 */
struct flow_reading {
	__u64 packets, octets;   /* at the latest reading */
	__u64 more_packets, more_octets; /* since the one before */
	__u16 generation;
};
struct flow_rates {
	struct flow_reading *slot;
	__u32 n;
	__u64 read_us, span_us;  /* run_now_us() of the latest reading; since the one before, 0: none */
	__u64 flows, new_flows, packets, octets; /* sums of the latest reading: in the table, and since */
};
static inline void flow_rates_free(struct flow_rates *r) { free(r->slot); }
#define auto_rates __attribute__((cleanup(flow_rates_free)))
must_use int flow_rates_read(struct flow_rates *r, const struct flowtable *t);
/* Of a count in the span, per second, rounded. */
__u64 flow_rate(const struct flow_rates *r, __u64 count);

enum flow_by { FLOW_BY_OCTETS, FLOW_BY_PACKETS, FLOW_BY_RATE, FLOW_BY_SLOT };
extern const char *const flow_by_words[]; /* "octets", "packets", "rate", NULL */

struct flow_query {
	struct flow_match match;
	enum flow_by by;          /* most first; FLOW_BY_SLOT: as they stand in the table */
	__u32 limit;              /* 0: all */
	const struct flow_rates *rates; /* of FLOW_BY_RATE */
};
/* Calls fn for each flow. Memory: FLOW_BY_SLOT none, else 24 octets for each flow, but of
 * no more than twice the limit. 0, -ENOMEM or what fn returned. */
must_use int flow_walk(const struct flowtable *t, const struct flow_query *q,
		       int (*fn)(const struct flow_rec *rec, __u32 slot, void *arg), void *arg);

#endif
