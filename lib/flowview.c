/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "flowview.h"
#include "run.h"

const char *const flow_by_words[] = { "octets", "packets", "rate", NULL };

static struct addr addr_of(const __u32 a[4])
{
	struct addr addr;

	memcpy(addr.b, a, sizeof(addr.b));
	return addr;
}

const char *flow_format(const struct flow_key *key, char *buf, size_t size)
{
	const struct flow_tuple tuple = {
		.src = addr_of(key->src),
		.dst = addr_of(key->dst),
		.sport = key->sport,
		.dport = key->dport,
		.proto = key->proto,
		.is_v6 = key->family == 6,
	};

	return format_flow(&tuple, buf, size);
}

static bool in_prefix(const __u32 a[4], const struct prefix *p)
{
	struct addr addr = addr_of(a);
	int whole = p->len / 8, bits = p->len % 8;

	if (memcmp(addr.b, p->addr.b, (size_t)whole))
		return false;
	return !bits || !((addr.b[whole] ^ p->addr.b[whole]) >> (8 - bits));
}

static bool in_ports(const struct flow_key *key, __u16 port, const struct ports *p)
{
	return proto_has_ports(key->proto) && (!p->hi || (port >= p->lo && port <= p->hi));
}

static bool is_tuple(const struct flow_key *key, const struct flow_tuple *f)
{
	return !memcmp(key->src, f->src.b, 16) && !memcmp(key->dst, f->dst.b, 16) && key->sport == f->sport &&
	       key->dport == f->dport && key->proto == f->proto && (key->family == 6) == f->is_v6;
}

static bool at_place(const struct flow_match *m, const struct flow_place *place)
{
	if (m->direction >= 0 && place->direction != m->direction)
		return false;
	return !m->dev || (place->ifindex == (__u32)m->dev->index && place->netns == m->self.id);
}

static bool in_vlan(const struct flow_key *key, int vid)
{
	return key->vlan[0] == (vid < 0 ? 0 : FLOW_TAGGED | vid);
}

bool flow_matches(const struct flowtable *t, const struct flow_match *m, const struct flow_rec *rec)
{
	const struct flow_key *key = &rec->key;

	return (m->proto < 0 || key->proto == m->proto) && (!m->tuple || is_tuple(key, m->tuple)) &&
	       (!m->src || in_prefix(key->src, m->src)) && (!m->dst || in_prefix(key->dst, m->dst)) &&
	       (!m->sport || in_ports(key, key->sport, m->sport)) &&
	       (!m->dport || in_ports(key, key->dport, m->dport)) &&
	       (!m->vlan || in_vlan(key, *m->vlan)) &&
	       ((!m->dev && m->direction < 0) ||
		(key->place < FLOW_PLACES && at_place(m, &t->place[key->place])));
}

static int rates_room(struct flow_rates *r, __u32 n)
{
	struct flow_reading *more;

	if (n <= r->n)
		return 0;
	more = reallocarray(r->slot, n, sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + r->n, 0, (n - r->n) * sizeof(*more));
	r->slot = more;
	r->n = n;
	return 0;
}

int flow_rates_read(struct flow_rates *r, const struct flowtable *t)
{
	__u64 now = run_now_us();
	int err = rates_room(r, flowtable_end(t));
	struct flow_rec rec;

	if (err)
		return err;
	r->flows = r->new_flows = r->packets = r->octets = 0;
	for (__u32 i = 0; i < r->n; i++) {
		struct flow_reading *s = &r->slot[i];

		if (i >= t->mapped || !flowtable_read(t, i, &rec)) {
			*s = (struct flow_reading){ 0 };
			continue;
		}
		if (s->generation != FLOW_GENERATION(rec.life) || s->packets > rec.packets) {
			*s = (struct flow_reading){ .generation = (__u16)FLOW_GENERATION(rec.life) };
			r->new_flows++;
		}
		s->more_packets = rec.packets - s->packets;
		s->more_octets = rec.octets - s->octets;
		s->packets = rec.packets;
		s->octets = rec.octets;
		r->flows++;
		r->packets += s->more_packets;
		r->octets += s->more_octets;
	}
	r->span_us = r->read_us ? now - r->read_us : 0;
	r->read_us = now;
	return 0;
}

