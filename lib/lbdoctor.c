/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "host.h"
#include "lbexam.h"

const char *const lb_grade_words[] = { "ok", "warn", "bad", NULL };

void lb_found(struct doctor *d, enum lb_grade grade, const char *check, const char *where, const char *mend,
	      const char *fmt, ...)
{
	struct lb_finding f = { .grade = grade, .check = check };
	va_list ap;

	snprintf(f.where, sizeof(f.where), "%s", where);
	if (mend)
		snprintf(f.mend, sizeof(f.mend), "%s%s", mend,
			 strncmp(mend, "l3afctl lb ", 11) ? "" : lb_of(d->instance).text);
	va_start(ap, fmt);
	vsnprintf(f.what, sizeof(f.what), fmt, ap);
	va_end(ap);
	d->bad += grade == LB_BAD;
	d->fn(&f, d->arg);
}

/*
 * Reading.
 */
static void site_add(struct doctor *d, const struct lb_view_place *p)
{
	struct site *s = &d->site[d->sites++];

	s->place = *p->place;
	s->is_on = p->is_on;
	s->mode = p->mode;
	snprintf(s->dev, sizeof(s->dev), "%s", p->dev);
	memcpy(&s->source6, s->place.source6, sizeof(s->source6));
	if (!s->place.source4)
		return;
	s->source4 = (struct addr){ .b = { [10] = 0xff, [11] = 0xff } };
	memcpy(s->source4.b + 12, &s->place.source4, 4);
}

static int instance_count(struct doctor *d, const struct lb_view_place *p)
{
	const struct lb *lb = p->lb;
	auto_free struct lb_use *use = calloc(lb->config->backends, sizeof(*use));

	if (!use)
		return fail_errno(-ENOMEM, "lb doctor");
	lb_count(lb, use);
	for (__u32 i = 0; i < lb->config->backends; i++) {
		d->flows += lb_use_active(&use[i]) + use[i].flows[LB_CLIENT];
		d->is_interrupted |= lb->backend[i].state == LB_GONE;
	}
	for (__u32 i = 0; i < lb->config->vips; i++)
		d->is_interrupted |= lb->vip[i].is_changing || lb->vip[i].going;
	d->flows_max = (__u64)lb->config->buckets * LB_WAYS;
	d->vips = (__u64)p->vips;
	d->vips_max = lb->config->vips;
	d->backends = (__u64)p->backends;
	d->backends_max = lb->config->backends - 1;
	d->has_instance = true;
	return 0;
}

static int site_take(const struct lb_view_place *p, void *arg)
{
	struct doctor *d = arg;

	if (p->place && p->is_here && !p->is_gone)
		site_add(d, p);
	return d->has_instance ? 0 : instance_count(d, p);
}

static int sites_read(struct doctor *d, bool must_be)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int err = bpffs_open(d->run, BPFFS_READ, &b), has;

	if (err)
		return err;
	has = must_be ? 1 : lb_open(d->run, &b, d->instance, false, &lb);
	if (has <= 0)
		return has;
	err = lb_view_places(d->run, &b, d->instance, site_take, d);
	for (int i = 0; !err && i < d->sites; i++)
		err = iface_by_name(d->site[i].dev, &d->site[i].iface);
	return err;
}

/*
 * The interface.
 */
static void check_program(struct doctor *d, const struct site *s)
{
	bool is_default = !strcmp(d->instance, LB_KF);
	char mend[192];

	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s%s%s", s->dev, is_default ? "" : " instance ",
		 is_default ? "" : d->instance);
	if (!s->is_on)
		lb_found(d, LB_BAD, "program", s->dev, mend, "lb is not in the xdp chain, or runs on maps that are not %s's",
			 d->instance);
	else if (s->mode == MODE_GENERIC)
		lb_found(d, LB_WARN, "program", s->dev, NULL,
			 "generic XDP: slow, and packets that GRO has merged are too big to be forwarded; use mode native "
			 "where the driver has it");
	else
		lb_found(d, LB_OK, "program", s->dev, NULL, "in the xdp chain, mode %s", mode_words[s->mode]);
}

