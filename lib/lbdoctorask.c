/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lb doctor: can packets get to each backend, and what does it say to them? */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "host.h"
#include "lbexam.h"
#include "lbprobe.h"

#define STALE_MS 600000

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
		lb_found(d, LB_WARN, "nexthop", where, mend, "the load balancer sends to the gateway %s, this host to %s (%s)",
			 other, next, text);
		return;
	}
	a->hops++;
	if (d->run->verbose)
		lb_found(d, LB_OK, "nexthop", where, NULL, "%s (%s) dev %s", next, text, r->iface.name);
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
		lb_found(d, r.type == RTN_LOCAL ? LB_BAD : bad, "nexthop", where, mend, "%s", r.type == RTN_LOCAL ?
			 "is an address of this host" : err && err != -EINVAL ? strerror(-err) :
			 "its route lets nothing through");
		return;
	}
	is_known = host_neighbour(&r.iface, &r.next, mac);
	format_addr(&r.next, next, sizeof(next));
	snprintf(mend, sizeof(mend), "ip neigh show %s dev %s", next, r.iface.name);
	q->has_no_hop = !is_known;
	if (is_known < 0)
		lb_found(d, LB_WARN, "nexthop", where, mend, "its neighbour cannot be read: %s", strerror(-is_known));
	else if (!is_known)
		lb_found(d, bad, "nexthop", where, mend, "%s on %s does not answer %s", next, r.iface.name,
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
		lb_found(d, LB_WARN, "health", where, mend, "the last probe was %s ago: does its timer run?",
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
		lb_found(d, LB_BAD, "agent", where, mend, "refuses GUE at port %u for %s: no agent, not for this VIP, or not from "
			 "this source", p->port, vip);
		break;
	case LB_PROBE_UNREACHABLE:
		if (!q->has_no_hop)
			lb_found(d, LB_BAD, "agent", where, NULL, "cannot be reached: %s", strerror(-p->err));
		break;
	case LB_PROBE_UNSENT:
		lb_found(d, LB_BAD, "agent", where, NULL, "nothing can be sent to it: %s", strerror(-p->err));
		break;
	case LB_PROBE_NOT_ASKED:
		lb_found(d, LB_WARN, "agent", where, NULL, "is not asked for %s: this host has no %s address to ask from", vip,
			 addr_is_v4(&p->vip) ? "IPv4" : "IPv6");
		break;
	case LB_PROBE_SILENT:
		snprintf(mend, sizeof(mend), "l3afctl lb health run vip %s", vip);
		if (!q->has_no_hop)
			lb_found(d, LB_WARN, "agent", where, mend, "no answer of %s to an echo request through GUE: a firewall, "
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
		lb_found(d, LB_OK, "agent", where, NULL, is_silent ? "is healthy for %s" : "answers for %s", vip);
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
			lb_found(d, LB_BAD, "health", format_addr(&b->addr, where, sizeof(where)), mend, "is sick for %s: %s",
				 vip, b->health.why);
		}
}

int lb_doctor_ask(struct doctor *d)
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
		lb_found(d, LB_WARN, "agent", d->instance, NULL, "backends are not asked: that needs CAP_NET_RAW");
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
		lb_found(d, LB_OK, "nexthop", d->instance, NULL, "known for each of %d backends", hops);
	for (int i = 0; is_permitted && i < a.n; i++)
		check_answer(d, &a, &a.list[i], &a.probe[i]);
	if (a.n && a.n == a.answers && !d->run->verbose)
		lb_found(d, LB_OK, "agent", d->instance, NULL, "each of %d backends takes GUE for its VIP", a.n);
	check_sick(d);
	return 0;
}
