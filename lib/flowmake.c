/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Instances of flows and their collectors: made, given to programs, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "flowmaps.h"
#include "flows.h"
#include "kf.h"

const struct flow_map flow_maps[] = {
	[FLOW_MAP_KEYS] = { "keys", BPF_MAP_TYPE_HASH, sizeof(struct flow_key), sizeof(__u32), 0 },
	[FLOW_MAP_RECORDS] = { "records", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_rec), BPF_F_MMAPABLE },
	[FLOW_MAP_RING] = { "ring", BPF_MAP_TYPE_ARRAY, 4, sizeof(__u64), BPF_F_MMAPABLE },
	[FLOW_MAP_ENDS] = { "ends", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_ends), BPF_F_MMAPABLE },
	[FLOW_MAP_CONFIG] = { "config", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_config), BPF_F_MMAPABLE },
	[FLOW_MAP_PLACES] = { "places", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_place), BPF_F_MMAPABLE },
	[FLOW_MAP_STATS] = { "stats", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct flow_stat), 0 },
	[FLOW_MAP_HINTS] = { "hints", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_hints), BPF_F_MMAPABLE },
	[FLOW_MAP_STATE] = { "state", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_collector), BPF_F_MMAPABLE },
	[FLOW_MAP_LINES] = { "lines", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct flow_line), BPF_F_MMAPABLE },
};

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

static int set_sizes(struct bpf_object *obj, __u32 max)
{
	const struct { enum flow_map_id map; __u32 entries; } sized[] = {
		{ FLOW_MAP_KEYS, max }, { FLOW_MAP_RECORDS, max }, { FLOW_MAP_RING, flow_ring_size(max) },
		{ FLOW_MAP_HINTS, flow_hints_sets(max) },
	};
	int err = 0;

	for (size_t i = 0; !err && i < sizeof(sized) / sizeof(sized[0]); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, flow_maps[sized[i].map].name);

		err = map ? bpf_map__set_max_entries(map, sized[i].entries) : -ENOENT;
	}
	return err;
}

/* The maps of the embedded object, without its program. */
static int make_maps(__u32 max, struct bpf_object **obj)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = FLOW_KF);
	struct bpf_program *prog;
	const void *bytes;
	size_t size;
	int err;

	bytes = kf_find(FLOW_KF)->bytes(&size);
	*obj = bpf_object__open_mem(bytes, size, &opts);
	if (!*obj)
		return -errno;
	err = set_sizes(*obj, max);
	bpf_object__for_each_program(prog, *obj)
		err = err ? err : bpf_program__set_autoload(prog, false);
	return err ? err : bpf_object__load(*obj);
}

static int pin_maps(const struct bpffs *b, const char *dir, struct bpf_object *obj)
{
	struct bpf_map *map;
	char path[128];
	int err = 0;

	bpf_object__for_each_map(map, obj) {
		if (err || bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, bpf_map__name(map));
		err = bpffs_pin(b, bpf_map__fd(map), path);
	}
	return err;
}

static int fill_ring(struct bpf_object *obj, __u32 max)
{
	const struct flow_map *m = &flow_maps[FLOW_MAP_RING];
	void *at;
	int err = flow_map_mmap(bpf_object__find_map_fd_by_name(obj, m->name), m, flow_ring_size(max), true, &at);

	for (__u32 i = 0; !err && i < max; i++)
		((__u64 *)at)[i] = i;
	flow_map_munmap(m, flow_ring_size(max), at);
	return err;
}

static int fill_maps(struct bpf_object *obj, const struct flow_settings *s)
{
	const struct flow_ends ends = { .tail = s->max, .freeing = s->max };
	const struct flow_config config = {
		.abi = FLOW_ABI,
		.max = s->max,
		.mask = flow_ring_size(s->max) - 1,
		.active_us = s->active_us,
		.idle_us = s->idle_us,
	};
	__u32 zero = 0;
	int err = fill_ring(obj, s->max);

	if (!err)
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "ends"), &zero, &ends, BPF_ANY);
	if (!err)
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "config"), &zero, &config, BPF_ANY);
	return err;
}

/* Below new-*, which the next change removes where this one is killed. */
static void staging_dir(char dir[48], const char *what)
{
	snprintf(dir, 48, "new-%d-%s", getpid(), what);
}

/* Out of sight in one step, then away. */
static int remove_dir(const struct bpffs *b, const char *dir)
{
	char staging[48];
	int err;

	staging_dir(staging, "old");
	err = bpffs_remove_tree(b, staging);
	if (!err)
		err = bpffs_rename(b, dir, staging);
	if (err == -ENOENT)
		return 0;
	return err ? err : bpffs_remove_tree(b, staging);
}

static int build(const struct bpffs *b, const char *staging, const struct flow_settings *s)
{
	auto_obj struct bpf_object *obj = NULL;
	char path[64];
	int err = make_maps(s->max, &obj);

	if (!err)
		err = fill_maps(obj, s);
	if (!err)
		err = bpffs_remove_tree(b, staging);
	snprintf(path, sizeof(path), "%s/collector", staging);
	if (!err)
		err = bpffs_mkdir(b, path);
	return err ? err : pin_maps(b, staging, obj);
}

int flowtable_make(const struct bpffs *b, const char *instance, const struct flow_settings *s)
{
	char dir[32], staging[48];
	int err = kf_probe_atomics("flow logs"), undo;

	if (err)
		return err;
	snprintf(dir, sizeof(dir), "kf/%.15s", instance);
	staging_dir(staging, "flows");
	err = build(b, staging, s);
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
		return fail(err, "no memory for a table of %u flows; use a smaller max", s->max);
	return fail_errno(err ? err : undo, "cannot make the maps of instance %.15s", instance);
}

