/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBFLOWS_BPF_H
#define L3AF_LBFLOWS_BPF_H

/* The flow table, and which backend a packet goes to. */
#include "lbmaps.bpf.h"

static __always_inline struct lb_bucket *bucket_get(const struct lb_config *c, __u64 hash)
{
	__u32 i = (__u32)hash & (c->buckets - 1);

	return bpf_map_lookup_elem(&flows, &i);
}

/* The way that may have this tag: compared without a branch. Whoever uses it compares the
 * tag: where none has it, this is the first, and where two have it, it is any. */
static __always_inline volatile __u64 *way_guess(struct lb_bucket *b, __u32 tag)
{
	volatile __u64 *way = b->way;
	__u64 at = 0;

#pragma unroll
	for (int i = 1; i < LB_WAYS; i++) {
		__u64 differ = way[i] >> 32 ^ tag, is_it = (differ - 1) >> 63;

		barrier_var(is_it);
		at |= is_it * i;
	}
	barrier_var(at); /* so that it is bounded after that */
	return way + (at & (LB_WAYS - 1));
}

/* After how many ticks without a packet an entry is no longer good. */
static __always_inline __u32 ticks_of(const struct lb_vip *vip, enum lb_flow flow)
{
	__u32 most = LB_TICKS + 1;

	if (flow == LB_NEW)
		most = LB_NEW_TICKS;
	else if (flow == LB_CLOSING)
		most = LB_CLOSING_TICKS;
	return vip->idle && vip->idle < most ? vip->idle : most;
}

/* The less an entry is worth, the more points: empty; closing; in the ways of new flows one
 * of those; the longer not heard of. */
static __always_inline __u32 entry_points(__u64 e, __u32 way, __u32 now)
{
	__u32 points = 1 + LB_AGE(now, e);

	if (!e)
		return 4 * (LB_TICKS + 1);
	if (LB_ENTRY_FLOW(e) == LB_CLOSING)
		return points + 2 * (LB_TICKS + 1);
	if (way >= LB_WAYS - LB_PROBATION && LB_ENTRY_FLOW(e) != LB_ESTABLISHED)
		return points + LB_TICKS + 1;
	return points;
}

/* The way of those from first to last - 1 that is worth least. */
static __always_inline __u32 way_worst(volatile __u64 *way, __u32 first, __u32 last, __u32 now)
{
	__u32 worst = first, most = 0;

	for (__u32 i = first; i < last; i++) {
		__u32 points = entry_points(way[i], i, now);

		if (points > most) {
			most = points;
			worst = i;
		}
	}
	return worst & (LB_WAYS - 1);
}

/* A new entry. */
static __always_inline void table_insert(__u32 bucket, __u64 entry)
{
	struct lb_bucket *b = bpf_map_lookup_elem(&flows, &bucket);

	if (b)
		((volatile __u64 *)b->way)[way_worst(b->way, LB_WAYS - LB_PROBATION, LB_WAYS, (__u32)entry)] = entry;
}

/* An entry among the new ones is heard of again. At no moment is it nowhere. */
__noinline int table_promote(__u32 bucket, __u32 from, __u64 entry)
{
	struct lb_bucket *b = bpf_map_lookup_elem(&flows, &bucket);
	volatile __u64 *way;
	__u32 to;

	if (!b)
		return 0;
	way = b->way;
	to = way_worst(way, 0, LB_WAYS - 1, (__u32)entry);
	way[to] = entry;
	if (to != from)
		way[from & (LB_WAYS - 1)] = 0;
	return 0;
}

/* is_confirmed: it has become one that is worth keeping. */
static __always_inline void entry_set(struct lb_bucket *b, __u32 bucket, __u32 way, __u64 old, __u64 new, bool is_confirmed)
{
	if (way >= LB_WAYS - LB_PROBATION && is_confirmed)
		table_promote(bucket, way, new);
	else if (new != old)
		((volatile __u64 *)b->way)[way & (LB_WAYS - 1)] = new;
}

