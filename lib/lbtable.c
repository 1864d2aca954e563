// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The maps of an instance: opened, read, found in. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "kf.h"
#include "lbmaps.h"
#include "lbs.h"
#include "run.h"

const struct lb_map lb_maps[LB_MAPS] = {
	[LB_MAP_CONFIG] = { "config", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_config), BPF_F_MMAPABLE },
	[LB_MAP_PLACES] = { "places", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_place), BPF_F_MMAPABLE },
	[LB_MAP_PREFILTER] = { "prefilter", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_prefilter), BPF_F_MMAPABLE },
	[LB_MAP_VIPKEYS] = { "vipkeys", BPF_MAP_TYPE_HASH, sizeof(struct lb_key), sizeof(__u32), 0 },
	[LB_MAP_VIPS] = { "vips", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_vip), BPF_F_MMAPABLE },
	[LB_MAP_RINGS] = { "rings", BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, sizeof(__u32), 0 },
	[LB_MAP_BACKENDS] = { "backends", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_backend), BPF_F_MMAPABLE },
	[LB_MAP_FLOWS] = { "flows", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_bucket), BPF_F_MMAPABLE },
	[LB_MAP_HOPS] = { "hops", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_hop), BPF_F_MMAPABLE },
	[LB_MAP_FRAGS] = { "frags", BPF_MAP_TYPE_ARRAY, 4, sizeof(__u64), BPF_F_MMAPABLE },
	[LB_MAP_STATS] = { "stats", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct lb_stat), 0 },
	[LB_MAP_VIPSTATS] = { "vipstats", BPF_MAP_TYPE_PERCPU_ARRAY, 4, sizeof(struct lb_vip_stat), 0 },
	[LB_MAP_HEALTH] = { "health", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct lb_health), BPF_F_MMAPABLE },
};

/* A VIP has two keys at most: its own, and its address's. Number 0 is no backend. */
void lb_map_entries(const struct lb_sizes *s, __u32 entries[LB_MAPS])
{
	const __u32 all[LB_MAPS] = {
		[LB_MAP_CONFIG] = 1,
		[LB_MAP_PLACES] = 2 * LB_PLACES,
		[LB_MAP_PREFILTER] = 1,
		[LB_MAP_VIPKEYS] = 2 * s->vips,
		[LB_MAP_VIPS] = s->vips,
		[LB_MAP_RINGS] = 2 * s->vips,
		[LB_MAP_BACKENDS] = s->backends + 1,
		[LB_MAP_FLOWS] = s->flows / LB_WAYS,
		[LB_MAP_HOPS] = LB_PLACES * (s->backends + 1),
		[LB_MAP_FRAGS] = LB_FRAGS,
		[LB_MAP_STATS] = s->backends + 1,
		[LB_MAP_VIPSTATS] = s->vips,
		[LB_MAP_HEALTH] = s->backends + 1,
	};

	memcpy(entries, all, sizeof(all));
}

static size_t map_bytes(enum lb_map_id id, __u32 entries)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (lb_maps[id].value_size * (size_t)entries + page - 1) / page * page;
}

int lb_map_mmap(int fd, enum lb_map_id id, __u32 entries, bool is_writable, void **at)
{
	void *p = mmap(NULL, map_bytes(id, entries), PROT_READ | (is_writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);

	*at = p == MAP_FAILED ? NULL : p;
	return p == MAP_FAILED ? -errno : 0;
}

void lb_map_munmap(enum lb_map_id id, __u32 entries, void *at)
{
	if (at)
		munmap(at, map_bytes(id, entries));
}

static int map_fd(const struct lb *lb, enum lb_map_id id, __u32 entries)
{
	const struct lb_map *m = &lb_maps[id];
	auto_fd int fd = kf_map(lb->b, lb->instance, m->name);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.type != m->type || info.key_size != m->key_size || info.value_size != m->value_size ||
	    info.max_entries != entries || m->flags & ~info.map_flags)
		return -EINVAL;
	return take_fd(&fd);
}

