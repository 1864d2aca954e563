// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* mirror test. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "mirrortest.h"

#define FLAG_ACK 0x10

static int take_end(const char *s, void *field, struct why *why)
{
	struct mirror_test_end *end = field;

	return parse_end(s, &end->addr, &end->port, why);
}

static int take_proto(const char *s, void *field, struct why *why) { return parse_proto(s, field, why); }
static int take_vlan(const char *s, void *field, struct why *why) { return parse_vlan(s, field, why); }

/* All that a packet has: there is no mask. */
static int take_flags(const char *s, void *field, struct why *why)
{
	__u8 *flags = field, mask;

	*flags = 0;
	if (strcmp(s, "none") && (strchr(s, '/') || parse_tcp_flags(s, flags, &mask, why)))
		return parse_wrong(why, "is not FLAGS of fin, syn, rst, psh, ack, urg, ece, cwr, as syn,ack, or none");
	return 0;
}

static void complete_vlan(void) { puts("none"); }

#define FIELD(f) offsetof(struct mirror_test_params, f)
#define CUSTOM(kw, f, m, fn) .word = kw, .type = ARG_CUSTOM, .offset = FIELD(f), .meta = m, .parse = fn

enum { A_SRC, A_DST, A_DEV, A_DIRECTION, A_PROTO, A_FLAGS, A_VLAN };
const struct arg mirror_test_args[] = {
	[A_SRC] = { CUSTOM("SRC[:PORT]", src, NULL, take_end), .positional = true, .required = true,
		    .help = "who sends it; without ports it is a later fragment, or of a protocol that has none" },
	[A_DST] = { CUSTOM("DST[:PORT]", dst, NULL, take_end), .positional = true, .required = true,
		    .help = "whom it is sent to" },
	[A_DEV] = { CUSTOM("dev", dev, "IF", mirror_take_dev), .complete = mirror_complete_dev,
		    .help = "where it is seen; default all interfaces that have filters" },
	[A_DIRECTION] = { .word = "direction", .type = ARG_ENUM, .offset = FIELD(direction),
			  .words = mirror_direction_words, .help = "default both" },
	[A_PROTO] = { CUSTOM("proto", proto, "PROTO", take_proto), .help = "default tcp, or without ports icmp or icmpv6" },
	[A_FLAGS] = { CUSTOM("flags", flags, "FLAGS", take_flags), .help = "of TCP, as syn,ack; default ack" },
	[A_VLAN] = { CUSTOM("vlan", vlan, "VID|none", take_vlan), .complete = complete_vlan,
		     .help = "of its outer tag; default none" },
	{ .word = NULL }
};

/*
 * The packet.
 */
static int check(const struct mirror_test_params *p, __u64 given, int proto)
{
	bool has_flags = ARG_GIVEN(given, mirror_test_args, A_FLAGS);
	char text[32];

	if (addr_is_v4(&p->src.addr) != addr_is_v4(&p->dst.addr))
		return fail(-E_USAGE, "mirror test: SRC and DST: one is IPv4, one IPv6");
	if (!p->src.port != !p->dst.port)
		return fail(-E_USAGE, "mirror test: SRC and DST: one has a port, one has none");
	if (p->src.port && !proto_has_ports(proto))
		return fail(-E_USAGE, "mirror test: proto %s has no ports", format_proto(proto, text, sizeof(text)));
	if (has_flags && (proto != IPPROTO_TCP || !p->src.port))
		return fail(-E_USAGE, "mirror test: flags are those of TCP, with ports");
	return 0;
}

