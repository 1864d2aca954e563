/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_PARSE_H
#define L3AF_PARSE_H

/*
 * One strict parser per kind of value, shared by the command line and by JSON:
 * the whole string, digits only, range checked. Each returns 0, or -E_USAGE
 * after writing what would have been right into why (a phrase that follows the
 * offending text: "is not a number in 1..65535"). Nothing is printed here.
 */
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include "err.h"

#define NAME_LEN 16 /* [A-Za-z0-9_-]{1,15} and the NUL: as long as the kernel's own names */

struct why {
	char text[160];
};

/* An IP address; IPv4 is kept v4-mapped (::ffff:a.b.c.d), network byte order. */
struct addr {
	__u8 b[16];
};

/* An address prefix; len counts in the 128-bit form (IPv4 /24 is 120). */
struct prefix {
	struct addr addr;
	__u8 len;
};

/* Where to send: "192.0.2.1:4739/udp", "[2001:db8::1]:4739/tcp", "host.example:4739/udp",
 * "[fe80::1%eth0]:4739/udp". */
#define ENDPOINT_LEN 256
struct endpoint {
	struct addr addr;
	__u16 port;     /* host byte order, not 0 */
	bool is_tcp;
	__u32 scope;    /* interface index of a link-local address; 0: none */
	char text[ENDPOINT_LEN]; /* as given, addresses in their shortest form */
};

/* What packets of a flow have in common, as a listing names it. */
struct flow_tuple {
	struct addr src, dst;
	__u16 sport, dport; /* host byte order; ICMP and ICMPv6: type and code */
	__u8 proto;
	bool is_v6;         /* an IPv6 packet can have IPv4-mapped addresses */
};
#define FLOW_TUPLE_LEN 128

/* A virtual IP: what clients send to. "192.0.2.1:80/tcp", "[2001:db8::1]:443/udp"; without
 * port any: "192.0.2.1/tcp", "2001:db8::1/tcp", "[2001:db8::1]/tcp". */
struct vip {
	struct addr addr;
	__u16 port;         /* host byte order; 0: any */
	__u8 proto;         /* IPPROTO_TCP, IPPROTO_UDP */
};
#define VIP_LEN 64

/* A closed range of ports, host byte order; both 0: any port ("any"). */
struct ports {
	__u16 lo, hi;
};

/* count events in unit_us microseconds: "1000", "1000/s", "60/m", "10/h". */
struct rate {
	__u64 count;
	__u64 unit_us;
};

/* -E_USAGE, with this in why. */
__attribute__((format(printf, 2, 3)))
int parse_wrong(struct why *why, const char *fmt, ...);
must_use int parse_name(const char *s, char name[NAME_LEN], struct why *why);
must_use int parse_u64(const char *s, __u64 min, __u64 max, __u64 *v, struct why *why);
must_use int parse_enum(const char *s, const char *const *words, int *index, struct why *why);
must_use int parse_addr(const char *s, struct addr *a, struct why *why);
must_use int parse_prefix(const char *s, struct prefix *p, struct why *why);
/* Looks a host name up; one that does not resolve is -E_USAGE too. */
must_use int parse_endpoint(const char *s, struct endpoint *e, struct why *why);
/* Its text only: nothing is looked up. */
must_use int parse_endpoint_text(const char *s, char text[ENDPOINT_LEN], struct why *why);
must_use int parse_ports(const char *s, struct ports *p, struct why *why);
must_use int parse_rate(const char *s, struct rate *r, struct why *why);
/* The same or "none", which is count 0. */
must_use int parse_pace(const char *s, struct rate *r, struct why *why);
/* "1/100": *n is 100, in 1..1000000. */
must_use int parse_sample(const char *s, __u64 *n, struct why *why);
/* "500kbit", "100mbit", "10gbit": bits per second, 10^3 to 10^12; "none" is 0. */
must_use int parse_bits(const char *s, __u64 *bits, struct why *why);
/* "syn", which is syn/syn; "syn/syn,ack"; "none/rst": (byte & mask) == flags, mask not 0. */
must_use int parse_tcp_flags(const char *s, __u8 *flags, __u8 *mask, struct why *why);
/* As struct mirror_filter keeps it: "128", "headers", "all". */
must_use int parse_snaplen(const char *s, __u16 *snaplen, struct why *why);
/* An IP protocol by name or number. */
must_use int parse_proto(const char *s, int *proto, struct why *why);
/* A VLAN ID in 0..4094; "none" is -1. */
must_use int parse_vlan(const char *s, int *vid, struct why *why);
/* "tcp/10.0.0.1:1000-10.0.0.2:80", "udp/[fd00::1]:53-[fd00::2]:999",
 * "icmp/10.0.0.1-10.0.0.2/8.0", "gre/10.0.0.1-10.0.0.2". */
