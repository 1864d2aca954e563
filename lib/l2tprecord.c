/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A session as packets need it. */
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>
#include "l2tprecord.h"

#define TTL 64
#define DF 0x4000
#define PROTO_L2TP 115
#define UDP_VERSION 0x00030000U /* RFC 3931, section 4.1.2.1: data, version 3 */
#define SUBLAYER_S 0x40000000U  /* section 4.6: there is a sequence number */
#define MSS_LEAST 8             /* whatever the MTU is */

static __u8 headers(const struct l2tp_session *s)
{
	return L2TP_HEADERS(s->flags, s->encap, s->tx_cookie_len);
}

int l2tp_frame(const struct l2tp_session *s, int underlay_mtu)
{
	return underlay_mtu - headers(s);
}

struct l2tp_endpoint l2tp_endpoint_of(const struct l2tp_session *s)
{
	struct l2tp_endpoint e = { .place = s->underlay, .port = s->encap == L2TP_UDP ? s->local_port : 0 };

	memcpy(e.local, s->local, sizeof(e.local));
	return e;
}

static __u64 sum(const void *words, size_t len)
{
	const __u8 *from = words;
	__u16 word;
	__u64 all = 0;

	for (size_t i = 0; i + 2 <= len; i += 2) {
		memcpy(&word, from + i, 2);
		all += word;
	}
	return all;
}

static __u16 mss(__u16 mtu, __u16 rest)
{
	return mtu > rest + MSS_LEAST ? mtu - rest : MSS_LEAST;
}

static void mss_of(__u16 *to, const struct l2tp_session *s)
{
	to[0] = mss(s->mtu, 20 + 20);
	to[1] = mss(s->mtu, 40 + 20);
}

/* From the session ID on. */
static __u8 *l2tp_header(__u8 *to, const struct l2tp_session *s)
{
	__be32 id = htonl(s->peer_id), sublayer = s->flags & L2TP_SEQUENCE ? htonl(SUBLAYER_S) : 0;

	memcpy(to, &id, sizeof(id));
	to += sizeof(id);
	memcpy(to, s->tx_cookie, s->tx_cookie_len);
	to += s->tx_cookie_len;
	if (s->flags & L2TP_SUBLAYER) {
		memcpy(to, &sublayer, sizeof(sublayer));
		to += sizeof(sublayer);
	}
	return to;
}

static __u8 *ip_header(__u8 *to, const struct l2tp_session *s, struct l2tp_tx *tx)
{
	__u8 proto = s->encap == L2TP_UDP ? IPPROTO_UDP : PROTO_L2TP;
	struct ipv6hdr ip6 = { .version = 6, .nexthdr = proto, .hop_limit = TTL };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = TTL, .protocol = proto };

	if (s->flags & L2TP_V6) {
		memcpy(&ip6.saddr, s->local, sizeof(ip6.saddr));
		memcpy(&ip6.daddr, s->remote, sizeof(ip6.daddr));
		memcpy(to, &ip6, sizeof(ip6));
		return to + sizeof(ip6);
	}
	ip.frag_off = htons(DF);
	ip.saddr = s->local[3];
	ip.daddr = s->remote[3];
	tx->ip_sum = (__u32)sum(&ip, sizeof(ip));
	memcpy(to, &ip, sizeof(ip));
	return to + sizeof(ip);
}

static void tx_header(const struct l2tp_session *s, struct l2tp_tx *tx)
{
	struct udphdr udp = { .source = htons(s->local_port), .dest = htons(s->remote_port) };
	__be32 version = htonl(UDP_VERSION);
	__be16 type = htons(s->flags & L2TP_V6 ? ETH_P_IPV6 : ETH_P_IP);
	__u8 *to = tx->header + 2 * ETH_ALEN, *from;

	memcpy(to, &type, sizeof(type));
	from = to = ip_header(to + sizeof(type), s, tx);
	if (s->encap == L2TP_UDP) {
		memcpy(to, &udp, sizeof(udp));
		memcpy(to + sizeof(udp), &version, sizeof(version));
		to += sizeof(udp) + sizeof(version);
	}
	to = l2tp_header(to, s);
	tx->udp_sum = (__u32)(sum(from, (size_t)(to - from)) + htons(IPPROTO_UDP));
	if (s->flags & L2TP_V6)
		tx->udp_sum += (__u32)(sum(s->local, 16) + sum(s->remote, 16));
	else
		tx->udp_sum += (__u32)(sum(&s->local[3], 4) + sum(&s->remote[3], 4));
}

static void rx_cookies(const struct l2tp_session *s, struct l2tp_rx *rx)
{
	if (!s->rx_cookies)
		return;
	for (int i = 0; i < 2; i++)
		memcpy(rx->cookie[i], s->rx_cookie[i < s->rx_cookies ? i : 0], s->rx_cookie_len);
	memset(rx->cookie_mask, 0xff, s->rx_cookie_len);
}

void l2tp_records(const struct l2tp_session *s, struct l2tp_records *r)
{
	__be16 ports[2] = { htons(s->remote_port), htons(s->local_port) };

	memset(r, 0, sizeof(*r));
	r->rx_key = (struct l2tp_rx_key){ .id = htonl(s->id), .place = s->underlay };
	r->rx = (struct l2tp_rx){ .number = s->number, .out = s->access_ifindex, .encap = s->encap,
				  .flags = s->flags, .session = *s };
	memcpy(r->rx.remote, s->remote, sizeof(r->rx.remote));
	memcpy(r->rx.local, s->local, sizeof(r->rx.local));
	if (s->encap == L2TP_UDP)
		memcpy(&r->rx.ports, ports, sizeof(r->rx.ports));
	rx_cookies(s, &r->rx);
	r->rx.l2tp_len = 4 + (s->rx_cookies ? s->rx_cookie_len : 0) + (s->flags & L2TP_SUBLAYER ? 4 : 0);
	mss_of(r->rx.mss, s);
	r->tx_key = (struct l2tp_access){ .place = s->access, .vlan = { s->vlan[0], s->vlan[1] } };
	r->tx = (struct l2tp_tx){ .number = s->number, .underlay = s->underlay_ifindex, .ask = s->ask,
				  .mtu = s->mtu, .frame = s->frame, .encap = s->encap, .flags = s->flags,
				  .len = headers(s) };
	mss_of(r->tx.mss, s);
	memcpy(r->tx.addr[0], s->local, sizeof(s->local));
	memcpy(r->tx.addr[1], s->remote, sizeof(s->remote));
	tx_header(s, &r->tx);
}
