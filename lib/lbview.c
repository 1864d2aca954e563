/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "flows.h"
#include "kf.h"
#include "lbview.h"
#include "root.h"
#include "run.h"

const char *const lb_count_words[LB_COUNTS] = {
	[LB_NO_BACKEND] = "no_backend", [LB_NO_SOURCE] = "no_source", [LB_NO_NEXT_HOP] = "no_next_hop",
	[LB_BAD_LENGTH] = "bad_length", [LB_LOST_FRAGMENT] = "lost_fragment", [LB_BAD_ICMP] = "bad_icmp",
	[LB_NO_ROOM] = "no_room", [LB_TOO_BIG] = "too_big", [LB_ECHO] = "echo", [LB_ICMP] = "icmp",
	[LB_FRAGMENT] = "fragment", [LB_STRAY] = "stray", [LB_SECOND_HOP] = "second_hop", [LB_MOVED] = "moved",
};
const char *const lb_flow_words[] = { "new", "established", "closing", "client", NULL };

/*
 * The copy.
 */
void lb_view_free(struct lb_view *v)
{
	free(v->vip);
	free(v->backend);
	*v = (struct lb_view)LB_VIEW_INIT;
}

__u64 lb_use_active(const struct lb_use *use)
{
	return (__u64)use->flows[LB_NEW] + use->flows[LB_ESTABLISHED] + use->flows[LB_CLOSING];
}

static bool use_is_empty(const struct lb_use *use)
{
	return !lb_use_active(use) && !use->flows[LB_CLIENT];
}

static void use_add(struct lb_use *sum, const struct lb_use *use)
{
	if (use_is_empty(use))
		return;
	if (use_is_empty(sum) || use->youngest < sum->youngest)
		sum->youngest = use->youngest;
	if (use->oldest > sum->oldest)
		sum->oldest = use->oldest;
	for (int i = 0; i < 4; i++)
		sum->flows[i] += use->flows[i];
}

static void stat_add(struct lb_stat *sum, const struct lb_stat *s)
{
	sum->packets += s->packets;
	sum->bytes += s->bytes;
	sum->flows += s->flows;
}

static int backend_read(const struct lb *lb, int number, const struct lb_use *use, struct lb_view_backend *to)
{
	to->rec = lb->backend[number];
	memcpy(&to->addr, to->rec.addr, sizeof(to->addr));
	to->use = use[number];
	to->health = lb->health[number];
	to->health.why[sizeof(to->health.why) - 1] = '\0';
	to->is_usable = lb_is_usable(&to->rec);
	return lb_stat_read(lb, number, &to->stat);
}

static int backends_read(const struct lb *lb, int number, const struct lb_use *use, struct lb_view *v,
			 struct lb_view_vip *vip)
{
	auto_free __u16 *numbers = NULL;
	struct lb_view_backend *more;
	int n = lb_backends(lb, number, &numbers), err = 0;

	if (n <= 0)
		return n;
	more = reallocarray(v->backend, (size_t)(v->backends + n), sizeof(*more));
	if (!more)
		return -ENOMEM;
	v->backend = more;
	vip->first = v->backends;
	vip->n = n;
	v->backends += n;
	for (int i = 0; !err && i < n; i++) {
		struct lb_view_backend *b = &more[vip->first + i];

		err = backend_read(lb, numbers[i], use, b);
		vip->usable += b->is_usable;
		stat_add(&vip->stat, &b->stat);
		use_add(&vip->use, &b->use);
	}
	return err;
}

/* What removed backends counted; a killed run left some of it where it was. */
static int gone_read(const struct lb *lb, int number, struct lb_view_vip *vip)
{
	const struct lb_vip *v = &vip->rec;
	struct lb_stat s = { v->gone_packets, v->gone_bytes, v->gone_flows, 0 };
	int err = 0;

	if (v->going)
		s = (struct lb_stat){ v->going_packets, v->going_bytes, v->going_flows, 0 };
	vip->stat = s;
	for (__u32 i = 1; !err && i < lb->config->backends; i++) {
		if (lb->backend[i].state != LB_GONE || lb->backend[i].vip != (__u32)number || i == v->going)
			continue;
		err = lb_stat_read(lb, (int)i, &s);
		stat_add(&vip->stat, &s);
	}
	return err;
}

