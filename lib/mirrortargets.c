// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Targets: where clones are sent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "host.h"
#include "mirrormaps.h"
#include "mirrors.h"
#include "out.h"
#include "rootmaps.h"

#define VNI_DEFAULT 1

static __u16 port_of(int encap)
{
	return encap == MIRROR_VXLAN ? MIRROR_VXLAN_PORT : MIRROR_GUE_PORT;
}

static struct addr addr_of(const __u32 b[4])
{
	struct addr a;

	memcpy(a.b, b, sizeof(a.b));
	return a;
}

/*
 * What it will be.
 */
static int check_new(const struct mirror_target_want *w)
{
	const char *missing = !w->has_dev ? "dev IF" : !w->has_to ? "to ADDR" : !w->has_encap ? "encap gue|vxlan" : NULL;

	return missing ? fail(-E_USAGE, "mirror target add: %s is new and needs %s", w->name, missing) : 0;
}

static int check_collector(const struct mirror_target_want *w, const struct addr *to)
{
	char text[MIRROR_TEXT];
	struct iface has;
	int is = w->has_to ? host_has_addr(to, &has) : 0;

	if (is < 0)
		return fail_errno(is, "the addresses of this host");
	return is ? fail(-E_USAGE, "to %s: is an address of this host, of %s; mirrored packets go to another one",
			 format_addr(to, text, sizeof(text)), has.name) : 0;
}

static int take_mac(const struct iface *dev, struct mirror_target *t)
{
	int err = iface_mac(dev, t->mac);

	if (err == -EOPNOTSUPP)
		return fail(err, "%s: is no Ethernet interface, mirrored packets cannot be sent there", dev->name);
	return err ? fail_errno(err, "%s", dev->name) : 0;
}

/* What the kernel would send from. */
static int default_source(const struct iface *dev, const struct addr *to, struct mirror_target *t)
{
	struct host_route r;
	char text[MIRROR_TEXT];
	int err = host_route_by(dev, to, &r);

	if (err || !r.has_source)
		return fail(err ? err : -EADDRNOTAVAIL, "%s has no address to send to %s from; give source ADDR", dev->name,
			    format_addr(to, text, sizeof(text)));
	memcpy(t->source, r.source.b, sizeof(t->source));
	return 0;
}

/* One that was not given follows the route to where it is sent now. */
static int plan_source(const struct mirror_target_want *w, const struct iface *dev, const struct mirror_target *now,
		       struct mirror_target *t)
{
	const struct addr to = addr_of(t->to), source = addr_of(t->source);
	bool is_elsewhere = !now || now->ifindex != t->ifindex || memcmp(now->to, t->to, sizeof(t->to));
	char text[MIRROR_TEXT];

	if (w->has_source) {
		if (addr_is_v4(&w->source) != addr_is_v4(&to))
			return fail(-E_USAGE, "source %s: is not of the IP version of the collector",
				    format_addr(&w->source, text, sizeof(text)));
		memcpy(t->source, w->source.b, sizeof(t->source));
		t->has_source = 1;
		return 0;
	}
	if (!is_elsewhere || (t->has_source && addr_is_v4(&source) == addr_is_v4(&to)))
		return 0;
	t->has_source = 0;
	return default_source(dev, &to, t);
}

static int plan_encap(const struct mirror_target_want *w, struct mirror_target *t, bool is_new)
{
	bool has_default_port = is_new || t->port == port_of(t->encap);

	if (w->has_encap && (is_new || t->encap != w->encap)) {
		t->encap = (__u8)w->encap;
		t->variant = 0;
		t->vni = w->encap == MIRROR_VXLAN ? VNI_DEFAULT : 0;
		if (has_default_port)
			t->port = port_of(t->encap);
	}
	if (w->has_port)
		t->port = w->port;
	if (w->has_variant && t->encap != MIRROR_GUE)
		return fail(-E_USAGE, "variant %u: goes with encap gue only", w->variant);
	if (w->has_variant)
		t->variant = w->variant;
	if (w->has_vni && t->encap != MIRROR_VXLAN)
		return fail(-E_USAGE, "vni %u: goes with encap vxlan only", w->vni);
	if (w->has_vni)
		t->vni = w->vni;
	return 0;
}

