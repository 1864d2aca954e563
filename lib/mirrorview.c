/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "host.h"
#include "kf.h"
#include "mirrormaps.h"
#include "mirrorview.h"
#include "root.h"
#include "run.h"

const char *const mirror_look_words[] = {
	[MIRROR_IS_ON] = "on", [MIRROR_IS_DETACHED] = "detached", [MIRROR_IS_STRAY] = "stray",
	[MIRROR_IS_DOWN] = "down", [MIRROR_IS_GONE] = "gone", NULL
};

void mirror_look_free(struct mirror_look_all *v)
{
	free(v->target);
	free(v->place);
	free(v->filter);
	*v = (struct mirror_look_all)MIRROR_LOOK_INIT;
}

/*
 * What the kernel runs.
 */
struct walk {
	const struct bpffs *b;
	const struct mirror *m;
	int way;                    /* the map that both kernel functions use */
	struct netns here;
	int number[MIRROR_TARGETS]; /* index in mirror_look_all.target by number; -1 */
	const char *dev, *target;
	const struct match_key *key; /* NULL: there is no packet to ask about */
	bool is_dev;                /* dev was found */
};

struct member_find {
	int way;
	const char *name;
	int place;                  /* -1: of mirrortarget, which has none */
	bool is_there;
};

static int member_found(const struct chain_row *row, void *arg)
{
	struct member_find *f = arg;
	struct mirror_here here;
	int err = 0;

	if (!row->member || !row->member->prog_id || strcmp(row->member->name, f->name) ||
	    strcmp(row->member->instance, MIRROR_KF))
		return 0;
	if (f->place >= 0)
		err = mirror_here_of(row->member->prog_id, &here);
	f->is_there = kf_runs_on(f->way, row->member->prog_id) && !err && (f->place < 0 || here.place == (__u32)f->place);
	return err && err != -ENOENT ? fail_errno(err, "%s: member %s", row->id.iface.name, f->name) : 0;
}

/* Of the interface that was given this name and index: on, unless something is in the way. */
static int look(const struct walk *w, const struct iface *iface, enum hook hook, int place, enum mirror_look *as)
{
	struct member_find find = { .way = w->way, .name = place < 0 ? MIRROR_TARGET_KF : MIRROR_KF, .place = place };
	struct host_nic nic;
	int err = chain_walk(w->b, iface, hook, member_found, &find);

	if (err)
		return err;
	*as = MIRROR_IS_DETACHED;
	if (!find.is_there)
		return 0;
	err = host_nic(iface, &nic);
	if (err == -ENODEV)
		*as = MIRROR_IS_GONE;
	else if (err)
		return fail_errno(err, "interface %s", iface->name);
	else
		*as = nic.is_up ? MIRROR_IS_ON : MIRROR_IS_DOWN;
	return 0;
}

/* 1: it is there; 0: it is gone; or an error, printed. */
static int iface_look(const struct walk *w, __u64 netns, __u32 ifindex, const char *name, struct iface *iface,
		      char dev[MIRROR_TEXT])
{
	int err = iface_by_index((int)ifindex, iface);

	if (err && err != -ENODEV)
		return fail_errno(err, "interface %.15s", name);
	if (err)
		snprintf(iface->name, sizeof(iface->name), "%.15s", name);
	mirror_format_dev(&w->here, netns, ifindex, name, dev);
	return !err;
}

/*
 * Targets.
 */
static int target_read(struct walk *w, int number, const struct mirror_target *rec, struct mirror_look_target *t)
{
	struct iface iface;
	int ret;

	*t = (struct mirror_look_target){ .rec = *rec, .look = MIRROR_IS_GONE };
	ret = iface_look(w, rec->netns, rec->ifindex, rec->dev, &iface, t->dev);
	memcpy(t->iface, iface.name, sizeof(t->iface));
	if (ret > 0)
		ret = look(w, &iface, HOOK_TC_EGRESS, -1, &t->look);
	if (ret < 0)
		return ret;
	if ((t->look == MIRROR_IS_ON || t->look == MIRROR_IS_DOWN) && w->m->state[number].is_stray)
		t->look = MIRROR_IS_STRAY;
	ret = mirror_target_stat(w->m, number, &t->stat);
	return ret ? fail_errno(ret, "the counters of target %.15s", rec->name) : 0;
}

