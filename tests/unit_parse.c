// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Every value parser against good and bad text; exits 1 naming the first that is wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "parse.h"
#include "text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MAX UINT64_MAX

static int checks;

static void check(bool is_right, const char *what, const char *s)
{
	checks++;
	if (is_right)
		return;
	fprintf(stderr, "unit_parse: %s of \"%.80s\" is wrong\n", what, s);
	exit(1);
}

/* The result of one parser: 0 with the wanted value, or -E_USAGE with a reason. */
static void outcome(int err, bool is_good, const struct why *why, const char *what, const char *s)
{
	check(err == (is_good ? 0 : -E_USAGE), what, s);
	check(is_good || (*why->text && strlen(why->text) < sizeof(why->text)), what, s);
}

/* Never right, whatever is parsed. */
static const char *const garbage[] = {
	"", " ", "\t", "\n", "+1", "-1", " 1", "1 ", "1\n", "0x10", "1e3", "1.5", "٣", "½", "\xff", "\xc3\x28",
	"01", "00", "1,", ",1", "1,,2", "1//2", "/", "-", "--", "18446744073709551616",
	"99999999999999999999999999999999", "%s%n", "$(reboot)", "\x1b[31m",
};

static char *very_long(char c)
{
	static char text[100001];

	memset(text, c, sizeof(text) - 1);
	return text;
}

static void test_u64(void)
{
	static const struct { const char *s; __u64 min, max, v; bool is_good; } cases[] = {
		{ "0", 0, MAX, 0, true }, { "1", 1, 1, 1, true }, { "65535", 1, 65535, 65535, true },
		{ "18446744073709551615", 0, MAX, MAX, true }, { "18446744073709551614", 0, MAX, MAX - 1, true },
		{ "18446744073709551616", 0, MAX, 0, false }, { "28446744073709551615", 0, MAX, 0, false },
		{ "184467440737095516150", 0, MAX, 0, false }, { "0", 1, 10, 0, false },
		{ "11", 1, 10, 0, false }, { "65536", 1, 65535, 0, false }, { "70000", 1, 65535, 0, false },
		{ "007", 0, 10, 0, false }, { "5x", 0, 10, 0, false },
	};
	struct why why;
	__u64 v;

	for (size_t i = 0; i < COUNT(cases); i++) {
		why = (struct why){ 0 };
		outcome(parse_u64(cases[i].s, cases[i].min, cases[i].max, &v, &why), cases[i].is_good, &why,
			"number", cases[i].s);
		check(!cases[i].is_good || v == cases[i].v, "number", cases[i].s);
	}
	outcome(parse_u64("70000", 1, 65535, &v, &why), false, &why, "number", "70000");
	check(!strcmp(why.text, "is not a number in 1..65535"), "reason", "70000");
}

static void test_name(void)
{
	static const struct { const char *s; bool is_good; } cases[] = {
		{ "a", true }, { "A-b_9", true }, { "-", true }, { "dev", true }, { "123456789012345", true },
		{ "1234567890123456", false }, { "a b", false }, { "a.b", false }, { "a/b", false },
		{ "..", false }, { "\xc3\xa4", false }, { "", false }, { "a\n", false },
	};
	char name[NAME_LEN];
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		why = (struct why){ 0 };
		outcome(parse_name(cases[i].s, name, &why), cases[i].is_good, &why, "name", cases[i].s);
		check(!cases[i].is_good || !strcmp(name, cases[i].s), "name", cases[i].s);
	}
}

static void test_names(void)
{
	static const struct { const char *s; int n; } cases[] = {
		{ "a", 1 }, { "a,b", 2 }, { "a,b,c", 3 }, { "a,b,c,d", -1 }, { "a,a", -1 }, { "a,b,a", -1 },
		{ "a,", -1 }, { ",a", -1 }, { "a,,b", -1 }, { "", -1 }, { ",", -1 }, { "a, b", -1 },
		{ "1234567890123456,a", -1 }, { "a,1234567890123456", -1 }, { "ab,a", 2 },
	};
	char names[3][NAME_LEN];
	struct why why;
	int n;

	for (size_t i = 0; i < COUNT(cases); i++) {
		why = (struct why){ 0 };
		outcome(parse_names(cases[i].s, names, 3, &n, &why), cases[i].n > 0, &why, "names", cases[i].s);
		check(cases[i].n < 0 || n == cases[i].n, "names", cases[i].s);
	}
}

static void test_enum(void)
{
	static const char *const words[] = { "xdp", "tc-ingress", "tc-egress", NULL };
	static const struct { const char *s; int index; } cases[] = {
		{ "xdp", 0 }, { "tc-ingress", 1 }, { "tc-egress", 2 }, { "tc", -1 }, { "XDP", -1 }, { "xdp ", -1 },
		{ "xd", -1 }, { "", -1 }, { "0", -1 },
	};
	struct why why;
	int index;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_enum(cases[i].s, words, &index, &why), cases[i].index >= 0, &why, "word", cases[i].s);
		check(cases[i].index < 0 || index == cases[i].index, "word", cases[i].s);
	}
	outcome(parse_enum("tc", words, &index, &why), false, &why, "word", "tc");
	check(!strcmp(why.text, "is not one of xdp, tc-ingress, tc-egress"), "reason", "tc");
}

