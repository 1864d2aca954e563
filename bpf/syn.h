/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_SYN_H
#define L3AF_SYN_H

/*
 * What ratelimit and connlimit share: which packet opens a connection, which rules
 * apply to it, and what becomes of it when one refuses.
 *
 * Work per rule is done in global functions, which the verifier checks once instead
 * of once per rule, and whose results it does not follow through the loops.
 */
#include <linux/bpf.h>
#include <linux/tcp.h>
#include "limit.h"
#include "pkt.h"
#include "window.h"

const volatile struct limit_place place SEC(".rodata.place") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct limit_table);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LIMIT_RULES);
	__type(key, __u32);
	__type(value, struct limit_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} resets SEC(".maps");

/* A packet that would open a connection, and how far it got. */
struct syn {
	__u32 src[4], dst[4];  /* IPv4 as ::ffff:a.b.c.d */
	__u64 now_ns;
	__u64 matched;         /* rules that apply, a bit per slot */
	__u64 by_source;       /* those of them that are per source */
	__u64 taken;           /* those that have counted it */
	__u16 sport, dport;    /* host byte order */
	__u16 l3, l4;          /* offsets */
	__u32 bank;
	__u32 tick, last_id;   /* connlimit */
	__u8 opaque;           /* no ports known: matches rules of any port, is refused */
	__u8 bare;             /* no whole TCP header: cannot be answered */
	__u8 late;             /* connlimit: its SYN was accepted, and counted so, before */
	__u8 reserved;
	__u32 reserved2;
};
_Static_assert(sizeof(struct syn) == 96, "no padding: the verifier wants all of it initialised");

static __always_inline const struct limit_table *table_at(__u32 bank)
{
	return bpf_map_lookup_elem(&rules, &bank);
}

static __always_inline __u32 bank_active(void)
{
	__u32 zero = 0, *bank = bpf_map_lookup_elem(&active, &zero);

	return bank ? *bank & 1 : 0;
}

static __always_inline const struct limit_rule *rule_at(__u32 bank, __u32 slot)
{
	const struct limit_table *t = table_at(bank);

	slot &= LIMIT_RULES - 1;
	barrier_var(slot);
	return t ? &t->rule[slot & (LIMIT_RULES - 1)] : NULL;
}

static __always_inline struct limit_stat *stat_of(const struct limit_rule *rule)
{
	__u32 i = rule->stat;

	return bpf_map_lookup_elem(&stats, &i);
}

/* SYN without ACK; what has RST or FIN too opens nothing. A first fragment that ends
 * before the flags is taken for one, or limits could be passed in small pieces. */
static __always_inline bool tcp_opens(struct pkt *p, void *end, struct syn *s)
{
	struct tcphdr *tcp = p->l4;

	if (__builtin_expect((void *)(tcp + 1) <= end, 1)) {
		if (tcp->ack || !tcp->syn || tcp->rst || tcp->fin)
			return false;
	} else {
		if (!(p->flags & PKT_FRAGMENT) || p->l4 + 4 > end)
			return false;
		s->bare = 1;
	}
	s->sport = bpf_ntohs(tcp->source);
	s->dport = bpf_ntohs(tcp->dest);
	return true;
}

static __always_inline bool syn_parse(struct xdp_md *ctx, struct syn *s)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct pkt p;

	pkt_parse(data, end, &p);
	if (__builtin_expect(p.flags & PKT_DEEP, 0))
		s->opaque = s->bare = 1;
	else if (!(p.flags & PKT_L4) || p.proto != IPPROTO_TCP || !tcp_opens(&p, end, s))
		return false;
	pkt_addrs(&p, s->src, s->dst);
	s->l3 = p.l3 - data;
	s->l4 = p.l4 - data;
	s->now_ns = bpf_ktime_get_ns();
	s->bank = bank_active();
	return true;
}

static __always_inline bool addr_is(const __u64 want[2], const __u32 addr[4])
{
	return want[0] == (addr[0] | (__u64)addr[1] << 32) && want[1] == (addr[2] | (__u64)addr[3] << 32);
}

static __always_inline bool rule_covers(const struct limit_rule *rule, __u64 netns, const __u32 local[4],
					__u16 port)
{
	if (!rule->id || rule->netns != netns)
		return false;
	if (rule->port_hi && (port < rule->port_lo || port > rule->port_hi))
		return false;
	return !(rule->vip[0] | rule->vip[1]) || addr_is(rule->vip, local);
}

