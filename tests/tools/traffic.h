/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_TRAFFIC_H
#define TESTS_TRAFFIC_H

/* Test packets into a chain whose last member is fpcount, and what fpcount saw. */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

/* What fpcount counted: packets by fingerprint, sorted. */
struct prints {
	size_t n;
	struct print {
		__u64 print, packets;
	} *at;
};

struct traffic;

/* Opens prints and seen in dir (kf/fpcount of a chain). Sends out of dev, in the
 * network namespace called ns (below /run/netns; NULL: this one), nothing yet. */
struct traffic *traffic_open(const char *dir, const char *ns, const char *dev);

/* Send at rate packets a second, from a thread, never more unseen ones under way than a
 * veth ring holds: a packet that goes missing was lost by the chain. */
void traffic_start(struct traffic *t, unsigned rate);
/* Wait until n more packets were seen. False if no packet is seen any more. */
bool traffic_wait(struct traffic *t, __u64 n);
/* Stop; wait for the last ones to be seen. */
void traffic_stop(struct traffic *t);
__u64 traffic_sent(const struct traffic *t);
/* 0, or how many packets are missing since traffic_start; also nonzero if as many as
 * were sent were seen, but not each of them once. */
__s64 traffic_missing(const struct traffic *t);

/* Send n packets now, wait until they are seen, at most so long; how many were seen. */
__u64 traffic_probe(struct traffic *t, unsigned n, unsigned wait_ms);

void traffic_prints(struct traffic *t, struct prints *p); /* replaces *p */
__u64 prints_get(const struct prints *p, __u64 print);
/* Close the maps, keep nothing. */
void traffic_close(struct traffic *t);

_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
