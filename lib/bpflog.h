/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_BPFLOG_H
#define L3AF_BPFLOG_H

/* What libbpf and libxdp say goes nowhere but here: their first complaint is the
 * useful one, and it becomes part of our own message. */

/* From now on keep the first warning, and print nothing. */
void bpflog_begin(void);
/* It, without its prefix; a stock phrase where there was none. */
const char *bpflog_reason(void);
/* The same for a reason that came from another process. */
void bpflog_set(const char *text);

#endif
