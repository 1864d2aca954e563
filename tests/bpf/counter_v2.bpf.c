// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The next version of counter: the same maps, counts in hundreds. */
#define STEP 100
#include "counter.bpf.c"