static void test_addr(void)
{
	static const struct { const char *s, *out; } cases[] = {
		{ "10.0.0.1", "10.0.0.1" }, { "0.0.0.0", "0.0.0.0" }, { "255.255.255.255", "255.255.255.255" },
		{ "::", "::" }, { "::1", "::1" }, { "2001:DB8::0:1", "2001:db8::1" },
		{ "::ffff:10.0.0.1", "10.0.0.1" }, { "fe80::1", "fe80::1" },
		{ "fe80::1%lo", NULL }, { "10.0.0", NULL }, { "10.0.0.256", NULL }, { "10.0.0.01", NULL },
		{ "010.0.0.1", NULL }, { "10.0.0.1.2", NULL }, { "10.0.0.1/8", NULL }, { "1", NULL },
		{ ":::", NULL }, { "[::1]", NULL }, { "localhost", NULL }, { "2001:db8::1::2", NULL },
		{ "12345::", NULL }, { " 10.0.0.1", NULL }, { "10.0.0.1 ", NULL }, { "0x7f.1", NULL },
	};
	char text[64];
	struct addr a;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_addr(cases[i].s, &a, &why), cases[i].out, &why, "address", cases[i].s);
		if (cases[i].out)
			check(!strcmp(format_addr(&a, text, sizeof(text)), cases[i].out), "address", cases[i].s);
	}
	outcome(parse_addr("10.0.0.1", &a, &why), true, &why, "address", "10.0.0.1");
	check(addr_is_v4(&a) && a.b[12] == 10 && a.b[15] == 1, "v4-mapped form", "10.0.0.1");
}

static void test_prefix(void)
{
	static const struct { const char *s; int len; } cases[] = {
		{ "10.0.0.0/8", 104 }, { "10.1.2.3", 128 }, { "10.1.2.3/32", 128 }, { "0.0.0.0/0", 96 },
		{ "10.0.0.128/25", 121 }, { "::/0", 0 }, { "2001:db8::/32", 32 }, { "::1", 128 }, { "fe80::/10", 10 },
		{ "::ffff:10.0.0.0/104", 104 },
		{ "10.0.0.1/8", -1 }, { "2001:db8::1/64", -1 }, { "10.0.0.0/33", -1 }, { "::/129", -1 },
		{ "10.0.0.0/", -1 }, { "/8", -1 }, { "10.0.0.0/08", -1 }, { "10.0.0.0/+8", -1 }, { "10.0.0.0/8 ", -1 },
		{ "10.0.0.0/255.0.0.0", -1 }, { "10.0.0.0/8/8", -1 }, { "10/8", -1 },
		{ "10.0.0.0/18446744073709551624", -1 },
	};
	struct prefix p, again;
	struct why why;
	char text[64];

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_prefix(cases[i].s, &p, &why), cases[i].len >= 0, &why, "prefix", cases[i].s);
		if (cases[i].len < 0)
			continue;
		check(p.len == cases[i].len, "prefix", cases[i].s);
		check(!parse_prefix(format_prefix(&p, text, sizeof(text)), &again, &why) && !memcmp(&p, &again, sizeof(p)),
		      "prefix written and read", text);
	}
	outcome(parse_prefix("10.1.2.3/12", &p, &why), false, &why, "prefix", "10.1.2.3/12");
	check(!strcmp(why.text, "has bits behind its length; the network is 10.0.0.0/12"), "reason", why.text);
}

static void test_ports(void)
{
	static const struct { const char *s; int lo, hi; } cases[] = {
		{ "1", 1, 1 }, { "65535", 65535, 65535 }, { "80-90", 80, 90 }, { "1-65535", 1, 65535 },
		{ "80-80", 80, 80 }, { "any", 0, 0 },
		{ "0", -1, 0 }, { "65536", -1, 0 }, { "90-80", -1, 0 }, { "80-", -1, 0 }, { "-80", -1, 0 },
		{ "80-90-100", -1, 0 }, { "80 - 90", -1, 0 }, { "http", -1, 0 }, { "0-0", -1, 0 },
		{ "99999999", -1, 0 }, { "80-65536", -1, 0 },
	};
	char text[64];
	struct ports p, again;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_ports(cases[i].s, &p, &why), cases[i].lo >= 0, &why, "ports", cases[i].s);
		if (cases[i].lo < 0)
			continue;
		check(p.lo == cases[i].lo && p.hi == cases[i].hi, "ports", cases[i].s);
		check(!parse_ports(format_ports(&p, text, sizeof(text)), &again, &why) &&
		      !memcmp(&p, &again, sizeof(p)), "ports written and read", text);
	}
}

