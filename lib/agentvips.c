/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which VIPs an agent has, and whom it believes. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agentvips.h"
#include "out.h"

static bool is_zero(const __u32 addr[4])
{
	return !(addr[0] | addr[1] | addr[2] | addr[3]);
}

/*
 * What is said of a change.
 */
void agent_note(const struct run *run, char op, const char *what, const struct agents *a, const char *dev)
{
	change_add(run->changes, op, "agent", NULL);
	if (what)
		change_str(run->changes, "vip", "%s", what);
	change_str(run->changes, "dev", "%s", dev);
	if (strcmp(a->instance, AGENT_KF))
		change_str(run->changes, "instance", "%s", a->instance);
}

static const char *addr_text(const __u32 addr[4], char *buf, size_t size)
{
	struct addr a;

	memcpy(a.b, addr, sizeof(a.b));
	return format_addr(&a, buf, size);
}

void agent_note_vip(const struct run *run, char op, const struct agents *a, const char *dev,
		    const struct agent_vip_key *key)
{
	char text[64];

	agent_note(run, op, addr_text(key->addr, text, sizeof(text)), a, dev);
}

static const char *source_text(const struct agent_source *s, char *buf, size_t size)
{
	struct addr a;
	__u32 len = s->len - 32;
	size_t used;

	memcpy(a.b, s->addr, sizeof(a.b));
	format_addr(&a, buf, size);
	used = strlen(buf);
	if (len < 128)
		snprintf(buf + used, size - used, "/%u", addr_is_v4(&a) && len >= 96 ? len - 96 : len);
	return buf;
}

static void note_source(const struct run *run, char op, const struct agents *a, const char *dev,
			const struct agent_source *s)
{
	char text[64];

	change_add(run->changes, op, "agent", NULL);
	change_str(run->changes, "source", "%s", source_text(s, text, sizeof(text)));
	change_str(run->changes, "dev", "%s", dev);
	if (strcmp(a->instance, AGENT_KF))
		change_str(run->changes, "instance", "%s", a->instance);
}

/*
 * VIPs.
 */
struct agent_vip_entry *agent_vip_find(const struct agent_vip_set *v, const struct addr *addr)
{
	for (int i = 0; i < v->n; i++)
		if (!memcmp(v->e[i].key.addr, addr->b, sizeof(addr->b)))
			return &v->e[i];
	return NULL;
}

static int vip_add(struct agent_vip_set *v, int place, const struct addr *addr, const struct addr *to, __u8 flags)
{
	struct agent_vip_entry *more = reallocarray(v->e, (size_t)v->n + 1, sizeof(*more));

	if (!more)
		return fail_errno(-ENOMEM, "VIPs");
	v->e = more;
	more += v->n++;
	*more = (struct agent_vip_entry){ .key.place = (__u32)place, .vip.flags = flags };
	memcpy(more->key.addr, addr->b, sizeof(addr->b));
	if (to)
		memcpy(more->vip.to, to->b, sizeof(to->b));
	return 0;
}

struct own {
	struct agent_vip_set *v;
	int place;
};

static int own_add(const struct addr *addr, void *arg)
{
	struct own *own = arg;

	return agent_vip_find(own->v, addr) ? 0 : vip_add(own->v, own->place, addr, NULL, AGENT_OWN);
}

/* The VIPs that are asked for. */
static int vips_plan(const struct agent_enable *want, int place, struct agent_vip_set *v)
{
	struct own own = { v, place };
	int err = 0;

	for (int i = 0; !err && i < want->vips; i++)
		err = vip_add(v, place, &want->vip[i].addr, want->vip[i].has_to ? &want->vip[i].to : NULL, 0);
	if (err || !want->is_local)
		return err;
	err = iface_addrs(own_add, &own);
	return err ? fail_errno(err, "the addresses of this host") : 0;
}

/* Of to - addr, as bpf/agent.h has it. */
static __u16 diff_of(const __u32 addr[4], const __u32 to[4])
{
	__u32 sum = 0;

	if (is_zero(to))
		return 0;
	for (int i = 0; i < 4; i++)
		sum += (to[i] & 0xffff) + (to[i] >> 16) + (~addr[i] & 0xffff) + (~addr[i] >> 16);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)sum;
}

static int vip_set(const struct run *run, const struct agents *a, const char *dev, const struct agent_vip_entry *now,
		   struct agent_vip_entry *e)
{
	char from[64], to[64];
	int err;

