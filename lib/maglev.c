// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lbhash.h"
#include "maglev.h"

/* A backend's walk over the slots: a permutation, because LB_RING is a prime. */
struct walk {
	__u32 at, skip;
	__u16 value;
};

/* Of so few free slots the next one is found sooner by asking for the distance of each than
 * by walking there: more than half of all steps would be those to the last 256. */
#define FEW 256

/* Backends of one weight take their turns together, in the order of their addresses: the
 * k-th at time k/weight. */
struct group {
	__u32 turn, weight;
	__u32 first, n; /* walks */
};

struct build {
	struct walk *walk;
	struct group *heap; /* the next turn first */
	__u32 n, groups;
	__u16 *slot;        /* 0: free */
	__u32 left;         /* free slots */
	__u32 free[FEW];    /* they, when they are few */
};

_Static_assert(LB_RING == 65537, "inverse() counts on it");

static int by_addr(const void *a, const void *b)
{
	const struct maglev_backend *x = a, *y = b;

	return memcmp(&x->addr, &y->addr, sizeof(x->addr));
}

static struct walk walk_start(const struct maglev_backend *b, __u32 seed)
{
	__u64 half[2], h;

	memcpy(half, b->addr.b, sizeof(half));
	h = lb_finish(lb_finish(be64toh(half[0]) + ((__u64)seed << 32)) ^ be64toh(half[1]));
	return (struct walk){
		.at = (__u32)((h >> 32) % LB_RING),
		.skip = (__u32)(lb_finish(h + 1) % (LB_RING - 1)) + 1,
		.value = b->value,
	};
}

/* a/b < c/d; of two turns at the same time the heavier group's comes first. */
static bool is_before(const struct group *a, const struct group *b)
{
	__u64 left = (__u64)a->turn * b->weight, right = (__u64)b->turn * a->weight;

	return left != right ? left < right : a->weight > b->weight;
}

static void heap_sink(struct build *m, __u32 i)
{
	struct group moved = m->heap[i];

	for (__u32 child; (child = 2 * i + 1) < m->groups; i = child) {
		if (child + 1 < m->groups && is_before(&m->heap[child + 1], &m->heap[child]))
			child++;
		if (!is_before(&m->heap[child], &moved))
			break;
		m->heap[i] = m->heap[child];
	}
	m->heap[i] = moved;
}

static __u32 multiply(__u32 a, __u32 b)
{
	return (__u32)((__u64)a * b % LB_RING);
}

/* By Fermat: a to the power LB_RING - 2, which is 16 ones. */
static __u32 inverse(__u32 a)
{
	__u32 power = a;

	for (int i = 1; i < 16; i++)
		power = multiply(multiply(power, power), a);
	return power;
}

static __u32 next_of_many(const struct build *m, const struct walk *w)
{
	__u32 at = w->at, skip = w->skip;

	while (m->slot[at]) {
		at += skip;
		if (at >= LB_RING)
			at -= LB_RING;
	}
	return at;
}

/* The free slot that is the fewest steps ahead. */
static __u32 next_of_few(struct build *m, const struct walk *w)
{
	__u32 step = inverse(w->skip), nearest = 0, least = LB_RING, at;

	for (__u32 i = 0; i < m->left; i++) {
		__u32 steps = multiply(m->free[i] + LB_RING - w->at, step);

		if (steps < least) {
			least = steps;
			nearest = i;
		}
	}
	at = m->free[nearest];
	m->free[nearest] = m->free[m->left - 1];
	return at;
}

static void few_find(struct build *m)
{
	__u32 n = 0;

	for (__u32 i = 0; i < LB_RING; i++)
		if (!m->slot[i])
			m->free[n++] = i;
}

static void slot_take(struct build *m, struct walk *w)
{
	w->at = m->left > FEW ? next_of_many(m, w) : next_of_few(m, w);
	m->slot[w->at] = w->value;
	if (--m->left == FEW)
		few_find(m);
}

static void fill(struct build *m)
{
	while (m->left) {
		struct group *g = &m->heap[0];

		for (__u32 i = 0; i < g->n && m->left; i++)
			slot_take(m, &m->walk[g->first + i]);
		g->turn++;
		heap_sink(m, 0);
	}
}

struct ranked {
	__u16 weight, rank;
};

/* The heaviest first, then by address. */
static int by_weight(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->weight != y->weight ? (int)y->weight - x->weight : (int)x->rank - y->rank;
}

static void group_all(struct build *m, const struct maglev_backend *list, const struct ranked *order, __u32 seed)
{
	for (__u32 i = 0; i < m->n; i++) {
		m->walk[i] = walk_start(&list[order[i].rank], seed);
		if (!m->groups || m->heap[m->groups - 1].weight != order[i].weight)
			m->heap[m->groups++] = (struct group){ .turn = 1, .weight = order[i].weight, .first = i };
		m->heap[m->groups - 1].n++;
	}
}

int maglev_build(struct maglev_backend *list, int n, __u32 seed, __u16 slot[LB_RING])
{
	auto_free struct walk *walk = calloc((size_t)n + 1, sizeof(*walk));
	auto_free struct group *heap = calloc((size_t)n + 1, sizeof(*heap));
	auto_free struct ranked *order = calloc((size_t)n + 1, sizeof(*order));
	struct build m = { .walk = walk, .heap = heap, .slot = slot, .left = LB_RING };

	if (!walk || !heap || !order)
		return -ENOMEM;
	qsort(list, (size_t)n, sizeof(*list), by_addr);
	for (int i = 0; i < n; i++)
		if (list[i].weight)
			order[m.n++] = (struct ranked){ list[i].weight, (__u16)i };
	memset(slot, 0, LB_RING * sizeof(*slot));
	if (!m.n)
		return 0;
	qsort(order, m.n, sizeof(*order), by_weight);
	group_all(&m, list, order, seed);
	/* descending weights at turn 1 are a heap already */
	fill(&m);
	return 0;
}