static void test_rate(void)
{
	static const struct { const char *s; __u64 count, unit; } cases[] = {
		{ "1000", 1000, 1000000 }, { "1000/s", 1000, 1000000 }, { "60/m", 60, 60000000 },
		{ "10/h", 10, 3600000000 }, { "18446744073709551615/s", MAX, 1000000 },
		{ "0", 0, 0 }, { "0/s", 0, 0 }, { "/s", 0, 0 }, { "10/", 0, 0 }, { "10/d", 0, 0 }, { "10s", 0, 0 },
		{ "10/s ", 0, 0 }, { "10 /s", 0, 0 }, { "10//s", 0, 0 }, { "18446744073709551616/s", 0, 0 },
	};
	char text[64];
	struct rate r, again;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_rate(cases[i].s, &r, &why), cases[i].unit, &why, "rate", cases[i].s);
		if (!cases[i].unit)
			continue;
		check(r.count == cases[i].count && r.unit_us == cases[i].unit, "rate", cases[i].s);
		check(!parse_rate(format_rate(&r, text, sizeof(text)), &again, &why) &&
		      !memcmp(&r, &again, sizeof(r)), "rate written and read", text);
	}
}

static void test_duration(void)
{
	static const struct { const char *s; __u64 us; bool is_good; } cases[] = {
		{ "0", 0, true }, { "1", 1000000, true }, { "250ms", 250000, true }, { "2s", 2000000, true },
		{ "5m", 300000000, true }, { "1h", 3600000000, true }, { "7us", 7, true }, { "1500us", 1500, true },
		{ "90s", 90000000, true }, { "18446744073709s", 18446744073709000000ULL, true },
		{ "18446744073710s", 0, false }, { "18446744073709551615", 0, false }, { "1d", 0, false },
		{ "ms", 0, false }, { "1 s", 0, false }, { "1s1", 0, false }, { "1.5s", 0, false }, { "s", 0, false },
	};
	char text[64];
	__u64 us, again;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_duration(cases[i].s, 0, MAX, &us, &why), cases[i].is_good, &why, "duration", cases[i].s);
		if (!cases[i].is_good)
			continue;
		check(us == cases[i].us, "duration", cases[i].s);
		check(!parse_duration(format_duration(us, text, sizeof(text)), 0, MAX, &again, &why) && us == again,
		      "duration written and read", text);
	}
	outcome(parse_duration("2h", 1000, 3600000000, &us, &why), false, &why, "duration", "2h");
	check(!strcmp(why.text, "is not a duration in 1ms..1h, as 250ms, 2s, 5m or 1h"), "reason", why.text);
}

static void test_pace(void)
{
	static const struct { const char *s; __u64 count; bool is_good; } cases[] = {
		{ "none", 0, true }, { "1000/s", 1000, true }, { "0", 0, false }, { "None", 0, false },
		{ "", 0, false }, { "none ", 0, false },
	};
	struct rate r;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_pace(cases[i].s, &r, &why), cases[i].is_good, &why, "pace", cases[i].s);
		check(!cases[i].is_good || r.count == cases[i].count, "pace", cases[i].s);
	}
}

static void test_sample(void)
{
	static const struct { const char *s; __u64 n; } cases[] = {
		{ "1/1", 1 }, { "1/100", 100 }, { "1/1000000", 1000000 }, { "1/0", 0 }, { "1/1000001", 0 },
		{ "2/100", 0 }, { "100", 0 }, { "1/", 0 }, { "1:100", 0 }, { "1/01", 0 }, { "1/100 ", 0 }, { "", 0 },
		{ "1", 0 }, { "1/18446744073709551617", 0 },
	};
	struct why why;
	__u64 n;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_sample(cases[i].s, &n, &why), cases[i].n, &why, "sample", cases[i].s);
		check(!cases[i].n || n == cases[i].n, "sample", cases[i].s);
	}
}

static void test_proto(void)
{
	static const struct { const char *s; int proto; } cases[] = {
		{ "tcp", 6 }, { "udp", 17 }, { "icmp", 1 }, { "icmpv6", 58 }, { "gre", 47 }, { "0", 0 }, { "255", 255 },
		{ "6", 6 }, { "256", -1 }, { "TCP", -1 }, { "tc", -1 }, { "tcpx", -1 }, { "", -1 }, { "06", -1 },
	};
	char text[32];
	struct why why;
	int proto, again;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_proto(cases[i].s, &proto, &why), cases[i].proto >= 0, &why, "protocol", cases[i].s);
		check(cases[i].proto < 0 || proto == cases[i].proto, "protocol", cases[i].s);
	}
	for (int i = 0; i < 256; i++)
		check(!parse_proto(format_proto(i, text, sizeof(text)), &again, &why) && again == i,
		      "protocol written and read", text);
}

static void test_vlan(void)
{
	static const struct { const char *s; int vid; } cases[] = {
		{ "none", -1 }, { "0", 0 }, { "1", 1 }, { "4094", 4094 }, { "4095", -2 }, { "-1", -2 }, { "", -2 },
		{ "any", -2 },
	};
	struct why why;
	int vid;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_vlan(cases[i].s, &vid, &why), cases[i].vid > -2, &why, "VLAN", cases[i].s);
		check(cases[i].vid == -2 || vid == cases[i].vid, "VLAN", cases[i].s);
	}
}

