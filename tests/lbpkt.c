// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets through the loaded program of a load balancer, one at a time, and what it made of
 * them. Its maps by the library (BPFFS). Every run has rubbish in the headroom. What is
 * sent is checked as a whole: each length and checksum is reckoned here, octet by octet.
 *
 *   lbpkt run PROG                 lines of FRAME words on standard input, to a line each:
 *        pass                       as it came, to the octet
 *        drop
 *        tx [vlan N...] A > B [tos N] [id N] [nodf] [hop A] csum|nocsum   A to B in GUE with the packet
 *                                   as it came inside; hop: the second one
 *        tx echo A > B              tx big MTU quote N A > B
 *        redirect MAC A > B ...     as tx, by another interface, to this next hop
 *        BAD WHY                    anything else
 *   lbpkt fuzz PROG N SEED others|vips   N frames, of which those that are not for a VIP pass
 *        as they are, and the others do one of the above; "frames N pass N drop N tx N"
 *   lbpkt flows INSTANCE           entries of the flow table: "ADDR new|established|closing|client N",
 *        N of each, sorted
 *   lbpkt age INSTANCE TICKS       make all entries that much older
 *   lbpkt ways INSTANCE            used ways of the fullest bucket: "first N last N": of all but the last way, and of that
 *   lbpkt unsource INSTANCE        no place has an outer IPv6 source address any more
 *   lbpkt flood PROG N FACTOR STEP MASK SHIFT STATE FRAME...  N packets of flows that
 *        tests/bpf/lbharness.h explains, each like FRAME: "verdict N", the last one
 *   lbpkt verified PROG            instructions the verifier followed
 *
 * FRAME is words: v6 proto=tcp|udp|icmp|icmp6|N src=ADDR dst=ADDR sport=N dport=N flags=HEX vlan=N (twice)
 * ttl=N tos=N id=N df opts (12 octets of IPv4 options) ext=N (IPv6 extension headers) data=N
 * frag=OFFSET,MORE pad=N (frame octets at least) size=N (what the IP header says) udplen=N cut=N (octets
 * taken off the end) nocsum (UDP) type=N code=N check=HEX (ICMP) mac=HEX (first octet of the destination)
 * quote=N: ICMP with a quote of the packet that the VIP has sent, N octets of its transport header;
 * qproto=N qext=N qopts qsrc=ADDR qfrag=N of the quoted one; its destination is src, dport its source port
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bpf/lbharness.h"
#include "lbtable.h"
#include "run.h"

#define FRAME_MAX 17000

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "lbpkt: %s: %s\n", what, strerror(errno));
	exit(2);
}

/*
 * Making frames.
 */
struct shape {
	unsigned proto, sport, dport, flags, ttl, tos, id, data, ext, pad, size, udplen, cut, type, code, mac, check;
	unsigned quote, qproto, qext, qfrag;
	unsigned vlan[2], vlans, frag_off, frag_more;
	bool v6, df, opts, nocsum, is_frag, has_quote, qopts, has_check;
	__u8 src[16], dst[16], qsrc[16];
};

struct frame {
	__u8 at[FRAME_MAX];
	unsigned len;
};

static bool value_of(const char *w, const char *name, const char **value)
{
	size_t n = strlen(name);

	*value = w + n;
	return !strncmp(w, name, n);
}

static unsigned proto_of(const char *w)
{
	return !strcmp(w, "tcp") ? IPPROTO_TCP : !strcmp(w, "udp") ? IPPROTO_UDP : !strcmp(w, "icmp") ? IPPROTO_ICMP :
	       !strcmp(w, "icmp6") ? IPPROTO_ICMPV6 : (unsigned)atoi(w);
}

static bool number_take(struct shape *s, const char *w)
{
	const struct { const char *word; unsigned *n; int base; } numbers[] = {
		{ "sport=", &s->sport, 10 }, { "dport=", &s->dport, 10 }, { "flags=", &s->flags, 16 }, { "ttl=", &s->ttl, 10 },
		{ "tos=", &s->tos, 16 }, { "id=", &s->id, 10 }, { "data=", &s->data, 10 }, { "ext=", &s->ext, 10 },
		{ "pad=", &s->pad, 10 }, { "size=", &s->size, 10 }, { "udplen=", &s->udplen, 10 }, { "cut=", &s->cut, 10 },
		{ "type=", &s->type, 10 }, { "code=", &s->code, 10 }, { "mac=", &s->mac, 16 }, { "qproto=", &s->qproto, 10 },
		{ "qext=", &s->qext, 10 }, { "qfrag=", &s->qfrag, 10 },
	};
	const char *v;

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (value_of(w, numbers[i].word, &v)) {
			*numbers[i].n = (unsigned)strtoul(v, NULL, numbers[i].base);
			return true;
		}
	return false;
}

