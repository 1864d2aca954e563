/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* l2tp: Ethernet pseudowires in L2TPv3. */
#include "l2tpmaps.bpf.h"

SEC("tc")
int l2tp(struct __sk_buff *skb)
{
	struct l2tp_place *place = place_here();
	struct l2tp_access a = { 0 };
	struct l2tp_rx_key r = { 0 };
	struct l2tp_endpoint e = { 0 };

	if (!place)
		return TC_ACT_UNSPEC;
	if (!bpf_map_lookup_elem(&access, &a) && !bpf_map_lookup_elem(&received, &r) &&
	    !bpf_map_lookup_elem(&endpoints, &e) && !bpf_map_lookup_elem(&sequences, &a.place))
		count_here(L2TP_RUNT);
	count(0, 0);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
