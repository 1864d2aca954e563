// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The matcher against its definition: the first rule of which match_compare() says that it
 * matches has to be the one that match_first() gives, in user space and as the kernel runs it.
 *
 *   match user SEED KEYS           rule sets of all sizes and kinds, KEYS keys for each
 *   match kernel OBJECT SEED KEYS  sets of 1..1000 rules, KEYS keys at least for each size,
 *                                  looked up by tests/bpf/match.bpf.c
 *   match fit OBJECT               1024 rules made to need as many nodes and classes as can be
 *   match refused                  rules that are none
 *   match spoil BPFFS PLACE        the set that packets of a mirrored place are compared with is no
 *                                  longer what its filters say: nothing matches
 *   match bench OBJECT             ns of a lookup, beside loops over the rules
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
	if (!len)
		memset(addr, 0, 16);
	if (!one_in(20)) /* what is behind does not count */
		cut(addr, len);
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

/*
 * Through the kernel.
 */
struct kernel {
	struct bpf_object *obj;
	struct match_set *set;
	struct match_keys *keys;
};

static void *mapped(struct bpf_object *obj, const char *name, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_object__find_map_fd_by_name(obj, name), 0);

	if (p == MAP_FAILED)
		die(name);
	return p;
}

static struct kernel kernel_open(const char *object)
{
	struct kernel k = { .obj = bpf_object__open_file(object, NULL) };

	if (!k.obj || bpf_object__load(k.obj))
		die(object);
	k.set = mapped(k.obj, "set", sizeof(*k.set));
	k.keys = mapped(k.obj, "keys", sizeof(*k.keys));
	return k;
}

/* n runs of a program, one key each; ns of all. */
static double kernel_run(const struct kernel *k, const char *program, __u32 n)
{
	__u8 frame[64] = { 2 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame), .repeat = (int)n);
	int fd = bpf_program__fd(bpf_object__find_program_by_name(k->obj, program));

	k->keys->next = 0;
	if (bpf_prog_test_run_opts(fd, &o))
		die(program);
	if (o.retval || k->keys->next != n) {
		fprintf(stderr, "match: %s: %u of %u runs, the last one gave %u\n", program, k->keys->next, n, o.retval);
		exit(1);
	}
	return (double)o.duration * n;
}

/* As many keys as fit; how many hit a rule. */
static unsigned long kernel_batch(const struct kernel *k, struct rules *rules)
{
	unsigned long hits = 0;

	compile(rules, k->set);
	for (__u32 i = 0; i < MATCH_KEYS; i++) {
		k->keys->key[i] = key_make(rules);
		k->keys->answer[i] = -2;
	}
	kernel_run(k, "match", MATCH_KEYS);
	for (__u32 i = 0; i < MATCH_KEYS; i++) {
		int want = first_plainly(rules, &k->keys->key[i]);

		hits += want >= 0;
		if (k->keys->answer[i] != want)
			differs(rules, &k->keys->key[i], want, k->keys->answer[i]);
	}
	return hits;
}

static int kernel(const char *object, unsigned long least)
{
	struct kernel k = kernel_open(object);
	struct rules *rules = memory(sizeof(*rules));
	unsigned long hits = 0, keys = 0, sets = 0;

	for (int size = 0; size < SIZES; size++) {
		for (unsigned long n = 0; n < least; n += MATCH_KEYS) {
			rules_make(rules, sizes[size], (enum kind)(sets++ % KINDS));
			hits += kernel_batch(&k, rules);
			keys += MATCH_KEYS;
		}
	}
	printf("in the kernel: %lu rule sets of 1 to 1000, %lu keys (%lu of each size at least), %lu of them hit a rule, "
	       "0 differences\n", sets, keys, least, hits);
	return 0;
}

/*
 * As large as it gets.
 */
/* In a nibble of its own each bit of n parts ways, in the first half of the address. */
static void addr_spread(__u32 addr[4], __u32 n)
{
	memset(addr, 0, 16);
	for (int bit = 0; bit < 10; bit++)
		addr[bit / 8] |= htonl((n >> bit & 1) << (28 - bit % 8 * 4));
	addr[3] = htonl(n + 1);
}

static void fit_nodes(struct rules *rules)
{
	for (int i = 0; i < rules->n; i++) {
		struct match_rule *r = &rules->rule[i];

		*r = (struct match_rule){ .directions = 3, .version = 6, .src_len = 128, .dst_len = 128 };
		addr_spread(r->src, (__u32)i);
		addr_spread(r->dst, (__u32)(i * 7 % 1024));
	}
}

