/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORHEAD_BPF_H
#define L3AF_MIRRORHEAD_BPF_H

/* The outer header. Sums are ones' complement sums of 16-bit words as they are in memory. */
#include "mirrormaps.bpf.h"

#define HEAD_SIZE 128 /* more than any, and a power of two */
#define HEAD_MAX (ETH_HLEN + 40 + 8 + 8 + ETH_HLEN + 12)
#define HEAD_SUM 44 /* UDP, VXLAN, Ethernet with three tags; to a multiple of 4 */
#define TTL 64

struct tags {
	__u32 n;
	__u32 tag[3];      /* type and TCI as in a frame */
};

struct head {
	__u32 room;        /* octets in front of the IP packet, behind the Ethernet header */
	__u32 mtu;
	struct tags tags;
	__be16 type;       /* EtherType behind them */
	__u8 tos;
	__u32 ip_len;      /* what the IP header says; 0: nothing */
	bool is_v6, is_vxlan, is_bare /* GUE without a header */, has_hop;
};

struct vxlan {
	__be32 flags, vni;
};

/* Octets up to the IP packet that is mirrored. */
static __always_inline __u32 head_len(const struct head *h)
{
	return ETH_HLEN + (h->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr) +
	       (h->is_vxlan ? sizeof(struct vxlan) + ETH_HLEN + (h->tags.n & 3) * 4 : h->is_bare ? 0 : sizeof(struct gue));
}

/* Where the inner Ethernet header is in the outer one. */
static __always_inline __u32 inner_eth(const struct head *h)
{
	return ETH_HLEN + (h->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr) +
	       sizeof(struct vxlan);
}

/* The inner Ethernet header, with its tags. */
static __always_inline void eth_write(__u8 *to, const struct ethhdr *eth, const struct head *h)
{
	const __u16 *from = (const void *)eth;

	for (int i = 0; i < ETH_ALEN; i++)
		((__u16 *)to)[i] = from[i];
	for (__u32 i = 0; i < 3 && i < h->tags.n; i++)
		*(__u32 *)(to + 2 * ETH_ALEN + i * 4) = h->tags.tag[i];
	*(__be16 *)(to + 2 * ETH_ALEN + (h->tags.n & 3) * 4) = h->type;
}

/* What the frame begins with, before anything is changed. Tags are out of it. */
static __always_inline bool inner_read(struct __sk_buff *skb, struct mirror_way *w, struct head *h)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ethhdr *eth = data;
	const __be16 *word = data + ETH_HLEN;

	if ((void *)(eth + 1) > end)
		return false;
	h->type = eth->h_proto;
	if (h->is_vxlan)
		eth_write(w->head + inner_eth(h), eth, h);
	if ((void *)(word + 3) > end)
		return true;
	if (h->type == bpf_htons(ETH_P_IP)) {
		h->tos = bpf_ntohs(word[0]);
		h->ip_len = bpf_ntohs(word[1]);
	} else if (h->type == bpf_htons(ETH_P_IPV6)) {
		h->tos = bpf_ntohs(word[0]) >> 4;
		h->ip_len = word[2] ? sizeof(struct ipv6hdr) + bpf_ntohs(word[2]) : 0;
	}
	return true;
}

static __always_inline void tunnel_write(void *to, const struct mirror_target *t, const struct head *h)
{
	struct vxlan *vxlan = to;
	struct gue *gue = to;

	if (h->is_vxlan) {
		vxlan->flags = bpf_htonl(0x08000000); /* RFC 7348: the VNI is valid */
		vxlan->vni = bpf_htonl(t->vni << 8);
	} else if (!h->is_bare) {
		*gue = (struct gue){ .proto = h->type == bpf_htons(ETH_P_IP) ? IPPROTO_IPIP : IPPROTO_IPV6 };
	}
}

static __always_inline void udp_write(struct udphdr *udp, const struct mirror_target *t, __u32 hash, __u32 len)
{
	udp->source = bpf_htons(0xc000 | (hash & 0x3fff)); /* entropy: RFC 7348 section 5 */
	udp->dest = bpf_htons(t->port);
	udp->len = bpf_htons(len);
	udp->check = 0;
}

static __always_inline void ip4_write(void *to, const struct mirror_target *t, const struct head *h, __u32 len)
{
	struct iphdr *ip = to;
	__u32 *word = to;
	__u64 sum = 0;

	word[0] = bpf_htonl(0x45000000 | (__u32)h->tos << 16 | (len & 0xffff));
	word[1] = bpf_htonl(0x4000); /* never in fragments, so that it needs no ID: RFC 6864 */
	word[2] = bpf_htonl(TTL << 24 | IPPROTO_UDP << 16);
	ip->saddr = t->source[3];
	ip->daddr = t->to[3];
#pragma unroll
	for (int i = 0; i < 5; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~(sum + (sum >> 16));
}

static __always_inline void ip6_write(void *to, const struct mirror_target *t, const struct head *h, __u32 len, __u32 hash)
{
	struct ipv6hdr *ip = to;

	((__u32 *)ip)[0] = bpf_htonl(0x60000000 | (__u32)h->tos << 20 | hash >> 12);
	ip->payload_len = bpf_htons(len - sizeof(*ip));
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = TTL;
	__builtin_memcpy(&ip->saddr, t->source, 16);
	__builtin_memcpy(&ip->daddr, t->to, 16);
}

/* Zeroes behind it, for its sum. */
static __always_inline void head_end(struct mirror_way *w, const struct head *h)
{
	__u32 at = head_len(h) & (HEAD_SIZE - 1);

	for (int i = 0; i < HEAD_SUM / 2; i++)
		*(__u16 *)(w->head + at + i * 2) = 0;
}

/* Into way: that the frame begins with. The frame has its room already. */
static __always_inline void head_write(struct __sk_buff *skb, struct mirror_way *w, const struct mirror_target *t,
				       const struct head *h)
{
	__u32 len = skb->len - ETH_HLEN, hash = w->job.hash;
	struct ethhdr *eth = (void *)w->head;

	if (!h->has_hop)
		__builtin_memset(eth, 0, 2 * ETH_ALEN);
	if (t->has_checksum)
		head_end(w, h);
	if (h->is_v6) {
		struct udphdr *udp = (void *)(eth + 1) + sizeof(struct ipv6hdr);

		eth->h_proto = bpf_htons(ETH_P_IPV6);
		ip6_write(eth + 1, t, h, len, hash);
		udp_write(udp, t, hash, len - sizeof(struct ipv6hdr));
		tunnel_write(udp + 1, t, h);
	} else {
		struct udphdr *udp = (void *)(eth + 1) + sizeof(struct iphdr);

		eth->h_proto = bpf_htons(ETH_P_IP);
		ip4_write(eth + 1, t, h, len);
		udp_write(udp, t, hash, len - sizeof(struct iphdr));
		tunnel_write(udp + 1, t, h);
	}
}

#endif
