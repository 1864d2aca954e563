/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mirror target list|show, mirror filter list, mirror stats. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "mirrorview.h"

#define INTERVAL_MIN_US 10000
#define INTERVAL_MAX_US 3600000000ULL

/* A name that an interface has or had: one that is gone can be named, too. */
int mirror_take_dev(const char *s, void *field, struct why *why)
{
	size_t len = strlen(s);

	if (!len || len > 15 || strchr(s, '/'))
		return parse_wrong(why, "is no name of an interface");
	memcpy(field, s, len + 1);
	return 0;
}

/* Nothing where they cannot be read. */
static void names_print(bool is_dev)
{
	auto_mirror_look struct mirror_look_all v = MIRROR_LOOK_INIT;
	const char *dir = getenv("L3AF_BPFFS");
	const struct run run = { .bpffs = dir ? dir : "/sys/fs/bpf" };

	if (mirror_look_read(&run, NULL, NULL, &v))
		return;
	for (int i = 0; is_dev && i < v.places; i++)
		puts(v.place[i].iface);
	for (int i = 0; !is_dev && i < v.targets; i++)
		puts(v.target[i].rec.name);
}

void mirror_complete_dev(void) { names_print(true); }
void mirror_complete_target(void) { names_print(false); }

#define FIELD(f) offsetof(struct mirror_view_params, f)
#define OF_DEV(text, of_group) { .word = "dev", .type = ARG_CUSTOM, .parse = mirror_take_dev, .offset = FIELD(dev), \
				 .meta = "IF", .complete = mirror_complete_dev, .group = of_group, .help = text }
#define END { .word = NULL }

const struct arg mirror_target_show_args[] = {
	{ .word = "NAME", .type = ARG_NAME, .offset = FIELD(target), .positional = true, .required = true,
	  .complete = mirror_complete_target, .help = "the target" },
	END
};
const struct arg mirror_filter_list_args[] = { OF_DEV("only of this interface, which may be gone", 0), END };
const struct arg mirror_stats_args[] = {
	OF_DEV("only filters of this interface, and their targets", 1),
	{ .word = "target", .type = ARG_NAME, .offset = FIELD(target), .meta = "NAME", .group = 1,
	  .complete = mirror_complete_target, .help = "only this target, and filters that send to it" },
	{ .word = "interval", .type = ARG_DURATION, .offset = FIELD(interval_us), .meta = "DUR",
	  .min = INTERVAL_MIN_US, .max = INTERVAL_MAX_US, .help = "measure rates over this long" },
	END
};

static const char *or_null(const char *name)
{
	return name[0] ? name : NULL;
}

static void time_cell(struct table *t, __u64 seconds)
{
	char text[32];

	if (seconds)
		table_str(t, "since", "%s", format_time(seconds, text, sizeof(text)));
}

/* For people; --json has it in the row. */
static void tell(const struct run *run, const char *what, const char *problem, const char *repair)
{
	if (!run->json)
		warn("%s: %s%s%s", what, problem, repair ? "; " : "", repair ? repair : "");
}

/*
 * Targets.
 */
static const char *const target_problems[] = {
	[MIRROR_IS_DETACHED] = "mirrortarget is not in the tc-egress chain of its interface, so nothing is sent",
	[MIRROR_IS_STRAY] = "mirrortarget was out of the chain, and nothing is sent until this is done",
	[MIRROR_IS_DOWN] = "its interface is down",
	[MIRROR_IS_GONE] = "its interface is gone",
};

