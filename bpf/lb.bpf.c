/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * lb: packets for VIPs go to their backends, in GUE. bpf/lb.h is the contract with user
 * space.
 *
 * A packet of a known flow, whose headers are plain, takes the shortest path, lb_known4 or
 * lb_known6: one piece of straight code. Whatever it does not want it leaves untouched to
 * lb_any, which can do everything.
 */
#include <linux/bpf.h>
#include <linux/tcp.h>
#include "lbmaps.bpf.h"
#include "lbflows.bpf.h"
#include "lbencap.bpf.h"
#include "lbicmp.bpf.h"
#include "lbprobe.bpf.h"

/*
 * Any packet.
 */
/* Sum of the IPv4 options behind a header at l3, folded. */
__noinline int sum_options(struct xdp_md *ctx, __u32 l3, __u32 ihl)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 sum = 0;

	if (l3 > 64)
		return 0;
	for (__u32 i = 5; i < 15; i++) {
		__u32 *w = data + l3 + 4 * i;

		if (i >= ihl || (void *)(w + 1) > end)
			break;
		sum += *w;
	}
	return sum_fold(sum);
}

static __always_inline void read_ip4(struct xdp_md *ctx, struct job *j, const struct pkt *p)
{
	const struct iphdr *ip = p->l3;
	const __u32 *w = p->l3;

	j->is_v4 = 1;
	j->len = bpf_ntohs(ip->tot_len);
	j->is_bad = j->len < ip->ihl * 4U;
	j->tos = ip->tos;
	j->id = ip->id;
	j->frag_off = ip->frag_off & bpf_htons(0x4000);
	/* addresses are in both sums, the header's and the pseudo header's */
	j->sum = (__u64)w[0] + w[1] + w[2];
	if (ip->ihl > 5)
		j->sum += (__u16)sum_options(ctx, j->l3, ip->ihl);
}

static __always_inline void read_ip6(struct job *j, const struct pkt *p)
{
	const struct ipv6hdr *ip = p->l3;
	const __u32 *w = p->l3;

	j->is_v4 = 0;
	j->len = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	j->is_bad = p->flags & PKT_FRAGMENT && j->len < sizeof(*ip) + sizeof(struct pkt_ext);
	j->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	j->id = 0;
	j->frag_off = bpf_htons(0x4000);
	j->sum = (__u64)w[0] + w[1];
}

/* The rest is what the transport checksum has made 0: less the pseudo header, which it
 * covers as well. */
static __always_inline void sum_less(struct job *j, __u32 l4_len)
{
	j->sum += (__u16)~bpf_htons(j->f.proto) + (__u64)(__u16)~bpf_htons(l4_len);
}

static __always_inline void read_tcp(struct job *j, const __u8 *tcp, void *end, __u32 l4_len)
{
	if (!j->is_fragment && (l4_len < sizeof(struct tcphdr) || (void *)tcp + sizeof(struct tcphdr) > end))
		j->is_bad = 1;
	if ((void *)tcp + 14 <= end && l4_len >= 14)
		j->tcp = tcp[13];
	sum_less(j, l4_len);
}

static __always_inline void read_udp(struct job *j, const struct udphdr *udp, __u32 l4_len)
{
	__u32 len = bpf_ntohs(udp->len);

	if (!j->is_fragment && (len > l4_len || len < sizeof(*udp)))
		j->is_bad = 1;
	if (!udp->check || len != l4_len)
		j->has_sum = 0;
	sum_less(j, l4_len);
}

/* An echo request with options or extension headers is left to the host: some of them would
 * have to be changed in the answer. */
static __always_inline int read_icmp(struct job *j, const struct icmp *icmp, __u32 l4_len)
{
	bool is_plain = j->l4 - j->l3 == (j->is_v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));

	if (j->is_fragment || j->is_bad)
		return JOB_NONE;
	if (j->is_v4)
		j->sum += (__u64)j->f.src[3] + j->f.dst[3];
	else
		sum_less(j, l4_len);
	if (!icmp->code && icmp->type == (j->is_v4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST))
		return is_plain ? JOB_ECHO : JOB_NONE;
	return icmp_is_error(j, icmp->type) ? JOB_ERROR : JOB_NONE;
}