/* Zero checksums are for those who agreed on them (RFC 6935): over IPv4 all have. */
static void plan_rest(const struct mirror_target_want *w, struct mirror_target *t, const struct mirror_target *now)
{
	const struct addr to = addr_of(t->to), was = now ? addr_of(now->to) : to;

	if (w->has_checksum)
		t->has_checksum = w->is_checksum;
	else if (!now || addr_is_v4(&was) != addr_is_v4(&to))
		t->has_checksum = !addr_is_v4(&to);
	if (w->has_gateway) {
		t->has_gateway = !w->is_gateway_auto;
		memset(t->gateway, 0, sizeof(t->gateway));
		if (t->has_gateway)
			memcpy(t->gateway, w->gateway, sizeof(t->gateway));
	}
	if (w->has_cap) {
		t->cap = w->cap;
		t->cap_ps = w->cap ? 8000000000000ULL / w->cap : 0;
	}
}

/* dev: by which it is sent, which is there. */
static int plan(const struct mirror_target_want *w, const struct netns *here, const struct iface *dev,
		const struct mirror_target *now, struct mirror_target *t)
{
	struct addr to;
	int err;

	if (now) {
		memcpy(t, now, sizeof(*t));
	} else {
		*t = (struct mirror_target){ .netns = here->id, .is_cookie = here->is_cookie, .since = (__u64)time(NULL) };
		memcpy(t->name, w->name, sizeof(t->name));
	}
	if (!now || t->ifindex != (__u32)dev->index) {
		t->ifindex = (__u32)dev->index;
		memset(t->dev, 0, sizeof(t->dev));
		memcpy(t->dev, dev->name, sizeof(dev->name));
	}
	if (w->has_to)
		memcpy(t->to, w->to.b, sizeof(t->to));
	to = addr_of(t->to);
	err = take_mac(dev, t);
	if (!err)
		err = check_collector(w, &to);
	if (!err)
		err = plan_encap(w, t, !now);
	if (!err)
		err = plan_source(w, dev, now, t);
	plan_rest(w, t, now);
	return err;
}

static void warn_route(const struct mirror_target *t, const struct iface *dev)
{
	const struct addr to = addr_of(t->to), source = addr_of(t->source);
	char text[MIRROR_TEXT];
	struct host_route r;
	int err = t->has_gateway ? 0 : host_route(&source, &to, &r);

	if (t->has_gateway)
		return;
	if (err)
		err = host_route(NULL, &to, &r); /* the source is another host's */
	format_addr(&to, text, sizeof(text));
	if (err)
		warn("there is no route to %s; nothing is sent until there is one by %s", text, dev->name);
	else if (r.iface.index != dev->index)
		warn("the route to %s leaves by %s; what is sent by %s needs one there, or a gateway MAC", text,
		     r.iface.name, dev->name);
}

/*
 * What is said of a change.
 */
struct field {
	const char *key;
	const char *(*text)(const struct mirror_target *t, char buf[MIRROR_TEXT]);
};

static const char *encap_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	(void)buf;
	return mirror_encap_words[t->encap];
}

static const char *variant_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	(void)buf;
	return t->variant ? "1" : "0";
}

static const char *vni_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	snprintf(buf, MIRROR_TEXT, "%u", t->vni);
	return t->encap == MIRROR_VXLAN ? buf : NULL;
}

static const char *checksum_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	(void)buf;
	return t->has_checksum ? "on" : "off";
}

static const char *dev_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	const struct netns here = { .id = t->netns };

	return mirror_format_dev(&here, t->netns, t->ifindex, t->dev, buf);
}

