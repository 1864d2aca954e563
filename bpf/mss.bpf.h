/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MSS_BPF_H
#define L3AF_MSS_BPF_H

/* The maximum segment size of a SYN. */
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Where it is among the options of a TCP header of len octets, 0: it is not. */
static __always_inline __u32 mss_find(const __u8 *tcp, __u32 len)
{
	__u32 i = sizeof(struct tcphdr), step;

	for (int n = 0; n < 40; n++) {
		i &= 63; /* the same for the verifier in each round */
		barrier_var(i);
		if (i + 4 > len || i > 56 || tcp[i] == 0)
			return 0;
		if (tcp[i] == 2)
			return tcp[i + 1] == 4 ? i + 2 : 0;
		step = tcp[i] == 1 ? 1 : tcp[i + 1];
		if (!step)
			return 0;
		i += step;
	}
	return 0;
}

static __always_inline __u16 mss_swap(__u16 v)
{
	return v << 8 | v >> 8;
}

/* Of the TCP header at this offset: where it is, and (host byte order) what. 0: it has none. */
static __always_inline __u32 mss_read(struct __sk_buff *skb, __u32 l4, __u16 *mss)
{
	__u8 tcp[64] = { 0 };
	__u32 len, at;

	if (bpf_skb_load_bytes(skb, l4, tcp, sizeof(struct tcphdr)))
		return 0;
	len = (tcp[12] >> 4) * 4;
	if (len <= sizeof(struct tcphdr) || len > 60 || bpf_skb_load_bytes(skb, l4, tcp, len))
		return 0;
	at = mss_find(tcp, len);
	if (at < sizeof(struct tcphdr) || at > 58)
		return 0;
	*mss = tcp[at] << 8 | tcp[at + 1];
	return at;
}

/* at: as of mss_read; from, to in host byte order. */
static __always_inline bool mss_write(struct __sk_buff *skb, __u32 l4, __u32 at, __u16 from, __u16 to)
{
	to = bpf_htons(to);
	from = bpf_htons(from);
	if (bpf_skb_store_bytes(skb, l4 + at, &to, 2, 0))
		return false;
	if (at & 1)
		bpf_l4_csum_replace(skb, l4 + 16, mss_swap(from), mss_swap(to), 2);
	else
		bpf_l4_csum_replace(skb, l4 + 16, from, to, 2);
	return true;
}

#endif
