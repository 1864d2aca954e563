/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "flowpair.h"

/* Open addressing; a slot that was taken out leaves TAKEN. */
#define TAKEN 0xfffffffeU
#define EMPTY FLOW_NO_SLOT

struct flow_pairs {
	const struct flowtable *t;
	__u32 mask;
	__u32 next;     /* of flow_pairs_rest */
	__u32 slots[];
};

struct flow_pairs *flow_pairs_new(const struct flowtable *t, __u32 most)
{
	struct flow_pairs *p;
	__u32 n = 16;

	while (n < 2 * most)
		n *= 2;
	p = malloc(sizeof(*p) + n * sizeof(p->slots[0]));
	if (!p)
		return NULL;
	p->t = t;
	p->mask = n - 1;
	p->next = 0;
	memset(p->slots, 0xff, n * sizeof(p->slots[0]));
	return p;
}

void flow_pairs_free(struct flow_pairs *p)
{
	free(p);
}

/* What comes in at an interface is answered by what goes out there. */
static bool is_opposite(const struct flow_place *a, const struct flow_place *b)
{
	return a->ifindex == b->ifindex && a->netns == b->netns && a->direction != b->direction;
}

bool flow_is_reverse(const struct flowtable *t, const struct flow_key *a, const struct flow_key *b)
{
	/* type and code of ICMP are no ports: an answer's differ */
	if (a->proto == IPPROTO_ICMP || a->proto == IPPROTO_ICMPV6)
		return false;
	if (a->proto != b->proto || a->family != b->family || memcmp(a->vlan, b->vlan, sizeof(a->vlan)) ||
	    memcmp(a->src, b->dst, sizeof(a->src)) || memcmp(a->dst, b->src, sizeof(a->dst)))
		return false;
	return a->sport == b->dport && a->dport == b->sport && is_opposite(&t->place[a->place % FLOW_PLACES], &t->place[b->place % FLOW_PLACES]);
}

bool flow_is_initiator(const struct flow_rec *a, const struct flow_rec *b)
{
	if (a->first != b->first)
		return a->first < b->first;
	if (a->key.sport != b->key.sport)
		return a->key.sport > b->key.sport;
	return memcmp(a->key.src, b->key.src, sizeof(a->key.src)) < 0;
}

static __u64 mix(__u64 h)
{
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	h ^= h >> 32;
	return h * 0xd6e8feb86659fd93ULL;
}

static __u64 hash_end(const __u32 *addr, __u16 port)
{
	__u64 h = mix((__u64)addr[0] << 32 | addr[1]);

	return mix(h ^ ((__u64)addr[2] << 32 | addr[3])) + port;
}

/* The same for both directions. */
static __u32 hash(const struct flow_key *k)
{
	__u64 h = mix(hash_end(k->src, k->sport)) + mix(hash_end(k->dst, k->dport));

	return (__u32)(mix(h + k->proto) >> 32);
}

__u32 flow_pairs_put(struct flow_pairs *p, __u32 slot)
{
	const struct flow_key *key = &p->t->rec[slot].key;
	__u32 at = hash(key) & p->mask;

	for (; p->slots[at] != EMPTY; at = (at + 1) & p->mask) {
		__u32 other = p->slots[at];

		if (other == TAKEN || !flow_is_reverse(p->t, key, &p->t->rec[other].key))
			continue;
		p->slots[at] = TAKEN;
		return other;
	}
	p->slots[at] = slot;
	return FLOW_NO_SLOT;
}

__u32 flow_pairs_rest(struct flow_pairs *p)
{
	while (p->next <= p->mask) {
		__u32 slot = p->slots[p->next++];

		if (slot != EMPTY && slot != TAKEN)
			return slot;
	}
	return FLOW_NO_SLOT;
}
