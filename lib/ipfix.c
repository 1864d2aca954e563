// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "ipfix.h"
#include "ipfixfields.h"
#include "ipfixmessage.h"

/* The flows of one variant: batches of messages with one set each. */
struct stream {
	struct ipfix_template template;
	struct ipfix_messages out;
	__u32 records_most;    /* of a message, where records are of fixed length; else 0 */
	__u32 length_most;     /* of a record */
	__u64 *what;
	bool is_handed_out;    /* the caller has the batch: the next record begins another */
};

struct ipfix {
	struct ipfix_config config;
	__u32 template_id;
	struct ipfix_wire wire;
	struct ipfix_messages templates, options;
	struct stream stream[IPFIX_VARIANTS];
};

static bool is_used(const struct ipfix_config *c, unsigned int variant)
{
	return !ipfix_variant_is_void(variant) && (c->is_biflow || !ipfix_variant_is_biflow(variant));
}

static __u32 record_most(const struct ipfix_template *t)
{
	return t->length + (__u32)(t->is_ifname + t->is_label) * (1 + IPFIX_STRING_MOST);
}

static __u32 specifiers_length(const struct ipfix_template *t)
{
	__u32 length = 0;

	for (int i = 0; i < t->n_fields; i++)
		length += t->field[i].enterprise ? 8 : 4;
	return length;
}

size_t ipfix_message_least(const struct ipfix_config *c)
{
	struct ipfix_template t;
	size_t least = IPFIX_OPTIONS_LEAST, needs;

	for (unsigned int i = 0; i < IPFIX_VARIANTS; i++) {
		if (!is_used(c, i))
			continue;
		ipfix_template_make(&t, i, c->fields);
		needs = record_most(&t);
		if (needs < 4 + specifiers_length(&t))
			needs = 4 + specifiers_length(&t);
		needs = IPFIX_SET_HEADERS + IPFIX_PADDED(needs);
		if (least < needs)
			least = needs;
	}
	return least;
}

static int stream_make(struct stream *s, unsigned int variant, const struct ipfix_config *c)
{
	int err;

	ipfix_template_make(&s->template, variant, c->fields);
	s->length_most = record_most(&s->template);
	if (s->length_most == s->template.length)
		s->records_most = (IPFIX_ALIGNED(c->message_most) - IPFIX_SET_HEADERS) / s->length_most;
	err = ipfix_messages_make(&s->out, c->message_most, c->batch_messages);
	if (err)
		return err;
	/* no record is shorter than its fixed fields; a biflow has two words */
	s->what = calloc((size_t)c->batch_messages * (c->message_most / s->template.length),
			 (1 + ipfix_variant_is_biflow(variant)) * sizeof(*s->what));
	return s->what ? 0 : -ENOMEM;
}

static int templates_make(struct ipfix *x)
{
	struct ipfix_messages *m = &x->templates;
	int err = ipfix_messages_make(m, x->config.message_most, 4);

	for (unsigned int i = 0; !err && i < IPFIX_VARIANTS; i++)
		if (is_used(&x->config, i))
			err = ipfix_messages_template(m, x->stream[i].template.id, 0, x->stream[i].template.field,
						      x->stream[i].template.n_fields);
	if (!err)
		ipfix_messages_end(m);
	return err;
}

/* FNV-1a over the template records. */
static __u32 checksum(const struct ipfix_batch *b)
{
	__u32 sum = 2166136261;
	const __u8 *message = b->bytes;

	for (__u32 i = 0; i < b->messages; message += b->message_size[i++])
		for (__u32 j = IPFIX_HEADER; j < b->message_size[i]; j++)
			sum = (sum ^ message[j]) * 16777619;
	return sum;
}

int ipfix_new(const struct ipfix_config *c, struct ipfix **out)
{
	auto_ipfix struct ipfix *x = NULL;
	int err = 0;

	if (c->message_most < ipfix_message_least(c) || c->message_most > IPFIX_MESSAGE_MOST || !c->batch_messages)
		return -EMSGSIZE;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->config = *c;
	for (unsigned int i = 0; !err && i < IPFIX_VARIANTS; i++)
		if (is_used(c, i))
			err = stream_make(&x->stream[i], i, c);
	if (!err)
		err = templates_make(x);
	if (err)
		return err;
	x->template_id = checksum(&x->templates.batch);
	*out = x;
	x = NULL;
	return 0;
}

void ipfix_free(struct ipfix *x)
{
	for (unsigned int i = 0; i < IPFIX_VARIANTS; i++) {
		ipfix_messages_free(&x->stream[i].out);
		free(x->stream[i].what);
	}
	ipfix_messages_free(&x->templates);
	ipfix_messages_free(&x->options);
	free(x);
}

__u32 ipfix_template_id(const struct ipfix *x)
{
	return x->template_id;
}

