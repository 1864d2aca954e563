/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPPATH_H
#define L3AF_L2TPPATH_H

/* The data path of l2tp on maps of its own, for tests/l2tprun.c and tests/benchl2tp.c. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "l2tpmodel.h"
#include "l2tprecord.h"

#define SORTS 48
#define REDIRECT 7
#define SHOT 2
#define UNSPEC -1
#define FRAME_MAX 3000

struct path {
	struct bpf_object *obj;
	int prog;
	uint32_t underlay;
	struct l2tp_session session[SORTS];
	int sessions;
};

/* Prints, exits. */
static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("l2tp: ", stderr);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static inline int map_of(const struct path *p, const char *name)
{
	return bpf_object__find_map_fd_by_name(p->obj, name);
}

static inline void map_set(const struct path *p, const char *name, const void *key, const void *value)
{
	if (bpf_map_update_elem(map_of(p, name), key, value, BPF_ANY))
		die("%s: %s", name, strerror(errno));
}

static inline void place_set(const struct path *p, uint32_t flags)
{
	struct l2tp_place place = { .ifindex = p->underlay, .flags = flags };
	uint32_t zero = 0;

	map_set(p, "places", &zero, &place);
}

/* Bits of n: family, encapsulation, checksum, sublayer; cookies. */
static inline struct l2tp_session session_of(const struct path *p, int n)
{
	static const uint8_t len[] = { 0, 4, 8 };
	struct l2tp_session s = {
		.number = (uint32_t)n + 1, .id = 0x1000001U + (uint32_t)n, .peer_id = 0xf0000001 - (uint32_t)n,
		.underlay_ifindex = p->underlay, .access_ifindex = 1, .local_port = 1701, .remote_port = 1702,
		.vlan = { L2TP_NO_VLAN, L2TP_NO_VLAN }, .frame = FRAME_MAX, .mtu = FRAME_MAX - 14,
		.tx_cookie_len = len[n >> 4], .rx_cookie_len = len[n >> 4], .rx_cookies = n >> 4,
	};
	static const uint8_t v4[2][16] = { { [10] = 0xff, 0xff, 10, 77, 0, 1 }, { [10] = 0xff, 0xff, 10, 77, 0, 2 } };
	static const uint8_t v6[2][16] = { { 0xfd, 0x77, [15] = 1 }, { 0xfd, 0x77, [15] = 2 } };

	s.encap = n & 2 ? L2TP_IP : L2TP_UDP;
	s.flags = (n & 1 ? L2TP_V6 : 0) | (n & 4 ? L2TP_CHECKSUM : 0) | (n & 8 ? L2TP_SUBLAYER : 0);
	memcpy(s.local, s.flags & L2TP_V6 ? v6[0] : v4[0], 16);
	memcpy(s.remote, s.flags & L2TP_V6 ? v6[1] : v4[1], 16);
	memset(s.tx_cookie, 0xa0 + n, s.tx_cookie_len);
	for (int i = 0; i < s.rx_cookies; i++)
		for (int j = 0; j < s.rx_cookie_len; j++)
			s.rx_cookie[i][j] = (uint8_t)(17 * i + j + n);
	return s;
}

static inline void session_add(struct path *p, const struct l2tp_session *s, int has_access)
{
	struct l2tp_stat none[64] = { 0 };
	struct l2tp_sequence sequence = { 0 };
	struct l2tp_endpoint e = l2tp_endpoint_of(s);
	struct l2tp_records r;
	uint8_t one = 1;

	if (libbpf_num_possible_cpus() > 64)
		die("more than 64 CPUs");
	l2tp_records(s, &r);
	map_set(p, "stats", &s->number, none);
	map_set(p, "sequences", &s->number, &sequence);
	map_set(p, "endpoints", &e, &one);
	map_set(p, "received", &r.rx_key, &r.rx);
	if (has_access)
		map_set(p, "access", &r.tx_key, &r.tx);
}

static inline void path_open(struct path *p, const char *object, const char *underlay)
{
	struct bpf_program *prog;
	int err;

	p->underlay = if_nametoindex(underlay);
	p->obj = bpf_object__open(object);
	if (!p->underlay || !p->obj)
		die("%s, %s: %s", underlay, object, strerror(errno));
	prog = bpf_object__find_program_by_name(p->obj, "l2tp");
	bpf_program__set_expected_attach_type(prog, 0);
	err = bpf_object__load(p->obj);
	if (err)
		die("%s: %s", object, strerror(-err));
	p->prog = bpf_program__fd(prog);
	for (int n = 0; n < SORTS; n++) {
		p->session[n] = session_of(p, n);
		session_add(p, &p->session[n], 0);
	}
	p->sessions = SORTS;
}

/* MACs, what is behind them in hex, and any octets up to len. */
static inline void frame_make(struct bytes *f, const char *l3, uint32_t len)
{
	f->n = 0;
	put(f, "\x02\x01\x02\x03\x04\x05\x02\x0a\x0b\x0c\x0d\x0e", 12);
	for (unsigned byte; sscanf(l3, "%2x", &byte) == 1; l3 += 2)
		f->b[f->n++] = (uint8_t)byte;
	for (; f->n < len; f->n++)
		f->b[f->n] = (uint8_t)(f->n * 7 + len);
}

/* -EINVAL: packets that TEST_RUN does not take */
static inline int run(const struct path *p, const struct bytes *in, uint32_t gso, struct bytes *out)
{
	struct __sk_buff skb = { .gso_size = gso };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = in->b, .data_size_in = in->n, .data_out = out->b,
		    .data_size_out = sizeof(out->b), .ctx_in = &skb, .ctx_size_in = sizeof(skb), .repeat = 1);
	int err = bpf_prog_test_run_opts(p->prog, &o);

	if (err == -EINVAL)
		return err;
	if (err)
		die("a packet: %s", strerror(-err));
	out->n = o.data_size_out;
	return (int)o.retval;
}

#endif
