/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORGUARD_BPF_H
#define L3AF_MIRRORGUARD_BPF_H

/* What is never mirrored, for it would come back (bpf/mirror.h). Tests leave one out at a time,
 * to see that it does. */
#include <linux/udp.h>
#include "mirrormaps.bpf.h"
#include "mirrorseen.bpf.h"

#ifdef MIRROR_WITHOUT_GUARD
#define GUARD(n) ((n) != MIRROR_WITHOUT_GUARD)
#else
#define GUARD(n) 1
#endif

/* The first one, before anything is looked at. cb alone would not do: it is what the kernel's last
 * user of it left there, an IP option's address for one. */
static __always_inline bool is_mirrored(struct __sk_buff *skb)
{
	return GUARD(1) && skb->tc_index == MIRROR_INDEX;
}

/* Is one of these addresses, in host byte order, a collector's? Also of a target's copy that is
 * not in use: what was sent there is perhaps on its way. One never written is all zeroes. */
static __always_inline bool is_collector(const struct mirror_config *c, const __u64 a[2], const __u64 b[2])
{
	__u32 there = c->targets;

#pragma nounroll
	for (int i = 0; i < MIRROR_TARGETS && there; i++, there &= there - 1) {
		__u32 target = match_lowest16(there);

#pragma unroll
		for (int copy = 0; copy < 2; copy++) {
			const struct mirror_target *t = target_get(target + copy * MIRROR_TARGETS);
			__u64 to[2];

			if (!t)
				continue;
			to[0] = bpf_be64_to_cpu(*(const __u64 *)t->to);
			to[1] = bpf_be64_to_cpu(*(const __u64 *)(t->to + 2));
			if ((to[0] | to[1]) && ((to[0] == a[0] && to[1] == a[1]) || (to[0] == b[0] && to[1] == b[1])))
				return true;
		}
	}
	return false;
}

static __always_inline bool is_icmp_error(const struct seen *s, __u8 type)
{
	return s->key.has & MATCH_V4 ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
}

/* A router on the way that cannot deliver a mirrored packet says so with the packet in its
 * answer: that grows with each turn, too. */
static __always_inline bool is_about_collector(struct __sk_buff *skb, const struct seen *s, const struct mirror_config *c)
{
	bool is_v4 = s->key.has & MATCH_V4;
	__u64 addr[2] = { 0 };
	__u32 dst = 0;
	__u8 type;

	if (!(s->flags & PKT_L4) || s->key.proto != (is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) ||
	    bpf_skb_load_bytes(skb, s->l4, &type, 1) || !is_icmp_error(s, type))
		return false;
	if (is_v4) {
		if (bpf_skb_load_bytes(skb, s->l4 + 8 + offsetof(struct iphdr, daddr), &dst, 4))
			return false;
		addr[1] = 0xffff00000000 | bpf_ntohl(dst);
	} else {
		if (bpf_skb_load_bytes(skb, s->l4 + 8 + offsetof(struct ipv6hdr, daddr), addr, 16))
			return false;
		addr[0] = bpf_be64_to_cpu(addr[0]);
		addr[1] = bpf_be64_to_cpu(addr[1]);
	}
	return is_collector(c, addr, addr);
}

/* The second one. */
static __always_inline bool is_collectors(struct __sk_buff *skb, const struct seen *s, const struct mirror_config *c)
{
	if (!(s->key.has & (MATCH_V4 | MATCH_V6)))
		return false;
	return is_collector(c, s->key.src, s->key.dst) || is_about_collector(skb, s, c);
}

static __always_inline bool is_tunnel(const struct mirror_config *c, __u32 port)
{
	__u32 there = c->targets;

	if (port == MIRROR_GUE_PORT || port == MIRROR_VXLAN_PORT)
		return true;
#pragma nounroll
	for (int i = 0; i < MIRROR_TARGETS && there; i++, there &= there - 1) {
		__u32 target = match_lowest16(there);
		const struct mirror_target *t = target_get(target), *u = target_get(target + MIRROR_TARGETS);

		if (t && u && (t->port == port || u->port == port))
			return true;
	}
	return false;
}

