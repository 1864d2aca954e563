/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTHOP_BPF_H
#define L3AF_AGENTHOP_BPF_H

/* Packets of connections that another backend knows. */
#include "agentflow.bpf.h"

/*
 * The second hop (bpf/gue.h): not a SYN, of a connection that is not known here. Only where
 * sources are strict: whoever is obeyed can have packets sent to any host from here.
 */
struct hop {
	__u32 addr[4];
	__u32 sum;          /* of the words of GUE's header and private data */
	struct bpf_fib_lookup fib;
	bool has_fib;
};
#define HOP_STRIP (sizeof(struct gue) + sizeof(struct gue_hop))

static __always_inline bool is_mapped(const __u32 addr[4])
{
	return !(addr[0] | addr[1]) && addr[2] == bpf_htonl(0xffff);
}

/* Can it be another host's? */
static __always_inline bool is_host(const __u32 addr[4])
{
	__u32 first = bpf_ntohl(addr[3]) >> 24;

	if (is_mapped(addr))
		return first && first != 127 && first < 224;
	return *(const __u8 *)addr != 0xff && addr[0] | addr[1] | addr[2];
}

/* Is there one, to an address of the outer family that may be a backend's? gue: behind the
 * outer UDP header. */
static __always_inline bool hop_parse(void *gue, void *end, const struct tunnel *t, struct hop *h)
{
	struct gue_hop *hop = gue + sizeof(struct gue);
	__u16 *word = gue;

	if (!t->has_gue || t->words != GUE_HOP_WORDS || (void *)(hop + 1) > end ||
	    hop->magic != bpf_htonl(GUE_HOP_MAGIC))
		return false;
	__builtin_memcpy(h->addr, hop->addr, sizeof(h->addr));
	if (is_mapped(h->addr) == t->is_v6 || !is_host(h->addr))
		return false;
	h->sum = 0;
	for (int i = 0; i < (int)(HOP_STRIP / 2); i++)
		h->sum += word[i];
	h->sum = fold(h->sum);
	return true;
}

static __always_inline bool has_socket(void *ctx, const struct flow *f, bool is_v6)
{
	struct bpf_sock_tuple tuple = { 0 };
	struct bpf_sock *sk;
	bool is_known;

	if (is_v6) {
		__builtin_memcpy(tuple.ipv6.saddr, f->key.client, 16);
		__builtin_memcpy(tuple.ipv6.daddr, f->key.own, 16);
		tuple.ipv6.sport = f->key.client_port;
		tuple.ipv6.dport = f->key.own_port;
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		tuple.ipv4.saddr = f->key.client[3];
		tuple.ipv4.daddr = f->key.own[3];
		tuple.ipv4.sport = f->key.client_port;
		tuple.ipv4.dport = f->key.own_port;
		sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return false;
	is_known = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return is_known;
}

/* Who owns the VIP inside a guest knows its connections, nobody here. */
static __always_inline bool is_known(void *ctx, const struct agent_place *place, const struct tunnel *t,
				     const struct flow *f)
{
	struct agent_conn_key key = f->key;
	struct agent_conn *c;

	if (f->kind != TCP || f->tcp & TCP_SYN)
		return true;
	if (!is_translated(t->vip))
		return place->at == AGENT_GUEST || has_socket(ctx, f, t->is_inner_v6);
	__builtin_memcpy(key.own, t->vip->to, sizeof(key.own));
	c = bpf_map_lookup_elem(&conns, &key);
	/* after a reset it is another one that has the client's port now */
	return c && !(c->flags & AGENT_RST) && is_fresh(c, key.proto, now()) && is_same(c->vip, t->key.addr);
}

/* On a host that does not forward packets the kernel only tells the way if loopback does.
 * False: none leads there, or it is this host. */
static __always_inline bool hop_route(void *ctx, __u32 ifindex, void *data, void *end, const struct tunnel *t,
				      struct hop *h)
{
	struct ipv6hdr *ip6 = at(data, t->l2);
	struct iphdr *ip = (void *)ip6;
	long ret;

	h->has_fib = false;
	h->fib = (struct bpf_fib_lookup){ .l4_protocol = IPPROTO_UDP, .ifindex = ifindex };
	if (t->is_v6) {
		if ((void *)(ip6 + 1) > end)
			return false;
		h->fib.family = 10; /* AF_INET6 */
		__builtin_memcpy(h->fib.ipv6_src, &ip6->saddr, 16);
		__builtin_memcpy(h->fib.ipv6_dst, h->addr, 16);
	} else {
		if ((void *)(ip + 1) > end)
			return false;
		h->fib.family = 2; /* AF_INET */
		h->fib.ipv4_src = ip->saddr;
		h->fib.ipv4_dst = h->addr[3];
	}
	ret = bpf_fib_lookup(ctx, &h->fib, sizeof(h->fib), 0);
	if (ret == BPF_FIB_LKUP_RET_FWD_DISABLED) {
		h->fib.ifindex = 1;
		ret = bpf_fib_lookup(ctx, &h->fib, sizeof(h->fib), 0);
	}
	h->has_fib = ret == BPF_FIB_LKUP_RET_SUCCESS;
	return h->has_fib || ret > BPF_FIB_LKUP_RET_NOT_FWDED;
}

struct outer4 {
	struct iphdr ip;
	struct udphdr udp;
};

struct outer6 {
	struct ipv6hdr ip;
	struct udphdr udp;
};

/* Outer headers with the hop's address and without GUE; the checksum of UDP is the caller's.
 * The difference to it: what is in the pseudo header, too, and what is not. */
static __always_inline void outer4_change(struct outer4 *o, const struct hop *h, __u32 *pseudo, __u32 *rest)
{
	__u16 *to = (__u16 *)&h->addr[3], *from = (__u16 *)(void *)&o->ip.daddr;
	__be16 len = bpf_htons(bpf_ntohs(o->udp.len) - HOP_STRIP);
	__be16 total = bpf_htons(bpf_ntohs(o->ip.tot_len) - HOP_STRIP);
	__be16 ttl = *(__be16 *)&o->ip.ttl;
	__u32 addr = to[0] + to[1] + (__u16)~from[0] + (__u16)~from[1];

	o->ip.daddr = h->addr[3];
	o->ip.ttl = 64;
	csum_add(&o->ip.check, fold(addr) + total + (__u16)~o->ip.tot_len);
	csum_add(&o->ip.check, *(__be16 *)&o->ip.ttl + (__u16)~ttl);
	*rest = fold(len + (__u16)~o->udp.len + (__u16)~h->sum);
	*pseudo = fold(addr + len + (__u16)~o->udp.len);
	o->ip.tot_len = total;
	o->udp.len = len;
}

static __always_inline void outer6_change(struct outer6 *o, const struct hop *h, __u32 *pseudo, __u32 *rest)
{
	__u16 *to = (__u16 *)h->addr, *from = (__u16 *)(void *)&o->ip.daddr;
	__be16 len = bpf_htons(bpf_ntohs(o->udp.len) - HOP_STRIP);
	__u32 addr = 0;

	for (int i = 0; i < 8; i++)
		addr += to[i] + (__u16)~from[i];
	__builtin_memcpy(&o->ip.daddr, h->addr, 16);
	o->ip.hop_limit = 64;
	o->ip.payload_len = bpf_htons(bpf_ntohs(o->ip.payload_len) - HOP_STRIP);
	*rest = fold(len + (__u16)~o->udp.len + (__u16)~h->sum);
	*pseudo = fold(addr + len + (__u16)~o->udp.len);
	o->udp.len = len;
}

#endif
