/* SPDX-License-Identifier: MIT
 *
 * stream.c - see stream.h.
 */
#include "stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static bool fail(char words[STREAM_WORDS_SIZE], const char *text)
{
	snprintf(words, STREAM_WORDS_SIZE, "%.*s", STREAM_WORDS_SIZE - 1, text);
	return false;
}

/* The first reason that OpenSSL has, and none is left for whoever asks next. */
static bool fail_tls(char words[STREAM_WORDS_SIZE], const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);
	snprintf(words, STREAM_WORDS_SIZE, "%.120s%s%.100s", what, reason ? ": " : "", reason ? reason : "");
	ERR_clear_error();
	return false;
}

/* ---- where ---- */

static bool find_unix(struct stream_place *place, const char *path, char words[STREAM_WORDS_SIZE])
{
	struct sockaddr_un *address = (struct sockaddr_un *)&place->address;
	size_t size = strcspn(path, ":");
	if (size >= sizeof address->sun_path)
		return fail(words, "the path of a socket is too long");
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, size);
	place->address_size = sizeof *address;
	snprintf(place->name, sizeof place->name, "unix:%.*s", (int)size, path);
	return true;
}

/* Divides "HOST:PORT", where HOST may be in brackets. Returns the port, or null. */
static const char *divide(struct stream_place *place, char *authority, const char *port)
{
	char *end = *authority == '[' ? strchr(authority, ']') : NULL;
	char *colon = end ? strchr(end, ':') : strrchr(authority, ':');
	if (colon) {
		*colon = 0;
		port = colon + 1;
	}
	if (end)
		*end = 0;
	snprintf(place->host, sizeof place->host, "%s", authority + (end != NULL));
	return *place->host ? port : NULL;
}

bool stream_find(struct stream_place *place, const char *url, char words[STREAM_WORDS_SIZE])
{
	static const struct scheme {
		const char *name, *port;
		bool secure;
	} schemes[] = {
		{ "ws://", "80", false },    { "http://", "80", false }, { "wss://", "443", true },
		{ "https://", "443", true }, { "", NULL, false }, /* what has none names a port */
	};
	const struct scheme *scheme = schemes;
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	char authority[256];
	*place = (struct stream_place){ 0 };
	if (!strncmp(url, "ws+unix:", 8))
		return find_unix(place, url + 8, words);
	while (strncmp(url, scheme->name, strlen(scheme->name)) != 0)
		scheme++;
	url += strlen(scheme->name);
	if (strcspn(url, "/?#") >= sizeof authority)
		return fail(words, "the name of a host is too long");
	snprintf(authority, sizeof authority, "%.*s", (int)strcspn(url, "/?#"), url);
	place->secure = scheme->secure;
	const char *port = divide(place, authority, scheme->port);
	if (!port)
		return fail(words, "expected ws://HOST:PORT, wss://HOST:PORT or ws+unix:/SOCKET:");
	int code = getaddrinfo(place->host, port, &hints, &found);
	if (code)
		return fail(words, gai_strerror(code));
	memcpy(&place->address, found->ai_addr, found->ai_addrlen);
	place->address_size = found->ai_addrlen;
	freeaddrinfo(found);
	snprintf(place->name, sizeof place->name, strchr(place->host, ':') ? "[%s]:%s" : "%s:%s", place->host, port);
	return true;
}

/* ---- TLS ---- */

SSL_CTX *stream_tls(const struct rc_tls_client_options *options, char words[STREAM_WORDS_SIZE])
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	char what[160] = "TLS";
	bool good = context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
	if (good && !options->insecure) {
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
		snprintf(what, sizeof what, "--ca %.140s", options->ca ? options->ca : "(the system's authorities)");
		good = options->ca ? SSL_CTX_load_verify_locations(context, options->ca, NULL)
		                   : SSL_CTX_set_default_verify_paths(context);
	}
	if (good && options->certificate) {
		snprintf(what, sizeof what, "--cert %.140s", options->certificate);
		good = SSL_CTX_use_certificate_chain_file(context, options->certificate);
	}
	if (good && options->key) {
		snprintf(what, sizeof what, "--key %.140s", options->key);
		good = SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM);
	}
	if (good)
		return context;
	fail_tls(words, what);
	SSL_CTX_free(context);
	return NULL;
}

/* Whom the certificate must be for: an address, or a name, which the server is told. */
static bool expect_host(SSL *ssl, const char *host)
{
	unsigned char address[16];
	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
	return SSL_set_tlsext_host_name(ssl, host) && SSL_set1_host(ssl, host);
}

static bool begin_tls(struct stream *stream, const struct stream_place *place, SSL_CTX *tls,
                      char words[STREAM_WORDS_SIZE])
{
	ERR_clear_error();
	stream->ssl = SSL_new(tls);
	if (!stream->ssl || !SSL_set_fd(stream->ssl, stream->fd) || !expect_host(stream->ssl, place->host))
		return fail_tls(words, "TLS");
	if (SSL_connect(stream->ssl) == 1)
		return true;
	long verdict = SSL_get_verify_result(stream->ssl);
	if (verdict == X509_V_OK)
		return fail_tls(words, "no TLS handshake");
	snprintf(words, STREAM_WORDS_SIZE, "its certificate: %.100s (--ca names an authority)",
	         X509_verify_cert_error_string(verdict));
	ERR_clear_error();
	return false;
}

/* ---- bytes ---- */

bool stream_open(struct stream *stream, const struct stream_place *place, SSL_CTX *tls,
                 const struct stream_limits *limits, char words[STREAM_WORDS_SIZE])
{
	const struct timeval patience = { .tv_sec = limits->seconds };
	*stream = (struct stream){ .fd = socket(place->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	if (stream->fd < 0)
		return fail(words, strerror(errno));
	/* Before it connects: the window that it offers depends on it. */
	if (limits->receive_buffer_size)
		setsockopt(stream->fd, SOL_SOCKET, SO_RCVBUF, &limits->receive_buffer_size, sizeof(int));
	setsockopt(stream->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(stream->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	bool good = !connect(stream->fd, (const struct sockaddr *)&place->address, place->address_size);
	if (!good) /* a connect that takes too long is "in progress" */
		fail(words, strerror(errno == EINPROGRESS ? ETIMEDOUT : errno));
	else if (place->secure)
		good = begin_tls(stream, place, tls, words);
	if (!good)
		stream_close(stream);
	return good;
}

ssize_t stream_read(struct stream *stream, void *to, size_t size)
{
	if (!stream->ssl)
		return recv(stream->fd, to, size, 0);
	int got = SSL_read(stream->ssl, to, size > INT32_MAX ? INT32_MAX : (int)size);
	/* A peer that ends without saying so over TLS may have been cut off by somebody else. */
	return got > 0 ? got : SSL_get_error(stream->ssl, got) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

bool stream_write(struct stream *stream, const void *bytes, size_t size)
{
	if (stream->ssl)
		return SSL_write(stream->ssl, bytes, (int)size) == (int)size;
	return send(stream->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

void stream_close(struct stream *stream)
{
	SSL_free(stream->ssl);
	stream->ssl = NULL;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}
