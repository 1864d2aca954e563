/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_PARSEPARTS_H
#define L3AF_PARSEPARTS_H

/* What lib/parse*.c share: values that are parts of others. */
#include "parse.h"

/* Reads the decimal number at *s and moves *s behind it: 0, -ERANGE, -EINVAL. */
must_use int parse_number(const char **s, __u64 *v);
/* The protocol that the len characters at s name, or -EINVAL. */
must_use int parse_proto_part(const char *s, size_t len);

#endif
