/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pkt_cls.h>
#include <sodium/crypto_hash_sha256.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <xdp/libxdp.h>

#include "bpflog.h"
#include "cleanup.h"
#include "kf.h"
#include "object.h"

#define FILE_MAX (64 << 20)
#define LOG_SIZE (1 << 20)

static void cleanup_obj(struct bpf_object **obj) { bpf_object__close(*obj); }
#define auto_obj __attribute__((cleanup(cleanup_obj)))

__u32 default_mask(enum hook hook)
{
	if (hook == HOOK_XDP)
		return 1u << XDP_PASS;
	return 1u << (TC_ACT_OK + 1) | 1u << (TC_ACT_PIPE + 1) | 1u << (TC_ACT_UNSPEC + 1);
}

static enum bpf_prog_type hook_type(enum hook hook)
{
	return hook == HOOK_XDP ? BPF_PROG_TYPE_XDP : BPF_PROG_TYPE_SCHED_CLS;
}

static const char *type_word(enum hook hook)
{
	return hook == HOOK_XDP ? "XDP" : "TC";
}

/* libbpf loads what is in a section xdp.frags with multi-buffer support and lets nobody
 * say otherwise, but a member must do as its root does: a handler of our own for that
 * section adds nothing. (Once for all: libbpf 1.1.2 frees a handler twice that is
 * registered, removed and registered again.) */
static void register_frags(void)
{
	static int handler;

	if (!handler)
		handler = libbpf_register_prog_handler("xdp.frags", BPF_PROG_TYPE_XDP, 0, NULL);
}

static struct bpf_object *open_bytes(const struct object *o)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "member");

	bpflog_begin();
	register_frags();
	return bpf_object__open_mem(o->bytes, o->size, &opts);
}

/* libbpf is not made for hostile files: let a process of its own crash on them. */
static int try_parse(const struct object *o)
{
	const struct rlimit no_core = { 0 }, cpu = { 10, 10 };
	int status = 0, pipes[2];
	auto_fd int in = -1, out = -1;
	char text[256];
	ssize_t n;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC))
		return fail_errno(-errno, "%s", o->file);
	in = pipes[0];
	out = pipes[1];
	pid = fork();
	if (pid < 0)
		return fail_errno(-errno, "%s", o->file);
	if (!pid) {
		setrlimit(RLIMIT_CORE, &no_core);
		setrlimit(RLIMIT_CPU, &cpu);
		if (open_bytes(o))
			_exit(0);
		n = write(out, bpflog_reason(), strlen(bpflog_reason()));
		_exit(1);
	}
	close(take_fd(&out));
	n = read(in, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		return fail(-E_USAGE, "%s: is not a sound BPF object: parsing it crashed", o->file);
	if (WEXITSTATUS(status))
		return fail(-E_USAGE, "%s: is not a BPF object that libbpf %s can read: %s", o->file,
			    libbpf_version_string(), text);
	return 0;
}

static void note_path(struct object *o)
{
	auto_free char *path = realpath(o->file, NULL);

	if (path && strlen(path) < sizeof(o->path))
		strcpy(o->path, path);
}