static int vip_read(const struct lb *lb, int number, const struct lb_use *use, struct lb_view *v)
{
	struct lb_view_vip *more = reallocarray(v->vip, (size_t)v->vips + 1, sizeof(*more)), *vip;
	struct lb_vip_stat sum;
	int err;

	if (!more)
		return -ENOMEM;
	v->vip = more;
	vip = &more[v->vips++];
	*vip = (struct lb_view_vip){ .rec = lb->vip[number] };
	lb_vip_get(lb, number, &vip->vip);
	err = lb_vip_stat_read(lb, number, &sum);
	if (!err)
		memcpy(vip->count, sum.count, sizeof(vip->count));
	if (!err)
		err = gone_read(lb, number, vip);
	return err ? err : backends_read(lb, number, use, v, vip);
}

static int vip_compare(const void *a, const void *b)
{
	const struct vip *x = &((const struct lb_view_vip *)a)->vip, *y = &((const struct lb_view_vip *)b)->vip;
	int by_addr = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	if (by_addr)
		return by_addr;
	return x->port != y->port ? x->port - y->port : x->proto - y->proto;
}

static int vips_read(const struct lb *lb, int only, struct lb_view *v)
{
	auto_free struct lb_use *use = calloc(lb->config->backends, sizeof(*use));
	int err = use ? 0 : -ENOMEM;

	if (!err)
		lb_count(lb, use);
	v->tick_us = lb->config->tick_us;
	v->read_us = run_now_us();
	for (int i = 0; !err && i < (int)lb->config->vips; i++)
		if (lb->vip[i].is_live && (only < 0 || only == i))
			err = vip_read(lb, i, use, v);
	if (!err && v->vips)
		qsort(v->vip, (size_t)v->vips, sizeof(*v->vip), vip_compare);
	return err;
}

static int no_instance(const char *instance)
{
	return fail(-ENOENT, "there is no load balancer %s; l3afctl lb enable dev IF instance %s makes it", instance,
		    instance);
}

/* 1: it is open; 0: there is none and none was named. */
static int view_open(const struct run *run, const struct bpffs *b, const char *instance, struct lb *lb)
{
	int ret = lb_open(run, b, instance ? instance : LB_KF, false, lb);

	return ret || !instance ? ret : no_instance(instance);
}

static int no_vip(const char *instance, const struct vip *vip)
{
	char text[VIP_LEN];

	format_vip(vip, text, sizeof(text));
	return fail(-ENOENT, "there is no VIP %s; l3afctl lb vip list%s shows those there are", text,
		    lb_of(instance ? instance : LB_KF).text);
}

int lb_view_read(const struct run *run, const char *instance, const struct vip *vip, struct lb_view *v)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int err = bpffs_open(run, BPFFS_READ, &b), ret, only = -1;

	*v = (struct lb_view)LB_VIEW_INIT;
	if (err)
		return err;
	ret = view_open(run, &b, instance, &lb);
	if (ret < 0)
		return ret;
	if (vip)
		only = ret ? lb_vip_find(&lb, vip) : -ENOENT;
	if (vip && only < 0)
		return only == -ENOENT ? no_vip(instance, vip) : fail_errno(only, "the VIPs");
	err = ret ? vips_read(&lb, only, v) : 0;
	return err ? fail_errno(err, "the load balancer's counters") : 0;
}

/*
 * Differences.
 */
