/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPHOP_BPF_H
#define L3AF_L2TPHOP_BPF_H

/* The way to the peer. */
#include "l2tpmaps.bpf.h"

enum { AF_INET_ = 2, AF_INET6_ = 10 };

#define PROTO_L2TP 115
#define HOP_SHIFT 6 /* a tick of 64 jiffies: 0.06 to 0.6 s */

static __always_inline __u16 hop_now(void)
{
	return bpf_jiffies64() >> HOP_SHIFT;
}

/* Both words of one answer, of this tick or the last one. */
static __always_inline bool hop_is_fresh(__u64 dst, __u64 src, __u16 now)
{
	return dst >> 16 && (__u16)dst == (__u16)src && (__u16)(now - dst) <= 1;
}

static __always_inline __u64 hop_word(const __u8 *mac, __u16 now)
{
	const __u16 *w = (const __u16 *)mac;

	return now | (__u64)w[0] << 16 | (__u64)w[1] << 32 | (__u64)w[2] << 48;
}

/* Ask the kernel. 0: no route leads there. Whether or not the answer is one that following
 * packets can use, this one goes by the neighbour's entry: that keeps it alive, and makes it
 * where there is none; and where no interface forwards, the kernel gives no answer. */
__noinline int hop_ask(struct __sk_buff *skb, struct l2tp_tx *tx)
{
	struct bpf_fib_lookup fib = { 0 };
	__u16 now = hop_now();
	__u32 flags = 0;
	long ret;

	if (!tx)
		return 0;
	fib.l4_protocol = tx->encap == L2TP_UDP ? IPPROTO_UDP : PROTO_L2TP;
	fib.ifindex = tx->ask;
	if (!tx->ask) {
		fib.ifindex = tx->underlay;
		flags = BPF_FIB_LOOKUP_OUTPUT;
	}
	if (tx->flags & L2TP_V6) {
		fib.family = AF_INET6_;
		__builtin_memcpy(fib.ipv6_src, tx->addr[0], 16);
		__builtin_memcpy(fib.ipv6_dst, tx->addr[1], 16);
	} else {
		fib.family = AF_INET_;
		fib.ipv4_src = tx->addr[0][3];
		fib.ipv4_dst = tx->addr[1][3];
	}
	ret = bpf_fib_lookup(skb, &fib, sizeof(fib), flags);
	if (ret == BPF_FIB_LKUP_RET_SUCCESS && fib.ifindex == tx->underlay) {
		tx->hop.word[0] = hop_word(fib.dmac, now);
		tx->hop.word[1] = hop_word(fib.smac, now);
	}
	return ret <= 0 || ret > BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* The kernel finds the neighbour of IP packets only, and takes the frame's word for what it is:
 * what comes from behind a tag has its type read again. */
static __always_inline int hop_by_neighbour(struct __sk_buff *skb, __u32 ifindex)
{
	if (bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 1) || bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 1) ||
	    bpf_skb_vlan_pop(skb) || bpf_skb_vlan_pop(skb))
		return TC_ACT_SHOT;
	return (int)bpf_redirect_neigh(ifindex, NULL, 0, 0);
}

#endif
