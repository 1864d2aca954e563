/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_ERR_H
#define L3AF_ERR_H

/*
 * Functions return 0 or a negative error; the error is printed once, by fail(),
 * at the place that knows the names. Besides -errno there are three of our own,
 * which main() turns into exit codes 2, 4 and 3.
 */
enum {
	E_USAGE = 5001,   /* bad words or a bad file: nothing was attempted */
	E_LOCKED = 5002,  /* the lock was not obtained in time */
	E_DIFFERS = 5003, /* diff found differences */
};

#define must_use __attribute__((warn_unused_result))

/* Print "l3afctl: " and the message, return err unchanged. */
__attribute__((format(printf, 2, 3)))
int fail(int err, const char *fmt, ...);

/* The same, followed by ": " and what err means; errors an operator meets often
 * are explained instead of named (EPERM names the missing capability). */
__attribute__((format(printf, 2, 3)))
int fail_errno(int err, const char *fmt, ...);

/* A message that is no error: "l3afctl: warning: ..."; silent after err_set_quiet(1). */
__attribute__((format(printf, 1, 2)))
void warn(const char *fmt, ...);
void err_set_quiet(int quiet);

#endif