static const char *mac_text(const struct mirror_target *t, char buf[MIRROR_TEXT])
{
	return format_mac(t->mac, buf, MIRROR_TEXT);
}

static const struct field fields[] = {
	{ "dev", dev_text }, { "mac", mac_text }, { "to", mirror_format_to }, { "encap", encap_text },
	{ "variant", variant_text }, { "vni", vni_text },
	{ "source", mirror_format_source }, { "gateway", mirror_format_gateway }, { "cap", mirror_format_cap },
	{ "udp_csum", checksum_text },
};
#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* To the eye: whether the source was given is not shown. */
static bool is_same(const struct mirror_target *a, const struct mirror_target *b)
{
	struct mirror_target like_b;

	memcpy(&like_b, a, sizeof(like_b));
	like_b.has_source = b->has_source;
	return !memcmp(&like_b, b, sizeof(like_b));
}

/* now NULL: it is new. Its interface's address goes without saying, unless that alone changed. */
static void note(const struct run *run, const struct mirror_target *now, const struct mirror_target *t, bool is_stray)
{
	char a[MIRROR_TEXT], b[MIRROR_TEXT];

	change_add(run->changes, now ? '~' : '+', "mirror target", t->name);
	for (size_t i = 0; i < FIELDS; i++) {
		const char *is = now ? fields[i].text(now, a) : NULL, *will_be = fields[i].text(t, b);

		if (fields[i].text == mac_text && (!now || now->ifindex != t->ifindex))
			continue;
		if (!now && !t->variant && fields[i].text == variant_text)
			continue;
		if (!now && will_be)
			change_str(run->changes, fields[i].key, "%s", will_be);
		if (now && strcmp(is ? is : "none", will_be ? will_be : "none"))
			change_from_str(run->changes, fields[i].key, is ? is : "none", will_be ? will_be : "none");
	}
	if (is_stray)
		change_from_str(run->changes, "stray", "yes", "no");
}

/*
 * Making it so.
 */
static void changing(struct mirror *m, const struct netns *here, bool is)
{
	__atomic_store_n(&m->config->changing, is ? here->id : 0, __ATOMIC_SEQ_CST);
}

/* Out of the chain of an interface by which nothing is sent any more. */
static int leave(const struct run *run, const struct mirror *m, const struct netns *here, __u32 ifindex, int except)
{
	struct iface dev;
	int err = iface_by_index((int)ifindex, &dev);

	if (err)
		return err == -ENODEV ? 0 : fail_errno(err, "interface %u", ifindex);
	return mirror_has_target(m, here, ifindex, except) ? 0 : mirror_target_member(run, m, &dev, false);
}

static struct mirror_target *copy_of(struct mirror *m, int number, bool which)
{
	return &m->target[number + (which ? MIRROR_TARGETS : 0)];
}

/* Packets see it from now on: one store. Outside of changes both copies are the same. */
static void write_copy(struct mirror *m, int number, const struct mirror_target *t)
{
	__u32 bit = 1U << number;
	bool which = m->config->which & bit;
	struct mirror_target new = *t;

	new.serial = ++m->config->serial;
	*copy_of(m, number, !which) = new;
	if (m->config->targets & bit) {
		__atomic_xor_fetch(&m->config->which, bit, __ATOMIC_SEQ_CST);
		return;
	}
	*copy_of(m, number, which) = new;
	memset(&m->state[number], 0, sizeof(m->state[number]));
	__atomic_or_fetch(&m->config->targets, bit, __ATOMIC_SEQ_CST);
}

/* Once no packet reads the copies that are not in use. */
int mirror_target_copies_settle(struct mirror *m)
{
	int err = root_grace();

	for (int i = 0; !err && i < MIRROR_TARGETS; i++)
		if (m->config->targets >> i & 1) {
			bool which = m->config->which >> i & 1;

			*copy_of(m, i, !which) = *copy_of(m, i, which);
		}
	return err;
}

