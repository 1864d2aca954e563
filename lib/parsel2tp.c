/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "parsel2tp.h"

static int digit(char c)
{
	static const char lower[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
	const char *at = c ? strchr(lower, c) : NULL;

	if (at)
		return (int)(at - lower);
	at = c ? strchr(upper, c) : NULL;
	return at ? (int)(at - upper) : -1;
}

int parse_cookie(const char *s, struct cookie *c, struct why *why)
{
	size_t len = strlen(s);

	*c = (struct cookie){ 0 };
	if (!strcmp(s, "none"))
		return 0;
	if (len != 8 && len != 16)
		return parse_wrong(why, "is not 8 or 16 hexadecimal digits, nor none");
	for (size_t i = 0; i < len; i++) {
		int d = digit(s[i]);

		if (d < 0)
			return parse_wrong(why, "is not 8 or 16 hexadecimal digits, nor none");
		c->b[i / 2] = (__u8)(c->b[i / 2] << 4 | d);
	}
	c->len = (__u8)(len / 2);
	return 0;
}

const char *format_cookie(const struct cookie *c, char *buf, size_t size)
{
	snprintf(buf, size, "none");
	for (size_t i = 0; i < c->len; i++)
		snprintf(buf + 2 * i, size - 2 * i, "%02x", c->b[i]);
	return buf;
}

/* 802.1Q: 0 tags the priority only, 4095 is reserved. */
static int vid_read(const char *s, int *vid)
{
	struct why unused;
	__u64 v;
	int err = parse_u64(s, 1, 4094, &v, &unused);

	*vid = err ? -1 : (int)v;
	return err;
}

int parse_vlans(const char *s, struct vlans *v, struct why *why)
{
	const char *dot = strchr(s, '.');
	char outer[8];

	*v = (struct vlans){ -1, -1 };
	snprintf(outer, sizeof(outer), "%.*s", dot ? (int)(dot - s) : 7, s);
	if ((dot && dot - s > 4) || vid_read(outer, &v->outer) || (dot && vid_read(dot + 1, &v->inner)))
		return parse_wrong(why, "is not a VLAN ID in 1..4094, or two with a dot between (100.200)");
	return 0;
}

const char *format_vlans(const struct vlans *v, char *buf, size_t size)
{
	if (v->outer < 0)
		snprintf(buf, size, "none");
	else if (v->inner < 0)
		snprintf(buf, size, "%d", v->outer);
	else
		snprintf(buf, size, "%d.%d", v->outer, v->inner);
	return buf;
}
