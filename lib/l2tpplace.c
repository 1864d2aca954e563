/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "chainstate.h"
#include "cleanup.h"
#include "kf.h"
#include "l2tpplace.h"
#include "link.h"
#include "out.h"
#include "root.h"

/*
 * The program in the chain.
 */
struct member {
	const struct l2tps *t;
	bool is_there, is_ours;
};

static int member_look(const struct chain_row *row, void *arg)
{
	struct member *m = arg;

	if (!row->member || !row->member->prog_id || strcmp(row->member->name, L2TP_KF))
		return 0;
	m->is_there = true;
	/* one whose maps' pins were removed by hand runs on others */
	m->is_ours = m->t->places >= 0 && kf_runs_on(m->t->places, row->member->prog_id);
	return 0;
}

static int program_up(const struct run *run, const struct bpffs *b, const struct l2tps *t, const struct chain_id *at)
{
	const struct chain_request req = { .name = L2TP_KF, .instance = L2TP_KF };
	struct member m = { .t = t };
	int err = chain_walk(b, &at->iface, HOOK_TC_INGRESS, member_look, &m);

	if (!err && m.is_there && !m.is_ours)
		err = chain_remove(run, b, at, L2TP_KF);
	return err || m.is_ours ? err : chain_add(run, b, at, &req);
}

/* Changes of an interface that is part of a session go unsaid. */
static int silently(const struct run *run, const struct bpffs *b, const struct l2tps *t, const struct chain_id *at,
		    bool is_up)
{
	auto_changes struct changes *none = changes_new();
	struct run silent = *run;

	silent.changes = none;
	if (!none)
		return fail_errno(-ENOMEM, "%s", at->iface.name);
	return is_up ? program_up(&silent, b, t, at) : chain_remove(&silent, b, at, L2TP_KF);
}

/*
 * Places.
 */
static bool is_access(__u32 flags)
{
	return flags & (L2TP_ACCESS | L2TP_PLAIN | L2TP_VLAN | L2TP_QINQ);
}

/* Frames for others than this host arrive. A helper's other end sends to whom it wants. */
static int promiscuous_up(const struct run *run, struct l2tps *t, int place, const struct iface *dev)
{
	struct l2tp_place p = t->place[place];
	struct link_info info;
	int err = link_get(dev, &info);

	if (err || run->dry_run || info.is_promiscuous)
		return err;
	p.is_promiscuous = 1;
	if (!t->place[place].is_promiscuous)
		err = l2tps_place_write(t, place, &p);
	return err ? err : link_set_promiscuous(dev, true);
}

static void place_init(const struct chain_id *at, bool is_helper, struct l2tp_place *p)
{
	*p = (struct l2tp_place){
		.netns = at->netns.id,
		.is_cookie = at->netns.is_cookie,
		.since = (__u64)time(NULL),
		.ifindex = (__u32)at->iface.index,
		.is_helper = is_helper,
	};
	memcpy(p->name, at->iface.name, sizeof(p->name));
}

int l2tp_place_up(const struct run *run, const struct bpffs *b, struct l2tps *t, const struct chain_id *at,
		  __u32 flags, bool is_helper)
{
	int place = l2tps_place(t, &at->netns, at->iface.index), err = 0;
	struct l2tp_place p;

	if (place >= 0)
		p = t->place[place];
	else
		place_init(at, is_helper, &p);
	if (place < 0)
		place = l2tps_place_free(t);
	if (place < 0)
		return fail(place, "pseudowires have %d interfaces already, no more fit", L2TP_PLACES);
	p.flags |= flags;
	if (!run->dry_run && memcmp(&p, &t->place[place], sizeof(p)))
		err = l2tps_place_write(t, place, &p);
	if (!err && is_access(flags) && !is_helper)
		err = promiscuous_up(run, t, place, &at->iface);
	if (err)
		return fail_errno(err, "%s", at->iface.name);
	err = is_helper ? silently(run, b, t, at, true) : program_up(run, b, t, at);
	return err ? err : place;
}

__u32 l2tp_place_flags(const struct l2tps *t, int place)
{
	__u32 flags = 0;

	for (int i = 0; i < t->n; i++) {
		const struct l2tp_session *s = &t->session[i];

		if (s->underlay == (__u32)place)
			flags |= L2TP_UNDERLAY;
		if (s->access == (__u32)place)
			flags |= L2TP_ACCESS | (s->vlan[0] == L2TP_NO_VLAN ? L2TP_PLAIN :
						s->vlan[1] == L2TP_NO_VLAN ? L2TP_VLAN : L2TP_QINQ);
	}
	return flags;
}

/* 1: the interface is still there; 0: it is gone. */
static int place_dev(const struct l2tp_place *p, struct iface *dev)
{
	int err = iface_by_index((int)p->ifindex, dev);

	if (err)
		*dev = (struct iface){ 0 };
	return err == -ENODEV ? 0 : err ? fail_errno(err, "interface %u", p->ifindex) : 1;
}

static int promiscuous_down(const struct run *run, struct l2tps *t, int place, const struct iface *dev)
{
	struct l2tp_place p = t->place[place];
	int err;

	if (!p.is_promiscuous || run->dry_run)
		return 0;
	err = link_set_promiscuous(dev, false);
	p.is_promiscuous = 0;
	if (!err)
		err = l2tps_place_write(t, place, &p);
	return err ? fail_errno(err, "%s", dev->name) : 0;
}