static int target_write(const struct run *run, struct mirror *m, int number, const struct mirror_target *now,
			const struct mirror_target *t, const struct iface *dev, const struct netns *here)
{
	__u32 before = now ? now->ifindex : t->ifindex;
	int err;

	if (!run->dry_run) {
		changing(m, here, true);
		err = now ? 0 : mirror_stat_zero(m->sent, (__u32)number);
		if (err)
			return fail_errno(err, "target %s", t->name);
	}
	err = mirror_target_member(run, m, dev, true);
	if (!err && !run->dry_run && (!now || memcmp(now, t, sizeof(*t))))
		write_copy(m, number, t);
	if (!err && before != t->ifindex) {
		err = leave(run, m, here, before, number);
		if (err && !run->dry_run) /* the copy that was */
			__atomic_xor_fetch(&m->config->which, 1U << number, __ATOMIC_SEQ_CST);
	}
	if (err || run->dry_run)
		return err;
	__atomic_store_n(&m->state[number].is_stray, 0, __ATOMIC_SEQ_CST);
	if (!mirror_target_copies_settle(m)) /* or else the next change does it */
		changing(m, here, false);
	return 0;
}

/* After a failure: nothing of the attempt stays; what cannot be undone now, the next change undoes. */
static void undo(const struct run *run, struct mirror *m, const struct netns *here)
{
	auto_silence struct mirror_silence silent = { .changes = NULL };

	if (run->dry_run || !m->config || mirror_silence(run, &silent))
		return;
	if (mirror_target_members_settle(&silent.run, m) || mirror_target_copies_settle(m))
		return;
	changing(m, here, false);
	if (mirror_remove_unused(run, m))
		warn("kf/" MIRROR_KF " was made and stays");
}

static int number_free(const struct mirror *m)
{
	for (int i = 0; i < MIRROR_TARGETS; i++)
		if (!mirror_target_get(m, i))
			return i;
	return -ENOENT;
}

static int number_new(const struct run *run, struct mirror *m, const struct netns *here)
{
	int number = number_free(m), err = number < 0 && !run->dry_run ? mirror_forget_gone(m, here) : 0;

	if (err)
		return err;
	if (number < 0)
		number = number_free(m);
	for (int i = 0; number < 0 && run->dry_run && i < MIRROR_TARGETS; i++)
		if (mirror_netns_is_gone(m, here, mirror_target_get(m, i)->netns))
			number = i;
	return number >= 0 ? number : fail(-E2BIG, "there are %d targets, no more fit; remove one first: l3afctl mirror "
					   "target remove NAME", MIRROR_TARGETS);
}

static int dev_of(const struct mirror_target_want *w, const struct mirror_target *now, struct iface *dev)
{
	int err = 0;

	if (w->has_dev)
		*dev = w->dev;
	else
		err = iface_by_index((int)now->ifindex, dev);
	if (err == -ENODEV)
		return fail(err, "%s: its interface %.15s is gone; give another one: dev IF", w->name, now->dev);
	return err ? fail_errno(err, "interface %u", now->ifindex) : 0;
}

static int add(const struct run *run, const struct bpffs *b, const struct mirror_target_want *w, struct mirror *m)
{
	const struct mirror_target *now = NULL;
	struct mirror_target t, was;
	struct iface dev;
	struct netns here;
	bool is_stray, is_seen;
	int number, err = netns_self(&here);

	if (err)
		return fail_errno(err, "this network namespace");
	number = mirror_target_find(m, &here, w->name);
	if (number >= 0) {
		was = *mirror_target_get(m, number);
		now = &was;
	} else {
		err = check_new(w);
		number = err ? err : number_new(run, m, &here);
		err = number < 0 ? number : 0;
	}
	if (!err)
		err = dev_of(w, now, &dev);
	if (!err)
		err = plan(w, &here, &dev, now, &t);
	if (err)
		return err;
	is_stray = now && m->state[number].is_stray;
	is_seen = !now || !is_same(now, &t);
	if (is_seen || is_stray)
		note(run, now, &t, is_stray);
	if (is_seen)
		warn_route(&t, &dev);
	err = run->dry_run ? 0 : mirror_make(b, m);
	if (!err)
		err = target_write(run, m, number, now, &t, &dev, &here);
	if (err)
		undo(run, m, &here);
	return err;
}

