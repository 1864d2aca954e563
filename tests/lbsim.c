// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The load balancer against a simulation of it in plain C: the ring of these backends as
 * lib/maglev.c builds it, and the hash of bpf/lbhash.h. Packets of random flows go through the
 * kernel function in the chain of this network namespace (BPF_PROG_TEST_RUN, harness
 * tests/bpf/lbsim.bpf.c). State by L3AF_BPFFS.
 *
 *   lbsim new OBJECT VIP N SEED STICKY ADDR=WEIGHT...
 *        N flows that are not known; HASH-SEED and whether STICKY as the VIP has it. Each has to
 *        go where the simulation says, and backends have to get their share: chi-square of the
 *        flows over the slots, and the slots' of the weights. "flows N backends N wrong 0
 *        chi2 X of Y, shares within Z slots"
 *   lbsim known OBJECT VIP FIRST N
 *        about N flows, from number FIRST on, of which some are known: lb_which says where each goes, before it is sent:
 *        "flows N wrong 0 by flow N client N ring N moved N"
 *
 * Exit status 1: they disagree.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chain.h"
#include "lbs.h"
#include "lbsim.h"
#include "lbtable.h"
#include "maglev.h"
#include "root.h"
#include "run.h"

#define FRAME 160

static struct run run = { .wait_us = 10000000 };

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lbsim: %s: %s\n", what, strerror(errno));
	exit(2);
}

static __u64 number(const char *s)
{
	struct why why;
	__u64 v;

	if (parse_u64(s, 0, ~0ULL, &v, &why))
		die(s);
	return v;
}

/*
 * The kernel's side.
 */
struct kernel {
	struct bpf_object *obj;
	int prog;
	struct lbsim *sim;
	__u64 *went;   /* [i + 1]: the i-th packet's */
	__u64 n;
};

static int member_take(const struct chain_row *row, void *arg)
{
	if (row->member && !strcmp(row->member->name, "lb"))
		*(int *)arg = bpf_prog_get_fd_by_id(row->member->prog_id);
	return 0;
}

static int member_find(void)
{
	struct bpffs b = { .fd = -1 };
	int fd = -1;

	if (bpffs_open(&run, BPFFS_READ, &b) || chain_walk(&b, NULL, HOOK_XDP, member_take, &fd) || fd < 0)
		die("no lb in any chain");
	bpffs_close(&b);
	return fd;
}

/* Members are loaded with attach type 0, and with or without multi-buffer support. */
static int harness_load(const char *path, __u64 n, int member, __u32 flags, struct kernel *k)
{
	struct bpf_program *p;
	__u32 zero = 0;

	k->obj = bpf_object__open_file(path, NULL);
	if (!k->obj)
		die(path);
	p = bpf_object__find_program_by_name(k->obj, "lbsim");
	if (bpf_program__set_flags(p, flags) || bpf_program__set_expected_attach_type(p, 0) ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(k->obj, "went"), (__u32)n + 1) ||
	    bpf_object__load(k->obj))
		die("the harness");
	k->prog = bpf_program__fd(p);
	if (!bpf_map_update_elem(bpf_object__find_map_fd_by_name(k->obj, "next"), &zero, &member, BPF_ANY))
		return 0;
	bpf_object__close(k->obj);
	return -EINVAL;
}

static void *map_mmap(const struct kernel *k, const char *name, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *at = mmap(NULL, (size + page - 1) / page * page, PROT_READ | PROT_WRITE, MAP_SHARED,
			bpf_object__find_map_fd_by_name(k->obj, name), 0);

	if (at == MAP_FAILED)
		die(name);
	return at;
}

static void kernel_open(const char *path, const struct vip *vip, __u64 n, struct kernel *k)
{
	int member = member_find();

	if (harness_load(path, n, member, BPF_F_XDP_HAS_FRAGS, k) && harness_load(path, n, member, 0, k))
		die("the program array");
	k->n = n;
	k->sim = map_mmap(k, "sim", sizeof(*k->sim));
	k->went = map_mmap(k, "went", (n + 1) * sizeof(*k->went));
	*k->sim = (struct lbsim){
		.seed = 0x6c627369,
		.dport = htons(vip->port),
		.proto = vip->proto,
		.is_v4 = addr_is_v4(&vip->addr),
	};
	memcpy(k->sim->dst, &vip->addr, sizeof(k->sim->dst));
}

