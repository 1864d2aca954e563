/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_L2TPMODEL_H
#define L3AF_L2TPMODEL_H

/*
 * What L2TPv3 packets look like, octet by octet out of RFC 3931 and 768: for tests/l2tprun.c,
 * which compares the data path with it. Shares nothing with that but struct l2tp_session.
 */
#include <stdint.h>
#include <string.h>
#include "l2tp.h"

struct bytes {
	uint8_t b[4096];
	uint32_t n;
};

static inline void put(struct bytes *o, const void *from, uint32_t n)
{
	memcpy(o->b + o->n, from, n);
	o->n += n;
}
static inline void put_word(struct bytes *o, uint32_t v, int octets)
{
	while (octets--)
		o->b[o->n++] = (uint8_t)(v >> 8 * octets);
}
static inline uint32_t get_word(const uint8_t *b, int octets)
{
	uint32_t v = 0;

	while (octets--)
		v = v << 8 | *b++;
	return v;
}

/* The sum of n octets, the last one alone filled up with zeros. */
static inline uint32_t model_sum(const uint8_t *b, uint32_t n)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < n; i += 2)
		sum += (uint32_t)b[i] << 8 | (i + 1 < n ? b[i + 1] : 0);
	return sum;
}
static inline uint16_t model_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* From us to the peer, or the other way. seq: -1: none. MACs 0. */
struct way {
	int is_from_peer;
	int cookie;     /* which of those that are accepted */
	int64_t seq;
};

static inline void model_l2tp(struct bytes *o, const struct l2tp_session *s, const struct way *w)
{
	put_word(o, w->is_from_peer ? s->id : s->peer_id, 4);
	if (w->is_from_peer)
		put(o, s->rx_cookie[w->cookie], s->rx_cookies ? s->rx_cookie_len : 0);
	else
		put(o, s->tx_cookie, s->tx_cookie_len);
	if (s->flags & L2TP_SUBLAYER)
		put_word(o, w->seq < 0 ? 0 : 0x40000000 | (uint32_t)w->seq, 4);
}

static inline void model_packet(struct bytes *o, const struct l2tp_session *s, const struct way *w, const struct bytes *frame)
{
	const uint8_t *src = (const uint8_t *)(w->is_from_peer ? s->remote : s->local);
	const uint8_t *dst = (const uint8_t *)(w->is_from_peer ? s->local : s->remote);
	int is_udp = s->encap == L2TP_UDP, is_v6 = s->flags & L2TP_V6;
	struct bytes data = { .n = 0 };
	uint32_t udp, check;

	if (is_udp)
		put_word(&data, 0x00030000, 4);
	model_l2tp(&data, s, w);
	put(&data, frame->b, frame->n);
	memset(o->b, 0, 12);
	o->n = 12;
	if (is_v6) {
		put_word(o, 0x86dd, 2);
		put_word(o, 0x60000000, 4);
		put_word(o, data.n + (is_udp ? 8 : 0), 2);
		put_word(o, is_udp ? 17 : 115, 1);
		put_word(o, 64, 1);
		put(o, src, 16);
		put(o, dst, 16);
	} else {
		put_word(o, 0x0800, 2);
		put_word(o, 0x4500, 2);
		put_word(o, data.n + 20 + (is_udp ? 8 : 0), 2);
		put_word(o, 0x00004000, 4);
		put_word(o, 64, 1);
		put_word(o, is_udp ? 17 : 115, 1);
		put_word(o, 0, 2);
		put(o, src + 12, 4);
		put(o, dst + 12, 4);
		check = (uint16_t)~model_fold(model_sum(o->b + 14, 20));
		o->b[24] = (uint8_t)(check >> 8);
		o->b[25] = (uint8_t)check;
	}
	udp = o->n;
	if (is_udp) {
		put_word(o, w->is_from_peer ? s->remote_port : s->local_port, 2);
		put_word(o, w->is_from_peer ? s->local_port : s->remote_port, 2);
		put_word(o, data.n + 8, 2);
		put_word(o, 0, 2);
	}
	put(o, data.b, data.n);
	if (!is_udp || !(s->flags & L2TP_CHECKSUM))
		return;
	check = model_sum(is_v6 ? src : src + 12, is_v6 ? 16 : 4) + model_sum(is_v6 ? dst : dst + 12, is_v6 ? 16 : 4);
	check = (uint16_t)~model_fold(check + 17 + data.n + 8 + model_sum(o->b + udp, o->n - udp));
	check = check ? check : 0xffff;
	o->b[udp + 6] = (uint8_t)(check >> 8);
	o->b[udp + 7] = (uint8_t)check;
}

/*
 * What a packet on the underlay is.
 */
enum { LEAVE = -1, TAKE = -2, PLACE = 100 /* + enum l2tp_place_count: left, and counted */ };

/* l4, its protocol, and what the IP header says is behind it. 0: neither UDP nor L2TP. */
struct model_ip {
	uint32_t l4, left;
	uint8_t proto, is_v6, is_fragment, is_later;
	uint8_t src[16], dst[16];
};

static inline int model_ip6(const struct bytes *in, struct model_ip *m)
{
	uint32_t at = 54;
	uint8_t next = in->b[20];

	m->is_v6 = 1;
	memcpy(m->src, in->b + 22, 16);
	memcpy(m->dst, in->b + 38, 16);
	for (int i = 0; next == 0 || next == 43 || next == 44 || next == 60; i++) {
		if (i == 8 || at + 8 > in->n)
			return 0;
		m->proto = in->b[at];
		if (next == 44) {
			m->is_fragment = 1;
			if (get_word(in->b + at + 2, 2) & 0xfff8) {
				m->is_later = 1;
				return 1;
			}
			at += 8;
		} else {
			at += (in->b[at + 1] + 1U) * 8;
		}
		next = m->proto;
	}
	m->proto = next;
	m->l4 = at;
	return 1;
}

