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
#include "flowfull.h"
#include "flowinterval.h"
#include "flowpair.h"
#include "flows.h"

#define TEMPLATE_MESSAGES 256 /* UDP: templates again after so many */
#define PROGRESS_US 1000000   /* work that is longer shows how far it is */
#define PROGRESS_EACH_US 100000
#define MTU_TRIES 3

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
	struct flow_reader reader;
	struct flow_told *told;        /* of flows in messages that are not committed yet */
	__u32 *vacant;                 /* elements of told, a stack: ipfix_add gets the index */
	__u32 n_told, n_vacant;
	__u32 end, at;                 /* slots to look at; the one under way */
	bool is_scanned;               /* all were */
	struct ipfix_batch *options;   /* sent and not yet committed */
	__u64 behind_s;        /* the clock, behind the last export: the most that was seen */
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
	int err = ipfix_new(&c, &j->x);

	if (err != -EMSGSIZE)
		return err ? fail_errno(err, "cannot export") : 0;
	if (target->mtu)
		return fail(-E_USAGE, "mtu: %u leaves %u octets for a message, which needs %zu at least", target->mtu,
			    c.message_most, ipfix_message_least(&c));
	return fail(-EMSGSIZE, "%s: its path leaves %u octets for a message, which needs %zu at least",
		    target->at.text, c.message_most, ipfix_message_least(&c));
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
static int instance_lock(const struct job *j)
{
	char who[32];

	snprintf(who, sizeof(who), "instance %s", j->t.instance);
	return flow_lock(j->run, j->t.lock, who);
}

static int close_flows(struct job *j)
{
	__u64 closed;
	int err = instance_lock(j);

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
	__u64 freed;
	int err = instance_lock(j);

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
	if (j->c->exported_at - now > j->behind_s)
		j->behind_s = j->c->exported_at - now;
	return (__u32)j->c->exported_at;
}

static __u32 *sequence_of(struct job *j, const struct ipfix_batch *b)
{
	return b->is_options ? &j->c->options_sequence : &j->c->sequence;
}

/* The state goes first: a run killed in between counts records that it will send again,
 * and loses none. */
static void batch_commit(struct job *j, const struct ipfix_batch *b)
{
	struct flow_exported sum = { .flows = b->flows };

	for (__u32 i = 0; i < b->flows; i++) {
		sum.packets += j->told[b->what[i]].new_packets;
		sum.octets += j->told[b->what[i]].new_octets;
	}
	j->c->messages += b->messages;
	j->c->octets += b->size;
	j->c->records += b->records;
	j->c->flows += sum.flows;
	j->c->flow_packets += sum.packets;
	j->c->flow_octets += sum.octets;
	__atomic_store_n(sequence_of(j, b), *sequence_of(j, b) + b->records, __ATOMIC_SEQ_CST);
	sink_commit(j->sink);
	for (__u32 i = 0; i < b->flows; i++) {
		if (!j->run->dry_run)
			flow_commit(&j->reader, &j->told[b->what[i]]);
		j->vacant[j->n_vacant++] = (__u32)b->what[i];
	}
	j->sent->flows += sum.flows;
	j->sent->packets += sum.packets;
	j->sent->octets += sum.octets;
	j->sent->messages += b->messages;
	j->sent->message_octets += b->size;
	j->sent->records += b->records;
}

/* Not committed yet. */
static int batch_send(struct job *j, struct ipfix_batch *b)
{
	__u32 now = export_time(j);

	ipfix_seal(j->x, b, *sequence_of(j, b), now);
	j->c->exported_at = now;
	return sink_send(j->sink, b);
}

static int templates_send(struct job *j)
{
	struct ipfix_batch *b = ipfix_templates(j->x);
	int err = batch_send(j, b);

	j->messages = 0;
	j->templates_us = run_now_us();
	j->c->template_id = ipfix_template_id(j->x);
	if (!err)
		batch_commit(j, b);
	return err;
}

/* Errors that come late are waited for. */
static int settle(struct job *j)
{
	int err = sink_settle(j->sink);

	if (!err && j->options)
		batch_commit(j, j->options);
	j->options = NULL;
	return err;
}

/* On a terminal, where a message would overwrite it. */
static void progress(struct job *j, bool is_end)
{
	__u64 now = run_now_us(), left = j->n_told - j->n_vacant; /* read, and not sent yet */

	if (is_end && j->shown_us)
		fputs("\033[K", stderr);
	if (is_end || j->run->quiet || now < j->started_us + PROGRESS_US || now < j->shown_us + PROGRESS_EACH_US ||
	    !isatty(STDERR_FILENO))
		return;
	for (__u32 slot = j->at; slot < j->end; slot++)
		left += flow_is_due(&j->reader, slot);
	fprintf(stderr, "\033[Kexported %llu of %llu flows\r", j->sent->flows, j->sent->flows + left);
	fflush(stderr);
	j->shown_us = now;
}

/* A batch of flows. The first and the last are settled: a collector that is not there, a
 * path whose MTU is less than was known. */
static int flows_send(struct job *j, struct ipfix_batch *b)
{
	bool is_last = j->is_scanned && !ipfix_is_pending(j->x);
	int err = batch_send(j, b);

	if (!err && (j->options || is_last))
		err = settle(j);
	if (err)
		return err;
	batch_commit(j, b);
	j->messages += b->messages;
	progress(j, false);
	if (j->what->target.kind != SINK_UDP || is_last ||
	    (j->messages < TEMPLATE_MESSAGES && run_now_us() < j->templates_us + j->what->template_us))
		return 0;
	return templates_send(j);
}