/* Nothing has an equal set: nested prefixes, ranges that overlap, two flags, protocols by direction and version. */
static void fit_classes(struct rules *rules)
{
	for (int i = 0; i < rules->n; i++) {
		struct match_rule *r = &rules->rule[i];
		int other = (i * 389 + 5) % rules->n;

		*r = (struct match_rule){ .directions = 3, .version = 6, .has_vlan = 1, .vlan = (__u16)(4000 - i) };
		r->src_len = (__u8)(20 + i % 100);
		addr_make(r->src, true, WIDE);
		memset(r->src, 0xff, 16);
		r->src[0] = htonl(0x20000000 | (__u32)i / 100 << 12);
		cut(r->src, r->src_len);
		r->dst_len = (__u8)(20 + other % 100);
		memset(r->dst, 0xff, 16);
		r->dst[0] = htonl(0x20000000 | (__u32)other / 100 << 12);
		cut(r->dst, r->dst_len);
		r->sport[0] = (__u16)(1 + 3 * i);
		r->sport[1] = (__u16)(20000 + 7 * i);
		r->dport[0] = (__u16)(30000 - 5 * other);
		r->dport[1] = (__u16)(40000 + 9 * i);
		if (i % 2) {
			r->flags = (__u8)(i / 2);
			r->flags_mask = 255;
		}
		if (i % 4 == 0) {
			r->has_proto = 1;
			r->proto = (__u8)(i / 4);
			r->directions = (__u8)(1 + i % 8 / 4);
			if (!has_ports(r->proto))
				memset(r->sport, 0, sizeof(r->sport) + sizeof(r->dport));
		}
	}
}

/* Half of each version, prefixes of all lengths around one address. */
static void fit_nested(struct rules *rules)
{
	for (int i = 0; i < rules->n; i++) {
		struct match_rule *r = &rules->rule[i];
		bool is_v6 = i % 2;

		*r = (struct match_rule){ .directions = 3, .version = is_v6 ? 6 : 4 };
		r->src_len = (__u8)(is_v6 ? 128 - i / 2 % 128 : 128 - i / 2 % 32);
		addr_make(r->src, is_v6, NESTED);
		cut(r->src, r->src_len);
		r->dst_len = (__u8)(is_v6 ? 1 + i / 2 % 128 : 97 + i / 2 % 32);
		addr_make(r->dst, is_v6, NESTED);
		cut(r->dst, r->dst_len);
		r->dport[0] = (__u16)(i + 1);
		r->dport[1] = (__u16)(65535 - i);
	}
}

static double ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int fit(const char *object)
{
	static const struct {
		const char *what;
		void (*make)(struct rules *rules);
	} sets[] = { { "nodes", fit_nodes }, { "classes", fit_classes }, { "nested", fit_nested } };
	struct kernel k = kernel_open(object);
	struct rules *rules = memory(sizeof(*rules));

	for (int i = 0; i < 3; i++) {
		double best = 1e9, ns;

		rules->n = MATCH_RULES;
		rules->kind = WIDE;
		sets[i].make(rules);
		for (int turn = 0; turn < 5; turn++) {
			double began = ms();

			compile(rules, k.set);
			best = ms() - began < best ? ms() - began : best;
		}
		kernel_batch(&k, rules);
		ns = (kernel_run(&k, "match", MATCH_KEYS) - kernel_run(&k, "nothing", MATCH_KEYS)) / MATCH_KEYS;
		printf("%d rules, many %s: %u of %u nodes, %u of %u classes, compiled in %.1f ms, about %.0f ns a lookup, "
		       "0 differences\n", rules->n, sets[i].what, k.set->nodes, MATCH_NODES, k.set->classes, MATCH_CLASSES,
		       best, ns);
	}
	return 0;
}

/*
 * What is refused.
 */
