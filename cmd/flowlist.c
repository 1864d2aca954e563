/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flows list and flows show. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bpffs.h"
#include "cmd.h"
#include "flows.h"
#include "flowview.h"

#define COUNTS \
	{ .key = "packets", .head = "PACKETS", .type = COL_U64, .width = 10 }, \
	{ .key = "octets", .head = "OCTETS", .type = COL_U64, .width = 13 }
#define RATES \
	{ .key = "packets_per_second", .head = "PACKETS/S", .type = COL_U64, .width = 9 }, \
	{ .key = "octets_per_second", .head = "OCTETS/S", .type = COL_U64, .width = 11 }
#define THE_REST \
	{ .key = "dev", .head = "DEV", .type = COL_STR, .width = 8 }, \
	{ .key = "direction", .head = "DIRECTION", .type = COL_STR, .width = 9 }, \
	{ .key = "in_dev", .head = "FROM", .type = COL_STR, .wide = true, .width = 8 }, \
	{ .key = "vlan", .head = "VLAN", .type = COL_U64, .width = 4 }, \
	{ .key = "inner_vlan", .head = "INNER", .type = COL_U64, .wide = true, .width = 5 }, \
	{ .key = "state", .head = "STATE", .type = COL_STR, .width = 6 }, \
	{ .key = "end_reason", .head = "WHY", .type = COL_STR, .wide = true, .width = 6 }, \
	{ .key = "idle_seconds", .head = "IDLE_S", .type = COL_U64, .width = 6 }, \
	{ .key = "tcp_flags", .head = "FLAGS", .type = COL_STR, .width = 5 }, \
	{ .key = "tos", .head = "TOS", .type = COL_U64, .wide = true, .width = 3 }, \
	{ .key = "ttl_min", .head = "TTL>=", .type = COL_U64, .wide = true, .width = 5 }, \
	{ .key = "ttl_max", .head = "TTL<=", .type = COL_U64, .wide = true, .width = 5 }, \
	{ .key = "first", .head = "FIRST", .type = COL_STR, .wide = true, .width = 24 }, \
	{ .key = "last", .head = "LAST", .type = COL_STR, .wide = true, .width = 24 }, \
	{ .key = "flow", .head = "FLOW", .type = COL_STR, .width = 47 }, \
	{ .key = "proto", .type = COL_U64 }, \
	{ .key = "src", .type = COL_STR }, \
	{ .key = "dst", .type = COL_STR }, \
	{ .key = "sport", .type = COL_U64 }, \
	{ .key = "dport", .type = COL_U64 }, \
	{ .key = "icmp_type", .type = COL_U64 }, \
	{ .key = "icmp_code", .type = COL_U64 }, \
	{ 0 }

static const struct column columns[] = { COUNTS, THE_REST };
static const struct column rate_columns[] = { RATES, COUNTS, THE_REST };

struct list {
	const struct flowtable *t;
	const struct flow_rates *rates; /* NULL: no rates are shown */
	struct netns self;
	struct table *table;
	__u64 n;                        /* rows */
	char dev[FLOW_PLACES][FLOW_DEV_LEN]; /* once they are known */
};

static void time_cell(struct table *t, const char *key, __u64 ms)
{
	char text[32];

	format_time(ms / 1000, text, sizeof(text));
	table_str(t, key, "%.19s.%03uZ", text, (unsigned)(ms % 1000));
}

static const char *dev_of(struct list *l, __u32 place)
{
	char *dev = l->dev[place];

	return dev[0] ? dev : flow_format_dev(&l->t->place[place], &l->self, dev, sizeof(l->dev[place]));
}

static void place_cells(struct list *l, const struct flow_rec *rec)
{
	const struct flow_place *place;
	struct iface in;

	if (rec->key.place >= FLOW_PLACES)
		return;
	place = &l->t->place[rec->key.place];
	table_str(l->table, "dev", "%s", dev_of(l, rec->key.place));
	table_str(l->table, "direction", "%s", flow_direction_words[place->direction & 1]);
	if (!rec->in_ifindex)
		return;
	if (place->netns == l->self.id && !iface_by_index((int)rec->in_ifindex, &in))
		table_str(l->table, "in_dev", "%s", in.name);
	else
		table_str(l->table, "in_dev", "%u", rec->in_ifindex);
}

static void flags_cell(struct table *t, const struct flow_rec *rec)
{
	static const char letters[] = "FSRPAUECN";
	char text[sizeof(letters)] = "";
	size_t n = 0;

	if (rec->key.proto != 6)
		return;
	for (size_t i = sizeof(letters) - 1; i-- > 0;)
		if (rec->flags & 1u << i)
			text[n++] = letters[i];
	if (n)
		table_str(t, "tcp_flags", "%s", text);
}

