/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBICMP_BPF_H
#define L3AF_LBICMP_BPF_H

/* ICMP: errors that belong to a flow, answers to echo requests, and "packet too big". */
#include "lbencap.bpf.h"

/* linux/icmp.h wants the C library. */
struct icmp {
	__u8 type, code;
	__u16 check;
	__be32 rest;
};
enum { ICMP_ECHOREPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETERPROB = 12,
	ICMP_FRAG_NEEDED = 4 };
enum { ICMPV6_PKT_TOOBIG = 2, ICMPV6_LAST_ERROR = 127, ICMPV6_ECHO_REQUEST = 128, ICMPV6_ECHO_REPLY = 129 };

static __always_inline bool icmp_is_error(const struct job *j, __u8 type)
{
	if (!j->is_v4)
		return type && type <= ICMPV6_LAST_ERROR;
	return type == ICMP_DEST_UNREACH || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

/* The packet that an error is about, at this offset: its flow, in our direction, into the
 * job. RFC 792 gives 8 octets behind its IP header. 1: done; 0: it is of nothing we
 * balance; -1: it is none that the VIP has sent. */
__noinline int quote_read(struct xdp_md *ctx, __u32 at)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct job *j = job_get();
	struct pkt q = { 0 };
	__u32 src[4];
	__be16 *port;

	if (!j || at > 4096)
		return 0;
	q.l3 = data + at;
	if (j->is_v4)
		pkt_parse4(&q, end);
	else
		pkt_parse6(&q, end, false);
	if (!(q.flags & (PKT_V4 | PKT_V6)))
		return -1;
	pkt_addrs(&q, src, j->f.src);
	if ((src[0] ^ j->f.dst[0]) | (src[1] ^ j->f.dst[1]) | (src[2] ^ j->f.dst[2]) | (src[3] ^ j->f.dst[3]))
		return -1;
	if (!(q.flags & PKT_L4) || (q.proto != IPPROTO_TCP && q.proto != IPPROTO_UDP))
		return 0;
	port = q.l4;
	if ((void *)(port + 2) > end)
		return -1;
	j->f.sport = port[1];
	j->f.dport = port[0];
	j->f.proto = q.proto;
	return 1;
}

/* May an answer go there? Not to what cannot be one host. */
static __always_inline bool is_host(const struct job *j)
{
	const __u32 *a = j->f.src;
	__u32 v4 = bpf_ntohl(a[3]);

	if (j->is_v4)
		return v4 >> 24 && v4 >> 24 != 127 && v4 >> 28 < 14;
	return *(const __u8 *)a != 0xff && a[0] | a[1] | a[2];
}

/* A field of a checksummed packet has changed: RFC 1624, equation 3. */
static __always_inline __u16 check_change(__u16 check, __u16 from, __u16 to)
{
	return sum_check((__u16)~check + (__u64)(__u16)~from + to);
}

static __always_inline void macs_swap(void *data)
{
	__u64 mac = mac_read(data);

	mac_write(data, mac_read(data + 6));
	mac_write(data + 6, mac);
}

/* The address of a VIP is there as long as a VIP is: in place. */
__noinline int echo_answer(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct job *j = job_get();
	struct icmp *icmp;
	__u16 *ttl, was;
	__u32 at, l3;
	void *ip;

	if (!j)
		return XDP_PASS;
	l3 = j->l3;
	at = j->l4;
	if (l3 < ETH_HLEN || l3 > ETH_HLEN + 4 * PKT_VLANS || at > 512)
		return XDP_PASS;
	ip = data + l3;
	icmp = data + at;
	if (data + ETH_HLEN > end || (void *)(icmp + 1) > end)
		return XDP_PASS;
	was = *(__u16 *)icmp;
	if (j->is_v4) {
		struct iphdr *h = ip;
		__be32 addr;

		if ((void *)(h + 1) > end)
			return XDP_PASS;
		addr = h->saddr;
		h->saddr = h->daddr;
		h->daddr = addr;
		ttl = (__u16 *)&h->ttl;
		h->check = check_change(h->check, *ttl, bpf_htons(TTL << 8 | IPPROTO_ICMP));
		h->ttl = TTL;
		icmp->type = ICMP_ECHOREPLY;
	} else {
		struct ipv6hdr *h = ip;
		struct in6_addr addr;

		if ((void *)(h + 1) > end)
			return XDP_PASS;
		addr = h->saddr;
		h->saddr = h->daddr;
		h->daddr = addr;
		h->hop_limit = TTL;
		icmp->type = ICMPV6_ECHO_REPLY;
	}
	icmp->check = check_change(icmp->check, was, *(__u16 *)icmp);
	macs_swap(data);
	return XDP_TX;
}

/*
 * "Fragmentation needed" and "packet too big": to the client, from the VIP.
 */
#define QUOTE4 512U  /* with the headers in front no more than 576: RFC 1812 4.3.2.3 */
#define QUOTE6 1232U /* 1280: RFC 4443 2.4 */
#define QUOTE_LEAST 64U
#define QUOTE_CHUNK 512U /* as much as old kernels sum at once */

