/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBENCAP_BPF_H
#define L3AF_LBENCAP_BPF_H

/* Encapsulation and the way to the backend. Sums are ones' complement sums of 16-bit words as
 * they are in memory, not folded. */
#include <linux/udp.h>
#include "gue.h"
#include "lbmaps.bpf.h"
#include "sum.h"

enum { AF_INET_ = 2, AF_INET6_ = 10 };

#define OUTER4 (sizeof(struct iphdr) + sizeof(struct udphdr))
#define OUTER6 (sizeof(struct ipv6hdr) + sizeof(struct udphdr))
#define SECOND_HOP (sizeof(struct gue) + sizeof(struct gue_hop))
#define TTL 64

static __always_inline __u64 sum_addr(const __u32 a[4])
{
	return (__u64)a[0] + a[1] + a[2] + a[3];
}

/* As in a packet's checksum field. */
static __always_inline __u16 sum_check(__u64 sum)
{
	return ~sum_fold(sum);
}

static __always_inline __u64 mac_read(const void *mac)
{
	return *(const __u32 *)mac | (__u64)((const __u16 *)mac)[2] << 32;
}

/* On the stack, which the verifier wants aligned. */
static __always_inline __u64 mac_read_aligned(const void *mac)
{
	const __u16 *w = mac;

	return w[0] | (__u64)w[1] << 16 | (__u64)w[2] << 32;
}

static __always_inline void mac_write(void *to, __u64 mac)
{
	*(__u32 *)to = mac;
	((__u16 *)to)[2] = mac >> 32;
}

/* What the outer header is made of. */
struct outer {
	__u64 sum;        /* of the inner packet (local checksum offload: by its headers) */
	__u32 len;        /* of what is behind UDP */
	__u32 hash;
	__be16 port;
	bool has_sum;
	__u8 tos;
};

/* Entropy for whoever spreads packets by their ports: RFC 7510 3.1. */
static __always_inline void udp_write(struct udphdr *udp, const struct outer *o, __u64 pseudo)
{
	__be16 sport = bpf_htons(0xc000 | (o->hash & 0x3fff)), len = bpf_htons(o->len + sizeof(*udp));
	__u16 check = 0;

	if (o->has_sum) {
		check = sum_check(o->sum + pseudo + bpf_htons(IPPROTO_UDP) + 2 * len + sport + o->port);
		if (!check)
			check = 0xffff;
	}
	((__u32 *)udp)[0] = sport | (__u32)o->port << 16;
	((__u32 *)udp)[1] = len | (__u32)check << 16;
}

static __always_inline void outer4_write(void *l3, const struct outer *o, __be32 src, __be32 dst, __be16 id, __be16 frag_off)
{
	struct iphdr *ip = l3;
	__u32 first = bpf_htonl(0x45000000 | (__u32)o->tos << 16 | (o->len + OUTER4));
	__u32 second = id | (__u32)frag_off << 16, third = bpf_htons(TTL << 8 | IPPROTO_UDP);
	__u64 pseudo = (__u64)src + dst;

	third |= (__u32)sum_check(pseudo + first + second + third) << 16;
	((__u32 *)ip)[0] = first;
	((__u32 *)ip)[1] = second;
	((__u32 *)ip)[2] = third;
	ip->saddr = src;
	ip->daddr = dst;
	udp_write((void *)(ip + 1), o, pseudo);
}

/* sum: of both addresses */
static __always_inline void outer6_write(void *l3, const struct outer *o, const __u32 src[4], const __u32 dst[4], __u64 sum)
{
	struct ipv6hdr *ip = l3;

	((__u32 *)ip)[0] = bpf_htonl(0x60000000 | (__u32)o->tos << 20 | o->hash >> 12);
	ip->payload_len = bpf_htons(o->len + sizeof(struct udphdr));
	ip->nexthdr = IPPROTO_UDP;
	ip->hop_limit = TTL;
	__builtin_memcpy(&ip->saddr, src, 16);
	__builtin_memcpy(&ip->daddr, dst, 16);
	udp_write((void *)(ip + 1), o, sum);
}

