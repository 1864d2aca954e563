/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kf.h"
#include "l2tpview.h"
#include "link.h"
#include "root.h"

const char *const l2tp_state_words[] = { "on", "down", "detached", "gone", "elsewhere" };

#define TX "tx_errors"
#define RX "rx_errors"
#define EVENT "events"
const char *const l2tp_count_keys[] = {
	[L2TP_TX_TOO_BIG] = "too_big", [L2TP_TX_TOLD] = "too_big_told", [L2TP_TX_NO_HOP] = "no_next_hop",
	[L2TP_TX_GSO] = "unsegmentable", [L2TP_TX_PARTIAL] = "unsummed", [L2TP_TX_MEMORY] = "no_memory",
	[L2TP_RX_COOKIE] = "wrong_cookie", [L2TP_RX_PEER] = "wrong_peer", [L2TP_RX_OLD] = "old_sequence",
	[L2TP_RX_SHORT] = "malformed", [L2TP_RX_MEMORY] = "no_memory",
	[L2TP_RX_VLAN] = "wrong_vlan", [L2TP_RX_LOST] = "lost", [L2TP_RX_RESTARTED] = "restarted",
	[L2TP_TX_CLAMPED] = "tx_clamped", [L2TP_RX_CLAMPED] = "rx_clamped",
};
const char *const l2tp_count_groups[] = {
	[L2TP_TX_TOO_BIG] = TX, [L2TP_TX_TOLD] = TX, [L2TP_TX_NO_HOP] = TX, [L2TP_TX_GSO] = TX,
	[L2TP_TX_PARTIAL] = TX, [L2TP_TX_MEMORY] = TX,
	[L2TP_RX_COOKIE] = RX, [L2TP_RX_PEER] = RX, [L2TP_RX_OLD] = RX, [L2TP_RX_SHORT] = RX, [L2TP_RX_MEMORY] = RX,
	[L2TP_RX_VLAN] = RX,
	[L2TP_RX_LOST] = EVENT, [L2TP_RX_RESTARTED] = EVENT, [L2TP_TX_CLAMPED] = EVENT, [L2TP_RX_CLAMPED] = EVENT,
};
const char *const l2tp_place_count_keys[] = {
	[L2TP_CONTROL] = "control", [L2TP_UNKNOWN] = "unknown_session", [L2TP_FRAGMENT] = "fragment",
	[L2TP_MALFORMED] = "malformed", [L2TP_VERSION] = "other_version", [L2TP_RUNT] = "runt",
};

/*
 * What is known of an interface, asked once for all its sessions.
 */
struct seen {
	bool is_known, is_here, is_there, is_up, is_in_chain;
	char text[40];
	int peer;
};
struct view {
	const struct bpffs *b;
	struct l2tps t;
	struct netns self;
	struct seen *seen; /* by place */
};

struct member {
	const struct l2tps *t;
	bool is_ours;
};

static int member_look(const struct chain_row *row, void *arg)
{
	struct member *m = arg;

	m->is_ours |= row->member && row->member->prog_id && !strcmp(row->member->name, L2TP_KF) &&
		      kf_runs_on(m->t->places, row->member->prog_id);
	return 0;
}

static int seen_fill(const struct view *v, int place, struct seen *s)
{
	const struct l2tp_place *p = &v->t.place[place];
	struct member m = { .t = &v->t };
	struct link_info info = { 0 };
	struct iface dev;
	int err;

	s->is_known = true;
	s->is_here = p->netns == v->self.id;
	snprintf(s->text, sizeof(s->text), "%.15s@%llu", p->name, p->netns);
	if (!s->is_here)
		return 0;
	err = iface_by_index((int)p->ifindex, &dev);
	snprintf(s->text, sizeof(s->text), err ? "%.15s(gone)" : "%.15s", err ? p->name : dev.name);
	if (err)
		return err == -ENODEV ? 0 : fail_errno(err, "interface %u", p->ifindex);
	s->is_there = true;
	err = link_get(&dev, &info);
	if (err)
		return fail_errno(err, "%s", dev.name);
	s->is_up = info.is_up && info.has_carrier;
	s->peer = info.peer;
	err = chain_walk(v->b, &dev, HOOK_TC_INGRESS, member_look, &m);
	s->is_in_chain = m.is_ours;
	return err;
}

