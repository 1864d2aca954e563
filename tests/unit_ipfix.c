// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * unit_ipfix                 the encoder against a strict reader of its own; exits 1
 *                            naming the first thing that is wrong
 * unit_ipfix make FIELDS SIZE biflow|uniflow COUNT SEED FILE
 *                            COUNT flows of each variant into FILE, messages back to back,
 *                            and as JSON, one a line, to stdout
 * unit_ipfix send FILE PORT  those messages to 127.0.0.1, one datagram each
 * unit_ipfix bench           nanoseconds a record
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "ipfix.h"
#include "ipfixfields.h"
#include "ipfixread.h"

#define FLOWS 4096
#define REVERSE 29305
#define EXPORT_TIME 1800000000
#define DOMAIN 70000

static unsigned long checks;

__attribute__((format(printf, 2, 3)))
static void check(bool is_right, const char *fmt, ...)
{
	va_list ap;

	checks++;
	if (is_right)
		return;
	va_start(ap, fmt);
	fputs("unit_ipfix: ", stderr);
	vfprintf(stderr, fmt, ap);
	putc('\n', stderr);
	va_end(ap);
	exit(1);
}

/* ---- flows ---- */

static __u64 seed = 1;

static __u64 draw(__u64 limit) /* xorshift64* */
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return (seed * 2685821657736338717ULL >> 8) % limit;
}

/* Small numbers, large ones and the edges. */
static __u64 draw_count(void)
{
	static const __u64 edges[] = { 0, 1, 255, 65536, 4294967295, 4294967296, UINT64_MAX };

	return draw(8) ? 1 + draw(100000) : edges[draw(sizeof(edges) / sizeof(edges[0]))];
}

enum { TAGS = 3 };
static const __u8 protos[IPFIX_KINDS][4] = { { 6, 17, 132, 6 }, { 1, 1, 1, 1 }, { 47, 50, 6, 89 } };

static void key_draw(struct flow_key *key, int family, int tags, enum ipfix_kind kind)
{
	*key = (struct flow_key){ .family = (__u8)family, .place = (__u16)draw(FLOW_PLACES) };
	for (int i = 0; i < 4; i++) {
		key->src[i] = (__u32)draw(1ULL << 32);
		key->dst[i] = (__u32)draw(1ULL << 32);
	}
	if (family == 4)
		key->src[0] = key->src[1] = key->dst[0] = key->dst[1] = 0,
		key->src[2] = key->dst[2] = htonl(0xffff);
	for (int i = 0; i < tags; i++)
		key->vlan[i] = (__u16)(FLOW_TAGGED | draw(4096));
	key->proto = protos[kind][draw(4)];
	if (kind == IPFIX_ICMP && family == 6)
		key->proto = 58;
	if (kind == IPFIX_PORTS) {
		key->sport = (__u16)(1 + draw(65535));
		key->dport = (__u16)draw(65536);
	} else if (kind == IPFIX_ICMP) {
		key->sport = (__u16)(1 + draw(255));
		key->dport = (__u16)draw(256);
	}
}

struct sample {
	struct ipfix_flow flow, reverse;
	struct flow_key key, key_reverse;
	bool is_biflow;
	char ifname[16], label[16];
};

static void flow_draw(struct ipfix_flow *f, const struct sample *s, const struct flow_key *key)
{
	*f = (struct ipfix_flow){
		.key = key, .packets = draw_count(), .octets = draw_count(),
		.start_ms = 1000ULL * EXPORT_TIME - 1 - draw(100000000), .id = draw_count(),
		.in_ifindex = (__u32)draw_count(), .out_ifindex = (__u32)draw_count(),
		.selector = 1 + key->place, .sample = (__u32)draw(1000), .flags = (__u16)draw(512),
		.direction = (__u8)draw(2), .tos = (__u8)draw(256), .ttl_min = (__u8)draw(256),
		.ttl_max = (__u8)draw(256), .reason = (__u8)(1 + draw(5)), .ifname = s->ifname, .label = s->label,
	};
	f->end_ms = f->start_ms + draw(1000ULL * EXPORT_TIME - f->start_ms);
}

static void name_draw(char name[16])
{
	static const char *const names[] = { "eth0", "", "a", "enp0s31f6.4094", "fifteen-letters", "\xc3\xa4\xc3\xb6" };

	strcpy(name, names[draw(sizeof(names) / sizeof(names[0]))]);
}

static void sample_draw(struct sample *s, int family, int tags, enum ipfix_kind kind, bool is_biflow)
{
	key_draw(&s->key, family, tags, kind);
	s->key_reverse = s->key;
	name_draw(s->ifname);
	name_draw(s->label);
	s->is_biflow = is_biflow;
	flow_draw(&s->flow, s, &s->key);
	flow_draw(&s->reverse, s, &s->key_reverse);
}

/* ---- the reader ---- */

struct seen_template {
	__u32 domain;
	__u16 id;
	int n, scopes;
	struct ipfix_field field[64];
};

struct field_value {
	struct ipfix_field field;
	const __u8 *bytes;
	size_t length;
};

struct reader {
	struct seen_template template[256];
	int templates;
	__u32 records[2];                 /* of DOMAIN, of 0: what the sequence has to be */
	void (*record)(void *, const struct seen_template *, const struct field_value *);
	void *context;
};

static unsigned int u16_at(const __u8 *p) { return p[0] * 256U + p[1]; }
static __u32 u32_at(const __u8 *p) { return u16_at(p) << 16 | u16_at(p + 2); }

