/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chainbuild.h"
#include "chainstate.h"
#include "cleanup.h"
#include "kf.h"
#include "object.h"

int chain_id_init(struct chain_id *id, const struct iface *iface, enum hook hook)
{
	int err = netns_self(&id->netns);

	id->iface = *iface;
	id->hook = hook;
	return err ? fail_errno(err, "cannot identify the network namespace") : 0;
}

static int find(const struct root_view *v, const char *name)
{
	for (int i = 0; i < v->n; i++)
		if (!strcmp(v->member[i].name, name))
			return i;
	return -1;
}

static int find_or_fail(const struct chain *c, const char *name)
{
	int i = find(&c->view, name);

	return i >= 0 ? i : fail(-E_USAGE, "%s: is no member of the %s chain of %s", name,
				 hook_words[c->id.hook], c->id.iface.name);
}

/* Opening for a change, or only as if for one with --dry-run. */
static int open_for_change(const struct run *run, const struct bpffs *b, const struct chain_id *id,
			   struct chain *c)
{
	int err = chain_open(b, run->dry_run ? BPFFS_READ : BPFFS_CHANGE, id, c);

	if (err || run->dry_run)
		return err;
	err = c->exists ? root_settle(&c->root, &c->view) : 0;
	if (!err)
		err = chain_sweep(b, &id->netns);
	return err ? fail_errno(err, "cannot sweep %s", b->dir) : 0;
}

/* The change is made; what is left to clean is no error of it. */
static void sweep_after(const struct bpffs *b, const struct chain_id *id)
{
	int err = chain_sweep(b, &id->netns);

	if (err)
		warn("%s: what is no longer used was not removed (%s); the next change does it", b->dir, strerror(-err));
}

static void plan_from_view(const struct root_view *v, struct root_plan *plan)
{
	plan->n = v->n;
	memcpy(plan->member, v->member, sizeof(plan->member));
	for (int i = 0; i < ROOT_MEMBERS; i++)
		plan->prog[i] = -1;
}

static void plan_move(struct root_plan *plan, int from, int to)
{
	struct root_desc d = plan->member[from];
	int prog = plan->prog[from], step = from < to ? 1 : -1;

	for (int i = from; i != to; i += step) {
		plan->member[i] = plan->member[i + step];
		plan->prog[i] = plan->prog[i + step];
	}
	plan->member[to] = d;
	plan->prog[to] = prog;
}

static void plan_append(struct root_plan *plan, const struct member *m)
{
	plan->member[plan->n] = m->desc;
	plan->prog[plan->n++] = m->prog;
}

static void plan_drop(struct root_plan *plan, int i)
{
	plan_move(plan, i, plan->n - 1);
	plan->n--;
}

/* A row of counters that no member uses. */
static __u32 free_stat(const struct root_view *v)
{
	__u64 used = 0;

	for (int i = 0; i < v->n; i++)
		used |= 1ull << v->member[i].stat;
	return (__u32)__builtin_ctzll(~used);
}

static int commit(const struct chain *c, const struct root_plan *plan)
{
	int bad, err = root_commit(&c->root, plan, &bad);

	if (err == -EINVAL && bad >= 0)
		return fail(err, "%s: does not fit the chain: it was loaded with another expected attach type, "
			    "or with or without multi-buffer support unlike the root; adopt it as the first "
			    "member of a new chain, or load its object instead", plan->member[bad].name);
	return err ? fail_errno(err, "%s: cannot change the %s chain", c->id.iface.name, hook_words[c->id.hook]) : 0;
}

static void note(const struct run *run, char op, const struct chain_id *id, const char *name)
{
	change_add(run->changes, op, "chain", name);
	change_str(run->changes, "dev", "%s", id->iface.name);
	change_str(run->changes, "hook", "%s", hook_words[id->hook]);
}

/* Where req wants the member; the list has n members without it. */
static int wanted_index(const struct chain_request *req, const struct root_plan *plan, int self)
{
	const char *anchor = req->before ? req->before : req->after;
	int n = self < 0 ? plan->n : plan->n - 1;

	if (req->position > n + 1)
		return fail(-E_USAGE, "position %d: the chain will have %d members", req->position, n + 1);
	if (req->position)
		return req->position - 1;
	if (!anchor)
		return self < 0 ? n : self;
	for (int i = 0, at = 0; i < plan->n; i++) {
		if (i == self)
			continue;
		if (!strcmp(plan->member[i].name, anchor))
			return req->before ? at : at + 1;
		at++;
	}
	return fail(-E_USAGE, "%s: is no other member of the chain; it cannot be %s it", anchor,
		    req->before ? "before" : "after");
}

