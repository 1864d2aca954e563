/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_SUM_H
#define L3AF_SUM_H

/* A ones' complement sum of words as they are in memory (RFC 1071), to 16 bits. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

#endif
