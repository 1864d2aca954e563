/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "chainstate.h"
#include "cleanup.h"
#include "host.h"
#include "kf.h"
#include "l2tpplace.h"
#include "l2tpwant.h"
#include "out.h"

/* One command at work. */
struct work {
	const struct run *run;
	const struct bpffs *b;
	struct netns self;
	struct l2tps t;
	bool is_there;  /* t is open */
};
static void work_close(struct work *w) { l2tps_close(&w->t); }
#define auto_work __attribute__((cleanup(work_close)))
#define WORK_INIT(r, b) { r, b, .t = L2TPS_INIT }

/* Nobody's interfaces and elements go, what is half there is completed; silently. */
static int settle(struct work *w)
{
	auto_changes struct changes *none = changes_new();
	struct run silent = *w->run;
	int err;

	silent.changes = none;
	if (!none)
		return fail_errno(-ENOMEM, "kf/" L2TP_KF);
	err = l2tps_complete(&w->t);
	if (err)
		return fail_errno(err, "kf/" L2TP_KF);
	err = l2tp_pair_settle(&w->t, &w->self);
	if (!err)
		err = l2tp_pairs_mtu(&w->t, &w->self);
	return err ? err : l2tp_places_settle(&silent, w->b, &w->t, &w->self);
}

static int busy(struct work *w, bool is_busy)
{
	int err;

	if (w->t.conf.is_busy == is_busy || w->run->dry_run)
		return 0;
	w->t.conf.is_busy = is_busy;
	err = l2tps_config_write(&w->t);
	return err ? fail_errno(err, "kf/" L2TP_KF) : 0;
}

static int begin(struct work *w)
{
	int has, err = netns_self(&w->self);

	if (err)
		return fail_errno(err, "this network namespace");
	has = l2tps_open(w->b, &w->t);
	w->is_there = has > 0;
	return has > 0 && w->t.conf.is_busy && !w->run->dry_run ? settle(w) : has < 0 ? has : 0;
}

/* Without a session nothing stays. Chains of interfaces that are gone hold none. */
static int end(struct work *w)
{
	int err;

	if (!w->is_there || w->run->dry_run)
		return 0;
	memset(w->t.conf.making, 0, sizeof(w->t.conf.making));
	err = busy(w, false);
	for (int i = 0; !err && i < L2TP_PLACES; i++)
		if (w->t.place[i].since)
			return 0;
	if (err || w->t.n)
		return err;
	err = chain_sweep(w->b, &w->self);
	if (err)
		return fail_errno(err, "cannot sweep %s", w->b->dir);
	return chain_instance_members(w->b, L2TP_KF) ? 0 : l2tps_remove(w->b);
}

/* A command that failed leaves what was there before. */
static int undo(struct work *w, int err)
{
	int left = w->is_there && !w->run->dry_run ? settle(w) : 0;

	return left || end(w) ? err : err;
}

/*
 * Add.
 */
static int place_of(struct work *w, const struct iface *dev, __u32 flags, bool is_helper, __u32 *place)
{
	const struct chain_id at = { .netns = w->self, .iface = *dev, .hook = HOOK_TC_INGRESS };
	int n = l2tp_place_up(w->run, w->b, &w->t, &at, flags, is_helper);

	*place = n < 0 ? 0 : (__u32)n;
	return n < 0 ? n : 0;
}

static __u32 access_flags(const struct l2tp_session *s)
{
	return L2TP_ACCESS | (s->vlan[0] == L2TP_NO_VLAN ? L2TP_PLAIN : s->vlan[1] == L2TP_NO_VLAN ? L2TP_VLAN : L2TP_QINQ);
}

/* Both interfaces take part. access: the helper of a netdev that is to be made is made here. */
static int places_up(struct work *w, const struct iface *underlay, struct iface *access, struct l2tp_session *s)
{
	const bool is_netdev = s->flags & L2TP_NETDEV;
	int err = place_of(w, underlay, L2TP_UNDERLAY, false, &s->underlay);

	if (!err && is_netdev && !access->index) {
		if (w->run->dry_run)
			return 0;
		err = l2tp_pair_make(&w->t, &w->self, s->dev, s->mtu, access);
	}
	if (err)
		return err;
	s->access_ifindex = (__u32)access->index;
	s->ask = is_netdev ? s->access_ifindex : 0;
	return place_of(w, access, access_flags(s), is_netdev, &s->access);
}