/* The transport header at j->l4. */
__noinline int job_read_l4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *l4;
	struct job *j = job_get();
	__u32 at, l4_len;

	if (!j)
		return JOB_NONE;
	at = j->l4;
	if (at > PKT_EXT_HEADERS * 2048 + 64)
		return JOB_NONE;
	l4 = data + at;
	if (l4 + 8 > end)
		return JOB_NONE;
	l4_len = j->len - (at - j->l3);
	if (j->len < at - j->l3 + 8)
		j->is_bad = 1;
	j->has_sum = !j->is_fragment && (j->is_v4 || at == j->l3 + sizeof(struct ipv6hdr));
	if (j->f.proto == (j->is_v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return read_icmp(j, l4, l4_len);
	if (j->f.proto != IPPROTO_TCP && j->f.proto != IPPROTO_UDP)
		return JOB_NONE;
	j->f.sport = ((__be16 *)l4)[0];
	j->f.dport = ((__be16 *)l4)[1];
	if (j->f.proto == IPPROTO_TCP)
		read_tcp(j, l4, end, l4_len);
	else
		read_udp(j, l4, l4_len);
	return JOB_PACKET;
}

/* As keys have IPv4 addresses; in an IPv6 header it is no VIP's. */
static __always_inline bool is_ip4(const __u32 addr[4])
{
	return !addr[0] && !addr[1] && addr[2] == bpf_htonl(0xffff);
}

/* What the packet is, into the job: enum job_kind. */
__noinline int job_read(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct lb_config *c = config_get();
	struct job *j = job_get();
	struct pkt p;

	if (!j || !c)
		return JOB_NONE;
	pkt_parse(data, end, &p);
	if (!(p.flags & (PKT_V4 | PKT_V6)) || *(__u8 *)data & 1)
		return JOB_NONE;
	pkt_addrs(&p, j->f.src, j->f.dst);
	if (!is_maybe_vip(j->f.dst) || (p.flags & PKT_V6 && is_ip4(j->f.dst)))
		return JOB_NONE;
	__builtin_memcpy(j->vip_addr, j->f.dst, sizeof(j->vip_addr));
	j->l3 = p.l3 - data;
	j->now = bpf_jiffies64() >> (c->tick_shift & 63);
	j->backend = j->second = j->way = j->old = j->is_new = 0;
	j->f.sport = j->f.dport = 0;
	j->f.proto = p.proto;
	/* IPv4 identifications are of a protocol each: RFC 791 */
	j->frag_id = p.flags & PKT_V4 ? p.frag_id | (__u32)p.proto << 16 : p.frag_id;
	j->is_fragment = !!(p.flags & PKT_FRAGMENT);
	j->tcp = j->has_sum = 0;
	if (p.flags & PKT_V4)
		read_ip4(ctx, j, &p);
	else
		read_ip6(j, &p);
	j->is_bad |= j->len > frame_len(ctx) - j->l3;
	if (p.flags & PKT_L4) {
		j->l4 = p.l4 - data;
		return job_read_l4(ctx);
	}
	return j->is_fragment && (p.proto == IPPROTO_TCP || p.proto == IPPROTO_UDP) ? JOB_LATER : JOB_NONE;
}

static __always_inline int drop(const struct job *j, __u32 why)
{
	vip_count(j->vip, why);
	return XDP_DROP;
}

/* What a packet with so much in front of it may be at most; 0: as much as it is. */
static __always_inline __u32 mtu_of(struct xdp_md *ctx, const struct job *j, const struct lb_place *place, __u32 over)
{
	__u32 len = j->len + over, mtu = len;

	if (len > 65535)
		return 65535;
	if (len <= place->mtu && j->out == here.ifindex)
		return 0;
	if (!bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_check_mtu))
		return len <= place->mtu ? 0 : place->mtu;
	return bpf_check_mtu(ctx, j->out, &mtu, 0, 0) ? mtu : 0;
}

/* No error about an error, nor about fragments but the first, nor to many: RFC 1812 4.3.2.7,
 * RFC 4443 2.4. */
static __always_inline int too_big(struct xdp_md *ctx, const struct job *j, __u32 mtu)
{
	int verdict = -1;

	vip_count(j->vip, LB_TOO_BIG);
	if (j->kind != JOB_PACKET || !is_host(j))
		return XDP_DROP;
	verdict = j->is_v4 ? big4(ctx, mtu) : big6(ctx, mtu);
	return verdict < 0 ? XDP_DROP : verdict;
}

