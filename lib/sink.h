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
#include "err.h"
#include "flow.h"
#include "ipfix.h"
#include "parse.h"

enum sink_kind { SINK_UDP, SINK_TCP, SINK_FILE };

struct sink_target {
	enum sink_kind kind;
	struct endpoint at;     /* of parse.h: UDP, TCP */
	const char *path;       /* FILE, with patterns of strftime(3) */
	__u32 mtu;              /* UDP: octets of an IP packet at most; 0: what the path says, up to 1500 */
	struct rate pace;       /* UDP: data records per time; count 0: unpaced */
};

struct sink;
/*
 * Connects, or opens the file. Both target and c stay the caller's and outlive the sink.
 *
 * c remembers one run for the next: its domain and sequences are those of the next messages
 * when this is called, and sequences are changed where a session begins (TCP; a new file) or
 * the file says otherwise. The source port and the file's size are kept in it as well.
 *
 * is_trial: nothing is made or sent; what is wrong with the target is found out as far as
 * that goes, and sink_message_most tells.
 *
 * Prints its errors: -E_USAGE for a path that cannot be opened.
 */
must_use int sink_open(const struct sink_target *target, struct flow_collector *c, bool is_trial, struct sink **s);
void sink_close(struct sink *s);
static inline void cleanup_sink(struct sink **s) { if (*s) sink_close(*s); }
#define auto_sink __attribute__((cleanup(cleanup_sink)))

__u32 sink_message_most(const struct sink *s);   /* octets of a message */
__u32 sink_batch_messages(const struct sink *s); /* messages of a batch */

/* 0: sent. Waits as the pace says. Prints; -EMSGSIZE, not printed: the path's MTU is less
 * than it was when the sink was opened. */
must_use int sink_send(struct sink *s, const struct ipfix_batch *b);
/* UDP: wait for what was sent to leave this host, and for an ICMP error. As sink_send. */
must_use int sink_settle(struct sink *s);
/* What was sent is taken; call it when c has the sequences behind that, and before
 * anything says that the records were exported. */
void sink_commit(struct sink *s);
/* After the last batch. Prints. */
must_use int sink_finish(struct sink *s);

#endif
