/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTFLOW_BPF_H
#define L3AF_AGENTFLOW_BPF_H

/* The inner packet: its connection, and translation as it is planned. */
#include "agenttunnel.bpf.h"

/*
 * What is known of a packet's connection, and where what names it is. Offsets from the start
 * of its IP header.
 */
enum kind { OTHER, TCP, UDP, ICMP /* an error, about TCP or UDP */, LATER /* fragment */ };
struct flow {
	struct agent_conn_key key;
	__u32 l4;
	__u32 quote;        /* ICMP: the quoted IP header */
	__u8 kind;
	__u8 tcp;           /* flags */
	__u8 is_first;      /* a fragment, the first one */
	__u8 is_to_own;     /* from client to own; else a reply */
	__u8 is_v6;
	__u32 ip;           /* where the IP header is in the frame */
	__be32 frag_id;
	__u32 src[4], dst[4]; /* of the packet itself */
	__u8 frag_proto;    /* of struct agent_frag */
};

/* Where functions that the verifier looks at once, whatever calls them, leave what they found:
 * it takes it for any number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} scratch SEC(".maps");

static __always_inline struct flow *flow_here(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_ACK 16

static __always_inline bool is_icmp_error(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMP) /* unreachable, time exceeded, parameter problem */
		return type == 3 || type == 11 || type == 12;
	return type >= 1 && type <= 4;
}

static __always_inline void flow_ports(struct flow *f, const __be16 *port, bool is_to_own)
{
	f->key.client_port = is_to_own ? port[0] : port[1];
	f->key.own_port = is_to_own ? port[1] : port[0];
}

/* The packet that an ICMP error quotes went the other way: from own to client if the error
 * is to own. At least 8 octets behind its IP header are there (RFC 792). */
static __always_inline void quote_parse(void *l3, void *end, bool is_v4, struct flow *f)
{
	void *quote = at(l3, f->quote);
	struct pkt q = { .l3 = quote, .flags = is_v4 ? PKT_V4 : PKT_V6 };
	__be16 *port;

	if (quote + (is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) > end)
		return;
	if (is_v4) {
		struct iphdr *ip = quote;

		if (ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(0x1fff))
			return;
		q.proto = ip->protocol;
		port = quote + ip->ihl * 4;
	} else {
		struct ipv6hdr *ip = quote;

		if (ip->version != 6)
			return;
		q.proto = ip->nexthdr;
		port = quote + sizeof(*ip);
	}
	if ((void *)port + 8 > end || (q.proto != IPPROTO_TCP && q.proto != IPPROTO_UDP))
		return;
	if (f->is_to_own)
		pkt_addrs(&q, f->key.own, f->key.client);
	else
		pkt_addrs(&q, f->key.client, f->key.own);
	flow_ports(f, port, !f->is_to_own);
	f->key.proto = q.proto;
	f->kind = ICMP;
}

/* p: of the IP header. */
static __always_inline void flow_parse(struct pkt *p, void *end, bool is_to_own, struct flow *f)
{
	bool is_v4 = p->flags & PKT_V4;
	void *l4 = p->l4;

	__builtin_memset(f, 0, sizeof(*f));
	f->is_to_own = is_to_own;
	f->key.scope = (__u16)here.scope;
	f->key.proto = p->proto;
	if (is_to_own)
		pkt_addrs(p, f->key.client, f->key.own);
	else
		pkt_addrs(p, f->key.own, f->key.client);
	if (!(p->flags & PKT_L4)) {
		if (p->flags & PKT_FRAGMENT)
			f->kind = LATER;
		return;
	}
	if (l4 + 8 > end)
		return;
	f->l4 = l4 - p->l3;
	if (f->l4 > OFFSET_MAX - 8)
		return;
	f->is_first = !!(p->flags & PKT_FRAGMENT);
	if (p->proto == IPPROTO_UDP) {
		flow_ports(f, l4, is_to_own);
		f->kind = UDP;
	} else if (p->proto == IPPROTO_TCP && l4 + sizeof(struct tcphdr) <= end) {
		flow_ports(f, l4, is_to_own);
		f->tcp = ((__u8 *)l4)[13];
		f->kind = TCP;
	} else if (p->proto == (is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) && !f->is_first &&
		   is_icmp_error(p->proto, *(__u8 *)l4)) {
		f->quote = f->l4 + 8;
		quote_parse(p->l3, end, is_v4, f);
	}
}

static __always_inline __u32 now(void)
{
	return (__u32)bpf_jiffies64();
}

static __always_inline bool is_fresh(const struct agent_conn *c, __u8 proto, __u32 jiffies)
{
	bool is_closing = c->flags & AGENT_RST ||
			  (c->flags & (AGENT_FIN_CLIENT | AGENT_FIN_OWN)) == (AGENT_FIN_CLIENT | AGENT_FIN_OWN);
	__u32 idle = proto == IPPROTO_UDP ? AGENT_UDP_IDLE : is_closing ? AGENT_CLOSING_IDLE : AGENT_TCP_IDLE;

	return jiffies - c->seen < idle * here.hz;
}

