/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpffs.h"
#include "cleanup.h"
#include "cmd.h"
#include "lbs.h"

#define DAY_US 86400000000ULL
#define IDLE_MAX_US 14400000000ULL /* LB_TICKS hold more */
#define FLOWS_LEAST 1024
#define FLOWS_MOST 268435456

struct params {
	char instance[NAME_LEN];
	/* enable */
	struct iface dev;
	int mode;
	struct addr source, source6;
	__u32 flows, vips, backends, port;
	struct lb_gateway { bool is_auto; __u8 mac[6]; } gateway;
	/* vip, backend */
	struct vip vip;
	int sticky;
	__u64 idle_us;
	__u32 seed;
	struct addr addr;
	__u32 weight;
	bool drain, down, up;
	__u64 wait_us;
};

static int take_host(const char *s, void *field, struct why *why) { return parse_host(s, field, why); }

static int take_source(const char *s, struct addr *a, bool is_v4, struct why *why)
{
	int err = parse_host(s, a, why);

	if (err || addr_is_v4(a) == is_v4)
		return err;
	snprintf(why->text, sizeof(why->text), "is an IPv%d address; give it as source%s", is_v4 ? 6 : 4,
		 is_v4 ? "6" : "");
	return -E_USAGE;
}

static int take_source4(const char *s, void *field, struct why *why) { return take_source(s, field, true, why); }
static int take_source6(const char *s, void *field, struct why *why) { return take_source(s, field, false, why); }

static int take_gateway(const char *s, void *field, struct why *why)
{
	struct lb_gateway *gateway = field;

	gateway->is_auto = !strcmp(s, "auto");
	return gateway->is_auto ? 0 : parse_mac(s, gateway->mac, why);
}

static void complete_gateway(void)
{
	puts("auto");
}

#define FIELD(f) offsetof(struct params, f)
#define DEV(text) { .word = "dev", .type = ARG_IFACE, .offset = FIELD(dev), .meta = "IF", .required = true, \
		    .help = text }
#define INSTANCE(text) { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME", \
			 .help = text "; default lb" }
#define OF_INSTANCE INSTANCE("of this instance")
#define THE_VIP { .word = "VIP", .type = ARG_CUSTOM, .offset = FIELD(vip), .parse = lb_take_vip, .positional = true, \
		  .required = true, .complete = lb_complete_vip, .help = "ADDR:PORT/tcp|udp, or of any port ADDR/tcp|udp" }
#define OF_VIP { .word = "vip", .type = ARG_CUSTOM, .offset = FIELD(vip), .meta = "VIP", .parse = lb_take_vip, \
		 .required = true, .complete = lb_complete_vip, .help = "the VIP that it serves" }
#define BACKEND(fn) { .word = "ADDR", .type = ARG_CUSTOM, .offset = FIELD(addr), .parse = take_host, \
		      .positional = true, .required = true, .complete = fn, .help = "the backend's own address" }
#define END { .word = NULL }

enum { E_DEV, E_MODE, E_SOURCE, E_SOURCE6, E_FLOWS, E_VIPS, E_BACKENDS, E_GATEWAY, E_PORT };
static const struct arg enable_args[] = {
	[E_DEV] = DEV("the interface that clients' packets come in through and leave to backends"),
	[E_MODE] = { .word = "mode", .type = ARG_ENUM, .offset = FIELD(mode), .words = mode_words,
		     .help = "of the XDP program, where the chain is new; default auto" },
	[E_SOURCE] = { .word = "source", .type = ARG_CUSTOM, .offset = FIELD(source), .meta = "ADDR",
		       .parse = take_source4, .help = "outer IPv4 source; default the interface's first address" },
	[E_SOURCE6] = { .word = "source6", .type = ARG_CUSTOM, .offset = FIELD(source6), .meta = "ADDR",
			.parse = take_source6, .help = "outer IPv6 source; default the interface's first address" },
	[E_FLOWS] = { .word = "flows", .type = ARG_U32, .offset = FIELD(flows), .meta = "N", .min = FLOWS_LEAST,
		      .max = FLOWS_MOST, .help = "remembered at the same time, 8 octets each; default 1048576" },
	[E_VIPS] = { .word = "vips", .type = ARG_U32, .offset = FIELD(vips), .meta = "N", .min = 1, .max = LB_VIPS_MOST,
		     .help = "room for so many VIPs; default 512" },
	[E_BACKENDS] = { .word = "backends", .type = ARG_U32, .offset = FIELD(backends), .meta = "N", .min = 1,
			 .max = LB_BACKENDS_MOST, .help = "room for so many backends of all VIPs; default 2048" },
	[E_GATEWAY] = { .word = "gateway", .type = ARG_CUSTOM, .offset = FIELD(gateway), .meta = "MAC|auto",
			.parse = take_gateway, .complete = complete_gateway,
			.help = "next hop to all backends; default auto: the kernel's for each" },
	[E_PORT] = { .word = "port", .type = ARG_U32, .offset = FIELD(port), .meta = "N", .min = 1, .max = 65535,
		     .help = "UDP destination port of GUE; default 6080" },
	INSTANCE("whose VIPs they are"), END
};
static const struct arg disable_args[] = { DEV("the interface"), OF_INSTANCE, END };