static __u64 number(const struct field_value *v)
{
	__u64 n = 0;

	check(v->length >= 1 && v->length <= 8, "a number of %zu octets", v->length);
	for (size_t i = 0; i < v->length; i++)
		n = n << 8 | v->bytes[i];
	return n;
}

static struct seen_template *template_find(struct reader *r, __u32 domain, unsigned int id)
{
	for (int i = 0; i < r->templates; i++)
		if (r->template[i].domain == domain && r->template[i].id == id)
			return &r->template[i];
	return NULL;
}

static const __u8 *read_template(struct reader *r, __u32 domain, const __u8 *p, const __u8 *end, bool is_options)
{
	struct seen_template t = { .domain = domain }, *known;

	check(end - p >= (is_options ? 6 : 4), "a template is cut off");
	t.id = (__u16)u16_at(p);
	t.n = (int)u16_at(p + 2);
	t.scopes = is_options ? (int)u16_at(p + 4) : 0;
	check(t.id >= 256 && t.n > 0 && t.n <= 64, "template %u of %d fields", t.id, t.n);
	check(!is_options || (t.scopes > 0 && t.scopes <= t.n), "%d scopes", t.scopes);
	p += is_options ? 6 : 4;
	for (int i = 0; i < t.n; i++) {
		check(end - p >= (*p & 0x80 ? 8 : 4), "a template's field is cut off");
		t.field[i].id = u16_at(p) & 0x7fff;
		t.field[i].length = (__u16)u16_at(p + 2);
		t.field[i].enterprise = *p & 0x80 ? u32_at(p + 4) : 0;
		p += *p & 0x80 ? 8 : 4;
	}
	known = template_find(r, domain, t.id);
	check(!known || !memcmp(known, &t, sizeof(t)), "template %u was another one before", t.id);
	if (!known) {
		check(r->templates < 256, "too many templates");
		r->template[r->templates++] = t;
	}
	return p;
}

static size_t record_least(const struct seen_template *t)
{
	size_t least = 0;

	for (int i = 0; i < t->n; i++)
		least += t->field[i].length == IPFIX_VARIABLE ? 1 : t->field[i].length;
	return least;
}

static const __u8 *read_field(struct field_value *v, const __u8 *p, const __u8 *end)
{
	v->length = v->field.length;
	if (v->field.length == IPFIX_VARIABLE) {
		check(end > p, "a length is cut off");
		v->length = *p++;
		if (v->length == 255) {
			check(end - p >= 2, "a length is cut off");
			v->length = u16_at(p);
			p += 2;
		}
	}
	check((size_t)(end - p) >= v->length, "element %u is cut off", v->field.id);
	v->bytes = p;
	return p + v->length;
}

static void padding_is(const __u8 *p, const __u8 *end)
{
	check(end - p < 4, "%td octets behind the last record", end - p);
	for (; p < end; p++)
		check(!*p, "padding is not zero");
}

static void read_data(struct reader *r, __u32 domain, unsigned int id, const __u8 *p, const __u8 *end)
{
	const struct seen_template *t = template_find(r, domain, id);
	struct field_value v[64];
	size_t least;

	check(t, "domain %u has data of template %u, which was not sent", domain, id);
	least = record_least(t);
	check((size_t)(end - p) >= least, "a set without a record");
	while ((size_t)(end - p) >= least) {
		for (int i = 0; i < t->n; i++) {
			v[i].field = t->field[i];
			p = read_field(&v[i], p, end);
		}
		r->records[domain == 0]++;
		if (r->record)
			r->record(r->context, t, v);
	}
	padding_is(p, end);
}

static void read_set(struct reader *r, __u32 domain, const __u8 *set, size_t length)
{
	unsigned int id = u16_at(set);
	const __u8 *p = set + 4, *end = set + length;

	check(id == 2 || id == 3 || id >= 256, "set ID %u", id);
	if (id >= 256) {
		read_data(r, domain, id, p, end);
		return;
	}
	while (end - p >= 4)
		p = read_template(r, domain, p, end, id == 3);
	padding_is(p, end);
}

/* One message, whole; returns its length. */
static size_t read_message(struct reader *r, const __u8 *m, size_t size)
{
	__u32 domain, before;
	size_t length, set;

	check(size >= 16 && u16_at(m) == 10, "no message header");
	length = u16_at(m + 2);
	domain = u32_at(m + 12);
	check(length >= 20 && length <= size && length % 4 == 0, "message length %zu of %zu", length, size);
	check(domain == 0 || domain == DOMAIN, "domain %u", domain);
	check(u32_at(m + 4) == EXPORT_TIME, "export time");
	before = r->records[domain == 0];
	check(u32_at(m + 8) == before, "sequence %u, %u records were sent", u32_at(m + 8), before);
	for (size_t at = 16; at < length; at += set) {
		check(length - at >= 4, "octets behind the last set");
		set = u16_at(m + at + 2);
		check(set > 4 && set <= length - at && set % 4 == 0, "set length %zu", set);
		read_set(r, domain, m + at, set);
	}
	return length;
}

/* ---- what a record has to say ---- */

static void string_is(const struct field_value *v, const char *s)
{
	check(v->length == strlen(s) && !memcmp(v->bytes, s, v->length), "element %u is not \"%s\"", v->field.id, s);
}

static void number_is(const struct field_value *v, __u64 n)
{
	check(number(v) == n, "element %u/%u is %" PRIu64 ", not %" PRIu64, v->field.enterprise, v->field.id,
	      (uint64_t)number(v), (uint64_t)n);
}

static void octets_are(const struct field_value *v, const void *bytes, size_t length)
{
	check(v->length == length && !memcmp(v->bytes, bytes, length), "address element %u", v->field.id);
}

