/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_LBMAPS_BPF_H
#define L3AF_LBMAPS_BPF_H

/* The maps of bpf/lb.h, and what the functions of kernel function lb tell each other about
 * the packet they are at. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include "lb.h"
#include "lbhash.h"
#include "pkt.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

const volatile struct lb_here here SEC(".rodata.place") = { 0 };

/* Sizes marked 1 and 2 are set when an instance is made. */
#define LB_ARRAY(name, flags, entries, type_)          \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(map_flags, flags);              \
		__uint(max_entries, entries);          \
		__type(key, __u32);                    \
		__type(value, type_);                  \
	} name SEC(".maps")

LB_ARRAY(config, BPF_F_MMAPABLE, 1, struct lb_config);
LB_ARRAY(places, BPF_F_MMAPABLE, 2 * LB_PLACES, struct lb_place);
LB_ARRAY(prefilter, BPF_F_MMAPABLE, 1, struct lb_prefilter);
LB_ARRAY(vips, BPF_F_MMAPABLE, 1, struct lb_vip);
LB_ARRAY(backends, BPF_F_MMAPABLE, 1, struct lb_backend);
LB_ARRAY(flows, BPF_F_MMAPABLE, 1, struct lb_bucket);
LB_ARRAY(hops, BPF_F_MMAPABLE, 1, struct lb_hop);
LB_ARRAY(frags, BPF_F_MMAPABLE, LB_FRAGS, __u64);
LB_ARRAY(health, BPF_F_MMAPABLE, 1, struct lb_health);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct lb_key);
	__type(value, __u32);
} vipkeys SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct lb_ring));
	});
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_vip_stat);
} vipstats SEC(".maps");

/* A packet, as those functions see it that do not belong to the shortest path. They are
 * global: the verifier checks each of them once, and old ones take no pointers. So this is
 * in a map. Lengths in octets, offsets from the start of the frame. */
struct job {
	struct lb_flow_id f; /* of the quoted packet where kind is JOB_ERROR */
	__u32 vip_addr[4];   /* the packet's destination */
	__u64 hash;
	__u64 sum;           /* ones' complement sum of the IP packet, where has_sum */
	__u64 dmac, smac;    /* next hop, as in struct lb_hop but in the lower 48 bits; smac 0: as received */
	__u32 out;           /* its ifindex */
	__u32 l3, l4;
	__u32 len;           /* of the IP packet, as it says */
	__u32 now;           /* tick */
	__u32 vip;           /* what is counted there */
	__u32 backend;       /* 0: not known yet */
	__u32 second;        /* backend of the ring before, 0: no second hop */
	__u32 way;           /* 1 + the way of an entry of this flow that is no longer good */
	__u64 old;           /* that entry, if its backend is the reason */
	__be32 frag_id;
	__be16 id, frag_off; /* IPv4 */
	__u8 kind;           /* enum job_kind */
	__u8 is_v4, is_fragment, is_bad /* lengths */, has_sum, tos, tcp /* flags */, is_new;
};
enum job_kind { JOB_NONE, JOB_PACKET, JOB_LATER /* fragment */, JOB_ERROR /* ICMP */, JOB_ECHO };
enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4 };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} scratch SEC(".maps");

/* A length that is added to a pointer: old verifiers do not see what a swap of octets bounds. */
static __always_inline __u64 length_read(__be16 len)
{
	__u64 n = bpf_ntohs(len);

	barrier_var(n);
	return n & 0xffff;
}

/* Octets of the frame; of its first buffer. */
static __always_inline __u32 frame_linear(struct xdp_md *ctx)
{
	long size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	barrier_var(size);
	return size;
}

static __always_inline __u32 frame_len(struct xdp_md *ctx)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_xdp_get_buff_len))
		return bpf_xdp_get_buff_len(ctx);
	return frame_linear(ctx);
}

static __always_inline struct job *job_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

static __always_inline struct lb_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline struct lb_place *place_get(void)
{
	struct lb_config *c = config_get();
	__u32 i = here.place;

	if (!c)
		return NULL;
	i += (c->aside >> (i & 31) & 1) * LB_PLACES;
	return bpf_map_lookup_elem(&places, &i);
}

static __always_inline struct lb_backend *backend_get(__u32 number)
{
	return bpf_map_lookup_elem(&backends, &number);
}

static __always_inline struct lb_vip *vip_get(__u32 number)
{
	return bpf_map_lookup_elem(&vips, &number);
}

static __always_inline bool is_maybe_vip(const __u32 addr[4])
{
	__u32 zero = 0, bit = lb_prefilter_bit(addr);
	const struct lb_prefilter *filter = bpf_map_lookup_elem(&prefilter, &zero);

	return filter && filter->word[bit / 64 & (LB_PREFILTER_WORDS - 1)] >> (bit & 63) & 1;
}

static __always_inline void vip_count(__u32 vip, __u32 what)
{
	struct lb_vip_stat *stat = bpf_map_lookup_elem(&vipstats, &vip);

	if (stat)
		stat->count[what & 15]++;
}

static __always_inline void backend_count(__u32 number, __u32 bytes, __u32 new)
{
	struct lb_stat *stat = bpf_map_lookup_elem(&stats, &number);

	if (!stat)
		return;
	stat->packets++;
	stat->bytes += bytes;
	stat->flows += new;
}

/* Is a packet of this flow one of this VIP? */
static __always_inline bool vip_is(const struct lb_vip *vip, const struct lb_flow_id *f)
{
	const __u32 *a = vip->key.addr, *b = f->dst;

	return vip->is_live && !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) &&
	       vip->key.proto == f->proto && (vip->key.port == f->dport || !vip->key.port);
}

#endif
