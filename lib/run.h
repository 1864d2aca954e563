/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_RUN_H
#define L3AF_RUN_H

#include <stdbool.h>
#include <linux/types.h>

#include <time.h>

struct changes;

/* CLOCK_MONOTONIC, microseconds. */
static inline __u64 run_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (__u64)t.tv_sec * 1000000 + (__u64)t.tv_nsec / 1000;
}

/* One run of a command: what the --options said, and where its answer goes. */
struct run {
	bool json;
	bool dry_run;    /* print the changes, touch nothing */
	bool quiet;      /* -q: no warnings */
	bool verbose;    /* -v: also say "unchanged"; wide listings */
	__u64 started_us; /* run_now_us() when the words were given */
	__u64 wait_us;   /* how long to wait for the lock; default 10 s */
	const char *bpffs;  /* the bpffs mount; default /sys/fs/bpf, L3AF_BPFFS */
	struct changes *changes; /* main prints them after a mutating command that succeeded */
	bool has_changed;        /* or that says so: it made them, and failed then */
};

#endif
