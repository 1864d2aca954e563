// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * lbring show INSTANCE VIP      the ring in use: each slot's backend, by address
 * lbring add INSTANCE VIP N     N backends 10.1.x.y at once, then the weight of one changed eleven
 *                               times: what a change takes at best
 * lbring numbers INSTANCE       the numbers in use, with their addresses
 * lbring entries INSTANCE       how many words of the flow table are in use
 * lbring state INSTANCE         VIPs and backends; exit status 1 if any two of the maps tell
 *                               different stories about them
 *
 * The bpffs is $L3AF_BPFFS.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <bpf/bpf.h>
#include "cleanup.h"
#include "lbhash.h"
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

static void entries(const struct lb *lb)
{
	__u64 n = 0;

	for (size_t i = 0; i < (size_t)lb->config->buckets * LB_WAYS; i++)
		n += lb->bucket[0].way[i] != 0;
	printf("%llu\n", n);
}

/*
 * state
 */
#define CHECK(claim, ...)                              \
	do {                                           \
		if (!(claim)) {                        \
			fprintf(stderr, __VA_ARGS__);  \
			fputs(": " #claim "\n", stderr); \
			exit(1);                       \
		}                                      \
	} while (0)

static bool has_key(const struct lb *lb, struct lb_key key, bool is_presence, __u32 *number)
{
	if (is_presence) {
		key.port = 0;
		key.proto = 0;
	}
	return !bpf_map_lookup_elem(lb->vipkeys, &key, number);
}

static void check_member(const struct lb *lb, int vip, const struct lb_part *p)
{
	const struct lb_backend *b = &lb->backend[p->m.number];
	bool is_dead = p->m.admin == LB_DOWN || p->m.healthy == LB_SICK;
	char text[64];

	format_addr(&p->addr, text, sizeof(text));
	CHECK(b->state == (is_dead ? LB_DEAD : LB_ALIVE), "%s", text);
	CHECK(b->vip == (__u32)vip, "%s", text);
	CHECK(b->weight == p->m.weight && b->admin == p->m.admin && b->healthy == p->m.healthy, "%s", text);
	CHECK(b->is_v4 == addr_is_v4(&p->addr), "%s", text);
	printf("\t%s weight %u admin %d\n", text, p->m.weight, p->m.admin);
}

static int check_vip(const struct lb *lb, int number, __u64 prefilter[LB_PREFILTER_WORDS])
{
	auto_free struct lb_set *set = malloc(sizeof(*set)), *again = malloc(sizeof(*again));
	const struct lb_vip *v = &lb->vip[number];
	__u32 bit = lb_prefilter_bit(v->key.addr), at;
	char text[VIP_LEN];
	struct vip vip;

	lb_vip_get(lb, number, &vip);
	format_vip(&vip, text, sizeof(text));
	prefilter[bit / 64] |= 1ULL << (bit % 64);
	CHECK(!v->is_changing && !v->going, "%s", text);
	CHECK(!lb_set_read(lb, number, set) && set->has_slots, "%s", text);
	CHECK(v->flags == set->flags && v->seed == set->seed && v->idle_us == set->idle_us, "%s", text);
	CHECK(v->idle == lb_ticks(lb->config, v->idle_us), "%s", text);
	CHECK(has_key(lb, v->key, false, &at) && at == (__u32)number, "%s", text);
	CHECK(has_key(lb, v->key, true, &at) && lb->vip[at].is_live, "%s", text);
	*again = *set;
	CHECK(!lb_set_build(again) && !memcmp(set->slot, again->slot, sizeof(set->slot)), "%s", text);
	printf("%s flags %u seed %u idle %llu\n", text, v->flags, v->seed, v->idle_us);
	for (int i = 0; i < set->n; i++)
		check_member(lb, number, &set->part[i]);
	return set->n;
}

static void check_free(const struct lb *lb, __u32 number)
{
	struct lb_stat stat;

	CHECK(!lb_stat_read(lb, (int)number, &stat) && !stat.packets && !stat.flows, "number %u", number);
}

static void check_flows(const struct lb *lb)
{
	for (__u32 i = 0; i < lb->config->buckets; i++)
		for (int w = 0; w < LB_WAYS; w++) {
			__u64 e = lb->bucket[i].way[w];

			CHECK(!e || lb->backend[LB_ENTRY_BACKEND(e)].state != LB_FREE, "bucket %u", i);
		}
}

static void state(const struct lb *lb)
{
	__u64 prefilter[LB_PREFILTER_WORDS] = { 0 };
	struct lb_key key, next, *from = NULL;
	int backends = 0, used = 0;
	__u32 number;

	for (__u32 i = 0; i < lb->config->vips; i++) {
		CHECK(!lb->vip[i].key.proto == !lb->vip[i].is_live, "vip %u", i);
		if (lb->vip[i].is_live)
			backends += check_vip(lb, (int)i, prefilter);
	}
	for (__u32 i = 1; i < lb->config->backends; i++) {
		used += lb->backend[i].state != LB_FREE;
		if (lb->backend[i].state == LB_FREE && i < 16)
			check_free(lb, i);
	}
	CHECK(used == backends, "%d numbers, %d backends", used, backends);
	CHECK(!memcmp(lb->prefilter->word, prefilter, sizeof(prefilter)), "prefilter");
	check_flows(lb);
	for (; !bpf_map_get_next_key(lb->vipkeys, from, &next); from = &key) {
		key = next;
		CHECK(!bpf_map_lookup_elem(lb->vipkeys, &key, &number) && lb->vip[number].is_live, "key");
		CHECK(!memcmp(lb->vip[number].key.addr, key.addr, sizeof(key.addr)), "key of vip %u", number);
	}
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

	if (argc < 3 || bpffs_open(&run, BPFFS_READ, &b) ||
	    lb_open(&run, &b, argv[2], !strcmp(argv[1], "add"), &lb) != 1)
		return 1;
	if (!strcmp(argv[1], "entries")) {
		entries(&lb);
		return 0;
	}
	if (!strcmp(argv[1], "state")) {
		state(&lb);
		return 0;
	}
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
