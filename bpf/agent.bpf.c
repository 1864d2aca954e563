/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* agent: packets of a load balancer out of GUE, to applications that own the VIP or do not. */
#include "agenthop.bpf.h"
#include "mss.bpf.h"

/*
 * XDP: the whole packet is at hand, checksums are complete.
 */

/* Ethernet header and tags, by as much as strip towards the end, for a packet of this type. */
static __always_inline bool l2_move(void *data, void *end, __u32 l2, __u32 strip, bool is_v6)
{
	void *to = at(data, strip);
	__be16 *type = at(data, strip + l2 - 2);

	if (to + sizeof(struct ethhdr) + 4 * PKT_VLANS > end || data + sizeof(struct ethhdr) + 4 * PKT_VLANS > end ||
	    (void *)(type + 1) > end)
		return false;
	__builtin_memcpy(to, data, 12);
	if (l2 == sizeof(struct ethhdr)) {
		__builtin_memcpy(to + 12, data + 12, 2);
	} else {
		__builtin_memcpy(to + 12, data + 12, 6);
		if (l2 > sizeof(struct ethhdr) + 4)
			__builtin_memcpy(to + 18, data + 18, 4);
	}
	*type = is_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return true;
}

static __always_inline void udp_csum_add(__be16 *check, __u32 diff)
{
	if (!*check)
		return;
	csum_add(check, diff);
	if (!*check)
		*check = 0xffff;
}

/* Destination of the inner packet, and what depends on it. */
static __always_inline bool xdp_translate(void *inner, void *end, const struct tunnel *t, const struct flow *f)
{
	void *l4 = at(inner, f->l4), *quote = at(inner, f->quote);
	const struct agent_vip *vip = t->vip;
	struct iphdr *ip = inner;
	struct ipv6hdr *ip6 = inner;

	if (l4 + 8 > end)
		return false;
	if (t->is_inner_v6) {
		if ((void *)(ip6 + 1) > end)
			return false;
		__builtin_memcpy(&ip6->daddr, vip->to, 16);
	} else {
		if ((void *)(ip + 1) > end)
			return false;
		ip->daddr = vip->to[3];
		csum_add(&ip->check, vip->diff);
	}
	if (f->kind == UDP) {
		udp_csum_add(l4 + 6, vip->diff);
	} else if (f->kind == TCP) {
		if (l4 + sizeof(struct tcphdr) > end)
			return false;
		csum_add(l4 + 16, vip->diff);
	} else if (f->kind == ICMP && t->is_inner_v6) {
		ip6 = quote;
		if ((void *)(ip6 + 1) > end)
			return false;
		__builtin_memcpy(&ip6->saddr, vip->to, 16);
		csum_add(l4 + 2, fold(2 * vip->diff));
	} else if (f->kind == ICMP) {
		/* the quoted header's checksum makes up for its address: ICMP's stays */
		ip = quote;
		if ((void *)(ip + 1) > end)
			return false;
		ip->saddr = vip->to[3];
		csum_add(&ip->check, vip->diff);
	}
	return true;
}

/* Not out of a tunnel. */
static __always_inline void forget_direct(struct pkt *p, void *end, const struct agent_place *place)
{
	struct agent_conn_key key = { .scope = (__u16)here.scope, .proto = p->proto };
	__be16 *port = p->l4;

	if (!place->is_translating || !(p->flags & PKT_L4))
		return;
	if (p->proto == IPPROTO_TCP) {
		if (p->l4 + sizeof(struct tcphdr) > end || (((__u8 *)p->l4)[13] & (TCP_SYN | TCP_ACK)) != TCP_SYN)
			return;
	} else if (p->proto != IPPROTO_UDP || p->l4 + sizeof(struct udphdr) > end) {
		return;
	}
	pkt_addrs(p, key.client, key.own);
	key.client_port = port[0];
	key.own_port = port[1];
	conn_forget(&key);
}

