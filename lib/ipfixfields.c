// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include "ipfixfields.h"
#include "parse.h"

#define REVERSE_PEN 29305 /* RFC 5103 6.1 */

/* What a variant's flows have; an element needs some of it. */
enum {
	V4 = 1, V6 = 2, PORTS = 4, ICMP = 8, OTHER = 16, TAGGED = 32, QINQ = 64, BIFLOW = 128,
};

/* Elements that can be chosen. */
enum choice {
	TOS, FLAGS, TTL_MIN, TTL_MAX, REASON, ICMP4, ICMP6, BIFLOW_DIRECTION,
	FLAGS16, FLOW_ID, IFNAME, LABEL, SELECTOR, INTERVAL, SPACE, CHOICES, ALWAYS = -1,
};
#define DEFAULTS ((1U << FLAGS16) - 1) /* those before */

/*
 * What sets template IDs of different choices apart: an ID's block is the sum of these
 * over GF(2). They are columns of the check matrix of a BCH code of distance 5: lists
 * that differ in up to four elements never share an ID. A release that changes what is
 * always there, or how something is encoded, adds another column to LAYOUT: 373 26c 06f ...
 */
static const __u16 mark[CHOICES] = {
	0x021, 0x048, 0x08a, 0x11a, 0x20e, 0x0bf, 0x143, 0x298, 0x1be, 0x34b, 0x232, 0x0e4, 0x1c5, 0x38d, 0x3a7,
};
#define LAYOUT 0
#define BLOCK 63 /* IDs: 1024 blocks from 256 on */
_Static_assert(IPFIX_VARIANTS <= BLOCK, "template IDs");

#define WIRE(field) offsetof(struct ipfix_wire, field)

/*
 * In the order of records. Reverse elements come first: nfcapd 1.7 takes those it does
 * not know for the forward ones, and the last that it finds counts.
 */
static const struct element {
	const char *name;
	__u16 id, length, from;
	__u8 needs;
	__s8 choice;
	bool is_key, is_reverse;
} elements[] = {
	{ "octetDeltaCount", 1, 8, WIRE(reverse.octets), BIFLOW, ALWAYS, false, true },
	{ "packetDeltaCount", 2, 8, WIRE(reverse.packets), BIFLOW, ALWAYS, false, true },
	{ "flowStartMilliseconds", 152, 8, WIRE(reverse.start), BIFLOW, ALWAYS, false, true },
	{ "flowEndMilliseconds", 153, 8, WIRE(reverse.end), BIFLOW, ALWAYS, false, true },
	{ "ipClassOfService", 5, 1, WIRE(reverse.tos), BIFLOW, TOS, false, true },
	{ "minimumTTL", 52, 1, WIRE(reverse.ttl_min), BIFLOW, TTL_MIN, false, true },
	{ "maximumTTL", 53, 1, WIRE(reverse.ttl_max), BIFLOW, TTL_MAX, false, true },
	{ "tcpControlBits", 6, 1, WIRE(reverse.flags) + 1, BIFLOW | PORTS, FLAGS, false, true },
	{ "tcpControlBits/2", 6, 2, WIRE(reverse.flags), BIFLOW | PORTS, FLAGS16, false, true },
	{ "sourceIPv4Address", 8, 4, WIRE(src) + 12, V4, ALWAYS, true, false },
	{ "destinationIPv4Address", 12, 4, WIRE(dst) + 12, V4, ALWAYS, true, false },
	{ "sourceIPv6Address", 27, 16, WIRE(src), V6, ALWAYS, true, false },
	{ "destinationIPv6Address", 28, 16, WIRE(dst), V6, ALWAYS, true, false },
	{ "sourceTransportPort", 7, 2, WIRE(sport), PORTS, ALWAYS, true, false },
	{ "destinationTransportPort", 11, 2, WIRE(dport), PORTS, ALWAYS, true, false },
	{ "icmpTypeIPv4", 176, 1, WIRE(icmp), V4 | ICMP, ALWAYS, true, false },
	{ "icmpCodeIPv4", 177, 1, WIRE(icmp) + 1, V4 | ICMP, ALWAYS, true, false },
	{ "icmpTypeIPv6", 178, 1, WIRE(icmp), V6 | ICMP, ALWAYS, true, false },
	{ "icmpCodeIPv6", 179, 1, WIRE(icmp) + 1, V6 | ICMP, ALWAYS, true, false },
	/* type * 256 + code: what nfcapd 1.7 reads */
	{ "icmpTypeCodeIPv4", 32, 2, WIRE(icmp), V4 | ICMP, ICMP4, false, false },
	{ "icmpTypeCodeIPv6", 139, 2, WIRE(icmp), V6 | ICMP, ICMP6, false, false },
	{ "vlanId", 58, 2, WIRE(vlan), TAGGED, ALWAYS, true, false },
	{ "dot1qCustomerVlanId", 245, 2, WIRE(vlan) + 2, QINQ, ALWAYS, true, false },
	{ "protocolIdentifier", 4, 1, WIRE(proto), 0, ALWAYS, true, false },
	{ "ipClassOfService", 5, 1, WIRE(tos), 0, TOS, false, false },
	/* unsigned16; nfacctd 1.7 reads two octets as no flags */
	{ "tcpControlBits", 6, 1, WIRE(flags) + 1, PORTS, FLAGS, false, false },
	{ "tcpControlBits/2", 6, 2, WIRE(flags), PORTS, FLAGS16, false, false },
	{ "minimumTTL", 52, 1, WIRE(ttl_min), 0, TTL_MIN, false, false },
	{ "maximumTTL", 53, 1, WIRE(ttl_max), 0, TTL_MAX, false, false },
	{ "flowEndReason", 136, 1, WIRE(reason), 0, REASON, false, false },
	{ "flowDirection", 61, 1, WIRE(direction), 0, ALWAYS, true, false },
	{ "ingressInterface", 10, 4, WIRE(in_ifindex), 0, ALWAYS, true, false },
	{ "egressInterface", 14, 4, WIRE(out_ifindex), 0, ALWAYS, true, false },
	{ "packetDeltaCount", 2, 8, WIRE(packets), 0, ALWAYS, false, false },
	{ "octetDeltaCount", 1, 8, WIRE(octets), 0, ALWAYS, false, false },
	{ "flowStartMilliseconds", 152, 8, WIRE(start), 0, ALWAYS, false, false },
	{ "flowEndMilliseconds", 153, 8, WIRE(end), 0, ALWAYS, false, false },
	{ "flowId", 148, 8, WIRE(id), 0, FLOW_ID, false, false },
	{ "selectorId", 302, 8, WIRE(selector), 0, SELECTOR, false, false },
	{ "samplingPacketInterval", 305, 4, WIRE(interval), 0, INTERVAL, false, false },
	{ "samplingPacketSpace", 306, 4, WIRE(space), 0, SPACE, false, false },
	{ "biflowDirection", 239, 1, WIRE(biflow), BIFLOW, BIFLOW_DIRECTION, false, false },
	{ "interfaceName", 82, IPFIX_VARIABLE, 0, 0, IFNAME, false, false },
	{ "observationDomainName", 300, IPFIX_VARIABLE, 0, 0, LABEL, false, false },
};
#define ELEMENTS (sizeof(elements) / sizeof(elements[0]))
_Static_assert(ELEMENTS <= IPFIX_FIELDS_MOST + 8, "not all of them are in one template");

