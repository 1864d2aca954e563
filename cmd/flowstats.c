/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flows stats and flows collector list. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "cmd.h"
#include "flows.h"

static const struct column instance_columns[] = {
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR },
	{ .key = "live", .head = "LIVE", .type = COL_U64 },
	{ .key = "closed", .head = "CLOSED", .type = COL_U64 },
	{ .key = "free", .head = "FREE", .type = COL_U64 },
	{ .key = "max", .head = "MAX", .type = COL_U64 },
	{ .key = "memory_bytes", .head = "MEMORY", .type = COL_U64 },
	{ .key = "active_us", .type = COL_U64 },
	{ .key = "active", .head = "ACTIVE", .type = COL_STR },
	{ .key = "idle_us", .type = COL_U64 },
	{ .key = "idle", .head = "IDLE", .type = COL_STR },
	{ .key = "collectors", .head = "COLLECTORS", .type = COL_U64 },
	{ .key = "unsent_packets", .head = "UNSENT", .type = COL_U64 },
	{ .key = "unsent_octets", .type = COL_U64 },
	{ .key = "flushed_flows", .head = "FLUSHED", .type = COL_U64, .wide = true },
	{ .key = "flushed_packets", .type = COL_U64 },
	{ .key = "flushed_octets", .type = COL_U64 },
	{ 0 },
};

static const struct column place_columns[] = {
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR },
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "direction", .head = "DIRECTION", .type = COL_STR },
	{ .key = "on", .head = "ON", .type = COL_BOOL },
	{ .key = "sample", .head = "1/N", .type = COL_U64 },
	{ .key = "frames", .head = "FRAMES", .type = COL_U64 },
	{ .key = "bytes", .head = "BYTES", .type = COL_U64 },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "octets", .head = "OCTETS", .type = COL_U64 },
	{ .key = "flows", .head = "FLOWS", .type = COL_U64 },
	{ .key = "ignored_packets", .head = "IGNORED", .type = COL_COUNTS },
	{ .key = "ignored_octets", .type = COL_COUNTS },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ 0 },
};

static const struct column collector_columns[] = {
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR },
	{ .key = "name", .head = "NAME", .type = COL_STR },
	{ .key = "domain", .head = "DOMAIN", .type = COL_U64 },
	{ .key = "source_port", .head = "PORT", .type = COL_U64, .wide = true },
	{ .key = "sequence", .head = "SEQUENCE", .type = COL_U64 },
	{ .key = "succeeded", .head = "SUCCEEDED", .type = COL_STR },
	{ .key = "failed", .head = "FAILED", .type = COL_STR },
	{ .key = "failure", .head = "REASON", .type = COL_STR },
	{ .key = "messages", .head = "MESSAGES", .type = COL_U64 },
	{ .key = "octets", .head = "OCTETS", .type = COL_U64, .wide = true },
	{ .key = "records", .head = "RECORDS", .type = COL_U64, .wide = true },
	{ .key = "flows", .head = "FLOWS", .type = COL_U64 },
	{ .key = "flow_packets", .head = "PACKETS", .type = COL_U64, .wide = true },
	{ .key = "flow_octets", .head = "FLOW OCTETS", .type = COL_U64, .wide = true },
	{ .key = "pending_flows", .head = "PENDING", .type = COL_U64 },
	{ .key = "pending_closed", .head = "CLOSED", .type = COL_U64, .wide = true },
	{ .key = "pending_packets", .type = COL_U64 },
	{ .key = "pending_octets", .type = COL_U64 },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ 0 },
};

/* Nothing where it never was. */
static void time_cell(struct table *t, const char *key, __u64 seconds)
{
	char text[32];

	if (seconds)
		table_str(t, key, "%s", format_time(seconds, text, sizeof(text)));
}

static void duration_cells(struct table *t, const char *key, const char *key_us, __u64 us)
{
	char text[32];

	table_u64(t, key_us, us);
	table_str(t, key, "%s", format_duration(us, text, sizeof(text)));
}

static __u64 slots_free(const struct flowtable *t)
{
	return __atomic_load_n(&t->ends->tail, __ATOMIC_RELAXED) - __atomic_load_n(&t->ends->head, __ATOMIC_RELAXED);
}

static int instance_row(const struct bpffs *b, const struct flowtable *ft, const struct flows_count *c, struct table *t)
{
	__u64 octets, collectors = 0;
	int err = flows_memory(b, ft->instance, &octets);

	for (int i = 0; i < FLOW_COLLECTORS; i++)
		collectors += ft->peer[i].state != NULL;
	table_row(t);
	table_str(t, "instance", "%s", ft->instance);
	table_u64(t, "live", c->live);
	table_u64(t, "closed", c->closed);
	table_u64(t, "free", slots_free(ft));
	table_u64(t, "max", ft->max);
	if (octets)
		table_u64(t, "memory_bytes", octets);
	duration_cells(t, "active", "active_us", ft->config->active_us);
	duration_cells(t, "idle", "idle_us", ft->config->idle_us);
	table_u64(t, "collectors", collectors);
	table_u64(t, "unsent_packets", c->kept.packets);
	table_u64(t, "unsent_octets", c->kept.octets);
	table_u64(t, "flushed_flows", ft->config->flushed.flows);
	table_u64(t, "flushed_packets", ft->config->flushed.packets);
	table_u64(t, "flushed_octets", ft->config->flushed.octets);
	return err;
}

