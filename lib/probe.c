/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>

#include "cleanup.h"
#include "probe.h"
#include "run.h"

#define AT_ONCE 512
#define BODY_MAX 1048576 /* of an answer; the rest is not waited for */

/* What is used of libcurl: these, called curl_NAME there. */
#define FUNCTIONS(F) F(global_init) F(easy_init) F(easy_setopt) F(easy_getinfo) F(easy_strerror) F(easy_cleanup) \
	F(slist_append) F(slist_free_all) F(multi_init) F(multi_add_handle) F(multi_remove_handle) F(multi_perform) \
	F(multi_poll) F(multi_info_read) F(multi_cleanup)
#define FIELD(name) __typeof__(curl_##name) *name;
/* setopt and getinfo are macros of that name */
struct curl { FUNCTIONS(FIELD) };

/* One on its way. */
struct flight {
	struct probe *probe;
	CURL *easy;
	struct curl_slist *to, *headers;
	size_t body;
	char error[CURL_ERROR_SIZE];
};

struct flights {
	const struct curl *curl;
	const struct probe_how *how;
	CURLM *multi;
	struct flight flight[AT_ONCE];
	int n;
};

/* It stays loaded: what it loaded in its turn may have set up things to be done at exit. */
static void *library(void)
{
	void *lib = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	const char *why = lib ? NULL : dlerror();
	char text[256];

	if (lib)
		return lib;
	snprintf(text, sizeof(text), "%s", why ? why : "cannot be loaded");
	lib = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		(void)fail(-ENOENT, "probes need libcurl (Debian: libcurl4): %s", text);
	return lib;
}

static int curl_load(struct curl *c)
{
	void *lib = library();
	const struct { const char *name; void **fn; } functions[] = {
#define ENTRY(name) { "curl_" #name, (void **)&c->name },
		FUNCTIONS(ENTRY)
	};

	if (!lib)
		return -ENOENT;
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		*functions[i].fn = dlsym(lib, functions[i].name);
		if (!*functions[i].fn)
			return fail(-ENOENT, "probes need libcurl 7.66 or later; this one has no %s", functions[i].name);
	}
	return c->global_init(CURL_GLOBAL_DEFAULT) ? fail(-EIO, "libcurl does not start") : 0;
}

/* Before it connects. Closed by a reset: thousands of probes leave no TIME_WAIT behind. */
static int socket_prepare(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	const struct linger at_once = { .l_onoff = 1 };
	struct probe *p = arg;
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_v4 = addr_is_v4(&p->source);
	int one = 1;

	(void)purpose;
	memcpy(&v4.sin_addr, p->source.b + 12, 4);
	memcpy(&v6.sin6_addr, p->source.b, 16);
	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &p->mark, sizeof(p->mark)) ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) ||
	    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)))
		p->err = -errno;
	else if (p->has_source && bind(fd, is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6,
				       is_v4 ? sizeof(v4) : sizeof(v6)))
		p->err = -errno;
	return p->err ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

static size_t body_pass(char *data, size_t size, size_t n, void *arg)
{
	struct flight *f = arg;

	(void)data;
	f->body += size * n;
	return f->body > BODY_MAX ? 0 : size * n;
}

/* "http://NAME:PORT/PATH", and where that is, whatever the name. */
static void url_make(const struct probe_how *how, const struct probe *p, char *url, size_t size, char to[96])
{
	const char *scheme = how->type == PROBE_HTTPS ? "https" : "http";
	char text[64], addr[64];

	format_addr(&p->to, text, sizeof(text));
	snprintf(addr, sizeof(addr), addr_is_v4(&p->to) ? "%s" : "[%s]", text);
	snprintf(to, 96, "::%s:%u", addr, p->port);
	snprintf(url, size, "%s://%s:%u%s", scheme, how->host ? how->host : addr, p->port, how->path);
}

static int flight_options(const struct flights *all, struct flight *f)
{
	__typeof__(curl_easy_setopt) *set = all->curl->easy_setopt;
	const struct probe_how *how = all->how;
	char url[1024], to[96];
	CURL *e = f->easy;

	url_make(how, f->probe, url, sizeof(url), to);
	f->to = all->curl->slist_append(NULL, to);
	f->headers = all->curl->slist_append(NULL, "Connection: close");
	if (!f->to || !f->headers)
		return -ENOMEM;
	/* a connection of its own each, whatever the environment says; the certificate is not asked for:
	 * it is the name's, not the backend's */
	if (set(e, CURLOPT_URL, url) || set(e, CURLOPT_CONNECT_TO, f->to) || set(e, CURLOPT_HTTPHEADER, f->headers) ||
	    set(e, CURLOPT_PROXY, "") || set(e, CURLOPT_NOPROXY, "*") || set(e, CURLOPT_NOSIGNAL, 1L) ||
	    set(e, CURLOPT_FRESH_CONNECT, 1L) || set(e, CURLOPT_FORBID_REUSE, 1L) ||
	    set(e, CURLOPT_TIMEOUT_MS, (long)((how->timeout_us + 999) / 1000)) ||
	    set(e, CURLOPT_ERRORBUFFER, f->error) || set(e, CURLOPT_PRIVATE, f) ||
	    set(e, CURLOPT_SOCKOPTFUNCTION, socket_prepare) || set(e, CURLOPT_SOCKOPTDATA, f->probe) ||
	    set(e, CURLOPT_WRITEFUNCTION, body_pass) || set(e, CURLOPT_WRITEDATA, f) ||
	    set(e, CURLOPT_USERAGENT, "l3afctl/" VERSION) || set(e, CURLOPT_PATH_AS_IS, 1L) ||
	    set(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) ||
	    (how->type == PROBE_TCP && set(e, CURLOPT_CONNECT_ONLY, 1L)))
		return -EINVAL;
	if (how->type == PROBE_HTTPS &&
	    (set(e, CURLOPT_SSL_VERIFYPEER, 0L) || set(e, CURLOPT_SSL_VERIFYHOST, 0L) ||
	     set(e, CURLOPT_SSL_SESSIONID_CACHE, 0L)))
		return -EOPNOTSUPP;
	return 0;
}

