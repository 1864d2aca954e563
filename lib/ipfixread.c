/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cleanup.h"
#include "ipfix.h"
#include "ipfixread.h"

#define IPFIX_VERSION 10
#define HEADER 16
#define SET_HEADER 4
#define VARIABLE 65535 /* a field's length in a template: each record says it */

/* Octets not read yet; is_short: more were wanted than there were. */
struct cursor {
	const __u8 *at, *end;
	bool is_short;
};

/* A template's field lengths. */
struct template {
	__u16 *length;
	__u16 fields;
};

struct reader {
	struct template *template; /* of the domain, by ID */
	__u8 *message;
	__u8 *last;                /* of the domain */
};

static __u64 take(struct cursor *c, int octets)
{
	__u64 v = 0;

	if (c->end - c->at < octets) {
		c->is_short = true;
		c->at = c->end;
		return 0;
	}
	while (octets--)
		v = v << 8 | *c->at++;
	return v;
}

static struct cursor part(struct cursor *c, size_t octets)
{
	struct cursor p = { c->at, c->end, false };

	if ((size_t)(c->end - c->at) < octets)
		c->is_short = true;
	else
		p.end = c->at + octets;
	c->at = p.end;
	return p;
}

/* One template record (RFC 7011 3.4); 0, -EBADMSG, -ENOMEM. */
static int template_read(struct reader *r, struct cursor *c, bool is_options)
{
	__u16 id = (__u16)take(c, 2), fields = (__u16)take(c, 2);
	struct template *t = &r->template[id];

	if (fields && is_options)
		take(c, 2);
	free(t->length);
	*t = (struct template){ .length = calloc(fields + 1U, sizeof(*t->length)), .fields = fields };
	if (!t->length)
		return -ENOMEM;
	for (int i = 0; i < fields; i++) {
		bool is_enterprise = take(c, 2) >> 15;

		t->length[i] = (__u16)take(c, 2);
		if (is_enterprise)
			take(c, 4);
	}
	return c->is_short ? -EBADMSG : 0;
}

/* Data records of a set. */
static int records_count(const struct template *t, struct cursor set, __u32 *n)
{
	if (!t->fields)
		return -EBADMSG;
	for (;; ++*n) {
		const __u8 *start = set.at;

		for (int i = 0; i < t->fields; i++) {
			size_t length = t->length[i];

			if (length == VARIABLE) {
				length = take(&set, 1);
				if (length == 255)
					length = take(&set, 2);
			}
			part(&set, length);
		}
		/* what is left is padding */
		if (set.is_short || set.at == start)
			return 0;
	}
}

/* Templates of a message; with n not NULL, instead, the number of its data records. */
static int message_read(struct reader *r, const __u8 *message, __u32 *n)
{
	struct cursor c = { message + 2, message + HEADER, false };
	int err = 0;

	c.end = message + take(&c, 2);
	c.at = message + HEADER;
	while (!err && c.at < c.end) {
		__u32 id = (__u32)take(&c, 2), length = (__u32)take(&c, 2);
		struct cursor set = part(&c, length - SET_HEADER);

		if (c.is_short || length < SET_HEADER)
			return -EBADMSG;
		if (n && id >= 256)
			err = records_count(&r->template[id], set, n);
		while (!n && !err && (id == 2 || id == 3) && set.end - set.at >= SET_HEADER)
			err = template_read(r, &set, id == 3);
	}
	return err;
}

static __u32 word(const __u8 *at)
{
	struct cursor c = { at, at + 4, false };

	return (__u32)take(&c, 4);
}

static int file_read(FILE *f, __u32 domain, struct reader *r, __u64 *size)
{
	size_t n, length;
	int err = 0;

	while (!err) {
		n = fread(r->message, 1, HEADER, f);
		if (!n)
			return ferror(f) ? -EIO : 0;
		length = word(r->message) & 0xffff;
		/* what was not read is of another message */
		if (r->message[0] || (n >= 2 && r->message[1] != IPFIX_VERSION) || (n >= 4 && length < HEADER))
			return -EBADMSG;
		if (n < HEADER)
			return ferror(f) ? -EIO : -ENODATA;
		if (fread(r->message + HEADER, 1, length - HEADER, f) < length - HEADER)
			return ferror(f) ? -EIO : -ENODATA;
		if (word(r->message + 12) == domain) {
			__u8 *other = r->last;

			err = message_read(r, r->message, NULL);
			r->last = r->message;
			r->message = other;
		}
		*size += err ? 0 : length;
	}
	return err;
}

static void reader_free(struct reader *r)
{
	for (int i = 0; r->template && i < 65536; i++)
		free(r->template[i].length);
	free(r->template);
	free(r->message);
	free(r->last);
}

int ipfix_read_sequence(int fd, __u32 domain, __u32 *sequence, __u64 *size)
{
	struct reader r = {
		.template = calloc(65536, sizeof(*r.template)),
		.message = calloc(1, IPFIX_MESSAGE_MOST),
		.last = calloc(1, IPFIX_MESSAGE_MOST),
	};
	int copy = lseek(fd, 0, SEEK_SET) < 0 ? -1 : dup(fd), err = -ENOMEM;
	auto_file FILE *f = copy < 0 ? NULL : fdopen(copy, "r");
	__u32 records = 0;

	*sequence = 0;
	*size = 0;
	if (!f)
		close(copy);
	if (f && r.template && r.message && r.last)
		err = file_read(f, domain, &r, size);
	if (!err && word(r.last) >> 16 == IPFIX_VERSION) {
		err = message_read(&r, r.last, &records);
		*sequence = word(r.last + 8) + records;
	}
	reader_free(&r);
	return err;
}
