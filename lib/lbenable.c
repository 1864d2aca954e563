// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Interfaces that balance. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chainstate.h"
#include "cleanup.h"
#include "kf.h"
#include "lbmaps.h"
#include "lbs.h"
#include "out.h"
#include "root.h"
#include "run.h"

/* The member lb of an interface's chain. */
struct running {
	char instance[NAME_LEN]; /* "": there is none */
	__u32 prog_id;
};

static int running_find(const struct chain_row *row, void *arg)
{
	struct running *r = arg;

	if (row->member && !strcmp(row->member->name, LB_KF)) {
		memcpy(r->instance, row->member->instance, NAME_LEN);
		r->prog_id = row->member->prog_id;
	}
	return 0;
}

static int check_instance(const struct running *r, const struct chain_id *at, const char *instance)
{
	if (!r->instance[0] || !strcmp(r->instance, instance))
		return 0;
	return fail(-EEXIST, "%s has an lb already, of instance %s; l3afctl lb disable dev %s instance %s first",
		    at->iface.name, r->instance, at->iface.name, r->instance);
}

/* The program that sends probes to backends goes with the one that balances. */
static int tc_remove(const struct run *run, const struct bpffs *b, const struct chain_id *at)
{
	struct chain_id egress = *at;
	int has;

	egress.hook = HOOK_TC_EGRESS;
	has = chain_has(b, &egress, LB_KF);
	return has > 0 ? chain_remove(run, b, &egress, LB_KF) : has;
}

/*
 * What is said of a change.
 */
static void note_place(const struct run *run, char op, const struct chain_id *at, const char *instance)
{
	change_add(run->changes, op, "lb", NULL);
	change_str(run->changes, "dev", "%s", at->iface.name);
	if (strcmp(instance, LB_KF))
		change_str(run->changes, "instance", "%s", instance);
}

static struct addr source_of(const struct lb_place *p, bool is_v4)
{
	struct addr a = { { [10] = 0xff, [11] = 0xff } };

	if (is_v4)
		memcpy(a.b + 12, &p->source4, sizeof(p->source4));
	else
		memcpy(a.b, p->source6, sizeof(a.b));
	return a;
}

struct value {
	char text[64];
};

static struct value source_text(const struct lb_place *p, bool is_v4)
{
	struct addr a = source_of(p, is_v4);
	struct value v = { "none" };

	if (is_v4 ? p->source4 : p->source6[0] | p->source6[1] | p->source6[2] | p->source6[3])
		format_addr(&a, v.text, sizeof(v.text));
	return v;
}

static struct value gateway_text(const struct lb_place *p)
{
	static const __u8 none[6];
	struct value v = { "auto" };

	if (memcmp(p->gateway, none, sizeof(none)))
		format_mac(p->gateway, v.text, sizeof(v.text));
	return v;
}

static void note_str(const struct run *run, const char *key, const struct lb_place *from, struct value is,
		     struct value will_be)
{
	if (!from)
		change_str(run->changes, key, "%s", will_be.text);
	else if (strcmp(is.text, will_be.text))
		change_from_str(run->changes, key, is.text, will_be.text);
}

static void note_u64(const struct run *run, const char *key, const struct lb_place *from, __u64 is, __u64 will_be)
{
	if (!from)
		change_u64(run->changes, key, will_be);
	else if (is != will_be)
		change_from_u64(run->changes, key, is, will_be);
}

/* from NULL: it is new. */
static void note_settings(const struct run *run, const struct lb_place *from, const struct lb_place *to)
{
	const struct lb_place *was = from ? from : to;

	note_str(run, "source", from, source_text(was, true), source_text(to, true));
	note_str(run, "source6", from, source_text(was, false), source_text(to, false));
	note_str(run, "gateway", from, gateway_text(was), gateway_text(to));
	note_u64(run, "port", from, be16toh(was->port), be16toh(to->port));
	note_u64(run, "mtu", from, was->mtu, to->mtu);
}

/*
 * The instance.
 */
