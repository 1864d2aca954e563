// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Harness of a load balancer under BPF_PROG_TEST_RUN, which neither gives a packet back as it
 * was from run to run nor leaves anything in the headroom.
 *
 * rewrite  takes off what the run before put in front (GUE without header, to port 6080), makes
 *          the packet one of many flows by its source address and port, then runs the program
 *          under test in its place. What was not encapsulated costs the same. Checksums of the
 *          packet are not kept right: no balancer looks at them.
 * poison   fills the headroom with 0xa5, then runs it.
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

static __always_inline bool is_gue(const void *l3, __u32 len, __u8 proto, const void *end)
{
	const struct udphdr *udp = l3 + len;

	return proto == IPPROTO_UDP && (void *)(udp + 1) <= end && udp->dest == bpf_htons(6080);
}

/* Octets in front of the packet that was. */
static __always_inline int outer_len(void *data, void *end)
{
	struct ethhdr *eth = data;

	if (data + ETH_HLEN + sizeof(struct ipv6hdr) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return is_gue(eth + 1, 20, ((struct iphdr *)(eth + 1))->protocol, end) ? 28 : 0;
	return is_gue(eth + 1, 40, ((struct ipv6hdr *)(eth + 1))->nexthdr, end) ? 48 : 0;
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
	if (data + ETH_HLEN + sizeof(struct ipv6hdr) + 4 > end)
		return -2;
	lbharness.state = x = x * lbharness.factor + lbharness.step;
	x = (x >> lbharness.shift) & lbharness.mask;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		ip->saddr = 11 | (__u32)x << 8;
		*(__u16 *)(ip + 1) = x >> 24 ^ 0x1234;
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

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

char _license[] SEC("license") = "Dual BSD/GPL";
