// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The mirror's part of `make bench`; tests/benchmirror makes the interfaces.
 *
 *   benchmirror filters OBJECTS EMPTY                 ns per packet that is not sent: filters, sampling
 *   benchmirror clones OBJECTS EMPTY PEER DEV BARE VXLAN   ns per packet that is: to DEV by mirrortarget,
 *                                  bare to BARE, and to the kernel's VXLAN device
 *   benchmirror sends DEV N        sends N datagrams out of DEV: ns of a processor for each
 *
 * Each number is a median of interleaved rounds of BPF_PROG_TEST_RUN, less that of a program that does
 * nothing in the same round, except where "total" says otherwise.
 */
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "mirrorload.h"

#define ROUNDS 31
#define ROWS 32

static int compare(const void *a, const void *b)
{
	double v = *(const double *)a, w = *(const double *)b;

	return (v > w) - (v < w);
}

/* v is sorted by it. */
static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

/* UDP from 198.51.100.7 or fd51::7 to port 5000. */
static unsigned frame_make(__u8 *f, bool v6, unsigned len)
{
	unsigned ip = v6 ? 40 : 20;

	memset(f, 0, len);
	memcpy(f, "\2\x77\0\0\0\1\2\x77\0\0\0\2", 12);
	memcpy(f + 12, v6 ? "\x86\xdd" : "\x08\0", 2);
	if (v6) {
		f[14] = 0x60;
		f[18] = (__u8)((len - 54) >> 8);
		f[19] = (__u8)(len - 54);
		f[20] = IPPROTO_UDP;
		f[21] = 64;
		inet_pton(AF_INET6, "fd51::7", f + 22);
		inet_pton(AF_INET6, "fd99::1", f + 38);
	} else {
		memcpy(f + 14, "\x45\0\0\0\0\0\x40\0\x40\x11", 10);
		f[16] = (__u8)((len - 14) >> 8);
		f[17] = (__u8)(len - 14);
		inet_pton(AF_INET, "198.51.100.7", f + 26);
		inet_pton(AF_INET, "10.99.0.1", f + 30);
	}
	memcpy(f + 14 + ip, "\x0f\xa0\x13\x88", 4);
	f[14 + ip + 4] = (__u8)((len - 14 - ip) >> 8);
	f[14 + ip + 5] = (__u8)(len - 14 - ip);
	return len;
}

/* ns of a run. */
static double run(int prog, bool v6, unsigned len, int n)
{
	static __u8 f[2048];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = f, .repeat = n);

	o.data_size_in = frame_make(f, v6, len);
	if (bpf_prog_test_run_opts(prog, &o) || (int)o.retval != -1)
		die("BPF_PROG_TEST_RUN");
	return o.duration;
}

static int program(const char *path, const char *name, struct bpf_object **obj)
{
	*obj = bpf_object__open_file(path, NULL);
	if (!*obj || bpf_object__load(*obj))
		die(path);
	return bpf_program__fd(bpf_object__find_program_by_name(*obj, name));
}

/*
 * What is not sent.
 */
struct row {
	const char *what;
	int filters;          /* of which the last one is for port 5000 where is_hit */
	bool is_hit, v6;
	enum mirror_action action;
	unsigned sample;
	enum mirror_sample by;
};
static const struct row rows[] = {
	{ "no match, 1 filter", 1, false, false, 0, 0, 0 },
	{ "no match, 16", 16, false, false, 0, 0, 0 },
	{ "no match, 128", 128, false, false, 0, 0, 0 },
	{ "no match, 1000", 1000, false, false, 0, 0, 0 },
	{ "no match, 1000, IPv6", 1000, false, true, 0, 0, 0 },
	{ "rejected, 1 filter", 1, true, false, MIRROR_REJECT, 0, 0 },
	{ "rejected by the 16th", 16, true, false, MIRROR_REJECT, 0, 0 },
	{ "rejected by the 128th", 128, true, false, MIRROR_REJECT, 0, 0 },
	{ "rejected by the 1000th", 1000, true, false, MIRROR_REJECT, 0, 0 },
	{ "by the 1000th, IPv6", 1000, true, true, MIRROR_REJECT, 0, 0 },
	{ "sampled out by packet", 1, true, false, MIRROR_ACCEPT, 1u << 30, MIRROR_BY_PACKET },
	{ "sampled out by flow", 1, true, false, MIRROR_ACCEPT, 1u << 30, MIRROR_BY_FLOW },
};