static int check_size(const struct lb *lb, const char *what, __u32 is, __u32 want)
{
	if (is == want)
		return 0;
	return fail(-EEXIST, "instance %s was made with %s %u, which cannot change while it lives; give instance NAME "
		    "for another one, or remove its VIPs and lb disable first", lb->instance, what, is);
}

static int check_sizes(const struct lb *lb, const struct lb_sizes *want)
{
	const struct lb_sizes s = lb_sizes_round(want), is = lb_sizes_of(lb);
	int err = want->flows ? check_size(lb, "flows", is.flows, s.flows) : 0;

	if (!err && want->vips)
		err = check_size(lb, "vips", is.vips, s.vips);
	if (!err && want->backends)
		err = check_size(lb, "backends", is.backends, s.backends);
	return err;
}

static int instance_new(const struct run *run, const struct bpffs *b, const char *instance,
			const struct lb_sizes *sizes, struct lb *lb)
{
	const struct lb_sizes s = lb_sizes_round(sizes);
	int err;

	change_add(run->changes, '+', "lb", NULL);
	change_str(run->changes, "instance", "%s", instance);
	change_u64(run->changes, "flows", s.flows);
	change_u64(run->changes, "vips", s.vips);
	change_u64(run->changes, "backends", s.backends);
	if (run->dry_run)
		return 0;
	err = lb_make(b, instance, sizes);
	if (!err)
		err = lb_open(run, b, instance, true, lb);
	return err < 0 ? err : 0;
}

/*
 * The place.
 */
static void settings_take(struct lb_place *p, const struct lb_enable *want)
{
	if (want->has_source4)
		memcpy(&p->source4, want->source4.b + 12, sizeof(p->source4));
	if (want->has_source6)
		memcpy(p->source6, want->source6.b, sizeof(p->source6));
	if (want->has_gateway == LB_GATEWAY_AUTO)
		memset(p->gateway, 0, sizeof(p->gateway));
	if (want->has_gateway == LB_GATEWAY_MAC)
		memcpy(p->gateway, want->gateway, sizeof(p->gateway));
	if (want->port)
		p->port = htobe16(want->port);
}

static int place_change(const struct run *run, struct lb *lb, int place, const struct chain_id *at,
			const struct lb_enable *want)
{
	const struct lb_place *p = &lb->place[place];
	struct lb_place new = *p;
	unsigned mtu;
	int err = iface_mtu(&at->iface, &mtu);

	if (err)
		return fail_errno(err, "%s", at->iface.name);
	settings_take(&new, want);
	new.mtu = mtu;
	if (!memcmp(&new, p, sizeof(new)))
		return 0;
	note_place(run, '~', at, lb->instance);
	note_settings(run, p, &new);
	err = run->dry_run ? 0 : lb_place_write(lb, place, &new);
	return err ? fail_errno(err, "%s: the settings of its load balancer", at->iface.name) : 0;
}

/* What a killed run left there, and no program uses, is not what was asked for. */
static int place_new(const struct run *run, const struct bpffs *b, struct lb *lb, const struct chain_id *at,
		     const char *instance, const struct lb_enable *want)
{
	struct chain_request req = { .name = LB_KF, .instance = instance, .mode = want->mode };
	struct lb_place p;
	int place = lb->config ? lb_place_find(lb, at) : -ENOENT, err;

	err = lb_place_defaults(at, &p);
	if (err)
		return err;
	settings_take(&p, want);
	note_place(run, '+', at, instance);
	note_settings(run, NULL, &p);
	if (!run->dry_run) {
		if (place >= 0)
			__atomic_store_n(&lb->place[place].ifindex, 0, __ATOMIC_SEQ_CST);
		place = lb_place(lb, at);
		if (place < 0)
			return place;
		settings_take(&lb->place[place], want);
	}
	err = chain_add(run, b, at, &req);
	if (run->dry_run)
		return err;
	if (err)
		__atomic_store_n(&lb->place[place].ifindex, 0, __ATOMIC_SEQ_CST);
	lb->place[place].is_changing = 0;
	return err;
}

