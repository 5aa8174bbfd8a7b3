/* SPDX-License-Identifier: MIT
 *
 * health.c - `ringcast health`: one request to a running server, and an exit status: for containers, which have no
 * curl, for scripts, and for whatever asks by a command. It is a client of HTTP and TLS by itself and needs no ring, so
 * that it tells of the server and not of its own surroundings.
 *
 * Invariant: it ends within --timeout, whatever the name service and the other end do.
 */
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "commands.h"

#define URL_DEFAULT "http://127.0.0.1:8080/healthz"
#define PATH_DEFAULT "/healthz"
#define TIMEOUT_DEFAULT_MS 2000

static int run(int argc, char **argv);

const struct subcommand command_health = {
	.name = "health",
	.summary = "ask a running server whether it is well",
	.usage = "[options] [URL]",
	.about = "Asks the URL (http://HOST:PORT/PATH, https://..., ws and wss just so, or ws+unix:/SOCKET:/PATH)\n"
		 "once. Without a URL it is " URL_DEFAULT ", and without a path " PATH_DEFAULT ".\n"
		 "The exit status is 0 when the answer is 200. Otherwise it is 1, and one line says why.",
	.examples = "  ringcast health\n"
		    "  ringcast health http://127.0.0.1:8080/readyz\n"
		    "  ringcast health --insecure wss://127.0.0.1:8443",
	.run = run,
};

/* Where to ask, taken apart. */
struct target {
	const char *url;
	bool secure, local;
	char host[256];   /* or the path of a Unix socket */
	char service[16]; /* the port */
	char path[1024];
};

struct health {
	struct target target;
	const char *ca, *certificate, *key;
	bool insecure;
	unsigned timeout_ms;
	int socket;
	SSL *tls;
};

/* The handler may only write. */
static char too_late[1200];
static size_t too_late_size;

static void give_up(int signal_number)
{
	(void)signal_number;
	(void)!write(STDERR_FILENO, too_late, too_late_size);
	_exit(EXIT_FAILED);
}

static int begin_time(const struct health *health)
{
	int size = snprintf(too_late, sizeof too_late, "ringcast: %.1000s: no answer within %u ms\n",
	                    health->target.url, health->timeout_ms);
	too_late_size = (size_t)size;
	const struct itimerval timer = { .it_value = { health->timeout_ms / 1000,
		                                       (suseconds_t)(health->timeout_ms % 1000) * 1000 } };
	if (sigaction(SIGALRM, &(struct sigaction){ .sa_handler = give_up }, NULL) ||
	    setitimer(ITIMER_REAL, &timer, NULL))
		return command_failed("the timer: %s", strerror(errno));
	return 0;
}

/* ---- the URL ---- */

static bool parse_local(struct target *target, const char *rest)
{
	const char *colon = strchr(rest, ':');
	size_t size = colon ? (size_t)(colon - rest) : strlen(rest);
	if (!size || size >= sizeof((struct sockaddr_un *)0)->sun_path)
		return false;
	target->local = true;
	snprintf(target->host, sizeof target->host, "%.*s", (int)size, rest);
	const char *path = colon && colon[1] ? colon + 1 : PATH_DEFAULT;
	return *path == '/' && (size_t)snprintf(target->path, sizeof target->path, "%s", path) < sizeof target->path;
}

/* HOST[:PORT][/PATH]; an IPv6 address stands in brackets. */
static bool parse_remote(struct target *target, const char *rest)
{
	size_t size = strcspn(rest, "/?#");
	const char *path = rest[size] == '/' ? rest + size : PATH_DEFAULT;
	const char *end = rest + size, *host = rest, *host_end;
	if (*rest == '[') {
		host++;
		host_end = memchr(host, ']', size - 1);
		if (!host_end)
			return false;
	} else {
		host_end = host + strcspn(host, ":/?#");
	}
	const char *port = host_end + (*rest == '[');
	if (port < end && *port++ != ':')
		return false;
	if (host == host_end || (rest[size] && rest[size] != '/'))
		return false;
	int used = port < end ? snprintf(target->service, sizeof target->service, "%.*s", (int)(end - port), port)
	                      : snprintf(target->service, sizeof target->service, target->secure ? "443" : "80");
	return (size_t)used < sizeof target->service &&
	       (size_t)snprintf(target->host, sizeof target->host, "%.*s", (int)(host_end - host), host) <
	           sizeof target->host &&
	       (size_t)snprintf(target->path, sizeof target->path, "%.*s", (int)strcspn(path, "#"), path) <
	           sizeof target->path;
}

