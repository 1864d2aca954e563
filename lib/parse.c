// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "parse.h"

struct unit {
	const char *word;
	__u64 us;
};

/* The largest comes first: formatters take the first that divides. */
static const struct unit durations[] = {
	{ "h", 3600000000 }, { "m", 60000000 }, { "s", 1000000 }, { "", 1000000 }, { "ms", 1000 }, { "us", 1 }, { 0 },
};
static const struct unit rates[] = {
	{ "/h", 3600000000 }, { "/m", 60000000 }, { "/s", 1000000 }, { "", 1000000 }, { 0 },
};

__attribute__((format(printf, 2, 3)))
static int wrong(struct why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -E_USAGE;
}

/* Reads the decimal number at *s and moves *s behind it. */
static int number_read(const char **s, __u64 *v)
{
	const char *p = *s;

	*v = 0;
	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*v, 10, v) || __builtin_add_overflow(*v, (__u64)(*p - '0'), v))
			return -ERANGE;
	if (p == *s || (**s == '0' && p - *s > 1))
		return -EINVAL;
	*s = p;
	return 0;
}

static const struct unit *unit_find(const struct unit *units, const char *word)
{
	for (; units->word; units++)
		if (!strcmp(units->word, word))
			return units;
	return NULL;
}

int parse_u64(const char *s, __u64 min, __u64 max, __u64 *v, struct why *why)
{
	const char *end = s;

	if (number_read(&end, v) || *end || *v < min || *v > max)
		return wrong(why, "is not a number in %" PRIu64 "..%" PRIu64, (uint64_t)min, (uint64_t)max);
	return 0;
}

static bool is_name(const char *s, size_t len)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

	return len >= 1 && len < NAME_LEN && strspn(s, set) >= len;
}

#define NAME_WHY "a name of 1 to 15 letters, digits, _ or -"

int parse_name(const char *s, char name[NAME_LEN], struct why *why)
{
	size_t len = strlen(s);

	if (!is_name(s, len))
		return wrong(why, "is not " NAME_WHY);
	memcpy(name, s, len + 1);
	return 0;
}

int parse_names(const char *s, char (*names)[NAME_LEN], int max, int *n, struct why *why)
{
	*n = 0;
	for (;; s++) {
		size_t len = strcspn(s, ",");

		if (!is_name(s, len))
			return wrong(why, "is not a list NAME,NAME,... where each is " NAME_WHY);
		if (*n == max)
			return wrong(why, "has more than %d names", max);
		memcpy(names[*n], s, len);
		names[*n][len] = 0;
		for (int i = 0; i < *n; i++)
			if (!strcmp(names[i], names[*n]))
				return wrong(why, "has %s twice", names[i]);
		++*n;
		s += len;
		if (!*s)
			return 0;
	}
}

int parse_enum(const char *s, const char *const *words, int *index, struct why *why)
{
	size_t used;

	for (int i = 0; words[i]; i++) {
		if (!strcmp(s, words[i])) {
			*index = i;
			return 0;
		}
	}
	wrong(why, "is not one of");
	for (int i = 0; words[i]; i++) {
		used = strlen(why->text);
		snprintf(why->text + used, sizeof(why->text) - used, "%s %s", i ? "," : "", words[i]);
	}
	return -E_USAGE;
}

static int addr_read(const char *s, struct addr *a)
{
	static const struct addr mapped = { { [10] = 0xff, [11] = 0xff } };

	*a = mapped;
	if (inet_pton(AF_INET, s, a->b + 12) == 1 || inet_pton(AF_INET6, s, a->b) == 1)
		return 0;
	return -EINVAL;
}

bool addr_is_v4(const struct addr *a)
{
	static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };

	return !memcmp(a->b, mapped, sizeof(mapped));
}

int parse_addr(const char *s, struct addr *a, struct why *why)
{
	if (addr_read(s, a))
		return wrong(why, "is not an IPv4 or IPv6 address");
	return 0;
}

static void addr_mask(struct addr *a, int len)
{
	for (int i = 0; i < 16; i++, len -= 8)
		a->b[i] &= len >= 8 ? 0xff : len <= 0 ? 0 : (__u8)(0xff << (8 - len));
}

