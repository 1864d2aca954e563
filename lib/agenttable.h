/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTTABLE_H
#define L3AF_AGENTTABLE_H

/* The maps of an instance of agent. These print nothing unless they say so. */
#include "agent.h"
#include "bpffs.h"
#include "chain.h"

struct agents {
	char instance[NAME_LEN];
	int config, places, vips, sources, conns, stats, vipstats;
	struct agent_place place[AGENT_PLACES];
};
#define AGENTS_INIT { .config = -1, .places = -1, .vips = -1, .sources = -1, .conns = -1, .stats = -1, .vipstats = -1 }
void agents_close(struct agents *a);
#define auto_agents __attribute__((cleanup(agents_close)))

/* 1: it is open; 0: there is none; or an error, printed. */
must_use int agents_open(const struct bpffs *b, const char *instance, struct agents *a);
/* Make what is missing of an instance, and open it. Prints its errors. */
must_use int agents_make(const struct bpffs *b, const char *instance, struct agents *a);
/* Unpin it. Prints its errors. */
must_use int agents_remove(const struct bpffs *b, const char *instance);

/* The place of an interface, or -ENOENT. */
must_use int agents_place(const struct agents *a, const struct netns *netns, int ifindex);
/* A free one or -E2BIG; unless it is_dry, its counters are zero and nothing is left of who had it. */
must_use int agents_place_new(struct agents *a, bool is_dry);
must_use int agents_place_write(struct agents *a, int place, const struct agent_place *what);
/* Nobody's any more: VIPs, sources, connections, then the place itself. */
must_use int agents_place_free(struct agents *a, int place);

/* All VIPs of a place, n of them, in the order of their addresses; to be freed. */
struct agent_vip_entry {
	struct agent_vip_key key;
	struct agent_vip vip;
};
must_use int agents_vips(const struct agents *a, int place, struct agent_vip_entry **all, int *n);
/* Insert with counters of its own, at zero, or change. */
must_use int agents_vip_write(const struct agents *a, const struct agent_vip_key *key, struct agent_vip *vip,
			      bool is_new);
/* And its connections; absent is fine. */
must_use int agents_vip_remove(const struct agents *a, const struct agent_vip_key *key);

/* All sources of a place, in order; to be freed. */
must_use int agents_sources(const struct agents *a, int place, struct agent_source **all, int *n);
must_use int agents_source_write(const struct agents *a, const struct agent_source *s);
must_use int agents_source_remove(const struct agents *a, const struct agent_source *s);

/* Connections that are not expired, by VIP; each of n entries. */
must_use int agents_conns_count(const struct agents *a, const struct agent_vip_entry *vip, int n, __u64 *conns);

/* Jiffies a second. */
__u32 agents_hz(void);
must_use int agents_stat(const struct agents *a, int place, struct agent_stat *sum);
must_use int agents_vip_stat(const struct agents *a, __u32 stat, struct agent_vip_stat *sum);

#endif
