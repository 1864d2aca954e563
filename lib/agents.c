/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agentvips.h"
#include "chainstate.h"
#include "cleanup.h"
#include "kf.h"
#include "out.h"

const char *const agent_at_words[] = { "nic", "guest", NULL };
const char *const agent_hook_words[] = { "xdp", "tc", NULL };
const char *const agent_count_keys[] = {
	[AGENT_DECAPSULATED] = "decapsulated", [AGENT_TRANSLATED] = "translated", [AGENT_REPLIES] = "replies",
	[AGENT_ICMP] = "icmp", [AGENT_CLAMPED] = "clamped", [AGENT_SECOND_HOP] = "second_hop",
	[AGENT_NO_VIP] = "no_vip", [AGENT_NOT_ALLOWED] = "not_allowed", [AGENT_OUTER] = "outer",
	[AGENT_UNKNOWN] = "unknown", [AGENT_BAD_LENGTH] = "bad_length", [AGENT_NOT_TRANSLATABLE] = "not_translatable",
	[AGENT_UNABLE] = "unable", [AGENT_CONFLICT] = "conflict", [AGENT_CONGESTED] = "congested",
	[AGENT_LOST_FRAGMENT] = "lost_fragment", [AGENT_DIRECT] = "direct",
	[AGENT_COUNTS] = NULL,
};

static enum hook decap_hook(const struct agent_place *p)
{
	if (p->at == AGENT_GUEST)
		return HOOK_TC_EGRESS;
	return p->hook == AGENT_XDP ? HOOK_XDP : HOOK_TC_INGRESS;
}

static enum hook reply_hook(const struct agent_place *p)
{
	return p->at == AGENT_GUEST ? HOOK_TC_INGRESS : HOOK_TC_EGRESS;
}

/*
 * Which programs of an interface are an agent's.
 */
struct member {
	char instance[NAME_LEN];
	__u32 prog_id; /* 0: none */
};
struct members {
	struct member at[HOOK_COUNT];
};

static int member_add(const struct chain_row *row, void *arg)
{
	struct members *m = arg;

	if (!row->member || !row->member->prog_id || strcmp(row->member->name, AGENT_KF))
		return 0;
	m->at[row->id.hook].prog_id = row->member->prog_id;
	memcpy(m->at[row->id.hook].instance, row->member->instance, NAME_LEN);
	return 0;
}

static int members_find(const struct bpffs *b, const struct iface *dev, struct members *m)
{
	*m = (struct members){ 0 };
	return chain_walk(b, dev, HOOK_COUNT, member_add, m);
}

/* One whose maps' pins were removed by hand runs on others. */
static bool is_running(const struct members *m, enum hook hook, const struct agents *a)
{
	return m->at[hook].prog_id && a->places >= 0 && !strcmp(m->at[hook].instance, a->instance) &&
	       kf_runs_on(a->places, m->at[hook].prog_id);
}

/*
 * The place.
 */
static int default_at(const struct iface *dev)
{
	int is = iface_is_tap(dev);

	return is < 0 ? fail_errno(is, "%s", dev->name) : is ? AGENT_GUEST : AGENT_NIC;
}

/* What it will be; now: what it is, or NULL. */
static int place_plan(const struct chain_id *at, const struct agent_enable *want, const struct agent_place *now,
		      struct agent_place *p)
{
	int where = want->at;

	*p = now ? *now : (struct agent_place){
		.netns = at->netns.id,
		.since = (__u64)time(NULL),
		.ifindex = (__u32)at->iface.index,
		.port = htobe16(AGENT_PORT),
		.hook = AGENT_XDP,
	};
	memcpy(p->name, at->iface.name, sizeof(p->name));
	if (where < 0 && !now)
		where = default_at(&at->iface);
	if (where < 0 && !now)
		return where;
	if (where >= 0)
		p->at = (__u8)where;
	if (want->port)
		p->port = htobe16(want->port);
	if (want->hook >= 0)
		p->hook = (__u8)want->hook;
	if (p->at == AGENT_GUEST && want->hook == AGENT_XDP)
		return fail(-E_USAGE, "%s: XDP at a guest's interface sees only what the guest sends; use hook tc, "
			    "or at nic", at->iface.name);
	if (p->at == AGENT_GUEST)
		p->hook = AGENT_TC;
	p->is_local |= want->is_local;
	p->is_strict |= want->sources > 0;
	return 0;
}

