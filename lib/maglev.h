/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MAGLEV_H
#define L3AF_MAGLEV_H

/*
 * Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4), with weights: who takes which
 * slots depends on the set of backends, their addresses, weights and the seed alone; not
 * on the order they came in, nor on what was before.
 */
#include "lb.h"
#include "parse.h"

struct maglev_backend {
	struct addr addr;  /* what is hashed */
	__u16 value;       /* what its slots get; not 0 */
	__u16 weight;      /* 0: none */
};

/* Fills slot; all of it with 0 where nobody has a weight. list is sorted by address here.
 * Addresses differ. -ENOMEM. Prints nothing. */
must_use int maglev_build(struct maglev_backend *list, int n, __u32 seed, __u16 slot[LB_RING]);

#endif
