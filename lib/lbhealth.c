/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "host.h"
#include "lbhealth.h"
#include "run.h"

/* A backend as it was before its probe. */
struct target {
	int vip, number;
	struct lb_key key;
	struct addr addr;
	__u64 since;
};

struct targets {
	struct target *target;
	struct probe *probe;
	int n, room;
	int ifindex; /* which has the program on egress */
};

static void targets_free(struct targets *t)
{
	free(t->target);
	free(t->probe);
}
#define auto_targets __attribute__((cleanup(targets_free)))

static int target_add(struct targets *t, const struct target *target, const struct probe *probe)
{
	if (t->n == t->room) {
		int room = t->room ? 2 * t->room : 64;
		struct target *targets = reallocarray(t->target, (size_t)room, sizeof(*targets));
		struct probe *probes;

		if (!targets)
			return -ENOMEM;
		t->target = targets;
		probes = reallocarray(t->probe, (size_t)room, sizeof(*probes));
		if (!probes)
			return -ENOMEM;
		t->probe = probes;
		t->room = room;
	}
	t->target[t->n] = *target;
	t->probe[t->n++] = *probe;
	return 0;
}

/* The place that packets to a VIP leave through: there its program sends them to a backend. */
static int place_of(const struct lb *lb, const struct vip *vip, struct lb_place **place, struct iface *iface)
{
	char text[VIP_LEN];
	struct host_route route;
	struct netns self;
	int err = netns_self(&self);

	if (!err)
		err = host_route(NULL, &vip->addr, &route);
	format_vip(vip, text, sizeof(text));
	if (err == -ENETUNREACH || err == -EHOSTUNREACH || (!err && route.type != RTN_UNICAST && route.type != RTN_LOCAL))
		return fail(-ENETUNREACH, "%s: no route to it, which probes need (the default route will do)", text);
	if (err)
		return fail_errno(err, "%s: the route to it", text);
	if (route.type == RTN_LOCAL)
		return fail(-EADDRINUSE, "%s: is an address of this host, which takes no answer to a probe from there; "
			    "remove it (ip addr del)", text);
	for (int i = 0; i < LB_PLACES; i++) {
		*place = lb_place_seen(lb, i);
		if ((*place)->netns == self.id && (*place)->ifindex == (__u32)route.iface.index) {
			*iface = route.iface;
			return 0;
		}
	}
	return fail(-ENODEV, "%s: probes would leave through %s, where no load balancer %s is; run l3afctl lb enable dev "
		    "%s%s", text, route.iface.name, lb->instance, route.iface.name, lb_of(lb->instance).text);
}

static void source_set(struct probe *p, const struct lb_place *place)
{
	static const __u8 mapped[12] = { [10] = 0xff, 0xff };
	static const struct addr none;
	bool is_v4 = addr_is_v4(&p->to);

	if (is_v4) {
		memcpy(p->source.b, mapped, 12);
		memcpy(p->source.b + 12, &place->source4, 4);
	} else {
		memcpy(p->source.b, place->source6, 16);
	}
	p->has_source = is_v4 ? place->source4 != 0 : memcmp(&p->source, &none, sizeof(none)) != 0;
}

static int vip_targets(const struct lb *lb, int number, const struct vip *vip, const __u16 *backends, int n,
		       const struct lb_health_want *want, struct targets *t, struct iface *iface)
{
	struct probe p = { .to = vip->addr, .port = want->port ? want->port : vip->port };
	struct lb_place *place = NULL;
	int err = place_of(lb, vip, &place, iface);

	if (err)
		return err;
	source_set(&p, place);
	for (int i = 0; i < n && !err; i++) {
		const struct lb_backend *b = &lb->backend[backends[i]];
		struct target target = {
			.vip = number, .number = backends[i], .key = lb->vip[number].key, .since = b->since,
		};

		memcpy(target.addr.b, b->addr, sizeof(target.addr.b));
		p.mark = LB_MARK | backends[i];
		err = target_add(t, &target, &p);
	}
	return err ? fail_errno(err, "probes") : 0;
}

/* What cannot be probed is passed over, unless it was asked for. */
static int vip_check(const struct run *run, const struct vip *vip, const struct lb_health_want *want)
{
	const char *why = vip->proto != IPPROTO_TCP ? "is not probed: of UDP an answer cannot be expected"
			: !vip->port && !want->port ? "has no port to probe; give one: port N" : NULL;
	char text[VIP_LEN];

	if (!why)
		return 1;
	format_vip(vip, text, sizeof(text));
	if (want->has_vip)
		return fail(-E_USAGE, "lb health run: %s %s", text, why);
	if (run->verbose)
		fprintf(stderr, "%s %s\n", text, why);
	return 0;
}

/* Its program on egress, that of the first run. */
static int program_put(const struct run *run, const struct bpffs *b, const char *instance, const struct iface *iface)
{
	struct chain_request req = { .name = "lb", .instance = instance };
	struct chain_id at;
	int err = chain_id_init(&at, iface, HOOK_TC_EGRESS);

	return err ? err : chain_add(run, b, &at, &req);
}

static int vip_prepare(const struct run *run, const struct lb *lb, int number, const struct lb_health_want *want,
		       struct targets *t)
{
	auto_free __u16 *backends = NULL;
	struct iface iface;
	struct vip vip;
	int err, n;