static int session_write(struct work *w, const struct l2tp_session *s)
{
	int err = w->run->dry_run ? 0 : l2tps_session_write(&w->t, s);

	return err == -E2BIG ? fail(err, "there are %d pseudowires already, no more fit", L2TP_SESSIONS) :
		err ? fail_errno(err, "kf/" L2TP_KF ": l2tp %s", s->name) : 0;
}

static int first_of_all(struct work *w)
{
	int err;

	if (w->is_there || w->run->dry_run)
		return 0;
	err = kf_probe_atomics("pseudowires");
	if (!err)
		err = l2tps_make(w->b, &w->t);
	w->is_there = !err;
	return err;
}

static int add_new(struct work *w, const char *name, const struct l2tp_want *want)
{
	struct iface access = want->dev, taken;
	struct l2tp_session s;
	int number, err = l2tp_check_host(want);

	l2tp_session_new(name, want, &s);
	if (!err)
		err = l2tp_session_fit(want, &want->underlay, &s);
	if (!err)
		err = l2tp_check_others(&w->t, &s, -1, &w->self);
	if (!err && want->netdev[0] && !iface_by_name(want->netdev, &taken))
		err = fail(-EEXIST, "there is an interface %s; give dev %s to use it", want->netdev, want->netdev);
	if (err)
		return err;
	number = l2tps_number(&w->t);
	if (number < 0)
		return number == -E2BIG ? fail(number, "there are %d pseudowires already, no more fit", L2TP_SESSIONS) :
			fail_errno(number, "kf/" L2TP_KF);
	s.number = (__u32)number;
	l2tp_note(w->run, NULL, &s, want->underlay.name);
	err = first_of_all(w);
	if (!err && w->is_there)
		err = busy(w, true);
	if (!err)
		err = places_up(w, &want->underlay, &access, &s);
	if (!err)
		err = session_write(w, &s);
	if (!err)
		l2tp_warn(&s, &want->underlay, want->netdev[0] ? NULL : &want->dev);
	return err ? undo(w, err) : 0;
}

/*
 * Change.
 */
static bool is_other(const struct l2tp_session *s, const struct l2tp_session *t)
{
	struct l2tp_session same = *s;

	same.since = t->since;
	return memcmp(&same, t, sizeof(same)) != 0;
}

/* Of one that is there and whose interfaces are. */
static int change(struct work *w, int i, const struct l2tp_want *want, const struct iface *underlay,
		  struct iface *access)
{
	const struct l2tp_session was = w->t.session[i];
	struct l2tp_session s = was;
	struct addr remote;
	struct iface owner;
	char text[64];
	int err;

	l2tp_session_change(want, &s);
	err = l2tp_session_fit(want, underlay, &s);
	memcpy(remote.b, s.remote, sizeof(remote.b));
	if (!err && host_has_addr(&remote, &owner) > 0)
		err = fail(-EADDRINUSE, "remote: %s is this host's own, of %s", format_addr(&remote, text, sizeof(text)),
			   owner.name);
	if (!err)
		err = busy(w, true);
	if (err)
		return err;
	if (is_other(&was, &s))
		l2tp_note(w->run, &was, &s, underlay->name);
	err = places_up(w, underlay, access, &s);
	if (!err && is_other(&was, &s))
		err = session_write(w, &s);
	if (!err && was.mtu != s.mtu && !w->run->dry_run)
		err = l2tp_pairs_mtu(&w->t, &w->self);
	return err ? undo(w, err) : 0;
}

/* 1: both interfaces of a session are there; 0: one is gone; or an error. */
static int ifaces_of(const struct l2tp_session *s, struct iface *underlay, struct iface *access)
{
	int err = iface_by_index((int)s->underlay_ifindex, underlay);

	if (!err)
		err = iface_by_index((int)s->access_ifindex, access);
	return err == -ENODEV ? 0 : err ? fail_errno(err, "the interfaces of l2tp %.15s", s->name) : 1;
}

static int remove_one(struct work *w, int i)
{
	int err = busy(w, true);

	if (err)
		return err;
	l2tp_note_gone(w->run, &w->t.session[i]);
	if (!w->run->dry_run)
		err = l2tps_session_remove(&w->t, i);
	else
		memmove(&w->t.session[i], &w->t.session[i + 1], (size_t)(--w->t.n - i) * sizeof(*w->t.session));
	return err ? fail_errno(err, "kf/" L2TP_KF) : 0;
}

