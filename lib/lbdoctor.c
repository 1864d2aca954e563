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
#include "lbdoctor.h"
#include "lbprobe.h"
#include "lbview.h"

#define OVERHEAD4 28 /* outer IP and UDP headers */
#define OVERHEAD6 48
#define STALE_MS 600000

const char *const lb_grade_words[] = { "ok", "warn", "bad", NULL };

struct site {
	struct lb_place place;
	struct iface iface;
	char dev[48];
	bool is_on;
	enum xdp_mode mode;
	struct addr source4, source6; /* unspecified: none */
};

struct doctor {
	const struct run *run;
	const char *instance;
	struct site site[LB_PLACES];
	int sites;
	struct lb_view view;
	__u64 flows, flows_max, vips, vips_max, backends, backends_max;
	bool has_instance, is_interrupted;
	void (*fn)(const struct lb_finding *f, void *arg);
	void *arg;
	int bad;
};

/* mend may be NULL; the instance is added to it. */
__attribute__((format(printf, 6, 7)))
static void found(struct doctor *d, enum lb_grade grade, const char *check, const char *where, const char *mend,
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

static bool is_any(const struct addr *a)
{
	static const struct addr none;

	return !memcmp(a, &none, sizeof(none));
}

static const struct addr *source_of(const struct site *s, const struct addr *family)
{
	return addr_is_v4(family) ? &s->source4 : &s->source6;
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
		found(d, LB_BAD, "program", s->dev, mend, "lb is not in the xdp chain, or runs on maps that are not %s's",
		      d->instance);
	else if (s->mode == MODE_GENERIC)
		found(d, LB_WARN, "program", s->dev, NULL,
		      "generic XDP: slow, and packets that GRO has merged are too big to be forwarded; use mode native "
		      "where the driver has it");
	else
		found(d, LB_OK, "program", s->dev, NULL, "in the xdp chain, mode %s", mode_words[s->mode]);
}

static void check_link(struct doctor *d, const struct site *s)
{
	struct host_nic nic;
	char mend[192];

	if (host_nic(&s->iface, &nic))
		return;
	snprintf(mend, sizeof(mend), "ip link set %s up", s->dev);
	if (!nic.is_up)
		found(d, LB_BAD, "link", s->dev, mend, "is down or has no carrier");
	snprintf(mend, sizeof(mend), "ethtool -K %s%s%s", s->dev, nic.has_lro ? " lro off" : "",
		 nic.has_hw_gro ? " rx-gro-hw off" : "");
	if (nic.has_lro || nic.has_hw_gro)
		found(d, LB_BAD, "offload", s->dev, mend, "the card merges packets before XDP sees them (%s)",
		      nic.has_lro ? "LRO" : "rx-gro-hw");
	else if (!strcmp(nic.driver, "veth"))
		found(d, LB_WARN, "offload", s->dev, "on its peer: ethtool -K IF tx off",
		      "veth: its peer may send half-made checksums, which backends drop; and needs an XDP program itself");
	else
		found(d, LB_OK, "offload", s->dev, NULL, "nothing merges packets before XDP");
}

static void check_mtu(struct doctor *d, const struct site *s)
{
	unsigned mtu;
	char mend[128];

	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s", s->dev);
	if (iface_mtu(&s->iface, &mtu))
		return;
	if (mtu != s->place.mtu)
		found(d, mtu < s->place.mtu ? LB_BAD : LB_WARN, "mtu", s->dev, mend,
		      "the interface has %u, the load balancer was told %u", mtu, s->place.mtu);
	else
		found(d, LB_OK, "mtu", s->dev, NULL, "%u: packets of clients up to %u octets fit, to IPv6 backends %u; "
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
		found(d, LB_BAD, "source", s->dev, mend, "no %s source address: packets for such backends are dropped",
		      family);
	else if (!has)
		found(d, LB_BAD, "source", s->dev, mend, "%s is no address of this host any more", text);
	else
		found(d, LB_OK, "source", s->dev, NULL, "%s, of %s", text, owner.name);
}

static bool is_fixed(const struct site *s)
{
	static const __u8 none[6];

	return memcmp(s->place.gateway, none, sizeof(none));
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
		found(d, LB_BAD, "forwarding", s->dev, mend,
		      "%s forwarding is off there: the kernel tells no next hops (or give lb enable a gateway MAC)", family);
	else
		found(d, LB_OK, "forwarding", s->dev, NULL, "%s forwarding is on: the kernel tells next hops", family);
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
		found(d, LB_WARN, "rp_filter", s->dev, mend,
		      "strict, and %d VIPs are not routed there: answers to health probes are dropped", strict);
	else
		found(d, LB_OK, "rp_filter", s->dev, NULL, "answers of VIPs to health probes may come in");
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
			found(d, LB_OK, "backends", vip, NULL, "%d of %d take new flows", v->usable, v->n);
		return;
	}
	snprintf(mend, sizeof(mend), v->n ? "l3afctl lb backend list vip %s" : "l3afctl lb backend add ADDR vip %s", vip);
	if (v->n)
		found(d, LB_BAD, "backends", vip, mend, "nobody takes new flows, they are dropped: of %d backends %d down, "
		      "%d draining, %d sick, %d of weight 0", v->n, down, drain, sick, light);
	else
		found(d, LB_BAD, "backends", vip, mend, "has no backends: its packets are dropped");
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
	found(d, LB_WARN, "local", vip, mend,
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
	found(d, LB_BAD, "loop", vip, mend, "this host forwards what comes to other ports of it by %s: it may come back, "
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
		found(d, LB_WARN, "backends", d->instance, "l3afctl lb vip add VIP", "there is no VIP");
	else if (usable == d->view.vips && !d->run->verbose)
		found(d, LB_OK, "backends", d->instance, NULL, "each of %s VIPs has backends that take new flows", count);
	if (d->view.vips && foreign == d->view.vips)
		found(d, LB_OK, "local", d->instance, NULL, "none of %s VIPs is an address of this host", count);
}

/*
 * Packets for each backend.
 */
struct asked {
	struct site *site;
	const struct lb_view_vip *vip;
	const struct lb_view_backend *backend;
	bool has_no_hop;
};

struct asking {
	struct asked *list;
	struct lb_probe *probe;
	int n;
	int hops, answers; /* that are well */
};

static int asking_fill(struct doctor *d, struct asking *a)
{
	const size_t most = (size_t)d->sites * (size_t)d->view.backends;

	a->list = calloc(most + 1, sizeof(*a->list));
	a->probe = calloc(most + 1, sizeof(*a->probe));
	if (!a->list || !a->probe)
		return fail_errno(-ENOMEM, "lb doctor");
	for (int s = 0; s < d->sites; s++)
		for (int v = 0; d->site[s].is_on && v < d->view.vips; v++)
			for (int i = 0; i < d->view.vip[v].n; i++) {
				const struct lb_view_backend *b = &d->view.backend[d->view.vip[v].first + i];

				if (b->rec.state == LB_ALIVE && !is_any(source_of(&d->site[s], &b->addr)))
					a->list[a->n++] = (struct asked){ &d->site[s], &d->view.vip[v], b, false };
			}
	return 0;
}

/* Asked as by a client: from an address of this host, of the VIP's family. */
static int ask_all(struct asking *a)
{
	for (int i = 0; i < a->n; i++) {
		const struct asked *q = &a->list[i];
		struct addr client = *source_of(q->site, &q->vip->vip.addr);
		int err = is_any(&client) ?
			  host_iface_addr(&q->site->iface, addr_is_v4(&q->vip->vip.addr), &client) : 0;

		if (err < 0)
			return err;
		a->probe[i] = (struct lb_probe){
			.source = *source_of(q->site, &q->backend->addr),
			.client = client,
			.backend = q->backend->addr,
			.vip = q->vip->vip.addr,
			.port = ntohs(q->site->place.port),
		};
	}
	return lb_probe(a->probe, a->n);
}

/* The same backend of another VIP; NULL: none before. */
static const struct asked *asked_before(const struct asking *a, int i)
{
	for (int j = 0; j < i; j++)
		if (a->list[j].site == a->list[i].site &&
		    !memcmp(&a->list[j].backend->addr, &a->list[i].backend->addr, sizeof(struct addr)))
			return &a->list[j];
	return NULL;
}

static void check_mac(struct doctor *d, struct asking *a, const struct asked *q, const struct host_route *r,
		      const __u8 mac[6], const char *where)
{
	char text[32], other[32], next[64], mend[160];

	format_mac(mac, text, sizeof(text));
	format_mac(q->site->place.gateway, other, sizeof(other));
	format_addr(&r->next, next, sizeof(next));
	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s gateway %s", q->site->dev, text);
	if (is_fixed(q->site) && memcmp(mac, q->site->place.gateway, 6)) {
		found(d, LB_WARN, "nexthop", where, mend, "the load balancer sends to the gateway %s, this host to %s (%s)",
		      other, next, text);
		return;
	}
	a->hops++;
	if (d->run->verbose)
		found(d, LB_OK, "nexthop", where, NULL, "%s (%s) dev %s", next, text, r->iface.name);
}

/* With a gateway's MAC given, what this host itself knows is no more than a hint. */
static void check_hop(struct doctor *d, struct asking *a, struct asked *q)
{
	const enum lb_grade bad = is_fixed(q->site) ? LB_WARN : LB_BAD;
	struct host_route r;
	__u8 mac[6] = { 0 };
	char where[64], next[64], mend[192];
	int err = host_route(source_of(q->site, &q->backend->addr), &q->backend->addr, &r), is_known;

	format_addr(&q->backend->addr, where, sizeof(where));
	snprintf(mend, sizeof(mend), "ip route get %s", where);
	q->has_no_hop = true;
	if (err || r.type != RTN_UNICAST) { /* a blackhole is EINVAL */
		found(d, r.type == RTN_LOCAL ? LB_BAD : bad, "nexthop", where, mend, "%s", r.type == RTN_LOCAL ?
		      "is an address of this host" : err && err != -EINVAL ? strerror(-err) :
		      "its route lets nothing through");
		return;
	}
	is_known = host_neighbour(&r.iface, &r.next, mac);
	format_addr(&r.next, next, sizeof(next));
	snprintf(mend, sizeof(mend), "ip neigh show %s dev %s", next, r.iface.name);
	q->has_no_hop = !is_known;
	if (is_known < 0)
		found(d, LB_WARN, "nexthop", where, mend, "its neighbour cannot be read: %s", strerror(-is_known));
	else if (!is_known)
		found(d, bad, "nexthop", where, mend, "%s on %s does not answer %s", next, r.iface.name,
		      addr_is_v4(&r.next) ? "ARP" : "neighbour solicitations");
	else
		check_mac(d, a, q, &r, mac, where);
}

static __u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (__u64)t.tv_sec * 1000 + (__u64)t.tv_nsec / 1000000;
}

/* What the last round of probes said; is there any? */
static bool check_health(struct doctor *d, const struct asked *q, const char *vip, const char *where)
{
	const struct lb_health *h = &q->backend->health;
	__u64 age = now_ms() - h->at;
	char mend[160], text[32];

	if (!h->at)
		return false;
	snprintf(mend, sizeof(mend), "l3afctl lb health run vip %s", vip);
	if (age > STALE_MS && age < 1ULL << 60)
		found(d, LB_WARN, "health", where, mend, "the last probe was %s ago: does its timer run?",
		      format_duration(age / 1000 * 1000000, text, sizeof(text)));
	return q->backend->rec.healthy == LB_HEALTHY && !h->fall;
}

/* It did not answer. What its next hop has to do with it is said already. */
static void unanswered(struct doctor *d, const struct asked *q, const struct lb_probe *p, const char *vip)
{
	char where[64], addr[64], mend[192];

	format_addr(&p->backend, where, sizeof(where));
	format_addr(&p->vip, addr, sizeof(addr));
	switch (p->result) {
	case LB_PROBE_ANSWERED:
		break;
	case LB_PROBE_REFUSED:
		snprintf(mend, sizeof(mend), "on %s: l3afctl agent enable dev IF vip %s", where, addr);
		found(d, LB_BAD, "agent", where, mend, "refuses GUE at port %u for %s: no agent, not for this VIP, or not from "
		      "this source", p->port, vip);
		break;
	case LB_PROBE_UNREACHABLE:
		if (!q->has_no_hop)
			found(d, LB_BAD, "agent", where, NULL, "cannot be reached: %s", strerror(-p->err));
		break;
	case LB_PROBE_UNSENT:
		found(d, LB_BAD, "agent", where, NULL, "nothing can be sent to it: %s", strerror(-p->err));
		break;
	case LB_PROBE_NOT_ASKED:
		found(d, LB_WARN, "agent", where, NULL, "is not asked for %s: this host has no %s address to ask from", vip,
		      addr_is_v4(&p->vip) ? "IPv4" : "IPv6");
		break;
	case LB_PROBE_SILENT:
		snprintf(mend, sizeof(mend), "l3afctl lb health run vip %s", vip);
		if (!q->has_no_hop)
			found(d, LB_WARN, "agent", where, mend, "no answer of %s to an echo request through GUE: a firewall, "
			      "no agent, or no route back", vip);
		break;
	}
}

static void check_answer(struct doctor *d, struct asking *a, const struct asked *q, const struct lb_probe *p)
{
	bool is_silent = p->result == LB_PROBE_SILENT || p->result == LB_PROBE_NOT_ASKED, is_healthy;
	char where[64], vip[VIP_LEN];

	format_vip(&q->vip->vip, vip, sizeof(vip));
	format_addr(&p->backend, where, sizeof(where));
	is_healthy = check_health(d, q, vip, where);
	if (p->result != LB_PROBE_ANSWERED && !(is_silent && is_healthy)) {
		unanswered(d, q, p, vip);
		return;
	}
	a->answers++;
	if (d->run->verbose)
		found(d, LB_OK, "agent", where, NULL, is_silent ? "is healthy for %s" : "answers for %s", vip);
}

/* Dead ones are not asked, but a sick one is worth a line. */
static void check_sick(struct doctor *d)
{
	char where[64], vip[VIP_LEN], mend[160];

	for (int v = 0; v < d->view.vips; v++)
		for (int i = 0; i < d->view.vip[v].n; i++) {
			const struct lb_view_backend *b = &d->view.backend[d->view.vip[v].first + i];

			if (b->rec.healthy != LB_SICK || b->rec.admin == LB_DOWN)
				continue;
			format_vip(&d->view.vip[v].vip, vip, sizeof(vip));
			snprintf(mend, sizeof(mend), "l3afctl lb health run vip %s", vip);
			found(d, LB_BAD, "health", format_addr(&b->addr, where, sizeof(where)), mend, "is sick for %s: %s",
			      vip, b->health.why);
		}
}

static int check_backends(struct doctor *d)
{
	auto_free struct asked *list = NULL;
	auto_free struct lb_probe *probe = NULL;
	struct asking a = { 0 };
	int err = asking_fill(d, &a), hops = 0;
	bool is_permitted = true;

	list = a.list;
	probe = a.probe;
	if (err)
		return err;
	err = ask_all(&a);
	if (err == -EPERM)
		found(d, LB_WARN, "agent", d->instance, NULL, "backends are not asked: that needs CAP_NET_RAW");
	else if (err)
		return fail_errno(err, "lb doctor: cannot ask backends");
	is_permitted = !err;
	for (int i = 0; i < a.n; i++) {
		const struct asked *before = asked_before(&a, i);

		if (before) {
			a.list[i].has_no_hop = before->has_no_hop;
			continue;
		}
		check_hop(d, &a, &a.list[i]);
		hops++;
	}
	if (hops && hops == a.hops && !d->run->verbose)
		found(d, LB_OK, "nexthop", d->instance, NULL, "known for each of %d backends", hops);
	for (int i = 0; is_permitted && i < a.n; i++)
		check_answer(d, &a, &a.list[i], &a.probe[i]);
	if (a.n && a.n == a.answers && !d->run->verbose)
		found(d, LB_OK, "agent", d->instance, NULL, "each of %d backends takes GUE for its VIP", a.n);
	check_sick(d);
	return 0;
}

/*
 * The instance.
 */
static void check_room(struct doctor *d, const char *what, __u64 used, __u64 max, unsigned percent, const char *then)
{
	if (used * 100 > max * percent)
		found(d, LB_WARN, "room", d->instance, NULL, "%llu of %llu %s: %s", used, max, what, then);
	else if (d->run->verbose)
		found(d, LB_OK, "room", d->instance, NULL, "%llu of %llu %s", used, max, what);
}

static void check_tables(struct doctor *d)
{
	char mend[160];

	check_room(d, "flows", d->flows, d->flows_max, 50, "busy buckets forget flows early; make it anew with more flows");
	check_room(d, "VIPs", d->vips, d->vips_max, 90, "make it anew with more vips");
	check_room(d, "backends", d->backends, d->backends_max, 90, "make it anew with more backends");
	snprintf(mend, sizeof(mend), "l3afctl lb enable dev %s", d->sites ? d->site[0].dev : "IF");
	if (d->is_interrupted)
		found(d, LB_WARN, "change", d->instance, mend, "one was interrupted; any change finishes it");
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
		found(d, n > v->count[LB_TOO_BIG] ? LB_BAD : LB_WARN, "drops", vip, mend,
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
	err = check_backends(d);
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
		found(&d, LB_BAD, "program", d.instance, "l3afctl lb enable dev IF",
		      d.has_instance ? "no interface of this network namespace has it" : "there is no load balancer");
	if (!err && d.has_instance)
		err = check_instance(&d, instance, vip);
	lb_view_free(&d.view);
	*bad = d.bad;
	return err;
}
