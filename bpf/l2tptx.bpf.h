/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPTX_BPF_H
#define L3AF_L2TPTX_BPF_H

/* Frames into their session. */
#include "l2tphop.bpf.h"
#include "l2tpicmp.bpf.h"
#include "l2tpmss.bpf.h"
#include "l2tpseq.bpf.h"

#ifndef BPF_F_ADJ_ROOM_ENCAP_L2_ETH /* Linux 5.13 */
#define BPF_F_ADJ_ROOM_ENCAP_L2_ETH (1ULL << 6)
#endif

#define VID 0xfff
#define TAGS 3              /* that may be in a frame's metadata, one after the other */
#define MACS (2 * ETH_ALEN)
#define TOTAL_MAX 0xffffU

/* Offsets in the outer headers. */
#define AT_IP sizeof(struct ethhdr)
#define AT_UDP(is_v6) (AT_IP + ((is_v6) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)))

struct header {
	__u8 b[sizeof(struct ethhdr) + L2TP_HEADERS_MAX + 2];
} __attribute__((aligned(8)));

/* Tags that are taken out of the metadata, behind the MACs, as on the wire. */
struct tag {
	__be16 type, tci;
};
struct tags {
	__u8 macs[MACS];
	struct tag tag[TAGS];
} __attribute__((aligned(4)));

static __always_inline struct l2tp_tx *session_get(__u16 outer, __u16 inner)
{
	struct l2tp_access key = { .place = here.place, .vlan = { outer, inner } };

	return bpf_map_lookup_elem(&access, &key);
}

/* VLAN IDs: outer, inner << 16; L2TP_NO_VLAN for those that are not there. */
__noinline __u32 vids(struct __sk_buff *skb)
{
	__u32 outer = L2TP_NO_VLAN, inner = L2TP_NO_VLAN;
	struct frame f = { 0 };

	frame_read(skb, &f);
	if (f.vlans)
		outer = f.vlan[0] & VID;
	if (f.vlans > 1)
		inner = f.vlan[1] & VID;
	return outer | inner << 16;
}

/* The most special one: of both tags, of the outer one, of frames as they come. */
static __always_inline struct l2tp_tx *session_of(struct __sk_buff *skb, const struct l2tp_place *place)
{
	struct l2tp_tx *tx = NULL;
	__u32 v;

	if (place->flags & (L2TP_VLAN | L2TP_QINQ)) {
		v = vids(skb);
		if (place->flags & L2TP_QINQ && v >> 16 != L2TP_NO_VLAN)
			tx = session_get(v, v >> 16);
		if (!tx && (v & 0xffff) != L2TP_NO_VLAN)
			tx = session_get(v, L2TP_NO_VLAN);
	}
	return tx || !(place->flags & L2TP_PLAIN) ? tx : session_get(L2TP_NO_VLAN, L2TP_NO_VLAN);
}

/* Out of the metadata: taking one there makes the next one follow. How many; < 0: too many. */
__noinline int tags_take(struct __sk_buff *skb, struct tags *t)
{
	int n;

	if (!t)
		return -1;
	for (n = 0; n < TAGS && skb->vlan_present; n++) {
		t->tag[n].type = (__be16)skb->vlan_proto;
		t->tag[n].tci = bpf_htons(skb->vlan_tci);
		if (bpf_skb_vlan_pop(skb))
			return -1;
	}
	return skb->vlan_present || bpf_skb_load_bytes(skb, 0, t->macs, MACS) ? -1 : n;
}

/* In front of the frame's type again, which is at shift + MACS then. */
static __always_inline long tags_put(struct __sk_buff *skb, __u32 shift, const struct tags *t, int tags)
{
	if (tags == 1)
		return bpf_skb_store_bytes(skb, shift, t, MACS + 4, 0);
	if (tags == 2)
		return bpf_skb_store_bytes(skb, shift, t, MACS + 8, 0);
	return bpf_skb_store_bytes(skb, shift, t, MACS + 12, 0);
}

/* What differs from frame to frame in the template. len: of the inner frame. extra: of the sum
 * of UDP's checksum, but for the frame itself. */
