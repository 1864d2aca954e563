// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "matcher.h"
#include "parse.h"

/*
 * By definition.
 */
struct half {
	__u64 at[2];
};

static struct half half_of(const __u32 addr[4])
{
	return (struct half){ {
		(__u64)be32toh(addr[0]) << 32 | be32toh(addr[1]),
		(__u64)be32toh(addr[2]) << 32 | be32toh(addr[3]),
	} };
}

/* The first len bits of 64. */
static __u64 mask_of(int len)
{
	return len <= 0 ? 0 : len >= 64 ? ~0ULL : ~0ULL << (64 - len);
}

static bool prefix_covers(const __u32 prefix[4], int len, const __u64 addr[2])
{
	struct half p = half_of(prefix);

	return !((p.at[0] ^ addr[0]) & mask_of(len)) && !((p.at[1] ^ addr[1]) & mask_of(len - 64));
}

static bool is_any_port(const __u16 range[2])
{
	return !range[0] && !range[1];
}

static bool port_matches(const __u16 range[2], bool has_ports, __u16 port)
{
	return is_any_port(range) || (has_ports && port >= range[0] && port <= range[1]);
}

enum match_part match_compare(const struct match_rule *r, const struct match_key *key)
{
	__u8 version = key->has & MATCH_V4 ? 4 : key->has & MATCH_V6 ? 6 : 0;

	if (!(r->directions >> key->direction & 1))
		return MATCH_DIRECTION;
	if (r->version && r->version != version)
		return MATCH_VERSION;
	if (r->has_proto && (!version || r->proto != key->proto))
		return MATCH_PROTO;
	if (!prefix_covers(r->src, r->src_len, key->src))
		return MATCH_SRC;
	if (!prefix_covers(r->dst, r->dst_len, key->dst))
		return MATCH_DST;
	if (!port_matches(r->sport, key->has & MATCH_PORTS, key->sport))
		return MATCH_SPORT;
	if (!port_matches(r->dport, key->has & MATCH_PORTS, key->dport))
		return MATCH_DPORT;
	if (r->flags_mask && (!(key->has & MATCH_FLAGS) || (key->flags & r->flags_mask) != r->flags))
		return MATCH_TCP_FLAGS;
	if (r->has_vlan && r->vlan != key->vlan)
		return MATCH_VLAN;
	return MATCH_ALL;
}

/*
 * Sets of rules, and their numbers as classes. An equal set has an equal number: a table of
 * hashes finds it. The hash is the XOR of its members', so that it changes with them.
 */
struct bits {
	__u64 word[MATCH_WORDS];
	__u32 hash;
};

#define SLOTS 32768 /* a power of two, about four times MATCH_CLASSES */
_Static_assert(SLOTS >= 3 * MATCH_CLASSES, "short ways in the table of hashes");

/* From..to, closed, of a table; whoever has from > to is in none of it. */
struct range {
	__u32 from, to;
	bool is_any;  /* all of it, and what has no such value */
};

/* A range begins, or has ended: the rule is in the set from here on, or no longer. */
struct edge {
	__u32 at, rule;
};

struct prefix_of {
	struct half addr; /* 0 behind the prefix */
	int len;
	__u32 rule;
};

struct compile {
	const struct match_rule *rule[MATCH_RULES];
	__u32 n, classes, nodes;
	int err;
	struct match_set *set;
	struct edge edge[2 * MATCH_RULES];
	struct prefix_of prefix[MATCH_RULES];
	struct bits class[MATCH_CLASSES];
	__u16 slot[SLOTS]; /* 1 + class */
};

/* Its finishing steps are those of splitmix64 (Steele, Lea and Flood, OOPSLA 2014). */
static __u32 hash_of(__u32 rule)
{
	__u64 x = (rule + 1) * 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (__u32)(x ^ x >> 31);
}

