// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The measuring half of `make bench`; tests/bench makes the interfaces and chains.
 *
 *   bench hops EMPTY OBJECT N=ROOT... ns per packet: pinned roots with N empty members
 *                                    beside OBJECT's plain_N and counted_N
 *   bench packets EMPTY LABEL=PROG... ns per packet of pinned programs for a TCP SYN to
 *                                    port 80, one to port 81, and for data to port 80
 *   bench flows EMPTY HARNESS PEER LABEL=PROG   ns per packet of a pinned TC program that
 *                                    counts flows, of one, 64 k and 1 M flows, and of new ones
 *   bench flip GEN                   the store that switches banks
 *   bench wall RUNS CMD -- CMD       wall time of two commands run in turn
 *   bench change RUNS CMD -- CMD     the same of commands that wait for a grace period,
 *                                    and without it
 *
 * Rounds are interleaved, figures are medians; the baseline is an empty program.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "bpf/flowbench.h"
#include "root.h"

#define ROUNDS 11
#define MAX_SERIES 32

static int die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, n, sizeof(*v), compare);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* A TCP segment in IPv4 in Ethernet. */
struct segment {
	__u8 port, flags;
};

static const struct segment syn = { 80, 0x02 }, other_syn = { 81, 0x02 }, data = { 80, 0x10 };

static void frame_make(__u8 frame[64], const struct segment *seg)
{
	static const __u8 head[] = {
		2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
		0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 99, 0, 2, 10, 99, 0, 1,
		0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0, 0xff, 0xff,
	};

	memset(frame, 0, 64);
	memcpy(frame, head, sizeof(head));
	frame[37] = seg->port;
	frame[47] = seg->flags;
}

/* Mean ns of one run, by the kernel's own clock. */
static double run_ns(int prog, int repeat, const struct segment *seg, __u32 *verdict)
{
	__u8 frame[64];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = sizeof(frame), .repeat = repeat);

	frame_make(frame, seg);
	if (bpf_prog_test_run_opts(prog, &o))
		die("BPF_PROG_TEST_RUN");
	*verdict = o.retval;
	return o.duration;
}

struct series {
	const char *label;
	int members; /* -1: the baseline */
	int prog;
	const struct segment *seg;
	int verdict; /* -1: any */
	double ns[ROUNDS], raw, low, high;
};

static void measure(struct series *s, int n, int repeat)
{
	__u32 verdict;

	for (int round = -1; round < ROUNDS; round++) /* -1: to warm up */
		for (int k = 0; k < n; k++) {
			struct series *x = &s[(k + round + n) % n]; /* nobody is always first */
			double ns = run_ns(x->prog, repeat, x->seg, &verdict);

			if (x->verdict >= 0 && (int)verdict != x->verdict) {
				fprintf(stderr, "bench: %s: verdict %u instead of %d\n", x->label, verdict, x->verdict);
				exit(1);
			}
			if (round >= 0)
				x->ns[round] = ns;
		}
	for (int k = 0; k < n; k++) {
		s[k].raw = median(s[k].ns, ROUNDS);
		s[k].low = s[k].ns[0];
		s[k].high = s[k].ns[ROUNDS - 1];
	}
}

static int program_of(struct bpf_object *obj, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	if (!p)
		die(name);
	return bpf_program__fd(p);
}

static struct bpf_object *object_load(const char *path)
{
	struct bpf_object *obj = bpf_object__open_file(path, NULL);

	if (!obj || bpf_object__load(obj))
		die(path);
	return obj;
}

/* Every member's pass continues. */
static void masks_set(struct bpf_object *obj)
{
	struct root_bank bank = { 0 };
	__u32 zero = 0;

	for (__u32 i = 0; i < ROOT_MEMBERS; i++)
		bank.member[i] = (struct root_member){ .mask = 1u << ROOT_NONE_BIT | 1u << XDP_PASS, .stat = i };
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(obj, ".data.bank"), &zero, &bank, 0))
		die("bank");
}

