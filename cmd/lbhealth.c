/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "lbhealth.h"

#define TIMEOUT_US 2000000
#define TIMEOUT_MIN_US 10000
#define TIMEOUT_MAX_US 60000000
#define RISE 2
#define FALL 3
#define IN_A_ROW_MAX 1000
#define PATH_MAX_LEN 512
#define HOST_MAX_LEN 253

struct params {
	struct vip vip;
	int type;
	const char *path, *host;
	__u32 expect, port, rise, fall;
	__u64 timeout_us;
	char instance[NAME_LEN];
};

static const char *const type_words[] = {
	[PROBE_TCP] = "tcp", [PROBE_HTTP] = "http", [PROBE_HTTPS] = "https", NULL,
};

/* It becomes part of a request as it is. */
static int take_path(const char *s, void *field, struct why *why)
{
	size_t n = strlen(s), printable = 0;

	while (s[printable] > ' ' && s[printable] < 0x7f && s[printable] != '#')
		printable++;
	if (*s == '/' && printable == n && n < PATH_MAX_LEN) {
		*(const char **)field = s;
		return 0;
	}
	snprintf(why->text, sizeof(why->text), "is no path: '/' and up to %d ASCII characters, no blank and no '#'",
		 PATH_MAX_LEN - 2);
	return -E_USAGE;
}

static int take_host(const char *s, void *field, struct why *why)
{
	static const char fine[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
	size_t n = strlen(s);

	if (n && n <= HOST_MAX_LEN && strspn(s, fine) == n) {
		*(const char **)field = s;
		return 0;
	}
	snprintf(why->text, sizeof(why->text), "is no host name");
	return -E_USAGE;
}

#define FIELD(f) offsetof(struct params, f)
enum { A_VIP, A_TYPE, A_PATH, A_EXPECT, A_HOST, A_PORT, A_TIMEOUT, A_RISE, A_FALL, A_INSTANCE };
static const struct arg run_args[] = {
	[A_VIP] = { .word = "vip", .type = ARG_CUSTOM, .parse = lb_take_vip, .complete = lb_complete_vip, .offset = FIELD(vip),
		    .meta = "VIP",
		    .help = "only backends of this VIP; default: of all TCP VIPs that have a port" },
	[A_TYPE] = { .word = "type", .type = ARG_ENUM, .words = type_words, .offset = FIELD(type),
		     .help = "what has to work; default tcp: a connection" },
	[A_PATH] = { .word = "path", .type = ARG_CUSTOM, .parse = take_path, .offset = FIELD(path), .meta = "P",
		     .help = "what to GET; default /" },
	[A_EXPECT] = { .word = "expect", .type = ARG_U32, .offset = FIELD(expect), .meta = "CODE", .min = 100, .max = 599,
		       .help = "the status of a healthy backend; default 200 to 299" },
	[A_HOST] = { .word = "host", .type = ARG_CUSTOM, .parse = take_host, .offset = FIELD(host), .meta = "NAME",
		     .help = "what to call the server (Host:, SNI); default: the VIP's address" },
	[A_PORT] = { .word = "port", .type = ARG_U32, .offset = FIELD(port), .meta = "N", .min = 1, .max = 65535,
		     .help = "of the VIP's address; default: the VIP's" },
	[A_TIMEOUT] = { .word = "timeout", .type = ARG_DURATION, .offset = FIELD(timeout_us), .meta = "DUR",
			.min = TIMEOUT_MIN_US, .max = TIMEOUT_MAX_US, .help = "for a whole probe; default 2s" },
	[A_RISE] = { .word = "rise", .type = ARG_U32, .offset = FIELD(rise), .meta = "N", .min = 1, .max = IN_A_ROW_MAX,
		     .help = "healthy after so many good probes in a row; default 2" },
	[A_FALL] = { .word = "fall", .type = ARG_U32, .offset = FIELD(fall), .meta = "N", .min = 1, .max = IN_A_ROW_MAX,
		     .help = "sick after so many bad ones in a row; default 3" },
	[A_INSTANCE] = { .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME",
			 .help = "whose VIPs; default lb" },
	{ .word = NULL },
};

/* What only HTTP has. */
static int type_check(const struct params *p, __u64 given)
{
	static const int of_http[] = { A_PATH, A_EXPECT, A_HOST };

	for (size_t i = 0; p->type == PROBE_TCP && i < sizeof(of_http) / sizeof(of_http[0]); i++)
		if (ARG_GIVEN(given, run_args, of_http[i]))
			return fail(-E_USAGE, "lb health run: %s goes with type http or https", run_args[of_http[i]].word);
	return 0;
}

static int health_run(struct run *run, const void *params, __u64 given)
{
	const struct params *p = params;
	const struct lb_health_want want = {
		.how = {
			.type = (enum probe_type)p->type,
			.path = p->path ? p->path : "/",
			.host = p->host,
			.expect = p->expect,
			.timeout_us = p->timeout_us ? p->timeout_us : TIMEOUT_US,
		},
		.vip = p->vip,
		.has_vip = ARG_GIVEN(given, run_args, A_VIP),
		.port = (__u16)p->port,
		.rise = p->rise ? p->rise : RISE,
		.fall = p->fall ? p->fall : FALL,
	};
	int err = type_check(p, given);

	if (!err && run->dry_run)
		err = fail(-E_USAGE, "lb health run: has no --dry-run: probing is what it does");
	if (err)
		return err;
	err = lb_health_run(run, p->instance[0] ? p->instance : "lb", &want);
	/* what was found out before something went wrong has changed where packets go */
	run->has_changed = changes_count(run->changes);
	return err;
}

const struct cmd lb_health_cmds[] = {
	{ .word = "run", .help = "probe every backend once; who is sick gets no new flows", .args = run_args,
	  .params_size = sizeof(struct params), .fn = health_run, .flags = CMD_MUTATES | CMD_JSON,
	  .example = "l3afctl lb health run type http path /health timeout 1s" },
	{ .word = NULL },
};
