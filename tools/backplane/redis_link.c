/* SPDX-License-Identifier: MIT
 *
 * redis_link.c - see redis_link.h.
 */
#include "redis_link.h"

#ifdef BACKPLANE_REDIS

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_MS 2000
#define REPLY_MS 3000
#define READ_SIZE ((size_t)64 << 10)

static uint64_t now_ms(void)
{
	struct timespec now = { 0 };
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct redis_word redis_text(const char *text)
{
	return (struct redis_word){ text, strlen(text) };
}

static int fail(struct redis_link *link, int code, char why[static ENGINE_WHY_SIZE], const char *words)
{
	snprintf(why, ENGINE_WHY_SIZE, "%.150s", words);
	redis_link_close(link);
	return code;
}

void redis_link_close(struct redis_link *link)
{
	if (link->tls)
		SSL_free(link->tls);
	if (link->fd >= 0)
		close(link->fd);
	if (link->reader)
		redisReaderFree(link->reader);
	free(link->out);
	link->tls = NULL;
	link->reader = NULL;
	link->out = NULL;
	link->out_at = link->out_size = link->out_room = 0;
	link->fd = -1;
}

/* ---- bytes ---- */

/* Returns 0 when the socket is ready, -ETIMEDOUT, or -EINTR when woken. */
static int wait_for(const struct redis_link *link, short events, uint64_t until_ms, int wake_fd)
{
	for (;;) {
		uint64_t now = now_ms();
		struct pollfd asked[2] = { { .fd = link->fd, .events = events }, { .fd = wake_fd, .events = POLLIN } };
		int count = poll(asked, wake_fd >= 0 ? 2 : 1, now < until_ms ? (int)(until_ms - now) : 0);
		if (count < 0 && errno != EINTR)
			return -errno;
		if (count > 0 && asked[0].revents)
			return 0;
		if (count > 0)
			return -EINTR;
		if (count == 0)
			return -ETIMEDOUT;
	}
}

/* What TLS says of its last call: the events to wait for, or 0 when the connection is over. */
static short wanted(const SSL *tls, int result)
{
	int error = SSL_get_error(tls, result);
	return error == SSL_ERROR_WANT_READ ? POLLIN : error == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

/* One try. Returns bytes, 0 at the end, -EAGAIN with *events set, or a negative errno. */
static ssize_t give(const struct redis_link *link, const char *bytes, size_t size, short *events)
{
	*events = POLLOUT;
	if (link->tls) {
		ERR_clear_error();
		int result = SSL_write(link->tls, bytes, size > INT32_MAX ? INT32_MAX : (int)size);
		if (result > 0)
			return result;
		*events = wanted(link->tls, result);
		return *events ? -EAGAIN : -ECONNRESET;
	}
	ssize_t sent = send(link->fd, bytes, size, MSG_NOSIGNAL);
	return sent < 0 ? (errno == EINTR ? -EAGAIN : -errno) : sent;
}

static ssize_t take(const struct redis_link *link, char *bytes, size_t size, short *events)
{
	*events = POLLIN;
	if (link->tls) {
		ERR_clear_error();
		int result = SSL_read(link->tls, bytes, (int)size);
		if (result > 0)
			return result;
		*events = wanted(link->tls, result);
		return *events ? -EAGAIN : 0;
	}
	ssize_t got = recv(link->fd, bytes, size, MSG_DONTWAIT);
	return got < 0 ? (errno == EINTR ? -EAGAIN : -errno) : got;
}

int redis_link_put(struct redis_link *link, const struct redis_word *words, unsigned count)
{
	enum { WORDS_MAX = 32 };
	const char *texts[WORDS_MAX];
	size_t sizes[WORDS_MAX];
	char *command;
	if (count > WORDS_MAX)
		return -E2BIG;
	for (unsigned i = 0; i < count; i++) {
		texts[i] = words[i].text;
		sizes[i] = words[i].size;
	}
	long long size = redisFormatCommandArgv(&command, (int)count, texts, sizes);
	if (size < 0)
		return -ENOMEM;
	if (!link->out || link->out_size + (size_t)size > link->out_room) {
		size_t room = 2 * (link->out_size + (size_t)size);
		char *out = realloc(link->out, room);
		if (!out) {
			redisFreeCommand(command);
			return -ENOMEM;
		}
		link->out = out;
		link->out_room = room;
	}
	memcpy(link->out + link->out_size, command, (size_t)size);
	link->out_size += (size_t)size;
	redisFreeCommand(command);
	return 0;
}

int redis_link_flush(struct redis_link *link, char why[static ENGINE_WHY_SIZE])
{
	uint64_t until_ms = now_ms() + REPLY_MS;
	while (link->out_at < link->out_size) {
		short events;
		ssize_t sent = give(link, link->out + link->out_at, link->out_size - link->out_at, &events);
		if (sent == -EAGAIN)
			sent = wait_for(link, events, until_ms, -1);
		else if (sent == 0)
			sent = -ECONNRESET;
		else if (sent > 0)
			link->out_at += (size_t)sent;
		if (sent < 0)
			return fail(link, (int)sent, why, strerror((int)-sent));
	}
	link->out_size = link->out_at = 0;
	return 0;
}

/* What goes wrong is found by who flushes. */
void redis_link_nudge(struct redis_link *link)
{
	short events;
	ssize_t sent = give(link, link->out + link->out_at, link->out_size - link->out_at, &events);
	if (sent > 0)
		link->out_at += (size_t)sent;
	if (link->out_at == link->out_size)
		link->out_size = link->out_at = 0;
}

int redis_link_reply(struct redis_link *link, redisReply **reply, unsigned timeout_ms, int wake_fd,
                     char why[static ENGINE_WHY_SIZE])
{
	uint64_t until_ms = now_ms() + timeout_ms;
	char *bytes = NULL;
	int code = 0;
	for (;;) {
		void *got = NULL;
		short events;
		if (redisReaderGetReply(link->reader, &got) != REDIS_OK) {
			code = fail(link, -EPROTO, why, link->reader->errstr);
			break;
		}
		if (got) {
			*reply = got;
			break;
		}
		if (!bytes && !(bytes = malloc(READ_SIZE))) {
			code = fail(link, -ENOMEM, why, "no memory");
			break;
		}
		ssize_t size = take(link, bytes, READ_SIZE, &events);
		if (size == 0)
			code = fail(link, -ECONNRESET, why, "the server has closed the connection");
		else if (size == -EAGAIN)
			code = wait_for(link, events, until_ms, wake_fd);
		else if (size < 0)
			code = fail(link, (int)size, why, strerror((int)-size));
		else
			redisReaderFeed(link->reader, bytes, (size_t)size);
		if (code == -ETIMEDOUT || code == -EINTR || link->fd < 0)
			break;
		if (code) {
			code = fail(link, code, why, strerror(-code));
			break;
		}
	}
	free(bytes);
	return code;
}

redisReply *redis_link_ask(struct redis_link *link, const struct redis_word *words, unsigned count, int *code,
                           char why[static ENGINE_WHY_SIZE])
{
	redisReply *reply = NULL;
	*code = redis_link_put(link, words, count);
	if (!*code)
		*code = redis_link_flush(link, why);
	if (!*code)
		*code = redis_link_reply(link, &reply, REPLY_MS, -1, why);
	if (*code == -ETIMEDOUT)
		fail(link, *code, why, "the server does not answer");
	return reply;
}

/* ---- connecting ---- */

int redis_where_read(struct redis_where *where, const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const known[] = { "prefix", "keep", "plain", "sentinel", "sentinel-password",
		                             "ca",     "cert", "key",   "insecure", NULL };
	const char *unknown = backplane_url_unknown(url, known), *path = url->path, *end;
	bool sentinels = strstr(url->scheme, "-sentinel");
	*where = (struct redis_where){ .url = url,
		                       .tls = !strncmp(url->scheme, "rediss", 6),
		                       .sentinel = backplane_url_value(url, "sentinel", NULL),
		                       .sentinel_password = backplane_url_value(url, "sentinel-password", NULL),
		                       .ca = backplane_url_value(url, "ca", NULL),
		                       .certificate = backplane_url_value(url, "cert", NULL),
		                       .key = backplane_url_value(url, "key", NULL),
		                       .insecure = !strcmp(backplane_url_value(url, "insecure", "0"), "1") };
	if (unknown)
		return snprintf(
			   wrong, ENGINE_WHY_SIZE,
			   "unknown %.40s=: expected prefix, keep, plain, sentinel, sentinel-password, ca, cert, key, "
			   "insecure",
			   unknown),
		       -EINVAL;
	/* MASTER[/DB] of a URL of sentinels; the words are kept where they stand. */
	if (sentinels && *path) {
		end = path + strcspn(path, "/");
		where->sentinel = path;
		path = *end ? end + 1 : end;
	}
	if (sentinels && (!where->sentinel || !*where->sentinel))
		return snprintf(wrong, ENGINE_WHY_SIZE,
		                "sentinels are asked for a master by its name: %s://HOST:PORT/NAME", url->scheme),
		       -EINVAL;
	where->database = strtoul(*path ? path : "0", (char **)&end, 10);
	if (*end || where->database > 65535 || (*path && (*path < '0' || *path > '9')))
		return snprintf(wrong, ENGINE_WHY_SIZE, "the path is the number of a database, as /0, and not /%.40s",
		                path),
		       -EINVAL;
	if (!where->tls && (where->ca || where->certificate || where->key || where->insecure))
		return snprintf(wrong, ENGINE_WHY_SIZE, "ca, cert, key and insecure are for rediss://"), -EINVAL;
	if (!where->certificate != !where->key)
		return snprintf(wrong, ENGINE_WHY_SIZE, "cert and key go together"), -EINVAL;
	return 0;
}

SSL_CTX *redis_tls_new(const struct redis_where *where, char why[static ENGINE_WHY_SIZE])
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	const char *file = NULL;
	if (!context)
		return snprintf(why, ENGINE_WHY_SIZE, "no memory"), NULL;
	SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_verify(context, where->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (where->ca ? !SSL_CTX_load_verify_locations(context, where->ca, NULL)
	              : !SSL_CTX_set_default_verify_paths(context))
		file = where->ca ? where->ca : "the system's certificates";
	else if (where->certificate && !SSL_CTX_use_certificate_chain_file(context, where->certificate))
		file = where->certificate;
	else if (where->key && !SSL_CTX_use_PrivateKey_file(context, where->key, SSL_FILETYPE_PEM))
		file = where->key;
	if (!file)
		return context;
	snprintf(why, ENGINE_WHY_SIZE, "%.120s cannot be used: expected a file in PEM form", file);
	SSL_CTX_free(context);
	return NULL;
}

static int connect_to(struct redis_link *link, const char *host, unsigned port, char why[static ENGINE_WHY_SIZE])
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list = NULL;
	char service[16];
	snprintf(service, sizeof service, "%u", port);
	int code = getaddrinfo(host, service, &hints, &list);
	if (code)
		return snprintf(why, ENGINE_WHY_SIZE, "%.80s: %s", host, gai_strerror(code)), -ENXIO;
	code = -ENXIO;
	for (const struct addrinfo *at = list; at && code; at = at->ai_next) {
		const int one = 1;
		socklen_t size = sizeof code;
		link->fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (link->fd < 0) {
			code = -errno;
			continue;
		}
		setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(link->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
		code = connect(link->fd, at->ai_addr, at->ai_addrlen) ? -errno : 0;
		if (code == -EINPROGRESS && !(code = wait_for(link, POLLOUT, now_ms() + CONNECT_MS, -1))) {
			getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &code, &size);
			code = -code;
		}
		if (code) {
			close(link->fd);
			link->fd = -1;
		}
	}
	freeaddrinfo(list);
	if (code)
		snprintf(why, ENGINE_WHY_SIZE, "%.80s:%u: %s", host, port, strerror(-code));
	return code;
}

static int shake_hands(struct redis_link *link, SSL_CTX *tls, const struct redis_where *where, const char *host,
                       char why[static ENGINE_WHY_SIZE])
{
	uint64_t until_ms = now_ms() + CONNECT_MS;
	link->tls = SSL_new(tls);
	if (!link->tls || !SSL_set_fd(link->tls, link->fd))
		return fail(link, -ENOMEM, why, "no memory");
	struct in6_addr address;
	bool number = inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1;
	if (!number)
		SSL_set_tlsext_host_name(link->tls, host);
	if (!where->insecure &&
	    !(number ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link->tls), host) : SSL_set1_host(link->tls, host)))
		return fail(link, -EINVAL, why, "this host's name cannot be looked for in a certificate");
	for (int result; (result = SSL_connect(link->tls)) != 1;) {
		short events = wanted(link->tls, result);
		int code = events ? wait_for(link, events, until_ms, -1) : -EPROTO;
		if (!code)
			continue;
		long verdict = SSL_get_verify_result(link->tls);
		char words[120];
		snprintf(words, sizeof words, "TLS: %s",
		         verdict != X509_V_OK ? X509_verify_cert_error_string(verdict)
		         : code == -ETIMEDOUT ? "the server does not answer"
		                              : "the server does not speak it, or refuses this client");
		return fail(link, -EKEYREJECTED, why, words);
	}
	return 0;
}

