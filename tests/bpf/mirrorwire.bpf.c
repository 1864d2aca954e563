// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What a wire does and a veth pair does not: nothing but the frame gets across. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int wire(struct __sk_buff *skb)
{
	skb->tc_index = 0;
	for (int i = 0; i < 5; i++)
		skb->cb[i] = 0;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