static bool parse_url(struct target *target, const char *url)
{
	static const struct {
		const char *text;
		bool secure;
	} schemes[] = { { "http://", false }, { "ws://", false }, { "https://", true }, { "wss://", true } };
	target->url = url;
	if (strpbrk(url, " \r\n\t"))
		return false;
	if (!strncmp(url, "ws+unix:", 8))
		return parse_local(target, url + 8);
	for (size_t index = 0; index < sizeof schemes / sizeof *schemes; index++) {
		size_t size = strlen(schemes[index].text);
		if (strncmp(url, schemes[index].text, size))
			continue;
		target->secure = schemes[index].secure;
		return parse_remote(target, url + size);
	}
	return false;
}

/* ---- the way there ---- */

static int connect_local(struct health *health)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	memcpy(address.sun_path, health->target.host, strlen(health->target.host) + 1);
	health->socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (health->socket < 0 || connect(health->socket, (const struct sockaddr *)&address, sizeof address))
		return command_failed("%s: %s; does the server run, and listen there?", health->target.url,
		                      strerror(errno));
	return 0;
}

static int connect_remote(struct health *health)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found;
	int code = getaddrinfo(health->target.host, health->target.service, &hints, &found);
	if (code)
		return command_failed("%s: %s", health->target.url, gai_strerror(code));
	int why = 0;
	for (const struct addrinfo *each = found; each; each = each->ai_next) {
		health->socket = socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (health->socket >= 0 && !connect(health->socket, each->ai_addr, each->ai_addrlen))
			break;
		why = errno;
		if (health->socket >= 0)
			close(health->socket);
		health->socket = -1;
	}
	freeaddrinfo(found);
	if (health->socket < 0)
		return command_failed("%s: %s; does the server run, and listen there?", health->target.url,
		                      strerror(why));
	return 0;
}

static int tls_failed(const struct health *health, const char *what)
{
	char words[256] = "the other end left";
	unsigned long code = ERR_get_error();
	long verdict = health->tls ? SSL_get_verify_result(health->tls) : X509_V_OK;
	if (verdict != X509_V_OK)
		snprintf(words, sizeof words, "%s; name its authority by --ca, or use --insecure",
		         X509_verify_cert_error_string(verdict));
	else if (code)
		snprintf(words, sizeof words, "%s", ERR_reason_error_string(code));
	return command_failed("%s: %s: %s", health->target.url, what, words);
}

static int secure(struct health *health)
{
	const char *host = health->target.host;
	int status = EXIT_OK;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!context)
		return tls_failed(health, "TLS");
	if (health->ca ? !SSL_CTX_load_verify_file(context, health->ca) : !SSL_CTX_set_default_verify_paths(context))
		status = tls_failed(health, health->ca ? health->ca : "the system's authorities");
	else if (health->certificate && (SSL_CTX_use_certificate_chain_file(context, health->certificate) != 1 ||
	                                 SSL_CTX_use_PrivateKey_file(context, health->key, SSL_FILETYPE_PEM) != 1))
		status = tls_failed(health, "--cert and --key");
	SSL_CTX_set_verify(context, health->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
	if (!status)
		health->tls = SSL_new(context);
	SSL_CTX_free(context);
	if (status)
		return status;
	if (!health->tls || !SSL_set_fd(health->tls, health->socket))
		return tls_failed(health, "TLS");
	/* An address is no name to ask for, and is looked for elsewhere in a certificate. */
	X509_VERIFY_PARAM *wanted = SSL_get0_param(health->tls);
	if (!X509_VERIFY_PARAM_set1_ip_asc(wanted, host)) {
		ERR_clear_error();
		SSL_set_tlsext_host_name(health->tls, host);
		X509_VERIFY_PARAM_set1_host(wanted, host, 0);
	}
	return SSL_connect(health->tls) == 1 ? 0 : tls_failed(health, "TLS");
}

