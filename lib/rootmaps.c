/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "bpflog.h"
#include "cleanup.h"
#include "rootmaps.h"
#include "run.h"
#include "root_tc.skel.h"
#include "root_xdp.skel.h"

/* How each map of the root is made; section is its name in the object. */
static const struct {
	const char *name, *section;
	enum bpf_map_type type;
	__u32 value_size, max_entries, flags;
} maps[ROOT_MAPS] = {
	[ROOT_MAP_SLOTS] = { "slots", "slots", BPF_MAP_TYPE_PROG_ARRAY, 4, ROOT_SLOTS, 0 },
	[ROOT_MAP_GEN] = { "gen", ".data.gen", BPF_MAP_TYPE_ARRAY, 8, 1, BPF_F_MMAPABLE },
	[ROOT_MAP_BANK0] = { "bank0", ".data.bank0", BPF_MAP_TYPE_ARRAY, sizeof(struct root_bank), 1, BPF_F_MMAPABLE },
	[ROOT_MAP_BANK1] = { "bank1", ".data.bank1", BPF_MAP_TYPE_ARRAY, sizeof(struct root_bank), 1, BPF_F_MMAPABLE },
	[ROOT_MAP_STAT] = { "stat", ".bss", BPF_MAP_TYPE_ARRAY, sizeof(struct root_stat), 1, BPF_F_MMAPABLE },
	[ROOT_MAP_DESC] = { "desc", NULL, BPF_MAP_TYPE_ARRAY, sizeof(struct root_desc), ROOT_SLOTS + 1, 0 },
};

void root_init(struct root *r)
{
	int cpus = libbpf_num_possible_cpus();

	*r = (struct root){ .prog = -1, .link = -1, .cpus = cpus < ROOT_CPUS ? cpus : ROOT_CPUS };
	for (int i = 0; i < ROOT_MAPS; i++)
		r->map[i] = -1;
}

static size_t stat_size(const struct root *r)
{
	return sizeof(*r->stat) * (size_t)r->cpus;
}

void root_close(struct root *r)
{
	if (r->gen)
		munmap((void *)r->gen, sizeof(*r->gen));
	if (r->stat)
		munmap(r->stat, stat_size(r));
	cleanup_fd(&r->prog);
	cleanup_fd(&r->link);
	for (int i = 0; i < ROOT_MAPS; i++)
		cleanup_fd(&r->map[i]);
	root_init(r);
}

static int map_memory(struct root *r)
{
	void *gen = mmap(NULL, sizeof(*r->gen), PROT_READ | PROT_WRITE, MAP_SHARED, r->map[ROOT_MAP_GEN], 0);
	void *stat;

	if (gen == MAP_FAILED)
		return -errno;
	r->gen = gen;
	stat = mmap(NULL, stat_size(r), PROT_READ | PROT_WRITE, MAP_SHARED, r->map[ROOT_MAP_STAT], 0);
	if (stat == MAP_FAILED)
		return -errno;
	r->stat = stat;
	return 0;
}

const char *root_name(enum hook hook)
{
	return hook == HOOK_XDP ? "l3af_xdp" : "l3af_tc";
}

struct bpf_object *root_object_open(enum hook hook)
{
	size_t size;
	const void *bytes = hook == HOOK_XDP ? root_xdp_skel__elf_bytes(&size) : root_tc_skel__elf_bytes(&size);
	struct bpf_object *obj = bpf_object__open_mem(bytes, size, NULL);
	enum bpf_prog_type type = hook == HOOK_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
	struct bpf_program *prog;

	if (!obj)
		return NULL;
	bpflog_begin();
	prog = bpf_object__find_program_by_name(obj, root_name(hook));
	/* a change of type drops what libbpf derived from the section's name */
	if (!prog || bpf_program__set_type(prog, BPF_PROG_TYPE_UNSPEC) || bpf_program__set_type(prog, type) ||
	    bpf_program__set_expected_attach_type(prog, 0)) {
		bpf_object__close(obj);
		return NULL;
	}
	return obj;
}

static int pin_all(const struct root *r, const struct bpffs *b, const char *dir, bool missing_only)
{
	char path[256];
	int err = bpffs_mkdir(b, dir);

	for (int i = 0; !err && i < ROOT_MAPS; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, maps[i].name);
		err = bpffs_pin(b, r->map[i], path);
		if (err == -EEXIST && missing_only)
			err = 0;
	}
	return err;
}

