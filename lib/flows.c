/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chain.h"
#include "chainstate.h"
#include "cleanup.h"
#include "flows.h"
#include "kf.h"
#include "out.h"

const char *const flow_direction_words[] = { "ingress", "egress", NULL };

static enum hook hook_of(int direction)
{
	return direction == FLOW_INGRESS ? HOOK_TC_INGRESS : HOOK_TC_EGRESS;
}

/*
 * Members of chains that count flows.
 */
struct running {
	struct chain_id at;
	int direction;
	char instance[NAME_LEN];
	__u32 prog_id;
};
struct runnings {
	struct running *r;
	int n;
	bool is_short_of_memory;
};
#define auto_runnings __attribute__((cleanup(runnings_free)))
static void runnings_free(struct runnings *all) { free(all->r); }

static int running_add(const struct chain_row *row, void *arg)
{
	struct runnings *all = arg;
	struct running *more;

	if (!row->member || !row->member->prog_id || strcmp(row->member->name, FLOW_KF) || row->id.hook == HOOK_XDP)
		return 0;
	more = reallocarray(all->r, (size_t)all->n + 1, sizeof(*more));
	if (!more)
		return fail_errno(-ENOMEM, "%s", row->id.iface.name);
	all->r = more;
	more[all->n] = (struct running){
		.at = row->id,
		.direction = row->id.hook == HOOK_TC_EGRESS,
		.prog_id = row->member->prog_id,
	};
	memcpy(more[all->n++].instance, row->member->instance, NAME_LEN);
	return 0;
}

/* Those of one interface, or (NULL) of all of this network namespace. */
static int runnings_find(const struct bpffs *b, const struct iface *dev, struct runnings *all)
{
	return chain_walk(b, dev, HOOK_COUNT, running_add, all);
}

static const struct running *running_at(const struct runnings *all, int direction)
{
	for (int i = 0; i < all->n; i++)
		if (all->r[i].direction == direction)
			return &all->r[i];
	return NULL;
}

/* The number of the place, or -1. */
static int place_find(const struct flowtable *t, const struct chain_id *at, int direction)
{
	for (int i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &t->place[i];

		if (p->ifindex == (__u32)at->iface.index && p->netns == at->netns.id && p->direction == direction)
			return i;
	}
	return -1;
}

/*
 * What is said of a change.
 */
static void note_instance(const struct run *run, char op, const char *instance)
{
	change_add(run->changes, op, "flows", NULL);
	change_str(run->changes, "instance", "%s", instance);
}

static void note_place(const struct run *run, char op, const struct chain_id *at, int direction, const char *instance)
{
	change_add(run->changes, op, "flows", NULL);
	change_str(run->changes, "dev", "%s", at->iface.name);
	change_str(run->changes, "direction", "%s", flow_direction_words[direction]);
	if (strcmp(instance, FLOW_KF))
		change_str(run->changes, "instance", "%s", instance);
}

static void note_sample(const struct run *run, __u64 from, __u64 to)
{
	char a[32], b[32];

	snprintf(a, sizeof(a), "1/%llu", from ? from : 1);
	snprintf(b, sizeof(b), "1/%llu", to);
	if (from)
		change_from_str(run->changes, "sample", a, b);
	else if (to > 1)
		change_str(run->changes, "sample", "%s", b);
}

static void note_duration(const struct run *run, const char *key, __u64 us)
{
	char text[32];

	change_str(run->changes, key, "%s", format_duration(us, text, sizeof(text)));
}

/*
 * The instance.
 */
static int instance_new(const struct run *run, const struct bpffs *b, const char *name,
			const struct flows_request *r, struct flowtable *t)
{
	const struct flow_settings s = {
		.max = r->max ? *r->max : FLOW_MAX_DEFAULT,
		.active_us = r->active_us ? *r->active_us : 0,
		.idle_us = r->idle_us ? *r->idle_us : FLOW_IDLE_DEFAULT_US,
	};
	int err;

	note_instance(run, '+', name);
	change_u64(run->changes, "max", s.max);
	note_duration(run, "active", s.active_us);
	note_duration(run, "idle", s.idle_us);
	if (run->dry_run)
		return 0;
	err = flowtable_make(b, name, &s);
	if (!err)
		err = flowtable_open(b, name, true, t);
	return err < 0 ? err : 0;
}

