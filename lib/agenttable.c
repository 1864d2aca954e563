/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agents.h"
#include "agenttable.h"
#include "cleanup.h"
#include "clock.h"
#include "kf.h"

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

void agents_close(struct agents *a)
{
	cleanup_fd(&a->config);
	cleanup_fd(&a->places);
	cleanup_fd(&a->vips);
	cleanup_fd(&a->sources);
	cleanup_fd(&a->conns);
	cleanup_fd(&a->stats);
	cleanup_fd(&a->vipstats);
	*a = (struct agents)AGENTS_INIT;
}

static int maps_open(const struct bpffs *b, struct agents *a)
{
	const struct { const char *name; int *fd; } maps[] = {
		{ "config", &a->config }, { "places", &a->places }, { "vips", &a->vips }, { "sources", &a->sources },
		{ "conns", &a->conns }, { "stats", &a->stats }, { "vipstats", &a->vipstats },
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		*maps[i].fd = kf_map(b, a->instance, maps[i].name);
		if (*maps[i].fd < 0)
			return *maps[i].fd;
	}
	return 0;
}

static int maps_read(struct agents *a)
{
	struct agent_config config;
	__u32 zero = 0;
	int err = bpf_map_lookup_elem(a->config, &zero, &config);

	if (!err && config.abi != AGENT_ABI)
		return config.abi ? -EPROTO : -ENOENT;
	for (__u32 i = 0; !err && i < AGENT_PLACES; i++)
		err = bpf_map_lookup_elem(a->places, &i, &a->place[i]);
	return err;
}

int agents_open(const struct bpffs *b, const char *instance, struct agents *a)
{
	int has = kf_has_dir(b, instance, AGENT_KF), err;

	if (!has)
		return 0;
	*a = (struct agents)AGENTS_INIT;
	snprintf(a->instance, sizeof(a->instance), "%s", instance);
	err = has < 0 ? has : maps_open(b, a);
	if (!err)
		err = maps_read(a);
	if (!err)
		return 1;
	agents_close(a);
	if (err == -ENOENT) /* a killed run was making it */
		return 0;
	return err == -EPROTO ? fail(err, "kf/%s is of another layout than this l3afctl knows (%u); use the l3afctl "
				     "that made it", instance, AGENT_ABI) :
		fail_errno(err, "kf/%s: the agent's maps", instance);
}

int agents_make(const struct bpffs *b, const char *instance, struct agents *a)
{
	static const char *const no_programs[] = { NULL };
	const struct agent_config config = { .abi = AGENT_ABI };
	auto_obj struct bpf_object *obj = NULL;
	char path[64];
	__u32 zero = 0;
	int err;

	snprintf(path, sizeof(path), "kf/%s/" AGENT_KF, instance);
	err = bpffs_mkdir(b, path);
	if (!err)
		err = kf_instance(b, kf_find(AGENT_KF), instance, no_programs, &obj);
	if (!err)
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "config"), &zero, &config, BPF_ANY);
	if (err)
		return fail_errno(err, "cannot make the maps of instance %s", instance);
	err = agents_open(b, instance, a);
	return err == 1 ? 0 : err ? err : fail(-ENOENT, "kf/%s was removed meanwhile", instance);
}

int agents_remove(const struct bpffs *b, const char *instance)
{
	char path[64];
	int err;

	snprintf(path, sizeof(path), "kf/%s", instance);
	err = bpffs_remove_tree(b, path);
	return err ? fail_errno(err, "cannot remove %s/%s", b->dir, path) : 0;
}

/*
 * Keys of the hashes, in batches or, where a kernel has none for the type, one by one.
 */
struct keys {
	char *key;
	size_t size;
	int n;
};
#define auto_keys __attribute__((cleanup(keys_free)))
static void keys_free(struct keys *k) { free(k->key); }

static int keys_add(struct keys *k, const void *key)
{
	char *more = reallocarray(k->key, (size_t)k->n + 1, k->size);

	if (!more)
		return -ENOMEM;
	k->key = more;
	memcpy(more + (size_t)k->n++ * k->size, key, k->size);
	return 0;
}

/* Those of which is_wanted(key, arg). */
static int keys_read(int map, size_t size, bool (*is_wanted)(const void *key, const void *arg), const void *arg,
		     struct keys *k)
{
	char prev[64], key[64];
	int err = bpf_map_get_next_key(map, NULL, key);

	*k = (struct keys){ .size = size };
	while (!err) {
		if (is_wanted(key, arg))
			err = keys_add(k, key);
		memcpy(prev, key, size);
		if (!err)
			err = bpf_map_get_next_key(map, prev, key);
	}
	return err == -ENOENT ? 0 : err;
}

static bool vip_is_of(const void *key, const void *place)
{
	return ((const struct agent_vip_key *)key)->place == *(const __u32 *)place;
}

static bool source_is_of(const void *key, const void *place)
{
	return ((const struct agent_source *)key)->place == *(const __u32 *)place;
}

static bool any(const void *key, const void *arg)
{
	return key && !arg;
}