/* The fixed fields, in steps of IPFIX_COPY octets: what is written beyond a run is
 * written over by the next one, by the next record or by the message's end. */
static __u8 *record_put(__u8 *to, const struct ipfix_template *t, const struct ipfix_wire *w)
{
	for (int i = 0; i < t->n_runs; i++) {
		const __u8 *from = (const __u8 *)w + t->run[i].from;
		__u32 length = t->run[i].length;

		for (__u32 done = 0; done < length; done += IPFIX_COPY)
			memcpy(to + done, from + done, IPFIX_COPY);
		to += length;
	}
	return to;
}

static __u8 *variable_put(__u8 *to, const struct ipfix_template *t, const struct ipfix_flow *f)
{
	if (t->is_ifname)
		to = ipfix_string_put(to, f->ifname, IPFIX_STRING_MOST);
	if (t->is_label)
		to = ipfix_string_put(to, f->label, IPFIX_STRING_MOST);
	return to;
}

static bool message_is_full(const struct stream *s)
{
	if (s->records_most)
		return s->out.records == s->records_most;
	return ipfix_messages_room(&s->out) < s->length_most;
}

static struct ipfix_batch *hand_out(struct stream *s)
{
	struct ipfix_batch *b = &s->out.batch;

	ipfix_messages_end(&s->out);
	b->what = s->what;
	/* variable lengths: as it happens, or one alone */
	b->equal_size = s->records_most || b->messages == 1 ? b->message_size[0] : 0;
	s->is_handed_out = true;
	return b;
}

void ipfix_add(struct ipfix *x, const struct ipfix_flow *flow, __u64 what, const struct ipfix_flow *reverse,
	       __u64 what_reverse, struct ipfix_batch **batch)
{
	struct stream *s = &x->stream[ipfix_variant(flow->key, reverse)];
	struct ipfix_batch *b = &s->out.batch;

	*batch = NULL;
	if (s->is_handed_out) {
		ipfix_messages_reset(&s->out);
		s->is_handed_out = false;
	}
	ipfix_wire_fill(&x->wire, flow);
	s->what[b->flows++] = what;
	if (reverse) {
		ipfix_wire_fill_reverse(&x->wire, reverse);
		s->what[b->flows++] = what_reverse;
	}
	if (!s->out.records)
		ipfix_messages_set(&s->out, s->template.id);
	s->out.at = record_put(s->out.at, &s->template, &x->wire);
	if (!s->records_most)
		s->out.at = variable_put(s->out.at, &s->template, flow);
	s->out.records++;
	if (!message_is_full(s))
		return;
	ipfix_messages_end(&s->out);
	if (b->messages == x->config.batch_messages)
		*batch = hand_out(s);
}

static bool stream_is_pending(const struct stream *s)
{
	return !s->is_handed_out && (s->out.records || s->out.batch.messages);
}

bool ipfix_is_pending(const struct ipfix *x)
{
	for (unsigned int i = 0; i < IPFIX_VARIANTS; i++)
		if (stream_is_pending(&x->stream[i]))
			return true;
	return false;
}

struct ipfix_batch *ipfix_flush(struct ipfix *x)
{
	for (unsigned int i = 0; i < IPFIX_VARIANTS; i++)
		if (stream_is_pending(&x->stream[i]))
			return hand_out(&x->stream[i]);
	return NULL;
}

struct ipfix_batch *ipfix_templates(struct ipfix *x)
{
	return &x->templates.batch;
}

int ipfix_options(struct ipfix *x, const struct ipfix_options *o, struct ipfix_batch **batch)
{
	struct ipfix_messages *m = &x->options;
	int err;

	if (m->buffer)
		ipfix_messages_reset(m);
	else if ((err = ipfix_messages_make(m, x->config.message_most, 4)))
		return err;
	err = ipfix_options_put(m, x->config.domain, o);
	for (unsigned int i = 0; !err && i < IPFIX_VARIANTS; i++)
		if (is_used(&x->config, i))
			err = ipfix_options_key(m, x->config.domain, &x->stream[i].template);
	if (err)
		return err;
	ipfix_messages_end(m);
	m->batch.is_options = true;
	*batch = &m->batch;
	return 0;
}

void ipfix_seal(const struct ipfix *x, struct ipfix_batch *b, __u32 sequence, __u32 export_time)
{
	__u8 *message = b->bytes;

	for (__u32 i = 0; i < b->messages; i++) {
		struct ipfix_header header = {
			.version = htons(10),
			.length = htons((__u16)b->message_size[i]),
			.export_time = htonl(export_time),
			.sequence = htonl(sequence),
			.domain = htonl(b->is_options ? 0 : x->config.domain),
		};

		memcpy(message, &header, sizeof(header));
		message += b->message_size[i];
		sequence += b->message_records[i];
	}
}