/* May this client's next flow go there? Not if the backend is drained. */
static __always_inline bool takes_clients(const struct lb_backend *b, __u32 vip)
{
	return b->state == LB_ALIVE && b->vip == vip && b->admin == LB_UP && b->weight;
}

/* The backend of a sticky VIP's client, or 0. is_confirmed: out of probation. */
__noinline int client_known(__u32 vip_number, __u32 is_confirmed)
{
	struct job *j = job_get();
	struct lb_config *c = config_get();
	struct lb_vip *vip = vip_get(vip_number);
	struct lb_backend *backend;
	struct lb_bucket *b;
	__u64 hash, e = 0;
	__u32 way;

	if (!j || !c || !vip)
		return 0;
	hash = lb_client_hash(&j->f, vip_number, c->key);
	b = bucket_get(c, hash);
	if (!b)
		return 0;
	for (way = 0; way < LB_WAYS; way++) {
		e = ((volatile __u64 *)b->way)[way];
		if (LB_ENTRY_TAG(e) == lb_tag(hash))
			break;
	}
	if (way == LB_WAYS || LB_ENTRY_FLOW(e) != LB_CLIENT || LB_AGE(j->now, e) >= ticks_of(vip, LB_CLIENT))
		return 0;
	backend = backend_get(LB_ENTRY_BACKEND(e));
	if (!backend || !takes_clients(backend, vip_number)) {
		((volatile __u64 *)b->way)[way & (LB_WAYS - 1)] = 0;
		return 0;
	}
	hash &= c->buckets - 1;
	entry_set(b, hash, way, e, (e & ~(__u64)LB_TICKS) | (j->now & LB_TICKS), is_confirmed);
	return LB_ENTRY_BACKEND(e);
}

__noinline int client_note(void)
{
	struct job *j = job_get();
	struct lb_config *c = config_get();
	__u64 hash;

	if (!j || !c)
		return 0;
	hash = lb_client_hash(&j->f, j->vip, c->key);
	table_insert((__u32)hash & (c->buckets - 1), LB_ENTRY(lb_tag(hash), j->backend, LB_CLIENT, j->now));
	return 0;
}

/* A FIN or RST that its receiver did not believe: nobody sends data so long after it. */
#define NOT_CLOSED_TICKS 2

/* What a flow's entry is after this packet of it. */
static __always_inline __u64 entry_next(const struct job *j, __u64 e)
{
	enum lb_flow flow = LB_ENTRY_FLOW(e);
	bool is_tcp = j->f.proto == IPPROTO_TCP;

	if (is_tcp && j->tcp & (TCP_FIN | TCP_RST))
		flow = LB_CLOSING;
	else if (flow == LB_CLOSING && LB_AGE(j->now, e) < NOT_CLOSED_TICKS)
		return e;
	else if (flow != LB_NEW || !(is_tcp && j->tcp & TCP_SYN))
		flow = LB_ESTABLISHED;
	return LB_ENTRY(LB_ENTRY_TAG(e), j->backend, flow, j->now);
}

/* Is this entry good for this packet? What is not is told in the job: its way is taken. */
static __always_inline bool entry_is_good(struct job *j, __u64 e)
{
	struct lb_backend *backend = backend_get(LB_ENTRY_BACKEND(e));
	struct lb_vip *vip = backend ? vip_get(backend->vip) : NULL;
	enum lb_flow flow = LB_ENTRY_FLOW(e);

	if (!vip || !vip_is(vip, &j->f) || flow == LB_CLIENT)
		return false;
	if (LB_AGE(j->now, e) >= ticks_of(vip, flow))
		return false;
	if (flow == LB_CLOSING && j->kind != JOB_ERROR && j->f.proto == IPPROTO_TCP && j->tcp & TCP_SYN)
		return false;
	if (backend->state != LB_ALIVE) {
		j->old = e;
		return false;
	}
	j->vip = backend->vip;
	j->backend = LB_ENTRY_BACKEND(e);
	return true;
}

