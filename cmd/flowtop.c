/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flows top: the busiest flows, every second anew on a terminal. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "bpffs.h"
#include "cleanup.h"
#include "cmd.h"
#include "flows.h"
#include "flowview.h"
#include "text.h"

#define LIMIT_ONCE 10
#define PERIOD_US 1000000
#define WIDE_FROM 120 /* columns of the terminal */

static const struct column columns[] = {
	{ .key = "octets_per_second", .head = "OCTETS/S", .type = COL_U64, .width = 11 },
	{ .key = "packets_per_second", .head = "PACKETS/S", .type = COL_U64, .width = 9 },
	{ .key = "octets", .head = "OCTETS", .type = COL_U64, .wide = true, .width = 15 },
	{ .key = "packets", .head = "PACKETS", .type = COL_U64, .wide = true, .width = 12 },
	{ .key = "dev", .head = "DEV", .type = COL_STR, .width = 6 },
	{ .key = "direction", .head = "DIR", .type = COL_STR, .width = 3 },
	{ .key = "flow", .head = "FLOW", .type = COL_STR },
	{ 0 },
};

/*
 * The terminal.
 */
struct screen {
	struct termios saved;
	bool has_keys;       /* standard input is the terminal too: saved is valid */
	bool is_plain;       /* no attributes */
	int signals;         /* a signalfd */
	sigset_t mask;       /* before it */
};

static int put(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDOUT_FILENO, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= (size_t)n;
	}
	return 0;
}

#define ENTER "\033[?1049h\033[?25l"
#define LEAVE "\033[?25h\033[?1049l"

static int screen_enter(struct screen *s)
{
	struct termios raw = s->saved;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	if (s->has_keys && tcsetattr(STDIN_FILENO, TCSANOW, &raw))
		return -errno;
	return put(ENTER, strlen(ENTER));
}

static int screen_leave(const struct screen *s)
{
	int err = put(LEAVE, strlen(LEAVE));

	if (s->has_keys && tcsetattr(STDIN_FILENO, TCSANOW, &s->saved))
		err = err ? err : -errno;
	return err;
}

static int screen_open(struct screen *s)
{
	const char *plain = getenv("NO_COLOR");
	sigset_t mask;

	*s = (struct screen){ .signals = -1, .is_plain = plain && *plain };
	s->has_keys = !tcgetattr(STDIN_FILENO, &s->saved);
	sigemptyset(&mask);
	for (const int *sig = (const int[]){ SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH, 0 }; *sig; sig++)
		sigaddset(&mask, *sig);
	if (sigprocmask(SIG_BLOCK, &mask, &s->mask))
		return -errno;
	s->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals >= 0)
		return screen_enter(s);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	return -errno;
}

static int screen_close(struct screen *s)
{
	int err = screen_leave(s);

	cleanup_fd(&s->signals);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	return err;
}

static struct winsize screen_size(void)
{
	struct winsize w;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_row || !w.ws_col)
		return (struct winsize){ .ws_row = 24, .ws_col = 80 };
	return w;
}

/* Stop as Ctrl-Z wants it, and go on. */
static int screen_suspend(struct screen *s)
{
	int err = screen_leave(s);

	raise(SIGSTOP);
	return err ? err : screen_enter(s);
}

enum event { EVENT_TICK, EVENT_REDRAW, EVENT_QUIT, EVENT_KILLED };

/* *sig: by which signal it was killed. */
static int signal_event(struct screen *s, int *sig)
{
	struct signalfd_siginfo info;
	int err;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return EVENT_REDRAW;
	*sig = (int)info.ssi_signo;
	if (*sig == SIGTSTP) {
		err = screen_suspend(s);
		return err ? err : EVENT_REDRAW;
	}
	return *sig == SIGWINCH ? EVENT_REDRAW : *sig == SIGINT ? EVENT_QUIT : EVENT_KILLED;
}