/* In batches: a walk from key to key starts again when its key is evicted meanwhile. */
#define BATCH 4096
static int each_conn(const struct agents *a, int (*fn)(const struct agent_conn_key *key, const struct agent_conn *conn,
						       void *arg), void *arg)
{
	auto_free struct agent_conn_key *key = calloc(BATCH, sizeof(*key));
	auto_free struct agent_conn *conn = calloc(BATCH, sizeof(*conn));
	__u32 at = 0, n;
	bool is_first = true;
	int err = key && conn ? 0 : -ENOMEM, ret = 0;

	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_batch(a->conns, is_first ? NULL : &at, &at, key, conn, &n, NULL);
		if (err && err != -ENOENT)
			return err;
		for (__u32 i = 0; !ret && i < n; i++)
			ret = fn(&key[i], &conn[i], arg);
		is_first = false;
	}
	return err == -ENOENT ? ret : err;
}

/*
 * Places.
 */
int agents_place(const struct agents *a, const struct netns *netns, int ifindex)
{
	for (int i = 0; i < AGENT_PLACES; i++)
		if (a->place[i].ifindex == (__u32)ifindex && a->place[i].netns == netns->id)
			return i;
	return -ENOENT;
}

static int place_clear(const struct agents *a, int place)
{
	int cpus = libbpf_num_possible_cpus(), n, err;
	auto_free struct agent_stat *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;
	auto_free struct agent_vip_entry *vip = NULL;
	auto_free struct agent_source *source = NULL;

	err = zero ? bpf_map_update_elem(a->stats, &place, zero, BPF_ANY) : -ENOMEM;
	if (!err)
		err = agents_vips(a, place, &vip, &n);
	for (int i = 0; !err && i < n; i++)
		err = agents_vip_remove(a, &vip[i].key);
	if (!err)
		err = agents_sources(a, place, &source, &n);
	for (int i = 0; !err && i < n; i++)
		err = agents_source_remove(a, &source[i]);
	return err;
}

int agents_place_new(struct agents *a, bool is_dry)
{
	int err;

	for (int i = 0; i < AGENT_PLACES; i++) {
		if (a->place[i].ifindex)
			continue;
		err = is_dry ? 0 : place_clear(a, i);
		return err ? err : i;
	}
	return -E2BIG;
}

int agents_place_write(struct agents *a, int place, const struct agent_place *what)
{
	a->place[place] = *what;
	return bpf_map_update_elem(a->places, &place, what, BPF_ANY);
}

int agents_place_free(struct agents *a, int place)
{
	const struct agent_place none = { 0 };
	int err = place_clear(a, place);

	return err ? err : agents_place_write(a, place, &none);
}

/*
 * VIPs.
 */
static int vip_compare(const void *x, const void *y)
{
	return memcmp(((const struct agent_vip_entry *)x)->key.addr, ((const struct agent_vip_entry *)y)->key.addr, 16);
}

int agents_vips(const struct agents *a, int place, struct agent_vip_entry **all, int *n)
{
	auto_keys struct keys k = { 0 };
	int err = keys_read(a->vips, sizeof(struct agent_vip_key), vip_is_of, &place, &k);
	const struct agent_vip_key *key = (const void *)k.key;

	*n = 0;
	*all = calloc((size_t)k.n + 1, sizeof(**all));
	if (!*all)
		return -ENOMEM;
	for (int i = 0; !err && i < k.n; i++) {
		struct agent_vip_entry *e = &(*all)[*n];

		e->key = key[i];
		err = bpf_map_lookup_elem(a->vips, &e->key, &e->vip);
		*n += !err;
		err = err == -ENOENT ? 0 : err;
	}
	if (!err)
		qsort(*all, (size_t)*n, sizeof(**all), vip_compare);
	return err;
}

/* A number of counters that no VIP has. */
static int stat_free(const struct agents *a)
{
	auto_free bool *is_used = calloc(AGENT_VIPS, sizeof(*is_used));
	auto_keys struct keys k = { 0 };
	const struct agent_vip_key *key;
	struct agent_vip vip;
	int err = is_used ? keys_read(a->vips, sizeof(*key), any, NULL, &k) : -ENOMEM;

	key = (const void *)k.key;
	for (int i = 0; !err && i < k.n; i++)
		if (!bpf_map_lookup_elem(a->vips, &key[i], &vip) && vip.stat < AGENT_VIPS)
			is_used[vip.stat] = true;
	for (int i = 0; !err && i < AGENT_VIPS; i++)
		if (!is_used[i])
			return i;
	return err ? err : -E2BIG;
}

int agents_vip_write(const struct agents *a, const struct agent_vip_key *key, struct agent_vip *vip, bool is_new)
{
	int cpus = libbpf_num_possible_cpus(), stat;
	auto_free struct agent_vip_stat *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;
	int err = zero ? 0 : -ENOMEM;

	if (!err && is_new) {
		stat = stat_free(a);
		vip->stat = (__u32)stat;
		err = stat < 0 ? stat : bpf_map_update_elem(a->vipstats, &stat, zero, BPF_ANY);
	}
	return err ? err : bpf_map_update_elem(a->vips, key, vip, BPF_ANY);
}

