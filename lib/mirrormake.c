// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The instance: made, given to programs, completed after a killed run, removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chainstate.h"
#include "cleanup.h"
#include "flow.h"
#include "kf.h"
#include "mirrormaps.h"
#include "out.h"
#include "rootmaps.h"

/*
 * Maps.
 */
static int stats_make(void)
{
	return bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "mirror_stats", sizeof(__u32), sizeof(struct mirror_stat),
			      MIRROR_STATS, NULL);
}

/* What is put into a map of maps has to be like this one. */
static int inner_like(enum mirror_map_id id)
{
	struct mirror_set *set = NULL;
	int fd;

	if (id == MIRROR_MAP_STATS)
		return stats_make();
	if (id != MIRROR_MAP_SETS)
		return -1;
	fd = mirror_set_make(&set);
	mirror_set_unmap(set);
	return fd;
}

static int map_make(const struct bpffs *b, const char *dir, enum mirror_map_id id)
{
	const struct mirror_map *m = &mirror_maps[id];
	auto_fd int inner = inner_like(id);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = m->flags);
	const struct mirror_config config = { .abi = MIRROR_ABI };
	auto_fd int fd = -1;
	char path[128];
	__u32 zero = 0;
	int err;

	if (m->type == BPF_MAP_TYPE_ARRAY_OF_MAPS) {
		if (inner < 0)
			return inner;
		opts.inner_map_fd = (__u32)inner;
	}
	fd = bpf_map_create(m->type, m->name, sizeof(__u32), m->value_size, m->entries, &opts);
	if (fd < 0)
		return fd;
	err = id == MIRROR_MAP_CONFIG ? bpf_map_update_elem(fd, &zero, &config, BPF_ANY) : 0;
	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	return err ? err : bpffs_pin(b, fd, path);
}

static int build(const struct bpffs *b, const char *staging)
{
	int err = bpffs_remove_tree(b, staging);

	if (!err)
		err = bpffs_mkdir(b, staging);
	for (int id = 0; !err && id < MIRROR_MAPS; id++)
		err = map_make(b, staging, (enum mirror_map_id)id);
	return err;
}

static int make(const struct bpffs *b)
{
	char staging[48];
	int err, undo;

	snprintf(staging, sizeof(staging), "new-%d-mirror", getpid());
	err = build(b, staging);
	if (!err)
		err = bpffs_mkdir(b, "kf");
	if (!err)
		err = bpffs_rename(b, staging, "kf/" MIRROR_KF);
	if (!err)
		return 0;
	undo = bpffs_remove_tree(b, staging);
	return fail_errno(err ? err : undo, "cannot make the maps of " MIRROR_KF);
}

int mirror_make(const struct bpffs *b, struct mirror *m)
{
	int ret = m->config ? 0 : kf_probe_atomics("mirrors");

	if (m->config || ret)
		return ret;
	ret = make(b);
	if (!ret)
		ret = mirror_map(b, true, m);
	return ret == 1 ? 0 : ret ? ret : fail(-ENOENT, "kf/" MIRROR_KF " was removed meanwhile");
}

static bool is_used(const struct mirror *m)
{
	for (int i = 0; i < MIRROR_PLACES; i++)
		if (m->place[i].since)
			return true;
	return m->config->targets;
}

int mirror_remove_unused(const struct run *run, struct mirror *m)
{
	char staging[48];
	int err;

	if (!m->config || run->dry_run || is_used(m))
		return 0;
	snprintf(staging, sizeof(staging), "new-%d-old", getpid());
	err = bpffs_remove_tree(m->b, staging);
	if (!err)
		err = bpffs_rename(m->b, "kf/" MIRROR_KF, staging);
	if (!err)
		err = bpffs_remove_tree(m->b, staging);
	if (!err)
		bpffs_prune(m->b, "kf/" MIRROR_KF);
	return err ? fail_errno(err, "cannot remove %s/kf/" MIRROR_KF, m->b->dir) : 0;
}

/*
 * Places.
 */
int mirror_set_publish(const struct mirror *m, int place, int set)
{
	__u32 key = (__u32)place;

	return bpf_map_update_elem(m->sets, &key, &set, BPF_ANY);
}

static int inner_delete(int outer, int place)
{
	__u32 key = (__u32)place;
	int err = bpf_map_delete_elem(outer, &key);

	return err == -ENOENT ? 0 : err;
}