__u64 flow_rate(const struct flow_rates *r, __u64 count)
{
	return r->span_us ? (__u64)(((unsigned __int128)count * 1000000 + r->span_us / 2) / r->span_us) : 0;
}

/* The flows found so far, or the best of them. */
struct entry {
	__u64 value, octets;
	__u32 slot;
	__u16 generation;
};
struct index {
	struct entry *e;
	__u64 n, room;
	__u32 limit;
};

/* Most first; of the same, that with more octets, then the lower slot. */
static int by_value(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	if (x->octets != y->octets)
		return x->octets < y->octets ? 1 : -1;
	return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Sorted, and no more than the limit. */
static void index_cut(struct index *x)
{
	qsort(x->e, x->n, sizeof(*x->e), by_value);
	if (x->limit && x->n > x->limit)
		x->n = x->limit;
}

static int index_add(struct index *x, const struct entry *entry)
{
	struct entry *more;

	if (x->limit && x->n >= 2 * (__u64)x->limit)
		index_cut(x);
	if (x->n == x->room) {
		x->room = x->room ? 2 * x->room : 1024;
		more = reallocarray(x->e, x->room, sizeof(*more));
		if (!more)
			return -ENOMEM;
		x->e = more;
	}
	x->e[x->n++] = *entry;
	return 0;
}

static __u64 value_of(const struct flow_query *q, const struct flow_rec *rec, __u32 slot)
{
	if (q->by == FLOW_BY_PACKETS)
		return rec->packets;
	if (q->by == FLOW_BY_OCTETS)
		return rec->octets;
	return slot < q->rates->n ? q->rates->slot[slot].more_octets : 0;
}

static int walk_slots(const struct flowtable *t, const struct flow_query *q,
		      int (*fn)(const struct flow_rec *rec, __u32 slot, void *arg), void *arg)
{
	__u32 end = flowtable_end(t), n = 0;
	struct flow_rec rec;
	int err = 0;

	for (__u32 i = 0; !err && i < end && (!q->limit || n < q->limit); i++) {
		if (!flowtable_read(t, i, &rec) || !flow_matches(t, &q->match, &rec))
			continue;
		n++;
		err = fn(&rec, i, arg);
	}
	return err;
}

static int walk_index(const struct flowtable *t, const struct index *x,
		      int (*fn)(const struct flow_rec *rec, __u32 slot, void *arg), void *arg)
{
	struct flow_rec rec;
	int err = 0;

	for (__u64 i = 0; !err && i < x->n; i++)
		if (flowtable_read(t, x->e[i].slot, &rec) && FLOW_GENERATION(rec.life) == x->e[i].generation)
			err = fn(&rec, x->e[i].slot, arg);
	return err;
}

int flow_walk(const struct flowtable *t, const struct flow_query *q,
	      int (*fn)(const struct flow_rec *rec, __u32 slot, void *arg), void *arg)
{
	struct index x = { .limit = q->limit };
	__u32 end = flowtable_end(t);
	struct flow_rec rec;
	int err = 0;

	if (q->by == FLOW_BY_SLOT)
		return walk_slots(t, q, fn, arg);
	for (__u32 i = 0; !err && i < end; i++) {
		if (!flowtable_read(t, i, &rec) || !flow_matches(t, &q->match, &rec))
			continue;
		const struct entry entry = { value_of(q, &rec, i), rec.octets, i, (__u16)FLOW_GENERATION(rec.life) };
		err = index_add(&x, &entry);
	}
	if (!err) {
		index_cut(&x);
		err = walk_index(t, &x, fn, arg);
	}
	free(x.e);
	return err;
}
