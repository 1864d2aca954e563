/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "kf.h"
#include "limitrules.h"
#include "limittable.h"
#include "out.h"
#include "root.h"
#include "window.h"

static bool is_same_place(const struct limit_rule *a, const struct limit_rule *b)
{
	return a->netns == b->netns && a->ifindex == b->ifindex && a->port_lo == b->port_lo &&
	       a->port_hi == b->port_hi && !memcmp(a->vip, b->vip, sizeof(a->vip));
}

bool limit_rule_same(const struct limit_rule *a, const struct limit_rule *b)
{
	return is_same_place(a, b) && a->kind == b->kind && a->per == b->per &&
	       (a->per != LIMIT_PER_SOURCE || (a->len4 == b->len4 && a->len6 == b->len6));
}

struct limit_rule limit_rule_at(const struct chain_id *at, enum limit_kind kind, const struct ports *ports,
				const struct addr *vip)
{
	struct limit_rule rule = {
		.netns = at->netns.id,
		.ifindex = (__u32)at->iface.index,
		.port_lo = ports->lo,
		.port_hi = ports->hi,
		.kind = kind,
		.per = LIMIT_PER_INTERFACE,
		.state = LIMIT_ENFORCED,
	};

	if (vip)
		memcpy(rule.vip, vip->b, sizeof(rule.vip));
	return rule;
}

int limit_rule_rate(struct limit_rule *rule, const struct rate *rate, __u64 window_us)
{
	unsigned __int128 events;
	char text[64], window[32];
	__u64 w = window_us ? window_us : rate->unit_us;

	format_rate(rate, text, sizeof(text));
	format_duration(w, window, sizeof(window));
	events = (unsigned __int128)rate->count * w;
	if (events < rate->unit_us)
		return fail(-E_USAGE, "rate: %s is less than one connection in a window of %s; use a longer window",
			    text, window);
	if (events > WINDOW_COUNT_MAX * (unsigned __int128)rate->unit_us)
		return fail(-E_USAGE, "rate: %s is more than %llu connections in a window of %s; use a shorter window",
			    text, WINDOW_COUNT_MAX, window);
	rule->count = rate->count;
	rule->unit_us = rate->unit_us;
	rule->window_us = (__u32)w;
	rule->threshold = (__u64)(events * w / rate->unit_us);
	return 0;
}

/*
 * What is said of a change.
 */
static void value_format(const struct limit_rule *rule, char *buf, size_t size)
{
	struct rate rate = { rule->count, rule->unit_us };

	format_rate(&rate, buf, size);
}

static void change_value(struct changes *c, const struct limit_rule *old, const struct limit_rule *new)
{
	char from[64], to[64];

	if (new->kind == LIMIT_CONNECTIONS) {
		if (old && old->threshold != new->threshold)
			change_from_u64(c, "connections", old->threshold, new->threshold);
		else
			change_u64(c, "connections", new->threshold);
		return;
	}
	value_format(new, to, sizeof(to));
	if (old)
		value_format(old, from, sizeof(from));
	if (old && strcmp(from, to))
		change_from_str(c, "rate", from, to);
	else
		change_str(c, "rate", "%s", to);
}

static void change_window(struct changes *c, const struct limit_rule *old, const struct limit_rule *new)
{
	char from[32], to[32];

	if (new->kind != LIMIT_RATE)
		return;
	format_duration(new->window_us, to, sizeof(to));
	if (old && old->window_us != new->window_us)
		change_from_str(c, "window", format_duration(old->window_us, from, sizeof(from)), to);
	else if (new->window_us != new->unit_us)
		change_str(c, "window", "%s", to);
}

/* A change line: what is new (old NULL), changed, or gone. */
static void change_rule(struct changes *c, char op, const char *dev, const struct limit_rule *old,
			const struct limit_rule *new)
{
	char text[64];

	change_add(c, op, "limit", NULL);
	change_value(c, old, new);
	change_str(c, "dev", "%s", dev);
	if (new->port_hi)
		change_str(c, "port", "%s", limit_format_ports(new, text, sizeof(text)));
	if (new->vip[0] || new->vip[1])
		change_str(c, "vip", "%s", limit_format_vip(new, text, sizeof(text)));
	if (new->per != LIMIT_PER_INTERFACE)
		change_str(c, "per", "%s", limit_format_per(new, text, sizeof(text)));
	change_window(c, old, new);
	if (old && old->action != new->action)
		change_from_str(c, "action", limit_action_words[old->action], limit_action_words[new->action]);
	else if (new->action != LIMIT_DROP)
		change_str(c, "action", "%s", limit_action_words[new->action]);
}

static bool has_same_value(const struct limit_rule *a, const struct limit_rule *b)
{
	return a->threshold == b->threshold && a->count == b->count && a->unit_us == b->unit_us &&
	       a->window_us == b->window_us && a->action == b->action;
}

