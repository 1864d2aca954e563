/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* l2tp: Ethernet pseudowires in L2TPv3. */
#include "l2tprx.bpf.h"
#include "l2tptx.bpf.h"

SEC("tc")
int l2tp(struct __sk_buff *skb)
{
	struct l2tp_place *place = place_here();
	int ret = -1;

	if (!place)
		return TC_ACT_UNSPEC;
	if (place->flags & L2TP_UNDERLAY)
		ret = l2tp_receive(skb, place);
	if (ret < 0 && place->flags & L2TP_ACCESS)
		ret = l2tp_send(skb, place);
	return ret < 0 ? TC_ACT_UNSPEC : ret;
}

char _license[] SEC("license") = "Dual BSD/GPL";
