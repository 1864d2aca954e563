/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What killed runs left in the maps of l2tp is completed or removed. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "l2tprecord.h"
#include "l2tptable.h"

struct known {
	const struct l2tps *t;
	__u32 *index;                   /* of the session by its number, +1 */
	struct l2tp_endpoint *endpoint; /* of each session, in order */
};

static int compare(const void *x, const void *y)
{
	return memcmp(x, y, sizeof(struct l2tp_endpoint));
}

static const struct l2tp_session *by_number(const struct known *k, __u32 number)
{
	__u32 i = number <= L2TP_SESSIONS ? k->index[number] : 0;

	return i ? &k->t->session[i - 1] : NULL;
}

static bool is_session(const struct known *k, const void *key)
{
	return by_number(k, *(const __u32 *)key);
}

static bool is_sequenced(const struct known *k, const void *key)
{
	const struct l2tp_session *s = by_number(k, *(const __u32 *)key);

	return s && s->flags & L2TP_SEQUENCE;
}

static bool is_access(const struct known *k, const void *key)
{
	const struct l2tp_session *s;
	struct l2tp_records r;
	struct l2tp_tx tx;

	if (bpf_map_lookup_elem(k->t->access, key, &tx))
		return true; /* gone, or cannot be told */
	s = by_number(k, tx.number);
	if (!s)
		return false;
	l2tp_records(s, &r);
	return !memcmp(&r.tx_key, key, sizeof(r.tx_key));
}

static bool is_endpoint(const struct known *k, const void *key)
{
	return k->t->n && bsearch(key, k->endpoint, (size_t)k->t->n, sizeof(*k->endpoint), compare);
}

/* Elements that belong to no session go. */
static int sift(const struct known *k, int map, size_t size, bool (*is_known)(const struct known *k, const void *key))
{
	char key[64], next[64];
	int err = bpf_map_get_next_key(map, NULL, next), left;

	while (!err) {
		memcpy(key, next, size);
		err = bpf_map_get_next_key(map, key, next);
		left = is_known(k, key) ? 0 : bpf_map_delete_elem(map, key);
		if (left && left != -ENOENT)
			return left;
	}
	return err == -ENOENT ? 0 : err;
}

static int ensure(int map, const void *key, const void *value)
{
	int err = bpf_map_update_elem(map, key, value, BPF_NOEXIST);

	return err == -EEXIST ? 0 : err;
}

static int access_ensure(const struct l2tps *t, const struct l2tp_session *s)
{
	struct l2tp_records r;
	struct l2tp_tx now;
	int err;

	l2tp_records(s, &r);
	err = bpf_map_lookup_elem(t->access, &r.tx_key, &now);
	if (err && err != -ENOENT)
		return err;
	now.hop = r.tx.hop; /* packets write it */
	if (!err && !memcmp(&r.tx, &now, sizeof(now)))
		return 0;
	return bpf_map_update_elem(t->access, &r.tx_key, &r.tx, BPF_ANY);
}

static int session_ensure(const struct l2tps *t, const struct l2tp_session *s, const void *zero)
{
	const struct l2tp_endpoint e = l2tp_endpoint_of(s);
	const struct l2tp_sequence none = { 0 };
	const __u8 one = 1;
	int err = ensure(t->stats, &s->number, zero);

	if (!err && s->flags & L2TP_SEQUENCE)
		err = ensure(t->sequences, &s->number, &none);
	if (!err)
		err = ensure(t->endpoints, &e, &one);
	return err ? err : access_ensure(t, s);
}

int l2tps_complete(const struct l2tps *t)
{
	int cpus = libbpf_num_possible_cpus(), err = cpus > 0 ? 0 : -EIO;
	auto_free struct l2tp_stat *zero = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*zero));
	auto_free __u32 *index = calloc(L2TP_SESSIONS + 1, sizeof(*index));
	auto_free struct l2tp_endpoint *endpoint = calloc((size_t)t->n + 1, sizeof(*endpoint));
	const struct known k = { t, index, endpoint };

	if (!zero || !index || !endpoint)
		return -ENOMEM;
	for (int i = 0; i < t->n; i++) {
		if (t->session[i].number <= L2TP_SESSIONS)
			index[t->session[i].number] = (__u32)i + 1;
		endpoint[i] = l2tp_endpoint_of(&t->session[i]);
	}
	qsort(endpoint, (size_t)t->n, sizeof(*endpoint), compare);
	if (!err)
		err = sift(&k, t->access, sizeof(struct l2tp_access), is_access);
	if (!err)
		err = sift(&k, t->endpoints, sizeof(struct l2tp_endpoint), is_endpoint);
	if (!err)
		err = sift(&k, t->sequences, sizeof(__u32), is_sequenced);
	if (!err)
		err = sift(&k, t->stats, sizeof(__u32), is_session);
	for (int i = 0; !err && i < t->n; i++)
		err = session_ensure(t, &t->session[i], zero);
	return err;
}
