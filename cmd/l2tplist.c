/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* l2tp list, show, stats. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpffs.h"
#include "cmd.h"
#include "l2tpview.h"

static int print_name(const struct l2tp_row *row, void *arg)
{
	(void)arg;
	puts(row->s.name);
	return 0;
}

/* Nothing where they cannot be read. */
void l2tp_complete_name(void)
{
	const char *dir = getenv("L3AF_BPFFS");
	const struct run run = { .bpffs = dir ? dir : "/sys/fs/bpf" };
	auto_bpffs struct bpffs b = { .fd = -1 };

	if (!bpffs_open(&run, BPFFS_READ, &b) && l2tp_walk(&b, NULL, 0, print_name, NULL))
		return;
}

#define NAME(must, text) { .word = "NAME", .type = ARG_NAME, .offset = offsetof(struct l2tp_view_params, name), \
			   .positional = true, .required = must, .complete = l2tp_complete_name, .help = text }
#define END { .word = NULL }

const struct arg l2tp_list_args[] = { END };
const struct arg l2tp_show_args[] = { NAME(true, "of the pseudowire"), END };
const struct arg l2tp_stats_args[] = { NAME(false, "only of this one; default: all, and of their underlays"), END };

/* A listing has few of these, and each has a heading; -v and show have all. */
static const struct column columns[] = {
	{ .key = "name", .head = "NAME", .type = COL_STR },
	{ .key = "dev", .head = "DEV", .type = COL_STR },
	{ .key = "netdev", .head = "NETDEV", .type = COL_BOOL, .wide = true },
	{ .key = "vlan", .head = "VLAN", .type = COL_STR },
	{ .key = "underlay", .head = "UNDERLAY", .type = COL_STR },
	{ .key = "local", .head = "LOCAL", .type = COL_STR },
	{ .key = "remote", .head = "REMOTE", .type = COL_STR },
	{ .key = "session", .head = "SESSION", .type = COL_U64 },
	{ .key = "peer_session", .head = "PEER", .type = COL_U64 },
	{ .key = "encap", .head = "ENCAP", .type = COL_STR },
	{ .key = "sport", .head = "SPORT", .type = COL_U64, .wide = true },
	{ .key = "dport", .head = "DPORT", .type = COL_U64, .wide = true },
	{ .key = "tx_cookie", .head = "TX-COOKIE", .type = COL_STR, .wide = true },
	{ .key = "rx_cookies", .head = "RX-COOKIES", .type = COL_LIST, .wide = true },
	{ .key = "sublayer", .head = "SUBLAYER", .type = COL_STR, .wide = true },
	{ .key = "sequence", .head = "SEQUENCE", .type = COL_STR, .wide = true },
	{ .key = "udp_csum", .head = "UDP-CSUM", .type = COL_STR, .wide = true },
	{ .key = "mtu_bytes", .head = "MTU", .type = COL_U64 },
	{ .key = "mtu_auto", .head = "MTU-AUTO", .type = COL_BOOL, .wide = true },
	{ .key = "helper", .head = "HELPER", .type = COL_STR, .wide = true },
	{ .key = "state", .head = "STATE", .type = COL_STR },
	{ .key = "since", .head = "SINCE", .type = COL_STR, .wide = true },
	{ 0 },
};

static const struct column stats_columns[] = {
	{ .key = "name", .head = "name", .type = COL_STR },
	{ .key = "state", .head = "state", .type = COL_STR },
	{ .key = "tx_packets", .head = "tx packets", .type = COL_U64 },
	{ .key = "tx_bytes", .head = "tx bytes", .type = COL_U64 },
	{ .key = "rx_packets", .head = "rx packets", .type = COL_U64 },
	{ .key = "rx_bytes", .head = "rx bytes", .type = COL_U64 },
	{ .key = "tx_errors", .head = "tx errors", .type = COL_COUNTS },
	{ .key = "rx_errors", .head = "rx errors", .type = COL_COUNTS },
	{ .key = "events", .head = "events", .type = COL_COUNTS },
	{ .key = "since", .head = "since", .type = COL_STR },
	{ 0 },
};

static const struct column place_columns[] = {
	{ .key = "dev", .head = "dev", .type = COL_STR },
	{ .key = "left_to_stack", .head = "left to the stack", .type = COL_COUNTS },
	{ .key = "since", .head = "since", .type = COL_STR },
	{ 0 },
};

static void addr_cell(struct table *t, const char *key, const __u32 words[4])
{
	char text[64];
	struct addr a;

	memcpy(a.b, words, sizeof(a.b));
	table_str(t, key, "%s", format_addr(&a, text, sizeof(text)));
}

static void cookie_cells(struct table *t, const struct l2tp_session *s)
{
	struct cookie tx = { .len = s->tx_cookie_len }, rx = { .len = s->rx_cookie_len };
	char text[COOKIE_LEN];

	memcpy(tx.b, s->tx_cookie, sizeof(tx.b));
	table_str(t, "tx_cookie", "%s", format_cookie(&tx, text, sizeof(text)));
	for (int i = 0; i < s->rx_cookies; i++) {
		memcpy(rx.b, s->rx_cookie[i], sizeof(rx.b));
		table_item(t, "rx_cookies", format_cookie(&rx, text, sizeof(text)));
	}
}