static int n_filters;
static const struct match_rule *filter_get(int i, void *arg)
{
	(void)arg;
	return &x.set->filter[i].rule;
}

/* Prefixes that nest, ranges of ports; the packet is in most of the prefixes. */
static void filters_make(const struct row *r)
{
	memset(x.set->filter, 0, sizeof(x.set->filter));
	for (int i = 0; i < r->filters; i++) {
		struct mirror_filter *f = &x.set->filter[i];
		bool is_last = i == r->filters - 1 && r->is_hit;

		f->number = (__u32)i + 1;
		f->action = (__u8)r->action;
		f->sample = r->sample;
		f->sample_by = (__u8)r->by;
		f->rule.directions = 3;
		f->rule.has_proto = 1;
		f->rule.proto = IPPROTO_UDP;
		f->rule.version = r->v6 ? 6 : 4;
		if (r->v6) {
			f->rule.src[0] = htonl(0xfd510000);
			f->rule.src_len = (__u8)(is_last ? 16 : 20 + i % 12);
			f->rule.dst[0] = htonl(0xfd990000 | (is_last ? 0 : (__u32)i & 0xff));
			f->rule.dst_len = 32;
		} else {
			f->rule.src[2] = f->rule.dst[2] = htonl(0xffff);
			f->rule.src[3] = htonl(0xc6336400);
			f->rule.src_len = (__u8)(is_last ? 120 : 114 + i % 7);
			f->rule.src[3] &= htonl(~0u << (128 - f->rule.src_len));
			f->rule.dst[3] = htonl(0x0a630000 | (is_last ? 0 : (__u32)i << 6 & 0xff00));
			f->rule.dst_len = is_last ? 112 : 120;
		}
		f->rule.dport[0] = f->rule.dport[1] = (__u16)(is_last ? 5000 : 6000 + i);
	}
	n_filters = r->filters;
	if (match_compile(filter_get, NULL, n_filters, &x.set->match))
		die("match_compile");
}

static void filters(int empty)
{
	printf("%-24s %8s %6s\n", "packets of 64 octets, ns", "total", "net");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		double total[ROUNDS], net[ROUNDS];

		filters_make(&rows[i]);
		run(x.prog, rows[i].v6, 64, 100000);
		for (int round = 0; round < ROUNDS; round++) {
			double base = run(empty, false, 64, 100000);

			total[round] = run(x.prog, rows[i].v6, 64, 100000);
			net[round] = total[round] - base;
		}
		printf("%-24s %8.0f %6.0f\n", rows[i].what, median(total), median(net));
	}
}

/*
 * What is sent.
 */
struct way {
	const char *what;
	struct setting s;
	int kind;             /* 0: mirror; 1: a clone to the interface as it is; 2: to the kernel's vxlan device */
};
static const struct way ways[] = {
	{ "bare clone", { .v6 = 0 }, 1 },
	{ "the kernel's vxlan device", { .v6 = 0 }, 2 },
	{ "GUE over IPv4", { .v6 = 0 }, 0 },
	{ "GUE over IPv6", { .v6 = 1 }, 0 },
	{ "VXLAN over IPv4", { .encap = MIRROR_VXLAN }, 0 },
	{ "VXLAN over IPv6", { .encap = MIRROR_VXLAN, .v6 = 1 }, 0 },
	{ "GUE, IPv6, all summed up", { .v6 = 1, .is_checksum = 1 }, 0 },
	{ "VXLAN, cut to 128", { .encap = MIRROR_VXLAN, .snaplen = 128 }, 0 },
};
#define WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

