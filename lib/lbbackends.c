// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Backends of VIPs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "lbmaps.h"
#include "lbs.h"
#include "out.h"
#include "run.h"

const char *const lb_admin_words[] = { "up", "drain", "down", NULL };
const char *const lb_healthy_words[] = { "unknown", "healthy", "sick", NULL };

void lb_note_backend(const struct run *run, const struct lb *lb, char op, const struct vip *vip,
		     const struct addr *addr)
{
	char text[VIP_LEN];

	change_add(run->changes, op, "lb backend", format_addr(addr, text, sizeof(text)));
	change_str(run->changes, "vip", "%s", format_vip(vip, text, sizeof(text)));
	if (strcmp(lb->instance, LB_KF))
		change_str(run->changes, "instance", "%s", lb->instance);
}

static int fail_change(int err, const struct lb *lb, const struct vip *vip)
{
	char text[VIP_LEN];

	format_vip(vip, text, sizeof(text));
	return fail_errno(err, "kf/%s: cannot change the backends of vip %s", lb->instance, text);
}

/* The change is made; what is left to clean is no error of it. */
void lb_warn_gone(int err, const struct lb *lb)
{
	warn("kf/%s: what is no longer used was not freed (%s); the next change does it", lb->instance, strerror(-err));
}

int lb_vip_number(const struct lb *lb, const struct vip *vip)
{
	int number = lb_vip_find(lb, vip);
	char text[VIP_LEN];

	if (number >= 0)
		return number;
	format_vip(vip, text, sizeof(text));
	return fail(number, "instance %s has no vip %s; make it: l3afctl lb vip add %s%s", lb->instance, text, text,
		    lb_of(lb->instance).text);
}

/*
 * One backend in the set of all.
 */
struct change {
	const struct run *run;
	struct lb *lb;
	const struct vip *vip;
	int number;          /* of the VIP */
	struct lb_set *set;  /* as it will be */
	__u32 next;          /* numbers below are in use */
	bool is_changed;
};

/* What it takes to reach it: an outer source address of its family. */
static int check_source(const struct change *c, const struct addr *addr)
{
	bool is_v4 = addr_is_v4(addr);
	char text[64];

	for (int i = 0; i < LB_PLACES; i++) {
		const struct lb_place *p = &c->lb->place[i];
		bool has = is_v4 ? p->source4 : p->source6[0] | p->source6[1] | p->source6[2] | p->source6[3];

		if (p->ifindex && has)
			return 0;
	}
	return fail(-E_USAGE, "backend %s: instance %s has no IPv%d address to send from; give one: "
		    "l3afctl lb enable dev IF source%s ADDR%s", format_addr(addr, text, sizeof(text)), c->lb->instance,
		    is_v4 ? 4 : 6, is_v4 ? "" : "6", lb_of(c->lb->instance).text);
}

static bool is_source(const struct lb_place *p, const struct addr *addr)
{
	return p->ifindex && (addr_is_v4(addr) ? !memcmp(addr->b + 12, &p->source4, sizeof(p->source4)) :
						  !memcmp(addr->b, p->source6, sizeof(p->source6)));
}

/* A packet for it would come back to the balancer. */
static int check_addr(const struct change *c, const struct addr *addr)
{
	const char *why = addr_no_host(addr);
	char text[64];

	format_addr(addr, text, sizeof(text));
	if (why)
		return fail(-E_USAGE, "backend %s: %s", text, why);
	for (__u32 i = 0; i < c->lb->config->vips; i++)
		if (c->lb->vip[i].is_live && !memcmp(c->lb->vip[i].key.addr, addr, sizeof(*addr)))
			return fail(-E_USAGE, "backend %s: is a VIP of instance %s; name the backend's own address", text,
				    c->lb->instance);
	for (int i = 0; i < LB_PLACES; i++)
		if (is_source(&c->lb->place[i], addr))
			return fail(-E_USAGE, "backend %s: is what instance %s sends from; it cannot send to itself", text,
				    c->lb->instance);
	return check_source(c, addr);
}

static int number_new(struct change *c)
{
	const struct lb *lb = c->lb;

	while (c->next < lb->config->backends && lb->backend[c->next].state != LB_FREE)
		c->next++;
	return c->next < lb->config->backends ? (int)c->next++ : -E2BIG;
}

/* Complete, but for its state: packets do not know it yet. */
static void record_fill(struct change *c, int number, const struct addr *addr, const struct lb_member *m)
{
	struct lb *lb = c->lb;
	struct lb_backend *b = &lb->backend[number];
	__u16 half[8];

	for (int place = 0; place < LB_PLACES; place++)
		lb->hop[(size_t)place * lb->config->backends + (size_t)number] = (struct lb_hop){ 0 };
	lb->health[number] = (struct lb_health){ 0 };
	*b = (struct lb_backend){
		.vip = (__u32)c->number,
		.is_v4 = addr_is_v4(addr),
		.admin = m->admin,
		.healthy = m->healthy,
		.weight = m->weight,
		.since = (__u64)time(NULL),
		.admin_since = (__u64)time(NULL),
	};
	memcpy(b->addr, addr, sizeof(*addr));
	memcpy(half, addr, sizeof(half));
	for (int i = b->is_v4 ? 6 : 0; i < 8; i++)
		b->sum += half[i];
}

