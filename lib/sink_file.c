/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "ipfixread.h"
#include "sinkops.h"

#define PATIENCE_MS 10000 /* for whoever reads a FIFO */
#define BATCH_MESSAGES 4  /* of 65535 octets: what a processor's cache holds */

/*
 * A regular file that exports append to: file_size of struct flow_collector is where the
 * last committed batch ends, file_pending is set while octets are written behind that. A
 * run killed meanwhile leaves such octets; the next run cuts them off, as it exports the
 * same flows again.
 */
struct file {
	struct sink sink;
	char path[PATH_MAX];
	bool is_regular, has_signals;
	struct sigaction pipe, xfsz; /* as they were */
};

/* What tells a file from another that has its number later. */
struct identity {
	__u64 dev, ino, born, size;
	mode_t mode;
};

static int identify(int fd, struct identity *id)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &x))
		return -errno;
	*id = (struct identity){
		.dev = makedev(x.stx_dev_major, x.stx_dev_minor),
		.ino = x.stx_ino,
		.size = x.stx_size,
		.mode = x.stx_mode,
	};
	if (x.stx_mask & STATX_BTIME)
		id->born = (__u64)x.stx_btime.tv_sec * 1000000000 + x.stx_btime.tv_nsec;
	return 0;
}

static bool is_same(const struct identity *id, const struct flow_collector *c)
{
	return id->dev == c->file_dev && id->ino == c->file_ino && id->born == c->file_born;
}

/* The path that a pattern stands for at that time; one without patterns is itself. */
static int expand(const char *pattern, time_t at, char *path, size_t size)
{
	struct tm tm;
	size_t n = 0;

	if (!strchr(pattern, '%'))
		n = (size_t)snprintf(path, size, "%s", pattern);
	else if (localtime_r(&at, &tm))
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		n = strftime(path, size, pattern, &tm);
#pragma GCC diagnostic pop
	if (n && n < size)
		return 0;
	return fail(-E_USAGE, "%s: stands for no path of at most %zu octets", pattern, size - 1);
}

/* err of open(2) and the like: what is wrong with the path is a mistake in the words. */
static int fail_path(const char *path, int err)
{
	static const struct {
		int err;
		const char *text;
	} meanings[] = {
		{ ENOENT, "its directory does not exist" },
		{ ENOTDIR, "its directory is not a directory" },
		{ EISDIR, "is a directory" },
		{ EACCES, "permission denied" },
		{ EPERM, "must not be written to" },
		{ EROFS, "is on a read-only file system" },
		{ ELOOP, "has too many symbolic links" },
		{ ENAMETOOLONG, "is too long" },
		{ ETXTBSY, "is being executed" },
	};

	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].err == -err)
			return fail(-E_USAGE, "%s: %s", path, meanings[i].text);
	if (err == -ENXIO)
		return fail(err, "%s: nobody reads it", path);
	return fail_errno(err, "%s", path);
}

/* Whether open would do, as far as can be told without making or opening anything. */
static int try_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX] = ".";
	struct stat st;

	if (!stat(path, &st)) {
		if (S_ISDIR(st.st_mode))
			return -EISDIR;
		return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) ? -errno : 0;
	}
	if (errno != ENOENT)
		return -errno;
	if (slash && !slash[1])
		return -EISDIR;
	if (slash)
		snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	return faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) ? -errno : 0;
}

static int fail_locked(const char *path)
{
	return fail(-E_LOCKED, "%s: another command is writing it", path);
}

/* What follows the last commit may be what another instance has appended since, of a
 * domain of its own. */
static bool is_own(int fd, const struct flow_collector *c, __u64 end)
{
	struct { __u16 version, length; __u32 time, sequence, domain; } header;

	for (__u64 at = c->file_size; at < end; at += ntohs(header.length)) {
		if (pread(fd, &header, sizeof(header), (off_t)at) < (ssize_t)sizeof(header))
			return true;
		if ((header.domain && ntohl(header.domain) != c->domain) || ntohs(header.length) < sizeof(header))
			return false;
	}
	return true;
}

/* Cut off what a killed run left; only as much as it can have been. */
static int drop_leftover(const struct file *f)
{
	struct flow_collector *c = f->sink.c;
	auto_fd int fd = -1;
	char path[PATH_MAX];
	struct identity id;

	if (!c->file_pending)
		return 0;
	if (!expand(f->sink.target->path, (time_t)c->file_at, path, sizeof(path)))
		fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return fail_locked(path);
	if (fd >= 0 && !identify(fd, &id) && is_same(&id, c) && id.size > c->file_size &&
	    id.size - c->file_size <= c->file_pending && is_own(fd, c, id.size) && ftruncate(fd, (off_t)c->file_size))
		warn("%s: cannot remove what a killed run wrote last, which will be in it twice", path);
	c->file_pending = 0;
	return 0;
}

/* The sequence number to go on with in a file that somebody else has written to, or a
 * collector of which this kernel knows nothing any more. */
static int read_on(const struct file *f)
{
	auto_fd int fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct flow_collector *c = f->sink.c;
	__u64 whole = 0;
	int err = fd < 0 ? -errno : ipfix_read_sequence(fd, c->domain, &c->sequence, &whole);

	if (!err)
		err = ipfix_read_sequence(fd, 0, &c->options_sequence, &whole);
	if (err == -ENODATA)
		return fail(-E_USAGE, "%s: ends within a message, which somebody else wrote; mend it: "
			    "truncate -s %llu %s", f->path, whole, f->path);
	if (err == -EBADMSG)
		return fail(-E_USAGE, "%s: is no IPFIX file (at octet %llu)", f->path, whole);
	return err ? fail_path(f->path, err) : 0;
}

