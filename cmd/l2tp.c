/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "bpffs.h"
#include "cmd.h"
#include "l2tps.h"

#define MTU_LEAST 68 /* RFC 791 */
#define MTU_MOST 65535

struct rx_cookies {
	int n;
	struct cookie cookie[2];
};

struct params {
	char name[NAME_LEN], netdev[NAME_LEN];
	struct iface dev, underlay;
	struct addr local, remote;
	__u32 session, peer_session, sport, dport, mtu;
	int encap, sublayer, sequence, udp_csum;
	struct cookie tx;
	struct rx_cookies rx;
	struct vlans vlans;
};

static int take_host(const char *s, void *field, struct why *why) { return parse_host(s, field, why); }
static int take_cookie(const char *s, void *field, struct why *why) { return parse_cookie(s, field, why); }
static int take_vlans(const char *s, void *field, struct why *why) { return parse_vlans(s, field, why); }

static int take_rx_cookie(const char *s, void *field, struct why *why)
{
	struct rx_cookies *rx = field;
	struct cookie c;
	int err = parse_cookie(s, &c, why);

	if (err)
		return err;
	if (rx->n == 2)
		return parse_wrong(why, "is the third; the old one and the new one are the most");
	if (rx->n && rx->cookie[0].len != c.len)
		return parse_wrong(why, "has another length than the first one");
	if (rx->n && !memcmp(rx->cookie, &c, sizeof(c)))
		return parse_wrong(why, "is given twice");
	rx->cookie[rx->n++] = c;
	return 0;
}

static int take_mtu(const char *s, void *field, struct why *why)
{
	__u32 *mtu = field;
	__u64 v = 0;

	if (strcmp(s, "auto") && parse_u64(s, MTU_LEAST, MTU_MOST, &v, why))
		return parse_wrong(why, "is not a number in %d..%d, nor auto", MTU_LEAST, MTU_MOST);
	*mtu = (__u32)v;
	return 0;
}

static void complete_mtu(void)
{
	puts("auto");
}

static void complete_none(void)
{
	puts("none");
}

#define FIELD(f) offsetof(struct params, f)
#define NAME(fn) { .word = "NAME", .type = ARG_NAME, .offset = FIELD(name), .positional = true, .required = true, \
		   .complete = fn, .help = "of the pseudowire" }
#define REMOTE(must) { .word = "remote", .type = ARG_CUSTOM, .parse = take_host, .offset = FIELD(remote), \
		       .meta = "ADDR", .required = must, .help = "the peer's address" }
#define SPORT { .word = "sport", .type = ARG_U32, .offset = FIELD(sport), .meta = "P", .min = 1, .max = 65535, \
		.help = "our UDP port; default 1701" }
#define DPORT { .word = "dport", .type = ARG_U32, .offset = FIELD(dport), .meta = "P", .min = 1, .max = 65535, \
		.help = "the peer's UDP port; default 1701" }
#define TX_COOKIE { .word = "tx-cookie", .type = ARG_CUSTOM, .parse = take_cookie, .offset = FIELD(tx), \
		    .meta = "HEX", .complete = complete_none, .help = "what we send, 8 or 16 digits; default none" }
#define RX_COOKIE { .word = "rx-cookie", .type = ARG_CUSTOM, .parse = take_rx_cookie, .offset = FIELD(rx), \
		    .meta = "HEX", .complete = complete_none, .many = true, \
		    .help = "what the peer has to send; given twice: either; default none" }
#define SEQUENCE { .word = "sequence", .type = ARG_ENUM, .offset = FIELD(sequence), .words = l2tp_switch_words, \
		   .help = "number what we send, drop what comes late or twice; default off" }
#define MTU { .word = "mtu", .type = ARG_CUSTOM, .parse = take_mtu, .offset = FIELD(mtu), .meta = "N|auto", \
	      .complete = complete_mtu, .help = "largest IP packet inside; default auto: what fits into the underlay's" }
#define UDP_CSUM { .word = "udp-csum", .type = ARG_ENUM, .offset = FIELD(udp_csum), .words = l2tp_switch_words, \
		   .help = "UDP checksums in what we send; default on over IPv6, else off" }
