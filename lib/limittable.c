/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "kf.h"
#include "limittable.h"
#include "rootmaps.h"
#include "window.h"

const char *const limit_kf_words[] = { "ratelimit", "connlimit" };
const char *const limit_kind_words[] = { "rate", "connection" };

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

static int fail_maps(int err, const struct limits *l)
{
	return fail_errno(err, "kf/%s: the %s limits", limit_kf_words[l->kind], limit_kind_words[l->kind]);
}

static int maps_open(const struct bpffs *b, struct limits *l)
{
	const struct { const char *name; int *fd; } maps[] = {
		{ "rules", &l->rules }, { "active", &l->active }, { "stats", &l->stats },
		{ "shared", &l->shared }, { "keyed", &l->keyed },
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		if (*maps[i].fd >= 0)
			continue;
		*maps[i].fd = kf_map(b, limit_kf_words[l->kind], maps[i].name);
		if (*maps[i].fd < 0)
			return *maps[i].fd;
	}
	return 0;
}

static int table_read(struct limits *l)
{
	__u32 zero = 0;
	int err = bpf_map_lookup_elem(l->active, &zero, &l->bank);

	return err ? err : bpf_map_lookup_elem(l->rules, &l->bank, &l->table);
}

static void table_drop_unfinished(struct limits *l)
{
	for (int i = 0; i < LIMIT_RULES; i++) {
		if (!l->table.rule[i].id || l->table.rule[i].state == LIMIT_ENFORCED)
			continue;
		l->table.rule[i] = (struct limit_rule){ 0 };
	}
}

int limits_open(const struct bpffs *b, enum limit_kind kind, const struct netns *self, struct limits *l)
{
	int err;

	l->kind = kind;
	err = maps_open(b, l);
	l->is_there = !err;
	/* also where others of the maps are missing: rules are not forgotten */
	if ((!err || err == -ENOENT) && l->rules >= 0 && l->active >= 0)
		err = table_read(l);
	if (err && err != -ENOENT)
		return fail_maps(err, l);
	if (l->table.abi && l->table.abi != LIMIT_ABI)
		return fail(-EPROTO, "kf/%s is of layout %u, this l3afctl knows %u; use the l3afctl that made it",
			    limit_kf_words[kind], l->table.abi, LIMIT_ABI);
	l->table.abi = LIMIT_ABI;
	l->table.netns_is_cookie = self->is_cookie;
	table_drop_unfinished(l);
	return 0;
}

void limits_close(struct limits *l)
{
	cleanup_fd(&l->rules);
	cleanup_fd(&l->active);
	cleanup_fd(&l->stats);
	cleanup_fd(&l->shared);
	cleanup_fd(&l->keyed);
}

int limits_make(const struct bpffs *b, struct limits *l)
{
	static const char *const no_programs[] = { NULL };
	auto_obj struct bpf_object *obj = NULL;
	int err = 0;

	if (!l->is_there) {
		err = kf_instance(b, kf_find(limit_kf_words[l->kind]), limit_kf_words[l->kind], no_programs, &obj);
		if (!err)
			err = maps_open(b, l);
	}
	l->is_there = !err;
	return err ? fail_maps(err, l) : 0;
}

bool limits_runs_on(const struct limits *l, __u32 prog_id)
{
	return l->rules < 0 || kf_runs_on(l->rules, prog_id);
}

int limits_count(const struct limits *l)
{
	int n = 0;

	for (int i = 0; i < LIMIT_RULES; i++)
		n += l->table.rule[i].id != 0;
	return n;
}

static int stat_free(const struct limits *l)
{
	__u64 used = 0;

	for (int i = 0; i < LIMIT_RULES; i++)
		if (l->table.rule[i].id)
			used |= 1ULL << l->table.rule[i].stat;
	return ~used ? __builtin_ctzll(~used) : -E2BIG;
}

static int stat_clear(const struct limits *l, __u32 stat)
{
	int cpus = libbpf_num_possible_cpus();
	auto_free struct limit_stat *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	return zero ? bpf_map_update_elem(l->stats, &stat, zero, BPF_ANY) : -ENOMEM;
}

static int slot_clear(const struct limits *l, __u32 slot)
{
	const struct limit_conn zero = { 0 };

	return bpf_map_update_elem(l->shared, &slot, &zero, BPF_ANY);
}

/* In the table in use the slot is still taken where the rule was removed in this very
 * run: such a slot is not free yet. */
static bool slot_is_free(const struct limits *l, const struct limit_table *used, int slot)
{
	return !l->table.rule[slot].id && !used->rule[slot].id;
}

