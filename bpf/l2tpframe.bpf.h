/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPFRAME_BPF_H
#define L3AF_L2TPFRAME_BPF_H

/* Headers in numbers, by a function of its own: the verifier follows the parser once, and
 * whoever calls it knows nothing of what it read. */
#include "l2tpmaps.bpf.h"

#define HEADERS 256U    /* offsets are less */

struct frame {
	__u32 src[4], dst[4]; /* as pkt_addrs */
	__u32 l3, l4;         /* offsets; valid as those of struct pkt */
	__u32 end;            /* of the packet, as its IP header says */
	__u16 vlan[PKT_VLANS];
	__u8 vlans, proto, flags;
	bool has_df;
};

static __always_inline void *at_offset(struct __sk_buff *skb, __u32 offset)
{
	barrier_var(offset);
	return (void *)(long)skb->data + (offset & (HEADERS - 1));
}

static __always_inline void frame_fill(struct __sk_buff *skb, const struct pkt *p, struct frame *f)
{
	const struct iphdr *ip = p->l3;
	const struct ipv6hdr *ip6 = p->l3;

	f->vlan[0] = p->vlan[0];
	f->vlan[1] = p->vlan[1];
	f->vlans = p->vlans;
	f->proto = p->proto;
	f->flags = p->flags;
	f->l3 = (__u32)(p->l3 - (void *)(long)skb->data);
	if (!(p->flags & (PKT_V4 | PKT_V6)))
		return;
	pkt_addrs(p, f->src, f->dst);
	if (p->flags & PKT_V4) {
		f->end = f->l3 + bpf_ntohs(ip->tot_len);
		f->has_df = ip->frag_off & bpf_htons(0x4000);
	} else {
		f->end = f->l3 + sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
	}
	if (p->flags & PKT_L4)
		f->l4 = (__u32)(p->l4 - (void *)(long)skb->data);
}

/* Makes linear what there is of the first so many octets, if a header is not. */
__noinline int frame_read(struct __sk_buff *skb, struct frame *f)
{
	struct pkt p;

	if (!f)
		return 0;
	pkt_parse_skb(skb, &p);
	frame_fill(skb, &p, f);
	return 0;
}

/* The same of a frame behind other headers. */
__noinline int frame_read_at(struct __sk_buff *skb, __u32 offset, struct frame *f)
{
	struct pkt p;

	if (!f)
		return 0;
	pkt_parse_from(at_offset(skb, offset), (void *)(long)skb->data_end, &p, false, 0, false);
	frame_fill(skb, &p, f);
	return 0;
}

#endif
