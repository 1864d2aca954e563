/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agents.h"
#include "cleanup.h"
#include "flowtable.h"
#include "kf.h"
#include "l2tps.h"
#include "lbtable.h"
#include "limitrules.h"
#include "mirrortable.h"

#include "agent.skel.h"
#include "connlimit.skel.h"
#include "flows.skel.h"
#include "l2tp.skel.h"
#include "lb.skel.h"
#include "mirror.skel.h"
#include "mirrortarget.skel.h"
#include "ratelimit.skel.h"

int kf_probe_atomics(const char *what)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 0, .off = -8 },
		{ .code = BPF_STX | BPF_ATOMIC | BPF_DW, .dst_reg = 10, .src_reg = 0, .off = -8, .imm = BPF_CMPXCHG },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "l3af_probe", "GPL", code, sizeof(code) / sizeof(code[0]), NULL);

	if (fd >= 0)
		return close(fd);
	if (fd == -EINVAL)
		return fail(-EOPNOTSUPP, "%s need BPF atomic operations, which this kernel does not have "
			    "(Linux 5.12 and later do)", what);
	return fail_errno(fd, "cannot load a BPF program");
}

/* struct limit_place is the whole of its section. */
static int prepare_place(const struct bpffs *b, const char *instance, struct bpf_object *obj,
			 const struct chain_id *at)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, ".rodata.place");
	const struct limit_place place = {
		.netns = at->netns.id,
		.ifindex = (__u32)at->iface.index,
	};
	int err = map ? bpf_map__set_initial_value(map, &place, sizeof(place)) : -ENOENT;

	(void)b;
	(void)instance;
	return err ? fail_errno(err, "the constants of the built-in object") : 0;
}

static const struct kf ratelimit = {
	.name = "ratelimit",
	.help = "at most so many new TCP connections per time",
	.hooks = 1 << HOOK_XDP,
	.bytes = ratelimit_skel__elf_bytes,
	.prepare = prepare_place,
};

static const struct kf connlimit = {
	.name = "connlimit",
	.help = "at most so many TCP connections open at a time",
	.hooks = 1 << HOOK_XDP,
	.bytes = connlimit_skel__elf_bytes,
	.prepare = prepare_place,
	.instance_up = limits_watch,
};

static const struct kf flows = {
	.name = "flows",
	.help = "count packets by flow, for export by IPFIX",
	.hooks = 1 << HOOK_TC_INGRESS | 1 << HOOK_TC_EGRESS,
	.bytes = flows_skel__elf_bytes,
	.prepare = flowtable_prepare,
	.keeps = flowtable_keeps,
};

static const struct kf lb = {
	.name = "lb",
	.help = "send connections to backends by GUE, which answer the client themselves",
	.hooks = 1 << HOOK_XDP | 1 << HOOK_TC_EGRESS,
	.bytes = lb_skel__elf_bytes,
	.prepare = lb_prepare,
	.keeps = lb_keeps,
};

static const struct kf agent = {
	.name = AGENT_KF,
	.help = "packets of a load balancer out of their tunnels",
	.hooks = 1 << HOOK_XDP | 1 << HOOK_TC_INGRESS | 1 << HOOK_TC_EGRESS,
	.bytes = agent_skel__elf_bytes,
	.prepare = agent_prepare,
	.keeps = agent_keeps,
};

static const struct kf mirror = {
	.name = MIRROR_KF,
	.help = "clones of packets to a target, which filters choose",
	.hooks = 1 << HOOK_TC_INGRESS | 1 << HOOK_TC_EGRESS,
	.bytes = mirror_skel__elf_bytes,
	.prepare = mirror_prepare,
};

static const struct kf mirrortarget = {
	.name = MIRROR_TARGET_KF,
	.help = "clones into tunnels, where they leave to a target",
	.hooks = 1 << HOOK_TC_EGRESS,
	.bytes = mirrortarget_skel__elf_bytes,
	.prepare = mirrortarget_prepare,
	.leave = mirrortarget_leave,
};