static int place_drop(const struct run *run, const struct bpffs *b, struct l2tps *t, const struct netns *self,
		      int place, const struct iface *dev)
{
	const struct l2tp_place none = { 0 }, p = t->place[place];
	const struct chain_id at = { .netns = *self, .iface = *dev, .hook = HOOK_TC_INGRESS };
	int err = 0;

	if (dev->index)
		err = p.is_helper ? silently(run, b, t, &at, false) : chain_remove(run, b, &at, L2TP_KF);
	if (!err && dev->index)
		err = promiscuous_down(run, t, place, dev);
	if (err || run->dry_run)
		return err;
	err = dev->index && p.is_helper ? link_remove(dev) : 0;
	if (!err)
		err = l2tps_place_write(t, place, &none);
	if (!err && p.is_helper)
		err = chain_sweep(b, self);
	return err ? fail_errno(err, "%.15s", p.name) : 0;
}

static int place_settle(const struct run *run, const struct bpffs *b, struct l2tps *t, const struct netns *self,
			int place)
{
	struct l2tp_place p = t->place[place];
	__u32 flags = l2tp_place_flags(t, place);
	struct iface dev = { 0 };
	int is_there, err = 0;

	if (flags == p.flags)
		return 0;
	is_there = place_dev(&p, &dev);
	if (is_there < 0)
		return is_there;
	if (!flags)
		return place_drop(run, b, t, self, place, &dev);
	p.flags = flags;
	if (!run->dry_run)
		err = l2tps_place_write(t, place, &p);
	if (err)
		return fail_errno(err, "%.15s", p.name);
	return is_there && !is_access(flags) ? promiscuous_down(run, t, place, &dev) : 0;
}

int l2tp_places_settle(const struct run *run, const struct bpffs *b, struct l2tps *t, const struct netns *self)
{
	int err = 0;

	for (int i = 0; !err && t->place && i < L2TP_PLACES; i++)
		if (t->place[i].since && t->place[i].netns == self->id)
			err = place_settle(run, b, t, self, i);
	return err;
}

/*
 * Pairs.
 */
void l2tp_helper_name(const char *netdev, char helper[NAME_LEN])
{
	__u32 hash = 2166136261U; /* FNV-1a */

	for (const char *c = netdev; *c; c++)
		hash = (hash ^ (__u8)*c) * 16777619U;
	snprintf(helper, NAME_LEN, "l3af%08x", hash);
}

/* The kernel tells next hops of packets only that come in where it forwards. The helper has no
 * address, and leaves no packet to the stack. */
static int forwarding_on(const struct iface *i)
{
	static const char *const families[] = { "ipv4", "ipv6" };
	char path[96];

	for (int f = 0; f < 2; f++) {
		snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%.15s/forwarding", families[f], i->name);
		auto_fd int fd = open(path, O_WRONLY | O_CLOEXEC);

		if (fd < 0 ? errno != ENOENT && errno != EROFS && errno != EACCES : write(fd, "1\n", 2) < 0)
			return -errno;
	}
	return 0;
}

/* The helper sends nothing of its own into the operator's network. */
static int pair_ready(const struct iface *netdev, const struct iface *helper)
{
	int err = link_set_whole(netdev);

	if (!err)
		err = link_set_multicast(helper, false);
	if (!err)
		err = link_set_no_address(helper);
	if (!err)
		err = forwarding_on(helper);
	return err ? err : link_set_up(helper, true);
}

int l2tp_pair_make(struct l2tps *t, const struct netns *self, const char *netdev, unsigned mtu, struct iface *helper)
{
	struct iface dev;
	int err;

	l2tp_helper_name(netdev, t->conf.making);
	t->conf.making_netns = self->id;
	err = l2tps_config_write(t);
	if (err)
		return fail_errno(err, "kf/" L2TP_KF);
	err = link_make_pair(netdev, t->conf.making, mtu);
	if (err) {
		bool is_taken = err == -EEXIST && !iface_by_name(netdev, &dev);

		t->conf.making[0] = '\0';
		return is_taken ? fail(err, "there is an interface %s; give dev %s to use it", netdev, netdev) :
			fail_errno(err, "cannot make interface %s", netdev);
	}
	err = iface_by_name(netdev, &dev);
	if (!err)
		err = iface_by_name(t->conf.making, helper);
	if (!err)
		err = pair_ready(&dev, helper);
	return err ? fail_errno(err, "%s", netdev) : 0;
}

int l2tp_pair_settle(struct l2tps *t, const struct netns *self)
{
	struct iface helper;
	int err;

	if (!t->conf.making[0] || t->conf.making_netns != self->id)
		return 0;
	err = iface_by_name(t->conf.making, &helper);
	if (!err && l2tps_place(t, self, helper.index) < 0)
		err = link_remove(&helper);
	if (!err || err == -ENODEV)
		memset(t->conf.making, 0, sizeof(t->conf.making));
	return err && err != -ENODEV ? fail_errno(err, "%s", t->conf.making) : 0;
}

/* The helper comes last: where it has the MTU, both have. */
static int pair_mtu(const struct iface *helper, unsigned mtu)
{
	struct link_info info;
	struct iface dev;
	int err = link_get(helper, &info);

	if (err || info.mtu == mtu)
		return err;
	if (info.peer && !iface_by_index(info.peer, &dev))
		err = link_set_mtu(&dev, mtu);
	return err ? err : link_set_mtu(helper, mtu);
}

int l2tp_pairs_mtu(const struct l2tps *t, const struct netns *self)
{
	struct iface helper;
	int err = 0;

	for (int i = 0; !err && i < t->n; i++) {
		const struct l2tp_session *s = &t->session[i];

		if (!(s->flags & L2TP_NETDEV) || t->place[s->access].netns != self->id ||
		    iface_by_index((int)s->access_ifindex, &helper))
			continue;
		err = pair_mtu(&helper, s->mtu);
		if (err)
			fail_errno(err, "mtu of %.15s", s->dev);
	}
	return err;
}
