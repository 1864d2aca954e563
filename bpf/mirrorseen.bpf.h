/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_MIRRORSEEN_BPF_H
#define L3AF_MIRRORSEEN_BPF_H

/* A packet as filters see it. */
#include "match.h"
#include "pkt.h"

enum { IPPROTO_UDPLITE_ = 136 };

/* What is known of a packet when it has been parsed. Offsets from its first octet. */
struct seen {
	struct match_key key;
	__u16 l3, l4;      /* l4: as struct pkt has it */
	__u16 type;        /* EtherType behind the tags */
	__u16 flags;       /* PKT_* */
};

static __always_inline bool has_ports(__u8 proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP ||
	       proto == IPPROTO_DCCP || proto == IPPROTO_UDPLITE_;
}

static __always_inline void see_addrs(const struct pkt *p, struct match_key *k)
{
	if (p->flags & PKT_V4) {
		const struct iphdr *ip = p->l3;

		k->src[1] = 0xffff00000000 | bpf_ntohl(ip->saddr);
		k->dst[1] = 0xffff00000000 | bpf_ntohl(ip->daddr);
		k->has = MATCH_V4;
	} else {
		const __u64 *addr = p->l3 + offsetof(struct ipv6hdr, saddr);

		k->src[0] = bpf_be64_to_cpu(addr[0]);
		k->src[1] = bpf_be64_to_cpu(addr[1]);
		k->dst[0] = bpf_be64_to_cpu(addr[2]);
		k->dst[1] = bpf_be64_to_cpu(addr[3]);
		k->has = MATCH_V6;
	}
}

/* s: zero but for key.direction */
static __always_inline void see(const struct pkt *p, void *data, void *end, struct seen *s)
{
	const __u8 *l4 = p->l4;

	s->key.vlan = p->vlans ? p->vlan[0] & 0xfff : MATCH_NO_VLAN;
	s->l3 = p->l3 - data;
	s->type = p->type;
	s->flags = p->flags;
	if (!(p->flags & (PKT_V4 | PKT_V6)))
		return;
	see_addrs(p, &s->key);
	s->key.proto = p->proto;
	if (!(p->flags & (PKT_L4 | PKT_FRAGMENT)))
		return;
	s->l4 = p->l4 - data;
	if (!(p->flags & PKT_L4) || !has_ports(p->proto) || (void *)(l4 + 4) > end)
		return;
	s->key.sport = bpf_ntohs(((__be16 *)l4)[0]);
	s->key.dport = bpf_ntohs(((__be16 *)l4)[1]);
	s->key.has |= MATCH_PORTS;
	if (p->proto == IPPROTO_TCP && (void *)(l4 + 14) <= end) {
		s->key.flags = l4[13];
		s->key.has |= MATCH_FLAGS;
	}
}

#endif