static void test_bits(void)
{
	static const struct { const char *s; __u64 bits; bool is_good; } cases[] = {
		{ "none", 0, true }, { "1kbit", 1000, true }, { "1000bit", 1000, true }, { "1tbit", 1000000000000, true },
		{ "64kbit", 64000, true }, { "100mbit", 100000000, true }, { "1500kbit", 1500000, true },
		{ "10gbit", 10000000000, true }, { "1001bit", 1001, true }, { "999bit", 0, false }, { "0kbit", 0, false },
		{ "2tbit", 0, false }, { "1000", 0, false }, { "10Mbit", 0, false }, { "10mbits", 0, false },
		{ "10 mbit", 0, false }, { "mbit", 0, false }, { "1.5mbit", 0, false }, { "18446744073709551tbit", 0, false },
	};
	char text[64];
	__u64 bits, again;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_bits(cases[i].s, &bits, &why), cases[i].is_good, &why, "bit rate", cases[i].s);
		if (!cases[i].is_good)
			continue;
		check(bits == cases[i].bits, "bit rate", cases[i].s);
		check(!parse_bits(format_bits(bits, text, sizeof(text)), &again, &why) && bits == again,
		      "bit rate written and read", text);
	}
	check(!strcmp(format_bits(1500000, text, sizeof(text)), "1500kbit"), "bit rate", text);
}

static void test_tcp_flags(void)
{
	static const struct { const char *s; int flags, mask; } cases[] = {
		{ "fin", 1, 1 }, { "syn", 2, 2 }, { "rst", 4, 4 }, { "psh", 8, 8 }, { "ack", 16, 16 }, { "urg", 32, 32 },
		{ "ece", 64, 64 }, { "cwr", 128, 128 }, { "syn/syn,ack", 2, 18 }, { "ack,syn", 18, 18 }, { "none/rst", 0, 4 },
		{ "syn,ack/ack,syn", 18, 18 }, { "none", -1, 0 }, { "none/none", -1, 0 }, { "syn/none", -1, 0 },
		{ "syn/ack", -1, 0 }, { "syn,syn", -1, 0 }, { "syn,", -1, 0 }, { ",syn", -1, 0 }, { "syn/", -1, 0 },
		{ "/syn", -1, 0 }, { "SYN", -1, 0 }, { "syn/syn/syn", -1, 0 }, { "syn,none/syn", -1, 0 }, { "synack", -1, 0 },
	};
	__u8 flags, mask, again, again_mask;
	char text[96];
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_tcp_flags(cases[i].s, &flags, &mask, &why), cases[i].flags >= 0, &why, "flags", cases[i].s);
		check(cases[i].flags < 0 || (flags == cases[i].flags && mask == cases[i].mask), "flags", cases[i].s);
	}
	for (int m = 1; m < 256; m++) {
		for (int f = 0; f < 256; f++) {
			if (f & ~m)
				continue;
			format_tcp_flags((__u8)f, (__u8)m, text, sizeof(text));
			check(!parse_tcp_flags(text, &again, &again_mask, &why) && again == f && again_mask == m,
			      "flags written and read", text);
		}
	}
}

static void test_snaplen(void)
{
	static const struct { const char *s; int snaplen; } cases[] = {
		{ "64", 64 }, { "128", 128 }, { "65534", 65534 }, { "headers", 65535 }, { "all", 0 }, { "63", -1 },
		{ "65535", -1 }, { "0", -1 }, { "header", -1 }, { "none", -1 }, { "128b", -1 },
	};
	__u16 snaplen;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_snaplen(cases[i].s, &snaplen, &why), cases[i].snaplen >= 0, &why, "snaplen", cases[i].s);
		check(cases[i].snaplen < 0 || snaplen == cases[i].snaplen, "snaplen", cases[i].s);
	}
}

