/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CLEANUP_H
#define L3AF_CLEANUP_H

/*
 * Ownership: a local marked with one of these owns what it holds, is initialised
 * where it is declared (fd: -1, pointers: NULL) and releases it at the end of its
 * scope. take_fd() hands ownership to the caller.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p) { free(*(void **)p); }
static inline void cleanup_fd(int *fd) { if (*fd >= 0) close(*fd); }
static inline void cleanup_dir(DIR **d) { if (*d) closedir(*d); }
static inline void cleanup_file(FILE **f) { if (*f) fclose(*f); }

#define auto_free __attribute__((cleanup(cleanup_free)))
#define auto_fd __attribute__((cleanup(cleanup_fd)))
#define auto_dir __attribute__((cleanup(cleanup_dir)))
#define auto_file __attribute__((cleanup(cleanup_file)))

static inline int take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

#endif
