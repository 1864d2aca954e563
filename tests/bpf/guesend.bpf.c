/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A sender of tunnels for tests of the agent, TC egress: packets to VIPs 192.0.2.0/24 and
 * fd55::/64 go into GUE variant 1. The last part of the VIP tells where to and how: below
 * 100 (fd55::64) in IPv4, else in IPv6, to 10.77.0.1 or fd77::1; the same plus 50: to
 * 10.88.0.2 or fd88::2. Checksums and segmentation stay as offloaded as they were.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct outer4 {
	struct iphdr ip;
	struct udphdr udp;
} __attribute__((packed));

struct outer6 {
	struct ipv6hdr ip;
	struct udphdr udp;
} __attribute__((packed));

static __always_inline int send4(struct __sk_buff *skb, __u32 dst)
{
	struct outer4 o __attribute__((aligned(4))) = {
		.ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .frag_off = bpf_htons(0x4000),
			.saddr = bpf_htonl(0x0a4d0002), .daddr = dst },
		.udp = { .source = bpf_htons(50000), .dest = bpf_htons(6080) },
	};
	__be16 type = bpf_htons(ETH_P_IP);
	__u32 sum = 0, len = skb->len - ETH_HLEN;

	o.udp.len = bpf_htons(len + sizeof(o.udp));
	o.ip.tot_len = bpf_htons(len + sizeof(o));
	for (int i = 0; i < 10; i++)
		sum += ((__u16 *)(void *)&o)[i];
	sum = (sum & 0xffff) + (sum >> 16);
	o.ip.check = (__u16)~((sum & 0xffff) + (sum >> 16));
	if (bpf_skb_adjust_room(skb, sizeof(o), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO |
				BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP))
		return TC_ACT_SHOT;
	bpf_skb_store_bytes(skb, 12, &type, 2, 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &o, sizeof(o), 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

static __always_inline int send6(struct __sk_buff *skb, __be32 first, __u32 last)
{
	struct outer6 o = {
		.ip = { .version = 6, .hop_limit = 64, .nexthdr = IPPROTO_UDP },
		.udp = { .source = bpf_htons(50000), .dest = bpf_htons(6080) },
	};
	__be16 type = bpf_htons(ETH_P_IPV6);

	o.ip.saddr.s6_addr32[0] = bpf_htonl(0xfd770000);
	o.ip.saddr.s6_addr32[3] = bpf_htonl(2);
	o.ip.daddr.s6_addr32[0] = first;
	o.ip.daddr.s6_addr32[3] = bpf_htonl(last);
	o.ip.payload_len = o.udp.len = bpf_htons(skb->len - ETH_HLEN + sizeof(o.udp));
	if (bpf_skb_adjust_room(skb, sizeof(o), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO |
				BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_ENCAP_L4_UDP))
		return TC_ACT_SHOT;
	bpf_skb_store_bytes(skb, 12, &type, 2, 0);
	return bpf_skb_store_bytes(skb, ETH_HLEN, &o, sizeof(o), 0) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc")
int guesend(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct ipv6hdr *ip6 = data + sizeof(*eth);
	__u32 last;

	if ((void *)(ip + 1) > end)
		return TC_ACT_OK;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		if ((ip->daddr & bpf_htonl(0xffffff00)) != bpf_htonl(0xc0000200))
			return TC_ACT_OK;
		last = bpf_ntohl(ip->daddr) & 0xff;
	} else {
		if (eth->h_proto != bpf_htons(ETH_P_IPV6) || (void *)(ip6 + 1) > end ||
		    ip6->daddr.s6_addr32[0] != bpf_htonl(0xfd550000))
			return TC_ACT_OK;
		last = bpf_ntohl(ip6->daddr.s6_addr32[3]) & 0xff;
	}
	if (last < 100)
		return send4(skb, bpf_htonl(last < 50 ? 0x0a4d0001 : 0x0a580002));
	return send6(skb, bpf_htonl(last < 150 ? 0xfd770000 : 0xfd880000), last < 150 ? 1 : 2);
}

char _license[] SEC("license") = "Dual BSD/GPL";
