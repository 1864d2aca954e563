// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* VIPs. */
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "lbhash.h"
#include "lbmaps.h"
#include "lbs.h"
#include "out.h"
#include "run.h"

#define IDLE_TCP_US 3600000000ULL
#define IDLE_UDP_US 60000000ULL

const char *const lb_sticky_words[] = { "none", "source", NULL };

static int fail_vip(int err, const struct lb *lb, const struct vip *vip)
{
	char text[VIP_LEN];

	format_vip(vip, text, sizeof(text));
	return fail_errno(err, "kf/%s: vip %s", lb->instance, text);
}

/*
 * Keys: every VIP has its own; an address has one that names a live VIP with it, at any moment
 * that there is one.
 */
static struct lb_key presence(const struct lb_key *key)
{
	struct lb_key p = *key;

	p.port = 0;
	p.proto = 0;
	return p;
}

static int key_put(const struct lb *lb, const struct lb_key *key, __u32 number, __u64 flags)
{
	int err = bpf_map_update_elem(lb->vipkeys, key, &number, flags);

	return err == -EEXIST ? 0 : err;
}

static int key_remove(const struct lb *lb, const struct lb_key *key)
{
	int err = bpf_map_delete_elem(lb->vipkeys, key);

	return err == -ENOENT ? 0 : err;
}

static int keys_add(struct lb *lb, int number)
{
	const struct lb_key *key = &lb->vip[number].key, address = presence(key);
	__u32 bit = lb_prefilter_bit(key->addr);
	int err = key_put(lb, key, (__u32)number, BPF_ANY);

	if (!err)
		err = key_put(lb, &address, (__u32)number, BPF_NOEXIST);
	if (!err)
		__atomic_fetch_or(&lb->prefilter->word[bit / 64], 1ULL << (bit % 64), __ATOMIC_SEQ_CST);
	return err;
}

static void prefilter_repair(struct lb *lb)
{
	struct lb_prefilter want = { 0 };

	for (__u32 i = 0; i < lb->config->vips; i++) {
		__u32 bit = lb_prefilter_bit(lb->vip[i].key.addr);

		if (lb->vip[i].is_live)
			want.word[bit / 64] |= 1ULL << (bit % 64);
	}
	for (int i = 0; i < LB_PREFILTER_WORDS; i++)
		if (lb->prefilter->word[i] != want.word[i])
			__atomic_store_n(&lb->prefilter->word[i], want.word[i], __ATOMIC_SEQ_CST);
}

/* The address's key names another VIP, if there is one; 1: there is. */
static int address_pass_on(struct lb *lb, int number)
{
	const struct lb_key *key = &lb->vip[number].key, address = presence(key);
	int err;

	for (__u32 i = 0; i < lb->config->vips; i++)
		if (lb->vip[i].is_live && i != (__u32)number && !memcmp(lb->vip[i].key.addr, key->addr, sizeof(key->addr))) {
			err = key_put(lb, &address, i, BPF_ANY);
			return err ? err : 1;
		}
	return 0;
}

static int keys_remove(struct lb *lb, int number)
{
	const struct lb_key *key = &lb->vip[number].key, address = presence(key);
	int err = key_remove(lb, key), has;

	has = err ? err : address_pass_on(lb, number);
	err = has ? has < 0 ? has : 0 : key_remove(lb, &address);
	if (!err)
		prefilter_repair(lb);
	return err;
}

int lb_vip_free(struct lb *lb, int number)
{
	struct lb_vip *v = &lb->vip[number];
	int err = keys_remove(lb, number);

	for (__u32 i = 1; !err && i < lb->config->backends; i++)
		if (lb->backend[i].state != LB_FREE && lb->backend[i].vip == (__u32)number)
			__atomic_store_n(&lb->backend[i].state, LB_GONE, __ATOMIC_SEQ_CST);
	if (!err)
		err = lb_gone_free(lb);
	if (!err)
		err = lb_rings_remove(lb, number);
	if (!err)
		__atomic_store_n(&v->key.proto, 0, __ATOMIC_SEQ_CST);
	return err;
}

/*
 * Changes.
 */
static void note_vip(const struct run *run, const struct lb *lb, char op, const struct vip *vip)
{
	char text[VIP_LEN];

	change_add(run->changes, op, "lb vip", format_vip(vip, text, sizeof(text)));
	if (strcmp(lb->instance, LB_KF))
		change_str(run->changes, "instance", "%s", lb->instance);
}

/* What it is to have; from says what it has, NULL: nothing yet. */
static void note_settings(const struct run *run, const struct lb_set *from, const struct lb_set *to)
{
	const char *sticky = lb_sticky_words[to->flags & LB_STICKY];
	char text[32], was[32];

	if (from ? from->flags != to->flags : to->flags)
		from ? change_from_str(run->changes, "sticky", lb_sticky_words[from->flags & LB_STICKY], sticky) :
		       change_str(run->changes, "sticky", "%s", sticky);
	format_duration(to->idle_us, text, sizeof(text));
	if (!from)
		change_str(run->changes, "idle", "%s", text);
	else if (from->idle_us != to->idle_us)
		change_from_str(run->changes, "idle", format_duration(from->idle_us, was, sizeof(was)), text);
	if (from && from->seed != to->seed)
		change_from_u64(run->changes, "hash_seed", from->seed, to->seed);
	else if (!from && to->seed)
		change_u64(run->changes, "hash_seed", to->seed);
}

