/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include "flowinterval.h"
#include "nl.h"

#define SELECTOR(place) ((place) + 1) /* selectorId, not 0 */

static bool is_here(const struct flow_place *p, const struct netns *self)
{
	return p->netns == self->id && p->is_cookie == self->is_cookie;
}

int flow_reader_init(struct flow_reader *r, struct flowtable *t, int peer)
{
	struct netns self;
	struct iface dev;
	int err = netns_self(&self);

	if (err)
		return fail_errno(err, "this network namespace");
	r->t = t;
	r->peer = peer;
	for (int i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &t->place[i];
		bool is_known = p->ifindex && is_here(p, &self) && !iface_by_index((int)p->ifindex, &dev);

		memcpy(r->ifname[i], is_known ? dev.name : p->name, sizeof(r->ifname[i]));
	}
	return 0;
}

static const struct flow_line *line_of(const struct flow_reader *r, __u32 slot)
{
	static const struct flow_line none;

	return r->peer < 0 ? &none : &r->t->peer[r->peer].lines[slot];
}

static enum flow_reason reason_of(const struct flow_reader *r, const struct flow_rec *rec)
{
	enum flow_reason due;

	if (FLOW_STATE(rec->life) == FLOW_CLOSED)
		return (enum flow_reason)FLOW_REASON(rec->life);
	/* what a dry run has not closed */
	due = r->is_dry ? flow_due(r->t, rec, r->is_flush) : FLOW_REASON_NONE;
	return due ? due : FLOW_ACTIVE;
}

/* A flow that goes on is reported when the active timeout has passed. */
static bool is_too_early(const struct flow_reader *r, const struct flow_rec *rec, const struct flow_line *line)
{
	__u64 since = rec->first;

	if (!r->t->config->active_us || reason_of(r, rec) != FLOW_ACTIVE)
		return false;
	if (line->generation == FLOW_GENERATION(rec->life))
		since = flow_jiffies(r->t->now_jiffies, line->reported);
	return flow_age_us(r->t, since) < r->t->config->active_us;
}

/* Without writing anything: most slots of most runs have nothing new. The octets of a
 * packet are counted a moment before it is. */
bool flow_is_due(struct flow_reader *r, __u32 slot)
{
	const struct flow_line *line = line_of(r, slot);
	const struct flow_rec *rec = &r->t->rec[slot];
	__u32 life = __atomic_load_n(&rec->life, __ATOMIC_ACQUIRE);

	flowtable_ahead(r->t, slot);
	__builtin_prefetch(&line[48]);
	if (FLOW_STATE(life) == FLOW_ORPHAN || FLOW_STATE(life) == FLOW_CLOSED)
		r->has_ended = true;
	if (!flow_is_there(life))
		return false;
	if (line->generation == FLOW_GENERATION(life) &&
	    line->packets == __atomic_load_n(&rec->packets, __ATOMIC_RELAXED) &&
	    (FLOW_STATE(life) == FLOW_LIVE || line->octets == __atomic_load_n(&rec->octets, __ATOMIC_RELAXED)))
		return false;
	return !is_too_early(r, rec, line);
}

/*
 * The low half of jiffies64 when the interval under way began; the next packet begins
 * another one. Kept in the line until the interval is committed, so that a run that
 * fails or is killed does not lose it.
 */
