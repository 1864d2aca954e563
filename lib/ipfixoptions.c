// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "ipfixmessage.h"

#define OPTIONS_FIRST 64768 /* template IDs: behind those of flows */
#define ALIAS_MOST 255

/* Options templates; their IDs are OPTIONS_FIRST on. One that is changed gets another
 * number. Scopes are the first fields (RFC 7011 3.4.2.1). */
enum option { NAME, INTERFACE, ALIAS, METERING, IGNORED, IGNORED_WHEN, UNSENT, SAMPLER, KEY, OPTIONS };

static const struct option_template {
	__u8 scopes, fields;
	struct ipfix_field field[5];
} templates[OPTIONS] = {
	/* observationDomainId everywhere: the messages are of domain 0 */
	[NAME] = { 1, 2, { { 149, 4, 0 }, { 300, IPFIX_VARIABLE, 0 } } },
	[INTERFACE] = { 2, 3, { { 149, 4, 0 }, { 10, 4, 0 }, { 82, IPFIX_VARIABLE, 0 } } },
	/* apart from the name: only interfaces that have one, and nfcapd 1.7 logs an error
	 * for a record of variable length with an interfaceDescription */
	[ALIAS] = { 2, 3, { { 149, 4, 0 }, { 10, 4, 0 }, { 83, IPFIX_VARIABLE, 0 } } },
	/* Metering Process Statistics, 4.1: exportedMessage-, FlowRecord-, OctetTotalCount */
	[METERING] = { 1, 4, { { 149, 4, 0 }, { 41, 8, 0 }, { 42, 8, 0 }, { 40, 8, 0 } } },
	/* Metering Process Reliability, 4.2: ignoredPacket-, ignoredOctetTotalCount, and
	 * observationTimeMilliseconds of the first and the last */
	[IGNORED] = { 1, 3, { { 149, 4, 0 }, { 164, 8, 0 }, { 165, 8, 0 } } },
	[IGNORED_WHEN] = { 1, 5, { { 149, 4, 0 }, { 164, 8, 0 }, { 165, 8, 0 }, { 323, 8, 0 }, { 323, 8, 0 } } },
	/* Exporting Process Reliability, 4.3: exportingProcessId; notSentFlow-, Packet-,
	 * OctetTotalCount */
	[UNSENT] = { 1, 4, { { 144, 4, 0 }, { 166, 8, 0 }, { 167, 8, 0 }, { 168, 8, 0 } } },
	/* RFC 5477 8.2: selectorId; selectorAlgorithm, samplingPacketInterval, -Space */
	[SAMPLER] = { 2, 5, { { 149, 4, 0 }, { 302, 8, 0 }, { 304, 2, 0 }, { 305, 4, 0 }, { 306, 4, 0 } } },
	/* Flow Keys, 4.4: templateId; flowKeyIndicator */
	[KEY] = { 2, 3, { { 149, 4, 0 }, { 145, 2, 0 }, { 173, 8, 0 } } },
};

static __u16 template_id(enum option option)
{
	return (__u16)(OPTIONS_FIRST + option);
}

/* Begins a record that is at most length octets long. */
static int record_begin(struct ipfix_messages *m, enum option option, __u32 length)
{
	int err = ipfix_messages_need(m, template_id(option), length);

	if (!err)
		m->records++;
	return err;
}

/* A record that is a scope of 32 bits and n counters. */
static int counters_put(struct ipfix_messages *m, enum option option, __u32 scope, const __u64 *count)
{
	const struct option_template *t = &templates[option];
	int err = record_begin(m, option, 4 + 8 * (t->fields - 1U));

	if (err)
		return err;
	m->at = ipfix_u32_put(m->at, scope);
	for (int i = 0; i < t->fields - 1; i++)
		m->at = ipfix_u64_put(m->at, count[i]);
	return 0;
}

