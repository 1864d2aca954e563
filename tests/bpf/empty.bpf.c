// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Nothing: the member that `make bench` fills chains with, and its baseline. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int empty(struct xdp_md *ctx)
{
	int verdict = XDP_PASS;

	asm volatile("" : "+r"(verdict)); /* as in the peers' members */
	return verdict;
}

char _license[] SEC("license") = "GPL";