/* Rules of interfaces of this namespace that are gone. */
static int drop_orphans(const struct run *run, struct limits *l, __u64 netns)
{
	struct iface iface;
	char text[32];

	for (int i = 0; i < LIMIT_RULES; i++) {
		struct limit_rule *rule = &l->table.rule[i];

		if (!rule->id || rule->netns != netns)
			continue;
		int err = iface_by_index((int)rule->ifindex, &iface);
		if (err == -ENODEV) {
			snprintf(text, sizeof(text), "%u(gone)", rule->ifindex);
			change_rule(run->changes, '-', text, NULL, rule);
			*rule = (struct limit_rule){ 0 };
			l->is_changed = true;
		} else if (err) {
			return fail_errno(err, "interface %u", rule->ifindex);
		}
	}
	return 0;
}

static struct limit_rule *find(struct limits *l, const struct limit_rule *want)
{
	for (int i = 0; i < LIMIT_RULES; i++)
		if (l->table.rule[i].id && limit_rule_same(&l->table.rule[i], want))
			return &l->table.rule[i];
	return NULL;
}

/* The rule new in a slot of its own, counted in where that is called for. */
static int rule_insert(const struct bpffs *b, struct limits *l, const struct limit_rule *new, int stat)
{
	int slot = limits_slot_new(l, stat), err;

	if (slot < 0)
		return slot;
	struct limit_rule *rule = &l->table.rule[slot];
	__u8 stat_new = rule->stat;
	__u32 id = rule->id;

	*rule = *new;
	rule->id = id;
	rule->stat = stat_new;
	if (rule->kind == LIMIT_CONNECTIONS) {
		rule->state = LIMIT_COUNTS;
		err = limits_commit(l);
		if (!err)
			err = limits_seed(b, l);
		if (err)
			return err;
		rule->state = LIMIT_ENFORCED;
	}
	return slot;
}

static int rule_write(const struct bpffs *b, struct limits *l, const struct limit_rule *want)
{
	struct limit_rule *old = find(l, want), new = *want;
	int slot;

	new.since = old ? old->since : (__u64)time(NULL);
	if (old && old->window_us == new.window_us) {
		new.id = old->id;
		new.stat = old->stat;
		*old = new;
	} else {
		/* counts of another window mean nothing in this one */
		slot = rule_insert(b, l, &new, old ? old->stat : -1);
		if (slot < 0)
			return slot;
		if (old)
			*old = (struct limit_rule){ 0 };
	}
	return limits_commit(l);
}

struct member {
	const char *name;
	__u32 prog_id;
};

static int member_find(const struct chain_row *row, void *arg)
{
	struct member *m = arg;

	if (row->member && !strcmp(row->member->name, m->name))
		m->prog_id = row->member->prog_id;
	return 0;
}

/* 1: the kernel function is in the chain and runs on the maps that are pinned; 0: it is
 * not; -ESTALE: it runs on others, whose pins were removed by hand. */
static int member_state(const struct bpffs *b, const struct chain_id *at, const struct limits *l)
{
	struct member m = { .name = limit_kf_words[l->kind] };
	int has = chain_has(b, at, m.name), err;

	if (has <= 0)
		return has;
	err = chain_walk(b, &at->iface, HOOK_XDP, member_find, &m);
	if (err)
		return err;
	return !m.prog_id ? 0 : limits_runs_on(l, m.prog_id) ? 1 : -ESTALE;
}

/* The kernel function in the chain: rates are looked at before connections, as they
 * cost less. */
static int member_add(const struct run *run, const struct bpffs *b, const struct chain_id *at,
		      const struct limits *l)
{
	struct chain_request req = { .position = 1 };
	int has = member_state(b, at, l), other, err;

	snprintf(req.name, sizeof(req.name), "%s", limit_kf_words[l->kind]);
	if (has == -ESTALE) {
		err = chain_remove(run, b, at, req.name);
		if (err)
			return err;
	} else if (has) {
		return has < 0 ? has : 0;
	}
	if (l->kind == LIMIT_CONNECTIONS) {
		other = chain_has(b, at, limit_kf_words[LIMIT_RATE]);
		if (other < 0)
			return other;
		if (other) {
			req.position = 0;
			req.after = limit_kf_words[LIMIT_RATE];
		}
	}
	return chain_add(run, b, at, &req);
}

int limit_set(const struct run *run, const struct bpffs *b, const struct chain_id *at,
	      const struct limit_rule *want)
{
	auto_limits struct limits l = LIMITS_INIT;
	struct limit_rule *old;
	int err = kf_probe_atomics("limits");

	if (!err)
		err = limits_open(b, (enum limit_kind)want->kind, &at->netns, &l);
	if (!err)
		err = drop_orphans(run, &l, at->netns.id);
	if (err)
		return err;
	old = find(&l, want);
	if (!old || !has_same_value(old, want)) {
		if (!old && limits_count(&l) == LIMIT_RULES - 1)
			return fail(-E2BIG, "there are %d %s limits, no more fit; remove one first",
				    LIMIT_RULES - 1, limit_kind_words[want->kind]);
		change_rule(run->changes, old ? '~' : '+', at->iface.name, old, want);
		l.is_changed = true;
	}
	if (!run->dry_run) {
		err = limits_make(b, &l);
		if (!err && want->kind == LIMIT_CONNECTIONS)
			err = limits_watch(b, limit_kf_words[want->kind]);
		if (!err && l.is_changed)
			err = rule_write(b, &l, want);
	}
	return err ? err : member_add(run, b, at, &l);
}

