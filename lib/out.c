// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cleanup.h"
#include "out.h"
#include "run.h"
#include "text.h"

/* A cell holds one item, or those of a list: a text, a number, or a name and its count. */
struct item {
	char *text;
	__u64 value;
};

struct cell {
	struct item *items;
	int n;
};

struct table {
	const struct column *cols;
	int n_cols;
	int next;           /* column: where to look first for the one to be set */
	struct cell *cells; /* row by row; of a stream the last row */
	int n_rows;
	bool is_short_of_memory;
	/* of a stream */
	const struct run *run;
	FILE *f;            /* NULL: it is none */
	bool has_begun;
	FILE *scratch;      /* a memstream: one cell's text */
	char *text;
	size_t text_size;
};

/* Make room for one more in an array of n entries; NULL: no memory, nothing changed. */
static void *grow(void *array, int n, size_t size)
{
	if (n & (n - 1))
		return array;
	return reallocarray(array, n ? 2 * (size_t)n : 1, size);
}

static struct item *cell_append(struct cell *c)
{
	struct item *items = c->n ? grow(c->items, c->n, sizeof(*items)) :
			     c->items ? c->items : calloc(1, sizeof(*items));

	if (!items)
		return NULL;
	c->items = items;
	items[c->n] = (struct item){ 0 };
	return &items[c->n++];
}

static void cell_free(struct cell *c)
{
	for (int i = 0; i < c->n; i++)
		free(c->items[i].text);
	free(c->items);
}

struct table *table_new(const struct column *cols)
{
	struct table *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->cols = cols;
	while (cols[t->n_cols].key)
		t->n_cols++;
	return t;
}

struct table *table_stream(const struct run *run, const struct column *cols, FILE *f)
{
	struct table *t = table_new(cols);

	if (!t)
		return NULL;
	t->run = run;
	t->f = f;
	t->scratch = open_memstream(&t->text, &t->text_size);
	t->is_short_of_memory = !t->scratch;
	return t;
}

void table_free(struct table *t)
{
	for (int i = 0; i < t->n_rows * t->n_cols; i++)
		cell_free(&t->cells[i]);
	free(t->cells);
	if (t->scratch)
		fclose(t->scratch);
	free(t->text);
	free(t);
}

static void row_stream(struct table *t);

/* The only row of a stream, empty again. */
static void row_reuse(struct table *t)
{
	row_stream(t);
	for (int i = 0; i < t->n_cols; i++) {
		for (int j = 0; j < t->cells[i].n; j++)
			free(t->cells[i].items[j].text);
		t->cells[i].n = 0;
	}
}

void table_row(struct table *t)
{
	if (!t)
		return;
	if (t->f && t->n_rows) {
		row_reuse(t);
		return;
	}
	struct cell *cells = grow(t->cells, t->n_rows, t->n_cols * sizeof(*cells));
	if (!cells) {
		t->is_short_of_memory = true;
		return;
	}
	t->cells = cells;
	memset(cells + t->n_rows * t->n_cols, 0, t->n_cols * sizeof(*cells));
	t->n_rows++;
}

/* A new item in the cell of the last row under key; NULL: no memory. */
static struct item *item_new(struct table *t, const char *key, enum col_type type)
{
	struct item *item = NULL;
	int i;

	if (!t || !t->n_rows)
		return NULL;
	i = t->next < t->n_cols && !strcmp(t->cols[t->next].key, key) ? t->next : 0;
	while (t->cols[i].key && strcmp(t->cols[i].key, key))
		i++;
	assert(t->cols[i].key && t->cols[i].type == type);
	t->next = i + 1;
	if (!t->is_short_of_memory)
		item = cell_append(&t->cells[(t->n_rows - 1) * t->n_cols + i]);
	if (!item)
		t->is_short_of_memory = true;
	return item;
}

static void item_name(struct table *t, struct item *item, const char *name)
{
	if (!item)
		return;
	item->text = strdup(name);
	if (!item->text)
		t->is_short_of_memory = true;
}

void table_str(struct table *t, const char *key, const char *fmt, ...)
{
	struct item *item = item_new(t, key, COL_STR);
	va_list ap;

	if (!item)
		return;
	va_start(ap, fmt);
	if (vasprintf(&item->text, fmt, ap) < 0) {
		item->text = NULL;
		t->is_short_of_memory = true;
	}
	va_end(ap);
}

void table_u64(struct table *t, const char *key, __u64 v)
{
	struct item *item = item_new(t, key, COL_U64);

	if (item)
		item->value = v;
}

void table_bool(struct table *t, const char *key, bool v)
{
	struct item *item = item_new(t, key, COL_BOOL);

	if (item)
		item->value = v;
}

void table_item(struct table *t, const char *key, const char *s)
{
	item_name(t, item_new(t, key, COL_LIST), s);
}

