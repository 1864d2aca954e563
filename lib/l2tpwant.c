/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host.h"
#include "l2tprecord.h"
#include "l2tpwant.h"
#include "link.h"
#include "out.h"

const char *const l2tp_encap_words[] = { [L2TP_UDP] = "udp", [L2TP_IP] = "ip", NULL };
const char *const l2tp_sublayer_words[] = { "none", "default", NULL };
const char *const l2tp_switch_words[] = { "off", "on", NULL };

#define MTU_LEAST 68 /* RFC 791 */
#define FRAME_MOST 65535

/*
 * Checks.
 */
int l2tp_check_words(const char *verb, const struct l2tp_want *want, int encap, bool is_v6, bool is_sublayer)
{
	static const struct { unsigned has; const char *word; } udp[] = {
		{ L2TP_HAS_SPORT, "sport" }, { L2TP_HAS_DPORT, "dport" }, { L2TP_HAS_UDP_CSUM, "udp-csum" } };

	for (size_t i = 0; encap == L2TP_IP && i < sizeof(udp) / sizeof(udp[0]); i++)
		if (want->has & udp[i].has)
			return fail(-E_USAGE, "l2tp %s: %s: encap ip has no UDP", verb, udp[i].word);
	if (want->has & L2TP_HAS_SEQUENCE && want->has_sequence && !is_sublayer)
		return fail(-E_USAGE, "l2tp %s: sequence: sublayer none has no room for numbers", verb);
	if (want->has & L2TP_HAS_VLAN && want->netdev[0])
		return fail(-E_USAGE, "l2tp %s: vlan is for frames of dev IF; all of %s are the pseudowire's", verb,
			    want->netdev);
	if (want->has & L2TP_HAS_ENDS && addr_is_v4(&want->local) != addr_is_v4(&want->remote))
		return fail(-E_USAGE, "l2tp %s: local and remote are of different families", verb);
	if (want->has & L2TP_HAS_ENDS && !memcmp(&want->local, &want->remote, sizeof(want->local)))
		return fail(-E_USAGE, "l2tp %s: local and remote are the same", verb);
	if (want->has & L2TP_HAS_REMOTE && addr_is_v4(&want->remote) == is_v6)
		return fail(-E_USAGE, "l2tp %s: remote: the pseudowire is over IPv%d", verb, is_v6 ? 6 : 4);
	return 0;
}

static int check_iface(const struct iface *i)
{
	struct link_info info;
	int is = iface_is_ethernet(i), err = is < 0 ? is : link_get(i, &info);

	if (err)
		return fail_errno(err, "%s", i->name);
	return is && !info.is_loopback ? 0 : fail(-EOPNOTSUPP, "%s is not an Ethernet interface", i->name);
}

int l2tp_check_host(const struct l2tp_want *want)
{
	struct iface owner;
	char text[64];
	int is, err = check_iface(&want->underlay);

	if (!err && want->dev.index)
		err = check_iface(&want->dev);
	if (err)
		return err;
	is = host_has_addr(&want->local, &owner);
	if (!is)
		return fail(-EADDRNOTAVAIL, "local: %s is not an address of this host",
			    format_addr(&want->local, text, sizeof(text)));
	if (is > 0)
		is = host_has_addr(&want->remote, &owner);
	if (is > 0)
		return fail(-EADDRINUSE, "remote: %s is this host's own, of %s",
			    format_addr(&want->remote, text, sizeof(text)), owner.name);
	return is < 0 ? fail_errno(is, "the addresses of this host") : 0;
}

static int check_access(const struct l2tp_session *s, const struct l2tp_session *o)
{
	const bool is_plain = s->vlan[0] == L2TP_NO_VLAN;

	if (s->access_ifindex && s->access_ifindex == o->access_ifindex && !memcmp(s->vlan, o->vlan, sizeof(s->vlan)))
		return fail(-EEXIST, "%s: its frames%s belong to l2tp %.15s", s->dev,
			    is_plain ? "" : " with this vlan", o->name);
	if (s->access_ifindex == o->underlay_ifindex && is_plain)
		return fail(-EEXIST, "%s is the underlay of l2tp %.15s, which needs its frames; give vlan", s->dev, o->name);
	if (s->underlay_ifindex == o->access_ifindex && o->vlan[0] == L2TP_NO_VLAN)
		return fail(-EEXIST, "underlay: all frames of %.15s belong to l2tp %.15s", o->dev, o->name);
	return 0;
}