static void value_is(const struct field_value *v, const struct sample *s)
{
	const struct ipfix_flow *f = v->field.enterprise ? &s->reverse : &s->flow;
	const struct flow_key *key = &s->key;

	check(!v->field.enterprise || (v->field.enterprise == REVERSE && s->is_biflow), "enterprise %u",
	      v->field.enterprise);
	switch (v->field.id) {
	case 1: number_is(v, f->octets); break;
	case 2: number_is(v, f->packets); break;
	case 4: number_is(v, key->proto); break;
	case 5: number_is(v, f->tos); break;
	case 6: number_is(v, v->length == 1 ? f->flags & 0xff : f->flags); break;
	case 7: number_is(v, key->sport); break;
	case 8: octets_are(v, &key->src[3], 4); break;
	case 10: number_is(v, f->in_ifindex); break;
	case 11: number_is(v, key->dport); break;
	case 12: octets_are(v, &key->dst[3], 4); break;
	case 14: number_is(v, f->out_ifindex); break;
	case 27: octets_are(v, key->src, 16); break;
	case 28: octets_are(v, key->dst, 16); break;
	case 32: case 139: number_is(v, key->sport * 256U + key->dport); break;
	case 52: number_is(v, f->ttl_min); break;
	case 53: number_is(v, f->ttl_max); break;
	case 58: number_is(v, key->vlan[0] & 0xfff); break;
	case 61: number_is(v, f->direction); break;
	case 82: string_is(v, f->ifname); break;
	case 136: number_is(v, f->reason); break;
	case 148: number_is(v, f->id); break;
	case 152: number_is(v, f->start_ms); break;
	case 153: number_is(v, f->end_ms); break;
	case 176: case 178: number_is(v, key->sport); break;
	case 177: case 179: number_is(v, key->dport); break;
	case 239: number_is(v, 1); break;
	case 245: number_is(v, key->vlan[1] & 0xfff); break;
	case 300: string_is(v, f->label); break;
	case 302: number_is(v, f->selector); break;
	case 305: number_is(v, 1); break;
	case 306: number_is(v, f->sample > 1 ? f->sample - 1 : 0); break;
	default: check(false, "element %u", v->field.id);
	}
}

static bool has(const struct seen_template *t, __u16 id, bool is_reverse)
{
	for (int i = 0; i < t->n; i++)
		if (t->field[i].id == id && !!t->field[i].enterprise == is_reverse)
			return true;
	return false;
}

/* That the template is the one for such a flow: nothing absent sent as zero, nothing
 * of the key left out. */
static void template_fits(const struct seen_template *t, const struct sample *s)
{
	const struct flow_key *key = &s->key;
	bool has_ports = key->sport && strchr("\x06\x11\x84", key->proto);
	bool is_icmp = key->proto == 1 || key->proto == 58;

	check(has(t, 8, false) == (key->family == 4) && has(t, 12, false) == (key->family == 4), "IPv4 addresses");
	check(has(t, 27, false) == (key->family == 6) && has(t, 28, false) == (key->family == 6), "IPv6 addresses");
	check(has(t, 7, false) == has_ports && has(t, 11, false) == has_ports, "ports");
	check(has(t, 176, false) == (is_icmp && key->family == 4) && has(t, 177, false) == has(t, 176, false), "ICMP");
	check(has(t, 178, false) == (is_icmp && key->family == 6) && has(t, 179, false) == has(t, 178, false), "ICMPv6");
	check(has(t, 58, false) == !!key->vlan[0] && has(t, 245, false) == !!key->vlan[1], "tags");
	check(has(t, 1, true) == s->is_biflow && has(t, 2, true) == s->is_biflow && has(t, 152, true) == s->is_biflow &&
	      has(t, 153, true) == s->is_biflow, "reverse elements");
	for (const char *id = "\x01\x02\x04\x0a\x0e\x3d\x98\x99"; *id; id++)
		check(has(t, (__u8)*id, false), "element %u is missing", (__u8)*id);
	for (int i = 0; i < t->n; i++)
		for (int j = 0; j < i; j++)
			check(memcmp(&t->field[i], &t->field[j], sizeof(t->field[i])), "element %u twice",
			      t->field[i].id);
}

/* ---- random flows through the encoder ---- */

struct fuzz {
	struct sample *sample;
	struct reader reader;
	const struct ipfix_batch *batch;
	__u32 next, flows;     /* of the batch's words; flows seen in all */
	__u32 sequence, options_sequence, message_most;
	const struct ipfix_options *options; /* what options records have to say */
	FILE *json, *out, *stream;
	struct { size_t size; __u32 records[2]; } mark[20000]; /* of the stream, behind each message */
	int marks;
};

static void json_put(FILE *f, const struct seen_template *t, const struct field_value *v);

/* flowKeyIndicator: the elements that tell flows apart, of those in the template. */
static void keys_are(struct reader *r, const struct field_value *v)
{
	const struct seen_template *t = template_find(r, DOMAIN, (unsigned int)number(v));
	static const __u8 keys[] = { 4, 7, 8, 10, 11, 12, 14, 27, 28, 58, 61, 176, 177, 178, 179, 245 };
	__u64 bits = 0;

	check(t, "keys of template %u, which was not sent", (unsigned int)number(v));
	for (int i = 0; i < t->n; i++)
		if (!t->field[i].enterprise && t->field[i].id < 256 && memchr(keys, t->field[i].id, sizeof(keys)))
			bits |= 1ULL << i;
	number_is(v + 1, bits);
}