static bool word_take(struct shape *s, const char *w)
{
	const struct { const char *word; bool *is; } flags[] = {
		{ "v6", &s->v6 }, { "df", &s->df }, { "opts", &s->opts }, { "nocsum", &s->nocsum }, { "qopts", &s->qopts },
	};
	const char *v;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (!strcmp(w, flags[i].word))
			return *flags[i].is = true;
	if (value_of(w, "proto=", &v))
		s->proto = proto_of(v);
	else if (value_of(w, "vlan=", &v) && s->vlans < 2)
		s->vlan[s->vlans++] = (unsigned)atoi(v);
	else if (sscanf(w, "frag=%u,%u", &s->frag_off, &s->frag_more) == 2)
		s->is_frag = true;
	else if (sscanf(w, "quote=%u", &s->quote) == 1)
		s->has_quote = true;
	else if (sscanf(w, "check=%x", &s->check) == 1)
		s->has_check = true;
	else
		return number_take(s, w);
	return true;
}

static void addr_take(__u8 *to, bool v6, const char *text)
{
	if (inet_pton(v6 ? AF_INET6 : AF_INET, text, to) != 1)
		die(text);
}

static struct shape shape_of(char *line)
{
	struct shape s = { .proto = IPPROTO_TCP, .sport = 1000, .dport = 80, .flags = 0x10, .ttl = 64, .id = 0 };
	const char *src = NULL, *dst = NULL, *qsrc = NULL, *v;
	char *save = NULL;