void table_count(struct table *t, const char *key, const char *name, __u64 v)
{
	struct item *item = item_new(t, key, COL_COUNTS);

	item_name(t, item, name);
	if (item)
		item->value = v;
}

static void item_json(FILE *f, enum col_type type, const struct item *item)
{
	if (type == COL_STR || type == COL_LIST || type == COL_COUNTS)
		text_put_json(f, item->text);
	if (type == COL_COUNTS)
		putc(':', f);
	if (type == COL_U64 || type == COL_COUNTS)
		fprintf(f, "%" PRIu64, (uint64_t)item->value);
	if (type == COL_BOOL)
		fputs(item->value ? "true" : "false", f);
}

static void cell_json(FILE *f, enum col_type type, const struct cell *c)
{
	bool is_many = type == COL_LIST || type == COL_COUNTS;

	if (!c->n && !is_many) {
		fputs("null", f);
		return;
	}
	if (is_many)
		putc(type == COL_LIST ? '[' : '{', f);
	for (int i = 0; i < (is_many ? c->n : 1); i++) {
		if (i)
			putc(',', f);
		item_json(f, type, &c->items[i]);
	}
	if (is_many)
		putc(type == COL_LIST ? ']' : '}', f);
}

static void item_text(FILE *f, enum col_type type, const struct item *item)
{
	if (type == COL_STR || type == COL_LIST || type == COL_COUNTS)
		text_put(f, item->text);
	if (type == COL_COUNTS)
		putc(' ', f);
	if (type == COL_U64 || type == COL_COUNTS)
		fprintf(f, "%" PRIu64, (uint64_t)item->value);
	if (type == COL_BOOL)
		fputs(item->value ? "yes" : "no", f);
}

static void cell_text(FILE *f, enum col_type type, const struct cell *c)
{
	int shown = 0;

	for (int i = 0; i < c->n; i++) {
		if (type == COL_COUNTS && !c->items[i].value)
			continue;
		if (shown++)
			putc(type == COL_LIST ? ',' : ' ', f);
		item_text(f, type, &c->items[i]);
	}
	if (!shown)
		putc('-', f);
}

static void row_json(FILE *f, const struct table *t, const struct cell *row)
{
	putc('{', f);
	for (int i = 0; i < t->n_cols; i++) {
		if (i)
			putc(',', f);
		text_put_json(f, t->cols[i].key);
		putc(':', f);
		cell_json(f, t->cols[i].type, &row[i]);
	}
	putc('}', f);
}

static bool is_shown(const struct run *run, const struct column *col)
{
	return col->head && (run->verbose || !col->wide);
}

/* The cell as text, which the caller frees; NULL: no memory. */
static char *cell_render(enum col_type type, const struct cell *c)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	cell_text(f, type, c);
	fclose(f);
	return text;
}

static void pad(FILE *f, int n)
{
	fprintf(f, "%*s", n > 0 ? n : 0, "");
}

/* The text in a column of this width; the last one is not filled up. */
static void padded(FILE *f, const struct column *col, const char *text, int width, bool is_first, bool is_last)
{
	int space = width - text_width(text);
	bool is_right = col->type == COL_U64;

	pad(f, (is_first ? 0 : 2) + (is_right ? space : 0));
	fputs(text, f);
	if (!is_last && !is_right)
		pad(f, space);
}

/* The last column that the text shows. */
static int column_last(const struct table *t)
{
	int last = t->n_cols - 1;

	while (last > 0 && !is_shown(t->run, &t->cols[last]))
		last--;
	return last;
}

/* A line of a stream; row NULL: the headings. */
static void line_stream(struct table *t, const struct cell *row)
{
	int last = column_last(t);
	bool is_first = true;

	for (int i = 0; i <= last; i++) {
		const struct column *col = &t->cols[i];

		if (!is_shown(t->run, col))
			continue;
		rewind(t->scratch);
		if (row)
			cell_text(t->scratch, col->type, &row[i]);
		putc('\0', t->scratch);
		fflush(t->scratch);
		padded(t->f, col, row ? t->text : col->head, col->width, is_first, i == last);
		is_first = false;
	}
	putc('\n', t->f);
}

static void row_stream(struct table *t)
{
	if (t->is_short_of_memory)
		return;
	if (t->run->json) {
		fputs(t->has_begun ? ",\n " : "[", t->f);
		row_json(t->f, t, t->cells);
	} else {
		if (!t->has_begun)
			line_stream(t, NULL);
		line_stream(t, t->cells);
	}
	t->has_begun = true;
}

static void stream_end(struct table *t)
{
	if (t->n_rows)
		row_stream(t);
	if (t->run->json)
		fputs(t->has_begun ? "]\n" : "[]\n", t->f);
}

/* One column of the text: its strings, the heading first. */
struct rendered {
	const struct column *col;
	char **text;
	int width;
};

