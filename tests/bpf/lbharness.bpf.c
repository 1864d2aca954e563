// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Harness of a load balancer under BPF_PROG_TEST_RUN, which neither gives a packet back as it
 * was from run to run nor leaves anything in the headroom.
 *
 * rewrite  takes off what the run before put in front (GUE to port 6080), makes
 *          the packet one of many flows by its source address and port, then runs the program
 *          under test in its place. What was not encapsulated costs the same. Checksums of the
 *          packet are not kept right: no balancer looks at them.
 * poison   fills the headroom with 0xa5, then runs it.
 * nothing  the program under test that is none.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "lbharness.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

volatile struct lbharness lbharness SEC(".data.lbharness");

/* Octets of headers: so many of IP, UDP and perhaps those that name a second hop. */
static __always_inline int gue_len(const void *l3, __u32 len, __u8 proto, const void *end)
{
	const struct udphdr *udp = l3 + len;

	if (proto != IPPROTO_UDP || (void *)(udp + 1) + 1 > end || udp->dest != bpf_htons(6080))
		return 0;
	return len + sizeof(*udp) + (*(__u8 *)(udp + 1) == 5 ? 24 : 0);
}

/* Octets in front of the packet that was. */
static __always_inline int outer_len(void *data, void *end)
{
	struct ethhdr *eth = data;

	if (data + ETH_HLEN + sizeof(struct ipv6hdr) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return gue_len(eth + 1, 20, ((struct iphdr *)(eth + 1))->protocol, end);
	return gue_len(eth + 1, 40, ((struct ipv6hdr *)(eth + 1))->nexthdr, end);
}

SEC("xdp")
int rewrite(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u64 x = lbharness.state;
	struct ethhdr *eth;

	if (bpf_xdp_adjust_head(ctx, outer_len(data, end)))
		return -2;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if (data + ETH_HLEN + 1 > end)
		return -2;
	/* the outer header was written over it */
	__builtin_memcpy(eth, "\x02\x77\0\0\0\x01\x02\x77\0\0\0\x02", 2 * ETH_ALEN);
	eth->h_proto = *(__u8 *)(eth + 1) >> 4 == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	lbharness.state = x = x * lbharness.factor + lbharness.step;
	x = (x >> lbharness.shift) & lbharness.mask;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + 4 > end)
			return -2;
		ip->saddr = 11 | (__u32)x << 8;
		*(__u16 *)(ip + 1) = x >> 24 ^ 0x1234;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) + 4 > end)
			return -2;
		ip->saddr.s6_addr32[3] = x;
		*(__u16 *)(ip + 1) = x >> 32 ^ 0x1234;
	}
	bpf_tail_call(ctx, &next, 0);
	return -3;
}

SEC("xdp")
int poison(struct xdp_md *ctx)
{
	__u64 *w;

	if (bpf_xdp_adjust_head(ctx, -LB_POISON))
		return -2;
	w = (void *)(long)ctx->data;
	if ((void *)(w + LB_POISON / 8) > (void *)(long)ctx->data_end)
		return -2;
	for (int i = 0; i < LB_POISON / 8; i++)
		w[i] = 0xa5a5a5a5a5a5a5a5;
	if (bpf_xdp_adjust_head(ctx, LB_POISON))
		return -2;
	bpf_tail_call(ctx, &next, 0);
	return -3;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
