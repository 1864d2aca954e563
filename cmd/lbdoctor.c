/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lb doctor. */
#include <errno.h>
#include <stddef.h>

#include "cmd.h"
#include "lbdoctor.h"

#define FIELD(f) offsetof(struct lb_view_params, f)

const struct arg lb_doctor_args[] = {
	{ .word = "vip", .type = ARG_CUSTOM, .parse = lb_take_vip, .offset = FIELD(vip), .meta = "VIP",
	  .complete = lb_complete_vip, .help = "only what this VIP needs" },
	{ .word = "instance", .type = ARG_NAME, .offset = FIELD(instance), .meta = "NAME",
	  .help = "of this load balancer; default lb" },
	{ .word = NULL }
};

static const struct column columns[] = {
	{ .key = "status", .head = "STATUS", .type = COL_STR },
	{ .key = "check", .head = "CHECK", .type = COL_STR },
	{ .key = "where", .head = "WHERE", .type = COL_STR },
	{ .key = "finding", .head = "FINDING", .type = COL_STR },
	{ .key = "mend", .type = COL_STR },
	{ 0 },
};

/* In text the commands follow, so that the findings stay readable. */
static const struct column mend_columns[] = {
	{ .key = "check", .head = "MEND", .type = COL_STR },
	{ .key = "where", .head = "WHERE", .type = COL_STR },
	{ .key = "command", .head = "COMMAND", .type = COL_STR },
	{ 0 },
};

struct tables {
	struct table *findings, *mends;
};

static void mend_add(struct table *t, const struct lb_finding *f)
{
	table_row(t);
	table_str(t, "check", "%s", f->check);
	table_str(t, "where", "%s", f->where);
	table_str(t, "command", "%s", f->mend);
}

static void row_add(const struct lb_finding *f, void *arg)
{
	const struct tables *both = arg;
	struct table *t = both->findings;

	table_row(t);
	table_str(t, "status", "%s", lb_grade_words[f->grade]);
	table_str(t, "check", "%s", f->check);
	table_str(t, "where", "%s", f->where);
	table_str(t, "finding", "%s", f->what);
	if (!f->mend[0])
		return;
	table_str(t, "mend", "%s", f->mend);
	mend_add(both->mends, f);
}

int lb_doctor(struct run *run, const void *params, __u64 given)
{
	const struct lb_view_params *p = params;
	auto_table struct table *findings = table_new(columns), *mends = table_new(mend_columns);
	struct tables both = { findings, mends };
	const struct table_part parts[] = { { "findings", findings }, { "mends", mends }, { 0 } };
	int bad, err = lb_doctor_run(run, p->instance[0] ? p->instance : NULL, p->vip.proto ? &p->vip : NULL,
				     row_add, &both, &bad);

	(void)given;
	if (!err)
		err = run->json ? table_print(run, findings) : tables_print(run, parts);
	if (err || !bad)
		return err;
	return fail(-EIO, "lb doctor: %d finding%s bad", bad, bad == 1 ? " is" : "s are");
}
