// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the packet path would do. */
#include <bpf/bpf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "lbhash.h"
#include "lbmaps.h"
#include "lbs.h"

/* The entry of a tag that the packet path takes: the first in the bucket, whose backend is
 * alive and of this VIP, and that is not forgotten. */
static __u64 entry_find(const struct lb *lb, __u64 hash, int vip, __u64 *dead)
{
	const struct lb_bucket *bucket = &lb->bucket[hash & (lb->config->buckets - 1)];

	for (int i = 0; i < LB_WAYS; i++) {
		__u64 entry = __atomic_load_n(&bucket->way[i], __ATOMIC_RELAXED);
		const struct lb_backend *b;

		if (LB_ENTRY_TAG(entry) != lb_tag(hash) || !lb_is_flow(lb, entry))
			continue;
		b = &lb->backend[LB_ENTRY_BACKEND(entry)];
		if (b->vip != (__u32)vip)
			continue;
		if (b->state == LB_ALIVE)
			return entry;
		*dead = entry;
	}
	return 0;
}

static int slot_read(const struct lb *lb, int vip, __u32 slot, int *number)
{
	auto_free struct lb_set *set = malloc(sizeof(*set));
	int err = set ? lb_set_read(lb, vip, set) : -ENOMEM;

	if (!err && !set->has_slots)
		err = lb_set_build(set);
	*number = err ? 0 : set->slot[slot];
	return err;
}

int lb_which(const struct lb *lb, int vip, const struct addr *src, __u16 sport, __u16 dport,
	     struct lb_answer *answer)
{
	const struct lb_vip *v = &lb->vip[vip];
	struct lb_flow_id f = {
		.sport = htobe16(sport),
		.dport = v->key.port ? v->key.port : htobe16(dport),
		.proto = v->key.proto,
	};
	bool is_v4 = addr_is_v4(src), is_sticky = v->flags & LB_STICKY;
	__u64 dead = 0;
	int err;

	memcpy(f.src, src, sizeof(f.src));
	memcpy(f.dst, v->key.addr, sizeof(f.dst));
	*answer = (struct lb_answer){ .by = LB_BY_FLOW, .slot = lb_ring_slot(&f, v->seed, is_sticky, is_v4) };
	err = slot_read(lb, vip, answer->slot, &answer->ring);
	if (err)
		return err;
	answer->entry = entry_find(lb, lb_flow_hash(&f, lb->config->key, is_v4), vip, &dead);
	if (!answer->entry && is_sticky) {
		answer->by = LB_BY_CLIENT;
		answer->entry = entry_find(lb, lb_client_hash(&f, (__u32)vip, lb->config->key), vip, &dead);
	}
	answer->moved_from = answer->entry || !dead ? 0 : LB_ENTRY_BACKEND(dead);
	if (answer->entry) {
		answer->backend = LB_ENTRY_BACKEND(answer->entry);
		return 0;
	}
	answer->backend = answer->ring;
	answer->by = answer->ring ? LB_BY_RING : LB_BY_NOBODY;
	return 0;
}