/* "2.1", or "-" where the divisor is within the clock's resolution. */
static const char *ratio(double a, double b, char buf[16])
{
	snprintf(buf, 16, b >= 5 ? "%.2f" : "-", a / b);
	return buf;
}

/* Least squares of raw over members. */
static double slope(const struct series *s, int n)
{
	double sx = 0, sy = 0, sxx = 0, sxy = 0;

	for (int i = 0; i < n; i++) {
		sx += s[i].members, sy += s[i].raw;
		sxx += (double)s[i].members * s[i].members, sxy += s[i].members * s[i].raw;
	}
	return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

static int hops(int argc, char **argv)
{
	struct series s[MAX_SERIES] = { 0 };
	static char labels[MAX_SERIES][24];
	static const char *const peers[] = { "plain", "counted" };
	static const char *const heads[] = { "plain bpf2bpf", "plain + counters" };
	struct bpf_object *base, *obj;
	int roots = argc - 2, n = 0;
	double flip, peer;

	if (roots < 1 || 3 * roots + 1 > MAX_SERIES)
		die("usage: bench hops EMPTY OBJECT N=ROOT...");
	base = object_load(argv[0]);
	obj = object_load(argv[1]);
	masks_set(obj);
	s[n++] = (struct series){ "empty", -1, program_of(base, "empty"), &data, XDP_PASS, .raw = 0 };
	for (int i = 0; i < roots; i++) {
		char *path = strchr(argv[2 + i], '=');
		int fd = path ? bpf_obj_get(path + 1) : -1;

		if (fd < 0)
			die(argv[2 + i]);
		s[n++] = (struct series){ "chain", atoi(argv[2 + i]), fd, &data, XDP_PASS, .raw = 0 };
	}
	for (int p = 0; p < 2; p++)
		for (int i = 0; i < roots; i++, n++) {
			snprintf(labels[n], sizeof(labels[n]), "%s_%d", peers[p], s[1 + i].members);
			s[n] = (struct series){ labels[n], s[1 + i].members, program_of(obj, labels[n]), &data, XDP_PASS, .raw = 0 };
		}
	measure(s, n, 300000);

	printf("ns per packet, BPF_PROG_TEST_RUN, median of %d interleaved rounds of 300000 (net: less the empty program)\n", ROUNDS);
	printf("empty program, the baseline: %.0f (%.0f to %.0f)\n", s[0].raw, s[0].low, s[0].high);
	printf("%-8s %-22s %-22s %-22s %s\n", "members", "chain (flip root)", heads[0], heads[1], "chain : plain, : + counters (net)");
	for (int i = 0; i < roots; i++) {
		const struct series *c = &s[1 + i], *a = c + roots, *b = a + roots;

		double base_ns = s[0].raw;
		char one[16], other[16];

		printf("%-8d %4.0f raw %4.0f net     %4.0f raw %4.0f net     %4.0f raw %4.0f net     %s  %s\n", c->members,
		       c->raw, c->raw - base_ns, a->raw, a->raw - base_ns, b->raw, b->raw - base_ns,
		       ratio(c->raw - base_ns, a->raw - base_ns, one), ratio(c->raw - base_ns, b->raw - base_ns, other));
	}
	flip = slope(s + 1, roots);
	peer = slope(s + 1 + roots, roots);
	printf("per hop (least squares): chain %.2f, plain %.2f, plain + counters %.2f ns; chain : plain %.2f, : + counters %.2f\n",
	       flip, peer, slope(s + 1 + 2 * roots, roots), flip / peer, flip / slope(s + 1 + 2 * roots, roots));
	bpf_object__close(obj);
	bpf_object__close(base);
	return 0;
}

static const char *verdict_word(__u32 v)
{
	static const char *const words[] = { "aborted", "drop", "pass", "tx", "redirect" };

	return v < 5 ? words[v] : "?";
}

static int packets(int argc, char **argv)
{
	static const struct segment *const segments[] = { &syn, &other_syn, &data };
	struct series s[MAX_SERIES] = { 0 };
	__u32 verdict;
	int n = 0;

	if (argc < 2 || 3 * argc > MAX_SERIES)
		die("usage: bench packets EMPTY LABEL=PROGRAM...");
	for (int i = 0; i < argc; i++) {
		char *path = i ? strchr(argv[i], '=') : NULL;
		int fd = !i ? program_of(object_load(argv[0]), "empty") : path ? bpf_obj_get(path + 1) : -1;

		if (fd < 0)
			die(argv[i]);
		if (path)
			*path = '\0';
		for (int k = 0; k < 3; k++)
			s[n++] = (struct series){ i ? argv[i] : "empty program", 0, fd, segments[k], -1, .raw = 0 };
	}
	measure(s, n, 300000);
	printf("ns per packet, median of %d interleaved rounds of 300000 (net: less the empty program)\n", ROUNDS);
	printf("%-24s %-28s %-28s %s\n", "", "TCP SYN, in the limit", "TCP SYN, over the limit", "other TCP");
	for (int i = 0; i < n; i++) {
		run_ns(s[i].prog, 1, s[i].seg, &verdict);
		if (i % 3 == 0)
			printf("%-24s", s[i].label);
		printf(" %4.0f raw %4.0f net  %-8s%s", s[i].raw, s[i].raw - s[i % 3].raw, verdict_word(verdict), i % 3 == 2 ? "\n" : "");
	}
	return 0;
}

/* Which flows the harness makes packets of; n: packets in a round. */
static const struct flows_of {
	const char *what;
	struct flowbench b;
	int n;
} flows_of[] = {
	{ "one flow", { .step = 1 }, 500000 },
	{ "64 k flows, at random", { 1, 6364136223846793005, 1442695040888963407, 0xffff, 33, 0 }, 500000 },
	{ "1 M flows, at random", { 1, 6364136223846793005, 1442695040888963407, 0xfffff, 33, 0 }, 2000000 },
	/* numbers that no other line has */
	{ "first packets", { 1 << 24, 1, 1, ~0ULL, 0, 0 }, 50000 },
};

/* Mean ns of a run of prog behind the harness. */
static double flow_ns(struct bpf_object *harness, int prog, const struct flows_of *f, int round)
{
	struct flowbench b = f->b;
	__u32 zero = 0, verdict;
	double ns;

	/* past the new ones of the rounds before, and of the program before */
	if (b.mask == ~0ULL)
		b.state += (__u64)(round + 1) * f->n;
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(harness, ".data.flowbench"), &zero, &b, 0) ||
	    bpf_map_update_elem(bpf_object__find_map_fd_by_name(harness, "next"), &zero, &prog, 0))
		die("harness");
	ns = run_ns(program_of(harness, "rewrite"), f->n, &data, &verdict);
	if ((int)verdict != -1) {
		fprintf(stderr, "bench: %s: verdict %d\n", f->what, (int)verdict);
		exit(1);
	}
	return ns;
}