/* is_one: of one target, with what it counted. */
#define TARGET_COLUMNS(is_one) { \
	{ .key = "name", .head = "NAME", .type = COL_STR }, \
	{ .key = "dev", .head = "DEV", .type = COL_STR }, \
	{ .key = "to", .head = "TO", .type = COL_STR }, \
	{ .key = "port", .head = "PORT", .type = COL_U64 }, \
	{ .key = "encap", .head = "ENCAP", .type = COL_STR }, \
	{ .key = "variant", .head = "VARIANT", .type = COL_U64, .wide = true }, \
	{ .key = "vni", .head = "VNI", .type = COL_U64 }, \
	{ .key = "source", .head = "SOURCE", .type = COL_STR }, \
	{ .key = "gateway", .head = "GATEWAY", .type = COL_STR, .wide = true }, \
	{ .key = "udp_csum", .head = "UDP-CSUM", .type = COL_BOOL, .wide = true }, \
	{ .key = "cap_bits_per_second", .type = COL_U64 }, \
	{ .key = "cap", .head = "CAP", .type = COL_STR }, \
	{ .key = "filters", .head = "FILTERS", .type = COL_U64 }, \
	{ .key = "state", .head = "STATE", .type = COL_STR }, \
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 }, \
	{ .key = "bytes", .head = is_one ? "BYTES" : NULL, .type = COL_U64 }, \
	{ .key = "sent", .head = "SENT", .type = COL_U64 }, \
	{ .key = "sent_bytes", .head = is_one ? "SENT BYTES" : NULL, .type = COL_U64 }, \
	{ .key = "cut", .head = is_one ? "CUT" : NULL, .type = COL_U64 }, \
	{ .key = "fitted", .head = is_one ? "FITTED" : NULL, .type = COL_U64 }, \
	{ .key = "not_sent", .head = is_one ? "NOT SENT" : NULL, .type = COL_COUNTS }, \
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true }, \
	{ .key = "target", .head = is_one ? "TARGET" : NULL, .type = COL_STR }, \
	{ .key = "repair", .type = COL_STR }, \
	{ 0 }, \
}
static const struct column target_columns[2][25] = { TARGET_COLUMNS(false), TARGET_COLUMNS(true) };

static void stat_cells(struct table *t, const struct mirror_stat *s, bool is_sender)
{
	table_u64(t, "packets", s->packets);
	table_u64(t, "bytes", s->octets);
	if (!is_sender)
		return;
	table_u64(t, "sent", s->sent);
	table_u64(t, "sent_bytes", s->sent_octets);
	table_u64(t, "cut", s->cut);
	table_u64(t, "fitted", s->fitted);
	for (int i = 0; i < MIRROR_CAUSES; i++)
		table_count(t, "not_sent", mirror_cause_words[i], s->not_sent[i]);
}

static void to_cells(struct table *t, const struct mirror_target *rec)
{
	struct addr to;
	char text[MIRROR_TEXT];

	memcpy(&to, rec->to, sizeof(to));
	table_str(t, "to", "%s", format_addr(&to, text, sizeof(text)));
	table_u64(t, "port", rec->port);
	table_str(t, "encap", "%s", mirror_encap_words[rec->encap == MIRROR_VXLAN]);
	if (rec->encap == MIRROR_VXLAN)
		table_u64(t, "vni", rec->vni);
	else
		table_u64(t, "variant", rec->variant);
	table_str(t, "source", "%s", mirror_format_source(rec, text));
	table_str(t, "gateway", "%s", mirror_format_gateway(rec, text));
	table_bool(t, "udp_csum", rec->has_checksum);
	if (rec->cap)
		table_u64(t, "cap_bits_per_second", rec->cap);
	if (rec->cap)
		table_str(t, "cap", "%s", mirror_format_cap(rec, text));
}

static void target_add(const struct run *run, struct table *t, const struct mirror_look_all *v,
		       const struct mirror_look_target *target)
{
	char text[MIRROR_WORDS], what[48];
	const char *repair;

	table_row(t);
	table_str(t, "name", "%s", target->rec.name);
	table_str(t, "dev", "%s", target->dev);
	to_cells(t, &target->rec);
	if (!v->blind[0])
		table_u64(t, "filters", (__u64)target->filters);
	table_str(t, "state", "%s", mirror_look_words[target->look]);
	stat_cells(t, &target->stat, true);
	time_cell(t, target->rec.since);
	table_str(t, "target", "%s", mirror_look_target_words(target, text));
	repair = mirror_look_repair_target(target, text);
	if (repair)
		table_str(t, "repair", "%s", repair);
	snprintf(what, sizeof(what), "target %s", target->rec.name);
	if (target->look != MIRROR_IS_ON)
		tell(run, what, target_problems[target->look], repair);
}

int mirror_target_list(struct run *run, const void *params, __u64 given)
{
	auto_mirror_look struct mirror_look_all v = MIRROR_LOOK_INIT;
	auto_table struct table *t = table_new(target_columns[0]);
	int err = mirror_look_read(run, NULL, NULL, &v);

	(void)params;
	(void)given;
	for (int i = 0; !err && i < v.targets; i++)
		target_add(run, t, &v, &v.target[i]);
	return err ? err : table_print(run, t);
}

