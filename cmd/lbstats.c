/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lb stats. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cmd.h"
#include "lbview.h"

#define INTERVAL_MIN_US 10000
#define INTERVAL_MAX_US 3600000000ULL

#define FIELD(f) offsetof(struct lb_view_params, f)

const struct arg lb_stats_args[] = {
	{ .word = "vip", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .meta = "VIP",
	  .complete = lb_complete_vip, .help = "only of this VIP" },
	{ .word = "interval", .type = ARG_DURATION, .offset = FIELD(interval_us), .meta = "DUR",
	  .min = INTERVAL_MIN_US, .max = INTERVAL_MAX_US, .help = "measure rates over this long" },
	{ .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME",
	  .help = "of this load balancer; default lb" },
	{ .word = NULL }
};

/* is_rate: counts are those of the interval, per second; else since the beginning. */
#define COUNTS(is_rate) \
	{ .key = "flows", .head = is_rate ? NULL : "FLOWS", .type = COL_U64 }, \
	{ .key = "packets", .head = is_rate ? NULL : "PACKETS", .type = COL_U64 }, \
	{ .key = "bytes", .head = is_rate ? NULL : "BYTES", .type = COL_U64 }, \
	{ .key = "flows_per_second", .head = is_rate ? "FLOWS/S" : NULL, .type = COL_U64 }, \
	{ .key = "packets_per_second", .head = is_rate ? "PACKETS/S" : NULL, .type = COL_U64 }, \
	{ .key = "bytes_per_second", .head = is_rate ? "BYTES/S" : NULL, .type = COL_U64 }
#define VIP_COLUMNS(is_rate) { \
	{ .key = "vip", .head = "VIP", .type = COL_STR }, \
	{ .key = "backends", .head = "BACKENDS", .type = COL_U64 }, \
	{ .key = "usable", .head = "USABLE", .type = COL_U64 }, \
	{ .key = "active", .head = "ACTIVE", .type = COL_U64 }, \
	COUNTS(is_rate), \
	{ .key = "drops", .head = is_rate ? NULL : "DROPS", .type = COL_COUNTS }, \
	{ .key = "events", .head = is_rate ? NULL : "EVENTS", .type = COL_COUNTS }, \
	{ .key = "drops_per_second", .head = is_rate ? "DROPS/S" : NULL, .type = COL_COUNTS }, \
	{ .key = "events_per_second", .head = is_rate ? "EVENTS/S" : NULL, .type = COL_COUNTS }, \
	{ 0 }, \
}
#define BACKEND_COLUMNS(is_rate) { \
	{ .key = "vip", .head = "VIP", .type = COL_STR }, \
	{ .key = "backend", .head = "BACKEND", .type = COL_STR }, \
	{ .key = "usable", .head = "NEW FLOWS", .type = COL_BOOL }, \
	{ .key = "active", .head = "ACTIVE", .type = COL_U64 }, \
	COUNTS(is_rate), \
	{ 0 }, \
}
static const struct column vip_columns[2][15] = { VIP_COLUMNS(false), VIP_COLUMNS(true) };
static const struct column backend_columns[2][11] = { BACKEND_COLUMNS(false), BACKEND_COLUMNS(true) };

struct shown {
	const struct lb_view *now, *more; /* more: counted in the interval; NULL: no interval */
	__u64 span_us;
	struct table *vips, *backends;
};

/* Rounded, so that one packet in 300 ms is 3 per second. */
static __u64 per_second(const struct shown *s, __u64 count)
{
	return s->span_us ? (__u64)(((unsigned __int128)count * 1000000 + s->span_us / 2) / s->span_us) : 0;
}

static void stat_cells(const struct shown *s, struct table *t, const struct lb_stat *now, const struct lb_stat *more)
{
	table_u64(t, "flows", now->flows);
	table_u64(t, "packets", now->packets);
	table_u64(t, "bytes", now->bytes);
	if (!more)
		return;
	table_u64(t, "flows_per_second", per_second(s, more->flows));
	table_u64(t, "packets_per_second", per_second(s, more->packets));
	table_u64(t, "bytes_per_second", per_second(s, more->bytes));
}

static void vip_add(const struct shown *s, int i)
{
	const struct lb_view_vip *vip = &s->now->vip[i], *more = s->more ? &s->more->vip[i] : NULL;
	struct table *t = s->vips;
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "vip", "%s", format_vip(&vip->vip, text, sizeof(text)));
	table_u64(t, "backends", (__u64)vip->n);
	table_u64(t, "usable", (__u64)vip->usable);
	table_u64(t, "active", lb_use_active(&vip->use));
	stat_cells(s, t, &vip->stat, more ? &more->stat : NULL);
	for (int c = 0; c < LB_COUNTS; c++)
		table_count(t, c < LB_DROPS ? "drops" : "events", lb_count_words[c], vip->count[c]);
	for (int c = 0; more && c < LB_COUNTS; c++)
		table_count(t, c < LB_DROPS ? "drops_per_second" : "events_per_second", lb_count_words[c],
			    per_second(s, more->count[c]));
}

static void backend_add(const struct shown *s, const struct lb_view_vip *vip, int i)
{
	const struct lb_view_backend *b = &s->now->backend[i];
	struct table *t = s->backends;
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "vip", "%s", format_vip(&vip->vip, text, sizeof(text)));
	table_str(t, "backend", "%s", format_addr(&b->addr, text, sizeof(text)));
	table_bool(t, "usable", b->is_usable);
	table_u64(t, "active", lb_use_active(&b->use));
	stat_cells(s, t, &b->stat, s->more ? &s->more->backend[i].stat : NULL);
}

static void nap(__u64 us)
{
	struct timespec left = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&left, &left))
		;
}

/* Two readings; later becomes what was counted between them. */
static int measure(const struct run *run, const struct lb_view_params *p, const char *instance,
		   const struct vip *vip, struct lb_view *now, struct lb_view *more, __u64 *span_us)
{
	auto_lb_view struct lb_view before = LB_VIEW_INIT;
	int err = lb_view_read(run, instance, vip, &before);

	if (err)
		return err;
	nap(p->interval_us);
	err = lb_view_read(run, instance, vip, now);
	if (!err)
		err = lb_view_copy(now, more);
	if (err)
		return err;
	lb_view_subtract(more, &before);
	*span_us = now->read_us - before.read_us;
	return 0;
}

int lb_stats(struct run *run, const void *params, __u64 given)
{
	const struct lb_view_params *p = params;
	const char *instance = p->instance[0] ? p->instance : NULL;
	const struct vip *vip = p->vip.proto ? &p->vip : NULL;
	bool is_rate = p->interval_us != 0;
	auto_lb_view struct lb_view now = LB_VIEW_INIT, more = LB_VIEW_INIT;
	auto_table struct table *vips = table_new(vip_columns[is_rate]),
		*backends = table_new(backend_columns[is_rate]);
	struct shown s = { .now = &now, .more = is_rate ? &more : NULL, .vips = vips, .backends = backends };
	const struct table_part parts[] = { { "vips", vips }, { "backends", backends }, { 0 } };
	int err;

	(void)given;
	err = is_rate ? measure(run, p, instance, vip, &now, &more, &s.span_us) :
			lb_view_read(run, instance, vip, &now);
	if (err)
		return err;
	for (int i = 0; i < now.vips; i++) {
		vip_add(&s, i);
		for (int j = 0; j < now.vip[i].n; j++)
			backend_add(&s, &now.vip[i], now.vip[i].first + j);
	}
	return tables_print(run, parts);
}