static int refused(void)
{
	static const struct {
		const char *what;
		struct match_rule rule;
		int err;
	} cases[] = {
		{ "anything", { .directions = 3 }, 0 },
		{ "a prefix of no version", { .src_len = 8 }, -EINVAL },
		{ "IPv5", { .version = 5 }, -EINVAL },
		{ "129 bits", { .version = 6, .dst_len = 129 }, -EINVAL },
		{ "95 bits of IPv4", { .version = 4, .src_len = 95, .src = { 0, 0, 0xffff0000, 0 } }, -EINVAL },
		{ "an IPv6 prefix in a rule of IPv4", { .version = 4, .dst_len = 128, .dst = { 1 } }, -EINVAL },
		{ "a port of ICMP", { .has_proto = 1, .proto = IPPROTO_ICMP, .dport = { 80, 80 } }, -EINVAL },
		{ "a port of SCTP", { .has_proto = 1, .proto = IPPROTO_SCTP, .sport = { 80, 80 } }, 0 },
		{ "a port of any protocol", { .sport = { 80, 80 } }, 0 },
	};
	struct rules *rules = memory(sizeof(*rules));
	struct match_set *set = memory(sizeof(*set));

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err;

		rules->rule[0] = cases[i].rule;
		err = match_compile(rule_at, rules, 1, set);
		if (err != cases[i].err) {
			fprintf(stderr, "match: %s: %d\n", cases[i].what, err);
			return 1;
		}
	}
	if (match_compile(rule_at, rules, MATCH_RULES + 1, set) != -E2BIG) {
		fprintf(stderr, "match: one rule more than there may be\n");
		return 1;
	}
	return 0;
}

/*
 * A set that is wrong.
 */
static int spoil(const char *bpffs, __u32 place)
{
	char path[256];
	struct match_set *set;
	__u32 id;
	int sets, fd;

	snprintf(path, sizeof(path), "%s/l3af/kf/mirror/sets", bpffs);
	sets = bpf_obj_get(path);
	if (sets < 0 || bpf_map_lookup_elem(sets, &place, &id))
		die(path);
	fd = bpf_map_get_fd_by_id(id);
	set = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*set), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (set == MAP_FAILED)
		die("the set");
	memset(set->summary, 0, sizeof(set->summary));
	return 0;
}

/*
 * For make bench.
 */
#define ROUNDS 15
enum packet { LAST, MISS, LATE, OTHER }; /* the last rule's; nobody's: dport; dst alone; protocol */
static const char *const packet_words[] = {
	"hits the last rule", "misses by its port", "misses by its destination", "misses by its protocol"
};

static void bench_addr(__u32 addr[4], bool is_v6, __u32 net, __u32 i, int *len)
{
	addr[0] = is_v6 ? htonl(0x20010db8) : 0;
	addr[1] = is_v6 ? htonl(net << 16 | i) : 0;
	addr[2] = is_v6 ? 0 : htonl(0xffff);
	addr[3] = is_v6 ? 0 : htonl((net + (i >> 8)) << 16 | (i & 255) << 8);
	*len = is_v6 ? 64 : 120;
}

/* A network of clients to one of servers, a port of twenty: the last rule's networks are no other's. */
static void bench_rules(struct rules *rules, int n, bool is_v6)
{
	rules->n = n;
	rules->kind = WIDE;
	for (int i = 0; i < n; i++) {
		struct match_rule *r = &rules->rule[i];
		int src_len, dst_len;

		*r = (struct match_rule){ .directions = 3, .version = is_v6 ? 6 : 4, .has_proto = 1, .proto = IPPROTO_TCP };
		bench_addr(r->src, is_v6, 0x0a10, (__u32)i, &src_len);
		bench_addr(r->dst, is_v6, 0xc010, (__u32)(i * 7 % 1024), &dst_len);
		r->src_len = (__u8)src_len;
		r->dst_len = (__u8)dst_len;
		r->dport[0] = r->dport[1] = (__u16)(8000 + i % 20);
	}
}

static __u64 half_at(const __u32 addr[4], int i)
{
	return (__u64)ntohl(addr[2 * i]) << 32 | ntohl(addr[2 * i + 1]);
}

static struct match_key bench_key(const struct match_rule *r, enum packet packet)
{
	struct match_key k = {
		.sport = 40000, .dport = r->dport[0], .proto = r->proto, .flags = 0x10, .vlan = MATCH_NO_VLAN,
	};

	k.has = (__u8)((r->version == 4 ? MATCH_V4 : MATCH_V6) | MATCH_PORTS | MATCH_FLAGS);
	for (int i = 0; i < 2; i++) {
		k.src[i] = half_at(r->src, i);
		k.dst[i] = half_at(r->dst, i);
	}
	k.src[1] |= 7;
	k.dst[1] |= 9;
	if (packet == MISS)
		k.dport = 443;
	if (packet == LATE)
		k.dst[r->version == 4] ^= 1U << 29; /* a network of no rule */
	if (packet == OTHER)
		k.proto = IPPROTO_ICMP;
	return k;
}

