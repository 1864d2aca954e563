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

/* A rule as a loop over rules wants it. */
struct match_plain {
	__u64 src[2], src_mask[2], dst[2], dst_mask[2]; /* host byte order */
	__u16 sport[2], dport[2];
	__u8 proto, proto_mask, flags, flags_mask, has, directions;
	__u8 reserved[2];
};
struct match_plains {
	__u32 n;
	__u32 reserved[15];
	struct match_plain rule[MATCH_RULES];
};

#endif