static const struct kf l2tp = {
	.name = L2TP_KF,
	.help = "Ethernet frames through L2TPv3 pseudowires",
	.hooks = 1 << HOOK_TC_INGRESS,
	.bytes = l2tp_skel__elf_bytes,
	.prepare = l2tp_prepare,
	.keeps = l2tp_keeps,
};

const struct kf *const kf_all[] = { &ratelimit, &connlimit, &flows, &lb, &agent, &mirror, &mirrortarget, &l2tp, NULL };

const struct kf *kf_find(const char *name)
{
	for (const struct kf *const *kf = kf_all; *kf; kf++)
		if (!strcmp((*kf)->name, name))
			return *kf;
	return NULL;
}

int kf_map(const struct bpffs *b, const char *instance, const char *map)
{
	char path[128];

	snprintf(path, sizeof(path), "kf/%s/%s", instance, map);
	return bpffs_get(b, path);
}

int kf_has_dir(const struct bpffs *b, const char *instance, const char *dir)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "kf/%s/%s", instance, dir);
	if (b->fd < 0)
		return 0;
	if (!fstatat(b->fd, path, &st, AT_SYMLINK_NOFOLLOW))
		return S_ISDIR(st.st_mode);
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

bool kf_runs_on(int map, __u32 prog_id)
{
	auto_fd int prog = bpf_prog_get_fd_by_id(prog_id);
	struct bpf_map_info map_info = { 0 };
	struct bpf_prog_info info = { 0 };
	__u32 ids[32], len = sizeof(map_info), prog_len = sizeof(info);

	info.nr_map_ids = sizeof(ids) / sizeof(ids[0]);
	info.map_ids = (__u64)(uintptr_t)ids;
	if (prog < 0 || bpf_obj_get_info_by_fd(map, &map_info, &len) || bpf_obj_get_info_by_fd(prog, &info, &prog_len))
		return true;
	for (__u32 i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++)
		if (ids[i] == map_info.id)
			return true;
	return false;
}

static int map_prepare(const struct bpffs *b, const char *instance, struct bpf_map *map)
{
	int err = bpf_map__set_pin_path(map, NULL), fd;

	if (err || bpf_map__is_internal(map))
		return err;
	fd = kf_map(b, instance, bpf_map__name(map));
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	err = bpf_map__reuse_fd(map, fd);
	close(fd);
	return err;
}

static int maps_pin(const struct bpffs *b, const char *instance, struct bpf_object *obj)
{
	struct bpf_map *map;
	char path[128];
	int err;

	snprintf(path, sizeof(path), "kf/%s", instance);
	err = bpffs_mkdir(b, path);
	bpf_object__for_each_map(map, obj) {
		if (err || bpf_map__is_internal(map))
			continue;
		snprintf(path, sizeof(path), "kf/%s/%s", instance, bpf_map__name(map));
		err = bpffs_pin(b, bpf_map__fd(map), path);
		if (err == -EEXIST)
			err = 0;
	}
	return err;
}

int kf_instance(const struct bpffs *b, const struct kf *kf, const char *instance,
		const char *const *programs, struct bpf_object **obj)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = kf->name);
	const void *bytes;
	struct bpf_program *prog;
	struct bpf_map *map;
	size_t size;
	int err = 0;

	bytes = kf->bytes(&size);
	*obj = bpf_object__open_mem(bytes, size, &opts);
	if (!*obj)
		return -errno;
	bpf_object__for_each_program(prog, *obj) {
		bool is_wanted = false;

		for (const char *const *p = programs; *p; p++)
			is_wanted = is_wanted || !strcmp(*p, bpf_program__name(prog));
		err = err ? err : bpf_program__set_autoload(prog, is_wanted);
	}
	bpf_object__for_each_map(map, *obj)
		err = err ? err : map_prepare(b, instance, map);
	if (!err)
		err = bpf_object__load(*obj);
	if (!err)
		err = maps_pin(b, instance, *obj);
	if (err) {
		bpf_object__close(*obj);
		*obj = NULL;
	}
	return err;
}