int mirror_target_add(const struct run *run, const struct bpffs *b, const struct mirror_target_want *want)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	int ret = mirror_open(run, b, true, &m);

	return ret < 0 ? ret : add(run, b, want, &m);
}

/*
 * Away.
 */
struct users {
	char text[160];
	int n;
	bool has_gone; /* one of an interface that is no more */
};

static void users_add(struct users *u, __u32 number, const char *dev)
{
	size_t used = strlen(u->text);

	if (u->n++ < 3)
		snprintf(u->text + used, sizeof(u->text) - used, "%s%u dev %s", used ? ", " : "", number, dev);
}

static int users_of(const struct mirror *m, const struct netns *here, int number, struct users *u)
{
	for (int i = 0; i < MIRROR_PLACES; i++) {
		auto_mirror_view struct mirror_view v = MIRROR_VIEW_INIT;
		const struct mirror_place *p = &m->place[i];
		char dev[MIRROR_TEXT];
		int err, n = u->n;

		if (!p->since || p->netns != here->id)
			continue;
		err = mirror_view_open(m, i, &v);
		if (err)
			return mirror_fail(err, p->name);
		mirror_format_dev(here, p->netns, p->ifindex, p->name, dev);
		for (int j = 0; j < v.n; j++)
			if (v.set->filter[j].action == MIRROR_ACCEPT && v.set->filter[j].target == number)
				users_add(u, v.set->filter[j].number, dev);
		u->has_gone |= u->n > n && mirror_is_gone(here, p->netns, p->ifindex);
	}
	return 0;
}

static int check_unused(const struct mirror *m, const struct netns *here, int number, const char *name)
{
	struct users u = { .n = 0 };
	int err = users_of(m, here, number, &u);

	if (err || !u.n)
		return err;
	return fail(-EBUSY, "%s: %d filter%s to it, %s%s; l3afctl mirror filter remove%s, or send them to another one",
		    name, u.n, u.n > 1 ? "s send" : " sends", u.text, u.n > 3 ? " and more" : "",
		    u.has_gone ? ", filter flush dev IF where it is gone" : "");
}

int mirror_target_remove(const struct run *run, const struct bpffs *b, const char *name)
{
	auto_mirror struct mirror m = MIRROR_INIT;
	struct netns here;
	__u32 ifindex;
	int number, ret = mirror_open(run, b, true, &m), err = netns_self(&here);

	if (ret < 0 || err)
		return err ? fail_errno(err, "this network namespace") : ret;
	number = mirror_target_find(&m, &here, name);
	if (number < 0)
		return mirror_remove_unused(run, &m);
	err = check_unused(&m, &here, number, name);
	if (err)
		return err;
	ifindex = mirror_target_get(&m, number)->ifindex;
	change_add(run->changes, '-', "mirror target", name);
	if (!run->dry_run) {
		changing(&m, &here, true);
		__atomic_and_fetch(&m.config->targets, ~(1U << number), __ATOMIC_SEQ_CST);
	}
	err = leave(run, &m, &here, ifindex, number);
	if (err && !run->dry_run) {
		__atomic_or_fetch(&m.config->targets, 1U << number, __ATOMIC_SEQ_CST);
		changing(&m, &here, false);
	}
	if (err || run->dry_run)
		return err;
	changing(&m, &here, false);
	return mirror_remove_unused(run, &m);
}