static void bits_flip(struct bits *b, __u32 rule)
{
	b->word[rule / 64] ^= 1ULL << rule % 64;
	b->hash ^= hash_of(rule);
}

static __u16 class_of(struct compile *c, const struct bits *b)
{
	__u32 at = b->hash % SLOTS;

	for (; c->slot[at]; at = (at + 1) % SLOTS)
		if (!memcmp(&c->class[c->slot[at] - 1], b, sizeof(b->word)))
			return (__u16)(c->slot[at] - 1);
	if (c->classes == MATCH_CLASSES) {
		c->err = -E2BIG;
		return 0;
	}
	c->class[c->classes] = *b;
	c->slot[at] = (__u16)++c->classes;
	return (__u16)(c->classes - 1);
}

/* The last step: a class is read a word at a time, that of others beside it. */
static void classes_write(const struct compile *c)
{
	__u32 words = (c->n + 63) / 64;

	for (__u32 i = 0; i < c->classes; i++) {
		c->set->summary[i] = 0;
		for (__u32 w = 0; w < words; w++)
			if (c->class[i].word[w])
				c->set->summary[i] |= (__u16)(1 << w);
	}
	for (__u32 w = 0; w < words; w++)
		for (__u32 i = 0; i < c->classes; i++)
			c->set->word[w][i] = c->class[i].word[w];
}

/*
 * What is a number: elementary intervals between the edges of all ranges.
 */
