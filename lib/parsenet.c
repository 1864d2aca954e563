// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Addresses, and what is made of addresses and ports. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include "parseparts.h"

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
		return parse_wrong(why, "is not an IPv4 or IPv6 address");
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
		return parse_wrong(why, "is not an IPv4 or IPv6 ADDRESS or ADDRESS/LENGTH");
	bool is_v4 = !strchr(text, ':');
	if (!*slash)
		len = is_v4 ? 32 : 128;
	else if (parse_number(&end, &len) || *end || len > (is_v4 ? 32 : 128))
		return parse_wrong(why, "has no prefix length in 0..%d", is_v4 ? 32 : 128);
	p->len = (__u8)(is_v4 ? len + 96 : len);
	network = p->addr;
	addr_mask(&network, p->len);
	if (memcmp(&network, &p->addr, sizeof(network)))
		return parse_wrong(why, "has bits behind its length; the network is %s/%" PRIu64,
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
	if (parse_number(&end, &lo))
		goto wrong;
	hi = lo;
	if (*end == '-') {
		end++;
		if (parse_number(&end, &hi))
			goto wrong;
	}
	if (*end || lo < 1 || hi > 65535 || lo > hi)
		goto wrong;
	*p = (struct ports){ (__u16)lo, (__u16)hi };
	return 0;
wrong:
	return parse_wrong(why, "is not a port or range P-Q in 1..65535");
}

const char *format_addr(const struct addr *a, char *buf, size_t size)
{
	const char *text = addr_is_v4(a) ? inet_ntop(AF_INET, a->b + 12, buf, (socklen_t)size) :
					   inet_ntop(AF_INET6, a->b, buf, (socklen_t)size);

	return text ? text : "";
}

bool prefix_is_v4(const struct prefix *p)
{
	return addr_is_v4(&p->addr) && p->len >= 96;
}

const char *format_prefix(const struct prefix *p, char *buf, size_t size)
{
	size_t used;

	format_addr(&p->addr, buf, size);
	used = strlen(buf);
	snprintf(buf + used, size - used, "/%d", prefix_is_v4(p) ? p->len - 96 : p->len);
	return buf;
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

/*
 * Flows.
 */
/* The text from *s up to one of the characters in ends (or the end), moved behind. */
static int part_read(const char **s, const char *ends, char *buf, size_t size)
{
	size_t len = strcspn(*s, ends);

	if (len >= size)
		return -EINVAL;
	memcpy(buf, *s, len);
	buf[len] = 0;
	*s += len;
	return 0;
}

/* "10.0.0.1", "fd00::1", and with ports "10.0.0.1:80", "[fd00::1]:80". */
static int flow_end_read(const char **s, bool has_port, struct addr *a, __u16 *port, bool *is_v6)
{
	char text[INET6_ADDRSTRLEN + 1];
	bool is_bracketed = has_port && **s == '[';
	__u64 v;

	*s += is_bracketed;
	if (part_read(s, is_bracketed ? "]" : has_port ? ":" : "-/", text, sizeof(text)) || addr_read(text, a))
		return -EINVAL;
	*is_v6 = strchr(text, ':');
	if (!has_port)
		return 0;
	if (is_bracketed != *is_v6 || (is_bracketed && *(*s)++ != ']') || *(*s)++ != ':' || parse_number(s, &v) ||
	    v > 65535)
		return -EINVAL;
	*port = (__u16)v;
	return 0;
}

static int flow_read(const char *s, struct flow_tuple *f)
{
	size_t len = strcspn(s, "/");
	int proto = parse_proto_part(s, len);
	bool is_v6, has_port = proto_has_ports(proto);
	__u64 type, code;

	*f = (struct flow_tuple){ .proto = (__u8)proto };
	if (proto < 0 || !s[len])
		return -EINVAL;
	s += len + 1;
	if (flow_end_read(&s, has_port, &f->src, &f->sport, &f->is_v6) || *s++ != '-' ||
	    flow_end_read(&s, has_port, &f->dst, &f->dport, &is_v6) || is_v6 != f->is_v6)
		return -EINVAL;
	if (!proto_is_icmp(proto))
		return *s ? -EINVAL : 0;
	if (*s++ != '/' || parse_number(&s, &type) || *s++ != '.' || parse_number(&s, &code) || *s || type > 255 ||
	    code > 255)
		return -EINVAL;
	f->sport = (__u16)type;
	f->dport = (__u16)code;
	return 0;
}

int parse_flow(const char *s, struct flow_tuple *f, struct why *why)
{
	if (flow_read(s, f))
		return parse_wrong(why, "is not a flow as listings name it, PROTO/ADDR:PORT-ADDR:PORT, "
			     "icmp/ADDR-ADDR/TYPE.CODE or PROTO/ADDR-ADDR");
	return 0;
}

const char *format_flow(const struct flow_tuple *f, char *buf, size_t size)
{
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN], proto[16];
	const char *open = f->is_v6 ? "[" : "", *close = f->is_v6 ? "]" : "";
	int family = f->is_v6 ? AF_INET6 : AF_INET, skip = f->is_v6 ? 0 : 12;

	inet_ntop(family, f->src.b + skip, src, sizeof(src));
	inet_ntop(family, f->dst.b + skip, dst, sizeof(dst));
	format_proto(f->proto, proto, sizeof(proto));
	if (proto_has_ports(f->proto))
		snprintf(buf, size, "%s/%s%s%s:%u-%s%s%s:%u", proto, open, src, close, f->sport, open, dst, close,
			 f->dport);
	else if (proto_is_icmp(f->proto))
		snprintf(buf, size, "%s/%s-%s/%u.%u", proto, src, dst, f->sport, f->dport);
	else
		snprintf(buf, size, "%s/%s-%s", proto, src, dst);
	return buf;
}

