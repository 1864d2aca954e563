// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* unit_out WHAT [json] [dry] [verbose]: prints a sample for tests/out.bats to compare. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "out.h"
#include "run.h"

static const struct column columns[] = {
	{ "name", "NAME", COL_STR, false },
	{ "packets", "PACKETS", COL_U64, false },
	{ "verdicts", "VERDICTS", COL_COUNTS, false },
	{ "continue", "CONTINUE", COL_LIST, true },
	{ "up", "UP", COL_BOOL, true },
	{ "sha256", NULL, COL_STR, false },
	{ 0 },
};

static void fill(struct table *t, const char *name)
{
	table_row(t);
	table_str(t, "name", "%s", name);
	table_u64(t, "packets", UINT64_MAX);
	table_count(t, "verdicts", "pass", 9007199254740993ULL);
	table_count(t, "verdicts", "drop", 0);
	table_count(t, "verdicts", "tx", 3);
	table_item(t, "continue", "pass");
	table_item(t, "continue", "tx");
	table_bool(t, "up", true);
	table_str(t, "sha256", "00ff");
}

static int rows(const struct run *run, int n)
{
	auto_table struct table *t = table_new(columns);

	if (n > 0)
		fill(t, "plain");
	if (n > 1)
		fill(t, "a\x1b\"\\\n\xff\xc3\xa4");
	if (n > 2)
		table_row(t);
	return table_print(run, t);
}

static int one(const struct run *run)
{
	auto_table struct table *t = table_new(columns);

	fill(t, "plain");
	return table_print_one(run, t);
}

static int changes(const struct run *run, int n)
{
	auto_changes struct changes *c = changes_new();

	if (n) {
		change_add(c, '+', "chain", "ratelimit");
		change_str(c, "dev", "%s", "eth0");
		change_u64(c, "position", UINT64_MAX);
		change_add(c, '~', "chain", NULL);
		change_from_u64(c, "weight", 5, 10);
		change_from_str(c, "order", "a,b", "b\x1b,a");
		change_add(c, '-', "chain", "x");
	}
	return changes_print(run, c);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	struct run run = { 0 };

	for (int i = 2; i < argc; i++) {
		run.json |= !strcmp(argv[i], "json");
		run.dry_run |= !strcmp(argv[i], "dry");
		run.verbose |= !strcmp(argv[i], "verbose");
	}
	if (!strcmp(what, "rows"))
		return rows(&run, 3);
	if (!strcmp(what, "none"))
		return rows(&run, 0);
	if (!strcmp(what, "one"))
		return one(&run);
	return changes(&run, !strcmp(what, "changes"));
}
