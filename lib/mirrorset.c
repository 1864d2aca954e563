// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Filters of an interface: planned as a whole, and put before packets in one step. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "matcher.h"
#include "mirrormaps.h"
#include "mirrors.h"
#include "out.h"

#define NUMBER_MOST 65535
#define NUMBER_STEP 10

/* The filters of an interface, in their order: room for those that are there and those that
 * take their place. */
struct plan {
	struct mirror_filter f[2 * MIRROR_FILTERS];
	int n;
};

/* A change of one interface's filters. */
struct job {
	const struct run *run;
	struct mirror *m;
	struct chain_id at;      /* of the interface; hook is not used */
	bool is_gone;            /* the interface */
	int place;               /* -1: it has none yet */
	bool is_published;       /* the plan; it was what is in now until then */
	struct mirror_view now;
	struct plan plan;
};
static void job_free(struct job **j)
{
	if (*j)
		mirror_view_close(&(*j)->now);
	free(*j);
}
#define auto_job __attribute__((cleanup(job_free)))

static int job_fail(const struct job *j, int err)
{
	return mirror_fail(err, j->at.iface.name);
}

/*
 * What is said of a change.
 */
struct field {
	const char *key, *none; /* what is not said of a new one */
	const char *(*rule)(const struct match_rule *r, char buf[MIRROR_TEXT]);
	const char *(*filter)(const struct mirror_filter *f, char buf[MIRROR_TEXT]);
};

static const char *action_text(const struct mirror_filter *f, char buf[MIRROR_TEXT])
{
	(void)buf;
	return mirror_action_words[f->action];
}

static const char *by_text(const struct mirror_filter *f, char buf[MIRROR_TEXT])
{
	(void)buf;
	return mirror_sample_words[f->sample_by];
}

static const struct field fields[] = {
	{ "direction", "", mirror_format_direction, NULL }, { "src", "any", mirror_format_src, NULL },
	{ "dst", "any", mirror_format_dst, NULL }, { "proto", "any", mirror_format_proto, NULL },
	{ "sport", "any", mirror_format_sport, NULL }, { "dport", "any", mirror_format_dport, NULL },
	{ "flags", "any", mirror_format_flags, NULL }, { "vlan", "any", mirror_format_vlan, NULL },
	{ "action", "", NULL, action_text }, { "to", "none", NULL, NULL },
	{ "snaplen", "all", NULL, mirror_format_snaplen }, { "sample", "1/1", NULL, mirror_format_sample },
	{ "by", "packet", NULL, by_text },
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

static const char *to_text(const struct mirror *m, const struct mirror_filter *f, char buf[MIRROR_TEXT])
{
	const struct mirror_target *t = f->action == MIRROR_ACCEPT ? mirror_target_get(m, f->target) : NULL;

	snprintf(buf, MIRROR_TEXT, "%.15s", t ? t->name : "none");
	return buf;
}

static const char *field_text(const struct mirror *m, const struct field *field, const struct mirror_filter *f,
			      char buf[MIRROR_TEXT])
{
	if (field->rule)
		return field->rule(&f->rule, buf);
	return field->filter ? field->filter(f, buf) : to_text(m, f, buf);
}

static void note_head(const struct run *run, char op, const char *dev, __u32 number)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", number);
	change_add(run->changes, op, "mirror filter", text);
	change_str(run->changes, "dev", "%s", dev);
}

/* now NULL: it is new. */
static void note(const struct job *j, const struct mirror_filter *now, const struct mirror_filter *f)
{
	char a[MIRROR_TEXT], b[MIRROR_TEXT];

	note_head(j->run, now ? '~' : '+', j->at.iface.name, f->number);
	for (size_t i = 0; i < FIELDS; i++) {
		const char *will_be = field_text(j->m, &fields[i], f, b);
		const char *is = now ? field_text(j->m, &fields[i], now, a) : fields[i].none;

		if (!strcmp(is, will_be))
			continue;
		if (now)
			change_from_str(j->run->changes, fields[i].key, is, will_be);
		else
			change_str(j->run->changes, fields[i].key, "%s", will_be);
	}
}

/*
 * The plan.
 */