static int read_file(struct object *o)
{
	auto_fd int fd = open(o->file, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;
	size_t done = 0;

	if (fd < 0 || fstat(fd, &st))
		return fail(-E_USAGE, "object %s: %s", o->file, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > FILE_MAX)
		return fail(-E_USAGE, "object %s: expected an ELF file of at most %d MiB", o->file, FILE_MAX >> 20);
	o->size = (size_t)st.st_size;
	o->owned = malloc(o->size);
	o->bytes = o->owned;
	if (!o->owned)
		return fail_errno(-ENOMEM, "object %s", o->file);
	while (done < o->size) {
		ssize_t n = read(fd, (char *)o->owned + done, o->size - done);

		if (n <= 0)
			return fail_errno(n ? -errno : -EIO, "object %s", o->file);
		done += (size_t)n;
	}
	note_path(o);
	return 0;
}

void object_close(struct object *o)
{
	free(o->owned);
	memset(o, 0, sizeof(*o));
}

int object_read(const struct chain_request *req, struct object *o)
{
	int err;

	memset(o, 0, sizeof(*o));
	o->file = req->object ? req->object : req->name;
	if (req->object) {
		err = read_file(o);
		if (!err)
			err = try_parse(o);
		if (err)
			return err;
	} else {
		o->kf = kf_find(req->name);
		if (!o->kf)
			return fail(-E_USAGE, "%s: is no built-in kernel function; name its file: object FILE",
				    req->name);
		o->bytes = o->kf->bytes(&o->size);
	}
	crypto_hash_sha256(o->sha256, o->bytes, o->size);
	return 0;
}

/* Programs whose section libbpf does not know count by the section's prefix, as the
 * objects of L3AF itself need it ("xdp_ratelimiting", "tc-ingress-root"). */
static bool fits_hook(const struct bpf_program *prog, enum hook hook)
{
	const char *section = bpf_program__section_name(prog);
	enum bpf_prog_type type = bpf_program__type(prog);

	if (type != BPF_PROG_TYPE_UNSPEC)
		return type == hook_type(hook);
	return hook == HOOK_XDP ? !strncmp(section, "xdp", 3)
				: !strncmp(section, "tc", 2) || !strncmp(section, "classifier", 10);
}

static int list_programs(struct bpf_object *obj, enum hook hook, const char *program,
			 struct bpf_program **found, char *names, size_t size)
{
	struct bpf_program *prog;
	int n = 0;

	names[0] = '\0';
	bpf_object__for_each_program(prog, obj) {
		if (!fits_hook(prog, hook))
			continue;
		if (program && strcmp(program, bpf_program__name(prog)) == 0) {
			*found = prog;
			return 1;
		}
		if (!program)
			*found = prog;
		if (strlen(names) + strlen(bpf_program__name(prog)) + 3 < size)
			sprintf(names + strlen(names), "%s%s", n ? ", " : "", bpf_program__name(prog));
		n++;
	}
	return n;
}

static int find_program(struct bpf_object *obj, enum hook hook, const struct chain_request *req,
			const struct object *o, struct bpf_program **prog)
{
	char names[256];
	int n;

	*prog = NULL;
	n = list_programs(obj, hook, req->program, prog, names, sizeof(names));
	if (!n || (o->kf && !(o->kf->hooks & 1U << hook)))
		return fail(-E_USAGE, "%s: has no %s program for hook %s", o->file, type_word(hook), hook_words[hook]);
	if (!*prog)
		return fail(-E_USAGE, "%s: program %s is not in it; it has: %s", o->file, req->program, names);
	if (n > 1)
		return fail(-E_USAGE, "%s: has %d %s programs; say which: program %s", o->file, n,
			    type_word(hook), names);
	return 0;
}

static bool is_frags(const struct bpf_program *prog)
{
	return !strncmp(bpf_program__section_name(prog), "xdp.frags", 9);
}

static int prepare_program(struct bpf_program *prog, enum hook hook, const struct root_head *head)
{
	/* a change of type drops what libbpf derived from the section's name */
	int err = bpf_program__set_type(prog, BPF_PROG_TYPE_UNSPEC);

	if (!err)
		err = bpf_program__set_type(prog, hook_type(hook));
	if (!err)
		err = bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)head->attach_type);
	return err ? err : bpf_program__set_flags(prog, head->flags);
}

static bool has_prog_array(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
		if (bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY)
			return true;
	return false;
}

/* Load what the hook runs, exactly as the root was loaded: the slots take only programs
 * that agree with it. An object with tail calls of its own may name its other programs
 * in its map, so they are loaded as well. */
static int prepare_programs(struct bpf_object *obj, struct bpf_program *prog, enum hook hook,
			    const struct root_head *head)
{
	bool is_with_others = has_prog_array(obj);
	struct bpf_program *p;
	int err = 0;

	bpf_object__for_each_program(p, obj) {
		bool is_loaded = p == prog || (is_with_others && fits_hook(p, hook));

		if (!err)
			err = bpf_program__set_autoload(p, is_loaded);
		if (!err && is_loaded)
			err = prepare_program(p, hook, head);
	}
	return err;
}

/* The name becomes a pin's name: bpffs refuses dots, and paths are bounded. */
static int check_map_name(const char *name, const struct object *o)
{
	if (strlen(name) < 64 && !strchr(name, '.') && !strchr(name, '/'))
		return 0;
	return fail(-E_USAGE, "%s: its map %.80s has a dot or slash, or more than 63 characters, in its name", o->file, name);
}

static bool is_shared_map(const struct bpf_map *map)
{
	return !bpf_map__is_internal(map) && bpf_map__type(map) != BPF_MAP_TYPE_PROG_ARRAY;
}

static int reuse_map(struct bpf_map *map, int fd, const char *instance, const struct object *o)
{
	struct bpf_map_info info = { 0 };
	__u32 len = sizeof(info);
	int err;

	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return fail_errno(-errno, "map %s of instance %s", bpf_map__name(map), instance);
	if (info.type != bpf_map__type(map) || info.key_size != bpf_map__key_size(map) ||
	    info.value_size != bpf_map__value_size(map) ||
	    (bpf_map__max_entries(map) && info.max_entries != bpf_map__max_entries(map)))
		return fail(-EEXIST, "%s: its map %s differs from the one instance %s holds "
			    "(type, key size, value size or entries); use another instance",
			    o->file, bpf_map__name(map), instance);
	err = bpf_map__reuse_fd(map, fd);
	return err ? fail_errno(err, "map %s of instance %s", bpf_map__name(map), instance) : 0;
}