/* ---- the question ---- */

static int put(struct health *health, const char *text, size_t size)
{
	if (health->tls)
		return SSL_write(health->tls, text, (int)size) == (int)size ? 0 : -1;
	return send(health->socket, text, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
}

static ssize_t get(struct health *health, char *to, size_t size)
{
	return health->tls ? SSL_read(health->tls, to, (int)size) : recv(health->socket, to, size, 0);
}

static int ask(struct health *health)
{
	const struct target *target = &health->target;
	char text[2048], status[4];
	bool bracket = strchr(target->host, ':') && !target->local;
	int size = snprintf(text, sizeof text,
	                    "GET %s HTTP/1.1\r\nHost: %s%s%s%s%s\r\nUser-Agent: ringcast-health\r\n"
	                    "Connection: close\r\n\r\n",
	                    target->path, bracket ? "[" : "", target->local ? "localhost" : target->host,
	                    bracket ? "]" : "", target->local ? "" : ":", target->local ? "" : target->service);
	if (put(health, text, (size_t)size))
		return command_failed("%s: the other end left before it was asked", target->url);
	/* Only the first line is of interest. */
	size_t have = 0;
	for (ssize_t got = 1; got > 0 && have < sizeof text - 1 && !memchr(text, '\n', have);) {
		got = get(health, text + have, sizeof text - 1 - have);
		have += got > 0 ? (size_t)got : 0;
	}
	text[have] = 0;
	if (sscanf(text, "HTTP/1.%*1[01] %3[0-9]", status) != 1)
		return command_failed("%s: the answer is not HTTP%s", target->url,
		                      target->secure ? "" : "; if it expects TLS, write https:// or wss://");
	if (!strcmp(status, "200"))
		return EXIT_OK;
	text[strcspn(text, "\r\n")] = 0;
	return command_failed("%s: %.80s", target->url, text + 9);
}

static int run(int argc, char **argv)
{
	struct health health = { .timeout_ms = TIMEOUT_DEFAULT_MS, .socket = -1 };
	const struct option_entry options[] = {
		{ "timeout", OPTION_MS, &health.timeout_ms, "TIME", "for all of it, names included (2s)" },
		{ "ca", OPTION_TEXT, &health.ca, "FILE", "TLS: trust this authority (PEM) instead of the system's" },
		{ "insecure", OPTION_FLAG, &health.insecure, NULL, "TLS: any certificate will do" },
		{ "cert", OPTION_TEXT, &health.certificate, "FILE", "TLS: a certificate to show, with its chain" },
		{ "key", OPTION_TEXT, &health.key, "FILE", "TLS: and its key" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_health, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand > 1)
		return options_wrong(&command_health, "health asks one URL");
	const char *url = operand < argc ? argv[operand] : URL_DEFAULT;
	if (!parse_url(&health.target, url))
		return options_wrong(&command_health,
		                     "'%s': expected http://HOST:PORT/PATH, https://..., or ws+unix:/SOCKET:/PATH",
		                     url);
	if (!health.timeout_ms)
		return options_wrong(&command_health, "--timeout: expected more than 0");
	if (!health.certificate != !health.key)
		return options_wrong(&command_health, "--cert needs its --key, and the other way round");
	status = begin_time(&health);
	if (!status)
		status = health.target.local ? connect_local(&health) : connect_remote(&health);
	if (!status && health.target.secure)
		status = secure(&health);
	if (!status)
		status = ask(&health);
	SSL_free(health.tls);
	if (health.socket >= 0)
		close(health.socket);
	return status;
}
