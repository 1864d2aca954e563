// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Instances of lb: made, given to programs, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bpflog.h"
#include "chainstate.h"
#include "cleanup.h"
#include "clock.h"
#include "kf.h"
#include "lbmaps.h"
#include "lbs.h"
#include "rootmaps.h"
#include "run.h"

#define BUCKETS_LEAST 128
#define TICK_NS 900000000ULL /* at least */

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

static int set_sizes(struct bpf_object *obj, const struct lb_sizes *s)
{
	__u32 entries[LB_MAPS];
	int err = 0;

	lb_map_entries(s, entries);
	for (int i = 0; !err && i < LB_MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, lb_maps[i].name);

		err = map ? bpf_map__set_max_entries(map, entries[i]) : -ENOENT;
	}
	return err;
}

/* The maps of the embedded object, without its programs. */
static int make_maps(const struct lb_sizes *s, struct bpf_object **obj)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = LB_KF);
	struct bpf_program *prog;
	const void *bytes;
	size_t size;
	int err;

	bpflog_begin();
	bytes = kf_find(LB_KF)->bytes(&size);
	*obj = bpf_object__open_mem(bytes, size, &opts);
	if (!*obj)
		return -errno;
	err = set_sizes(*obj, s);
	bpf_object__for_each_program(prog, *obj)
		err = err ? err : bpf_program__set_autoload(prog, false);
	return err ? err : bpf_object__load(*obj);
}

static int pin_maps(const struct bpffs *b, const char *dir, struct bpf_object *obj)
{
	char path[128];
	int err = 0;

	for (int i = 0; !err && i < LB_MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, lb_maps[i].name);
		err = bpffs_pin(b, bpf_object__find_map_fd_by_name(obj, lb_maps[i].name), path);
	}
	return err;
}

static int fill_config(struct bpf_object *obj, const struct lb_sizes *s)
{
	struct lb_config config = {
		.abi = LB_ABI,
		.vips = s->vips,
		.backends = s->backends + 1,
		.buckets = s->flows / LB_WAYS,
	};
	__u64 tick = clock_tick_ns();
	__u32 zero = 0;

	while (tick << config.tick_shift < TICK_NS)
		config.tick_shift++;
	config.tick_us = (__u32)((tick << config.tick_shift) / 1000);
	if (getrandom(config.key, sizeof(config.key), 0) != sizeof(config.key))
		return -EIO;
	return bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "config"), &zero, &config, BPF_ANY);
}

static int build(const struct bpffs *b, const char *staging, const struct lb_sizes *s)
{
	auto_obj struct bpf_object *obj = NULL;
	int err = make_maps(s, &obj);

	if (!err)
		err = fill_config(obj, s);
	if (!err)
		err = bpffs_remove_tree(b, staging);
	if (!err)
		err = bpffs_mkdir(b, staging);
	return err ? err : pin_maps(b, staging, obj);
}

struct lb_sizes lb_sizes_round(const struct lb_sizes *want)
{
	struct lb_sizes s = {
		.flows = want->flows ? want->flows : LB_FLOWS_DEFAULT,
		.vips = want->vips ? want->vips : LB_VIPS_DEFAULT,
		.backends = want->backends ? want->backends : LB_BACKENDS_DEFAULT,
	};
	__u32 flows = BUCKETS_LEAST * LB_WAYS;

	while (flows < s.flows)
		flows *= 2;
	s.flows = flows;
	return s;
}

int lb_make(const struct bpffs *b, const char *instance, const struct lb_sizes *sizes)
{
	const struct lb_sizes s = lb_sizes_round(sizes);
	char dir[32], staging[48];
	int err, undo;

	snprintf(dir, sizeof(dir), "kf/%.15s", instance);
	snprintf(staging, sizeof(staging), "new-%d-lb", getpid());
	err = build(b, staging, &s);
	if (!err)
		err = bpffs_mkdir(b, "kf");
	if (!err)
		err = bpffs_rename(b, staging, dir);
	if (!err)
		return 0;
	undo = bpffs_remove_tree(b, staging);
	if (err == -ENOTEMPTY || err == -EEXIST)
		return fail(err, "%s/%s is there already", b->dir, dir);
	if (err == -ENOMEM)
		return fail(err, "no memory for the tables of instance %.15s; use fewer flows than %u", instance,
			    s.flows);
	return fail_errno(err ? err : undo, "cannot make the maps of instance %.15s", instance);
}

