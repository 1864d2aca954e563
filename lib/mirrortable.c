// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The maps of the instance: opened, read, found in. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "kf.h"
#include "mirrormaps.h"

const struct mirror_map mirror_maps[MIRROR_MAPS] = {
	[MIRROR_MAP_CONFIG] = { "config", BPF_MAP_TYPE_ARRAY, sizeof(struct mirror_config), 1, BPF_F_MMAPABLE },
	[MIRROR_MAP_PLACES] = { "places", BPF_MAP_TYPE_ARRAY, sizeof(struct mirror_place), MIRROR_PLACES,
				BPF_F_MMAPABLE },
	[MIRROR_MAP_SETS] = { "sets", BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), MIRROR_PLACES, 0 },
	[MIRROR_MAP_STATS] = { "stats", BPF_MAP_TYPE_ARRAY_OF_MAPS, sizeof(__u32), MIRROR_PLACES, 0 },
	[MIRROR_MAP_TARGETS] = { "targets", BPF_MAP_TYPE_ARRAY, sizeof(struct mirror_target), 2 * MIRROR_TARGETS,
				 BPF_F_MMAPABLE },
	[MIRROR_MAP_SENT] = { "sent", BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(struct mirror_stat), MIRROR_TARGETS, 0 },
	[MIRROR_MAP_STATE] = { "state", BPF_MAP_TYPE_ARRAY, sizeof(struct mirror_state), MIRROR_TARGETS,
			       BPF_F_MMAPABLE },
	[MIRROR_MAP_WAY] = { "way", BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(struct mirror_way), 1, 0 },
};

/*
 * Opening.
 */
static size_t pages(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (bytes + page - 1) / page * page;
}

static size_t map_bytes(enum mirror_map_id id)
{
	return pages(mirror_maps[id].value_size * (size_t)mirror_maps[id].entries);
}

static int map_mmap(int fd, size_t bytes, bool is_writable, void **at)
{
	void *p = mmap(NULL, bytes, PROT_READ | (is_writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	*at = p == MAP_FAILED ? NULL : p;
	return p == MAP_FAILED ? -errno : 0;
}

static int map_fd(const struct mirror *m, enum mirror_map_id id)
{
	const struct mirror_map *want = &mirror_maps[id];
	auto_fd int fd = kf_map(m->b, MIRROR_KF, want->name);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.type != want->type || info.key_size != sizeof(__u32) || info.value_size != want->value_size ||
	    info.max_entries != want->entries || want->flags & ~info.map_flags)
		return -EINVAL;
	return take_fd(&fd);
}

static int map_at(const struct mirror *m, enum mirror_map_id id, void **at)
{
	auto_fd int fd = map_fd(m, id);

	return fd < 0 ? fd : map_mmap(fd, map_bytes(id), m->is_writable, at);
}

static int open_all(struct mirror *m)
{
	const struct { enum mirror_map_id id; void **at; } mapped[] = {
		{ MIRROR_MAP_PLACES, (void **)&m->place }, { MIRROR_MAP_TARGETS, (void **)&m->target },
		{ MIRROR_MAP_STATE, (void **)&m->state },
	};
	const struct { enum mirror_map_id id; int *fd; } others[] = {
		{ MIRROR_MAP_SETS, &m->sets }, { MIRROR_MAP_STATS, &m->stats }, { MIRROR_MAP_SENT, &m->sent },
		{ MIRROR_MAP_TARGETS, &m->targets },
	};
	int err;

	err = map_at(m, MIRROR_MAP_CONFIG, (void **)&m->config);
	if (!err && m->config->abi != MIRROR_ABI)
		return -EPROTO;
	for (size_t i = 0; !err && i < sizeof(mapped) / sizeof(mapped[0]); i++)
		err = map_at(m, mapped[i].id, mapped[i].at);
	for (size_t i = 0; !err && i < sizeof(others) / sizeof(others[0]); i++) {
		*others[i].fd = map_fd(m, others[i].id);
		err = *others[i].fd < 0 ? *others[i].fd : 0;
	}
	return err;
}

static void map_munmap(enum mirror_map_id id, void *at)
{
	if (at)
		munmap(at, map_bytes(id));
}

void mirror_close(struct mirror *m)
{
	map_munmap(MIRROR_MAP_PLACES, m->place);
	map_munmap(MIRROR_MAP_TARGETS, m->target);
	map_munmap(MIRROR_MAP_STATE, m->state);
	map_munmap(MIRROR_MAP_CONFIG, m->config);
	cleanup_fd(&m->sets);
	cleanup_fd(&m->stats);
	cleanup_fd(&m->sent);
	cleanup_fd(&m->targets);
	*m = (struct mirror)MIRROR_INIT;
}

static int open_failed(const struct mirror *m, int err)
{
	if (err == -EPROTO)
		return fail(err, "kf/" MIRROR_KF " is of layout %u, this l3afctl knows %u; use the l3afctl that made it",
			    m->config->abi, MIRROR_ABI);
	if (err == -ENOENT || err == -EINVAL)
		return fail(err, "%s/kf/" MIRROR_KF " holds something else than the maps of mirror; remove it (rm -r)",
			    m->b->dir);
	return fail_errno(err, "%s/kf/" MIRROR_KF, m->b->dir);
}

int mirror_map(const struct bpffs *b, bool is_writable, struct mirror *m)
{
	int ret = b->fd < 0 ? 0 : kf_has_dir(b, MIRROR_KF, ".");

	*m = (struct mirror)MIRROR_INIT;
	m->b = b;
	m->is_writable = is_writable;
	if (!ret)
		return 0;
	ret = ret < 0 ? ret : open_all(m);
	if (!ret)
		return 1;
	ret = open_failed(m, ret);
	mirror_close(m);
	return ret;
}

int mirror_open(const struct run *run, const struct bpffs *b, bool is_writable, struct mirror *m)
{
	int ret = mirror_map(b, is_writable && !run->dry_run, m), err;

	if (ret <= 0 || !m->is_writable)
		return ret;
	err = mirror_settle(run, m);
	if (err)
		mirror_close(m);
	return err ? err : 1;
}

/*
 * Targets and places.
 */
const struct mirror_target *mirror_target_get(const struct mirror *m, int number)
{
	if (!m->config || !(m->config->targets >> number & 1))
		return NULL;
	return &m->target[number + (m->config->which >> number & 1 ? MIRROR_TARGETS : 0)];
}

int mirror_target_find(const struct mirror *m, const struct netns *ns, const char *name)
{
	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(m, i);

		if (t && t->netns == ns->id && !strncmp(t->name, name, sizeof(t->name)))
			return i;
	}
	return -ENOENT;
}

