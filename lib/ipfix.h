/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_IPFIX_H
#define L3AF_IPFIX_H

/*
 * IPFIX messages (RFC 7011, elements of RFC 7012, biflows of RFC 5103): records in,
 * batches of whole messages out. Knows no socket, no file and no BPF map.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "flow.h"
#include "parse.h"

#define IPFIX_MESSAGE_MOST 65535
#define IPFIX_UDP_UNKNOWN 512 /* RFC 7011 10.3.3: where the path MTU is not known */

/* One uniflow of one interval; host byte order but for the addresses in key. */
struct ipfix_flow {
	const struct flow_key *key;
	__u64 packets, octets;
	__u64 start_ms, end_ms; /* CLOCK_REALTIME: first and last packet of the interval */
	__u64 id;               /* flowId: stays with the flow */
	__u32 in_ifindex, out_ifindex;
	__u32 selector, sample; /* selectorId; 1 packet in sample was counted (0, 1: all) */
	__u16 flags;            /* TCP flags; NS is bit 8 */
	__u8 direction, tos, ttl_min, ttl_max, reason;
	const char *ifname;     /* of the interface it was seen on; NULL: none */
	const char *label;      /* the instance; NULL: none */
};

/* Which elements beside the key, counts and times: "NAME" adds one to the default set,
 * "-NAME" takes it away, "all" and "-all" all of them. NAME is IANA's; "tcpControlBits/2"
 * is that element in two octets. A reverse element is there where the forward one is. */
struct ipfix_fields {
	__u32 given;
};
must_use int ipfix_parse_fields(const char *s, void *fields, struct why *why);
void ipfix_complete_fields(void); /* the names, one a line */
struct ipfix_fields ipfix_fields_default(void);

struct ipfix_config {
	__u32 domain;
	__u32 message_most;     /* octets of a message at most */
	__u32 batch_messages;   /* a batch is at most so many messages */
	struct ipfix_fields fields;
	bool is_biflow;         /* templates with reverse elements are there too */
};

/* Whole messages of one kind, and what they report. It stays valid until the next call
 * that adds to it or makes its like. */
struct ipfix_batch {
	__u8 *bytes;            /* the messages back to back */
	size_t size;
	__u32 messages;
	const __u32 *message_size; /* of each */
	const __u32 *message_records; /* data records in each */
	__u32 equal_size;       /* all but the last are of this size, the last is no larger;
				 * 0: they differ */
	__u32 records;          /* data records, those of options too */
	bool is_options;        /* of observation domain 0, which has a sequence of its own */
	__u32 flows;            /* entries of what: the caller's words, in the order added */
	const __u64 *what;
};

struct ipfix;
/* -EMSGSIZE: a message cannot hold even one record of the largest template;
 * ipfix_message_least says what it takes. Prints nothing. */
must_use int ipfix_new(const struct ipfix_config *c, struct ipfix **x);
void ipfix_free(struct ipfix *x);
static inline void cleanup_ipfix(struct ipfix **x) { if (*x) ipfix_free(*x); }
#define auto_ipfix __attribute__((cleanup(cleanup_ipfix)))
/* Octets that a message needs at least. */
size_t ipfix_message_least(const struct ipfix_config *c);
/* Differs when the templates do: stays the same from run to run. */
__u32 ipfix_template_id(const struct ipfix *x);

/*
 * Add a record; reverse NULL: a uniflow. Where it fills a batch, *batch is that batch,
 * to be sealed and sent before the next call; else NULL. what (and what_reverse) come
 * back in the batch. A reverse flow needs is_biflow, and is not for ICMP.
 */
void ipfix_add(struct ipfix *x, const struct ipfix_flow *flow, __u64 what,
	       const struct ipfix_flow *reverse, __u64 what_reverse, struct ipfix_batch **batch);
/* The next batch that is not full yet, or NULL: call it until then. */
struct ipfix_batch *ipfix_flush(struct ipfix *x);
/* ipfix_flush will return another batch. */
bool ipfix_is_pending(const struct ipfix *x);

/* The templates of flows: messages without data records. */
struct ipfix_batch *ipfix_templates(struct ipfix *x);

/*
 * What the options records say (RFC 7011 section 4, RFC 5477). They are sent, with their
 * templates, in observation domain 0, which RFC 7011 3.1 names for what concerns the
 * exporter; the flows' domain is in their scope. nfcapd 1.7 leaves options records out
 * of its sequence check, so that beside flow records they would look like lost ones.
 */
struct ipfix_options {
	__u64 messages, octets, flows;             /* exported before: 41, 40, 42 */
	__u64 ignored_packets, ignored_octets;     /* 164, 165 */
	__u64 ignored_first_ms, ignored_last_ms;   /* 323; 0: none */
	__u64 unsent_flows, unsent_packets, unsent_octets; /* 166, 167, 168 */
	const char *label;                         /* 300 observationDomainName */
	const struct ipfix_interface {
		__u32 ifindex;
		char name[16];
		char alias[256];                   /* interfaceDescription; may be empty */
	} *interface;
	const struct ipfix_sampler {
		__u32 selector;                    /* as in ipfix_flow */
		__u32 sample;                      /* 1 in this many packets */
	} *sampler;
	int n_interfaces, n_samplers;
};
/* -ENOMEM, or 0 and a batch of as many messages as it takes. */
must_use int ipfix_options(struct ipfix *x, const struct ipfix_options *o, struct ipfix_batch **batch);

/* Write the message headers: sequence (RFC 7011 3.1) of the first message in the batch's
 * domain, Export Time in seconds. The next batch of that domain begins at sequence +
 * b->records. */
void ipfix_seal(const struct ipfix *x, struct ipfix_batch *b, __u32 sequence, __u32 export_time);

#endif