/* A command whose answer is no error; what the answer says, when it is one, is why. */
static int must(struct redis_link *link, const struct redis_word *words, unsigned count,
                char why[static ENGINE_WHY_SIZE])
{
	int code;
	redisReply *reply = redis_link_ask(link, words, count, &code, why);
	if (!reply)
		return code;
	if (reply->type == REDIS_REPLY_ERROR)
		code = fail(link, -EACCES, why, reply->str);
	freeReplyObject(reply);
	return code;
}

static int open_one(struct redis_link *link, const struct redis_where *where, SSL_CTX *tls,
                    const struct backplane_host *host, bool sentinel, char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_url *url = where->url;
	const char *password = sentinel ? where->sentinel_password : url->password;
	char database[24];
	redis_link_close(link);
	int code = connect_to(link, host->name, host->port ? host->port : sentinel ? 26379 : 6379, why);
	if (!code && !(link->reader = redisReaderCreate()))
		code = fail(link, -ENOMEM, why, "no memory");
	if (!code)
		link->reader->maxbuf = 0; /* its room is used again and again */
	if (!code && tls)
		code = shake_hands(link, tls, where, host->name, why);
	if (!code && password) {
		const bool named = !sentinel && url->user;
		const struct redis_word words[] = { REDIS_WORD("AUTH"), redis_text(named ? url->user : password),
			                            redis_text(password) };
		code = must(link, words, named ? 3 : 2, why);
	}
	if (!code && !sentinel && where->database) {
		snprintf(database, sizeof database, "%lu", where->database);
		const struct redis_word words[] = { REDIS_WORD("SELECT"), redis_text(database) };
		code = must(link, words, 2, why);
	}
	return code;
}