/* Somebody else's file is one that can be gone on with. */
static int try_content(const struct file *f)
{
	const struct flow_collector *c = f->sink.c;
	auto_fd int fd = -1;
	struct identity id;
	struct stat st;

	if (stat(f->path, &st) || !S_ISREG(st.st_mode) || !st.st_size)
		return 0;
	fd = open(f->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	/* one that is being written will be looked at when it is opened */
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) || identify(fd, &id))
		return 0;
	return is_same(&id, c) && (id.size == c->file_size || c->file_pending) ? 0 : read_on(f);
}

static int regular_open(struct file *f, const struct identity *id, __u64 at)
{
	struct flow_collector *c = f->sink.c;
	int err = 0;

	if (flock(f->sink.fd, LOCK_EX | LOCK_NB))
		return errno == EWOULDBLOCK ? fail_locked(f->path) : fail_path(f->path, -errno);
	if (!id->size)
		c->sequence = c->options_sequence = 0;
	else if (!is_same(id, c) || id->size != c->file_size)
		err = read_on(f);
	if (err)
		return err;
	if (lseek(f->sink.fd, (off_t)id->size, SEEK_SET) < 0)
		return fail_path(f->path, -errno);
	c->file_size = id->size;
	c->file_dev = id->dev;
	c->file_ino = id->ino;
	c->file_born = id->born;
	c->file_at = at;
	return 0;
}

/* Where nobody reads or a file grows too large, that is an error, no end. */
static void ignore_signals(struct file *f)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };

	f->has_signals = !sigaction(SIGPIPE, &ignore, &f->pipe) && !sigaction(SIGXFSZ, &ignore, &f->xfsz);
}

static int file_open(struct sink *s)
{
	struct file *f = (struct file *)s;
	time_t now = time(NULL);
	struct identity id;
	int err = expand(s->target->path, now, f->path, sizeof(f->path));

	if (err)
		return err;
	s->message_most = IPFIX_MESSAGE_MOST;
	s->batch_messages = BATCH_MESSAGES;
	if (s->is_trial) {
		err = try_path(f->path);
		return err ? fail_path(f->path, err) : try_content(f);
	}
	ignore_signals(f);
	err = drop_leftover(f);
	if (err)
		return err;
	s->fd = open(f->path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
	err = s->fd < 0 ? -errno : identify(s->fd, &id);
	if (err)
		return fail_path(f->path, err);
	f->is_regular = S_ISREG(id.mode);
	if (f->is_regular)
		return regular_open(f, &id, (__u64)now);
	s->c->sequence = s->c->options_sequence = 0;
	s->c->file_size = s->c->file_dev = s->c->file_ino = s->c->file_born = 0;
	return 0;
}

static int wait_writable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int n = poll(&p, 1, PATIENCE_MS);

	return n < 0 && errno != EINTR ? -errno : n ? 0 : -ETIMEDOUT;
}

static int write_all(int fd, const __u8 *at, size_t size)
{
	int err = 0;

	while (!err && size) {
		ssize_t n = write(fd, at, size);

		if (n >= 0) {
			at += n;
			size -= (size_t)n;
		} else if (errno == EAGAIN) {
			err = wait_writable(fd);
		} else if (errno != EINTR) {
			err = -errno;
		}
	}
	return err;
}

static int file_send(struct sink *s, const struct ipfix_batch *b)
{
	struct file *f = (struct file *)s;
	int err;

	if (f->is_regular)
		__atomic_store_n(&s->c->file_pending, s->c->file_pending + b->size, __ATOMIC_SEQ_CST);
	err = write_all(s->fd, b->bytes, b->size);
	if (!err)
		return 0;
	if (f->is_regular && !ftruncate(s->fd, (off_t)s->c->file_size))
		s->c->file_pending = 0;
	if (err == -ETIMEDOUT)
		return fail(err, "%s: its reader has read nothing for %d s", f->path, PATIENCE_MS / 1000);
	if (err == -EPIPE)
		return fail(err, "%s: nobody reads it any more", f->path);
	return fail_errno(err, "%s", f->path);
}

static void file_commit(struct sink *s)
{
	struct file *f = (struct file *)s;

	if (!f->is_regular)
		return;
	__atomic_store_n(&s->c->file_size, s->c->file_size + s->c->file_pending, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->c->file_pending, 0, __ATOMIC_SEQ_CST);
}

/* Some file systems tell only now that nothing fits. */
static int file_finish(struct sink *s)
{
	const struct file *f = (const struct file *)s;
	int fd = take_fd(&s->fd);

	return close(fd) ? fail_errno(-errno, "%s", f->path) : 0;
}

static void file_close(struct sink *s)
{
	const struct file *f = (const struct file *)s;

	if (!f->has_signals)
		return;
	sigaction(SIGPIPE, &f->pipe, NULL);
	sigaction(SIGXFSZ, &f->xfsz, NULL);
}

const struct sink_ops sink_file = {
	.size = sizeof(struct file),
	.open = file_open,
	.send = file_send,
	.commit = file_commit,
	.finish = file_finish,
	.close = file_close,
};
