/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPRX_BPF_H
#define L3AF_L2TPRX_BPF_H

/* Packets out of their session. */
#include <linux/udp.h>
#include "l2tpmss.bpf.h"
#include "l2tpseq.bpf.h"

#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* Linux 6.3 */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

#define IPPROTO_L2TP_ 115
#define L2TP_T 0x80000000U
#define L2TP_VERSION_MASK 0x000f0000U
#define L2TP_VERSION_3 0x00030000U

#define UDP_HEADERS (sizeof(struct udphdr) + 4)
#define HEADERS 256U        /* are linear, before anything is read */
#define RX_LEAST (4 + sizeof(struct ethhdr))
#define PAD 60U             /* the shortest frame that Ethernet knows, without checksum */

static __always_inline bool rx_is_candidate(const struct pkt *p)
{
	return p->flags & (PKT_V4 | PKT_V6) && !p->vlans && (p->proto == IPPROTO_UDP || p->proto == IPPROTO_L2TP_);
}

static __always_inline bool rx_is_linear(struct __sk_buff *skb)
{
	__u32 linear = (__u32)(skb->data_end - skb->data);
	struct pkt p;

	if (skb->len <= linear || linear >= HEADERS)
		return true;
	pkt_parse_plain(skb, &p);
	return !(p.flags & PKT_ODD) && !rx_is_candidate(&p);
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

/* The first so many octets out of the packet, and the frame's MACs and type in front. len: of
 * the frame. The kernel wants an IP header's length behind them. */
static __always_inline long strip(struct __sk_buff *skb, __u32 n, __u32 len, bool is_v6)
{
	__u32 least = is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO, family = 0;
	struct ethhdr eth;
	long err;

	if (len < sizeof(eth) + least && bpf_skb_change_tail(skb, n + PAD, 0))
		return -1;
	if (bpf_skb_load_bytes(skb, n, &eth, sizeof(eth)))
		return -1;
	if (is_v6 && eth.h_proto == bpf_htons(ETH_P_IP))
		family = BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	else if (!is_v6 && eth.h_proto == bpf_htons(ETH_P_IPV6))
		family = BPF_F_ADJ_ROOM_DECAP_L3_IPV6;
	err = bpf_skb_adjust_room(skb, -(__s32)n, BPF_ADJ_ROOM_MAC, flags | family);
	if (err && family)
		err = bpf_skb_adjust_room(skb, -(__s32)n, BPF_ADJ_ROOM_MAC, flags);
	return err ? err : bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0);
}

/* Its packet is in a session. l2tp: from the session ID on; rest: octets from there on. */
static __always_inline int rx_take(struct __sk_buff *skb, const struct l2tp_rx *rx, bool is_v6, const __u32 *l2tp,
				   __u32 rest, const __u32 src[4], __u32 ports)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct l2tp_stat *s = bpf_map_lookup_elem(&stats, &rx->number);
	__u32 number = rx->number, n, len, l2tp_len = rx->l2tp_len & 31;
	const __u32 *sublayer;
	const void *inner;

	if (!is_same(src, rx->remote) || ports != rx->ports)
		return drop(s, L2TP_RX_PEER);
	if (rest < l2tp_len + sizeof(struct ethhdr) || (void *)l2tp + RX_LEAST > end)
		return drop(s, L2TP_RX_SHORT);
	if (!rx_has_cookie(rx, l2tp + 1))
		return drop(s, L2TP_RX_COOKIE);
	len = rest - l2tp_len;
	inner = (const void *)l2tp + l2tp_len;
	n = (__u32)(inner - data);
	if (inner + sizeof(struct ethhdr) > end || n > HEADERS)
		return drop(s, L2TP_RX_SHORT);
	if (!rx_has_tags(rx, inner, end))
		return drop(s, L2TP_RX_VLAN);
	if (skb->gso_size && (!is_one(inner, end, len) || n + len != skb->len))
		return drop(s, L2TP_RX_MEMORY);
	if (rx->flags & L2TP_SEQUENCE) {
		sublayer = (const __u32 *)inner - 1;
		if (bpf_ntohl(*sublayer) & SEQ_S && !seq_take(number, bpf_ntohl(*sublayer), s))
			return drop(s, L2TP_RX_OLD);
	}
	if (n + len < skb->len && bpf_skb_change_tail(skb, n + len, 0))
		return drop(s, L2TP_RX_MEMORY);
	if (strip(skb, n, len, is_v6))
		return drop(s, L2TP_RX_MEMORY);
	if (clamp(skb, rx->mss) && s)
		s->count[L2TP_RX_CLAMPED]++;
	if (s) {
		s->rx++;
		s->rx_octets += len;
	}
	return (int)bpf_redirect(rx->out, 0);
}