/* An object can ask libbpf to pin its maps, or to take over pinned ones, by name: not
 * here. */
static int prepare_maps(const struct bpffs *b, struct bpf_object *obj, const char *instance,
			const struct object *o)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj) {
		auto_fd int fd = -1;
		int err = bpf_map__set_pin_path(map, NULL);

		if (!err && !bpf_map__is_internal(map))
			err = check_map_name(bpf_map__name(map), o);
		if (!err && is_shared_map(map)) {
			fd = kf_map(b, instance, bpf_map__name(map));
			err = fd >= 0 ? reuse_map(map, fd, instance, o) : fd == -ENOENT ? 0 :
				fail_errno(fd, "map %s of instance %s", bpf_map__name(map), instance);
		}
		if (err)
			return err;
	}
	return 0;
}

static int pin_maps(const struct bpffs *b, struct bpf_object *obj, const char *instance)
{
	struct bpf_map *map;
	char path[128];
	int err = 0;

	bpf_object__for_each_map(map, obj) {
		if (err || !is_shared_map(map))
			continue;
		snprintf(path, sizeof(path), "kf/%s", instance);
		err = bpffs_mkdir(b, path);
		if (err)
			break;
		snprintf(path, sizeof(path), "kf/%s/%s", instance, bpf_map__name(map));
		err = bpffs_pin(b, bpf_map__fd(map), path);
		if (err == -EEXIST)
			err = 0;
	}
	return err ? fail_errno(err, "cannot pin the maps of instance %s", instance) : 0;
}

static int pin_arrays(const struct root *root, struct bpf_object *obj, const struct member *m)
{
	struct bpf_map *map;
	int err = 0;

	bpf_object__for_each_map(map, obj)
		if (!err && bpf_map__type(map) == BPF_MAP_TYPE_PROG_ARRAY)
			err = root_pin_array(root, m->desc.prog_id, bpf_map__fd(map), bpf_map__name(map));
	return err;
}

/* The verifier's last word: the line before its statistics. */
static const char *verdict_line(char *log)
{
	const char *last = "";

	for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
		if (strncmp(line, "processed ", 10) && strncmp(line, "verification time", 17) && *line)
			last = line;
	return last;
}

static int load(struct bpf_object *obj, struct bpf_program *prog, const struct object *o)
{
	auto_free char *log = calloc(1, LOG_SIZE);
	int err;

	if (!log)
		return fail_errno(-ENOMEM, "%s", o->file);
	err = bpf_program__set_log_buf(prog, log, LOG_SIZE);
	if (!err)
		err = bpf_object__load(obj);
	if (err && *log)
		return fail(err, "%s: the kernel refuses program %s: %s", o->file, bpf_program__name(prog),
			    verdict_line(log));
	return err ? fail(err, "%s: cannot be loaded: %s (%s)", o->file, strerror(-err), bpflog_reason()) : 0;
}

/* 0 where libxdp finds none. */
static __u32 read_run_config(const struct object *o, const char *section)
{
	struct bpf_object *obj = open_bytes(o);
	struct xdp_program *xdp = obj ? xdp_program__from_bpf_obj(obj, section) : NULL;
	__u32 mask = 0;

	if (!xdp || libxdp_get_error(xdp))
		return 0;
	for (__u32 action = XDP_ABORTED; action <= XDP_REDIRECT; action++)
		if (xdp_program__chain_call_enabled(xdp, (enum xdp_action)action))
			mask |= 1u << action;
	return mask;
}

/* libxdp's run configuration, where the object carries one; its reader is no more made
 * for hostile files than libbpf's. */
static int run_config(const struct object *o, struct bpf_object *obj, const struct bpf_program *prog, __u32 *mask)
{
	const struct btf *btf = bpf_object__btf(obj);
	int status = 0;
	pid_t pid;

	*mask = 0;
	if (!btf || btf__find_by_name_kind(btf, ".xdp_run_config", BTF_KIND_DATASEC) < 0)
		return 0;
	pid = fork();
	if (pid < 0)
		return fail_errno(-errno, "%s", o->file);
	if (!pid)
		_exit((int)read_run_config(o, bpf_program__section_name(prog)));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		return fail(-E_USAGE, "%s: is not a sound BPF object: reading its .xdp_run_config crashed", o->file);
	*mask = (__u32)WEXITSTATUS(status);
	return 0;
}