int lb_view_copy(const struct lb_view *v, struct lb_view *to)
{
	size_t vips = (size_t)v->vips * sizeof(*v->vip), backends = (size_t)v->backends * sizeof(*v->backend);

	*to = *v;
	to->vip = malloc(vips + 1);
	to->backend = malloc(backends + 1);
	if (!to->vip || !to->backend)
		return fail_errno(-ENOMEM, "the load balancer's counters");
	if (vips)
		memcpy(to->vip, v->vip, vips);
	if (backends)
		memcpy(to->backend, v->backend, backends);
	return 0;
}

/* What was made anew within a second looks like what was there before. */
static __u64 more_than(__u64 now, __u64 before)
{
	return now > before ? now - before : 0;
}

static void stat_subtract(struct lb_stat *s, const struct lb_stat *before)
{
	s->packets = more_than(s->packets, before->packets);
	s->bytes = more_than(s->bytes, before->bytes);
	s->flows = more_than(s->flows, before->flows);
}

static const struct lb_view_vip *vip_before(const struct lb_view *before, const struct lb_view_vip *vip)
{
	for (int i = 0; i < before->vips; i++)
		if (!vip_compare(&before->vip[i], vip) && before->vip[i].rec.since == vip->rec.since)
			return &before->vip[i];
	return NULL;
}

static void backend_subtract(struct lb_view_backend *b, const struct lb_view *before, const struct lb_view_vip *vip)
{
	for (int i = 0; i < vip->n; i++) {
		const struct lb_view_backend *old = &before->backend[vip->first + i];

		if (!memcmp(&old->addr, &b->addr, sizeof(b->addr)) && old->rec.since == b->rec.since)
			stat_subtract(&b->stat, &old->stat);
	}
}

void lb_view_subtract(struct lb_view *v, const struct lb_view *before)
{
	for (int i = 0; i < v->vips; i++) {
		struct lb_view_vip *vip = &v->vip[i];
		const struct lb_view_vip *old = vip_before(before, vip);

		if (!old)
			continue;
		stat_subtract(&vip->stat, &old->stat);
		for (int c = 0; c < LB_COUNTS; c++)
			vip->count[c] = more_than(vip->count[c], old->count[c]);
		for (int j = 0; j < vip->n; j++)
			backend_subtract(&v->backend[vip->first + j], before, old);
	}
}

/*
 * One flow.
 */
static int which_find(const struct lb *lb, const struct vip *to, struct vip *vip)
{
	int number;

	*vip = *to;
	number = lb_vip_find(lb, vip);
	if (number == -ENOENT) {
		vip->port = 0;
		number = lb_vip_find(lb, vip);
	}
	if (number == -ENOENT)
		return no_vip(lb->instance, to);
	return number < 0 ? fail_errno(number, "the VIPs") : number;
}

static int nobody(const struct lb *lb, int number, const struct vip *vip)
{
	auto_free __u16 *numbers = NULL;
	int n = lb_backends(lb, number, &numbers);
	char text[VIP_LEN];

	format_vip(vip, text, sizeof(text));
	if (n < 0)
		return fail_errno(n, "the backends of VIP %s", text);
	if (!n)
		return fail(-ENOENT, "nobody takes it: VIP %s has no backends; l3afctl lb backend add ADDR vip %s%s",
			    text, text, lb_of(lb->instance).text);
	return fail(-ENOENT, "nobody takes it: no backend of VIP %s takes flows; l3afctl lb backend list vip %s%s "
		    "shows why", text, text, lb_of(lb->instance).text);
}

static int which_fill(const struct lb *lb, struct lb_view_which *w)
{
	auto_free struct lb_use *use = calloc(lb->config->backends, sizeof(*use));
	const struct lb_answer *a = &w->answer;

	if (!use)
		return fail_errno(-ENOMEM, "lb which");
	memcpy(&w->ring, lb->backend[a->ring].addr, sizeof(w->ring));
	memcpy(&w->moved_from, lb->backend[a->moved_from].addr, sizeof(w->moved_from));
	w->idle_us = (__u64)LB_AGE(lb->now, a->entry) * lb->config->tick_us;
	lb_count(lb, use);
	return backend_read(lb, a->backend, use, &w->backend);
}

