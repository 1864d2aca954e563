/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "kf.h"
#include "l2tprecord.h"
#include "l2tptable.h"

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

void l2tps_close(struct l2tps *t)
{
	int *const fds[] = { &t->config, &t->places, &t->received, &t->access, &t->endpoints, &t->stats,
			     &t->sequences, &t->errors };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		cleanup_fd(fds[i]);
	free(t->place);
	free(t->session);
	*t = (struct l2tps)L2TPS_INIT;
}

static int maps_open(const struct bpffs *b, struct l2tps *t)
{
	const struct { const char *name; int *fd; } maps[] = {
		{ "config", &t->config }, { "places", &t->places }, { "received", &t->received },
		{ "access", &t->access }, { "endpoints", &t->endpoints }, { "stats", &t->stats },
		{ "sequences", &t->sequences }, { "errors", &t->errors },
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
		*maps[i].fd = kf_map(b, L2TP_KF, maps[i].name);
		if (*maps[i].fd < 0)
			return *maps[i].fd;
	}
	return 0;
}

/*
 * Reading.
 */
static int places_read(struct l2tps *t)
{
	auto_free __u32 *keys = calloc(L2TP_PLACES, sizeof(*keys));
	__u32 at = 0, n = L2TP_PLACES;
	int err;

	t->place = calloc(L2TP_PLACES, sizeof(*t->place));
	if (!t->place || !keys)
		return -ENOMEM;
	err = bpf_map_lookup_batch(t->places, NULL, &at, keys, t->place, &n, NULL);
	return err && err != -ENOENT ? err : n == L2TP_PLACES ? 0 : -EIO;
}

static int name_compare(const void *x, const void *y)
{
	const struct l2tp_session *a = x, *b = y;

	return strncmp(a->name, b->name, sizeof(a->name));
}

#define BATCH 4096
static int sessions_read(struct l2tps *t)
{
	auto_free struct l2tp_rx_key *key = calloc(BATCH, sizeof(*key));
	auto_free struct l2tp_rx *rx = calloc(BATCH, sizeof(*rx));
	__u64 at = 0; /* as large as the kernel's idea of it may be */
	bool is_first = true;
	int err = key && rx ? 0 : -ENOMEM;

	while (!err) {
		__u32 n = BATCH;
		struct l2tp_session *more;

		err = bpf_map_lookup_batch(t->received, is_first ? NULL : &at, &at, key, rx, &n, NULL);
		if (err && err != -ENOENT)
			return err;
		more = reallocarray(t->session, (size_t)t->n + n + 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		t->session = more;
		for (__u32 i = 0; i < n; i++)
			t->session[t->n++] = rx[i].session;
		is_first = false;
	}
	if (err == -ENOENT)
		qsort(t->session, (size_t)t->n, sizeof(*t->session), name_compare);
	return err == -ENOENT ? 0 : err;
}

static int maps_read(struct l2tps *t)
{
	__u32 zero = 0;
	int err = bpf_map_lookup_elem(t->config, &zero, &t->conf);

	if (!err && t->conf.abi != L2TP_ABI)
		return t->conf.abi ? -EPROTO : -ENOENT;
	if (!err)
		err = places_read(t);
	return err ? err : sessions_read(t);
}

int l2tps_open(const struct bpffs *b, struct l2tps *t)
{
	int has = kf_has_dir(b, L2TP_KF, L2TP_KF), err;

	*t = (struct l2tps)L2TPS_INIT;
	if (!has)
		return 0;
	err = has < 0 ? has : maps_open(b, t);
	if (!err)
		err = maps_read(t);
	if (!err)
		return 1;
	l2tps_close(t);
	if (err == -ENOENT) /* a killed run was making it */
		return 0;
	return err == -EPROTO ? fail(err, "kf/" L2TP_KF " is of another layout than this l3afctl knows (%u); use the "
				     "l3afctl that made it", L2TP_ABI) :
		fail_errno(err, "kf/" L2TP_KF ": the pseudowires' maps");
}

int l2tps_make(const struct bpffs *b, struct l2tps *t)
{
	static const char *const no_programs[] = { NULL };
	const struct l2tp_config config = { .abi = L2TP_ABI };
	auto_obj struct bpf_object *obj = NULL;
	__u32 zero = 0;
	int err = bpffs_mkdir(b, "kf/" L2TP_KF "/" L2TP_KF);

	if (!err)
		err = kf_instance(b, kf_find(L2TP_KF), L2TP_KF, no_programs, &obj);
	if (!err)
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "config"), &zero, &config, BPF_ANY);
	if (err)
		return fail_errno(err, "cannot make the maps of " L2TP_KF);
	err = l2tps_open(b, t);
	return err == 1 ? 0 : err ? err : fail(-ENOENT, "kf/" L2TP_KF " was removed meanwhile");
}

