// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "err.h"
#include "text.h"

static int is_quiet;

static const struct {
	int err;
	const char *text;
} meanings[] = {
	{ E_USAGE, "bad usage" },
	{ E_LOCKED, "locked by another command" },
	{ E_DIFFERS, "differs" },
	{ EPERM, "not permitted; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, before Linux 5.11 also RLIMIT_MEMLOCK" },
	{ EACCES, "permission denied; needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or the owner's access to the pins" },
	{ E2BIG, "table full" },
	{ ENOSPC, "no space left" },
	{ ENOMEM, "out of memory" },
	{ ENODEV, "no such interface" },
	{ ENOLINK, "its interface is gone" },
	{ EBUSY, "in use by another program" },
	{ EOPNOTSUPP, "not supported by this kernel or driver" },
	{ ENOSYS, "not supported by this kernel" },
};

static const char *meaning(int err)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].err == err)
			return meanings[i].text;
	return strerror(err);
}

__attribute__((format(printf, 2, 0)))
static void say(const char *prefix, const char *fmt, va_list ap, const char *tail)
{
	char text[2048];

	vsnprintf(text, sizeof(text), fmt, ap);
	fputs(prefix, stderr);
	text_put(stderr, text);
	if (tail) /* strerror's are capitalised */
		fprintf(stderr, ": %c%s", islower(tail[1]) ? tolower(*tail) : *tail, tail + 1);
	putc('\n', stderr);
}

int fail(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("l3afctl: ", fmt, ap, NULL);
	va_end(ap);
	return err;
}

int fail_errno(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say("l3afctl: ", fmt, ap, meaning(-err));
	va_end(ap);
	return err;
}

void warn(const char *fmt, ...)
{
	va_list ap;

	if (is_quiet)
		return;
	va_start(ap, fmt);
	say("l3afctl: warning: ", fmt, ap, NULL);
	va_end(ap);
}

void err_set_quiet(int quiet)
{
	is_quiet = quiet;
}