static void vlan_cell(struct table *t, const struct l2tp_session *s)
{
	struct vlans v = { s->vlan[0], s->vlan[1] == L2TP_NO_VLAN ? -1 : s->vlan[1] };
	char text[16];

	if (s->vlan[0] != L2TP_NO_VLAN)
		table_str(t, "vlan", "%s", format_vlans(&v, text, sizeof(text)));
}

static int put_session(const struct l2tp_row *row, void *arg)
{
	const struct l2tp_session *s = &row->s;
	struct table *t = arg;
	char text[32];

	table_row(t);
	table_str(t, "name", "%s", s->name);
	table_str(t, "dev", "%s", row->dev);
	table_bool(t, "netdev", s->flags & L2TP_NETDEV);
	vlan_cell(t, s);
	table_str(t, "underlay", "%s", row->underlay);
	addr_cell(t, "local", s->local);
	addr_cell(t, "remote", s->remote);
	table_u64(t, "session", s->id);
	table_u64(t, "peer_session", s->peer_id);
	table_str(t, "encap", "%s", l2tp_encap_words[s->encap]);
	if (s->encap == L2TP_UDP) {
		table_u64(t, "sport", s->local_port);
		table_u64(t, "dport", s->remote_port);
		table_str(t, "udp_csum", "%s", l2tp_switch_words[!!(s->flags & L2TP_CHECKSUM)]);
	}
	cookie_cells(t, s);
	table_str(t, "sublayer", "%s", l2tp_sublayer_words[!!(s->flags & L2TP_SUBLAYER)]);
	table_str(t, "sequence", "%s", l2tp_switch_words[!!(s->flags & L2TP_SEQUENCE)]);
	table_u64(t, "mtu_bytes", s->mtu);
	table_bool(t, "mtu_auto", !(s->flags & L2TP_MTU));
	if (row->helper[0])
		table_str(t, "helper", "%s", row->helper);
	table_str(t, "state", "%s", l2tp_state_words[row->state]);
	table_str(t, "since", "%s", format_time(s->since, text, sizeof(text)));
	return 0;
}

static int put_stats(const struct l2tp_row *row, void *arg)
{
	struct table *t = arg;
	char text[32];

	table_row(t);
	table_str(t, "name", "%s", row->s.name);
	table_str(t, "state", "%s", l2tp_state_words[row->state]);
	table_u64(t, "tx_packets", row->stat.tx);
	table_u64(t, "tx_bytes", row->stat.tx_octets);
	table_u64(t, "rx_packets", row->stat.rx);
	table_u64(t, "rx_bytes", row->stat.rx_octets);
	for (int i = 0; i < L2TP_COUNTS; i++)
		table_count(t, l2tp_count_groups[i], l2tp_count_keys[i], row->stat.count[i]);
	table_str(t, "since", "%s", format_time(row->s.since, text, sizeof(text)));
	return 0;
}

static int put_place(const struct l2tp_place_row *row, void *arg)
{
	struct table *t = arg;
	char text[32];

	table_row(t);
	table_str(t, "dev", "%s", row->dev);
	for (int i = 0; i < L2TP_PLACE_COUNTS; i++)
		table_count(t, "left_to_stack", l2tp_place_count_keys[i], row->error.count[i]);
	table_str(t, "since", "%s", format_time(row->place->since, text, sizeof(text)));
	return 0;
}

static const char *name_of(const struct l2tp_view_params *p)
{
	return p->name[0] ? p->name : NULL;
}

static int walk(struct run *run, const struct l2tp_view_params *p, unsigned what,
		int (*fn)(const struct l2tp_row *row, void *arg), struct table *t)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_READ, &b);

	return err ? err : l2tp_walk(&b, name_of(p), what, fn, t);
}

int l2tp_list(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(columns);
	int err = walk(run, params, 0, put_session, t);

	(void)given;
	return err ? err : table_print(run, t);
}

int l2tp_show(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(columns);
	int err = walk(run, params, 0, put_session, t);

	(void)given;
	return err ? err : table_print_one(run, t);
}

/* With their underlays: one part of several. */
int l2tp_stats(struct run *run, const void *params, __u64 given)
{
	auto_table struct table *t = table_new(stats_columns), *places = table_new(place_columns);
	const struct table_part parts[] = { { "pseudowires", t }, { "interfaces", places }, { 0 } };
	const struct l2tp_view_params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_READ, &b);

	(void)given;
	if (!err)
		err = l2tp_walk(&b, name_of(p), L2TP_WALK_STATS, put_stats, t);
	if (!err && p->name[0])
		return table_print_one(run, t);
	if (!err)
		err = l2tp_walk_places(&b, put_place, places);
	if (err)
		return err;
	if (run->json)
		return tables_print(run, parts);
	err = table_print_each(run, t);
	return err ? err : table_print_each(run, places);
}