static int proto_of(const struct mirror_test_params *p, __u64 given)
{
	if (ARG_GIVEN(given, mirror_test_args, A_PROTO))
		return p->proto;
	if (p->src.port || ARG_GIVEN(given, mirror_test_args, A_FLAGS))
		return IPPROTO_TCP;
	return addr_is_v4(&p->src.addr) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

static void half_read(const struct addr *a, __u64 half[2])
{
	half[0] = half[1] = 0;
	for (int i = 0; i < 16; i++)
		half[i / 8] = half[i / 8] << 8 | a->b[i];
}

static struct match_key key_of(const struct mirror_test_params *p, __u64 given, int proto)
{
	struct match_key k = {
		.sport = p->src.port,
		.dport = p->dst.port,
		.proto = (__u8)proto,
		.has = addr_is_v4(&p->src.addr) ? MATCH_V4 : MATCH_V6,
		.vlan = !ARG_GIVEN(given, mirror_test_args, A_VLAN) || p->vlan < 0 ? MATCH_NO_VLAN : (__u16)p->vlan,
	};

	half_read(&p->src.addr, k.src);
	half_read(&p->dst.addr, k.dst);
	if (p->src.port)
		k.has |= MATCH_PORTS;
	if (p->src.port && proto == IPPROTO_TCP) {
		k.has |= MATCH_FLAGS;
		k.flags = ARG_GIVEN(given, mirror_test_args, A_FLAGS) ? p->flags : FLAG_ACK;
	}
	return k;
}

/*
 * The answer: filter by filter up to the one that matches, and what becomes of the packet.
 */
static const struct column filter_columns[] = {
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "direction", .head = "DIRECTION", .type = COL_STR },
	{ .key = "number", .type = COL_U64 },
	{ .key = "matches", .head = "MATCHES", .type = COL_BOOL },
	{ .key = "filter", .head = "FILTER", .type = COL_STR },
	{ .key = "differs", .type = COL_STR },
	{ .key = "why", .head = "WHY NOT", .type = COL_STR },
	{ 0 },
};
static const struct column result_columns[] = {
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "direction", .head = "DIRECTION", .type = COL_STR },
	{ .key = "packet", .head = "PACKET", .type = COL_STR },
	{ .key = "number", .head = "FILTER", .type = COL_U64 },
	{ .key = "fate", .type = COL_STR },
	{ .key = "result", .head = "RESULT", .type = COL_STR },
	{ .key = "state", .type = COL_STR },
	{ .key = "to", .type = COL_STR },
	{ .key = "target_state", .type = COL_STR },
	{ .key = "collector_of", .type = COL_STR },
	{ .key = "snaplen_bytes", .type = COL_U64 },
	{ .key = "headers_only", .type = COL_BOOL },
	{ .key = "sample", .type = COL_U64 },
	{ .key = "sample_by", .type = COL_STR },
	{ 0 },
};

struct answer {
	const struct mirror_look_all *look;
	struct match_key key;
	struct table *filters, *results;
};

static void filters_add(const struct answer *a, int place)
{
	const struct mirror_look_place *p = &a->look->place[place];
	const char *direction = mirror_direction_words[a->key.direction];
	char text[MIRROR_WORDS], why[MIRROR_WHY];
	struct table *t = a->filters;

	for (int i = 0; i < a->look->filters; i++) {
		const struct mirror_look_filter *f = &a->look->filter[i];
		enum match_part part;

		if (f->place != place)
			continue;
		part = match_compare(&f->rec.rule, &a->key);
		table_row(t);
		table_str(t, "dev", "%s", p->dev);
		table_str(t, "direction", "%s", direction);
		table_u64(t, "number", f->rec.number);
		table_bool(t, "matches", part == MATCH_ALL);
		table_str(t, "filter", "%s", mirror_look_filter_words(a->look, f, text));
		if (part == MATCH_ALL)
			return;
		table_str(t, "differs", "%s", mirror_test_part(part));
		table_str(t, "why", "%s", mirror_test_why(part, &f->rec.rule, &a->key, why));
	}
}

/* "mirrored to ids, its headers, if it is of the one in 100 flows" */
static void sent_cells(struct table *t, const char *to, const struct mirror_filter *f)
{
	bool is_headers = f->snaplen == MIRROR_HEADERS, is_by_flow = f->sample_by == MIRROR_BY_FLOW;
	char cut[32] = "", sample[64] = "";

	if (is_headers)
		snprintf(cut, sizeof(cut), ", its headers");
	else if (f->snaplen)
		snprintf(cut, sizeof(cut), ", %u octets of it", f->snaplen);
	if (f->sample > 1)
		snprintf(sample, sizeof(sample), ", if it is %s %u", is_by_flow ? "of one flow in" : "one in", f->sample);
	table_str(t, "result", "mirrored to %s%s%s", to, cut, sample);
	if (f->snaplen && !is_headers)
		table_u64(t, "snaplen_bytes", f->snaplen);
	table_bool(t, "headers_only", is_headers);
	table_u64(t, "sample", f->sample > 1 ? f->sample : 1);
	if (f->sample > 1)
		table_str(t, "sample_by", "%s", mirror_sample_words[is_by_flow]);
}