static void test_flow(void)
{
	static const struct { const char *s, *out; } cases[] = {
		{ "tcp/10.0.0.1:1000-10.0.0.2:80", "" }, { "udp/[fd00::1]:53-[fd00::2]:999", "" },
		{ "udp/[::ffff:10.0.0.1]:53-[fd00::2]:65535", "" }, { "icmp/10.0.0.1-10.0.0.2/8.0", "" },
		{ "icmpv6/fe80::1-ff02::1/135.0", "" }, { "gre/10.0.0.1-10.0.0.2", "" }, { "200/::-::1", "" },
		{ "sctp/10.0.0.1:0-10.0.0.2:0", "" }, { "0/10.0.0.1-10.0.0.2", "" },
		{ "47/10.0.0.1-10.0.0.2", "gre/10.0.0.1-10.0.0.2" },
		{ "6/[FD00::0:1]:1-[fd00::2]:2", "tcp/[fd00::1]:1-[fd00::2]:2" },
		{ "1/10.0.0.1-10.0.0.2/255.255", "icmp/10.0.0.1-10.0.0.2/255.255" },
		{ "tcp", NULL }, { "tcp/", NULL }, { "tcp/10.0.0.1-10.0.0.2", NULL },
		{ "tcp/10.0.0.1:1-10.0.0.2", NULL }, { "tcp/10.0.0.1:1-10.0.0.2:", NULL },
		{ "tcp/10.0.0.1:1-10.0.0.2:65536", NULL }, { "tcp/10.0.0.1:1-10.0.0.2:2 ", NULL },
		{ "tcp/10.0.0.1:1-[fd00::2]:2", NULL }, { "tcp/fd00::1:1-fd00::2:2", NULL },
		{ "tcp/[10.0.0.1]:1-[10.0.0.2]:2", NULL }, { "tcp/[fd00::1:1-[fd00::2]:2", NULL },
		{ "tcp/10.0.0.1:1-10.0.0.2:2/8.0", NULL }, { "icmp/10.0.0.1-10.0.0.2", NULL },
		{ "icmp/10.0.0.1-10.0.0.2/8", NULL }, { "icmp/10.0.0.1-10.0.0.2/256.0", NULL },
		{ "icmp/10.0.0.1-10.0.0.2/8.", NULL }, { "gre/10.0.0.1-10.0.0.2/8.0", NULL },
		{ "gre/10.0.0.1-fd00::1", NULL }, { "gre/10.0.0.1", NULL }, { "gre/-", NULL }, { "256/10.0.0.1-10.0.0.2", NULL },
		{ "nosuch/10.0.0.1-10.0.0.2", NULL }, { "/10.0.0.1-10.0.0.2", NULL }, { "tcp/10.0.0.01:1-10.0.0.2:2", NULL },
	};
	char text[FLOW_TUPLE_LEN];
	struct flow_tuple f;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *out = cases[i].out && !*cases[i].out ? cases[i].s : cases[i].out;

		outcome(parse_flow(cases[i].s, &f, &why), out, &why, "flow", cases[i].s);
		check(!out || !strcmp(format_flow(&f, text, sizeof(text)), out), "flow written", cases[i].s);
	}
	check(!parse_flow("tcp/10.0.0.1:1000-10.0.0.2:80", &f, &why) && f.proto == 6 && f.sport == 1000 && f.dport == 80 &&
	      !f.is_v6 && f.src.b[15] == 1 && f.dst.b[15] == 2 && addr_is_v4(&f.src), "flow", "its parts");
	check(!parse_flow("icmp/10.0.0.1-10.0.0.2/3.4", &f, &why) && f.sport == 3 && f.dport == 4, "flow", "type and code");
	memset(&f, 0xff, sizeof(f));
	f.is_v6 = true;
	check(strlen(format_flow(&f, text, sizeof(text))) < sizeof(text) - 1, "flow", "the longest");
}

static void test_endpoint(void)
{
	static const struct { const char *s, *out; } cases[] = {
		{ "192.0.2.1:4739/udp", "" }, { "192.0.2.1:1/tcp", "" }, { "[2001:db8::1]:65535/tcp", "" },
		{ "[2001:DB8::0:1]:4739/udp", "[2001:db8::1]:4739/udp" },
		{ "[::ffff:192.0.2.1]:4739/udp", "192.0.2.1:4739/udp" }, { "[fe80::1%lo]:4739/udp", "" },
		{ "localhost:4739/udp", "" }, { "127.0.0.1:4739/udp", "" }, { "[::1]:4739/udp", "" },
		{ "192.0.2.1:4739", NULL }, { "192.0.2.1/udp", NULL }, { "192.0.2.1:4739/sctp", NULL },
		{ "192.0.2.1:4739/UDP", NULL }, { "192.0.2.1:4739/", NULL }, { "192.0.2.1:0/udp", NULL },
		{ "192.0.2.1:65536/udp", NULL }, { "192.0.2.1:99999999/udp", NULL }, { "192.0.2.1:04739/udp", NULL },
		{ "192.0.2.1:/udp", NULL }, { "192.0.2.1:-1/udp", NULL }, { "192.0.2.1:http/tcp", NULL },
		{ ":4739/udp", NULL }, { "[]:4739/udp", NULL }, { "[:4739/udp", NULL }, { "]:4739/udp", NULL },
		{ "2001:db8::1:4739/udp", NULL }, { "[192.0.2.1]:4739/udp", NULL }, { "[2001:db8::1]4739/udp", NULL },
		{ "[2001:db8::1:4739/udp", NULL }, { "[2001:db8::1]:4739/udp ", NULL }, { " 192.0.2.1:4739/udp", NULL },
		{ "192.0.2.256:4739/udp", NULL }, { "192.0.2:4739/udp", NULL }, { "0x7f.1:4739/udp", NULL },
		{ "1:4739/udp", NULL }, { "127.1:4739/udp", NULL }, { "a..b:4739/udp", NULL }, { "-a:4739/udp", NULL },
		{ "a b:4739/udp", NULL }, { "host\n:4739/udp", NULL }, { "fe80::1%lo:4739/udp", NULL },
		{ "[fe80::1]:4739/udp", NULL }, { "[fe80::1%]:4739/udp", NULL }, { "[fe80::1%nosuch]:4739/udp", NULL },
		{ "[2001:db8::1%lo]:4739/udp", NULL }, { "192.0.2.1%lo:4739/udp", NULL },
		{ "[fe80::1%an-interface-too-long]:4739/udp", NULL },
		{ "0.0.0.0:4739/udp", NULL }, { "[::]:4739/udp", NULL },
		{ "no-such-host.invalid:4739/udp", NULL }, { "192.0.2.1:4739/udp/tcp", NULL },
	};
	char text[ENDPOINT_LEN];
	struct endpoint e;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *out = cases[i].out && !*cases[i].out ? cases[i].s : cases[i].out;

		why = (struct why){ 0 };
		outcome(parse_endpoint(cases[i].s, &e, &why), out, &why, "endpoint", cases[i].s);
		check(!out || !strcmp(e.text, out), "endpoint", cases[i].s);
		check(!out || (!parse_endpoint_text(cases[i].s, text, &why) && !strcmp(text, out)), "endpoint text",
		      cases[i].s);
	}
	check(!parse_endpoint("[fe80::1%lo]:4739/tcp", &e, &why) && e.scope == 1 && e.is_tcp && e.port == 4739,
	      "endpoint", "its parts");
	check(!parse_endpoint("localhost:1/udp", &e, &why) && (e.addr.b[15] == 1) && !e.is_tcp && !e.scope,
	      "endpoint", "localhost");
	check(!parse_endpoint_text("no-such-host.invalid:4739/udp", text, &why) &&
	      !strcmp(text, "no-such-host.invalid:4739/udp"), "endpoint text", text);
	outcome(parse_endpoint("192.0.2.1:0/udp", &e, &why), false, &why, "endpoint", "port 0");
	check(!strcmp(why.text, "has no port in 1..65535"), "reason", why.text);
	outcome(parse_endpoint("no-such-host.invalid:1/udp", &e, &why), false, &why, "endpoint", "unknown host");
	check(!strncmp(why.text, "has a host name that does not resolve: ", 39), "reason", why.text);
}