/* One setting; *is_noted: the change has been begun. */
static void duration_set(const struct run *run, const char *instance, const char *key, __u64 *field,
			 const __u64 *want, bool *is_noted)
{
	char from[32], to[32];

	if (!want || *want == *field)
		return;
	if (!*is_noted)
		note_instance(run, '~', instance);
	*is_noted = true;
	change_from_str(run->changes, key, format_duration(*field, from, sizeof(from)),
			format_duration(*want, to, sizeof(to)));
	if (!run->dry_run)
		__atomic_store_n(field, *want, __ATOMIC_RELAXED);
}

static int instance_change(const struct run *run, const struct flows_request *r, struct flowtable *t)
{
	bool is_noted = false;

	if (r->max && *r->max != t->max)
		return fail(-EEXIST, "instance %s has a table of max %u flows, which cannot change while it lives; "
			    "export what is in it, then l3afctl flows disable, and enable it with max %u",
			    t->instance, t->max, *r->max);
	duration_set(run, t->instance, "active", &t->config->active_us, r->active_us, &is_noted);
	duration_set(run, t->instance, "idle", &t->config->idle_us, r->idle_us, &is_noted);
	return 0;
}

/*
 * A place.
 */
static int place_change(const struct run *run, struct flowtable *t, const struct running *now, const __u64 *sample)
{
	int place = place_find(t, &now->at, now->direction);
	__u32 *field = place < 0 ? NULL : &t->place[place].sample;
	__u64 is = field && *field ? *field : 1;

	if (!sample || *sample == is || !field)
		return 0;
	note_place(run, '~', &now->at, now->direction, t->instance);
	note_sample(run, is, *sample);
	if (!run->dry_run)
		__atomic_store_n(field, (__u32)*sample, __ATOMIC_RELAXED);
	return 0;
}

/* The place's number and settings come first: from its first packet on all is right. */
static int place_new(const struct run *run, const struct bpffs *b, struct flowtable *t, const struct chain_id *at,
		     int direction, const char *instance, const __u64 *sample)
{
	struct chain_request req = {
		.name = FLOW_KF,
		.instance = instance,
		.position = direction == FLOW_INGRESS,
	};
	int place;

	note_place(run, '+', at, direction, instance);
	note_sample(run, 0, sample ? *sample : 1);
	if (!run->dry_run) {
		place = flowtable_place(t, at, at->iface.name);
		if (place < 0)
			return place;
		t->place[place].sample = sample ? (__u32)*sample : 1;
	}
	return chain_add(run, b, at, &req);
}

/* A member whose maps' pins were removed by hand counts for nobody: it is put in anew. */
static int is_stale(const struct running *now, const struct flowtable *t)
{
	return t->stats < 0 || !kf_runs_on(t->stats, now->prog_id);
}

static int enable_direction(const struct run *run, const struct bpffs *b, const struct flows_request *r,
			    const char *instance, const struct runnings *all, int direction, struct flowtable *t)
{
	const struct running *now = running_at(all, direction);
	struct chain_id at;
	int err = chain_id_init(&at, &r->dev, hook_of(direction));

	if (err)
		return err;
	if (now && !is_stale(now, t))
		return place_change(run, t, now, r->sample);
	if (now)
		err = chain_remove(run, b, &at, FLOW_KF);
	return err ? err : place_new(run, b, t, &at, direction, instance, r->sample);
}

static int check_instance(const struct runnings *all, const struct flows_request *r, const char *instance)
{
	for (int i = 0; i < all->n; i++)
		if (r->is_on[all->r[i].direction] && strcmp(all->r[i].instance, instance))
			return fail(-EEXIST, "flows on %s %s are counted by instance %s; l3afctl flows disable dev %s "
				    "first, or give instance %s", r->dev.name,
				    flow_direction_words[all->r[i].direction], all->r[i].instance, r->dev.name,
				    all->r[i].instance);
	return 0;
}