/* Behind UDP: the backend that may know the connection. */
static __always_inline __u64 gue_write(void *to, bool is_v4, const __u32 addr[4])
{
	__u32 *w = to;

	w[0] = bpf_htonl(GUE_HOP_WORDS << 24 | (is_v4 ? IPPROTO_IPIP : IPPROTO_IPV6) << 16);
	w[1] = bpf_htonl(GUE_HOP_MAGIC);
	__builtin_memcpy(w + 2, addr, 16);
	return (__u64)w[0] + w[1] + sum_addr(addr);
}

/*
 * The next hop.
 */
static __always_inline __u64 place_gateway(const struct lb_place *place)
{
	return mac_read(place->gateway);
}

static __always_inline struct lb_hop *hop_get(const struct lb_config *c, __u32 number)
{
	__u32 i = here.place * c->backends + number;

	return bpf_map_lookup_elem(&hops, &i);
}

/* Are these three words one answer of the kernel? */
static __always_inline bool hop_is_whole(const __u64 w[3])
{
	return w[0] >> 16 && !(((w[0] ^ w[1]) | (w[0] ^ w[2])) & 0xffff);
}

static __always_inline bool hop_is_fresh(const __u64 w[3], __u32 now)
{
	return hop_is_whole(w) && ((now - (__u32)w[0]) & 0xffff) <= LB_HOP_TICKS;
}

static __always_inline void hop_set(struct job *j, __u64 dmac, __u64 smac, __u32 out)
{
	j->dmac = dmac;
	j->smac = smac;
	j->out = out;
}

/* What the kernel is asked. */
static __always_inline void hop_key(struct bpf_fib_lookup *fib, __u32 ifindex, const struct lb_place *place,
				    const struct lb_backend *backend)
{
	fib->l4_protocol = IPPROTO_UDP;
	fib->ifindex = ifindex;
	if (backend->is_v4) {
		fib->family = AF_INET_;
		fib->ipv4_src = place->source4;
		fib->ipv4_dst = backend->addr[3];
	} else {
		fib->family = AF_INET6_;
		__builtin_memcpy(fib->ipv6_src, place->source6, 16);
		__builtin_memcpy(fib->ipv6_dst, backend->addr, 16);
	}
}

/* Which way the kernel says, whether or not it knows the neighbour: as in struct lb_hop's
 * word[2]. It has put the next hop's address in place of the destination's. */
static __always_inline __u64 hop_way(const struct bpf_fib_lookup *fib)
{
	__u32 addr = fib->ipv6_dst[0] ^ fib->ipv6_dst[1] ^ fib->ipv6_dst[2] ^ fib->ipv6_dst[3];

	return (__u64)(addr * 0x9e3779b1U >> 16) << 48 | (__u64)fib->ifindex << 16;
}

/* Into the job; 0: there is none. Where the kernel has lost the neighbour's address, what it
 * was before is good as long as the neighbour is the same. */
__noinline int hop_find(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = { 0 };
	struct lb_place *place = place_get();
	struct lb_config *c = config_get();
	struct lb_backend *backend;
	struct job *j = job_get();
	volatile __u64 *word;
	struct lb_hop *hop;
	__u64 w[3], stamp, way;
	long ret;

	if (!j || !c || !place)
		return 0;
	if (place_gateway(place)) {
		hop_set(j, place_gateway(place), 0, here.ifindex);
		return 1;
	}
	hop = hop_get(c, j->backend);
	backend = backend_get(j->backend);
	if (!hop || !backend)
		return 0;
	word = hop->word;
	w[0] = word[0];
	w[1] = word[1];
	w[2] = word[2];
	if (!hop_is_fresh(w, j->now)) {
		hop_key(&fib, ctx->ingress_ifindex, place, backend);
		ret = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
		way = hop_way(&fib);
		if (ret && !(ret == BPF_FIB_LKUP_RET_NO_NEIGH && hop_is_whole(w) && !((w[2] ^ way) >> 16)))
			return 0;
		stamp = j->now & 0xffff;
		if (!ret) {
			w[0] = mac_read_aligned(fib.dmac) << 16;
			w[1] = mac_read_aligned(fib.smac) << 16;
			w[2] = way;
		}
		word[0] = (w[0] & ~0xffffULL) | stamp;
		word[1] = (w[1] & ~0xffffULL) | stamp;
		word[2] = (w[2] & ~0xffffULL) | stamp;
	}
	hop_set(j, w[0] >> 16, w[1] >> 16, (__u32)(w[2] >> 16));
	return 1;
}