static __u32 sample_of(const struct ipfix_options *o, __u64 selector)
{
	for (int i = 0; i < o->n_samplers; i++)
		if (o->sampler[i].selector == selector)
			return o->sampler[i].sample;
	check(false, "selectorId %" PRIu64, (uint64_t)selector);
	return 0;
}

static const struct ipfix_interface *interface_of(const struct ipfix_options *o, __u64 ifindex)
{
	for (int i = 0; i < o->n_interfaces; i++)
		if (o->interface[i].ifindex == ifindex)
			return &o->interface[i];
	check(false, "interface %" PRIu64, (uint64_t)ifindex);
	return NULL;
}

static void option_is(struct fuzz *f, const struct seen_template *t, const struct field_value *v)
{
	const struct ipfix_options *o = f->options;
	const char *alias;

	number_is(v, DOMAIN); /* the first scope, whichever element it is */
	for (int i = 1; i < t->n; i++)
		switch (v[i].field.id) {
		case 10: case 173: case 302: break; /* below */
		case 40: number_is(&v[i], o->octets); break;
		case 41: number_is(&v[i], o->messages); break;
		case 42: number_is(&v[i], o->flows); break;
		case 82: string_is(&v[i], interface_of(o, number(&v[1]))->name); break;
		case 83:
			/* what is no UTF-8 is replaced */
			alias = interface_of(o, number(&v[1]))->alias;
			string_is(&v[i], strchr(alias, '\xff') ? "uplink to \xc3\xa4 ? place" : alias);
			break;
		case 145: keys_are(&f->reader, &v[i]); break;
		case 164: number_is(&v[i], o->ignored_packets); break;
		case 165: number_is(&v[i], o->ignored_octets); break;
		case 166: number_is(&v[i], o->unsent_flows); break;
		case 167: number_is(&v[i], o->unsent_packets); break;
		case 168: number_is(&v[i], o->unsent_octets); break;
		case 300: string_is(&v[i], o->label); break;
		case 304: case 305: number_is(&v[i], 1); break;
		case 306: number_is(&v[i], sample_of(o, number(&v[1])) - 1); break;
		case 323: number_is(&v[i], v[i - 1].field.id == 323 ? o->ignored_last_ms : o->ignored_first_ms); break;
		default: check(false, "options element %u", v[i].field.id);
		}
}

static void fuzz_record(void *context, const struct seen_template *t, const struct field_value *v)
{
	struct fuzz *f = context;
	const struct sample *s;

	if (t->scopes) {
		option_is(f, t, v);
		json_put(f->json, t, v);
		return;
	}
	check(f->next < f->batch->flows, "more records than words");
	s = &f->sample[f->batch->what[f->next]];
	check(!s->is_biflow || f->batch->what[f->next + 1] == (f->batch->what[f->next] | 1ULL << 63), "reverse word");
	f->next += s->is_biflow ? 2 : 1;
	f->flows++;
	template_fits(t, s);
	for (int i = 0; i < t->n; i++)
		value_is(&v[i], s);
	json_put(f->json, t, v);
}

static void stream_put(struct fuzz *f, const __u8 *message, size_t length)
{
	check(f->marks < 20000 && fwrite(message, 1, length, f->stream) == length, "the stream in memory");
	f->mark[f->marks].size = length + (f->marks ? f->mark[f->marks - 1].size : 0);
	f->mark[f->marks].records[0] = f->reader.records[0];
	f->mark[f->marks++].records[1] = f->reader.records[1];
}

static void fuzz_batch(struct fuzz *f, const struct ipfix *x, struct ipfix_batch *b)
{
	__u32 *sequence = b->is_options ? &f->options_sequence : &f->sequence, records = 0;
	size_t at = 0, length;

	check(b->messages > 0 && b->size > 0, "an empty batch");
	ipfix_seal(x, b, *sequence, EXPORT_TIME);
	f->batch = b;
	f->next = 0;
	for (__u32 i = 0; i < b->messages; i++) {
		length = read_message(&f->reader, b->bytes + at, b->size - at);
		check(length == b->message_size[i] && length <= f->message_most, "message size %zu", length);
		check(!b->equal_size || length == b->equal_size || (i + 1 == b->messages && length < b->equal_size),
		      "messages differ in size: %zu, %u", length, b->equal_size);
		records += b->message_records[i];
		at += length;
		check(f->reader.records[b->is_options] == *sequence + records, "records of a message");
		if (f->stream)
			stream_put(f, b->bytes + at - length, length);
	}
	check(at == b->size, "size of a batch: %zu, %zu", at, b->size);
	check(records == b->records && f->next == b->flows, "records of a batch");
	*sequence += records;
	if (f->out)
		check(fwrite(b->bytes, 1, b->size, f->out) == b->size, "write: %s", strerror(errno));
}

static const struct ipfix_interface interfaces[] = {
	{ 2, "eth0", "" }, { 3, "eth1.100", "uplink to \xc3\xa4 \xff place" }, { 4294967295, "fifteen-letters", "" },
	{ 4, "lo", "after a long one" },
};
static const struct ipfix_sampler samplers[] = { { 1, 1000 }, { 2, 1 }, { 256, 4294967295 } };

