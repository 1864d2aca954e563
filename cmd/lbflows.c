/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lb flows list|purge, lb which. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "lbview.h"

static int take_client(const char *s, void *field, struct why *why)
{
	struct lb_client *c = field;

	return parse_addr_port(s, &c->addr, &c->port, why);
}

#define FIELD(f) offsetof(struct lb_view_params, f)
#define OF_INSTANCE { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME", \
		      .help = "of this load balancer; default lb" }

const struct arg lb_flows_args[] = {
	{ .word = "vip", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .meta = "VIP",
	  .complete = lb_complete_vip, .help = "only of this VIP" },
	{ .word = "backend", .type = ARG_ADDR, .offset = FIELD(backend), .meta = "ADDR",
	  .complete = lb_complete_backend, .help = "only of this backend" },
	OF_INSTANCE, { .word = NULL }
};
const struct arg lb_which_args[] = {
	{ .word = "SRC:PORT", .type = ARG_CUSTOM, .parse = take_client, .offset = FIELD(client), .positional = true,
	  .required = true, .help = "the client: 192.0.2.7:40000, [2001:db8::7]:40000" },
	{ .word = "VIP", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .positional = true,
	  .required = true, .complete = lb_complete_vip, .help = "where to, with a port: 192.0.2.1:80/tcp" },
	OF_INSTANCE, { .word = NULL }
};

static const char *instance_of(const struct lb_view_params *p)
{
	return p->instance[0] ? p->instance : NULL;
}

static const struct vip *vip_of(const struct lb_view_params *p)
{
	return p->vip.proto ? &p->vip : NULL;
}

static const struct addr *backend_of(const struct lb_view_params *p)
{
	static const struct addr none;

	return memcmp(&p->backend, &none, sizeof(none)) ? &p->backend : NULL;
}

static const struct column columns[] = {
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "backend", .head = "BACKEND", .type = COL_STR },
	{ .key = "new", .head = "NEW", .type = COL_U64 },
	{ .key = "established", .head = "ESTABLISHED", .type = COL_U64 },
	{ .key = "closing", .head = "CLOSING", .type = COL_U64 },
	{ .key = "clients", .head = "CLIENTS", .type = COL_U64 },
	{ .key = "idle_min_us", .type = COL_U64 },
	{ .key = "idle_min", .head = "IDLE MIN", .type = COL_STR },
	{ .key = "idle_max_us", .type = COL_U64 },
	{ .key = "idle_max", .head = "MAX", .type = COL_STR },
	{ 0 },
};

/* A tick is about a second: no more than that is known. */
static const char *format_idle(__u64 us, char *buf, size_t size)
{
	return format_duration((us + 500000) / 1000000 * 1000000, buf, size);
}

static void row_add(struct table *t, const struct lb_view *v, const struct lb_view_vip *vip,
		    const struct lb_view_backend *b)
{
	const struct lb_use *u = &b->use;
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "vip", "%s", format_vip(&vip->vip, text, sizeof(text)));
	table_str(t, "backend", "%s", format_addr(&b->addr, text, sizeof(text)));
	table_u64(t, "new", u->flows[LB_NEW]);
	table_u64(t, "established", u->flows[LB_ESTABLISHED]);
	table_u64(t, "closing", u->flows[LB_CLOSING]);
	table_u64(t, "clients", u->flows[LB_CLIENT]);
	if (!lb_use_active(u) && !u->flows[LB_CLIENT])
		return;
	table_u64(t, "idle_min_us", (__u64)u->youngest * v->tick_us);
	table_str(t, "idle_min", "%s", format_idle((__u64)u->youngest * v->tick_us, text, sizeof(text)));
	table_u64(t, "idle_max_us", (__u64)u->oldest * v->tick_us);
	table_str(t, "idle_max", "%s", format_idle((__u64)u->oldest * v->tick_us, text, sizeof(text)));
}

int lb_flows_list(struct run *run, const void *params, __u64 given)
{
	const struct lb_view_params *p = params;
	const struct addr *only = backend_of(p);
	auto_lb_view struct lb_view v = LB_VIEW_INIT;
	auto_table struct table *t = table_new(columns);
	int err = lb_view_read(run, instance_of(p), vip_of(p), &v);

	(void)given;
	for (int i = 0; !err && i < v.vips; i++)
		for (int j = 0; j < v.vip[i].n; j++) {
			const struct lb_view_backend *b = &v.backend[v.vip[i].first + j];

			if (!only || !memcmp(&b->addr, only, sizeof(*only)))
				row_add(t, &v, &v.vip[i], b);
		}
	return err ? err : table_print(run, t);
}

