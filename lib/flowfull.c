/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "flowfull.h"

/* 0 where it cannot be read. */
static __u64 refused_sum(const struct flowtable *t)
{
	struct flow_stat stat;
	__u64 sum = 0;

	for (__u32 place = 0; place < FLOW_PLACES; place++)
		if (t->place[place].ifindex && !flowtable_stat(t, place, &stat))
			sum += stat.ignored[FLOW_IGNORED_FULL].packets;
	return sum;
}

static __u64 used(const struct flowtable *t)
{
	__u64 vacant = __atomic_load_n(&t->ends->tail, __ATOMIC_RELAXED) - __atomic_load_n(&t->ends->head, __ATOMIC_RELAXED);

	return vacant > t->max ? 0 : t->max - vacant;
}

void flow_warn_full(const struct flowtable *t, struct flow_collector *c)
{
	__u64 now = refused_sum(t), refused = now - (now < c->refused ? 0 : c->refused), in_use = used(t);
	char more[64] = "", whom[FLOW_COLLECTORS * 300] = "";
	size_t len = 0;

	c->refused = now;
	if (!refused && in_use < t->max - t->max / 10)
		return;
	for (int i = 0; i < FLOW_COLLECTORS; i++) {
		if (t->peer[i].state && t->waiting[i])
			len += (size_t)snprintf(whom + len, sizeof(whom) - len, "%s %.255s (%llu)", len ? "," : "",
						t->peer[i].state->name, t->waiting[i]);
	}
	if (refused)
		snprintf(more, sizeof(more), ", and %llu packets of others were not counted", refused);
	warn("instance %s: %llu of %u flows are in its table%s; %s%s", t->instance, in_use, t->max, more,
	     len ? "closed ones wait for" : "a larger max or a shorter idle makes room", whom);
}
