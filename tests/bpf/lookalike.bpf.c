// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs called like a chain's roots, and none of their maps: a foreign program. */
#include "udp.h"

SEC("xdp")
int l3af_xdp(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int l3af_tc(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
