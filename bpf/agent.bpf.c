/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* agent: packets of a load balancer out of GUE, to applications that own the VIP or do not. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <bpf/bpf_core_read.h>
#include "agent.h"
#include "gue.h"
#include "pkt.h"

const volatile struct agent_here here SEC(".rodata.place") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AGENT_PLACES);
	__type(key, __u32);
	__type(value, struct agent_place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGENT_VIPS);
	__type(key, struct agent_vip_key);
	__type(value, struct agent_vip);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, AGENT_SOURCES);
	__type(key, struct agent_source);
	__type(value, __u8);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AGENT_CONNS);
	__type(key, struct agent_conn_key);
	__type(value, struct agent_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AGENT_FRAGS);
	__type(key, struct agent_frag);
	__type(value, struct agent_conn_key);
} frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AGENT_PLACES);
	__type(key, __u32);
	__type(value, struct agent_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AGENT_VIPS);
	__type(key, __u32);
	__type(value, struct agent_vip_stat);
} vipstats SEC(".maps");

static __always_inline void count(enum agent_count what)
{
	__u32 i = here.place;
	struct agent_stat *s = bpf_map_lookup_elem(&stats, &i);

	if (s)
		s->count[what]++;
}

static __always_inline struct agent_place *place_here(void)
{
	__u32 i = here.place;

	return bpf_map_lookup_elem(&places, &i);
}

/*
 * What is in a tunnel. Offsets from the start of the frame.
 */
struct tunnel {
	struct agent_vip_key key;
	__u32 l2;           /* length of Ethernet header and tags */
	__u32 strip;        /* of the outer headers behind it */
	__u32 inner_len;    /* of the inner packet, as its header says */
	__u8 is_v6, is_inner_v6;
	__u8 has_gue;       /* variant 0 */
	__u8 words;         /* of private data in it */
	struct agent_vip *vip;
};

/* v, but the verifier does not know its value: what comes after is followed once, not once
 * for each value there may be. noise: any number it does not know. */
static __always_inline __u32 blur(__u32 v, __u32 noise)
{
	v ^= noise;
	barrier_var(v);
	return v ^ noise;
}

enum { NOT_OURS = -1, TAKE = AGENT_COUNTS }; /* or what to count */

/* No offset of an inner header is more: two tags, IPv6, UDP and 31 words of GUE are. */
#define OFFSET_MAX 255
static __always_inline void *at(void *data, __u32 offset)
{
	barrier_var(offset);
	return data + (offset & OFFSET_MAX);
}

/* Behind UDP; how many bytes of GUE, or -1. */
static __always_inline int gue_parse(struct gue *gue, void *end, struct tunnel *t)
{
	if ((void *)(gue + 1) > end)
		return -1;
	t->is_inner_v6 = gue->first >> 4 == 6;
	if (gue->first >> 4 == 4 || t->is_inner_v6)
		return 0;
	if (gue->first & ~GUE_WORDS || gue->flags || (gue->proto != IPPROTO_IPIP && gue->proto != IPPROTO_IPV6))
		return -1;
	t->is_inner_v6 = gue->proto == IPPROTO_IPV6;
	t->words = gue->first & GUE_WORDS;
	t->has_gue = true;
	return sizeof(*gue) + 4 * t->words;
}

/* The inner header: its destination and length. */
static __always_inline bool inner_parse(void *inner, void *end, struct tunnel *t)
{
	__u32 *addr = t->key.addr;

	if (t->is_inner_v6) {
		struct ipv6hdr *ip = inner;

		if ((void *)(ip + 1) > end || ip->version != 6)
			return false;
		t->inner_len = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		__builtin_memcpy(addr, &ip->daddr, 16);
	} else {
		struct iphdr *ip = inner;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
			return false;
		t->inner_len = bpf_ntohs(ip->tot_len);
		addr[0] = addr[1] = 0;
		addr[2] = bpf_htonl(0xffff);
		addr[3] = ip->daddr;
		return t->inner_len >= ip->ihl * 4;
	}
	return true;
}

static __always_inline bool is_allowed(const struct pkt *p)
{
	struct agent_source key = { .len = 8 * (sizeof(key) - sizeof(key.len)), .place = here.place };
	__u32 dst[4];

	pkt_addrs(p, key.addr, dst);
	return bpf_map_lookup_elem(&sources, &key);
}