static __always_inline int xdp_hop(struct xdp_md *ctx, const struct tunnel *t, struct hop *h)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 pseudo, rest, at_ip = t->l2;
	__u8 mac[6];

	if (t->is_v6) {
		struct outer6 *from = at(data, at_ip), *to = at(data, at_ip + HOP_STRIP), o;

		if ((void *)(from + 1) > end || (void *)(to + 1) > end)
			return XDP_PASS;
		o = *from;
		outer6_change(&o, h, &pseudo, &rest);
		udp_csum_add(&o.udp.check, fold(pseudo + rest));
		*to = o;
	} else {
		struct outer4 *from = at(data, at_ip), *to = at(data, at_ip + HOP_STRIP), o;

		if ((void *)(from + 1) > end || (void *)(to + 1) > end)
			return XDP_PASS;
		o = *from;
		outer4_change(&o, h, &pseudo, &rest);
		udp_csum_add(&o.udp.check, fold(pseudo + rest));
		*to = o;
	}
	if (!l2_move(data, end, t->l2, HOP_STRIP, t->is_v6) || bpf_xdp_adjust_head(ctx, (int)HOP_STRIP))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(struct ethhdr) > end)
		return XDP_DROP;
	/* else back to the router it came from */
	if (h->has_fib && (h->fib.ifindex == ctx->ingress_ifindex || t->l2 == sizeof(struct ethhdr))) {
		__builtin_memcpy(data, h->fib.dmac, 6);
		__builtin_memcpy(data + 6, h->fib.smac, 6);
		count(AGENT_SECOND_HOP);
		return h->fib.ifindex == ctx->ingress_ifindex ? XDP_TX : (int)bpf_redirect(h->fib.ifindex, 0);
	}
	__builtin_memcpy(mac, data, 6);
	__builtin_memcpy(data, data + 6, 6);
	__builtin_memcpy(data + 6, mac, 6);
	count(AGENT_SECOND_HOP);
	return XDP_TX;
}

/* Frames may have parts that are not at data. */
static __always_inline __u32 frame_len(struct xdp_md *ctx, const struct pkt *p)
{
	struct udphdr *udp = p->l4;

	if (p->flags & PKT_L4 && (void *)(udp + 1) <= (void *)(long)ctx->data_end &&
	    (void *)(long)ctx->data_end - (void *)udp < bpf_ntohs(udp->len) &&
	    bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_xdp_get_buff_len))
		return bpf_xdp_get_buff_len(ctx);
	return (__u32)(ctx->data_end - ctx->data);
}

static __always_inline int xdp_take(struct xdp_md *ctx, void *data, void *end, const struct tunnel *t,
				    const struct flow *f)
{
	void *inner;
	__be16 word, new;

	inner = at(data, t->l2 + t->strip);
	if (inner + sizeof(struct iphdr) > end)
		return XDP_PASS;
	word = *(__be16 *)inner;
	if (!ecn_plan(at(data, t->l2), end, word, t, &new)) {
		count(AGENT_CONGESTED);
		return XDP_DROP;
	}
	if (word != new) {
		*(__be16 *)inner = new;
		if (!t->is_inner_v6)
			csum_add(&((struct iphdr *)inner)->check, new + (__u16)~word);
	}
	vip_count(t->vip, overhead_of(t), t->inner_len);
	if (is_translated(t->vip)) {
		if (!xdp_translate(inner, end, t, f))
			return XDP_PASS;
		count(f->kind == ICMP ? AGENT_ICMP : AGENT_TRANSLATED);
	}
	if (!l2_move(data, end, t->l2, t->strip, t->is_inner_v6) || bpf_xdp_adjust_head(ctx, (int)t->strip))
		return XDP_PASS;
	count(AGENT_DECAPSULATED);
	return XDP_PASS;
}

SEC("xdp.frags")
int agent(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct agent_place *place = place_here();
	struct flow *f = flow_here();
	struct tunnel t = { 0 };
	struct hop h;
	struct pkt p;
	bool has_hop;
	int ret;

	if (!place || !f)
		return XDP_PASS;
	pkt_parse(data, end, &p);
	ret = tunnel_parse(data, end, frame_len(ctx, &p), &p, place, &t);
	if (ret == NOT_OURS) {
		forget_direct(&p, end, place);
		return XDP_PASS;
	}
	has_hop = ret == TAKE && place->is_strict && hop_parse(at(data, t.l2 + t.strip - HOP_STRIP), end, &t, &h);
	if (ret == TAKE && (is_translated(t.vip) || has_hop) && !xdp_flow(ctx, t.l2 + t.strip, t.is_inner_v6))
		ret = AGENT_BAD_LENGTH;
	if (ret == TAKE && has_hop && !is_known(ctx, place, &t, f) &&
	    hop_route(ctx, ctx->ingress_ifindex, data, end, &t, &h))
		return xdp_hop(ctx, &t, &h);
	if (ret == TAKE && is_translated(t.vip))
		ret = translate_plan(&t, f);
	if (ret != TAKE) {
		count(ret);
		return ret == AGENT_CONFLICT ? XDP_DROP : XDP_PASS;
	}
	return xdp_take(ctx, data, end, &t, f);
}

