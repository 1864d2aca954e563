// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* L3AF's manner at TC: counts packets by mark, hands on to its own next program, says OK. */
#include "udp.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} flow_record_map SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} ipfix_ingress_jmp_table SEC(".maps");

SEC("tc_ingress_flow_monitoring")
int _ingress_flow_monitoring(struct __sk_buff *skb)
{
	__u32 key = skb->mark;
	__u64 one = 1, *n = bpf_map_lookup_elem(&flow_record_map, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&flow_record_map, &key, &one, BPF_ANY);
	bpf_tail_call(skb, &ipfix_ingress_jmp_table, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