/* Sum of so many octets of a packet, a constant. */
static __always_inline __u64 sum_quote(void *at, __u32 octets)
{
	__s64 sum = 0;

	for (__u32 done = 0; done < octets; done += QUOTE_CHUNK)
		sum = bpf_csum_diff(NULL, 0, at + done, octets - done < QUOTE_CHUNK ? octets - done : QUOTE_CHUNK, sum);
	return (__u32)sum;
}

/* Headers in front of a quote of so many octets. */
static __always_inline void big4_write(void *l3, const struct job *j, __u32 mtu, __u32 quote, __u64 sum)
{
	struct iphdr *ip = l3;
	struct icmp *icmp = l3 + sizeof(*ip);

	*ip = (struct iphdr){
		.version = 4, .ihl = 5, .ttl = TTL, .protocol = IPPROTO_ICMP,
		.tot_len = bpf_htons(sizeof(*ip) + sizeof(*icmp) + quote),
		.saddr = j->vip_addr[3], .daddr = j->f.src[3],
	};
	ip->check = sum_check(((__u64)((__u32 *)ip)[0]) + ((__u32 *)ip)[1] + ((__u32 *)ip)[2] + ip->saddr + ip->daddr);
	((__u32 *)icmp)[0] = bpf_htonl(ICMP_DEST_UNREACH << 24 | ICMP_FRAG_NEEDED << 16);
	((__u32 *)icmp)[1] = bpf_htonl(mtu);
	icmp->check = sum_check(sum + ((__u32 *)icmp)[0] + ((__u32 *)icmp)[1]);
}

static __always_inline void big6_write(void *l3, const struct job *j, __u32 mtu, __u32 quote, __u64 sum)
{
	struct ipv6hdr *ip = l3;
	struct icmp *icmp = l3 + sizeof(*ip);
	__be16 len = bpf_htons(sizeof(*icmp) + quote);

	((__u32 *)ip)[0] = bpf_htonl(0x60000000);
	ip->payload_len = len;
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = TTL;
	__builtin_memcpy(&ip->saddr, j->vip_addr, 16);
	__builtin_memcpy(&ip->daddr, j->f.src, 16);
	((__u32 *)icmp)[0] = bpf_htonl((__u32)ICMPV6_PKT_TOOBIG << 24);
	((__u32 *)icmp)[1] = bpf_htonl(mtu);
	icmp->check = sum_check(sum + ((__u32 *)icmp)[0] + ((__u32 *)icmp)[1] + sum_addr(j->vip_addr) +
				      sum_addr(j->f.src) + len + bpf_htons(IPPROTO_ICMPV6));
}

/* room: of the headers. The frame begins that much earlier, and ends behind the quote. */
static __always_inline int big_answer(struct xdp_md *ctx, bool is_v4, __u32 mtu, __u32 room, __u32 quote)
{
	struct job *j = job_get();
	void *data, *end, *l3;
	__u64 mac, sum;
	__u32 l2;

	if (!j)
		return -1;
	l2 = j->l3;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (l2 < ETH_HLEN || l2 > ETH_HLEN + 4 * PKT_VLANS)
		return -1;
	l3 = behind_l2(data, l2);
	if (l3 + quote > end)
		return -1;
	sum = sum_quote(l3, quote);
	if (bpf_xdp_adjust_head(ctx, -(int)room))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	l3 = behind_l2(data, l2);
	if (l3 + room > end || data + room + ETH_HLEN > end)
		return -1;
	mac = mac_read(data + room);
	j->dmac = mac_read(data + room + 6);
	j->smac = mac;
	if (!l2_move(data, end, l2, room, j, is_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return -1;
	if (is_v4)
		big4_write(l3, j, mtu, quote, sum);
	else
		big6_write(l3, j, mtu, quote, sum);
	return bpf_xdp_adjust_tail(ctx, (int)(l2 + room + quote - frame_len(ctx))) ? -1 : XDP_TX;
}

#define BIG4 (sizeof(struct iphdr) + sizeof(struct icmp))
#define BIG6 (sizeof(struct ipv6hdr) + sizeof(struct icmp))

static __always_inline bool is_there(struct xdp_md *ctx, __u32 quote)
{
	struct job *j = job_get();

	return j && frame_linear(ctx) >= j->l3 + quote;
}

/* mtu: what the client has to keep to. A verdict; -1: the packet cannot be quoted. */
__noinline int big4(struct xdp_md *ctx, __u32 mtu)
{
	if (is_there(ctx, QUOTE4))
		return big_answer(ctx, true, mtu, BIG4, QUOTE4);
	return big_answer(ctx, true, mtu, BIG4, QUOTE_LEAST);
}

__noinline int big6(struct xdp_md *ctx, __u32 mtu)
{
	if (is_there(ctx, QUOTE6))
		return big_answer(ctx, false, mtu, BIG6, QUOTE6);
	return big_answer(ctx, false, mtu, BIG6, QUOTE_LEAST);
}

#endif