static __u32 interval_begin(struct flow_reader *r, __u32 slot)
{
	const struct flow_line *line = line_of(r, slot);
	struct flow_rec *rec = &r->t->rec[slot];
	__u16 generation = FLOW_GENERATION(rec->life);
	__u32 bit, begin = (__u32)rec->first;
	struct flow_line *own;

	if (line->begun == generation)
		begin = line->begin;
	else if (line->generation == generation)
		begin = __atomic_load_n(&rec->begin[r->peer], __ATOMIC_RELAXED);
	if (r->is_dry)
		return begin;
	if (line->begun != generation) {
		own = &r->t->peer[r->peer].lines[slot];
		own->begun = 0;
		__atomic_store_n(&own->begin, begin, __ATOMIC_RELEASE);
		__atomic_store_n(&own->begun, generation, __ATOMIC_RELEASE);
	}
	bit = 1U << r->peer;
	if (FLOW_STATE(rec->life) == FLOW_LIVE && !(__atomic_load_n(&rec->fresh, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(&rec->fresh, bit, __ATOMIC_SEQ_CST);
	return begin;
}

static void interval_fill(const struct flow_reader *r, __u32 slot, __u32 begin, struct flow_interval *i)
{
	const struct flow_rec *rec = &i->rec;
	__u32 place = rec->key.place % FLOW_PLACES;
	const struct flow_place *p = &r->t->place[place];
	/* the packet that began the interval may have come a moment after rec was read */
	__u32 early = (__u32)rec->last - begin;
	__u64 first = early > 0xffff0000 ? rec->last : flow_jiffies(rec->last, begin);

	i->flow = (struct ipfix_flow){
		.key = &rec->key,
		.packets = rec->packets,
		.octets = rec->octets,
		.start_ms = flow_time_ms(r->t, first),
		.end_ms = flow_time_ms(r->t, rec->last),
		.id = (__u64)FLOW_GENERATION(rec->life) << 32 | slot,
		.in_ifindex = p->direction == FLOW_INGRESS ? p->ifindex : rec->in_ifindex,
		.out_ifindex = p->direction == FLOW_INGRESS ? 0 : p->ifindex,
		.direction = p->direction,
		.selector = SELECTOR(place),
		.sample = p->sample,
		.flags = (__u16)rec->flags,
		.tos = rec->tos,
		.ttl_min = (__u8)rec->ttl_min,
		.ttl_max = (__u8)rec->ttl_max,
		.reason = (__u8)reason_of(r, rec),
		.ifname = r->ifname[place],
		.label = r->t->instance,
	};
}

bool flow_interval_read(struct flow_reader *r, __u32 slot, struct flow_interval *i)
{
	const struct flow_line *line = line_of(r, slot);
	__u32 begin = interval_begin(r, slot);

	if (!flowtable_read(r->t, slot, &i->rec) || flow_is_reported(line, &i->rec))
		return false;
	interval_fill(r, slot, begin, i);
	if (line->generation == FLOW_GENERATION(i->rec.life)) {
		i->flow.packets -= line->packets;
		i->flow.octets -= line->octets;
	}
	return true;
}

struct flow_told flow_tell(const struct flow_interval *i, __u32 slot)
{
	return (struct flow_told){
		.packets = i->rec.packets,
		.octets = i->rec.octets,
		.new_packets = i->flow.packets,
		.new_octets = i->flow.octets,
		.slot = slot,
		.generation = FLOW_GENERATION(i->rec.life),
	};
}

/* A generation that fits says that the counts are there. */
void flow_commit(const struct flow_reader *r, const struct flow_told *told)
{
	struct flow_line *line = &r->t->peer[r->peer].lines[told->slot];

	if (line->generation != told->generation) {
		__atomic_store_n(&line->generation, 0, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	__atomic_store_n(&line->packets, told->packets, __ATOMIC_RELAXED);
	__atomic_store_n(&line->octets, told->octets, __ATOMIC_RELAXED);
	line->reported = (__u32)r->t->now_jiffies;
	line->begun = 0;
	__atomic_store_n(&line->generation, told->generation, __ATOMIC_RELEASE);
}

/*
 * Options records.
 */
static int ignored_sum(const struct flow_reader *r, struct ipfix_options *o)
{
	static const enum flow_ignored causes[] = { FLOW_IGNORED_FULL, FLOW_IGNORED_MALFORMED, FLOW_IGNORED_ERROR };
	__u64 first = 0, last = 0;
	struct flow_stat stat;

	for (__u32 place = 0; place < FLOW_PLACES; place++) {
		if (!r->t->place[place].ifindex)
			continue;
		int err = flowtable_stat(r->t, place, &stat);
		if (err)
			return fail_errno(err, "cannot read what instance %s ignored", r->t->instance);
		for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
			o->ignored_packets += stat.ignored[causes[i]].packets;
			o->ignored_octets += stat.ignored[causes[i]].octets;
		}
		if (stat.first_ignored && (!first || stat.first_ignored < first))
			first = stat.first_ignored;
		if (stat.last_ignored > last)
			last = stat.last_ignored;
	}
	o->ignored_first_ms = first ? flow_time_ms(r->t, first) : 0;
	o->ignored_last_ms = last ? flow_time_ms(r->t, last) : 0;
	return 0;
}

static bool is_listed(const struct ipfix_options *o, __u32 ifindex, const char *name)
{
	for (int i = 0; i < o->n_interfaces; i++)
		if (o->interface[i].ifindex == ifindex && !strcmp(o->interface[i].name, name))
			return true;
	return false;
}

static void interfaces_read(const struct flow_reader *r, const struct netns *self,
			    struct ipfix_interface *interfaces, struct ipfix_options *o)
{
	for (int i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &r->t->place[i];
		struct ipfix_interface *to = &interfaces[o->n_interfaces];
		struct iface dev = { .index = (int)p->ifindex };

		if (!p->ifindex || is_listed(o, p->ifindex, r->ifname[i]))
			continue;
		*to = (struct ipfix_interface){ .ifindex = p->ifindex };
		memcpy(to->name, r->ifname[i], sizeof(to->name));
		if (is_here(p, self) && iface_alias(&dev, to->alias, sizeof(to->alias)))
			to->alias[0] = '\0';
		o->n_interfaces++;
	}
}

static void samplers_read(const struct flow_reader *r, struct ipfix_sampler *samplers, struct ipfix_options *o)
{
	for (__u32 i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &r->t->place[i];

		if (p->ifindex && p->sample > 1)
			samplers[o->n_samplers++] = (struct ipfix_sampler){ SELECTOR(i), p->sample };
	}
}

int flow_options_read(const struct flow_reader *r, const struct flow_collector *c,
		      struct ipfix_interface *interfaces, struct ipfix_sampler *samplers, struct ipfix_options *o)
{
	struct netns self;
	int err = netns_self(&self);

	if (err)
		return fail_errno(err, "this network namespace");
	*o = (struct ipfix_options){
		.messages = c->messages,
		.octets = c->octets,
		.flows = c->flows,
		.unsent_flows = r->t->config->flushed.flows,
		.unsent_packets = r->t->config->flushed.packets,
		.unsent_octets = r->t->config->flushed.octets,
		.label = r->t->instance,
		.interface = interfaces,
		.sampler = samplers,
	};
	interfaces_read(r, &self, interfaces, o);
	samplers_read(r, samplers, o);
	return ignored_sum(r, o);
}
