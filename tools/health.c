/* SPDX-License-Identifier: MIT
 *
 * health.c - `ringcast health`: one request to a running server, and an exit status: for containers, which have no
 * curl, for scripts, and for whatever asks by a command. It needs no ring, so that it tells of the server and not of
 * its own surroundings.
 *
 * Invariant: it ends within --timeout, whatever the name service and the other end do.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "commands.h"
#include "lib/client.h"
#include "lib/environment.h"
#include "lib/stream.h"
#include "lib/url.h"

#define URL_DEFAULT "http://127.0.0.1:8080/healthz"
#define PATH_DEFAULT "/healthz"
#define TIMEOUT_DEFAULT_MS 2000

static int run(int argc, char **argv);

const struct subcommand command_health = {
	.name = "health",
	.summary = "ask a running server whether it is well",
	.usage = "[options] [URL]",
	.about = "Asks the URL (http://HOST:PORT/PATH, https://..., ws and wss just so, or ws+unix:/SOCKET:/PATH)\n"
		 "once. Without a path that is " PATH_DEFAULT ", and without a URL of RINGCAST_URL's server, or\n"
		 "" URL_DEFAULT ". RINGCAST_TOKEN is shown as `Authorization: Bearer TOKEN`.\n"
		 "The exit status is 0 when the answer is 200. Otherwise it is 1, and one line says why.",
	.examples = "  ringcast health\n"
		    "  ringcast health http://127.0.0.1:8080/readyz\n"
		    "  ringcast health --insecure wss://127.0.0.1:8443",
	.run = run,
};

struct health {
	char *url;
	struct rc_tls_client_options tls;
	unsigned timeout_ms;
	struct stream_place place;
	struct stream stream;
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
	int size = snprintf(too_late, sizeof too_late, "ringcast: %.1000s: no answer within %u ms\n", health->url,
	                    health->timeout_ms);
	too_late_size = (size_t)size;
	const struct itimerval timer = { .it_value = { health->timeout_ms / 1000,
		                                       (suseconds_t)(health->timeout_ms % 1000) * 1000 } };
	if (sigaction(SIGALRM, &(struct sigaction){ .sa_handler = give_up }, NULL) ||
	    setitimer(ITIMER_REAL, &timer, NULL))
		return command_failed("the timer: %s", strerror(errno));
	return 0;
}

/* The path to ask for: that of the URL, or the default. Null when it is none. */
static const char *path_of(const char *url)
{
	const char *path = url + url_base_size(url), *scheme = strstr(url, "://");
	if (!strncmp(url, "ws+unix:", 8) && path == url)
		return PATH_DEFAULT;
	if (path == url) {
		path = scheme ? scheme + 3 : url;
		path += strcspn(path, "/?#");
	}
	if (strpbrk(url, " \r\n\t") || (*path && *path != '/'))
		return NULL;
	return *path ? path : PATH_DEFAULT;
}

static int reach(struct health *health)
{
	const struct stream_limits limits = { .seconds = health->timeout_ms / 1000 + 1 };
	char words[STREAM_WORDS_SIZE] = "";
	SSL_CTX *tls = NULL;
	if (!stream_find(&health->place, health->url, words))
		return command_failed("%s: %s", health->url, words);
	if (health->place.secure && !(tls = stream_tls(&health->tls, words)))
		return command_failed("%s", words);
	bool good = stream_open(&health->stream, &health->place, tls, &limits, words);
	SSL_CTX_free(tls);
	bool nobody = !strcmp(words, strerror(ECONNREFUSED)) || !strcmp(words, strerror(ENOENT));
	return good ? 0
	            : command_failed("%s: %s%s", health->url, words,
	                             nobody ? "; does the server run, and listen there?" : "");
}

static int ask(struct health *health, const char *path, const char *token)
{
	char text[8192], status[4];
	bool local = health->place.address.ss_family == AF_UNIX;
	int size = snprintf(text, sizeof text,
	                    "GET %.*s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ringcast-health\r\n%s%s%s"
	                    "Connection: close\r\n\r\n",
	                    (int)strcspn(path, "#"), path, local ? "localhost" : health->place.name,
	                    token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "");
	if ((size_t)size >= sizeof text)
		return command_failed("%.100s...: the URL is too long", health->url);
	if (!stream_write(&health->stream, text, (size_t)size))
		return command_failed("%s: the other end left before it was asked", health->url);
	/* Only the first line is of interest. */
	size_t have = 0;
	for (ssize_t got = 1; got > 0 && have < sizeof text - 1 && !memchr(text, '\n', have);) {
		got = stream_read(&health->stream, text + have, sizeof text - 1 - have);
		have += got > 0 ? (size_t)got : 0;
	}
	text[have] = 0;
	if (sscanf(text, "HTTP/1.%*1[01] %3[0-9]", status) != 1)
		return command_failed("%s: the answer is not HTTP%s", health->url,
		                      health->place.secure ? "" : "; if it expects TLS, write https:// or wss://");
	if (!strcmp(status, "200"))
		return EXIT_OK;
	text[strcspn(text, "\r\n")] = 0;
	return command_failed("%s: %.80s", health->url, text + 9);
}

/* The URL given, or a path of the environment's server. Returns -1 with it, or an exit status. */
static int find_url(struct health *health, const char *operand)
{
	const char *named = getenv("RINGCAST_URL");
	if (operand || (named && *named))
		return environment_url(&command_health, operand ? operand : PATH_DEFAULT, &health->url);
	health->url = strdup(URL_DEFAULT);
	return health->url ? -1 : command_failed("no memory");
}

static int run(int argc, char **argv)
{
	struct health health = { .timeout_ms = TIMEOUT_DEFAULT_MS, .stream.fd = -1 };
	const struct option_entry options[] = {
		{ "timeout", OPTION_MS, &health.timeout_ms, "TIME", "for all of it, names included (2s)" },
		CLIENT_TLS_OPTIONS(&health.tls),
		{ 0 },
	};
	int operand;
	const char *token;
	int status = options_parse(&command_health, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand > 1)
		return options_wrong(&command_health, "health asks one URL");
	if (!health.timeout_ms)
		return options_wrong(&command_health, "--timeout: expected more than 0");
	if (!health.tls.certificate != !health.tls.key)
		return options_wrong(&command_health, "--cert needs its --key, and the other way round");
	if ((status = find_url(&health, operand < argc ? argv[operand] : NULL)) >= 0)
		return status;
	const char *path = path_of(health.url);
	if (!path)
		status = options_wrong(&command_health,
		                       "'%s': expected http://HOST:PORT/PATH, or ws+unix:/SOCKET:/PATH", health.url);
	else if (!environment_token(&token) || begin_time(&health) || reach(&health))
		status = EXIT_FAILED;
	else
		status = ask(&health, path, token);
	stream_close(&health.stream);
	free(health.url);
	return status;
}