/* To j->backend, or not. */
__noinline int job_forward(struct xdp_md *ctx)
{
	struct lb_place *place = place_get();
	struct lb_backend *backend;
	struct job *j = job_get();
	__u32 over, mtu;
	int verdict;
	bool is_v4;

	if (!j || !place)
		return XDP_DROP;
	backend = backend_get(j->backend);
	if (!backend)
		return XDP_DROP;
	is_v4 = backend->is_v4;
	if (is_v4 ? !place->source4 : !(place->source6[0] | place->source6[1] | place->source6[2] | place->source6[3]))
		return drop(j, LB_NO_SOURCE);
	if (!hop_find(ctx))
		return drop(j, LB_NO_NEXT_HOP);
	over = (is_v4 ? OUTER4 : OUTER6) + (j->second ? SECOND_HOP : 0);
	mtu = mtu_of(ctx, j, place, over);
	if (mtu)
		return too_big(ctx, j, mtu - over);
	verdict = is_v4 ? job_send4(ctx) : job_send6(ctx);
	if (verdict < 0)
		return drop(j, LB_NO_ROOM);
	backend_count(j->backend, j->len, j->is_new);
	if (j->kind == JOB_ERROR)
		vip_count(j->vip, LB_ICMP);
	if (j->is_fragment)
		vip_count(j->vip, LB_FRAGMENT);
	if (j->second)
		vip_count(j->vip, LB_SECOND_HOP);
	return verdict;
}

static __always_inline int fragment_later(struct xdp_md *ctx, struct job *j)
{
	int known = frag_known();

	if (!known || !(known > 0 || address_find()))
		return XDP_PASS;
	if (known < 0)
		return drop(j, LB_LOST_FRAGMENT);
	return j->is_bad ? drop(j, LB_BAD_LENGTH) : job_forward(ctx);
}

/* A packet with ports, or an error about one. */
static __always_inline int flow_forward(struct xdp_md *ctx, struct job *j)
{
	struct lb_config *c = config_get();
	bool is_first = j->is_fragment && j->kind == JOB_PACKET;
	int verdict;

	if (!c)
		return XDP_PASS;
	j->hash = lb_flow_hash(&j->f, c->key, j->is_v4);
	verdict = flow_pick();
	if (is_first && verdict != XDP_DROP)
		frag_note(verdict == PICKED ? j->backend : 0);
	return verdict == PICKED ? job_forward(ctx) : verdict;
}

static __always_inline int error_forward(struct xdp_md *ctx, struct job *j)
{
	int quote;

	if (!address_find())
		return XDP_PASS;
	quote = quote_read(ctx, j->l4 + 8);
	if (quote < 0)
		return drop(j, LB_BAD_ICMP);
	return quote ? flow_forward(ctx, j) : XDP_PASS;
}

__noinline int lb_any(struct xdp_md *ctx)
{
	int kind = job_read(ctx);
	struct job *j = job_get();

	if (!j || kind == JOB_NONE)
		return XDP_PASS;
	j->kind = kind;
	if (kind == JOB_PACKET)
		return flow_forward(ctx, j);
	if (kind == JOB_LATER)
		return fragment_later(ctx, j);
	if (kind == JOB_ERROR)
		return error_forward(ctx, j);
	if (!is_host(j) || !address_find())
		return XDP_PASS;
	vip_count(j->vip, LB_ECHO);
	return echo_answer(ctx);
}

/*
 * The shortest path.
 */
#define ODD (-2)

/* What is known of the packet and where it goes. */
struct known {
	struct lb_flow_id f;
	struct lb_place *place;
	struct lb_backend *backend;
	__u64 hash, dmac;
	__u32 number, len, now;
	struct outer o;
	bool is_picked, is_new, has_second;
	__u8 tcp;          /* flags */
};

/* Ports, and whether the transport header is one as it should be. l4_len: behind the IP
 * header, as that says. */
static __always_inline bool known_l4(struct known *k, const void *l4, __u32 l4_len)
{
	const struct udphdr *udp = l4;

	k->f.sport = udp->source;
	k->f.dport = udp->dest;
	if (k->f.proto == IPPROTO_TCP) {
		k->tcp = ((const __u8 *)l4)[13];
		k->o.has_sum = true;
		return l4_len >= sizeof(struct tcphdr);
	}
	k->o.has_sum = udp->check;
	return k->f.proto == IPPROTO_UDP && bpf_ntohs(udp->len) == l4_len && l4_len >= sizeof(*udp);
}

