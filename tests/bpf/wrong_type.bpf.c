// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Only a socket filter: fits no hook. */
#include "udp.h"

SEC("socket")
int filter_socket(struct __sk_buff *skb)
{
	return skb->len;
}

char _license[] SEC("license") = "GPL";
