// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * killat call K COMMAND WORD...   SIGKILL at the entry of the K-th system call of the command
 * killat us N COMMAND WORD...     SIGKILL after N microseconds
 * killat fail K COMMAND WORD...   its K-th bpf(2) is not made and returns -ENOMEM; what it says, and
 *                                 "status N"
 *
 * Exit status 0: it was killed, or failed; 1: it had ended before.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "command.h"
#include "traffic.h"

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(2);
}

static int fail_at(const struct command *c, int k, struct outcome *o)
{
	command_fail_at(c, k, ENOMEM, o);
	printf("%s%sstatus %d\n", o->out, o->err, o->status);
	return !o->was_reached;
}

int main(int argc, char **argv)
{
	static struct outcome o;
	struct command c = { 0 };

	if (argc < 4)
		die("killat call|us N COMMAND WORD...");
	for (int i = 3; i < argc; i++)
		command_word(&c, "%s", argv[i]);
	if (!strcmp(argv[1], "call"))
		command_kill_at(&c, atoi(argv[2]), &o);
	else if (!strcmp(argv[1], "us"))
		command_kill_after(&c, (unsigned)atoi(argv[2]), &o);
	else
		return fail_at(&c, atoi(argv[2]), &o);
	if (o.status > 0)
		die("exit status %d: %s", o.status, o.err);
	return o.status < 0 ? 0 : 1;
}
