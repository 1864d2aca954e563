/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPMAPS_BPF_H
#define L3AF_L2TPMAPS_BPF_H

/* The maps of bpf/l2tp.h, and what is counted in them. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include "l2tp.h"
#include "pkt.h"

const volatile struct l2tp_here here SEC(".rodata.place") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct l2tp_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, L2TP_PLACES);
	__type(key, __u32);
	__type(value, struct l2tp_place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L2TP_SESSIONS);
	__type(key, struct l2tp_rx_key);
	__type(value, struct l2tp_rx);
} received SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L2TP_SESSIONS);
	__type(key, struct l2tp_access);
	__type(value, struct l2tp_tx);
} access SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L2TP_SESSIONS);
	__type(key, struct l2tp_endpoint);
	__type(value, __u8);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L2TP_SESSIONS);
	__type(key, __u32);
	__type(value, struct l2tp_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, L2TP_SESSIONS);
	__type(key, __u32);
	__type(value, struct l2tp_sequence);
} sequences SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, L2TP_PLACES);
	__type(key, __u32);
	__type(value, struct l2tp_error);
} errors SEC(".maps");

static __always_inline struct l2tp_place *place_here(void)
{
	__u32 i = here.place;

	return bpf_map_lookup_elem(&places, &i);
}

/* Seldom enough to be counted for all CPUs in one place. */
static __always_inline void count_here(enum l2tp_place_count what)
{
	__u32 i = here.place;
	struct l2tp_error *e = bpf_map_lookup_elem(&errors, &i);

	if (e)
		__sync_fetch_and_add(&e->count[what], 1);
}

/* s: of the session, if there is any yet. */
static __always_inline int drop(struct l2tp_stat *s, enum l2tp_count what)
{
	if (s)
		s->count[what]++;
	return TC_ACT_SHOT;
}

#endif
