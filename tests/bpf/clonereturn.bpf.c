// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A mirror as it must not be: what becomes of the clone, out of interface 100, is the verdict
 * on the original. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int clonereturn(struct __sk_buff *skb)
{
	int ret = bpf_clone_redirect(skb, 100, 0);

	return ret ? ret : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