enum { V_VIP, V_STICKY, V_IDLE, V_SEED };
static const struct arg vip_add_args[] = {
	[V_VIP] = THE_VIP,
	[V_STICKY] = { .word = "sticky", .type = ARG_ENUM, .offset = FIELD(sticky), .words = lb_sticky_words,
		       .help = "source: all flows of a client's address to one backend; default none" },
	[V_IDLE] = { .word = "idle", .type = ARG_DURATION, .offset = FIELD(idle_us), .meta = "DUR", .max = IDLE_MAX_US,
		     .help = "forget a flow without packets after this long, 0: never; default 1h, UDP 60s" },
	[V_SEED] = { .word = "hash-seed", .type = ARG_U32, .offset = FIELD(seed), .meta = "N",
		     .help = "the same on all load balancers of a group; default 0" },
	OF_INSTANCE, END
};
static const struct arg vip_remove_args[] = { THE_VIP, OF_INSTANCE, END };

enum { B_ADDR, B_VIP, B_WEIGHT, B_DRAIN, B_DOWN, B_UP, B_WAIT };
static const struct arg backend_add_args[] = {
	[B_ADDR] = BACKEND(NULL), [B_VIP] = OF_VIP,
	[B_WEIGHT] = { .word = "weight", .type = ARG_U32, .offset = FIELD(weight), .meta = "N", .max = 65535,
		       .help = "its share of new flows, 0: none; default 1" },
	OF_INSTANCE, END
};
static const struct arg backend_set_args[] = {
	[B_ADDR] = BACKEND(lb_complete_backend), [B_VIP] = OF_VIP,
	[B_WEIGHT] = { .word = "weight", .type = ARG_U32, .offset = FIELD(weight), .meta = "N", .max = 65535,
		       .group = 1, .required = true, .help = "its share of new flows, 0: none" },
	[B_DRAIN] = { .word = "drain", .type = ARG_FLAG, .offset = FIELD(drain), .group = 1, .required = true,
		      .help = "no new flows; those that it has go on" },
	[B_DOWN] = { .word = "down", .type = ARG_FLAG, .offset = FIELD(down), .group = 1, .required = true,
		     .help = "no flows: those that it has move with their next packet" },
	[B_UP] = { .word = "up", .type = ARG_FLAG, .offset = FIELD(up), .group = 1, .required = true,
		   .help = "flows again, after drain and down" },
	[B_WAIT] = { .word = "wait", .type = ARG_DURATION, .offset = FIELD(wait_us), .meta = "DUR", .max = 30 * DAY_US,
		     .help = "with drain: until it has no flows, or this long" },
	OF_INSTANCE, END
};
static const struct arg backend_remove_args[] = { BACKEND(lb_complete_backend), OF_VIP, OF_INSTANCE, END };

static const char *instance_of(const struct params *p)
{
	return p->instance[0] ? p->instance : "lb";
}

static int enable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id at;
	struct lb_enable want = {
		.mode = (enum xdp_mode)p->mode,
		.sizes = { p->flows, p->vips, p->backends },
		.source4 = p->source,
		.source6 = p->source6,
		.has_source4 = ARG_GIVEN(given, enable_args, E_SOURCE),
		.has_source6 = ARG_GIVEN(given, enable_args, E_SOURCE6),
		.port = (__u16)p->port,
	};
	int err = chain_id_init(&at, &p->dev, HOOK_XDP);

	if (ARG_GIVEN(given, enable_args, E_GATEWAY))
		want.has_gateway = p->gateway.is_auto ? LB_GATEWAY_AUTO : LB_GATEWAY_MAC;
	memcpy(want.gateway, p->gateway.mac, sizeof(want.gateway));
	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : lb_enable(run, &b, &at, instance_of(p), &want);
}