static void verdict_words(enum hook hook, __u32 mask, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (int bit = 0; bit < ROOT_VERDICTS; bit++)
		if (mask & 1u << bit && chain_verdict(hook, bit) && len < size)
			len += (size_t)snprintf(buf + len, size - len, "%s%s", len ? "," : "",
						chain_verdict(hook, bit));
}

static int check_attachment(const struct chain *c, const struct chain_request *req)
{
	const struct root_head *head = &c->view.head;

	if (req->engine != ENGINE_AUTO && req->engine != (enum engine)head->engine)
		return fail(-EEXIST, "%s: the %s chain is attached by %s; chain detach it first to change the engine",
			    c->id.iface.name, hook_words[c->id.hook], engine_words[head->engine]);
	if (req->mode != MODE_AUTO && req->mode != (enum xdp_mode)head->mode)
		return fail(-EEXIST, "%s: the %s chain is attached in mode %s; chain detach it first to change the mode",
			    c->id.iface.name, hook_words[c->id.hook], mode_words[head->mode]);
	return 0;
}

static int check_same(const struct chain_id *id, const struct chain_request *req, const struct root_desc *d)
{
	auto_object struct object o = { 0 };
	int err;

	if (req->instance && strcmp(req->instance, d->instance))
		return fail(-EEXIST, "%s: is a member with instance %s; remove it first", d->name, d->instance);
	if (!req->object && kf_find(req->name) && d->flags & ROOT_F_BUILTIN)
		return 0;
	err = object_read(req, &o);
	if (err)
		return err;
	if (memcmp(o.sha256, d->sha256, sizeof(o.sha256)))
		return fail(-EEXIST, "%s: is a member of the %s chain of %s with another object; "
			    "chain replace gives it new code", d->name, hook_words[id->hook], id->iface.name);
	if (req->program && strcmp(req->program, d->program))
		return fail(-EEXIST, "%s: is a member with program %s; chain replace gives it another", d->name,
			    d->program);
	return 0;
}

/* A member that is there: at most its place and its mask change. */
static int update_member(const struct run *run, struct chain *c, const struct chain_request *req, int i)
{
	struct root_plan plan;
	__u32 old = c->view.member[i].mask & ~(1u << ROOT_NONE_BIT);
	char from[96], to[96];
	int at, err = check_attachment(c, req);

	if (!err)
		err = check_same(&c->id, req, &c->view.member[i]);
	if (err)
		return err;
	plan_from_view(&c->view, &plan);
	at = wanted_index(req, &plan, i);
	if (at < 0)
		return at;
	if (at == i && (!req->continue_mask || req->continue_mask == old))
		return 0;
	note(run, '~', &c->id, req->name);
	if (at != i)
		change_from_u64(run->changes, "position", (__u64)i + 1, (__u64)at + 1);
	if (req->continue_mask && req->continue_mask != old) {
		verdict_words(c->id.hook, old, from, sizeof(from));
		verdict_words(c->id.hook, req->continue_mask, to, sizeof(to));
		change_from_str(run->changes, "continue", from, to);
		plan.member[i].mask = req->continue_mask;
	}
	plan_move(&plan, i, at);
	return run->dry_run ? 0 : commit(c, &plan);
}

static int insert(const struct chain *c, struct root_plan *plan, const struct member *m, int at)
{
	int last = plan->n;

	plan_append(plan, m);
	plan->member[last].stat = free_stat(&c->view);
	root_stat_zero(&c->root, plan->member[last].stat);
	plan_move(plan, last, at);
	return commit(c, plan);
}

