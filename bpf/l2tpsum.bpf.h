/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPSUM_BPF_H
#define L3AF_L2TPSUM_BPF_H

/* Checksums. Sums are ones' complement sums of 16-bit words as they are in memory, not folded. */
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include "l2tpmaps.bpf.h"
#include "sum.h"

#define SUM_CHUNK 512U /* as much as old kernels sum at once */
#define SUM_CHUNKS 128

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u8[SUM_CHUNK]);
} scratch SEC(".maps");

/* Of len octets at an even offset; -1: they are not there. */
__noinline long sum_skb(struct __sk_buff *skb, __u32 offset, __u32 len)
{
	__u32 zero = 0, rest;
	__u8 *chunk = bpf_map_lookup_elem(&scratch, &zero);
	__s64 sum = 0;

	if (!chunk)
		return -1;
	for (int i = 0; i < SUM_CHUNKS && len >= SUM_CHUNK; i++) {
		if (bpf_skb_load_bytes(skb, offset, chunk, SUM_CHUNK))
			return -1;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)chunk, SUM_CHUNK, sum);
		offset += SUM_CHUNK;
		len -= SUM_CHUNK;
	}
	if (!len)
		return (__u32)sum;
	if (len >= SUM_CHUNK)
		return -1;
	rest = (len - 1) & (SUM_CHUNK - 1);
	barrier_var(rest);
	*(__u32 *)(chunk + (rest & ~3U)) = 0;
	if (bpf_skb_load_bytes(skb, offset, chunk, rest + 1))
		return -1;
	return (__u32)bpf_csum_diff(NULL, 0, (__be32 *)chunk, (rest & ~3U) + 4, sum);
}

/* Write a checksum whose field is 0 now: of what sums up to sum, 0 as all ones. False: it stays
 * 0 in a packet whose transport checksum is left to the interface (CHECKSUM_PARTIAL), since the
 * helper changes none there. Kernels before 6.2 let a program find that out in no other way. */
static __always_inline bool check_write(struct __sk_buff *skb, __u32 offset, __u64 sum)
{
	__u16 check = 0, folded = sum_fold(sum), zero = 0xffff;

	/* where the checksum is 0, another number tells the one from the other */
	bpf_l4_csum_replace(skb, offset, 0, folded == 0xffff ? 1 : folded, 0);
	bpf_skb_load_bytes(skb, offset, &check, sizeof(check));
	if (check && folded == 0xffff)
		bpf_skb_store_bytes(skb, offset, &zero, sizeof(zero), 0);
	return check;
}

/* Of such a packet, from its start at offset to the end, when the interface will have done it:
 * l4 is where its TCP or UDP header is, whose field has the pseudo header's sum until then
 * (local checksum offload). -1: it is neither. */
static __always_inline __s64 sum_partial(struct __sk_buff *skb, __u32 offset, __u32 l4, __u8 proto)
{
	__u16 pseudo;
	__s64 sum;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return -1;
	l4 += proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	if (bpf_skb_load_bytes(skb, l4, &pseudo, sizeof(pseudo)))
		return -1;
	l4 -= proto == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	sum = sum_skb(skb, offset, l4 - offset);
	return sum < 0 ? sum : sum + (__u16)~pseudo;
}

static __always_inline void check_store(struct __sk_buff *skb, __u32 offset, __u64 sum)
{
	__u16 check = ~sum_fold(sum);

	check = check ? check : 0xffff;
	bpf_skb_store_bytes(skb, offset, &check, sizeof(check), 0);
}

#endif