/* Does the flow table know where this goes? Then it is noted that it was seen. */
static __always_inline bool known_find(struct known *k, const struct lb_config *c, bool is_v4)
{
	volatile __u64 *way;
	struct lb_bucket *b;
	struct lb_vip *vip;
	__u64 e;

	if (unlikely(k->tcp & (TCP_FIN | TCP_SYN | TCP_RST)))
		return false;
	b = bucket_get(c, k->hash);
	if (!b)
		return false;
	way = way_guess(b, lb_tag(k->hash));
	e = *way;
	if (LB_ENTRY_TAG(e) != lb_tag(k->hash) || LB_ENTRY_FLOW(e) != LB_ESTABLISHED)
		return false;
	k->number = LB_ENTRY_BACKEND(e);
	k->backend = backend_get(k->number);
	if (!k->backend || k->backend->state != LB_ALIVE)
		return false;
	vip = vip_get(k->backend->vip);
	if (!vip || !vip_is(vip, &k->f))
		return false;
	if (likely(!((k->now ^ (__u32)e) & LB_TICKS)))
		return true;
	if (vip->flags & LB_STICKY || (vip->idle && LB_AGE(k->now, e) >= vip->idle))
		return false;
	*way = (e & ~(__u64)LB_TICKS) | (k->now & LB_TICKS);
	return true;
}

/* A flow that is not, or of which more has to be noted. A verdict, or PICKED. */
static __always_inline int known_pick(struct known *k, bool is_v4)
{
	struct job *j = job_get();
	int verdict;

	if (!j)
		return XDP_DROP;
	j->f = k->f;
	j->hash = k->hash;
	j->now = k->now;
	j->tcp = k->tcp;
	j->is_v4 = is_v4;
	j->kind = JOB_PACKET;
	j->backend = j->second = j->way = j->old = 0;
	j->is_new = j->is_bad = j->is_fragment = 0;
	verdict = flow_pick();
	if (verdict != PICKED)
		return verdict;
	k->number = j->backend;
	k->is_new = j->is_new;
	k->is_picked = true;
	k->has_second = j->second;
	k->backend = backend_get(k->number);
	return k->backend ? PICKED : XDP_DROP;
}

/* Where it goes: a verdict where it goes nowhere; PICKED: into k. */
static __always_inline int known_flow(struct known *k, bool is_v4)
{
	struct lb_config *c = config_get();
	int verdict = PICKED;

	if (!c)
		return XDP_PASS;
	k->hash = lb_flow_hash(&k->f, c->key, is_v4);
	k->now = bpf_jiffies64() >> (c->tick_shift & 63);
	k->o.hash = k->hash >> 32;
	if (!known_find(k, c, is_v4))
		verdict = known_pick(k, is_v4);
	return verdict;
}

/* Next hop by this interface. */
static __always_inline __u64 known_hop(const struct known *k)
{
	__u64 mac = place_gateway(k->place), w[3];
	struct lb_config *c = config_get();
	const volatile __u64 *word;
	struct lb_hop *hop;

	if (likely(mac))
		return mac;
	hop = c ? hop_get(c, k->number) : NULL;
	if (!hop)
		return 0;
	word = hop->word;
	w[0] = word[0];
	w[1] = word[1];
	w[2] = word[2];
	return hop_is_fresh(w, k->now) && (__u32)(w[2] >> 16) == here.ifindex ? w[0] >> 16 : 0;
}

/* Is the way there as plain as the packet? */
static __always_inline bool known_way(struct known *k, bool is_v4)
{
	const __u32 *source;

	k->place = place_get();
	if (!k->place || k->backend->is_v4 != is_v4 || k->has_second)
		return false;
	source = k->place->source6;
	if (is_v4 ? !k->place->source4 : !(source[0] | source[1] | source[2] | source[3]))
		return false;
	k->o.port = k->place->port;
	k->dmac = known_hop(k);
	return k->dmac && k->len + (is_v4 ? OUTER4 : OUTER6) <= k->place->mtu;
}

/* It is not: the rest of the job, and on from there. Nothing was noted of a flow that was
 * known: that may begin anew. */
static __always_inline int known_leave(struct xdp_md *ctx, const struct known *k, __be16 id, __be16 df)
{
	struct job *j = job_get();

	if (!k->is_picked || !j)
		return ODD;
	__builtin_memcpy(j->vip_addr, k->f.dst, sizeof(j->vip_addr));
	j->vip = k->backend->vip;
	j->l3 = ETH_HLEN;
	j->len = k->len;
	j->sum = k->o.sum;
	j->has_sum = k->o.has_sum;
	j->tos = k->o.tos;
	j->id = id;
	j->frag_off = df;
	return job_forward(ctx);
}

