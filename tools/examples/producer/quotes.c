/* SPDX-License-Identifier: MIT
 *
 * quotes.c - a strategy's process publishes quotes, and does not link the server:
 *
 *      ringcast serve --producers unix:/tmp/quotes.sock --producer-topics 'quote.*' &
 *      cc -O2 quotes.c -o quotes && ./quotes /tmp/quotes.sock 1000
 *      ringcast sub ws://127.0.0.1:8080/topic/quote.EURUSD
 */
#include <ringcast_producer.h>

#include <stdio.h>
#include <stdlib.h>

#define SYMBOLS 2

int main(int argc, char **argv)
{
	static const char *const names[SYMBOLS] = { "quote.EURUSD", "quote.GBPUSD" };
	struct rc_producer producer;
	int topics[SYMBOLS];
	if (rc_producer_open(&producer, argc > 1 ? argv[1] : "/tmp/quotes.sock") < 0) {
		fprintf(stderr, "%s\n", producer.error);
		return 1;
	}
	for (int i = 0; i < SYMBOLS; i++) {
		topics[i] = rc_producer_topic(&producer, names[i], strlen(names[i]));
		if (topics[i] < 0) {
			fprintf(stderr, "%s: %s\n", names[i], producer.error);
			return 1;
		}
	}
	for (long tick = 0, ticks = argc > 2 ? atol(argv[2]) : 10; tick < ticks; tick++) {
		for (int i = 0; i < SYMBOLS;) {
			char text[64];
			int size = snprintf(text, sizeof text, "{\"tick\":%ld,\"bid\":%.5f}", tick,
			                    1.1 + (double)tick / 1e5);
			/* The server is shown a tick when it is complete. */
			unsigned flags = i + 1 < SYMBOLS ? RC_PRODUCER_QUIET : 0;
			int result = rc_producer_publish(&producer, topics[i], text, (size_t)size, flags);
			if (result == 0) {
				i++;
			} else if (result == -EAGAIN) {
				usleep(50); /* the ring is full: the server has not come to it yet */
			} else {
				fprintf(stderr, "the server has gone: %d\n", result);
				return 1;
			}
		}
	}
	rc_producer_close(&producer); /* what it was shown is still published */
	return 0;
}