int l2tps_remove(const struct bpffs *b)
{
	int err = bpffs_remove_tree(b, "kf/" L2TP_KF);

	return err ? fail_errno(err, "cannot remove %s/kf/" L2TP_KF, b->dir) : 0;
}

int l2tps_config_write(struct l2tps *t)
{
	__u32 zero = 0;

	return bpf_map_update_elem(t->config, &zero, &t->conf, BPF_ANY);
}

/*
 * Places.
 */
int l2tps_place(const struct l2tps *t, const struct netns *netns, int ifindex)
{
	for (int i = 0; t->place && i < L2TP_PLACES; i++)
		if (t->place[i].since && t->place[i].ifindex == (__u32)ifindex && t->place[i].netns == netns->id)
			return i;
	return -ENOENT;
}

int l2tps_place_free(const struct l2tps *t)
{
	for (int i = 0; i < L2TP_PLACES; i++)
		if (!t->place || !t->place[i].since)
			return i;
	return -E2BIG;
}

int l2tps_place_write(struct l2tps *t, int place, const struct l2tp_place *what)
{
	const struct l2tp_error none = { 0 };
	int err = 0;

	if (!t->place[place].since)
		err = bpf_map_update_elem(t->errors, &place, &none, BPF_ANY);
	if (!err)
		err = bpf_map_update_elem(t->places, &place, what, BPF_ANY);
	if (!err)
		t->place[place] = *what;
	return err;
}

/*
 * Sessions.
 */
int l2tps_find(const struct l2tps *t, const char *name)
{
	struct l2tp_session key = { 0 };
	const struct l2tp_session *s;

	memcpy(key.name, name, strnlen(name, sizeof(key.name) - 1));
	s = t->n ? bsearch(&key, t->session, (size_t)t->n, sizeof(key), name_compare) : NULL;
	return s ? (int)(s - t->session) : -ENOENT;
}

int l2tps_number(const struct l2tps *t)
{
	auto_free bool *is_used = calloc(L2TP_SESSIONS + 1, sizeof(*is_used));

	if (!is_used)
		return -ENOMEM;
	for (int i = 0; i < t->n; i++)
		if (t->session[i].number <= L2TP_SESSIONS)
			is_used[t->session[i].number] = true;
	for (int i = 1; i <= L2TP_SESSIONS; i++)
		if (!is_used[i])
			return i;
	return -E2BIG;
}

static int stat_zero(const struct l2tps *t, __u32 number)
{
	int cpus = libbpf_num_possible_cpus();
	auto_free struct l2tp_stat *zero = cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	return zero ? bpf_map_update_elem(t->stats, &number, zero, BPF_ANY) : -ENOMEM;
}