static void warn_forwarding(const struct chain_id *at, const struct lb_enable *want)
{
	if (want->has_gateway == LB_GATEWAY_MAC)
		return;
	for (int is_v6 = 0; is_v6 < 2; is_v6++)
		if (iface_forwards(&at->iface, is_v6) == 0)
			warn("%s: the kernel tells no next hop for IPv%d where forwarding is off; sysctl -w "
			     "net.ipv%d.conf.%s.forwarding=1, or give a gateway", at->iface.name, is_v6 ? 6 : 4,
			     is_v6 ? 6 : 4, at->iface.name);
}

static bool is_stale(const struct lb *lb, const struct running *r)
{
	return lb->vipkeys < 0 || !kf_runs_on(lb->vipkeys, r->prog_id);
}

static int enable_place(const struct run *run, const struct bpffs *b, const struct chain_id *at, const char *instance,
			const struct lb_enable *want, struct running *r, struct lb *lb)
{
	struct chain_request req = { .name = LB_KF, .instance = instance, .mode = want->mode };
	int place = lb->config ? lb_place_find(lb, at) : -ENOENT, err;

	/* a member whose maps' pins were removed by hand is put in anew */
	if (r->instance[0] && (place < 0 || is_stale(lb, r))) {
		err = chain_remove(run, b, at, LB_KF);
		if (err)
			return err;
		r->instance[0] = '\0';
	}
	if (!r->instance[0]) {
		warn_forwarding(at, want);
		err = tc_remove(run, b, at); /* of other maps, or of another place */
		return err ? err : place_new(run, b, lb, at, instance, want);
	}
	err = place_change(run, lb, place, at, want);
	return err ? err : chain_add(run, b, at, &req);
}

/* After a failure: an instance that was made for nothing goes again. */
static int undo_instance(const struct bpffs *b, const char *instance, int err)
{
	if (!chain_instance_members(b, instance) && lb_remove(b, instance))
		warn("instance %s was made and stays; l3afctl lb disable removes it", instance);
	return err;
}

int lb_enable(const struct run *run, const struct bpffs *b, const struct chain_id *at, const char *instance,
	      const struct lb_enable *want)
{
	auto_lb struct lb lb = LB_INIT;
	struct running r = { 0 };
	int has, err = lb_check_iface(&at->iface);

	if (!err)
		err = chain_walk(b, &at->iface, HOOK_XDP, running_find, &r);
	if (!err)
		err = check_instance(&r, at, instance);
	if (err)
		return err;
	has = lb_open(run, b, instance, true, &lb);
	if (has < 0)
		return has;
	err = has ? check_sizes(&lb, &want->sizes) : instance_new(run, b, instance, &want->sizes, &lb);
	if (!err)
		err = enable_place(run, b, at, instance, want, &r, &lb);
	return err && !has && !run->dry_run ? undo_instance(b, instance, err) : err;
}

int lb_disable(const struct run *run, const struct bpffs *b, const struct chain_id *at, const char *instance)
{
	auto_lb struct lb lb = LB_INIT;
	struct running r = { 0 };
	int has, place, err = chain_walk(b, &at->iface, HOOK_XDP, running_find, &r);

	if (!err && r.instance[0])
		err = check_instance(&r, at, instance);
	if (err)
		return err;
	has = lb_open(run, b, instance, true, &lb);
	if (has < 0)
		return has;
	place = has ? lb_place_find(&lb, at) : -ENOENT;
	if (place >= 0)
		note_place(run, '-', at, instance);
	if (place >= 0 && !run->dry_run)
		lb.place[place].is_changing = 1;
	if (r.instance[0])
		err = chain_remove(run, b, at, LB_KF);
	if (!err)
		err = tc_remove(run, b, at);
	if (err || !has)
		return err;
	if (place >= 0 && !run->dry_run)
		__atomic_store_n(&lb.place[place].ifindex, 0, __ATOMIC_SEQ_CST);
	if (lb_is_needed(&lb, place))
		return 0;
	change_add(run->changes, '-', "lb", NULL);
	change_str(run->changes, "instance", "%s", instance);
	return run->dry_run ? 0 : lb_remove(b, instance);
}