static bool is_same_place(const struct agent_place *a, const struct agent_place *b)
{
	return a->at == b->at && a->hook == b->hook && a->port == b->port;
}

static void note_place(const struct run *run, const struct agents *a, const struct agent_place *now,
		       const struct agent_place *p)
{
	if (now && is_same_place(now, p))
		return;
	agent_note(run, now ? '~' : '+', NULL, a, p->name);
	if (now && now->at != p->at)
		change_from_str(run->changes, "at", agent_at_words[now->at], agent_at_words[p->at]);
	if (now && now->hook != p->hook)
		change_from_str(run->changes, "hook", agent_hook_words[now->hook], agent_hook_words[p->hook]);
	if (now && now->port != p->port)
		change_from_u64(run->changes, "port", be16toh(now->port), be16toh(p->port));
	if (now)
		return;
	change_str(run->changes, "at", "%s", agent_at_words[p->at]);
	change_str(run->changes, "hook", "%s", agent_hook_words[p->hook]);
	change_u64(run->changes, "port", be16toh(p->port));
}

/*
 * On.
 */
static int check(const struct chain_id *at, const struct agents *a, const struct members *m)
{
	int is = iface_is_ethernet(&at->iface);

	if (is < 0)
		return fail_errno(is, "%s", at->iface.name);
	if (!is)
		return fail(-EOPNOTSUPP, "%s: its packets have no Ethernet header, nothing can be decapsulated there",
			    at->iface.name);
	for (int i = 0; i < HOOK_COUNT; i++)
		if (m->at[i].prog_id && strcmp(m->at[i].instance, a->instance))
			return fail(-EEXIST, "the agent of %s is of instance %s; l3afctl agent disable dev %s first, or "
				    "give instance %s", at->iface.name, m->at[i].instance, at->iface.name,
				    m->at[i].instance);
	return 0;
}

/* In their chains: first to take packets out of tunnels, last to translate replies. */
static int programs_set(const struct run *run, const struct bpffs *b, const struct chain_id *at,
			const struct agents *a, const struct agent_place *now, const struct agent_place *p,
			const struct members *m)
{
	const enum hook want[] = { reply_hook(p), decap_hook(p) };
	struct chain_request req = { .name = AGENT_KF, .instance = a->instance };
	struct chain_id id = *at;
	bool is_kept[HOOK_COUNT];
	int err = 0;

	for (int h = 0; !err && h < HOOK_COUNT; h++) {
		id.hook = (enum hook)h;
		is_kept[h] = (h == (int)want[0] || h == (int)want[1]) && !(now && now->at != p->at) &&
			     is_running(m, id.hook, a);
		if (m->at[h].prog_id && !is_kept[h])
			err = chain_remove(run, b, &id, AGENT_KF);
	}
	for (int i = 0; !err && i < 2; i++) {
		id.hook = want[i];
		req.position = id.hook == decap_hook(p);
		if (!is_kept[id.hook])
			err = chain_add(run, b, &id, &req);
	}
	return err;
}

/* Interfaces of this network namespace that are gone. */
static int drop_gone(const struct run *run, struct agents *a, const struct netns *netns)
{
	struct iface dev;
	char text[32];
	int err = 0;

	for (int i = 0; !err && i < AGENT_PLACES; i++) {
		if (!a->place[i].ifindex || a->place[i].netns != netns->id)
			continue;
		err = iface_by_index((int)a->place[i].ifindex, &dev);
		if (err != -ENODEV) {
			if (err)
				return fail_errno(err, "interface %u", a->place[i].ifindex);
			continue;
		}
		snprintf(text, sizeof(text), "%.15s(gone)", a->place[i].name);
		agent_note(run, '-', NULL, a, text);
		err = run->dry_run ? 0 : agents_place_free(a, i);
		if (err)
			return fail_errno(err, "kf/%s", a->instance);
	}
	return 0;
}