static __always_inline void header_write(struct header *h, const struct l2tp_tx *tx, __u32 len, __u64 *extra)
{
	__be16 *total;
	__be16 udp_len;

	len += tx->len;
	if (tx->flags & L2TP_V6) {
		*(__be16 *)(h->b + AT_IP + offsetof(struct ipv6hdr, payload_len)) = bpf_htons(len - sizeof(struct ipv6hdr));
		udp_len = bpf_htons(len - sizeof(struct ipv6hdr));
		if (tx->encap == L2TP_UDP)
			*(__be16 *)(h->b + AT_UDP(true) + offsetof(struct udphdr, len)) = udp_len;
	} else {
		total = (__be16 *)(h->b + AT_IP + offsetof(struct iphdr, tot_len));
		*total = bpf_htons(len);
		*(__be16 *)(h->b + AT_IP + offsetof(struct iphdr, check)) = ~sum_fold((__u64)tx->ip_sum + *total);
		udp_len = bpf_htons(len - sizeof(struct iphdr));
		if (tx->encap == L2TP_UDP)
			*(__be16 *)(h->b + AT_UDP(false) + offsetof(struct udphdr, len)) = udp_len;
	}
	*extra = (__u64)tx->udp_sum + 2 * udp_len;
}

/* The next hop's addresses. 1: known, 0: let the kernel find them, -1: there is none. */
static __always_inline int header_macs(struct __sk_buff *skb, struct l2tp_tx *tx, struct header *h)
{
	__u64 dst = *(volatile __u64 *)&tx->hop.word[0], src = *(volatile __u64 *)&tx->hop.word[1];

	if (!hop_is_fresh(dst, src, hop_now()))
		return hop_ask(skb, tx) ? 0 : -1;
	*(__u32 *)h->b = dst >> 16;
	*(__u16 *)(h->b + 4) = dst >> 48;
	*(__u16 *)(h->b + 6) = src >> 16;
	*(__u32 *)(h->b + 8) = src >> 32;
	return 1;
}

/* sum: of all but the frame, which begins at offset. 0: it cannot be known. */
__noinline int udp_check(struct __sk_buff *skb, __u32 is_v6, __u32 offset, __u64 sum)
{
	__u32 check = (is_v6 ? AT_UDP(true) : AT_UDP(false)) + offsetof(struct udphdr, check);
	__s64 part = sum_skb(skb, offset, skb->len - offset);
	struct frame f = { 0 };

	if (part < 0)
		return 0;
	if (check_write(skb, check, sum + (__u64)part))
		return 1;
	frame_read_at(skb, offset, &f);
	part = f.flags & PKT_L4 ? sum_partial(skb, offset, f.l4, f.proto) : -1;
	if (part < 0)
		return 0;
	check_store(skb, check, sum + (__u64)part);
	return 1;
}

/* Several segments in one, which the kernel cuts in these headers: only of UDP, and only where
 * there is no checksum or number that has to differ from one to the other. */
static __always_inline bool gso_is_possible(const struct l2tp_tx *tx, __u32 len)
{
	return tx->encap == L2TP_UDP && !(tx->flags & L2TP_SEQUENCE) && len + tx->len <= TOTAL_MAX &&
	       (tx->flags & (L2TP_V6 | L2TP_CHECKSUM)) != (L2TP_V6 | L2TP_CHECKSUM);
}

/* Of the largest segment's frame; 0: we do not know. */
__noinline __u32 gso_len(struct __sk_buff *skb)
{
	__u32 len = skb->gso_size + (skb->vlan_present ? 4 : 0);
	struct frame f = { 0 };
	__u8 doff = 0;

	frame_read(skb, &f);
	if (!(f.flags & PKT_L4) || f.flags & PKT_SHORT)
		return 0;
	if (f.proto != IPPROTO_TCP)
		return f.proto == IPPROTO_UDP ? len + f.l4 + sizeof(struct udphdr) : 0;
	if (bpf_skb_load_bytes(skb, f.l4 + 12, &doff, 1))
		return 0;
	return len + f.l4 + (doff >> 4) * 4;
}