int flowtable_remove(const struct run *run, const struct bpffs *b, const char *instance)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int ret = flowtable_open(b, instance, false, &t);
	char dir[32];

	if (ret <= 0)
		return ret;
	ret = flowtable_lock_all(run, &t);
	if (ret)
		return ret;
	snprintf(dir, sizeof(dir), "kf/%.15s", instance);
	ret = remove_dir(b, dir);
	return ret ? fail_errno(ret, "cannot remove %s/%s", b->dir, dir) : 0;
}

int flowtable_keeps(const struct bpffs *b, const char *instance)
{
	return kf_has_dir(b, instance, "collector");
}

/*
 * For the program.
 */
static int open_or_make(const struct bpffs *b, const char *instance, struct flowtable *t)
{
	const struct flow_settings defaults = {
		.max = FLOW_MAX_DEFAULT,
		.idle_us = FLOW_IDLE_DEFAULT_US,
	};
	int ret = flowtable_open(b, instance, true, t);

	if (ret)
		return ret < 0 ? ret : 0;
	ret = flowtable_make(b, instance, &defaults);
	if (!ret)
		ret = flowtable_open(b, instance, true, t);
	return ret == 1 ? 0 : ret ? ret : fail(-ENOENT, "instance %s was removed meanwhile", instance);
}

int flow_check_iface(const struct iface *i)
{
	int is = iface_is_ethernet(i);

	if (is < 0)
		return fail_errno(is, "%s", i->name);
	return is ? 0 : fail(-EOPNOTSUPP, "%s: its packets have no Ethernet header, flows cannot be counted there",
			     i->name);
}

int flowtable_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata.place");
	struct flow_here here = { .direction = at->hook == HOOK_TC_EGRESS ? FLOW_EGRESS : FLOW_INGRESS };
	int err = flow_check_iface(&at->iface), place;

	if (!err)
		err = kf_probe_atomics("flow logs");
	if (!err)
		err = open_or_make(b, instance, &t);
	if (err)
		return err;
	place = flowtable_place(&t, at, at->iface.name);
	if (place < 0)
		return place;
	here.place = (__u32)place;
	here.hints_shift = 64 - (__u32)__builtin_ctz(flow_hints_sets(t.max));
	err = rodata ? bpf_map__set_initial_value(rodata, &here, sizeof(here)) : -ENOENT;
	if (!err)
		err = set_sizes(obj, t.max);
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}

/*
 * Collectors.
 */
int flowtable_peer_find(const struct flowtable *t, const char *name)
{
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		if (t->peer[i].state && !strncmp(t->peer[i].state->name, name, sizeof(t->peer[i].state->name)))
			return i;
	return -ENOENT;
}

static int make_map(const struct bpffs *b, const char *dir, enum flow_map_id id, __u32 entries, int *fd)
{
	const struct flow_map *m = &flow_maps[id];
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = m->flags);
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	*fd = bpf_map_create(m->type, m->name, m->key_size, m->value_size, entries, &opts);
	return *fd < 0 ? *fd : bpffs_pin(b, *fd, path);
}

static int peer_build(const struct bpffs *b, const char *staging, __u32 max, const char *name)
{
	struct flow_collector c = { .since = (__u64)time(NULL) };
	auto_fd int state = -1, lines = -1;
	__u32 zero = 0;
	int err = bpffs_remove_tree(b, staging);

	strncpy(c.name, name, sizeof(c.name) - 1);
	if (!err)
		err = bpffs_mkdir(b, staging);
	if (!err)
		err = make_map(b, staging, FLOW_MAP_LINES, max, &lines);
	if (!err)
		err = make_map(b, staging, FLOW_MAP_STATE, 1, &state);
	return err ? err : bpf_map_update_elem(state, &zero, &c, BPF_ANY);
}

static int peer_add(const struct bpffs *b, struct flowtable *t, int number, const char *name)
{
	char dir[64], staging[48];
	int err, undo;

	staging_dir(staging, "peer");
	snprintf(dir, sizeof(dir), "kf/%s/collector/%d", t->instance, number);
	err = peer_build(b, staging, t->max, name);
	if (!err)
		err = bpffs_rename(b, staging, dir);
	if (!err)
		err = flow_peer_open(t, number, &t->peer[number]);
	if (!err)
		return number;
	undo = bpffs_remove_tree(b, staging);
	return fail_errno(err ? err : undo, "cannot make collector %s of instance %s", name, t->instance);
}

int flowtable_peer_make(const struct bpffs *b, struct flowtable *t, const char *name)
{
	int number = flowtable_peer_find(t, name);

	if (number >= 0)
		return number;
	if (strlen(name) >= sizeof(t->peer[0].state->name))
		return fail(-E_USAGE, "collector %s: the name is longer than %zu characters", name,
			    sizeof(t->peer[0].state->name) - 1);
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		if (!t->peer[i].state)
			return peer_add(b, t, i, name);
	return fail(-E2BIG, "instance %s has %d collectors, no more fit; remove one first: "
		    "l3afctl flows collector remove", t->instance, FLOW_COLLECTORS);
}

int flowtable_peer_remove(const struct run *run, const struct bpffs *b, struct flowtable *t, int number)
{
	char dir[64], who[300];
	int err;

	snprintf(who, sizeof(who), "collector %s", t->peer[number].state->name);
	snprintf(dir, sizeof(dir), "kf/%s/collector/%d", t->instance, number);
	err = flow_lock(run, t->peer[number].lock, who);
	if (err)
		return err;
	err = remove_dir(b, dir);
	if (err)
		return fail_errno(err, "cannot remove %s/%s", b->dir, dir);
	flow_peer_close(&t->peer[number], t->mapped);
	return 0;
}
