// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* L3AF's own root programs, in its manner: nothing but a tail call. */
#include "udp.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} tc_root_array SEC(".maps");

SEC("tc-root")
int tc_root(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &tc_root_array, 0);
	return TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
