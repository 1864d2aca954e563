/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "flowexport.h"
#include "flowpair.h"
#include "nl.h"

#define TEMPLATE_MESSAGES 256 /* UDP: templates again after so many */
#define PROGRESS_US 1000000   /* work that is longer shows how far it is */
#define PROGRESS_EACH_US 100000
#define MTU_TRIES 3

/* What is said of a flow that is in a message and not yet committed. */
struct pending {
	__u64 packets, octets;         /* the flow's, at the time */
	__u64 new_packets, new_octets; /* of the interval */
	__u32 slot;
	__u16 generation;
};

struct job {
	const struct run *run;
	const struct flow_export *what;
	struct flow_exported *sent;
	struct flowtable t;
	int peer;                      /* -1: a collector that does not exist yet (dry run) */
	struct flow_collector *c;      /* the collector's state; of a dry run: scratch */
	struct flow_collector scratch;
	struct sink *sink;
	struct ipfix *x;
	char ifname[FLOW_PLACES][16];
	struct pending *pending;       /* of what ipfix_add was given: an index */
	__u32 *vacant;                 /* a stack of indices */
	__u32 n_pending, n_vacant;
	__u32 end, at;                 /* slots to look at; the one under way */
	bool is_scanned;               /* all were */
	bool is_settled;               /* no error came back to the first flows */
	bool has_warned;
	__u32 messages;                /* since the last templates */
	__u64 templates_us, started_us, shown_us;
};

/*
 * The collector and its lock.
 */
static __u32 domain_default(const char *instance)
{
	char id[64] = "";
	auto_file FILE *f = fopen("/etc/machine-id", "re");
	__u64 h = 0xcbf29ce484222325ULL; /* FNV-1a */

	if (!f || !fgets(id, sizeof(id), f) || id[0] == '\n')
		gethostname(id, sizeof(id) - 1);
	id[strcspn(id, "\n")] = '\0';
	for (const char *p = id; *p; p++)
		h = (h ^ (__u8)*p) * 0x100000001b3ULL;
	for (const char *p = instance; *p; p++)
		h = (h ^ (__u8)*p) * 0x100000001b3ULL;
	h ^= h >> 32;
	return (__u32)h ? (__u32)h : 1;
}

/* Numbers of a domain mean nothing in another. */
static void domain_set(struct job *j)
{
	__u32 domain = j->what->domain ? j->what->domain : j->c->domain;

	if (!domain)
		domain = domain_default(j->what->instance);
	if (domain == j->c->domain)
		return;
	j->c->sequence = 0;
	j->c->domain = domain;
}

static int encoder_new(struct job *j)
{
	const struct sink_target *target = &j->what->target;
	struct ipfix_config c = {
		.domain = j->c->domain,
		.message_most = sink_message_most(j->sink),
		.batch_messages = sink_batch_messages(j->sink),
		.fields = j->what->fields,
		.is_biflow = j->what->is_biflow,
	};
	__u32 most = c.message_most;
	int err = ipfix_new(&c, &j->x);

	if (err != -EMSGSIZE)
		return err ? fail_errno(err, "cannot export") : 0;
	c.message_most = IPFIX_MESSAGE_MOST;
	err = ipfix_new(&c, &j->x);
	if (err)
		return fail_errno(err, "cannot export");
	if (target->mtu)
		return fail(-E_USAGE, "mtu: %u leaves %u octets for a message, which needs %zu at least", target->mtu,
			    most, ipfix_message_least(j->x));
	return fail(-EMSGSIZE, "%s: its path leaves %u octets for a message, which needs %zu at least",
		    target->at.text, most, ipfix_message_least(j->x));
}

static int sink_begin(struct job *j, bool is_trial)
{
	int err;

	domain_set(j);
	err = sink_open(&j->what->target, j->c, is_trial, &j->sink);
	return err ? err : encoder_new(j);
}

static void sink_end(struct job *j)
{
	if (j->x)
		ipfix_free(j->x);
	if (j->sink)
		sink_close(j->sink);
	j->x = NULL;
	j->sink = NULL;
}

/* The collector's number; a new one is made only when its target can be used. */
static int peer_find(struct job *j, const struct bpffs *b)
{
	int number = flowtable_peer_find(&j->t, j->what->collector), err;

	if (number != -ENOENT || j->run->dry_run)
		return number == -ENOENT ? -1 : number;
	j->c = &j->scratch;
	err = sink_begin(j, true);
	sink_end(j);
	return err ? err : flowtable_peer_make(b, &j->t, j->what->collector);
}