static void fuzz_options(struct fuzz *f, struct ipfix *x, const char *label)
{
	static struct ipfix_interface interface[300];
	struct ipfix_options o = {
		.messages = 1, .octets = 2, .flows = UINT64_MAX, .ignored_packets = 4, .ignored_octets = 5,
		.ignored_first_ms = 1799999999001, .ignored_last_ms = draw(2) ? 1799999999002 : 0, .unsent_flows = 6,
		.unsent_packets = 7, .unsent_octets = 8, .label = label, .interface = interface,
		.sampler = samplers, .n_interfaces = 4, .n_samplers = 3,
	};
	struct ipfix_batch *b = NULL;

	memcpy(interface, interfaces, sizeof(interfaces));
	memset(interface[2].alias, 'x', 255);
	if (!f->out)
		o.n_interfaces = (int)draw(300); /* the others are empty */
	f->options = &o;
	check(!ipfix_options(x, &o, &b), "options");
	check(b->is_options && b->records >= (__u32)o.n_interfaces, "options");
	fuzz_batch(f, x, b);
}

static void fuzz_add(struct fuzz *f, struct ipfix *x, __u32 i)
{
	const struct sample *s = &f->sample[i];
	struct ipfix_batch *b;

	ipfix_add(x, &s->flow, i, s->is_biflow ? &s->reverse : NULL, i | 1ULL << 63, &b);
	if (b)
		fuzz_batch(f, x, b);
	check(b || ipfix_is_pending(x), "a flow is neither sent nor pending");
}

static void fuzz_run(struct fuzz *f, const struct ipfix_config *c, __u32 flows)
{
	auto_ipfix struct ipfix *x = NULL;
	struct ipfix_batch *b;

	f->message_most = c->message_most;
	f->reader.record = fuzz_record;
	f->reader.context = f;
	check(!ipfix_new(c, &x), "ipfix_new");
	fuzz_batch(f, x, ipfix_templates(x));
	fuzz_options(f, x, f->sample[0].label);
	for (__u32 i = 0; i < flows; i++)
		fuzz_add(f, x, i);
	while ((b = ipfix_flush(x)))
		fuzz_batch(f, x, b);
	check(!ipfix_is_pending(x), "pending after the last flush");
	check(f->flows == flows, "%u of %u flows", f->flows, flows);
	fuzz_batch(f, x, ipfix_templates(x)); /* again, as in a long run */
	if (!f->out) {
		fuzz_options(f, x, "");
		fuzz_add(f, x, 0);
		check((b = ipfix_flush(x)) && b->records == 1 && !ipfix_flush(x), "the second flush");
		fuzz_batch(f, x, b);
	}
}

static void samples_draw(struct sample *s, int n, bool is_biflow)
{
	for (int i = 0; i < n; i++) {
		enum ipfix_kind kind = (enum ipfix_kind)draw(IPFIX_KINDS);

		sample_draw(&s[i], draw(2) ? 4 : 6, (int)draw(TAGS), kind, is_biflow && kind != IPFIX_ICMP && draw(2));
	}
}

/* ---- going on with a file ---- */

static int next_of(const char *bytes, size_t size, __u32 domain, __u32 *sequence, __u64 *whole)
{
	int fd = memfd_create("file", 0), err;

	check(fd >= 0 && write(fd, bytes, size) == (ssize_t)size, "memfd: %s", strerror(errno));
	err = ipfix_read_sequence(fd, domain, sequence, whole);
	close(fd);
	return err;
}

/* The stream cut off anywhere: its whole messages count. */
static void read_cut(const struct fuzz *f, const char *bytes, int messages, size_t more)
{
	__u32 sequence;
	__u64 whole;

	for (int other = 0; other < 2; other++) {
		size_t size = f->mark[messages - 1].size;
		int err = next_of(bytes, size + more, other ? 0 : DOMAIN, &sequence, &whole);

		check(err == (more ? -ENODATA : 0) && whole == size, "a file of %zu + %zu octets: %d, %" PRIu64, size, more,
		      err, (uint64_t)whole);
		check(err || sequence == f->mark[messages - 1].records[other], "%u is next in domain %d, read was %u",
		      f->mark[messages - 1].records[other], other ? 0 : DOMAIN, sequence);
	}
}

/* Damaged: an answer, whichever. */
static void read_damaged(const char *bytes, size_t size)
{
	char *copy = malloc(size);
	__u32 sequence;
	__u64 whole;
	int err;

	memcpy(copy, bytes, size);
	for (__u64 n = 1 + draw(8); n; n--)
		copy[draw(draw(2) && size > 4000 ? 4000 : size)] = (char)(draw(2) ? draw(256) : draw(2) * 255);
	err = next_of(copy, size, draw(2) ? 0 : DOMAIN, &sequence, &whole);
	check(!err || err == -ENODATA || err == -EBADMSG, "a damaged file: %d", err);
	check(whole <= size && (err || whole == size), "a damaged file: %" PRIu64 " of %zu octets", (uint64_t)whole, size);
	free(copy);
}

static void read_stream(const struct fuzz *f, const char *bytes)
{
	for (int i = 0; i < 3; i++) {
		int messages = 1 + (int)draw((__u64)f->marks - 1);
		size_t next = f->mark[messages].size - f->mark[messages - 1].size;

		read_cut(f, bytes, messages, 0);
		read_cut(f, bytes, messages, 1 + draw(next - 1));
		read_damaged(bytes, f->mark[messages].size);
	}
	for (int i = 1; i <= f->marks && i < 16; i++) /* the ends of options, strings among them */
		read_cut(f, bytes, i, 0);
	read_cut(f, bytes, f->marks, 0);
}