int mirror_target_show(struct run *run, const void *params, __u64 given)
{
	const struct mirror_view_params *p = params;
	auto_mirror_look struct mirror_look_all v = MIRROR_LOOK_INIT;
	auto_table struct table *t = table_new(target_columns[1]);
	int err = mirror_look_read(run, NULL, p->target, &v);

	(void)given;
	if (err)
		return err;
	target_add(run, t, &v, v.target);
	return table_print_one(run, t);
}

/*
 * Filters.
 */
static const struct column filter_columns[] = {
	{ .key = "number", .type = COL_U64 },
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "state", .head = "STATE", .type = COL_STR },
	{ .key = "target_state", .head = "TARGET STATE", .type = COL_STR },
	{ .key = "direction", .type = COL_STR },
	{ .key = "src", .type = COL_STR },
	{ .key = "dst", .type = COL_STR },
	{ .key = "proto", .type = COL_STR },
	{ .key = "sport", .type = COL_STR },
	{ .key = "dport", .type = COL_STR },
	{ .key = "flags", .type = COL_STR },
	{ .key = "vlan", .type = COL_STR },
	{ .key = "action", .type = COL_STR },
	{ .key = "to", .type = COL_STR },
	{ .key = "snaplen_bytes", .type = COL_U64 },
	{ .key = "headers_only", .type = COL_BOOL },
	{ .key = "sample", .type = COL_U64 },
	{ .key = "sample_by", .type = COL_STR },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "bytes", .head = "BYTES", .type = COL_U64, .wide = true },
	{ .key = "sent", .head = "SENT", .type = COL_U64 },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ .key = "repair", .type = COL_STR },
	{ .key = "filter", .head = "FILTER", .type = COL_STR },
	{ 0 },
};

static void rule_cells(struct table *t, const struct match_rule *r)
{
	char text[MIRROR_TEXT];

	table_str(t, "direction", "%s", mirror_format_direction(r, text));
	for (const struct mirror_look_part *part = mirror_look_parts; part->word; part++)
		if (mirror_look_part(part, r, text))
			table_str(t, part->word, "%s", text);
}

static void action_cells(struct table *t, const struct mirror_look_all *v, const struct mirror_look_filter *f)
{
	table_str(t, "action", "%s", mirror_action_words[f->rec.action == MIRROR_REJECT]);
	if (f->rec.action == MIRROR_REJECT)
		return;
	if (f->target >= 0)
		table_str(t, "to", "%s", v->target[f->target].rec.name);
	if (f->target >= 0)
		table_str(t, "target_state", "%s", mirror_look_words[v->target[f->target].look]);
	if (f->rec.snaplen && f->rec.snaplen != MIRROR_HEADERS)
		table_u64(t, "snaplen_bytes", f->rec.snaplen);
	table_bool(t, "headers_only", f->rec.snaplen == MIRROR_HEADERS);
	table_u64(t, "sample", f->rec.sample > 1 ? f->rec.sample : 1);
	if (f->rec.sample > 1)
		table_str(t, "sample_by", "%s", mirror_sample_words[f->rec.sample_by == MIRROR_BY_FLOW]);
}

static void filter_add(struct table *t, const struct mirror_look_all *v, const struct mirror_look_filter *f)
{
	char text[MIRROR_WORDS];
	const char *repair = mirror_look_repair_filter(v, f, text);

	table_row(t);
	table_u64(t, "number", f->rec.number);
	table_str(t, "dev", "%s", v->place[f->place].dev);
	table_str(t, "state", "%s", mirror_look_words[f->look]);
	rule_cells(t, &f->rec.rule);
	action_cells(t, v, f);
	table_u64(t, "packets", f->stat.packets);
	table_u64(t, "bytes", f->stat.octets);
	if (f->rec.action == MIRROR_ACCEPT)
		table_u64(t, "sent", f->stat.sent);
	time_cell(t, f->rec.since);
	if (repair)
		table_str(t, "repair", "%s", repair);
	table_str(t, "filter", "%s", mirror_look_filter_words(v, f, text));
}

