/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <bpf/libbpf.h>
#include <stdio.h>
#include <string.h>
#include <xdp/libxdp.h>

#include "bpflog.h"

/* The print callbacks have no argument to hang this on. */
static char first[256];

__attribute__((format(printf, 2, 0)))
static int keep(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_WARN && !first[0]) {
		vsnprintf(first, sizeof(first), fmt, ap);
		first[strcspn(first, "\n")] = '\0';
	}
	return 0;
}

__attribute__((format(printf, 2, 0)))
static int drop(enum libxdp_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

void bpflog_begin(void)
{
	first[0] = '\0';
	libbpf_set_print(keep);
	libxdp_set_print(drop);
}

void bpflog_set(const char *text)
{
	snprintf(first, sizeof(first), "%s", text);
}

const char *bpflog_reason(void)
{
	if (!first[0])
		return "libbpf gives no reason";
	return first + (strncmp(first, "libbpf: ", 8) ? 0 : 8);
}