static void key_cells(struct table *t, const struct flow_key *key)
{
	char text[FLOW_TUPLE_LEN];
	struct addr a;

	table_str(t, "flow", "%s", flow_format(key, text, sizeof(text)));
	table_u64(t, "proto", key->proto);
	memcpy(a.b, key->src, sizeof(a.b));
	table_str(t, "src", "%s", format_addr(&a, text, sizeof(text)));
	memcpy(a.b, key->dst, sizeof(a.b));
	table_str(t, "dst", "%s", format_addr(&a, text, sizeof(text)));
	if (proto_has_ports(key->proto)) {
		table_u64(t, "sport", key->sport);
		table_u64(t, "dport", key->dport);
	} else if (proto_is_icmp(key->proto)) {
		table_u64(t, "icmp_type", key->sport);
		table_u64(t, "icmp_code", key->dport);
	}
	if (key->vlan[0])
		table_u64(t, "vlan", key->vlan[0] & 0xfff);
	if (key->vlan[1])
		table_u64(t, "inner_vlan", key->vlan[1] & 0xfff);
}

static void state_cells(struct list *l, const struct flow_rec *rec)
{
	static const char *const reasons[] = { NULL, "idle", "active", "end", "forced", "lack" };
	__u32 reason = FLOW_REASON(rec->life);
	bool is_live = FLOW_STATE(rec->life) == FLOW_LIVE;

	table_str(l->table, "state", "%s", is_live ? "live" : "closed");
	if (!is_live && reason && reason < sizeof(reasons) / sizeof(reasons[0]))
		table_str(l->table, "end_reason", "%s", reasons[reason]);
	table_u64(l->table, "idle_seconds", flow_age_us(l->t, rec->last) / 1000000);
	time_cell(l->table, "first", flow_time_ms(l->t, rec->first));
	time_cell(l->table, "last", flow_time_ms(l->t, rec->last));
	table_u64(l->table, "tos", rec->tos);
	table_u64(l->table, "ttl_min", rec->ttl_min);
	table_u64(l->table, "ttl_max", rec->ttl_max);
}

static int row_add(const struct flow_rec *rec, __u32 slot, void *arg)
{
	struct list *l = arg;

	l->n++;
	table_row(l->table);
	table_u64(l->table, "packets", rec->packets);
	table_u64(l->table, "octets", rec->octets);
	if (l->rates) {
		const struct flow_reading *r = slot < l->rates->n ? &l->rates->slot[slot] : NULL;

		table_u64(l->table, "packets_per_second", r ? flow_rate(l->rates, r->more_packets) : 0);
		table_u64(l->table, "octets_per_second", r ? flow_rate(l->rates, r->more_octets) : 0);
	}
	place_cells(l, rec);
	state_cells(l, rec);
	flags_cell(l->table, rec);
	key_cells(l->table, &rec->key);
	return 0;
}

int flows_open(const struct run *run, const char *instance, struct bpffs *b, struct flowtable *t)
{
	auto_bpffs struct bpffs own = { .fd = -1 };
	int has, err = bpffs_open(run, BPFFS_READ, b ? b : &own);

	if (err)
		return err;
	has = flowtable_open(b ? b : &own, instance ? instance : FLOW_KF, false, t);
	if (!has && instance)
		return fail(-ENOENT, "there is no instance %s; l3afctl flows enable dev IF instance %s makes it",
			    instance, instance);
	return has;
}

static int read_rates(const struct flowtable *t, struct flow_rates *rates)
{
	const struct timespec second = { .tv_sec = 1 };
	int err = flow_rates_read(rates, t);

	if (err)
		return err;
	nanosleep(&second, NULL);
	return flow_rates_read(rates, t);
}

/* The rows of the query in l->table. */
static int walk(const struct run *run, const char *instance, struct flow_query *q, struct list *l)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	auto_rates struct flow_rates rates = { 0 };
	int has = flows_open(run, instance, NULL, &t), err = 0;

	if (has <= 0)
		return has;
	if (netns_self(&l->self))
		return fail(-EIO, "cannot identify the network namespace");
	q->match.self = l->self;
	if (q->by == FLOW_BY_RATE) {
		err = read_rates(&t, &rates);
		q->rates = l->rates = &rates;
	}
	l->t = &t;
	if (!err)
		err = flow_walk(&t, q, row_add, l);
	return err ? fail_errno(err, "cannot list the flows") : 0;
}

int flows_list_print(const struct run *run, const char *instance, struct flow_query *q)
{
	auto_table struct table *t = table_stream(run, q->by == FLOW_BY_RATE ? rate_columns : columns, stdout);
	struct list l = { .table = t };
	int err = walk(run, instance, q, &l);

	return err ? err : table_print(run, t);
}

int flows_show_print(const struct run *run, const char *instance, const struct flow_query *q)
{
	auto_table struct table *t = table_new(columns);
	struct list l = { .table = t };
	struct flow_query query = *q;
	char text[FLOW_TUPLE_LEN];
	int err = walk(run, instance, &query, &l);

	if (err)
		return err;
	if (!l.n)
		return fail(-ENOENT, "%s: there is no such flow%s in instance %s", format_flow(q->match.tuple, text,
			    sizeof(text)), q->match.dev || q->match.direction >= 0 ? " there" : "",
			    instance ? instance : FLOW_KF);
	return table_print_each(run, t);
}