int mirror_place_free(struct mirror *m, int place)
{
	int err = inner_delete(m->sets, place);

	if (!err)
		err = inner_delete(m->stats, place);
	if (!err)
		__atomic_store_n(&m->place[place].since, 0, __ATOMIC_SEQ_CST);
	return err;
}

/* What a place was used for before, and a run was killed while it was freed, is nobody's. */
static int place_take(struct mirror *m, int place, const struct chain_id *at)
{
	struct mirror_place *p = &m->place[place];
	auto_fd int stats = -1;
	__u32 key = (__u32)place;
	int err = mirror_place_free(m, place);

	if (err)
		return err;
	stats = stats_make();
	err = stats < 0 ? stats : bpf_map_update_elem(m->stats, &key, &stats, BPF_ANY);
	if (err)
		return err;
	*p = (struct mirror_place){
		.netns = at->netns.id,
		.is_cookie = at->netns.is_cookie,
		.ifindex = (__u32)at->iface.index,
		.is_changing = 1,
	};
	memcpy(p->name, at->iface.name, sizeof(p->name));
	__atomic_store_n(&p->since, (__u64)time(NULL), __ATOMIC_SEQ_CST);
	return place;
}

/* Gone in this network namespace, or in another one as far as nothing is pinned for it. */
static bool is_vacant(const struct mirror *m, const struct mirror_place *p, const struct netns *here)
{
	const struct chain_id at = { .netns.id = p->netns, .iface.index = (int)p->ifindex, .hook = HOOK_TC_INGRESS };
	char dir[CHAIN_DIR_LEN], **names = NULL;
	int n = 0, err;

	if (p->netns == here->id)
		return mirror_is_gone(here, p->netns, p->ifindex);
	chain_dir(&at, dir);
	*strrchr(dir, '/') = '\0';
	err = bpffs_list(m->b, dir, &names, &n);
	bpffs_list_free(names, n);
	return !err && !n;
}

int mirror_place_new(struct mirror *m, const struct chain_id *at)
{
	int err;

	for (int i = 0; i < MIRROR_PLACES; i++)
		if (!m->place[i].since)
			return place_take(m, i, at);
	err = chain_sweep(m->b, &at->netns);
	for (int i = 0; !err && i < MIRROR_PLACES; i++)
		if (is_vacant(m, &m->place[i], &at->netns))
			return place_take(m, i, at);
	return err ? err : -E2BIG;
}

bool mirror_netns_is_gone(const struct mirror *m, const struct netns *here, __u64 netns)
{
	char dir[32], **names = NULL;
	int n = 0, err;

	snprintf(dir, sizeof(dir), "chain/%llu", netns);
	err = netns == here->id ? 0 : bpffs_list(m->b, dir, &names, &n);
	bpffs_list_free(names, n);
	return netns != here->id && !err && !n;
}

int mirror_forget_gone(struct mirror *m, const struct netns *here)
{
	int err = chain_sweep(m->b, here);

	for (int i = 0; !err && i < MIRROR_PLACES; i++)
		if (m->place[i].since && mirror_netns_is_gone(m, here, m->place[i].netns))
			err = mirror_place_free(m, i);
	for (int i = 0; !err && i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(m, i);

		if (t && mirror_netns_is_gone(m, here, t->netns))
			__atomic_and_fetch(&m->config->targets, ~(1U << i), __ATOMIC_SEQ_CST);
	}
	return err ? fail_errno(err, "what is left of other network namespaces") : 0;
}

/*
 * Members of chains.
 */
struct member {
	struct iface dev;
	enum hook hook;
	__u32 prog_id;
};
struct members {
	const char *name;
	struct member *m;
	int n;
};
#define auto_members __attribute__((cleanup(members_free)))
static void members_free(struct members *all) { free(all->m); }

static int member_add(const struct chain_row *row, void *arg)
{
	struct members *all = arg;
	struct member *more;

	if (!row->member || strcmp(row->member->name, all->name) || row->id.hook == HOOK_XDP)
		return 0;
	more = reallocarray(all->m, (size_t)all->n + 1, sizeof(*more));
	if (!more)
		return fail_errno(-ENOMEM, "%s", row->id.iface.name);
	all->m = more;
	more[all->n++] = (struct member){ row->id.iface, row->id.hook, row->member->prog_id };
	return 0;
}

