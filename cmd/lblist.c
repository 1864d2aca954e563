/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lb list, lb vip list|show, lb backend list. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "cmd.h"
#include "lbview.h"

int lb_take_vip(const char *s, void *field, struct why *why) { return parse_vip(s, field, why); }

/* Nothing where they cannot be read. */
static bool view_quietly(struct lb_view *v)
{
	const char *dir = getenv("L3AF_BPFFS");
	const struct run run = { .bpffs = dir ? dir : "/sys/fs/bpf" };

	return !lb_view_read(&run, NULL, NULL, v);
}

void lb_complete_vip(void)
{
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	char text[VIP_LEN];

	for (int i = 0, n = view_quietly(&v) ? v.vips : 0; i < n; i++)
		puts(format_vip(&v.vip[i].vip, text, sizeof(text)));
}

void lb_complete_backend(void)
{
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	char text[64];

	for (int i = 0, n = view_quietly(&v) ? v.backends : 0; i < n; i++)
		puts(format_addr(&v.backend[i].addr, text, sizeof(text)));
}

#define FIELD(f) offsetof(struct lb_view_params, f)
#define INSTANCE(text) { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME", \
			 .help = text }
#define OF_INSTANCE INSTANCE("of this load balancer; default lb")
#define VIP { .word = "VIP", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .positional = true, \
	      .complete = lb_complete_vip, .help = "as vip list prints it; default: each" }
#define OF_VIP { .word = "vip", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .meta = "VIP", \
		 .complete = lb_complete_vip, .help = "only of this VIP" }
#define END { .word = NULL }

const struct arg lb_list_args[] = { INSTANCE("only this load balancer; default: all"), END };
const struct arg lb_vip_list_args[] = { OF_INSTANCE, END };
const struct arg lb_vip_show_args[] = { VIP, OF_INSTANCE, END };
const struct arg lb_backend_list_args[] = { OF_VIP, OF_INSTANCE, END };

static const char *instance_of(const struct lb_view_params *p)
{
	return p->instance[0] ? p->instance : NULL;
}

static const struct vip *vip_of(const struct lb_view_params *p)
{
	return p->vip.proto ? &p->vip : NULL;
}

static void time_cell(struct table *t, const char *key, __u64 seconds)
{
	char text[32];

	if (seconds)
		table_str(t, key, "%s", format_time(seconds, text, sizeof(text)));
}

/*
 * Interfaces.
 */
static const struct column place_columns[] = {
	{ .key = "instance", .head = "INSTANCE", .type = COL_STR },
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "on", .head = "ON", .type = COL_BOOL },
	{ .key = "mode", .head = "MODE", .type = COL_STR },
	{ .key = "source", .head = "SOURCE", .type = COL_STR },
	{ .key = "source6", .head = "SOURCE6", .type = COL_STR },
	{ .key = "gateway", .head = "GATEWAY", .type = COL_STR },
	{ .key = "port", .head = "PORT", .type = COL_U64 },
	{ .key = "mtu_bytes", .head = "MTU", .type = COL_U64 },
	{ .key = "vips", .head = "VIPS", .type = COL_U64 },
	{ .key = "vips_max", .head = "OF", .type = COL_U64, .wide = true },
	{ .key = "backends", .head = "BACKENDS", .type = COL_U64 },
	{ .key = "backends_max", .head = "OF", .type = COL_U64, .wide = true },
	{ .key = "flows_max", .head = "FLOWS MAX", .type = COL_U64, .wide = true },
	{ .key = "memory_bytes", .head = "MEMORY", .type = COL_U64, .wide = true },
	{ 0 },
};

static void source_cell(struct table *t, const char *key, const struct addr *a)
{
	static const struct addr none;
	char text[64];

	if (memcmp(a, &none, sizeof(none)))
		table_str(t, key, "%s", format_addr(a, text, sizeof(text)));
}