/*
 * Reading.
 */
static int told_grow(struct job *j)
{
	__u32 n = j->n_told ? 2 * j->n_told : 4096;
	struct flow_told *told = reallocarray(j->told, n, sizeof(*told));
	__u32 *vacant = reallocarray(j->vacant, n, sizeof(*vacant));

	if (told)
		j->told = told;
	if (vacant)
		j->vacant = vacant;
	if (!told || !vacant)
		return fail_errno(-ENOMEM, "cannot export");
	while (j->n_told < n)
		vacant[j->n_vacant++] = j->n_told++;
	return 0;
}

/* A flow that was read; the caller has room for it in vacant. */
static __u32 tell(struct job *j, const struct flow_interval *i, __u32 slot)
{
	__u32 what = j->vacant[--j->n_vacant];

	j->told[what] = flow_tell(i, slot);
	return what;
}

static int slot_add(struct job *j, __u32 slot)
{
	struct ipfix_batch *b = NULL;
	struct flow_interval i;

	if (!flow_interval_read(&j->reader, slot, &i))
		return 0;
	if (!j->n_vacant && told_grow(j))
		return -ENOMEM;
	ipfix_add(j->x, &i.flow, tell(j, &i, slot), NULL, 0, &b);
	return b ? flows_send(j, b) : 0;
}

/* Two slots as a biflow. */
static int pair_add(struct job *j, __u32 a, __u32 b)
{
	struct flow_interval x, y;
	struct ipfix_batch *batch = NULL;
	__u32 what;
	int err;

	if (!flow_interval_read(&j->reader, a, &x))
		return slot_add(j, b);
	if (!flow_interval_read(&j->reader, b, &y))
		return slot_add(j, a);
	if (!flow_is_reverse(&j->t, &x.rec.key, &y.rec.key)) {
		err = slot_add(j, a);
		return err ? err : slot_add(j, b);
	}
	if (j->n_vacant < 2 && told_grow(j))
		return -ENOMEM;
	what = tell(j, &x, a);
	if (flow_is_initiator(&x.rec, &y.rec))
		ipfix_add(j->x, &x.flow, what, &y.flow, tell(j, &y, b), &batch);
	else
		ipfix_add(j->x, &y.flow, tell(j, &y, b), &x.flow, what, &batch);
	return batch ? flows_send(j, batch) : 0;
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
		if (!flow_is_due(&j->reader, j->at))
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
 * The run.
 */
/* They are sent before any flow; where errors come late, committed with the first ones. */
static int options_send(struct job *j)
{
	auto_free struct ipfix_interface *interfaces = calloc(FLOW_PLACES, sizeof(*interfaces));
	auto_free struct ipfix_sampler *samplers = calloc(FLOW_PLACES, sizeof(*samplers));
	struct ipfix_options o;
	int err;

	if (!interfaces || !samplers)
		return fail_errno(-ENOMEM, "cannot export");
	err = flow_options_read(&j->reader, j->c, interfaces, samplers, &o);
	if (err)
		return err;
	err = ipfix_options(j->x, &o, &j->options);
	if (err)
		return fail_errno(err, "cannot export");
	err = batch_send(j, j->options);
	return err || j->what->target.kind == SINK_UDP ? err : settle(j);
}

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
	if (!err && j->options)
		err = settle(j);
	progress(j, true);
	return err ? err : sink_finish(j->sink);
}

/* A path whose MTU shrinks meanwhile: again, with messages that fit; what was not
 * committed is still to be sent. */
static int send_fitting(struct job *j)
{
	int err = -EMSGSIZE;

	for (int i = 0; err == -EMSGSIZE && i < MTU_TRIES; i++) {
		j->is_scanned = false;
		j->options = NULL;
		j->n_told = j->n_vacant = 0;
		err = send_all(j);
		sink_end(j);
	}
	if (err == -EMSGSIZE)
		return fail(err, "%s: the MTU of the path to it keeps shrinking", j->what->target.at.text);
	return err;
}

static void remember(struct job *j, int err)
{
	const char *name = j->what->collector, *instance = j->t.instance;
	bool is_default = !strcmp(instance, FLOW_KF);

	if (err)
		j->c->failed_at = (__u64)time(NULL);
	else
		j->c->succeeded_at = (__u64)time(NULL);
	j->c->failure = err == -E_USAGE ? -EINVAL : err == -E_LOCKED ? -EBUSY : err;
	if (err && !j->c->succeeded_at && !j->c->flows)
		warn("%s was never reached: flows are kept for it until it is, or until it is forgotten: "
		     "l3afctl flows collector remove %s%s%s", name, name, is_default ? "" : " instance ",
		     is_default ? "" : instance);
}

static int job_run(struct job *j)
{
	int err = collector_take(j), ret = 0;

	if (!err)
		err = flow_reader_init(&j->reader, &j->t, j->peer);
	if (err)
		return err;
	j->reader.is_dry = j->run->dry_run;
	j->reader.is_flush = j->what->is_flush;
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
	/* what other collectors were told counts also where this one was told nothing */
	if (err || j->reader.has_ended)
		ret = free_slots(j);
	flow_warn_full(&j->t, j->c);
	if (!err && !ret && j->behind_s)
		return fail(-ETIME, "%s: the clock is %llu s behind the last export: all was sent, with the Export Time of "
			    "that one", j->what->collector, j->behind_s);
	return err ? err : ret;
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
	free(j.told);
	free(j.vacant);
	flowtable_close(&j.t);
	return err;
}
