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

/* The packet path looks at the first entry of a tag alone. */
static __u64 entry_find(const struct lb *lb, __u64 hash)
{
	const struct lb_bucket *bucket = &lb->bucket[hash & (lb->config->buckets - 1)];

	for (int i = 0; i < LB_WAYS; i++) {
		__u64 entry = __atomic_load_n(&bucket->way[i], __ATOMIC_RELAXED);

		if (LB_ENTRY_TAG(entry) == lb_tag(hash))
			return lb_is_flow(lb, entry) ? entry : 0;
	}
	return 0;
}

/* The flow's entry; one whose backend is down is told in moved_from. */
static __u64 flow_find(const struct lb *lb, const struct lb_flow_id *f, bool is_v4, int vip, int *moved_from)
{
	__u64 entry = entry_find(lb, lb_flow_hash(f, lb->config->key, is_v4));
	const struct lb_backend *b = &lb->backend[LB_ENTRY_BACKEND(entry)];

	if (!entry || LB_ENTRY_FLOW(entry) == LB_CLIENT || b->vip != (__u32)vip)
		return 0;
	if (b->state == LB_ALIVE)
		return entry;
	*moved_from = LB_ENTRY_BACKEND(entry);
	return 0;
}

/* A sticky VIP's client goes where it went before, unless that takes no new flows. */
static __u64 client_find(const struct lb *lb, const struct lb_flow_id *f, int vip)
{
	__u64 entry = entry_find(lb, lb_client_hash(f, (__u32)vip, lb->config->key));
	const struct lb_backend *b = &lb->backend[LB_ENTRY_BACKEND(entry)];

	return LB_ENTRY_FLOW(entry) == LB_CLIENT && b->vip == (__u32)vip && b->state == LB_ALIVE && lb_is_usable(b) ?
		entry : 0;
}

static int ring_ask(const struct lb *lb, int vip, const struct lb_flow_id *f, bool is_v4, struct lb_answer *answer)
{
	auto_free struct lb_set *set = malloc(sizeof(*set));
	int err = set ? lb_set_read(lb, vip, set) : -ENOMEM;

	if (!err && !set->has_slots)
		err = lb_set_build(set);
	if (err)
		return err;
	answer->slot = lb_ring_slot(f, set->seed, set->flags & LB_STICKY, is_v4);
	answer->ring = set->slot[answer->slot];
	return 0;
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
	bool is_v4 = addr_is_v4(src);
	int err;

	memcpy(f.src, src, sizeof(f.src));
	memcpy(f.dst, v->key.addr, sizeof(f.dst));
	*answer = (struct lb_answer){ .by = LB_BY_FLOW };
	err = ring_ask(lb, vip, &f, is_v4, answer);
	if (err)
		return err;
	answer->entry = flow_find(lb, &f, is_v4, vip, &answer->moved_from);
	if (!answer->entry && v->flags & LB_STICKY) {
		answer->by = LB_BY_CLIENT;
		answer->entry = client_find(lb, &f, vip);
	}
	answer->backend = LB_ENTRY_BACKEND(answer->entry);
	if (answer->entry)
		return 0;
	if (lb->backend[answer->ring].state == LB_ALIVE)
		answer->backend = answer->ring;
	answer->by = answer->backend ? LB_BY_RING : LB_BY_NOBODY;
	return 0;
}