	for (char *w = strtok_r(line, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
		if (value_of(w, "src=", &v)) src = v;
		else if (value_of(w, "dst=", &v)) dst = v;
		else if (value_of(w, "qsrc=", &v)) qsrc = v;
		else if (!word_take(&s, w)) die(w);
	}
	dst = dst ? dst : s.v6 ? "fd99::1" : "10.99.0.1";
	addr_take(s.src, s.v6, src ? src : s.v6 ? "fd51::7" : "198.51.100.7");
	addr_take(s.dst, s.v6, dst);
	addr_take(s.qsrc, s.v6, qsrc ? qsrc : dst);
	return s;
}

static void put16(__u8 *p, unsigned v) { p[0] = (__u8)(v >> 8); p[1] = (__u8)v; }
static unsigned get16(const __u8 *p) { return (unsigned)p[0] << 8 | p[1]; }

/* Ones' complement sum of big-endian words, folded. */
static unsigned sum_of(const __u8 *p, size_t n, unsigned sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (unsigned)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static unsigned sum_pseudo(const __u8 *src, const __u8 *dst, bool v6, unsigned proto, unsigned len)
{
	unsigned n = v6 ? 16 : 4;

	return sum_of(dst, n, sum_of(src, n, proto + (len >> 16) + (len & 0xffff)));
}

/* Transport header and data, at p; their length. */
static unsigned l4_put(const struct shape *s, __u8 *p, const __u8 *src, const __u8 *dst)
{
	unsigned head = s->proto == IPPROTO_TCP ? 20 : 8, len = head + s->data, at = 0, sum;

	for (unsigned i = 0; i < len; i++)
		p[i] = (__u8)(i * 7 + 3);
	if (s->proto == IPPROTO_TCP || s->proto == IPPROTO_UDP) {
		put16(p, s->sport);
		put16(p + 2, s->dport);
	}
	if (s->proto == IPPROTO_TCP) {
		p[12] = 0x50;
		p[13] = (__u8)s->flags;
		at = 16;
	} else if (s->proto == IPPROTO_UDP) {
		put16(p + 4, s->udplen ? s->udplen : len);
		at = 6;
	} else if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6) {
		p[0] = (__u8)s->type;
		p[1] = (__u8)s->code;
		at = 2;
	}
	if (!at)
		return len;
	put16(p + at, 0);
	if (s->has_check) { /* what it takes for the checksum to be that */
		put16(p + 2, s->check);
		put16(p + 6, 0);
		put16(p + 6, ~sum_of(p, len, s->v6 ? sum_pseudo(src, dst, true, s->proto, len) : 0) & 0xffff);
		return len;
	}
	sum = sum_of(p, len, s->proto == IPPROTO_ICMP ? 0 : sum_pseudo(src, dst, s->v6, s->proto, len));
	put16(p + at, s->nocsum ? 0 : sum == 0xffff ? 0xffff : ~sum & 0xffff);
	return len;
}

static unsigned ext_put(__u8 *p, unsigned n, unsigned proto)
{
	for (unsigned i = 0; i < n; i++) {
		static const __u8 pad[8] = { 0, 0, 1, 4, 0, 0, 0, 0 };

		memcpy(p + 8 * i, pad, 8);
		p[8 * i] = (__u8)(i + 1 < n ? IPPROTO_DSTOPTS : proto);
	}
	return 8 * n;
}

static unsigned ip4_put(const struct shape *s, __u8 *p, const __u8 *src, const __u8 *dst)
{
	unsigned head = s->opts ? 32 : 20, len = head + l4_put(s, p + head, src, dst);

	memset(p, 0, head);
	p[0] = (__u8)(0x40 | head / 4);
	p[1] = (__u8)s->tos;
	put16(p + 2, s->size ? s->size : len);
	put16(p + 4, s->id);
	put16(p + 6, (s->df ? 0x4000 : 0) | (s->frag_more ? 0x2000 : 0) | s->frag_off / 8);
	p[8] = (__u8)s->ttl;
	p[9] = (__u8)s->proto;
	memcpy(p + 12, src, 4);
	memcpy(p + 16, dst, 4);
	if (s->opts)
		memcpy(p + 20, "\x07\x0b\x04\x00\x00\x00\x00\x00\x00\x00\x00\x01", 12); /* record route */
	put16(p + 10, ~sum_of(p, head, 0) & 0xffff);
	return len;
}

static unsigned ip6_put(const struct shape *s, __u8 *p, const __u8 *src, const __u8 *dst)
{
	unsigned first = s->is_frag ? IPPROTO_FRAGMENT : s->proto, len = 40;

	len += ext_put(p + len, s->ext, first);
	if (s->is_frag) {
		memset(p + len, 0, 8);
		p[len] = (__u8)s->proto;
		put16(p + len + 2, s->frag_off | s->frag_more);
		put16(p + len + 6, s->id);
		len += 8;
	}
	len += l4_put(s, p + len, src, dst);
	memset(p, 0, 8);
	p[0] = (__u8)(0x60 | s->tos >> 4);
	p[1] = (__u8)(s->tos << 4);
	put16(p + 4, (s->size ? s->size : len) - 40);
	p[6] = (__u8)(s->ext ? IPPROTO_DSTOPTS : first);
	p[7] = (__u8)s->ttl;
	memcpy(p + 8, src, 16);
	memcpy(p + 24, dst, 16);
	return len;
}

static unsigned ip_put(const struct shape *s, __u8 *p, const __u8 *src, const __u8 *dst)
{
	return s->v6 ? ip6_put(s, p, src, dst) : ip4_put(s, p, src, dst);
}

/* An ICMP message about a packet that the VIP has sent to src. */
static unsigned error_put(const struct shape *s, __u8 *p)
{
	struct shape quoted = { .proto = s->qproto ? s->qproto : IPPROTO_TCP, .sport = s->dport, .dport = s->sport, .ttl = 50,
		.flags = 0x10, .v6 = s->v6, .opts = s->qopts, .ext = s->qext, .data = 600, .is_frag = s->qfrag, .frag_off = s->qfrag };
	static __u8 whole[2000];
	struct shape outer = *s;
	unsigned head, len, at, sum;

	head = s->v6 ? 40 + 8 * s->qext + (s->qfrag ? 8 : 0) : s->qopts ? 32 : 20;
	ip_put(&quoted, whole, s->qsrc, s->src);
	outer.data = head + s->quote;
	len = ip_put(&outer, p, s->src, s->dst);
	at = len - outer.data - 8;
	memset(p + at + 2, 0, 6);
	put16(p + at + 6, 1400);
	memcpy(p + at + 8, whole, outer.data);
	sum = sum_of(p + at, len - at, s->v6 ? sum_pseudo(s->src, s->dst, true, IPPROTO_ICMPV6, len - at) : 0);
	put16(p + at + 2, ~sum & 0xffff);
	return len;
}

static void frame_make(const struct shape *s, struct frame *f)
{
	static const __u8 macs[12] = { 2, 0x77, 0, 0, 0, 1, 2, 0x77, 0, 0, 0, 9 };
	unsigned at = 12;

	memset(f->at, 0, sizeof(f->at));
	memcpy(f->at, macs, 12);
	if (s->mac)
		f->at[0] = (__u8)s->mac;
	for (unsigned i = 0; i < s->vlans; i++, at += 4) {
		put16(f->at + at, s->vlans == 2 && !i ? 0x88a8 : 0x8100);
		put16(f->at + at + 2, s->vlan[i]);
	}
	put16(f->at + at, s->v6 ? 0x86dd : 0x0800);
	at += 2;
	if (s->data > FRAME_MAX - 1000)
		die("data");
	f->len = at + (s->has_quote ? error_put(s, f->at + at) : ip_put(s, f->at + at, s->src, s->dst));
	f->len -= s->cut < f->len - 14 ? s->cut : f->len - 14;
	if (f->len < s->pad)
		f->len = s->pad;
}

/*
 * Running.
 */
static struct harness {
	struct bpf_object *obj;
	int poison, rewrite;
} harness;

static int prog_of(const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(harness.obj, name));
}