static int no_target(const char *name)
{
	return fail(-ENOENT, "there is no target %s; l3afctl mirror target list shows those there are", name);
}

/* The numbers of this network namespace's targets, in the order of their names. */
static int targets_order(const struct walk *w, int order[MIRROR_TARGETS])
{
	int n = 0;

	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(w->m, i);
		int at = n;

		if (!t || t->netns != w->here.id || (w->target && strcmp(t->name, w->target)))
			continue;
		for (; at && strcmp(mirror_target_get(w->m, order[at - 1])->name, t->name) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
		n++;
	}
	return n;
}

static int targets_read(struct walk *w, struct mirror_look_all *v)
{
	int order[MIRROR_TARGETS], n = targets_order(w, order), err = 0;

	for (int i = 0; i < MIRROR_TARGETS; i++)
		w->number[i] = -1;
	if (w->target && !n)
		return no_target(w->target);
	v->target = calloc((size_t)n + 1, sizeof(*v->target));
	if (!v->target)
		return fail_errno(-ENOMEM, "the targets");
	for (int i = 0; !err && i < n; i++) {
		w->number[order[i]] = i;
		err = target_read(w, order[i], mirror_target_get(w->m, order[i]), &v->target[i]);
		v->targets++;
	}
	return err;
}

/*
 * Filters.
 */
static enum mirror_look worst(const struct mirror_look_place *p, unsigned directions)
{
	enum mirror_look as = MIRROR_IS_ON;

	for (int i = 0; i < 2; i++)
		if (directions & 1u << i && p->look[i] != MIRROR_IS_ON && as != MIRROR_IS_DETACHED)
			as = p->look[i];
	return as;
}

static int filter_add(const struct walk *w, const struct mirror_view *from, int i, struct mirror_look_all *v)
{
	const struct mirror_filter *rec = &from->set->filter[i];
	struct mirror_look_filter *f = &v->filter[v->filters];
	int target = rec->action == MIRROR_ACCEPT && rec->target < MIRROR_TARGETS ? w->number[rec->target] : -1;

	if (w->target && target < 0)
		return 0;
	*f = (struct mirror_look_filter){ .rec = *rec, .place = v->places, .target = target };
	f->look = worst(&v->place[v->places], rec->rule.directions);
	v->filters++;
	if (target >= 0)
		v->target[target].filters++;
	return mirror_filter_stat(from, i, &f->stat);
}

/* As the kernel function does it. */
static void filter_find(const struct mirror_view *from, const struct match_key *key, int first, int found[2])
{
	struct match_key k = *key;

	for (__u8 direction = 0; direction < 2; direction++) {
		int i;

		k.direction = direction;
		i = from->n ? match_first(&from->set->match, &k) : -1;
		found[direction] = i < 0 || i >= from->n ? -1 : first + i;
	}
}

/* The place is behind the others, and counts if it has such filters. */
static int filters_read(const struct walk *w, const struct mirror_view *from, struct mirror_look_all *v)
{
	const char *dev = v->place[v->places].iface;
	int err = 0, before = v->filters;
	struct mirror_look_filter *more;

	more = reallocarray(v->filter, (size_t)(v->filters + from->n) + 1, sizeof(*more));
	if (!more)
		return fail_errno(-ENOMEM, "the filters of %s", dev);
	v->filter = more;
	for (int i = 0; !err && i < from->n; i++)
		err = filter_add(w, from, i, v);
	if (err)
		return fail_errno(err, "the filters of %s", dev);
	if (w->key)
		filter_find(from, w->key, before, v->place[v->places].found);
	v->places += v->filters > before;
	return 0;
}

static int place_look(const struct walk *w, int number, const struct mirror_view *from, const struct iface *iface,
		      struct mirror_look_place *p)
{
	unsigned directions = from->n ? mirror_directions(from->set->filter, from->n) : 0;
	int err = 0;

	for (int i = 0; !err && i < 2; i++) {
		p->look[i] = MIRROR_IS_ON;
		if (directions & 1u << i)
			err = look(w, iface, i ? HOOK_TC_EGRESS : HOOK_TC_INGRESS, number, &p->look[i]);
	}
	return err;
}

