/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_FP_H
#define TESTS_FP_H

/*
 * The test packet: Ethernet, IPv4 without options, UDP, then this. Every fp member
 * appends its id to the fingerprint, five bits an id; fpcount counts packets by
 * fingerprint, so the order in which members ran can be read back from the count.
 */
#include <linux/types.h>

#define FP_OFFSET 48 /* six bytes after the UDP header: aligned */
#define FP_MAGIC 0x4c334146u
#define FP_BITS 5

struct fp {
	__u64 print;
	__u64 seq;
	__u32 magic;
	__u32 reserved;
};

#define FP_FRAME (FP_OFFSET + sizeof(struct fp))

/* Map "seen", one mmapable element: how many test packets came by, and the sum of
 * their sequence numbers (a packet seen twice must not make up for a lost one). */
struct fp_seen {
	__u64 packets;
	__u64 seq_sum;
};

#endif