/* The same kind of program as the one under test, which is the only one that may call it. */
static void harness_load(const char *prog)
{
	const char *path = getenv("LBHARNESS");
	int fd = bpf_obj_get(prog), err = -1;
	struct bpf_program *p;
	__u32 zero = 0;

	if (fd < 0)
		die(prog);
	for (unsigned kind = 0; kind < 4 && err; kind++) {
		bpf_object__close(harness.obj);
		harness.obj = bpf_object__open_file(path ? path : "build/tests/bpf/lbharness.o", NULL);
		if (!harness.obj)
			die("lbharness.o");
		bpf_object__for_each_program(p, harness.obj) {
			bpf_program__set_expected_attach_type(p, kind & 1 ? BPF_XDP : 0);
			bpf_program__set_flags(p, kind & 2 ? BPF_F_XDP_HAS_FRAGS : 0);
		}
		if (bpf_object__load(harness.obj))
			continue; /* a kernel that does not know frags */
		err = bpf_map_update_elem(bpf_object__find_map_fd_by_name(harness.obj, "next"), &zero, &fd, 0);
	}
	if (err)
		die("the program is of no kind that can be called");
	harness.poison = prog_of("poison");
	harness.rewrite = prog_of("rewrite");
}

/* On the interface LBPKT_DEV of this network namespace, or on none in particular. */
static int frame_run(const struct frame *in, struct frame *out)
{
	const char *dev = getenv("LBPKT_DEV");
	struct xdp_md ctx = { .data_end = in->len, .ingress_ifindex = dev ? if_nametoindex(dev) : 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->at, .data_size_in = in->len, .data_out = out->at,
		    .data_size_out = sizeof(out->at), .repeat = 1);

	if (dev) {
		o.ctx_in = &ctx;
		o.ctx_size_in = sizeof(ctx);
	}

	if (bpf_prog_test_run_opts(harness.poison, &o))
		die("BPF_PROG_TEST_RUN");
	out->len = o.data_size_out;
	return (int)o.retval;
}

/*
 * Judging.
 */
struct verdict {
	char text[512];
	size_t len;
};

#define say(v, ...) ((v)->len += (size_t)snprintf((v)->text + (v)->len, sizeof((v)->text) - (v)->len, __VA_ARGS__))

static bool bad(struct verdict *v, const char *why)
{
	v->len = 0;
	say(v, "BAD %s", why);
	return false;
}

static void say_addrs(struct verdict *v, const __u8 *src, const __u8 *dst, bool v6)
{
	char a[64], b[64];

	say(v, " %s > %s", inet_ntop(v6 ? AF_INET6 : AF_INET, src, a, sizeof(a)), inet_ntop(v6 ? AF_INET6 : AF_INET, dst, b, sizeof(b)));
}

/* Where L3 is, or 0. */
static unsigned l3_of(const struct frame *f)
{
	unsigned at = 12;

	while (at < 20 && (get16(f->at + at) == 0x8100 || get16(f->at + at) == 0x88a8))
		at += 4;
	return at + 2;
}

/* Length of an IP packet as it says. */
static unsigned ip_len(const __u8 *ip)
{
	return ip[0] >> 4 == 4 ? get16(ip + 2) : 40 + get16(ip + 4);
}