static void clones(int empty, const char *peer, const char *dev, const char *bare, const char *vxlan, unsigned len)
{
	double total[WAYS][ROUNDS], over[WAYS][ROUNDS];
	struct bpf_object *obj;
	int clone = program(peer, "bare", &obj), data = map_fd(obj, ".data.peer");

	(void)dev;
	for (int round = -1; round < ROUNDS; round++)
		for (int k = 0; k < WAYS; k++) {
			/* the bare one first: the others are compared with that of their round */
			const struct way *w = &ways[k ? 1 + (k - 1 + round + 1) % (WAYS - 1) : 0];
			__u32 zero = 0, ifindex = if_nametoindex(w->kind == 2 ? vxlan : bare);
			double base, ns;

			if (w->kind && bpf_map_update_elem(data, &zero, &ifindex, 0))
				die("peer");
			if (!w->kind)
				target_set(&w->s);
			base = run(empty, false, len, 20000);
			/* the next hop is asked for once a second */
			run(w->kind ? clone : x.prog, false, len, 100);
			ns = run(w->kind ? clone : x.prog, false, len, 20000) - base;
			if (round < 0)
				continue;
			total[w - ways][round] = ns;
			over[w - ways][round] = ns - total[0][round];
		}
	printf("packets of %u octets:\n", len);
	for (int i = 0; i < WAYS; i++) {
		printf("%-26s %6.0f", ways[i].what, median(total[i]));
		if (i)
			printf(" %+6.0f", median(over[i]));
		putchar('\n');
	}
}

static void counted(void)
{
	static struct mirror_stat v[1024];
	__u64 packets = 0, sent = 0;
	__u32 zero = 0;

	if (bpf_map_lookup_elem(x.stats, &zero, v))
		die("stats");
	for (int c = 0; c < libbpf_num_possible_cpus(); c++) {
		packets += v[c].packets;
		sent += v[c].sent;
	}
	if (packets != sent || !sent) {
		fprintf(stderr, "benchmirror: of %llu packets %llu were sent\n", packets, sent);
		exit(1);
	}
}

/*
 * Real packets.
 */
static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int sends(const char *dev, int n)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(dev) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;
	static __u8 f[2048];
	unsigned len = frame_make(f, false, 1000);
	double began;

	if (fd < 0 || bind(fd, (void *)&at, sizeof(at)) || setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)))
		die(dev);
	began = now_ns();
	for (int i = 0; i < n; i++)
		while (send(fd, f, len, 0) < 0)
			if (errno != ENOBUFS)
				die("send");
	printf("%.0f\n", (now_ns() - began) / n);
	return 0;
}

/* One processor, so that caches stay warm, and what is sent is received there, too. */
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
	const char *what = argc > 3 ? argv[1] : "";
	struct bpf_object *obj;
	int empty;

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	stay_here();
	if (!strcmp(what, "sends"))
		return sends(argv[2], atoi(argv[3]));
	empty = *what ? program(argv[3], "empty_tc", &obj) : -1;
	if (!strcmp(what, "filters")) {
		load(argv[2], 1);
		target_set(&(struct setting){ 0 });
		filters(empty);
		return 0;
	}
	if (!strcmp(what, "clones") && argc == 8) {
		load(argv[2], if_nametoindex(argv[5]));
		attach(x.target, "mirrortarget", x.ifindex, BPF_TC_EGRESS);
		printf("ns per packet, and above a bare clone; medians of %d interleaved rounds (for VXLAN over IPv6 the\n"
		       "kernel makes room: it needs 70 octets in front, BPF_PROG_TEST_RUN leaves 64)\n", ROUNDS);
		clones(empty, argv[4], argv[5], argv[6], argv[7], 64);
		clones(empty, argv[4], argv[5], argv[6], argv[7], 1400);
		counted();
		return 0;
	}
	errno = EINVAL;
	die("usage");
}