static int name_put(struct ipfix_messages *m, __u32 domain, const char *label)
{
	int err = record_begin(m, NAME, 4 + 1 + IPFIX_STRING_MOST);

	if (err)
		return err;
	m->at = ipfix_u32_put(m->at, domain);
	m->at = ipfix_string_put(m->at, label, IPFIX_STRING_MOST);
	return 0;
}

static int interface_put(struct ipfix_messages *m, enum option option, __u32 domain, __u32 ifindex,
			 const char *text, __u32 most)
{
	int err = record_begin(m, option, 8 + 3 + most);

	if (err)
		return err;
	m->at = ipfix_u32_put(m->at, domain);
	m->at = ipfix_u32_put(m->at, ifindex);
	m->at = ipfix_string_put(m->at, text, most);
	return 0;
}
_Static_assert(IPFIX_PADDED(8 + 3 + ALIAS_MOST) == IPFIX_OPTIONS_LEAST - IPFIX_SET_HEADERS, "the longest record");

static int interfaces_put(struct ipfix_messages *m, __u32 domain, const struct ipfix_options *o)
{
	int err = 0;

	for (int i = 0; !err && i < o->n_interfaces; i++)
		err = interface_put(m, INTERFACE, domain, o->interface[i].ifindex, o->interface[i].name,
				    IPFIX_STRING_MOST);
	for (int i = 0; !err && i < o->n_interfaces; i++)
		if (*o->interface[i].alias)
			err = interface_put(m, ALIAS, domain, o->interface[i].ifindex, o->interface[i].alias,
					    ALIAS_MOST);
	return err;
}

static int sampler_put(struct ipfix_messages *m, __u32 domain, const struct ipfix_sampler *s)
{
	int err = record_begin(m, SAMPLER, 22);

	if (err)
		return err;
	m->at = ipfix_u32_put(m->at, domain);
	m->at = ipfix_u64_put(m->at, s->selector);
	m->at = ipfix_u16_put(m->at, 1); /* systematic count-based sampling, RFC 5477 8.2.1 */
	m->at = ipfix_u32_put(m->at, 1);
	m->at = ipfix_u32_put(m->at, s->sample - 1);
	return 0;
}

static int statistics_put(struct ipfix_messages *m, __u32 domain, const struct ipfix_options *o)
{
	const __u64 exported[] = { o->messages, o->flows, o->octets };
	const __u64 ignored[] = { o->ignored_packets, o->ignored_octets, o->ignored_first_ms, o->ignored_last_ms };
	const __u64 unsent[] = { o->unsent_flows, o->unsent_packets, o->unsent_octets };
	int err = counters_put(m, METERING, domain, exported);

	if (!err)
		err = counters_put(m, o->ignored_last_ms ? IGNORED_WHEN : IGNORED, domain, ignored);
	/* of several exporting processes on a host, each has its domain */
	if (!err)
		err = counters_put(m, UNSENT, domain, unsent);
	for (int i = 0; !err && i < o->n_samplers; i++)
		if (o->sampler[i].sample > 1)
			err = sampler_put(m, domain, &o->sampler[i]);
	return err;
}

int ipfix_options_put(struct ipfix_messages *m, __u32 domain, const struct ipfix_options *o)
{
	int err = 0;

	for (enum option i = 0; !err && i < OPTIONS; i++)
		err = ipfix_messages_template(m, template_id(i), templates[i].scopes, templates[i].field,
					      templates[i].fields);
	if (!err && o->label && *o->label)
		err = name_put(m, domain, o->label);
	if (!err)
		err = interfaces_put(m, domain, o);
	return err ? err : statistics_put(m, domain, o);
}

int ipfix_options_key(struct ipfix_messages *m, __u32 domain, const struct ipfix_template *t)
{
	int err = record_begin(m, KEY, 14);

	if (err)
		return err;
	m->at = ipfix_u32_put(m->at, domain);
	m->at = ipfix_u16_put(m->at, t->id);
	m->at = ipfix_u64_put(m->at, t->keys);
	return 0;
}