	lb_vip_get(lb, number, &vip);
	err = vip_check(run, &vip, want);
	if (err <= 0)
		return err;
	n = lb_backends(lb, number, &backends);
	if (n <= 0)
		return n ? fail_errno(n, "probes") : 0;
	err = vip_targets(lb, number, &vip, backends, n, want, t, &iface);
	if (err || t->ifindex == iface.index)
		return err;
	t->ifindex = iface.index;
	return program_put(run, lb->b, lb->instance, &iface);
}

/* Whom to probe. What goes wrong with one VIP is told, and keeps nobody from the others: then it
 * is the error. */
static int targets_list(const struct run *run, const char *instance, const struct lb_health_want *want, struct targets *t)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	char text[VIP_LEN];
	int first = 0, last, err = bpffs_open(run, BPFFS_CHANGE, &b);

	if (!err)
		err = lb_open(run, &b, instance, true, &lb);
	if (err <= 0)
		return err ? err : fail(-ENOENT, "there is no load balancer %s; run l3afctl lb enable dev IF%s", instance,
				       lb_of(instance).text);
	last = (int)lb.config->vips - 1;
	if (want->has_vip) {
		first = last = lb_vip_find(&lb, &want->vip);
		if (first < 0)
			return fail(first, "no VIP %s; run l3afctl lb vip add%s", format_vip(&want->vip, text, sizeof(text)),
				    lb_of(instance).text);
	}
	err = 0;
	for (int i = first; i <= last; i++)
		if (lb.vip[i].is_live) {
			int bad = vip_prepare(run, &lb, i, want, t);

			err = err ? err : bad;
		}
	return err;
}

static bool is_still(const struct lb *lb, const struct target *t)
{
	const struct lb_backend *b = &lb->backend[t->number];

	return lb->vip[t->vip].is_live && !memcmp(&lb->vip[t->vip].key, &t->key, sizeof(t->key)) &&
	       (b->state == LB_ALIVE || b->state == LB_DEAD) && b->since == t->since &&
	       !memcmp(b->addr, t->addr.b, sizeof(t->addr.b));
}

static __u16 more(__u16 n) { return n == UINT16_MAX ? n : (__u16)(n + 1); }

/* Counts; 1: what is thought of the backend has to change, to *healthy. */
static int count(struct lb *lb, const struct target *t, const struct probe *p, const struct lb_health_want *want,
		 enum lb_healthy *healthy)
{
	struct lb_health *h = &lb->health[t->number];
	enum lb_healthy now = lb->backend[t->number].healthy;

	h->at = p->at_ms;
	h->took_us = p->took_us;
	h->ok += p->is_ok;
	h->failed += !p->is_ok;
	h->rise = p->is_ok ? more(h->rise) : 0;
	h->fall = p->is_ok ? 0 : more(h->fall);
	if (!p->is_ok)
		memcpy(h->why, p->why, sizeof(h->why));
	*healthy = h->rise >= want->rise ? LB_HEALTHY : h->fall >= want->fall ? LB_SICK : now;
	return *healthy != now;
}

static void tell(const struct target *t, const struct probe *p)
{
	char addr[64], vip[64], took[32];

	fprintf(stderr, "%s for %s:%u: %s after %s\n", format_addr(&t->addr, addr, sizeof(addr)),
		format_addr(&p->to, vip, sizeof(vip)), p->port, p->is_ok ? "healthy" : p->why,
		format_duration(p->took_us, took, sizeof(took)));
}

/* All of one VIP's, which begin at i, in one step; *end is where the next one's begin. */
static int vip_judge(const struct run *run, struct lb *lb, const struct targets *t, int i,
		     const struct lb_health_want *want, int *end)
{
	auto_free struct lb_backend_want *backends = calloc((size_t)(t->n - i), sizeof(*backends));
	int number = t->target[i].vip, n = 0;
	enum lb_healthy healthy;
	struct vip vip;

	if (!backends)
		return fail_errno(-ENOMEM, "lb health run");
	lb_vip_get(lb, number, &vip);
	for (; i < t->n && t->target[i].vip == number; i++) {
		const struct target *target = &t->target[i];

		if (run->verbose)
			tell(target, &t->probe[i]);
		if (is_still(lb, target) && count(lb, target, &t->probe[i], want, &healthy))
			backends[n++] = (struct lb_backend_want){
				.addr = target->addr, .has_healthy = true, .healthy = healthy,
			};
	}
	*end = i;
	return n ? lb_backends_set(run, lb, &vip, backends, n, false) : 0;
}

static int targets_judge(const struct run *run, const char *instance, const struct lb_health_want *want,
			 const struct targets *t)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	if (!err)
		err = lb_open(run, &b, instance, true, &lb);
	if (err <= 0)
		return err; /* 0: it went meanwhile */
	err = 0;
	for (int i = 0; i < t->n && !err;)
		err = vip_judge(run, &lb, t, i, want, &i);
	return err;
}

int lb_health_run(const struct run *run, const char *instance, const struct lb_health_want *want)
{
	auto_targets struct targets t = { 0 };
	int first = targets_list(run, instance, want, &t), err = 0;

	if (t.n)
		err = probe_all(&want->how, t.probe, t.n);
	if (t.n && !err)
		err = targets_judge(run, instance, want, &t);
	return err ? err : first;
}
