// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* unit_out WHAT [json] [dry] [verbose]: prints a sample for tests/out.bats to compare. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "out.h"
#include "run.h"

static const struct column columns[] = {
	{ .key = "name", .head = "NAME", .type = COL_STR },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64 },
	{ .key = "verdicts", .head = "VERDICTS", .type = COL_COUNTS },
	{ .key = "continue", .head = "CONTINUE", .type = COL_LIST, .wide = true },
	{ .key = "up", .head = "UP", .type = COL_BOOL, .wide = true },
	{ .key = "sha256", .type = COL_STR },
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

static int stream(const struct run *run, int n)
{
	static const struct column stream_columns[] = {
		{ .key = "packets", .head = "PACKETS", .type = COL_U64, .width = 12 },
		{ .key = "dev", .head = "DEV", .type = COL_STR, .width = 6 },
		{ .key = "secret", .head = "SECRET", .type = COL_STR, .width = 6, .wide = true },
		{ .key = "octets", .type = COL_U64 },
		{ .key = "flow", .head = "FLOW", .type = COL_STR },
		{ .key = "more", .head = "MORE", .type = COL_LIST, .wide = true },
		{ 0 },
	};
	auto_table struct table *t = table_stream(run, stream_columns, stdout);

	for (int i = 0; i < n; i++) {
		table_row(t);
		table_u64(t, "packets", (__u64)i * 1000);
		table_str(t, "dev", "%s", i % 2 ? "a\x1b" : "much-too-long");
		table_u64(t, "octets", UINT64_MAX);
		if (i % 2)
			table_str(t, "flow", "tcp/%d", i);
		for (int j = 0; j < i % 3; j++)
			table_item(t, "more", "x");
	}
	return table_print(run, t);
}

static int several(const struct run *run)
{
	auto_table struct table *a = table_new(columns), *none = table_new(columns), *b = table_new(columns);
	const struct table_part parts[] = { { "none", none }, { "first", a }, { "nobody", none }, { "second", b }, { 0 } };

	fill(a, "a");
	fill(b, "b");
	return tables_print(run, parts);
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
		change_u64(c, "unsent_packets", 3);
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
	if (!strncmp(what, "stream=", 7))
		return stream(&run, atoi(what + 7));
	if (!strcmp(what, "several"))
		return several(&run);
	return changes(&run, !strcmp(what, "changes"));
}