	if (now && !memcmp(now->vip.to, e->vip.to, sizeof(e->vip.to)) && now->vip.flags == e->vip.flags)
		return 0;
	if (!now || memcmp(now->vip.to, e->vip.to, sizeof(e->vip.to))) {
		agent_note_vip(run, now ? '~' : '+', a, dev, &e->key);
		if (now)
			change_from_str(run->changes, "to",
					is_zero(now->vip.to) ? "local" : addr_text(now->vip.to, from, sizeof(from)),
					is_zero(e->vip.to) ? "local" : addr_text(e->vip.to, to, sizeof(to)));
		else if (!is_zero(e->vip.to))
			change_str(run->changes, "to", "%s", addr_text(e->vip.to, to, sizeof(to)));
	}
	if (run->dry_run)
		return 0;
	e->vip.stat = now ? now->vip.stat : 0;
	e->vip.overhead = now ? now->vip.overhead : 0;
	e->vip.since = now ? now->vip.since : (__u64)time(NULL);
	e->vip.diff = diff_of(e->key.addr, e->vip.to);
	err = agents_vip_write(a, &e->key, &e->vip, !now);
	return err == -E2BIG ? fail(err, "instance %s has %d VIPs, no more fit; remove one first: l3afctl agent disable "
				    "dev %s vip ADDR", a->instance, AGENT_VIPS, dev) :
		err ? fail_errno(err, "kf/%s: the VIPs", a->instance) : 0;
}

/* "local" again: addresses that the host has no more. */
static int vips_drop_gone(const struct run *run, const struct agents *a, const char *dev,
			  const struct agent_vip_set *now, const struct agent_vip_set *v)
{
	int err = 0;

	for (int i = 0; !err && i < now->n; i++) {
		struct addr addr;

		memcpy(addr.b, now->e[i].key.addr, sizeof(addr.b));
		if (!(now->e[i].vip.flags & AGENT_OWN) || agent_vip_find(v, &addr))
			continue;
		agent_note_vip(run, '-', a, dev, &now->e[i].key);
		err = run->dry_run ? 0 : agents_vip_remove(a, &now->e[i].key);
	}
	return err ? fail_errno(err, "kf/%s: the VIPs", a->instance) : 0;
}

int agent_vips_set(const struct run *run, const struct agents *a, const char *dev, const struct agent_enable *want,
		   int place, const struct agent_vip_set *now)
{
	auto_vips struct agent_vip_set v = { 0 };
	int err = vips_plan(want, place, &v);

	for (int i = 0; !err && i < v.n; i++) {
		struct addr addr;
		const struct agent_vip_entry *was;

		memcpy(addr.b, v.e[i].key.addr, sizeof(addr.b));
		was = agent_vip_find(now, &addr);
		if (was && v.e[i].vip.flags & AGENT_OWN)
			continue; /* it has a purpose already */
		err = vip_set(run, a, dev, was, &v.e[i]);
	}
	return !err && want->is_local ? vips_drop_gone(run, a, dev, now, &v) : err;
}

/*
 * Sources.
 */
static struct agent_source source_of(const struct prefix *p, int place)
{
	struct agent_source s = { .len = 32 + p->len, .place = (__u32)place };

	memcpy(s.addr, p->addr.b, sizeof(s.addr));
	return s;
}

static bool source_is_wanted(const struct agent_enable *want, int place, const struct agent_source *s)
{
	for (int i = 0; i < want->sources; i++) {
		struct agent_source w = source_of(&want->source[i], place);

		if (!memcmp(&w, s, sizeof(w)))
			return true;
	}
	return false;
}

int agent_sources_set(const struct run *run, const struct agents *a, const char *dev, int place,
		      const struct agent_enable *want, const struct agent_source *now, int n)
{
	int err = 0;

	for (int i = 0; !err && i < want->sources; i++) {
		struct agent_source s = source_of(&want->source[i], place);
		bool is_there = false;

		for (int j = 0; j < n; j++)
			is_there |= !memcmp(&now[j], &s, sizeof(s));
		if (is_there)
			continue;
		note_source(run, '+', a, dev, &s);
		err = run->dry_run ? 0 : agents_source_write(a, &s);
	}
	for (int i = 0; !err && want->sources && i < n; i++) {
		if (source_is_wanted(want, place, &now[i]))
			continue;
		note_source(run, '-', a, dev, &now[i]);
		err = run->dry_run ? 0 : agents_source_remove(a, &now[i]);
	}
	return err ? fail_errno(err, "kf/%s: the sources", a->instance) : 0;
}
