/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBPROBE_BPF_H
#define L3AF_LBPROBE_BPF_H

/* Packets of this host that health probes have marked: to the one backend, as lb sends it
 * those of clients. Their checksums may not be done yet, so that the outer one is 0. */
#include <linux/pkt_cls.h>
#include "lbencap.bpf.h"

/* Is the packet one to this backend's VIP? */
static __always_inline bool probe_is(const struct pkt *p, const struct lb_backend *backend)
{
	struct lb_vip *vip = vip_get(backend->vip);
	__u32 src[4], dst[4];

	if (!vip || backend->state == LB_FREE || !(p->flags & (PKT_V4 | PKT_V6)))
		return false;
	pkt_addrs(p, src, dst);
	return !((vip->key.addr[0] ^ dst[0]) | (vip->key.addr[1] ^ dst[1]) | (vip->key.addr[2] ^ dst[2]) |
		 (vip->key.addr[3] ^ dst[3]));
}

/* The interface that the kernel would send it out by. */
static __always_inline __u32 probe_interface(struct __sk_buff *skb, const struct lb_place *place,
					     const struct lb_backend *backend)
{
	struct bpf_fib_lookup fib = { 0 };
	long ret;

	hop_key(&fib, skb->ifindex, place, backend);
	ret = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	return !ret || ret == BPF_FIB_LKUP_RET_NO_NEIGH ? fib.ifindex : skb->ifindex;
}

static __always_inline int probe_wrap(struct __sk_buff *skb, const struct lb_place *place,
				      const struct lb_backend *backend, __u32 l3, __u8 tos)
{
	struct outer o = { .len = skb->len - l3, .hash = skb->mark * 0x9e3779b1U >> 8, .port = place->port, .tos = tos };
	__u64 flags = BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	__u64 head[OUTER6 / 8] = { 0 };
	__be16 type;
	__u32 room;

	if (backend->is_v4) {
		room = OUTER4;
		type = bpf_htons(ETH_P_IP);
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
		outer4_write(head, &o, place->source4, backend->addr[3], 0, bpf_htons(0x4000));
	} else {
		room = OUTER6;
		type = bpf_htons(ETH_P_IPV6);
		flags |= BPF_F_ADJ_ROOM_ENCAP_L3_IPV6;
		outer6_write(head, &o, place->source6, backend->addr, 0);
	}
	if (bpf_skb_adjust_room(skb, (int)room, BPF_ADJ_ROOM_MAC, flags))
		return -1;
	if (room == OUTER4 ? bpf_skb_store_bytes(skb, l3, head, OUTER4, 0) : bpf_skb_store_bytes(skb, l3, head, OUTER6, 0))
		return -1;
	return (int)bpf_skb_store_bytes(skb, l3 - 2, &type, sizeof(type), 0);
}

static __always_inline int probe_send(struct __sk_buff *skb)
{
	struct lb_place *place = place_get();
	struct lb_backend *backend;
	__u8 mac[6];
	struct pkt p;
	__u32 l3;
	__u8 tos;

	pkt_parse_skb(skb, &p);
	backend = backend_get(skb->mark & 0xffff);
	if (!backend)
		return TC_ACT_UNSPEC;
	if (!place || !probe_is(&p, backend))
		return TC_ACT_UNSPEC;
	l3 = p.l3 - (void *)(long)skb->data;
	tos = p.flags & PKT_V4 ? ((struct iphdr *)p.l3)->tos : 0;
	if (probe_wrap(skb, place, backend, l3, tos))
		return TC_ACT_SHOT;
	skb->mark = 0; /* it may come by here again */
	if (place_gateway(place)) {
		__builtin_memcpy(mac, place->gateway, sizeof(mac));
		return bpf_skb_store_bytes(skb, 0, mac, sizeof(mac), 0) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	}
	return bpf_redirect_neigh(probe_interface(skb, place, backend), NULL, 0, 0);
}

#endif