static void fate_cells(struct table *t, const struct mirror_look_all *v, const struct mirror_look_place *p,
		       int direction)
{
	const struct mirror_look_filter *f = p->found[direction] < 0 ? NULL : &v->filter[p->found[direction]];
	const struct mirror_look_target *target = f && f->target >= 0 ? &v->target[f->target] : NULL;
	enum mirror_fate fate = mirror_test_fate(v, p, direction);

	table_str(t, "fate", "%s", mirror_fate_words[fate]);
	if (f)
		table_u64(t, "number", f->rec.number);
	if (target)
		table_str(t, "to", "%s", target->rec.name);
	if (target)
		table_str(t, "target_state", "%s", mirror_look_words[target->look]);
	if (fate == MIRROR_UNMATCHED)
		table_str(t, "result", "not mirrored: no filter matches");
	else if (fate == MIRROR_REJECTED)
		table_str(t, "result", "not mirrored: rejected");
	else if (fate == MIRROR_UNSEEN)
		table_str(t, "result", "not mirrored: %s", p->look[direction] == MIRROR_IS_GONE ? "the interface is gone" :
			  "mirror is not in the chain");
	else if (fate == MIRROR_GUARDED)
		table_str(t, "result", "not mirrored: from or to the collector of target %s", v->collector);
	else if (fate == MIRROR_UNSENT)
		table_str(t, "result", "not mirrored: target %s is %s", target ? target->rec.name : "?",
			  target ? mirror_look_words[target->look] : "gone");
	else
		sent_cells(t, target->rec.name, &f->rec);
	if (fate == MIRROR_GUARDED)
		table_str(t, "collector_of", "%s", v->collector);
}

static void answer_add(struct answer *a, int place, int direction)
{
	const struct mirror_look_place *p = &a->look->place[place];
	char text[MIRROR_WHY];

	a->key.direction = (__u8)direction;
	filters_add(a, place);
	table_row(a->results);
	table_str(a->results, "dev", "%s", p->dev);
	table_str(a->results, "direction", "%s", mirror_direction_words[direction]);
	table_str(a->results, "packet", "%s", mirror_test_packet(&a->key, text));
	table_str(a->results, "state", "%s", mirror_look_words[p->look[direction]]);
	fate_cells(a->results, a->look, p, direction);
}

static void none_tell(const struct run *run, const char *dev)
{
	if (!run->json && dev[0])
		warn("%s has no filters: nothing is mirrored", dev);
	else if (!run->json)
		warn("no interface has filters: nothing is mirrored");
}

int mirror_test(struct run *run, const void *params, __u64 given)
{
	const struct mirror_test_params *p = params;
	bool is_both = !ARG_GIVEN(given, mirror_test_args, A_DIRECTION) || p->direction > 1;
	auto_mirror_look struct mirror_look_all look = MIRROR_LOOK_INIT;
	auto_table struct table *filters = table_new(filter_columns), *results = table_new(result_columns);
	const struct table_part parts[] = { { "filters", filters }, { "results", results }, { 0 } };
	struct answer a = { .look = &look, .filters = filters, .results = results };
	int proto = proto_of(p, given), err = check(p, given, proto);

	if (err)
		return err;
	a.key = key_of(p, given, proto);
	err = mirror_test_read(run, p->dev[0] ? p->dev : NULL, &a.key, &look);
	if (err)
		return err;
	for (int i = 0; i < look.places; i++)
		for (int direction = 0; direction < 2; direction++)
			if (is_both || direction == p->direction)
				answer_add(&a, i, direction);
	if (!look.places)
		none_tell(run, p->dev);
	return tables_print(run, parts);
}