static void garbage_one(const char *s)
{
	static const char *const words[] = { "xdp", NULL };
	char name[NAME_LEN], names[3][NAME_LEN];
	struct prefix prefix;
	struct flow_tuple flow;
	struct endpoint at;
	struct ports ports;
	struct rate rate;
	struct addr addr;
	struct vip vip;
	struct why why;
	__u8 mac[6];
	__u16 port;
	__u64 v;
	int i;

	outcome(parse_u64(s, 0, MAX, &v, &why), false, &why, "number", s);
	outcome(parse_enum(s, words, &i, &why), false, &why, "word", s);
	outcome(parse_addr(s, &addr, &why), false, &why, "address", s);
	outcome(parse_prefix(s, &prefix, &why), false, &why, "prefix", s);
	outcome(parse_ports(s, &ports, &why), false, &why, "ports", s);
	outcome(parse_rate(s, &rate, &why), false, &why, "rate", s);
	outcome(parse_duration(s, 0, MAX, &v, &why), false, &why, "duration", s);
	outcome(parse_pace(s, &rate, &why), false, &why, "pace", s);
	outcome(parse_sample(s, &v, &why), false, &why, "sample", s);
	outcome(parse_proto(s, &i, &why), false, &why, "protocol", s);
	outcome(parse_vlan(s, &i, &why), false, &why, "VLAN", s);
	outcome(parse_bits(s, &v, &why), false, &why, "bit rate", s);
	outcome(parse_tcp_flags(s, &mac[0], &mac[1], &why), false, &why, "flags", s);
	outcome(parse_snaplen(s, &port, &why), false, &why, "snaplen", s);
	outcome(parse_flow(s, &flow, &why), false, &why, "flow", s);
	outcome(parse_endpoint(s, &at, &why), false, &why, "endpoint", s);
	outcome(parse_vip(s, &vip, &why), false, &why, "VIP", s);
	outcome(parse_addr_port(s, &addr, &port, &why), false, &why, "address and port", s);
	outcome(parse_mac(s, mac, &why), false, &why, "MAC", s);
	if (*s && strlen(s) < NAME_LEN && strspn(s, "0123456789xe-") == strlen(s))
		return; /* names may look like that */
	outcome(parse_name(s, name, &why), false, &why, "name", s);
	outcome(parse_names(s, names, 3, &i, &why), false, &why, "names", s);
}

