// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The load balancer's part of `make bench`; tests/benchlb makes the instance: VIPs 10.99.0.1:80/tcp,
 * 10.99.0.1:53/udp and [fd99::1]:80/tcp.
 *
 *   benchlb packets HARNESS LABEL=PROG   ns per packet of a pinned program behind the harness
 *                                      (tests/bpf/lbharness.bpf.c), less the harness with a program
 *                                      that does nothing
 *   benchlb rings RUNS                 building a ring of 10, 100, 1000 backends
 *   benchlb publish INSTANCE RUNS      CPU time and time of a change of one weight: the ring is read,
 *                                      built, filled and published; 10, 100, 1000 backends
 *
 * Katran beside it: its source is not ours to ship. In a clone of github:facebookincubator/katran
 *
 *     clang -target bpf -O2 -g -DGUE_ENCAP -DMAX_CONN_RATE=100000000 -I. -Wno-everything \
 *         -c -o balancer.bpf.o katran/lib/bpf/balancer.bpf.c
 *
 * (no limit to new connections: else it does not keep them), and make bench KATRAN=.../balancer.bpf.o
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "bpf/lbharness.h"
#include "bpffs.h"
#include "lbs.h"
#include "lbtable.h"
#include "maglev.h"
#include "out.h"
#include "run.h"

#define ROUNDS 31

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "benchlb: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* v is sorted by it. */
static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/*
 * Whom packets are run through, each behind a harness that may call it.
 */
struct subject {
	const char *label;
	struct bpf_object *harness;
	int prog;
	bool is_nothing;
};

static void subject_make(struct subject *s, const char *harness, const char *label, int prog)
{
	__u32 zero = 0;
	int err = -1;

	for (unsigned kind = 0; kind < 4 && err; kind++) {
		struct bpf_program *p;

		s->harness = bpf_object__open_file(harness, NULL);
		if (!s->harness)
			die(harness);
		bpf_object__for_each_program(p, s->harness) {
			bpf_program__set_expected_attach_type(p, kind & 1 ? BPF_XDP : 0);
			bpf_program__set_flags(p, kind & 2 ? BPF_F_XDP_HAS_FRAGS : 0);
		}
		if (bpf_object__load(s->harness))
			die(harness);
		s->prog = prog >= 0 ? prog : bpf_program__fd(bpf_object__find_program_by_name(s->harness, "nothing"));
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(s->harness, "next"), &zero, &s->prog, 0);
	}
	if (err)
		die(label);
	s->label = label;
	s->is_nothing = prog < 0;
}

/* Katran with our VIPs, four backends each, and the default ring. */
#define KATRAN_RING 65537
static void katran_vip(struct bpf_object *obj, __u32 number, int family, const char *addr, __u16 port, __u8 proto)
{
	struct { __u8 addr[16]; __be16 port; __u8 proto, pad; } key = { .port = htons(port), .proto = proto };
	struct { __u32 flags, number; } meta = { 0, number };
	struct { __u8 addr[16]; __u8 flags, pad[3]; } real = { .flags = family == AF_INET6 };
	int rings = bpf_object__find_map_fd_by_name(obj, "ch_rings");

	inet_pton(family, addr, key.addr);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "vip_map"), &key, &meta, 0))
		die("vip_map");
	for (__u32 i = 0; i < 4; i++) {
		__u32 id = 1 + number * 4 + i;

		inet_pton(family, family == AF_INET ? "10.88.0.1" : "fd88::1", real.addr);
		real.addr[family == AF_INET ? 3 : 15] = (__u8)(i + 1);
		if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "reals"), &id, &real, 0))
			die("reals");
	}
	for (__u32 i = 0; i < KATRAN_RING; i++) {
		__u32 at = number * KATRAN_RING + i, id = 1 + number * 4 + i % 4;

		if (bpf_map_update_elem(rings, &at, &id, 0))
			die("ch_rings");
	}
}