/* The masks are built in memory that the verifier does not follow: in registers, each
 * of their 2^64 values would be a state to it. */
__noinline int syn_match(struct syn *s)
{
	const struct limit_table *t;
	volatile __u64 *matched, *by_source;

	if (!s || !(t = table_at(s->bank)))
		return 0;
	matched = &s->matched;
	by_source = &s->by_source;
	s->last_id = t->last_id;
	for (__u32 slot = 0; slot < LIMIT_RULES; slot++) {
		const struct limit_rule *rule = &t->rule[slot];

		if (slot >= t->slots)
			break;
		if (rule->ifindex != place.ifindex ||
		    !rule_covers(rule, place.netns, s->dst, s->opaque ? rule->port_lo : s->dport))
			continue;
		*matched |= 1ULL << slot;
		if (rule->per == LIMIT_PER_SOURCE)
			*by_source |= 1ULL << slot;
	}
	return *matched != 0;
}

static __always_inline void key_mask(__u32 part[4], __u32 bits)
{
	for (int i = 0; i < 4; i++) {
		__u32 here = bits > 32 ? 32 : bits;

		part[i] &= here ? bpf_htonl(~0U << (32 - here)) : 0;
		bits -= here;
	}
}

static __always_inline bool addr_is_v4(const __u32 addr[4])
{
	return !(addr[0] | addr[1]) && addr[2] == bpf_htonl(0xffff);
}

/* Who shares a count under this rule. */
static __always_inline void key_make(const struct limit_rule *rule, const __u32 remote[4],
				     const __u32 local[4], __u16 port, struct limit_key *key)
{
	*key = (struct limit_key){ .id = rule->id };
	if (rule->per == LIMIT_PER_PORT) {
		key->part[0] = port;
	} else if (rule->per == LIMIT_PER_VIP) {
		__builtin_memcpy(key->part, local, 16);
	} else {
		__builtin_memcpy(key->part, remote, 16);
		key_mask(key->part, addr_is_v4(remote) ? 96 + rule->len4 : rule->len6);
	}
}

/* The map's value for key, made if need be. */
static __always_inline void *value_make(void *map, const struct limit_key *key, const void *empty)
{
	void *v = bpf_map_lookup_elem(map, key);

	if (v)
		return v;
	bpf_map_update_elem(map, key, empty, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, key);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u32 sum16(const void *p, int bytes)
{
	const __u16 *w = p;
	__u32 sum = 0;

	for (int i = 0; i < bytes / 2; i++)
		sum += w[i];
	return sum;
}

/* RST|ACK to the sender of a SYN with this sequence number and length. */
static __always_inline void tcp_make_reset(struct tcphdr *tcp, __u32 pseudo, __u32 ack)
{
	__be16 port = tcp->source;

	tcp->source = tcp->dest;
	tcp->dest = port;
	tcp->seq = 0;
	tcp->ack_seq = bpf_htonl(ack);
	((__u16 *)tcp)[6] = bpf_htons(0x5014);
	tcp->window = 0;
	tcp->check = 0;
	tcp->urg_ptr = 0;
	tcp->check = fold(pseudo + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp)) + sum16(tcp, sizeof(*tcp)));
}

struct answer {
	__be16 source, dest;
	__u32 ack;
};

/* What has to be known of the SYN before headers are moved over it. */
static __always_inline bool answer_prepare(const struct tcphdr *tcp, __u32 l4_len, struct answer *a)
{
	if (tcp->doff < 5 || l4_len < tcp->doff * 4)
		return false;
	a->source = tcp->source;
	a->dest = tcp->dest;
	a->ack = bpf_ntohl(tcp->seq) + 1 + l4_len - tcp->doff * 4;
	return true;
}

static __always_inline bool answer_v4(void *l3, const struct tcphdr *syn, __u32 header, void *end)
{
	struct iphdr *ip = l3;
	struct tcphdr *tcp = l3 + sizeof(*ip);
	__be32 addr = ip->saddr;
	struct answer a;

	/* not to what cannot be one host: 0/8, 127/8, multicast, broadcast */
	if (!(bpf_ntohl(addr) >> 24) || bpf_ntohl(addr) >> 24 == 127 || bpf_ntohl(addr) >> 24 >= 224)
		return false;
	if (bpf_ntohs(ip->tot_len) < header || !answer_prepare(syn, bpf_ntohs(ip->tot_len) - header, &a))
		return false;
	*ip = (struct iphdr){
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP,
		.tot_len = bpf_htons(40), .frag_off = bpf_htons(0x4000),
		.saddr = ip->daddr, .daddr = addr,
	};
	ip->check = fold(sum16(ip, sizeof(*ip)));
	tcp->source = a.source;
	tcp->dest = a.dest;
	tcp_make_reset(tcp, sum16(&ip->saddr, 8), a.ack);
	return true;
}