static void test_vip(void)
{
	static const struct { const char *s, *out; } cases[] = {
		{ "192.0.2.1:80/tcp", "192.0.2.1:80/tcp" }, { "192.0.2.1/udp", "192.0.2.1/udp" },
		{ "[2001:db8::1]:443/udp", "[2001:db8::1]:443/udp" }, { "2001:DB8::1/tcp", "[2001:db8::1]/tcp" },
		{ "[2001:db8::1]/tcp", "[2001:db8::1]/tcp" }, { "192.0.2.1:65535/tcp", "192.0.2.1:65535/tcp" },
		{ "[::ffff:192.0.2.1]:80/tcp", "192.0.2.1:80/tcp" }, { "::ffff:192.0.2.1/tcp", "192.0.2.1/tcp" },
		{ "2001:db8::1:80/tcp", "[2001:db8::1:80]/tcp" }, /* an address, all of it */
		{ "192.0.2.1:80", NULL }, { "192.0.2.1", NULL }, { "192.0.2.1:80/sctp", NULL },
		{ "192.0.2.1:80/TCP", NULL }, { "192.0.2.1:80/tcp/udp", NULL }, { "192.0.2.1:0/tcp", NULL },
		{ "192.0.2.1:65536/tcp", NULL }, { "192.0.2.1:/tcp", NULL }, { "192.0.2.1:080/tcp", NULL },
		{ "192.0.2.1:8x/tcp", NULL }, { ":80/tcp", NULL }, { "/tcp", NULL }, { "[192.0.2.1]:80/tcp", NULL },
		{ "[2001:db8::1:80/tcp", NULL }, { "2001:db8::1]:80/tcp", NULL }, { "[2001:db8::1]80/tcp", NULL },
		{ "[2001:db8::1]:/tcp", NULL }, { "[]:80/tcp", NULL }, { "host:80/tcp", NULL },
		{ "192.0.2.0/24/tcp", NULL }, { "224.0.0.1:80/tcp", NULL }, { "127.0.0.1:80/tcp", NULL },
		{ "0.0.0.0:80/tcp", NULL }, { "255.255.255.255:80/tcp", NULL }, { "[ff02::1]:80/tcp", NULL },
		{ "[::1]:80/tcp", NULL }, { "[::]:80/tcp", NULL }, { "[fe80::1]:80/tcp", NULL },
	};
	char text[VIP_LEN];
	struct vip v, again;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		why = (struct why){ 0 };
		outcome(parse_vip(cases[i].s, &v, &why), cases[i].out, &why, "VIP", cases[i].s);
		if (!cases[i].out)
			continue;
		check(!strcmp(format_vip(&v, text, sizeof(text)), cases[i].out), "VIP", cases[i].s);
		check(!parse_vip(text, &again, &why) && !memcmp(&v.addr, &again.addr, sizeof(v.addr)) &&
		      v.port == again.port && v.proto == again.proto, "VIP written and read", text);
	}
	outcome(parse_vip("224.0.0.1:80/tcp", &v, &why), false, &why, "VIP", "224.0.0.1:80/tcp");
	check(!strcmp(why.text, "cannot be a VIP: it is a multicast address"), "reason", why.text);
}

static void test_addr_port(void)
{
	static const struct { const char *s; int port; } cases[] = {
		{ "192.0.2.7:40000", 40000 }, { "[2001:db8::7]:1", 1 }, { "0.0.0.0:65535", 65535 },
		{ "192.0.2.7", -1 }, { "[2001:db8::7]", -1 }, { "2001:db8::7:1", -1 }, { "192.0.2.7:", -1 },
		{ "192.0.2.7:0", -1 }, { "192.0.2.7:65536", -1 }, { "192.0.2.7:1/tcp", -1 }, { "[192.0.2.7]:1", -1 },
		{ "192.0.2.7:1 ", -1 }, { ":1", -1 }, { "[]:1", -1 }, { "[", -1 }, { "]:1", -1 },
	};
	char text[64];
	struct addr a;
	struct why why;
	__u16 port;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_addr_port(cases[i].s, &a, &port, &why), cases[i].port > 0, &why, "address and port",
			cases[i].s);
		if (cases[i].port > 0)
			check(port == cases[i].port && !strcmp(format_addr_port(&a, port, text, sizeof(text)), cases[i].s),
			      "address and port", cases[i].s);
	}
}

/* One end of a packet: port 0, none was given; -1: it is none. The same of hosts alone. */
static void test_end(void)
{
	static const struct { const char *s; int port; bool is_host; } cases[] = {
		{ "192.0.2.7:40000", 40000, true }, { "192.0.2.7", 0, true }, { "[2001:db8::7]:1", 1, true },
		{ "2001:db8::7", 0, true }, { "2001:db8::7:1", 0, true }, { "[2001:db8::7]", 0, true },
		{ "224.0.0.5", 0, false }, { "[ff02::1]:5353", 5353, false }, { "fe80::1", 0, false },
		{ "255.255.255.255:67", 67, false }, { "0.0.0.0:68", 68, false }, { "127.0.0.1", 0, false },
		{ "192.0.2.7:", -1, false }, { "192.0.2.7:0", -1, false }, { "192.0.2", -1, false }, { "", -1, false },
		{ "[192.0.2.7]", -1, false }, { "fd77::1:80]", -1, false }, { "192.0.2.7:65536", -1, false },
	};
	struct addr a;
	struct why why;
	__u16 port;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_end(cases[i].s, &a, &port, &why), cases[i].port >= 0, &why, "end", cases[i].s);
		check(cases[i].port < 0 || port == cases[i].port, "end", cases[i].s);
		outcome(parse_host_port(cases[i].s, &a, &port, &why), cases[i].is_host, &why, "host and port", cases[i].s);
	}
}