/* After a failure: an instance that was made for nothing goes again. */
static int undo_instance(const struct run *run, const struct bpffs *b, const char *instance, int err)
{
	if (!chain_instance_members(b, instance) && flowtable_remove(run, b, instance))
		warn("instance %s was made and stays; l3afctl flows disable removes it", instance);
	return err;
}

int flows_enable(const struct run *run, const struct bpffs *b, const struct flows_request *r)
{
	const char *instance = r->instance ? r->instance : FLOW_KF;
	auto_runnings struct runnings all = { 0 };
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int has, err = flow_check_iface(&r->dev);

	if (!err)
		err = runnings_find(b, &r->dev, &all);
	if (!err)
		err = check_instance(&all, r, instance);
	if (err)
		return err;
	has = flowtable_open(b, instance, !run->dry_run, &t);
	if (has < 0)
		return has;
	err = has ? instance_change(run, r, &t) : instance_new(run, b, instance, r, &t);
	for (int d = FLOW_INGRESS; !err && d <= FLOW_EGRESS; d++)
		if (r->is_on[d])
			err = enable_direction(run, b, r, instance, &all, d, &t);
	return err && !has && !run->dry_run ? undo_instance(run, b, instance, err) : err;
}

/*
 * Away again.
 */
static void unsent_add(struct flows_unsent *u, const struct flow_rec *rec, __u64 packets, __u64 octets)
{
	if (!packets)
		return; /* octets alone: a packet is being counted */
	u->flows++;
	u->closed += FLOW_STATE(rec->life) == FLOW_CLOSED;
	u->packets += packets;
	u->octets += octets;
}

static void slot_count(const struct flowtable *t, __u32 slot, const struct flow_rec *rec, struct flows_count *c)
{
	__u64 packets = 0, octets = 0;
	bool has_collector = false;

	for (int i = 0; i < FLOW_COLLECTORS; i++) {
		const struct flow_line *line;

		if (!t->peer[i].state)
			continue;
		line = &t->peer[i].lines[slot];
		bool is_told = line->generation == FLOW_GENERATION(rec->life);
		__u64 p = rec->packets - (is_told ? line->packets : 0), o = rec->octets - (is_told ? line->octets : 0);
		unsent_add(&c->unsent[i], rec, p, o);
		packets = p > packets ? p : packets;
		octets = o > octets ? o : octets;
		has_collector = true;
	}
	unsent_add(&c->kept, rec, has_collector ? packets : rec->packets, has_collector ? octets : rec->octets);
}

void flows_count(const struct flowtable *t, struct flows_count *c)
{
	__u32 end = flowtable_end(t);
	struct flow_rec rec;

	*c = (struct flows_count){ 0 };
	for (__u32 i = 0; i < end; i++) {
		if (!flowtable_read(t, i, &rec))
			continue;
		c->live += FLOW_STATE(rec.life) == FLOW_LIVE;
		c->closed += FLOW_STATE(rec.life) != FLOW_LIVE;
		slot_count(t, i, &rec, c);
	}
}

static int remove_instance(const struct run *run, const struct bpffs *b, const char *instance)
{
	note_instance(run, '-', instance);
	return run->dry_run ? 0 : flowtable_remove(run, b, instance);
}

/* removed: how many of its members this run took out, or would. */
static int settle_instance(const struct run *run, const struct bpffs *b, const char *instance, int removed)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int members = chain_instance_members(b, instance), has;
	struct flows_count c;

	if (members == -ENOENT)
		return 0; /* in doubt it stays */
	if (members < 0)
		return fail_errno(members, "cannot tell who uses instance %s", instance);
	if (members > (run->dry_run ? removed : 0))
		return 0;
	has = flowtable_open(b, instance, false, &t);
	if (has <= 0)
		return has;
	flows_count(&t, &c);
	if (!c.kept.flows)
		return remove_instance(run, b, instance);
	warn("instance %s stays: %llu of its flows have %llu packets that were not exported; l3afctl flows export "
	     "sends them, l3afctl flows flush drops them", instance, c.kept.flows, c.kept.packets);
	return 0;
}

static bool is_wanted(const struct running *r, const bool is_off[2], const char *instance)
{
	return is_off[r->direction] && (!instance || !strcmp(r->instance, instance));
}

