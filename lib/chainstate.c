/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chainstate.h"
#include "cleanup.h"
#include "kf.h"

static const char *const hook_dirs[] = { "xdp", "tcin", "tcout" };

void chain_dir(const struct chain_id *id, char dir[CHAIN_DIR_LEN])
{
	snprintf(dir, CHAIN_DIR_LEN, "chain/%llu/%d/%s", id->netns.id, id->iface.index, hook_dirs[id->hook]);
}

int chain_unpin(const struct bpffs *b, const char *dir)
{
	int err = bpffs_remove_tree(b, dir);

	if (!err)
		bpffs_prune(b, dir);
	return err;
}

void chain_close(struct chain *c)
{
	root_close(&c->root);
}

/* Calls fn with the directory of every pinned chain of every network namespace until it
 * returns non-zero, and returns that. */
static int each_dir(const struct bpffs *b, int (*fn)(const char *dir, void *arg), void *arg)
{
	char path[256], **outer = NULL, **inner = NULL, **hooks = NULL;
	int n = 0, m = 0, k = 0, ret = bpffs_list(b, "chain", &outer, &n);

	for (int i = 0; !ret && i < n; i++) {
		snprintf(path, sizeof(path), "chain/%s", outer[i]);
		ret = bpffs_list(b, path, &inner, &m);
		for (int j = 0; !ret && j < m; j++) {
			snprintf(path, sizeof(path), "chain/%s/%s", outer[i], inner[j]);
			ret = bpffs_list(b, path, &hooks, &k);
			for (int l = 0; !ret && l < k; l++) {
				snprintf(path, sizeof(path), "chain/%s/%s/%s", outer[i], inner[j], hooks[l]);
				ret = fn(path, arg);
			}
			bpffs_list_free(hooks, k);
		}
		bpffs_list_free(inner, m);
	}
	bpffs_list_free(outer, n);
	return ret;
}

struct search {
	const struct bpffs *b;
	__u32 prog_id;
	char dir[CHAIN_DIR_LEN];
};

