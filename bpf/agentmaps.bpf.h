/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTMAPS_BPF_H
#define L3AF_AGENTMAPS_BPF_H

/* The maps of bpf/agent.h. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include <bpf/bpf_core_read.h>
#include "agent.h"
#include "gue.h"
#include "pkt.h"


const volatile struct agent_here here SEC(".rodata.place") = { 0 };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, AGENT_PLACES);
	__type(key, __u32);
	__type(value, struct agent_place);
} places SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, AGENT_VIPS);
	__type(key, struct agent_vip_key);
	__type(value, struct agent_vip);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, AGENT_SOURCES);
	__type(key, struct agent_source);
	__type(value, __u8);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AGENT_CONNS);
	__type(key, struct agent_conn_key);
	__type(value, struct agent_conn);
} conns SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, AGENT_FRAGS);
	__type(key, struct agent_frag);
	__type(value, struct agent_conn_key);
} frags SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AGENT_PLACES);
	__type(key, __u32);
	__type(value, struct agent_stat);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, AGENT_VIPS);
	__type(key, __u32);
	__type(value, struct agent_vip_stat);
} vipstats SEC(".maps");

static __always_inline void count(enum agent_count what)
{
	__u32 i = here.place;
	struct agent_stat *s = bpf_map_lookup_elem(&stats, &i);

	if (s)
		s->count[what]++;
}

static __always_inline struct agent_place *place_here(void)
{
	__u32 i = here.place;

	return bpf_map_lookup_elem(&places, &i);
}

#endif
