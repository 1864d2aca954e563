/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWINTERVAL_H
#define L3AF_FLOWINTERVAL_H

/*
 * What a collector has not been told yet of a flow: the interval since its last report.
 * The caller holds the collector's lock.
 */
#include "flowtable.h"
#include "ipfix.h"

struct flow_reader {
	struct flowtable *t;
	int peer;           /* the collector; -1: one that does not exist yet */
	bool is_dry;        /* write nothing; flows that would be closed count as such */
	bool is_flush;      /* is_dry: all would be */
	bool has_ended;     /* flow_is_due met a slot that flowtable_recycle may free */
	char ifname[FLOW_PLACES][16];
};
/* Looks up the names; interfaces of other network namespaces are called what they were
 * called there. Prints its errors. */
must_use int flow_reader_init(struct flow_reader *r, struct flowtable *t, int peer);

/* Is there something to say about a slot, by now? Writes nothing; cheap where not. */
bool flow_is_due(struct flow_reader *r, __u32 slot);

struct flow_interval {
	struct flow_rec rec;
	struct ipfix_flow flow; /* refers to rec and to the reader */
};
/* Begins the next interval and reads the one before. false: there is nothing to say. The
 * interval stays the same until flow_commit, in later runs too, but for what is added. */
bool flow_interval_read(struct flow_reader *r, __u32 slot, struct flow_interval *i);

/* What is committed of an interval that was sent. */
struct flow_told {
	__u64 packets, octets;         /* of the flow, as they were read */
	__u64 new_packets, new_octets; /* of the interval */
	__u32 slot;
	__u16 generation;
};
struct flow_told flow_tell(const struct flow_interval *i, __u32 slot);
void flow_commit(const struct flow_reader *r, const struct flow_told *told);

/* What the options records of an export say; interfaces and samplers have room for
 * FLOW_PLACES each. Prints its errors. */
must_use int flow_options_read(const struct flow_reader *r, const struct flow_collector *c,
			       struct ipfix_interface *interfaces, struct ipfix_sampler *samplers,
			       struct ipfix_options *o);

#endif
