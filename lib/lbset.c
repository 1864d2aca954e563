// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What is true of a VIP, and how it changes: by its ring, in one step. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "lbmaps.h"
#include "maglev.h"

static __u32 ring_in_use(int vip) { return 2 * (__u32)vip; }
static __u32 ring_before(int vip) { return 2 * (__u32)vip + 1; }

/*
 * Rings.
 */
/* -ENOENT: there is none; -EPERM: only CAP_SYS_ADMIN opens maps by their ids. */
static int ring_open(const struct lb *lb, __u32 key)
{
	__u32 id;
	int err = bpf_map_lookup_elem(lb->rings, &key, &id);

	return err ? err : bpf_map_get_fd_by_id(id);
}

static void ring_fill(struct lb_ring *r, const struct lb_set *set)
{
	r->n = (__u32)set->n;
	r->seed = set->seed;
	r->flags = set->flags;
	r->idle_us = set->idle_us;
	for (int i = 0; i < set->n; i++)
		r->member[i] = set->part[i].m;
	memcpy(r->slot, set->slot, sizeof(r->slot));
}

static int ring_make(const struct lb_set *set)
{
	auto_fd int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lb_ring", sizeof(__u32), sizeof(struct lb_ring), 1, NULL);
	auto_free struct lb_ring *r = calloc(1, sizeof(*r));
	__u32 zero = 0;
	int err = fd < 0 ? fd : r ? 0 : -ENOMEM;

	if (err)
		return err;
	ring_fill(r, set);
	err = bpf_map_update_elem(fd, &zero, r, BPF_ANY);
	return err ? err : take_fd(&fd);
}

/* The kernel waits until no packet is in the ring that was there. */
static int ring_put(const struct lb *lb, __u32 key, int ring)
{
	return bpf_map_update_elem(lb->rings, &key, &ring, BPF_ANY);
}

static int ring_delete(const struct lb *lb, __u32 key)
{
	int err = bpf_map_delete_elem(lb->rings, &key);

	return err == -ENOENT ? 0 : err;
}

int lb_rings_bytes(const struct lb *lb, __u64 *bytes)
{
	*bytes = 0;
	for (__u32 key = 0, id; key < 2 * lb->config->vips; key++) {
		int err = bpf_map_lookup_elem(lb->rings, &key, &id);

		if (err && err != -ENOENT)
			return err;
		*bytes += err ? 0 : sizeof(struct lb_ring);
	}
	return 0;
}

/*
 * Sets.
 */
static int read_ring(const struct lb *lb, int ring, struct lb_set *set)
{
	auto_free struct lb_ring *r = malloc(sizeof(*r));
	__u32 zero = 0;
	int err = r ? bpf_map_lookup_elem(ring, &zero, r) : -ENOMEM;

	if (err || r->n > LB_MEMBERS)
		return err ? err : -EINVAL;
	set->seed = r->seed;
	set->flags = r->flags;
	set->idle_us = r->idle_us;
	set->n = (int)r->n;
	for (int i = 0; i < set->n; i++) {
		if (r->member[i].number >= lb->config->backends)
			return -EINVAL;
		set->part[i].m = r->member[i];
		memcpy(&set->part[i].addr, lb->backend[r->member[i].number].addr, sizeof(struct addr));
	}
	memcpy(set->slot, r->slot, sizeof(set->slot));
	set->has_slots = true;
	return 0;
}

static int read_copies(const struct lb *lb, int vip, struct lb_set *set)
{
	const struct lb_vip *v = &lb->vip[vip];
	auto_free __u16 *numbers = NULL;
	int n = lb_backends(lb, vip, &numbers);

	if (n < 0)
		return n;
	set->seed = v->seed;
	set->flags = v->flags;
	set->idle_us = v->idle_us;
	set->n = n;
	set->has_slots = false;
	for (int i = 0; i < n; i++) {
		const struct lb_backend *b = &lb->backend[numbers[i]];

		memcpy(&set->part[i].addr, b->addr, sizeof(struct addr));
		set->part[i].m = (struct lb_member){
			.number = numbers[i],
			.weight = b->weight,
			.admin = b->admin,
			.healthy = b->healthy,
		};
	}
	return 0;
}

int lb_set_read(const struct lb *lb, int vip, struct lb_set *set)
{
	auto_fd int ring = ring_open(lb, ring_in_use(vip));

	if (ring == -EPERM && !lb->vip[vip].is_changing)
		return read_copies(lb, vip, set);
	return ring < 0 ? ring : read_ring(lb, ring, set);
}

