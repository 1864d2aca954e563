// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "ipfixmessage.h"
#include "text.h"

__u8 *ipfix_u8_put(__u8 *to, __u8 v)
{
	*to = v;
	return to + 1;
}

__u8 *ipfix_u16_put(__u8 *to, __u16 v)
{
	v = htons(v);
	return (__u8 *)mempcpy(to, &v, sizeof(v));
}

__u8 *ipfix_u32_put(__u8 *to, __u32 v)
{
	v = htonl(v);
	return (__u8 *)mempcpy(to, &v, sizeof(v));
}

__u8 *ipfix_u64_put(__u8 *to, __u64 v)
{
	v = htobe64(v);
	return (__u8 *)mempcpy(to, &v, sizeof(v));
}

/* Octets of s up to most, a character whole or not at all; what is no UTF-8 becomes '?'. */
static __u32 utf8_copy(__u8 *to, const char *s, __u32 most)
{
	__u32 used = 0, c;
	int length;

	for (; *s; s += length, used += (__u32)length) {
		length = text_next(s, &c);
		if (used + (__u32)length > most)
			break;
		if (c == TEXT_INVALID)
			to[used] = '?';
		else
			memcpy(to + used, s, (size_t)length);
	}
	return used;
}

/* The common case, which records of flows pay for each: short, and ASCII. */
static __u8 *ascii_put(__u8 *to, const char *s, __u32 most)
{
	__u32 n = 0;

	for (; n < most && (signed char)s[n] > 0; n++)
		to[1 + n] = (__u8)s[n];
	if ((n < most && s[n]) || n >= 255)
		return NULL;
	*to = (__u8)n;
	return to + 1 + n;
}

__u8 *ipfix_string_put(__u8 *to, const char *s, __u32 most)
{
	__u8 *end = ascii_put(to, s ? s : "", most);
	__u32 length;

	if (end)
		return end;
	/* whether one octet of length or three: what is copied may be less than s has */
	length = utf8_copy(to + 3, s, most);
	if (length >= 255) {
		*to = 255;
		ipfix_u16_put(to + 1, (__u16)length);
		return to + 3 + length;
	}
	memmove(to + 1, to + 3, length);
	*to = (__u8)length;
	return to + 1 + length;
}

static int resize(struct ipfix_messages *m, __u32 messages_most)
{
	size_t used = m->buffer ? (size_t)(m->at - m->buffer) : 0;
	void *p;

	/* records are copied in steps: the last one may write beyond its end */
	p = realloc(m->buffer, (size_t)messages_most * m->most + IPFIX_COPY);
	if (!p)
		return -ENOMEM;
	m->buffer = p;
	m->at = m->buffer + used;
	p = reallocarray(m->size, messages_most, sizeof(*m->size));
	if (!p)
		return -ENOMEM;
	m->size = p;
	p = reallocarray(m->data, messages_most, sizeof(*m->data));
	if (!p)
		return -ENOMEM;
	m->data = p;
	m->messages_most = messages_most;
	return 0;
}

int ipfix_messages_make(struct ipfix_messages *m, __u32 message_most, __u32 messages_most)
{
	int err;

	*m = (struct ipfix_messages){ .most = IPFIX_ALIGNED(message_most) };
	err = resize(m, messages_most);
	if (!err)
		ipfix_messages_reset(m);
	return err;
}

void ipfix_messages_free(struct ipfix_messages *m)
{
	free(m->buffer);
	free(m->size);
	free(m->data);
}

void ipfix_messages_reset(struct ipfix_messages *m)
{
	m->batch = (struct ipfix_batch){ 0 };
	m->at = m->buffer;
	m->message = m->set = NULL;
	m->records = 0;
}

static void set_begin(struct ipfix_messages *m, __u16 id)
{
	m->set = m->at;
	m->at = ipfix_u16_put(m->at, id) + 2;
}

void ipfix_messages_set(struct ipfix_messages *m, __u16 id)
{
	m->message = m->at;
	m->at += IPFIX_HEADER;
	set_begin(m, id);
}

static void set_end(struct ipfix_messages *m)
{
	size_t length = (size_t)(m->at - m->set), padded = IPFIX_PADDED(length);

	memset(m->at, 0, padded - length);
	m->at = m->set + padded;
	ipfix_u16_put(m->set + 2, (__u16)padded);
	m->set = NULL;
}

void ipfix_messages_end(struct ipfix_messages *m)
{
	struct ipfix_batch *b = &m->batch;

	if (m->message) {
		if (m->set)
			set_end(m);
		m->size[b->messages] = (__u32)(m->at - m->message);
		m->data[b->messages++] = m->records;
		b->records += m->records;
		m->message = NULL;
		m->records = 0;
	}
	b->bytes = m->buffer;
	b->size = (size_t)(m->at - m->buffer);
	b->message_size = m->size;
	b->message_records = m->data;
	b->equal_size = b->messages == 1 ? m->size[0] : 0;
}

static int message_more(struct ipfix_messages *m, __u16 id)
{
	int err = 0;

	ipfix_messages_end(m);
	if (m->batch.messages == m->messages_most)
		err = resize(m, 2 * m->messages_most);
	if (!err)
		ipfix_messages_set(m, id);
	return err;
}

int ipfix_messages_need(struct ipfix_messages *m, __u16 id, __u32 length)
{
	__u16 is = htons(id);
	bool is_same = m->message && !memcmp(m->set, &is, sizeof(is));

	if (!m->message)
		return message_more(m, id);
	if (is_same && length <= ipfix_messages_room(m))
		return 0;
	set_end(m);
	if (!is_same && IPFIX_SET_HEADER + length <= ipfix_messages_room(m)) {
		set_begin(m, id);
		return 0;
	}
	return message_more(m, id);
}

int ipfix_messages_template(struct ipfix_messages *m, __u16 id, int scopes, const struct ipfix_field *field, int n)
{
	__u32 length = scopes ? 6 : 4;
	int err;

	for (int i = 0; i < n; i++)
		length += field[i].enterprise ? 8 : 4;
	err = ipfix_messages_need(m, scopes ? IPFIX_SET_OPTIONS_TEMPLATES : IPFIX_SET_TEMPLATES, length);
	if (err)
		return err;
	m->at = ipfix_u16_put(m->at, id);
	m->at = ipfix_u16_put(m->at, (__u16)n);
	if (scopes)
		m->at = ipfix_u16_put(m->at, (__u16)scopes);
	for (int i = 0; i < n; i++) {
		m->at = ipfix_u16_put(m->at, (__u16)(field[i].id | (field[i].enterprise ? 0x8000 : 0)));
		m->at = ipfix_u16_put(m->at, field[i].length);
		if (field[i].enterprise)
			m->at = ipfix_u32_put(m->at, field[i].enterprise);
	}
	return 0;
}
