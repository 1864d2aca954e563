/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_PKT_H
#define L3AF_PKT_H

/*
 * The one packet parser, for XDP and TC: Ethernet, up to two VLAN tags, IPv4 with
 * options, IPv6 with extension headers. It reads no byte of the transport header:
 * whoever wants one checks its length against the end of the packet, which is also
 * what tells a truncated packet. Everything is inlined, what a caller does not look
 * at is not computed.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PKT_VLANS 2
#define PKT_EXT_HEADERS 8

enum {
	PKT_V4 = 1,
	PKT_V6 = 2,
	PKT_L4 = 4,       /* l4 is where a header of protocol proto starts, or should */
	PKT_FRAGMENT = 8, /* a fragment; without PKT_L4 one that is not the first */
	PKT_DEEP = 16,    /* more extension headers than PKT_EXT_HEADERS: no PKT_L4 */
	PKT_SHORT = 32,   /* the bytes end before these headers do */
	PKT_ODD = 64,     /* has what pkt_parse_plain leaves alone */
};

struct pkt {
	void *l3;         /* valid with PKT_V4 (20 bytes are there) or PKT_V6 (40) */
	void *l4;         /* valid with PKT_L4, and where a later fragment's data is; not yet compared
			   * with the end */
	__be32 frag_id;   /* valid with PKT_FRAGMENT */
	__u16 type;       /* EtherType behind the tags, host byte order */
	__u16 vlan[PKT_VLANS]; /* tags as they stand, outer first, host byte order */
	__u8 vlans;
	__u8 proto;       /* the last one known; with PKT_L4 that of l4 */
	__u8 flags;       /* PKT_* */
};

struct pkt_vlan {
	__be16 tci;
	__be16 type;
};

/* What all of the extension headers have in common, and the fragment header's offset. */
struct pkt_ext {
	__u8 next;
	__u8 len;         /* in 8 bytes, without the first 8 */
	__be16 frag;      /* IPPROTO_FRAGMENT only: offset * 8, and two reserved bits, and "more" */
	__be32 rest;
};

