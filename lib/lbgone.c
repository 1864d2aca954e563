// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is no more: flows are forgotten, numbers become free. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lbhash.h"
#include "lbmaps.h"
#include "lbs.h"
#include "rootmaps.h"

/*
 * Flows.
 */
__u64 lb_flows_erase(struct lb *lb, bool (*is_mine)(const struct lb *lb, __u64 entry, const void *arg),
		     const void *arg)
{
	__u64 n = 0, *way = lb->bucket[0].way;

	for (size_t i = 0, end = (size_t)lb->config->buckets * LB_WAYS; i < end; i++) {
		__u64 entry = __atomic_load_n(&way[i], __ATOMIC_RELAXED);

		/* a packet that puts another flow there meanwhile is right */
		if (entry && is_mine(lb, entry, arg) &&
		    __atomic_compare_exchange_n(&way[i], &entry, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
			n += lb_is_flow(lb, entry);
	}
	return n;
}

static const struct lb_backend *backend_of(const struct lb *lb, __u64 entry)
{
	__u16 number = LB_ENTRY_BACKEND(entry);

	return number < lb->config->backends ? &lb->backend[number] : NULL;
}

/* After so many ticks without a packet it is forgotten; 0: never. */
static __u32 idle_limit(const struct lb *lb, const struct lb_backend *b, enum lb_flow flow)
{
	__u32 idle = b->vip < lb->config->vips ? lb->vip[b->vip].idle : 0;
	__u32 own = flow == LB_NEW ? LB_NEW_TICKS : flow == LB_CLOSING ? LB_CLOSING_TICKS : 0;

	return !own || (idle && idle < own) ? idle : own;
}

bool lb_is_flow(const struct lb *lb, __u64 entry)
{
	const struct lb_backend *b = backend_of(lb, entry);
	__u32 limit;

	if (!entry || !b || b->state == LB_FREE)
		return false;
	limit = idle_limit(lb, b, LB_ENTRY_FLOW(entry));
	return !limit || LB_AGE(lb->now, entry) < limit;
}

void lb_count(const struct lb *lb, struct lb_use *use)
{
	const __u64 *way = lb->bucket[0].way;

	for (__u32 i = 0; i < lb->config->backends; i++)
		use[i] = (struct lb_use){ .youngest = LB_TICKS };
	for (size_t i = 0, end = (size_t)lb->config->buckets * LB_WAYS; i < end; i++) {
		__u64 entry = __atomic_load_n(&way[i], __ATOMIC_RELAXED);
		struct lb_use *u;
		__u32 age;

		if (!entry || !lb_is_flow(lb, entry))
			continue;
		u = &use[LB_ENTRY_BACKEND(entry)];
		age = LB_AGE(lb->now, entry);
		u->flows[LB_ENTRY_FLOW(entry)]++;
		u->youngest = age < u->youngest ? age : u->youngest;
		u->oldest = age > u->oldest ? age : u->oldest;
	}
}

/*
 * Numbers.
 */
static bool is_of_gone(const struct lb *lb, __u64 entry, const void *arg)
{
	const struct lb_backend *b = backend_of(lb, entry);

	(void)arg;
	return !b || b->state == LB_GONE;
}

static bool is_of_none(const struct lb *lb, __u64 entry, const void *arg)
{
	return is_of_gone(lb, entry, arg) || !lb_is_flow(lb, entry);
}

/* Half an hour: idle is 4 hours at most, and ticks come around after 4 and a half. */
#define SWEEP_TICKS 2048
void lb_sweep(struct lb *lb)
{
	if (lb->now - lb->config->swept < SWEEP_TICKS)
		return;
	lb_flows_erase(lb, is_of_none, NULL);
	lb->config->swept = lb->now;
}

/* As in an entry of the flow table, the number is in the second 16 bits of a word. */
static void frags_erase(struct lb *lb)
{
	for (int i = 0; i < LB_FRAGS; i++) {
		__u64 word = __atomic_load_n(&lb->frag[i], __ATOMIC_RELAXED);

		if (word && LB_ENTRY_BACKEND(word) && is_of_gone(lb, word, NULL))
			__atomic_compare_exchange_n(&lb->frag[i], &word, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
}

static int stats_zero(int map, __u32 key, size_t size)
{
	int cpus = libbpf_num_possible_cpus();
	auto_free void *zero = cpus > 0 ? calloc((size_t)cpus, size) : NULL;

	return zero ? bpf_map_update_elem(map, &key, zero, BPF_ANY) : -ENOMEM;
}

int lb_vip_stat_zero(struct lb *lb, int vip)
{
	return stats_zero(lb->vipstats, (__u32)vip, sizeof(struct lb_vip_stat));
}

/* A backend's counts become its VIP's; done again after a kill, they are not added twice. */
static int counts_keep(struct lb *lb, __u32 number)
{
	struct lb_vip *v = &lb->vip[lb->backend[number].vip];
	struct lb_stat sum;
	int err;

	if (v->going != number) {
		err = lb_stat_read(lb, (int)number, &sum);
		if (err)
			return err;
		v->going_packets = v->gone_packets + sum.packets;
		v->going_bytes = v->gone_bytes + sum.bytes;
		v->going_flows = v->gone_flows + sum.flows;
		__atomic_store_n(&v->going, number, __ATOMIC_SEQ_CST);
	}
	v->gone_packets = v->going_packets;
	v->gone_bytes = v->going_bytes;
	v->gone_flows = v->going_flows;
	err = stats_zero(lb->stats, number, sizeof(struct lb_stat));
	if (!err)
		__atomic_store_n(&v->going, 0, __ATOMIC_SEQ_CST);
	return err;
}

static int number_free(struct lb *lb, __u32 number)
{
	struct lb_backend *b = &lb->backend[number];
	bool has_vip = b->vip < lb->config->vips && lb->vip[b->vip].is_live;
	int err = has_vip ? counts_keep(lb, number) : stats_zero(lb->stats, number, sizeof(struct lb_stat));

	if (!err)
		__atomic_store_n(&b->state, LB_FREE, __ATOMIC_SEQ_CST);
	return err;
}

int lb_gone_free(struct lb *lb)
{
	__u32 first = 1;
	int err;

	while (first < lb->config->backends && lb->backend[first].state != LB_GONE)
		first++;
	if (first == lb->config->backends)
		return 0;
	err = root_grace(); /* no packet makes an entry for them any more */
	if (err)
		return err;
	lb_flows_erase(lb, is_of_none, NULL);
	lb->config->swept = lb->now;
	frags_erase(lb);
	err = root_grace(); /* nor has one read an entry before it was erased */
	for (__u32 i = first; !err && i < lb->config->backends; i++)
		if (lb->backend[i].state == LB_GONE)
			err = number_free(lb, i);
	return err;
}

/*
 * Purging.
 */
struct whose {
	int vip, backend;
};

static bool is_whose(const struct lb *lb, __u64 entry, const void *arg)
{
	const struct lb_backend *b = backend_of(lb, entry);
	const struct whose *w = arg;

	if (w->backend && LB_ENTRY_BACKEND(entry) != w->backend)
		return false;
	return w->vip < 0 || !b || b->vip == (__u32)w->vip;
}

int lb_flows_purge(struct lb *lb, int vip, int backend, __u64 *n)
{
	const struct whose w = { vip, backend };

	*n = lb_flows_erase(lb, is_whose, &w);
	return 0;
}