static int member_out(const struct run *run, const struct mirror *m, const struct iface *dev, enum hook hook,
		      const char *name)
{
	struct chain_id at;
	int err = chain_id_init(&at, dev, hook);

	return err ? err : chain_remove(run, m->b, &at, name);
}

static int member_in(const struct run *run, const struct mirror *m, const struct iface *dev, enum hook hook,
		     const char *name, int position)
{
	struct chain_request req = { .instance = MIRROR_KF, .position = position };
	struct chain_id at;
	int err = chain_id_init(&at, dev, hook);

	snprintf(req.name, sizeof(req.name), "%s", name);
	return err ? err : chain_add(run, m->b, &at, &req);
}

/* One whose maps' pins were removed by hand, and made anew since, is none of this instance. */
static bool is_running(const struct mirror *m, const struct member *member)
{
	return member->prog_id && m->targets >= 0 && kf_runs_on(m->targets, member->prog_id);
}

/* Where the kernel does not tell, it is taken for the right one. */
static bool is_place(const struct mirror *m, const struct member *member)
{
	struct mirror_here here;
	struct netns ns;
	int err = mirror_here_of(member->prog_id, &here);

	return err ? err != -ENOENT : !netns_self(&ns) && mirror_place_find(m, &ns, member->dev.index) == (int)here.place;
}

int mirror_members_set(const struct run *run, const struct mirror *m, const struct iface *dev, unsigned in, unsigned out)
{
	auto_members struct members now = { .name = MIRROR_KF };
	bool is_in[2] = { false };
	int err = chain_walk(m->b, dev, HOOK_COUNT, member_add, &now);

	for (int i = 0; !err && i < now.n; i++) {
		int d = now.m[i].hook == HOOK_TC_EGRESS;
		bool is_ours = is_running(m, &now.m[i]), is_of_another = is_ours && !is_place(m, &now.m[i]);

		is_in[d] = is_ours && !is_of_another;
		if (out & 1 << d || is_of_another || (in & 1 << d && !is_in[d]))
			err = member_out(run, m, dev, now.m[i].hook, MIRROR_KF);
	}
	/* first to see what came in as it was, last to see what goes out as it is */
	for (int d = 0; !err && d < 2; d++)
		if (in & 1 << d && !is_in[d])
			err = member_in(run, m, dev, d ? HOOK_TC_EGRESS : HOOK_TC_INGRESS, MIRROR_KF, !d);
	return err;
}

int mirror_orphans_out(const struct run *run, const struct mirror *m, const struct iface *dev)
{
	auto_members struct members now = { .name = MIRROR_KF };
	struct mirror_here here;
	int err = m->b->fd < 0 ? 0 : chain_walk(m->b, dev, HOOK_COUNT, member_add, &now);

	for (int i = 0; !err && i < now.n; i++)
		if (!is_running(m, &now.m[i]) && !mirror_here_of(now.m[i].prog_id, &here))
			err = member_out(run, m, &now.m[i].dev, now.m[i].hook, MIRROR_KF);
	return err;
}

int mirror_target_member(const struct run *run, const struct mirror *m, const struct iface *dev, bool is_in)
{
	auto_members struct members now = { .name = MIRROR_TARGET_KF };
	bool is_there = false;
	int err = chain_walk(m->b, dev, HOOK_TC_EGRESS, member_add, &now);

	if (!err && now.n) {
		is_there = is_running(m, &now.m[0]);
		if (!is_in || !is_there)
			err = member_out(run, m, dev, HOOK_TC_EGRESS, MIRROR_TARGET_KF);
	}
	if (!err && is_in && !is_there)
		err = member_in(run, m, dev, HOOK_TC_EGRESS, MIRROR_TARGET_KF, 1);
	return err;
}

int mirror_target_members_settle(const struct run *run, const struct mirror *m)
{
	auto_members struct members now = { .name = MIRROR_TARGET_KF };
	struct netns here;
	int err = netns_self(&here);

	if (err)
		return fail_errno(err, "this network namespace");
	err = chain_walk(m->b, NULL, HOOK_TC_EGRESS, member_add, &now);
	for (int i = 0; !err && i < now.n; i++)
		if (!mirror_has_target(m, &here, (__u32)now.m[i].dev.index, -1))
			err = member_out(run, m, &now.m[i].dev, HOOK_TC_EGRESS, MIRROR_TARGET_KF);
	return err;
}

/*
 * After a killed run.
 */
