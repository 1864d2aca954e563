/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* agent: packets of a load balancer out of GUE, to applications that own the VIP or do not. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
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
	__u32 hop;          /* where struct gue_hop is, 0: nowhere */
	__u8 is_v6, is_inner_v6;
	struct agent_vip *vip;
};

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
	return sizeof(*gue) + 4 * (gue->first & GUE_WORDS);
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
	__u32 ip_len, len;
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
	t->strip = ip_len + sizeof(*udp) + gue;
	if (!inner_parse(at(data, t->l2 + t->strip), end, t) || t->inner_len + sizeof(*udp) + gue > len ||
	    t->l2 + ip_len + len > size)
		return AGENT_BAD_LENGTH;
	t->key.place = here.place;
	t->vip = bpf_map_lookup_elem(&vips, &t->key);
	if (!t->vip)
		return AGENT_NO_VIP;
	return !place->is_strict || is_allowed(p) ? TAKE : AGENT_NOT_ALLOWED;
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

/* False: drop it. */
static __always_inline bool ecn_write(void *outer, void *inner, const struct tunnel *t)
{
	__be16 *word = inner;
	__u32 old = bpf_ntohs(*word), is, new;
	int ecn;

	is = ecn_of(old, t->is_inner_v6);
	ecn = ecn_join(ecn_of(bpf_ntohs(*(__be16 *)outer), t->is_v6), is);
	if (ecn < 0)
		return false;
	if (ecn == (int)is)
		return true;
	new = old + (((__u32)ecn - is) << (t->is_inner_v6 ? 4 : 0));
	if (!t->is_inner_v6)
		csum_add(&((struct iphdr *)inner)->check, bpf_htons(new) + (__u16)~*word);
	*word = bpf_htons(new);
	return true;
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

/* What a tunnel adds to packets of the load balancer: variant 1. */
static __always_inline __u32 overhead_of(const struct tunnel *t)
{
	return (t->is_v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) + sizeof(struct udphdr);
}

/* Ethernet header and tags, by as much as strip towards the end. */
static __always_inline bool l2_move(void *data, void *end, const struct tunnel *t)
{
	void *to = at(data, t->strip);
	__be16 *type = at(data, t->l2 + t->strip - 2);

	if (to + sizeof(struct ethhdr) + 4 * PKT_VLANS > end || (void *)(type + 1) > end)
		return false;
	__builtin_memcpy(to, data, 12);
	if (t->l2 >= sizeof(struct ethhdr) + 4)
		__builtin_memcpy(to + 12, data + 12, 4);
	if (t->l2 >= sizeof(struct ethhdr) + 8)
		__builtin_memcpy(to + 16, data + 16, 4);
	*type = t->is_inner_v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	return true;
}

static __always_inline __u32 xdp_size(struct xdp_md *ctx)
{
	return (__u32)(ctx->data_end - ctx->data);
}

SEC("xdp.frags")
int agent(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct agent_place *place = place_here();
	struct tunnel t = { 0 };
	struct pkt p;
	void *inner;
	int ret;

	if (!place)
		return XDP_PASS;
	pkt_parse(data, end, &p);
	ret = tunnel_parse(data, end, xdp_size(ctx), &p, place, &t);
	if (ret != TAKE) {
		if (ret != NOT_OURS)
			count(ret);
		return XDP_PASS;
	}
	inner = at(data, t.l2 + t.strip);
	if (inner + sizeof(struct iphdr) > end)
		return XDP_PASS;
	if (!ecn_write(p.l3, inner, &t)) {
		count(AGENT_CONGESTED);
		return XDP_DROP;
	}
	vip_count(t.vip, overhead_of(&t), t.inner_len);
	if (!l2_move(data, end, &t) || bpf_xdp_adjust_head(ctx, (int)t.strip))
		return XDP_PASS;
	count(AGENT_DECAPSULATED);
	return XDP_PASS;
}

SEC("tc")
int agent_tc(struct __sk_buff *skb)
{
	struct agent_place *place = place_here();

	return place && place->at ? TC_ACT_UNSPEC : -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
