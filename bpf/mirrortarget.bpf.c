/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* mirrortarget: cuts and encapsulates the clones that mirror sends to this interface. They are
 * known by tc_index, cb and way (bpf/mirror.h); nothing else is looked at. */
#include <stddef.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include "gue.h"
#include "mirrormaps.bpf.h"
#include "mirrorsum.bpf.h"
#include "pkt.h"

#define TAGS 3
#define TAGGED (ETH_HLEN + 4)

enum { FAILED = -1 };

/* The clone is dropped: nothing else ever is. */
static __always_inline int drop(struct mirror_way *w, __u32 cause)
{
	w->job.cause = 1 + cause;
	return TC_ACT_SHOT;
}

static __always_inline bool is_ip(__u32 type)
{
	return type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_IPV6);
}

/* Tags out of the frame, so that the IP header is behind 14 octets, wherever they are; the inner
 * Ethernet header gets them again. Where the kernel takes one out, it moves the next one to the
 * metadata, and fails if that is no whole one. Verified on its own: what follows has to hold for
 * any number of them, and is not followed for each. */
__noinline int tags_pop(struct __sk_buff *skb, struct tags *tags)
{
	if (!tags)
		return false;
#pragma unroll
	for (int i = 0; i <= TAGS; i++) {
		__u32 is_meta = skb->vlan_present, len = skb->len;
		__be16 tag[2];

		if (is_meta) {
			tag[0] = skb->vlan_proto;
			tag[1] = bpf_htons(skb->vlan_tci);
		} else if (!pkt_is_vlan(skb->protocol) || skb->len < TAGGED) {
			return true;
		} else if (bpf_skb_load_bytes(skb, 2 * ETH_ALEN, tag, sizeof(tag))) {
			return false;
		}
		if (i == TAGS || (bpf_skb_vlan_pop(skb) && skb->vlan_present == is_meta && skb->len == len))
			return false;
		tags->tag[i] = tag[0] | (__u32)tag[1] << 16;
		tags->n = i + 1;
	}
	return false;
}

/* The kernel makes room in front of what it takes for IP only, and asks for the next hop of what
 * it takes for the collector's family: let it take this for type. A tag that is taken out of the
 * frame leaves the type that is behind it. */
static __always_inline bool pretend(struct __sk_buff *skb, __be16 type)
{
	return !bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 0) && !bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 0) &&
	       !bpf_skb_store_bytes(skb, 2 * ETH_ALEN + 4, &type, sizeof(type), 0) && !bpf_skb_vlan_pop(skb) &&
	       !bpf_skb_vlan_pop(skb) && skb->protocol == type;
}

/*
 * Its length.
 */
static __always_inline int cause_of(long err)
{
	return err == -12 /* ENOMEM */ ? MIRROR_NO_MEMORY : MIRROR_ERROR;
}

/* To so many octets. The kernel does not cut a checksum off that it has yet to compute: as far
 * as the transport header it goes. */
static __always_inline long cut(struct __sk_buff *skb, const struct mirror_job *job, __u32 len)
{
	long err = bpf_skb_change_tail(skb, len, 0);

	if (err == -22 /* EINVAL */ && len < ETH_HLEN + job->headers && ETH_HLEN + job->headers <= skb->len)
		err = bpf_skb_change_tail(skb, ETH_HLEN + job->headers, 0);
	return err;
}

/* The flags of adjust_room for the segments that a packet will be, or FAILED: it has to be cut.
 * Those of TCP get shorter by what is in front of them, if they have to. IPv6 packets of more than
 * 64 kB (BIG TCP) have a hop-by-hop header that the kernel takes off their segments, and breaks
 * what is in front of it. */
static __always_inline long gso_flags(const struct __sk_buff *skb, const struct mirror_job *job, __u32 room, __u32 mtu)
{
	__u32 len = job->headers + skb->gso_size + room;

	if (skb->gso_size == 0xffff || !job->headers ||
	    (skb->len > 0xffff && skb->protocol == bpf_htons(ETH_P_IPV6)))
		return FAILED;
	if (len <= mtu)
		return BPF_F_ADJ_ROOM_FIXED_GSO;
	return job->proto == IPPROTO_TCP && len - room <= mtu && skb->gso_size > room ? 0 : FAILED;
}

/* Cuts to snaplen, to what is left of the MTU, and for GUE padding off. An error, or flags for
 * adjust_room. */
