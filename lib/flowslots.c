/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The life of slots after LIVE, as bpf/flow.h tells it. Every store here is one that the
 * next run can finish from, wherever this one is killed. */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "flowmaps.h"
#include "rootmaps.h"

#define BATCH 4096
#define QUIET_US 2000000
#define TCP_FIN_RST 5

static int fail_table(int err, const struct flowtable *t, const char *what)
{
	return fail_errno(err, "kf/%s: cannot %s flows", t->instance, what);
}

static void state_set(struct flow_rec *rec, __u32 reason, __u32 state)
{
	__atomic_store_n(&rec->life, FLOW_LIFE(FLOW_GENERATION(rec->life), reason, state), __ATOMIC_SEQ_CST);
}

static __u32 state_of(const struct flowtable *t, __u32 slot)
{
	return FLOW_STATE(__atomic_load_n(&t->rec[slot].life, __ATOMIC_ACQUIRE));
}

/*
 * Closing.
 */
/* No program counts to flows whose keys are deleted any more: what they counted is final. */
static int close_all(struct flowtable *t)
{
	int err = root_grace();

	for (__u32 slot = 0, end = flowtable_end(t); !err && slot < end; slot++) {
		flowtable_ahead(t, slot);
		if (state_of(t, slot) == FLOW_CLOSING)
			state_set(&t->rec[slot], FLOW_REASON(t->rec[slot].life), FLOW_CLOSED);
	}
	return err;
}

/* Keys that were deleted by somebody else are no error. */
static int delete_keys(const struct flowtable *t, const struct flow_key *keys, __u32 n)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	int err = 0;

	for (__u32 done = 0, count; !err && done < n; done += count) {
		count = n - done;
		err = bpf_map_delete_batch(t->keys, keys + done, &count, &opts);
		if (err == -ENOENT) {
			count++;
			err = 0;
		}
	}
	return err;
}

enum flow_reason flow_due(const struct flowtable *t, const struct flow_rec *rec, bool is_all)
{
	__u64 age_us = flow_age_us(t, rec->last);

	if (is_all)
		return FLOW_FORCED;
	if (rec->flags & TCP_FIN_RST && age_us >= QUIET_US)
		return FLOW_END;
	return t->config->idle_us && age_us >= t->config->idle_us ? FLOW_IDLE : FLOW_REASON_NONE;
}

/* Closes what is due from *slot on, as much as keys has room for. */
static __u32 close_some(struct flowtable *t, __u32 *slot, bool is_all, struct flow_key keys[BATCH])
{
	__u32 n = 0;

	for (__u32 end = flowtable_end(t); *slot < end && n < BATCH; ++*slot) {
		struct flow_rec *rec = &t->rec[*slot];
		enum flow_reason reason;

		flowtable_ahead(t, *slot);
		if (state_of(t, *slot) != FLOW_LIVE)
			continue;
		reason = flow_due(t, rec, is_all);
		if (reason == FLOW_REASON_NONE)
			continue;
		keys[n++] = rec->key;
		state_set(rec, reason, FLOW_CLOSING);
	}
	return n;
}

static int has_collector(const struct flowtable *t)
{
	const struct bpffs here = { .fd = t->lock };
	char **names = NULL;
	int n = 0, err = bpffs_list(&here, "collector", &names, &n);

	bpffs_list_free(names, n);
	return err ? err : n > 0;
}

int flowtable_expire(struct flowtable *t, bool is_all, __u64 *closed)
{
	auto_free struct flow_key *keys = malloc(sizeof(*keys) * BATCH);
	int err = keys ? 0 : -ENOMEM, has = is_all ? 1 : has_collector(t);
	__u32 n = 1;

	*closed = 0;
	if (has <= 0)
		return has ? fail_table(has, t, "close") : 0;
	__atomic_store_n(&t->ends->closing, 1, __ATOMIC_SEQ_CST);
	for (__u32 slot = 0; !err && n; *closed += n) {
		n = close_some(t, &slot, is_all, keys);
		err = delete_keys(t, keys, n);
	}
	if (!err && *closed)
		err = close_all(t);
	if (!err)
		__atomic_store_n(&t->ends->closing, 0, __ATOMIC_SEQ_CST);
	return err ? fail_table(err, t, "close") : 0;
}

/*
 * Freeing.
 */
struct push {
	__u64 tail, freed;
	struct flow_flushed flushed;
};

static void push_add(struct flowtable *t, struct push *p, __u32 slot)
{
	__atomic_store_n(&t->ring[p->tail++ & t->config->mask], slot, __ATOMIC_RELAXED);
}

/* From here on it will be finished, by this run or the next; until tail is stored no
 * packet can pop what was pushed. */
static void push_finish(struct flowtable *t)
{
	__u64 tail = __atomic_load_n(&t->ends->tail, __ATOMIC_ACQUIRE);

	for (__u64 at = tail; at != t->ends->freeing; at++)
		state_set(&t->rec[t->ring[at & t->config->mask]], FLOW_REASON_NONE, FLOW_FREE);
	t->config->flushed = t->config->flushing;
	__atomic_store_n(&t->ends->tail, t->ends->freeing, __ATOMIC_SEQ_CST);
}

