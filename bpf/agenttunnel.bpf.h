/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTTUNNEL_BPF_H
#define L3AF_AGENTTUNNEL_BPF_H

/* The outer headers: what is a tunnel of ours, and its congestion marks. */
#include "agentmaps.bpf.h"

/*
 * What is in a tunnel. Offsets from the start of the frame.
 */
struct tunnel {
	struct agent_vip_key key;
	__u32 l2;           /* length of Ethernet header and tags */
	__u32 strip;        /* of the outer headers behind it */
	__u32 inner_len;    /* of the inner packet, as its header says */
	__u8 is_v6, is_inner_v6;
	__u8 has_gue;       /* variant 0 */
	__u8 words;         /* of private data in it */
	struct agent_vip *vip;
};

/* v, but the verifier does not know its value: what comes after is followed once, not once
 * for each value there may be. noise: any number it does not know. */
static __always_inline __u32 blur(__u32 v, __u32 noise)
{
	v ^= noise;
	barrier_var(v);
	return v ^ noise;
}

enum { NOT_OURS = -1, TAKE = AGENT_COUNTS }; /* or what to count */

/* No offset of an inner header is more: two tags, IPv6, UDP and 31 words of GUE are. */
#define OFFSET_MAX 255
static __always_inline void *at(void *data, __u32 offset)
{
	barrier_var(offset);
	return data + (offset & OFFSET_MAX);
}

/* Behind UDP; how many bytes of GUE, or -1. */
static __always_inline int gue_parse(struct gue *gue, void *end, struct tunnel *t)
{
	if ((void *)(gue + 1) > end)
		return -1;
	t->is_inner_v6 = gue->first >> 4 == 6;
	if (gue->first >> 4 == 4 || t->is_inner_v6)
		return 0;
	if (gue->first & ~GUE_WORDS || gue->flags || (gue->proto != IPPROTO_IPIP && gue->proto != IPPROTO_IPV6))
		return -1;
	t->is_inner_v6 = gue->proto == IPPROTO_IPV6;
	t->words = gue->first & GUE_WORDS;
	t->has_gue = true;
	return sizeof(*gue) + 4 * t->words;
}

/* The inner header: its destination and length. */
static __always_inline bool inner_parse(void *inner, void *end, struct tunnel *t)
{
	__u32 *addr = t->key.addr;

	if (t->is_inner_v6) {
		struct ipv6hdr *ip = inner;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return false;
		t->inner_len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		__builtin_memcpy(addr, &ip->daddr, 16);
	} else {
		struct iphdr *ip = inner;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return false;
		t->inner_len = bpf_ntohs(ip->tot_len);
		addr[0] = addr[1] = 0;
		addr[2] = bpf_htonl(0xffff);
		addr[3] = ip->daddr;
		return t->inner_len >= ip->ihl * 4;
	}
	return true;
}

static __always_inline bool is_allowed(const struct pkt *p)
{
	struct agent_source key = { .len = 8 * (sizeof(key) - sizeof(key.len)), .place = here.place };
	__u32 dst[4];

	pkt_addrs(p, key.addr, dst);
	return bpf_map_lookup_elem(&sources, &key);
}

/* size: of the frame, not all of which may be between data and end. */
static __always_inline int tunnel_parse(void *data, void *end, __u32 size, const struct pkt *p,
					const struct agent_place *place, struct tunnel *t)
{
	struct udphdr *udp = p->l4;
	__u32 ip_len, len, total;
	int gue;

	if (!(p->flags & PKT_L4) || p->proto != IPPROTO_UDP || (void *)(udp + 1) > end || udp->dest != place->port)
		return NOT_OURS;
	t->is_v6 = !(p->flags & PKT_V4);
	t->l2 = sizeof(struct ethhdr) + (p->l3 - data - sizeof(struct ethhdr));
	ip_len = t->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	if (p->flags & PKT_FRAGMENT || p->l3 + ip_len != (void *)udp)
		return AGENT_OUTER;
	gue = gue_parse((void *)(udp + 1), end, t);
	if (gue < 0)
		return AGENT_UNKNOWN;
	len = bpf_ntohs(udp->len);
	total = t->is_v6 ? bpf_ntohs(((struct ipv6hdr *)p->l3)->payload_len) + ip_len :
			   bpf_ntohs(((struct iphdr *)p->l3)->tot_len);
	t->strip = ip_len + sizeof(*udp) + gue;
	if (!inner_parse(at(data, t->l2 + t->strip), end, t) || t->inner_len + sizeof(*udp) + gue > len ||
	    ip_len + len > total || t->l2 + ip_len + len > size)
		return AGENT_BAD_LENGTH;
	t->key.place = here.place;
	t->vip = bpf_map_lookup_elem(&vips, &t->key);
	if (!t->vip)
		return AGENT_NO_VIP;
	if (place->is_strict && !is_allowed(p))
		return AGENT_NOT_ALLOWED;
	t->l2 = blur(t->l2, place->ifindex);
	t->strip = blur(t->strip, place->ifindex);
	t->is_v6 = (__u8)blur(t->is_v6, place->ifindex);
	t->is_inner_v6 = (__u8)blur(t->is_inner_v6, place->ifindex);
	t->has_gue = (__u8)blur(t->has_gue, place->ifindex);
	return TAKE;
}

/*
 * ECN (RFC 6040, section 4.2): what the outer header says becomes part of the inner one.
 */
enum { ECN_NONE, ECT_1, ECT_0, ECN_CE };

/* The first two bytes of an IP header, host byte order. */
static __always_inline __u32 ecn_of(__u32 word, bool is_v6)
{
	return is_v6 ? word >> 4 & 3 : word & 3;
}

/* The inner one's afterwards, -1: the packet must be dropped. */
static __always_inline int ecn_join(__u32 outer, __u32 inner)
{
	if (outer == ECN_CE)
		return inner == ECN_NONE ? -1 : ECN_CE;
	return outer == ECT_1 && inner == ECT_0 ? ECT_1 : (int)inner;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1624: a checksum after words were replaced; diff: the sum of new - old ones. */
static __always_inline void csum_add(__be16 *check, __u32 diff)
{
	*check = (__be16)~fold((__u16)~*check + diff);
}

/* The first word of the inner header as it has to be; false: drop the packet. */
static __always_inline bool ecn_plan(const void *outer, const void *end, __be16 old, const struct tunnel *t,
				     __be16 *new)
{
	__u32 word = bpf_ntohs(old), is = ecn_of(word, t->is_inner_v6);
	int ecn;

	if (outer + sizeof(word) > end)
		return false;
	ecn = ecn_join(ecn_of(bpf_ntohs(*(__be16 *)outer), t->is_v6), is);
	*new = bpf_htons(word + (((__u32)ecn - is) << (t->is_inner_v6 ? 4 : 0)));
	return ecn >= 0;
}

#endif