int lb_view_which(const struct run *run, const char *instance, const struct addr *client, __u16 port,
		  const struct vip *to, struct lb_view_which *w)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int err = bpffs_open(run, BPFFS_READ, &b), number;

	*w = (struct lb_view_which){ 0 };
	if (!err)
		err = view_open(run, &b, instance, &lb);
	if (err <= 0)
		return err ? err : no_vip(instance, to);
	number = which_find(&lb, to, &w->vip);
	if (number < 0)
		return number;
	err = lb_which(&lb, number, client, port, to->port, &w->answer);
	if (err)
		return fail_errno(err, "the ring");
	return w->answer.backend ? which_fill(&lb, w) : nobody(&lb, number, &w->vip);
}

/*
 * Flows away.
 */
static int purge_one(const struct run *run, struct lb *lb, int vip, int backend, const struct lb_use *use)
{
	char text[VIP_LEN];
	struct addr addr;
	struct vip v;
	__u64 n = 0;
	int err;

	for (__u32 i = 1; i < lb->config->backends; i++)
		if (lb->backend[i].state != LB_FREE && lb->backend[i].vip == (__u32)vip &&
		    (!backend || (int)i == backend))
			n += lb_use_active(&use[i]) + use[i].flows[LB_CLIENT];
	if (!n)
		return 0;
	err = run->dry_run ? 0 : lb_flows_purge(lb, vip, backend, &n);
	if (err)
		return fail_errno(err, "the flow table");
	lb_vip_get(lb, vip, &v);
	change_add(run->changes, '-', "lb flows", format_vip(&v, text, sizeof(text)));
	memcpy(&addr, lb->backend[backend].addr, sizeof(addr));
	if (backend)
		change_str(run->changes, "backend", "%s", format_addr(&addr, text, sizeof(text)));
	change_u64(run->changes, "flows", n);
	return 0;
}

static int purge_all(const struct run *run, struct lb *lb, int only, const struct addr *addr)
{
	auto_free struct lb_use *use = calloc(lb->config->backends, sizeof(*use));
	int err = use ? 0 : fail_errno(-ENOMEM, "lb flows purge");

	if (!err)
		lb_count(lb, use);
	for (int i = 0; !err && i < (int)lb->config->vips; i++) {
		int backend = 0;

		if (!lb->vip[i].is_live || (only >= 0 && only != i))
			continue;
		if (addr)
			backend = lb_backend_find(lb, i, addr);
		if (backend != -ENOENT)
			err = backend < 0 ? fail_errno(backend, "the backends") : purge_one(run, lb, i, backend, use);
	}
	return err;
}

int lb_view_purge(const struct run *run, const char *instance, const struct vip *vip, const struct addr *addr)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int err = bpffs_open(run, BPFFS_CHANGE, &b), only = -1;

	if (!err)
		err = lb_open(run, &b, instance ? instance : LB_KF, !run->dry_run, &lb);
	if (err < 0)
		return err;
	if (!err)
		return instance ? no_instance(instance) : vip ? no_vip(instance, vip) : 0;
	if (vip)
		only = lb_vip_find(&lb, vip);
	if (vip && only < 0)
		return only == -ENOENT ? no_vip(instance, vip) : fail_errno(only, "the VIPs");
	return purge_all(run, &lb, only, addr);
}

/*
 * Places.
 */
struct walk {
	const struct run *run;
	const struct bpffs *b;
	struct netns self;
	int (*fn)(const struct lb_view_place *p, void *arg);
	void *arg;
};

struct member_find {
	const struct lb *lb;
	struct lb_view_place *place;
};

static int member_found(const struct chain_row *row, void *arg)
{
	struct member_find *f = arg;

	if (!row->member || !row->member->prog_id || strcmp(row->member->name, LB_KF) ||
	    strcmp(row->member->instance, f->lb->instance) || !kf_runs_on(f->lb->vipkeys, row->member->prog_id))
		return 0;
	f->place->is_on = true;
	f->place->mode = (enum xdp_mode)row->head->mode;
	return 0;
}