#define END { .word = NULL }

enum { A_NAME, A_DEV, A_NETDEV, A_UNDERLAY, A_LOCAL, A_REMOTE, A_SESSION, A_PEER, A_ENCAP, A_SPORT, A_DPORT, A_TX, A_RX,
       A_SUBLAYER, A_SEQUENCE, A_VLAN, A_MTU, A_CSUM };
static const struct arg add_args[] = {
	[A_NAME] = NAME(NULL),
	[A_DEV] = { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .group = 1, .required = true,
		    .help = "interface whose frames go through the pseudowire" },
	[A_NETDEV] = { .word = "netdev", .type = ARG_NAME, .offset = FIELD(netdev), .meta = "NEWIF", .group = 1,
		       .required = true, .help = "make such an interface" },
	[A_UNDERLAY] = { .word = "underlay", .type = ARG_IFACE, .offset = FIELD(underlay), .meta = "UIF",
			 .required = true, .help = "interface towards the peer" },
	[A_LOCAL] = { .word = "local", .type = ARG_CUSTOM, .parse = take_host, .offset = FIELD(local), .meta = "ADDR",
		      .required = true, .help = "this host's address" },
	[A_REMOTE] = REMOTE(true),
	[A_SESSION] = { .word = "session", .type = ARG_U32, .offset = FIELD(session), .meta = "ID", .min = 1,
			.required = true, .help = "session ID in what the peer sends" },
	[A_PEER] = { .word = "peer-session", .type = ARG_U32, .offset = FIELD(peer_session), .meta = "ID", .min = 1,
		     .required = true, .help = "session ID in what we send" },
	[A_ENCAP] = { .word = "encap", .type = ARG_ENUM, .offset = FIELD(encap), .words = l2tp_encap_words,
		      .required = true, .help = "over UDP, or straight over IP (protocol 115)" },
	[A_SPORT] = SPORT, [A_DPORT] = DPORT, [A_TX] = TX_COOKIE, [A_RX] = RX_COOKIE,
	[A_SUBLAYER] = { .word = "sublayer", .type = ARG_ENUM, .offset = FIELD(sublayer), .words = l2tp_sublayer_words,
			 .help = "L2-specific sublayer, as the peer has it; default: the one called default" },
	[A_SEQUENCE] = SEQUENCE,
	[A_VLAN] = { .word = "vlan", .type = ARG_CUSTOM, .parse = take_vlans, .offset = FIELD(vlans), .meta = "N[.M]",
		     .help = "only frames of dev with this tag, or these two" },
	[A_MTU] = MTU, [A_CSUM] = UDP_CSUM, END
};
enum { S_NAME, S_REMOTE, S_SPORT, S_DPORT, S_TX, S_RX, S_SEQUENCE, S_MTU, S_CSUM };
static const struct arg set_args[] = {
	[S_NAME] = NAME(l2tp_complete_name), [S_REMOTE] = REMOTE(false), [S_SPORT] = SPORT, [S_DPORT] = DPORT,
	[S_TX] = TX_COOKIE, [S_RX] = RX_COOKIE, [S_SEQUENCE] = SEQUENCE, [S_MTU] = MTU, [S_CSUM] = UDP_CSUM, END
};
static const struct arg remove_args[] = { NAME(l2tp_complete_name), END };
static const struct arg no_args[] = { END };

static struct l2tp_want want_of(const struct params *p)
{
	return (struct l2tp_want){
		.dev = p->dev,
		.underlay = p->underlay,
		.local = p->local,
		.remote = p->remote,
		.session = p->session,
		.peer_session = p->peer_session,
		.encap = p->encap,
		.sport = (__u16)p->sport,
		.dport = (__u16)p->dport,
		.tx = p->tx,
		.rx = { p->rx.cookie[0], p->rx.cookie[1] },
		.rxs = p->rx.n,
		.has_sublayer = p->sublayer,
		.has_sequence = p->sequence,
		.has_udp_csum = p->udp_csum,
		.vlans = p->vlans,
		.mtu = p->mtu,
	};
}