/*
 * TC: checksums may be partial, packets larger than the wire takes, parts of them elsewhere.
 * What is written goes through helpers that know all that.
 */
#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* Linux 6.3 */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

#define IP_CHECK offsetof(struct iphdr, check)

/* An address, and what the header itself has of it. IPv6: with skb->csum, which an update of
 * the transport checksum as of a pseudo header would leave wrong by as much. */
static __always_inline long skb_addr(struct __sk_buff *skb, __u32 ip, bool is_v6, bool is_src, const __u32 addr[4],
				     __u32 diff)
{
	__u32 offset;
	long err;

	if (is_v6) {
		offset = ip + (is_src ? offsetof(struct ipv6hdr, saddr) : offsetof(struct ipv6hdr, daddr));
		return bpf_skb_store_bytes(skb, offset, addr, 16, BPF_F_RECOMPUTE_CSUM);
	}
	offset = ip + (is_src ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr));
	err = bpf_l3_csum_replace(skb, ip + IP_CHECK, 0, diff, 0);
	return err ? err : bpf_skb_store_bytes(skb, offset, &addr[3], 4, 0);
}

/* One end of a connection becomes another: diff is of the new address - the old one. ip:
 * where the IP header is. has_addr: it has the address itself, not only what it quotes. */
static __always_inline long skb_translate(struct __sk_buff *skb, __u32 ip, bool is_v6, bool is_src, bool has_addr,
					  const struct flow *f, const __u32 addr[4], __u32 diff)
{
	__u32 l4 = ip + f->l4, sum = 0;
	long err = 0;

	if (has_addr) {
		err = skb_addr(skb, ip, is_v6, is_src, addr, diff);
		sum = diff;
	}
	if (!err && f->kind == ICMP) {
		err = skb_addr(skb, ip + f->quote, is_v6, !is_src, addr, diff);
		sum += diff;
	}
	if (err || f->kind == LATER)
		return err;
	if (f->kind == UDP)
		return bpf_l4_csum_replace(skb, l4 + 6, 0, sum, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	if (f->kind == TCP)
		return bpf_l4_csum_replace(skb, l4 + 16, 0, sum, BPF_F_PSEUDO_HDR);
	/* IPv4: the quoted header's checksum makes up for its address */
	return is_v6 ? bpf_l4_csum_replace(skb, l4 + 2, 0, fold(sum), BPF_F_PSEUDO_HDR) : 0;
}

/* Where the kernel has no flags for it (before 6.3): to the other family by 20 bytes more or
 * less, then what is left. */
static __always_inline long skb_strip_old(struct __sk_buff *skb, const struct tunnel *t)
{
	const __s32 grows = sizeof(struct ipv6hdr) - sizeof(struct iphdr);
	long err;

	if (skb->gso_size)
		return -1;
	err = bpf_skb_change_proto(skb, t->is_inner_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP), 0);
	if (err)
		return err;
	return bpf_skb_adjust_room(skb, -((__s32)t->strip + (t->is_inner_v6 ? grows : -grows)), BPF_ADJ_ROOM_MAC, 0);
}

static __always_inline long skb_strip(struct __sk_buff *skb, const struct tunnel *t)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO; /* the inner segments stay as they are */
	long err;

	if (t->is_v6 == t->is_inner_v6)
		return bpf_skb_adjust_room(skb, -(__s32)t->strip, BPF_ADJ_ROOM_MAC, flags);
	flags |= t->is_inner_v6 ? BPF_F_ADJ_ROOM_DECAP_L3_IPV6 : BPF_F_ADJ_ROOM_DECAP_L3_IPV4;
	err = bpf_skb_adjust_room(skb, -(__s32)t->strip, BPF_ADJ_ROOM_MAC, flags);
	return err == -22 ? skb_strip_old(skb, t) : err;
}