static int create_maps(struct root *r)
{
	for (int i = 0; i < ROOT_MAPS; i++) {
		LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = maps[i].flags);
		__u32 size = i == ROOT_MAP_STAT ? (__u32)stat_size(r) : maps[i].value_size;

		r->map[i] = bpf_map_create(maps[i].type, maps[i].name, 4, size, maps[i].max_entries, &opts);
		if (r->map[i] < 0)
			return r->map[i];
	}
	return map_memory(r);
}

static void set_place(struct root *r, const struct bpffs *b, const char *dir)
{
	r->b = b;
	root_moved(r, dir);
}

void root_moved(struct root *r, const char *dir)
{
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
}

int root_create(struct root *r, const struct bpffs *b, const char *dir)
{
	int err = create_maps(r);

	set_place(r, b, dir);
	return err ? err : pin_all(r, b, dir, false);
}

/* stat is smaller than the object says: libbpf unmaps its copy of the initial value by
 * the size of the map that took its place, which must not be the larger one. */
static int use_maps(const struct root *r, struct bpf_object *obj)
{
	struct bpf_map *rodata = bpf_object__find_map_by_name(obj, ".rodata");
	__u32 *cpus = rodata ? (__u32 *)bpf_map__initial_value(rodata, &(size_t){ 0 }) : NULL;

	if (!cpus)
		return -ENOENT;
	*cpus = (__u32)r->cpus;
	for (int i = 0; i < ROOT_MAPS; i++) {
		struct bpf_map *map;
		int err;

		if (!maps[i].section)
			continue;
		map = bpf_object__find_map_by_name(obj, maps[i].section);
		err = map ? bpf_map__reuse_fd(map, r->map[i]) : -ENOENT;
		if (err)
			return err;
	}
	return 0;
}

int root_object(const struct root *r, enum hook hook, __u32 attach_type, __u32 flags, struct bpf_object **obj)
{
	struct bpf_program *prog;
	int err;

	*obj = root_object_open(hook);
	if (!*obj)
		return -errno;
	prog = bpf_object__find_program_by_name(*obj, root_name(hook));
	err = bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)attach_type);
	if (!err)
		err = bpf_program__set_flags(prog, flags);
	if (!err)
		err = use_maps(r, *obj);
	if (err) {
		bpf_object__close(*obj);
		*obj = NULL;
	}
	return err;
}

int root_bind(const struct root *r)
{
	return bpf_prog_bind_map(r->prog, r->map[ROOT_MAP_DESC], NULL);
}

int root_pin(struct root *r, const struct bpffs *b, const char *dir)
{
	char path[256];
	int err = pin_all(r, b, dir, true);

	set_place(r, b, dir);
	snprintf(path, sizeof(path), "%s/root", dir);
	if (!err)
		err = bpffs_pin(b, r->prog, path);
	return err == -EEXIST ? 0 : err;
}

static int open_pin(const struct bpffs *b, const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return bpffs_get(b, path);
}

int root_open(struct root *r, const struct bpffs *b, const char *dir)
{
	int err = 0;

	set_place(r, b, dir);
	for (int i = 0; !err && i < ROOT_MAPS; i++) {
		r->map[i] = open_pin(b, dir, maps[i].name);
		err = r->map[i] < 0 ? r->map[i] : 0;
	}
	if (!err)
		err = map_memory(r);
	if (err)
		return err;
	r->link = open_pin(b, dir, "link");
	r->prog = open_pin(b, dir, "root");
	if (r->link < 0 && r->link != -ENOENT)
		return r->link;
	return r->prog < 0 && r->prog != -ENOENT ? r->prog : 0;
}

static int map_id(int fd, __u32 *id)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	*id = info.id;
	return 0;
}

int root_claim(struct root *r, __u32 prog_id)
{
	auto_fd int fd = bpf_prog_get_fd_by_id(prog_id);
	__u32 ids[64] = { 0 }, slots = 0;
	struct bpf_prog_info info = { .nr_map_ids = 64, .map_ids = (__u64)(uintptr_t)ids };
	__u32 len = sizeof(info);
	int err = map_id(r->map[ROOT_MAP_SLOTS], &slots);

	if (err || fd < 0)
		return err ? err : fd == -ENOENT ? 0 : fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	for (__u32 i = 0; i < info.nr_map_ids && i < 64; i++)
		if (ids[i] == slots) {
			r->prog = take_fd(&fd);
			return 1;
		}
	return 0;
}