static __always_inline long fit(struct __sk_buff *skb, struct mirror_job *job, const struct head *h)
{
	__u32 len = skb->len, most = ETH_HLEN + h->mtu - h->room, keep = len, snaplen = job->snaplen;
	long flags = 0, err;

	if (h->mtu < h->room)
		return -22;
	if (snaplen && snaplen > h->tags.n * 4 + ETH_HLEN && snaplen - h->tags.n * 4 < len) {
		keep = snaplen - h->tags.n * 4;
		job->flags |= MIRROR_WAY_CUT;
	} else if (skb->gso_size) {
		flags = gso_flags(skb, job, h->room, h->mtu);
		if (flags >= 0)
			return flags;
	}
	if (keep > most) {
		keep = most;
		job->flags = MIRROR_WAY_FITTED;
	}
	if (!h->is_vxlan && !skb->gso_size && keep > ETH_HLEN + h->ip_len && h->ip_len >= sizeof(struct iphdr)) {
		keep = ETH_HLEN + h->ip_len;
		job->flags = 0;
	}
	if (keep == len && !skb->gso_size)
		return 0;
	err = cut(skb, job, keep);
	return err < 0 ? err : 0;
}

/*
 * The next hop: what it was when the kernel was asked last.
 */
static __always_inline struct mirror_hop *hop_get(struct mirror_way *w, __u32 copy)
{
	return &w->hop[copy % MIRROR_TARGETS];
}

static __always_inline bool hop_is_fresh(const struct mirror_hop *hop, __u32 serial, __u32 now)
{
	return hop->mtu && hop->serial == serial && now - hop->since < MIRROR_HOP_JIFFIES;
}

static __always_inline __u32 mtu_get(struct __sk_buff *skb)
{
	__u32 mtu = 0;

	return bpf_check_mtu(skb, 0, &mtu, 0, 0) < 0 ? 0 : mtu;
}

/* The target's, or none: the kernel is asked. False: the interface is down. */
static __always_inline bool hop_find(struct __sk_buff *skb, const struct mirror_target *t, struct mirror_way *w,
				     struct head *h)
{
	struct mirror_hop *hop = hop_get(w, w->job.copy);
	__u32 now = bpf_jiffies64();
	__u64 dev;

	if (likely(hop_is_fresh(hop, t->serial, now))) {
		if (unlikely(hop->is_doubted) && !dev_is_up(dev_get(skb)))
			return false;
		hop->is_doubted = 0;
		h->mtu = hop->mtu;
		h->has_hop = true;
	} else {
		dev = dev_get(skb);
		if (!dev_is_up(dev))
			return false;
		h->mtu = mtu_get(skb);
		if (!t->has_gateway)
			return true;
		hop->dev = dev;
		hop->since = now;
		hop->serial = t->serial;
		hop->mtu = h->mtu;
		hop->is_doubted = 0;
		__builtin_memcpy(hop->dst, t->gateway, ETH_ALEN);
		__builtin_memcpy(hop->src, t->mac, ETH_ALEN);
		h->has_hop = true;
	}
	__builtin_memcpy(w->head, hop->dst, ETH_ALEN);
	__builtin_memcpy(w->head + ETH_ALEN, hop->src, ETH_ALEN);
	return true;
}

/* The kernel has sent a clone to its next hop: the clone shows which one it is. One that had to
 * wait for it was counted as not sent. */
static __always_inline int arrived(struct __sk_buff *skb, struct mirror_way *w)
{
	__u32 copy = skb->cb[2] % (2 * MIRROR_TARGETS), cookie = skb->cb[1];
	struct mirror_hop *hop = hop_get(w, copy);
	struct mirror_stat *stat[2];

	skb->cb[1] = 0;
	bpf_skb_load_bytes(skb, 0, hop->dst, 2 * ETH_ALEN);
	hop->dev = dev_get(skb);
	hop->mtu = mtu_get(skb);
	hop->is_doubted = 0;
	hop->serial = skb->cb[4];
	hop->since = bpf_jiffies64();
	if (w->job.cookie == cookie) {
		w->job.is_waiting = 0;
		return TC_ACT_UNSPEC;
	}
	stat[0] = stat_get(skb->cb[3] >> 16, skb->cb[3] & 0xffff);
	stat[1] = sent_get(copy);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		if (!stat[i])
			continue;
		stat[i]->not_sent[MIRROR_NO_NEXT_HOP]--;
		stat[i]->sent++;
		stat[i]->sent_octets += skb->len;
	}
	return TC_ACT_UNSPEC;
}