/* TCP: a SYN. Addresses and ports of the client are the harness's to write. */
static void frame_make(const struct kernel *k, __u8 frame[FRAME])
{
	struct iphdr *ip = (struct iphdr *)(frame + 14);
	struct ip6_hdr *ip6 = (struct ip6_hdr *)(frame + 14);
	__u8 *l4 = frame + 14 + (k->sim->is_v4 ? sizeof(*ip) : sizeof(*ip6));
	__u16 len = (__u16)(frame + FRAME - l4);

	memset(frame, 0, FRAME);
	if (k->sim->is_v4) {
		*ip = (struct iphdr){ .version = 4, .ihl = 5, .tot_len = htons(FRAME - 14), .ttl = 64,
				      .protocol = k->sim->proto, .daddr = k->sim->dst[3] };
	} else {
		ip6->ip6_flow = htonl(6U << 28);
		ip6->ip6_plen = htons(len);
		ip6->ip6_nxt = k->sim->proto;
		ip6->ip6_hlim = 64;
		memcpy(&ip6->ip6_dst, k->sim->dst, 16);
	}
	if (k->sim->proto == IPPROTO_TCP) {
		l4[12] = 5 << 4;
		l4[13] = 2;
	} else {
		((struct udphdr *)l4)->len = htons(len);
	}
}

/* n flows from the first on, and one more: a packet's fate is seen by the next. */
static void kernel_run(struct kernel *k, __u64 first, __u64 n)
{
	__u8 frame[FRAME];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = FRAME, .repeat = (int)n + 1);

	k->sim->next = first;
	frame_make(k, frame);
	if (bpf_prog_test_run_opts(k->prog, &o))
		die("BPF_PROG_TEST_RUN");
	if (k->sim->next != first + n + 1)
		die("the harness gave up");
}

static __u32 word_of(const struct addr *a)
{
	__u32 w;

	memcpy(&w, a->b + 12, 4);
	return w;
}

/*
 * The simulation.
 */
struct backends {
	struct maglev_backend list[LB_MEMBERS];
	__u32 word[LB_MEMBERS];   /* by value */
	__u64 weight[LB_MEMBERS], flows[LB_MEMBERS], slots[LB_MEMBERS]; /* by value */
	int n;
};

/* value: from 1, as they were given. */
static void backends_parse(int argc, char **argv, struct backends *b)
{
	struct why why;

	for (int i = 0; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		struct maglev_backend *to = &b->list[b->n++];

		if (!equals)
			die(argv[i]);
		*equals = '\0';
		to->value = (__u16)b->n;
		to->weight = (__u16)number(equals + 1);
		if (parse_addr(argv[i], &to->addr, &why))
			die(argv[i]);
		b->word[b->n] = word_of(&to->addr);
		b->weight[b->n] = to->weight;
	}
}

static int compare_all(const struct kernel *k, const __u16 *slot, __u32 seed, bool is_sticky, struct backends *b)
{
	int wrong = 0;

	for (__u64 i = 0; i < k->n; i++) {
		struct lb_flow_id f;
		__u32 at;

		lbsim_flow(k->sim, i, &f);
		at = lb_ring_slot(&f, seed, is_sticky, k->sim->is_v4);
		b->flows[slot[at]]++;
		if (k->went[i + 1] == b->word[slot[at]])
			continue;
		if (wrong++ < 5)
			fprintf(stderr, "flow %llu slot %u: simulation %08x, kernel %08llx\n", i, at,
				ntohl(b->word[slot[at]]), k->went[i + 1]);
	}
	return wrong;
}

/* Flows over backends, as their slots have it expected; and slots as their weights have it. */
static int spread_check(const struct kernel *k, const struct backends *b, const __u16 *slot, int wrong)
{
	double chi2 = 0, off = 0, most, weights = 0;
	int used = 0;
	__u64 slots[LB_MEMBERS + 1] = { 0 };

	for (int i = 0; i < LB_RING; i++)
		slots[slot[i]]++;
	for (int i = 1; i <= b->n; i++)
		weights += (double)b->weight[i];
	for (int i = 1; i <= b->n; i++) {
		double want = (double)k->n * (double)slots[i] / LB_RING;
		double ideal = LB_RING * (double)b->weight[i] / weights;

		off = fmax(off, fabs((double)slots[i] - ideal));
		if (!b->weight[i])
			continue;
		if (want < 5)
			die("too few flows for a backend");
		chi2 += ((double)b->flows[i] - want) * ((double)b->flows[i] - want) / want;
		used++;
	}
	/* one in a million, roughly: normal approximation, five standard deviations */
	most = used - 1 + 5 * sqrt(2.0 * (used - 1));
	printf("flows %llu backends %d wrong %d chi2 %.1f of %.1f, shares within %.0f slots\n", k->n, b->n, wrong, chi2,
	       most, ceil(off));
	return wrong || chi2 > most || off > b->n;
}