int l2tp_check_others(const struct l2tps *t, const struct l2tp_session *s, int i, const struct netns *self)
{
	if (s->access_ifindex == s->underlay_ifindex && s->vlan[0] == L2TP_NO_VLAN)
		return fail(-EEXIST, "%s is dev and underlay, which needs its own frames; give vlan", s->dev);
	for (int o = 0; o < t->n; o++) {
		const struct l2tp_session *other = &t->session[o];
		int err = 0;

		if (o == i || t->place[other->underlay].netns != self->id)
			continue;
		if (s->id == other->id && s->underlay_ifindex == other->underlay_ifindex)
			return fail(-EEXIST, "session: %u on this underlay is l2tp %.15s", s->id, other->name);
		err = i < 0 ? check_access(s, other) : 0;
		if (err)
			return err;
	}
	return 0;
}

/*
 * Sessions.
 */
static void flag_set(struct l2tp_session *s, __u8 flag, bool is_on)
{
	s->flags = is_on ? s->flags | flag : s->flags & (__u8)~flag;
}

void l2tp_session_change(const struct l2tp_want *want, struct l2tp_session *s)
{
	if (want->has & L2TP_HAS_REMOTE)
		memcpy(s->remote, want->remote.b, sizeof(s->remote));
	if (want->has & L2TP_HAS_SPORT)
		s->local_port = want->sport;
	if (want->has & L2TP_HAS_DPORT)
		s->remote_port = want->dport;
	if (want->has & L2TP_HAS_TX_COOKIE) {
		s->tx_cookie_len = want->tx.len;
		memcpy(s->tx_cookie, want->tx.b, sizeof(s->tx_cookie));
	}
	if (want->has & L2TP_HAS_RX_COOKIE) {
		s->rx_cookie_len = want->rx[0].len;
		s->rx_cookies = want->rx[0].len ? (__u8)want->rxs : 0;
		for (int i = 0; i < 2; i++)
			memcpy(s->rx_cookie[i], want->rx[i].b, sizeof(s->rx_cookie[i]));
	}
	if (want->has & L2TP_HAS_SEQUENCE)
		flag_set(s, L2TP_SEQUENCE, want->has_sequence);
	if (want->has & L2TP_HAS_UDP_CSUM)
		flag_set(s, L2TP_CHECKSUM, want->has_udp_csum);
	if (want->has & L2TP_HAS_MTU) {
		flag_set(s, L2TP_MTU, want->mtu);
		s->mtu = (__u16)want->mtu;
	}
}

void l2tp_session_new(const char *name, const struct l2tp_want *want, struct l2tp_session *s)
{
	const bool is_v6 = !addr_is_v4(&want->local), is_udp = want->encap == L2TP_UDP;
	const bool has_vlan = want->has & L2TP_HAS_VLAN;

	*s = (struct l2tp_session){
		.since = (__u64)time(NULL),
		.id = want->session,
		.peer_id = want->peer_session,
		.underlay_ifindex = (__u32)want->underlay.index,
		.access_ifindex = (__u32)want->dev.index,
		.encap = (__u8)want->encap,
		.local_port = is_udp ? L2TP_PORT : 0,
		.remote_port = is_udp ? L2TP_PORT : 0,
		.vlan = { has_vlan ? (__u16)want->vlans.outer : L2TP_NO_VLAN,
			  has_vlan && want->vlans.inner >= 0 ? (__u16)want->vlans.inner : L2TP_NO_VLAN },
	};
	memcpy(s->name, name, strnlen(name, sizeof(s->name) - 1));
	memcpy(s->dev, want->netdev[0] ? want->netdev : want->dev.name, sizeof(s->dev));
	memcpy(s->local, want->local.b, sizeof(s->local));
	flag_set(s, L2TP_V6, is_v6);
	flag_set(s, L2TP_CHECKSUM, is_v6 && is_udp);
	flag_set(s, L2TP_SUBLAYER, !(want->has & L2TP_HAS_SUBLAYER) || want->has_sublayer);
	flag_set(s, L2TP_NETDEV, want->netdev[0]);
	l2tp_session_change(want, s);
}

