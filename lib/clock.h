/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CLOCK_H
#define L3AF_CLOCK_H

/* The clock of BPF programs, jiffies64. Nothing here prints. */
#include <linux/types.h>
#include "err.h"

/* A program that reads it, as an fd, or -errno. */
must_use int clock_open(void);
must_use int clock_read(int prog, __u64 *jiffies);
/* The length of a jiffy. */
__u32 clock_tick_ns(void);

#endif