/*
 * Any packet that is in the job.
 */
/* What is behind a link-layer header. Bounded here, where old verifiers see it; and the
 * pointer is not reckoned a second time, which they take for another one. */
static __always_inline void *behind_l2(void *data, __u32 l2)
{
	void *l3;

	barrier_var(l2);
	l3 = data + (l2 & 31);
	barrier_var(l3);
	return l3;
}

/* Move the link-layer header, of l2 octets, to the new start of the frame. */
static __always_inline bool l2_move(void *data, void *end, __u32 l2, __u32 room, const struct job *j, __be16 type)
{
	void *from = data + room;
	__u64 mac = j->smac;
	__be16 *last;

	if (from + ETH_HLEN + 8 > end)
		return false;
	mac = mac ? mac : mac_read(from);
	if (l2 >= ETH_HLEN + 4)
		*(__u32 *)(data + 12) = *(__u32 *)(from + 12);
	if (l2 >= ETH_HLEN + 8)
		*(__u32 *)(data + 16) = *(__u32 *)(from + 16);
	mac_write(data + 6, mac);
	mac_write(data, j->dmac);
	last = behind_l2(data, l2 - 2);
	if ((void *)(last + 1) > end)
		return false;
	*last = type;
	return true;
}

static __always_inline void job_outer(const struct job *j, const struct lb_place *place, struct outer *o)
{
	o->sum = j->sum;
	o->len = j->len + (j->second ? SECOND_HOP : 0);
	o->hash = j->hash >> 32;
	o->port = place->port;
	o->has_sum = j->has_sum;
	o->tos = j->tos;
}

static __always_inline int job_leave(const struct job *j, __u32 l2)
{
	if (j->out == here.ifindex || l2 > ETH_HLEN)
		return XDP_TX;
	return bpf_redirect(j->out, 0);
}

/* A verdict; -1: there is no room. */
static __always_inline int job_send(struct xdp_md *ctx, bool is_v4)
{
	struct job *j = job_get();
	struct lb_place *place = place_get();
	struct lb_backend *backend, *second = NULL;
	__u32 outer = is_v4 ? OUTER4 : OUTER6, room, l2;
	void *data, *end, *l3;
	struct outer o;

	if (!j || !place)
		return -1;
	backend = backend_get(j->backend);
	if (j->second)
		second = backend_get(j->second);
	l2 = j->l3;
	room = outer + (j->second ? SECOND_HOP : 0);
	if (!backend || (j->second && !second) || l2 < ETH_HLEN || l2 > ETH_HLEN + 4 * PKT_VLANS ||
	    bpf_xdp_adjust_head(ctx, -(int)room))
		return -1;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	l3 = behind_l2(data, l2);
	if (l3 + outer + SECOND_HOP > end || room > OUTER6 + SECOND_HOP ||
	    !l2_move(data, end, l2, room, j, is_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6)))
		return -1;
	job_outer(j, place, &o);
	if (second)
		o.sum += gue_write(l3 + outer, j->is_v4, second->addr);
	if (is_v4)
		outer4_write(l3, &o, place->source4, backend->addr[3], j->id, j->frag_off);
	else
		outer6_write(l3, &o, place->source6, backend->addr, sum_addr(place->source6) + backend->sum);
	return job_leave(j, l2);
}

__noinline int job_send4(struct xdp_md *ctx)
{
	return job_send(ctx, true);
}

__noinline int job_send6(struct xdp_md *ctx)
{
	return job_send(ctx, false);
}

#endif