static void place_cells(struct table *t, const struct lb_view_place *p)
{
	const struct lb_place *at = p->place;
	static const __u8 none[6];
	struct addr source4 = { .b = { [10] = 0xff, [11] = 0xff } }, source6;
	char text[64];

	memcpy(source4.b + 12, &at->source4, 4);
	memcpy(&source6, at->source6, sizeof(source6));
	table_str(t, "dev", "%s", p->dev);
	if (p->is_here)
		table_bool(t, "on", p->is_on);
	if (p->is_on)
		table_str(t, "mode", "%s", mode_words[p->mode]);
	if (at->source4)
		source_cell(t, "source", &source4);
	source_cell(t, "source6", &source6);
	if (memcmp(at->gateway, none, sizeof(none)))
		table_str(t, "gateway", "%s", format_mac(at->gateway, text, sizeof(text)));
	else
		table_str(t, "gateway", "auto");
	table_u64(t, "port", (__u64)at->port >> 8 | ((__u64)at->port & 0xff) << 8);
	table_u64(t, "mtu_bytes", at->mtu);
}

static int place_add(const struct lb_view_place *p, void *arg)
{
	struct table *t = arg;

	table_row(t);
	table_str(t, "instance", "%s", p->lb->instance);
	if (p->place)
		place_cells(t, p);
	table_u64(t, "vips", (__u64)p->vips);
	table_u64(t, "vips_max", p->lb->config->vips);
	table_u64(t, "backends", (__u64)p->backends);
	table_u64(t, "backends_max", p->lb->config->backends - 1);
	table_u64(t, "flows_max", (__u64)p->lb->config->buckets * LB_WAYS);
	if (p->memory_bytes)
		table_u64(t, "memory_bytes", p->memory_bytes);
	return 0;
}

int lb_list(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_table struct table *t = table_new(place_columns);
	int err = bpffs_open(run, BPFFS_READ, &b);

	(void)given;
	if (!err)
		err = lb_view_places(run, &b, instance_of(params), place_add, t);
	return err ? err : table_print(run, t);
}

/*
 * VIPs.
 */
static const struct column vip_columns[] = {
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "backends", .head = "BACKENDS", .type = COL_U64 },
	{ .key = "usable", .head = "USABLE", .type = COL_U64 },
	{ .key = "sticky", .head = "STICKY", .type = COL_STR },
	{ .key = "idle_us", .type = COL_U64 },
	{ .key = "idle", .head = "IDLE", .type = COL_STR },
	{ .key = "hash_seed", .head = "SEED", .type = COL_U64, .wide = true },
	{ .key = "active", .head = "ACTIVE", .type = COL_U64 },
	{ .key = "clients", .head = "CLIENTS", .type = COL_U64, .wide = true },
	{ .key = "flows", .head = "FLOWS", .type = COL_U64 },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "bytes", .head = "BYTES", .type = COL_U64 },
	{ .key = "drops", .head = "DROPS", .type = COL_COUNTS },
	{ .key = "events", .head = "EVENTS", .type = COL_COUNTS, .wide = true },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ 0 },
};

static void vip_add(struct table *t, const struct lb_view_vip *vip)
{
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "vip", "%s", format_vip(&vip->vip, text, sizeof(text)));
	table_u64(t, "backends", (__u64)vip->n);
	table_u64(t, "usable", (__u64)vip->usable);
	if (vip->rec.flags & LB_STICKY)
		table_str(t, "sticky", "source");
	table_u64(t, "idle_us", vip->rec.idle_us);
	table_str(t, "idle", "%s", format_duration(vip->rec.idle_us, text, sizeof(text)));
	table_u64(t, "hash_seed", vip->rec.seed);
	table_u64(t, "active", lb_use_active(&vip->use));
	table_u64(t, "clients", vip->use.flows[LB_CLIENT]);
	table_u64(t, "flows", vip->stat.flows);
	table_u64(t, "packets", vip->stat.packets);
	table_u64(t, "bytes", vip->stat.bytes);
	for (int i = 0; i < LB_COUNTS; i++)
		table_count(t, i < LB_DROPS ? "drops" : "events", lb_count_words[i], vip->count[i]);
	time_cell(t, "since", vip->rec.since);
}

int lb_vip_list(struct run *run, const void *params, __u64 given)
{
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	auto_table struct table *t = table_new(vip_columns);
	int err = lb_view_read(run, instance_of(params), NULL, &v);

	(void)given;
	for (int i = 0; !err && i < v.vips; i++)
		vip_add(t, &v.vip[i]);
	return err ? err : table_print(run, t);
}

