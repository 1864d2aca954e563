// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* A TC program that does nothing. */
SEC("tc")
int empty_tc(struct __sk_buff *skb)
{
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