int mirror_silence(const struct run *run, struct mirror_silence *s)
{
	s->run = *run;
	s->run.changes = s->changes = changes_new();
	return s->changes ? 0 : fail_errno(-ENOMEM, MIRROR_KF);
}

void mirror_silence_end(struct mirror_silence *s)
{
	changes_free(s->changes);
}

/* The filters that packets are compared with are what counts; members follow. */
static int place_settle(const struct run *run, struct mirror *m, int place)
{
	auto_mirror_view struct mirror_view v = MIRROR_VIEW_INIT;
	struct mirror_place *p = &m->place[place];
	struct iface dev;
	int err = mirror_view_open(m, place, &v), has;
	unsigned in;

	if (err)
		return mirror_fail(err, p->name);
	has = iface_by_index((int)p->ifindex, &dev);
	if (has && has != -ENODEV)
		return fail_errno(has, "interface %u", p->ifindex);
	in = v.n ? mirror_directions(v.set->filter, v.n) : 0;
	if (!has)
		err = mirror_members_set(run, m, &dev, in, 3 & ~in);
	if (err)
		return err;
	p->is_changing = 0;
	err = v.n ? 0 : mirror_place_free(m, place);
	return err ? mirror_fail(err, p->name) : 0;
}

static int targets_settle(const struct run *run, struct mirror *m)
{
	int err = mirror_target_members_settle(run, m), left;

	if (err)
		return err;
	left = mirror_target_copies_settle(m);
	if (left)
		return fail_errno(left, "kf/" MIRROR_KF ": cannot complete what a killed run began");
	m->config->changing = 0;
	return 0;
}

int mirror_settle(const struct run *run, struct mirror *m)
{
	auto_silence struct mirror_silence silent = { .changes = NULL };
	struct netns here;
	int err = netns_self(&here);

	if (err)
		return fail_errno(err, "this network namespace");
	err = mirror_silence(run, &silent);
	if (!err && m->config->changing == here.id)
		err = targets_settle(&silent.run, m);
	for (int i = 0; !err && i < MIRROR_PLACES; i++)
		if (m->place[i].since && m->place[i].is_changing && m->place[i].netns == here.id)
			err = place_settle(&silent.run, m, i);
	return err;
}

/*
 * For the programs.
 */
static int check_instance(const struct bpffs *b, const char *instance, struct mirror *m)
{
	int ret = strcmp(instance, MIRROR_KF) ? 0 : mirror_map(b, false, m);

	if (strcmp(instance, MIRROR_KF))
		return fail(-E_USAGE, "mirrors have one instance, which is called " MIRROR_KF);
	return ret < 0 ? ret : 0;
}

int mirror_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata.place");
	struct mirror_here here = { .direction = at->hook == HOOK_TC_EGRESS ? FLOW_EGRESS : FLOW_INGRESS };
	int err = check_instance(b, instance, &m), place;

	if (err)
		return err;
	place = mirror_place_find(&m, &at->netns, at->iface.index);
	if (place < 0)
		return fail(-E_USAGE, "%s has no filters; l3afctl mirror filter add dev %s puts it into the chains",
			    at->iface.name, at->iface.name);
	here.place = (__u32)place;
	err = rodata ? bpf_map__set_initial_value(rodata, &here, sizeof(here)) : -ENOENT;
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}

int mirrortarget_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj, const struct chain_id *at)
{
	auto_mirror struct mirror m = MIRROR_INIT;

	(void)obj;
	(void)at;
	if (strcmp(instance, MIRROR_KF))
		return fail(-E_USAGE, "l3afctl mirror target add puts " MIRROR_TARGET_KF " into the chains; by hand: "
			    "chain add " MIRROR_TARGET_KF " instance " MIRROR_KF);
	return check_instance(b, instance, &m);
}

int mirrortarget_leave(const struct bpffs *b, const char *instance, const struct chain_id *at)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	int ret = strcmp(instance, MIRROR_KF) ? 0 : mirror_map(b, true, &m);

	if (ret <= 0)
		return ret;
	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(&m, i);

		if (t && t->netns == at->netns.id && t->ifindex == (__u32)at->iface.index)
			__atomic_store_n(&m.state[i].is_stray, 1, __ATOMIC_SEQ_CST);
	}
	ret = root_grace(); /* clones that are on their way still meet it */
	return ret ? fail_errno(ret, "%s: its targets", at->iface.name) : 0;
}