/*
 * Where to send.
 */
#define ENDPOINT_WHY "is not HOST:PORT/udp or HOST:PORT/tcp, as 192.0.2.1:4739/udp or [2001:db8::1]:4739/tcp"

/* An endpoint in its parts; host is a name where is_literal is false. */
struct target {
	char host[ENDPOINT_LEN];
	char scope[IF_NAMESIZE];
	bool is_literal, is_v6, is_tcp;
	struct addr addr;
	__u16 port;
};

/* Looked up, it would be read as an address in a form that nobody means: 0.0.0.1, 0x7f.1 */
static bool is_number_label(const char *s, size_t len)
{
	return strspn(s, "0123456789") == len || (s[0] == '0' && tolower(s[1]) == 'x');
}

/* RFC 952 and 1123, and _ */
static bool is_hostname(const char *s)
{
	size_t len = strlen(s), label;
	bool is_number = true;

	if (!len || len > ENDPOINT_LEN - sizeof(":65535/udp"))
		return false;
	for (;; s += label + 1) {
		label = strcspn(s, ".");
		for (size_t i = 0; i < label; i++)
			if (!isascii(s[i]) || !(isalnum((unsigned char)s[i]) || s[i] == '-' || s[i] == '_'))
				return false;
		if (label > 63 || s[0] == '-' || (label && s[label - 1] == '-'))
			return false;
		if (!label)
			return !s[0] && !is_number; /* behind a last dot */
		is_number = is_number_label(s, label);
		if (!s[label])
			return !is_number;
	}
}

static bool is_link_local(const struct addr *a)
{
	return (a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80) || (a->b[0] == 0xff && (a->b[1] & 0xf) == 2);
}

/* t->host into address and scope. */
static int literal_read(struct target *t, struct why *why)
{
	char *percent = strchr(t->host, '%');
	size_t len = percent ? strlen(percent + 1) : 0;

	if (percent && t->is_v6) {
		if (!len || len >= sizeof(t->scope))
			return parse_wrong(why, "has no interface behind %%");
		memcpy(t->scope, percent + 1, len + 1);
		*percent = 0;
	}
	t->is_literal = strchr(t->host, ':') ? t->is_v6 && !addr_read(t->host, &t->addr) :
					       !t->is_v6 && !addr_read(t->host, &t->addr);
	if (!t->is_literal)
		return t->is_v6 || !is_hostname(t->host) ?
			parse_wrong(why, "has neither an IP address nor a host name before the port") : 0;
	if (addr_is_v4(&t->addr))
		t->is_v6 = false;
	if (len && (!t->is_v6 || !is_link_local(&t->addr)))
		return parse_wrong(why, "has an interface, which only link-local IPv6 addresses have");
	if (!len && t->is_v6 && is_link_local(&t->addr))
		return parse_wrong(why, "is link-local and needs its interface, as [fe80::1%%eth0]:4739/udp");
	return 0;
}

static int target_read(const char *s, struct target *t, struct why *why)
{
	const char *slash = strrchr(s, '/'), *colon = slash ? memrchr(s, ':', (size_t)(slash - s)) : NULL, *end;
	size_t len = colon ? (size_t)(colon - s) : 0;
	__u64 port;

	*t = (struct target){ .is_v6 = s[0] == '[', .is_tcp = slash && !strcmp(slash, "/tcp") };
	if (!len || (!t->is_tcp && strcmp(slash, "/udp")) || len >= sizeof(t->host))
		return parse_wrong(why, ENDPOINT_WHY);
	end = colon + 1;
	if (parse_number(&end, &port) || end != slash || port < 1 || port > 65535)
		return parse_wrong(why, "has no port in 1..65535");
	t->port = (__u16)port;
	if (!t->is_v6 && memchr(s, ':', len))
		return parse_wrong(why, "has an IPv6 address without brackets; write [2001:db8::1]:4739/%s", slash + 1);
	if (t->is_v6 && (len < 2 || s[len - 1] != ']'))
		return parse_wrong(why, ENDPOINT_WHY);
	memcpy(t->host, s + t->is_v6, len - 2 * t->is_v6);
	return literal_read(t, why);
}

