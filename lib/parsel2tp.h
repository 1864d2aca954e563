/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_PARSEL2TP_H
#define L3AF_PARSEL2TP_H

/* Values of L2TPv3, parsed as lib/parse.h says. */
#include "parse.h"

/* RFC 3931, section 4.1: 0, 4 or 8 octets, in the order they are sent. */
struct cookie {
	__u8 len;
	__u8 b[8];
};
#define COOKIE_LEN 20 /* as text */
/* "0a1b2c3d", "0a1b2c3d4e5f6071"; "none" */
must_use int parse_cookie(const char *s, struct cookie *c, struct why *why);
const char *format_cookie(const struct cookie *c, char *buf, size_t size);

/* The tags of a frame, outer first; -1: none. */
struct vlans {
	int outer, inner;
};
/* "100", "100.200" */
must_use int parse_vlans(const char *s, struct vlans *v, struct why *why);
const char *format_vlans(const struct vlans *v, char *buf, size_t size);

#endif
