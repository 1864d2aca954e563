/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_SINK_H
#define L3AF_SINK_H

/*
 * Where an export goes: UDP (RFC 7011 10.3), TCP (10.4) or a file (RFC 5655). A batch
 * that was taken is as safe as the transport can tell: TCP: acknowledged by the
 * collector's host; file: written; UDP: sent, and no ICMP error had come back.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <sys/socket.h>
#include "err.h"
#include "ipfix.h"
#include "parse.h"
#include "run.h"

enum sink_kind { SINK_UDP, SINK_TCP, SINK_FILE };

struct sink_target {
	enum sink_kind kind;
	struct endpoint at;     /* of parse.h: UDP, TCP */
	const char *path;       /* FILE, with patterns of strftime(3) */
	__u32 mtu;              /* UDP: octets of an IP packet at most; 0: what the path says */
	struct rate pace;       /* UDP: data records per time; count 0: unpaced */
};

struct sink;
/* Connects, or opens the file. *c tells the source port and the file's committed size of
 * the last run, and gets those of this one. Prints its errors: -E_USAGE for a path that
 * cannot be opened. */
must_use int sink_open(const struct run *run, const struct sink_target *target, struct flow_collector *c,
		       struct sink **s);
void sink_close(struct sink *s);
static inline void cleanup_sink(struct sink **s) { if (*s) sink_close(*s); }
#define auto_sink __attribute__((cleanup(cleanup_sink)))

__u32 sink_message_most(const struct sink *s);   /* octets of a message */
__u32 sink_batch_messages(const struct sink *s); /* messages of a batch */
bool sink_is_session(const struct sink *s);      /* a new transport session: sequence 0 */

/* 0: taken, as above; the caller commits it then. Waits as the pace says. Prints. */
must_use int sink_send(struct sink *s, const struct ipfix_batch *b);
/* What is taken stays: after the caller has committed a batch. */
void sink_commit(struct sink *s, struct flow_collector *c);
/* After the last batch. Prints. */
must_use int sink_finish(struct sink *s);

#endif