struct ipfix_fields ipfix_fields_default(void)
{
	return (struct ipfix_fields){ DEFAULTS };
}

static bool is_word(const struct element *e)
{
	return e->choice != ALWAYS && !e->is_reverse;
}

void ipfix_complete_fields(void)
{
	for (size_t i = 0; i < ELEMENTS; i++)
		if (is_word(&elements[i]))
			puts(elements[i].name);
}

/* The bits of the word of len characters; 0: it is none, and why says so. */
static __u32 choices(const char *s, size_t len, struct why *why)
{
	char typed[40];
	struct nearest near = { .typed = typed };

	snprintf(typed, sizeof(typed), "%.*s", (int)len, s);
	if (!strcmp(typed, "all"))
		return (1U << CHOICES) - 1;
	for (size_t i = 0; i < ELEMENTS; i++) {
		if (!is_word(&elements[i]))
			continue;
		if (!strcmp(typed, elements[i].name))
			return 1U << elements[i].choice;
		nearest_try(&near, elements[i].name);
	}
	if (near.word)
		snprintf(why->text, sizeof(why->text), "has %s, which is no element of flow records; "
			 "did you mean %s?", *typed ? typed : "''", near.word);
	else
		snprintf(why->text, sizeof(why->text), "has %s, which is no element of flow records, as in "
			 "flowId,interfaceName,-minimumTTL or all", *typed ? typed : "''");
	return 0;
}

int ipfix_parse_fields(const char *s, void *fields, struct why *why)
{
	struct ipfix_fields *f = fields;
	__u32 bits;
	bool is_off;
	size_t len;

	*f = ipfix_fields_default();
	for (;; s += len + 1) {
		is_off = *s == '-';
		s += is_off;
		len = strcspn(s, ",");
		bits = choices(s, len, why);
		if (!bits)
			return -E_USAGE;
		f->given = is_off ? f->given & ~bits : f->given | bits;
		if (!s[len])
			return 0;
	}
}

static enum ipfix_kind kind_of(const struct flow_key *key)
{
	switch (key->proto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return IPFIX_ICMP;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_DCCP:
	case IPPROTO_SCTP:
	case IPPROTO_UDPLITE:
		/* fragments without their first one have none that are known */
		return key->sport | key->dport ? IPFIX_PORTS : IPFIX_OTHER;
	default:
		return IPFIX_OTHER;
	}
}

