// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Rings of backends: complete, even, by weight, the same for the same set. Exits 1 naming the
 * first that is not. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "maglev.h"

#define MOST LB_MEMBERS

static int checks;

#define CHECK(claim, ...)                                                  \
	do {                                                               \
		checks++;                                                  \
		if (!(claim)) {                                            \
			fprintf(stderr, "unit_maglev: " __VA_ARGS__);      \
			fprintf(stderr, ": not so: %s\n", #claim);         \
			exit(1);                                           \
		}                                                          \
	} while (0)

/* 10.x.y.z or fd00::n; its value is n + 1 whatever its place in the list is. */
static struct maglev_backend backend(int n, bool is_v6, int weight)
{
	struct maglev_backend b = { .value = (__u16)(n + 1), .weight = (__u16)weight };
	__u8 *at = b.addr.b;

	if (is_v6) {
		at[0] = 0xfd;
	} else {
		at[10] = at[11] = 0xff;
		at[12] = 10;
	}
	at[14] = (__u8)(n >> 8);
	at[15] = (__u8)n;
	return b;
}

static void shuffle(struct maglev_backend *list, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int j = rand() % (i + 1);
		struct maglev_backend t = list[i];

		list[i] = list[j];
		list[j] = t;
	}
}

static void count(const __u16 slot[LB_RING], int got[MOST + 1])
{
	memset(got, 0, sizeof(int) * (MOST + 1));
	for (int i = 0; i < LB_RING; i++)
		got[slot[i]]++;
}

static void build(struct maglev_backend *list, int n, __u32 seed, __u16 slot[LB_RING])
{
	CHECK(!maglev_build(list, n, seed, slot), "%d backends", n);
}

/* The same rule written plainly: the k-th turn of a backend is at time k/weight, the heavier
 * and then the lower address first; in its turn it takes the next free slot of its walk. */
#include "lbhash.h"
#include <endian.h>
static void build_plainly(const struct maglev_backend *list, int n, __u32 seed, __u16 slot[LB_RING])
{
	static unsigned long long at[MOST], skip[MOST], turn[MOST];
	static bool is_taken[LB_RING];

	memset(is_taken, 0, sizeof(is_taken));
	for (int i = 0; i < n; i++) {
		__u64 half[2], h;

		memcpy(half, list[i].addr.b, 16);
		h = lb_finish(lb_finish(be64toh(half[0]) + ((__u64)seed << 32)) ^ be64toh(half[1]));
		at[i] = (h >> 32) % LB_RING;
		skip[i] = (__u32)(lb_finish(h + 1) % (LB_RING - 1)) + 1;
		turn[i] = 1;
	}
	for (int left = LB_RING; left; left--) {
		int best = -1;

		for (int i = 0; i < n; i++) {
			unsigned long long mine = turn[i] * (best < 0 ? 1 : list[best].weight);
			unsigned long long its = best < 0 ? 0 : turn[best] * list[i].weight;

			if (!list[i].weight)
				continue;
			if (best < 0 || mine < its || (mine == its && (list[i].weight > list[best].weight ||
			    (list[i].weight == list[best].weight && memcmp(&list[i].addr, &list[best].addr, 16) < 0))))
				best = i;
		}
		while (is_taken[at[best]])
			at[best] = (at[best] + skip[best]) % LB_RING;
		is_taken[at[best]] = true;
		slot[at[best]] = list[best].value;
		turn[best]++;
	}
}

static __u16 slot[LB_RING], other[LB_RING], third[LB_RING];
static struct maglev_backend list[MOST], copy[MOST];
static int got[MOST + 1];

static void test_even(int n, bool is_v6)
{
	int least = LB_RING, most = 0;

	for (int i = 0; i < n; i++)
		list[i] = backend(i, is_v6, 7);
	build(list, n, 0, slot);
	count(slot, got);
	CHECK(!got[0], "%d backends: every slot is somebody's", n);
	for (int i = 1; i <= n; i++) {
		least = got[i] < least ? got[i] : least;
		most = got[i] > most ? got[i] : most;
	}
	CHECK(most - least <= 1, "%d backends: %d..%d slots", n, least, most);
}

static void test_weights(const int *weights, int n)
{
	long sum = 0;

	for (int i = 0; i < n; i++) {
		list[i] = backend(i, false, weights[i]);
		sum += weights[i];
	}
	build(list, n, 3, slot);
	count(slot, got);
	for (int i = 0; i < n; i++) {
		double ideal = (double)LB_RING * weights[i] / (double)sum, is = got[i + 1];

		CHECK(is - ideal <= n && ideal - is <= n, "weight %d of %ld: %.0f slots, ideally %.1f", weights[i], sum,
		      is, ideal);
		CHECK(weights[i] || !got[i + 1], "weight 0 has no slots");
	}
	build_plainly(list, n, 3, other);
	CHECK(!memcmp(slot, other, sizeof(slot)), "%d backends by weight: as the rule says", n);
}

