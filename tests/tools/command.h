/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef TESTS_COMMAND_H
#define TESTS_COMMAND_H

/* One run of l3afctl, whole, killed or with an error put into one of its system calls. */
#include <stdbool.h>
#include <sys/types.h>

#define COMMAND_WORDS 32

struct command {
	int argc;
	char argv[COMMAND_WORDS][160];
};

struct outcome {
	int status;       /* exit status; -1: killed */
	bool was_reached; /* the system call asked for came up */
	char out[65536], err[4096];
};

__attribute__((format(printf, 2, 3)))
void command_word(struct command *c, const char *fmt, ...);
void command_print(const struct command *c);

/* Run to its end. */
void command_run(const struct command *c, struct outcome *o);
/* SIGKILL after us microseconds. */
void command_kill_after(const struct command *c, unsigned us, struct outcome *o);
/* SIGKILL at the entry of the k-th system call (from 1), which is not executed. What
 * the dynamic loader does before the command proper is not counted. */
void command_kill_at(const struct command *c, int k, struct outcome *o);
/* The k-th bpf(2) is not executed and returns -error. */
void command_fail_at(const struct command *c, int k, int error, struct outcome *o);

#endif
