/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Harness of l2tp under BPF_PROG_TEST_RUN, one run a packet: a program that moves headers leaves
 * a packet that no interface would give it. Sums up how long the program takes.
 *
 * nothing  the program under test that is none.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

struct {
	__u64 ns, runs, failures;
} volatile took SEC(".data.took");

__attribute__((noinline)) int member(struct __sk_buff *skb)
{
	int verdict = -2;

	bpf_tail_call(skb, &next, 0);
	asm volatile("" : "+r"(verdict));
	return verdict;
}

/* As much room in front as the stack and drivers of tunnels leave, where the kernel can make it. */
SEC("tc")
int measure(struct __sk_buff *skb)
{
	__u64 from, to;
	int verdict;

	if (!bpf_skb_adjust_room(skb, 128, BPF_ADJ_ROOM_MAC, 0))
		bpf_skb_adjust_room(skb, -128, BPF_ADJ_ROOM_MAC, 0);
	from = bpf_ktime_get_ns();
	verdict = member(skb);
	to = bpf_ktime_get_ns();
	if (verdict != TC_ACT_REDIRECT)
		took.failures++;
	took.ns += to - from;
	took.runs++;
	return TC_ACT_OK;
}

SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return TC_ACT_REDIRECT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
