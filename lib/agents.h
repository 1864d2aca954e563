/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTS_H
#define L3AF_AGENTS_H

/*
 * Agents of a load balancer: the instances of the kernel function agent (bpf/agent.h). The
 * lock is held by the caller. All print their errors unless they say otherwise.
 */
#include "agent.h"
#include "chain.h"
#include "parse.h"

#define AGENT_KF "agent"

struct agent_vip_want {
	struct addr addr, to;
	bool has_to;
};

struct agent_enable {
	const struct agent_vip_want *vip;
	int vips;
	bool is_local;               /* every address of this host is a VIP */
	const struct prefix *source; /* replace those there are */
	int sources;
	__u16 port;                  /* 0: not given */
	int at, hook;                /* enum agent_at, agent_hook; -1: not given */
};
/* Make it so: the place, its VIPs, its programs in the chains. VIPs that are there stay. */
must_use int agent_enable(const struct run *run, const struct bpffs *b, const struct iface *dev,
			  const char *instance, const struct agent_enable *want);
/* One VIP of an interface, or (NULL) all of the interface. instance NULL: the one it has. */
must_use int agent_disable(const struct run *run, const struct bpffs *b, const struct iface *dev,
			   const struct addr *vip, const char *instance);

/* A place as the kernel has it; what belongs to it is to be read with the two below. */
struct agent_row {
	const char *instance;
	const struct agent_place *place;
	__u32 number;
	struct iface dev;            /* name "": it is gone, or of another network namespace */
	bool is_here;                /* of this network namespace */
	bool is_on;                  /* its programs are in their chains */
	struct agent_stat stat;
};
/* Of all instances or (not NULL) of one, all interfaces or one. */
must_use int agent_walk(const struct bpffs *b, const char *instance, const struct iface *dev,
			int (*fn)(const struct bpffs *b, const struct agent_row *row, void *arg), void *arg);

struct agent_vip_row {
	struct agent_vip_key key;
	struct agent_vip vip;
	struct agent_vip_stat stat;
	__u64 conns;                 /* that are not expired */
};
/* In the order of their addresses. */
must_use int agent_vips(const struct bpffs *b, const struct agent_row *row,
			int (*fn)(const struct agent_vip_row *vip, void *arg), void *arg);
must_use int agent_sources(const struct bpffs *b, const struct agent_row *row,
			   int (*fn)(const struct prefix *source, void *arg), void *arg);

extern const char *const agent_at_words[];
extern const char *const agent_hook_words[];
extern const char *const agent_count_keys[]; /* by enum agent_count */

/* kf.keeps: an agent's VIPs outlive its last member. */
must_use int agent_keeps(const struct bpffs *b, const char *instance);
/* kf.prepare. */
struct bpf_object;
must_use int agent_prepare(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			   const struct chain_id *at);

#endif