static void push_commit(struct flowtable *t, const struct push *p)
{
	t->config->flushing = t->config->flushed;
	t->config->flushing.flows += p->flushed.flows;
	t->config->flushing.packets += p->flushed.packets;
	t->config->flushing.octets += p->flushed.octets;
	__atomic_store_n(&t->ends->freeing, p->tail, __ATOMIC_SEQ_CST);
	push_finish(t);
}

/* The lines of every collector there is now: t's own, and those made after it was opened. */
struct told {
	struct flow_peer made[FLOW_COLLECTORS];
	const struct flow_line *lines[FLOW_COLLECTORS];
	int number[FLOW_COLLECTORS], n;
};

/* 1: collector/i is the one that t has mapped; 0: it is not; -ENOENT: there is none. */
static int is_mapped(const struct flowtable *t, int i)
{
	struct stat here, there;
	char dir[32];

	snprintf(dir, sizeof(dir), "collector/%d", i);
	if (fstatat(t->lock, dir, &there, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!t->peer[i].state)
		return 0;
	return fstat(t->peer[i].lock, &here) ? -errno : here.st_ino == there.st_ino;
}

static int told_open(const struct flowtable *t, struct told *told)
{
	for (int i = 0; i < FLOW_COLLECTORS; i++) {
		int ret = is_mapped(t, i);

		if (!ret)
			ret = flow_peer_open(t, i, &told->made[i]);
		if (ret == -ENOENT)
			continue;
		if (ret < 0)
			return ret;
		told->number[told->n] = i;
		told->lines[told->n++] = ret ? t->peer[i].lines : told->made[i].lines;
	}
	return 0;
}

static void told_close(const struct flowtable *t, struct told *told)
{
	for (int i = 0; i < FLOW_COLLECTORS; i++)
		flow_peer_close(&told->made[i], t->mapped);
}

/* What a collector was not told; of several, the one that was told least. waiting counts,
 * by collector. */
static struct flow_flushed unsent(const struct told *told, const struct flow_rec *rec, __u32 slot, __u64 *waiting)
{
	struct flow_flushed most = { 0 };

	if (!told->n)
		most = (struct flow_flushed){ 1, rec->packets, rec->octets };
	for (int i = 0; i < told->n; i++) {
		const struct flow_line *line = &told->lines[i][slot];
		bool is_known = line->generation == FLOW_GENERATION(rec->life);
		__u64 packets = rec->packets - (is_known ? line->packets : 0);
		__u64 octets = rec->octets - (is_known ? line->octets : 0);

		waiting[told->number[i]] += packets || octets;
		if (packets > most.packets || octets > most.octets)
			most = (struct flow_flushed){ 1, packets, octets };
	}
	return most;
}

static void recycle_slot(struct flowtable *t, const struct told *told, bool is_forced, __u32 slot, struct push *p)
{
	const struct flow_rec *rec = &t->rec[slot];
	struct flow_flushed lost;

	if (state_of(t, slot) != FLOW_CLOSED)
		return;
	lost = unsent(told, rec, slot, t->waiting);
	if (lost.flows && !is_forced)
		return;
	p->flushed.flows += lost.flows;
	p->flushed.packets += lost.packets;
	p->flushed.octets += lost.octets;
	p->freed++;
	push_add(t, p, slot);
}

int flowtable_recycle(struct flowtable *t, bool is_forced, __u64 *freed)
{
	struct told told = { .made = { { .lock = -1 }, { .lock = -1 }, { .lock = -1 }, { .lock = -1 } } };
	struct push p = { .tail = t->ends->tail };
	int err = told_open(t, &told);

	memset(t->waiting, 0, sizeof(t->waiting));
	for (__u32 slot = 0, end = flowtable_end(t); !err && slot < end; slot++) {
		flowtable_ahead(t, slot);
		if (state_of(t, slot) == FLOW_ORPHAN)
			push_add(t, &p, slot);
		else
			recycle_slot(t, &told, is_forced, slot, &p);
	}
	if (!err && p.tail != t->ends->tail)
		push_commit(t, &p);
	told_close(t, &told);
	*freed = p.freed;
	return err ? fail_table(err, t, "recycle") : 0;
}

/*
 * After a run that was killed.
 */
/* A key may be there again, for another slot. */
static int delete_key_of(const struct flowtable *t, __u32 slot)
{
	const struct flow_key *key = &t->rec[slot].key;
	__u32 at;
	int err = bpf_map_lookup_elem(t->keys, key, &at);

	if (!err && at == slot)
		err = bpf_map_delete_elem(t->keys, key);
	return err == -ENOENT ? 0 : err;
}

int flowtable_recover(struct flowtable *t)
{
	bool is_closing = false;
	int err = flowtable_grow(t);

	if (!err && t->ends->freeing != t->ends->tail)
		push_finish(t);
	if (!err && !t->ends->closing)
		return 0;
	for (__u32 slot = 0, end = flowtable_end(t); !err && slot < end; slot++) {
		if (state_of(t, slot) != FLOW_CLOSING)
			continue;
		err = delete_key_of(t, slot);
		is_closing = true;
	}
	if (!err && is_closing)
		err = close_all(t);
	if (!err)
		__atomic_store_n(&t->ends->closing, 0, __ATOMIC_SEQ_CST);
	return err ? fail_table(err, t, "close") : 0;
}