static void test_set_alone(int n, bool is_v6)
{
	for (int i = 0; i < n; i++)
		copy[i] = list[i] = backend(i, is_v6, 1 + i % 7);
	build(list, n, 9, slot);
	for (int k = 0; k < 3; k++) {
		shuffle(copy, n);
		build(copy, n, 9, other);
		CHECK(!memcmp(slot, other, sizeof(slot)), "%d backends in another order: the same ring", n);
	}
	build(copy, n, 10, other);
	CHECK(n == 1 || memcmp(slot, other, sizeof(slot)), "another seed: another ring");
}

/* Slots of those who stay that move when one goes; per mille of them. */
static double moved_by(int n, int victim)
{
	int moved = 0, stay = 0;

	for (int i = 0; i < n; i++)
		copy[i] = backend(i, false, 1);
	copy[victim].weight = 0;
	build(copy, n, 0, other);
	for (int i = 0; i < LB_RING; i++) {
		CHECK(other[i] != victim + 1, "who is gone has no slot");
		if (slot[i] == victim + 1)
			continue;
		stay++;
		moved += slot[i] != other[i];
	}
	return 100.0 * moved / stay;
}

static void test_removal(int n, int victims)
{
	double worst = 0, sum = 0;

	for (int i = 0; i < n; i++)
		list[i] = backend(i, false, 1);
	build(list, n, 0, slot);
	for (int i = 0; i < victims; i++) {
		double moved = moved_by(n, (int)((long)i * n / victims));

		worst = moved > worst ? moved : worst;
		sum += moved;
	}
	CHECK(worst <= 1, "one of %d gone: %.3f %% of the others' slots move", n, worst);
	printf("one of %d gone: %.3f %% of the others' slots move, %.3f %% at worst\n", n, sum / victims, worst);
	for (int i = 0; i < n; i++)
		copy[i] = backend(n - 1 - i, false, 1);
	build(copy, n, 0, third);
	CHECK(!memcmp(slot, third, sizeof(slot)), "it is back: the same ring");
}

static void test_nobody(void)
{
	memset(slot, 0xff, sizeof(slot));
	list[0] = backend(0, false, 0);
	build(list, 1, 0, slot);
	count(slot, got);
	CHECK(got[0] == LB_RING, "only weight 0: nobody's");
	memset(slot, 0xff, sizeof(slot));
	build(list, 0, 0, slot);
	count(slot, got);
	CHECK(got[0] == LB_RING, "no backends: nobody's");
}

static __u64 cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (__u64)t.tv_sec * 1000000 + (__u64)t.tv_nsec / 1000;
}

static void show_time(int n, bool is_mixed)
{
	__u64 best = UINT64_MAX;

	for (int k = 0; k < 11; k++) {
		__u64 start;

		for (int i = 0; i < n; i++)
			list[i] = backend(i, false, is_mixed ? 1 + i % 10 : 1);
		start = cpu_us();
		build(list, n, 0, slot);
		best = cpu_us() - start < best ? cpu_us() - start : best;
	}
	printf("ring of %d%s: %llu us\n", n, is_mixed ? " with ten weights" : "", best);
}

int main(void)
{
	static const int some[] = { 1, 2, 3, 100, 50, 0, 7 }, extreme[] = { 65535, 1, 65535, 2, 1 }, ten[] = { 1, 10 };
	static const int sizes[] = { 1, 2, 3, 10, 50, 100, 255, 400, 1000, MOST };
	static int many[300];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		test_even(sizes[i], false);
		test_even(sizes[i], true);
	}
	for (int i = 0; i < 300; i++)
		many[i] = 1 + i * 211 % 300;
	test_weights(some, sizeof(some) / sizeof(some[0]));
	test_weights(extreme, sizeof(extreme) / sizeof(extreme[0]));
	test_weights(ten, sizeof(ten) / sizeof(ten[0]));
	test_weights(many, 300);
	test_set_alone(1, false);
	test_set_alone(333, false);
	test_set_alone(333, true);
	test_set_alone(MOST, false);
	test_removal(2, 2);
	test_removal(10, 10);
	test_removal(100, 20);
	test_removal(400, 20);
	test_nobody();
	show_time(10, false);
	show_time(100, false);
	show_time(1000, false);
	show_time(1000, true);
	printf("%d checks\n", checks);
	return 0;
}