static void target_text(const struct target *t, char text[ENDPOINT_LEN])
{
	const char *protocol = t->is_tcp ? "tcp" : "udp";
	char addr[INET6_ADDRSTRLEN];

	if (t->is_literal)
		format_addr(&t->addr, addr, sizeof(addr));
	if (t->is_literal && t->is_v6)
		snprintf(text, ENDPOINT_LEN, "[%s%s%s]:%u/%s", addr, t->scope[0] ? "%" : "", t->scope, t->port,
			 protocol);
	else
		snprintf(text, ENDPOINT_LEN, "%.*s:%u/%s", ENDPOINT_LEN - (int)sizeof(":65535/udp"),
			 t->is_literal ? addr : t->host, t->port, protocol);
}

int parse_endpoint_text(const char *s, char text[ENDPOINT_LEN], struct why *why)
{
	struct target t;
	int err = target_read(s, &t, why);

	if (!err)
		target_text(&t, text);
	return err;
}

static int look_up(const struct target *t, struct endpoint *e, struct why *why)
{
	const struct addrinfo hints = { .ai_socktype = t->is_tcp ? SOCK_STREAM : SOCK_DGRAM };
	struct addrinfo *found;
	int err = getaddrinfo(t->host, NULL, &hints, &found);
	const char *text = err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err);

	if (err)
		return parse_wrong(why, "has a host name that does not resolve: %c%s", tolower(text[0]), text + 1);
	if (found->ai_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)found->ai_addr;

		memcpy(e->addr.b, &in6->sin6_addr, 16);
		e->scope = in6->sin6_scope_id;
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)found->ai_addr;

		e->addr = (struct addr){ { [10] = 0xff, [11] = 0xff } };
		memcpy(e->addr.b + 12, &in->sin_addr, 4);
	}
	freeaddrinfo(found);
	return 0;
}

static bool is_unspecified(const struct addr *a)
{
	static const struct addr none;

	return !memcmp(a, &none, sizeof(none)) || (addr_is_v4(a) && !memcmp(a->b + 12, none.b, 4));
}

int parse_endpoint(const char *s, struct endpoint *e, struct why *why)
{
	struct target t;
	int err = target_read(s, &t, why);

	if (err)
		return err;
	*e = (struct endpoint){ .addr = t.addr, .port = t.port, .is_tcp = t.is_tcp };
	target_text(&t, e->text);
	if (!t.is_literal) {
		err = look_up(&t, e, why);
		if (err)
			return err;
	}
	if (t.scope[0]) {
		e->scope = if_nametoindex(t.scope);
		if (!e->scope)
			return parse_wrong(why, "has %s, which is not an interface of this network namespace", t.scope);
	}
	return is_unspecified(&e->addr) ? parse_wrong(why, "has an address that is no destination") : 0;
}

/*
 * VIPs and their parts.
 */
static bool is_v4_byte(const struct addr *a, __u8 first, __u8 mask)
{
	return addr_is_v4(a) && (a->b[12] & mask) == first;
}

static bool is_loopback(const struct addr *a)
{
	static const struct addr v6 = { { [15] = 1 } };

	return is_v4_byte(a, 127, 0xff) || !memcmp(a, &v6, sizeof(v6));
}

const char *addr_no_host(const struct addr *a)
{
	if (is_v4_byte(a, 0, 0xff) || is_unspecified(a))
		return "is no host's address";
	if (is_v4_byte(a, 0xe0, 0xf0) || (!addr_is_v4(a) && a->b[0] == 0xff))
		return "is a multicast address";
	if (is_v4_byte(a, 0xf0, 0xf0))
		return "is no host's address";
	if (is_loopback(a))
		return "is a loopback address";
	if (!addr_is_v4(a) && is_link_local(a))
		return "is a link-local address";
	return NULL;
}

int parse_host(const char *s, struct addr *a, struct why *why)
{
	const char *what;

	if (parse_addr(s, a, why))
		return -E_USAGE;
	what = addr_no_host(a);
	return what ? parse_wrong(why, "%s", what) : 0;
}

/* s up to end, which is not in it: ADDR:PORT, [ADDR]:PORT, and with may_lack_port ADDR and
 * [ADDR], which are port 0. */