/* The flow's backend, as far as it is known: into the job. */
static __always_inline bool flow_known(struct job *j, const struct lb_config *c)
{
	__u32 way, tag = lb_tag(j->hash);
	struct lb_bucket *b = bucket_get(c, j->hash);
	struct lb_vip *vip;
	bool is_touched;
	__u64 e = 0, next;

	if (!b)
		return false;
	for (way = 0; way < LB_WAYS; way++) {
		e = ((volatile __u64 *)b->way)[way];
		if (LB_ENTRY_TAG(e) == tag)
			break;
	}
	if (way == LB_WAYS)
		return false;
	if (!entry_is_good(j, e)) {
		j->way = way + 1;
		return false;
	}
	if (j->kind == JOB_ERROR)
		return true;
	is_touched = LB_AGE(j->now, e);
	next = entry_next(j, e);
	entry_set(b, (__u32)j->hash & (c->buckets - 1), way, e, next,
		  LB_ENTRY_FLOW(next) == LB_ESTABLISHED && LB_ENTRY_FLOW(e) != LB_ESTABLISHED);
	vip = vip_get(j->vip);
	if (vip && vip->flags & LB_STICKY && (is_touched || way >= LB_WAYS - LB_PROBATION))
		client_known(j->vip, 1);
	return true;
}

/* Who takes new flows like this one, by a VIP's ring. is_before: by the one before. */
static __always_inline __u32 ring_ask(const struct job *j, __u32 is_before)
{
	__u32 i = 2 * j->vip + is_before, zero = 0, slot;
	void *map = bpf_map_lookup_elem(&rings, &i);
	struct lb_ring *ring = map ? bpf_map_lookup_elem(map, &zero) : NULL;

	if (!ring)
		return 0;
	slot = lb_ring_slot(&j->f, ring->seed, ring->flags & LB_STICKY, j->is_v4);
	return slot < LB_RING ? ring->slot[slot] : 0;
}

static __always_inline void flow_note(const struct job *j, const struct lb_config *c)
{
	__u32 bucket = (__u32)j->hash & (c->buckets - 1);
	enum lb_flow flow = j->f.proto == IPPROTO_TCP && j->tcp & (TCP_FIN | TCP_RST) ? LB_CLOSING : LB_NEW;
	struct lb_bucket *b;

	if (!j->way) {
		table_insert(bucket, LB_ENTRY(lb_tag(j->hash), j->backend, flow, j->now));
		return;
	}
	/* in the place of what it was before; one that moves was heard of often enough */
	if (j->old && flow == LB_NEW)
		flow = LB_ENTRY_FLOW(j->old);
	b = bpf_map_lookup_elem(&flows, &bucket);
	if (b)
		((volatile __u64 *)b->way)[(j->way - 1) & (LB_WAYS - 1)] =
			LB_ENTRY(lb_tag(j->hash), j->backend, flow, j->now);
}

static __always_inline bool is_stray(const struct job *j)
{
	return j->kind == JOB_PACKET && j->f.proto == IPPROTO_TCP && !(j->tcp & TCP_SYN) && !j->old;
}

/* VIP of this address, port and protocol: into the job. */
static __always_inline bool vip_lookup(struct job *j, const __u32 addr[4], __be16 port, __u8 proto)
{
	struct lb_key key = { .port = port, .proto = proto };
	struct lb_vip *vip;
	__u32 *number;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	number = bpf_map_lookup_elem(&vipkeys, &key);
	if (!number)
		return false;
	vip = vip_get(*number);
	if (!vip || !vip->is_live)
		return false;
	j->vip = *number;
	return true;
}

static __always_inline bool vip_find(struct job *j)
{
	return vip_lookup(j, j->f.dst, j->f.dport, j->f.proto) || vip_lookup(j, j->f.dst, 0, j->f.proto);
}