static int set(const struct run *run, const struct bpffs *b, const struct chain_id *at, struct agents *a, int place,
	       const struct agent_enable *want, const struct agent_place *now, struct agent_place *p,
	       const struct members *m)
{
	auto_free struct agent_source *source = NULL;
	auto_vips struct agent_vip_set v = { 0 };
	int n = 0, err = 0;

	if (now)
		err = agents_vips(a, place, &v.e, &v.n);
	if (!err && now)
		err = agents_sources(a, place, &source, &n);
	if (err)
		return fail_errno(err, "kf/%s", a->instance);
	for (int i = 0; i < want->vips; i++)
		p->is_translating |= want->vip[i].has_to;
	note_place(run, a, now, p);
	err = agent_sources_set(run, a, at->iface.name, place, want, source, n);
	if (!err && !run->dry_run && (!now || memcmp(now, p, sizeof(*p))))
		err = agents_place_write(a, place, p);
	if (!err)
		err = agent_vips_set(run, a, at->iface.name, want, place, &v);
	return err ? err : programs_set(run, b, at, a, now, p, m);
}

/* After a failure: what was made for nothing goes again. */
static int undo(const struct run *run, const struct bpffs *b, const struct chain_id *at, struct agents *a, int place,
		const struct agent_place *p, bool had_instance, int err)
{
	struct changes *none = changes_new();
	struct run silent = *run;
	struct chain_id id = *at;
	int left = 0;

	silent.changes = none;
	id.hook = reply_hook(p);
	if (none && !chain_remove(&silent, b, &id, AGENT_KF) && !agents_place_free(a, place) && !had_instance)
		left = agents_remove(b, a->instance);
	changes_free(none);
	return left && !err ? left : err;
}

/* A free place, and what was made for it undone where it cannot be used. */
static int enable_new(const struct run *run, const struct bpffs *b, const struct chain_id *at, struct agents *a,
		      bool has, const struct agent_enable *want, struct agent_place *p, const struct members *m)
{
	int place = -E2BIG, err = 0;

	if (!has && !run->dry_run) {
		char name[NAME_LEN];

		memcpy(name, a->instance, sizeof(name));
		err = agents_make(b, name, a);
	}
	if (err)
		return err;
	place = !has && run->dry_run ? 0 : agents_place_new(a, run->dry_run);
	if (place == -E2BIG)
		return fail(place, "instance %s has %d interfaces, no more fit; use another instance", a->instance,
			    AGENT_PLACES);
	if (place < 0)
		return fail_errno(place, "kf/%s", a->instance);
	err = set(run, b, at, a, place, want, NULL, p, m);
	return err && !run->dry_run ? undo(run, b, at, a, place, p, has, err) : err;
}

int agent_enable(const struct run *run, const struct bpffs *b, const struct iface *dev, const char *instance,
		 const struct agent_enable *want)
{
	auto_agents struct agents a = AGENTS_INIT;
	const char *name = instance ? instance : AGENT_KF;
	struct agent_place was, p;
	struct members m;
	struct chain_id at;
	int has, place = -ENOENT, err = chain_id_init(&at, dev, HOOK_XDP);

	if (!err)
		err = members_find(b, dev, &m);
	if (err)
		return err;
	has = agents_open(b, name, &a);
	if (has < 0)
		return has;
	snprintf(a.instance, sizeof(a.instance), "%s", name);
	err = check(&at, &a, &m);
	if (!err && has)
		err = drop_gone(run, &a, &at.netns);
	if (err)
		return err;
	if (has)
		place = agents_place(&a, &at.netns, dev->index);
	if (place < 0 && !want->vips && !want->is_local)
		return fail(-E_USAGE, "agent enable: which packets? give vip ADDR, vip ADDR to ADDR, or local");
	if (place >= 0)
		was = a.place[place];
	err = place_plan(&at, want, place >= 0 ? &was : NULL, &p);
	if (err)
		return err;
	return place >= 0 ? set(run, b, &at, &a, place, want, &was, &p, &m) :
		enable_new(run, b, &at, &a, has, want, &p, &m);
}

/*
 * Off.
 */
static int disable_place(const struct run *run, const struct bpffs *b, const struct chain_id *at, struct agents *a,
			 int place, const struct members *m)
{
	struct chain_id id = *at;
	int err = 0;

	if (place >= 0)
		agent_note(run, '-', NULL, a, at->iface.name);
	for (int h = 0; !err && h < HOOK_COUNT; h++) {
		id.hook = (enum hook)h;
		if (m->at[h].prog_id && !strcmp(m->at[h].instance, a->instance))
			err = chain_remove(run, b, &id, AGENT_KF);
	}
	if (err || run->dry_run || place < 0)
		return err;
	err = agents_place_free(a, place);
	return err ? fail_errno(err, "kf/%s", a->instance) : 0;
}