/* size: of the frame, not all of which may be between data and end. */
static __always_inline int tunnel_parse(void *data, void *end, __u32 size, const struct pkt *p,
					const struct agent_place *place, struct tunnel *t)
{
	struct udphdr *udp = p->l4;
	__u32 ip_len, len, total;
	int gue;

	if (!(p->flags & PKT_L4) || p->proto != IPPROTO_UDP || (void *)(udp + 1) > end || udp->dest != place->port)
		return NOT_OURS;
	t->is_v6 = !(p->flags & PKT_V4);
	t->l2 = sizeof(struct ethhdr) + (p->l3 - data - sizeof(struct ethhdr));
	ip_len = t->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	if (p->flags & PKT_FRAGMENT || p->l3 + ip_len != (void *)udp)
		return AGENT_OUTER;
	gue = gue_parse((void *)(udp + 1), end, t);
	if (gue < 0)
		return AGENT_UNKNOWN;
	len = bpf_ntohs(udp->len);
	total = t->is_v6 ? bpf_ntohs(((struct ipv6hdr *)p->l3)->payload_len) + ip_len :
			   bpf_ntohs(((struct iphdr *)p->l3)->tot_len);
	t->strip = ip_len + sizeof(*udp) + gue;
	if (!inner_parse(at(data, t->l2 + t->strip), end, t) || t->inner_len + sizeof(*udp) + gue > len ||
	    ip_len + len > total || t->l2 + ip_len + len > size)
		return AGENT_BAD_LENGTH;
	t->key.place = here.place;
	t->vip = bpf_map_lookup_elem(&vips, &t->key);
	if (!t->vip)
		return AGENT_NO_VIP;
	if (place->is_strict && !is_allowed(p))
		return AGENT_NOT_ALLOWED;
	t->l2 = blur(t->l2, place->ifindex);
	t->strip = blur(t->strip, place->ifindex);
	t->is_v6 = (__u8)blur(t->is_v6, place->ifindex);
	t->is_inner_v6 = (__u8)blur(t->is_inner_v6, place->ifindex);
	t->has_gue = (__u8)blur(t->has_gue, place->ifindex);
	return TAKE;
}

/*
 * ECN (RFC 6040, section 4.2): what the outer header says becomes part of the inner one.
 */
enum { ECN_NONE, ECT_1, ECT_0, ECN_CE };

/* The first two bytes of an IP header, host byte order. */
static __always_inline __u32 ecn_of(__u32 word, bool is_v6)
{
	return is_v6 ? word >> 4 & 3 : word & 3;
}

/* The inner one's afterwards, -1: the packet must be dropped. */
static __always_inline int ecn_join(__u32 outer, __u32 inner)
{
	if (outer == ECN_CE)
		return inner == ECN_NONE ? -1 : ECN_CE;
	return outer == ECT_1 && inner == ECT_0 ? ECT_1 : (int)inner;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1624: a checksum after words were replaced; diff: the sum of new - old ones. */
static __always_inline void csum_add(__be16 *check, __u32 diff)
{
	*check = (__be16)~fold((__u16)~*check + diff);
}

/* The first word of the inner header as it has to be; false: drop the packet. */
static __always_inline bool ecn_plan(const void *outer, const void *end, __be16 old, const struct tunnel *t,
				     __be16 *new)
{
	__u32 word = bpf_ntohs(old), is = ecn_of(word, t->is_inner_v6);
	int ecn;

	if (outer + sizeof(word) > end)
		return false;
	ecn = ecn_join(ecn_of(bpf_ntohs(*(__be16 *)outer), t->is_v6), is);
	*new = bpf_htons(word + (((__u32)ecn - is) << (t->is_inner_v6 ? 4 : 0)));
	return ecn >= 0;
}

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

/* Where the maximum segment size is among the options of a TCP header of len bytes, 0: it is not. */
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

#define MSS_LEAST 88 /* what the smallest MTU that IPv4 knows, and headers, leave */

static __always_inline __u16 swap(__u16 v)
{
	return v << 8 | v >> 8;
}

/* A SYN-ACK: the client's segments have to fit into the tunnel. */
__noinline int mss_clamp(struct __sk_buff *skb, __u32 l4, __u32 overhead)
{
	__u8 tcp[64] = { 0 };
	__u32 len, at;
	__u16 from, to;

	if (bpf_skb_load_bytes(skb, l4, tcp, sizeof(struct tcphdr)))
		return 0;
	len = (tcp[12] >> 4) * 4;
	if (len <= sizeof(struct tcphdr) || len > 60 || bpf_skb_load_bytes(skb, l4, tcp, len))
		return 0;
	at = mss_find(tcp, len);
	if (at < sizeof(struct tcphdr) || at > 58)
		return 0;
	from = tcp[at] << 8 | tcp[at + 1];
	if (from < overhead + MSS_LEAST)
		return 0;
	to = bpf_htons(from - overhead);
	from = bpf_htons(from);
	if (bpf_skb_store_bytes(skb, l4 + at, &to, 2, 0))
		return 0;
	if (at & 1)
		bpf_l4_csum_replace(skb, l4 + 16, swap(from), swap(to), 2);
	else
		bpf_l4_csum_replace(skb, l4 + 16, from, to, 2);
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
