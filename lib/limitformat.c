/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "limitrules.h"

#define SOURCE_LEN4 32
#define SOURCE_LEN6 64

const char *const limit_action_words[] = { "drop", "reset", NULL };
static const char *const per_words[] = { "interface", "port", "source", "vip", NULL };

const char *limit_format_ports(const struct limit_rule *rule, char *buf, size_t size)
{
	const struct ports ports = { rule->port_lo, rule->port_hi };

	return format_ports(&ports, buf, size);
}

const char *limit_format_vip(const struct limit_rule *rule, char *buf, size_t size)
{
	struct addr vip;

	memcpy(vip.b, rule->vip, sizeof(vip.b));
	if (!rule->vip[0] && !rule->vip[1])
		snprintf(buf, size, "any");
	else
		format_addr(&vip, buf, size);
	return buf;
}

const char *limit_format_per(const struct limit_rule *rule, char *buf, size_t size)
{
	if (rule->per == LIMIT_PER_SOURCE && rule->len4 != SOURCE_LEN4)
		snprintf(buf, size, "source/%u", rule->len4);
	else if (rule->per == LIMIT_PER_SOURCE && rule->len6 != SOURCE_LEN6)
		snprintf(buf, size, "source/%u", rule->len6);
	else
		snprintf(buf, size, "%s", per_words[rule->per]);
	return buf;
}

const char *limit_format_key(const struct limit_rule *rule, const struct limit_key *key, char *buf, size_t size)
{
	struct addr addr;
	char text[INET6_ADDRSTRLEN];

	memcpy(addr.b, key->part, sizeof(addr.b));
	format_addr(&addr, text, sizeof(text));
	if (rule->per == LIMIT_PER_PORT)
		snprintf(buf, size, "%u", key->part[0]);
	else if (rule->per == LIMIT_PER_SOURCE && (addr_is_v4(&addr) ? rule->len4 < 32 : rule->len6 < 128))
		snprintf(buf, size, "%s/%u", text, addr_is_v4(&addr) ? rule->len4 : rule->len6);
	else
		snprintf(buf, size, "%s", text);
	return buf;
}

int limit_parse_per(const char *s, struct limit_rule *rule, struct why *why)
{
	const char *slash = strchrnul(s, '/');
	char word[16];
	__u64 len;
	int per;

	snprintf(word, sizeof(word), "%.*s", (int)(slash - s), s);
	if (parse_enum(word, per_words, &per, why))
		return -E_USAGE;
	rule->per = (__u8)per;
	if (per == LIMIT_PER_SOURCE) {
		rule->len4 = SOURCE_LEN4;
		rule->len6 = SOURCE_LEN6;
	}
	if (!*slash)
		return 0;
	if (per != LIMIT_PER_SOURCE || parse_u64(slash + 1, 1, 128, &len, why)) {
		snprintf(why->text, sizeof(why->text), "is not interface, port, vip, source or source/1..source/128 "
			 "(to 32 for IPv4, above for IPv6)");
		return -E_USAGE;
	}
	*(len <= 32 ? &rule->len4 : &rule->len6) = (__u8)len;
	return 0;
}
