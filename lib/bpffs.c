/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "bpffs.h"
#include "cleanup.h"
#include "run.h"

#define LAYOUT_VERSION 1
#define ROOT_DIR "l3af"

/* Room for "/proc/self/fd/N/" before a path: bpf(2) takes no directory fd before 6.5. */
static int full_path(const struct bpffs *b, const char *path, char *buf, size_t size)
{
	int n = snprintf(buf, size, "/proc/self/fd/%d/%s", b->fd, path);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int open_mount(const char *mount)
{
	auto_fd int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statfs fs;

	if (fd < 0) {
		int err = -errno;

		return fail_errno(err, "%s", mount);
	}
	if (fstatfs(fd, &fs))
		return fail_errno(-errno, "%s", mount);
	if (fs.f_type != BPF_FS_MAGIC)
		return fail(-ENOENT, "no bpffs is mounted on %s; mount it: mount -t bpf -o mode=0700 bpf %s "
			    "(ip netns exec hides it: use l3afctl -n NETNS instead)", mount, mount);
	return take_fd(&fd);
}

/* A bpffs mounted without mode= is writable by everybody: the root must be ours. */
static int check_root(int fd, const char *dir)
{
	struct stat st;

	if (fstat(fd, &st))
		return fail_errno(-errno, "%s", dir);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return fail(-EPERM, "%s belongs to uid %u, not to root; remove it: rm -r %s",
			    dir, st.st_uid, dir);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return fail(-EPERM, "%s is writable by others (mode %04o); mend it: chmod 0700 %s",
			    dir, st.st_mode & 07777, dir);
	return 0;
}

static int open_root(const struct run *run, enum bpffs_access access, struct bpffs *b)
{
	const char *mount = run->bpffs;
	auto_fd int mnt = open_mount(mount);
	auto_fd int fd = -1;
	int err;

	if (mnt < 0)
		return mnt;
	snprintf(b->dir, sizeof(b->dir), "%s/%s", mount, ROOT_DIR);
	if (access == BPFFS_CHANGE && !run->dry_run && mkdirat(mnt, ROOT_DIR, 0700) && errno != EEXIST)
		return fail_errno(-errno, "%s", b->dir);
	fd = openat(mnt, ROOT_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		err = -errno;
		return err == -ENOTDIR || err == -ELOOP ?
			fail(err, "%s is not a directory; remove it: rm %s", b->dir, b->dir) :
			fail_errno(err, "%s", b->dir);
	}
	err = check_root(fd, b->dir);
	if (!err)
		b->fd = take_fd(&fd);
	return err;
}

static int lock(const struct run *run, enum bpffs_access access, const struct bpffs *b)
{
	int op = (access == BPFFS_CHANGE && !run->dry_run ? LOCK_EX : LOCK_SH) | LOCK_NB;
	__u64 deadline = run_now_us() + run->wait_us;

	while (flock(b->fd, op)) {
		struct timespec nap = { .tv_nsec = 2000000 };

		if (errno == EINTR)
			continue;
		if (errno != EWOULDBLOCK)
			return fail_errno(-errno, "cannot lock %s", b->dir);
		if (run_now_us() >= deadline)
			return fail(-E_LOCKED, "another l3afctl holds %s; waited %.3g s (--wait DURATION waits longer)",
				    b->dir, (double)run->wait_us / 1e6);
		nanosleep(&nap, NULL);
	}
	return 0;
}

/* The map pinned as "meta" holds the layout version of everything beside it. */
static int check_layout(const struct run *run, enum bpffs_access access, const struct bpffs *b)
{
	auto_fd int fd = bpffs_get(b, "meta");
	__u32 key = 0, version = LAYOUT_VERSION;
	int err;

	if (fd == -ENOENT && (access == BPFFS_READ || run->dry_run))
		return 0;
	if (fd == -ENOENT) {
		fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "l3af_meta", 4, 4, 1, NULL);
		if (fd < 0)
			return fail_errno(fd, "cannot create a map");
		err = bpf_map_update_elem(fd, &key, &version, BPF_ANY);
		if (!err)
			err = bpffs_pin(b, fd, "meta");
		return err ? fail_errno(err, "%s/meta", b->dir) : 0;
	}
	if (fd < 0)
		return fail_errno(fd, "%s/meta", b->dir);
	err = bpf_map_lookup_elem(fd, &key, &version);
	if (err)
		return fail_errno(err, "%s/meta", b->dir);
	if (version != LAYOUT_VERSION)
		return fail(-EPROTO, "%s has layout version %u, this l3afctl knows %u; use the l3afctl that made it",
			    b->dir, version, LAYOUT_VERSION);
	return 0;
}