static int addr_port_read(const char *s, const char *end, bool may_lack_port, struct addr *a, __u16 *port)
{
	bool is_bracketed = s[0] == '[';
	const char *close = is_bracketed ? memchr(s, ']', (size_t)(end - s)) : NULL, *colon;
	char text[INET6_ADDRSTRLEN] = "";
	__u64 number = 0;

	if (is_bracketed && !close)
		return -EINVAL;
	colon = memchr(is_bracketed ? close : s, ':', (size_t)(end - (is_bracketed ? close : s)));
	if (colon && !is_bracketed && memchr(colon + 1, ':', (size_t)(end - colon - 1)))
		colon = NULL; /* an IPv6 address */
	s += is_bracketed;
	if (!close)
		close = colon ? colon : end;
	if ((size_t)(close - s) >= sizeof(text) || (is_bracketed && close + 1 != (colon ? colon : end)))
		return -EINVAL;
	memcpy(text, s, (size_t)(close - s));
	if (addr_read(text, a) || (is_bracketed && !strchr(text, ':')))
		return -EINVAL;
	if (colon && (colon++, parse_number(&colon, &number) || colon != end || number < 1 || number > 65535))
		return -ERANGE;
	*port = (__u16)number;
	return colon || may_lack_port ? 0 : -EINVAL;
}

int parse_vip(const char *s, struct vip *v, struct why *why)
{
	const char *slash = strrchr(s, '/'), *what;
	bool is_tcp = slash && !strcmp(slash, "/tcp");
	int err;

	*v = (struct vip){ .proto = is_tcp ? IPPROTO_TCP : IPPROTO_UDP };
	if (!slash || (!is_tcp && strcmp(slash, "/udp")))
		return parse_wrong(why, "is not ADDR:PORT/tcp, ADDR:PORT/udp or, for any port, ADDR/tcp or ADDR/udp");
	err = addr_port_read(s, slash, true, &v->addr, &v->port);
	if (err == -ERANGE)
		return parse_wrong(why, "has no port in 1..65535");
	if (err)
		return parse_wrong(why, "has no IPv4 or IPv6 address, as 192.0.2.1:80%s or [2001:db8::1]:80%s", slash, slash);
	what = addr_no_host(&v->addr);
	return what ? parse_wrong(why, "cannot be a VIP: it %s", what) : 0;
}

int parse_addr_port(const char *s, struct addr *a, __u16 *port, struct why *why)
{
	int err = addr_port_read(s, s + strlen(s), false, a, port);

	if (err == -ERANGE)
		return parse_wrong(why, "has no port in 1..65535");
	return err ? parse_wrong(why, "is not ADDR:PORT, as 192.0.2.7:40000 or [2001:db8::7]:40000") : 0;
}

int parse_end(const char *s, struct addr *a, __u16 *port, struct why *why)
{
	int err = addr_port_read(s, s + strlen(s), true, a, port);

	if (err == -ERANGE)
		return parse_wrong(why, "has no port in 1..65535");
	if (err)
		return parse_wrong(why, "is not ADDR or ADDR:PORT, as 192.0.2.7, 192.0.2.7:4789 or [2001:db8::7]:4789");
	return 0;
}

int parse_host_port(const char *s, struct addr *a, __u16 *port, struct why *why)
{
	int err = parse_end(s, a, port, why);
	const char *what = err ? NULL : addr_no_host(a);

	return what ? parse_wrong(why, "%s", what) : err;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

int parse_mac(const char *s, __u8 mac[6], struct why *why)
{
	static const __u8 none[6];

	for (int i = 0; i < 6; i++, s += 3) {
		int high = hex_digit(s[0]), low = high < 0 ? -1 : hex_digit(s[1]);

		if (low < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return parse_wrong(why, "is not a MAC address, as 02:00:5e:10:00:01");
		mac[i] = (__u8)(high << 4 | low);
	}
	if (mac[0] & 1 || !memcmp(mac, none, 6))
		return parse_wrong(why, "is not the MAC address of one host");
	return 0;
}

const char *format_addr_port(const struct addr *a, __u16 port, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN];

	format_addr(a, addr, sizeof(addr));
	snprintf(buf, size, strchr(addr, ':') ? "[%s]:%u" : "%s:%u", addr, port);
	return buf;
}

const char *format_vip(const struct vip *v, char *buf, size_t size)
{
	char addr[INET6_ADDRSTRLEN + sizeof("[]:65535")];

	const char *proto = v->proto == IPPROTO_TCP ? "tcp" : "udp";

	if (v->port)
		format_addr_port(&v->addr, v->port, addr, sizeof(addr));
	else
		format_addr(&v->addr, addr, sizeof(addr));
	/* brackets, that ::1:80 is not taken for port 80 */
	snprintf(buf, size, v->port || addr_is_v4(&v->addr) ? "%s/%s" : "[%s]/%s", addr, proto);
	return buf;
}

const char *format_mac(const __u8 mac[6], char *buf, size_t size)
{
	snprintf(buf, size, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}