int lb_flows_purge_run(struct run *run, const void *params, __u64 given)
{
	const struct lb_view_params *p = params;

	(void)given;
	return lb_view_purge(run, instance_of(p), vip_of(p), backend_of(p));
}

/*
 * Which backend.
 */
static const struct column which_columns[] = {
	{ .key = "client", .head = "client", .type = COL_STR },
	{ .key = "vip", .head = "VIP", .type = COL_STR },
	{ .key = "backend", .head = "backend", .type = COL_STR },
	{ .key = "state", .head = "state", .type = COL_STR },
	{ .key = "health", .head = "health", .type = COL_STR },
	{ .key = "by", .type = COL_STR },
	{ .key = "why", .head = "why", .type = COL_STR },
	{ .key = "flow", .type = COL_STR },
	{ .key = "idle_us", .type = COL_U64 },
	{ .key = "slot", .head = "ring slot", .type = COL_U64 },
	{ .key = "ring_backend", .head = "backend of the slot", .type = COL_STR },
	{ .key = "moved_from", .type = COL_STR },
	{ 0 },
};

static const char *const by_words[] = {
	[LB_BY_FLOW] = "flow", [LB_BY_CLIENT] = "client", [LB_BY_RING] = "ring", [LB_BY_NOBODY] = "nobody",
};

static void why_cell(struct table *t, const struct lb_view_which *w)
{
	const char *flow = lb_flow_words[LB_ENTRY_FLOW(w->answer.entry)];
	char idle[32], from[64];

	format_idle(w->idle_us, idle, sizeof(idle));
	format_addr(&w->moved_from, from, sizeof(from));
	if (w->answer.by == LB_BY_FLOW)
		table_str(t, "why", "known flow, %s, last packet %s ago", flow, idle);
	else if (w->answer.by == LB_BY_CLIENT)
		table_str(t, "why", "known client of a sticky VIP, last packet %s ago", idle);
	else if (w->answer.moved_from)
		table_str(t, "why", "its backend %s takes no packets any more: by the ring, as a new flow", from);
	else
		table_str(t, "why", "new flow: by the ring");
}

static void which_cells(struct table *t, const struct lb_view_params *p, const struct lb_view_which *w)
{
	const struct lb_answer *a = &w->answer;
	char text[VIP_LEN];

	table_row(t);
	table_str(t, "client", "%s", format_addr_port(&p->client.addr, p->client.port, text, sizeof(text)));
	table_str(t, "vip", "%s", format_vip(&w->vip, text, sizeof(text)));
	table_str(t, "backend", "%s", format_addr(&w->backend.addr, text, sizeof(text)));
	table_str(t, "state", "%s", lb_admin_words[w->backend.rec.admin]);
	table_str(t, "health", "%s", lb_healthy_words[w->backend.rec.healthy]);
	table_str(t, "by", "%s", by_words[a->by]);
	why_cell(t, w);
	if (a->by == LB_BY_FLOW)
		table_str(t, "flow", "%s", lb_flow_words[LB_ENTRY_FLOW(a->entry)]);
	if (a->by == LB_BY_FLOW || a->by == LB_BY_CLIENT)
		table_u64(t, "idle_us", w->idle_us);
	table_u64(t, "slot", a->slot);
	if (a->ring)
		table_str(t, "ring_backend", "%s", format_addr(&w->ring, text, sizeof(text)));
	if (a->moved_from)
		table_str(t, "moved_from", "%s", format_addr(&w->moved_from, text, sizeof(text)));
}

int lb_which_run(struct run *run, const void *params, __u64 given)
{
	const struct lb_view_params *p = params;
	auto_table struct table *t = table_new(which_columns);
	struct lb_view_which w;
	char text[VIP_LEN];
	int err;

	(void)given;
	if (!p->vip.port) {
		struct vip one = p->vip;
		char example[VIP_LEN];

		one.port = 443;
		return fail(-E_USAGE, "lb which: VIP: %s: to which port? as in %s",
			    format_vip(&p->vip, text, sizeof(text)), format_vip(&one, example, sizeof(example)));
	}
	if (addr_is_v4(&p->client.addr) != addr_is_v4(&p->vip.addr))
		return fail(-E_USAGE, "lb which: SRC:PORT and VIP: one is IPv4, one IPv6");
	err = lb_view_which(run, instance_of(p), &p->client.addr, p->client.port, &p->vip, &w);
	if (err)
		return err;
	which_cells(t, p, &w);
	return table_print_one(run, t);
}
