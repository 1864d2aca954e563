/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORSUM_BPF_H
#define L3AF_MIRRORSUM_BPF_H

/*
 * The checksum of the outer UDP header. Sums are ones' complement sums of 16-bit words as they are
 * in memory, not folded.
 *
 * Somebody further down may have to complete a checksum in the packet (CHECKSUM_PARTIAL), so that
 * its octets are not yet those that will be sent. The sum of all that this checksum covers is known
 * without them: it is the complement of what its field holds until then (local checksum offload,
 * Documentation/networking/checksum-offloads.rst).
 */
#include "mirrorhead.bpf.h"
#include "mirrorkern.bpf.h"
#include "sum.h"

#define CHUNK 512 /* the most that bpf_csum_diff takes */
#define CHUNKS 132
#define SUM_UNKNOWN 0x10000

/* Of so many octets of the packet from here on, folded. */
__noinline int octets_sum(struct __sk_buff *skb, __u32 at, __u32 len)
{
	struct mirror_way *w = way_get();
	__s64 sum = 0;

	if (!w)
		return SUM_UNKNOWN;
#pragma nounroll
	for (int i = 0; i < CHUNKS && len >= CHUNK; i++, at += CHUNK, len -= CHUNK) {
		if (bpf_skb_load_bytes(skb, at, w->chunk, CHUNK))
			return SUM_UNKNOWN;
		sum = bpf_csum_diff(NULL, 0, (void *)w->chunk, CHUNK, sum);
	}
	if (len >= CHUNK)
		return SUM_UNKNOWN;
	if (!len)
		return sum_fold(sum);
	len = ((len - 1) & (CHUNK - 1)) + 1;
	*(__u32 *)(w->chunk + (len & ~3 & 1023)) = 0;
	if (bpf_skb_load_bytes(skb, at, w->chunk, len))
		return SUM_UNKNOWN;
	barrier_var(len);
	return sum_fold(bpf_csum_diff(NULL, 0, (void *)w->chunk, (len + 3) & 1020, sum));
}

/* From at on, of what is a whole packet of TCP or UDP, with nothing between the headers, and a checksum
 * that is right, or will be: that and all it covers, the pseudo header too, come to zero. */
__noinline int whole_sum(struct __sk_buff *skb, __u32 at)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 *word = data + (at & (HEAD_SIZE - 1)), len = skb->len - at, proto;
	const struct ipv6hdr *ip6 = (void *)word;
	const struct iphdr *ip = (void *)word;
	__u32 summed = summed_get(skb);
	__u64 sum = 0, pseudo;
	__u16 *l4;

	if (summed != CHECKSUM_UNNECESSARY_ && summed != CHECKSUM_PARTIAL_)
		return SUM_UNKNOWN;
	if ((void *)(ip6 + 1) + sizeof(struct udphdr) > end)
		return SUM_UNKNOWN;
	if (ip->version == 4) {
		if (ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff) || ip->tot_len != bpf_htons(len))
			return SUM_UNKNOWN;
		len -= sizeof(*ip);
		proto = ip->protocol;
		pseudo = (__u64)ip->saddr + ip->daddr;
		l4 = (void *)(ip + 1);
		for (int i = 0; i < 5; i++)
			sum += word[i];
	} else {
		len -= sizeof(*ip6);
		if (ip->version != 6 || ip6->payload_len != bpf_htons(len))
			return SUM_UNKNOWN;
		proto = ip6->nexthdr;
		l4 = (void *)(ip6 + 1);
		for (int i = 2; i < 10; i++)
			sum += word[i];
		pseudo = sum;
		sum += (__u64)word[0] + word[1];
	}
	if (proto != IPPROTO_TCP && (proto != IPPROTO_UDP || !l4[3]))
		return SUM_UNKNOWN;
	return sum_fold(sum + (__u16)~sum_fold(pseudo + bpf_htons(proto) + bpf_htons(len)));
}

/* Of the packet inside, which begins here. */
static __always_inline int inner_sum(struct __sk_buff *skb, __u32 at)
{
	struct sum_rest rest;
	int sum;

	if (summed_get(skb) != CHECKSUM_PARTIAL_)
		return octets_sum(skb, at, skb->len - at);
	if (!rest_read(skb, &rest) || rest.start < at)
		return SUM_UNKNOWN;
	sum = octets_sum(skb, at, rest.start - at);
	return sum == SUM_UNKNOWN ? sum : sum_fold((__u32)sum + (__u16)~rest.field);
}

/* Into the header in way. at: of the packet inside. The frame has its room. */
__noinline int sum_write(struct __sk_buff *skb, __u32 at)
{
	struct mirror_way *w = way_get();
	struct mirror_target *t = w ? target_get(w->job.copy) : NULL;
	struct udphdr *udp;
	__u64 sum;
	int inner;

	if (!t || at > HEAD_MAX || at < ETH_HLEN + sizeof(struct iphdr) + sizeof(*udp))
		return 0;
	inner = w->job.flags ? SUM_UNKNOWN : whole_sum(skb, at);
	if (inner == SUM_UNKNOWN)
		inner = inner_sum(skb, at);
	if (inner == SUM_UNKNOWN)
		return 0;
	sum = (__u32)inner;
	if (t->to[0] | t->to[1]) {
		udp = (void *)w->head + ETH_HLEN + sizeof(struct ipv6hdr);
		for (int i = 0; i < 4; i++)
			sum += (__u64)t->source[i] + t->to[i];
	} else {
		udp = (void *)w->head + ETH_HLEN + sizeof(struct iphdr);
		sum += (__u64)t->source[3] + t->to[3];
	}
	sum += bpf_htons(IPPROTO_UDP) + udp->len;
	/* behind it is nothing but zeroes */
	for (int i = 0; i < HEAD_SUM / 4; i++)
		sum += ((__u32 *)udp)[i];
	sum = (__u16)~sum_fold(sum);
	udp->check = sum ? sum : 0xffff;
	return 0;
}

#endif
