/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_FLOWEXPORT_H
#define L3AF_FLOWEXPORT_H

/*
 * One export: what a collector has not been told yet, sent and committed batch by batch.
 * Commit comes after sending: a run killed anywhere loses nothing, and the next one
 * sends at most one batch a second time.
 */
#include "flowtable.h"
#include "sink.h"

struct flow_export {
	const char *instance;
	char collector[256];       /* its name: what flow_collector.name holds */
	struct sink_target target;
	__u32 domain;              /* 0: the collector's last, else one made from the host and instance */
	__u64 template_us;         /* UDP: send templates again after this long in one run */
	struct ipfix_fields fields;
	bool is_biflow;
	bool is_flush;             /* close all flows: FLOW_FORCED */
};

/* What was sent (or, with run->dry_run, would be). */
struct flow_exported {
	__u64 flows, packets, octets, messages, message_octets, records;
};

/* Prints its errors. -E_USAGE: nothing was attempted and no collector made. */
must_use int flow_export(const struct run *run, const struct flow_export *what, struct flow_exported *sent);

#endif
