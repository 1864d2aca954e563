// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "mirror.h"
#include "parseparts.h"

struct unit {
	const char *word;
	__u64 of; /* microseconds; bits */
};

/* The largest comes first: formatters take the first that divides. */
static const struct unit durations[] = {
	{ "h", 3600000000 }, { "m", 60000000 }, { "s", 1000000 }, { "", 1000000 }, { "ms", 1000 }, { "us", 1 }, { 0 },
};
static const struct unit bit_rates[] = {
	{ "tbit", 1000000000000 }, { "gbit", 1000000000 }, { "mbit", 1000000 }, { "kbit", 1000 }, { "bit", 1 }, { 0 },
};
static const struct unit rates[] = {
	{ "/h", 3600000000 }, { "/m", 60000000 }, { "/s", 1000000 }, { "", 1000000 }, { 0 },
};

int parse_wrong(struct why *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, ap);
	va_end(ap);
	return -E_USAGE;
}

int parse_number(const char **s, __u64 *v)
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

	if (parse_number(&end, v) || *end || *v < min || *v > max)
		return parse_wrong(why, "is not a number in %" PRIu64 "..%" PRIu64, (uint64_t)min, (uint64_t)max);
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
		return parse_wrong(why, "is not " NAME_WHY);
	memcpy(name, s, len + 1);
	return 0;
}

