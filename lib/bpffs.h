/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_BPFFS_H
#define L3AF_BPFFS_H

/*
 * All state is pinned below BPFFS/l3af, a directory of mode 0700 that is made once
 * and never removed; flock(2) on it is the lock of every command.
 *
 * Paths are relative to that directory. Only -ENOENT means absent; on any other
 * error callers stop and change nothing.
 */
#include <linux/types.h>
#include <stdbool.h>
#include "err.h"

struct run;

struct bpffs {
	int fd;        /* the l3af directory; -1: it does not exist (readers only) */
	char dir[128]; /* its path, for messages */
};

static inline void bpffs_close(struct bpffs *b);
#define auto_bpffs __attribute__((cleanup(bpffs_close)))

enum bpffs_access {
	BPFFS_READ,   /* shared lock; a root that does not exist yet is an empty one */
	BPFFS_CHANGE, /* exclusive lock; makes the root, sweeps what killed runs left */
};

/* Checks that the mount is a bpffs and that the root is ours alone, takes the lock
 * (at most run->wait_us), reads the layout version. Prints its errors:
 * -E_LOCKED, -ENOENT with the mount command, -EPERM, ... With run->dry_run a
 * BPFFS_CHANGE makes and sweeps nothing. */
must_use int bpffs_open(const struct run *run, enum bpffs_access access, struct bpffs *b);

/* These print nothing. */
must_use int bpffs_pin(const struct bpffs *b, int fd, const char *path);
must_use int bpffs_get(const struct bpffs *b, const char *path);  /* an fd, or -errno */
must_use int bpffs_mkdir(const struct bpffs *b, const char *path); /* with parents; existing is fine */
must_use int bpffs_unlink(const struct bpffs *b, const char *path); /* absent is fine */
must_use int bpffs_remove_tree(const struct bpffs *b, const char *path); /* absent is fine */
/* Remove the directories above path that are empty now. */
void bpffs_prune(const struct bpffs *b, const char *path);
must_use int bpffs_rename(const struct bpffs *b, const char *from, const char *to);
/* The names in a directory, sorted, "." and ".." left out; absent: none. The caller
 * frees *names and each of them with bpffs_list_free. */
must_use int bpffs_list(const struct bpffs *b, const char *path, char ***names, int *n);
void bpffs_list_free(char **names, int n);

#include <unistd.h>
static inline void bpffs_close(struct bpffs *b) { if (b->fd >= 0) close(b->fd); b->fd = -1; }

#endif