int lb_remove(const struct bpffs *b, const char *instance)
{
	char dir[32], staging[48];
	int err;

	snprintf(dir, sizeof(dir), "kf/%.15s", instance);
	snprintf(staging, sizeof(staging), "new-%d-old", getpid());
	err = bpffs_remove_tree(b, staging);
	if (!err)
		err = bpffs_rename(b, dir, staging);
	if (!err)
		err = bpffs_remove_tree(b, staging);
	return err && err != -ENOENT ? fail_errno(err, "cannot remove %s/%s", b->dir, dir) : 0;
}

/*
 * Places.
 */
/* What a chain leaves pinned goes with its interface, in whichever network namespace that was;
 * one that moved to another took its program along, which goes on with its place. */
static bool has_chain(const struct lb *lb, const struct lb_place *p)
{
	const struct chain_id at = { .netns.id = p->netns, .iface.index = (int)p->ifindex, .hook = HOOK_XDP };
	char dir[CHAIN_DIR_LEN], **names = NULL;
	int n = 0, err;

	chain_dir(&at, dir);
	err = bpffs_list(lb->b, dir, &names, &n);
	bpffs_list_free(names, n);
	return err || n;
}

bool lb_place_is_gone(const struct lb *lb, const struct lb_place *p, const struct netns *here)
{
	struct iface iface;

	if (p->netns == here->id && iface_by_index((int)p->ifindex, &iface) != -ENODEV)
		return false;
	return !has_chain(lb, p);
}

static int place_vacant(const struct lb *lb, const struct netns *here)
{
	for (int i = 0; i < LB_PLACES; i++)
		if (!lb->place[i].ifindex)
			return i;
	for (int i = 0; i < LB_PLACES; i++)
		if (lb_place_is_gone(lb, &lb->place[i], here))
			return i;
	return -E2BIG;
}

int lb_place_defaults(const struct chain_id *at, struct lb_place *p)
{
	unsigned mtu;
	struct addr a;
	int err = iface_mtu(&at->iface, &mtu), has = err;

	*p = (struct lb_place){ .netns = at->netns.id, .port = htobe16(LB_PORT) };
	if (!err)
		has = iface_address(&at->iface, false, &a);
	if (has > 0)
		memcpy(&p->source4, a.b + 12, sizeof(p->source4));
	if (has >= 0)
		has = iface_address(&at->iface, true, &a);
	if (has > 0)
		memcpy(p->source6, a.b, sizeof(p->source6));
	p->mtu = mtu;
	return has < 0 ? fail_errno(has, "%s", at->iface.name) : 0;
}

static bool is_in_use(const struct lb *lb, const struct lb_place *p)
{
	struct netns here;

	return p->ifindex && (netns_self(&here) || !lb_place_is_gone(lb, p, &here));
}

bool lb_is_needed(const struct lb *lb, int except)
{
	for (__u32 i = 0; i < lb->config->vips; i++)
		if (lb->vip[i].is_live)
			return true;
	for (int i = 0; i < LB_PLACES; i++)
		if (i != except && is_in_use(lb, &lb->place[i]))
			return true;
	return false;
}

/* Is lb in the chain of either hook of an interface of this network namespace? */
static int is_member(const struct lb *lb, const struct lb_place *p)
{
	static const enum hook hooks[] = { HOOK_XDP, HOOK_TC_EGRESS };
	struct chain_id at;
	struct iface iface;
	int has = iface_by_index((int)p->ifindex, &iface);

	if (has)
		return has == -ENODEV ? 0 : fail_errno(has, "interface %u", p->ifindex);
	for (size_t i = 0; !has && i < sizeof(hooks) / sizeof(hooks[0]); i++) {
		has = chain_id_init(&at, &iface, hooks[i]);
		if (!has)
			has = chain_has(lb->b, &at, LB_KF);
	}
	return has;
}

/* Was it enabled before the run was killed? Who is of another network namespace is asked there. */
static int place_settle(struct lb *lb, struct lb_place *p)
{
	struct netns self;
	int has = netns_self(&self);

	if (has || self.id != p->netns)
		return has ? fail_errno(has, "this network namespace") : 0;
	has = is_member(lb, p);
	if (has < 0)
		return has;
	if (!has)
		__atomic_store_n(&p->ifindex, 0, __ATOMIC_SEQ_CST);
	p->is_changing = 0;
	return 0;
}

