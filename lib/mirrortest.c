// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mirrortest.h"

const char *const mirror_fate_words[] = {
	[MIRROR_UNMATCHED] = "unmatched", [MIRROR_REJECTED] = "rejected", [MIRROR_GUARDED] = "guarded",
	[MIRROR_UNSEEN] = "unseen", [MIRROR_UNSENT] = "unsent", [MIRROR_MIRRORED] = "mirrored", NULL
};

/*
 * The filter.
 */
static int first_plainly(const struct mirror_look_all *v, int place, struct match_key key, int direction)
{
	key.direction = (__u8)direction;
	for (int i = 0; i < v->filters; i++)
		if (v->filter[i].place == place && match_compare(&v->filter[i].rec.rule, &key) == MATCH_ALL)
			return i;
	return -1;
}

static int number_of(const struct mirror_look_all *v, int i)
{
	return i < 0 ? 0 : (int)v->filter[i].rec.number;
}

int mirror_test_read(const struct run *run, const char *dev, const struct match_key *key, struct mirror_look_all *v)
{
	int err = mirror_look_probe(run, dev, key, v);

	for (int i = 0; !err && i < v->places; i++) {
		for (int direction = 0; !err && direction < 2; direction++) {
			int first = first_plainly(v, i, *key, direction), found = v->place[i].found[direction];

			if (first != found)
				err = fail(-EILSEQ, "%s: by its filters the packet is of filter %d, what packets are compared with "
					   "says %d (0: none); please report it, with l3afctl mirror filter list", v->place[i].dev,
					   number_of(v, first), number_of(v, found));
		}
	}
	return err;
}

enum mirror_fate mirror_test_fate(const struct mirror_look_all *v, const struct mirror_look_place *p, int direction)
{
	const struct mirror_look_filter *f = p->found[direction] < 0 ? NULL : &v->filter[p->found[direction]];

	if (!f)
		return MIRROR_UNMATCHED;
	if (p->look[direction] == MIRROR_IS_DETACHED || p->look[direction] == MIRROR_IS_GONE)
		return MIRROR_UNSEEN;
	if (f->rec.action == MIRROR_REJECT)
		return MIRROR_REJECTED;
	if (v->collector[0])
		return MIRROR_GUARDED;
	return f->target >= 0 && v->target[f->target].look == MIRROR_IS_ON ? MIRROR_MIRRORED : MIRROR_UNSENT;
}

/*
 * Words.
 */
static struct addr addr_of(const __u64 half[2])
{
	struct addr a;

	for (int i = 0; i < 16; i++)
		a.b[i] = (__u8)(half[i / 8] >> (56 - i % 8 * 8));
	return a;
}

const char *mirror_test_part(enum match_part part)
{
	static const char *const words[] = {
		[MATCH_ALL] = NULL, [MATCH_DIRECTION] = "direction", [MATCH_VERSION] = "version", [MATCH_PROTO] = "proto",
		[MATCH_SRC] = "src", [MATCH_DST] = "dst", [MATCH_SPORT] = "sport", [MATCH_DPORT] = "dport",
		[MATCH_TCP_FLAGS] = "flags", [MATCH_VLAN] = "vlan",
	};

	return words[part];
}

static const char *vlan_text(__u16 vlan, char buf[MIRROR_TEXT])
{
	if (vlan == MATCH_NO_VLAN)
		return "none";
	snprintf(buf, MIRROR_TEXT, "%u", vlan);
	return buf;
}

static const char *flags_text(__u8 flags, char buf[MIRROR_TEXT])
{
	return format_tcp_flags(flags, flags, buf, MIRROR_TEXT);
}

static const char *value_of(enum match_part part, const struct match_key *key, char buf[MIRROR_TEXT])
{
	struct addr a = addr_of(part == MATCH_SRC ? key->src : key->dst);

	switch (part) {
	case MATCH_DIRECTION:
		return mirror_direction_words[key->direction];
	case MATCH_VERSION:
		return key->has & MATCH_V4 ? "IPv4" : "IPv6";
	case MATCH_PROTO:
		return format_proto(key->proto, buf, MIRROR_TEXT);
	case MATCH_SRC:
	case MATCH_DST:
		return format_addr(&a, buf, MIRROR_TEXT);
	case MATCH_SPORT:
	case MATCH_DPORT:
		snprintf(buf, MIRROR_TEXT, "%u", part == MATCH_SPORT ? key->sport : key->dport);
		return key->has & MATCH_PORTS ? buf : "of a packet that has none";
	case MATCH_TCP_FLAGS:
		return key->has & MATCH_FLAGS ? flags_text(key->flags, buf) : "of a packet that has none";
	default:
		return vlan_text(key->vlan, buf);
	}
}

static const char *wanted_of(enum match_part part, const struct match_rule *r, char buf[MIRROR_TEXT])
{
	switch (part) {
	case MATCH_DIRECTION:
		return mirror_format_direction(r, buf);
	case MATCH_VERSION:
		return r->version == 4 ? "IPv4" : "IPv6";
	case MATCH_PROTO:
		return mirror_format_proto(r, buf);
	case MATCH_SRC:
		return mirror_format_src(r, buf);
	case MATCH_DST:
		return mirror_format_dst(r, buf);
	case MATCH_SPORT:
		return mirror_format_sport(r, buf);
	case MATCH_DPORT:
		return mirror_format_dport(r, buf);
	case MATCH_TCP_FLAGS:
		return mirror_format_flags(r, buf);
	default:
		return mirror_format_vlan(r, buf);
	}
}

const char *mirror_test_why(enum match_part part, const struct match_rule *r, const struct match_key *key,
			    char buf[MIRROR_WHY])
{
	char value[MIRROR_TEXT], wanted[MIRROR_TEXT];

	snprintf(buf, MIRROR_WHY, "%s %s is not %s%s", mirror_test_part(part), value_of(part, key, value),
		 part >= MATCH_SRC && part <= MATCH_DPORT ? "in " : "", wanted_of(part, r, wanted));
	return buf;
}

static const char *end_text(const __u64 half[2], const struct match_key *key, __u16 port, char buf[MIRROR_TEXT])
{
	struct addr a = addr_of(half);

	return key->has & MATCH_PORTS ? format_addr_port(&a, port, buf, MIRROR_TEXT) : format_addr(&a, buf, MIRROR_TEXT);
}

const char *mirror_test_packet(const struct match_key *key, char buf[MIRROR_WHY])
{
	char src[MIRROR_TEXT], dst[MIRROR_TEXT], proto[MIRROR_TEXT], flags[MIRROR_TEXT], vlan[MIRROR_TEXT];
	bool is_tagged = key->vlan != MATCH_NO_VLAN, has_flags = key->has & MATCH_FLAGS;
	bool is_later = proto_has_ports(key->proto) && !(key->has & MATCH_PORTS);

	snprintf(buf, MIRROR_WHY, "%s > %s %s%s%s%s, %s%s", end_text(key->src, key, key->sport, src),
		 end_text(key->dst, key, key->dport, dst), format_proto(key->proto, proto, sizeof(proto)),
		 has_flags ? " " : "", has_flags ? flags_text(key->flags, flags) : "", is_later ? " later fragment" : "",
		 is_tagged ? "vlan " : "untagged",
		 is_tagged ? vlan_text(key->vlan, vlan) : "");
	return buf;
}