int l2tp_session_fit(const struct l2tp_want *want, const struct iface *underlay, struct l2tp_session *s)
{
	unsigned mtu;
	/* so that both ends, which may send different cookies, find the same */
	int more = s->rx_cookie_len > s->tx_cookie_len ? s->rx_cookie_len - s->tx_cookie_len : 0;
	int frame, err = iface_mtu(underlay, &mtu);

	if (err)
		return fail_errno(err, "%s", underlay->name);
	frame = l2tp_frame(s, (int)mtu);
	frame = frame > FRAME_MOST ? FRAME_MOST : frame;
	if (frame < ETH_HLEN + MTU_LEAST + more)
		return fail(-EMSGSIZE, "underlay: %s: no packet fits into its MTU of %u", underlay->name, mtu);
	if (want->has & L2TP_HAS_MTU && s->flags & L2TP_MTU && s->mtu > frame - ETH_HLEN)
		return fail(-EMSGSIZE, "mtu: %u does not fit: %d is left of the underlay's %u", s->mtu, frame - ETH_HLEN, mtu);
	s->frame = (__u16)frame;
	if (!(s->flags & L2TP_MTU))
		s->mtu = (__u16)(frame - ETH_HLEN - more);
	return 0;
}

bool l2tp_is_same(const struct l2tp_want *want, const struct l2tp_session *s)
{
	struct l2tp_session now;

	l2tp_session_new(s->name, want, &now);
	return now.id == s->id && now.peer_id == s->peer_id && now.encap == s->encap &&
	       now.underlay_ifindex == s->underlay_ifindex && !strncmp(now.dev, s->dev, sizeof(now.dev)) &&
	       (now.access_ifindex == s->access_ifindex || want->netdev[0]) &&
	       !((now.flags ^ s->flags) & L2TP_NETDEV) && !memcmp(now.local, s->local, sizeof(now.local)) &&
	       (!(want->has & L2TP_HAS_SUBLAYER) || !((now.flags ^ s->flags) & L2TP_SUBLAYER)) &&
	       (!(want->has & L2TP_HAS_VLAN) || !memcmp(now.vlan, s->vlan, sizeof(now.vlan)));
}

/*
 * Words.
 */
struct text {
	char buf[64];
};

static const char *addr_text(const __u32 words[4], struct text *t)
{
	struct addr a;

	memcpy(a.b, words, sizeof(a.b));
	return format_addr(&a, t->buf, sizeof(t->buf));
}

static const char *cookie_text(const __u8 b[8], __u8 len, struct text *t)
{
	struct cookie c = { .len = len };

	memcpy(c.b, b, sizeof(c.b));
	return format_cookie(&c, t->buf, sizeof(t->buf));
}

static const char *rx_cookies_text(const struct l2tp_session *s, struct text *t)
{
	struct text one;

	snprintf(t->buf, sizeof(t->buf), "%s", s->rx_cookies ? "" : "none");
	for (int i = 0; i < s->rx_cookies; i++) {
		size_t used = strlen(t->buf);

		snprintf(t->buf + used, sizeof(t->buf) - used, "%s%s", used ? "," : "",
			 cookie_text(s->rx_cookie[i], s->rx_cookie_len, &one));
	}
	return t->buf;
}

/* A setting: what it is, and where it is new only if it is not what it mostly is. */
static void note_str(const struct run *run, const char *key, const char *from, const char *to, const char *mostly)
{
	if (from && strcmp(from, to))
		change_from_str(run->changes, key, from, to);
	else if (!from && strcmp(to, mostly))
		change_str(run->changes, key, "%s", to);
}

static void note_u64(const struct run *run, const char *key, const __u16 *from, __u16 to, __u16 mostly)
{
	if (from && *from != to)
		change_from_u64(run->changes, key, *from, to);
	else if (!from && to != mostly)
		change_u64(run->changes, key, to);
}

static const char *flag_text(const struct l2tp_session *s, __u8 flag)
{
	return l2tp_switch_words[!!(s->flags & flag)];
}