/* The backend of a flow that is not known, by the ring of j->vip: into the job. */
static __always_inline bool flow_new(struct job *j, const struct lb_config *c)
{
	struct lb_vip *vip = vip_get(j->vip);
	struct lb_backend *backend, *other;
	bool is_by_client;
	__u32 before;

	if (!vip)
		return false;
	j->backend = vip->flags & LB_STICKY ? client_known(j->vip, 0) : 0;
	is_by_client = j->backend;
	if (!is_by_client)
		j->backend = ring_ask(j, 0);
	backend = backend_get(j->backend);
	if (!j->backend || !backend || backend->state != LB_ALIVE)
		return false;
	if (j->kind == JOB_ERROR)
		return true;
	if (is_stray(j)) {
		vip_count(j->vip, LB_STRAY);
		before = is_by_client ? 0 : ring_ask(j, 1);
		other = before && before != j->backend ? backend_get(before) : NULL;
		if (other && other->state == LB_ALIVE && other->vip == j->vip) {
			j->second = before;
			return true;
		}
	}
	if (j->old)
		vip_count(j->vip, LB_MOVED);
	j->is_new = 1;
	flow_note(j, c);
	if (vip->flags & LB_STICKY && !is_by_client)
		client_note();
	return true;
}

/* Which backend the packet in the job goes to: into it. A verdict where it goes to none. */
#define PICKED (-1)
__noinline int flow_pick(void)
{
	struct job *j = job_get();
	struct lb_config *c = config_get();

	if (!j || !c)
		return XDP_PASS;
	if (!j->is_bad && flow_known(j, c))
		return PICKED;
	if (!vip_find(j))
		return XDP_PASS;
	if (!j->is_bad && flow_new(j, c))
		return PICKED;
	vip_count(j->vip, j->is_bad ? LB_BAD_LENGTH : LB_NO_BACKEND);
	return XDP_DROP;
}

/* Is the packet's destination that of a VIP at all? */
__noinline int address_find(void)
{
	struct job *j = job_get();

	return j && vip_lookup(j, j->vip_addr, 0, 0);
}

/*
 * Fragments.
 */
static __always_inline volatile __u64 *frag_word(__u64 hash)
{
	__u32 i = (__u32)hash & (LB_FRAGS - 1);

	return bpf_map_lookup_elem(&frags, &i);
}

/* Leave word for those that follow: backend, 0: packets are passed on to this host. */
__noinline int frag_note(__u32 backend)
{
	struct job *j = job_get();
	struct lb_config *c = config_get();
	volatile __u64 *word;
	__u64 hash;

	if (!j || !c)
		return 0;
	hash = lb_frag_hash(&j->f, j->frag_id, c->key);
	word = frag_word(hash);
	if (word)
		*word = (__u64)lb_tag(hash) << 32 | (__u64)(backend & 0xffff) << 16 | (j->now & 0xffff);
	return 0;
}

/* 1: the backend is in the job; 0: passed on to this host; -1: the first one was not seen. */
__noinline int frag_known(void)
{
	struct job *j = job_get();
	struct lb_config *c = config_get();
	struct lb_backend *backend;
	volatile __u64 *word;
	__u64 hash, w;

	if (!j || !c)
		return 0;
	hash = lb_frag_hash(&j->f, j->frag_id, c->key);
	word = frag_word(hash);
	if (!word)
		return 0;
	w = *word;
	if (w >> 32 != lb_tag(hash) || ((j->now + LB_AHEAD - (__u32)w) & 0xffff) >= LB_FRAG_TICKS + LB_AHEAD)
		return -1;
	if (!(w >> 16 & 0xffff))
		return 0;
	backend = backend_get(w >> 16 & 0xffff);
	if (!backend || backend->state != LB_ALIVE)
		return -1;
	j->hash = hash;
	j->vip = backend->vip;
	j->backend = w >> 16 & 0xffff;
	return 1;
}

#endif
