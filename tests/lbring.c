// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * lbring show INSTANCE VIP      the ring in use: each slot's backend, by address
 * lbring add INSTANCE VIP N     N backends 10.1.x.y at once, then the weight of one changed eleven
 *                               times: what a change takes at best
 * lbring numbers INSTANCE       the numbers in use, with their addresses
 *
 * The bpffs is $L3AF_BPFFS.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "cleanup.h"
#include "lbmaps.h"
#include "lbs.h"
#include "out.h"
#include "run.h"

static int show(const struct lb *lb, int vip)
{
	auto_free struct lb_set *set = malloc(sizeof(*set));
	char text[64];
	int err = lb_set_read(lb, vip, set);

	for (int i = 0; !err && i < LB_RING; i++)
		puts(set->slot[i] ? format_addr((const struct addr *)lb->backend[set->slot[i]].addr, text, sizeof(text)) :
				    "-");
	return err;
}

static void numbers(const struct lb *lb)
{
	char text[64];

	for (__u32 i = 1; i < lb->config->backends; i++)
		if (lb->backend[i].state != LB_FREE)
			printf("%u %s %d\n", i, format_addr((const struct addr *)lb->backend[i].addr, text, sizeof(text)),
			       lb->backend[i].state);
}

static __u64 cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (__u64)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000 + (__u64)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static int add(const struct run *run, struct lb *lb, const struct vip *vip, int n)
{
	auto_free struct lb_backend_want *want = calloc((size_t)n, sizeof(*want));
	__u64 cpu = UINT64_MAX, wall = UINT64_MAX, from, since;
	int err;

	for (int i = 0; i < n; i++) {
		want[i].addr = (struct addr){ { [10] = 0xff, 0xff, 10, 1, (__u8)(i >> 8), (__u8)i } };
		want[i].has_weight = true;
		want[i].weight = 1;
	}
	from = cpu_us();
	since = run_now_us();
	err = lb_backends_set(run, lb, vip, want, n, true);
	printf("%d backends added at once: %llu us of CPU, %llu us\n", n, cpu_us() - from, run_now_us() - since);
	for (int i = 0; !err && i < 11; i++) {
		want[0].weight = (__u16)(2 + i % 2);
		from = cpu_us();
		since = run_now_us();
		err = lb_backends_set(run, lb, vip, want, 1, false);
		cpu = cpu_us() - from < cpu ? cpu_us() - from : cpu;
		wall = run_now_us() - since < wall ? run_now_us() - since : wall;
	}
	printf("ring built and published at %d backends: %llu us of CPU, %llu us\n", n, cpu, wall);
	return err;
}

int main(int argc, char **argv)
{
	auto_changes struct changes *changes = changes_new();
	const struct run run = { .bpffs = getenv("L3AF_BPFFS"), .wait_us = 10000000, .changes = changes };
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	struct vip vip;
	struct why why;

	if (argc < 3 || bpffs_open(&run, BPFFS_CHANGE, &b) || lb_open(&run, &b, argv[2], true, &lb) != 1)
		return 1;
	if (!strcmp(argv[1], "numbers")) {
		numbers(&lb);
		return 0;
	}
	if (argc < 4 || parse_vip(argv[3], &vip, &why) || lb_vip_number(&lb, &vip) < 0)
		return 1;
	if (!strcmp(argv[1], "add") && argc == 5)
		return add(&run, &lb, &vip, atoi(argv[4])) != 0;
	return show(&lb, lb_vip_number(&lb, &vip)) != 0;
}