int limits_slot_new(struct limits *l, int stat)
{
	auto_free struct limit_table *used = malloc(sizeof(*used));
	int err = used ? bpf_map_lookup_elem(l->rules, &l->bank, used) : -ENOMEM, slot = 0;

	/* nobody may still be at work on a slot that was freed lately */
	if (!err)
		err = root_grace();
	while (!err && slot < LIMIT_RULES && !slot_is_free(l, used, slot))
		slot++;
	if (!err && slot == LIMIT_RULES)
		err = -E2BIG;
	if (!err && stat < 0) {
		stat = stat_free(l);
		err = stat < 0 ? stat : stat_clear(l, (__u32)stat);
	}
	if (!err)
		err = slot_clear(l, (__u32)slot);
	if (err)
		return fail_maps(err, l);
	l->table.rule[slot] = (struct limit_rule){ .id = ++l->table.last_id, .stat = (__u8)stat };
	return slot;
}

int limits_commit(struct limits *l)
{
	__u32 zero = 0, idle = !l->bank;
	int err = root_grace();

	l->table.slots = 0;
	for (__u32 i = 0; i < LIMIT_RULES; i++)
		if (l->table.rule[i].id)
			l->table.slots = i + 1;
	if (!err)
		err = bpf_map_update_elem(l->rules, &idle, &l->table, BPF_ANY);
	/* 0 and 1 differ in one byte: this is one store */
	if (!err)
		err = bpf_map_update_elem(l->active, &zero, &idle, BPF_ANY);
	if (err)
		return fail_maps(err, l);
	l->bank = idle;
	l->is_changed = false;
	return 0;
}

static int iterate(int prog)
{
	auto_fd int link = bpf_link_create(prog, 0, BPF_TRACE_ITER, NULL);
	auto_fd int iter = link < 0 ? -1 : bpf_iter_create(link);
	char buf[64];
	ssize_t n;

	if (link < 0 || iter < 0)
		return -errno;
	do
		n = read(iter, buf, sizeof(buf));
	while (n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
	return n < 0 ? -errno : 0;
}

int limits_seed(const struct bpffs *b, const struct limits *l)
{
	auto_fd int prog = kf_map(b, limit_kf_words[l->kind], "tcp_seed");
	auto_fd int listening = kf_map(b, limit_kf_words[l->kind], "listening");
	auto_free struct limit_listening *none = calloc(1, sizeof(*none));
	__u32 zero = 0;
	int err = !none ? -ENOMEM : prog < 0 ? prog : listening < 0 ? listening :
		bpf_map_update_elem(listening, &zero, none, BPF_ANY);

	if (!err)
		err = iterate(prog);
	return err ? fail_errno(err, "cannot count the connections that are open") : 0;
}

int limits_is_watching(const struct bpffs *b)
{
	auto_fd int link = kf_map(b, limit_kf_words[LIMIT_CONNECTIONS], "tcp_state");
	auto_fd int seed = kf_map(b, limit_kf_words[LIMIT_CONNECTIONS], "tcp_seed");

	if (link < 0 && link != -ENOENT)
		return fail_errno(link, "kf/connlimit/tcp_state");
	return link >= 0 && seed >= 0;
}

static int watch_pin(const struct bpffs *b, const char *instance, struct bpf_object *obj)
{
	struct bpf_program *state = bpf_object__find_program_by_name(obj, "tcp_state");
	struct bpf_program *seed = bpf_object__find_program_by_name(obj, "tcp_seed");
	auto_fd int link = bpf_raw_tracepoint_open(NULL, bpf_program__fd(state));
	char path[128];
	int err = link < 0 ? -errno : 0;

	snprintf(path, sizeof(path), "kf/%s/tcp_seed", instance);
	if (!err)
		err = bpffs_unlink(b, path);
	if (!err)
		err = bpffs_pin(b, bpf_program__fd(seed), path);
	/* last: what is there is complete */
	snprintf(path, sizeof(path), "kf/%s/tcp_state", instance);
	if (!err)
		err = bpffs_unlink(b, path);
	return err ? err : bpffs_pin(b, link, path);
}

int limits_watch(const struct bpffs *b, const char *instance)
{
	static const char *const programs[] = { "tcp_state", "tcp_seed", NULL };
	auto_fd int link = kf_map(b, instance, "tcp_state");
	auto_fd int seed = kf_map(b, instance, "tcp_seed");
	auto_obj struct bpf_object *obj = NULL;
	int err;

	if (link >= 0 && seed >= 0)
		return 0;
	if ((link < 0 && link != -ENOENT) || (seed < 0 && seed != -ENOENT))
		return fail_errno(link < 0 && link != -ENOENT ? link : seed, "kf/%s", instance);
	err = kf_instance(b, kf_find(limit_kf_words[LIMIT_CONNECTIONS]), instance, programs, &obj);
	if (err)
		return fail_errno(err, "connection limits need socket storage and iterators of TCP sockets in BPF, "
				  "which Linux 5.15 and later have, and the kernel's BTF");
	err = watch_pin(b, instance, obj);
	return err ? fail_errno(err, "kf/%s: cannot watch TCP connections", instance) : 0;
}

/*
 * Reading counts.
 */
static __u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000000 + (__u64)t.tv_nsec;
}

/* A value of shared or keyed: either kind. */
union value {
	__u64 word;
	struct limit_conn conn;
};