int limit_remove(const struct run *run, const struct bpffs *b, const struct chain_id *at,
		 const struct limit_rule *want)
{
	auto_limits struct limits l = LIMITS_INIT;
	struct limit_rule *old;
	int err = limits_open(b, (enum limit_kind)want->kind, &at->netns, &l);

	if (!err)
		err = drop_orphans(run, &l, at->netns.id);
	if (err)
		return err;
	old = find(&l, want);
	if (old) {
		change_rule(run->changes, '-', at->iface.name, NULL, old);
		*old = (struct limit_rule){ 0 };
		l.is_changed = true;
	}
	return l.is_changed && !run->dry_run ? limits_commit(&l) : 0;
}

/* One rule: the new count beside the old one, then in its place. */
static int recount_rule(const struct run *run, const struct bpffs *b, struct limits *l, int slot,
			const char *dev)
{
	struct limit_rule *old = &l->table.rule[slot];
	struct limits_sum was, is;
	int new = rule_insert(b, l, old, old->stat), err;

	if (new < 0)
		return new;
	err = limits_compare(l, slot, new, &was, &is);
	if (err)
		return err;
	if (was.connections != is.connections || was.differing) {
		change_rule(run->changes, '~', dev, NULL, old);
		change_from_u64(run->changes, "counted", was.connections, is.connections);
		if (old->per != LIMIT_PER_INTERFACE)
			change_u64(run->changes, "keys", was.differing);
	}
	*old = (struct limit_rule){ 0 };
	return limits_commit(l);
}

int limit_recount(const struct run *run, const struct bpffs *b, const struct iface *iface)
{
	auto_limits struct limits l = LIMITS_INIT;
	struct limit_table before;
	struct netns self;
	struct iface dev;
	int err = netns_self(&self);

	if (err)
		return fail_errno(err, "this network namespace");
	err = limits_open(b, LIMIT_CONNECTIONS, &self, &l);
	if (err || !l.is_there)
		return err;
	err = limits_watch(b, limit_kf_words[LIMIT_CONNECTIONS]);
	before = l.table;
	for (int i = 0; !err && i < LIMIT_RULES; i++) {
		const struct limit_rule *rule = &before.rule[i];

		if (!rule->id || rule->netns != self.id || (iface && (int)rule->ifindex != iface->index))
			continue;
		if (!iface_by_index((int)rule->ifindex, &dev))
			err = recount_rule(run, b, &l, i, dev.name);
	}
	return err;
}

static int row_fill(const struct limits *l, int slot, struct limit_row *row)
{
	int err = limits_stat(l, row->rule, &row->stat);

	if (!err)
		err = limits_use(l, slot, row);
	return err ? fail_errno(err, "cannot read the counters of the %s limits", limit_kind_words[l->kind]) : 0;
}

static int row_is_enforced(const struct bpffs *b, const struct limits *l, struct limit_row *row)
{
	struct chain_id at;
	int has = 0;

	if (row->iface.name[0]) {
		has = chain_id_init(&at, &row->iface, HOOK_XDP);
		if (!has)
			has = member_state(b, &at, l);
		if (has == -ESTALE)
			has = 0;
	}
	if (has > 0 && l->kind == LIMIT_CONNECTIONS)
		has = limits_is_watching(b);
	row->is_enforced = has > 0;
	return has < 0 ? has : 0;
}

static int walk_kind(const struct bpffs *b, enum limit_kind kind, const struct netns *self,
		     const struct iface *iface, int (*fn)(const struct limit_row *row, void *arg), void *arg)
{
	auto_limits struct limits l = LIMITS_INIT;
	int err = limits_open(b, kind, self, &l);

	for (int i = 0; !err && i < LIMIT_RULES; i++) {
		struct limit_row row = { .rule = &l.table.rule[i] };

		if (!row.rule->id || row.rule->netns != self->id ||
		    (iface && (int)row.rule->ifindex != iface->index))
			continue;
		err = iface_by_index((int)row.rule->ifindex, &row.iface);
		if (err == -ENODEV)
			row.iface = (struct iface){ .index = (int)row.rule->ifindex };
		else if (err)
			return fail_errno(err, "interface %u", row.rule->ifindex);
		err = row_fill(&l, i, &row);
		if (!err)
			err = row_is_enforced(b, &l, &row);
		if (!err)
			err = fn(&row, arg);
	}
	return err;
}

int limit_walk(const struct bpffs *b, const struct iface *iface,
	       int (*fn)(const struct limit_row *row, void *arg), void *arg)
{
	struct netns self;
	int err = netns_self(&self);

	if (err)
		return fail_errno(err, "this network namespace");
	err = walk_kind(b, LIMIT_RATE, &self, iface, fn, arg);
	return err ? err : walk_kind(b, LIMIT_CONNECTIONS, &self, iface, fn, arg);
}