static int katran_load(const char *path)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);
	__u8 mac[8] = { 2, 0x77, 0, 0, 0, 2 };
	struct { __u8 addr[16]; __u8 flags, pad[3]; } src = { .flags = 0 };
	__u32 zero = 0, one = 1, cpu = (__u32)sched_getcpu();
	int lru;

	if (!obj || bpf_object__load(obj))
		die(path);
	lru = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "lru", 40, 16, 1 << 20, NULL);
	inet_pton(AF_INET, "10.77.0.1", src.addr);
	if (lru < 0 || bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "lru_mapping"), &cpu, &lru, 0) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "ctl_array"), &zero, mac, 0) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "pckt_srcs"), &zero, &src, 0))
		die("maps of Katran");
	inet_pton(AF_INET6, "fd77::1", src.addr);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, "pckt_srcs"), &one, &src, 0))
		die("pckt_srcs");
	katran_vip(obj, 0, AF_INET, "10.99.0.1", 80, IPPROTO_TCP);
	katran_vip(obj, 1, AF_INET, "10.99.0.1", 53, IPPROTO_UDP);
	katran_vip(obj, 2, AF_INET6, "fd99::1", 80, IPPROTO_TCP);
	return bpf_program__fd(bpf_object__find_program_by_name(obj, "balancer_ingress"));
}

/*
 * What packets.
 */
enum kind { TCP4, UDP4, TCP6, OTHER4, OTHER6 };
static const struct traffic {
	const char *what;
	enum kind kind;
	struct lbharness h;
	int n, verdict;
} traffic[] = {
#define FLOWS(mask) { 1, 6364136223846793005, 1442695040888963407, mask, 33, 0 }
	{ "established, 1 flow", TCP4, { .step = 1 }, 150000, XDP_TX },
	{ "4 k flows", TCP4, FLOWS(0xfff), 150000, XDP_TX },
	{ "64 k flows", TCP4, FLOWS(0xffff), 200000, XDP_TX },
	{ "512 k flows", TCP4, FLOWS(0x7ffff), 300000, XDP_TX },
	{ "UDP, 4 k flows", UDP4, FLOWS(0xfff), 150000, XDP_TX },
	{ "IPv6, 4 k flows", TCP6, FLOWS(0xfff), 150000, XDP_TX },
	{ "IPv6, 64 k flows", TCP6, FLOWS(0xffff), 200000, XDP_TX },
	{ "for others", OTHER4, FLOWS(0xfff), 150000, XDP_PASS },
	{ "for others, IPv6", OTHER6, FLOWS(0xfff), 150000, XDP_PASS },
	/* numbers that no other line has */
	{ "new flows, SYN", TCP4, { 1 << 24, 1, 1, ~0ULL, 0, 0 }, 100000, XDP_TX },
	{ "new flows, SYN, IPv6", TCP6, { 1ULL << 34, 1, 1, ~0ULL, 0, 0 }, 100000, XDP_TX },
};
#define IS_NEW(t) ((t)->h.mask == ~0ULL)

static unsigned frame_make(__u8 frame[128], enum kind kind, bool is_syn)
{
	bool v6 = kind == TCP6 || kind == OTHER6;
	__u8 *ip = frame + 14, *l4 = ip + (v6 ? 40 : 20);
	__u8 proto = kind == UDP4 ? IPPROTO_UDP : IPPROTO_TCP;
	unsigned len = (unsigned)(l4 - frame) + 26; /* some data */

	memset(frame, 0, 128);
	memcpy(frame, "\2\x77\0\0\0\1\2\x77\0\0\0\2", 12);
	memcpy(frame + 12, v6 ? "\x86\xdd" : "\x08\x00", 2);
	if (v6) {
		ip[0] = 0x60;
		ip[5] = (__u8)(len - 54);
		ip[6] = proto;
		ip[7] = 64;
		inet_pton(AF_INET6, "fd51::1", ip + 8);
		inet_pton(AF_INET6, kind == TCP6 ? "fd99::1" : "fd98::1", ip + 24);
	} else {
		memcpy(ip, "\x45\0\0\0\0\1\x40\0\x40", 9);
		ip[3] = (__u8)(len - 14);
		ip[9] = proto;
		inet_pton(AF_INET, kind == OTHER4 ? "10.98.0.1" : "10.99.0.1", ip + 16);
	}
	l4[3] = kind == UDP4 ? 53 : 80;
	if (kind == UDP4) {
		l4[5] = 26;
		l4[6] = 0x77;
	} else {
		l4[12] = 0x50;
		l4[13] = is_syn ? 2 : 0x10;
		l4[16] = 0x77;
	}
	return len;
}

