/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_IPFIXMESSAGE_H
#define L3AF_IPFIXMESSAGE_H

/*
 * Messages and their sets (RFC 7011 3.1 to 3.4): how octets get into a batch. For
 * lib/ipfix.c and lib/ipfixoptions.c only.
 */
#include <linux/types.h>
#include "ipfix.h"
#include "ipfixfields.h"

struct ipfix_header {
	__u16 version, length;
	__u32 export_time, sequence, domain;
};
#define IPFIX_HEADER sizeof(struct ipfix_header)
#define IPFIX_SET_HEADER 4
#define IPFIX_SET_HEADERS (IPFIX_HEADER + IPFIX_SET_HEADER)

/* Sets are padded with zero octets to a multiple of four (3.3.1: fewer than any record
 * of ours has), so messages are of such lengths too. */
#define IPFIX_ALIGNED(n) ((n) & ~3U)
#define IPFIX_PADDED(n) IPFIX_ALIGNED((n) + 3U)

enum { IPFIX_SET_TEMPLATES = 2, IPFIX_SET_OPTIONS_TEMPLATES = 3 };

struct ipfix_messages {
	struct ipfix_batch batch;
	__u8 *buffer;
	__u8 *at;             /* the next octet */
	__u8 *message, *set;  /* those under way, or NULL */
	__u32 records;        /* data records in the message under way */
	__u32 most;           /* octets of a message */
	__u32 messages_most;
	__u32 *size, *data;   /* of each message: octets, data records */
};

must_use int ipfix_messages_make(struct ipfix_messages *m, __u32 message_most, __u32 messages_most);
void ipfix_messages_free(struct ipfix_messages *m);
/* Begin from nothing. */
void ipfix_messages_reset(struct ipfix_messages *m);

/* Begin a message, and a set in it. There is room for another message. */
void ipfix_messages_set(struct ipfix_messages *m, __u16 id);
/* Octets left in the message under way. */
static inline __u32 ipfix_messages_room(const struct ipfix_messages *m)
{
	return m->most - (__u32)(m->at - m->message);
}
/* End the message under way, if there is one. */
void ipfix_messages_end(struct ipfix_messages *m);

/* Make room for length octets in a set of that ID, in another set, message and memory
 * where it takes that. */
must_use int ipfix_messages_need(struct ipfix_messages *m, __u16 id, __u32 length);
/* A template record; scopes: an options template's, else 0. */
must_use int ipfix_messages_template(struct ipfix_messages *m, __u16 id, int scopes,
				     const struct ipfix_field *field, int n);

__u8 *ipfix_u8_put(__u8 *to, __u8 v);
__u8 *ipfix_u16_put(__u8 *to, __u16 v);
__u8 *ipfix_u32_put(__u8 *to, __u32 v);
__u8 *ipfix_u64_put(__u8 *to, __u64 v);
/* A variable-length string (RFC 7011 7): valid UTF-8 whatever s is, at most most octets. */
__u8 *ipfix_string_put(__u8 *to, const char *s, __u32 most);

/* Octets that a message with the longest options record has. */
#define IPFIX_OPTIONS_LEAST (IPFIX_SET_HEADERS + 268)
must_use int ipfix_options_put(struct ipfix_messages *m, __u32 domain, const struct ipfix_options *o);
/* Which fields of a template are the flow's key. After the others: its records are of
 * fixed length. */
must_use int ipfix_options_key(struct ipfix_messages *m, __u32 domain, const struct ipfix_template *t);

#endif