/* Is the transport checksum of a packet right? */
static bool l4_is_right(const __u8 *ip, unsigned len)
{
	bool v6 = ip[0] >> 4 == 6;
	unsigned head = v6 ? 40 : (ip[0] & 15) * 4u, proto = ip[v6 ? 6 : 9];

	if (head > len)
		return false;
	if (proto == IPPROTO_ICMP)
		return sum_of(ip + head, len - head, 0) == 0xffff;
	return sum_of(ip + head, len - head, sum_pseudo(ip + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6, proto, len - head)) == 0xffff;
}

static bool gue_judge(const struct frame *in, const struct frame *out, unsigned l3, struct verdict *v)
{
	const __u8 *ip = out->at + l3, *inner = in->at + l3, *udp;
	bool v6 = ip[0] >> 4 == 6;
	unsigned head = v6 ? 40 : 20, len = ip_len(inner), gue = 0, all, sum;

	udp = ip + head;
	say_addrs(v, ip + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6);
	if (v6 ? ip[6] != IPPROTO_UDP || ip[7] != 64 : ip[0] != 0x45 || ip[9] != IPPROTO_UDP || ip[8] != 64)
		return bad(v, "outer header");
	if (get16(udp) < 0xc000 || get16(udp + 2) != 6080)
		return bad(v, "ports");
	if (udp[8] >> 6 == 0) {
		static const __u8 magic[4] = { 0x4c, 0x33, 0x41, 0x46 };

		gue = 24;
		if (udp[8] != 5 || udp[9] != (inner[0] >> 4 == 4 ? 4 : 41) || get16(udp + 10) || memcmp(udp + 12, magic, 4))
			return bad(v, "GUE header");
	}
	all = head + 8 + gue;
	if (out->len != in->len + all || ip_len(ip) != all + len || get16(udp + 4) != 8 + gue + len)
		return bad(v, "lengths");
	if (memcmp(out->at + l3 + all, inner, in->len - l3))
		return bad(v, "the packet inside has changed");
	if (!v6 && sum_of(ip, 20, 0) != 0xffff)
		return bad(v, "outer header checksum");
	if (v6 ? (unsigned)(ip[0] << 4 | ip[1] >> 4) % 256 != (inner[0] >> 4 == 6 ? (unsigned)(inner[0] << 4 | inner[1] >> 4) % 256 : inner[1])
	       : ip[1] != (inner[0] >> 4 == 6 ? (unsigned)(inner[0] << 4 | inner[1] >> 4) % 256 : inner[1]))
		return bad(v, "traffic class");
	if (!v6 && ip[1])
		say(v, " tos %x", ip[1]);
	if (v6 && ((ip[0] & 15) << 4 | ip[1] >> 4))
		say(v, " tos %x", (ip[0] & 15) << 4 | ip[1] >> 4);
	if (!v6 && get16(ip + 4))
		say(v, " id %u", get16(ip + 4));
	if (!v6 && get16(ip + 6) != 0x4000)
		say(v, get16(ip + 6) ? " FRAGMENT" : " nodf");
	if (gue) {
		static const __u8 mapped[12] = { [10] = 0xff, [11] = 0xff };
		bool is_v4 = !memcmp(udp + 16, mapped, 12);
		char a[64];

		say(v, " hop %s", inet_ntop(is_v4 ? AF_INET : AF_INET6, udp + 16 + (is_v4 ? 12 : 0), a, sizeof(a)));
	}
	if (!get16(udp + 6)) {
		say(v, " nocsum");
		return true;
	}
	sum = sum_of(udp, 8 + gue + len, sum_pseudo(ip + (v6 ? 8 : 12), ip + (v6 ? 24 : 16), v6, IPPROTO_UDP, 8 + gue + len));
	/* it is reckoned from the inner one: right if and only if that is */
	if ((sum == 0xffff) != l4_is_right(inner, len))
		return bad(v, "outer UDP checksum");
	say(v, sum == 0xffff ? " csum" : " badcsum");
	return true;
}

static bool echo_judge(const struct frame *in, const struct frame *out, unsigned l3, struct verdict *v)
{
	const __u8 *ip = out->at + l3, *was = in->at + l3;
	bool v6 = ip[0] >> 4 == 6;
	unsigned head = v6 ? 40 : (ip[0] & 15) * 4u, addr = v6 ? 16 : 4, src = v6 ? 8 : 12, len = ip_len(ip);

	if (out->len != in->len || len > out->len - l3)
		return bad(v, "echo: lengths");
	if (memcmp(ip + src, was + src + addr, addr) || memcmp(ip + src + addr, was + src, addr))
		return bad(v, "echo: addresses");
	if (ip[v6 ? 7 : 8] != 64 || ip[head] != (v6 ? 129 : 0) || ip[head + 1])
		return bad(v, "echo: header");
	if (l4_is_right(ip, len) != l4_is_right(was, len) || (!v6 && sum_of(ip, head, 0) != sum_of(was, head, 0)))
		return bad(v, "echo: checksum");
	if (memcmp(ip + head + 4, was + head + 4, in->len - l3 - head - 4))
		return bad(v, "echo: data");
	say(v, " echo");
	say_addrs(v, ip + src, ip + src + addr, v6);
	return true;
}

