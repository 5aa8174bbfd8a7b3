/* SPDX-License-Identifier: MIT
 *
 * top.c - `ringcast top`: running servers on one screen, from their /stats alone. On a terminal the screen is drawn
 * anew, elsewhere each look is a line.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "lib/client.h"
#include "lib/environment.h"
#include "lib/keys.h"
#include "lib/text.h"
#include "lib/wait.h"
#include "screen.h"

static int run(int argc, char **argv);

static const struct option_need needs[] = { { "ca", "!insecure" }, { "cert", "key" }, { 0 } };

const struct subcommand command_top = {
	.name = "top",
	.summary = "watch running servers",
	.usage = "[options] [URL|PID...]",
	.about =
	    "Shows what a server does, from its page /stats: connections, rates, how far subscribers are behind,\n"
	    "workers, the topics with the most subscribers and the slowest subscribers. URL is ws://HOST:PORT,\n"
	    "wss://HOST:PORT or ws+unix:/SOCKET:, PID a process on this machine. Of several servers it shows the\n"
	    "sum, and a row for each. On a terminal the screen is drawn anew, and Ctrl-C ends it; into a file or a\n"
	    "pipe each look is a line. It ends with 1 when no server answers.\n"
	    "RINGCAST_URL names the server where no URL is given. RINGCAST_TOKEN is the operator's key.",
	.examples = "  ringcast top ws://127.0.0.1:8080\n"
		    "  ringcast top $(pidof ringcast)\n"
		    "  ringcast top --key-file operator.key wss://a.example.org:8443 wss://b.example.org:8443\n"
		    "  ringcast top --count 60 --plain ws://127.0.0.1:8080 >figures.txt",
	.needs = needs,
	.run = run,
};

struct top {
	struct node nodes[NODES_MAX];
	unsigned node_count;
	struct wait wait;
	uint64_t taken_ns; /* the last look */
	uint64_t interval_ns, count;
	bool plain;
	struct rc_tls_client_options tls;
};

static void show(const struct top *top, double seconds)
{
	const bool several = top->node_count > 1;
	json_t *before = several ? nodes_sum(top->nodes, top->node_count, true) : json_incref(top->nodes->before);
	json_t *now = several ? nodes_sum(top->nodes, top->node_count, false) : json_incref(top->nodes->now);
	const struct screen screen = {
		.before = before, .now = now, .seconds = seconds, .nodes = top->nodes, .node_count = top->node_count
	};
	if (top->plain)
		screen_print_line(&screen);
	else
		screen_print(&screen);
	json_decref(before);
	json_decref(now);
}

/* Whether some node has two looks, so that there are rates to show. */
static bool has_rates(const struct top *top)
{
	for (unsigned index = 0; index < top->node_count; index++)
		if (top->nodes[index].before)
			return true;
	return false;
}

static int watch(struct top *top)
{
	uint64_t next = clock_now();
	for (uint64_t shown_count = 0; nodes_look(top->nodes, top->node_count);) {
		uint64_t now = clock_now();
		double seconds = (double)(now - top->taken_ns) / 1e9;
		top->taken_ns = now;
		if (has_rates(top)) {
			show(top, seconds);
			if (fflush(stdout))
				return EXIT_OK; /* nobody reads any more */
			if (++shown_count == top->count)
				return EXIT_OK;
		}
		next += top->interval_ns;
		if (wait_until(&top->wait, next) == WAIT_SIGNAL)
			return EXIT_OK;
	}
	for (unsigned index = 0; index < top->node_count; index++)
		command_failed("%s: no answer to /stats: %s", top->nodes[index].source.place.name,
		               top->nodes[index].source.words);
	return EXIT_FAILED;
}

/* Finds every node. Returns -1, or the exit status after printing why. */
static int find_all(struct top *top, const struct environment_urls *targets, SSL_CTX *tls, const char *key)
{
	for (; top->node_count < targets->count; top->node_count++) {
		struct top_source *source = &top->nodes[top->node_count].source;
		const char *target = targets->items[top->node_count];
		source->tls = tls;
		source->key = key;
		if (top_find(source, target))
			return command_failed("%.200s: %s", target, source->words);
	}
	return -1;
}

static int run_on(struct top *top, const struct environment_urls *targets, const char *key)
{
	char words[STREAM_WORDS_SIZE];
	SSL_CTX *tls = stream_tls(&top->tls, words);
	int status = tls ? find_all(top, targets, tls, key) : command_failed("%s", words);
	int code = status < 0 ? wait_open(&top->wait) : 0;
	if (code)
		status = command_failed("signals: %s", strerror(-code));
	if (status < 0) {
		top->plain |= !isatty(STDOUT_FILENO);
		status = watch(top);
		wait_close(&top->wait);
	}
	nodes_free(top->nodes, top->node_count);
	SSL_CTX_free(tls);
	return status;
}

static int run(int argc, char **argv)
{
	static struct top top = { .interval_ns = NS_PER_SECOND };
	static struct keys keys;
	static struct environment_urls targets;
	const char *key_file = NULL, *key;
	const struct option_entry options[] = {
		{ "interval", OPTION_NS, &top.interval_ns, "TIME", "time between two looks (1s)" },
		{ "count", OPTION_COUNT64, &top.count, "N", "end after so many looks (0: never)" },
		{ "key-file", OPTION_TEXT, &key_file, "FILE",
		  "the operator's key, for a server that wants one: the\nfirst line (RINGCAST_TOKEN)" },
		{ "plain", OPTION_FLAG, &top.plain, NULL, "print one line a look, on a terminal too" },
		CLIENT_TLS_TRUST_OPTIONS(&top.tls),
		{ "key", OPTION_TEXT, &top.tls.key, "KEY",
		  "the operator's key itself, which others on this machine\nmay see; with --cert, the file of its "
		  "key" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_top, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (!top.interval_ns)
		return options_wrong(&command_top, "--interval: expected more than 0");
	if (!environment_token(&key) || (key_file && !keys_read(&keys, key_file)))
		return EXIT_FAILED;
	if (top.tls.key && !top.tls.certificate) {
		key = top.tls.key;
		top.tls.key = NULL;
		if (key_file || !text_is_name(key, strlen(key)) || strchr(key, ' '))
			return options_wrong(&command_top, key_file
			                                       ? "--key or --key-file, not both"
			                                       : "--key: expected a key without spaces and line ends");
	}
	if ((status = environment_urls(&command_top, argv + operand, argc - operand, &targets)) < 0 &&
	    (status = client_tls_useless(&command_top, &top.tls, targets.items, targets.count)) < 0)
		status = run_on(&top, &targets, key_file ? keys.items[0] : key);
	environment_urls_free(&targets);
	keys_free(&keys);
	return status;
}