static int take_map(struct root *r, __u32 map_id)
{
	auto_fd int fd = bpf_map_get_fd_by_id(map_id);
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);

	if (fd < 0)
		return fd;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	for (int i = 0; i < ROOT_MAPS; i++)
		if (!strcmp(info.name, maps[i].name) && info.type == maps[i].type &&
		    info.max_entries == maps[i].max_entries && r->map[i] < 0)
			r->map[i] = take_fd(&fd);
	return 0;
}

int root_open_id(struct root *r, __u32 prog_id)
{
	__u32 ids[64] = { 0 };
	struct bpf_prog_info info = { .nr_map_ids = 64, .map_ids = (__u64)(uintptr_t)ids };
	__u32 len = sizeof(info);
	int err = 0;

	r->prog = bpf_prog_get_fd_by_id(prog_id);
	if (r->prog < 0)
		return r->prog;
	if (bpf_obj_get_info_by_fd(r->prog, &info, &len))
		return -errno;
	for (__u32 i = 0; !err && i < info.nr_map_ids && i < 64; i++)
		err = take_map(r, ids[i]);
	for (int i = 0; !err && i < ROOT_MAPS; i++)
		if (r->map[i] < 0)
			err = -ENOENT;
	return err ? err : map_memory(r);
}

int root_prog_id(int prog, __u32 *id)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(prog, &info, &len))
		return -errno;
	*id = info.id;
	return 0;
}

static __u32 slot_of(int bank, int i)
{
	return (__u32)(bank * ROOT_MEMBERS + i);
}

/* The program id in a slot, 0: empty. */
static int slot_id(const struct root *r, __u32 slot, __u32 *id)
{
	int err = bpf_map_lookup_elem(r->map[ROOT_MAP_SLOTS], &slot, id);

	if (err == -ENOENT) {
		*id = 0;
		err = 0;
	}
	return err;
}

static int read_bank(const struct root *r, int bank, struct root_view *v)
{
	struct root_bank masks;
	__u32 key = 0, id;
	int err = bpf_map_lookup_elem(r->map[bank ? ROOT_MAP_BANK1 : ROOT_MAP_BANK0], &key, &masks);

	for (v->n = 0; !err && v->n < ROOT_MEMBERS && masks.member[v->n].mask; v->n++) {
		__u32 slot = slot_of(bank, v->n);
		struct root_desc *d = &v->member[v->n];

		err = bpf_map_lookup_elem(r->map[ROOT_MAP_DESC], &slot, d);
		if (!err)
			err = slot_id(r, slot, &id);
		if (!err && id != d->prog_id)
			d->prog_id = 0;
	}
	return err;
}

int root_read(const struct root *r, struct root_view *v)
{
	__u32 key = ROOT_HEAD;
	__u64 gen;
	int err;

	do {
		gen = *r->gen;
		err = bpf_map_lookup_elem(r->map[ROOT_MAP_DESC], &key, &v->head);
		if (!err)
			err = read_bank(r, gen & 1, v);
	} while (!err && gen != *r->gen);
	return err;
}

int root_read_previous(const struct root *r, struct root_view *v)
{
	return read_bank(r, !(*r->gen & 1), v);
}

int root_write_head(const struct root *r, const struct root_head *head)
{
	__u32 key = ROOT_HEAD;

	return bpf_map_update_elem(r->map[ROOT_MAP_DESC], &key, head, BPF_ANY);
}

/* Where MEMBARRIER_CMD_GLOBAL is refused (nohz_full): replacing an inner map waits for
 * running programs as well. */
static int grace_by_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	auto_fd int inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "l3af_grace", 4, 4, 1, NULL);
	auto_fd int outer = -1;
	__u32 key = 0;
	int err;

	if (inner < 0)
		return inner;
	opts.inner_map_fd = (__u32)inner;
	outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "l3af_grace", 4, 4, 1, &opts);
	if (outer < 0)
		return outer;
	err = bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
	return err ? err : bpf_map_update_elem(outer, &key, &inner, BPF_ANY);
}

int root_grace(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? grace_by_map() : 0;
}

static bool is_planned(const struct root_plan *plan, __u32 id)
{
	for (int i = 0; i < plan->n; i++)
		if (plan->member[i].prog_id == id)
			return true;
	return false;
}

