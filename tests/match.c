// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The matcher against its definition: the first rule of which match_compare() says that it
 * matches has to be the one that match_first() gives, in user space and as the kernel runs it.
 *
 *   match user SEED KEYS           rule sets of all sizes and kinds, KEYS keys for each
 *   match kernel OBJECT SEED KEYS  sets of 1..1000 rules, KEYS keys for each, looked up by
 *                                  tests/bpf/match.bpf.c
 *   match fit                      sets made to need as many nodes and classes as can be
 *
 * Exits 1 and shows the first difference.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "bpf/matchkeys.h"
#include "matcher.h"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "match: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* xorshift64* (Marsaglia; Vigna): the same for a seed everywhere. */
static __u64 state;
static __u32 rnd(__u32 n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (__u32)((state * 0x2545f4914f6cdd1d >> 32) * n >> 32);
}

static bool one_in(__u32 n)
{
	return !rnd(n);
}

/*
 * Rules. Addresses are of few networks, so that prefixes nest; in deep sets each is in the last.
 */
enum kind { MIXED, NESTED, WIDE, KINDS };
static const char *const kind_words[] = { "mixed", "nested", "wide" };

struct rules {
	int n;
	enum kind kind;
	struct match_rule rule[MATCH_RULES];
};

static const struct match_rule *rule_at(int i, void *arg)
{
	return &((const struct rules *)arg)->rule[i];
}

/* Of a few bits at a time only, so that many share a part of their way. */
static __u32 few_bits(void)
{
	__u32 v = 0;

	for (int i = 0; i < 4; i++)
		v |= (__u32)(one_in(2) ? 0 : one_in(3) ? rnd(256) : 1U << rnd(8)) << (8 * i);
	return v;
}

static void addr_make(__u32 addr[4], bool is_v6, enum kind kind)
{
	addr[0] = addr[1] = 0;
	addr[2] = htonl(0xffff);
	if (is_v6) {
		addr[0] = htonl(0x20010db8 ^ (one_in(8) ? few_bits() : 0));
		addr[1] = htonl(one_in(2) ? 0 : few_bits());
		addr[2] = htonl(one_in(20) ? 0xffff : one_in(2) ? 0 : few_bits());
		/* real IPv6 addresses that look like the others */
		if (one_in(30))
			addr[0] = addr[1] = 0;
	}
	addr[3] = htonl(kind == WIDE ? rnd(~0U) : kind == NESTED ? 0x0a000000 | (one_in(3) ? few_bits() : 0) :
			0x0a000000 ^ few_bits());
}

static void cut(__u32 addr[4], int len)
{
	for (int i = 0; i < 4; i++, len -= 32)
		addr[i] &= len <= 0 ? 0 : len >= 32 ? ~0U : htonl(~0U << (32 - len));
}

static __u8 prefix_make(__u32 addr[4], bool is_v6, enum kind kind)
{
	int least = is_v6 ? 0 : 96, len;

	if (one_in(kind == NESTED ? 20 : 3)) {
		memset(addr, 0, 16);
		return 0;
	}
	addr_make(addr, is_v6, kind);
	len = one_in(4) ? 128 : least + (int)rnd((__u32)(129 - least));
	if (one_in(50))
		len = least;
	cut(addr, len);
	if (!len)
		memset(addr, 0, 16);
	return (__u8)len;
}

static void ports_make(__u16 range[2])
{
	static const __u16 edges[] = { 0, 1, 22, 53, 80, 443, 1023, 1024, 8080, 32767, 32768, 49151, 65534, 65535 };
	__u16 a = one_in(2) ? edges[rnd(14)] : (__u16)rnd(65536), b = one_in(2) ? edges[rnd(14)] : (__u16)rnd(65536);

	if (one_in(2))
		return;
	range[0] = a < b ? a : b;
	range[1] = a < b ? b : a;
	if (one_in(2))
		range[0] = range[1];
}

static __u8 proto_make(void)
{
	static const __u8 protos[] = { 6, 17, 132, 33, 136, 1, 58, 47, 0, 255 };

	return one_in(8) ? (__u8)rnd(256) : protos[rnd(one_in(2) ? 2 : 10)];
}

static bool has_ports(__u8 proto)
{
	return proto == 6 || proto == 17 || proto == 132 || proto == 33 || proto == 136;
}

static struct match_rule rule_make(enum kind kind)
{
	struct match_rule r = { .directions = (__u8)(one_in(2) ? 3 : 1 + rnd(2)), .vlan = MATCH_NO_VLAN };
	bool is_v6 = one_in(2);

	r.src_len = prefix_make(r.src, is_v6, kind);
	r.dst_len = prefix_make(r.dst, is_v6, kind);
	if (r.src_len || r.dst_len || one_in(4))
		r.version = is_v6 ? 6 : 4;
	if (one_in(2)) {
		r.has_proto = 1;
		r.proto = proto_make();
	}
	if (!r.has_proto || has_ports(r.proto)) {
		ports_make(r.sport);
		ports_make(r.dport);
	}
	if (one_in(6)) {
		r.flags_mask = (__u8)rnd(256);
		r.flags = (__u8)(rnd(256) & (one_in(20) ? 255 : r.flags_mask));
	}
	if (one_in(6)) {
		r.has_vlan = 1;
		r.vlan = one_in(2) ? MATCH_NO_VLAN : one_in(2) ? (__u16)rnd(4096) : (__u16)rnd(4);
	}
	return r;
}

static void rules_make(struct rules *rules, int n, enum kind kind)
{
	rules->n = n;
	rules->kind = kind;
	for (int i = 0; i < n; i++)
		rules->rule[i] = rule_make(kind);
}

