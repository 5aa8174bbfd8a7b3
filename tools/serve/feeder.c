/* SPDX-License-Identifier: MIT
 *
 * feeder.c - see feeder.h. Publishing waits where a worker is a whole log behind (RC_PUBLISH_WAIT): a recording loses
 * no message, but falls behind its times instead.
 */
#include "feeder.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/options.h"
#include "lib/wait.h"

#define DEMO_RATE 1500     /* trades a second of a quiet market at speed 1 */
#define TRADES_A_CHANGE 10 /* for each change of the order book */

/* Sleeps until a moment of clock_now(). Returns false when the feeder is to stop. */
static bool sleep_until(struct serve_feeder *feeder, uint64_t due_ns)
{
	struct pollfd polled = { .fd = feeder->stop, .events = POLLIN };
	for (;;) {
		uint64_t now = clock_now();
		if (atomic_load_explicit(&feeder->stopping, memory_order_relaxed))
			return false;
		if (now >= due_ns)
			return true;
		struct timespec rest = { .tv_sec = (time_t)((due_ns - now) / NS_PER_SECOND),
			                 .tv_nsec = (long)((due_ns - now) % NS_PER_SECOND) };
		ppoll(&polled, 1, &rest, NULL);
	}
}

/* Returns false, after saying why, when the message cannot be published at all. */
static bool publish(struct serve_feeder *feeder, const char *topic, size_t topic_size, const char *data, size_t size)
{
	int64_t code = rc_publish(feeder->server, topic, topic_size, data, size, RC_PUBLISH_WAIT);
	if (code > 0) {
		feeder->published++;
		return true;
	}
	if (atomic_load(&feeder->stopping))
		return false;
	if (feeder->path)
		command_failed("%s:%" PRIu64 ": not published, and the replay ends: %s%s", feeder->feed.path,
		               feeder->feed.line, rc_strerror((int)code),
		               code == -EMSGSIZE ? " (larger than a quarter of --log-size)" : "");
	else
		command_failed("the demonstration market ends: %s", rc_strerror((int)code));
	return false;
}

/* feed_next(), which may sleep in read() on a pipe: the only place where the thread may be cancelled. */
static int next(struct serve_feeder *feeder, struct feed_record *record)
{
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	int code = feed_next(&feeder->feed, record);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	return code;
}

/* Once through the recording, beginning now. Returns whether to go on. */
static bool replay_once(struct serve_feeder *feeder)
{
	struct feed_record record;
	uint64_t begin = clock_now(), first = UINT64_MAX;
	int code;
	while ((code = next(feeder, &record)) > 0) {
		if (first == UINT64_MAX)
			first = record.time_ns;
		if (!sleep_until(feeder, begin + feed_due(first, record.time_ns, feeder->speed)))
			return false;
		if (!publish(feeder, record.topic, record.topic_size, record.payload, record.payload_size))
			return false;
	}
	if (code)
		command_failed("%s", feeder->feed.error);
	return !code && first != UINT64_MAX;
}

static void *replay(void *argument)
{
	struct serve_feeder *feeder = argument;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	bool more = replay_once(feeder);
	while (more && feeder->loop) {
		if (feed_rewind(&feeder->feed)) {
			command_failed("%s", feeder->feed.error);
			break;
		}
		more = replay_once(feeder);
	}
	if (!feeder->quiet && !atomic_load(&feeder->stopping))
		fprintf(stderr, "%s: replayed %" PRIu64 " messages\n", feeder->feed.path, feeder->published);
	return NULL;
}

/* The order book moves with the trades. Returns false, after saying why, when it cannot be published. */
static bool move_book(struct serve_feeder *feeder)
{
	struct market_change change;
	market_next(&feeder->books, &change);
	int code = book_publish(&feeder->publisher, &change);
	feeder->published += !code;
	if (code && !atomic_load(&feeder->stopping))
		command_failed("the demonstration book ends: %s", rc_strerror(code));
	return !code;
}

static void *demonstrate(void *argument)
{
	struct serve_feeder *feeder = argument;
	uint64_t trades = 0;
	struct timespec today;
	clock_gettime(CLOCK_REALTIME, &today);
	uint64_t opened = (uint64_t)today.tv_sec * NS_PER_SECOND + (uint64_t)today.tv_nsec;
	uint64_t begin = clock_now();
	for (;;) {
		struct serve_demo_trade trade;
		char message[SERVE_DEMO_MESSAGE_SIZE];
		serve_demo_next(&feeder->demo, &trade);
		if (!sleep_until(feeder, begin + feed_due(0, trade.time_ns, feeder->speed)))
			break;
		size_t size = serve_demo_format(&trade, opened, message);
		const char *symbol = trade.instrument->symbol;
		if (!publish(feeder, symbol, strlen(symbol), message, size) ||
		    !publish(feeder, SERVE_DEMO_TOPIC, strlen(SERVE_DEMO_TOPIC), message, size))
			break;
		if (++trades % TRADES_A_CHANGE == 0 && !move_book(feeder))
			break;
	}
	return NULL;
}

int serve_feeder_open(struct serve_feeder *feeder)
{
	serve_demo_open(&feeder->demo, feeder->seed, DEMO_RATE);
	market_open(&feeder->books, feeder->seed, 1);
	strcpy(feeder->books.symbols[0], SERVE_DEMO_BOOK);
	if (!feeder->path || !feed_open(&feeder->feed, feeder->path))
		return 0;
	command_failed("%s", feeder->feed.error);
	return -1;
}

int serve_feeder_start(struct serve_feeder *feeder)
{
	int code = feeder->path ? 0 : -book_publisher_open(&feeder->publisher, feeder->server, &feeder->books);
	feeder->stop = eventfd(0, EFD_CLOEXEC);
	if (feeder->stop < 0)
		code = errno;
	if (!code)
		code = pthread_create(&feeder->thread, NULL, feeder->path ? replay : demonstrate, feeder);
	feeder->running = !code;
	if (!code)
		return 0;
	command_failed("the feed's thread: %s", strerror(code));
	return -1;
}

void serve_feeder_close(struct serve_feeder *feeder)
{
	if (feeder->running) {
		atomic_store(&feeder->stopping, true);
		ssize_t written = write(feeder->stop, &(uint64_t){ 1 }, sizeof(uint64_t));
		(void)written; /* the counter is far from full */
		if (feeder->path)
			pthread_cancel(feeder->thread);
		pthread_join(feeder->thread, NULL);
		feeder->running = false;
		close(feeder->stop);
	}
	book_publisher_close(&feeder->publisher);
	market_close(&feeder->books);
	if (feeder->path)
		feed_close(&feeder->feed);
}
