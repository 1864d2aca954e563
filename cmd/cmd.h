/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef L3AF_CMD_H
#define L3AF_CMD_H

#include "args.h"
#include "out.h"
#include "parse.h"
#include "run.h"

enum {
	CMD_MUTATES = 1, /* takes --dry-run, prints changes */
	CMD_JSON = 2,    /* takes --json */
	CMD_DRY_RUN = 4, /* takes --dry-run, prints what it would do itself */
};

/* A word of the grammar: either it has sub-words, or it runs. Tables end with
 * .word = NULL. */
struct cmd {
	const char *word;
	const char *help;      /* one phrase, lower case, no full stop */
	const struct cmd *sub;
	const struct arg *args;
	size_t params_size;    /* of the struct that args describes */
	int (*fn)(struct run *run, const void *params, __u64 given);
	unsigned flags;
	const char *example;   /* one command line for --help; optional */
};

extern const struct cmd chain_cmds[];
extern const struct cmd limit_cmds[];
extern const struct cmd flows_cmds[];
extern const struct cmd lb_cmds[];
extern const struct cmd agent_cmds[];
extern const struct cmd mirror_cmds[];

extern const struct cmd l2tp_cmds[];

/* flows.c reads the words, these answer. instance NULL: the default one, which need not
 * be there; of stats and collectors: all. They print their errors. */
struct bpffs;
struct flow_query;
struct flowtable;
/* 1: it is open; 0: there is none and none was named. Lets go of bpffs's lock if b is NULL. */
must_use int flows_open(const struct run *run, const char *instance, struct bpffs *b, struct flowtable *t);
must_use int flows_list_print(const struct run *run, const char *instance, struct flow_query *q); /* flowlist.c */
must_use int flows_show_print(const struct run *run, const char *instance, const struct flow_query *q);
must_use int flows_top_run(const struct run *run, const char *instance, struct flow_query *q); /* flowtop.c */
must_use int flows_stats_print(const struct run *run, const char *instance); /* flowstats.c */
must_use int flows_collectors_print(const struct run *run, const char *instance);

extern const struct cmd lb_health_cmds[]; /* lbhealth.c: below lb */
/* lb.c has the table; what reads the load balancer is here. */
struct lb_client {
	struct addr addr;
	__u16 port;
};
struct lb_view_params {
	char instance[NAME_LEN];
	struct vip vip;         /* proto 0: not given */
	struct addr backend;    /* unspecified: not given */
	__u64 interval_us;
	struct lb_client client;
	struct iface dev;
};
extern const struct arg lb_list_args[], lb_vip_list_args[], lb_vip_show_args[], lb_backend_list_args[]; /* lblist.c */
extern const struct arg lb_stats_args[]; /* lbstats.c */
extern const struct arg lb_flows_args[]; /* lbflows.c: list and purge */
extern const struct arg lb_which_args[], lb_doctor_args[]; /* lbflows.c, lbdoctor.c */
must_use int lb_list(struct run *run, const void *params, __u64 given);
must_use int lb_vip_list(struct run *run, const void *params, __u64 given);
must_use int lb_vip_show(struct run *run, const void *params, __u64 given);
must_use int lb_backend_list(struct run *run, const void *params, __u64 given);
must_use int lb_stats(struct run *run, const void *params, __u64 given);
must_use int lb_flows_list(struct run *run, const void *params, __u64 given);
must_use int lb_flows_purge_run(struct run *run, const void *params, __u64 given);
must_use int lb_which_run(struct run *run, const void *params, __u64 given);
must_use int lb_doctor(struct run *run, const void *params, __u64 given);
/* Arguments of several commands: how they are read, and the VIPs and backends there are. */
int lb_take_vip(const char *s, void *field, struct why *why);
void lb_complete_vip(void);
void lb_complete_backend(void);

/* mirror.c has the table; what reads is in mirrorlist.c. */
struct mirror_view_params {
	char dev[16];           /* "": not given */
	char target[NAME_LEN];
	__u64 interval_us;
};
extern const struct arg mirror_target_show_args[], mirror_filter_list_args[], mirror_stats_args[];
must_use int mirror_target_list(struct run *run, const void *params, __u64 given); /* takes no arguments */
must_use int mirror_target_show(struct run *run, const void *params, __u64 given);
must_use int mirror_filter_list(struct run *run, const void *params, __u64 given);
must_use int mirror_stats(struct run *run, const void *params, __u64 given);
struct mirror_test_params {  /* mirrortest.c */
	struct mirror_test_end { struct addr addr; __u16 port; } src, dst;
	char dev[16];
	int direction, proto, vlan;
	__u8 flags;
};
extern const struct arg mirror_test_args[];
must_use int mirror_test(struct run *run, const void *params, __u64 given);
/* An interface that has filters, and may be gone; targets. */
int mirror_take_dev(const char *s, void *field, struct why *why);
void mirror_complete_dev(void);
void mirror_complete_target(void);

/* l2tp.c has the table; l2tplist.c answers. */
struct l2tp_view_params {
	char name[NAME_LEN];    /* "": all */
};
extern const struct arg l2tp_list_args[], l2tp_show_args[], l2tp_stats_args[];
must_use int l2tp_list(struct run *run, const void *params, __u64 given);
must_use int l2tp_show(struct run *run, const void *params, __u64 given);
must_use int l2tp_stats(struct run *run, const void *params, __u64 given);
void l2tp_complete_name(void);

extern const struct cmd objects[]; /* main.c: the first words */

/* options.c: what the --options say. They describe the run and stand anywhere. */
struct settings {
	struct run run;
	const char *netns;
	bool help, version;
};

struct option {
	char letter;
	struct arg arg;  /* of struct settings; .word is "--json" */
	unsigned flags;  /* taken only by commands with this flag; 0: by all */
};
extern const struct option options[]; /* ends with .arg.word = NULL */

/* The option that word names ("--wait", "--wait=5s", "-n", "-nNS"), or NULL; *value is
 * what follows it in the same word, or NULL. */
const struct option *option_find(const char *word, const char **value);
/* Takes the options out of argv; words are left. Prints its errors. */
must_use int options_parse(int *argc, char **argv, struct settings *s);

/* A place in the grammar: the command reached by walking words from main.c's objects. */
struct place {
	const struct cmd *cmd; /* the last word; NULL: at the start */
	const struct cmd *sub; /* what may follow; NULL: args may */
	const struct arg *args;
	char name[64];         /* "chain add" */
	bool is_help;          /* "help" was among the words */
};
/* Goes on from p as far as the words go; returns how many it used. */
int place_walk(struct place *p, int argc, char **argv);

/* help.c */
void help_print(const struct place *p);
void grammar_print(void); /* every command, keyword and fixed value: "chain add hook xdp" */

/* complete.c: prints candidates for the last word, which may be empty, one a line;
 * ":file" asks the shell for file names. */
void complete_print(struct place *p, int argc, char **argv);

#endif