unsigned int ipfix_variant(const struct flow_key *key, bool is_biflow)
{
	unsigned int tags = !!key->vlan[0] + (key->vlan[0] && key->vlan[1]);

	return ((is_biflow * 2U + (key->family == 6)) * 3 + tags) * IPFIX_KINDS + kind_of(key);
}

bool ipfix_variant_is_biflow(unsigned int variant)
{
	return variant >= IPFIX_VARIANTS / 2;
}

bool ipfix_variant_is_void(unsigned int variant)
{
	return ipfix_variant_is_biflow(variant) && variant % IPFIX_KINDS == IPFIX_ICMP;
}

static unsigned int properties(unsigned int variant)
{
	static const __u8 kinds[IPFIX_KINDS] = { PORTS, ICMP, OTHER };
	static const __u8 tags[] = { 0, TAGGED, TAGGED | QINQ };

	return kinds[variant % IPFIX_KINDS] | tags[variant / IPFIX_KINDS % 3] |
	       (variant / (IPFIX_KINDS * 3) % 2 ? V6 : V4) | (ipfix_variant_is_biflow(variant) ? BIFLOW : 0);
}

static void template_add(struct ipfix_template *t, const struct element *e)
{
	struct ipfix_run *last = t->n_runs ? &t->run[t->n_runs - 1] : NULL;

	if (e->is_key)
		t->keys |= 1ULL << t->n_fields;
	t->field[t->n_fields++] = (struct ipfix_field){ e->id, e->length, e->is_reverse ? REVERSE_PEN : 0 };
	t->is_ifname |= e->choice == IFNAME;
	t->is_label |= e->choice == LABEL;
	if (e->length == IPFIX_VARIABLE)
		return;
	t->length += e->length;
	if (last && last->from + last->length == e->from)
		last->length += e->length;
	else
		t->run[t->n_runs++] = (struct ipfix_run){ e->from, e->length };
}

static __u16 template_number(unsigned int variant, __u32 given)
{
	unsigned int block = LAYOUT;

	for (int i = 0; i < CHOICES; i++)
		if (given >> i & 1)
			block ^= mark[i];
	return (__u16)(256 + block * BLOCK + variant);
}

void ipfix_template_make(struct ipfix_template *t, unsigned int variant, struct ipfix_fields fields)
{
	unsigned int has = properties(variant);
	__u32 given = fields.given;

	if (given & 1U << FLAGS16)
		given &= ~(1U << FLAGS);
	*t = (struct ipfix_template){ .id = template_number(variant, given) };
	for (size_t i = 0; i < ELEMENTS; i++) {
		const struct element *e = &elements[i];

		if ((e->needs & has) == e->needs && (e->choice == ALWAYS || given >> e->choice & 1))
			template_add(t, e);
	}
}

void ipfix_wire_fill(struct ipfix_wire *w, const struct ipfix_flow *f)
{
	const struct flow_key *key = f->key;

	memcpy(w->src, key->src, sizeof(w->src));
	memcpy(w->dst, key->dst, sizeof(w->dst));
	w->sport = htons(key->sport);
	w->dport = htons(key->dport);
	w->icmp[0] = (__u8)key->sport;
	w->icmp[1] = (__u8)key->dport;
	w->vlan[0] = htons(key->vlan[0] & 0xfff);
	w->vlan[1] = htons(key->vlan[1] & 0xfff);
	w->proto = key->proto;
	w->tos = f->tos;
	w->flags = htons(f->flags);
	w->ttl_min = f->ttl_min;
	w->ttl_max = f->ttl_max;
	w->reason = f->reason;
	w->direction = f->direction;
	w->in_ifindex = htonl(f->in_ifindex);
	w->out_ifindex = htonl(f->out_ifindex);
	w->packets = htobe64(f->packets);
	w->octets = htobe64(f->octets);
	w->start = htobe64(f->start_ms);
	w->end = htobe64(f->end_ms);
	w->id = htobe64(f->id);
	w->selector = htobe64(f->selector);
	w->interval = htonl(1);
	w->space = htonl(f->sample > 1 ? f->sample - 1 : 0);
}

void ipfix_wire_fill_reverse(struct ipfix_wire *w, const struct ipfix_flow *f)
{
	w->reverse.octets = htobe64(f->octets);
	w->reverse.packets = htobe64(f->packets);
	w->reverse.start = htobe64(f->start_ms);
	w->reverse.end = htobe64(f->end_ms);
	w->reverse.tos = f->tos;
	w->reverse.ttl_min = f->ttl_min;
	w->reverse.ttl_max = f->ttl_max;
	w->reverse.flags = htons(f->flags);
	w->biflow = 1; /* IE 239: the forward direction is the initiator's */
}