static int place_read(struct walk *w, int number, struct mirror_look_all *v)
{
	const struct mirror_place *place = &w->m->place[number];
	auto_mirror_view struct mirror_view from = MIRROR_VIEW_INIT;
	struct mirror_look_place *more = reallocarray(v->place, (size_t)v->places + 1, sizeof(*more)), *p;
	struct iface iface;
	int ret, err;

	if (!more)
		return fail_errno(-ENOMEM, "the interfaces");
	v->place = more;
	p = &more[v->places];
	*p = (struct mirror_look_place){ .since = place->since, .look = { MIRROR_IS_GONE, MIRROR_IS_GONE } };
	ret = iface_look(w, place->netns, place->ifindex, place->name, &iface, p->dev);
	memcpy(p->iface, iface.name, sizeof(p->iface));
	if (ret < 0 || (w->dev && strcmp(p->iface, w->dev)))
		return ret < 0 ? ret : 0;
	w->is_dev = true;
	err = mirror_view_open(w->m, number, &from);
	if (err == -EPERM && !w->key) {
		memcpy(v->blind, p->iface, sizeof(v->blind));
		return 0;
	}
	if (err)
		return mirror_fail(err, p->iface);
	if (ret)
		err = place_look(w, number, &from, &iface, p);
	return err ? err : filters_read(w, &from, v);
}

static int places_order(const struct walk *w, int order[MIRROR_PLACES])
{
	int n = 0;

	for (int i = 0; i < MIRROR_PLACES; i++) {
		const struct mirror_place *p = &w->m->place[i];
		int at = n;

		if (!p->since || p->netns != w->here.id)
			continue;
		for (; at && strncmp(w->m->place[order[at - 1]].name, p->name, sizeof(p->name)) > 0; at--)
			order[at] = order[at - 1];
		order[at] = i;
		n++;
	}
	return n;
}

static int places_read(struct walk *w, struct mirror_look_all *v)
{
	int order[MIRROR_PLACES], n = places_order(w, order), err = 0;

	for (int i = 0; !err && i < n; i++)
		err = place_read(w, order[i], v);
	return err;
}

/* Of the targets those that filters of the interface asked for send to. */
static void targets_keep(struct mirror_look_all *v)
{
	int to[MIRROR_TARGETS], n = 0;

	for (int i = 0; i < v->targets; i++) {
		to[i] = v->target[i].filters ? n : -1;
		if (v->target[i].filters)
			v->target[n++] = v->target[i];
	}
	for (int i = 0; i < v->filters; i++)
		if (v->filter[i].target >= 0)
			v->filter[i].target = to[v->filter[i].target];
	v->targets = n;
}

/* As the kernel function does it: both copies of all targets, in whichever network namespace. A
 * copy that was never in use has no address. */
static bool is_collector(const struct mirror *m, int number, const __u64 addr[2])
{
	for (int copy = 0; copy < 2 && (addr[0] | addr[1]); copy++) {
		const __u32 *to = m->target[number + copy * MIRROR_TARGETS].to;

		if (((__u64)be32toh(to[0]) << 32 | be32toh(to[1])) == addr[0] &&
		    ((__u64)be32toh(to[2]) << 32 | be32toh(to[3])) == addr[1])
			return true;
	}
	return false;
}

static void collector_find(const struct walk *w, struct mirror_look_all *v)
{
	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(w->m, i);

		if (t && (is_collector(w->m, i, w->key->src) || is_collector(w->m, i, w->key->dst)))
			memcpy(v->collector, t->name, sizeof(v->collector));
	}
}

static int check_dev(const struct walk *w)
{
	struct iface iface;
	int err = w->dev && !w->is_dev ? iface_by_name(w->dev, &iface) : 0;

	return err ? fail(err, "%s: is no interface of this network namespace, and has no filters", w->dev) : 0;
}

static int all_read(struct walk *w, struct mirror_look_all *v)
{
	auto_fd int way = kf_map(w->b, MIRROR_KF, "way");
	int err;

	if (way < 0)
		return fail_errno(way, "%s/kf/%s/way", w->b->dir, MIRROR_KF);
	w->way = way;
	v->read_us = run_now_us();
	if (w->key)
		collector_find(w, v);
	err = targets_read(w, v);
	return err ? err : places_read(w, v);
}