/* Once for each interface; one that is down has no packets to mirror. */
static void places_tell(const struct run *run, const struct mirror_look_all *v)
{
	char text[MIRROR_WORDS], what[128];
	int told = -1;

	for (int i = 0; i < v->filters; i++) {
		const struct mirror_look_filter *f = &v->filter[i];
		const struct mirror_look_place *p = &v->place[f->place];

		if (f->place == told || (f->look != MIRROR_IS_DETACHED && f->look != MIRROR_IS_GONE))
			continue;
		told = f->place;
		if (f->look == MIRROR_IS_GONE)
			snprintf(what, sizeof(what), "it is gone, and its filters are left");
		else
			snprintf(what, sizeof(what), "mirror is not in its %s%s%s chain",
				 p->look[0] == MIRROR_IS_DETACHED ? "tc-ingress" : "",
				 p->look[0] == p->look[1] ? " and " : "",
				 p->look[1] == MIRROR_IS_DETACHED ? "tc-egress" : "");
		tell(run, p->iface, what, mirror_look_repair_filter(v, f, text));
	}
}

static void targets_tell(const struct run *run, const struct mirror_look_all *v)
{
	char text[MIRROR_WORDS], what[48];

	for (int i = 0; i < v->targets; i++) {
		const struct mirror_look_target *t = &v->target[i];

		if (t->look == MIRROR_IS_ON || !t->filters)
			continue;
		snprintf(what, sizeof(what), "target %s", t->rec.name);
		tell(run, what, target_problems[t->look], mirror_look_repair_target(t, text));
	}
}

/* With the filters. */
static int look(const struct run *run, const struct mirror_view_params *p, struct mirror_look_all *v)
{
	int err = mirror_look_read(run, or_null(p->dev), or_null(p->target), v);

	return !err && v->blind[0] ? mirror_fail(-EPERM, v->blind) : err;
}

int mirror_filter_list(struct run *run, const void *params, __u64 given)
{
	const struct mirror_view_params *p = params;
	auto_mirror_look struct mirror_look_all v = MIRROR_LOOK_INIT;
	auto_table struct table *t = table_new(filter_columns);
	int err = look(run, p, &v);

	(void)given;
	if (err)
		return err;
	for (int i = 0; i < v.filters; i++)
		filter_add(t, &v, &v.filter[i]);
	places_tell(run, &v);
	targets_tell(run, &v);
	return table_print(run, t);
}

/*
 * Counters. is_rate: those of the interval, per second; else since the beginning.
 */
#define COUNT(count, count_head, is_rate) \
	{ .key = count, .head = is_rate ? NULL : count_head, .type = COL_U64 }, \
	{ .key = count "_per_second", .head = is_rate ? count_head "/S" : NULL, .type = COL_U64 }
#define COUNTS(is_rate) \
	COUNT("packets", "PACKETS", is_rate), \
	COUNT("bytes", "BYTES", is_rate), \
	COUNT("sent", "SENT", is_rate), \
	COUNT("sent_bytes", "SENT BYTES", is_rate), \
	COUNT("cut", "CUT", is_rate), \
	COUNT("fitted", "FITTED", is_rate), \
	{ .key = "not_sent", .head = is_rate ? NULL : "NOT SENT", .type = COL_COUNTS }, \
	{ .key = "not_sent_per_second", .head = is_rate ? "NOT SENT/S" : NULL, .type = COL_COUNTS }
#define FILTER_STATS(is_rate) { \
	{ .key = "dev", .head = "DEV", .type = COL_STR }, \
	{ .key = "number", .head = "NUMBER", .type = COL_U64 }, \
	{ .key = "action", .head = "ACTION", .type = COL_STR }, \
	{ .key = "to", .head = "TO", .type = COL_STR }, \
	COUNTS(is_rate), \
	{ .key = "filter", .type = COL_STR }, \
	{ 0 }, \
}
#define TARGET_STATS(is_rate) { \
	{ .key = "name", .head = "TARGET", .type = COL_STR }, \
	{ .key = "state", .head = "STATE", .type = COL_STR }, \
	COUNTS(is_rate), \
	{ 0 }, \
}
static const struct column filter_stats[2][20] = { FILTER_STATS(false), FILTER_STATS(true) };
static const struct column target_stats[2][17] = { TARGET_STATS(false), TARGET_STATS(true) };

