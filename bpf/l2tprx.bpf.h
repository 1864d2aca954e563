/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPRX_BPF_H
#define L3AF_L2TPRX_BPF_H

/* Packets out of their session. */
#include <linux/udp.h>
#include "l2tpframe.bpf.h"
#include "l2tphop.bpf.h"
#include "l2tpmss.bpf.h"
#include "l2tpseq.bpf.h"

#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* Linux 6.3 */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

#define L2TP_T 0x80000000U
#define L2TP_VERSION_MASK 0x000f0000U
#define L2TP_VERSION_3 0x00030000U

#define UDP_HEADERS (sizeof(struct udphdr) + 4)
#define RX_LEAST (4 + sizeof(struct ethhdr))
#define PAD 60U             /* the shortest frame that Ethernet knows, without checksum */

static __always_inline bool is_candidate(const struct pkt *p)
{
	return p->flags & (PKT_V4 | PKT_V6) && !p->vlans && (p->proto == IPPROTO_UDP || p->proto == PROTO_L2TP);
}

static __always_inline bool is_linear(const struct __sk_buff *skb)
{
	return skb->len <= skb->data_end - skb->data || skb->data_end - skb->data >= HEADERS;
}

/* With extension headers, or not all in the linear part. */
static __always_inline void outer_odd(struct __sk_buff *skb, struct frame *o)
{
	if (!is_linear(skb))
		bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
	frame_read(skb, o);
}

/* v, but the verifier does not know its value. noise: any number it does not know. */
static __always_inline __u32 blur(__u32 v, __u32 noise)
{
	v ^= noise;
	barrier_var(v);
	return v ^ noise;
}

static __always_inline void outer_read(struct __sk_buff *skb, struct frame *o)
{
	struct pkt p;

	pkt_parse_plain(skb, &p);
	if (p.flags & PKT_ODD || (is_candidate(&p) && !is_linear(skb)))
		outer_odd(skb, o);
	else
		frame_fill(skb, &p, o);
}

/* Not in a session. Counted, if it is for an address that has some. */
static __always_inline int rx_leave(const __u32 dst[4], __be16 port, enum l2tp_place_count what)
{
	struct l2tp_endpoint key = { .place = here.place, .port = bpf_ntohs(port) };

	__builtin_memcpy(key.local, dst, sizeof(key.local));
	if (bpf_map_lookup_elem(&endpoints, &key))
		count_here(what);
	return -1;
}

static __always_inline bool is_same(const __u32 a[4], const __u32 b[4])
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline bool rx_has_cookie(const struct l2tp_rx *rx, const __u32 w[2])
{
	return !(((w[0] ^ rx->cookie[0][0]) & rx->cookie_mask[0]) | ((w[1] ^ rx->cookie[0][1]) & rx->cookie_mask[1])) ||
	       !(((w[0] ^ rx->cookie[1][0]) & rx->cookie_mask[0]) | ((w[1] ^ rx->cookie[1][1]) & rx->cookie_mask[1]));
}

/* The frame's tags are those of the session. */
static __always_inline bool rx_has_tags(const struct l2tp_rx *rx, const void *inner, const void *end)
{
	const struct ethhdr *eth = inner;
	const struct pkt_vlan *tag = (const void *)(eth + 1);

	if (rx->session.vlan[0] == L2TP_NO_VLAN)
		return true;
	if ((void *)(tag + 1) > end || !pkt_is_vlan(eth->h_proto) || (bpf_ntohs(tag->tci) & 0xfff) != rx->session.vlan[0])
		return false;
	if (rx->session.vlan[1] == L2TP_NO_VLAN)
		return true;
	return (void *)(tag + 2) <= end && pkt_is_vlan(tag->type) &&
	       (bpf_ntohs(tag[1].tci) & 0xfff) == rx->session.vlan[1];
}

/* GRO may have put several packets into one: then it is not that of one frame. inner: of so
 * many octets, as IP says. */