bool mirror_has_target(const struct mirror *m, const struct netns *ns, __u32 ifindex, int except)
{
	for (int i = 0; i < MIRROR_TARGETS; i++) {
		const struct mirror_target *t = mirror_target_get(m, i);

		if (t && i != except && t->netns == ns->id && t->ifindex == ifindex)
			return true;
	}
	return false;
}

int mirror_place_find(const struct mirror *m, const struct netns *ns, int ifindex)
{
	for (int i = 0; m->config && i < MIRROR_PLACES; i++)
		if (m->place[i].since && m->place[i].netns == ns->id && m->place[i].ifindex == (__u32)ifindex)
			return i;
	return -ENOENT;
}

bool mirror_is_gone(const struct netns *here, __u64 netns, __u32 ifindex)
{
	struct iface dev;

	return here->id == netns && iface_by_index((int)ifindex, &dev) == -ENODEV;
}

/*
 * Filters.
 */
static int inner_open(int outer, int place)
{
	__u32 key = (__u32)place, id;
	int err = bpf_map_lookup_elem(outer, &key, &id);

	return err ? err : bpf_map_get_fd_by_id(id);
}

int mirror_view_open(const struct mirror *m, int place, struct mirror_view *v)
{
	void *at = NULL;
	int err;

	*v = (struct mirror_view)MIRROR_VIEW_INIT;
	v->map = inner_open(m->sets, place);
	err = v->map < 0 && v->map != -ENOENT ? v->map : 0;
	if (!err) {
		v->stats = inner_open(m->stats, place);
		err = v->stats < 0 && v->stats != -ENOENT ? v->stats : 0;
	}
	if (!err && v->map >= 0)
		err = map_mmap(v->map, pages(sizeof(struct mirror_set)), false, &at);
	v->set = at;
	if (!err && v->set && v->set->match.rules > MIRROR_FILTERS)
		err = -EINVAL;
	if (err)
		mirror_view_close(v);
	else
		v->n = v->set ? (int)v->set->match.rules : 0;
	return err;
}

void mirror_view_close(struct mirror_view *v)
{
	mirror_set_unmap((struct mirror_set *)v->set);
	cleanup_fd(&v->map);
	cleanup_fd(&v->stats);
	*v = (struct mirror_view)MIRROR_VIEW_INIT;
}

void mirror_set_unmap(struct mirror_set *set)
{
	if (set)
		munmap(set, pages(sizeof(*set)));
}

int mirror_set_make(struct mirror_set **set)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	auto_fd int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "mirror_set", sizeof(__u32), sizeof(**set), 1, &opts);
	void *at = NULL;
	int err = fd < 0 ? fd : map_mmap(fd, pages(sizeof(**set)), true, &at);

	*set = at;
	return err ? err : take_fd(&fd);
}

unsigned mirror_directions(const struct mirror_filter *f, int n)
{
	unsigned directions = 0;

	for (int i = 0; i < n; i++)
		directions |= f[i].rule.directions;
	return directions;
}

/*
 * Counters.
 */
#define STAT_WORDS (sizeof(struct mirror_stat) / sizeof(__u64))

static int sum_cpus(int map, __u32 key, struct mirror_stat *sum)
{
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free __u64 *all = cpus > 0 ? calloc((size_t)cpus, sizeof(*sum)) : NULL;

	memset(sum, 0, sizeof(*sum));
	if (!all)
		return -ENOMEM;
	err = bpf_map_lookup_elem(map, &key, all);
	for (size_t i = 0; !err && i < (size_t)cpus * STAT_WORDS; i++)
		((__u64 *)sum)[i % STAT_WORDS] += all[i];
	return err;
}

int mirror_filter_stat(const struct mirror_view *v, int i, struct mirror_stat *sum)
{
	return sum_cpus(v->stats, v->set->filter[i].stat, sum);
}

int mirror_target_stat(const struct mirror *m, int number, struct mirror_stat *sum)
{
	return sum_cpus(m->sent, (__u32)number, sum);
}

int mirror_stat_zero(int stats, __u32 stat)
{
	int cpus = libbpf_num_possible_cpus();
	auto_free void *all = cpus > 0 ? calloc((size_t)cpus, sizeof(struct mirror_stat)) : NULL;

	return all ? bpf_map_update_elem(stats, &stat, all, BPF_ANY) : -ENOMEM;
}

int mirror_fail(int err, const char *dev)
{
	if (err == -EPERM)
		return fail(err, "%s: its filters are read and changed with CAP_SYS_ADMIN only: the kernel opens maps "
			    "by their ids for nobody else", dev);
	return fail_errno(err, "%s: its filters", dev);
}