static int check_here(const struct work *w, int i)
{
	const struct l2tp_session *s = &w->t.session[i];

	if (w->t.place[s->underlay].netns == w->self.id)
		return 0;
	return fail(-EEXIST, "l2tp %.15s is of another network namespace", s->name);
}

int l2tp_add(const struct run *run, const struct bpffs *b, const char *name, const struct l2tp_want *want)
{
	const bool is_sublayer = !(want->has & L2TP_HAS_SUBLAYER) || want->has_sublayer;
	auto_work struct work w = WORK_INIT(run, b);
	struct iface underlay, access;
	int i, is_there, err = l2tp_check_words("add", want, want->encap, !addr_is_v4(&want->local), is_sublayer);

	if (!err)
		err = begin(&w);
	if (err)
		return err;
	i = l2tps_find(&w.t, name);
	if (i < 0) {
		err = add_new(&w, name, want);
		return err ? err : end(&w);
	}
	err = check_here(&w, i);
	is_there = err ? err : ifaces_of(&w.t.session[i], &underlay, &access);
	if (is_there < 0)
		return is_there;
	if (is_there && !l2tp_is_same(want, &w.t.session[i]))
		return fail(-EEXIST, "l2tp %s is another pseudowire (l3afctl l2tp show %s); l3afctl l2tp remove %s first",
			    name, name, name);
	if (is_there)
		err = change(&w, i, want, &underlay, &access);
	else
		err = remove_one(&w, i);
	if (!err && !is_there)
		err = l2tp_places_settle(run, b, &w.t, &w.self);
	if (!err && !is_there)
		err = add_new(&w, name, want);
	return err ? err : end(&w);
}

int l2tp_set(const struct run *run, const struct bpffs *b, const char *name, const struct l2tp_want *want)
{
	auto_work struct work w = WORK_INIT(run, b);
	const struct l2tp_session *s;
	struct iface underlay, access;
	int i, is_there, err = begin(&w);

	if (err)
		return err;
	i = l2tps_find(&w.t, name);
	if (i < 0)
		return fail(-ENOENT, "there is no l2tp %s", name);
	s = &w.t.session[i];
	err = l2tp_check_words("set", want, s->encap, s->flags & L2TP_V6, s->flags & L2TP_SUBLAYER);
	if (!err)
		err = check_here(&w, i);
	is_there = err ? err : ifaces_of(s, &underlay, &access);
	if (is_there < 0)
		return is_there;
	if (!is_there)
		return fail(-ENODEV, "an interface of l2tp %s is gone; l3afctl l2tp add makes it anew", name);
	err = change(&w, i, want, &underlay, &access);
	return err ? err : end(&w);
}

int l2tp_remove(const struct run *run, const struct bpffs *b, const char *name)
{
	auto_work struct work w = WORK_INIT(run, b);
	int i, err = begin(&w);

	if (err)
		return err;
	i = l2tps_find(&w.t, name);
	if (i < 0)
		return end(&w);
	err = check_here(&w, i);
	if (!err)
		err = remove_one(&w, i);
	if (!err)
		err = l2tp_places_settle(run, b, &w.t, &w.self);
	return err ? err : end(&w);
}

int l2tp_flush(const struct run *run, const struct bpffs *b)
{
	auto_work struct work w = WORK_INIT(run, b);
	int err = begin(&w);

	for (int i = 0; !err && i < w.t.n;)
		if (w.t.place[w.t.session[i].underlay].netns == w.self.id)
			err = remove_one(&w, i);
		else
			i++;
	if (!err)
		err = l2tp_places_settle(run, b, &w.t, &w.self);
	return err ? err : end(&w);
}

/*
 * For programs.
 */
int l2tp_keeps(const struct bpffs *b, const char *instance)
{
	return strcmp(instance, L2TP_KF) ? 0 : kf_has_dir(b, L2TP_KF, L2TP_KF);
}

int l2tp_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata.place");
	auto_l2tps struct l2tps t = L2TPS_INIT;
	struct l2tp_here here = { 0 };
	int has = strcmp(instance, L2TP_KF) ? 0 : l2tps_open(b, &t), place, err;

	if (has < 0)
		return has;
	place = has ? l2tps_place(&t, &at->netns, at->iface.index) : -ENOENT;
	if (place < 0)
		return fail(-E_USAGE, "%s has no pseudowire; l3afctl l2tp add puts it into the chains", at->iface.name);
	here.place = (__u32)place;
	err = rodata ? bpf_map__set_initial_value(rodata, &here, sizeof(here)) : -ENOENT;
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}