static void check_link(struct doctor *d, const struct site *s)
{
	struct host_nic nic;
	char mend[192];

	if (host_nic(&s->iface, &nic))
		return;
	snprintf(mend, sizeof(mend), "ip link set %s up", s->dev);
	if (!nic.is_up)
		lb_found(d, LB_BAD, "link", s->dev, mend, "is down or has no carrier");
	snprintf(mend, sizeof(mend), "ethtool -K %s%s%s", s->dev, nic.has_lro ? " lro off" : "",
		 nic.has_hw_gro ? " rx-gro-hw off" : "");
	if (nic.has_lro || nic.has_hw_gro)
		lb_found(d, LB_BAD, "offload", s->dev, mend, "the card merges packets before XDP sees them (%s)",
			 nic.has_lro ? "LRO" : "rx-gro-hw");
	else if (!strcmp(nic.driver, "veth"))
		lb_found(d, LB_WARN, "offload", s->dev, "on its peer: ethtool -K IF tx off",
			 "veth: its peer may send half-made checksums, which backends drop; and needs an XDP program itself");
	else
		lb_found(d, LB_OK, "offload", s->dev, NULL, "nothing merges packets before XDP");
}

static void check_mtu(struct doctor *d, const struct site *s)
{
	unsigned mtu;
	char mend[128];

	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s", s->dev);
	if (iface_mtu(&s->iface, &mtu))
		return;
	if (mtu != s->place.mtu)
		lb_found(d, mtu < s->place.mtu ? LB_BAD : LB_WARN, "mtu", s->dev, mend,
			 "the interface has %u, the load balancer was told %u", mtu, s->place.mtu);
	else
		lb_found(d, LB_OK, "mtu", s->dev, NULL, "%u: packets of clients up to %u octets fit, to IPv6 backends %u; "
			 "senders of bigger ones are told", mtu, mtu - OVERHEAD4, mtu - OVERHEAD6);
}

static bool has_family(const struct doctor *d, bool is_v4)
{
	for (int i = 0; i < d->view.backends; i++)
		if (addr_is_v4(&d->view.backend[i].addr) == is_v4)
			return true;
	return false;
}

static void check_source(struct doctor *d, const struct site *s, bool is_v4)
{
	const struct addr *a = is_v4 ? &s->source4 : &s->source6;
	const char *family = is_v4 ? "IPv4" : "IPv6", *word = is_v4 ? "source" : "source6";
	struct addr better = { 0 };
	struct iface owner;
	char mend[160] = "", text[64];
	int has = is_any(a) ? 0 : host_has_addr(a, &owner);

	if (has < 0 || !has_family(d, is_v4))
		return;
	if (host_iface_addr(&s->iface, is_v4, &better) == 1)
		snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s %s %s", s->dev, word,
			 format_addr(&better, text, sizeof(text)));
	else
		snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s %s ADDR", s->dev, word);
	format_addr(a, text, sizeof(text));
	if (is_any(a))
		lb_found(d, LB_BAD, "source", s->dev, mend, "no %s source address: packets for such backends are dropped",
			 family);
	else if (!has)
		lb_found(d, LB_BAD, "source", s->dev, mend, "%s is no address of this host any more", text);
	else
		lb_found(d, LB_OK, "source", s->dev, NULL, "%s, of %s", text, owner.name);
}

/* The kernel tells XDP next hops only where it forwards itself. */
static void check_forwarding(struct doctor *d, const struct site *s, bool is_v4)
{
	const char *family = is_v4 ? "ipv4" : "ipv6";
	char mend[160];
	int is_on;

	if (is_fixed(s) || !has_family(d, is_v4) || host_sysctl(is_v4, s->dev, "forwarding", &is_on))
		return;
	snprintf(mend, sizeof(mend), "sysctl -w net.%s.conf.%s.forwarding=1", family, s->dev);
	if (!is_on)
		lb_found(d, LB_BAD, "forwarding", s->dev, mend,
			 "%s forwarding is off there: the kernel tells no next hops (or give lb enable a gateway MAC)", family);
	else
		lb_found(d, LB_OK, "forwarding", s->dev, NULL, "%s forwarding is on: the kernel tells next hops", family);
}

/* Answers to probes come from a VIP. */
static void check_rp_filter(struct doctor *d, const struct site *s)
{
	int all, own, strict = 0;
	struct host_route route;
	char mend[160];

	if (host_sysctl(true, "all", "rp_filter", &all) || host_sysctl(true, s->dev, "rp_filter", &own))
		return;
	for (int i = 0; i < d->view.vips && (all > own ? all : own) == 1; i++) {
		const struct addr *a = &d->view.vip[i].vip.addr;

		if (addr_is_v4(a) && (host_route(NULL, a, &route) || route.iface.index != s->iface.index))
			strict++;
	}
	snprintf(mend, sizeof(mend), "sysctl -w net.ipv4.conf.%s.rp_filter=2", s->dev);
	if (strict)
		lb_found(d, LB_WARN, "rp_filter", s->dev, mend,
			 "strict, and %d VIPs are not routed there: answers to health probes are dropped", strict);
	else
		lb_found(d, LB_OK, "rp_filter", s->dev, NULL, "answers of VIPs to health probes may come in");
}