/* Which bits of enum l2tp_has are given; has is by argument. */
static unsigned has_of(const unsigned *has, size_t n, __u64 given)
{
	unsigned bits = 0;

	for (size_t i = 0; i < n; i++)
		bits |= given >> i & 1 ? has[i] : 0;
	return bits;
}

static int add(struct run *run, const void *params, __u64 given)
{
	static const unsigned has[] = {
		[A_NAME] = L2TP_HAS_ENDS, [A_REMOTE] = L2TP_HAS_REMOTE, [A_SPORT] = L2TP_HAS_SPORT,
		[A_DPORT] = L2TP_HAS_DPORT, [A_TX] = L2TP_HAS_TX_COOKIE, [A_RX] = L2TP_HAS_RX_COOKIE,
		[A_SUBLAYER] = L2TP_HAS_SUBLAYER, [A_SEQUENCE] = L2TP_HAS_SEQUENCE, [A_VLAN] = L2TP_HAS_VLAN,
		[A_MTU] = L2TP_HAS_MTU, [A_CSUM] = L2TP_HAS_UDP_CSUM,
	};
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct l2tp_want want = want_of(p);
	int err;

	want.has = has_of(has, sizeof(has) / sizeof(has[0]), given);
	memcpy(want.netdev, p->netdev, sizeof(want.netdev));
	err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : l2tp_add(run, &b, p->name, &want);
}

static int set(struct run *run, const void *params, __u64 given)
{
	static const unsigned has[] = {
		[S_REMOTE] = L2TP_HAS_REMOTE, [S_SPORT] = L2TP_HAS_SPORT, [S_DPORT] = L2TP_HAS_DPORT,
		[S_TX] = L2TP_HAS_TX_COOKIE, [S_RX] = L2TP_HAS_RX_COOKIE, [S_SEQUENCE] = L2TP_HAS_SEQUENCE,
		[S_MTU] = L2TP_HAS_MTU, [S_CSUM] = L2TP_HAS_UDP_CSUM,
	};
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct l2tp_want want = want_of(p);
	int err;

	want.has = has_of(has, sizeof(has) / sizeof(has[0]), given);
	err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : l2tp_set(run, &b, p->name, &want);
}

static int remove_one(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)given;
	return err ? err : l2tp_remove(run, &b, p->name);
}

static int flush(struct run *run, const void *params, __u64 given)
{
	auto_bpffs struct bpffs b = { .fd = -1 };
	int err = bpffs_open(run, BPFFS_CHANGE, &b);

	(void)params;
	(void)given;
	return err ? err : l2tp_flush(run, &b);
}

#define PARAMS .params_size = sizeof(struct params)
#define VIEW .params_size = sizeof(struct l2tp_view_params)

const struct cmd l2tp_cmds[] = {
	{ .word = "add", .help = "make a pseudowire, or change one", .args = add_args, PARAMS, .fn = add,
	  .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl l2tp add office netdev l2tp0 underlay eth0 local 192.0.2.1 remote 198.51.100.1 "
		     "session 1 peer-session 2 encap udp" },
	{ .word = "remove", .help = "take a pseudowire away, and the interface that was made for it",
	  .args = remove_args, PARAMS, .fn = remove_one, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = "set", .help = "change a pseudowire while it carries frames", .args = set_args, PARAMS, .fn = set,
	  .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl l2tp set office rx-cookie 0a1b2c3d rx-cookie 4e5f6071" },
	{ .word = "list", .help = "pseudowires", .args = l2tp_list_args, VIEW, .fn = l2tp_list, .flags = CMD_JSON },
	{ .word = "show", .help = "all settings of a pseudowire", .args = l2tp_show_args, VIEW, .fn = l2tp_show,
	  .flags = CMD_JSON },
	{ .word = "stats", .help = "frames each way, and what was not forwarded, by cause", .args = l2tp_stats_args,
	  VIEW, .fn = l2tp_stats, .flags = CMD_JSON },
	{ .word = "flush", .help = "take all pseudowires of this network namespace away", .args = no_args, PARAMS,
	  .fn = flush, .flags = CMD_MUTATES | CMD_JSON },
	{ .word = NULL },
};