static __u64 conn_use(const struct limit_conn *conn)
{
	__u32 tick = (__u32)(now_ns() >> LIMIT_TICK_SHIFT);
	__u64 sum = conn->established;

	for (int i = 0; i < LIMIT_TICKS; i++)
		if (tick - (__u32)(conn->pending[i] >> 32) < LIMIT_TICKS)
			sum += (__u32)conn->pending[i];
	return sum;
}

static __u64 value_use(const struct limit_rule *rule, const union value *v)
{
	struct window w;

	if (rule->kind == LIMIT_CONNECTIONS)
		return conn_use(&v->conn);
	w = window_at(v->word, now_ns() / 1000, rule->window_us);
	return window_use(&w, rule->window_us) / rule->window_us;
}

/* In batches: a walk from key to key starts again when its key is evicted meanwhile. */
#define BATCH 4096
static int each_key(const struct limits *l, __u32 id,
		    void (*fn)(const struct limit_key *key, const union value *v, void *arg), void *arg)
{
	size_t size = l->kind == LIMIT_RATE ? sizeof(__u64) : sizeof(struct limit_conn);
	auto_free struct limit_key *keys = calloc(BATCH, sizeof(*keys));
	auto_free char *values = calloc(BATCH, size);
	__u32 at = 0, n;
	bool is_first = true;
	union value v = { 0 };
	int err = keys && values ? 0 : -ENOMEM;

	while (!err) {
		n = BATCH;
		err = bpf_map_lookup_batch(l->keyed, is_first ? NULL : &at, &at, keys, values, &n, NULL);
		if (err && err != -ENOENT)
			return err;
		for (__u32 i = 0; i < n; i++) {
			if (keys[i].id != id)
				continue;
			memcpy(&v, values + i * size, size);
			fn(&keys[i], &v, arg);
		}
		is_first = false;
	}
	return err == -ENOENT ? 0 : err;
}

int limits_stat(const struct limits *l, const struct limit_rule *rule, struct limit_stat *sum)
{
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free struct limit_stat *all = cpus > 0 ? calloc((size_t)cpus, sizeof(*all)) : NULL;
	__u32 stat = rule->stat;

	if (!all)
		return -ENOMEM;
	*sum = (struct limit_stat){ 0 };
	err = bpf_map_lookup_elem(l->stats, &stat, all);
	for (int i = 0; !err && i < cpus; i++) {
		sum->accepted += all[i].accepted;
		sum->dropped += all[i].dropped;
		sum->reset += all[i].reset;
		sum->suppressed += all[i].suppressed;
	}
	return err;
}

static void use_key(const struct limit_key *key, const union value *v, void *arg)
{
	struct limit_row *row = arg;
	__u64 use = value_use(row->rule, v);

	row->keys += use > 0;
	if (use <= row->use)
		return;
	row->use = use;
	row->busiest = *key;
}

int limits_use(const struct limits *l, int slot, struct limit_row *row)
{
	union value v;
	int err;

	if (row->rule->per != LIMIT_PER_INTERFACE)
		return each_key(l, row->rule->id, use_key, row);
	err = bpf_map_lookup_elem(l->shared, &slot, &v);
	if (err)
		return err;
	row->use = value_use(row->rule, &v);
	row->keys = 1;
	return 0;
}

struct comparison {
	const struct limits *l;
	__u32 other; /* id */
	struct limits_sum *sum;
};

static void compare_key(const struct limit_key *key, const union value *v, void *arg)
{
	struct comparison *c = arg;
	struct limit_key other = *key;
	union value there = { .conn = { 0 } };

	other.id = c->other;
	if (bpf_map_lookup_elem(c->l->keyed, &other, &there))
		there.conn.established = 0;
	c->sum->connections += v->conn.established;
	c->sum->differing += v->conn.established != there.conn.established;
}

static int compare_once(const struct limits *l, int old, int new, struct limits_sum *was, struct limits_sum *is)
{
	const struct limit_rule *a = &l->table.rule[old], *b = &l->table.rule[new];
	struct comparison forth = { l, b->id, was }, back = { l, a->id, is };
	union value v, w;
	int err;

	*was = *is = (struct limits_sum){ 0 };
	if (a->per != LIMIT_PER_INTERFACE) {
		err = each_key(l, a->id, compare_key, &forth);
		return err ? err : each_key(l, b->id, compare_key, &back);
	}
	err = bpf_map_lookup_elem(l->shared, &old, &v);
	if (!err)
		err = bpf_map_lookup_elem(l->shared, &new, &w);
	was->connections = err ? 0 : v.conn.established;
	is->connections = err ? 0 : w.conn.established;
	return err;
}

/* Connections come and go between two readings: only what differs each time is drift. */
int limits_compare(const struct limits *l, int old, int new, struct limits_sum *was, struct limits_sum *is)
{
	int err = 0;

	for (int i = 0; !err && i < 5; i++) {
		err = compare_once(l, old, new, was, is);
		if (was->connections == is->connections && !was->differing && !is->differing)
			break;
	}
	if (is->differing > was->differing)
		was->differing = is->differing;
	return err ? fail_maps(err, l) : 0;
}