/*
 * VIPs.
 */
static void check_usable(struct doctor *d, const struct lb_view_vip *v, const char *vip, int *ok)
{
	int down = 0, drain = 0, sick = 0, light = 0;
	char mend[160];

	for (int i = 0; i < v->n; i++) {
		const struct lb_backend *b = &d->view.backend[v->first + i].rec;

		if (b->admin != LB_UP)
			*(b->admin == LB_DOWN ? &down : &drain) += 1;
		else if (b->healthy == LB_SICK)
			sick++;
		else
			light += !b->weight;
	}
	if (v->usable) {
		++*ok;
		if (d->run->verbose)
			lb_found(d, LB_OK, "backends", vip, NULL, "%d of %d take new flows", v->usable, v->n);
		return;
	}
	snprintf(mend, sizeof(mend), v->n ? "l3afctl lb backend list vip %s" : "l3afctl lb backend add ADDR vip %s", vip);
	if (v->n)
		lb_found(d, LB_BAD, "backends", vip, mend, "nobody takes new flows, they are dropped: of %d backends %d down, "
			 "%d draining, %d sick, %d of weight 0", v->n, down, drain, sick, light);
	else
		lb_found(d, LB_BAD, "backends", vip, mend, "has no backends: its packets are dropped");
}

static void check_local(struct doctor *d, const struct lb_view_vip *v, const char *vip, int *ok)
{
	struct iface owner;
	char mend[160], text[64];
	int has = host_has_addr(&v->vip.addr, &owner);

	if (has <= 0) {
		*ok += !has;
		return;
	}
	format_addr(&v->vip.addr, text, sizeof(text));
	snprintf(mend, sizeof(mend), "ip addr del %s/%d dev %s", text, addr_is_v4(&v->vip.addr) ? 32 : 128, owner.name);
	lb_found(d, LB_WARN, "local", vip, mend,
		 "is an address of this host (%s): what is sent from here, health probes too, stays here", owner.name);
}

/* A client, as far as routes are concerned. */
static struct addr some_client(const struct doctor *d, bool is_v4)
{
	struct addr a = { .b = { [10] = 0xff, 0xff, 198, 51, 100, 1 } };

	if (!is_v4)
		a = (struct addr){ .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } };
	for (int i = 0; i < d->view.backends; i++)
		if (addr_is_v4(&d->view.backend[i].addr) == is_v4)
			return d->view.backend[i].addr;
	return a;
}

/* Packets for ports of a VIP's address that are no VIP go on to the kernel. It must not forward
 * them to a router, who would send them here again. */
static void check_loop(struct doctor *d, const struct site *s, const struct lb_view_vip *v, const char *vip)
{
	bool is_v4 = addr_is_v4(&v->vip.addr);
	const struct addr client = some_client(d, is_v4);
	struct host_route r;
	char mend[192], text[64];

	if (host_route_forward(&s->iface, &client, &v->vip.addr, &r) || r.type != RTN_UNICAST)
		return;
	snprintf(mend, sizeof(mend), "ip %srule add iif %s to %s unreachable", is_v4 ? "" : "-6 ", s->dev,
		 format_addr(&v->vip.addr, text, sizeof(text)));
	lb_found(d, LB_BAD, "loop", vip, mend, "this host forwards what comes to other ports of it by %s: it may come back, "
		 "round and round", r.iface.name);
}

static bool is_same_addr(const struct lb_view_vip *a, const struct lb_view_vip *b)
{
	return !memcmp(&a->vip.addr, &b->vip.addr, sizeof(a->vip.addr));
}