static int column_render(const struct table *t, int col, struct rendered *r)
{
	r->col = &t->cols[col];
	r->text = calloc(t->n_rows + 1, sizeof(*r->text));
	if (!r->text)
		return -ENOMEM;
	for (int i = 0; i <= t->n_rows; i++) {
		r->text[i] = i ? cell_render(r->col->type, &t->cells[(i - 1) * t->n_cols + col]) :
				 strdup(r->col->head);
		if (!r->text[i])
			return -ENOMEM;
		int width = text_width(r->text[i]);
		if (width > r->width)
			r->width = width;
	}
	return 0;
}

static void columns_print(const struct rendered *r, int n, int rows)
{
	for (int row = 0; row <= rows; row++) {
		for (int i = 0; i < n; i++)
			padded(stdout, r[i].col, r[i].text[row], r[i].width, !i, i + 1 == n);
		putchar('\n');
	}
}

static void columns_free(struct rendered *r, int n, int rows)
{
	for (int i = 0; i < n; i++)
		for (int row = 0; r[i].text && row <= rows; row++)
			free(r[i].text[row]);
	for (int i = 0; i < n; i++)
		free(r[i].text);
	free(r);
}

static int rows_text(const struct run *run, const struct table *t)
{
	struct rendered *r = calloc(t->n_cols, sizeof(*r));
	int err = r ? 0 : -ENOMEM, n = 0;

	for (int i = 0; i < t->n_cols && !err; i++)
		if (is_shown(run, &t->cols[i]))
			err = column_render(t, i, &r[n++]);
	if (!err)
		columns_print(r, n, t->n_rows);
	if (r)
		columns_free(r, n, t->n_rows);
	return err;
}

static int no_memory(void)
{
	return fail_errno(-ENOMEM, "cannot print");
}

static void rows_json(const struct table *t)
{
	putchar('[');
	for (int i = 0; i < t->n_rows; i++) {
		fputs(i ? ",\n " : "", stdout);
		row_json(stdout, t, t->cells + i * t->n_cols);
	}
	putchar(']');
}

int table_print(const struct run *run, struct table *t)
{
	if (!t || t->is_short_of_memory)
		return no_memory();
	if (t->f) {
		stream_end(t);
		return t->is_short_of_memory ? no_memory() : 0;
	}
	if (run->json) {
		rows_json(t);
		putchar('\n');
		return 0;
	}
	if (t->n_rows && rows_text(run, t))
		return no_memory();
	return 0;
}

int tables_print(const struct run *run, const struct table_part *parts)
{
	bool is_first = true;

	for (const struct table_part *p = parts; p->key; p++) {
		if (!p->table || p->table->is_short_of_memory)
			return no_memory();
		if (run->json) {
			fputs(is_first ? "{" : ",\n", stdout);
			text_put_json(stdout, p->key);
			putchar(':');
			rows_json(p->table);
		} else if (p->table->n_rows) {
			fputs(is_first ? "" : "\n", stdout);
			if (rows_text(run, p->table))
				return no_memory();
		} else {
			continue;
		}
		is_first = false;
	}
	if (run->json)
		puts("}");
	return 0;
}

static void row_lines(const struct table *t, const struct cell *row)
{
	for (int i = 0; i < t->n_cols; i++) {
		if (!t->cols[i].head)
			continue;
		printf("%s: ", t->cols[i].head);
		cell_text(stdout, t->cols[i].type, &row[i]);
		putchar('\n');
	}
}

int table_print_one(const struct run *run, const struct table *t)
{
	if (!t || t->is_short_of_memory)
		return no_memory();
	assert(t->n_rows == 1);
	if (run->json) {
		row_json(stdout, t, t->cells);
		putchar('\n');
	} else {
		row_lines(t, t->cells);
	}
	return 0;
}

int table_print_each(const struct run *run, const struct table *t)
{
	if (!t || t->is_short_of_memory)
		return no_memory();
	if (run->json) {
		rows_json(t);
		putchar('\n');
		return 0;
	}
	for (int i = 0; i < t->n_rows; i++) {
		if (i)
			putchar('\n');
		row_lines(t, t->cells + i * t->n_cols);
	}
	return 0;
}

struct field {
	char *key;
	bool is_number, has_from;
	struct item from, to;
};

struct change {
	char op;
	char *object, *name;
	struct field *fields;
	int n;
};

struct changes {
	struct change *list;
	int n;
	bool is_short_of_memory;
};

struct changes *changes_new(void)
{
	return calloc(1, sizeof(struct changes));
}

static void change_free(struct change *c)
{
	for (int i = 0; i < c->n; i++) {
		free(c->fields[i].key);
		free(c->fields[i].from.text);
		free(c->fields[i].to.text);
	}
	free(c->fields);
	free(c->object);
	free(c->name);
}