static int new_flows(int argc, char **argv)
{
	static struct backends b;
	static __u16 slot[LB_RING];
	struct kernel k = { 0 };
	struct vip vip;
	struct why why;
	__u32 seed;
	int wrong;

	if (argc < 6 || parse_vip(argv[1], &vip, &why))
		die("usage");
	seed = (__u32)number(argv[3]);
	backends_parse(argc - 5, argv + 5, &b);
	if (maglev_build(b.list, b.n, seed, slot))
		die("maglev");
	kernel_open(argv[0], &vip, number(argv[2]), &k);
	kernel_run(&k, 0, k.n);
	wrong = compare_all(&k, slot, seed, number(argv[4]), &b);
	return spread_check(&k, &b, slot, wrong);
}

/*
 * What lb which says. A new flow may push another one out of its bucket: so a few are asked
 * about at a time, and those are left out that share a bucket with one before.
 */
#define CHUNK 64

struct said {
	__u32 word;
	__u32 bucket[2];  /* of the flow, of the client */
	int by;
	bool is_moved, is_apart;
};

struct known {
	struct kernel k;
	struct lb lb;
	int vip;
	__u16 port;
	__u64 flows, by[4], moved;
	int wrong;
};

static bool is_apart(const struct said *said, int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; j < 4; j++)
			if (said[i].bucket[j / 2] == said[n].bucket[j % 2])
				return false;
	return true;
}

static void ask(const struct known *w, __u64 number_of_flow, struct said *said, int i)
{
	const struct lb_config *c = w->lb.config;
	struct lb_answer a;
	struct lb_flow_id f;
	struct addr src;

	lbsim_flow(w->k.sim, number_of_flow, &f);
	memcpy(&src, f.src, sizeof(src));
	if (lb_which(&w->lb, w->vip, &src, ntohs(f.sport), w->port, &a))
		die("lb_which");
	said[i] = (struct said){
		.word = a.backend ? w->lb.backend[a.backend].addr[3] : 0,
		.bucket = { (__u32)lb_flow_hash(&f, c->key, w->k.sim->is_v4) & (c->buckets - 1),
			    (__u32)lb_client_hash(&f, (__u32)w->vip, c->key) & (c->buckets - 1) },
		.by = a.by,
		.is_moved = a.moved_from,
	};
	said[i].is_apart = is_apart(said, i);
}

static void chunk_run(struct known *w, __u64 first)
{
	struct said said[CHUNK];

	for (int i = 0; i < CHUNK; i++)
		ask(w, first + (__u64)i, said, i);
	kernel_run(&w->k, first, CHUNK);
	for (int i = 0; i < CHUNK; i++) {
		__u64 went = w->k.went[first + (__u64)i + 1];

		if (!said[i].is_apart)
			continue;
		w->flows++;
		w->by[said[i].by]++;
		w->moved += said[i].is_moved;
		if (went != said[i].word && w->wrong++ < 5)
			fprintf(stderr, "flow %llu: lb which %08x (by %d), kernel %08llx\n", first + (__u64)i,
				ntohl(said[i].word), said[i].by, went);
	}
}

static int known_flows(int argc, char **argv)
{
	struct known w = { .lb = LB_INIT };
	struct bpffs b = { .fd = -1 };
	struct vip vip;
	struct why why;

	if (argc < 4 || parse_vip(argv[1], &vip, &why))
		die("usage");
	kernel_open(argv[0], &vip, number(argv[2]) + number(argv[3]), &w.k);
	if (bpffs_open(&run, BPFFS_READ, &b) || lb_open(&run, &b, "lb", false, &w.lb) != 1)
		die("no instance");
	w.vip = lb_vip_find(&w.lb, &vip);
	w.port = vip.port;
	if (w.vip < 0)
		die("no VIP");
	for (__u64 first = number(argv[2]); first + CHUNK <= w.k.n; first += CHUNK)
		chunk_run(&w, first);
	printf("flows %llu wrong %d by flow %llu client %llu ring %llu moved %llu\n", w.flows, w.wrong, w.by[LB_BY_FLOW],
	       w.by[LB_BY_CLIENT], w.by[LB_BY_RING], w.moved);
	lb_close(&w.lb);
	bpffs_close(&b);
	return w.wrong != 0;
}

int main(int argc, char **argv)
{
	run.bpffs = getenv("L3AF_BPFFS");
	if (argc > 2 && run.bpffs && !strcmp(argv[1], "new"))
		return new_flows(argc - 2, argv + 2);
	if (argc > 2 && run.bpffs && !strcmp(argv[1], "known"))
		return known_flows(argc - 2, argv + 2);
	fprintf(stderr, "usage: see the head of tests/lbsim.c\n");
	return 2;
}
