/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Harness of an agent under BPF_PROG_TEST_RUN with repetitions, which does not give a packet
 * back as it was: what the run before took off is put on again, then the program under test
 * runs in its place.
 *
 * nothing  the program under test that is none.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define HEAD 128

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

/* The frame's length and its first octets. */
struct {
	__u32 len;
	__u8 head[HEAD];
} volatile frame SEC(".data.frame");

SEC("xdp")
int restore(struct xdp_md *ctx)
{
	__u32 lost = frame.len - (ctx->data_end - ctx->data);
	void *data;

	if (lost && bpf_xdp_adjust_head(ctx, -(int)(lost & 255)))
		return XDP_ABORTED;
	data = (void *)(long)ctx->data;
	if (data + HEAD > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < HEAD / 8; i++)
		((__u64 *)data)[i] = ((volatile __u64 *)frame.head)[i];
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
