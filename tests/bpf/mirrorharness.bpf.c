// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Around a TC program under BPF_PROG_TEST_RUN, which knows no tags in metadata.
 *
 * around   gives the packet a tag, runs the program, notes what it changed
 * linear   behind the program under test on an interface: what is left as it was
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "mirrorharness.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

volatile struct mirrorharness mirrorharness SEC(".data.harness");

/* A tail call returns to where this was called. */
__attribute__((noinline)) int under_test(struct __sk_buff *skb)
{
	int verdict = -99;

	bpf_tail_call(skb, &next, 0);
	asm volatile("" : "+r"(verdict));
	return verdict;
}

static __always_inline void note(struct __sk_buff *skb, volatile __u64 to[MIRROR_FIELDS])
{
	to[0] = skb->len;
	to[1] = skb->protocol;
	to[2] = skb->vlan_present;
	to[3] = skb->vlan_tci;
	to[4] = skb->vlan_proto;
	to[5] = skb->mark;
	to[6] = skb->priority;
	to[7] = skb->queue_mapping;
	to[8] = skb->tc_index;
	to[9] = skb->hash;
	to[10] = skb->tstamp;
	to[11] = skb->gso_segs;
	to[12] = skb->gso_size;
	to[13] = skb->ifindex;
	to[14] = skb->ingress_ifindex;
	to[15] = skb->pkt_type;
	to[16] = skb->tc_classid;
	to[17] = skb->cb[0];
	to[18] = skb->cb[1];
	to[19] = skb->cb[2];
	to[20] = skb->cb[3];
	to[21] = skb->cb[4];
	to[22] = skb->wire_len;
}

SEC("tc")
int around(struct __sk_buff *skb)
{
	if (mirrorharness.is_tagged && bpf_skb_vlan_push(skb, bpf_htons(mirrorharness.proto), mirrorharness.tci))
		return -98;
	note(skb, mirrorharness.before);
	mirrorharness.verdict = under_test(skb);
	note(skb, mirrorharness.after);
	return mirrorharness.verdict;
}

SEC("tc")
int linear(struct __sk_buff *skb)
{
	mirrorharness.linear = skb->data_end - skb->data;
	return -1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