static void member_take(struct lb_member *m, const struct lb_backend_want *want)
{
	if (want->has_weight)
		m->weight = want->weight;
	if (want->has_admin)
		m->admin = (__u8)want->admin;
	if (want->has_healthy)
		m->healthy = (__u8)want->healthy;
}

static int backend_new(struct change *c, const struct lb_backend_want *want, int at)
{
	struct lb_part part = { .addr = want->addr, .m = { .weight = 1 } };
	struct lb_set *set = c->set;
	char text[VIP_LEN];
	int err = check_addr(c, &want->addr), number;

	if (err)
		return err;
	format_vip(c->vip, text, sizeof(text));
	if (set->n == LB_MEMBERS)
		return fail(-E2BIG, "vip %s has %d backends, no more fit", text, LB_MEMBERS);
	number = number_new(c);
	if (number < 0)
		return fail(number, "instance %s has %u backends, no more fit; remove one first, or use another instance",
			    c->lb->instance, c->lb->config->backends - 1);
	member_take(&part.m, want);
	part.m.number = (__u16)number;
	memmove(&set->part[at + 1], &set->part[at], sizeof(set->part[0]) * (size_t)(set->n - at));
	set->part[at] = part;
	set->n++;
	if (!c->run->dry_run)
		record_fill(c, number, &want->addr, &part.m);
	lb_note_backend(c->run, c->lb, '+', c->vip, &want->addr);
	change_u64(c->run->changes, "weight", part.m.weight);
	if (part.m.admin != LB_UP)
		change_str(c->run->changes, "state", "%s", lb_admin_words[part.m.admin]);
	c->is_changed = true;
	return 0;
}

static void backend_change(struct change *c, const struct lb_backend_want *want, struct lb_member *m)
{
	struct lb_member old = *m;

	member_take(m, want);
	if (m->weight == old.weight && m->admin == old.admin && m->healthy == old.healthy)
		return;
	lb_note_backend(c->run, c->lb, '~', c->vip, &want->addr);
	if (m->weight != old.weight)
		change_from_u64(c->run->changes, "weight", old.weight, m->weight);
	if (m->admin != old.admin)
		change_from_str(c->run->changes, "state", lb_admin_words[old.admin], lb_admin_words[m->admin]);
	if (m->healthy != old.healthy)
		change_from_str(c->run->changes, "health", lb_healthy_words[old.healthy], lb_healthy_words[m->healthy]);
	c->is_changed = true;
}

static int backend_set(struct change *c, const struct lb_backend_want *want, bool is_add)
{
	char text[VIP_LEN], addr[64];
	int at, found = lb_set_find(c->set, &want->addr, &at);

	if (found >= 0) {
		backend_change(c, want, &c->set->part[found].m);
		return 0;
	}
	if (is_add)
		return backend_new(c, want, at);
	format_vip(c->vip, text, sizeof(text));
	format_addr(&want->addr, addr, sizeof(addr));
	return fail(-ENOENT, "vip %s has no backend %s; make it: l3afctl lb backend add %s vip %s%s", text, addr,
		    addr, text, lb_of(c->lb->instance).text);
}

int lb_backends_set(const struct run *run, struct lb *lb, const struct vip *vip, const struct lb_backend_want *want,
		    int n, bool is_add)
{
	auto_free struct lb_set *old = malloc(sizeof(*old)), *new = malloc(sizeof(*new));
	struct change c = { run, lb, vip, lb_vip_number(lb, vip), new, 1, false };
	int err;

	if (c.number < 0)
		return c.number;
	err = old && new ? lb_set_read(lb, c.number, old) : -ENOMEM;
	if (err)
		return fail_change(err, lb, vip);
	*new = *old;
	for (int i = 0; !err && i < n; i++)
		err = backend_set(&c, &want[i], is_add);
	if (err || !c.is_changed || run->dry_run)
		return err;
	err = lb_set_publish(lb, c.number, old, new);
	if (!err)
		return 0;
	(void)!lb_gone_free(lb); /* the next change does it */
	return fail_change(err, lb, vip);
}

int lb_backend_remove(const struct run *run, struct lb *lb, const struct vip *vip, const struct addr *addr)
{
	auto_free struct lb_set *old = malloc(sizeof(*old)), *new = malloc(sizeof(*new));
	int number = lb_vip_find(lb, vip), at, err;

	if (number < 0)
		return 0;
	err = old && new ? lb_set_read(lb, number, old) : -ENOMEM;
	if (err)
		return fail_change(err, lb, vip);
	if (lb_set_find(old, addr, &at) < 0)
		return 0;
	*new = *old;
	memmove(&new->part[at], &new->part[at + 1], sizeof(new->part[0]) * (size_t)(--new->n - at));
	lb_note_backend(run, lb, '-', vip, addr);
	if (run->dry_run)
		return 0;
	err = lb_set_publish(lb, number, old, new);
	if (err)
		return fail_change(err, lb, vip);
	err = lb_gone_free(lb);
	if (err)
		lb_warn_gone(err, lb);
	return 0;
}
