// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Makes each run of BPF_PROG_TEST_RUN a packet of another flow, after it has noted where the
 * packet of the run before went, and has taken off what was put in front of it. Then the
 * program under test runs in its place.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "lbsim.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lbsim);
} sim SEC(".maps");

/* The last word of the outer destination of the packet before this one; 0: there is none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} went SEC(".maps");

static __always_inline void note(__u64 number, __u32 word)
{
	__u32 i = (__u32)number;
	__u64 *to = bpf_map_lookup_elem(&went, &i);

	if (to)
		*to = word;
}

/* Of what the packet before became: how much is in front of it, and where it went. */
static __always_inline int outer(void *data, void *end, __u32 *word)
{
	struct ethhdr *eth = data;
	struct ipv6hdr *ip6 = data + ETH_HLEN;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp;

	*word = 0;
	if ((void *)(ip6 + 1) + sizeof(*udp) > end)
		return 0;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		udp = (void *)(ip + 1);
		if (ip->protocol != IPPROTO_UDP || udp->dest != bpf_htons(LB_PORT))
			return 0;
		*word = ip->daddr;
		return sizeof(*ip) + sizeof(*udp);
	}
	udp = (void *)(ip6 + 1);
	if (ip6->nexthdr != IPPROTO_UDP || udp->dest != bpf_htons(LB_PORT))
		return 0;
	*word = ip6->daddr.s6_addr32[3];
	return sizeof(*ip6) + sizeof(*udp);
}

static __always_inline void ports_write(void *l4, const struct lb_flow_id *f)
{
	*(__be16 *)l4 = f->sport;
	*(__be16 *)(l4 + 2) = f->dport;
}

SEC("xdp")
int lbsim(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 zero = 0, word;
	struct lbsim *s = bpf_map_lookup_elem(&sim, &zero);
	struct ethhdr *eth;
	struct lb_flow_id f;

	if (!s || bpf_xdp_adjust_head(ctx, outer(data, end, &word)))
		return -2;
	note(s->next, word);
	lbsim_flow(s, s->next, &f);
	s->next++;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	if (data + ETH_HLEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) > end)
		return -2;
	eth->h_dest[0] = eth->h_source[0] = 2;
	eth->h_proto = s->is_v4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (s->is_v4) {
		struct iphdr *ip = data + ETH_HLEN;

		ip->saddr = f.src[3];
		ports_write(ip + 1, &f);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN;

		__builtin_memcpy(&ip->saddr, f.src, 16);
		ports_write(ip + 1, &f);
	}
	bpf_tail_call(ctx, &next, 0);
	return -3;
}

char _license[] SEC("license") = "Dual BSD/GPL";