int lb_set_find(const struct lb_set *set, const struct addr *addr, int *at)
{
	int low = 0, high = set->n;

	while (low < high) {
		int middle = (low + high) / 2, order = memcmp(&set->part[middle].addr, addr, sizeof(*addr));

		if (!order) {
			*at = middle;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*at = low;
	return -1;
}

static __u16 weight_of(const struct lb_member *m)
{
	return m->admin == LB_UP && m->healthy != LB_SICK ? m->weight : 0;
}

static enum lb_state state_of(const struct lb_member *m)
{
	return m->admin == LB_DOWN || m->healthy == LB_SICK ? LB_DEAD : LB_ALIVE;
}

int lb_set_build(struct lb_set *set)
{
	auto_free struct maglev_backend *list = malloc(sizeof(*list) * ((size_t)set->n + 1));
	int err;

	if (!list)
		return -ENOMEM;
	for (int i = 0; i < set->n; i++)
		list[i] = (struct maglev_backend){
			.addr = set->part[i].addr,
			.value = set->part[i].m.number,
			.weight = weight_of(&set->part[i].m),
		};
	err = maglev_build(list, set->n, set->seed, set->slot);
	set->has_slots = !err;
	return err;
}

/* Have they the same slots? Those who take none do not count. */
static bool is_same_ring(const struct lb_set *a, const struct lb_set *b)
{
	int i = 0, j = 0;

	if (a->seed != b->seed)
		return false;
	for (;; i++, j++) {
		while (i < a->n && !weight_of(&a->part[i].m))
			i++;
		while (j < b->n && !weight_of(&b->part[j].m))
			j++;
		if (i == a->n || j == b->n)
			return i == a->n && j == b->n;
		if (a->part[i].m.number != b->part[j].m.number || weight_of(&a->part[i].m) != weight_of(&b->part[j].m))
			return false;
	}
}

/*
 * Records follow the ring.
 */
static void state_store(struct lb_backend *b, enum lb_state state)
{
	__atomic_store_n(&b->state, (__u8)state, __ATOMIC_SEQ_CST);
}

static void record_follow(struct lb_backend *b, const struct lb_member *m)
{
	if (b->admin != m->admin)
		b->admin_since = (__u64)time(NULL);
	b->admin = m->admin;
	b->healthy = m->healthy;
	b->weight = m->weight;
	if (b->state != state_of(m))
		state_store(b, state_of(m));
}

/* Records of VIP vip are as the set says, those not in it LB_GONE; copies of its settings too. */
static void records_follow(struct lb *lb, int vip, const struct lb_set *set)
{
	bool is_in[LB_BACKENDS_MOST + 1] = { false };
	struct lb_vip *v = &lb->vip[vip];

	for (int i = 0; i < set->n; i++) {
		is_in[set->part[i].m.number] = true;
		record_follow(&lb->backend[set->part[i].m.number], &set->part[i].m);
	}
	for (__u32 i = 1; i < lb->config->backends; i++)
		if (!is_in[i] && lb->backend[i].vip == (__u32)vip && lb->backend[i].state != LB_FREE)
			state_store(&lb->backend[i], LB_GONE);
	v->idle_us = set->idle_us;
	__atomic_store_n(&v->idle, lb_ticks(lb->config, set->idle_us), __ATOMIC_RELAXED);
	__atomic_store_n(&v->flags, set->flags, __ATOMIC_RELAXED);
	__atomic_store_n(&v->seed, set->seed, __ATOMIC_RELAXED);
	__atomic_store_n(&v->is_changing, 0, __ATOMIC_SEQ_CST);
}

/* Who gets packets by the new ring is alive before it is there. */
static void revive(struct lb *lb, const struct lb_set *set)
{
	for (int i = 0; i < set->n; i++) {
		struct lb_backend *b = &lb->backend[set->part[i].m.number];

		if (b->state != LB_ALIVE && state_of(&set->part[i].m) == LB_ALIVE)
			state_store(b, LB_ALIVE);
	}
}

static int put_before(struct lb *lb, int vip, struct lb_set *old)
{
	auto_fd int ring = ring_open(lb, ring_in_use(vip));
	int err = 0;

	if (ring == -EPERM) {
		err = old->has_slots ? 0 : lb_set_build(old);
		ring = err ? err : ring_make(old);
	}
	return ring < 0 ? ring : ring_put(lb, ring_before(vip), ring);
}

int lb_set_publish(struct lb *lb, int vip, struct lb_set *old, struct lb_set *new)
{
	bool is_same = is_same_ring(old, new);
	auto_fd int ring = -1;
	int err = 0;

	if (is_same && old->has_slots)
		memcpy(new->slot, old->slot, sizeof(new->slot));
	else
		err = lb_set_build(new);
	ring = err ? err : ring_make(new);
	if (ring < 0)
		return ring;
	__atomic_store_n(&lb->vip[vip].is_changing, 1, __ATOMIC_SEQ_CST);
	revive(lb, new);
	if (!is_same)
		err = put_before(lb, vip, old);
	if (!err)
		err = ring_put(lb, ring_in_use(vip), ring);
	records_follow(lb, vip, err ? old : new);
	return err;
}

int lb_rings_make(struct lb *lb, int vip, struct lb_set *set)
{
	auto_fd int ring = -1;
	int err = lb_set_build(set);

	ring = err ? err : ring_make(set);
	if (ring < 0)
		return ring;
	err = ring_delete(lb, ring_before(vip));
	return err ? err : ring_put(lb, ring_in_use(vip), ring);
}

int lb_rings_remove(struct lb *lb, int vip)
{
	int err = ring_delete(lb, ring_in_use(vip));

	return err ? err : ring_delete(lb, ring_before(vip));
}

/*
 * After a killed run.
 */
static int settle_changing(struct lb *lb, int vip)
{
	auto_free struct lb_set *set = malloc(sizeof(*set));
	int err = set ? lb_set_read(lb, vip, set) : -ENOMEM;

	if (!err)
		records_follow(lb, vip, set);
	return err;
}

int lb_settle(struct lb *lb)
{
	int err = 0;

	for (__u32 i = 0; !err && i < lb->config->vips; i++) {
		const struct lb_vip *v = &lb->vip[i];

		if (v->key.proto && !v->is_live)
			err = lb_vip_free(lb, (int)i);
		else if (v->is_live && v->is_changing)
			err = settle_changing(lb, (int)i);
	}
	return err ? err : lb_gone_free(lb);
}