static void check_vips(struct doctor *d)
{
	int usable = 0, foreign = 0;
	char text[VIP_LEN], count[32];

	for (int i = 0; i < d->view.vips; i++) {
		format_vip(&d->view.vip[i].vip, text, sizeof(text));
		check_usable(d, &d->view.vip[i], text, &usable);
		check_local(d, &d->view.vip[i], text, &foreign);
		for (int j = 0; j < d->sites && (!i || !is_same_addr(&d->view.vip[i], &d->view.vip[i - 1])); j++)
			check_loop(d, &d->site[j], &d->view.vip[i], text);
	}
	snprintf(count, sizeof(count), "%d", d->view.vips);
	if (!d->view.vips)
		lb_found(d, LB_WARN, "backends", d->instance, "l3afctl lb vip add VIP", "there is no VIP");
	else if (usable == d->view.vips && !d->run->verbose)
		lb_found(d, LB_OK, "backends", d->instance, NULL, "each of %s VIPs has backends that take new flows", count);
	if (d->view.vips && foreign == d->view.vips)
		lb_found(d, LB_OK, "local", d->instance, NULL, "none of %s VIPs is an address of this host", count);
}

/*
 * The instance.
 */
static void check_room(struct doctor *d, const char *what, __u64 used, __u64 max, unsigned percent, const char *then)
{
	if (used * 100 > max * percent)
		lb_found(d, LB_WARN, "room", d->instance, NULL, "%llu of %llu %s: %s", used, max, what, then);
	else if (d->run->verbose)
		lb_found(d, LB_OK, "room", d->instance, NULL, "%llu of %llu %s", used, max, what);
}

static void check_tables(struct doctor *d)
{
	char mend[160];

	check_room(d, "flows", d->flows, d->flows_max, 50, "busy buckets forget flows early; make it anew with more flows");
	check_room(d, "VIPs", d->vips, d->vips_max, 90, "make it anew with more vips");
	check_room(d, "backends", d->backends, d->backends_max, 90, "make it anew with more backends");
	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s", d->sites ? d->site[0].dev : "IF");
	if (d->is_interrupted)
		lb_found(d, LB_WARN, "change", d->instance, mend, "one was interrupted; any change finishes it");
}

/* Dropped while we were looking: live traffic, that nobody else misses. */
static void check_drop(struct doctor *d, const struct lb_view_vip *v)
{
	char vip[VIP_LEN], mend[160], list[160] = "";
	__u64 n = 0;

	for (int i = 0; i < LB_DROPS; i++) {
		size_t used = strlen(list);

		n += v->count[i];
		if (v->count[i])
			snprintf(list + used, sizeof(list) - used, "%s%s %llu", used ? ", " : "", lb_count_words[i],
				 v->count[i]);
	}
	format_vip(&v->vip, vip, sizeof(vip));
	snprintf(mend, sizeof(mend), "l3afctl lb stats vip %s interval 10s", vip);
	if (n)
		lb_found(d, n > v->count[LB_TOO_BIG] ? LB_BAD : LB_WARN, "drops", vip, mend,
			 "packets are dropped right now: %s", list);
}

static int check_drops(struct doctor *d, const char *instance, const struct vip *vip)
{
	auto_lb_view struct lb_view now = LB_VIEW_INIT;
	int err = lb_view_read(d->run, instance, vip, &now);

	if (err)
		return err;
	lb_view_subtract(&now, &d->view);
	for (int i = 0; i < now.vips; i++)
		check_drop(d, &now.vip[i]);
	return 0;
}

static void check_site(struct doctor *d, const struct site *s)
{
	check_program(d, s);
	check_link(d, s);
	check_mtu(d, s);
	check_source(d, s, true);
	check_source(d, s, false);
	check_forwarding(d, s, true);
	check_forwarding(d, s, false);
	check_rp_filter(d, s);
}

static int check_instance(struct doctor *d, const char *instance, const struct vip *vip)
{
	int err;

	check_vips(d);
	err = lb_doctor_ask(d);
	if (!err)
		err = check_drops(d, instance, vip);
	if (!err)
		check_tables(d);
	return err;
}

int lb_doctor_run(const struct run *run, const char *instance, const struct vip *vip,
		  void (*fn)(const struct lb_finding *f, void *arg), void *arg, int *bad)
{
	struct doctor d = { .run = run, .instance = instance ? instance : LB_KF, .fn = fn, .arg = arg };
	int err = sites_read(&d, instance != NULL);

	if (!err)
		err = lb_view_read(run, instance, vip, &d.view);
	for (int i = 0; !err && i < d.sites; i++)
		check_site(&d, &d.site[i]);
	if (!err && !d.sites)
		lb_found(&d, LB_BAD, "program", d.instance, "l3afctl lb enable dev IF",
			 d.has_instance ? "no interface of this network namespace has it" : "there is no load balancer");
	if (!err && d.has_instance)
		err = check_instance(&d, instance, vip);
	lb_view_free(&d.view);
	*bad = d.bad;
	return err;
}
