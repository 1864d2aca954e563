// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "text.h"

static int is_tail(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static int length_of(unsigned char first)
{
	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		return 2;
	if ((first & 0xf0) == 0xe0)
		return 3;
	if (first >= 0xf0 && first <= 0xf4)
		return 4;
	return 0;
}

int text_next(const char *s, __u32 *c)
{
	static const __u32 least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	int len = length_of((unsigned char)*s);

	*c = TEXT_INVALID;
	if (!len)
		return 1;
	__u32 v = len == 1 ? (unsigned char)*s : (unsigned char)*s & (0x7f >> len);
	for (int i = 1; i < len; i++) {
		if (!is_tail(s[i]))
			return 1;
		v = v << 6 | ((unsigned char)s[i] & 0x3f);
	}
	if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 1;
	*c = v;
	return len;
}

int text_is_control(__u32 c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/* Writes the bytes from *s on that nothing has to be done to, but for " and \ in JSON;
 * returns the length of the character that stopped it, 0 at the end. */
static int put_plain(FILE *f, const char **s, int is_json, __u32 *c)
{
	size_t n = 0;

	while ((*s)[n] >= ' ' && (*s)[n] < 0x7f && !(is_json && ((*s)[n] == '"' || (*s)[n] == '\\')))
		n++;
	fwrite(*s, 1, n, f);
	*s += n;
	return **s ? text_next(*s, c) : 0;
}

void text_put(FILE *f, const char *s)
{
	__u32 c;

	for (int len; (len = put_plain(f, &s, 0, &c)); s += len) {
		if (c != TEXT_INVALID && !text_is_control(c))
			fwrite(s, 1, len, f);
		else
			for (int i = 0; i < len; i++)
				fprintf(f, "\\x%02x", (unsigned char)s[i]);
	}
}

/* Of what text_put made: control characters are gone by then. */
int text_width(const char *s)
{
	int width = 0;

	for (__u32 c; *s; width++)
		s += text_next(s, &c);
	return width;
}

void text_put_json(FILE *f, const char *s)
{
	__u32 c;

	putc('"', f);
	for (int len; (len = put_plain(f, &s, 1, &c)); s += len) {
		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (char)c);
		else if (c == TEXT_INVALID)
			fputs("\\ufffd", f);
		else if (text_is_control(c))
			fprintf(f, "\\u%04x", c);
		else
			fwrite(s, 1, len, f);
	}
	putc('"', f);
}