static int add_to_existing(const struct run *run, const struct bpffs *b, struct chain *c,
			   const struct chain_request *req, const struct object *o)
{
	auto_member struct member m = { .prog = -1 };
	struct root_plan plan;
	int at, err;

	if (c->view.n == ROOT_MEMBERS)
		return fail(-E2BIG, "%s: the %s chain has %d members, the most there can be (the kernel allows "
			    "33 tail calls for each packet)", c->id.iface.name, hook_words[c->id.hook], ROOT_MEMBERS);
	err = check_attachment(c, req);
	if (err)
		return err;
	plan_from_view(&c->view, &plan);
	at = wanted_index(req, &plan, -1);
	if (at < 0)
		return at;
	note(run, '+', &c->id, req->name);
	change_u64(run->changes, "position", (__u64)at + 1);
	if (run->dry_run)
		return 0;
	err = object_load(b, &c->id, req, o, &c->view.head, &c->root, &m);
	return err ? err : insert(c, &plan, &m, at);
}

/* A new chain around its first member. */
static int create(const struct run *run, const struct bpffs *b, struct chain *c, const struct first_member *f)
{
	struct attachment a;
	int err = attach_choose(&c->id, f->req->engine, f->req->mode, f->replace, &a);

	if (!err && !run->dry_run)
		err = chain_build(b, c, &a, f);
	if (err)
		return err;
	note(run, '+', &c->id, f->req->name);
	change_u64(run->changes, "position", 1);
	change_str(run->changes, "engine", "%s", engine_words[a.engine]);
	return 0;
}

/* After a failure: nothing of the attempt stays pinned. */
static int undo_failed(const struct run *run, const struct bpffs *b, const struct chain_id *id, int err)
{
	if (err && !run->dry_run)
		sweep_after(b, id);
	return err;
}

int chain_add(const struct run *run, const struct bpffs *b, const struct chain_id *id,
	      const struct chain_request *req)
{
	auto_chain struct chain c;
	auto_object struct object o = { 0 };
	struct first_member first = { .req = req, .o = &o };
	struct root_plan empty = { 0 };
	int i, err = open_for_change(run, b, id, &c);

	if (err)
		return err;
	i = c.exists ? find(&c.view, req->name) : -1;
	if (i >= 0)
		return update_member(run, &c, req, i);
	err = object_read(req, &o);
	if (!err)
		err = object_has_frags(id, req, &o, &first.has_frags);
	if (err)
		return err;
	err = c.exists ? add_to_existing(run, b, &c, req, &o) : wanted_index(req, &empty, -1);
	if (!err && !c.exists)
		err = create(run, b, &c, &first);
	return undo_failed(run, b, id, err);
}

static bool is_planned(const struct root_plan *plan, const char *name)
{
	for (int i = 0; i < plan->n; i++)
		if (!strcmp(plan->member[i].name, name))
			return true;
	return false;
}

/* Tell the built-in functions among those that go. */
static int leave(const struct bpffs *b, const struct chain *c, const struct root_plan *plan)
{
	int err = 0;

	for (int i = 0; !err && i < c->view.n; i++) {
		const struct root_desc *d = &c->view.member[i];
		const struct kf *kf = d->flags & ROOT_F_BUILTIN && !is_planned(plan, d->name) ? kf_find(d->name) : NULL;

		if (kf && kf->leave)
			err = kf->leave(b, d->instance, &c->id);
	}
	return err;
}

/* After members went: what only they held goes too. */
static int drop(const struct run *run, const struct bpffs *b, struct chain *c, const struct root_plan *plan)
{
	int err;

	if (run->dry_run)
		return 0;
	err = leave(b, c, plan);
	if (!err)
		err = commit(c, plan);
	if (!err)
		sweep_after(b, &c->id);
	return err;
}

int chain_remove(const struct run *run, const struct bpffs *b, const struct chain_id *id, const char *name)
{
	auto_chain struct chain c;
	struct root_plan plan;
	int i, err = open_for_change(run, b, id, &c);

	if (err)
		return err;
	i = c.exists ? find(&c.view, name) : -1;
	if (i < 0)
		return 0;
	note(run, '-', id, name);
	plan_from_view(&c.view, &plan);
	plan_drop(&plan, i);
	return drop(run, b, &c, &plan);
}

int chain_flush(const struct run *run, const struct bpffs *b, const struct chain_id *id)
{
	auto_chain struct chain c;
	struct root_plan plan = { 0 };
	int err = open_for_change(run, b, id, &c);

	if (err || !c.exists || !c.view.n)
		return err;
	for (int i = 0; i < c.view.n; i++)
		note(run, '-', id, c.view.member[i].name);
	return drop(run, b, &c, &plan);
}

