/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_LBHARNESS_H
#define TESTS_LBHARNESS_H

#include <linux/types.h>

/* The next packet: state = state * factor + step; its flow is number state >> shift & mask. */
struct lbharness {
	__u64 state, factor, step, mask;
	__u32 shift, reserved;
};

#define LB_POISON 128 /* octets of headroom */

#endif