static __u16 scope_of(const struct agents *a, __u32 place)
{
	return (__u16)AGENT_SCOPE(place, a->place[place].at, a->place[place].netns);
}

static int conn_forget(const struct agent_conn_key *key, const struct agent_conn *conn, void *arg)
{
	const struct { const struct agents *a; const struct agent_vip_key *vip; } *f = arg;
	int err;

	if (key->scope != scope_of(f->a, f->vip->place) || memcmp(conn->vip, f->vip->addr, sizeof(conn->vip)))
		return 0;
	err = bpf_map_delete_elem(f->a->conns, key);
	return err == -ENOENT ? 0 : err;
}

int agents_vip_remove(const struct agents *a, const struct agent_vip_key *key)
{
	struct { const struct agents *a; const struct agent_vip_key *vip; } f = { a, key };
	static const __u32 none[4];
	struct agent_vip vip;
	int err = bpf_map_lookup_elem(a->vips, key, &vip);

	if (!err)
		err = bpf_map_delete_elem(a->vips, key);
	if (err)
		return err == -ENOENT ? 0 : err;
	return memcmp(vip.to, none, sizeof(none)) ? each_conn(a, conn_forget, &f) : 0;
}

/*
 * Sources.
 */
static int source_compare(const void *x, const void *y)
{
	const struct agent_source *s = x, *t = y;
	int d = memcmp(s->addr, t->addr, sizeof(s->addr));

	return d ? d : (int)s->len - (int)t->len;
}

int agents_sources(const struct agents *a, int place, struct agent_source **all, int *n)
{
	auto_keys struct keys k = { 0 };
	int err = keys_read(a->sources, sizeof(**all), source_is_of, &place, &k);

	*n = err ? 0 : k.n;
	*all = calloc((size_t)k.n + 1, sizeof(**all));
	if (!*all)
		return -ENOMEM;
	if (k.n)
		memcpy(*all, k.key, (size_t)k.n * sizeof(**all));
	qsort(*all, (size_t)k.n, sizeof(**all), source_compare);
	return err;
}

int agents_source_write(const struct agents *a, const struct agent_source *s)
{
	__u8 one = 1;

	return bpf_map_update_elem(a->sources, s, &one, BPF_ANY);
}

int agents_source_remove(const struct agents *a, const struct agent_source *s)
{
	int err = bpf_map_delete_elem(a->sources, s);

	return err == -ENOENT ? 0 : err;
}

/*
 * Counters.
 */
__u32 agents_hz(void)
{
	return 1000000000 / clock_tick_ns();
}

struct counting {
	const struct agents *a;
	const struct agent_vip_entry *vip;
	int n;
	__u64 *conns;
	__u32 now, hz;
};

/* As the program has it. */
static bool is_expired(const struct agent_conn_key *key, const struct agent_conn *conn, __u32 now, __u32 hz)
{
	const __u8 both = AGENT_FIN_CLIENT | AGENT_FIN_OWN;
	bool is_closing = conn->flags & AGENT_RST || (conn->flags & both) == both;
	__u32 idle = key->proto == IPPROTO_UDP ? AGENT_UDP_IDLE : is_closing ? AGENT_CLOSING_IDLE : AGENT_TCP_IDLE;

	return (__s32)(now - conn->seen) >= (__s32)(idle * hz);
}

static int conn_count(const struct agent_conn_key *key, const struct agent_conn *conn, void *arg)
{
	struct counting *c = arg;

	if (is_expired(key, conn, c->now, c->hz))
		return 0;
	for (int i = 0; i < c->n; i++)
		c->conns[i] += key->scope == scope_of(c->a, c->vip[i].key.place) && !memcmp(conn->vip, c->vip[i].key.addr, 16);
	return 0;
}

int agents_conns_count(const struct agents *a, const struct agent_vip_entry *vip, int n, __u64 *conns)
{
	struct counting c = { a, vip, n, conns, 0, agents_hz() };
	auto_fd int prog = clock_open();
	__u64 now = 0;
	int err = prog < 0 ? prog : clock_read(prog, &now);

	c.now = (__u32)now;
	memset(conns, 0, (size_t)n * sizeof(*conns));
	return err ? err : each_conn(a, conn_count, &c);
}

/* A per-CPU value of so many words, summed up. */
static int sum_words(int map, __u32 key, size_t words, __u64 *sum)
{
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free __u64 *all = cpus > 0 ? calloc((size_t)cpus * words, sizeof(*all)) : NULL;

	memset(sum, 0, words * sizeof(*sum));
	err = all ? bpf_map_lookup_elem(map, &key, all) : -ENOMEM;
	for (size_t i = 0; !err && i < (size_t)cpus * words; i++)
		sum[i % words] += all[i];
	return err;
}

int agents_stat(const struct agents *a, int place, struct agent_stat *sum)
{
	return sum_words(a->stats, (__u32)place, sizeof(*sum) / sizeof(__u64), sum->count);
}

int agents_vip_stat(const struct agents *a, __u32 stat, struct agent_vip_stat *sum)
{
	return sum_words(a->vipstats, stat, sizeof(*sum) / sizeof(__u64), &sum->packets);
}
