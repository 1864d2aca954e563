// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Makes each run of BPF_PROG_TEST_RUN a packet of one of many flows: writes source
 * address and port of an IPv4 packet, then runs the program under test in its place. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_helpers.h>
#include "flowbench.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

volatile struct flowbench flowbench SEC(".data.flowbench");

SEC("tc")
int rewrite(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u64 x = flowbench.state;

	if ((void *)(ip + 1) + 4 > end)
		return -2;
	flowbench.state = x = x * flowbench.factor + flowbench.step;
	x = (x >> flowbench.shift) & flowbench.mask;
	ip->saddr = 10 | (__u32)x << 8;
	*(__u16 *)(ip + 1) = x >> 24 ^ 0x1234;
	bpf_tail_call(skb, &next, 0);
	return -3;
}

char _license[] SEC("license") = "Dual BSD/GPL";