int parse_names(const char *s, char (*names)[NAME_LEN], int max, int *n, struct why *why)
{
	*n = 0;
	for (;; s++) {
		size_t len = strcspn(s, ",");

		if (!is_name(s, len))
			return parse_wrong(why, "is not a list NAME,NAME,... where each is " NAME_WHY);
		if (*n == max)
			return parse_wrong(why, "has more than %d names", max);
		memcpy(names[*n], s, len);
		names[*n][len] = 0;
		for (int i = 0; i < *n; i++)
			if (!strcmp(names[i], names[*n]))
				return parse_wrong(why, "has %s twice", names[i]);
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
	parse_wrong(why, "is not one of");
	for (int i = 0; words[i]; i++) {
		used = strlen(why->text);
		snprintf(why->text + used, sizeof(why->text) - used, "%s %s", i ? "," : "", words[i]);
	}
	return -E_USAGE;
}

int parse_rate(const char *s, struct rate *r, struct why *why)
{
	const struct unit *unit = NULL;
	const char *end = s;

	if (!parse_number(&end, &r->count) && r->count)
		unit = unit_find(rates, end);
	if (!unit)
		return parse_wrong(why, "is not a rate N/s, N/m or N/h of at least 1");
	r->unit_us = unit->of;
	return 0;
}

int parse_pace(const char *s, struct rate *r, struct why *why)
{
	*r = (struct rate){ 0 };
	if (!strcmp(s, "none"))
		return 0;
	if (parse_rate(s, r, why))
		return parse_wrong(why, "is not a rate N/s, N/m or N/h of at least 1, or none");
	return 0;
}

#define SAMPLE_MAX 1000000

int parse_sample(const char *s, __u64 *n, struct why *why)
{
	const char *end = s + 2;

	if (strncmp(s, "1/", 2) || parse_number(&end, n) || *end || *n < 1 || *n > SAMPLE_MAX)
		return parse_wrong(why, "is not 1/N with N in 1..%d", SAMPLE_MAX);
	return 0;
}

int parse_vlan(const char *s, int *vid, struct why *why)
{
	__u64 v;

	*vid = -1;
	if (!strcmp(s, "none"))
		return 0;
	if (parse_u64(s, 0, 4094, &v, why))
		return parse_wrong(why, "is not a VLAN ID in 0..4094, or none");
	*vid = (int)v;
	return 0;
}

#define BITS_LEAST 1000ULL
#define BITS_MOST 1000000000000ULL

int parse_bits(const char *s, __u64 *bits, struct why *why)
{
	const struct unit *unit = NULL;
	const char *end = s;

	*bits = 0;
	if (!strcmp(s, "none"))
		return 0;
	if (!parse_number(&end, bits))
		unit = unit_find(bit_rates, end);
	if (!unit || __builtin_mul_overflow(*bits, unit->of, bits) || *bits < BITS_LEAST || *bits > BITS_MOST)
		return parse_wrong(why, "is not a bit rate in 1kbit..1tbit, as 500kbit, 100mbit or 10gbit, or none");
	return 0;
}

static const char *const tcp_flags[] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr" };

/* Words with commas between, or "none", up to end. */
static int tcp_flags_read(const char *s, const char *end, __u8 *flags)
{
	*flags = 0;
	if (end - s == 4 && !strncmp(s, "none", 4))
		return 0;
	for (;; s++) {
		const char *comma = memchr(s, ',', (size_t)(end - s)), *stop = comma ? comma : end;
		int bit = 0;

		while (bit < 8 && (stop - s != 3 || strncmp(s, tcp_flags[bit], 3)))
			bit++;
		if (bit == 8 || *flags & 1 << bit)
			return -EINVAL;
		*flags |= (__u8)(1 << bit);
		s = stop;
		if (s == end)
			return 0;
	}
}

int parse_tcp_flags(const char *s, __u8 *flags, __u8 *mask, struct why *why)
{
	const char *slash = strchrnul(s, '/');
	int err = tcp_flags_read(s, slash, flags);

	*mask = *flags;
	if (!err && *slash)
		err = tcp_flags_read(slash + 1, s + strlen(s), mask);
	if (err || !*mask)
		return parse_wrong(why, "is not FLAGS or FLAGS/MASK of fin, syn, rst, psh, ack, urg, ece, cwr, as "
			     "syn/syn,ack, or none/rst");
	if (*flags & ~*mask)
		return parse_wrong(why, "has flags that are not in its mask");
	return 0;
}

int parse_snaplen(const char *s, __u16 *snaplen, struct why *why)
{
	__u64 v;

	*snaplen = !strcmp(s, "headers") ? MIRROR_HEADERS : 0;
	if (*snaplen || !strcmp(s, "all"))
		return 0;
	if (parse_u64(s, MIRROR_SNAPLEN_LEAST, MIRROR_HEADERS - 1, &v, why))
		return parse_wrong(why, "is not a number of octets in %d..%d, headers or all", MIRROR_SNAPLEN_LEAST,
			     MIRROR_HEADERS - 1);
	*snaplen = (__u16)v;
	return 0;
}

int parse_duration(const char *s, __u64 min_us, __u64 max_us, __u64 *us, struct why *why)
{
	const struct unit *unit = NULL;
	const char *end = s;
	char min[32], max[32];

	if (!parse_number(&end, us))
		unit = unit_find(durations, end);
	if (!unit || __builtin_mul_overflow(*us, unit->of, us) || *us < min_us || *us > max_us)
		return parse_wrong(why, "is not a duration in %s..%s, as 250ms, 2s, 5m or 1h",
			     format_duration(min_us, min, sizeof(min)),
			     format_duration(max_us, max, sizeof(max)));
	return 0;
}

const char *format_rate(const struct rate *r, char *buf, size_t size)
{
	char unit[32];

	for (const struct unit *u = rates; u->word; u++) {
		if (u->of == r->unit_us) {
			snprintf(buf, size, "%" PRIu64 "%s", (uint64_t)r->count, u->word);
			return buf;
		}
	}
	snprintf(buf, size, "%" PRIu64 " per %s", (uint64_t)r->count,
		 format_duration(r->unit_us, unit, sizeof(unit)));
	return buf;
}

const char *format_bits(__u64 bits, char *buf, size_t size)
{
	const struct unit *u = bit_rates;

	if (!bits) {
		snprintf(buf, size, "none");
		return buf;
	}
	while (bits % u->of)
		u++;
	snprintf(buf, size, "%" PRIu64 "%s", (uint64_t)(bits / u->of), u->word);
	return buf;
}

static size_t tcp_flags_write(__u8 flags, char *buf, size_t size)
{
	size_t used = (size_t)snprintf(buf, size, flags ? "" : "none");

	for (int bit = 0; bit < 8; bit++)
		if (flags & 1 << bit && used < size)
			used += (size_t)snprintf(buf + used, size - used, "%s%s", used ? "," : "", tcp_flags[bit]);
	return used;
}

const char *format_tcp_flags(__u8 flags, __u8 mask, char *buf, size_t size)
{
	size_t used = tcp_flags_write(flags, buf, size);

	if (flags != mask && used + 1 < size) {
		buf[used++] = '/';
		tcp_flags_write(mask, buf + used, size - used);
	}
	return buf;
}

const char *format_duration(__u64 us, char *buf, size_t size)
{
	const struct unit *u = us ? durations : unit_find(durations, "s");

	while (us % u->of)
		u++;
	snprintf(buf, size, "%" PRIu64 "%s", (uint64_t)(us / u->of), u->word);
	return buf;
}

const char *format_time(__u64 seconds, char *buf, size_t size)
{
	time_t when = (time_t)seconds;
	struct tm tm;

	if (!gmtime_r(&when, &tm) || !strftime(buf, size, "%FT%TZ", &tm))
		*buf = 0;
	return buf;
}

/*
 * Protocols.
 */
static const struct {
	const char *name;
	__u8 proto;
} protos[] = {
	{ "tcp", 6 }, { "udp", 17 }, { "icmp", 1 }, { "icmpv6", 58 }, { "sctp", 132 }, { "dccp", 33 },
	{ "udplite", 136 }, { "igmp", 2 }, { "ipip", 4 }, { "ipv6", 41 }, { "gre", 47 }, { "esp", 50 },
	{ "ah", 51 }, { "ospf", 89 }, { "pim", 103 }, { "vrrp", 112 }, { "l2tp", 115 },
};
#define PROTOS (sizeof(protos) / sizeof(protos[0]))

bool proto_has_ports(int proto)
{
	return proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP || proto == IPPROTO_DCCP ||
	       proto == IPPROTO_UDPLITE;
}

bool proto_is_icmp(int proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

int parse_proto_part(const char *s, size_t len)
{
	const char *end = s;
	__u64 v;

	for (size_t i = 0; i < PROTOS; i++)
		if (strlen(protos[i].name) == len && !strncmp(protos[i].name, s, len))
			return protos[i].proto;
	return parse_number(&end, &v) || end != s + len || v > 255 ? -EINVAL : (int)v;
}

int parse_proto(const char *s, int *proto, struct why *why)
{
	*proto = parse_proto_part(s, strlen(s));
	if (*proto < 0)
		return parse_wrong(why, "is not a protocol, as tcp, udp, icmp, icmpv6, sctp, gre, esp or a number in 0..255");
	return 0;
}

const char *format_proto(int proto, char *buf, size_t size)
{
	for (size_t i = 0; i < PROTOS; i++) {
		if (protos[i].proto == proto) {
			snprintf(buf, size, "%s", protos[i].name);
			return buf;
		}
	}
	snprintf(buf, size, "%d", proto);
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