static int disable_vip(const struct run *run, const struct bpffs *b, const struct chain_id *at, struct agents *a,
		       int place, const struct addr *addr, const struct members *m)
{
	auto_vips struct agent_vip_set v = { 0 };
	const struct agent_vip_entry *e;
	int err = agents_vips(a, place, &v.e, &v.n);

	if (err)
		return fail_errno(err, "kf/%s: the VIPs", a->instance);
	e = agent_vip_find(&v, addr);
	if (!e)
		return 0;
	if (v.n == 1)
		return disable_place(run, b, at, a, place, m);
	agent_note_vip(run, '-', a, at->iface.name, &e->key);
	err = run->dry_run ? 0 : agents_vip_remove(a, &e->key);
	return err ? fail_errno(err, "kf/%s: the VIPs", a->instance) : 0;
}

/* An instance without an interface goes. Chains of interfaces that are gone hold none. */
static int settle(const struct run *run, const struct bpffs *b, const struct agents *a, const struct netns *netns)
{
	int err;

	for (int i = 0; i < AGENT_PLACES; i++)
		if (a->place[i].ifindex)
			return 0;
	if (run->dry_run)
		return 0;
	err = chain_sweep(b, netns);
	if (err)
		return fail_errno(err, "cannot sweep %s", b->dir);
	return chain_instance_members(b, a->instance) ? 0 : agents_remove(b, a->instance);
}

int agent_disable(const struct run *run, const struct bpffs *b, const struct iface *dev, const struct addr *vip,
		  const char *instance)
{
	auto_agents struct agents a = AGENTS_INIT;
	const char *name = instance ? instance : AGENT_KF;
	struct members m;
	struct chain_id at;
	int has, place, err = chain_id_init(&at, dev, HOOK_XDP);

	if (!err)
		err = members_find(b, dev, &m);
	if (err)
		return err;
	for (int i = 0; !instance && i < HOOK_COUNT; i++)
		if (m.at[i].prog_id)
			name = m.at[i].instance;
	has = agents_open(b, name, &a);
	if (has < 0)
		return has;
	snprintf(a.instance, sizeof(a.instance), "%.15s", name);
	if (has)
		err = drop_gone(run, &a, &at.netns);
	if (err)
		return err;
	place = has ? agents_place(&a, &at.netns, dev->index) : -ENOENT;
	if (vip)
		err = place >= 0 ? disable_vip(run, b, &at, &a, place, vip, &m) : 0;
	else
		err = disable_place(run, b, &at, &a, place, &m);
	return err || !has ? err : settle(run, b, &a, &at.netns);
}

/*
 * For programs.
 */
int agent_keeps(const struct bpffs *b, const char *instance)
{
	return kf_has_dir(b, instance, "agent");
}

int agent_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	auto_agents struct agents a = AGENTS_INIT;
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata.place");
	struct agent_here here = { .ifindex = (__u32)at->iface.index };
	const struct agent_place *p;
	int has = agents_open(b, instance, &a), place, err;

	if (has < 0)
		return has;
	place = has ? agents_place(&a, &at->netns, at->iface.index) : -ENOENT;
	if (place < 0)
		return fail(-E_USAGE, "%s has no agent of instance %s; l3afctl agent enable dev %s puts it into the chains",
			    at->iface.name, instance, at->iface.name);
	p = &a.place[place];
	if (at->hook != decap_hook(p) && at->hook != reply_hook(p))
		return fail(-E_USAGE, "the agent of %s is at %s, hook %s: its programs are in %s and %s", at->iface.name,
			    agent_at_words[p->at], agent_hook_words[p->hook], hook_words[decap_hook(p)],
			    hook_words[reply_hook(p)]);
	here.place = (__u32)place;
	here.role = at->hook == decap_hook(p) ? AGENT_DECAPSULATES : AGENT_REPLIES_ONLY;
	here.scope = (__u32)AGENT_SCOPE((__u32)place, p->at, p->netns);
	here.hz = agents_hz();
	err = rodata ? bpf_map__set_initial_value(rodata, &here, sizeof(here)) : -ENOENT;
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}
