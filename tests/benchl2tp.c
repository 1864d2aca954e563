// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The pseudowires' part of `make bench`.
 *
 *   benchl2tp HARNESS OBJECT UNDERLAY   ns to put a frame into its session's headers, and to take
 *                                       it out, behind the harness (tests/bpf/l2tpharness.bpf.c),
 *                                       less the harness with a program that does nothing
 */
#include "l2tppath.h"

#define ROUNDS 11
#define PACKETS 4000

struct took {
	uint64_t ns, runs, failures;
};

struct harness {
	int measure, nothing, next, took;
};

static struct harness harness_open(const char *path)
{
	struct bpf_object *obj = bpf_object__open(path);
	struct bpf_program *prog;
	struct harness h;
	int err = obj ? 0 : -errno;

	bpf_object__for_each_program(prog, obj)
		err = err ? err : bpf_program__set_expected_attach_type(prog, 0);
	if (!err)
		err = bpf_object__load(obj);
	if (err)
		die("%s: %s", path, strerror(-err));
	h.measure = bpf_program__fd(bpf_object__find_program_by_name(obj, "measure"));
	h.nothing = bpf_program__fd(bpf_object__find_program_by_name(obj, "nothing"));
	h.next = bpf_object__find_map_fd_by_name(obj, "next");
	h.took = bpf_object__find_map_fd_by_name(obj, ".data.took");
	return h;
}

/* ns a packet */
static double run_all(const struct harness *h, int prog, const struct bytes *packet)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet->b, .data_size_in = packet->n, .repeat = 1);
	struct took t = { 0 };
	uint32_t zero = 0;

	if (bpf_map_update_elem(h->took, &zero, &t, BPF_ANY) || bpf_map_update_elem(h->next, &zero, &prog, BPF_ANY))
		die("the harness: %s", strerror(errno));
	for (int i = 0; i < PACKETS; i++)
		if (bpf_prog_test_run_opts(h->measure, &o))
			die("the harness: %s", strerror(errno));
	if (bpf_map_lookup_elem(h->took, &zero, &t) || t.failures)
		die("%llu packets were not sent", (unsigned long long)t.failures);
	return (double)t.ns / (double)t.runs;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median, and both ends. */
static void measure(const struct path *p, const struct harness *h, const char *label, const struct bytes *packet)
{
	double net[ROUNDS];

	for (int i = 0; i < ROUNDS; i++)
		net[i] = run_all(h, p->prog, packet) - run_all(h, h->nothing, packet);
	qsort(net, ROUNDS, sizeof(double), compare);
	printf("%s %4.0f ns (min %.0f, max %.0f)", label, net[ROUNDS / 2], net[0], net[ROUNDS - 1]);
}

static void bench(struct path *p, const struct harness *h, const char *label, int sort, const char *l3, uint32_t len)
{
	struct l2tp_session s = session_of(p, sort);
	struct way w = { .is_from_peer = 1, .seq = -1 };
	struct bytes frame, packet = { .n = 0 };

	session_add(p, &s, 1);
	frame_make(&frame, l3, len);
	model_packet(&packet, &s, &w, &frame);
	place_set(p, L2TP_ACCESS | L2TP_PLAIN);
	printf("  %-48s", label);
	measure(p, h, "into", &frame);
	place_set(p, L2TP_UNDERLAY);
	measure(p, h, "   out of", &packet);
	putchar('\n');
}

#define V4 "0800450000000000400040110a0b0a0101010a01010230393039"
#define TCP6 "86dd6000000005903a40fd010000000000000000000000000001fd010000000000000000000000000002"

int main(int argc, char **argv)
{
	static struct path p;
	struct harness h;

	if (argc != 4)
		die("usage: benchl2tp HARNESS OBJECT UNDERLAY");
	h = harness_open(argv[1]);
	path_open(&p, argv[2], argv[3]);
	/* the numbers are those of session_of */
	bench(&p, &h, "UDP over IPv4, cookie 8, sublayer, 100 octets", 32 + 8, V4, 100);
	bench(&p, &h, "UDP over IPv4, cookie 8, sublayer, 1500 octets", 32 + 8, V4, 1500);
	bench(&p, &h, "UDP over IPv4, no cookie, ARP", 0, "08060001080006040001", 60);
	bench(&p, &h, "IP over IPv4, cookie 8, sublayer, 100 octets", 32 + 8 + 2, V4, 100);
	bench(&p, &h, "IP over IPv6, cookie 8, sublayer, 100 octets", 32 + 8 + 3, TCP6, 100);
	bench(&p, &h, "UDP over IPv6, checksum, 100 octets", 8 + 4 + 1, TCP6, 100);
	bench(&p, &h, "UDP over IPv6, checksum, 1500 octets", 8 + 4 + 1, TCP6, 1500);
	return 0;
}