/*
 * Keys: what a rule asks for, on its edges or just beside them, in some parts; anything in others.
 */
static void addr_near(const __u32 prefix[4], int len, bool is_v6, __u64 addr[2])
{
	__u32 a[4], other[4];
	int flip = len && one_in(6) ? (int)rnd((__u32)len) : (int)rnd(128);
	bool is_low = one_in(3), is_high = one_in(3);

	memcpy(a, prefix, 16);
	addr_make(other, is_v6, one_in(2) ? MIXED : WIDE);
	for (int bit = len; bit < 128; bit++) {
		__u32 mask = htonl(1U << (31 - bit % 32)), *to = &a[bit / 32];

		*to = (*to & ~mask) | (mask & (is_low ? 0 : is_high ? ~0U : other[bit / 32]));
	}
	if (one_in(3))
		a[flip / 32] ^= htonl(1U << (31 - flip % 32));
	if (!is_v6) {
		a[0] = a[1] = 0;
		a[2] = htonl(0xffff);
	}
	for (int i = 0; i < 2; i++)
		addr[i] = (__u64)ntohl(a[2 * i]) << 32 | ntohl(a[2 * i + 1]);
}

static __u16 port_near(const __u16 range[2])
{
	switch (rnd(6)) {
	case 0: return range[0];
	case 1: return range[1];
	case 2: return (__u16)(range[0] - 1);
	case 3: return (__u16)(range[1] + 1);
	case 4: return (__u16)(range[0] + rnd(range[1] - range[0] + 1U));
	default: return (__u16)rnd(65536);
	}
}

static struct match_key key_make(const struct rules *rules)
{
	const struct match_rule *r = &rules->rule[rnd((__u32)rules->n)];
	bool is_v6 = r->version ? r->version == 6 : one_in(2);
	struct match_key k = { .direction = (__u8)(one_in(8) ? rnd(2) : r->directions == 3 ? rnd(2) : r->directions - 1U) };

	if (one_in(30))
		is_v6 = !is_v6;
	k.vlan = one_in(8) ? (__u16)rnd(4) : r->has_vlan || one_in(2) ? r->vlan & 4095 : MATCH_NO_VLAN;
	if (one_in(30))
		return k;
	k.has = is_v6 ? MATCH_V6 : MATCH_V4;
	addr_near(r->src, r->src_len, is_v6, k.src);
	addr_near(r->dst, r->dst_len, is_v6, k.dst);
	k.proto = r->has_proto && !one_in(10) ? r->proto : proto_make();
	if (!has_ports(k.proto) || one_in(15))
		return k;
	k.has |= MATCH_PORTS;
	k.sport = port_near(r->sport);
	k.dport = port_near(r->dport);
	if (one_in(15))
		return k;
	if (k.proto == 6 || r->flags_mask) {
		k.has |= MATCH_FLAGS;
		k.flags = one_in(4) ? (__u8)rnd(256) : (__u8)(r->flags | (rnd(256) & ~r->flags_mask));
	}
	return k;
}

/*
 * The oracle.
 */
static int first_plainly(const struct rules *rules, const struct match_key *key)
{
	for (int i = 0; i < rules->n; i++)
		if (match_compare(&rules->rule[i], key) == MATCH_ALL)
			return i;
	return -1;
}

static void show(const char *what, const void *p, size_t size)
{
	fprintf(stderr, "%s", what);
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, "%s%02x", i % 8 ? "" : " ", ((const __u8 *)p)[i]);
	fprintf(stderr, "\n");
}

static _Noreturn void differs(const struct rules *rules, const struct match_key *key, int want, int got)
{
	fprintf(stderr, "match: %d rules, %s: rule %d is the first that matches, not %d\n", rules->n,
		kind_words[rules->kind], want, got);
	show("key    ", key, sizeof(*key));
	if (want >= 0)
		show("wanted ", &rules->rule[want], sizeof(rules->rule[0]));
	if (got >= 0 && got < rules->n)
		show("got    ", &rules->rule[got], sizeof(rules->rule[0]));
	exit(1);
}

static void compile(struct rules *rules, struct match_set *set)
{
	int err = match_compile(rule_at, rules, rules->n, set);

	if (err) {
		fprintf(stderr, "match: %d rules, %s: %s\n", rules->n, kind_words[rules->kind], strerror(-err));
		exit(1);
	}
}

static void *memory(size_t size)
{
	void *p = malloc(size);

	if (!p)
		die("memory");
	memset(p, 0x5a, size);
	return p;
}

static const int sizes[] = { 1, 2, 8, 16, 64, 65, 128, 256, 512, 1000 };
#define SIZES (int)(sizeof(sizes) / sizeof(sizes[0]))

static int user(__u32 keys)
{
	struct rules *rules = memory(sizeof(*rules));
	struct match_set *set = memory(sizeof(*set));
	unsigned long sets = 0, looked = 0, hits = 0;

	for (int size = 0; size < SIZES; size++) {
		for (int turn = 0; turn < 60000 / (sizes[size] + 600); turn++) {
			rules_make(rules, sizes[size], (enum kind)(turn % KINDS));
			compile(rules, set);
			sets++;
			for (__u32 i = 0; i < keys; i++, looked++) {
				struct match_key key = key_make(rules);
				int want = first_plainly(rules, &key), got = match_first(set, &key);

				hits += want >= 0;
				if (got != want)
					differs(rules, &key, want, got);
			}
		}
	}
	printf("user space: %lu rule sets, %lu keys, %lu of them hit a rule, 0 differences\n", sets, looked, hits);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "user")) {
		state = strtoull(argv[2], NULL, 10) * 2 + 1;
		return user((__u32)atoi(argv[3]));
	}
	errno = EINVAL;
	die("words");
}