static int describe(struct member *m, const char *name, const char *instance)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	if (bpf_obj_get_info_by_fd(m->prog, &info, &len))
		return -errno;
	snprintf(m->desc.name, sizeof(m->desc.name), "%s", name);
	snprintf(m->desc.instance, sizeof(m->desc.instance), "%s", instance);
	if (!m->desc.program[0])
		snprintf(m->desc.program, sizeof(m->desc.program), "%s", info.name);
	m->desc.prog_id = info.id;
	m->desc.loaded_at = (__u64)time(NULL);
	memcpy(m->desc.tag, info.tag, sizeof(m->desc.tag));
	return 0;
}

static void describe_object(struct member *m, const struct object *o, const struct bpf_program *prog)
{
	memcpy(m->desc.sha256, o->sha256, sizeof(o->sha256));
	snprintf(m->desc.program, sizeof(m->desc.program), "%s", bpf_program__name(prog));
	if (o->kf)
		m->desc.flags = ROOT_F_BUILTIN;
	else
		memcpy(m->desc.object, o->path, sizeof(m->desc.object));
}

int object_has_frags(const struct chain_id *id, const struct chain_request *req, const struct object *o,
		     bool *has_frags)
{
	auto_obj struct bpf_object *obj = open_bytes(o);
	struct bpf_program *prog;
	int err;

	if (!obj)
		return fail(-E_USAGE, "%s: %s", o->file, bpflog_reason());
	err = find_program(obj, id->hook, req, o, &prog);
	if (!err)
		*has_frags = is_frags(prog);
	return err;
}

int object_load(const struct bpffs *b, const struct chain_id *id, const struct chain_request *req,
		const struct object *o, const struct root_head *head, const struct root *root, struct member *m)
{
	const char *instance = req->instance ? req->instance : req->name;
	auto_obj struct bpf_object *obj = open_bytes(o);
	struct bpf_program *prog;
	int err;

	memset(m, 0, sizeof(*m));
	m->prog = -1;
	if (!obj)
		return fail(-E_USAGE, "%s: %s", o->file, bpflog_reason());
	err = find_program(obj, id->hook, req, o, &prog);
	if (err)
		return err;
	m->has_frags = is_frags(prog);
	if (head->flags && !m->has_frags)
		return fail(-EINVAL, "%s: program %s does not take multi-buffer frames, and the MTU of %s needs them; "
			    "compile it with SEC(\"xdp.frags\")", o->file, bpf_program__name(prog), id->iface.name);
	err = run_config(o, obj, prog, &m->desc.mask);
	if (err)
		return err;
	if (req->continue_mask)
		m->desc.mask = req->continue_mask;
	if (!m->desc.mask)
		m->desc.mask = default_mask(id->hook);
	err = prepare_programs(obj, prog, id->hook, head);
	if (err)
		return fail_errno(err, "%s", o->file);
	/* first: it may make the instance's maps, in other sizes than they are declared */
	if (o->kf && o->kf->prepare)
		err = o->kf->prepare(b, instance, obj, id);
	if (!err)
		err = prepare_maps(b, obj, instance, o);
	if (!err)
		err = load(obj, prog, o);
	if (!err)
		err = pin_maps(b, obj, instance);
	if (!err && o->kf && o->kf->instance_up)
		err = o->kf->instance_up(b, instance);
	if (err)
		return err;
	describe_object(m, o, prog);
	m->prog = dup(bpf_program__fd(prog));
	err = m->prog < 0 ? -errno : describe(m, req->name, instance);
	if (!err)
		err = pin_arrays(root, obj, m);
	return err ? fail_errno(err, "%s", o->file) : 0;
}

/* The info call answers for maps and links as well. */
static bool is_program(int fd)
{
	char path[64], target[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, target, sizeof(target) - 1) > 0 && !strcmp(target, "anon_inode:bpf-prog");
}

int object_adopt(const struct chain_id *id, const char *name, __u32 prog_id, const char *pin, struct member *m)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int err;

	memset(m, 0, sizeof(*m));
	m->prog = pin ? bpf_obj_get(pin) : bpf_prog_get_fd_by_id(prog_id);
	if (m->prog < 0) {
		err = -errno;
		return pin ? fail_errno(err, "pin %s", pin) :
			err == -ENOENT ? fail(err, "there is no program with id %u", prog_id) :
			fail_errno(err, "program %u", prog_id);
	}
	if (!is_program(m->prog))
		return fail(-EINVAL, "%s: is not a pinned program", pin);
	if (bpf_obj_get_info_by_fd(m->prog, &info, &len))
		return fail_errno(-errno, "%s: cannot read its program", name);
	if (info.type != (__u32)hook_type(id->hook))
		return fail(-EINVAL, "program %u (%s) is of another type; hook %s runs %s programs", info.id,
			    info.name, hook_words[id->hook], type_word(id->hook));
	m->desc.flags = ROOT_F_ADOPTED;
	m->desc.mask = default_mask(id->hook);
	err = describe(m, name, "");
	return err ? fail_errno(err, "%s: cannot read its program", name) : 0;
}