static bool big_judge(const struct frame *in, const struct frame *out, unsigned l3, struct verdict *v)
{
	const __u8 *ip = out->at + l3, *was = in->at + l3;
	bool v6 = ip[0] >> 4 == 6;
	unsigned head = v6 ? 40 : 20, addr = v6 ? 16 : 4, src = v6 ? 8 : 12, len = ip_len(ip), quote = len - head - 8;

	if (len != out->len - l3 || len > (v6 ? 1280u : 576u) || quote > in->len - l3)
		return bad(v, "too big: lengths");
	if (memcmp(ip + src, was + src + addr, addr) || memcmp(ip + src + addr, was + src, addr))
		return bad(v, "too big: addresses");
	if (v6 ? ip[6] != IPPROTO_ICMPV6 || ip[40] != 2 || ip[41] : ip[0] != 0x45 || ip[9] != IPPROTO_ICMP || ip[20] != 3 || ip[21] != 4)
		return bad(v, "too big: header");
	if (!l4_is_right(ip, len) || (!v6 && sum_of(ip, 20, 0) != 0xffff))
		return bad(v, "too big: checksum");
	if (memcmp(ip + head + 8, was, quote))
		return bad(v, "too big: quote");
	say(v, " big %u quote %u", get16(ip + head + 6), quote);
	say_addrs(v, ip + src, ip + src + addr, v6);
	return true;
}

static bool macs_are(const __u8 *frame, const __u8 *dst, const __u8 *src)
{
	return !memcmp(frame, dst, 6) && !memcmp(frame + 6, src, 6);
}

static bool tx_judge(const struct frame *in, const struct frame *out, bool is_redirect, struct verdict *v)
{
	static const __u8 gateway[6] = { 2, 0x77, 0, 0, 0, 2 };
	unsigned l3 = l3_of(out), proto;

	if (is_redirect)
		say(v, "redirect %02x:%02x:%02x:%02x:%02x:%02x", out->at[0], out->at[1], out->at[2], out->at[3], out->at[4], out->at[5]);
	else
		say(v, "tx");
	if (l3 != l3_of(in) || memcmp(in->at + 12, out->at + 12, l3 - 14))
		return bad(v, "tags");
	for (unsigned at = 14; at < l3; at += 4)
		say(v, " vlan %u", get16(out->at + at));
	if (get16(out->at + l3 - 2) != (out->at[l3] >> 4 == 4 ? 0x0800 : 0x86dd))
		return bad(v, "EtherType");
	proto = out->at[l3 + (out->at[l3] >> 4 == 4 ? 9 : 6)];
	if (proto == IPPROTO_UDP && out->len > in->len)
		return is_redirect || macs_are(out->at, gateway, in->at) ? gue_judge(in, out, l3, v) : bad(v, "MAC addresses");
	if (!macs_are(out->at, in->at + 6, in->at))
		return bad(v, "MAC addresses");
	return out->len == in->len ? echo_judge(in, out, l3, v) : big_judge(in, out, l3, v);
}

static bool judge(int verdict, const struct frame *in, const struct frame *out, struct verdict *v)
{
	v->len = 0;
	if (verdict == XDP_DROP)
		return say(v, "drop");
	if (verdict == XDP_TX || verdict == XDP_REDIRECT)
		return tx_judge(in, out, verdict == XDP_REDIRECT, v);
	if (verdict != XDP_PASS)
		return bad(v, "verdict");
	if (in->len != out->len || memcmp(in->at, out->at, in->len))
		return bad(v, "passed, but changed");
	return say(v, "pass");
}

static int run_lines(void)
{
	static struct frame in, out;
	char line[1024];
	struct verdict v;

	while (fgets(line, sizeof(line), stdin)) {
		struct shape s;

		if (*line == '\n')
			continue;
		s = shape_of(line);
		frame_make(&s, &in);
		judge(frame_run(&in, &out), &in, &out, &v);
		puts(v.text);
	}
	return 0;
}

/*
 * Fuzzing.
 */
