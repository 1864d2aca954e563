/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
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

/* The ICMP type that answers another, or -1. */
static int icmp_answer(__u8 proto, __u16 type)
{
	static const struct { __u8 proto; __u16 a, b; } pairs[] = {
		{ IPPROTO_ICMP, ICMP_ECHO, ICMP_ECHOREPLY },
		{ IPPROTO_ICMP, ICMP_TIMESTAMP, ICMP_TIMESTAMPREPLY },
		{ IPPROTO_ICMP, ICMP_ADDRESS, ICMP_ADDRESSREPLY },
		{ IPPROTO_ICMPV6, ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY },
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		if (pairs[i].proto != proto)
			continue;
		if (pairs[i].a == type)
			return pairs[i].b;
		if (pairs[i].b == type)
			return pairs[i].a;
	}
	return -1;
}

static bool is_icmp(const struct flow_key *k)
{
	return k->proto == IPPROTO_ICMP || k->proto == IPPROTO_ICMPV6;
}

/* What comes in at an interface is answered by what goes out there. */
static bool is_opposite(const struct flow_place *a, const struct flow_place *b)
{
	return a->ifindex == b->ifindex && a->netns == b->netns && a->direction != b->direction;
}

bool flow_is_reverse(const struct flowtable *t, const struct flow_key *a, const struct flow_key *b)
{
	if (a->proto != b->proto || a->family != b->family || memcmp(a->vlan, b->vlan, sizeof(a->vlan)) ||
	    memcmp(a->src, b->dst, sizeof(a->src)) || memcmp(a->dst, b->src, sizeof(a->dst)))
		return false;
	if (is_icmp(a) ? icmp_answer(a->proto, a->sport) != b->sport || a->dport != b->dport :
			 a->sport != b->dport || a->dport != b->sport)
		return false;
	return is_opposite(&t->place[a->place % FLOW_PLACES], &t->place[b->place % FLOW_PLACES]);
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
	bool has_ports = !is_icmp(k);
	__u64 h = mix(hash_end(k->src, has_ports ? k->sport : 0)) + mix(hash_end(k->dst, has_ports ? k->dport : 0));

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