static int disable(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	struct chain_id at;
	int err = chain_id_init(&at, &p->dev, HOOK_XDP);

	(void)given;
	if (!err)
		err = bpffs_open(run, BPFFS_CHANGE, &b);
	return err ? err : lb_disable(run, &b, &at, instance_of(p));
}

/* 1: it is open; 0: there is none. */
static int open_instance(const struct run *run, const struct params *p, struct bpffs *b, struct lb *lb)
{
	int err = bpffs_open(run, BPFFS_CHANGE, b);

	return err ? err : lb_open(run, b, instance_of(p), true, lb);
}

static int open_existing(const struct run *run, const struct params *p, struct bpffs *b, struct lb *lb)
{
	int ret = open_instance(run, p, b, lb);

	return ret ? ret < 0 ? ret : 0 :
	       fail(-ENOENT, "no instance %s; make it: l3afctl lb enable dev IF%s%s", instance_of(p),
		    p->instance[0] ? " instance " : "", p->instance);
}

static int vip_add(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	const struct lb_vip_want want = {
		.vip = p->vip,
		.has_sticky = ARG_GIVEN(given, vip_add_args, V_STICKY),
		.is_sticky = p->sticky,
		.has_idle = ARG_GIVEN(given, vip_add_args, V_IDLE),
		.idle_us = p->idle_us,
		.has_seed = ARG_GIVEN(given, vip_add_args, V_SEED),
		.seed = p->seed,
	};
	int err = open_existing(run, p, &b, &lb);

	return err ? err : lb_vip_add(run, &lb, &want);
}

static int vip_remove(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int ret = open_instance(run, p, &b, &lb);

	(void)given;
	return ret <= 0 ? ret : lb_vip_remove(run, &lb, &p->vip);
}

static int backend_add(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	const struct lb_backend_want want = {
		.addr = p->addr,
		.has_weight = ARG_GIVEN(given, backend_add_args, B_WEIGHT),
		.weight = (__u16)p->weight,
	};
	int err = open_existing(run, p, &b, &lb);

	return err ? err : lb_backends_set(run, &lb, &p->vip, &want, 1, true);
}

static int backend_set(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	const struct lb_backend_want want = {
		.addr = p->addr,
		.has_weight = ARG_GIVEN(given, backend_set_args, B_WEIGHT),
		.weight = (__u16)p->weight,
		.has_admin = p->drain || p->down || p->up,
		.admin = p->drain ? LB_DRAIN : p->down ? LB_DOWN : LB_UP,
	};
	int err;

	if (ARG_GIVEN(given, backend_set_args, B_WAIT) && !p->drain)
		return fail(-E_USAGE, "lb backend set: wait goes with drain only");
	err = open_existing(run, p, &b, &lb);
	if (!err)
		err = lb_backends_set(run, &lb, &p->vip, &want, 1, false);
	if (err || run->dry_run || !ARG_GIVEN(given, backend_set_args, B_WAIT))
		return err;
	bpffs_close(&b);
	run->has_changed = true;
	return lb_drain_wait(&lb, &p->vip, &p->addr, p->wait_us);
}

static int backend_remove(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	auto_bpffs struct bpffs b = { .fd = -1 };
	auto_lb struct lb lb = LB_INIT;
	int ret = open_instance(run, p, &b, &lb);

	(void)given;
	return ret <= 0 ? ret : lb_backend_remove(run, &lb, &p->vip, &p->addr);
}

#define MUTATES (CMD_MUTATES | CMD_JSON)
#define PARAMS .params_size = sizeof(struct params)
#define LOOK .params_size = sizeof(struct lb_view_params)