static __u64 seed;
static unsigned any(unsigned n)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)((seed >> 33) % n);
}

static struct shape shape_any(void)
{
	static const unsigned protos[] = { IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, 47, 0 };
	static const unsigned types[] = { 0, 1, 2, 3, 4, 8, 11, 12, 128, 129 };
	char none[] = "", six[] = "v6";
	struct shape s = shape_of(any(2) ? six : none);

	s.proto = protos[any(8)];
	s.dport = any(8) ? s.proto == IPPROTO_UDP ? 53 : 80 : any(65536);
	s.sport = any(65536);
	s.flags = any(4) ? 0x10 : any(256);
	s.tos = any(4) ? 0 : any(256);
	s.id = any(4) ? 0 : any(65536);
	s.data = any(4) ? any(100) : any(8) ? any(1600) : 1400 + any(100);
	s.df = any(2);
	s.opts = !any(4);
	s.ext = any(4) ? 0 : any(9);
	s.vlans = any(4) ? 0 : any(3);
	s.type = types[any(10)];
	s.code = any(4) ? 0 : any(16);
	s.nocsum = !any(4);
	s.is_frag = !any(6);
	s.frag_off = s.is_frag ? any(3) * 8 : 0;
	s.frag_more = s.is_frag && any(2);
	s.has_quote = (s.proto == (s.v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) && any(3);
	s.quote = any(3) ? 8 : any(60);
	s.qproto = any(4) ? 0 : any(256);
	s.qext = any(4) ? 0 : any(4);
	s.qopts = !any(4);
	s.pad = any(2) ? 60 : 0;
	s.src[s.v6 ? 15 : 3] = (__u8)any(256);
	if (!any(8))
		s.size = any(2000);
	if (!any(8))
		s.cut = any(80);
	return s;
}

/* Change some octets behind the MAC addresses; but the destination address at dst. */
static void mutate(struct frame *f, unsigned dst, unsigned n, unsigned spare)
{
	for (; n; n--) {
		unsigned at = 12 + any(any(2) ? f->len - 12 : f->len < 80 ? f->len - 12 : 68);

		if (at < dst || at >= dst + spare)
			f->at[at] = (__u8)(any(2) ? any(256) : f->at[at] ^ 1u << any(8));
	}
}

/* Is there a VIP's address at any place? Then it may be for a VIP. */
static bool may_be_vips(const struct frame *f)
{
	static const __u8 v4[4] = { 10, 99, 0, 1 }, v6[16] = { 0xfd, 0x99, [15] = 1 };

	return memmem(f->at, f->len, v4, 4) || memmem(f->at, f->len, v6, 16);
}

static void frame_any(bool is_vips, struct frame *f)
{
	do {
		struct shape s = shape_any();
		unsigned dst;

		frame_make(&s, f);
		dst = 14 + 4 * s.vlans + (s.v6 ? 24 : 16);
		if (f->len > dst + 16) {
			if (!is_vips)
				f->at[dst + any(s.v6 ? 16 : 4)] ^= (__u8)(1u << any(8));
			if (any(2))
				mutate(f, dst, 1 + any(6), is_vips ? 16 : 0);
		}
	} while (!is_vips && may_be_vips(f));
}

static int fuzz(unsigned n, bool is_vips)
{
	static struct frame in, out;
	unsigned count[3] = { 0 };
	struct verdict v;

	for (unsigned i = 0; i < n; i++) {
		int verdict;

		frame_any(is_vips, &in);
		verdict = frame_run(&in, &out);
		if (!judge(verdict, &in, &out, &v) || (!is_vips && verdict != XDP_PASS)) {
			printf("%s; frame:", v.text);
			for (unsigned k = 0; k < in.len; k++)
				printf(" %02x", in.at[k]);
			putchar('\n');
			return 1;
		}
		count[verdict - XDP_DROP]++;
	}
	printf("frames %u pass %u drop %u tx %u\n", n, count[1], count[0], count[2]);
	return 0;
}

/*
 * The flow table.
 */
static struct run run = { .wait_us = 10000000 };

static void instance_open(const char *instance, bool is_writable, struct lb *lb)
{
	auto_bpffs struct bpffs b = { .fd = -1 };

	if (bpffs_open(&run, is_writable ? BPFFS_CHANGE : BPFFS_READ, &b) || lb_open(&run, &b, instance, is_writable, lb) != 1)
		die("there is no such instance");
}

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int flows(const char *instance)
{
	static const char *const words[] = { "new", "established", "closing", "client" };
	auto_lb struct lb lb = LB_INIT;
	static char lines[65536 * 4][64];
	size_t n = 0;
	char a[64];

	instance_open(instance, false, &lb);
	for (__u32 i = 0; i < lb.config->buckets * LB_WAYS && n < sizeof(lines) / sizeof(lines[0]); i++) {
		__u64 e = lb.bucket[i / LB_WAYS].way[i % LB_WAYS];

		if (e)
			snprintf(lines[n++], 64, "%.40s %s", format_addr((void *)lb.backend[LB_ENTRY_BACKEND(e)].addr, a, sizeof(a)),
				 words[LB_ENTRY_FLOW(e)]);
	}
	qsort(lines, n, 64, compare);
	for (size_t i = 0, first = 0; i < n; i++)
		if (i + 1 == n || strcmp(lines[i], lines[i + 1])) {
			printf("%s %zu\n", lines[i], i + 1 - first);
			first = i + 1;
		}
	return 0;
}

static int age(const char *instance, unsigned ticks)
{
	auto_lb struct lb lb = LB_INIT;

	instance_open(instance, true, &lb);
	for (__u32 i = 0; i < lb.config->buckets * LB_WAYS; i++) {
		__u64 *e = &lb.bucket[i / LB_WAYS].way[i % LB_WAYS];

		if (*e)
			*e = (*e & ~(__u64)LB_TICKS) | ((*e - ticks) & LB_TICKS);
	}
	return 0;
}

static int unsource(const char *instance)
{
	auto_lb struct lb lb = LB_INIT;

	instance_open(instance, true, &lb);
	for (int i = 0; i < LB_PLACES; i++)
		memset(lb.place[i].source6, 0, sizeof(lb.place[i].source6));
	return 0;
}

static int ways(const char *instance)
{
	auto_lb struct lb lb = LB_INIT;
	unsigned most[2] = { 0 };

	instance_open(instance, false, &lb);
	for (__u32 i = 0; i < lb.config->buckets; i++) {
		unsigned n[2] = { 0 };

		for (int w = 0; w < LB_WAYS; w++)
			n[w == LB_WAYS - 1] += !!lb.bucket[i].way[w];
		most[0] = n[0] > most[0] ? n[0] : most[0];
		most[1] = n[1] > most[1] ? n[1] : most[1];
	}
	printf("first %u last %u\n", most[0], most[1]);
	return 0;
}

static int flood(int argc, char **argv)
{
	struct lbharness h = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, o);
	static struct frame f;
	char line[1024] = "";
	struct shape s;
	__u32 zero = 0;