static enum event key_event(void)
{
	char key;
	ssize_t n = read(STDIN_FILENO, &key, 1);

	return n <= 0 || key == 'q' || key == 'Q' || key == 4 ? EVENT_QUIT : EVENT_REDRAW;
}

/* An enum event, or an error. */
static int screen_wait(struct screen *s, __u64 until_us, int *sig)
{
	struct pollfd fds[] = { { .fd = s->signals, .events = POLLIN },
				{ .fd = s->has_keys ? STDIN_FILENO : -1, .events = POLLIN } };
	__u64 now = run_now_us();
	int n = poll(fds, 2, now < until_us ? (int)((until_us - now + 999) / 1000) : 0);

	if (n < 0)
		return errno == EINTR ? EVENT_REDRAW : -errno;
	if (fds[0].revents)
		return signal_event(s, sig);
	return fds[1].revents ? key_event() : EVENT_TICK;
}

/*
 * What is shown.
 */
struct view {
	const struct run *run;
	const char *instance;
	struct flow_query query;
	struct flow_rates rates;
	struct netns self;
	/* while a frame is made */
	const struct flowtable *t;
	struct table *table;
	/* the latest frame, lines in full */
	char *text;
	size_t size;
};

static int row_add(const struct flow_rec *rec, __u32 slot, void *arg)
{
	struct view *v = arg;
	const struct flow_reading *r = &v->rates.slot[slot];
	char text[FLOW_TUPLE_LEN];
	const struct flow_place *place;

	if (slot >= v->rates.n || rec->key.place >= FLOW_PLACES)
		return 0;
	place = &v->t->place[rec->key.place];
	table_row(v->table);
	if (v->rates.span_us) {
		table_u64(v->table, "octets_per_second", flow_rate(&v->rates, r->more_octets));
		table_u64(v->table, "packets_per_second", flow_rate(&v->rates, r->more_packets));
	}
	table_u64(v->table, "octets", rec->octets);
	table_u64(v->table, "packets", rec->packets);
	table_str(v->table, "dev", "%s", flow_format_dev(place, &v->self, text, sizeof(text)));
	table_str(v->table, "direction", "%s", place->direction == FLOW_INGRESS ? "in" : "out");
	table_str(v->table, "flow", "%s", flow_format(&rec->key, text, sizeof(text)));
	return 0;
}

static void head_line(FILE *f, const struct view *v)
{
	const struct flow_rates *r = &v->rates;

	fprintf(f, "q quits; %llu of %u flows", r->flows, v->t->max);
	if (r->span_us)
		fprintf(f, ", %llu new/s, %llu packets/s, %llu octets/s", flow_rate(r, r->new_flows),
			flow_rate(r, r->packets), flow_rate(r, r->octets));
	putc('\n', f);
}

/* The frame's lines to f. */
static int frame_print(struct view *v, FILE *f)
{
	struct winsize w = screen_size();
	struct run run = *v->run;
	struct flow_query q = v->query;
	__u32 fit = w.ws_row > 2 ? w.ws_row - 2 : 1;

	run.json = false;
	run.verbose = w.ws_col >= WIDE_FROM;
	q.match.self = v->self;
	q.rates = &v->rates;
	if (!q.limit || q.limit > fit)
		q.limit = fit;
	if (!v->rates.span_us && q.by == FLOW_BY_RATE)
		q.by = FLOW_BY_OCTETS;
	head_line(f, v);
	auto_table struct table *t = v->table = table_stream(&run, columns, f);
	int err = flow_walk(v->t, &q, row_add, v);
	return err ? fail_errno(err, "cannot list the flows") : table_print(&run, t);
}