/* Templates that no encoder of ours writes. */
static void test_strange(void)
{
	static const struct { const char *what; __u8 m[40]; __u8 size; int err; __u32 sequence; } cases[] = {
		{ "a record without octets", { 0, 10, 0, 36, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 0, 2, 0, 12, 1, 0, 0, 1,
		  0, 4, 0, 0, 1, 0, 0, 8, 0, 0, 0, 0 }, 36, 0, 7 },
		{ "data without a template", { 0, 10, 0, 24, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 1, 0, 0, 8 }, 24, -EBADMSG, 0 },
		{ "a set that is too short", { 0, 10, 0, 20, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 1, 0, 0, 3 }, 20, -EBADMSG, 0 },
		{ "a set that is too long", { 0, 10, 0, 20, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 0, 2, 0, 8 }, 20, -EBADMSG, 0 },
		{ "a template of too many fields", { 0, 10, 0, 28, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 0, 2, 0, 12, 1, 0, 0, 2,
		  0, 4, 0, 1 }, 28, -EBADMSG, 0 },
		{ "a message of 15 octets", { 0, 10, 0, 15 }, 20, -EBADMSG, 0 },
		{ "version 9", { 0, 9, 0, 16 }, 16, -EBADMSG, 0 },
		{ "a file without a message", { 0 }, 0, 0, 0 },
		{ "a letter", { 'x' }, 1, -EBADMSG, 0 },
	};
	__u32 sequence;
	__u64 whole;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = next_of((const char *)cases[i].m, cases[i].size, DOMAIN, &sequence, &whole);

		check(err == cases[i].err && (err || sequence == cases[i].sequence), "%s: %d, %u", cases[i].what, err, sequence);
	}
}

/* Two records, strings of 256 octets and of one. */
static void test_long(void)
{
	static const __u8 head[] = { 0, 10, 1, 37, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0x11, 0x70, 0, 2, 0, 12, 1, 0, 0, 1,
				     0, 82, 255, 255, 1, 0, 1, 9, 255, 1, 0 };
	__u8 m[293];
	__u32 sequence = 0;
	__u64 whole;

	memset(m, 'x', sizeof(m));
	memcpy(m, head, sizeof(head));
	m[sizeof(m) - 2] = 1;
	check(!next_of((const char *)m, sizeof(m), DOMAIN, &sequence, &whole) && sequence == 9, "%u is next", sequence);
}

static void test_fuzz(void)
{
	struct sample *s = calloc(FLOWS, sizeof(*s));
	struct fuzz *f = calloc(1, sizeof(*f));
	char *bytes = NULL;
	size_t size;

	for (int round = 0; round < 400; round++) {
		__u32 flows = 1 + (__u32)draw(FLOWS);
		struct ipfix_config c = {
			.domain = DOMAIN, .batch_messages = 1 + (__u32)draw(round % 2 ? 3 : 64),
			.fields.given = (__u32)draw(1U << 15), .is_biflow = draw(2),
		};
		size_t least = ipfix_message_least(&c);

		c.message_most = (__u32)(least + draw(round % 8 ? 1500 : IPFIX_MESSAGE_MOST - least));
		samples_draw(s, (int)flows, c.is_biflow);
		memset(f, 0, sizeof(*f));
		f->sample = s;
		if (round % 4 == 0)
			f->stream = open_memstream(&bytes, &size);
		fuzz_run(f, &c, flows);
		if (!f->stream)
			continue;
		fclose(f->stream);
		read_stream(f, bytes);
		free(bytes);
	}
	free(f);
	free(s);
}

/* ---- what does not need flows ---- */

static void test_sizes(void)
{
	struct ipfix_config c = { .domain = DOMAIN, .batch_messages = 4, .fields = ipfix_fields_default() };
	size_t least = ipfix_message_least(&c);
	struct ipfix *x = NULL;

	check(least <= IPFIX_UDP_UNKNOWN, "%zu octets are needed", least);
	for (__u32 size = 0; size < least; size++) {
		c.message_most = size;
		check(ipfix_new(&c, &x) == -EMSGSIZE && !x, "messages of %u octets", size);
	}
	c.message_most = (__u32)least;
	check(!ipfix_new(&c, &x) && x, "messages of %zu octets", least);
	ipfix_free(x);
	c.is_biflow = true;
	c.fields.given = UINT32_MAX;
	check(ipfix_message_least(&c) <= IPFIX_UDP_UNKNOWN, "%zu octets are needed for all", ipfix_message_least(&c));
}

/* Template IDs: the same each time, different within a list of fields, and of another
 * block when up to four elements are others. */
static void test_ids(void)
{
	static __u16 block[1U << 15];
	struct ipfix_template t, first;

	for (__u32 given = 0; given < 1U << 15; given++) {
		ipfix_template_make(&first, 0, (struct ipfix_fields){ given });
		block[given] = first.id;
		for (unsigned int i = 0; i < IPFIX_VARIANTS; i++) {
			ipfix_template_make(&t, i, (struct ipfix_fields){ given });
			check(t.id == first.id + i && t.id >= 256 && t.id < 64768, "template ID %u", t.id);
		}
	}
	/* what sets lists apart is linear: lists differ if no difference is a list like none */
	for (__u32 given = 1; given < 1U << 15; given++)
		check(__builtin_popcount(given) > 4 || block[given] != block[0], "elements %x change no template ID", given);
	for (__u32 i = 0; i < 100000; i++) {
		__u32 a = (__u32)draw(1U << 15) & ~(1U << 8), b = (__u32)draw(1U << 15) & ~(1U << 8);

		check(((block[a] - 256) / 63 ^ (block[b] - 256) / 63) == (block[a ^ b] - 256) / 63,
		      "IDs are not linear");
	}
}