/* Of several servers, some are replicas, which take no writes. Who may not ask is believed to be at a master. */
static int want_master(struct redis_link *link, const struct backplane_host *host, char why[static ENGINE_WHY_SIZE])
{
	const struct redis_word words[] = { REDIS_WORD("ROLE") };
	char text[ENGINE_WHY_SIZE];
	int code;
	redisReply *reply = redis_link_ask(link, words, 1, &code, why);
	if (!reply)
		return code;
	bool replica = reply->type == REDIS_REPLY_ARRAY && reply->elements && reply->element[0]->str &&
	               strcmp(reply->element[0]->str, "master") != 0;
	freeReplyObject(reply);
	snprintf(text, sizeof text, "%.80s:%u is a replica, and no master is among the addresses", host->name,
	         host->port);
	return replica ? fail(link, -EROFS, why, text) : 0;
}

/* Asks a sentinel where the master is. `text` holds the name then. */
static int ask_sentinel(struct redis_link *link, const struct redis_where *where, struct backplane_host *master,
                        char text[static 256], char why[static ENGINE_WHY_SIZE])
{
	const struct redis_word words[] = { REDIS_WORD("SENTINEL"),
		                            REDIS_WORD("get-master-addr-by-name"),
		                            { where->sentinel, strcspn(where->sentinel, "/") } };
	int code;
	redisReply *reply = redis_link_ask(link, words, 3, &code, why);
	if (!reply)
		return code;
	bool good = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str &&
	            reply->element[1]->str && strlen(reply->element[0]->str) < 256;
	if (good) {
		snprintf(text, 256, "%s", reply->element[0]->str);
		*master = (struct backplane_host){ .name = text, .port = (unsigned)atoi(reply->element[1]->str) };
	} else {
		snprintf(why, ENGINE_WHY_SIZE, "the sentinel knows no master '%.*s'", (int)words[2].size,
		         words[2].text);
	}
	freeReplyObject(reply);
	return good ? 0 : -ENOENT;
}

int redis_link_open(struct redis_link *link, const struct redis_where *where, SSL_CTX *tls,
                    char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_url *url = where->url;
	int code = -ENXIO;
	for (unsigned i = 0; i < url->host_count && code; i++) {
		struct backplane_host host = url->hosts[i];
		char name[256];
		host.port = host.port ? host.port : where->sentinel ? 26379 : 6379;
		code = open_one(link, where, tls, &host, where->sentinel, why);
		if (!code && where->sentinel)
			code = ask_sentinel(link, where, &host, name, why);
		if (!code && where->sentinel)
			code = open_one(link, where, tls, &host, false, why);
		if (!code)
			code = want_master(link, &host, why);
		if (code)
			redis_link_close(link);
	}
	return code;
}

#endif