/* Room in front of the frame, as change_head makes it, but the kernel knows what will be there. */
__noinline int gso_room(struct __sk_buff *skb, __u32 is_v6, __u32 header, int tags)
{
	__u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2_ETH;
	__u32 l2 = sizeof(struct ethhdr);
	struct ethhdr eth;

	if (tags > 1 || bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return false;
	if (tags)
		l2 += sizeof(struct tag);
	flags |= is_v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4;
	flags |= BPF_F_ADJ_ROOM_ENCAP_L2((__u64)l2);
	return !bpf_skb_adjust_room(skb, (__s32)(header + l2), BPF_ADJ_ROOM_MAC, flags) &&
	       !bpf_skb_store_bytes(skb, header + l2, &eth, sizeof(eth), 0) &&
	       !bpf_skb_store_bytes(skb, sizeof(eth) + header, &eth, MACS, 0);
}

/* len: of the frame that is too long, or of its largest segment. A verdict, or -1: it is not. */
__noinline int send_big(struct __sk_buff *skb, struct l2tp_tx *tx, __u32 len, struct l2tp_stat *s)
{
	int ret;

	if (!tx)
		return -1;
	ret = too_big(skb, tx, len);
	if (ret == BIG_FITS)
		return -1;
	drop(s, ret == BIG_TOLD ? L2TP_TX_TOLD : L2TP_TX_TOO_BIG);
	return ret == BIG_TOLD ? (int)bpf_redirect(skb->ifindex, 0) : TC_ACT_SHOT;
}

/* Headers, and what of the frame is not in the packet, into the room in front of it. */
static __always_inline bool header_put(struct __sk_buff *skb, const struct l2tp_tx *tx, const struct header *h,
				       const struct tags *t, int tags, __be32 seq)
{
	__u32 size = sizeof(struct ethhdr) + tx->len;

	barrier_var(size);
	if (size < sizeof(struct ethhdr) + 4 || size > sizeof(*h) || bpf_skb_store_bytes(skb, 0, h, size, 0))
		return false;
	if (tags && tags_put(skb, size, t, tags))
		return false;
	return !(tx->flags & L2TP_SEQUENCE) || !bpf_skb_store_bytes(skb, size - sizeof(seq), &seq, sizeof(seq), 0);
}

static __always_inline int encapsulate(struct __sk_buff *skb, struct l2tp_tx *tx)
{
	struct l2tp_stat *s = bpf_map_lookup_elem(&stats, &tx->number);
	__u32 len = skb->len + (skb->vlan_present ? 4 : 0), gso = skb->gso_size, size = gso ? gso_len(skb) : len;
	struct tags t = { 0 };
	struct header h;
	int hop, tags = 0, ret;
	__u32 seq = 0;
	__u64 sum;

	if (gso && (!gso_is_possible(tx, len) || !size))
		return drop(s, L2TP_TX_GSO);
	if (size > tx->frame || size > tx->mtu + sizeof(struct ethhdr)) {
		ret = send_big(skb, tx, size, s);
		if (ret >= 0)
			return ret;
	}
	if (clamp(skb, tx->mss) && s)
		s->count[L2TP_TX_CLAMPED]++;
	if (skb->vlan_present) {
		tags = tags_take(skb, &t);
		if (tags < 0)
			return drop(s, L2TP_TX_MEMORY);
		len = skb->len + 4 * tags;
	}
	h = *(struct header *)tx->header;
	hop = header_macs(skb, tx, &h);
	if (hop < 0)
		return drop(s, L2TP_TX_NO_HOP);
	header_write(&h, tx, len, &sum);
	if (tx->flags & L2TP_SEQUENCE)
		seq = seq_next(tx->number);
	if (gso ? !gso_room(skb, tx->flags & L2TP_V6, tx->len, tags) : bpf_skb_change_head(skb, sizeof(struct ethhdr) + tx->len + 4 * tags, 0))
		return drop(s, gso ? L2TP_TX_GSO : L2TP_TX_MEMORY);
	if (!header_put(skb, tx, &h, &t, tags, bpf_htonl(seq | SEQ_S)))
		return drop(s, L2TP_TX_MEMORY);
	if (tx->flags & L2TP_CHECKSUM && tx->encap == L2TP_UDP && !gso &&
	    !udp_check(skb, tx->flags & L2TP_V6, sizeof(struct ethhdr) + tx->len, sum + bpf_htonl(seq)))
		return drop(s, L2TP_TX_PARTIAL);
	if (s) {
		s->tx++;
		s->tx_octets += len;
	}
	if (hop)
		return (int)bpf_redirect(tx->underlay, 0);
	if (gso)
		return (int)bpf_redirect_neigh(tx->underlay, NULL, 0, 0);
	return hop_by_neighbour(skb, tx->underlay);
}

/* -1: of no session. */
static __always_inline int l2tp_send(struct __sk_buff *skb, const struct l2tp_place *place)
{
	struct l2tp_tx *tx = session_of(skb, place);

	if (!tx)
		return -1;
	return encapsulate(skb, tx);
}

#endif