static int match_root(const char *dir, void *arg)
{
	struct search *s = arg;
	char path[256];
	auto_fd int fd = -1;
	__u32 id = 0;
	int err;

	snprintf(path, sizeof(path), "%s/root", dir);
	fd = bpffs_get(s->b, path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = root_prog_id(fd, &id);
	if (err || id != s->prog_id)
		return err;
	snprintf(s->dir, sizeof(s->dir), "%s", dir);
	return 1;
}

static bool on_hook(const struct chain *c, __u32 prog_id)
{
	for (int i = 0; i < c->hook.n; i++)
		if (c->hook.prog[i].prog_id == prog_id)
			return true;
	return false;
}

/* Is the pinned root attached to this hook? Its program may be the one thing missing. */
static int check_attached(struct chain *c)
{
	int ret = 0;

	if (c->root.prog >= 0) {
		ret = root_prog_id(c->root.prog, &c->root_id);
		c->exists = !ret && on_hook(c, c->root_id);
		return ret;
	}
	for (int i = 0; !ret && i < c->hook.n; i++) {
		if (!c->hook.prog[i].is_root)
			continue;
		ret = root_claim(&c->root, c->hook.prog[i].prog_id);
		if (ret == 1)
			c->root_id = c->hook.prog[i].prog_id;
	}
	c->exists = ret == 1;
	return ret < 0 ? ret : 0;
}

static int make_parent(const struct bpffs *b, const char *dir)
{
	char parent[CHAIN_DIR_LEN];

	snprintf(parent, sizeof(parent), "%s", dir);
	*strrchr(parent, '/') = '\0';
	return bpffs_mkdir(b, parent);
}

/* Is there still a program with this id? Its last reference may go only some grace
 * periods after the file that held it (bpffs before 6.9). */
static int is_there_still(__u32 id)
{
	for (int i = 0; i < 8; i++) {
		auto_fd int fd = bpf_prog_get_fd_by_id(id);
		int err;

		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
		close(take_fd(&fd));
		err = root_grace();
		if (err)
			return err;
	}
	return 1;
}

/* Does anything but its pin hold the root? An interface that moved to another network
 * namespace does. The program is let go for a moment; its maps stay pinned, so that a
 * chain that runs elsewhere goes on. */
static int is_held_elsewhere(const struct bpffs *b, const char *dir)
{
	char path[CHAIN_DIR_LEN + 8];
	auto_fd int fd = -1;
	__u32 id = 0;
	int err, ret;

	snprintf(path, sizeof(path), "%s/root", dir);
	fd = bpffs_get(b, path);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = root_prog_id(fd, &id);
	if (!err)
		err = bpffs_unlink(b, path);
	if (err)
		return err;
	close(take_fd(&fd));
	ret = is_there_still(id);
	if (ret <= 0)
		return ret;
	fd = bpf_prog_get_fd_by_id(id);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	err = bpffs_pin(b, fd, path);
	return err ? err : 1;
}

/* Is the root attached to any interface of any network namespace? 1, 0, or an error. */
static int is_alive(const struct bpffs *b, const char *dir)
{
	char path[CHAIN_DIR_LEN + 8];
	auto_fd int link = -1;
	int ifindex = 0, err;

	snprintf(path, sizeof(path), "%s/link", dir);
	link = bpffs_get(b, path);
	if (link == -ENOENT)
		return is_held_elsewhere(b, dir);
	if (link < 0)
		return link;
	err = link_ifindex(link, &ifindex);
	return err ? err : ifindex != 0;
}

/* The interface took its chain along into another network namespace, and another one
 * has its place here: keep the pins, or the kernel would take the chain off there. */
static int put_aside(const struct bpffs *b, struct chain *c)
{
	char path[CHAIN_DIR_LEN + 8], aside[CHAIN_DIR_LEN];
	auto_fd int root = -1;
	__u32 id = 0;
	int err;

	snprintf(path, sizeof(path), "%s/root", c->dir);
	root = bpffs_get(b, path);
	err = root < 0 ? root : root_prog_id(root, &id);
	if (err)
		return err;
	snprintf(aside, sizeof(aside), "chain/moved/%u/%s", id, hook_dirs[c->id.hook]);
	err = make_parent(b, aside);
	if (!err)
		err = bpffs_remove_tree(b, aside);
	return err ? err : bpffs_rename(b, c->dir, aside);
}

/* Pins without an attached root: a killed run, a detached root or a deleted interface
 * left them. */
static int clear_dead(const struct bpffs *b, enum bpffs_access access, struct chain *c)
{
	char **names = NULL;
	int n = 0, ret = bpffs_list(b, c->dir, &names, &n);

	bpffs_list_free(names, n);
	root_close(&c->root);
	if (!ret && n && access == BPFFS_READ)
		warn("%s: what is pinned for its %s chain is not attached to it (its root was taken off, or the "
		     "interface is another one now); the next change clears it",
		     c->id.iface.name, hook_words[c->id.hook]);
	if (!ret && access == BPFFS_CHANGE) {
		ret = is_alive(b, c->dir);
		if (ret >= 0)
			ret = ret ? put_aside(b, c) : chain_unpin(b, c->dir);
	}
	return ret ? fail_errno(ret, "cannot clear %s/%s", b->dir, c->dir) : 0;
}

/* A root runs here and is not pinned here: its interface came from another network
 * namespace, or pins were removed by hand. */
static int recover(const struct bpffs *b, enum bpffs_access access, struct chain *c, __u32 prog_id)
{
	struct search s = { .b = b, .prog_id = prog_id };
	int err, found = each_dir(b, match_root, &s);

	if (found < 0)
		return found;
	root_close(&c->root);
	if (found) {
		err = root_open(&c->root, b, s.dir);
		if (!err && access == BPFFS_CHANGE && strcmp(s.dir, c->dir)) {
			err = make_parent(b, c->dir);
			if (!err)
				err = bpffs_remove_tree(b, c->dir);
			if (!err)
				err = bpffs_rename(b, s.dir, c->dir);
			root_moved(&c->root, c->dir);
		} else if (!err) {
			snprintf(c->dir, sizeof(c->dir), "%s", s.dir);
		}
		if (err != -ENOENT) {
			c->exists = !err;
			return err;
		}
		root_close(&c->root);
	}
	err = root_open_id(&c->root, prog_id);
	if (err == -ENOENT) {
		root_close(&c->root);
		return 0; /* not a root of ours, whatever its name */
	}
	if (!err && access == BPFFS_CHANGE)
		err = root_pin(&c->root, b, c->dir);
	c->exists = !err;
	return err;
}

static int open_pinned(const struct bpffs *b, struct chain *c)
{
	int err = root_open(&c->root, b, c->dir);

	if (!err)
		err = check_attached(c);
	if (!c->exists)
		root_close(&c->root);
	if (err == -EINVAL)
		return fail(err, "%s/%s: holds something else than the maps of a chain; remove it (rm -r), and a "
			    "chain that runs is found again by its program", b->dir, c->dir);
	return err && err != -ENOENT ? fail_errno(err, "%s/%s", b->dir, c->dir) : 0;
}

int chain_open(const struct bpffs *b, enum bpffs_access access, const struct chain_id *id, struct chain *c)
{
	int err;

	memset(c, 0, sizeof(*c));
	chain_init(c);
	c->id = *id;
	chain_dir(id, c->dir);
	err = attach_query(id, &c->hook);
	if (!err)
		err = open_pinned(b, c);
	if (err)
		return err;
	for (int i = 0; !c->exists && i < c->hook.n; i++) {
		if (!c->hook.prog[i].is_root)
			continue;
		c->root_id = c->hook.prog[i].prog_id;
		err = recover(b, access, c, c->root_id);
		if (err)
			return fail_errno(err, "%s: cannot recover the %s chain of program %u", id->iface.name,
					  hook_words[id->hook], c->root_id);
	}
	if (!c->exists)
		return clear_dead(b, access, c);
	if (access == BPFFS_CHANGE && c->root.prog >= 0)
		err = root_pin(&c->root, b, c->dir);
	if (!err)
		err = root_read(&c->root, &c->view);
	if (!err && c->view.head.abi != ROOT_ABI)
		return fail(-EPROTO, "%s: the %s chain has layout %u, this l3afctl knows %u", id->iface.name,
			    hook_words[id->hook], c->view.head.abi, ROOT_ABI);
	return err ? fail_errno(err, "%s: cannot read the %s chain", id->iface.name, hook_words[id->hook]) : 0;
}

/* A run was killed before its last rmdir. */
static int is_empty(const struct bpffs *b, const char *dir)
{
	char **names = NULL;
	int n = 0, err = bpffs_list(b, dir, &names, &n);

	bpffs_list_free(names, n);
	return err ? err : n == 0;
}

struct sweep {
	const struct bpffs *b;
	char here[32];  /* chain/<netns>/ of this network namespace */
};

/* Chains of interfaces that this network namespace no longer has, and of interfaces
 * that are gone anywhere as far as a link says so. */
static int sweep_dir(const char *dir, void *arg)
{
	const struct sweep *s = arg;
	bool is_here = !strncmp(dir, s->here, strlen(s->here));
	char path[CHAIN_DIR_LEN + 8];
	struct iface iface;
	int ifindex, ret = is_empty(s->b, dir);

	if (ret)
		return ret < 0 ? ret : chain_unpin(s->b, dir);
	if (is_here) {
		if (sscanf(dir + strlen(s->here), "%d/", &ifindex) != 1)
			return 0; /* not a directory of ours */
		ret = iface_by_index(ifindex, &iface);
		if (ret != -ENODEV)
			return ret;
	} else if (strncmp(dir, "chain/moved/", 12)) {
		auto_fd int link = -1;

		snprintf(path, sizeof(path), "%s/link", dir);
		link = bpffs_get(s->b, path);
		if (link < 0)
			return link == -ENOENT ? 0 : link;
	}
	ret = is_alive(s->b, dir);
	return ret < 0 ? ret : ret ? 0 : chain_unpin(s->b, dir);
}

struct instances {
	const struct bpffs *b;
	char **name;
	int *members; /* that run on its maps */
	int n;
};

static int count_members(const char *dir, void *arg)
{
	struct instances *all = arg;
	auto_root struct root r;
	auto_free struct root_view *v = calloc(1, sizeof(*v));
	int err;

	if (!v)
		return -ENOMEM;
	root_init(&r);
	err = root_open(&r, all->b, dir);
	if (!err)
		err = root_read(&r, v);
	for (int i = 0; !err && i < v->n; i++)
		for (int j = 0; j < all->n; j++)
			all->members[j] += !strcmp(all->name[j], v->member[i].instance);
	return err;
}

int chain_instance_members(const struct bpffs *b, const char *instance)
{
	auto_free char *name = strdup(instance);
	int members = 0;
	struct instances one = { .b = b, .name = &name, .members = &members, .n = 1 };
	int err = name ? each_dir(b, count_members, &one) : -ENOMEM;

	return err ? err : members;
}

/* What a built-in function keeps for an operator outlives its members: settings in the
 * default instance, and in any what the function says. */
static int outlives_members(const struct bpffs *b, const char *instance)
{
	int keeps = kf_find(instance) != NULL;

	for (const struct kf *const *kf = kf_all; !keeps && *kf; kf++)
		if ((*kf)->keeps)
			keeps = (*kf)->keeps(b, instance);
	return keeps;
}

static int sweep_instance(const struct bpffs *b, const char *instance)
{
	int keep = outlives_members(b, instance);
	char path[128];

	snprintf(path, sizeof(path), "kf/%s", instance);
	return keep < 0 ? keep : keep ? 0 : bpffs_remove_tree(b, path);
}

static int sweep_instances(const struct bpffs *b)
{
	auto_free int *members = NULL;
	struct instances all = { .b = b };
	int err = bpffs_list(b, "kf", &all.name, &all.n);

	if (!err && all.n) {
		all.members = members = calloc((size_t)all.n, sizeof(*members));
		err = members ? each_dir(b, count_members, &all) : -ENOMEM;
	}
	for (int i = 0; !err && i < all.n; i++)
		if (!all.members[i])
			err = sweep_instance(b, all.name[i]);
	bpffs_list_free(all.name, all.n);
	/* pins removed by hand make a chain unreadable here: then nothing is swept */
	return err == -ENOENT ? 0 : err;
}

int chain_sweep(const struct bpffs *b, const struct netns *ns)
{
	struct sweep s = { .b = b };
	int err;

	snprintf(s.here, sizeof(s.here), "chain/%llu/", ns->id);
	err = each_dir(b, sweep_dir, &s);
	return err ? err : sweep_instances(b);
}