static inline int model_ip(const struct bytes *in, struct model_ip *m)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint32_t end, type = in->n >= 14 ? get_word(in->b + 12, 2) : 0;

	*m = (struct model_ip){ .proto = 0 };
	if (type == 0x86dd && in->n >= 54 && in->b[14] >> 4 == 6) {
		if (!model_ip6(in, m))
			return 0;
		end = 54 + get_word(in->b + 18, 2);
	} else if (type == 0x0800 && in->n >= 34 && in->b[14] >> 4 == 4 && (in->b[14] & 15) >= 5) {
		memcpy(m->src, mapped, 12);
		memcpy(m->src + 12, in->b + 26, 4);
		memcpy(m->dst, mapped, 12);
		memcpy(m->dst + 12, in->b + 30, 4);
		m->proto = in->b[23];
		m->is_fragment = get_word(in->b + 20, 2) & 0x3fff ? 1 : 0;
		m->is_later = get_word(in->b + 20, 2) & 0x1fff ? 1 : 0;
		m->l4 = 14 + (in->b[14] & 15U) * 4;
		end = 14 + get_word(in->b + 16, 2);
	} else {
		return 0;
	}
	if (end <= in->n && end > m->l4)
		m->left = end - m->l4;
	return m->proto == 17 || m->proto == 115;
}

static inline int is_endpoint(const struct l2tp_session *s, int n, const struct model_ip *m, uint16_t port)
{
	for (int i = 0; i < n; i++)
		if (!memcmp(s[i].local, m->dst, 16) && (s[i].encap == L2TP_UDP ? s[i].local_port == port : !port))
			return 1;
	return 0;
}

static inline int model_session(const struct l2tp_session *s, const struct bytes *in, const struct model_ip *m, uint32_t at,
			 uint32_t left, struct bytes *out)
{
	uint32_t len = s->rx_cookies ? s->rx_cookie_len : 0, least = m->is_v6 ? 54 : 34;
	int is_good = !s->rx_cookies;

	if (memcmp(s->remote, m->src, 16) || (s->encap == L2TP_UDP && get_word(in->b + m->l4, 2) != s->remote_port))
		return L2TP_RX_PEER;
	if (left < 4 + len + (s->flags & L2TP_SUBLAYER ? 4 : 0) + 14)
		return L2TP_RX_SHORT;
	for (int i = 0; i < s->rx_cookies; i++)
		is_good |= !memcmp(in->b + at + 4, s->rx_cookie[i], len);
	if (!is_good)
		return L2TP_RX_COOKIE;
	len += 4 + (s->flags & L2TP_SUBLAYER ? 4 : 0);
	out->n = left - len;
	memcpy(out->b, in->b + at + len, out->n);
	if (out->n < least) {
		memset(out->b + out->n, 0, 60 - out->n);
		out->n = 60;
	}
	return TAKE;
}

/* LEAVE, PLACE + what, what (session *whose: dropped), or TAKE: out is the frame. */
static inline int model_receive(const struct l2tp_session *s, int n, const struct bytes *in, int *whose, struct bytes *out)
{
	struct model_ip m;
	uint32_t at, left;
	uint16_t port = 0;
	int what = -1;

	if (!model_ip(in, &m))
		return LEAVE;
	at = m.l4;
	left = m.left;
	if (m.is_later)
		return m.proto == 115 && is_endpoint(s, n, &m, 0) ? PLACE + L2TP_FRAGMENT : LEAVE;
	if (at >= 256 - 12)
		return LEAVE;
	if (m.proto == 17) {
		if (at + 8 > in->n)
			return LEAVE;
		port = (uint16_t)get_word(in->b + at + 2, 2);
		if (m.is_fragment)
			what = L2TP_FRAGMENT;
		else if (get_word(in->b + at + 4, 2) > left || get_word(in->b + at + 4, 2) < 16)
			what = L2TP_MALFORMED;
		else if (in->b[at + 8] & 0x80)
			what = L2TP_CONTROL;
		else if ((in->b[at + 9] & 15) != 3)
			what = L2TP_VERSION;
		left = get_word(in->b + at + 4, 2) - 12;
		at += 12;
		/* no session listens at port 0 */
		if (!port)
			return LEAVE;
	} else if (m.is_fragment) {
		what = L2TP_FRAGMENT;
	} else if (left < 4) {
		what = L2TP_MALFORMED;
	} else if (!get_word(in->b + at, 4)) {
		what = L2TP_CONTROL;
	}
	if (what >= 0)
		return is_endpoint(s, n, &m, port) ? PLACE + what : LEAVE;
	for (int i = 0; i < n; i++) {
		if (s[i].id != get_word(in->b + at, 4) || memcmp(s[i].local, m.dst, 16) ||
		    (s[i].encap == L2TP_UDP) != (m.proto == 17) || (m.proto == 17 && s[i].local_port != port))
			continue;
		*whose = i;
		return model_session(&s[i], in, &m, at, left, out);
	}
	return is_endpoint(s, n, &m, port) ? PLACE + L2TP_UNKNOWN : LEAVE;
}

#endif