static void note_settings(const struct run *run, const struct l2tp_session *from, const struct l2tp_session *to)
{
	const __u16 port = to->encap == L2TP_UDP ? L2TP_PORT : 0;
	const bool is_summed = to->flags & L2TP_V6 && to->encap == L2TP_UDP;
	struct text a, b;

	note_u64(run, "sport", from ? &from->local_port : NULL, to->local_port, port);
	note_u64(run, "dport", from ? &from->remote_port : NULL, to->remote_port, port);
	note_str(run, "tx_cookie", from ? cookie_text(from->tx_cookie, from->tx_cookie_len, &a) : NULL,
		 cookie_text(to->tx_cookie, to->tx_cookie_len, &b), "none");
	note_str(run, "rx_cookie", from ? rx_cookies_text(from, &a) : NULL, rx_cookies_text(to, &b), "none");
	note_str(run, "sequence", from ? flag_text(from, L2TP_SEQUENCE) : NULL, flag_text(to, L2TP_SEQUENCE), "off");
	note_str(run, "udp_csum", from ? flag_text(from, L2TP_CHECKSUM) : NULL, flag_text(to, L2TP_CHECKSUM),
		 l2tp_switch_words[is_summed]);
	note_u64(run, "mtu", from ? &from->mtu : NULL, to->mtu, 0);
	note_str(run, "mtu_given", from ? flag_text(from, L2TP_MTU) : NULL, flag_text(to, L2TP_MTU),
		 flag_text(to, L2TP_MTU));
}

static void note_new(const struct run *run, const struct l2tp_session *s, const char *underlay)
{
	struct vlans v = { s->vlan[0] == L2TP_NO_VLAN ? -1 : s->vlan[0], s->vlan[1] == L2TP_NO_VLAN ? -1 : s->vlan[1] };
	struct text a;

	change_str(run->changes, s->flags & L2TP_NETDEV ? "netdev" : "dev", "%s", s->dev);
	if (v.outer >= 0)
		change_str(run->changes, "vlan", "%s", format_vlans(&v, a.buf, sizeof(a.buf)));
	change_str(run->changes, "underlay", "%s", underlay);
	change_str(run->changes, "local", "%s", addr_text(s->local, &a));
	change_str(run->changes, "remote", "%s", addr_text(s->remote, &a));
	change_u64(run->changes, "session", s->id);
	change_u64(run->changes, "peer_session", s->peer_id);
	change_str(run->changes, "encap", "%s", l2tp_encap_words[s->encap]);
	if (!(s->flags & L2TP_SUBLAYER))
		change_str(run->changes, "sublayer", "none");
	note_settings(run, NULL, s);
}

void l2tp_note(const struct run *run, const struct l2tp_session *from, const struct l2tp_session *to,
	       const char *underlay)
{
	struct text a, b;

	change_add(run->changes, from ? '~' : '+', "l2tp", to->name);
	if (!from) {
		note_new(run, to, underlay);
		return;
	}
	if (memcmp(from->remote, to->remote, sizeof(to->remote)))
		change_from_str(run->changes, "remote", addr_text(from->remote, &a), addr_text(to->remote, &b));
	note_settings(run, from, to);
}

void l2tp_note_gone(const struct run *run, const struct l2tp_session *s)
{
	change_add(run->changes, '-', "l2tp", s->name);
	change_str(run->changes, s->flags & L2TP_NETDEV ? "netdev" : "dev", "%s", s->dev);
}

void l2tp_warn(const struct l2tp_session *s, const struct iface *underlay, const struct iface *dev)
{
	struct addr local, remote;
	struct host_route route;
	struct host_nic nic;
	struct text a;
	int err;

	memcpy(local.b, s->local, sizeof(local.b));
	memcpy(remote.b, s->remote, sizeof(remote.b));
	err = host_route(&local, &remote, &route);
	if (err || route.type != RTN_UNICAST)
		warn("l2tp %s: there is no route to %s", s->name, addr_text(s->remote, &a));
	else if (route.iface.index != underlay->index)
		warn("l2tp %s: the route to %s leaves by %s", s->name, addr_text(s->remote, &a), route.iface.name);
	if (!dev || (s->encap == L2TP_UDP && !(s->flags & L2TP_CHECKSUM)) || host_nic(dev, &nic))
		return;
	if (!strcmp(nic.driver, "veth") || !strcmp(nic.driver, "tun"))
		warn("l2tp %s: packets that are to be segmented or summed behind %s cannot get into it: ethtool -K IF tx off "
		     "at the other end of %s, or netdev instead of dev", s->name, dev->name, dev->name);
	else if (link_merges(dev) > 0)
		warn("l2tp %s: packets that %s merged cannot get into it: ethtool -K %s gro off", s->name, dev->name,
		     dev->name);
}