static int look_read(const struct run *run, const char *dev, const char *target, const struct match_key *key,
		     struct mirror_look_all *v)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_mirror struct mirror m = MIRROR_INIT;
	struct walk w = { .b = &b, .m = &m, .dev = dev, .target = target, .key = key };
	int ret = netns_self(&w.here);

	*v = (struct mirror_look_all)MIRROR_LOOK_INIT;
	if (ret)
		return fail_errno(ret, "this network namespace");
	ret = bpffs_open(run, BPFFS_READ, &b);
	if (!ret)
		ret = mirror_open(run, &b, false, &m);
	if (ret < 0)
		return ret;
	if (!ret && target)
		return no_target(target);
	ret = ret ? all_read(&w, v) : 0;
	if (!ret)
		ret = check_dev(&w);
	if (!ret && dev)
		targets_keep(v);
	return ret;
}

int mirror_look_read(const struct run *run, const char *dev, const char *target, struct mirror_look_all *v)
{
	return look_read(run, dev, target, NULL, v);
}

int mirror_look_probe(const struct run *run, const char *dev, const struct match_key *key, struct mirror_look_all *v)
{
	return look_read(run, dev, NULL, key, v);
}

/*
 * Differences.
 */
int mirror_look_copy(const struct mirror_look_all *v, struct mirror_look_all *to)
{
	size_t targets = (size_t)v->targets * sizeof(*v->target), places = (size_t)v->places * sizeof(*v->place),
	       filters = (size_t)v->filters * sizeof(*v->filter);

	*to = *v;
	to->target = malloc(targets + 1);
	to->place = malloc(places + 1);
	to->filter = malloc(filters + 1);
	if (!to->target || !to->place || !to->filter)
		return fail_errno(-ENOMEM, "the counters");
	if (targets)
		memcpy(to->target, v->target, targets);
	if (places)
		memcpy(to->place, v->place, places);
	if (filters)
		memcpy(to->filter, v->filter, filters);
	return 0;
}

/* What was made anew within a second looks like what was there before. */
static __u64 more_than(__u64 now, __u64 before)
{
	return now > before ? now - before : 0;
}

static void stat_subtract(struct mirror_stat *s, const struct mirror_stat *before)
{
	s->packets = more_than(s->packets, before->packets);
	s->octets = more_than(s->octets, before->octets);
	s->sent = more_than(s->sent, before->sent);
	s->sent_octets = more_than(s->sent_octets, before->sent_octets);
	s->cut = more_than(s->cut, before->cut);
	s->fitted = more_than(s->fitted, before->fitted);
	for (int i = 0; i < MIRROR_CAUSES; i++)
		s->not_sent[i] = more_than(s->not_sent[i], before->not_sent[i]);
}

static bool is_same_filter(const struct mirror_look_all *v, const struct mirror_look_filter *f,
			   const struct mirror_look_all *w, const struct mirror_look_filter *g)
{
	const struct mirror_look_place *p = &v->place[f->place], *q = &w->place[g->place];

	return f->rec.number == g->rec.number && f->rec.stat == g->rec.stat && p->since == q->since &&
	       !strcmp(p->iface, q->iface);
}

void mirror_look_subtract(struct mirror_look_all *v, const struct mirror_look_all *before)
{
	for (int i = 0; i < v->targets; i++)
		for (int j = 0; j < before->targets; j++)
			if (!strcmp(v->target[i].rec.name, before->target[j].rec.name) &&
			    v->target[i].rec.since == before->target[j].rec.since)
				stat_subtract(&v->target[i].stat, &before->target[j].stat);
	/* both in the same order: what is looked for is not before what was found last */
	for (int i = 0, from = 0; i < v->filters; i++)
		for (int j = from; j < before->filters; j++)
			if (is_same_filter(v, &v->filter[i], before, &before->filter[j])) {
				stat_subtract(&v->filter[i].stat, &before->filter[j].stat);
				from = j + 1;
				break;
			}
}

/*
 * Words.
 */
struct words {
	char *buf;
	size_t used;
};

__attribute__((format(printf, 2, 3)))
static void words_add(struct words *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (w->used < MIRROR_WORDS)
		w->used += (size_t)vsnprintf(w->buf + w->used, MIRROR_WORDS - w->used, fmt, args);
	va_end(args);
}

const struct mirror_look_part mirror_look_parts[] = {
	{ "src", mirror_format_src }, { "dst", mirror_format_dst }, { "proto", mirror_format_proto },
	{ "sport", mirror_format_sport }, { "dport", mirror_format_dport }, { "flags", mirror_format_flags },
	{ "vlan", mirror_format_vlan }, { 0 },
};