/* -1: it is left as it is. */
static __always_inline int l2tp_receive(struct __sk_buff *skb)
{
	struct l2tp_rx_key key = { .place = here.place };
	__u32 src[4], dst[4], ports = 0, total, left, len, word;
	void *data, *end;
	struct l2tp_rx *rx;
	const __u32 *l2tp;
	__be16 port = 0;
	struct pkt p;

	if (skb->vlan_present)
		return -1;
	if (!rx_is_linear(skb))
		bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	pkt_parse_from(data, end, &p, false, 0, false);
	if (!rx_is_candidate(&p))
		return -1;
	pkt_addrs(&p, src, dst);
	if (!(p.flags & PKT_L4))
		return p.proto == IPPROTO_UDP ? -1 : rx_leave(dst, 0, L2TP_FRAGMENT);
	l2tp = p.l4;
	total = p.flags & PKT_V4 ? bpf_ntohs(((struct iphdr *)p.l3)->tot_len) :
				   bpf_ntohs(((struct ipv6hdr *)p.l3)->payload_len) + sizeof(struct ipv6hdr);
	if (total > skb->len - (__u32)(p.l3 - data))
		total = 0;
	left = (__u32)(p.l4 - p.l3);
	left = total > left ? total - left : 0; /* behind the IP header */
	if (p.proto == IPPROTO_UDP) {
		if ((void *)(l2tp + 2) > end)
			return -1;
		ports = l2tp[0];
		port = ports >> 16;
		if (p.flags & PKT_FRAGMENT)
			return rx_leave(dst, port, L2TP_FRAGMENT);
		len = bpf_ntohs(l2tp[1] & 0xffff);
		if (len > left || len < UDP_HEADERS + sizeof(key.id) || (void *)(l2tp + 4) > end)
			return rx_leave(dst, port, L2TP_MALFORMED);
		word = bpf_ntohl(l2tp[2]);
		if (word & L2TP_T)
			return rx_leave(dst, port, L2TP_CONTROL);
		if ((word & L2TP_VERSION_MASK) != L2TP_VERSION_3)
			return rx_leave(dst, port, L2TP_VERSION);
		left = len - UDP_HEADERS;
		l2tp += UDP_HEADERS / 4;
	} else {
		if (p.flags & PKT_FRAGMENT)
			return rx_leave(dst, 0, L2TP_FRAGMENT);
		if (left < sizeof(key.id) || (void *)(l2tp + 1) > end)
			return rx_leave(dst, 0, L2TP_MALFORMED);
		if (!l2tp[0])
			return rx_leave(dst, 0, L2TP_CONTROL);
	}
	key.id = l2tp[0];
	rx = bpf_map_lookup_elem(&received, &key);
	if (!rx || !is_same(dst, rx->local) || rx->encap != (p.proto == IPPROTO_UDP ? L2TP_UDP : L2TP_IP) ||
	    port != rx->ports >> 16)
		return rx_leave(dst, port, L2TP_UNKNOWN);
	return rx_take(skb, rx, p.flags & PKT_V6, l2tp, left, src, ports);
}

#endif