static __always_inline bool pkt_is_vlan(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

static __always_inline void pkt_parse4(struct pkt *p, void *end)
{
	struct iphdr *ip = p->l3;

	if ((void *)(ip + 1) > end) {
		p->flags = PKT_SHORT;
		return;
	}
	if (ip->version != 4 || ip->ihl < 5)
		return;
	p->flags = PKT_V4;
	p->frag_id = ip->id;
	p->proto = ip->protocol;
	p->l4 = p->l3 + ip->ihl * 4;
	if (ip->frag_off & bpf_htons(0x3fff))
		p->flags |= PKT_FRAGMENT;
	if (!(ip->frag_off & bpf_htons(0x1fff)))
		p->flags |= PKT_L4;
}

/* One test for all: with one each, the verifier would follow every sequence of them. */
static __always_inline bool pkt_is_ext(__u8 proto)
{
	return proto < 64 && (1ULL << IPPROTO_HOPOPTS | 1ULL << IPPROTO_ROUTING | 1ULL << IPPROTO_FRAGMENT |
			      1ULL << IPPROTO_DSTOPTS) >> proto & 1;
}

/* The fragment header has no length but a reserved byte; no branch here either. */
static __always_inline __u32 pkt_ext_len(__u8 proto, const struct pkt_ext *ext)
{
	__u32 other = proto ^ IPPROTO_FRAGMENT;

	return ((ext->len & (__u32)((__s32)-other >> 31)) + 1) * 8;
}

static __always_inline void pkt_walk6(struct pkt *p, void *end)
{
	__u32 off = sizeof(struct ipv6hdr);

	for (int i = 0; i < PKT_EXT_HEADERS; i++) {
		struct pkt_ext *ext = p->l3 + off;

		if ((void *)(ext + 1) > end) {
			p->flags |= PKT_SHORT;
			return;
		}
		off += pkt_ext_len(p->proto, ext);
		barrier_var(off);
		if (p->proto == IPPROTO_FRAGMENT) {
			p->flags |= PKT_FRAGMENT;
			p->frag_id = ext->rest;
			if (ext->frag & bpf_htons(0xfff8)) {
				p->proto = ext->next;
				p->l4 = p->l3 + off;
				return;
			}
		}
		p->proto = ext->next;
		if (!pkt_is_ext(p->proto)) {
			p->l4 = p->l3 + off;
			p->flags |= PKT_L4;
			return;
		}
	}
	p->flags |= PKT_DEEP;
}

static __always_inline void pkt_parse6(struct pkt *p, void *end, bool is_plain)
{
	struct ipv6hdr *ip = p->l3;

	if ((void *)(ip + 1) > end) {
		p->flags = PKT_SHORT;
		return;
	}
	if (ip->version != 6)
		return;
	p->flags = PKT_V6;
	p->proto = ip->nexthdr;
	if (__builtin_expect(pkt_is_ext(p->proto), 0)) {
		if (is_plain)
			p->flags = PKT_ODD;
		else
			pkt_walk6(p, end);
		return;
	}
	p->l4 = ip + 1;
	p->flags |= PKT_L4;
}

/* The tag that the caller has taken out of its metadata, if is_tagged, is the outer one.
 * is_plain: no other tag, no extension header. */
static __always_inline void pkt_parse_from(void *data, void *end, struct pkt *p, bool is_tagged, __u16 outer,
					   bool is_plain)
{
	struct ethhdr *eth = data;
	__be16 type;

	*p = (struct pkt){ .l3 = data };
	if ((void *)(eth + 1) > end) {
		p->flags = PKT_SHORT;
		return;
	}
	type = eth->h_proto;
	p->l3 = eth + 1;
	if (is_tagged) {
		p->vlan[0] = outer;
		p->vlans = 1;
	}
#pragma unroll
	for (int i = 0; i < PKT_VLANS; i++) {
		struct pkt_vlan *tag = p->l3;

		if (__builtin_expect(!pkt_is_vlan(type), 1) || (is_tagged && i == PKT_VLANS - 1))
			break;
		if (is_plain) {
			p->flags = PKT_ODD;
			return;
		}
		if ((void *)(tag + 1) > end) {
			p->flags = PKT_SHORT;
			return;
		}
		/* constant indices: the compiler makes bit operations on stack addresses of others */
		if (i || is_tagged)
			p->vlan[1] = bpf_ntohs(tag->tci);
		else
			p->vlan[0] = bpf_ntohs(tag->tci);
		p->vlans++;
		type = tag->type;
		p->l3 = tag + 1;
	}
	p->type = bpf_ntohs(type);
	if (type == bpf_htons(ETH_P_IP))
		pkt_parse4(p, end);
	else if (type == bpf_htons(ETH_P_IPV6))
		pkt_parse6(p, end, is_plain);
}

static __always_inline void pkt_parse(void *data, void *end, struct pkt *p)
{
	pkt_parse_from(data, end, p, false, 0, false);
}

/* TC, where the outer tag is mostly in the metadata, and headers may lie behind the linear
 * part. The bytes have to be there for 8 of the transport header, 20 of TCP's. */
static __always_inline void pkt_parse_once(struct __sk_buff *skb, struct pkt *p, bool is_plain)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	pkt_parse_from(data, end, p, skb->vlan_present, skb->vlan_tci, is_plain);
	if (p->flags & PKT_L4 && p->l4 + (p->proto == IPPROTO_TCP ? 20 : 8) > end)
		p->flags |= PKT_SHORT;
}

/* What most packets are: no tags in the data, no extension headers, all of them linear.
 * PKT_ODD: it is another one. */
static __always_inline void pkt_parse_plain(struct __sk_buff *skb, struct pkt *p)
{
	pkt_parse_once(skb, p, true);
	if (p->flags & PKT_SHORT)
		p->flags |= PKT_ODD;
}

/* Every packet; moves headers into the linear part, as far as PKT_PULL. */
#define PKT_PULL 512U
static __always_inline void pkt_parse_skb(struct __sk_buff *skb, struct pkt *p)
{
	pkt_parse_once(skb, p, false);
	if (!(p->flags & PKT_SHORT) || skb->len <= skb->data_end - skb->data)
		return;
	bpf_skb_pull_data(skb, skb->len < PKT_PULL ? skb->len : PKT_PULL);
	pkt_parse_once(skb, p, false);
}

/* Source and destination address, 16 bytes each, IPv4 as ::ffff:a.b.c.d. */
static __always_inline void pkt_addrs(const struct pkt *p, __u32 src[4], __u32 dst[4])
{
	if (p->flags & PKT_V4) {
		const struct iphdr *ip = p->l3;

		src[0] = src[1] = dst[0] = dst[1] = 0;
		src[2] = dst[2] = bpf_htonl(0xffff);
		src[3] = ip->saddr;
		dst[3] = ip->daddr;
	} else {
		const struct ipv6hdr *ip = p->l3;

		__builtin_memcpy(src, &ip->saddr, 16);
		__builtin_memcpy(dst, &ip->daddr, 16);
	}
}

#endif