static __always_inline bool answer_v6(void *l3, const struct tcphdr *syn, __u32 header, void *end)
{
	struct ipv6hdr *ip = l3;
	struct tcphdr *tcp = l3 + sizeof(*ip);
	struct in6_addr addr;
	struct answer a;
	__u32 len = bpf_ntohs(ip->payload_len) + sizeof(*ip);

	if (ip->saddr.s6_addr[0] == 0xff || !(ip->saddr.s6_addr32[0] | ip->saddr.s6_addr32[1] | ip->saddr.s6_addr32[2]))
		return false;
	if (len < header || !answer_prepare(syn, len - header, &a))
		return false;
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	*(__be32 *)ip = bpf_htonl(0x60000000);
	ip->payload_len = bpf_htons(sizeof(*tcp));
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = 64;
	tcp->source = a.source;
	tcp->dest = a.dest;
	tcp_make_reset(tcp, sum16(&ip->saddr, 32), a.ack);
	return true;
}

static __always_inline void mac_swap(void *data)
{
	struct ethhdr *eth = data;
	__u8 mac[ETH_ALEN];

	__builtin_memcpy(mac, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, mac, ETH_ALEN);
}

/* Turn the SYN into its refusal; the VLAN tags stay, IP options and extension
 * headers go. 1: the packet is ready to be sent back. */
__noinline int syn_answer(struct xdp_md *ctx, __u32 l3_off, __u32 l4_off)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	void *l3, *l4;
	long size;
	__u32 len;
	bool done;

	if (l3_off < ETH_HLEN || l3_off > ETH_HLEN + 4 * PKT_VLANS || l4_off > 2048 || l4_off < l3_off)
		return 0;
	l3 = data + l3_off;
	l4 = data + l4_off;
	if (data + ETH_HLEN > end || l4 + sizeof(struct tcphdr) > end || l3 + 40 > end ||
	    ((struct ethhdr *)data)->h_dest[0] & 1)
		return 0;
	if ((*(__u8 *)l3 >> 4) == 4) {
		len = 40;
		done = answer_v4(l3, l4, l4_off - l3_off, end);
	} else {
		len = 60;
		if (l3 + 60 > end)
			return 0;
		done = answer_v6(l3, l4, l4_off - l3_off, end);
	}
	if (!done)
		return 0;
	mac_swap(data);
	size = end - data;
	barrier_var(size);
	return !bpf_xdp_adjust_tail(ctx, (int)(l3_off + len - size));
}

static __always_inline bool reset_allowed(__u64 now_ns)
{
	__u32 zero = 0;
	__u64 *word = bpf_map_lookup_elem(&resets, &zero);

	for (int i = 0; word && i < 8; i++) {
		__u64 old = *(volatile __u64 *)word;
		__u64 new = window_take(old, now_ns / 1000, 1000000, LIMIT_RESETS * 1000000ULL);

		if (!new)
			return false;
		if (__sync_val_compare_and_swap(word, old, new) == old)
			return true;
	}
	return false;
}

/* The verdict on a SYN that the rule in slot refused. */
__noinline int syn_refuse(struct xdp_md *ctx, struct syn *s, __u32 slot)
{
	const struct limit_rule *rule;
	struct limit_stat *stat;

	if (!s || !(rule = rule_at(s->bank, slot)) || !(stat = stat_of(rule)))
		return XDP_DROP;
	if (rule->action == LIMIT_RESET && !s->bare) {
		if (!reset_allowed(s->now_ns)) {
			stat->suppressed++;
		} else if (syn_answer(ctx, s->l3, s->l4)) {
			stat->reset++;
			return XDP_TX;
		}
	}
	stat->dropped++;
	return XDP_DROP;
}

/* The last ACK of a handshake that found no room any more. */
static __always_inline void syn_refuse_ack(struct syn *s, __u32 slot)
{
	const struct limit_rule *rule = rule_at(s->bank, slot);
	struct limit_stat *stat = rule ? stat_of(rule) : NULL;

	if (stat)
		stat->dropped++;
}

#endif