void changes_free(struct changes *c)
{
	for (int i = 0; i < c->n; i++)
		change_free(&c->list[i]);
	free(c->list);
	free(c);
}

int changes_count(const struct changes *c)
{
	return c->n;
}

static char *copy(struct changes *c, const char *s)
{
	char *text = strdup(s);

	if (!text)
		c->is_short_of_memory = true;
	return text;
}

void change_add(struct changes *c, char op, const char *object, const char *name)
{
	struct change *list = grow(c->list, c->n, sizeof(*list));

	if (!list) {
		c->is_short_of_memory = true;
		return;
	}
	c->list = list;
	list[c->n++] = (struct change){
		.op = op,
		.object = copy(c, object),
		.name = name ? copy(c, name) : NULL,
	};
}

/* A new field of the last change; NULL: no memory. */
static struct field *field_new(struct changes *c, const char *key)
{
	assert(c->n || c->is_short_of_memory);
	if (c->is_short_of_memory)
		return NULL;
	struct change *last = &c->list[c->n - 1];
	struct field *fields = grow(last->fields, last->n, sizeof(*fields));
	if (!fields) {
		c->is_short_of_memory = true;
		return NULL;
	}
	last->fields = fields;
	fields[last->n] = (struct field){ .key = copy(c, key) };
	return &fields[last->n++];
}

void change_str(struct changes *c, const char *key, const char *fmt, ...)
{
	struct field *f = field_new(c, key);
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	if (vasprintf(&f->to.text, fmt, ap) < 0) {
		f->to.text = NULL;
		c->is_short_of_memory = true;
	}
	va_end(ap);
}

void change_u64(struct changes *c, const char *key, __u64 v)
{
	struct field *f = field_new(c, key);

	if (!f)
		return;
	f->is_number = true;
	f->to.value = v;
}

void change_from_str(struct changes *c, const char *key, const char *from, const char *to)
{
	struct field *f = field_new(c, key);

	if (!f)
		return;
	f->has_from = true;
	f->from.text = copy(c, from);
	f->to.text = copy(c, to);
}

void change_from_u64(struct changes *c, const char *key, __u64 from, __u64 to)
{
	struct field *f = field_new(c, key);

	if (!f)
		return;
	f->is_number = f->has_from = true;
	f->from.value = from;
	f->to.value = to;
}

static void field_json(const struct field *f)
{
	enum col_type type = f->is_number ? COL_U64 : COL_STR;

	putchar(',');
	text_put_json(stdout, f->key);
	putchar(':');
	if (f->has_from) {
		fputs("{\"from\":", stdout);
		item_json(stdout, type, &f->from);
		fputs(",\"to\":", stdout);
	}
	item_json(stdout, type, &f->to);
	if (f->has_from)
		putchar('}');
}

static void change_json(const struct change *c)
{
	printf("{\"op\":\"%s\",\"object\":", c->op == '+' ? "add" : c->op == '-' ? "remove" : "change");
	text_put_json(stdout, c->object);
	if (c->name) {
		fputs(",\"name\":", stdout);
		text_put_json(stdout, c->name);
	}
	for (int i = 0; i < c->n; i++)
		field_json(&c->fields[i]);
	putchar('}');
}

/* The key as the keyword that it is on the command line: udp_csum is udp-csum. */
static void keyword_text(const char *key)
{
	for (; *key; key++)
		putchar(*key == '_' ? '-' : *key);
}

static void change_text(const struct change *c)
{
	printf("%c ", c->op);
	text_put(stdout, c->object);
	if (c->name) {
		putchar(' ');
		text_put(stdout, c->name);
	}
	for (int i = 0; i < c->n; i++) {
		const struct field *f = &c->fields[i];
		enum col_type type = f->is_number ? COL_U64 : COL_STR;

		putchar(' ');
		keyword_text(f->key);
		putchar(' ');
		if (f->has_from) {
			item_text(stdout, type, &f->from);
			fputs(" -> ", stdout);
		}
		item_text(stdout, type, &f->to);
	}
	putchar('\n');
}

static void changes_json(const struct run *run, const struct changes *c)
{
	printf("{\"changed\":%s,\"dry_run\":%s,\"changes\":[", c->n ? "true" : "false",
	       run->dry_run ? "true" : "false");
	for (int i = 0; i < c->n; i++) {
		fputs(i ? ",\n " : "", stdout);
		change_json(&c->list[i]);
	}
	puts("]}");
}

int changes_print(const struct run *run, const struct changes *c)
{
	if (c->is_short_of_memory)
		return no_memory();
	if (run->json) {
		changes_json(run, c);
		return 0;
	}
	for (int i = 0; i < c->n; i++)
		change_text(&c->list[i]);
	if (!c->n && run->verbose)
		fputs("l3afctl: unchanged\n", stderr);
	return 0;
}