/* How many members of the i-th one's instance are to go; 0: an earlier one told it. */
static int count_wanted(const struct runnings *all, int i, const bool is_off[2], const char *instance)
{
	int n = 0;

	for (int j = 0; j < all->n; j++) {
		if (strcmp(all->r[j].instance, all->r[i].instance) || !is_wanted(&all->r[j], is_off, instance))
			continue;
		if (j < i)
			return 0;
		n++;
	}
	return n;
}

/* Once for each instance that lost a member; and for the one that was asked for. */
static int settle_instances(const struct run *run, const struct bpffs *b, const struct runnings *all,
			    const bool is_off[2], const char *instance)
{
	const char *asked = instance ? instance : FLOW_KF;
	bool is_settled = false;
	int err = 0;

	for (int i = 0; !err && i < all->n; i++) {
		int n = is_wanted(&all->r[i], is_off, instance) ? count_wanted(all, i, is_off, instance) : 0;

		if (!n)
			continue;
		err = settle_instance(run, b, all->r[i].instance, n);
		is_settled = is_settled || !strcmp(all->r[i].instance, asked);
	}
	return err || is_settled ? err : settle_instance(run, b, asked, 0);
}

/* Chains whose interface is gone run on no instance any more. */
static int sweep(const struct run *run, const struct bpffs *b)
{
	struct netns self;
	int err = run->dry_run ? 0 : netns_self(&self);

	if (!err && !run->dry_run)
		err = chain_sweep(b, &self);
	return err ? fail_errno(err, "cannot sweep %s", b->dir) : 0;
}

int flows_disable(const struct run *run, const struct bpffs *b, const struct iface *dev, const bool is_off[2],
		  const char *instance)
{
	auto_runnings struct runnings all = { 0 };
	int err = sweep(run, b);

	if (!err)
		err = runnings_find(b, dev, &all);
	for (int i = 0; !err && i < all.n; i++) {
		if (!is_wanted(&all.r[i], is_off, instance))
			continue;
		note_place(run, '-', &all.r[i].at, all.r[i].direction, all.r[i].instance);
		err = chain_remove(run, b, &all.r[i].at, FLOW_KF);
	}
	return err ? err : settle_instances(run, b, &all, is_off, instance);
}

static void unlock_all(const struct flowtable *t)
{
	flow_unlock(t->lock);
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		if (t->peer[i].state)
			flow_unlock(t->peer[i].lock);
}

/* With the collectors' locks: flows of a batch that is under way are sent or dropped, not
 * both. */
static int drop_flows(const struct run *run, struct flowtable *t)
{
	__u64 n;
	int err = flowtable_lock_all(run, t);

	if (!err)
		err = flowtable_recover(t);
	if (!err)
		err = flowtable_expire(t, true, &n);
	if (!err)
		err = flowtable_recycle(t, true, &n);
	unlock_all(t);
	return err;
}

int flows_flush(const struct run *run, const struct bpffs *b, const char *instance)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int members, has = flowtable_open(b, instance, !run->dry_run, &t);
	struct flows_count c;
	int err;

	if (has <= 0)
		return has;
	err = sweep(run, b);
	if (err)
		return err;
	members = chain_instance_members(b, instance);
	if (members < 0 && members != -ENOENT)
		return fail_errno(members, "cannot tell who uses instance %s", instance);
	flows_count(&t, &c);
	if (c.live || c.closed) {
		note_instance(run, '-', instance);
		change_u64(run->changes, "flows", c.live + c.closed);
		change_u64(run->changes, "unsent_packets", c.kept.packets);
		change_u64(run->changes, "unsent_octets", c.kept.octets);
		err = run->dry_run ? 0 : drop_flows(run, &t);
	}
	return err || members ? err : remove_instance(run, b, instance);
}

int flows_collector_remove(const struct run *run, const struct bpffs *b, const char *instance, const char *name)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int number, has = flowtable_open(b, instance, !run->dry_run, &t);
	struct flows_count c;

	if (has <= 0)
		return has;
	number = flowtable_peer_find(&t, name);
	if (number < 0)
		return 0;
	flows_count(&t, &c);
	change_add(run->changes, '-', "flows collector", name);
	if (c.unsent[number].flows) {
		change_u64(run->changes, "unsent_flows", c.unsent[number].flows);
		change_u64(run->changes, "unsent_packets", c.unsent[number].packets);
		change_u64(run->changes, "unsent_octets", c.unsent[number].octets);
	}
	return run->dry_run ? 0 : flowtable_peer_remove(run, b, &t, number);
}