/* word: the first one of the inner header as it is. */
static __always_inline void skb_ecn(struct __sk_buff *skb, const struct tunnel *t, __be16 old, __be16 new)
{
	if (old == new)
		return;
	if (!t->is_inner_v6)
		bpf_l3_csum_replace(skb, t->l2 + IP_CHECK, old, new, 2);
	bpf_skb_store_bytes(skb, t->l2, &new, 2, t->is_inner_v6 ? BPF_F_RECOMPUTE_CSUM : 0);
}

/* The packets of several tunnel packets in one, as GRO may make them, cannot be told apart. */
static __always_inline bool is_bundle(const struct __sk_buff *skb, const struct tunnel *t)
{
	return skb->gso_size && t->l2 + t->strip + t->inner_len != skb->len;
}

/* -1: it cannot be passed on from here, and is taken as any other. */
static __always_inline int skb_hop(struct __sk_buff *skb, const struct agent_place *place, const struct tunnel *t,
				   struct hop *h)
{
	__u32 pseudo, rest, check = t->l2;
	struct outer4 o4;
	struct outer6 o6;

	if (skb->gso_size || (!h->has_fib && place->at == AGENT_GUEST))
		return -1;
	if (t->is_v6) {
		if (bpf_skb_load_bytes(skb, t->l2, &o6, sizeof(o6)))
			return -1;
		outer6_change(&o6, h, &pseudo, &rest);
		check += offsetof(struct outer6, udp.check);
	} else {
		if (bpf_skb_load_bytes(skb, t->l2, &o4, sizeof(o4)))
			return -1;
		outer4_change(&o4, h, &pseudo, &rest);
		check += offsetof(struct outer4, udp.check);
	}
	if (bpf_skb_adjust_room(skb, -(__s32)HOP_STRIP, BPF_ADJ_ROOM_MAC, 0))
		return -1;
	if (t->is_v6)
		bpf_skb_store_bytes(skb, t->l2, &o6, sizeof(o6), 0);
	else
		bpf_skb_store_bytes(skb, t->l2, &o4, sizeof(o4), 0);
	bpf_l4_csum_replace(skb, check, 0, pseudo, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(skb, check, 0, rest, BPF_F_MARK_MANGLED_0);
	count(AGENT_SECOND_HOP);
	if (!h->has_fib)
		return (int)bpf_redirect_neigh(here.ifindex, NULL, 0, 0);
	bpf_skb_store_bytes(skb, 0, h->fib.dmac, 6, 0);
	bpf_skb_store_bytes(skb, 6, h->fib.smac, 6, 0);
	return (int)bpf_redirect(h->fib.ifindex, 0);
}

/* All headers that matter are where they can be read, or it is no tunnel's packet. */
static __always_inline bool is_linear(struct __sk_buff *skb)
{
	struct pkt p;

	if (skb->len <= skb->data_end - skb->data || skb->data_end - skb->data >= PKT_PULL)
		return true;
	pkt_parse_plain(skb, &p);
	return !(p.flags & PKT_ODD) && p.proto != IPPROTO_UDP;
}

/* word: the inner packet's first one, and what it becomes. */
static __always_inline int skb_take(struct __sk_buff *skb, const struct tunnel *t, const struct flow *f, __be16 word,
				    __be16 new)
{
	__be16 type = t->is_inner_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);

	if (skb_strip(skb, t)) {
		count(AGENT_UNABLE);
		return TC_ACT_UNSPEC;
	}
	/* also forgets a partial checksum whose start is no longer in the packet */
	bpf_skb_store_bytes(skb, t->l2 - 2, &type, 2, BPF_F_RECOMPUTE_CSUM);
	skb_ecn(skb, t, word, new);
	vip_count(t->vip, overhead_of(t), t->inner_len);
	if (is_translated(t->vip)) {
		if (skb_translate(skb, t->l2, t->is_inner_v6, false, true, f, t->vip->to, t->vip->diff))
			return TC_ACT_SHOT;
		count(f->kind == ICMP ? AGENT_ICMP : AGENT_TRANSLATED);
	}
	count(AGENT_DECAPSULATED);
	return TC_ACT_UNSPEC;
}