struct shown {
	const struct mirror_look_all *now, *more; /* more: counted in the interval; NULL: no interval */
	__u64 span_us;
	struct table *filters, *targets;
};

/* Rounded, so that one packet in 300 ms is 3 per second. */
static __u64 per_second(const struct shown *s, __u64 count)
{
	return s->span_us ? (__u64)(((unsigned __int128)count * 1000000 + s->span_us / 2) / s->span_us) : 0;
}

static void rate_cells(const struct shown *s, struct table *t, const struct mirror_stat *more, bool is_sender)
{
	table_u64(t, "packets_per_second", per_second(s, more->packets));
	table_u64(t, "bytes_per_second", per_second(s, more->octets));
	if (!is_sender)
		return;
	table_u64(t, "sent_per_second", per_second(s, more->sent));
	table_u64(t, "sent_bytes_per_second", per_second(s, more->sent_octets));
	table_u64(t, "cut_per_second", per_second(s, more->cut));
	table_u64(t, "fitted_per_second", per_second(s, more->fitted));
	for (int i = 0; i < MIRROR_CAUSES; i++)
		table_count(t, "not_sent_per_second", mirror_cause_words[i], per_second(s, more->not_sent[i]));
}

static void filter_stat_add(const struct shown *s, int i)
{
	const struct mirror_look_filter *f = &s->now->filter[i];
	bool is_sender = f->rec.action == MIRROR_ACCEPT;
	struct table *t = s->filters;
	char text[MIRROR_WORDS];

	table_row(t);
	table_str(t, "dev", "%s", s->now->place[f->place].dev);
	table_u64(t, "number", f->rec.number);
	table_str(t, "action", "%s", mirror_action_words[!is_sender]);
	if (f->target >= 0)
		table_str(t, "to", "%s", s->now->target[f->target].rec.name);
	stat_cells(t, &f->stat, is_sender);
	if (s->more)
		rate_cells(s, t, &s->more->filter[i].stat, is_sender);
	table_str(t, "filter", "%s", mirror_look_filter_words(s->now, f, text));
}

static void target_stat_add(const struct shown *s, int i)
{
	const struct mirror_look_target *target = &s->now->target[i];
	struct table *t = s->targets;

	table_row(t);
	table_str(t, "name", "%s", target->rec.name);
	table_str(t, "state", "%s", mirror_look_words[target->look]);
	stat_cells(t, &target->stat, true);
	if (s->more)
		rate_cells(s, t, &s->more->target[i].stat, true);
}

static void nap(__u64 us)
{
	struct timespec left = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&left, &left))
		;
}

/* Two readings; more becomes what was counted between them. */
static int measure(const struct run *run, const struct mirror_view_params *p, struct mirror_look_all *now,
		   struct mirror_look_all *more, __u64 *span_us)
{
	auto_mirror_look struct mirror_look_all before = MIRROR_LOOK_INIT;
	int err = look(run, p, &before);

	if (err)
		return err;
	nap(p->interval_us);
	err = look(run, p, now);
	if (!err)
		err = mirror_look_copy(now, more);
	if (err)
		return err;
	mirror_look_subtract(more, &before);
	*span_us = now->read_us - before.read_us;
	return 0;
}

int mirror_stats(struct run *run, const void *params, __u64 given)
{
	const struct mirror_view_params *p = params;
	bool is_rate = p->interval_us != 0;
	auto_mirror_look struct mirror_look_all now = MIRROR_LOOK_INIT, more = MIRROR_LOOK_INIT;
	auto_table struct table *filters = table_new(filter_stats[is_rate]), *targets = table_new(target_stats[is_rate]);
	struct shown s = { .now = &now, .more = is_rate ? &more : NULL, .filters = filters, .targets = targets };
	const struct table_part parts[] = { { "filters", filters }, { "targets", targets }, { 0 } };
	int err = is_rate ? measure(run, p, &now, &more, &s.span_us) :
			    look(run, p, &now);

	(void)given;
	if (err)
		return err;
	for (int i = 0; i < now.filters; i++)
		filter_stat_add(&s, i);
	for (int i = 0; i < now.targets; i++)
		target_stat_add(&s, i);
	return tables_print(run, parts);
}