/* A staging directory found under the lock was left by a killed run. */
static int sweep_staging(const struct bpffs *b)
{
	char **names = NULL;
	int n = 0, err = bpffs_list(b, ".", &names, &n);

	for (int i = 0; !err && i < n; i++)
		if (!strncmp(names[i], "new-", 4))
			err = bpffs_remove_tree(b, names[i]);
	bpffs_list_free(names, n);
	return err ? fail_errno(err, "cannot remove what a killed run left in %s", b->dir) : 0;
}

int bpffs_open(const struct run *run, enum bpffs_access access, struct bpffs *b)
{
	int err;

	b->fd = -1;
	err = open_root(run, access, b);
	if (err || b->fd < 0)
		return err;
	err = lock(run, access, b);
	if (!err)
		err = check_layout(run, access, b);
	if (!err && access == BPFFS_CHANGE && !run->dry_run)
		err = sweep_staging(b);
	if (err)
		bpffs_close(b);
	return err;
}

int bpffs_pin(const struct bpffs *b, int fd, const char *path)
{
	char full[512];
	int err = full_path(b, path, full, sizeof(full));

	if (!err && bpf_obj_pin(fd, full))
		err = -errno;
	if (!err && fchmodat(b->fd, path, 0600, 0))
		err = -errno;
	return err;
}

int bpffs_get(const struct bpffs *b, const char *path)
{
	char full[512];
	struct stat st;
	int err, fd;

	if (b->fd < 0)
		return -ENOENT;
	if (fstatat(b->fd, path, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	err = full_path(b, path, full, sizeof(full));
	if (err)
		return err;
	fd = bpf_obj_get(full);
	return fd < 0 ? -errno : fd;
}

int bpffs_mkdir(const struct bpffs *b, const char *path)
{
	char part[512];

	for (const char *end = path; end; ) {
		end = strchr(end, '/');
		snprintf(part, sizeof(part), "%.*s", end ? (int)(end - path) : (int)sizeof(part) - 1, path);
		if (mkdirat(b->fd, part, 0700) && errno != EEXIST)
			return -errno;
		if (end)
			end++;
	}
	return 0;
}

int bpffs_unlink(const struct bpffs *b, const char *path)
{
	return unlinkat(b->fd, path, 0) && errno != ENOENT ? -errno : 0;
}

int bpffs_remove_tree(const struct bpffs *b, const char *path)
{
	char **names = NULL, sub[512];
	int n = 0, err = bpffs_list(b, path, &names, &n);

	if (err == -ENOTDIR || err == -ELOOP)
		return bpffs_unlink(b, path);
	for (int i = 0; !err && i < n; i++) {
		snprintf(sub, sizeof(sub), "%s/%s", path, names[i]);
		err = unlinkat(b->fd, sub, 0) ? -errno : 0;
		if (err == -EISDIR || err == -EPERM)
			err = bpffs_remove_tree(b, sub);
	}
	bpffs_list_free(names, n);
	if (!err && unlinkat(b->fd, path, AT_REMOVEDIR) && errno != ENOENT)
		err = -errno;
	return err;
}

void bpffs_prune(const struct bpffs *b, const char *path)
{
	char parent[512];

	snprintf(parent, sizeof(parent), "%s", path);
	for (char *slash; (slash = strrchr(parent, '/')); ) {
		*slash = '\0';
		if (unlinkat(b->fd, parent, AT_REMOVEDIR))
			return;
	}
}

int bpffs_rename(const struct bpffs *b, const char *from, const char *to)
{
	return renameat(b->fd, from, b->fd, to) ? -errno : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int bpffs_list(const struct bpffs *b, const char *path, char ***names, int *n)
{
	auto_dir DIR *dir = NULL;
	struct dirent *e;
	int fd;

	*names = NULL;
	*n = 0;
	if (b->fd < 0)
		return 0;
	fd = openat(b->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while ((errno = 0, e = readdir(dir))) {
		char **more;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		more = realloc(*names, sizeof(**names) * (size_t)(*n + 1));
		if (!more)
			return -ENOMEM;
		*names = more;
		more[*n] = strdup(e->d_name);
		if (!more[(*n)++])
			return -ENOMEM;
	}
	if (errno)
		return -errno;
	if (*n)
		qsort(*names, (size_t)*n, sizeof(**names), by_name);
	return 0;
}

void bpffs_list_free(char **names, int n)
{
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