static void test_host(void)
{
	static const struct { const char *s; bool is_good; } cases[] = {
		{ "10.0.0.1", true }, { "169.254.1.1", true }, { "2001:db8::1", true }, { "fd00::1", true },
		{ "223.255.255.255", true }, { "0.1.2.3", false }, { "127.1.2.3", false }, { "224.0.0.0", false },
		{ "239.1.1.1", false }, { "240.0.0.1", false }, { "255.255.255.255", false }, { "::", false },
		{ "::1", false }, { "ff05::2", false }, { "fe80::1", false }, { "host", false },
	};
	struct addr a;
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++)
		outcome(parse_host(cases[i].s, &a, &why), cases[i].is_good, &why, "host", cases[i].s);
}

static void test_mac(void)
{
	static const struct { const char *s, *out; } cases[] = {
		{ "02:00:5e:10:00:01", "02:00:5e:10:00:01" }, { "FE:dc:BA:98:76:54", "fe:dc:ba:98:76:54" },
		{ "01:00:5e:00:00:01", NULL }, { "ff:ff:ff:ff:ff:ff", NULL }, { "00:00:00:00:00:00", NULL },
		{ "02:00:5e:10:00", NULL }, { "02:00:5e:10:00:01:02", NULL }, { "2:0:5e:10:0:1", NULL },
		{ "02-00-5e-10-00-01", NULL }, { "02005e100001", NULL }, { "0g:00:5e:10:00:01", NULL },
		{ "02:00:5e:10:00:0", NULL }, { "02:00:5e:10:00:01 ", NULL }, { "02:00:5e:10:00:", NULL },
	};
	char text[32];
	__u8 mac[6];
	struct why why;

	for (size_t i = 0; i < COUNT(cases); i++) {
		outcome(parse_mac(cases[i].s, mac, &why), cases[i].out, &why, "MAC", cases[i].s);
		check(!cases[i].out || !strcmp(format_mac(mac, text, sizeof(text)), cases[i].out), "MAC", cases[i].s);
	}
}

static void test_garbage(void)
{
	static const char chars[] = { '0', '9', 'a', '/', '-', ',', '.', ':', ' ', '\x80' };

	for (size_t i = 0; i < COUNT(garbage); i++)
		garbage_one(garbage[i]);
	for (size_t i = 0; i < COUNT(chars); i++)
		garbage_one(very_long(chars[i]));
}

static void test_nearest(void)
{
	static const struct { const char *typed, *word; } cases[] = {
		{ "reoder", "reorder" }, { "lsit", "list" }, { "add", "add" }, { "ad", "add" }, { "xyzzy", NULL },
		{ "", NULL }, { "removed", "remove" }, { "rearranged-completely-anew", NULL },
	};
	static const char *const words[] = { "add", "remove", "reorder", "list" };

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct nearest near = { .typed = cases[i].typed };

		for (size_t j = 0; j < COUNT(words); j++)
			nearest_try(&near, words[j]);
		check(cases[i].word ? near.word && !strcmp(near.word, cases[i].word) : !near.word, "nearest word",
		      cases[i].typed);
	}
}

static void test_text(void)
{
	static const struct { const char *s, *safe, *json; } cases[] = {
		{ "eth0", "eth0", "\"eth0\"" }, { "\xc3\xa4", "\xc3\xa4", "\"\xc3\xa4\"" },
		{ "\x1b[1m", "\\x1b[1m", "\"\\u001b[1m\"" }, { "a\nb", "a\\x0ab", "\"a\\u000ab\"" },
		{ "\"\\", "\"\\", "\"\\\"\\\\\"" }, { "\xff", "\\xff", "\"\\ufffd\"" },
		{ "\xc2\x9b", "\\xc2\\x9b", "\"\\u009b\"" }, { "\xc0\x80", "\\xc0\\x80", "\"\\ufffd\\ufffd\"" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80", "\"\\ufffd\\ufffd\\ufffd\"" }, { "\xe2\x82", "\\xe2\\x82", "\"\\ufffd\\ufffd\"" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\"" },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		char safe[64] = "", json[64] = "";
		FILE *f = fmemopen(safe, sizeof(safe), "w"), *g = fmemopen(json, sizeof(json), "w");

		text_put(f, cases[i].s);
		text_put_json(g, cases[i].s);
		fclose(f);
		fclose(g);
		check(!strcmp(safe, cases[i].safe), "text", cases[i].s);
		check(!strcmp(json, cases[i].json), "JSON string", cases[i].s);
	}
}

int main(void)
{
	test_u64();
	test_name();
	test_names();
	test_enum();
	test_addr();
	test_prefix();
	test_ports();
	test_rate();
	test_duration();
	test_pace();
	test_sample();
	test_proto();
	test_vlan();
	test_bits();
	test_tcp_flags();
	test_snaplen();
	test_flow();
	test_endpoint();
	test_vip();
	test_addr_port();
	test_end();
	test_host();
	test_mac();
	test_garbage();
	test_nearest();
	test_text();
	printf("%d checks\n", checks);
	return 0;
}