static __always_inline bool is_one(const void *inner, const void *end, __u32 len)
{
	const struct ethhdr *eth = inner;
	const struct ipv6hdr *ip6 = (const void *)(eth + 1);
	const struct iphdr *ip = (const void *)(eth + 1);

	if ((void *)(ip6 + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return sizeof(*eth) + bpf_ntohs(ip->tot_len) == len;
	return eth->h_proto == bpf_htons(ETH_P_IPV6) && sizeof(*eth) + sizeof(*ip6) + bpf_ntohs(ip6->payload_len) == len;
}

/* The first n octets out of the packet; eth: of the frame behind them, which is of len octets,
 * and stays in front. The kernel wants an IP header's length behind it. */
static __always_inline bool strip(struct __sk_buff *skb, __u32 n, __u32 len, const struct ethhdr *eth, bool is_v6)
{
	__u32 least = is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO, family = 0;
	struct ethhdr *to;
	long err;

	if (len < sizeof(*eth) + least && bpf_skb_change_tail(skb, n + PAD, 0))
		return false;
	if (is_v6 && eth->h_proto == bpf_htons(ETH_P_IP))
		family = BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	else if (!is_v6 && eth->h_proto == bpf_htons(ETH_P_IPV6))
		family = BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
	err = bpf_skb_adjust_room(skb, -(__s32)n, BPF_ADJ_ROOM_MAC, flags | family);
	if (err && family)
		err = bpf_skb_adjust_room(skb, -(__s32)n, BPF_ADJ_ROOM_MAC, flags);
	to = (void *)(long)skb->data;
	if (err || (void *)(to + 1) > (void *)(long)skb->data_end)
		return false;
	*to = *eth;
	return true;
}

/* Its packet is in a session. at: where the session ID is; rest: octets from there on. */
static __always_inline int rx_take(struct __sk_buff *skb, const struct l2tp_rx *rx, bool is_v6, __u32 at, __u32 rest)
{
	struct l2tp_stat *s = bpf_map_lookup_elem(&stats, &rx->number);
	__u32 l2tp_len = rx->l2tp_len & 31, len, n = at + l2tp_len;
	const __u32 *l2tp = at_offset(skb, at), *sublayer;
	void *end = (void *)(long)skb->data_end;
	const void *inner;
	struct ethhdr eth;

	if (rest < l2tp_len + sizeof(struct ethhdr) || (void *)l2tp + RX_LEAST > end)
		return drop(s, L2TP_RX_SHORT);
	if (!rx_has_cookie(rx, l2tp + 1))
		return drop(s, L2TP_RX_COOKIE);
	len = rest - l2tp_len;
	inner = (const void *)l2tp + l2tp_len;
	if (inner + sizeof(struct ethhdr) > end)
		return drop(s, L2TP_RX_SHORT);
	if (!rx_has_tags(rx, inner, end))
		return drop(s, L2TP_RX_VLAN);
	if (skb->gso_size && (!is_one(inner, end, len) || n + len != skb->len))
		return drop(s, L2TP_RX_MEMORY);
	if (rx->flags & L2TP_SEQUENCE) {
		sublayer = (const void *)l2tp + ((l2tp_len - sizeof(*sublayer)) & 15);
		if ((void *)(sublayer + 1) > end)
			return drop(s, L2TP_RX_SHORT);
		if (bpf_ntohl(*sublayer) & SEQ_S && !seq_take(rx->number, bpf_ntohl(*sublayer), s))
			return drop(s, L2TP_RX_OLD);
	}
	eth = *(const struct ethhdr *)inner;
	if (n + len < skb->len && bpf_skb_change_tail(skb, n + len, 0))
		return drop(s, L2TP_RX_MEMORY);
	if (!strip(skb, n, len, &eth, is_v6))
		return drop(s, L2TP_RX_MEMORY);
	if (clamp(skb, rx->mss) && s)
		s->count[L2TP_RX_CLAMPED]++;
	if (s) {
		s->rx++;
		s->rx_octets += len;
	}
	return (int)bpf_redirect(rx->out, 0);
}

/* UDP's header, in front of L2TP, and how much it says is behind both. L2TP_PLACE_COUNTS: all
 * is well; -1: it is not there. */
static __always_inline int udp_read(struct __sk_buff *skb, __u32 at, bool is_fragment, __u32 *left, __u32 *ports)
{
	void *end = (void *)(long)skb->data_end;
	__u32 *w = at_offset(skb, at), word, len;

	if ((void *)(w + 2) > end || !(w[0] >> 16))
		return -1;
	*ports = w[0];
	if (is_fragment)
		return L2TP_FRAGMENT;
	len = bpf_ntohs(w[1] & 0xffff);
	if (len > *left || len < UDP_HEADERS + sizeof(__be32) || (void *)(w + 4) > end)
		return L2TP_MALFORMED;
	word = bpf_ntohl(w[2]);
	if (word & L2TP_T)
		return L2TP_CONTROL;
	if ((word & L2TP_VERSION_MASK) != L2TP_VERSION_3)
		return L2TP_VERSION;
	*left = len - UDP_HEADERS;
	return L2TP_PLACE_COUNTS;
}

/* -1: it is left as it is. */
static __always_inline int l2tp_receive(struct __sk_buff *skb, const struct l2tp_place *place)
{
	__u32 at, left, ports = 0, noise = place->ifindex, *l2tp;
	struct l2tp_rx_key key = { .place = here.place };
	struct frame o = { 0 };
	bool is_udp, is_fragment, is_v6;
	struct l2tp_rx *rx;
	int what;

	outer_read(skb, &o);
	if (!(o.flags & (PKT_V4 | PKT_V6)) || o.vlans || (o.proto != IPPROTO_UDP && o.proto != PROTO_L2TP))
		return -1;
	is_udp = o.proto == IPPROTO_UDP;
	is_fragment = o.flags & PKT_FRAGMENT;
	if (!(o.flags & PKT_L4))
		return is_udp ? -1 : rx_leave(o.dst, 0, L2TP_FRAGMENT);
	at = blur(o.l4, noise);
	left = blur(o.end > o.l4 && o.end <= skb->len ? o.end - o.l4 : 0, noise);
	is_v6 = blur(o.flags & PKT_V6, noise);
	if (at >= HEADERS - UDP_HEADERS)
		return -1;
	if (is_udp) {
		what = udp_read(skb, at, is_fragment, &left, &ports);
		if (what < 0)
			return -1;
		if (what != L2TP_PLACE_COUNTS)
			return rx_leave(o.dst, ports >> 16, what);
		at += UDP_HEADERS;
	} else if (is_fragment) {
		return rx_leave(o.dst, 0, L2TP_FRAGMENT);
	}
	l2tp = at_offset(skb, at);
	if (left < sizeof(key.id) || (void *)(l2tp + 1) > (void *)(long)skb->data_end)
		return rx_leave(o.dst, ports >> 16, L2TP_MALFORMED);
	key.id = *l2tp;
	if (!key.id && !is_udp)
		return rx_leave(o.dst, 0, L2TP_CONTROL);
	rx = bpf_map_lookup_elem(&received, &key);
	if (!rx || !is_same(o.dst, rx->local) || is_udp != (rx->encap == L2TP_UDP) || (ports ^ rx->ports) >> 16)
		return rx_leave(o.dst, ports >> 16, L2TP_UNKNOWN);
	if (!is_same(o.src, rx->remote) || ports != rx->ports)
		return drop(bpf_map_lookup_elem(&stats, &rx->number), L2TP_RX_PEER);
	return rx_take(skb, rx, is_v6, at, left);
}

#endif