	h.factor = strtoull(argv[1], NULL, 0);
	h.step = strtoull(argv[2], NULL, 0);
	h.mask = strtoull(argv[3], NULL, 0);
	h.shift = (__u32)atoi(argv[4]);
	h.state = strtoull(argv[5], NULL, 0);
	for (int i = 6; i < argc; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), "%s ", argv[i]);
	s = shape_of(line);
	frame_make(&s, &f);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(harness.obj, ".data.lbharness"), &zero, &h, 0))
		die("harness");
	o.data_in = f.at;
	o.data_size_in = f.len;
	o.repeat = atoi(argv[0]);
	if (bpf_prog_test_run_opts(harness.rewrite, &o))
		die("BPF_PROG_TEST_RUN");
	printf("verdict %d\n", (int)o.retval);
	return 0;
}

static int verified(const char *path)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	int fd = bpf_obj_get(path);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len))
		die(path);
	printf("%u\n", info.verified_insns);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	run.bpffs = getenv("BPFFS");
	if (!strcmp(what, "flows"))
		return flows(argv[2]);
	if (!strcmp(what, "ways"))
		return ways(argv[2]);
	if (!strcmp(what, "unsource"))
		return unsource(argv[2]);
	if (!strcmp(what, "age") && argc == 4)
		return age(argv[2], (unsigned)atoi(argv[3]));
	if (!strcmp(what, "verified"))
		return verified(argv[2]);
	if (argc > 2)
		harness_load(argv[2]);
	if (!strcmp(what, "run"))
		return run_lines();
	if (!strcmp(what, "fuzz") && argc == 6) {
		seed = strtoull(argv[4], NULL, 0);
		return fuzz((unsigned)atoi(argv[3]), !strcmp(argv[5], "vips"));
	}
	if (!strcmp(what, "flood") && argc > 9)
		return flood(argc - 3, argv + 3);
	errno = EINVAL;
	die("usage");
}