static int map_at(const struct lb *lb, enum lb_map_id id, __u32 entries, void **at)
{
	auto_fd int fd = map_fd(lb, id, entries);

	return fd < 0 ? fd : lb_map_mmap(fd, id, entries, lb->is_writable, at);
}

struct lb_sizes lb_sizes_of(const struct lb *lb)
{
	return (struct lb_sizes){
		.flows = lb->config->buckets * LB_WAYS,
		.vips = lb->config->vips,
		.backends = lb->config->backends - 1,
	};
}

static void sizes_of(const struct lb *lb, __u32 entries[LB_MAPS])
{
	const struct lb_sizes s = lb_sizes_of(lb);

	lb_map_entries(&s, entries);
}

static int open_config(struct lb *lb)
{
	int err = map_at(lb, LB_MAP_CONFIG, 1, (void **)&lb->config);

	if (err)
		return err;
	if (lb->config->abi != LB_ABI)
		return -EPROTO;
	return lb->config->tick_us && lb->config->buckets && !(lb->config->buckets & (lb->config->buckets - 1)) ?
		0 : -EINVAL;
}

static int open_rest(struct lb *lb)
{
	const struct { enum lb_map_id id; void **at; } mapped[] = {
		{ LB_MAP_PLACES, (void **)&lb->place }, { LB_MAP_PREFILTER, (void **)&lb->prefilter },
		{ LB_MAP_VIPS, (void **)&lb->vip }, { LB_MAP_BACKENDS, (void **)&lb->backend },
		{ LB_MAP_FLOWS, (void **)&lb->bucket }, { LB_MAP_HOPS, (void **)&lb->hop },
		{ LB_MAP_HEALTH, (void **)&lb->health }, { LB_MAP_FRAGS, (void **)&lb->frag },
	};
	const struct { enum lb_map_id id; int *fd; } others[] = {
		{ LB_MAP_VIPKEYS, &lb->vipkeys }, { LB_MAP_RINGS, &lb->rings },
		{ LB_MAP_STATS, &lb->stats }, { LB_MAP_VIPSTATS, &lb->vipstats },
	};
	__u32 entries[LB_MAPS];
	int err = 0;

	sizes_of(lb, entries);
	for (size_t i = 0; !err && i < sizeof(mapped) / sizeof(mapped[0]); i++)
		err = map_at(lb, mapped[i].id, entries[mapped[i].id], mapped[i].at);
	for (size_t i = 0; !err && i < sizeof(others) / sizeof(others[0]); i++) {
		*others[i].fd = map_fd(lb, others[i].id, entries[others[i].id]);
		err = *others[i].fd < 0 ? *others[i].fd : 0;
	}
	return err;
}

void lb_close(struct lb *lb)
{
	__u32 entries[LB_MAPS] = { 0 };

	if (lb->config)
		sizes_of(lb, entries);
	lb_map_munmap(LB_MAP_PLACES, entries[LB_MAP_PLACES], lb->place);
	lb_map_munmap(LB_MAP_PREFILTER, entries[LB_MAP_PREFILTER], lb->prefilter);
	lb_map_munmap(LB_MAP_VIPS, entries[LB_MAP_VIPS], lb->vip);
	lb_map_munmap(LB_MAP_BACKENDS, entries[LB_MAP_BACKENDS], lb->backend);
	lb_map_munmap(LB_MAP_FLOWS, entries[LB_MAP_FLOWS], lb->bucket);
	lb_map_munmap(LB_MAP_HOPS, entries[LB_MAP_HOPS], lb->hop);
	lb_map_munmap(LB_MAP_HEALTH, entries[LB_MAP_HEALTH], lb->health);
	lb_map_munmap(LB_MAP_FRAGS, entries[LB_MAP_FRAGS], lb->frag);
	lb_map_munmap(LB_MAP_CONFIG, 1, lb->config);
	cleanup_fd(&lb->vipkeys);
	cleanup_fd(&lb->rings);
	cleanup_fd(&lb->stats);
	cleanup_fd(&lb->vipstats);
	*lb = (struct lb)LB_INIT;
}

