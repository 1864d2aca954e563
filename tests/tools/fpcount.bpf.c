// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The last member: counts test packets by fingerprint and consumes them. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fp.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, __u64);
} prints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fp_seen);
} seen SEC(".maps");

static __always_inline int count(void *data, void *end)
{
	struct fp *fp = data + FP_OFFSET;
	__u64 print, zero = 0, *n;
	struct fp_seen *s;
	__u32 key = 0;

	if (data + FP_FRAME > end || fp->magic != FP_MAGIC)
		return 0;
	print = fp->print;
	n = bpf_map_lookup_elem(&prints, &print);
	if (!n) {
		bpf_map_update_elem(&prints, &print, &zero, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&prints, &print);
	}
	s = bpf_map_lookup_elem(&seen, &key);
	if (!n || !s)
		return 0;
	__sync_fetch_and_add(n, 1);
	__sync_fetch_and_add(&s->seq_sum, fp->seq);
	__sync_fetch_and_add(&s->packets, 1);
	return 1;
}

SEC("xdp") int fpcount_xdp(struct xdp_md *ctx)
{
	return count((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? XDP_DROP : XDP_PASS;
}

/* On egress the packet goes out, so that its sender sees no error. */
SEC("tc") int fpcount_tc(struct __sk_buff *ctx)
{
	int is_ours = count((void *)(long)ctx->data, (void *)(long)ctx->data_end);

	return is_ours && ctx->ingress_ifindex ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
