/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "flowmaps.h"
#include "flowtable.h"
#include "run.h"

/*
 * Mapping.
 */
static size_t map_bytes(const struct flow_map *m, __u32 entries)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (m->value_size * (size_t)entries + page - 1) / page * page;
}

static int check_map(int fd, const struct flow_map *m, __u32 entries)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	return info.type == m->type && info.key_size == m->key_size && info.value_size == m->value_size &&
	       info.max_entries == entries && (m->flags & ~info.map_flags) == 0 ? 0 : -EINVAL;
}

int flow_map_fd(const struct bpffs *b, const char *dir, const struct flow_map *m, __u32 entries)
{
	char path[128];
	auto_fd int fd = -1;
	int err;

	snprintf(path, sizeof(path), "%s/%s", dir, m->name);
	fd = bpffs_get(b, path);
	err = fd < 0 ? fd : check_map(fd, m, entries);
	return err ? err : take_fd(&fd);
}

int flow_map_mmap(int fd, const struct flow_map *m, __u32 entries, bool is_writable, void **at)
{
	void *p = mmap(NULL, map_bytes(m, entries), PROT_READ | (is_writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	*at = p == MAP_FAILED ? NULL : p;
	return p == MAP_FAILED ? -errno : 0;
}

void flow_map_munmap(const struct flow_map *m, __u32 entries, void *at)
{
	if (at)
		munmap(at, map_bytes(m, entries));
}

/* The first part of a map of so many entries. */
static int map_open(const struct bpffs *b, const char *dir, const struct flow_map *m, __u32 entries, __u32 part,
		    bool is_writable, void **at)
{
	auto_fd int fd = flow_map_fd(b, dir, m, entries);

	*at = NULL;
	return fd < 0 ? fd : flow_map_mmap(fd, m, part, is_writable, at);
}

/*
 * Opening.
 */
void flow_peer_close(struct flow_peer *p, __u32 mapped)
{
	flow_map_munmap(&flow_maps[FLOW_MAP_STATE], 1, p->state);
	flow_map_munmap(&flow_maps[FLOW_MAP_LINES], mapped, p->lines);
	cleanup_fd(&p->lock);
	*p = (struct flow_peer){ .lock = -1 };
}

void flowtable_close(struct flowtable *t)
{
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		flow_peer_close(&t->peer[i], t->mapped);
	flow_map_munmap(&flow_maps[FLOW_MAP_RECORDS], t->mapped, t->rec);
	flow_map_munmap(&flow_maps[FLOW_MAP_RING], flow_ring_size(t->max), t->ring);
	flow_map_munmap(&flow_maps[FLOW_MAP_ENDS], 1, t->ends);
	flow_map_munmap(&flow_maps[FLOW_MAP_CONFIG], 1, t->config);
	flow_map_munmap(&flow_maps[FLOW_MAP_PLACES], FLOW_PLACES, t->place);
	cleanup_fd(&t->keys);
	cleanup_fd(&t->stats);
	cleanup_fd(&t->lock);
	*t = (struct flowtable)FLOWTABLE_INIT;
}

static int open_dir(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int flow_peer_open(const struct flowtable *t, int number, struct flow_peer *p)
{
	const struct bpffs here = { .fd = t->lock };
	char dir[32];
	int err;

	snprintf(dir, sizeof(dir), "collector/%d", number);
	*p = (struct flow_peer){ .lock = -1 };
	err = open_dir(t->lock, dir);
	if (err < 0)
		return err;
	p->lock = err;
	err = map_open(&here, dir, &flow_maps[FLOW_MAP_STATE], 1, 1, t->is_writable, (void **)&p->state);
	if (!err)
		err = map_open(&here, dir, &flow_maps[FLOW_MAP_LINES], t->max, t->mapped, t->is_writable,
			       (void **)&p->lines);
	if (err)
		flow_peer_close(p, t->mapped);
	return err == -ENOENT ? -EINVAL : err;
}

static int open_config(const struct bpffs *b, const char *dir, struct flowtable *t)
{
	int err = map_open(b, dir, &flow_maps[FLOW_MAP_CONFIG], 1, 1, t->is_writable, (void **)&t->config);

	if (err)
		return err;
	if (t->config->abi != FLOW_ABI)
		return -EPROTO;
	t->max = t->config->max;
	return t->max < FLOW_MAX_LEAST || t->max > FLOW_MAX_MOST || t->config->mask != flow_ring_size(t->max) - 1 ?
		-EINVAL : 0;
}

/* Mapping is work for each page: slots that no flow ever had are left out, but for some. */
static __u32 slots_count(const struct flowtable *t)
{
	__u64 head = __atomic_load_n(&t->ends->head, __ATOMIC_ACQUIRE), some = head + head / 8 + 1024;

	return some < t->max ? (__u32)some : t->max;
}

static int open_maps(const struct bpffs *b, const char *dir, struct flowtable *t)
{
	__u32 ring = flow_ring_size(t->max);
	int err = map_open(b, dir, &flow_maps[FLOW_MAP_ENDS], 1, 1, t->is_writable, (void **)&t->ends);

	if (err)
		return err;
	t->mapped = slots_count(t);
	err = map_open(b, dir, &flow_maps[FLOW_MAP_RECORDS], t->max, t->mapped, t->is_writable, (void **)&t->rec);
	if (!err)
		err = map_open(b, dir, &flow_maps[FLOW_MAP_RING], ring, ring, t->is_writable, (void **)&t->ring);
	if (!err)
		err = map_open(b, dir, &flow_maps[FLOW_MAP_PLACES], FLOW_PLACES, FLOW_PLACES, t->is_writable,
			       (void **)&t->place);
	if (err)
		return err;
	t->keys = flow_map_fd(b, dir, &flow_maps[FLOW_MAP_KEYS], t->max);
	if (t->keys < 0)
		return t->keys;
	t->stats = flow_map_fd(b, dir, &flow_maps[FLOW_MAP_STATS], FLOW_PLACES);
	return t->stats < 0 ? t->stats : 0;
}

static int open_all(const struct bpffs *b, const char *dir, struct flowtable *t)
{
	int err = open_config(b, dir, t);

	if (!err)
		err = open_maps(b, dir, t);
	for (int i = 0; !err && i < FLOW_COLLECTORS; i++) {
		err = flow_peer_open(t, i, &t->peer[i]);
		if (err == -ENOENT)
			err = 0;
	}
	return err ? err : flow_clock_read(t);
}

static int map_again(const struct flowtable *t, int dir, enum flow_map_id map, __u32 slots, void **at)
{
	const struct bpffs here = { .fd = dir };
	void *more;
	int err = map_open(&here, ".", &flow_maps[map], t->max, slots, t->is_writable, &more);

	if (err)
		return err;
	flow_map_munmap(&flow_maps[map], t->mapped, *at);
	*at = more;
	return 0;
}

int flowtable_grow(struct flowtable *t)
{
	__u32 slots = slots_count(t);
	int err = 0;

	if (t->mapped == t->max || __atomic_load_n(&t->ends->head, __ATOMIC_ACQUIRE) <= t->mapped)
		return 0;
	err = map_again(t, t->lock, FLOW_MAP_RECORDS, slots, (void **)&t->rec);
	for (int i = 0; !err && i < FLOW_COLLECTORS; i++)
		if (t->peer[i].state)
			err = map_again(t, t->peer[i].lock, FLOW_MAP_LINES, slots, (void **)&t->peer[i].lines);
	if (!err)
		t->mapped = slots;
	return err;
}

int flowtable_open(const struct bpffs *b, const char *instance, bool is_writable, struct flowtable *t)
{
	char dir[32];
	int err;

	*t = (struct flowtable)FLOWTABLE_INIT;
	if (b->fd < 0)
		return 0;
	snprintf(t->instance, sizeof(t->instance), "%s", instance);
	snprintf(dir, sizeof(dir), "kf/%s", t->instance);
	t->is_writable = is_writable;
	t->lock = open_dir(b->fd, dir);
	if (t->lock == -ENOENT) {
		t->lock = -1;
		return 0;
	}
	err = t->lock < 0 ? t->lock : open_all(b, dir, t);
	if (!err)
		return 1;
	if (err == -EPROTO)
		err = fail(err, "%s is of layout %u, this l3afctl knows %u; use the l3afctl that made it", dir,
			   t->config->abi, FLOW_ABI);
	else if (err == -ENOENT || err == -EINVAL)
		err = fail(err, "%s/%s holds something else than the maps of flows; use another instance", b->dir, dir);
	else
		err = fail_errno(err, "%s/%s", b->dir, dir);
	flowtable_close(t);
	return err;
}

/*
 * The clock.
 */
static __u64 realtime_tick_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return (__u64)now.tv_sec * 1000000000 + (__u64)now.tv_nsec;
}

/* Jiffies and the coarse clock move on at the same tick: read both within one, so that
 * a jiffy is the same time whenever it is converted. */
int flow_clock_read(struct flowtable *t)
{
	auto_fd int prog = clock_open();
	int err = prog < 0 ? prog : 0;

	t->tick_ns = clock_tick_ns();
	for (int i = 0; !err && i < 100; i++) {
		t->now_ns = realtime_tick_ns();
		err = clock_read(prog, &t->now_jiffies);
		if (t->now_ns == realtime_tick_ns())
			break;
	}
	return err;
}

/*
 * Locks.
 */
int flow_lock(const struct run *run, int fd, const char *who)
{
	__u64 deadline = run_now_us() + run->wait_us;

	while (flock(fd, LOCK_EX | LOCK_NB)) {
		struct timespec nap = { .tv_nsec = 2000000 };

		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return fail_errno(-errno, "cannot lock %s", who);
		if (run_now_us() >= deadline)
			return fail(-E_LOCKED, "another l3afctl is at work on %s; waited %.3g s (--wait DURATION waits "
				    "longer)", who, (double)run->wait_us / 1e6);
		nanosleep(&nap, NULL);
	}
	return 0;
}

void flow_unlock(int fd)
{
	(void)!flock(fd, LOCK_UN);
}

int flowtable_lock_all(const struct run *run, const struct flowtable *t)
{
	char who[300];
	int err = 0;

	for (int i = 0; !err && i < FLOW_COLLECTORS; i++) {
		if (!t->peer[i].state)
			continue;
		snprintf(who, sizeof(who), "collector %s", t->peer[i].state->name);
		err = flow_lock(run, t->peer[i].lock, who);
	}
	snprintf(who, sizeof(who), "instance %s", t->instance);
	return err ? err : flow_lock(run, t->lock, who);
}

/*
 * Reading.
 */
__u32 flowtable_end(const struct flowtable *t)
{
	__u64 head = __atomic_load_n(&t->ends->head, __ATOMIC_ACQUIRE);

	return head < t->mapped ? (__u32)head : t->mapped;
}

int flowtable_stat(const struct flowtable *t, __u32 place, struct flow_stat *sum)
{
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free struct flow_stat *all = cpus > 0 ? calloc((size_t)cpus, sizeof(*all)) : NULL;

	*sum = (struct flow_stat){ 0 };
	if (!all)
		return -ENOMEM;
	err = bpf_map_lookup_elem(t->stats, &place, all);
	for (int i = 0; !err && i < cpus; i++) {
		sum->frames += all[i].frames;
		sum->bytes += all[i].bytes;
		sum->packets += all[i].packets;
		sum->octets += all[i].octets;
		for (int c = 0; c < FLOW_IGNORED_CAUSES; c++) {
			sum->ignored[c].packets += all[i].ignored[c].packets;
			sum->ignored[c].octets += all[i].ignored[c].octets;
		}
		if (all[i].first_ignored && (!sum->first_ignored || all[i].first_ignored < sum->first_ignored))
			sum->first_ignored = all[i].first_ignored;
		if (all[i].last_ignored > sum->last_ignored)
			sum->last_ignored = all[i].last_ignored;
		sum->flows += all[i].flows;
	}
	return err;
}

/*
 * Places.
 */
static bool is_place(const struct flow_place *p, const struct chain_id *at)
{
	return p->ifindex == (__u32)at->iface.index && p->netns == at->netns.id &&
	       p->direction == (at->hook == HOOK_TC_EGRESS ? FLOW_EGRESS : FLOW_INGRESS);
}

static void mark_referred(const struct flowtable *t, bool referred[FLOW_PLACES])
{
	for (__u32 slot = 0, end = flowtable_end(t); slot < end; slot++) {
		__u32 state = FLOW_STATE(t->rec[slot].life);

		if (state != FLOW_FREE && state != FLOW_ORPHAN && t->rec[slot].key.place < FLOW_PLACES)
			referred[t->rec[slot].key.place] = true;
	}
}

/* A free one first: what a place counted is of use as long as it is known. Whether an
 * interface of another network namespace is gone cannot be known here. */
static int place_vacant(const struct flowtable *t, const struct chain_id *at)
{
	bool referred[FLOW_PLACES] = { false };
	struct iface iface;

	for (int i = 0; i < FLOW_PLACES; i++)
		if (!t->place[i].ifindex)
			return i;
	mark_referred(t, referred);
	for (int i = 0; i < FLOW_PLACES; i++)
		if (!referred[i] && t->place[i].netns == at->netns.id &&
		    iface_by_index((int)t->place[i].ifindex, &iface) == -ENODEV)
			return i;
	return -E2BIG;
}

static int place_clear(const struct flowtable *t, __u32 place)
{
	int cpus = libbpf_num_possible_cpus();
	auto_free struct flow_stat *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	return zero ? bpf_map_update_elem(t->stats, &place, zero, BPF_ANY) : -ENOMEM;
}

static int place_take(const struct flowtable *t, const struct chain_id *at)
{
	int number = place_vacant(t, at), err;
	struct flow_place *p = &t->place[number < 0 ? 0 : number];

	if (number < 0)
		return fail(number, "instance %s counts at %d places, no more fit; use another instance", t->instance,
			    FLOW_PLACES);
	__atomic_store_n(&p->ifindex, 0, __ATOMIC_SEQ_CST);
	err = place_clear(t, (__u32)number);
	if (err)
		return fail_errno(err, "kf/%s/stats", t->instance);
	*p = (struct flow_place){
		.netns = at->netns.id,
		.is_cookie = at->netns.is_cookie,
		.direction = at->hook == HOOK_TC_EGRESS ? FLOW_EGRESS : FLOW_INGRESS,
		.since = (__u64)time(NULL),
	};
	__atomic_store_n(&p->ifindex, (__u32)at->iface.index, __ATOMIC_SEQ_CST);
	return number;
}

int flowtable_place(struct flowtable *t, const struct chain_id *at, const char *name)
{
	int number = -1;

	for (int i = 0; number < 0 && i < FLOW_PLACES; i++)
		if (is_place(&t->place[i], at))
			number = i;
	if (number < 0)
		number = place_take(t, at);
	if (number >= 0 && strcmp(t->place[number].name, name)) {
		memset(t->place[number].name, 0, sizeof(t->place[number].name));
		strncpy(t->place[number].name, name, sizeof(t->place[number].name) - 1);
	}
	return number;
}