int lb_now(struct lb *lb)
{
	auto_fd int prog = clock_open();
	__u64 jiffies;
	int err = prog < 0 ? prog : clock_read(prog, &jiffies);

	if (!err)
		lb->now = (__u32)(jiffies >> lb->config->tick_shift);
	return err;
}

struct lb_of lb_of(const char *instance)
{
	struct lb_of of = { "" };

	if (strcmp(instance, LB_KF))
		snprintf(of.text, sizeof(of.text), " instance %s", instance);
	return of;
}

static int open_failed(struct lb *lb, int err)
{
	const char *dir = lb->b->dir, *name = lb->instance;

	if (err == -EPROTO)
		return fail(err, "kf/%s is of layout %u, this l3afctl knows %u; use the l3afctl that made it", name,
			    lb->config->abi, LB_ABI);
	if (err == -ENOENT || err == -EINVAL)
		return fail(err, "%s/kf/%s holds something else than the maps of lb; use another instance", dir, name);
	return fail_errno(err, "%s/kf/%s", dir, name);
}

static void warn_changing(const struct lb *lb)
{
	char text[VIP_LEN];
	struct vip vip;

	for (__u32 i = 0; i < lb->config->vips; i++) {
		if (!lb->vip[i].is_live || !lb->vip[i].is_changing)
			continue;
		lb_vip_get(lb, (int)i, &vip);
		warn("vip %s: a change of it was cut short, its backends may be shown as they are not; the next change "
		     "completes it", format_vip(&vip, text, sizeof(text)));
	}
}

static int map_all(const struct bpffs *b, const char *instance, bool is_writable, struct lb *lb)
{
	int ret = b->fd < 0 ? 0 : kf_has_dir(b, instance, ".");

	*lb = (struct lb)LB_INIT;
	snprintf(lb->instance, sizeof(lb->instance), "%s", instance);
	lb->b = b;
	lb->is_writable = is_writable;
	if (ret <= 0)
		return ret;
	ret = open_config(lb);
	if (!ret)
		ret = open_rest(lb);
	return ret ? ret : 1;
}

/* The places and all below. */
static int settle(struct lb *lb)
{
	int err = lb_places_settle(lb);

	if (err)
		return err;
	err = lb_settle(lb);
	if (err == -EPERM)
		return fail(err, "kf/%s: what a killed run began can be completed with CAP_SYS_ADMIN only",
			    lb->instance);
	return err ? fail_errno(err, "kf/%s: cannot complete what a killed run began", lb->instance) : 0;
}

int lb_map(const struct bpffs *b, const char *instance, bool is_writable, struct lb *lb)
{
	int ret = map_all(b, instance, is_writable, lb);

	return ret < 0 ? open_failed(lb, ret) : ret;
}

int lb_open(const struct run *run, const struct bpffs *b, const char *instance, bool is_writable, struct lb *lb)
{
	int ret = lb_map(b, instance, is_writable && !run->dry_run, lb), err = ret == 1 ? lb_now(lb) : 0;

	if (err)
		ret = open_failed(lb, err);
	if (ret == 1 && lb->is_writable) {
		err = settle(lb);
		ret = err ? err : 1;
		if (!err)
			lb_sweep(lb);
	} else if (ret == 1) {
		warn_changing(lb);
	}
	if (ret != 1)
		lb_close(lb);
	return ret;
}

/* Others have maps of these names, too: what is not ours is not kept for us. */
int lb_keeps(const struct bpffs *b, const char *instance)
{
	auto_lb struct lb lb = LB_INIT;
	int ret = map_all(b, instance, false, &lb);

	if (ret == -EINVAL || ret == -ENOENT)
		return 0;
	return ret <= 0 ? ret : lb_is_needed(&lb, -1);
}