static void test_fields(void)
{
	static const struct { const char *s; int bits; } cases[] = {
		{ "flowId", 1 }, { "-minimumTTL", -1 }, { "flowId,interfaceName,-flowEndReason", 1 }, { "all", 7 },
		{ "-all", -8 }, { "-all,flowId", -7 }, { "flowId,flowId", 1 }, { "tcpControlBits/2", 1 },
		{ "", 99 }, { ",", 99 }, { "flowId,", 99 }, { ",flowId", 99 }, { "-", 99 }, { "--flowId", 99 },
		{ "flowid", 99 }, { "flowId ", 99 }, { "octetDeltaCount", 99 }, { "tcpControlBits/3", 99 },
		{ "+flowId", 99 }, { "1", 99 }, { "reverseTcpControlBits", 99 },
	};
	struct ipfix_fields f;
	struct why why;

	check(__builtin_popcount(ipfix_fields_default().given) == 8, "the default fields");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int err = ipfix_parse_fields(cases[i].s, &f, &why);

		check(err == (cases[i].bits == 99 ? -E_USAGE : 0), "fields \"%s\": %d", cases[i].s, err);
		check(err || __builtin_popcount(f.given) == 8 + cases[i].bits, "fields \"%s\": %x", cases[i].s, f.given);
	}
	check(ipfix_parse_fields("flowid", &f, &why) && !strcmp(why.text, "has flowid, which is no element of flow "
	      "records; did you mean flowId?"), "reason: %s", why.text);
	check(ipfix_parse_fields("flowId,xyzzy", &f, &why) && !strcmp(why.text, "has xyzzy, which is no element of "
	      "flow records, as in flowId,interfaceName,-minimumTTL or all"), "reason: %s", why.text);
}

static __u32 checksum_of(const char *fields, bool is_biflow)
{
	struct ipfix_config c = { .domain = DOMAIN, .message_most = 1400, .batch_messages = 4, .is_biflow = is_biflow };
	auto_ipfix struct ipfix *x = NULL;
	struct why why;

	check(!ipfix_parse_fields(fields, &c.fields, &why), "%s", fields);
	check(!ipfix_new(&c, &x), "ipfix_new");
	return ipfix_template_id(x);
}

static void test_checksum(void)
{
	check(checksum_of("flowId", false) == checksum_of("flowId", false), "checksums of the same templates");
	check(checksum_of("flowId", false) != checksum_of("-flowId", false), "checksums of other fields");
	check(checksum_of("flowId", false) != checksum_of("flowId", true), "checksums with biflows");
}

/* ---- files, for other judges ---- */

static const char *element_name(const struct ipfix_field *f)
{
	static const struct { __u16 id; const char *name; } names[] = {
		{ 1, "octetDeltaCount" }, { 2, "packetDeltaCount" }, { 4, "protocolIdentifier" },
		{ 5, "ipClassOfService" }, { 6, "tcpControlBits" }, { 7, "sourceTransportPort" },
		{ 8, "sourceIPv4Address" }, { 10, "ingressInterface" }, { 11, "destinationTransportPort" },
		{ 12, "destinationIPv4Address" }, { 14, "egressInterface" }, { 27, "sourceIPv6Address" },
		{ 28, "destinationIPv6Address" }, { 32, "icmpTypeCodeIPv4" }, { 40, "exportedOctetTotalCount" },
		{ 41, "exportedMessageTotalCount" }, { 42, "exportedFlowRecordTotalCount" }, { 52, "minimumTTL" },
		{ 53, "maximumTTL" }, { 58, "vlanId" }, { 61, "flowDirection" }, { 82, "interfaceName" },
		{ 83, "interfaceDescription" }, { 136, "flowEndReason" }, { 139, "icmpTypeCodeIPv6" },
		{ 144, "exportingProcessId" }, { 145, "templateId" }, { 148, "flowId" },
		{ 149, "observationDomainId" }, { 152, "flowStartMilliseconds" }, { 153, "flowEndMilliseconds" },
		{ 164, "ignoredPacketTotalCount" }, { 165, "ignoredOctetTotalCount" },
		{ 166, "notSentFlowTotalCount" }, { 167, "notSentPacketTotalCount" },
		{ 168, "notSentOctetTotalCount" }, { 173, "flowKeyIndicator" }, { 176, "icmpTypeIPv4" },
		{ 177, "icmpCodeIPv4" }, { 178, "icmpTypeIPv6" }, { 179, "icmpCodeIPv6" }, { 239, "biflowDirection" },
		{ 245, "dot1qCustomerVlanId" }, { 300, "observationDomainName" }, { 302, "selectorId" },
		{ 304, "selectorAlgorithm" }, { 305, "samplingPacketInterval" }, { 306, "samplingPacketSpace" },
		{ 323, "observationTimeMilliseconds" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].id == f->id)
			return names[i].name;
	check(false, "element %u has no name", f->id);
	return NULL;
}

static void json_value(FILE *f, const struct field_value *v)
{
	char text[64];
	struct tm tm;
	time_t s;

	switch (v->field.id) {
	case 8: case 12: case 27: case 28:
		fprintf(f, "\"%s\"", inet_ntop(v->length == 4 ? AF_INET : AF_INET6, v->bytes, text, sizeof(text)));
		break;
	case 152: case 153: case 323:
		s = (time_t)(number(v) / 1000);
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
		fprintf(f, "\"%s.%03u\"", text, (unsigned int)(number(v) % 1000));
		break;
	case 82: case 83: case 300:
		fprintf(f, "\"%.*s\"", (int)v->length, (const char *)v->bytes);
		break;
	default: /* as text: JSON's numbers end at 2^53 */
		fprintf(f, "\"%" PRIu64 "\"", (uint64_t)number(v));
	}
}

