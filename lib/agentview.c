/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What listings of agents show. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "agenttable.h"
#include "cleanup.h"
#include "kf.h"
#include "root.h"

struct running {
	const struct agents *a;
	int n;
};

static int member_count(const struct chain_row *row, void *arg)
{
	struct running *r = arg;

	r->n += row->member && row->member->prog_id && !strcmp(row->member->name, AGENT_KF) &&
		!strcmp(row->member->instance, r->a->instance) && kf_runs_on(r->a->places, row->member->prog_id);
	return 0;
}

static int row_fill(const struct bpffs *b, const struct agents *a, int place, const struct netns *self,
		    struct agent_row *row)
{
	struct running r = { a, 0 };
	int err = 0;

	*row = (struct agent_row){
		.instance = a->instance,
		.place = &a->place[place],
		.number = (__u32)place,
		.is_here = a->place[place].netns == self->id,
	};
	if (row->is_here)
		err = iface_by_index((int)row->place->ifindex, &row->dev);
	if (err && err != -ENODEV)
		return fail_errno(err, "interface %u", row->place->ifindex);
	if (row->is_here && !err)
		err = chain_walk(b, &row->dev, HOOK_COUNT, member_count, &r);
	if (err && err != -ENODEV)
		return err;
	row->is_on = r.n == 2;
	err = agents_stat(a, place, &row->stat);
	return err ? fail_errno(err, "kf/%s/stats", a->instance) : 0;
}

static int walk_one(const struct bpffs *b, const struct agents *a, const struct iface *dev, const struct netns *self,
		    int (*fn)(const struct bpffs *b, const struct agent_row *row, void *arg), void *arg)
{
	struct agent_row row;
	int err = 0;

	for (int i = 0; !err && i < AGENT_PLACES; i++) {
		const struct agent_place *p = &a->place[i];

		if (!p->ifindex || (dev && (p->ifindex != (__u32)dev->index || p->netns != self->id)))
			continue;
		err = row_fill(b, a, i, self, &row);
		if (!err)
			err = fn(b, &row, arg);
	}
	return err;
}

int agent_walk(const struct bpffs *b, const char *instance, const struct iface *dev,
	       int (*fn)(const struct bpffs *b, const struct agent_row *row, void *arg), void *arg)
{
	char **names = NULL;
	struct netns self;
	int n = 0, err = netns_self(&self);

	if (!err)
		err = bpffs_list(b, "kf", &names, &n);
	if (err)
		return fail_errno(err, "%s/kf", b->dir);
	for (int i = 0; !err && i < n; i++) {
		auto_agents struct agents a = AGENTS_INIT;

		if (instance && strcmp(instance, names[i]))
			continue;
		err = agents_open(b, names[i], &a);
		if (err == 1)
			err = walk_one(b, &a, dev, &self, fn, arg);
	}
	bpffs_list_free(names, n);
	return err;
}

int agent_vips(const struct bpffs *b, const struct agent_row *row,
	       int (*fn)(const struct agent_vip_row *vip, void *arg), void *arg)
{
	auto_agents struct agents a = AGENTS_INIT;
	auto_free struct agent_vip_entry *vip = NULL;
	auto_free __u64 *conns = NULL;
	int n = 0, ret = 0, err = agents_open(b, row->instance, &a);

	if (err <= 0)
		return err;
	err = agents_vips(&a, (int)row->number, &vip, &n);
	if (!err)
		conns = calloc((size_t)n + 1, sizeof(*conns));
	if (!err)
		err = conns ? agents_conns_count(&a, vip, n, conns) : -ENOMEM;
	for (int i = 0; !err && !ret && i < n; i++) {
		struct agent_vip_row r = { .key = vip[i].key, .vip = vip[i].vip, .conns = conns[i] };

		err = agents_vip_stat(&a, vip[i].vip.stat, &r.stat);
		if (!err)
			ret = fn(&r, arg);
	}
	return err ? fail_errno(err, "kf/%s: the VIPs", row->instance) : ret;
}

int agent_sources(const struct bpffs *b, const struct agent_row *row,
		  int (*fn)(const struct prefix *source, void *arg), void *arg)
{
	auto_agents struct agents a = AGENTS_INIT;
	auto_free struct agent_source *source = NULL;
	int n = 0, err = agents_open(b, row->instance, &a);

	if (err <= 0)
		return err;
	err = agents_sources(&a, (int)row->number, &source, &n);
	if (err)
		return fail_errno(err, "kf/%s: the sources", row->instance);
	for (int i = 0; !err && i < n; i++) {
		struct prefix p = { .len = (__u8)(source[i].len - 32) };

		memcpy(p.addr.b, source[i].addr, sizeof(p.addr.b));
		err = fn(&p, arg);
	}
	return err;
}
