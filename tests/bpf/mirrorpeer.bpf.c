// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What mirror is measured against: a clone and nothing else, sent to an interface. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

volatile __u32 ifindex SEC(".data.peer");

SEC("tc")
int bare(struct __sk_buff *skb)
{
	bpf_clone_redirect(skb, ifindex, 0);
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