static __always_inline int skb_decapsulate(struct __sk_buff *skb, const struct agent_place *place)
{
	void *data, *end, *inner;
	struct flow *f = flow_here();
	struct tunnel t = { 0 };
	bool has_hop, is_sound = false;
	__be16 word = 0, new = 0;
	struct hop h;
	struct pkt p;
	int ret, hop;

	if (!f)
		return TC_ACT_UNSPEC;
	if (!is_linear(skb))
		bpf_skb_pull_data(skb, skb->len < PKT_PULL ? skb->len : PKT_PULL);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	pkt_parse_from(data, end, &p, false, 0, false);
	ret = tunnel_parse(data, end, skb->len, &p, place, &t);
	if (ret == NOT_OURS) {
		forget_direct(&p, end, place);
		return TC_ACT_UNSPEC;
	}
	if (ret == TAKE && is_bundle(skb, &t))
		ret = AGENT_UNABLE;
	inner = at(data, t.l2 + t.strip);
	if (ret == TAKE && inner + sizeof(struct iphdr) <= end) {
		word = *(__be16 *)inner;
		is_sound = ecn_plan(at(data, t.l2), end, word, &t, &new);
	}
	has_hop = ret == TAKE && place->is_strict && hop_parse(at(data, t.l2 + t.strip - HOP_STRIP), end, &t, &h);
	if (ret == TAKE && (is_translated(t.vip) || has_hop) && !skb_flow(skb, t.l2 + t.strip, t.is_inner_v6, true))
		ret = AGENT_BAD_LENGTH;
	if (ret == TAKE && has_hop && !is_known(skb, place, &t, f) &&
	    hop_route(skb, here.ifindex, data, end, &t, &h)) {
		hop = skb_hop(skb, place, &t, &h);
		if (hop >= 0)
			return hop;
	}
	if (ret == TAKE && is_translated(t.vip))
		ret = translate_plan(&t, f);
	if (ret != TAKE) {
		count(ret);
		return ret == AGENT_CONFLICT ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	if (!is_sound) {
		count(AGENT_CONGESTED);
		return TC_ACT_SHOT;
	}
	return skb_take(skb, &t, f, word, new);
}

/*
 * Replies.
 */

#define MSS_LEAST 88 /* what the smallest MTU that IPv4 knows, and headers, leave */

/* A SYN-ACK: the client's segments have to fit into the tunnel. */
__noinline int mss_clamp(struct __sk_buff *skb, __u32 l4, __u32 overhead)
{
	__u16 from = 0;
	__u32 at = mss_read(skb, l4, &from);

	if (!at || from < overhead + MSS_LEAST || !mss_write(skb, l4, at, from, from - overhead))
		return 0;
	count(AGENT_CLAMPED);
	return 1;
}

static __always_inline bool is_syn_ack(const struct flow *f)
{
	return f->kind == TCP && (f->tcp & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK);
}

/* Of an application that owns the VIP. */
static __always_inline void clamp_own(struct __sk_buff *skb, __u32 ip, const struct flow *f)
{
	struct agent_vip_key key = { .place = here.place };
	struct agent_vip *vip;

	if (!is_syn_ack(f))
		return;
	__builtin_memcpy(key.addr, f->key.own, sizeof(key.addr));
	vip = bpf_map_lookup_elem(&vips, &key);
	/* packets may come in by another interface: then as for the wider tunnel */
	if (vip && !is_translated(vip))
		mss_clamp(skb, ip + f->l4, vip->overhead ? vip->overhead : 48);
}

static __always_inline void frag_key(const struct flow *f, struct agent_frag *k)
{
	*k = (struct agent_frag){ .id = f->frag_id, .scope = (__u16)here.scope, .proto = f->frag_proto };
	__builtin_memcpy(k->src, f->src, sizeof(k->src));
	__builtin_memcpy(k->dst, f->dst, sizeof(k->dst));
}

/* The connection of a reply; ICMP errors: the one that is quoted. */
static __always_inline struct agent_conn *conn_of(struct flow *f)
{
	struct agent_conn_key *whose;
	struct agent_conn *c;
	struct agent_frag k;

	if (f->kind == LATER) {
		frag_key(f, &k);
		whose = bpf_map_lookup_elem(&frags, &k);
		if (!whose) {
			count(AGENT_LOST_FRAGMENT);
			return NULL;
		}
		f->key = *whose;
	}
	c = bpf_map_lookup_elem(&conns, &f->key);
	if (!c || !is_fresh(c, f->key.proto, now()))
		return NULL;
	if (f->is_first) {
		frag_key(f, &k);
		bpf_map_update_elem(&frags, &k, &f->key, BPF_ANY);
	}
	return c;
}

static __always_inline void reply_count(const struct agent_vip_key *key, __u32 bytes)
{
	struct agent_vip *vip = bpf_map_lookup_elem(&vips, key);
	__u32 i = vip ? vip->stat : AGENT_VIPS;
	struct agent_vip_stat *s = bpf_map_lookup_elem(&vipstats, &i);

	if (!s)
		return;
	s->replies++;
	s->reply_bytes += bytes;
}

/* Where the IP header is, 0: there is none. */
static __always_inline __u32 ip_find(struct __sk_buff *skb, bool *is_v6)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	__u32 offset = sizeof(*eth);
	__be16 type;

	if ((void *)(eth + 1) > end)
		return 0;
	type = eth->h_proto;
	for (int i = 0; i < PKT_VLANS; i++) {
		struct pkt_vlan *tag = data + offset;

		if (!pkt_is_vlan(type))
			break;
		if ((void *)(tag + 1) > end)
			return 0;
		type = tag->type;
		offset += sizeof(*tag);
	}
	*is_v6 = type == bpf_htons(ETH_P_IPV6);
	return *is_v6 || type == bpf_htons(ETH_P_IP) ? offset : 0;
}

