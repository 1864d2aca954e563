/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORSUM_BPF_H
#define L3AF_MIRRORSUM_BPF_H

/*
 * The checksum of the outer UDP header. Sums are ones' complement sums of 16-bit words as they are
 * in memory, not folded.
 *
 * The packet inside may have a checksum that somebody further down computes (CHECKSUM_PARTIAL), so
 * its octets are not yet those that will be sent. But what a right checksum makes of the sum of all that
 * it covers is known without them: the complement of the pseudo header's sum ("local checksum offload",
 * Documentation/networking/checksum-offloads.rst).
 */
#include <linux/vmlinux_guard.h>