static __always_inline void known_l2(void *data, __u32 room, __u64 dmac)
{
	struct ethhdr *eth = data, *old = data + room;

	mac_write(eth->h_source, mac_read(old->h_dest));
	mac_write(eth->h_dest, dmac);
	eth->h_proto = room == OUTER4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

/* A packet whose frame is at least this long, in IPv4 to an IPv4 backend. */
#define LEAST4 (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))
static __always_inline int lb_known4(struct xdp_md *ctx, void *data, void *end)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct known k = { 0 };
	const __u32 *w;
	__be16 id, df;
	int verdict;
	__u64 len;

	k.f.dst[2] = bpf_htonl(0xffff);
	k.f.dst[3] = ip->daddr;
	if (!is_maybe_vip(k.f.dst))
		return XDP_PASS;
	w = (void *)ip;
	if (*(__u8 *)ip != 0x45 || ip->frag_off & bpf_htons(0xbfff) || *(__u8 *)data & 1)
		return ODD;
	k.f.src[2] = bpf_htonl(0xffff);
	k.f.src[3] = ip->saddr;
	k.f.proto = ip->protocol;
	k.len = len = length_read(ip->tot_len);
	if (k.len < sizeof(*ip) || (void *)ip + len > end || !known_l4(&k, ip + 1, k.len - sizeof(*ip)))
		return ODD;
	k.o.tos = ip->tos;
	k.o.len = k.len;
	k.o.sum = (__u64)w[0] + w[1] + w[2] + (__u16)~bpf_htons(k.f.proto) + (__u16)~bpf_htons(k.len - sizeof(*ip));
	id = ip->id;
	df = ip->frag_off;
	verdict = known_flow(&k, true);
	if (unlikely(verdict != PICKED))
		return verdict;
	if (!known_way(&k, true) || bpf_xdp_adjust_head(ctx, -(int)OUTER4))
		return known_leave(ctx, &k, id, df);
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + OUTER4 + ETH_HLEN > end)
		return XDP_DROP;
	known_l2(data, OUTER4, k.dmac);
	outer4_write(data + ETH_HLEN, &k.o, k.place->source4, k.backend->addr[3], id, df);
	backend_count(k.number, k.len, k.is_new);
	return XDP_TX;
}

#define LEAST6 (ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr))
static __always_inline int lb_known6(struct xdp_md *ctx, void *data, void *end)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	const __u32 *source, *w;
	struct known k = { 0 };
	__u32 l4_len;
	int verdict;
	__u64 len;

	__builtin_memcpy(k.f.dst, &ip->daddr, 16);
	if (!is_maybe_vip(k.f.dst))
		return XDP_PASS;
	w = (void *)ip;
	__builtin_memcpy(k.f.src, &ip->saddr, 16);
	k.f.proto = ip->nexthdr;
	len = length_read(ip->payload_len);
	l4_len = len;
	k.len = sizeof(*ip) + l4_len;
	if (ip->version != 6 || *(__u8 *)data & 1 || (void *)(ip + 1) + len > end || is_ip4(k.f.dst) ||
	    !known_l4(&k, ip + 1, l4_len))
		return ODD;
	k.o.tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	k.o.len = k.len;
	k.o.sum = (__u64)w[0] + w[1] + (__u16)~bpf_htons(k.f.proto) + (__u16)~bpf_htons(l4_len);
	verdict = known_flow(&k, false);
	if (unlikely(verdict != PICKED))
		return verdict;
	if (!known_way(&k, false) || bpf_xdp_adjust_head(ctx, -(int)OUTER6))
		return known_leave(ctx, &k, 0, bpf_htons(0x4000));
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + OUTER6 + ETH_HLEN > end)
		return XDP_DROP;
	known_l2(data, OUTER6, k.dmac);
	source = k.place->source6;
	outer6_write(data + ETH_HLEN, &k.o, source, k.backend->addr, sum_addr(source) + k.backend->sum);
	backend_count(k.number, k.len, k.is_new);
	return XDP_TX;
}

SEC("xdp.frags")
int lb(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	int verdict = ODD;

	if (likely(data + LEAST4 <= end)) {
		if (eth->h_proto == bpf_htons(ETH_P_IP))
			verdict = lb_known4(ctx, data, end);
		else if (eth->h_proto == bpf_htons(ETH_P_IPV6) && data + LEAST6 <= end)
			verdict = lb_known6(ctx, data, end);
		else if (eth->h_proto != bpf_htons(ETH_P_IPV6) && !pkt_is_vlan(eth->h_proto))
			return XDP_PASS;
	}
	return likely(verdict >= 0) ? verdict : lb_any(ctx);
}

SEC("tc")
int lb_probe(struct __sk_buff *skb)
{
	return (skb->mark & 0xffff0000) == LB_MARK ? probe_send(skb) : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
