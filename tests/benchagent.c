// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The agent's part of `make bench`.
 *
 *   benchagent HARNESS PROG LABEL=HEX...   ns per packet of a pinned program behind the harness
 *                                          (tests/bpf/agentharness.bpf.c), for each frame, less
 *                                          the harness with a program that does nothing. What it
 *                                          costs to put the headers on again is in it.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 11
#define REPEAT 200000
#define HEAD 128

static _Noreturn void die(const char *what, int err)
{
	fprintf(stderr, "benchagent: %s: %s\n", what, strerror(-err));
	exit(1);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct harness {
	struct bpf_object *obj;
	int restore, nothing, next, frame;
};

static struct harness harness_open(const char *path)
{
	struct harness h = { .obj = bpf_object__open(path) };
	struct bpf_program *prog;
	int err = h.obj ? 0 : -errno;

	/* as members of chains are loaded */
	bpf_object__for_each_program(prog, h.obj)
		err = err ? err : bpf_program__set_expected_attach_type(prog, 0);
	if (!err)
		err = bpf_object__load(h.obj);
	if (err)
		die(path, err);
	h.restore = bpf_program__fd(bpf_object__find_program_by_name(h.obj, "restore"));
	h.nothing = bpf_program__fd(bpf_object__find_program_by_name(h.obj, "nothing"));
	h.next = bpf_object__find_map_fd_by_name(h.obj, "next");
	h.frame = bpf_object__find_map_fd_by_name(h.obj, ".data.frame");
	return h;
}

/* ns per packet */
static double run(const struct harness *h, int prog, const uint8_t *frame, uint32_t len)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = len, .repeat = REPEAT);
	uint32_t zero = 0;
	int err = bpf_map_update_elem(h->next, &zero, &prog, BPF_ANY);

	if (!err)
		err = bpf_prog_test_run_opts(h->restore, &o);
	if (!err && o.retval != XDP_PASS)
		err = -EPROTO;
	if (err)
		die("a packet", err);
	return o.duration;
}

static void bench(const struct harness *h, int prog, const char *label, const char *hex)
{
	struct {
		uint32_t len;
		uint8_t head[HEAD];
	} start = { 0 };
	uint8_t frame[2048];
	uint32_t zero = 0;
	double net[ROUNDS];
	unsigned byte;

	for (; sscanf(hex, "%2x", &byte) == 1 && start.len < sizeof(frame); hex += 2)
		frame[start.len++] = (uint8_t)byte;
	memcpy(start.head, frame, HEAD);
	if (bpf_map_update_elem(h->frame, &zero, &start, BPF_ANY))
		die("the frame", -errno);
	for (int i = 0; i < ROUNDS; i++)
		net[i] = run(h, prog, frame, start.len) - run(h, h->nothing, frame, start.len);
	qsort(net, ROUNDS, sizeof(*net), compare);
	printf("  %-52s %4.0f ns (min %.0f, max %.0f)\n", label, net[ROUNDS / 2], net[0], net[ROUNDS - 1]);
}

int main(int argc, char **argv)
{
	struct harness h;
	int prog;

	if (argc < 4) {
		fputs("usage: benchagent HARNESS PROG LABEL=HEX...\n", stderr);
		return 2;
	}
	h = harness_open(argv[1]);
	prog = bpf_obj_get(argv[2]);
	if (prog < 0)
		die(argv[2], -errno);
	for (int i = 3; i < argc; i++) {
		char *hex = strrchr(argv[i], '=');

		*hex++ = '\0';
		bench(&h, prog, argv[i], hex);
	}
	bpf_object__close(h.obj);
	return 0;
}