static int flows(int argc, char **argv)
{
	char *path = argc == 4 ? strchr(argv[3], '=') : NULL;
	struct bpf_object *harness;
	const char *labels[3] = { "an empty program", "counters in a hash" };
	int progs[3];

	if (!path)
		die("usage: bench flows EMPTY HARNESS PEER LABEL=PROGRAM");
	*path = '\0';
	labels[2] = argv[3];
	harness = object_load(argv[1]);
	progs[0] = program_of(object_load(argv[0]), "empty_tc");
	progs[1] = program_of(object_load(argv[2]), "peer");
	progs[2] = bpf_obj_get(path + 1);
	if (progs[2] < 0)
		die(path + 1);
	printf("ns per packet, median of %d interleaved rounds (net: less the harness with an empty program)\n", ROUNDS);
	printf("%-24s %-12s %-32s %s\n", "", "harness", labels[1], labels[2]);
	for (size_t i = 0; i < sizeof(flows_of) / sizeof(flows_of[0]); i++) {
		double ns[3][ROUNDS];

		for (int round = -2; round < ROUNDS; round++) /* the first two make the flows */
			for (int p = 0; p < 3; p++) {
				double t = flow_ns(harness, progs[p], &flows_of[i], round + 1);

				if (round >= 0)
					ns[p][round] = t;
			}
		double base = median(ns[0], ROUNDS), peer = median(ns[1], ROUNDS), ours = median(ns[2], ROUNDS);

		printf("%-24s %4.0f raw    %4.0f raw %4.0f net (%.0f to %.0f)    %4.0f raw %4.0f net (%.0f to %.0f)\n", flows_of[i].what,
		       base, peer, peer - base, ns[1][0] - base, ns[1][ROUNDS - 1] - base, ours, ours - base, ns[2][0] - base,
		       ns[2][ROUNDS - 1] - base);
	}
	return 0;
}