must_use int parse_flow(const char *s, struct flow_tuple *f, struct why *why);
/* An address that one host can have: not multicast, loopback, link-local, unspecified. */
must_use int parse_host(const char *s, struct addr *a, struct why *why);
/* Why it is none ("is a multicast address"), or NULL. */
const char *addr_no_host(const struct addr *a);
must_use int parse_vip(const char *s, struct vip *v, struct why *why);
/* "192.0.2.7:40000", "[2001:db8::7]:40000" */
must_use int parse_addr_port(const char *s, struct addr *a, __u16 *port, struct why *why);
/* One end of a packet; without port, "192.0.2.7" or "2001:db8::7": 0. */
must_use int parse_end(const char *s, struct addr *a, __u16 *port, struct why *why);
/* The same of an address that one host can have. */
must_use int parse_host_port(const char *s, struct addr *a, __u16 *port, struct why *why);
/* "02:00:5e:10:00:01", unicast */
must_use int parse_mac(const char *s, __u8 mac[6], struct why *why);
/* "250us", "250ms", "2s", "5m", "1h"; a bare number is seconds. Microseconds out. */
must_use int parse_duration(const char *s, __u64 min_us, __u64 max_us, __u64 *us, struct why *why);
/* "A,B,C": NAMEs without repetition; at most max. */
must_use int parse_names(const char *s, char (*names)[NAME_LEN], int max, int *n, struct why *why);

bool addr_is_v4(const struct addr *a);
bool prefix_is_v4(const struct prefix *p); /* its length then counts from 96 */
/* Formatters: into buf, which they return; the text parses back to the same value. */
const char *format_addr(const struct addr *a, char *buf, size_t size);
const char *format_prefix(const struct prefix *p, char *buf, size_t size);
const char *format_ports(const struct ports *p, char *buf, size_t size);
const char *format_rate(const struct rate *r, char *buf, size_t size);
const char *format_bits(__u64 bits, char *buf, size_t size);
const char *format_tcp_flags(__u8 flags, __u8 mask, char *buf, size_t size);
const char *format_duration(__u64 us, char *buf, size_t size);
const char *format_time(__u64 seconds, char *buf, size_t size); /* of the epoch: 2026-11-20T10:00:00Z */
const char *format_proto(int proto, char *buf, size_t size); /* its name, or its number */
const char *format_flow(const struct flow_tuple *f, char *buf, size_t size);
const char *format_vip(const struct vip *v, char *buf, size_t size);
const char *format_addr_port(const struct addr *a, __u16 port, char *buf, size_t size);
const char *format_mac(const __u8 mac[6], char *buf, size_t size);
bool proto_has_ports(int proto);
bool proto_is_icmp(int proto); /* or ICMPv6 */

/* The known word nearest to a mistyped one: set typed, try each known word; then word
 * is the best of them, or NULL where none is near. */
struct nearest {
	const char *typed;
	const char *word;
	int distance;
};
void nearest_try(struct nearest *n, const char *word);

#endif