/* A new reading of the table, and its frame. */
static int frame_make(struct view *v)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int has = flows_open(v->run, v->instance, NULL, &t), err = 0;
	FILE *f;

	if (has < 0)
		return has;
	free(v->text);
	v->text = NULL;
	f = open_memstream(&v->text, &v->size);
	if (!f)
		return fail_errno(-ENOMEM, "flows top");
	v->t = &t;
	if (!has)
		fputs("q quits; no flows are counted\n", f);
	else
		err = flow_rates_read(&v->rates, &t) ? fail_errno(-ENOMEM, "flows top") : frame_print(v, f);
	if (fclose(f) && !err)
		err = fail_errno(-ENOMEM, "flows top");
	return err;
}

/* A line, cut where the screen ends. */
static void line_put(FILE *f, const char *line, size_t len, int width)
{
	const char *end = line + len;
	int room = width;
	__u32 c;

	for (const char *p = line; p < end; room--) {
		int n = text_next(p, &c);

		if (room == 1 && p + n < end) {
			putc('>', f);
			room = 0;
			break;
		}
		fwrite(p, 1, (size_t)n, f);
		p += n;
	}
	if (room > 0) /* behind the last column it would take that away */
		fputs("\033[K", f);
}

/* One write, so that nothing is ever seen half drawn: lines replace lines. */
static int frame_show(const struct screen *s, const struct view *v)
{
	struct winsize w = screen_size();
	auto_free char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);
	int row = 0;

	if (!f)
		return -ENOMEM;
	fputs("\033[H", f);
	for (const char *line = v->text; *line && row < w.ws_row; row++) {
		size_t len = strcspn(line, "\n");

		fputs(row ? "\n" : "", f);
		fputs(row == 1 && !s->is_plain ? "\033[7m" : "", f);
		line_put(f, line, len, w.ws_col);
		fputs(row == 1 && !s->is_plain ? "\033[0m" : "", f);
		line += len + (line[len] == '\n');
	}
	fputs("\033[J", f);
	return fclose(f) ? -ENOMEM : put(out, size);
}

/* Until a key or signal ends it: an enum event, or an error that was printed. */
static int watch(struct screen *s, struct view *v, int *sig)
{
	int event = EVENT_TICK, err = 0;
	__u64 next = run_now_us();

	while (!err && event != EVENT_QUIT && event != EVENT_KILLED) {
		if (event == EVENT_TICK) {
			err = frame_make(v);
			if (err)
				return err;
			next += PERIOD_US;
			if (next < run_now_us())
				next = run_now_us() + PERIOD_US;
		}
		err = frame_show(s, v);
		if (!err)
			event = screen_wait(s, next, sig);
		if (event < 0)
			err = event;
	}
	return err ? fail_errno(err, "the terminal") : event;
}

static bool is_terminal(void)
{
	const char *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb");
}

/* Wrong words are said before the screen is taken. */
static int flows_check(const struct run *run, const char *instance)
{
	auto_flowtable struct flowtable t = FLOWTABLE_INIT;
	int has = flows_open(run, instance, NULL, &t);

	return has < 0 ? has : 0;
}

int flows_top_run(const struct run *run, const char *instance, struct flow_query *q)
{
	struct view v = { .run = run, .instance = instance, .query = *q };
	struct screen s;
	int event, err, sig = 0;

	if (run->json || !is_terminal()) {
		q->limit = q->limit ? q->limit : LIMIT_ONCE;
		return flows_list_print(run, instance, q);
	}
	err = flows_check(run, instance);
	if (err)
		return err;
	err = netns_self(&v.self);
	if (!err)
		err = screen_open(&s);
	if (err)
		return fail_errno(err, "the terminal");
	event = watch(&s, &v, &sig);
	err = screen_close(&s);
	flow_rates_free(&v.rates);
	free(v.text);
	if (event == EVENT_KILLED)
		raise(sig);
	if (event < 0 && isatty(STDERR_FILENO)) /* the message went with the screen */
		return fail_errno(event, "flows top has ended");
	return event < 0 ? event : err ? fail_errno(err, "the terminal") : 0;
}