static double packets_run(const struct subject *s, const struct traffic *t, const struct lbharness *h, int n, bool is_syn)
{
	__u8 frame[128];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .repeat = n);
	__u32 zero = 0;

	o.data_size_in = frame_make(frame, t->kind, is_syn);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(s->harness, ".data.lbharness"), &zero, h, 0) ||
	    bpf_prog_test_run_opts(bpf_program__fd(bpf_object__find_program_by_name(s->harness, "rewrite")), &o))
		die(s->label);
	if ((int)o.retval != (s->is_nothing ? XDP_PASS : t->verdict)) {
		fprintf(stderr, "benchlb: %s: %s: verdict %d\n", s->label, t->what, (int)o.retval);
		exit(1);
	}
	return o.duration;
}

/* Every flow, twice: it is known and confirmed, before others are in its place. */
#define BATCH 1024
static void warm(const struct subject *s, const struct traffic *t)
{
	if (IS_NEW(t) || t->verdict == XDP_PASS)
		return;
	for (__u64 at = 0; at <= t->h.mask; at += BATCH) {
		struct lbharness h = { at, 1, 1, t->h.mask, 0, 0 };
		int n = t->h.mask + 1 < BATCH ? (int)t->h.mask + 1 : BATCH;

		packets_run(s, t, &h, n, true);
		packets_run(s, t, &h, n, false);
	}
	packets_run(s, t, &t->h, t->n, false);
}

static void traffic_measure(const struct subject *s, int subjects, const struct traffic *t)
{
	double ns[3][ROUNDS], mid[3];
	static int rounds;

	for (int i = 0; i < subjects; i++)
		warm(&s[i], t);
	for (int round = 0; round < ROUNDS; round++, rounds++)
		for (int i = 0; i < subjects; i++) {
			const struct subject *x = &s[(i + round) % subjects]; /* nobody is always first */
			struct lbharness h = t->h;

			if (IS_NEW(t))
				h.state += (__u64)rounds * (__u64)t->n;
			ns[(i + round) % subjects][round] = packets_run(x, t, &h, t->n, IS_NEW(t));
		}
	/* less the harness of the same round: others use this machine, too */
	for (int i = subjects - 1; i >= 0; i--) {
		for (int round = 0; i && round < ROUNDS; round++)
			ns[i][round] -= ns[0][round];
		mid[i] = median(ns[i], ROUNDS);
	}
	printf("%-22s %4.0f raw", t->what, mid[0]);
	for (int i = 1; i < subjects; i++)
		printf("    %4.0f net (%3.0f to %3.0f)", mid[i], ns[i][ROUNDS / 4], ns[i][ROUNDS - 1 - ROUNDS / 4]);
	if (subjects > 2 && mid[1] >= 3)
		printf("    %.1f times", mid[2] / mid[1]);
	putchar('\n');
}

static __u32 verified(int prog)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		die("program");
	return info.verified_insns;
}

static int packets(int argc, char **argv)
{
	const char *katran = getenv("KATRAN");
	char *path = argc == 2 ? strchr(argv[1], '=') : NULL;
	struct subject s[3];
	int n = 2, prog;

	if (!path)
		die("usage: benchlb packets HARNESS LABEL=PROG");
	*path = '\0';
	prog = bpf_obj_get(path + 1);
	if (prog < 0)
		die(path + 1);
	subject_make(&s[0], argv[0], "harness", -1);
	subject_make(&s[1], argv[0], argv[1], prog);
	if (katran && *katran) {
		subject_make(&s[2], argv[0], "Katran", katran_load(katran));
		n = 3;
	}
	printf("ns per packet, median of %d interleaved rounds (net: less the harness alone in the same round; half of them were within)\n", ROUNDS);
	printf("%-22s %-8s    %-22s    %s\n", "", "harness", s[1].label, n == 3 ? "Katran, GUE" : "(no KATRAN=balancer.bpf.o)");
	for (size_t i = 0; i < sizeof(traffic) / sizeof(traffic[0]); i++)
		traffic_measure(s, n, &traffic[i]);
	printf("verified instructions: %u", verified(s[1].prog));
	if (n == 3)
		printf(", Katran %u", verified(s[2].prog));
	putchar('\n');
	return 0;
}