/* Written only where it changes: others read the line, too. */
static __always_inline void conn_touch(struct agent_conn *c, const struct flow *f, __u32 jiffies)
{
	__u8 flags = c->flags;

	if (f->kind == TCP && f->tcp & TCP_FIN)
		flags |= f->is_to_own ? AGENT_FIN_CLIENT : AGENT_FIN_OWN;
	/* nobody here looks at sequence numbers: if the application goes on, it was no good RST */
	if (f->kind == TCP && f->tcp & TCP_RST)
		flags |= AGENT_RST;
	else if (f->kind == TCP && !f->is_to_own)
		flags &= ~AGENT_RST;
	if (f->kind == TCP && f->is_to_own && (f->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		flags = 0;
	if (c->seen != jiffies)
		c->seen = jiffies;
	if (c->flags != flags)
		c->flags = flags;
}

static __always_inline bool is_same(const __u32 a[4], const __u32 b[4])
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

/* A packet from client to own through a VIP. False: another VIP has its connection. */
static __always_inline bool conn_note(struct flow *f, const struct agent_vip_key *vip, const struct agent_vip *v,
				      __u32 overhead)
{
	struct agent_conn *c = bpf_map_lookup_elem(&conns, &f->key), new;
	__u32 jiffies = now();

	if (c && is_same(c->vip, vip->addr)) {
		conn_touch(c, f, jiffies);
		return true;
	}
	if (c && is_fresh(c, f->key.proto, jiffies))
		return false;
	if (f->kind == TCP && f->tcp & TCP_RST)
		return true;
	new = (struct agent_conn){ .seen = jiffies, .since = jiffies, .diff = v->diff, .overhead = (__u8)overhead };
	__builtin_memcpy(new.vip, vip->addr, sizeof(new.vip));
	bpf_map_update_elem(&conns, &f->key, &new, BPF_ANY);
	return true;
}

/* The client speaks to the application itself, or the application began to speak. */
static __always_inline void conn_forget(const struct agent_conn_key *key)
{
	if (bpf_map_lookup_elem(&conns, key) && !bpf_map_delete_elem(&conns, key))
		count(AGENT_DIRECT);
}

static __always_inline void vip_count(struct agent_vip *vip, __u32 overhead, __u32 bytes)
{
	__u32 i = vip->stat;
	struct agent_vip_stat *s = bpf_map_lookup_elem(&vipstats, &i);

	if (vip->overhead < overhead)
		vip->overhead = (__u8)overhead;
	if (!s)
		return;
	s->packets++;
	s->bytes += bytes;
}

static __always_inline bool is_translated(const struct agent_vip *vip)
{
	return vip->to[0] | vip->to[1] | vip->to[2] | vip->to[3];
}

/* What a tunnel adds to packets of the load balancer: variant 1. */
static __always_inline __u32 overhead_of(const struct tunnel *t)
{
	return (t->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr);
}

/* The connection of the IP packet at this offset, into scratch; 0: it has no sound header. */
static __always_inline int flow_at(void *data, void *end, __u32 ip, __u32 is_v6, __u32 is_to_own)
{
	struct flow *f = flow_here();
	struct pkt p = { .l3 = at(data, ip) };

	if (!f)
		return 0;
	if (is_v6)
		pkt_parse6(&p, end, false);
	else
		pkt_parse4(&p, end);
	if (!(p.flags & (PKT_V4 | PKT_V6)))
		return 0;
	flow_parse(&p, end, is_to_own, f);
	f->ip = ip;
	f->is_v6 = !!is_v6;
	f->frag_id = p.frag_id;
	f->frag_proto = is_v6 ? 0 : p.proto;
	pkt_addrs(&p, f->src, f->dst);
	return 1;
}

__noinline int xdp_flow(struct xdp_md *ctx, __u32 ip, __u32 is_v6)
{
	return flow_at((void *)(long)ctx->data, (void *)(long)ctx->data_end, ip, is_v6, true);
}

__noinline int skb_flow(struct __sk_buff *skb, __u32 ip, __u32 is_v6, __u32 is_to_own)
{
	return flow_at((void *)(long)skb->data, (void *)(long)skb->data_end, ip, is_v6, is_to_own);
}

/* What is to be known before a packet to a translated VIP is changed: TAKE, or what to count. */
static __always_inline int translate_plan(const struct tunnel *t, struct flow *f)
{
	__u32 least = sizeof(struct udphdr);

	if (f->kind == OTHER)
		return AGENT_NOT_TRANSLATABLE;
	if (f->kind == TCP)
		least = sizeof(struct tcphdr);
	else if (f->kind == ICMP)
		least += (t->is_inner_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + 8;
	if (f->kind != LATER && f->l4 + least > t->inner_len)
		return AGENT_BAD_LENGTH;
	/* the quoted packet is from the VIP */
	if (f->kind == ICMP)
		return is_same(f->key.own, t->key.addr) ? TAKE : AGENT_NOT_TRANSLATABLE;
	if (f->kind == LATER)
		return TAKE;
	__builtin_memcpy(f->key.own, t->vip->to, sizeof(f->key.own));
	return conn_note(f, &t->key, t->vip, overhead_of(t)) ? TAKE : AGENT_CONFLICT;
}

#endif