static const struct cmd vip_cmds[] = {
	{ .word = "add", .help = "balance what is sent to this address", .args = vip_add_args, PARAMS, .fn = vip_add,
	  .flags = MUTATES, .example = "l3afctl lb vip add 192.0.2.80:443/tcp" },
	{ .word = "remove", .help = "balance it no more; its backends go too", .args = vip_remove_args, PARAMS,
	  .fn = vip_remove, .flags = MUTATES, .example = "l3afctl lb vip remove 192.0.2.80:443/tcp" },
	{ .word = "list", .help = "VIPs and what they get", .args = lb_vip_list_args, LOOK, .fn = lb_vip_list,
	  .flags = CMD_JSON, .example = "l3afctl lb vip list -v" },
	{ .word = "show", .help = "one VIP in full", .args = lb_vip_show_args, LOOK, .fn = lb_vip_show,
	  .flags = CMD_JSON, .example = "l3afctl lb vip show 192.0.2.80:443/tcp" },
	{ .word = NULL },
};

static const struct cmd backend_cmds[] = {
	{ .word = "add", .help = "a host that serves a VIP", .args = backend_add_args, PARAMS, .fn = backend_add,
	  .flags = MUTATES, .example = "l3afctl lb backend add 10.0.0.7 vip 192.0.2.80:443/tcp weight 10" },
	{ .word = "set", .help = "its weight, or whether it gets flows", .args = backend_set_args, PARAMS,
	  .fn = backend_set, .flags = MUTATES,
	  .example = "l3afctl lb backend set 10.0.0.7 vip 192.0.2.80:443/tcp drain wait 10m" },
	{ .word = "remove", .help = "it serves the VIP no more; its flows move", .args = backend_remove_args, PARAMS,
	  .fn = backend_remove, .flags = MUTATES,
	  .example = "l3afctl lb backend remove 10.0.0.7 vip 192.0.2.80:443/tcp" },
	{ .word = "list", .help = "backends, their state and flows", .args = lb_backend_list_args, LOOK,
	  .fn = lb_backend_list, .flags = CMD_JSON,
	  .example = "l3afctl lb backend list vip 192.0.2.80:443/tcp" },
	{ .word = NULL },
};

static const struct cmd flows_sub[] = {
	{ .word = "list", .help = "flows that are remembered, by backend", .args = lb_flows_args, LOOK,
	  .fn = lb_flows_list, .flags = CMD_JSON,
	  .example = "l3afctl lb flows list vip 192.0.2.80:443/tcp" },
	{ .word = "purge", .help = "forget flows: they are balanced anew", .args = lb_flows_args, LOOK,
	  .fn = lb_flows_purge_run, .flags = MUTATES,
	  .example = "l3afctl lb flows purge vip 192.0.2.80:443/tcp backend 10.0.0.7" },
	{ .word = NULL },
};

const struct cmd lb_cmds[] = {
	{ .word = "enable", .help = "balance what comes in through an interface", .args = enable_args, PARAMS,
	  .fn = enable, .flags = MUTATES, .example = "l3afctl lb enable dev eth0" },
	{ .word = "disable", .help = "balance there no more; VIPs stay", .args = disable_args, PARAMS, .fn = disable,
	  .flags = MUTATES, .example = "l3afctl lb disable dev eth0" },
	{ .word = "vip", .help = "addresses that clients send to", .sub = vip_cmds },
	{ .word = "backend", .help = "hosts that serve a VIP", .sub = backend_cmds },
	{ .word = "list", .help = "interfaces that balance", .args = lb_list_args, LOOK, .fn = lb_list,
	  .flags = CMD_JSON, .example = "l3afctl lb list -v" },
	{ .word = "stats", .help = "packets, octets, flows and drops, with rates", .args = lb_stats_args, LOOK,
	  .fn = lb_stats, .flags = CMD_JSON,
	  .example = "l3afctl lb stats vip 192.0.2.80:443/tcp interval 5s" },
	{ .word = "flows", .help = "the table of flows", .sub = flows_sub },
	{ .word = "which", .help = "the backend that a client gets, and why", .args = lb_which_args, LOOK,
	  .fn = lb_which_run, .flags = CMD_JSON, .example = "l3afctl lb which 198.51.100.7:40000 192.0.2.80:443/tcp" },
	{ .word = "health", .help = "probes: who is sick gets no new flows", .sub = lb_health_cmds },
	{ .word = "doctor", .help = "what would keep packets from arriving", .args = lb_doctor_args, LOOK,
	  .fn = lb_doctor, .flags = CMD_JSON,
	  .example = "l3afctl lb doctor vip 192.0.2.80:443/tcp" },
	{ .word = NULL },
};