int chain_detach(const struct run *run, const struct bpffs *b, const struct chain_id *id)
{
	const struct root_plan none = { 0 };
	auto_chain struct chain c;
	struct attachment a = { 0 };
	int err = open_for_change(run, b, id, &c);

	if (err || !c.exists)
		return err;
	for (int i = 0; i < c.view.n; i++)
		note(run, '-', id, c.view.member[i].name);
	note(run, '-', id, NULL);
	if (run->dry_run)
		return 0;
	a.engine = (enum engine)c.view.head.engine;
	a.mode = (enum xdp_mode)c.view.head.mode;
	err = leave(b, &c, &none);
	if (err)
		return err;
	err = attach_detach(id, &a, c.root_id, c.root.link);
	if (err)
		return err;
	root_close(&c.root);
	err = chain_unpin(b, c.dir);
	if (err)
		warn("%s/%s: could not be removed (%s); the next change does it", b->dir, c.dir, strerror(-err));
	sweep_after(b, id);
	return 0;
}

static void join(const struct root_desc *d, int n, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (int i = 0; i < n && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%s", i ? "," : "", d[i].name);
}

/* Does it name the members that there were before the last change took one out? To
 * leave one out that is there is a mistake, whenever it came. */
static bool names_removed(const struct chain *c, const struct names *order)
{
	struct root_view before;
	bool is_one_gone = false;

	if (root_read_previous(&c->root, &before) || before.n != order->n)
		return false;
	for (int i = 0; i < order->n; i++) {
		if (find(&before, order->name[i]) < 0)
			return false;
		is_one_gone |= find(&c->view, order->name[i]) < 0;
	}
	return is_one_gone;
}

/* The order does not name the members that there are: a mistake, or another command was
 * faster, between these words and the lock or the listing that they were made from. */
static int fail_other_members(const struct run *run, const struct chain *c, const struct names *order,
			      const char *members)
{
	const __u64 moment = 1000000;
	__u64 changed = c->exists ? c->view.head.changed_us : 0;
	bool is_overtaken = changed > run->started_us ||
			    (changed && changed + moment > run->started_us && names_removed(c, order));

	return fail(is_overtaken ? -E_LOCKED : -E_USAGE, "the %s chain of %s has %s%s; name each member once",
		    hook_words[c->id.hook], c->id.iface.name, *members ? members : "no members",
		    is_overtaken ? " since another l3afctl changed it just now" : "");
}

int chain_reorder(const struct run *run, const struct bpffs *b, const struct chain_id *id,
		  const struct names *order)
{
	auto_chain struct chain c;
	struct root_plan plan = { 0 };
	char from[ROOT_MEMBERS * 17], to[ROOT_MEMBERS * 17];
	int err = open_for_change(run, b, id, &c);

	if (err)
		return err;
	join(c.view.member, c.exists ? c.view.n : 0, from, sizeof(from));
	for (int i = 0; i < order->n; i++) {
		int at = c.exists ? find(&c.view, order->name[i]) : -1;

		if (at < 0 || order->n != c.view.n)
			return fail_other_members(run, &c, order, from);
		plan.member[i] = c.view.member[at];
		plan.prog[i] = -1;
	}
	plan.n = order->n;
	join(plan.member, plan.n, to, sizeof(to));
	if (!strcmp(from, to))
		return 0;
	note(run, '~', id, NULL);
	change_from_str(run->changes, "order", from, to);
	return run->dry_run ? 0 : commit(&c, &plan);
}

/* What a replaced member is loaded from when no object is named. */
static int complete_request(const struct root_desc *d, struct chain_request *req, char object[PATH_MAX])
{
	if (!req->instance)
		req->instance = d->instance;
	if (!req->object && !req->program && strlen(d->program) < sizeof(d->program) - 1)
		req->program = d->program; /* a longer one was cut */
	if (req->object || d->flags & ROOT_F_BUILTIN)
		return 0;
	if (d->flags & ROOT_F_ADOPTED)
		return fail(-E_USAGE, "%s: was adopted and has no object; name one: object FILE", d->name);
	if (!d->object[0])
		return fail(-E_USAGE, "%s: the path of its object was too long to keep; name it: object FILE", d->name);
	snprintf(object, PATH_MAX, "%s", d->object);
	req->object = object;
	return 0;
}

int chain_replace(const struct run *run, const struct bpffs *b, const struct chain_id *id,
		  const struct chain_request *request)
{
	auto_chain struct chain c;
	auto_object struct object o = { 0 };
	auto_member struct member m = { .prog = -1 };
	struct chain_request req = *request;
	struct root_plan plan;
	struct root_desc *d;
	char object[PATH_MAX];
	bool has_frags;
	int i, err = open_for_change(run, b, id, &c);

	if (err)
		return err;
	i = find_or_fail(&c, req.name);
	if (i < 0)
		return i;
	d = &c.view.member[i];
	err = complete_request(d, &req, object);
	if (!err)
		err = object_read(&req, &o);
	if (!err)
		err = object_has_frags(id, &req, &o, &has_frags);
	if (err)
		return err;
	if (d->prog_id && !memcmp(o.sha256, d->sha256, sizeof(o.sha256)) && !strcmp(req.instance, d->instance) &&
	    (!req.program || !strcmp(req.program, d->program)))
		return 0;
	note(run, '~', id, req.name);
	change_str(run->changes, "object", "%s", req.object ? req.object : "built-in");
	if (run->dry_run)
		return 0;
	if (!req.continue_mask)
		req.continue_mask = d->mask;
	err = object_load(b, id, &req, &o, &c.view.head, &c.root, &m);
	if (err)
		return undo_failed(run, b, id, err);
	plan_from_view(&c.view, &plan);
	m.desc.stat = d->stat;
	plan.member[i] = m.desc;
	plan.prog[i] = m.prog;
	return drop(run, b, &c, &plan);
}

static bool is_on_hook(const struct chain *c, __u32 prog_id)
{
	for (int i = 0; i < c->hook.n; i++)
		if (c->hook.prog[i].prog_id == prog_id)
			return true;
	return false;
}

int chain_adopt(const struct run *run, const struct bpffs *b, const struct chain_id *id,
		const struct chain_request *req, __u32 prog_id, const char *pin)
{
	auto_chain struct chain c;
	auto_member struct member m = { .prog = -1 };
	struct first_member first = { .req = req, .adopted = &m };
	struct root_plan plan;
	int i, at, err = open_for_change(run, b, id, &c);

	if (!err)
		err = object_adopt(id, req->name, prog_id, pin, &m);
	if (err)
		return err;
	if (req->continue_mask)
		m.desc.mask = req->continue_mask;
	i = c.exists ? find(&c.view, req->name) : -1;
	if (i >= 0 && c.view.member[i].prog_id == m.desc.prog_id)
		return 0;
	if (i >= 0)
		return fail(-EEXIST, "%s: is already a member of the chain, with program %u", req->name,
			    c.view.member[i].prog_id);
	if (is_on_hook(&c, m.desc.prog_id) && (c.exists || id->hook != HOOK_XDP))
		return fail(-EBUSY, "program %u is attached to %s of %s as well and would run twice; detach it there, "
			    "then adopt it by a pin", m.desc.prog_id, hook_words[id->hook], id->iface.name);
	if (!c.exists) {
		first.replace = id->hook == HOOK_XDP && is_on_hook(&c, m.desc.prog_id) ? m.desc.prog_id : 0;
		return undo_failed(run, b, id, create(run, b, &c, &first));
	}
	plan_from_view(&c.view, &plan);
	at = wanted_index(req, &plan, -1);
	if (at < 0)
		return at;
	if (plan.n == ROOT_MEMBERS)
		return fail(-E2BIG, "%s: the chain has %d members, the most there can be", id->iface.name, ROOT_MEMBERS);
	note(run, '+', id, req->name);
	change_u64(run->changes, "position", (__u64)at + 1);
	return run->dry_run ? 0 : insert(&c, &plan, &m, at);
}

int chain_has(const struct bpffs *b, const struct chain_id *id, const char *name)
{
	auto_chain struct chain c;
	int err = chain_open(b, BPFFS_READ, id, &c);

	return err ? err : c.exists && find(&c.view, name) >= 0;
}