static int by_edge(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Which of a rule's ranges: a dimension, and what it depends on. */
struct want {
	struct range (*range)(const struct match_rule *r, const struct want *want);
	__u32 direction, version; /* of protocols */
	bool is_dst;              /* of ports */
};

static __u32 edges_find(struct compile *c, const struct want *want, struct bits *any)
{
	__u32 n = 0;

	for (__u32 i = 0; i < c->n; i++) {
		struct range r = want->range(c->rule[i], want);

		if (r.is_any) {
			bits_flip(any, i);
		} else if (r.from <= r.to) {
			c->edge[n++] = (struct edge){ r.from, i };
			c->edge[n++] = (struct edge){ r.to + 1, i };
		}
	}
	qsort(c->edge, n, sizeof(*c->edge), by_edge);
	return n;
}

/* Fills a table by value. *no_value becomes the class of what has none. False: no rule asks, all of
 * it would be class 0, nothing was filled. */
static bool table_fill(struct compile *c, __u16 *table, __u32 size, const struct want *want, __u16 *no_value)
{
	struct bits now = { 0 };
	__u32 n = edges_find(c, want, &now), i = 0;

	*no_value = class_of(c, &now);
	if (!*no_value)
		return false;
	for (__u32 at = 0; at < size;) {
		__u16 class;
		__u32 end;

		for (; i < n && c->edge[i].at == at; i++)
			bits_flip(&now, c->edge[i].rule);
		class = class_of(c, &now);
		for (end = i < n ? c->edge[i].at : size; at < end; at++)
			table[at] = class;
	}
	return true;
}

static struct range port_range(const struct match_rule *r, const struct want *want)
{
	const __u16 *port = want->is_dst ? r->dport : r->sport;

	return (struct range){ port[0], port[1], is_any_port(port) };
}

static struct range vlan_range(const struct match_rule *r, const struct want *want)
{
	(void)want;
	return (struct range){ r->vlan, r->vlan, !r->has_vlan };
}

static struct range proto_range(const struct match_rule *r, const struct want *want)
{
	if (!(r->directions >> want->direction & 1) || (r->version && r->version != want->version) ||
	    (r->has_proto && !want->version))
		return (struct range){ 1, 0, false };
	return (struct range){ r->proto, r->proto, !r->has_proto };
}

static void numbers_compile(struct compile *c)
{
	static const __u32 version[] = { 0, 4, 6 }; /* by enum match_has */
	const struct want sport = { .range = port_range }, dport = { .range = port_range, .is_dst = true };
	const struct want vlan = { .range = vlan_range };
	struct match_set *set = c->set;
	__u16 unused;

	if (table_fill(c, set->port[0], 65536, &sport, &set->no_ports[0]))
		set->uses |= MATCH_USES_SPORT;
	if (table_fill(c, set->port[1], 65536, &dport, &set->no_ports[1]))
		set->uses |= MATCH_USES_DPORT;
	if (table_fill(c, set->vlan, 4096, &vlan, &unused))
		set->uses |= MATCH_USES_VLAN;
	for (__u32 direction = 0; direction < 2; direction++) {
		for (__u32 family = 0; family < 3; family++) {
			const struct want proto = { proto_range, direction, version[family], false };

			table_fill(c, set->proto[direction][family], 256, &proto, &unused);
		}
	}
}

/* Bytes with masks are no ranges: one value after the other, and 256: none. */
static void flags_compile(struct compile *c)
{
	struct bits b;
	__u16 class;

	for (__u32 v = 0; v < 257; v++) {
		b = (struct bits){ 0 };
		for (__u32 i = 0; i < c->n; i++) {
			const struct match_rule *r = c->rule[i];

			if (!r->flags_mask || (v < 256 && (v & r->flags_mask) == r->flags))
				bits_flip(&b, i);
		}
		class = class_of(c, &b);
		if (v < 256)
			c->set->flags[v] = class;
		else
			c->set->no_flags = class;
	}
	if (c->set->no_flags)
		c->set->uses |= MATCH_USES_FLAGS;
}

/*
 * Addresses: tries.
 */
static int by_prefix(const void *a, const void *b)
{
	const struct prefix_of *x = a, *y = b;

	for (int i = 0; i < 2; i++)
		if (x->addr.at[i] != y->addr.at[i])
			return x->addr.at[i] < y->addr.at[i] ? -1 : 1;
	return x->len - y->len;
}

/* The first nibble in which they differ, 32: none. */
static int parting(const struct half *a, const struct half *b)
{
	for (int i = 0; i < 2; i++)
		if (a->at[i] != b->at[i])
			return i * 16 + __builtin_clzll(a->at[i] ^ b->at[i]) / 4;
	return 32;
}

/* The nibble in which it ends; what ends with a nibble does not reach the next one. */
static int ending(const struct prefix_of *p)
{
	return (p->len - 1) / 4;
}

static __u32 nibble_of(const struct prefix_of *p, int level)
{
	return p->addr.at[level / 16] >> (60 - level % 16 * 4) & 15;
}

/* Where ways part or one of them ends, the first half's end at the latest. */
static int level_of(const struct prefix_of *p, __u32 n, int from)
{
	int level = parting(&p[0].addr, &p[n - 1].addr);

	for (__u32 i = 0; i < n; i++)
		if (ending(&p[i]) < level)
			level = ending(&p[i]);
	return from < 16 && level > 15 ? 15 : level;
}

/* Does one that ends here contain this nibble? */
static bool contains(const struct prefix_of *p, int level, __u32 nibble)
{
	return !((nibble_of(p, level) ^ nibble) >> (4 * (level + 1) - p->len));
}

/* The node for n sorted prefixes that are one up to the nibble from; around: of what is around all
 * of them. What it returns is that of match_node's next. */
static __u16 trie_build(struct compile *c, const struct prefix_of *p, __u32 n, int from, const struct bits *around)
{
	int level = n ? level_of(p, n, from) : 0;
	struct match_node *node = &c->set->node[c->nodes];
	__u32 number = c->nodes, done = 0;

	if (!n)
		return class_of(c, around);
	if (c->nodes == MATCH_NODES) {
		c->err = -E2BIG;
		return 0;
	}
	c->nodes++;
	*node = (struct match_node){ .shift = (__u8)(60 - level % 16 * 4), .otherwise = class_of(c, around) };
	node->key = p->addr.at[level / 16] >> node->shift >> 4;
	for (__u32 nibble = 0; nibble < 16; nibble++) {
		struct bits here = *around;
		__u32 longer;

		for (__u32 i = 0; i < n; i++)
			if (ending(&p[i]) == level && contains(&p[i], level, nibble))
				bits_flip(&here, p[i].rule);
		while (done < n && nibble_of(&p[done], level) == nibble && ending(&p[done]) == level)
			done++;
		for (longer = done; longer < n && nibble_of(&p[longer], level) == nibble;)
			longer++;
		node->next[nibble] = trie_build(c, p + done, longer - done, level + 1, &here);
		done = longer;
	}
	return (__u16)(number + (level < 16 ? MATCH_FIRST : MATCH_SECOND));
}

/* Prefixes of one version into a trie; those that are all of the version are around it. */
static __u16 addr_compile(struct compile *c, bool is_dst, int version)
{
	int least = version == 4 ? 96 : 0;
	struct bits around = { 0 };
	__u32 n = 0;

	for (__u32 i = 0; i < c->n; i++) {
		const struct match_rule *r = c->rule[i];
		struct prefix_of p = { half_of(is_dst ? r->dst : r->src), is_dst ? r->dst_len : r->src_len, i };

		if (!p.len || (r->version == version && p.len <= least)) {
			bits_flip(&around, i);
		} else if (r->version == version) {
			p.addr.at[0] &= mask_of(p.len);
			p.addr.at[1] &= mask_of(p.len - 64);
			c->prefix[n++] = p;
		}
	}
	qsort(c->prefix, n, sizeof(*c->prefix), by_prefix);
	return trie_build(c, c->prefix, n, least / 4, &around);
}

static void addrs_compile(struct compile *c)
{
	for (int is_dst = 0; is_dst < 2; is_dst++) {
		c->set->root[is_dst][0] = addr_compile(c, is_dst, 0);
		c->set->root[is_dst][MATCH_V4] = addr_compile(c, is_dst, 4);
		c->set->root[is_dst][MATCH_V6] = addr_compile(c, is_dst, 6);
	}
}

static bool is_mapped(const __u32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == htobe32(0xffff);
}

static bool is_prefix(const __u32 addr[4], int len, int version)
{
	return !len || version == 6 ? len <= 128 : version == 4 && len >= 96 && len <= 128 && is_mapped(addr);
}

/* MATCH_CLASSES counts on it that a protocol without ports is asked for without them. */
static bool is_sound(const struct match_rule *r)
{
	return (!r->version || r->version == 4 || r->version == 6) && is_prefix(r->src, r->src_len, r->version) &&
	       is_prefix(r->dst, r->dst_len, r->version) &&
	       (!r->has_proto || proto_has_ports(r->proto) || (is_any_port(r->sport) && is_any_port(r->dport)));
}

/* The tables that are looked at in any case, and the set of all rules as class 0. */
static void begin(struct compile *c)
{
	struct bits all = { 0 };

	for (__u32 i = 0; i < c->n; i++)
		bits_flip(&all, i);
	class_of(c, &all);
	memset(c->set, 0, offsetof(struct match_set, vlan));
}

int match_compile(const struct match_rule *(*rule)(int i, void *arg), void *arg, int n, struct match_set *set)
{
	auto_free struct compile *c = n > MATCH_RULES ? NULL : calloc(1, sizeof(*c));

	if (!c)
		return n > MATCH_RULES ? -E2BIG : -ENOMEM;
	c->set = set;
	c->n = (__u32)n;
	for (int i = 0; i < n; i++) {
		c->rule[i] = rule(i, arg);
		if (!is_sound(c->rule[i]))
			return -EINVAL;
	}
	begin(c);
	numbers_compile(c);
	flags_compile(c);
	addrs_compile(c);
	classes_write(c);
	set->classes = (__u16)c->classes;
	set->nodes = (__u16)c->nodes;
	set->rules = c->n;
	return c->err;
}