/* A packet's connection into scratch, as a reply's; false: it can be none. */
static __always_inline bool reply_flow(struct __sk_buff *skb, struct flow *f)
{
	bool is_v6 = false;
	__u32 ip = ip_find(skb, &is_v6);

	if (!ip)
		return false;
	if (skb_flow(skb, ip, is_v6, false) && f->kind != OTHER)
		return true;
	if (skb->data_end - skb->data >= PKT_PULL || skb->len <= skb->data_end - skb->data)
		return false;
	bpf_skb_pull_data(skb, skb->len < PKT_PULL ? skb->len : PKT_PULL);
	return skb_flow(skb, ip, is_v6, false) && f->kind != OTHER;
}

/* Out through the VIP that its connection came in by. */
static __always_inline int reply_translate(struct __sk_buff *skb, struct flow *f, struct agent_conn *c)
{
	struct agent_vip_key vip = { .place = here.place };
	bool is_own = f->kind != ICMP || is_same(f->src, f->key.own);

	if (f->kind == TCP || f->kind == UDP)
		conn_touch(c, f, now());
	__builtin_memcpy(vip.addr, c->vip, sizeof(vip.addr));
	reply_count(&vip, skb->len - f->ip);
	if (skb_translate(skb, f->ip, f->is_v6, true, is_own, f, vip.addr, (__u16)~c->diff))
		return TC_ACT_SHOT;
	count(f->kind == ICMP ? AGENT_ICMP : AGENT_REPLIES);
	if (is_syn_ack(f))
		mss_clamp(skb, f->ip + f->l4, c->overhead);
	return TC_ACT_UNSPEC;
}

static __always_inline int skb_reply(struct __sk_buff *skb, const struct agent_place *place)
{
	struct flow *f = flow_here();
	struct agent_conn *c = NULL;

	if (!f || !reply_flow(skb, f))
		return TC_ACT_UNSPEC;
	if (place->is_translating) {
		if (f->kind == TCP && (f->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
			conn_forget(&f->key);
		else
			c = conn_of(f);
	}
	if (c)
		return reply_translate(skb, f, c);
	clamp_own(skb, f->ip, f);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int agent_tc(struct __sk_buff *skb)
{
	struct agent_place *place = place_here();

	if (!place)
		return TC_ACT_UNSPEC;
	return here.role == AGENT_DECAPSULATES ? skb_decapsulate(skb, place) : skb_reply(skb, place);
}

char _license[] SEC("license") = "Dual BSD/GPL";
