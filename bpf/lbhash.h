/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBHASH_H
#define L3AF_LBHASH_H

/*
 * The hashes of the load balancer, the same code in the kernel and in user space (l3afctl
 * lb which). Addresses and ports as they are in the packet (network byte order), IPv4
 * addresses as ::ffff:a.b.c.d.
 */
#include <linux/types.h>
#include "lb.h"

/* What makes packets one flow: those of the direction client -> VIP. */
struct lb_flow_id {
	__u32 src[4], dst[4];
	__be16 sport, dport;
	__u8 proto;
};

#define LB_INLINE static inline __attribute__((always_inline))

/* Bit of struct lb_prefilter. */
LB_INLINE __u32 lb_prefilter_bit(const __u32 addr[4])
{
	return (addr[0] ^ addr[1] ^ addr[2] ^ addr[3]) * 0x9e3779b1U >> 20;
}

/* The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
LB_INLINE __u64 lb_finish(__u64 h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdULL;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53ULL;
	return h ^ h >> 33;
}

LB_INLINE __u64 lb_product(__u32 a, __u32 b)
{
	return (__u64)a * b;
}

/* Of an address: NH (Black et al., UMAC, CRYPTO 1999), universal for a random key. */
LB_INLINE __u64 lb_nh(const __u32 addr[4], const __u32 key[4])
{
	return lb_product(addr[0] + key[0], addr[1] + key[1]) + lb_product(addr[2] + key[2], addr[3] + key[3]);
}

LB_INLINE __u32 lb_tag(__u64 h)
{
	__u32 tag = (__u32)(h >> 32);

	return tag ? tag : 1;
}

/* The flow table: upper half the tag (lb_tag), lower half the bucket (& buckets - 1). The
 * key is random, so that nobody outside can choose flows that share a bucket. */
LB_INLINE __u64 lb_flow_hash(const struct lb_flow_id *f, const __u32 key[LB_KEYS], int is_v4)
{
	__u64 h = lb_product(((__u32)f->sport << 16 | f->dport) + key[0], f->proto + key[1]);

	if (is_v4)
		return lb_finish(h + lb_product(f->src[3] + key[2], f->dst[3] + key[3]));
	return lb_finish(h + lb_nh(f->src, key + 4) + lb_nh(f->dst, key + 8));
}

/* The entry of a sticky VIP's client: of all its flows to this address. */
LB_INLINE __u64 lb_client_hash(const struct lb_flow_id *f, __u32 vip, const __u32 key[LB_KEYS])
{
	return lb_finish(lb_product(vip + key[0], ~key[1]) + lb_nh(f->src, key + 4));
}

/* Of a fragment's datagram. */
LB_INLINE __u64 lb_frag_hash(const struct lb_flow_id *f, __be32 id, const __u32 key[LB_KEYS])
{
	return lb_finish(lb_product(id + key[1], ~key[0]) + lb_nh(f->src, key + 4) + lb_nh(f->dst, key + 8));
}

/* The slot of a ring, in 0..LB_RING-1: by source address and both ports; sticky: by the
 * address alone. Every VIP has its own ring: its address and protocol are left out. */
LB_INLINE __u32 lb_ring_slot(const struct lb_flow_id *f, __u32 seed, int is_sticky, int is_v4)
{
	__u64 h = is_v4 ? f->src[3] : lb_finish((__u64)f->src[0] << 32 | f->src[1]) ^ ((__u64)f->src[2] << 32 | f->src[3]);

	h = lb_finish(h + ((__u64)seed << 32));
	if (!is_sticky)
		h = lb_finish(h ^ ((__u32)f->sport << 16 | f->dport));
	return (__u32)((h >> 32) * LB_RING >> 32);
}

#endif
