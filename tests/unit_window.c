// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The sliding window (bpf/window.h) at known times, against the definition in floating
 * point, and shared by threads. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include "window.h"

#define W 1000000u

static int failed;

static void expect(const char *what, unsigned long long got, unsigned long long want)
{
	if (got == want)
		return;
	printf("%s: %llu, expected %llu\n", what, got, want);
	failed = 1;
}

/* How many of tries at time now are admitted. */
static unsigned take(__u64 *word, __u64 now, unsigned limit, unsigned tries)
{
	unsigned admitted = 0;

	for (unsigned i = 0; i < tries; i++) {
		__u64 next = window_take(*word, now, W, (__u64)limit * W);

		if (next) {
			*word = next;
			admitted++;
		}
	}
	return admitted;
}

/* limit 10, 10 in the window before: at t tenths of the next one t more fit */
static void vectors(void)
{
	char what[64];

	for (unsigned t = 0; t <= 9; t++) {
		__u64 word = 0;

		expect("an empty window", take(&word, 5 * W, 10, 20), 10);
		snprintf(what, sizeof(what), "at 0.%u", t);
		expect(what, take(&word, 6 * W + t * W / 10, 10, 20), t);
		expect("and no more", take(&word, 6 * W + t * W / 10, 10, 20), 0);
	}
	__u64 word = 0;
	expect("full", take(&word, 5 * W, 10, 20), 10);
	expect("two windows later", take(&word, 7 * W, 10, 20), 10);
	word = 0;
	expect("nothing is admitted at 0", take(&word, 5 * W, 0, 20), 0);
	word = 0;
	expect("the most there can be", take(&word, 5 * W, WINDOW_COUNT_MAX, WINDOW_COUNT_MAX + 5), WINDOW_COUNT_MAX);
}

static void clocks(void)
{
	__u64 word = 0;

	expect("full", take(&word, 6 * W + 1, 10, 20), 10);
	expect("a CPU that is late sees it full too", take(&word, 6 * W - 1, 10, 20), 0);
	expect("the late one changed nothing", take(&word, 6 * W + 2, 10, 20), 0);
	/* the window's number wraps */
	__u64 last = ((WINDOW_INDEX_MAX + 1) * 3 - 1) * W;
	word = 0;
	expect("before the wrap", take(&word, last, 10, 20), 10);
	expect("after it", take(&word, last + W + W / 2, 10, 20), 5);
	expect("long after", take(&word, last + 500000ULL * W, 10, 20), 10);
}

static void untake(void)
{
	__u64 word = 0;

	expect("full", take(&word, 6 * W, 10, 10), 10);
	word = window_untake(word, 6 * W, W);
	expect("one given back", take(&word, 6 * W, 10, 10), 1);
	expect("nothing happens in the next one", take(&word, 7 * W, 10, 10), 0);
	expect("half of it", take(&word, 7 * W + W / 2, 10, 10), 5);
	__u64 before = word;
	word = window_untake(word, 6 * W, W);
	expect("given back to the one before", before - word, 1ULL << WINDOW_COUNT_BITS);
	expect("too old", window_untake(word, 3 * W, W), word);
}

/* A million random events against the formula in floating point. */
static void oracle(void)
{
	const unsigned limit = 1000, window = 250000;
	const __u64 threshold = (__u64)limit * window;
	double previous = 0, current = 0;
	__u64 word = 0, now = 1ULL << 40, index = now / window, wrong = 0;

	srandom(1);
	for (int i = 0; i < 1000000; i++) {
		now += (__u64)random() % (i % 20000 ? 400 : 600000);
		__u64 n = now / window;
		if (n != index) {
			previous = n == index + 1 ? current : 0;
			current = 0;
			index = n;
		}
		double sum = previous * (window - (double)(now % window)) / window + current;
		__u64 next = window_take(word, now, window, threshold);
		if (sum < limit - 1e-6 ? !next : sum > limit + 1e-6 && next)
			wrong++;
		if (next) {
			word = next;
			current++;
		}
	}
	expect("decisions other than the formula's", wrong, 0);
}

static __u64 shared;
#define SHARED_LIMIT 100000u

static void *racer(void *arg)
{
	__u64 *admitted = arg;

	for (int i = 0; i < 200000; i++) {
		__u64 old = __atomic_load_n(&shared, __ATOMIC_RELAXED), next;

		do
			next = window_take(old, 6 * W, W, (__u64)SHARED_LIMIT * W);
		while (next && !__atomic_compare_exchange_n(&shared, &old, next, 0, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
		*admitted += next != 0;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t id[4];
	__u64 admitted[4] = { 0 }, sum = 0;

	for (int i = 0; i < 4; i++)
		if (pthread_create(&id[i], NULL, racer, &admitted[i]))
			abort();
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], NULL);
		sum += admitted[i];
	}
	expect("four threads together", sum, SHARED_LIMIT);
}

int main(void)
{
	vectors();
	clocks();
	untake();
	oracle();
	threads();
	return failed;
}
