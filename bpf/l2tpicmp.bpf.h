/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPICMP_BPF_H
#define L3AF_L2TPICMP_BPF_H

/* Frames that do not fit: "fragmentation needed" and "packet too big" to their sender, in the
 * name of who they were for, since nobody in between has an address. */
#include "l2tpframe.bpf.h"
#include "l2tpsum.bpf.h"

/* linux/icmp.h wants the C library. */
struct icmp {
	__u8 type, code;
	__be16 check;
	__be32 rest;
};
enum { ICMP_DEST_UNREACH = 3, ICMP_FRAG_NEEDED = 4, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12 };
enum { ICMPV6_PKT_TOOBIG = 2, ICMPV6_LAST_ERROR = 127 };

#define ICMP_TTL 64
#define ICMP_QUOTE 512U /* with the headers in front no more than 576: RFC 1812 4.3.2.3 */
#define L2_MAX (sizeof(struct ethhdr) + 4 * PKT_VLANS)

/* The answer to a frame f. */
struct big {
	struct frame f;
	__u32 quote, mtu;
	bool is_v6;
};

struct big4 {
	struct iphdr ip;
	struct icmp icmp;
};

struct big6 {
	struct ipv6hdr ip;
	struct icmp icmp;
};

/* May an answer go there? Not to what cannot be one host. */
static __always_inline bool is_host(const struct big *b)
{
	__u32 v4 = bpf_ntohl(b->f.src[3]);

	if (!b->is_v6)
		return v4 >> 24 && v4 >> 24 != 127 && v4 >> 28 < 14;
	return *(const __u8 *)b->f.src != 0xff && b->f.src[0] | b->f.src[1] | b->f.src[2];
}

/* False: nobody is to be told (RFC 1122 3.2.2, RFC 4443 2.4), or need be: who set no "don't
 * fragment" does not look for the path's MTU. */
static __always_inline bool big_plan(struct __sk_buff *skb, struct big *b)
{
	const struct frame *f = &b->f;
	__u8 type = 0;
	__u32 len;

	b->is_v6 = f->flags & PKT_V6;
	if (!(f->flags & PKT_L4) || f->flags & PKT_SHORT || (!b->is_v6 && !f->has_df) || !is_host(b) ||
	    bpf_skb_load_bytes(skb, 0, &type, 1) || type & 1)
		return false;
	if (f->l3 < sizeof(struct ethhdr) || f->l3 > L2_MAX || f->end > skb->len || f->end < f->l4)
		return false;
	len = f->end - f->l3;
	b->quote = len < ICMP_QUOTE ? len & ~3U : ICMP_QUOTE;
	if (f->proto != IPPROTO_ICMP && f->proto != IPPROTO_ICMPV6)
		return true;
	if (bpf_skb_load_bytes(skb, f->l4, &type, 1))
		return false;
	if (b->is_v6)
		return type > ICMPV6_LAST_ERROR;
	return type != ICMP_DEST_UNREACH && type != ICMP_TIME_EXCEEDED && type != ICMP_PARAMETERPROB;
}

/* The sum of all that ICMP's checksum is about and not quoted. */
static __always_inline __u64 big4_write(struct __sk_buff *skb, const struct big *b)
{
	struct big4 h = {
		.ip = { .version = 4, .ihl = 5, .ttl = ICMP_TTL, .protocol = IPPROTO_ICMP,
			.tot_len = bpf_htons(sizeof(h) + b->quote), .saddr = b->f.dst[3], .daddr = b->f.src[3] },
		.icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED, .rest = bpf_htonl(b->mtu) },
	};
	const __u32 *w = (const __u32 *)&h;

	h.ip.check = ~sum_fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
	bpf_skb_store_bytes(skb, b->f.l3, &h, sizeof(h), 0);
	return (__u64)w[5] + w[6];
}

static __always_inline __u64 big6_write(struct __sk_buff *skb, const struct big *b)
{
	struct big6 h = {
		.ip = { .version = 6, .nexthdr = IPPROTO_ICMPV6, .hop_limit = ICMP_TTL,
			.payload_len = bpf_htons(sizeof(struct icmp) + b->quote) },
		.icmp = { .type = ICMPV6_PKT_TOOBIG, .rest = bpf_htonl(b->mtu) },
	};
	const __u32 *w = (const __u32 *)&h;
	__u64 sum = (__u64)w[10] + w[11] + h.ip.payload_len + bpf_htons(IPPROTO_ICMPV6);

	__builtin_memcpy(&h.ip.saddr, b->f.dst, 16);
	__builtin_memcpy(&h.ip.daddr, b->f.src, 16);
	for (int i = 0; i < 4; i++)
		sum += (__u64)b->f.src[i] + b->f.dst[i];
	bpf_skb_store_bytes(skb, b->f.l3, &h, sizeof(h), 0);
	return sum;
}

__noinline long big_write(struct __sk_buff *skb, struct big *b)
{
	if (!b)
		return 0;
	return b->is_v6 ? big6_write(skb, b) : big4_write(skb, b);
}

/* In place of the frame. */
static __always_inline bool big_answer(struct __sk_buff *skb, struct big *b)
{
	__u32 room = b->is_v6 ? sizeof(struct big6) : sizeof(struct big4), check;
	__u32 len = ((b->f.l3 - 1) & 31) + 1; /* what it is, where old verifiers see it */
	__u8 l2[32] = { 0 };
	__s64 quoted, partial;
	__u64 sum;

	if (bpf_skb_change_tail(skb, b->f.l3 + b->quote, 0))
		return false;
	quoted = sum_skb(skb, b->f.l3, b->quote);
	if (quoted < 0 || bpf_skb_load_bytes(skb, 0, l2, len) || bpf_skb_load_bytes(skb, ETH_ALEN, l2, ETH_ALEN) ||
	    bpf_skb_load_bytes(skb, 0, l2 + ETH_ALEN, ETH_ALEN) || bpf_skb_change_head(skb, room, 0))
		return false;
	bpf_skb_store_bytes(skb, 0, l2, L2_MAX, 0);
	sum = big_write(skb, b);
	check = b->f.l3 + room - sizeof(struct icmp) + offsetof(struct icmp, check);
	if (check_write(skb, check, sum + (__u64)quoted))
		return true;
	partial = sum_partial(skb, b->f.l3 + room, b->f.l4 + room, b->f.proto);
	if (partial < 0)
		return false;
	check_store(skb, check, sum + (__u64)partial);
	return true;
}

enum { BIG_FITS, BIG_TOLD, BIG_DROP };

/* len: of the frame with all its tags. BIG_TOLD: it is the answer now. */
static __always_inline int too_big(struct __sk_buff *skb, const struct l2tp_tx *tx, __u32 len)
{
	struct big b = { 0 };
	__u32 mtu, l2;

	frame_read(skb, &b.f);
	l2 = sizeof(struct ethhdr) + 4 * b.f.vlans;
	mtu = tx->frame > l2 ? tx->frame - l2 : 0;
	b.mtu = tx->mtu < mtu ? tx->mtu : mtu;
	if (len <= l2 + b.mtu)
		return BIG_FITS;
	return big_plan(skb, &b) && big_answer(skb, &b) ? BIG_TOLD : BIG_DROP;
}

#endif
