/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORKERN_BPF_H
#define L3AF_MIRRORKERN_BPF_H

/* What the kernel knows of a packet and does not show to programs: the context is its sk_buff. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>

enum { CHECKSUM_UNNECESSARY_ = 1, CHECKSUM_PARTIAL_ = 3, IFF_UP_ = 1, LINK_STATE_NOCARRIER_ = 2 /* a bit's number */ };

/* Whether the checksum of the transport header is known to be right (UNNECESSARY), or to be completed
 * by somebody further down (PARTIAL). */
static __always_inline __u32 summed_get(struct __sk_buff *ctx)
{
	return BPF_CORE_READ_BITFIELD_PROBED((struct sk_buff *)(void *)ctx, ip_summed);
}

/* Of what is to be completed: it covers what is from start on; what its field holds. */
struct sum_rest {
	__u32 start;
	__u16 field;
};

/* False: it is another one than of TCP and UDP (SCTP has no sum but a CRC). */
static __always_inline bool rest_read(struct __sk_buff *ctx, struct sum_rest *rest)
{
	struct sk_buff *skb = (void *)ctx;
	__u16 offset = BPF_CORE_READ(skb, csum_offset);

	rest->start = BPF_CORE_READ(skb, csum_start) - (__u32)(BPF_CORE_READ(skb, data) - BPF_CORE_READ(skb, head));
	return (offset == 16 || offset == 6) &&
	       !bpf_skb_load_bytes(ctx, rest->start + offset, &rest->field, sizeof(rest->field));
}

/* The interface that a packet is at. */
static __always_inline __u64 dev_get(struct __sk_buff *ctx)
{
	return (__u64)BPF_CORE_READ((struct sk_buff *)(void *)ctx, dev);
}

static __always_inline bool dev_is_up(__u64 addr)
{
	struct net_device *dev = (void *)addr;

	return BPF_CORE_READ(dev, flags) & IFF_UP_ && !(BPF_CORE_READ(dev, state) >> LINK_STATE_NOCARRIER_ & 1);
}

#endif