static __always_inline int leave(struct __sk_buff *skb, struct mirror_way *w, const struct mirror_target *t,
				 const struct head *h)
{
	w->job.octets = skb->len;
	skb->cb[0] = MIRROR_DONE;
	if (h->has_hop) {
		skb->cb[1] = 0;
		return TC_ACT_UNSPEC;
	}
	skb->cb[2] = w->job.copy;
	skb->cb[3] = w->job.place << 16 | w->job.stat;
	skb->cb[4] = t->serial;
	w->job.is_waiting = 1;
	return bpf_redirect_neigh(skb->ifindex, NULL, 0, 0);
}

static __always_inline int encapsulate(struct __sk_buff *skb, struct mirror_way *w, const struct mirror_target *t)
{
	struct head h = { .is_v6 = t->to[0] | t->to[1], .is_vxlan = t->encap == MIRROR_VXLAN, .is_bare = t->variant };
	__u64 flags, more;
	__be16 type;
	long err;

	if ((skb->vlan_present || pkt_is_vlan(skb->protocol)) && !tags_pop(skb, &h.tags))
		return drop(w, MIRROR_ERROR);
	if (!inner_read(skb, w, &h))
		return drop(w, MIRROR_ERROR);
	if (!h.is_vxlan && !is_ip(h.type))
		return drop(w, MIRROR_NOT_IP);
	if (!is_ip(skb->protocol) && !pretend(skb, bpf_htons(ETH_P_IP)))
		return drop(w, MIRROR_ERROR);
	h.room = head_len(&h) - ETH_HLEN;
	if (!hop_find(skb, t, w, &h))
		return drop(w, MIRROR_DOWN);
	err = fit(skb, &w->job, &h);
	if (err < 0)
		return drop(w, cause_of(err));
	flags = err;
	more = (h.is_v6 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV4) | BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	if (h.is_vxlan)
		more |= BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN + h.tags.n * 4);
	/* or the kernel forgets that a checksum is right, which the outer one is reckoned by */
	if (t->has_checksum)
		more |= BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	err = bpf_skb_adjust_room(skb, h.room, BPF_ADJ_ROOM_MAC, flags | more);
	/* it has been in a tunnel of the kernel's already: that cannot be cut into segments */
	if (err == -114 /* EALREADY */ && !skb->gso_size) {
		type = bpf_htons(h.is_v6 ? ETH_P_IPV6 : ETH_P_IP);
		if (skb->protocol != type && !pretend(skb, type))
			return drop(w, MIRROR_ERROR);
		err = bpf_skb_adjust_room(skb, h.room, BPF_ADJ_ROOM_MAC, 0);
	}
	if (err)
		return drop(w, cause_of(err));
	head_write(skb, w, t, &h);
	/* segments get the header as it is, but each would have another sum */
	if (t->has_checksum && !skb->gso_size)
		sum_write(skb, head_len(&h));
	if (bpf_skb_store_bytes(skb, 0, w->head, head_len(&h) & (HEAD_SIZE - 1), 0))
		return drop(w, MIRROR_ERROR);
	return leave(skb, w, t, &h);
}

__noinline int clone_send(struct __sk_buff *skb)
{
	struct mirror_way *w = way_get();
	struct mirror_target *t;

	if (!w)
		return TC_ACT_UNSPEC;
	if (skb->cb[0] == MIRROR_DONE)
		return arrived(skb, w);
	if (!w->job.cookie || w->job.cookie != skb->cb[1])
		return TC_ACT_UNSPEC;
	w->job.is_taken = 1;
	t = target_get(w->job.copy);
	if (!t || t->ifindex != skb->ifindex)
		return drop(w, MIRROR_ERROR);
	return encapsulate(skb, w, t);
}

SEC("tc")
int mirrortarget(struct __sk_buff *skb)
{
	if (likely(skb->tc_index != MIRROR_INDEX) ||
	    (skb->cb[0] != MIRROR_MAGIC && (skb->cb[0] != MIRROR_DONE || !skb->cb[1])))
		return TC_ACT_UNSPEC;
	return clone_send(skb);
}

char _license[] SEC("license") = "Dual BSD/GPL";
