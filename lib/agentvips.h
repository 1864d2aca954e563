/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_AGENTVIPS_H
#define L3AF_AGENTVIPS_H

/* VIPs and sources of an agent's place, as agent enable asks for them: the difference is
 * recorded in run->changes and, unless run->dry_run, made. Both print their errors. */
#include <stdlib.h>
#include "agents.h"
#include "agenttable.h"

/* Those that a place has; e is owned. */
struct agent_vip_set {
	struct agent_vip_entry *e;
	int n;
};
static inline void agent_vip_set_free(struct agent_vip_set *v) { free(v->e); }
#define auto_vips __attribute__((cleanup(agent_vip_set_free)))
/* NULL: it is none of them. */
struct agent_vip_entry *agent_vip_find(const struct agent_vip_set *v, const struct addr *addr);

must_use int agent_vips_set(const struct run *run, const struct agents *a, const char *dev,
			    const struct agent_enable *want, int place, const struct agent_vip_set *now);
/* New ones first: whoever is allowed before and after is allowed all the time. */
must_use int agent_sources_set(const struct run *run, const struct agents *a, const char *dev, int place,
			       const struct agent_enable *want, const struct agent_source *now, int n);

/* A change of a place, of what of it (NULL: itself). */
void agent_note(const struct run *run, char op, const char *what, const struct agents *a, const char *dev);
void agent_note_vip(const struct run *run, char op, const struct agents *a, const char *dev,
		    const struct agent_vip_key *key);

#endif