static void ignored_cells(struct table *t, const struct flow_stat *s)
{
	static const char *const causes[FLOW_IGNORED_CAUSES] = {
		[FLOW_IGNORED_FULL] = "full", [FLOW_IGNORED_SAMPLED] = "sampled", [FLOW_IGNORED_NOT_IP] = "not_ip",
		[FLOW_IGNORED_MALFORMED] = "malformed", [FLOW_IGNORED_ERROR] = "error",
	};

	for (int i = 0; i < FLOW_IGNORED_CAUSES; i++) {
		table_count(t, "ignored_packets", causes[i], s->ignored[i].packets);
		table_count(t, "ignored_octets", causes[i], s->ignored[i].octets);
	}
}

static int place_row(const struct bpffs *b, const struct flowtable *ft, __u32 place, const struct netns *self,
		     struct table *t)
{
	const struct flow_place *p = &ft->place[place];
	struct flow_stat s;
	char dev[FLOW_DEV_LEN];
	int err = flowtable_stat(ft, place, &s), is_on = flow_place_is_on(b, ft, place, self);

	if (err)
		return fail_errno(err, "cannot read the counters of instance %s", ft->instance);
	table_row(t);
	table_str(t, "instance", "%s", ft->instance);
	table_str(t, "dev", "%s", flow_format_dev(p, self, dev, sizeof(dev)));
	table_str(t, "direction", "%s", flow_direction_words[p->direction & 1]);
	if (is_on >= 0)
		table_bool(t, "on", is_on);
	table_u64(t, "sample", p->sample ? p->sample : 1);
	table_u64(t, "frames", s.frames);
	table_u64(t, "bytes", s.bytes);
	table_u64(t, "packets", s.packets);
	table_u64(t, "octets", s.octets);
	table_u64(t, "flows", s.flows);
	ignored_cells(t, &s);
	time_cell(t, "since", p->since);
	return is_on < 0 && is_on != -ENOENT ? is_on : 0;
}

static void collector_row(const struct flowtable *ft, int i, const struct flows_unsent *unsent, struct table *t)
{
	const struct flow_collector *c = ft->peer[i].state;

	table_row(t);
	table_str(t, "instance", "%s", ft->instance);
	table_str(t, "name", "%.255s", c->name);
	table_u64(t, "domain", c->domain);
	if (c->port)
		table_u64(t, "source_port", c->port);
	table_u64(t, "sequence", c->sequence);
	time_cell(t, "succeeded", c->succeeded_at);
	time_cell(t, "failed", c->failed_at);
	if (c->failure)
		table_str(t, "failure", "%s", strerror(-c->failure));
	table_u64(t, "messages", c->messages);
	table_u64(t, "octets", c->octets);
	table_u64(t, "records", c->records);
	table_u64(t, "flows", c->flows);
	table_u64(t, "flow_packets", c->flow_packets);
	table_u64(t, "flow_octets", c->flow_octets);
	table_u64(t, "pending_flows", unsent->flows);
	table_u64(t, "pending_closed", unsent->closed);
	table_u64(t, "pending_packets", unsent->packets);
	table_u64(t, "pending_octets", unsent->octets);
	time_cell(t, "since", c->since);
}

static void collector_rows(const struct flowtable *ft, const struct flows_count *c, struct table *t)
{
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		if (ft->peer[i].state)
			collector_row(ft, i, &c->unsent[i], t);
}

/* A full table refuses flows: who keeps it full? */
static void warn_full(const struct flowtable *ft, const struct flows_count *c)
{
	bool has_collector = false;
	char text[32];

	if (slots_free(ft))
		return;
	warn("instance %s: all %u flows of its table are in use: packets of others are only counted as ignored (full)",
	     ft->instance, ft->max);
	for (int i = 0; i < FLOW_COLLECTORS; i++) {
		const struct flow_collector *s = ft->peer[i].state;

		if (!s)
			continue;
		has_collector = true;
		if (c->unsent[i].closed)
			warn("collector %.255s holds back %llu closed flows; its last export that succeeded: %s",
			     s->name, c->unsent[i].closed,
			     s->succeeded_at ? format_time(s->succeeded_at, text, sizeof(text)) : "none");
	}
	if (!has_collector)
		warn("instance %s: no flow is closed before a first l3afctl flows export", ft->instance);
}

struct stats {
	const struct bpffs *b;
	struct netns self;
	struct table *instances, *places, *collectors;
};

static int stats_fill(const struct flowtable *ft, void *arg)
{
	struct stats *s = arg;
	struct flows_count c;
	int err;

	flows_count(ft, &c);
	err = instance_row(s->b, ft, &c, s->instances);
	for (__u32 i = 0; !err && i < FLOW_PLACES; i++)
		if (ft->place[i].ifindex)
			err = place_row(s->b, ft, i, &s->self, s->places);
	collector_rows(ft, &c, s->collectors);
	if (!err)
		warn_full(ft, &c);
	return err;
}

int flows_stats_print(const struct run *run, const char *instance)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *instances = table_new(instance_columns), *places = table_new(place_columns),
		*collectors = table_new(collector_columns);
	struct stats s = { .b = &b, .instances = instances, .places = places, .collectors = collectors };
	const struct table_part parts[] = {
		{ "instances", instances }, { "places", places }, { "collectors", collectors }, { 0 }
	};
	int err = netns_self(&s.self);

	if (err)
		return fail_errno(err, "this network namespace");
	err = bpffs_open(run, BPFFS_READ, &b);
	if (!err)
		err = flows_each(&b, instance, stats_fill, &s);
	return err ? err : tables_print(run, parts);
}

static int collectors_fill(const struct flowtable *ft, void *arg)
{
	struct flows_count c;

	flows_count(ft, &c);
	collector_rows(ft, &c, arg);
	return 0;
}

int flows_collectors_print(const struct run *run, const char *instance)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *t = table_new(collector_columns);
	int err = bpffs_open(run, BPFFS_READ, &b);

	if (!err)
		err = flows_each(&b, instance, collectors_fill, t);
	return err ? err : table_print(run, t);
}
