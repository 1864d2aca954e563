// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "command.h"

#include <elf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/ptrace.h>
#include "traffic.h"

void command_word(struct command *c, const char *fmt, ...)
{
	va_list ap;

	if (c->argc == COMMAND_WORDS)
		die("too many words");
	va_start(ap, fmt);
	vsnprintf(c->argv[c->argc++], sizeof(c->argv[0]), fmt, ap);
	va_end(ap);
}

void command_print(const struct command *c)
{
	for (int i = 0; i < c->argc; i++)
		fprintf(stderr, "%s%s", i ? " " : "", c->argv[i]);
	fputc('\n', stderr);
}

static pid_t start(const struct command *c, bool traced, int out, int err)
{
	char *argv[COMMAND_WORDS + 1] = { 0 };
	pid_t pid;

	for (int i = 0; i < c->argc; i++)
		argv[i] = (char *)c->argv[i];
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	dup2(out, 1);
	dup2(err, 2);
	if (traced)
		ptrace(PTRACE_TRACEME, 0, 0, 0);
	execv(argv[0], argv);
	_exit(127);
}

static int buffer(void)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	if (fd < 0)
		die("memfd: %s", strerror(errno));
	return fd;
}

static void collect(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n > 0 ? n : 0] = 0;
	close(fd);
}

static void finish(struct outcome *o, int status, int out, int err)
{
	o->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	collect(out, o->out, sizeof(o->out));
	collect(err, o->err, sizeof(o->err));
	if (o->status < 0 && WTERMSIG(status) != SIGKILL)
		die("the command died of signal %d", WTERMSIG(status));
}

static int reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			die("wait: %s", strerror(errno));
	return status;
}

void command_run(const struct command *c, struct outcome *o)
{
	int out = buffer(), err = buffer();
	pid_t pid = start(c, false, out, err);

	finish(o, reap(pid), out, err);
}

void command_kill_after(const struct command *c, unsigned us, struct outcome *o)
{
	int out = buffer(), err = buffer();
	pid_t pid = start(c, false, out, err);

	nanosleep(&(struct timespec){ us / 1000000, us % 1000000 * 1000 }, NULL);
	kill(pid, SIGKILL);
	finish(o, reap(pid), out, err);
}

/* What the command proper starts with, after the loader's work. */
static bool is_first_of_ours(unsigned long nr)
{
	return nr == SYS_bpf || nr == SYS_flock || nr == SYS_socket || nr == SYS_mkdirat ||
	       nr == SYS_statfs || nr == SYS_fstatfs || nr == SYS_setns;
}

static void syscall_replace(pid_t pid)
{
#ifdef __x86_64__
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
		die("ptrace: %s", strerror(errno));
	regs.orig_rax = -1;
	if (ptrace(PTRACE_SETREGS, pid, 0, &regs))
		die("ptrace: %s", strerror(errno));
#else
	die("errors are put into system calls on x86-64 only (%d)", pid);
#endif
}

static void syscall_return(pid_t pid, long value)
{
#ifdef __x86_64__
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
		die("ptrace: %s", strerror(errno));
	regs.rax = value;
	if (ptrace(PTRACE_SETREGS, pid, 0, &regs))
		die("ptrace: %s", strerror(errno));
#else
	die("errors are put into system calls on x86-64 only (%d, %ld)", pid, value);
#endif
}

/* Follow the command from system call to system call. With error 0 it is killed at the
 * k-th, otherwise the k-th bpf(2) fails. */
static void traced(const struct command *c, int k, int error, struct outcome *o)
{
	int out = buffer(), err = buffer(), status, n = 0, deliver = 0;
	pid_t pid = start(c, true, out, err);
	bool has_begun = false, is_failing = false;

	o->was_reached = false;
	status = reap(pid); /* stopped by its exec */
	if (!WIFSTOPPED(status))
		die("cannot trace");
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	for (;;) {
		struct ptrace_syscall_info info;

		if (ptrace(PTRACE_SYSCALL, pid, 0, deliver))
			die("ptrace: %s", strerror(errno));
		status = reap(pid);
		if (!WIFSTOPPED(status))
			break;
		deliver = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
		if (deliver)
			continue;
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0)
			die("ptrace: %s", strerror(errno));
		if (is_failing && info.op == PTRACE_SYSCALL_INFO_EXIT) {
			syscall_return(pid, -error);
			is_failing = false;
		}
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		has_begun = has_begun || is_first_of_ours(info.entry.nr);
		if (!has_begun || (error && info.entry.nr != SYS_bpf) || ++n != k)
			continue;
		o->was_reached = true;
		if (error) {
			syscall_replace(pid);
			is_failing = true;
		} else {
			kill(pid, SIGKILL);
			status = reap(pid);
			while (WIFSTOPPED(status))
				status = reap(pid);
			break;
		}
	}
	finish(o, status, out, err);
}

void command_kill_at(const struct command *c, int k, struct outcome *o)
{
	traced(c, k, 0, o);
}

void command_fail_at(const struct command *c, int k, int error, struct outcome *o)
{
	traced(c, k, error, o);
}
