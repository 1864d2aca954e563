/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPICMP_BPF_H
#define L3AF_L2TPICMP_BPF_H

/* Frames that do not fit: "fragmentation needed" and "packet too big" to their sender, in the
 * name of who they were for, since nobody in between has an address. */
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

/* The frame, and the answer to it. */
struct big {
	__u32 l2, l4, quote, mtu;
	__u32 src[4], dst[4];     /* of the answer */
	__u8 proto;
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
	__u32 v4 = bpf_ntohl(b->dst[3]);

	if (!b->is_v6)
		return v4 >> 24 && v4 >> 24 != 127 && v4 >> 28 < 14;
	return *(const __u8 *)b->dst != 0xff && b->dst[0] | b->dst[1] | b->dst[2];
}

/* False: nobody is to be told (RFC 1122 3.2.2, RFC 4443 2.4), or need be: who set no "don't
 * fragment" does not look for the path's MTU. */
static __always_inline bool big_read(struct __sk_buff *skb, const struct pkt *p, struct big *b)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct iphdr *ip = p->l3;
	const struct ipv6hdr *ip6 = p->l3;
	__u32 len;
	__u8 type = 0;

	if (!(p->flags & PKT_L4) || p->flags & PKT_SHORT || data + 1 > end || *(__u8 *)data & 1)
		return false;
	b->is_v6 = p->flags & PKT_V6;
	b->proto = p->proto;
	b->l2 = (__u32)(p->l3 - data);
	b->l4 = (__u32)(p->l4 - data);
	pkt_addrs(p, b->dst, b->src);
	if (!b->is_v6 && !(ip->frag_off & bpf_htons(0x4000)))
		return false;
	len = b->is_v6 ? bpf_ntohs(ip6->payload_len) + sizeof(*ip6) : bpf_ntohs(ip->tot_len);
	if (b->l2 < sizeof(struct ethhdr) || b->l2 > L2_MAX || len > skb->len - b->l2 || !is_host(b))
		return false;
	b->quote = len < ICMP_QUOTE ? len & ~3U : ICMP_QUOTE;
	if (p->proto != IPPROTO_ICMP && p->proto != IPPROTO_ICMPV6)
		return true;
	if (bpf_skb_load_bytes(skb, b->l4, &type, 1))
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
			.tot_len = bpf_htons(sizeof(h) + b->quote), .saddr = b->src[3], .daddr = b->dst[3] },
		.icmp = { .type = ICMP_DEST_UNREACH, .code = ICMP_FRAG_NEEDED, .rest = bpf_htonl(b->mtu) },
	};
	const __u32 *w = (const __u32 *)&h;

	h.ip.check = ~sum_fold((__u64)w[0] + w[1] + w[2] + w[3] + w[4]);
	bpf_skb_store_bytes(skb, b->l2, &h, sizeof(h), 0);
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

	__builtin_memcpy(&h.ip.saddr, b->src, 16);
	__builtin_memcpy(&h.ip.daddr, b->dst, 16);
	for (int i = 0; i < 4; i++)
		sum += (__u64)b->src[i] + b->dst[i];
	bpf_skb_store_bytes(skb, b->l2, &h, sizeof(h), 0);
	return sum;
}

/* In place of the frame. */
static __always_inline bool big_answer(struct __sk_buff *skb, struct big *b)
{
	__u32 room = b->is_v6 ? sizeof(struct big6) : sizeof(struct big4), check;
	__u32 len = ((b->l2 - 1) & 31) + 1; /* what it is, where old verifiers see it */
	__u8 l2[32] = { 0 }, mac[6];
	__s64 quoted, partial;
	__u64 sum;

	if (bpf_skb_change_tail(skb, b->l2 + b->quote, 0))
		return false;
	quoted = sum_skb(skb, b->l2, b->quote);
	if (quoted < 0 || bpf_skb_load_bytes(skb, 0, l2, len) || bpf_skb_change_head(skb, room, 0))
		return false;
	__builtin_memcpy(mac, l2, 6);
	__builtin_memcpy(l2, l2 + 6, 6);
	__builtin_memcpy(l2 + 6, mac, 6);
	bpf_skb_store_bytes(skb, 0, l2, L2_MAX, 0);
	sum = b->is_v6 ? big6_write(skb, b) : big4_write(skb, b);
	check = b->l2 + room - sizeof(struct icmp) + offsetof(struct icmp, check);
	if (check_write(skb, check, sum + (__u64)quoted))
		return true;
	partial = sum_partial(skb, b->l2 + room, b->l4 + room, b->proto);
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
	struct pkt p;

	pkt_parse_skb(skb, &p);
	l2 = sizeof(struct ethhdr) + 4 * p.vlans;
	mtu = tx->frame > l2 ? tx->frame - l2 : 0;
	b.mtu = tx->mtu < mtu ? tx->mtu : mtu;
	if (len <= l2 + b.mtu)
		return BIG_FITS;
	return big_read(skb, &p, &b) && big_answer(skb, &b) ? BIG_TOLD : BIG_DROP;
}

#endif