static double grace_us(void)
{
	double t = now_us();

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		die("membarrier");
	return now_us() - t;
}

static int flip(int argc, char **argv)
{
	double store[1001], clock[1001], grace[31];
	volatile __u64 *gen;
	__u64 was;
	int fd;

	if (argc != 1)
		die("usage: bench flip GEN");
	fd = bpf_obj_get(argv[0]);
	gen = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*gen), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (gen == MAP_FAILED)
		die(argv[0]);
	was = *gen;
	for (int i = 0; i < 1001; i++) {
		double t = now_us();

		*gen = was ^ 1; /* nobody's bank: the caller's chain has no traffic */
		store[i] = now_us() - t;
		*gen = was;
		t = now_us();
		clock[i] = now_us() - t;
	}
	for (int i = 0; i < 31; i++)
		grace[i] = grace_us();
	double mid = median(grace, 31);

	printf("flip: the store %.3f us including %.3f us of reading the clock (median of 1001)\n", median(store, 1001), median(clock, 1001));
	printf("grace period, membarrier alone: %.1f ms (median of 31; %.1f to %.1f)\n", mid / 1e3, grace[0] / 1e3, grace[30] / 1e3);
	return 0;
}

static double command_us(char **argv)
{
	double t = now_us();
	int status, pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, 1);
		execv(argv[0], argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status) {
		errno = ECANCELED;
		die(argv[0]);
	}
	return now_us() - t;
}

static int wall(int argc, char **argv, bool has_grace)
{
	double us[1000], grace[1000];
	char **cmd[2] = { argv + 1, NULL };
	int runs = argc ? atoi(argv[0]) : 0;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--")) {
			argv[i] = NULL;
			cmd[1] = argv + i + 1;
		}
	if (runs < 1 || runs > 1000 || !cmd[1] || !*cmd[1])
		die("usage: bench wall|change RUNS CMD... -- CMD...");
	for (int i = 0; i < runs; i++) {
		us[i] = command_us(cmd[i % 2]);
		grace[i] = grace_us();
	}
	double all = median(us, runs), alone = median(grace, runs);

	printf("%.1f ms (%.1f to %.1f; median of %d)", all / 1e3, us[0] / 1e3, us[runs - 1] / 1e3, runs);
	if (has_grace)
		printf("; less one grace period, %.1f ms in the same rounds: %.1f ms", alone / 1e3, (all - alone) / 1e3);
	putchar('\n');
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
	const char *what = argc > 1 ? argv[1] : "";

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	if (!strcmp(what, "wall") || !strcmp(what, "change"))
		return wall(argc - 2, argv + 2, *what == 'c');
	stay_here();
	if (!strcmp(what, "hops"))
		return hops(argc - 2, argv + 2);
	if (!strcmp(what, "packets"))
		return packets(argc - 2, argv + 2);
	if (!strcmp(what, "flows"))
		return flows(argc - 2, argv + 2);
	if (!strcmp(what, "flip"))
		return flip(argc - 2, argv + 2);
	die("usage: bench hops|packets|flows|flip|wall|change ...");
}