/* Where the IP packet in a tunnel is that is not looked at closer: of GUE's variants and VXLAN
 * the payload's first octet tells which; 0: none. */
static __always_inline __u32 inner_at(struct __sk_buff *skb, __u32 at, __u16 *type)
{
	__u8 head[4];
	__be16 eth;

	if (bpf_skb_load_bytes(skb, at, head, 4))
		return 0;
	if (head[0] >> 4 == 4 || head[0] >> 4 == 6) {
		*type = head[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6;
		return at;
	}
	if (head[0] < 0x20 && !head[2] && !head[3] && (head[1] == IPPROTO_IPIP || head[1] == IPPROTO_IPV6)) {
		*type = head[1] == IPPROTO_IPIP ? ETH_P_IP : ETH_P_IPV6;
		return at + 4 + head[0] * 4;
	}
	if (head[0] != 8)
		return 0;
	at += 8 + 2 * ETH_ALEN;
	for (int i = 0; i < 3; i++, at += 4) {
		if (bpf_skb_load_bytes(skb, at, &eth, 2))
			return 0;
		if (!pkt_is_vlan(eth))
			break;
	}
	*type = bpf_ntohs(eth);
	return *type == ETH_P_IP || *type == ETH_P_IPV6 ? at + 2 : 0;
}

/* The transport header of the IP packet at this place, if it is UDP's; 0: it is not, or it is out of reach. */
static __always_inline __u32 inner_udp4(struct __sk_buff *skb, __u32 at)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    ip.protocol != IPPROTO_UDP || ip.frag_off & bpf_htons(0x1fff))
		return 0;
	return at + ip.ihl * 4;
}

static __always_inline __u32 inner_udp6(struct __sk_buff *skb, __u32 at)
{
	struct pkt_ext ext;
	__u8 proto;

	if (bpf_skb_load_bytes(skb, at + offsetof(struct ipv6hdr, nexthdr), &proto, 1))
		return 0;
	at += sizeof(struct ipv6hdr);
#pragma nounroll
	for (int i = 0; i < PKT_EXT_HEADERS && pkt_is_ext(proto); i++) {
		if (bpf_skb_load_bytes(skb, at, &ext, sizeof(ext)) ||
		    (proto == IPPROTO_FRAGMENT && ext.frag & bpf_htons(0xfff8)))
			return 0;
		at += pkt_ext_len(proto, &ext);
		proto = ext.next;
	}
	return proto == IPPROTO_UDP ? at : 0;
}

/* A tunnel in a tunnel. Its headers are read where they are: to move them into the linear part would
 * break packets that GRO has put together of whole ones (SKB_GSO_FRAGLIST). */
__noinline int is_nested(struct __sk_buff *skb, __u32 at)
{
	struct mirror_config *c;
	__u32 zero = 0, inner, udp;
	__u16 type = 0;
	__be16 port;

	c = bpf_map_lookup_elem(&config, &zero);
	inner = inner_at(skb, at, &type);
	if (!c || !inner)
		return false;
	udp = type == ETH_P_IP ? inner_udp4(skb, inner) : inner_udp6(skb, inner);
	return udp && !bpf_skb_load_bytes(skb, udp + offsetof(struct udphdr, dest), &port, sizeof(port)) &&
	       is_tunnel(c, bpf_ntohs(port));
}

/* The third one. */
static __always_inline bool is_tunnels(struct __sk_buff *skb, const struct seen *s, const struct mirror_config *c)
{
	return s->key.proto == IPPROTO_UDP && s->key.has & MATCH_PORTS && is_tunnel(c, s->key.dport) &&
	       is_nested(skb, s->l4 + 8);
}

static __always_inline bool is_looping(struct __sk_buff *skb, const struct seen *s, const struct mirror_config *c)
{
	return (GUARD(2) && is_collectors(skb, s, c)) || (GUARD(3) && is_tunnels(skb, s, c));
}

#endif
