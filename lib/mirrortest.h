/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORTEST_H
#define L3AF_MIRRORTEST_H

/* What would become of a packet, and why. */
#include "matcher.h"
#include "mirrorview.h"

/* Of an interface, in one direction. */
enum mirror_fate {
	MIRROR_UNMATCHED, /* no filter matches */
	MIRROR_REJECTED,
	MIRROR_GUARDED,   /* it is from or to a collector */
	MIRROR_UNSEEN,    /* the kernel function is not in the chain, or the interface is gone */
	MIRROR_UNSENT,    /* the target cannot send */
	MIRROR_MIRRORED,  /* unless its sample leaves it out, or its target's cap */
};
extern const char *const mirror_fate_words[]; /* for --json */

/* mirror_look_probe, and that each filter found is the first one by definition: else an error
 * that says so. Prints its errors. */
must_use int mirror_test_read(const struct run *run, const char *dev, const struct match_key *key,
			      struct mirror_look_all *v);
enum mirror_fate mirror_test_fate(const struct mirror_look_all *v, const struct mirror_look_place *p, int direction);

/* The part's word as in filters; NULL: it matches. */
const char *mirror_test_part(enum match_part part);
/* "dport 443 is not in 80-90"; into buf, which it returns. */
#define MIRROR_WHY 192
const char *mirror_test_why(enum match_part part, const struct match_rule *r, const struct match_key *key,
			    char buf[MIRROR_WHY]);
/* "10.0.0.1:1000 > 10.0.0.2:80 tcp syn, untagged" */
const char *mirror_test_packet(const struct match_key *key, char buf[MIRROR_WHY]);

#endif