static void settings_take(struct lb_set *set, const struct lb_vip_want *want)
{
	if (want->has_sticky)
		set->flags = want->is_sticky ? set->flags | LB_STICKY : set->flags & ~(__u32)LB_STICKY;
	if (want->has_idle)
		set->idle_us = want->idle_us;
	if (want->has_seed)
		set->seed = want->seed;
}

static int vacant(const struct lb *lb)
{
	for (__u32 i = 0; i < lb->config->vips; i++)
		if (!lb->vip[i].key.proto && !lb->vip[i].is_live)
			return (int)i;
	return -E2BIG;
}

/* The protocol comes last: what has one is finished, or taken away again. */
static void record_fill(struct lb *lb, int number, const struct vip *vip, const struct lb_set *set)
{
	struct lb_vip *v = &lb->vip[number];

	*v = (struct lb_vip){
		.key = lb_vip_key(vip),
		.flags = set->flags,
		.seed = set->seed,
		.idle = lb_ticks(lb->config, set->idle_us),
		.idle_us = set->idle_us,
		.since = (__u64)time(NULL),
	};
}

static int vip_make(struct lb *lb, int number, const struct vip *vip, struct lb_set *set)
{
	struct vip bare = *vip;
	int err = lb_vip_stat_zero(lb, number);

	if (err)
		return err;
	bare.proto = 0;
	record_fill(lb, number, &bare, set);
	__atomic_store_n(&lb->vip[number].key.proto, vip->proto, __ATOMIC_SEQ_CST);
	err = lb_rings_make(lb, number, set);
	if (!err)
		err = keys_add(lb, number);
	if (err) {
		int undo = lb_vip_free(lb, number);

		return undo ? undo : err;
	}
	__atomic_store_n(&lb->vip[number].is_live, 1, __ATOMIC_SEQ_CST);
	return 0;
}

/* What is sent to a backend would come back to the balancer. */
static int check_backends(const struct lb *lb, const struct vip *vip)
{
	char text[VIP_LEN], of[VIP_LEN];
	struct vip other;

	for (__u32 i = 1; i < lb->config->backends; i++) {
		const struct lb_backend *b = &lb->backend[i];

		if ((b->state != LB_ALIVE && b->state != LB_DEAD) || memcmp(b->addr, &vip->addr, sizeof(b->addr)))
			continue;
		lb_vip_get(lb, (int)b->vip, &other);
		return fail(-E_USAGE, "vip %s: its address is that of a backend of vip %s", format_vip(vip, text, sizeof(text)),
			    format_vip(&other, of, sizeof(of)));
	}
	return 0;
}

static int vip_new(const struct run *run, struct lb *lb, const struct lb_vip_want *want, struct lb_set *set)
{
	int number = vacant(lb), err = check_backends(lb, &want->vip);

	if (err)
		return err;
	if (number < 0)
		return fail(number, "instance %s has %u VIPs, no more fit; remove one first, or use another instance",
			    lb->instance, lb->config->vips);
	set->n = 0;
	set->seed = set->flags = 0;
	set->idle_us = want->vip.proto == IPPROTO_TCP ? IDLE_TCP_US : IDLE_UDP_US;
	settings_take(set, want);
	note_vip(run, lb, '+', &want->vip);
	note_settings(run, NULL, set);
	err = run->dry_run ? 0 : vip_make(lb, number, &want->vip, set);
	return err ? fail_vip(err, lb, &want->vip) : 0;
}

static int vip_change(const struct run *run, struct lb *lb, int number, const struct lb_vip_want *want,
		      struct lb_set *old, struct lb_set *new)
{
	int err = lb_set_read(lb, number, old);

	if (err)
		return fail_vip(err, lb, &want->vip);
	*new = *old;
	settings_take(new, want);
	if (new->flags == old->flags && new->idle_us == old->idle_us && new->seed == old->seed)
		return 0;
	note_vip(run, lb, '~', &want->vip);
	note_settings(run, old, new);
	err = run->dry_run ? 0 : lb_set_publish(lb, number, old, new);
	return err ? fail_vip(err, lb, &want->vip) : 0;
}

int lb_vip_add(const struct run *run, struct lb *lb, const struct lb_vip_want *want)
{
	auto_free struct lb_set *old = malloc(sizeof(*old)), *new = malloc(sizeof(*new));
	int number = lb_vip_find(lb, &want->vip);

	if (!old || !new)
		return fail_vip(-ENOMEM, lb, &want->vip);
	return number < 0 ? vip_new(run, lb, want, new) : vip_change(run, lb, number, want, old, new);
}

int lb_vip_remove(const struct run *run, struct lb *lb, const struct vip *vip)
{
	auto_free struct lb_set *set = malloc(sizeof(*set));
	int number = lb_vip_find(lb, vip), err;

	if (number < 0)
		return 0;
	err = set ? lb_set_read(lb, number, set) : -ENOMEM;
	if (err)
		return fail_vip(err, lb, vip);
	for (int i = 0; i < set->n; i++)
		lb_note_backend(run, lb, '-', vip, &set->part[i].addr);
	note_vip(run, lb, '-', vip);
	if (run->dry_run)
		return 0;
	err = address_pass_on(lb, number);
	if (err < 0)
		return fail_vip(err, lb, vip);
	__atomic_store_n(&lb->vip[number].is_live, 0, __ATOMIC_SEQ_CST);
	err = lb_vip_free(lb, number);
	if (err)
		lb_warn_gone(err, lb);
	return 0;
}