static void member_path(const struct root *r, __u32 id, char path[128])
{
	snprintf(path, 128, "%s/member/%u", r->dir, id);
}

/* A member's program by its pin, or by its id where pins were removed by hand. */
static int member_fd(const struct root *r, __u32 id)
{
	char path[128];
	int fd = -ENOENT;

	member_path(r, id, path);
	if (r->dir[0])
		fd = bpffs_get(r->b, path);
	return fd == -ENOENT ? bpf_prog_get_fd_by_id(id) : fd;
}

static int pin_beside(const struct root *r, int fd, const char *path)
{
	char dir[192];
	int err;

	snprintf(dir, sizeof(dir), "%s/member", r->dir);
	err = bpffs_mkdir(r->b, dir);
	if (!err)
		err = bpffs_pin(r->b, fd, path);
	return err == -EEXIST ? 0 : err;
}

static int pin_member(const struct root *r, __u32 id, int prog)
{
	char path[128];

	member_path(r, id, path);
	return r->dir[0] && prog >= 0 ? pin_beside(r, prog, path) : 0;
}

int root_pin_array(const struct root *r, __u32 prog_id, int array, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/member/%u_%s", r->dir, prog_id, name);
	return pin_beside(r, array, path);
}

/* Programs that are pinned as members and are none (any more), and their arrays. */
static int unpin_others(const struct root *r, const struct root_plan *plan)
{
	char path[256], **names = NULL;
	int n = 0, err = 0;

	snprintf(path, sizeof(path), "%s/member", r->dir);
	if (r->dir[0])
		err = bpffs_list(r->b, path, &names, &n);
	for (int i = 0; !err && i < n; i++) {
		__u32 id;

		if (sscanf(names[i], "%u", &id) != 1 || is_planned(plan, id))
			continue;
		snprintf(path, sizeof(path), "%s/member/%s", r->dir, names[i]);
		err = bpffs_unlink(r->b, path);
	}
	bpffs_list_free(names, n);
	return err;
}

static int fill_slot(const struct root *r, __u32 slot, const struct root_desc *d, int prog)
{
	auto_fd int by_id = -1;
	__u32 id;
	int err = slot_id(r, slot, &id);

	if (!err && !d->prog_id && id)
		err = bpf_map_delete_elem(r->map[ROOT_MAP_SLOTS], &slot);
	else if (!err && id != d->prog_id) {
		if (prog < 0)
			prog = by_id = member_fd(r, d->prog_id);
		if (prog < 0)
			return prog;
		err = bpf_map_update_elem(r->map[ROOT_MAP_SLOTS], &slot, &prog, BPF_ANY);
	}
	return err ? err : bpf_map_update_elem(r->map[ROOT_MAP_DESC], &slot, d, BPF_ANY);
}

static int write_bank(const struct root *r, int bank, const struct root_plan *plan)
{
	struct root_bank masks = { 0 };
	__u32 key = 0;

	for (int i = 0; i < plan->n; i++) {
		masks.member[i].mask = plan->member[i].mask | 1u << ROOT_NONE_BIT;
		masks.member[i].stat = plan->member[i].stat;
	}
	return bpf_map_update_elem(r->map[bank ? ROOT_MAP_BANK1 : ROOT_MAP_BANK0], &key, &masks, BPF_ANY);
}

/* Let go of programs that the plan does not run, in slots that no packet uses any more.
 * Overwriting takes microseconds, deleting a tail-call slot 10 ms: so any program of
 * the plan takes the place. */
static int release(const struct root *r, int live, const struct root_plan *plan)
{
	auto_fd int filler = -1;
	int err = 0;

	for (int i = 0; i < plan->n && filler < 0; i++)
		if (plan->member[i].prog_id)
			filler = member_fd(r, plan->member[i].prog_id);
	for (__u32 slot = 0; !err && slot < ROOT_SLOTS; slot++) {
		bool is_used = (int)slot / ROOT_MEMBERS == live && (int)slot % ROOT_MEMBERS < plan->n;
		__u32 id = 0;

		err = is_used ? 0 : slot_id(r, slot, &id);
		if (err || !id || is_planned(plan, id))
			continue;
		err = filler >= 0 ? bpf_map_update_elem(r->map[ROOT_MAP_SLOTS], &slot, &filler, BPF_ANY)
				  : bpf_map_delete_elem(r->map[ROOT_MAP_SLOTS], &slot);
	}
	return err ? err : unpin_others(r, plan);
}