static int table_open(struct job *j, struct bpffs *b)
{
	int err = bpffs_open(j->run, j->run->dry_run ? BPFFS_READ : BPFFS_CHANGE, b);

	if (!err)
		err = flowtable_open(b, j->what->instance, !j->run->dry_run, &j->t);
	if (err)
		return err < 0 ? err : 0;
	return fail(-ENOENT, "instance %s counts no flows; enable them: l3afctl flows enable dev IF", j->what->instance);
}

static bool is_same_dir(int a, int b)
{
	struct stat x, y;

	return !fstat(a, &x) && !fstat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/*
 * The table open, the collector's lock taken. Nobody waits for a long export with the
 * bpffs lock in hand: whoever does not get the collector's at once lets go, waits, and
 * looks again whether that collector is still the one.
 */
static int collector_take(struct job *j)
{
	auto_fd int held = -1;

	for (;;) {
		auto_bpffs struct bpffs b = { .fd = -1 };
		struct flow_peer *peer;
		char who[300];
		int err = table_open(j, &b);

		if (err)
			return err;
		j->peer = peer_find(j, &b);
		if (j->peer < 0)
			return j->run->dry_run ? 0 : j->peer;
		peer = &j->t.peer[j->peer];
		if (j->run->dry_run || !flock(peer->lock, LOCK_EX | LOCK_NB))
			return 0;
		if (held >= 0 && is_same_dir(held, peer->lock)) {
			close(peer->lock);
			peer->lock = take_fd(&held);
			return 0;
		}
		cleanup_fd(&held);
		held = take_fd(&peer->lock);
		flowtable_close(&j->t);
		bpffs_close(&b);
		snprintf(who, sizeof(who), "collector %s", j->what->collector);
		err = flow_lock(j->run, held, who);
		if (err)
			return err;
	}
}

/*
 * Under the instance's lock.
 */
static int close_flows(struct job *j)
{
	char who[32];
	__u64 closed;
	int err;

	snprintf(who, sizeof(who), "instance %s", j->t.instance);
	err = flow_lock(j->run, j->t.lock, who);
	if (err)
		return err;
	err = flowtable_recover(&j->t);
	if (!err)
		err = flowtable_expire(&j->t, j->what->is_flush, &closed);
	flow_unlock(j->t.lock);
	return err;
}

static int free_slots(struct job *j)
{
	char who[32];
	__u64 freed;
	int err;

	snprintf(who, sizeof(who), "instance %s", j->t.instance);
	err = flow_lock(j->run, j->t.lock, who);
	if (err)
		return err;
	err = flowtable_recycle(&j->t, false, &freed);
	flow_unlock(j->t.lock);
	return err;
}

/*
 * Sending and committing.
 */
/* Export Time never goes back, whatever the clock does. */
static __u32 export_time(struct job *j)
{
	__u64 now = (__u64)time(NULL);

	if (now >= j->c->exported_at)
		return (__u32)now;
	if (!j->has_warned)
		warn("%s: the clock is %llu s behind the last export; Export Time stays at that one", j->what->collector,
		     j->c->exported_at - now);
	j->has_warned = true;
	return (__u32)j->c->exported_at;
}

/* A generation that fits says that the counts are there. */
static void line_commit(struct flow_line *line, const struct pending *p, __u32 now)
{
	if (line->generation != p->generation) {
		__atomic_store_n(&line->generation, 0, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	__atomic_store_n(&line->packets, p->packets, __ATOMIC_RELAXED);
	__atomic_store_n(&line->octets, p->octets, __ATOMIC_RELAXED);
	line->reported = now;
	line->begun = 0;
	__atomic_store_n(&line->generation, p->generation, __ATOMIC_RELEASE);
}

/* The state goes first: a run killed in between counts records that it will send again,
 * and loses none. */
static void batch_commit(struct job *j, const struct ipfix_batch *b)
{
	struct flow_line *lines = j->run->dry_run ? NULL : j->t.peer[j->peer].lines;
	struct flow_exported sum = { .flows = b->flows };

	for (__u32 i = 0; i < b->flows; i++) {
		sum.packets += j->pending[b->what[i]].new_packets;
		sum.octets += j->pending[b->what[i]].new_octets;
	}
	j->c->messages += b->messages;
	j->c->octets += b->size;
	j->c->records += b->records;
	j->c->flows += sum.flows;
	j->c->flow_packets += sum.packets;
	j->c->flow_octets += sum.octets;
	__atomic_store_n(&j->c->sequence, j->c->sequence + b->records, __ATOMIC_SEQ_CST);
	sink_commit(j->sink);
	for (__u32 i = 0; i < b->flows; i++) {
		const struct pending *p = &j->pending[b->what[i]];

		if (lines)
			line_commit(&lines[p->slot], p, (__u32)j->t.now_jiffies);
		j->vacant[j->n_vacant++] = (__u32)b->what[i];
	}
	j->sent->flows += sum.flows;
	j->sent->packets += sum.packets;
	j->sent->octets += sum.octets;
	j->sent->messages += b->messages;
	j->sent->message_octets += b->size;
	j->sent->records += b->records;
}

static int batch_send(struct job *j, struct ipfix_batch *b, bool is_settling)
{
	__u32 now = export_time(j);
	int err;

	ipfix_seal(j->x, b, j->c->sequence, now);
	j->c->exported_at = now;
	err = sink_send(j->sink, b);
	if (!err && is_settling)
		err = sink_settle(j->sink);
	if (!err)
		batch_commit(j, b);
	return err;
}

static int templates_send(struct job *j)
{
	j->messages = 0;
	j->templates_us = run_now_us();
	j->c->template_id = ipfix_template_id(j->x);
	return batch_send(j, ipfix_templates(j->x), false);
}

static bool is_due(const struct job *j, __u32 slot);

/* On a terminal, where a message would overwrite it. */
static void progress(struct job *j, bool is_end)
{
	__u64 now = run_now_us(), left = 0;

	if (is_end && j->shown_us)
		fputs("\033[K", stderr);
	if (is_end || j->run->quiet || now < j->started_us + PROGRESS_US || now < j->shown_us + PROGRESS_EACH_US ||
	    !isatty(STDERR_FILENO))
		return;
	for (__u32 slot = j->at; slot < j->end; slot++)
		left += is_due(j, slot);
	fprintf(stderr, "\033[Kexported %llu of %llu flows\r", j->sent->flows, j->sent->flows + left);
	fflush(stderr);
	j->shown_us = now;
}

/* A batch of flows. Errors that come late are waited for with the first and the last: a
 * collector that is not there, a path whose MTU is less than was known. */
static int flows_send(struct job *j, struct ipfix_batch *b)
{
	bool is_last = j->is_scanned && !ipfix_is_pending(j->x);
	int err = batch_send(j, b, is_last || !j->is_settled);

	if (err)
		return err;
	j->is_settled = true;
	j->messages += b->messages;
	progress(j, false);
	if (j->what->target.kind != SINK_UDP || is_last ||
	    (j->messages < TEMPLATE_MESSAGES && run_now_us() < j->templates_us + j->what->template_us))
		return 0;
	return templates_send(j);
}

/*
 * What there is to say.
 */
static const struct flow_line *line_of(const struct job *j, __u32 slot)
{
	static const struct flow_line none;

	return j->peer < 0 ? &none : &j->t.peer[j->peer].lines[slot];
}

static enum flow_reason reason_of(const struct job *j, const struct flow_rec *rec)
{
	enum flow_reason due;

	if (FLOW_STATE(rec->life) == FLOW_CLOSED)
		return (enum flow_reason)FLOW_REASON(rec->life);
	/* what a dry run has not closed */
	due = j->run->dry_run ? flow_due(&j->t, rec, j->what->is_flush) : FLOW_REASON_NONE;
	return due ? due : FLOW_ACTIVE;
}

/* A flow that goes on is reported when the active timeout has passed. */
static bool is_too_early(const struct job *j, const struct flow_rec *rec, const struct flow_line *line)
{
	__u64 since = rec->first;

	if (!j->t.config->active_us || reason_of(j, rec) != FLOW_ACTIVE)
		return false;
	if (line->generation == FLOW_GENERATION(rec->life))
		since = flow_jiffies(j->t.now_jiffies, line->reported);
	return flow_age_us(&j->t, since) < j->t.config->active_us;
}

/* Without writing anything: most slots of most runs have nothing new. */
static bool is_due(const struct job *j, __u32 slot)
{
	const struct flow_line *line = line_of(j, slot);
	const struct flow_rec *rec = &j->t.rec[slot];
	__u32 life = __atomic_load_n(&rec->life, __ATOMIC_ACQUIRE);

	if (!flow_is_there(life))
		return false;
	if (line->generation == FLOW_GENERATION(life) &&
	    line->packets == __atomic_load_n(&rec->packets, __ATOMIC_RELAXED) &&
	    line->octets == __atomic_load_n(&rec->octets, __ATOMIC_RELAXED))
		return false;
	return !is_too_early(j, rec, line);
}

/*
 * The low half of jiffies64 when the interval under way began; the next packet begins
 * another one. Kept in the line until the interval is committed, so that a run that
 * fails or is killed does not lose it.
 */
static __u32 interval_begin(struct job *j, __u32 slot)
{
	const struct flow_line *line = line_of(j, slot);
	struct flow_rec *rec = &j->t.rec[slot];
	__u16 generation = FLOW_GENERATION(rec->life);
	__u32 bit, begin = (__u32)rec->first;
	struct flow_line *own;

	if (line->begun == generation)
		begin = line->begin;
	else if (line->generation == generation)
		begin = __atomic_load_n(&rec->begin[j->peer], __ATOMIC_RELAXED);
	if (j->run->dry_run)
		return begin;
	if (line->begun != generation) {
		own = &j->t.peer[j->peer].lines[slot];
		own->begun = 0;
		__atomic_store_n(&own->begin, begin, __ATOMIC_RELEASE);
		__atomic_store_n(&own->begun, generation, __ATOMIC_RELEASE);
	}
	bit = 1U << j->peer;
	if (FLOW_STATE(rec->life) == FLOW_LIVE && !(__atomic_load_n(&rec->fresh, __ATOMIC_RELAXED) & bit))
		__atomic_fetch_or(&rec->fresh, bit, __ATOMIC_SEQ_CST);
	return begin;
}

static int pending_grow(struct job *j)
{
	__u32 n = j->n_pending ? 2 * j->n_pending : 4096;
	struct pending *pending = reallocarray(j->pending, n, sizeof(*pending));
	__u32 *vacant = reallocarray(j->vacant, n, sizeof(*vacant));

	if (pending)
		j->pending = pending;
	if (vacant)
		j->vacant = vacant;
	if (!pending || !vacant)
		return fail_errno(-ENOMEM, "cannot export");
	while (j->n_pending < n)
		vacant[j->n_vacant++] = j->n_pending++;
	return 0;
}

/* One flow's interval; flow refers to rec. */
struct interval {
	struct flow_rec rec;
	struct ipfix_flow flow;
	__u32 what;
};

static void interval_fill(const struct job *j, __u32 slot, __u32 begin, struct interval *i)
{
	const struct flow_rec *rec = &i->rec;
	__u32 place = rec->key.place % FLOW_PLACES;
	const struct flow_place *p = &j->t.place[place];
	/* the packet that began the interval may have come a moment after rec was read */
	__u32 early = (__u32)rec->last - begin;
	__u64 first = early > 0xffff0000 ? rec->last : flow_jiffies(rec->last, begin);

	i->flow = (struct ipfix_flow){
		.key = &rec->key,
		.packets = j->pending[i->what].new_packets,
		.octets = j->pending[i->what].new_octets,
		.start_ms = flow_time_ms(&j->t, first),
		.end_ms = flow_time_ms(&j->t, rec->last),
		.id = (__u64)FLOW_GENERATION(rec->life) << 32 | slot,
		.in_ifindex = p->direction == FLOW_INGRESS ? p->ifindex : rec->in_ifindex,
		.out_ifindex = p->direction == FLOW_INGRESS ? 0 : p->ifindex,
		.direction = p->direction,
		.flags = (__u8)rec->flags,
		.tos = rec->tos,
		.ttl_min = (__u8)rec->ttl_min,
		.ttl_max = (__u8)rec->ttl_max,
		.reason = (__u8)reason_of(j, rec),
		.ifname = j->ifname[place],
		.label = j->t.instance,
	};
}

/* 1: there is something to say; 0: no longer; or an error, printed. */
static int interval_read(struct job *j, __u32 slot, struct interval *i)
{
	const struct flow_line *line = line_of(j, slot);
	__u32 begin = interval_begin(j, slot);
	struct pending *p;

	if (!flowtable_read(&j->t, slot, &i->rec) || flow_is_reported(line, &i->rec))
		return 0;
	if (!j->n_vacant && pending_grow(j))
		return -ENOMEM;
	i->what = j->vacant[--j->n_vacant];
	p = &j->pending[i->what];
	*p = (struct pending){ i->rec.packets, i->rec.octets, i->rec.packets, i->rec.octets, slot,
			       FLOW_GENERATION(i->rec.life) };
	if (line->generation == p->generation) {
		p->new_packets -= line->packets;
		p->new_octets -= line->octets;
	}
	interval_fill(j, slot, begin, i);
	return 1;
}

static int flow_add(struct job *j, struct interval *i, struct interval *reverse)
{
	struct ipfix_batch *b = NULL;

	ipfix_add(j->x, &i->flow, i->what, reverse ? &reverse->flow : NULL, reverse ? reverse->what : 0, &b);
	return b ? flows_send(j, b) : 0;
}

static int slot_add(struct job *j, __u32 slot)
{
	struct interval i;
	int n = interval_read(j, slot, &i);

	return n > 0 ? flow_add(j, &i, NULL) : n;
}

/* Two slots as a biflow: whose first packet came first is its source. */
static int pair_add(struct job *j, __u32 a, __u32 b)
{
	struct interval x, y;
	int n, m;

	n = interval_read(j, a, &x);
	if (n < 0)
		return n;
	m = interval_read(j, b, &y);
	if (m < 0)
		return m;
	if (n && m && flow_is_reverse(&j->t, &x.rec.key, &y.rec.key))
		return x.rec.first <= y.rec.first ? flow_add(j, &x, &y) : flow_add(j, &y, &x);
	if (n)
		n = flow_add(j, &x, NULL);
	return m && !n ? flow_add(j, &y, NULL) : n;
}

static int scan(struct job *j)
{
	auto_flow_pairs struct flow_pairs *pairs = NULL;
	__u32 slot, other;
	int err = 0;

	j->end = flowtable_end(&j->t);
	if (j->what->is_biflow) {
		pairs = flow_pairs_new(&j->t, j->end);
		if (!pairs)
			return fail_errno(-ENOMEM, "cannot export");
	}
	for (j->at = 0; !err && j->at < j->end; j->at++) {
		if (!is_due(j, j->at))
			continue;
		if (!pairs) {
			err = slot_add(j, j->at);
			continue;
		}
		other = flow_pairs_put(pairs, j->at);
		if (other != FLOW_NO_SLOT)
			err = pair_add(j, j->at, other);
	}
	while (!err && pairs && (slot = flow_pairs_rest(pairs)) != FLOW_NO_SLOT)
		err = slot_add(j, slot);
	j->is_scanned = true;
	return err;
}

/*
 * Options records.
 */
static int ignored_sum(const struct job *j, struct ipfix_options *o)
{
	static const enum flow_ignored causes[] = { FLOW_IGNORED_FULL, FLOW_IGNORED_MALFORMED, FLOW_IGNORED_ERROR };
	__u64 first = 0, last = 0;
	struct flow_stat stat;

	for (__u32 place = 0; place < FLOW_PLACES; place++) {
		if (!j->t.place[place].ifindex)
			continue;
		int err = flowtable_stat(&j->t, place, &stat);
		if (err)
			return fail_errno(err, "cannot read what instance %s ignored", j->t.instance);
		for (size_t i = 0; i < sizeof(causes) / sizeof(causes[0]); i++) {
			o->ignored_packets += stat.ignored[causes[i]].packets;
			o->ignored_octets += stat.ignored[causes[i]].octets;
		}
		if (stat.first_ignored && (!first || stat.first_ignored < first))
			first = stat.first_ignored;
		if (stat.last_ignored > last)
			last = stat.last_ignored;
	}
	o->ignored_first_ms = first ? flow_time_ms(&j->t, first) : 0;
	o->ignored_last_ms = last ? flow_time_ms(&j->t, last) : 0;
	return 0;
}

static bool is_here(const struct flow_place *p, const struct netns *self)
{
	return p->netns == self->id && p->is_cookie == self->is_cookie;
}

/* Interfaces of other network namespaces are called what they were called there. */
static void names_read(struct job *j, const struct netns *self)
{
	struct iface dev;

	for (int i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &j->t.place[i];

		if (p->ifindex && is_here(p, self) && !iface_by_index((int)p->ifindex, &dev))
			memcpy(j->ifname[i], dev.name, sizeof(j->ifname[i]));
		else
			memcpy(j->ifname[i], p->name, sizeof(j->ifname[i]));
	}
}

static bool is_listed(const struct ipfix_options *o, __u32 ifindex, const char *name)
{
	for (int i = 0; i < o->n_interfaces; i++)
		if (o->interface[i].ifindex == ifindex && !strcmp(o->interface[i].name, name))
			return true;
	return false;
}

static void interfaces_read(const struct job *j, const struct netns *self, struct ipfix_options *o)
{
	for (int i = 0; i < FLOW_PLACES; i++) {
		const struct flow_place *p = &j->t.place[i];
		struct ipfix_interface *to = &o->interface[o->n_interfaces];
		struct iface dev = { .index = (int)p->ifindex };

		if (!p->ifindex || is_listed(o, p->ifindex, j->ifname[i]))
			continue;
		*to = (struct ipfix_interface){ .ifindex = p->ifindex, .sample = p->sample };
		memcpy(to->name, j->ifname[i], sizeof(to->name));
		if (is_here(p, self) && iface_alias(&dev, to->alias, sizeof(to->alias)))
			to->alias[0] = '\0';
		o->n_interfaces++;
	}
}

/* They are sent before any flow, and count in the sequence as flows do. */
static int options_send(struct job *j)
{
	auto_free struct ipfix_interface *interfaces = calloc(FLOW_PLACES, sizeof(*interfaces));
	struct ipfix_options o = {
		.messages = j->c->messages,
		.octets = j->c->octets,
		.flows = j->c->flows,
		.unsent_flows = j->t.config->flushed_flows,
		.unsent_packets = j->t.config->flushed_packets,
		.unsent_octets = j->t.config->flushed_octets,
		.label = j->t.instance,
		.interface = interfaces,
	};
	struct netns self;
	int err = interfaces ? netns_self(&self) : -ENOMEM;

	if (err)
		return fail_errno(err, "cannot export");
	names_read(j, &self);
	interfaces_read(j, &self, &o);
	err = ignored_sum(j, &o);
	return err ? err : batch_send(j, ipfix_options(j->x, &o), true);
}

/*
 * The run.
 */
static int send_all(struct job *j)
{
	struct ipfix_batch *b;
	int err = sink_begin(j, j->run->dry_run);

	if (!err)
		err = templates_send(j);
	if (!err)
		err = options_send(j);
	if (!err)
		err = scan(j);
	while (!err && (b = ipfix_flush(j->x)))
		err = flows_send(j, b);
	progress(j, true);
	return err ? err : sink_finish(j->sink);
}

/* A path whose MTU shrinks meanwhile: again, with messages that fit; what was not
 * committed is still to be sent. */
static int send_fitting(struct job *j)
{
	int err = -EMSGSIZE;

	for (int i = 0; err == -EMSGSIZE && i < MTU_TRIES; i++) {
		j->is_scanned = j->is_settled = false;
		j->n_pending = j->n_vacant = 0;
		err = send_all(j);
		sink_end(j);
	}
	if (err == -EMSGSIZE)
		return fail(err, "%s: the MTU of the path to it keeps shrinking", j->what->target.at.text);
	return err;
}

static void remember(struct job *j, int err)
{
	if (err)
		j->c->failed_at = (__u64)time(NULL);
	else
		j->c->succeeded_at = (__u64)time(NULL);
	j->c->failure = err == -E_USAGE ? -EINVAL : err == -E_LOCKED ? -EBUSY : err;
}

static int job_run(struct job *j)
{
	int err = collector_take(j);

	if (err)
		return err;
	j->c = &j->scratch;
	if (j->run->dry_run) {
		j->scratch = j->peer < 0 ? j->scratch : *j->t.peer[j->peer].state;
		return send_fitting(j);
	}
	j->c = j->t.peer[j->peer].state;
	err = close_flows(j);
	if (!err)
		err = send_fitting(j);
	remember(j, err);
	return err ? err : free_slots(j);
}

int flow_export(const struct run *run, const struct flow_export *what, struct flow_exported *sent)
{
	struct job j = {
		.run = run,
		.what = what,
		.sent = sent,
		.t = FLOWTABLE_INIT,
		.started_us = run_now_us(),
	};
	int err;

	*sent = (struct flow_exported){ 0 };
	err = job_run(&j);
	sink_end(&j);
	free(j.pending);
	free(j.vacant);
	flowtable_close(&j.t);
	return err;
}
