/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_FLOWBENCH_H
#define TESTS_FLOWBENCH_H

#include <linux/types.h>

/* The next packet: state = state * factor + step; its flow is number state >> shift & mask. */
struct flowbench {
	__u64 state, factor, step, mask;
	__u32 shift, reserved;
};

#endif