/*
 * Rings and commands.
 */
static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double thread_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int rings(int runs)
{
	static struct maglev_backend list[1000];
	static __u16 slot[LB_RING];
	double us[1000];

	if (runs < 1 || runs > 1000)
		die("usage: benchlb rings RUNS");
	printf("a ring of %d slots, CPU time, median of %d:", LB_RING, runs);
	for (int n = 10; n <= 1000; n *= 10) {
		for (int run = 0; run < runs; run++) {
			double t;

			for (int i = 0; i < n; i++) {
				list[i] = (struct maglev_backend){ .value = (__u16)(i + 1), .weight = 1 };
				memcpy(list[i].addr.b + 10, "\xff\xff\x0a\x58", 4);
				list[i].addr.b[14] = (__u8)(i >> 8);
				list[i].addr.b[15] = (__u8)i;
			}
			t = thread_us();
			if (maglev_build(list, n, (__u32)run, slot))
				die("maglev_build");
			us[run] = thread_us() - t;
		}
		double mid = median(us, runs);

		printf("%s %d backends %.0f us (%.0f to %.0f)", n == 10 ? "" : ",", n, mid, us[0], us[runs - 1]);
	}
	putchar('\n');
	return 0;
}

/* Of 10.99.1.0:N/tcp, with N backends of its own. */
static void publish_make(const struct run *run, struct lb *lb, int n, struct lb_vip_want *vip)
{
	struct lb_backend_want *want = calloc((size_t)n, sizeof(*want));

	*vip = (struct lb_vip_want){ .vip = { .port = (__u16)n, .proto = IPPROTO_TCP } };
	memcpy(vip->vip.addr.b + 10, "\xff\xff\x0a\x63\1", 5);
	for (int i = 0; want && i < n; i++) {
		memcpy(want[i].addr.b + 10, "\xff\xff\x0a\x58", 4);
		want[i].addr.b[14] = (__u8)(i >> 8);
		want[i].addr.b[15] = (__u8)(i + 1);
	}
	if (!want || lb_vip_add(run, lb, vip) || lb_backends_set(run, lb, &vip->vip, want, n, true))
		die("backends");
	free(want);
}

static void publish_measure(const struct run *run, struct lb *lb, int n, int runs)
{
	double cpu[1000], wall[1000];
	struct lb_backend_want one = { .has_weight = true };
	struct lb_vip_want vip;

	publish_make(run, lb, n, &vip);
	memcpy(one.addr.b + 10, "\xff\xff\x0a\x58\0\1", 6);
	for (int i = 0; i < runs; i++) {
		double c = thread_us(), w = now_us();

		one.weight = (__u16)(1 + (i + 1) % 2);
		if (lb_backends_set(run, lb, &vip.vip, &one, 1, false))
			die("lb_backends_set");
		cpu[i] = thread_us() - c;
		wall[i] = now_us() - w;
	}
	double mid = median(cpu, runs);

	printf("a change of weight, %4d backends: %.0f us of CPU (%.0f to %.0f), %.1f ms with its grace periods; median of %d\n", n,
	       mid, cpu[0], cpu[runs - 1], median(wall, runs) / 1e3, runs);
}

static int publish(const char *instance, int runs)
{
	auto_changes struct changes *changes = changes_new();
	struct run run = { .bpffs = "/sys/fs/bpf", .wait_us = 10000000, .quiet = true, .changes = changes };
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;

	if (!changes || runs < 1 || runs > 1000 || bpffs_open(&run, BPFFS_CHANGE, &b) || lb_open(&run, &b, instance, true, &lb) != 1)
		die("there is no such instance");
	for (int n = 10; n <= 1000; n *= 10)
		publish_measure(&run, &lb, n, runs);
	return 0;
}

/* One processor, so that caches stay warm and the scheduler out. */
static void stay_here(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	stay_here();
	if (!strcmp(what, "packets"))
		return packets(argc - 2, argv + 2);
	if (!strcmp(what, "rings"))
		return rings(atoi(argv[2]));
	if (!strcmp(what, "publish") && argc == 4)
		return publish(argv[2], atoi(argv[3]));
	die("usage: benchlb packets|rings|publish ...");
}