/*
 * For listings.
 */
static int each_one(const struct bpffs *b, const char *name, int (*fn)(const struct flowtable *t, void *arg),
		    void *arg)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int has = flowtable_open(b, name, false, &t);

	return has > 0 ? fn(&t, arg) : has ? has : -ENOENT;
}

int flows_each(const struct bpffs *b, const char *only, int (*fn)(const struct flowtable *t, void *arg), void *arg)
{
	char **names = NULL;
	int n = 0, err;

	if (only) {
		err = each_one(b, only, fn, arg);
		return err != -ENOENT ? err :
			fail(err, "there is no instance %s; l3afctl flows enable dev IF instance %s makes it", only, only);
	}
	err = bpffs_list(b, "kf", &names, &n);
	if (err)
		err = fail_errno(err, "%s/kf", b->dir);
	for (int i = 0; !err && i < n; i++) {
		err = kf_has_dir(b, names[i], "collector");
		if (err < 0)
			err = fail_errno(err, "%s/kf/%s", b->dir, names[i]);
		else if (err)
			err = each_one(b, names[i], fn, arg);
		err = err == -ENOENT ? 0 : err;
	}
	bpffs_list_free(names, n);
	return err;
}

const char *flow_format_dev(const struct flow_place *place, const struct netns *self, char *buf, size_t size)
{
	struct iface dev;
	int err;

	if (place->netns != self->id) {
		snprintf(buf, size, "%.15s@%llu", place->name, place->netns);
		return buf;
	}
	err = iface_by_index((int)place->ifindex, &dev);
	snprintf(buf, size, "%.15s%s", err ? place->name : dev.name, err == -ENODEV ? "(gone)" : "");
	return buf;
}

int flow_place_is_on(const struct bpffs *b, const struct flowtable *t, __u32 place, const struct netns *self)
{
	const struct flow_place *p = &t->place[place];
	auto_runnings struct runnings all = { 0 };
	const struct running *now;
	struct iface dev;
	int err;

	if (p->netns != self->id)
		return -ENOENT;
	err = iface_by_index((int)p->ifindex, &dev);
	if (err)
		return err == -ENODEV ? 0 : fail_errno(err, "interface %u", p->ifindex);
	err = runnings_find(b, &dev, &all);
	if (err)
		return err;
	now = running_at(&all, p->direction);
	return now && !strcmp(now->instance, t->instance) && !is_stale(now, t);
}

/* What the kernel says of each map (/proc/self/fdinfo). */
static int memory_of(const struct bpffs *b, const char *path, __u64 *octets)
{
	auto_fd int fd = bpffs_get(b, path);
	auto_file FILE *f = NULL;
	char info[64], line[128], *digits;
	struct why why;
	__u64 v;

	if (fd < 0)
		return fd;
	snprintf(info, sizeof(info), "/proc/self/fdinfo/%d", fd);
	f = fopen(info, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "memlock:", 8))
			continue;
		line[strcspn(line, "\n")] = 0;
		digits = line + 8 + strspn(line + 8, " \t");
		if (!parse_u64(digits, 0, UINT64_MAX, &v, &why))
			*octets += v;
	}
	return 0;
}

static int memory_below(const struct bpffs *b, const char *dir, __u64 *octets)
{
	char **names = NULL, path[256];
	int n = 0, err = bpffs_list(b, dir, &names, &n);

	for (int i = 0; !err && i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		err = memory_of(b, path, octets);
		if (err == -EISDIR || err == -EACCES)
			err = memory_below(b, path, octets);
	}
	bpffs_list_free(names, n);
	return err;
}

int flows_memory(const struct bpffs *b, const char *instance, __u64 *octets)
{
	char dir[32];
	int err;

	*octets = 0;
	snprintf(dir, sizeof(dir), "kf/%.15s", instance);
	err = memory_below(b, dir, octets);
	return err ? fail_errno(err, "%s/%s", b->dir, dir) : 0;
}