static void aside_set(struct lb *lb, int place, bool is_aside)
{
	if (is_aside)
		__atomic_or_fetch(&lb->config->aside, 1U << place, __ATOMIC_SEQ_CST);
	else
		__atomic_and_fetch(&lb->config->aside, ~(1U << place), __ATOMIC_SEQ_CST);
}

int lb_place_write(struct lb *lb, int place, const struct lb_place *new)
{
	int err = root_grace(); /* no packet reads the copy from the last time */

	if (err)
		return err;
	lb->place[LB_PLACES + place] = lb->place[place];
	aside_set(lb, place, true);
	err = root_grace();
	if (!err)
		lb->place[place] = *new;
	aside_set(lb, place, false);
	return err;
}

int lb_places_settle(struct lb *lb)
{
	int err = 0;

	for (int i = 0; i < LB_PLACES; i++)
		if (lb->config->aside >> i & 1) {
			lb->place[i] = lb->place[LB_PLACES + i];
			aside_set(lb, i, false);
		}
	for (int i = 0; !err && i < LB_PLACES; i++)
		if (lb->place[i].ifindex && lb->place[i].is_changing)
			err = place_settle(lb, &lb->place[i]);
	return err;
}

/* What another interface was told of next hops. */
static void hops_clear(struct lb *lb, int place)
{
	memset(lb->hop + (size_t)place * lb->config->backends, 0, sizeof(*lb->hop) * lb->config->backends);
}

int lb_place_find(const struct lb *lb, const struct chain_id *at)
{
	for (int i = 0; i < LB_PLACES; i++)
		if (lb->place[i].ifindex == (__u32)at->iface.index && lb->place[i].netns == at->netns.id)
			return i;
	return -ENOENT;
}

int lb_place(struct lb *lb, const struct chain_id *at)
{
	struct lb_place p;
	int number = lb_place_find(lb, at), err;

	if (number >= 0)
		return number;
	number = place_vacant(lb, &at->netns);
	if (number < 0)
		return fail(number, "instance %s balances at %d interfaces, no more fit; use another instance",
			    lb->instance, LB_PLACES);
	err = lb_place_defaults(at, &p);
	if (err)
		return err;
	p.is_changing = 1; /* until its program is in the chain */
	__atomic_store_n(&lb->place[number].ifindex, 0, __ATOMIC_SEQ_CST);
	hops_clear(lb, number);
	lb->place[number] = p;
	__atomic_store_n(&lb->place[number].ifindex, (__u32)at->iface.index, __ATOMIC_SEQ_CST);
	return number;
}

/*
 * For the program.
 */
int lb_check_iface(const struct iface *i)
{
	int is = iface_is_ethernet(i);

	if (is < 0)
		return fail_errno(is, "%s", i->name);
	return is ? 0 : fail(-EOPNOTSUPP, "%s: its packets have no Ethernet header, nothing can be balanced there",
			     i->name);
}

/* What a killed run left is none of this one's: it may be in the middle of a change. */
static int open_or_make(const struct bpffs *b, const char *instance, struct lb *lb)
{
	const struct lb_sizes defaults = { 0 };
	int ret = lb_map(b, instance, true, lb);

	if (ret)
		return ret < 0 ? ret : 0;
	ret = lb_make(b, instance, &defaults);
	if (!ret)
		ret = lb_map(b, instance, true, lb);
	return ret == 1 ? 0 : ret ? ret : fail(-ENOENT, "instance %s was removed meanwhile", instance);
}

int lb_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	auto_lb struct lb lb = LB_INIT;
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata.place");
	struct lb_here here = { .ifindex = (__u32)at->iface.index };
	struct lb_sizes sizes;
	int err = lb_check_iface(&at->iface), place;

	if (!err)
		err = open_or_make(b, instance, &lb);
	if (err)
		return err;
	place = lb_place(&lb, at);
	if (place < 0)
		return place;
	here.place = (__u32)place;
	sizes = lb_sizes_of(&lb);
	err = rodata ? bpf_map__set_initial_value(rodata, &here, sizeof(here)) : -ENOENT;
	if (!err)
		err = set_sizes(obj, &sizes);
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}