/* The filter with this number, or -1 - where it would be. */
static int plan_find(const struct plan *p, __u32 number)
{
	int low = 0, high = p->n;

	while (low < high) {
		int middle = (low + high) / 2;

		if (p->f[middle].number == number)
			return middle;
		if (p->f[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return -1 - low;
}

static bool is_same(const struct mirror_filter *a, const struct mirror_filter *b)
{
	return !memcmp(&a->rule, &b->rule, sizeof(a->rule)) && a->action == b->action && a->target == b->target &&
	       a->snaplen == b->snaplen && a->sample == b->sample && a->sample_by == b->sample_by;
}

static int find_same(const struct plan *p, const struct mirror_filter *f)
{
	for (int i = 0; i < p->n; i++)
		if (is_same(&p->f[i], f))
			return i;
	return -1;
}

/* The target that is meant by "". */
static int only_target(const struct job *j)
{
	int found = -1, n = 0;

	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(j->m, i);

		if (t && t->netns == j->at.netns.id) {
			found = i;
			n++;
		}
	}
	if (n == 1)
		return found;
	if (n)
		return fail(-E_USAGE, "there are %d targets; give one: to TARGET", n);
	return fail(-E_USAGE, "there is no target yet; l3afctl mirror target add makes one");
}

static int target_of(const struct job *j, const struct mirror_filter_want *w)
{
	int number;

	if (!w->target[0])
		return only_target(j);
	number = mirror_target_find(j->m, &j->at.netns, w->target);
	return number >= 0 ? number : fail(-E_USAGE, "to %s: there is no such target; l3afctl mirror target add %s "
					   "makes it", w->target, w->target);
}

static int number_next(const struct job *j)
{
	const struct plan *p = &j->plan;
	__u32 last = p->n ? p->f[p->n - 1].number : 0;

	if (last >= NUMBER_MOST)
		return fail(-E_USAGE, "%s: filter %u is the last one that there can be; give a number below it",
			    j->at.iface.name, last);
	return (int)(last + NUMBER_STEP > NUMBER_MOST ? NUMBER_MOST : last + NUMBER_STEP);
}

static int plan_insert(struct job *j, int at, const struct mirror_filter *f)
{
	struct plan *p = &j->plan;

	if (p->n == 2 * MIRROR_FILTERS)
		return -E2BIG;
	memmove(&p->f[at + 1], &p->f[at], sizeof(*f) * (size_t)(p->n - at));
	p->f[at] = *f;
	p->n++;
	return at;
}

static void plan_drop(struct plan *p, int at)
{
	p->n--;
	memmove(&p->f[at], &p->f[at + 1], sizeof(p->f[0]) * (size_t)(p->n - at));
}

/* Where it is in the plan, or an error, printed. */
static int plan_take(struct job *j, const struct mirror_filter_want *w)
{
	struct mirror_filter f = w->filter;
	int number = (int)f.number, target = f.action == MIRROR_ACCEPT ? target_of(j, w) : 0, at;

	if (target < 0)
		return target;
	f.target = (__u8)target;
	if (!number) {
		at = find_same(&j->plan, &f);
		if (at >= 0)
			return at;
		number = number_next(j);
		if (number < 0)
			return number;
	}
	f.number = (__u32)number;
	at = plan_find(&j->plan, f.number);
	if (at < 0)
		return plan_insert(j, -1 - at, &f);
	f.since = j->plan.f[at].since;
	f.stat = j->plan.f[at].stat;
	j->plan.f[at] = f;
	return at;
}

/*
 * Checking.
 */
static int check_rule(const struct mirror_filter *f)
{
	const struct match_rule *r = &f->rule;
	bool has_ports = r->sport[1] || r->dport[1];
	char text[MIRROR_TEXT];

	if (r->flags_mask && r->has_proto && r->proto != IPPROTO_TCP)
		return fail(-E_USAGE, "flags: %s has none, TCP has", mirror_format_proto(r, text));
	if (has_ports && r->has_proto && !proto_has_ports(r->proto))
		return fail(-E_USAGE, "%s: %s has no ports", r->sport[1] ? "sport" : "dport", mirror_format_proto(r, text));
	return 0;
}

static int check(const struct mirror_filter_want *w)
{
	const struct mirror_filter *f = &w->filter;

	if (f->number > NUMBER_MOST)
		return fail(-E_USAGE, "filter %u: is not a number in 1..%d", f->number, NUMBER_MOST);
	if (f->action == MIRROR_REJECT && (w->target[0] || f->snaplen || f->sample > 1 || f->sample_by))
		return fail(-E_USAGE, "%s: what is rejected is not sent; it goes with action accept",
			    w->target[0] ? "to" : f->snaplen ? "snaplen" : f->sample > 1 ? "sample" : "by");
	if (f->sample <= 1 && f->sample_by)
		return fail(-E_USAGE, "by flow: goes with sample 1/N, N > 1");
	return check_rule(f);
}

/* Equal filters are equal octet by octet. */
static struct mirror_filter_want complete(const struct mirror_filter_want *w)
{
	struct mirror_filter_want c = *w;
	struct match_rule *r = &c.filter.rule;

	if (!r->directions)
		r->directions = 3;
	if (r->flags_mask) {
		r->has_proto = 1;
		r->proto = IPPROTO_TCP;
	}
	if (!c.filter.sample)
		c.filter.sample = 1;
	return c;
}

/*
 * Before packets.
 */
static const struct match_rule *rule_at(int i, void *arg)
{
	const struct plan *p = arg;

	return &p->f[i].rule;
}

static int set_build(struct job *j)
{
	struct plan *p = &j->plan;
	auto_mirror_set struct mirror_set *set = NULL;
	auto_fd int fd = mirror_set_make(&set);
	int err = fd < 0 ? fd : match_compile(rule_at, p, p->n, &set->match);

	if (err == -E2BIG)
		return fail(err, "%s: so many different filters do not fit", j->at.iface.name);
	if (err)
		return job_fail(j, err);
	memcpy(set->filter, p->f, sizeof(p->f[0]) * (size_t)p->n);
	return take_fd(&fd);
}

/* New filters get counters of their own, from zero: such as no packet counts in now. */
static int stats_take(struct job *j)
{
	bool is_used[MIRROR_STATS] = { false };
	auto_mirror_view struct mirror_view v = MIRROR_VIEW_INIT;
	int err = mirror_view_open(j->m, j->place, &v), next = 0;

	for (int i = 0; !err && i < v.n; i++)
		is_used[v.set->filter[i].stat % MIRROR_STATS] = true;
	for (int i = 0; !err && i < j->plan.n; i++) {
		struct mirror_filter *f = &j->plan.f[i];

		if (f->since)
			continue;
		while (is_used[next])
			next++;
		f->since = (__u64)time(NULL);
		f->stat = (__u16)next++;
		err = mirror_stat_zero(v.stats, f->stat);
	}
	return err ? job_fail(j, err) : 0;
}

static void changing(struct job *j, bool is)
{
	__atomic_store_n(&j->m->place[j->place].is_changing, is, __ATOMIC_SEQ_CST);
}

static int place_take(struct job *j)
{
	if (j->place < 0) {
		j->place = mirror_place_new(j->m, &j->at);
		if (j->place == -E2BIG)
			return fail(j->place, "%d interfaces have filters, no more can", MIRROR_PLACES);
		return j->place < 0 ? job_fail(j, j->place) : 0;
	}
	changing(j, true);
	if (!j->is_gone && strncmp(j->m->place[j->place].name, j->at.iface.name, NAME_LEN)) /* renamed */
		memcpy(j->m->place[j->place].name, j->at.iface.name, NAME_LEN);
	return 0;
}

static unsigned directions_of(const struct job *j, bool is_plan)
{
	if (is_plan)
		return mirror_directions(j->plan.f, j->plan.n);
	return j->now.n ? mirror_directions(j->now.set->filter, j->now.n) : 0;
}

/* Members of a direction are there before its filters, and go after them: the set alone says
 * what happens to packets. */
static int members_set(const struct run *run, struct job *j, unsigned in, unsigned out)
{
	return j->is_gone || !(in | out) ? 0 : mirror_members_set(run, j->m, &j->at.iface, in, out);
}

static int publish(struct job *j)
{
	auto_fd int set = -1;
	unsigned is = directions_of(j, false), will_be = directions_of(j, true);
	int err = stats_take(j);

	if (err)
		return err;
	set = set_build(j);
	if (set < 0)
		return set;
	err = members_set(j->run, j, will_be, 0);
	if (err)
		return err;
	err = mirror_set_publish(j->m, j->place, set);
	if (err)
		return job_fail(j, err);
	j->is_published = true;
	return members_set(j->run, j, 0, is & ~will_be);
}

/* After a failure all is as it was: for packets first, then members, and the place. What cannot be
 * undone now, the next change undoes. */
static void undo(struct job *j)
{
	auto_silence struct mirror_silence silent = { .changes = NULL };
	unsigned was = directions_of(j, false);

	if (mirror_silence(j->run, &silent))
		return;
	if (members_set(&silent.run, j, j->is_published ? was : 0, 0))
		return;
	if (j->is_published && j->now.n && mirror_set_publish(j->m, j->place, j->now.map))
		return;
	if (members_set(&silent.run, j, 0, 3 & ~was))
		return;
	if (j->now.n)
		changing(j, false);
	else if (mirror_place_free(j->m, j->place))
		warn("%s: a place without filters stays; the next change removes it", j->at.iface.name);
}

/* The changes of the chains alone. */
static int rehearse(struct job *j, bool is_changed)
{
	unsigned is = directions_of(j, false), will_be = directions_of(j, true);
	int err = members_set(j->run, j, will_be, is_changed ? 0 : 3 & ~will_be);

	return err || !is_changed ? err : members_set(j->run, j, 0, is & ~will_be);
}

static int carry_out(struct job *j, bool is_changed)
{
	int err;

	if (j->run->dry_run)
		return rehearse(j, is_changed);
	err = place_take(j);
	if (err)
		return err;
	err = is_changed ? publish(j) : members_set(j->run, j, directions_of(j, true), 3 & ~directions_of(j, true));
	if (err && is_changed)
		undo(j);
	if (err)
		return err;
	if (j->plan.n)
		changing(j, false);
	else if (mirror_place_free(j->m, j->place))
		warn("%s: its place stays; the next change frees it", j->at.iface.name);
	return 0;
}

/* Does anything change? Says what. */
static bool compare(const struct job *j)
{
	const struct plan *p = &j->plan;
	bool is_changed = false;
	int i = 0, k = 0;

	while (i < j->now.n || k < p->n) {
		const struct mirror_filter *is = i < j->now.n ? &j->now.set->filter[i] : NULL;
		const struct mirror_filter *will_be = k < p->n ? &p->f[k] : NULL;
		bool is_out = is && (!will_be || is->number < will_be->number);
		bool is_in = will_be && (!is || will_be->number < is->number);

		if (is_out)
			note_head(j->run, '-', j->at.iface.name, is->number);
		else if (is_in || !is_same(is, will_be))
			note(j, is_in ? NULL : is, will_be);
		is_changed |= is_out || is_in || !is_same(is, will_be);
		i += !is_in;
		k += !is_out;
	}
	return is_changed;
}

static int job_run(struct job *j)
{
	bool is_changed = compare(j);

	return j->place < 0 && !j->plan.n ? 0 : carry_out(j, is_changed);
}

/*
 * Opening.
 */
static int job_new(const struct run *run, struct mirror *m, const struct netns *here, int place, struct job **job)
{
	struct job *j = calloc(1, sizeof(*j));
	int err;

	*job = j;
	if (!j)
		return fail_errno(-ENOMEM, MIRROR_KF);
	j->run = run;
	j->m = m;
	j->at.netns = *here;
	j->place = place;
	j->now = (struct mirror_view)MIRROR_VIEW_INIT;
	if (place < 0)
		return 0;
	err = mirror_view_open(m, place, &j->now);
	if (err)
		return mirror_fail(err, m->place[place].name);
	j->plan.n = j->now.n;
	if (j->now.n)
		memcpy(j->plan.f, j->now.set->filter, sizeof(j->plan.f[0]) * (size_t)j->now.n);
	return 0;
}

/* All filters of a place go, whose interface may be no more. */
static int place_flush(const struct run *run, struct mirror *m, const struct netns *here, int place)
{
	auto_job struct job *j = NULL;
	const struct mirror_place *p = &m->place[place];
	char text[MIRROR_TEXT];
	int err = job_new(run, m, here, place, &j);

	if (err)
		return err;
	err = iface_by_index((int)p->ifindex, &j->at.iface);
	if (err && err != -ENODEV)
		return fail_errno(err, "interface %u", p->ifindex);
	j->is_gone = err;
	if (j->is_gone)
		snprintf(j->at.iface.name, sizeof(j->at.iface.name), "%.15s", p->name);
	j->plan.n = 0;
	mirror_format_dev(here, p->netns, p->ifindex, p->name, text);
	for (int i = 0; i < j->now.n; i++)
		note_head(run, '-', text, j->now.set->filter[i].number);
	return carry_out(j, j->now.n);
}

/* Those of interfaces that had this name and are no more. -ENOENT: there are none. */
static int gone_flush(const struct run *run, struct mirror *m, const struct netns *here, const char *name)
{
	int err = 0, n = 0;

	for (int i = 0; !err && m->config && i < MIRROR_PLACES; i++) {
		const struct mirror_place *p = &m->place[i];

		if (!p->since || strncmp(p->name, name, sizeof(p->name)) || !mirror_is_gone(here, p->netns, p->ifindex))
			continue;
		err = place_flush(run, m, here, i);
		n++;
	}
	return err ? err : n ? 0 : -ENOENT;
}

/* m is open or not there. */
static int job_open(const struct run *run, struct mirror *m, const struct iface *dev, struct job **job)
{
	struct netns here;
	int err = netns_self(&here);

	if (err)
		return fail_errno(err, "this network namespace");
	err = job_new(run, m, &here, mirror_place_find(m, &here, dev->index), job);
	if (!err)
		(*job)->at.iface = *dev;
	return err;
}

static int check_iface(const struct iface *dev)
{
	int is = iface_is_ethernet(dev);

	if (is < 0)
		return fail_errno(is, "%s", dev->name);
	return is ? 0 : fail(-EOPNOTSUPP, "%s: its packets have no Ethernet header, they cannot be mirrored", dev->name);
}

/*
 * The verbs.
 */
static int take_all(struct job *j, const struct mirror_filter_want *want, int n, bool is_all)
{
	auto_free bool *is_wanted = calloc(NUMBER_MOST + 1, sizeof(*is_wanted));

	if (!is_wanted)
		return fail_errno(-ENOMEM, "%s", j->at.iface.name);
	for (int i = 0; i < n; i++) {
		const struct mirror_filter_want w = complete(&want[i]);
		int at = plan_take(j, &w);

		if (at == -E2BIG)
			return fail(at, "%s has %d filters, no more fit", j->at.iface.name, MIRROR_FILTERS);
		if (at < 0)
			return at;
		is_wanted[j->plan.f[at].number] = true;
	}
	for (int i = j->plan.n - 1; is_all && i >= 0; i--)
		if (!is_wanted[j->plan.f[i].number])
			plan_drop(&j->plan, i);
	return j->plan.n > MIRROR_FILTERS ? fail(-E2BIG, "%s has %d filters, no more fit", j->at.iface.name,
						 MIRROR_FILTERS) : 0;
}

int mirror_filters_set(const struct run *run, const struct bpffs *b, const struct iface *dev,
		       const struct mirror_filter_want *want, int n, bool is_all)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	auto_job struct job *j = NULL;
	int ret, err = check_iface(dev);

	for (int i = 0; !err && i < n; i++)
		err = check(&want[i]);
	if (err)
		return err;
	ret = mirror_open(run, b, true, &m);
	if (ret < 0)
		return ret;
	err = job_open(run, &m, dev, &j);
	if (!err)
		err = take_all(j, want, n, is_all);
	if (!err && j->plan.n && !run->dry_run)
		err = mirror_make(b, &m);
	if (!err)
		err = job_run(j);
	if (!err) {
		err = gone_flush(run, &m, &j->at.netns, dev->name);
		err = err == -ENOENT ? 0 : err;
	}
	ret = m.config ? mirror_remove_unused(run, &m) : 0;
	return err ? err : ret;
}

int mirror_filter_remove(const struct run *run, const struct bpffs *b, const struct iface *dev, __u32 number)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	auto_job struct job *j = NULL;
	int at, ret = mirror_open(run, b, true, &m), err;

	if (ret <= 0)
		return ret;
	err = job_open(run, &m, dev, &j);
	if (err)
		return err;
	at = plan_find(&j->plan, number);
	if (at >= 0) {
		plan_drop(&j->plan, at);
		err = job_run(j);
	}
	return err ? err : mirror_remove_unused(run, &m);
}

