/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPMSS_BPF_H
#define L3AF_L2TPMSS_BPF_H

/* SYNs in frames: segments have to fit into the pseudowire. */
#include "l2tpframe.bpf.h"
#include "mss.bpf.h"

#define TCP_SYN 2

/* mss: of 16 bits; 1: it was lowered */
__noinline int clamp_at(struct __sk_buff *skb, __u32 l4, __u32 mss)
{
	__u16 from = 0;
	__u32 at = mss_read(skb, l4, &from);

	return at && from > mss && mss_write(skb, l4, at, from, mss);
}

/* A frame that has tags, options, or is not all linear. */
__noinline int clamp_odd(struct __sk_buff *skb, __u32 mss4, __u32 mss6)
{
	struct frame f = { 0 };
	__u8 flags = 0;

	frame_read(skb, &f);
	if (!(f.flags & PKT_L4) || f.proto != IPPROTO_TCP || f.flags & PKT_SHORT ||
	    bpf_skb_load_bytes(skb, f.l4 + 13, &flags, 1) || !(flags & TCP_SYN))
		return 0;
	return clamp_at(skb, f.l4, (f.flags & PKT_V4 ? mss4 : mss6) - 4 * f.vlans);
}

/* mss: over IPv4, over IPv6. True: it was lowered. */
static __always_inline bool clamp(struct __sk_buff *skb, const __u16 *mss)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct ipv6hdr *ip6 = (void *)(eth + 1);
	__u8 *tcp;

	if ((void *)(eth + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((void *)(ip + 1) > end)
			return clamp_odd(skb, mss[0], mss[1]);
		if (ip->protocol != IPPROTO_TCP)
			return false;
		tcp = (void *)(ip + 1);
		if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0x1fff) || tcp + sizeof(struct tcphdr) > (__u8 *)end)
			return clamp_odd(skb, mss[0], mss[1]);
		return tcp[13] & TCP_SYN && clamp_at(skb, sizeof(*eth) + sizeof(*ip), mss[0]);
	}
	if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		if ((void *)(ip6 + 1) > end)
			return clamp_odd(skb, mss[0], mss[1]);
		if (ip6->nexthdr != IPPROTO_TCP)
			return pkt_is_ext(ip6->nexthdr) && clamp_odd(skb, mss[0], mss[1]);
		tcp = (void *)(ip6 + 1);
		if (tcp + sizeof(struct tcphdr) > (__u8 *)end)
			return clamp_odd(skb, mss[0], mss[1]);
		return tcp[13] & TCP_SYN && clamp_at(skb, sizeof(*eth) + sizeof(*ip6), mss[1]);
	}
	return pkt_is_vlan(eth->h_proto) && clamp_odd(skb, mss[0], mss[1]);
}

#endif