int parse_prefix(const char *s, struct prefix *p, struct why *why)
{
	const char *slash = strchrnul(s, '/'), *end = slash + 1;
	char text[INET6_ADDRSTRLEN] = "";
	struct addr network;
	__u64 len;

	if ((size_t)(slash - s) < sizeof(text))
		memcpy(text, s, slash - s);
	if (addr_read(text, &p->addr))
		return wrong(why, "is not an IPv4 or IPv6 ADDRESS or ADDRESS/LENGTH");
	bool is_v4 = !strchr(text, ':');
	if (!*slash)
		len = is_v4 ? 32 : 128;
	else if (number_read(&end, &len) || *end || len > (is_v4 ? 32 : 128))
		return wrong(why, "has no prefix length in 0..%d", is_v4 ? 32 : 128);
	p->len = (__u8)(is_v4 ? len + 96 : len);
	network = p->addr;
	addr_mask(&network, p->len);
	if (memcmp(&network, &p->addr, sizeof(network)))
		return wrong(why, "has bits behind its length; the network is %s/%" PRIu64,
			     format_addr(&network, text, sizeof(text)), (uint64_t)len);
	return 0;
}

int parse_ports(const char *s, struct ports *p, struct why *why)
{
	const char *end = s;
	__u64 lo, hi;

	*p = (struct ports){ 0 };
	if (!strcmp(s, "any"))
		return 0;
	if (number_read(&end, &lo))
		goto wrong;
	hi = lo;
	if (*end == '-') {
		end++;
		if (number_read(&end, &hi))
			goto wrong;
	}
	if (*end || lo < 1 || hi > 65535 || lo > hi)
		goto wrong;
	*p = (struct ports){ (__u16)lo, (__u16)hi };
	return 0;
wrong:
	return wrong(why, "is not a port or range P-Q in 1..65535");
}

int parse_rate(const char *s, struct rate *r, struct why *why)
{
	const struct unit *unit = NULL;
	const char *end = s;

	if (!number_read(&end, &r->count) && r->count)
		unit = unit_find(rates, end);
	if (!unit)
		return wrong(why, "is not a rate N/s, N/m or N/h of at least 1");
	r->unit_us = unit->us;
	return 0;
}

int parse_duration(const char *s, __u64 min_us, __u64 max_us, __u64 *us, struct why *why)
{
	const struct unit *unit = NULL;
	const char *end = s;
	char min[32], max[32];

	if (!number_read(&end, us))
		unit = unit_find(durations, end);
	if (!unit || __builtin_mul_overflow(*us, unit->us, us) || *us < min_us || *us > max_us)
		return wrong(why, "is not a duration in %s..%s, as 250ms, 2s, 5m or 1h",
			     format_duration(min_us, min, sizeof(min)),
			     format_duration(max_us, max, sizeof(max)));
	return 0;
}

const char *format_addr(const struct addr *a, char *buf, size_t size)
{
	const char *text = addr_is_v4(a) ? inet_ntop(AF_INET, a->b + 12, buf, (socklen_t)size) :
					   inet_ntop(AF_INET6, a->b, buf, (socklen_t)size);

	return text ? text : "";
}

const char *format_ports(const struct ports *p, char *buf, size_t size)
{
	if (!p->hi)
		snprintf(buf, size, "any");
	else if (p->lo == p->hi)
		snprintf(buf, size, "%u", p->lo);
	else
		snprintf(buf, size, "%u-%u", p->lo, p->hi);
	return buf;
}

const char *format_rate(const struct rate *r, char *buf, size_t size)
{
	char unit[32];

	for (const struct unit *u = rates; u->word; u++) {
		if (u->us == r->unit_us) {
			snprintf(buf, size, "%" PRIu64 "%s", (uint64_t)r->count, u->word);
			return buf;
		}
	}
	snprintf(buf, size, "%" PRIu64 " per %s", (uint64_t)r->count,
		 format_duration(r->unit_us, unit, sizeof(unit)));
	return buf;
}

const char *format_duration(__u64 us, char *buf, size_t size)
{
	const struct unit *u = us ? durations : unit_find(durations, "s");

	while (us % u->us)
		u++;
	snprintf(buf, size, "%" PRIu64 "%s", (uint64_t)(us / u->us), u->word);
	return buf;
}

#define NEAREST_LEN 24

static int least(int a, int b)
{
	return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap neighbours) between two short words. */
static int distance(const char *a, const char *b)
{
	int d[NEAREST_LEN + 1][NEAREST_LEN + 1];
	int la = (int)strlen(a), lb = (int)strlen(b);

	for (int i = 0; i <= la; i++) {
		for (int j = 0; j <= lb; j++) {
			if (!i || !j) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = least(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
					least(d[i - 1][j], d[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[la][lb];
}

void nearest_try(struct nearest *n, const char *word)
{
	size_t len = strlen(word);

	if (len > NEAREST_LEN || strlen(n->typed) > NEAREST_LEN)
		return;
	int d = distance(n->typed, word);
	if (d > (len > 4 ? 2 : 1) || (n->word && d >= n->distance))
		return;
	n->word = word;
	n->distance = d;
}