static int read_head(const struct root *r, struct root_head *head)
{
	__u32 key = ROOT_HEAD;

	return bpf_map_lookup_elem(r->map[ROOT_MAP_DESC], &key, head);
}

/* After a flip: nothing but the live bank's plan stays, and the head says so last. */
static int finish(const struct root *r, const struct root_plan *plan)
{
	struct root_head head;
	int err = read_head(r, &head);

	if (!err)
		err = root_grace();
	if (!err)
		err = release(r, *r->gen & 1, plan);
	head.settled = *r->gen;
	head.changed_us = run_now_us();
	return err ? err : root_write_head(r, &head);
}

int root_settle(const struct root *r, const struct root_view *v)
{
	struct root_plan plan = { .n = v->n };

	memcpy(plan.member, v->member, sizeof(plan.member));
	/* what was loaded and never run has left no more than its pins */
	return v->head.settled == *r->gen ? unpin_others(r, &plan) : finish(r, &plan);
}

int root_commit(const struct root *r, const struct root_plan *plan, int *bad)
{
	int idle = !(*r->gen & 1);
	struct root_head head;
	int err = read_head(r, &head);

	*bad = -1;
	if (!err && head.settled != *r->gen)
		err = root_grace(); /* the idle bank may still be in use */
	for (int i = 0; !err && i < plan->n; i++) {
		err = fill_slot(r, slot_of(idle, i), &plan->member[i], plan->prog[i]);
		*bad = i;
		if (!err)
			err = pin_member(r, plan->member[i].prog_id, plan->prog[i]);
	}
	if (!err) {
		*bad = -1;
		err = write_bank(r, idle, plan);
	}
	if (err)
		return err;
	__atomic_store_n(r->gen, *r->gen + 1, __ATOMIC_SEQ_CST);
	(void)!finish(r, plan);
	return 0;
}

void root_stat_sum(const struct root *r, __u32 stat, __u64 sum[ROOT_VERDICTS + 1])
{
	memset(sum, 0, sizeof(sum[0]) * (ROOT_VERDICTS + 1));
	for (int cpu = 0; cpu < r->cpus; cpu++)
		for (int i = 0; i <= ROOT_VERDICTS; i++)
			sum[i] += ((volatile struct root_stat *)r->stat)[cpu].member[stat][i];
}

void root_stat_zero(const struct root *r, __u32 stat)
{
	for (int cpu = 0; cpu < r->cpus; cpu++)
		memset(r->stat[cpu].member[stat], 0, sizeof(r->stat[cpu].member[stat]));
}

static int load_canned(enum hook hook, int verdict)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(hook == HOOK_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS, "l3af_probe",
			     "GPL", insns, sizeof(insns) / sizeof(insns[0]), NULL);
}

static int run_probe(const struct root *r, enum hook hook, const int verdicts[2])
{
	auto_fd int first = load_canned(hook, verdicts[0]);
	auto_fd int second = load_canned(hook, verdicts[1]);
	char packet[64] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof(packet));
	struct root_plan plan = { .n = 2, .prog = { first, second } };
	int bad, err = first < 0 ? first : second < 0 ? second : 0;

	for (int i = 0; !err && i < 2; i++) {
		plan.member[i].mask = 1u << (verdicts[0] + (hook != HOOK_XDP));
		plan.member[i].stat = (__u32)i;
		err = root_prog_id(plan.prog[i], &plan.member[i].prog_id);
	}
	if (!err)
		err = root_commit(r, &plan, &bad);
	if (!err)
		err = bpf_prog_test_run_opts(r->prog, &opts);
	return err ? err : opts.retval == (__u32)verdicts[1] ? 0 : -EOPNOTSUPP;
}

int root_probe(enum hook hook)
{
	static const int xdp[2] = { XDP_PASS, XDP_DROP }, tc[2] = { TC_ACT_OK, TC_ACT_SHOT };
	auto_root struct root r;
	struct bpf_object *obj = NULL;
	int err;

	root_init(&r);
	err = create_maps(&r);
	if (!err)
		err = root_object(&r, hook, 0, 0, &obj);
	if (!err)
		err = bpf_object__load(obj);
	if (!err) {
		r.prog = dup(bpf_program__fd(bpf_object__find_program_by_name(obj, root_name(hook))));
		err = run_probe(&r, hook, hook == HOOK_XDP ? xdp : tc);
	}
	bpf_object__close(obj);
	return err;
}
