/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_TESTS_MATCHKEYS_H
#define L3AF_TESTS_MATCHKEYS_H

#include "match.h"

/* What tests/bpf/match.bpf.c looks up, one after the other. */
#define MATCH_KEYS 65536 /* a power of two */
struct match_keys {
	__u32 next;
	__u32 reserved[15];
	struct match_key key[MATCH_KEYS];
	__s32 answer[MATCH_KEYS];
};

#endif
