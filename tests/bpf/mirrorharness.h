/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_MIRRORHARNESS_H
#define TESTS_MIRRORHARNESS_H

#include <linux/types.h>

#define MIRROR_FIELDS 24

struct mirrorharness {
	__u32 is_tagged;      /* with this tag in the packet's metadata */
	__u16 proto, tci;     /* host byte order */
	__u32 verdict;
	__u32 linear;         /* octets in the last packet's linear part, as linear saw it */
	__u64 before[MIRROR_FIELDS], after[MIRROR_FIELDS]; /* all that a program can read of the packet */
};

#endif