static struct match_plain plain_of(const struct match_rule *r)
{
	struct match_plain p = {
		.sport = { 0, 65535 }, .dport = { r->dport[0], r->dport[1] }, .proto = r->proto, .proto_mask = 255,
		.has = r->version == 4 ? MATCH_V4 : MATCH_V6, .directions = r->directions,
	};
	for (int i = 0; i < 2; i++) {
		p.src[i] = half_at(r->src, i);
		p.dst[i] = half_at(r->dst, i);
	}
	p.src_mask[0] = p.dst_mask[0] = ~0ULL;
	p.src_mask[1] = p.dst_mask[1] = r->version == 4 ? ~0ULL << 8 : 0;
	return p;
}

static void plains_write(const struct kernel *k, struct match_plains *plains, const struct rules *rules)
{
	int fd = bpf_object__find_map_fd_by_name(k->obj, "elements");

	plains->n = (__u32)rules->n;
	for (__u32 i = 0; i < plains->n; i++) {
		plains->rule[i] = plain_of(&rules->rule[i]);
		if (bpf_map_update_elem(fd, &i, &plains->rule[i], BPF_ANY))
			die("elements");
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* ns of a lookup, medians of rounds in turn, less the same program without one. */
static void bench_row(const struct kernel *k, const char *what, int want)
{
	static const char *const programs[] = { "nothing", "match", "linear", "lookups" };
	double v[4][ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		for (int p = 0; p < 4; p++) {
			__u32 n = p < 2 ? MATCH_KEYS : MATCH_KEYS / 32;

			k->keys->answer[n - 1] = want;
			v[p][round] = kernel_run(k, programs[p], n) / n;
			if (p && want != -2 && k->keys->answer[n - 1] != want) {
				fprintf(stderr, "match: %s: %s: %d, not %d\n", programs[p], what, k->keys->answer[n - 1], want);
				exit(1);
			}
		}
	}
	for (int p = 0; p < 4; p++)
		qsort(v[p], ROUNDS, sizeof(v[p][0]), by_value);
	printf("%-58s", what);
	for (int p = 1; p < 4; p++)
		printf(" %8.0f", v[p][ROUNDS / 2] - v[0][ROUNDS / 2]);
	printf("\n");
}

static void bench_rows(const struct kernel *k, struct match_plains *plains, struct rules *rules, int n, bool is_v6)
{
	char what[80];

	bench_rules(rules, n, is_v6);
	compile(rules, k->set);
	plains_write(k, plains, rules);
	for (enum packet packet = LAST; packet <= OTHER; packet++) {
		for (__u32 i = 0; i < MATCH_KEYS; i++)
			k->keys->key[i] = bench_key(&rules->rule[n - 1], packet);
		snprintf(what, sizeof(what), "IPv%d, %d rule%s, a packet that %s", is_v6 ? 6 : 4, n, n > 1 ? "s" : "",
			 packet_words[packet]);
		bench_row(k, what, packet == LAST ? n - 1 : -1);
	}
	for (__u32 i = 0; i < MATCH_KEYS; i++)
		k->keys->key[i] = bench_key(&rules->rule[rnd((__u32)n)], (enum packet)rnd(OTHER + 1));
	snprintf(what, sizeof(what), "IPv%d, %d rule%s, all of these in disorder", is_v6 ? 6 : 4, n, n > 1 ? "s" : "");
	bench_row(k, what, -2);
}

static int bench(const char *object)
{
	static const int some[] = { 1, 16, 128, 1000 };
	struct kernel k = kernel_open(object);
	struct match_plains *plains = mapped(k.obj, "plains", sizeof(*plains));
	struct rules *rules = memory(sizeof(*rules));

	printf("the matcher alone, ns of a lookup beside the same rules one after the other; medians of %d runs\n", ROUNDS);
	printf("%-58s %8s %8s %8s\n", "", "matcher", "in array", "by key");
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		for (int i = 0; i < 4; i++)
			bench_rows(&k, plains, rules, some[i], is_v6);
	return 0;
}

int main(int argc, char **argv)
{
	state = 1;
	if (argc > 3)
		state = strtoull(argv[argc - 2], NULL, 10) * 2 + 1;
	if (argc == 4 && !strcmp(argv[1], "user"))
		return user((__u32)atoi(argv[3]));
	if (argc == 5 && !strcmp(argv[1], "kernel"))
		return kernel(argv[2], (unsigned long)atol(argv[4]));
	if (argc == 2 && !strcmp(argv[1], "refused"))
		return refused();
	if (argc == 4 && !strcmp(argv[1], "spoil"))
		return spoil(argv[2], (__u32)atoi(argv[3]));
	if (argc == 3 && !strcmp(argv[1], "bench"))
		return bench(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "fit"))
		return fit(argv[2]);
	errno = EINVAL;
	die("words");
}