static const struct seen *look(const struct view *v, __u32 place, int *err)
{
	struct seen *s = &v->seen[place < L2TP_PLACES ? place : 0];

	if (!*err && !s->is_known)
		*err = seen_fill(v, (int)(s - v->seen), s);
	return s;
}

static enum l2tp_state state_of(const struct seen *access, const struct seen *underlay)
{
	if (!access->is_here || !underlay->is_here)
		return L2TP_ELSEWHERE;
	if (!access->is_there || !underlay->is_there)
		return L2TP_GONE;
	if (!access->is_in_chain || !underlay->is_in_chain)
		return L2TP_DETACHED;
	return access->is_up && underlay->is_up ? L2TP_ON : L2TP_DOWN;
}

/* netdev is the operator's end: what he calls it now, if he has not moved it away. */
static void netdev_name(const struct seen *helper, struct l2tp_row *row)
{
	struct iface dev;

	snprintf(row->helper, sizeof(row->helper), "%.15s", helper->text);
	snprintf(row->dev, sizeof(row->dev), "%.15s%s", row->s.dev, helper->is_here && !helper->is_there ? "(gone)" : "");
	if (helper->peer && !iface_by_index(helper->peer, &dev))
		snprintf(row->dev, sizeof(row->dev), "%s", dev.name);
}

static int row_fill(const struct view *v, const struct l2tp_session *s, unsigned what, struct l2tp_row *row)
{
	int err = 0;
	const struct seen *access = look(v, s->access, &err), *underlay = look(v, s->underlay, &err);

	if (err)
		return err;
	*row = (struct l2tp_row){ .s = *s, .state = state_of(access, underlay) };
	snprintf(row->dev, sizeof(row->dev), "%s", access->text);
	snprintf(row->underlay, sizeof(row->underlay), "%s", underlay->text);
	if (s->flags & L2TP_NETDEV)
		netdev_name(access, row);
	if (what & L2TP_WALK_STATS)
		err = l2tps_stat(&v->t, s->number, &row->stat);
	return err ? fail_errno(err, "kf/" L2TP_KF "/stats") : 0;
}

static int view_open(const struct bpffs *b, struct view *v)
{
	int err = netns_self(&v->self);

	v->b = b;
	if (err)
		return fail_errno(err, "this network namespace");
	err = l2tps_open(b, &v->t);
	if (err <= 0)
		return err;
	v->seen = calloc(L2TP_PLACES, sizeof(*v->seen));
	return v->seen ? 1 : fail_errno(-ENOMEM, "kf/" L2TP_KF);
}

static void view_close(struct view *v)
{
	l2tps_close(&v->t);
	free(v->seen);
}
#define auto_view __attribute__((cleanup(view_close)))

int l2tp_walk(const struct bpffs *b, const char *name, unsigned what,
	      int (*fn)(const struct l2tp_row *row, void *arg), void *arg)
{
	auto_view struct view v = { .t = L2TPS_INIT };
	int has = view_open(b, &v), i = 0, n = v.t.n, err = 0;
	struct l2tp_row row;

	if (has < 0)
		return has;
	if (name) {
		i = l2tps_find(&v.t, name);
		if (i < 0)
			return fail(-ENOENT, "there is no l2tp %s", name);
		n = i + 1;
	}
	for (; !err && i < n; i++) {
		err = row_fill(&v, &v.t.session[i], what, &row);
		if (!err)
			err = fn(&row, arg);
	}
	return err;
}

int l2tp_walk_places(const struct bpffs *b, int (*fn)(const struct l2tp_place_row *row, void *arg), void *arg)
{
	auto_view struct view v = { .t = L2TPS_INIT };
	int has = view_open(b, &v), err = 0;

	if (has <= 0)
		return has;
	for (int i = 0; !err && i < L2TP_PLACES; i++) {
		struct l2tp_place_row row = { .place = &v.t.place[i] };

		if (!row.place->since || row.place->is_helper)
			continue;
		snprintf(row.dev, sizeof(row.dev), "%s", look(&v, (__u32)i, &err)->text);
		if (!err && l2tps_errors(&v.t, (__u32)i, &row.error))
			err = fail(-EIO, "kf/" L2TP_KF "/errors cannot be read");
		if (!err)
			err = fn(&row, arg);
	}
	return err;
}