static int remember(struct l2tps *t, const struct l2tp_session *s)
{
	int i = l2tps_find(t, s->name);
	struct l2tp_session *more;

	if (i >= 0) {
		t->session[i] = *s;
		return 0;
	}
	more = reallocarray(t->session, (size_t)t->n + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	t->session = more;
	t->session[t->n++] = *s;
	qsort(t->session, (size_t)t->n, sizeof(*t->session), name_compare);
	return 0;
}

static int element_remove(int map, const void *key)
{
	int err = bpf_map_delete_elem(map, key);

	return err == -ENOENT ? 0 : err;
}

static int sequence_ensure(const struct l2tps *t, __u32 number)
{
	const struct l2tp_sequence none = { 0 };
	int err = bpf_map_update_elem(t->sequences, &number, &none, BPF_NOEXIST);

	return err == -EEXIST ? 0 : err;
}

static int endpoint_add(const struct l2tps *t, const struct l2tp_session *s)
{
	const struct l2tp_endpoint e = l2tp_endpoint_of(s);
	const __u8 one = 1;

	return bpf_map_update_elem(t->endpoints, &e, &one, BPF_ANY);
}

static int endpoint_drop(const struct l2tps *t, const struct l2tp_endpoint *e)
{
	for (int i = 0; i < t->n; i++) {
		const struct l2tp_endpoint other = l2tp_endpoint_of(&t->session[i]);

		if (!memcmp(&other, e, sizeof(other)))
			return 0;
	}
	return element_remove(t->endpoints, e);
}

int l2tps_session_write(struct l2tps *t, const struct l2tp_session *s)
{
	int i = l2tps_find(t, s->name), err = 0;
	struct l2tp_endpoint before = l2tp_endpoint_of(i >= 0 ? &t->session[i] : s);
	bool had_sequence = i >= 0 && t->session[i].flags & L2TP_SEQUENCE;
	struct l2tp_records r;

	l2tp_records(s, &r);
	if (i < 0)
		err = stat_zero(t, s->number);
	if (!err && !had_sequence)
		err = element_remove(t->sequences, &s->number);
	if (!err && s->flags & L2TP_SEQUENCE)
		err = sequence_ensure(t, s->number);
	if (!err)
		err = endpoint_add(t, s);
	if (!err)
		err = bpf_map_update_elem(t->received, &r.rx_key, &r.rx, BPF_ANY);
	if (!err)
		err = remember(t, s);
	if (!err)
		err = bpf_map_update_elem(t->access, &r.tx_key, &r.tx, BPF_ANY);
	if (!err)
		err = endpoint_drop(t, &before);
	if (!err && !(s->flags & L2TP_SEQUENCE))
		err = element_remove(t->sequences, &s->number);
	return err;
}

int l2tps_session_remove(struct l2tps *t, int i)
{
	const struct l2tp_session s = t->session[i];
	const struct l2tp_endpoint e = l2tp_endpoint_of(&s);
	struct l2tp_records r;
	int err;

	l2tp_records(&s, &r);
	err = element_remove(t->access, &r.tx_key);
	if (!err)
		err = element_remove(t->received, &r.rx_key);
	if (err)
		return err;
	memmove(&t->session[i], &t->session[i + 1], (size_t)(t->n - i - 1) * sizeof(s));
	t->n--;
	err = endpoint_drop(t, &e);
	if (!err)
		err = element_remove(t->sequences, &s.number);
	return err ? err : element_remove(t->stats, &s.number);
}

/*
 * Counters.
 */
int l2tps_stat(const struct l2tps *t, __u32 number, struct l2tp_stat *sum)
{
	const size_t words = sizeof(*sum) / sizeof(__u64);
	int cpus = libbpf_num_possible_cpus(), err;
	auto_free struct l2tp_stat *all = cpus > 0 ? calloc((size_t)cpus, sizeof(*all)) : NULL;

	*sum = (struct l2tp_stat){ 0 };
	err = all ? bpf_map_lookup_elem(t->stats, &number, all) : -ENOMEM;
	for (int cpu = 0; !err && cpu < cpus; cpu++)
		for (size_t i = 0; i < words; i++)
			(&sum->tx)[i] += (&all[cpu].tx)[i];
	return err == -ENOENT ? 0 : err; /* a run was killed */
}

int l2tps_errors(const struct l2tps *t, __u32 place, struct l2tp_error *sum)
{
	return bpf_map_lookup_elem(t->errors, &place, sum);
}
