/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_MIRRORLOAD_H
#define TESTS_MIRRORLOAD_H

/* mirror and mirrortarget on maps of their own, without the control plane: one place, one target, a
 * filter that all packets match. For one source file each: everything is static. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "matcher.h"
#include "mirror.h"

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	exit(2);
}

struct setting {
	enum mirror_encap encap;
	bool v6, is_checksum;
	unsigned snaplen;
	unsigned variant;     /* of GUE */
};

static struct {
	struct bpf_object *mirror, *target;
	struct mirror_config *config;
	struct mirror_target *targets;
	struct mirror_state *state;
	struct mirror_set *set;
	int sets, stats, prog;
	unsigned ifindex, copy;
} x;

static int map_fd(struct bpf_object *obj, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(obj, name);

	if (fd < 0)
		die(name);
	return fd;
}

static void *map_memory(int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

static struct bpf_object *object_load(const char *dir, const char *name, struct bpf_object *maps_of)
{
	char path[256];
	struct bpf_object *obj;
	struct bpf_map *map;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	obj = bpf_object__open_file(path, NULL);
	if (!obj)
		die(path);
	bpf_object__for_each_map(map, obj) {
		int fd = maps_of ? bpf_object__find_map_fd_by_name(maps_of, bpf_map__name(map)) : -1;

		if (fd >= 0 && bpf_map__reuse_fd(map, fd))
			die(bpf_map__name(map));
	}
	if (bpf_object__load(obj))
		die(path);
	return obj;
}

static int set_map(const char *name, enum bpf_map_type type, __u32 size, __u32 n, __u32 flags)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags);
	int fd = bpf_map_create(type, name, 4, size, n, &opts);

	if (fd < 0)
		die(name);
	return fd;
}

static const struct match_rule *rule_get(int i, void *arg)
{
	(void)arg;
	return &x.set->filter[i].rule;
}

static void maps_fill(void)
{
	__u32 zero = 0;

	x.config = map_memory(map_fd(x.mirror, "config"), sizeof(*x.config));
	x.targets = map_memory(map_fd(x.mirror, "targets"), 2 * MIRROR_TARGETS * sizeof(*x.targets));
	x.state = map_memory(map_fd(x.mirror, "state"), MIRROR_TARGETS * sizeof(*x.state));
	x.sets = set_map("set", BPF_MAP_TYPE_ARRAY, sizeof(struct mirror_set), 1, BPF_F_MMAPABLE);
	x.stats = set_map("stat", BPF_MAP_TYPE_PERCPU_ARRAY, sizeof(struct mirror_stat), MIRROR_STATS, 0);
	x.set = map_memory(x.sets, sizeof(*x.set));
	x.set->filter[0].number = 10;
	x.set->filter[0].rule.directions = 3;
	if (match_compile(rule_get, NULL, 1, &x.set->match))
		die("match_compile");
	if (bpf_map_update_elem(map_fd(x.mirror, "sets"), &zero, &x.sets, 0) ||
	    bpf_map_update_elem(map_fd(x.mirror, "stats"), &zero, &x.stats, 0))
		die("maps");
	x.config->abi = MIRROR_ABI;
	x.config->targets = 1;
}

/* Octets between UDP and what is inside. */
static inline unsigned tunnel_len(const struct setting *s)
{
	return s->encap == MIRROR_VXLAN ? 8 : s->variant ? 0 : 4;
}

/* Another copy each time, as the control plane does. */
static void target_set(const struct setting *s)
{
	struct mirror_target *t = &x.targets[(x.copy ^= 1) * MIRROR_TARGETS];
	__u32 v4 = htonl(0x0a420000), mapped = htonl(0xffff);

	memset(t, 0, sizeof(*t));
	t->ifindex = x.ifindex;
	t->serial = ++x.config->serial;
	t->port = s->encap == MIRROR_GUE ? 6080 : 4789;
	t->vni = 0x123456;
	t->encap = (__u8)s->encap;
	t->variant = (__u8)s->variant;
	t->has_checksum = s->is_checksum;
	if (s->v6) {
		t->to[0] = t->source[0] = htonl(0xfd660000);
		t->to[3] = htonl(2);
		t->source[3] = htonl(1);
	} else {
		t->to[2] = t->source[2] = mapped;
		t->to[3] = v4 | htonl(2);
		t->source[3] = v4 | htonl(1);
	}
	__atomic_store_n(&x.config->which, x.copy, __ATOMIC_SEQ_CST);
	x.set->filter[0].snaplen = (__u16)s->snaplen;
}

static void attach(struct bpf_object *obj, const char *prog, unsigned ifindex, enum bpf_tc_attach_point at)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = at);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(bpf_object__find_program_by_name(obj, prog)));
	int err = bpf_tc_hook_create(&hook);

	if ((err && err != -EEXIST) || bpf_tc_attach(&hook, &opts))
		die(prog);
}

static void load(const char *objects, unsigned ifindex)
{
	x.ifindex = ifindex;
	x.mirror = object_load(objects, "mirror.bpf.o", NULL);
	x.target = object_load(objects, "mirrortarget.bpf.o", x.mirror);
	maps_fill();
	x.prog = bpf_program__fd(bpf_object__find_program_by_name(x.mirror, "mirror"));
}

#endif
