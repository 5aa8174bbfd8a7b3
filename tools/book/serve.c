/* SPDX-License-Identifier: MIT
 *
 * serve.c - `ringcast book --serve`: a market's books, and the page of a ladder, until a signal comes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/options.h"
#include "lib/wait.h"
#include "run.h"
#include "server.h"

#define BOOKS 4
#define RATE 200

/* Publishes what falls due, until a signal comes or something is wrong. */
static int publish_all(const struct book_options *options, struct market *market, struct book_server *server,
                       struct wait *wait)
{
	double rate = options->rate < 0 ? RATE : options->rate;
	uint64_t begin = clock_now();
	for (uint64_t published = 0; !options->updates || published < options->updates; published++) {
		struct market_change change;
		uint64_t due = rate > 0 ? begin + (uint64_t)((double)published * 1e9 / rate) : 0;
		/* Signals are looked for at times too when the pace leaves no pause. */
		bool pause = due > clock_now() || published % 1024 == 0;
		if (pause && wait_until(wait, due) == WAIT_SIGNAL)
			return EXIT_OK;
		market_next(market, &change);
		int code = book_publish(&server->publisher, &change);
		if (code)
			return command_failed("an update of a book: %s", rc_strerror(code));
	}
	while (wait_until(wait, UINT64_MAX) != WAIT_SIGNAL)
		continue;
	return EXIT_OK;
}

int book_serve(const struct book_options *options)
{
	static struct market market;
	static struct book_server server;
	struct wait wait;
	char topic[BOOK_TOPIC_MAX];
	int code = wait_open(&wait);
	if (code)
		return command_failed("signals: %s", strerror(-code));
	if (options->recording) {
		if (market_read(&market, options->recording))
			return EXIT_FAILED;
	} else {
		market_open(&market, options->seed, options->books ? options->books : BOOKS);
	}
	server = (struct book_server){ .market = &market, .log_size = options->log_size };
	int port = book_server_start(&server, options->address);
	int status = EXIT_FAILED;
	if (port >= 0) {
		book_topic(&market, 0, topic);
		printf("listening on ws://127.0.0.1:%d\n"
		       "the ladder of a book:\n"
		       "  http://127.0.0.1:%d/\n"
		       "  ringcast sub --state --verify ws://127.0.0.1:%d/topic/%s\n",
		       port, port, port, topic);
		fflush(stdout);
		status = publish_all(options, &market, &server, &wait);
		wait_release(&wait);
		book_server_end(&server);
	}
	market_close(&market);
	wait_close(&wait);
	return status;
}