/*
 * Finding.
 */
struct vip lb_key_vip(const struct lb_key *key)
{
	struct vip vip = { .port = ntohs(key->port), .proto = key->proto };

	memcpy(vip.addr.b, key->addr, sizeof(vip.addr.b));
	return vip;
}

struct lb_key lb_vip_key(const struct vip *vip)
{
	struct lb_key key = { .port = htons(vip->port), .proto = vip->proto };

	memcpy(key.addr, vip->addr.b, sizeof(key.addr));
	return key;
}

int lb_vip_find(const struct lb *lb, const struct vip *vip)
{
	const struct lb_key key = lb_vip_key(vip);

	for (__u32 i = 0; i < lb->config->vips; i++)
		if (lb->vip[i].is_live && !memcmp(&lb->vip[i].key, &key, sizeof(key)))
			return (int)i;
	return -ENOENT;
}

void lb_vip_get(const struct lb *lb, int number, struct vip *vip)
{
	*vip = lb_key_vip(&lb->vip[number].key);
}

static bool is_member(const struct lb_backend *b, int vip)
{
	return (b->state == LB_ALIVE || b->state == LB_DEAD) && b->vip == (__u32)vip;
}

int lb_backend_find(const struct lb *lb, int vip, const struct addr *addr)
{
	for (__u32 i = 1; i < lb->config->backends; i++)
		if (is_member(&lb->backend[i], vip) && !memcmp(lb->backend[i].addr, addr, sizeof(*addr)))
			return (int)i;
	return -ENOENT;
}

static int by_addr(const void *a, const void *b, void *arg)
{
	const struct lb *lb = arg;

	return memcmp(lb->backend[*(const __u16 *)a].addr, lb->backend[*(const __u16 *)b].addr, sizeof(struct addr));
}

int lb_backends(const struct lb *lb, int vip, __u16 **numbers)
{
	int n = 0;

	*numbers = malloc(sizeof(**numbers) * LB_MEMBERS);
	if (!*numbers)
		return -ENOMEM;
	for (__u32 i = 1; i < lb->config->backends && n < LB_MEMBERS; i++)
		if (is_member(&lb->backend[i], vip))
			(*numbers)[n++] = (__u16)i;
	qsort_r(*numbers, (size_t)n, sizeof(**numbers), by_addr, (void *)lb);
	return n;
}

bool lb_is_usable(const struct lb_backend *b)
{
	return b->admin == LB_UP && b->healthy != LB_SICK && b->weight;
}

__u32 lb_ticks(const struct lb_config *config, __u64 us)
{
	/* an entry may be written just before the tick changes */
	return us ? (__u32)((us + config->tick_us - 1) / config->tick_us) + 1 : 0;
}

/*
 * Counters.
 */
static int sum_cpus(int map, __u32 key, __u64 *sum, int words)
{
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free __u64 *all = cpus > 0 ? calloc((size_t)cpus, sizeof(*all) * (size_t)words) : NULL;

	memset(sum, 0, sizeof(*sum) * (size_t)words);
	if (!all)
		return -ENOMEM;
	err = bpf_map_lookup_elem(map, &key, all);
	for (int i = 0; !err && i < cpus * words; i++)
		sum[i % words] += all[i];
	return err;
}

int lb_stat_read(const struct lb *lb, int backend, struct lb_stat *sum)
{
	return sum_cpus(lb->stats, (__u32)backend, (__u64 *)sum, sizeof(*sum) / sizeof(__u64));
}

int lb_vip_stat_read(const struct lb *lb, int vip, struct lb_vip_stat *sum)
{
	return sum_cpus(lb->vipstats, (__u32)vip, (__u64 *)sum, sizeof(*sum) / sizeof(__u64));
}