const char *mirror_look_part(const struct mirror_look_part *part, const struct match_rule *r, char buf[MIRROR_TEXT])
{
	return strcmp(part->format(r, buf), "any") ? buf : NULL;
}

static void words_rule(struct words *w, const struct match_rule *r)
{
	char text[MIRROR_TEXT];

	if (r->directions != 3)
		words_add(w, " direction %s", mirror_format_direction(r, text));
	for (const struct mirror_look_part *part = mirror_look_parts; part->word; part++)
		if (mirror_look_part(part, r, text))
			words_add(w, " %s %s", part->word, text);
}

const char *mirror_look_filter_words(const struct mirror_look_all *v, const struct mirror_look_filter *f,
				     char buf[MIRROR_WORDS])
{
	struct words w = { .buf = buf };
	char text[MIRROR_TEXT];

	words_add(&w, "%u dev %s", f->rec.number, v->place[f->place].iface);
	words_rule(&w, &f->rec.rule);
	words_add(&w, " action %s", mirror_action_words[f->rec.action == MIRROR_REJECT]);
	if (f->target >= 0)
		words_add(&w, " to %s", v->target[f->target].rec.name);
	if (f->rec.snaplen)
		words_add(&w, " snaplen %s", mirror_format_snaplen(&f->rec, text));
	if (f->rec.sample > 1)
		words_add(&w, " sample %s", mirror_format_sample(&f->rec, text));
	if (f->rec.sample > 1 && f->rec.sample_by == MIRROR_BY_FLOW)
		words_add(&w, " by flow");
	return buf;
}

const char *mirror_look_target_words(const struct mirror_look_target *t, char buf[MIRROR_WORDS])
{
	struct words w = { .buf = buf };
	char text[MIRROR_TEXT];

	words_add(&w, "%s dev %s to %s", t->rec.name, t->iface, mirror_format_to(&t->rec, text));
	words_add(&w, " encap %s", mirror_encap_words[t->rec.encap == MIRROR_VXLAN]);
	if (t->rec.encap == MIRROR_GUE)
		words_add(&w, " variant %u", t->rec.variant);
	if (t->rec.encap == MIRROR_VXLAN)
		words_add(&w, " vni %u", t->rec.vni);
	words_add(&w, " source %s", mirror_format_source(&t->rec, text));
	words_add(&w, " gateway %s", mirror_format_gateway(&t->rec, text));
	words_add(&w, " cap %s", mirror_format_cap(&t->rec, text));
	words_add(&w, " udp-csum %s", t->rec.has_checksum ? "on" : "off");
	return buf;
}

/*
 * Repairs.
 */
static const char *repair(char buf[MIRROR_WORDS], const char *command, const char *words)
{
	char copy[MIRROR_WORDS];

	snprintf(copy, sizeof(copy), "%s", words);
	snprintf(buf, MIRROR_WORDS, "%s %.480s", command, copy);
	return buf;
}

static const char *repair_link(char buf[MIRROR_WORDS], const char *iface)
{
	snprintf(buf, MIRROR_WORDS, "ip link set %s up", iface);
	return buf;
}

const char *mirror_look_repair_filter(const struct mirror_look_all *v, const struct mirror_look_filter *f,
				      char buf[MIRROR_WORDS])
{
	switch (f->look) {
	case MIRROR_IS_DETACHED:
		return repair(buf, "l3afctl mirror filter add", mirror_look_filter_words(v, f, buf));
	case MIRROR_IS_DOWN:
		return repair_link(buf, v->place[f->place].iface);
	case MIRROR_IS_GONE:
		return repair(buf, "l3afctl mirror filter flush dev", v->place[f->place].iface);
	default:
		return NULL;
	}
}

/* Where its interface is gone, there may be another one of its name. */
const char *mirror_look_repair_target(const struct mirror_look_target *t, char buf[MIRROR_WORDS])
{
	struct iface iface;

	switch (t->look) {
	case MIRROR_IS_DETACHED:
	case MIRROR_IS_STRAY:
		return repair(buf, "l3afctl mirror target add", mirror_look_target_words(t, buf));
	case MIRROR_IS_DOWN:
		return repair_link(buf, t->iface);
	case MIRROR_IS_GONE:
		return iface_by_name(t->iface, &iface) ? NULL :
		       repair(buf, "l3afctl mirror target add", mirror_look_target_words(t, buf));
	default:
		return NULL;
	}
}