/* As RFC 5103 6.1 names reverse elements; the second of the same name gets a 2. */
static void json_name(FILE *f, const struct field_value *v, bool is_second)
{
	const char *name = element_name(&v->field);

	if (v->field.enterprise)
		fprintf(f, "\"reverse%c%s%s\":", *name - 'a' + 'A', name + 1, is_second ? "2" : "");
	else
		fprintf(f, "\"%s%s\":", name, is_second ? "2" : "");
}

static void json_put(FILE *f, const struct seen_template *t, const struct field_value *v)
{
	if (!f)
		return;
	for (int i = 0; i < t->n; i++) {
		putc(i ? ',' : '{', f);
		json_name(f, &v[i], i && !memcmp(&v[i].field, &v[i - 1].field, sizeof(v->field)));
		json_value(f, &v[i]);
	}
	fputs("}\n", f);
}

static __u32 number_arg(const char *s)
{
	return (__u32)strtoul(s, NULL, 10);
}

static int make(char **argv)
{
	struct ipfix_config c = {
		.domain = DOMAIN, .message_most = number_arg(argv[1]), .batch_messages = 16,
		.is_biflow = !strcmp(argv[2], "biflow"),
	};
	int each = (int)number_arg(argv[3]);
	struct fuzz *f = calloc(1, sizeof(*f));
	__u32 n = 0;
	struct why why;

	seed = number_arg(argv[4]) * 0x9e3779b97f4a7c15ULL;
	check(!ipfix_parse_fields(argv[0], &c.fields, &why), "%s", argv[0]);
	f->sample = calloc((size_t)each * IPFIX_VARIANTS, sizeof(*f->sample));
	for (int i = 0; i < each; i++)
		for (int variant = 0; variant < 6 * IPFIX_KINDS * (1 + c.is_biflow); variant++) {
			enum ipfix_kind kind = (enum ipfix_kind)(variant % IPFIX_KINDS);
			bool is_biflow = variant >= 6 * IPFIX_KINDS;

			if (!is_biflow || kind != IPFIX_ICMP)
				sample_draw(&f->sample[n++], variant / 9 % 2 ? 6 : 4, variant / 3 % 3, kind, is_biflow);
		}
	f->json = stdout;
	f->out = fopen(argv[5], "w");
	check(f->out, "%s: %s", argv[5], strerror(errno));
	fuzz_run(f, &c, n);
	check(!fclose(f->out) && !fflush(stdout), "write");
	free(f->sample);
	free(f);
	return 0;
}

static int send_file(const char *path, const char *port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((__u16)number_arg(port)),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int in = open(path, O_RDONLY), s = socket(AF_INET, SOCK_DGRAM, 0);
	struct timespec pace = { .tv_nsec = 1000000 };
	__u8 m[65535];

	check(in >= 0 && s >= 0 && !connect(s, (struct sockaddr *)&to, sizeof(to)), "%s: %s", path, strerror(errno));
	while (read(in, m, 16) == 16) {
		ssize_t length = (ssize_t)u16_at(m + 2);

		check(read(in, m + 16, (size_t)length - 16) == length - 16, "read");
		check(send(s, m, (size_t)length, 0) == length, "send: %s", strerror(errno));
		nanosleep(&pace, NULL);
	}
	close(s);
	close(in);
	return 0;
}

/* ---- speed ---- */

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double bench_once(struct ipfix *x, const struct sample *s, bool is_biflow, __u32 n)
{
	double start = seconds();
	struct ipfix_batch *b;
	__u32 sequence = 0;

	for (__u32 i = 0; i < n; i++) {
		const struct sample *p = &s[i % FLOWS];

		ipfix_add(x, &p->flow, i, is_biflow ? &p->reverse : NULL, i, &b);
		if (b) {
			ipfix_seal(x, b, sequence, EXPORT_TIME);
			sequence += b->records;
		}
	}
	while ((b = ipfix_flush(x))) {
		ipfix_seal(x, b, sequence, EXPORT_TIME);
		sequence += b->records;
	}
	check(sequence == n, "records");
	return seconds() - start;
}

static void bench_one(struct sample *s, const char *what, int family, const char *fields, bool is_biflow)
{
	struct ipfix_config c = { .domain = DOMAIN, .message_most = 1472, .batch_messages = 44, .is_biflow = is_biflow };
	const __u32 n = 2000000;
	auto_ipfix struct ipfix *x = NULL;
	double best = 1e9, took;
	struct why why;

	check(!ipfix_parse_fields(fields, &c.fields, &why) && !ipfix_new(&c, &x), "%s", what);
	for (int i = 0; i < FLOWS; i++)
		sample_draw(&s[i], family, 0, IPFIX_PORTS, is_biflow);
	for (int i = 0; i < 5; i++) {
		took = bench_once(x, s, is_biflow, n);
		if (took < best)
			best = took;
	}
	printf("  %-34s %5.1f ns a record, %5.1f M records/s\n", what, best / n * 1e9, n / best / 1e6);
}

static int bench(void)
{
	struct sample *s = calloc(FLOWS, sizeof(*s));

	puts("IPFIX records encoded and sealed, one processor:");
	bench_one(s, "IPv4", 4, "-selectorId", false);
	bench_one(s, "IPv6", 6, "-selectorId", false);
	bench_one(s, "IPv4 biflows", 4, "-selectorId", true);
	bench_one(s, "IPv4, all elements, variable length", 4, "all", false);
	free(s);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "make"))
		return make(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "send"))
		return send_file(argv[2], argv[3]);
	if (argc == 2 && !strcmp(argv[1], "bench"))
		return bench();
	test_fields();
	test_sizes();
	test_ids();
	test_checksum();
	test_strange();
	test_long();
	test_fuzz();
	printf("%lu checks\n", checks);
	return 0;
}