static int place_look(const struct walk *w, const struct lb *lb, struct lb_view_place *p, char dev[48])
{
	struct member_find find = { lb, p };
	struct iface iface;
	int err;

	p->is_here = p->place->netns == w->self.id;
	if (!p->is_here) {
		p->is_gone = lb_place_is_gone(lb, p->place, &w->self);
		snprintf(dev, 48, "%u@%llu%s", p->place->ifindex, p->place->netns, p->is_gone ? "(gone)" : "");
		return 0;
	}
	err = iface_by_index((int)p->place->ifindex, &iface);
	p->is_gone = err == -ENODEV;
	if (err && !p->is_gone)
		return fail_errno(err, "interface %u", p->place->ifindex);
	if (err)
		snprintf(dev, 48, "%u(gone)", p->place->ifindex);
	else
		snprintf(dev, 48, "%s", iface.name);
	return err ? 0 : chain_walk(w->b, &iface, HOOK_XDP, member_found, &find);
}

static int places_call(const struct walk *w, const struct lb *lb, struct lb_view_place *p)
{
	const struct lb_view_place all = *p;
	char dev[48];
	int err = 0, n = 0;

	for (int i = 0; !err && i < LB_PLACES; i++) {
		if (!lb->place[i].ifindex)
			continue;
		*p = all;
		p->place = lb_place_seen(lb, i);
		p->dev = dev;
		err = place_look(w, lb, p, dev);
		if (!err)
			err = w->fn(p, w->arg);
		n++;
	}
	return n || err ? err : w->fn(&all, w->arg);
}

static int instance_call(const struct walk *w, const char *instance)
{
	auto_lb struct lb lb = LB_INIT;
	struct lb_view_place p = { .lb = &lb };
	__u64 rings;
	int ret = lb_open(w->run, w->b, instance, false, &lb);

	if (ret <= 0)
		return ret < 0 ? ret : no_instance(instance);
	for (__u32 i = 0; i < lb.config->vips; i++)
		p.vips += lb.vip[i].is_live != 0;
	for (__u32 i = 1; i < lb.config->backends; i++)
		p.backends += lb.backend[i].state != LB_FREE;
	ret = flows_memory(w->b, instance, &p.memory_bytes);
	if (ret)
		return ret;
	ret = lb_rings_bytes(&lb, &rings);
	if (ret)
		return fail_errno(ret, "%s/kf/%s/rings", w->b->dir, instance);
	if (p.memory_bytes)
		p.memory_bytes += rings;
	return places_call(w, &lb, &p);
}

/* An instance of another kernel function has no such map. */
static int is_lb(const struct bpffs *b, const char *instance)
{
	auto_fd int fd = kf_map(b, instance, "vipkeys");

	return fd >= 0 ? 1 : fd == -ENOENT ? 0 : fd;
}

int lb_view_places(const struct run *run, const struct bpffs *b, const char *only,
		   int (*fn)(const struct lb_view_place *p, void *arg), void *arg)
{
	struct walk w = { .run = run, .b = b, .fn = fn, .arg = arg };
	char **names = NULL;
	int n = 0, err = netns_self(&w.self);

	if (err)
		return fail_errno(err, "this network namespace");
	if (only)
		return instance_call(&w, only);
	if (b->fd < 0)
		return 0;
	err = bpffs_list(b, "kf", &names, &n);
	if (err)
		fail_errno(err, "%s/kf", b->dir);
	for (int i = 0; !err && i < n; i++) {
		int is = is_lb(b, names[i]);

		err = is < 0 ? fail_errno(is, "%s/kf/%s", b->dir, names[i]) : is ? instance_call(&w, names[i]) : 0;
	}
	bpffs_list_free(names, n);
	return err;
}
