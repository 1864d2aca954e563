/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_WINDOW_H
#define L3AF_WINDOW_H

/*
 * A sliding window in one 64-bit word, which is compared and swapped: the number of
 * the current window (20 bits), events in the previous one (22) and in this one (22).
 * With e microseconds of the window W gone, an event is admitted iff
 *
 *	previous * (W - e) / W + current < limit
 *
 * computed without division or rounding as previous * (W - e) + current * W <
 * threshold, where threshold = limit * W. Only admitted events are counted.
 * The same code runs in the kernel and in user space.
 */
#include <linux/types.h>

#define WINDOW_COUNT_BITS 22
#define WINDOW_COUNT_MAX ((1ULL << WINDOW_COUNT_BITS) - 1)
#define WINDOW_INDEX_MAX ((1ULL << 20) - 1)
/* A CPU that took its time while another one moved the word on finds it this many windows
 * ahead at most; any other distance means that the word is old. */
#define WINDOW_SKEW 16

struct window {
	__u64 index, previous, current, elapsed;
};

#define window_inline static inline __attribute__((always_inline, unused))

/* The word as it is to be read at time now. */
window_inline struct window window_at(__u64 word, __u64 now_us, __u32 window_us)
{
	__u64 window = now_us / window_us;
	struct window w = {
		.index = window & WINDOW_INDEX_MAX,
		.elapsed = now_us - window * window_us,
	};
	__u64 index = word >> (2 * WINDOW_COUNT_BITS);
	__u64 age = (w.index - index) & WINDOW_INDEX_MAX;

	if (!word)
		return w;
	if (age == 0 || age > WINDOW_INDEX_MAX - WINDOW_SKEW) {
		w.previous = (word >> WINDOW_COUNT_BITS) & WINDOW_COUNT_MAX;
		w.current = word & WINDOW_COUNT_MAX;
		if (age) {
			w.index = index;
			w.elapsed = 0;
		}
	} else if (age == 1) {
		w.previous = word & WINDOW_COUNT_MAX;
	}
	return w;
}

/* Events in the sliding window, times window_us. */
window_inline __u64 window_use(const struct window *w, __u32 window_us)
{
	return w->previous * (window_us - w->elapsed) + w->current * window_us;
}

window_inline __u64 window_word(const struct window *w)
{
	return w->index << (2 * WINDOW_COUNT_BITS) | w->previous << WINDOW_COUNT_BITS | w->current;
}

/* The word with one more event, or 0: refused. */
window_inline __u64 window_take(__u64 word, __u64 now_us, __u32 window_us, __u64 threshold)
{
	struct window w = window_at(word, now_us, window_us);

	if (window_use(&w, window_us) >= threshold || w.current == WINDOW_COUNT_MAX)
		return 0;
	w.current++;
	return window_word(&w);
}

/* The word without an event that was admitted at then_us; the word itself if that has
 * slid out of it. */
window_inline __u64 window_untake(__u64 word, __u64 then_us, __u32 window_us)
{
	__u64 age = ((word >> (2 * WINDOW_COUNT_BITS)) - then_us / window_us) & WINDOW_INDEX_MAX;

	if (age == 0 && (word & WINDOW_COUNT_MAX))
		return word - 1;
	if (age == 1 && ((word >> WINDOW_COUNT_BITS) & WINDOW_COUNT_MAX))
		return word - (1ULL << WINDOW_COUNT_BITS);
	return word;
}

#endif