static void flight_end(const struct curl *c, struct flight *f)
{
	c->easy_cleanup(f->easy);
	c->slist_free_all(f->to);
	c->slist_free_all(f->headers);
	*f = (struct flight){ 0 };
}

static int flight_start(struct flights *all, struct probe *p)
{
	struct flight *f = all->flight;
	int err;

	while (f->easy)
		f++;
	*f = (struct flight){ .probe = p, .easy = all->curl->easy_init() };
	err = f->easy ? flight_options(all, f) : -ENOMEM;
	if (!err && all->curl->multi_add_handle(all->multi, f->easy))
		err = -ENOMEM;
	if (err) {
		flight_end(all->curl, f);
		return fail_errno(err, "libcurl");
	}
	all->n++;
	return 0;
}

/* What comes from the network may be anything. */
static void why_set(struct probe *p, const char *text)
{
	size_t n = 0;

	for (; *text && n < sizeof(p->why) - 1; text++)
		p->why[n++] = *text >= ' ' && *text < 0x7f ? *text : '?';
	p->why[n] = '\0';
}

static void judge(const struct flights *all, struct flight *f, CURLcode code)
{
	const struct curl *c = all->curl;
	struct probe *p = f->probe;
	long status = 0, os = 0;
	curl_off_t took = 0, connected = 0;
	char text[CURL_ERROR_SIZE];

	c->easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	c->easy_getinfo(f->easy, CURLINFO_OS_ERRNO, &os);
	c->easy_getinfo(f->easy, CURLINFO_TOTAL_TIME_T, &took);
	c->easy_getinfo(f->easy, CURLINFO_CONNECT_TIME_T, &connected);
	p->took_us = (__u32)took;
	if (code == CURLE_WRITE_ERROR && f->body > BODY_MAX)
		code = CURLE_OK;
	if (code == CURLE_OK && all->how->type != PROBE_TCP) {
		p->is_ok = all->how->expect ? status == (long)all->how->expect : status >= 200 && status < 300;
		snprintf(text, sizeof(text), "status %ld", status);
	} else if (code == CURLE_OK) {
		p->is_ok = true;
	} else if (code == CURLE_OPERATION_TIMEDOUT) {
		snprintf(text, sizeof(text), "%s in time", connected ? "connected, but no answer" : "no connection");
	} else if (code == CURLE_COULDNT_CONNECT && os) {
		snprintf(text, sizeof(text), "%s", strerror((int)os));
	} else {
		snprintf(text, sizeof(text), "%s", f->error[0] ? f->error : c->easy_strerror(code));
	}
	why_set(p, p->is_ok ? "" : text);
}

static void landed(struct flights *all)
{
	struct timespec t;
	CURLMsg *m;
	char *of;
	int left;

	while ((m = all->curl->multi_info_read(all->multi, &left))) {
		struct flight *f;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		all->curl->easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &of);
		f = (struct flight *)(void *)of;
		clock_gettime(CLOCK_REALTIME, &t);
		f->probe->at_ms = (__u64)t.tv_sec * 1000 + (__u64)t.tv_nsec / 1000000;
		judge(all, f, code);
		all->curl->multi_remove_handle(all->multi, f->easy);
		flight_end(all->curl, f);
		all->n--;
	}
}

static int fly(struct flights *all, struct probe *probes, int n)
{
	int started = 0, running;

	while (started < n || all->n) {
		while (started < n && all->n < AT_ONCE) {
			int err = flight_start(all, &probes[started++]);

			if (err)
				return err;
		}
		if (all->curl->multi_perform(all->multi, &running))
			return fail(-EIO, "libcurl fails");
		landed(all);
		if (all->n && all->curl->multi_poll(all->multi, NULL, 0, 100, NULL))
			return fail(-EIO, "libcurl fails");
	}
	for (int i = 0; i < n; i++)
		if (probes[i].err)
			return fail_errno(probes[i].err, "a probe's socket");
	return 0;
}

int probe_all(const struct probe_how *how, struct probe *probes, int n)
{
	auto_free struct flights *all = calloc(1, sizeof(*all));
	struct curl curl;
	int err = all ? curl_load(&curl) : fail_errno(-ENOMEM, "probes");

	if (err)
		return err;
	all->curl = &curl;
	all->how = how;
	all->multi = curl.multi_init();
	err = all->multi ? fly(all, probes, n) : fail_errno(-ENOMEM, "probes");
	for (struct flight *f = all->flight; f < all->flight + AT_ONCE; f++)
		if (f->easy) {
			curl.multi_remove_handle(all->multi, f->easy);
			flight_end(&curl, f);
		}
	curl.multi_cleanup(all->multi);
	return err;
}