static int all_flush(const struct run *run, struct mirror *m, const struct netns *here)
{
	int err = 0;

	for (int i = 0; !err && m->config && i < MIRROR_PLACES; i++)
		if (m->place[i].since && m->place[i].netns == here->id)
			err = place_flush(run, m, here, i);
	return err ? err : mirror_orphans_out(run, m, NULL);
}

/* Of the interface of this name, and of those that had it. */
static int named_flush(const struct run *run, struct mirror *m, const struct netns *here, const char *name)
{
	struct iface dev;
	int has = iface_by_name(name, &dev), err, place;

	if (has && has != -ENODEV)
		return fail_errno(has, "%s", name);
	err = gone_flush(run, m, here, name);
	if (err == -ENOENT && has)
		return fail(-E_USAGE, "dev %s: is not an interface of this network namespace, and was none with filters",
			    name);
	if (err && err != -ENOENT)
		return err;
	if (has)
		return 0;
	place = mirror_place_find(m, here, dev.index);
	err = place < 0 ? 0 : place_flush(run, m, here, place);
	return err ? err : mirror_orphans_out(run, m, &dev);
}

int mirror_filters_flush(const struct run *run, const struct bpffs *b, const char *dev)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	struct netns here;
	int ret = mirror_open(run, b, true, &m), err;

	if (ret < 0)
		return ret;
	err = netns_self(&here);
	if (err)
		return fail_errno(err, "this network namespace");
	err = dev ? named_flush(run, &m, &here, dev) : all_flush(run, &m, &here);
	ret = m.config ? mirror_remove_unused(run, &m) : 0;
	return err ? err : ret;
}