/*
 * Backends.
 */
static const struct column backend_columns[] = {
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "backend", .head = "BACKEND", .type = COL_STR },
	{ .key = "weight", .head = "WEIGHT", .type = COL_U64 },
	{ .key = "state", .head = "STATE", .type = COL_STR },
	{ .key = "health", .head = "HEALTH", .type = COL_STR },
	{ .key = "usable", .head = "NEW FLOWS", .type = COL_BOOL },
	{ .key = "active", .head = "ACTIVE", .type = COL_U64 },
	{ .key = "flows", .head = "FLOWS", .type = COL_U64 },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "bytes", .head = "BYTES", .type = COL_U64 },
	{ .key = "probed", .head = "PROBED", .type = COL_STR, .wide = true },
	{ .key = "probe_us", .head = "PROBE_US", .type = COL_U64, .wide = true },
	{ .key = "probes_ok", .type = COL_U64 },
	{ .key = "probes_failed", .type = COL_U64 },
	{ .key = "rise", .head = "RISE", .type = COL_U64, .wide = true },
	{ .key = "fall", .head = "FALL", .type = COL_U64, .wide = true },
	{ .key = "state_since", .head = "STATE SINCE", .type = COL_STR, .wide = true },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ .key = "reason", .head = "REASON", .type = COL_STR },
	{ 0 },
};

static void health_cells(struct table *t, const struct lb_view_backend *b)
{
	const struct lb_health *h = &b->health;

	table_str(t, "health", "%s", lb_healthy_words[b->rec.healthy]);
	if (!h->at)
		return;
	time_cell(t, "probed", h->at / 1000);
	table_u64(t, "probe_us", h->took_us);
	table_u64(t, "probes_ok", h->ok);
	table_u64(t, "probes_failed", h->failed);
	table_u64(t, "rise", h->rise);
	table_u64(t, "fall", h->fall);
	if (h->fall || b->rec.healthy == LB_SICK)
		table_str(t, "reason", "%s", h->why);
}

static void backend_add(struct table *t, const struct lb_view_vip *vip, const struct lb_view_backend *b)
{
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "vip", "%s", format_vip(&vip->vip, text, sizeof(text)));
	table_str(t, "backend", "%s", format_addr(&b->addr, text, sizeof(text)));
	table_u64(t, "weight", b->rec.weight);
	table_str(t, "state", "%s", lb_admin_words[b->rec.admin]);
	table_bool(t, "usable", b->is_usable);
	table_u64(t, "active", lb_use_active(&b->use));
	table_u64(t, "flows", b->stat.flows);
	table_u64(t, "packets", b->stat.packets);
	table_u64(t, "bytes", b->stat.bytes);
	time_cell(t, "state_since", b->rec.admin_since);
	time_cell(t, "since", b->rec.since);
	health_cells(t, b);
}

static void backends_add(struct table *t, const struct lb_view *v)
{
	for (int i = 0; i < v->vips; i++)
		for (int j = 0; j < v->vip[i].n; j++)
			backend_add(t, &v->vip[i], &v->backend[v->vip[i].first + j]);
}

int lb_backend_list(struct run *run, const void *params, __u64 given)
{
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	auto_table struct table *t = table_new(backend_columns);
	int err = lb_view_read(run, instance_of(params), vip_of(params), &v);

	(void)given;
	if (!err)
		backends_add(t, &v);
	return err ? err : table_print(run, t);
}

/* VIPs as lines, their backends as a table. */
int lb_vip_show(struct run *run, const void *params, __u64 given)
{
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	auto_table struct table *vips = table_new(vip_columns), *backends = table_new(backend_columns);
	const struct table_part parts[] = { { "vips", vips }, { "backends", backends }, { 0 } };
	int err = lb_view_read(run, instance_of(params), vip_of(params), &v);

	(void)given;
	if (err)
		return err;
	for (int i = 0; i < v.vips; i++)
		vip_add(vips, &v.vip[i]);
	backends_add(backends, &v);
	if (run->json)
		return tables_print(run, parts);
	err = table_print_each(run, vips);
	if (!err && v.backends)
		putchar('\n');
	return err ? err : table_print(run, backends);
}
