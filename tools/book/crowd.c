/* SPDX-License-Identifier: MIT
 *
 * crowd.c - see crowd.h.
 */
#include "crowd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/options.h"
#include "lib/random.h"
#include "lib/wait.h"
#include "publisher.h"

#define EVENTS_MAX 256
#define TICK_NS (5 * NS_PER_MS)
#define SMALL_BUFFER 4096 /* so that a stall reaches the server soon */
#define SLOW_SIZE 128     /* bytes that a slow reader takes a tick */
#define RATE 5            /* updates a second that a rated reader asks for */
#define RETRY_MS 50       /* before a connection that failed is tried again */

static const enum crowd_manner manners[] = { CROWD_STEADY, CROWD_STALLS, CROWD_BREAKS, CROWD_STEADY,
	                                     CROWD_SLOW,   CROWD_RATED,  CROWD_RUDE,   CROWD_STEADY };

static uint64_t later(struct crowd *crowd, unsigned min_ms, unsigned max_ms)
{
	return clock_now() + (min_ms + random_below(crowd->random, max_ms - min_ms)) * NS_PER_MS;
}

/* Makes the next moment of a reader with manners. */
static void plan(struct crowd *crowd, struct crowd_reader *reader)
{
	static const struct {
		unsigned min_ms, max_ms;
	} pauses[CROWD_MANNERS] = {
		[CROWD_STALLS] = { 100, 2000 }, [CROWD_BREAKS] = { 100, 3000 }, [CROWD_RUDE] = { 100, 1500 }
	};
	unsigned max = pauses[reader->manner].max_ms;
	reader->act_ns = max ? later(crowd, pauses[reader->manner].min_ms, max) : UINT64_MAX;
}

/* Whether epoll reports the reader: then it reads whatever there is. */
static void watch(struct crowd *crowd, struct crowd_reader *reader, bool watched, uint32_t events)
{
	struct epoll_event event = { .events = watched ? events : 0, .data.ptr = reader };
	epoll_ctl(crowd->epoll, EPOLL_CTL_MOD, reader->socket.descriptor, &event);
	reader->is_watched = watched;
}

static void connect_reader(struct crowd *crowd, struct crowd_reader *reader)
{
	char topic[BOOK_TOPIC_MAX], path[SOCKET_PATH_MAX];
	uint64_t epoch, since;
	book_topic(crowd->market, reader->book, topic);
	int size = snprintf(path, sizeof path, "/topic/%s?form=%s&state=1", topic, reader->json ? "json" : "binary");
	if (follow_position(&reader->reader.follow, &epoch, &since))
		size += snprintf(path + size, sizeof path - (size_t)size, "&since=%" PRIu64 "&epoch=%" PRIu64, since,
		                 epoch);
	if (reader->manner == CROWD_RATED)
		snprintf(path + size, sizeof path - (size_t)size, "&rate=%d", RATE);
	bool small = reader->manner == CROWD_STALLS || reader->manner == CROWD_SLOW || reader->manner == CROWD_RUDE;
	int code = socket_begin(&reader->socket, (uint16_t)atomic_load(&crowd->board->port), path,
	                        small ? SMALL_BUFFER : 0);
	struct epoll_event event = { .events = EPOLLOUT, .data.ptr = reader };
	if (!code && epoll_ctl(crowd->epoll, EPOLL_CTL_ADD, reader->socket.descriptor, &event))
		socket_drop(&reader->socket);
	reader->is_watched = true;
	if (reader->socket.state == SOCKET_CLOSED) {
		crowd->refused++;
		reader->act_ns = later(crowd, RETRY_MS, 2 * RETRY_MS);
	}
}

/* Drops the connection, if there still is one, and tries anew after a while. */
static void reconnect(struct crowd *crowd, struct crowd_reader *reader, unsigned max_ms)
{
	socket_drop(&reader->socket);
	reader->act_ns = later(crowd, 0, max_ms + 1);
}

static void complain(const struct crowd *crowd, const struct crowd_reader *reader, const char *what)
{
	const struct follow *follow = &reader->reader.follow;
	command_failed("reader %zu of book %s: %s behind update %" PRIu64 " of epoch %" PRIu64,
	               (size_t)(reader - crowd->readers), crowd->market->symbols[reader->book], what, follow->last,
	               follow->epoch);
}

/* Hands a message to the reader's book. Returns false when the connection is of no use any more. */
static bool take(struct crowd *crowd, struct crowd_reader *reader, const struct socket_message *bytes)
{
	struct book_reader *book = &reader->reader;
	uint64_t wrong = book->wrong, silent = book->silent, gaps = book->follow.gaps;
	struct keyed_message message;
	bool good = reader->json
	                ? bytes->is_text && keyed_read_json(bytes->data, bytes->size, &message, &crowd->scratch)
	                : !bytes->is_text && keyed_read_binary(bytes->data, bytes->size, &message);
	if (!good) {
		book->malformed++;
		complain(crowd, reader, "a message that is none");
		book->follow.partial = true;
		return false;
	}
	good = book_reader_take(book, &message);
	if (book->follow.gaps > gaps)
		complain(crowd, reader, "an update is missing");
	if (book->silent > silent)
		complain(crowd, reader, "updates are missing although the numbers fit,");
	if (book->wrong == wrong)
		return good;
	complain(crowd, reader, "the checksum is wrong");
	book->follow.partial = true; /* so that it asks for the state: one fault is counted once */
	return false;
}

static void take_all(struct crowd *crowd, struct crowd_reader *reader)
{
	struct socket_message message;
	int code;
	while ((code = socket_next(&reader->socket, &message)) > 0) {
		if (!take(crowd, reader, &message)) {
			reconnect(crowd, reader, RETRY_MS);
			return;
		}
	}
	if (!code)
		return;
	crowd->closed += code == -ENOTCONN;
	if (code != -ENOTCONN)
		reader->reader.malformed++;
	reconnect(crowd, reader, RETRY_MS);
}

static void read_some(struct crowd *crowd, struct crowd_reader *reader, size_t size)
{
	int got = socket_fill(&reader->socket, size);
	if (got < 0)
		reconnect(crowd, reader, RETRY_MS);
	else if (got > 0)
		take_all(crowd, reader);
}

static void open_reader(struct crowd *crowd, struct crowd_reader *reader)
{
	if (socket_open(&reader->socket)) {
		crowd->refused++;
		reconnect(crowd, reader, 2 * RETRY_MS);
		return;
	}
	bool is_open = reader->socket.state == SOCKET_OPEN;
	watch(crowd, reader, !is_open || reader->manner != CROWD_SLOW || atomic_load(&crowd->board->done), EPOLLIN);
	if (!is_open)
		return;
	crowd->connects++;
	plan(crowd, reader);
	take_all(crowd, reader);
}

/* Does what a reader's manner is. */
static void act(struct crowd *crowd, struct crowd_reader *reader)
{
	if (reader->manner == CROWD_BREAKS || (reader->manner == CROWD_RUDE && !reader->is_watched)) {
		crowd->breaks++;
		reconnect(crowd, reader, 300);
		return;
	}
	crowd->stalls += reader->is_watched;
	watch(crowd, reader, !reader->is_watched, EPOLLIN);
	plan(crowd, reader);
}

bool crowd_is_right(const struct crowd *crowd, const struct crowd_reader *reader)
{
	const struct stage_end *end = &crowd->board->ends[reader->book];
	const struct follow *follow = &reader->reader.follow;
	uint64_t epoch, at;
	if (!follow_is_whole(follow) || book_checksum(&reader->reader.book) != end->checksum)
		return false;
	/* Of a book that never had an update there is no position. */
	return follow_position(follow, &epoch, &at) ? epoch == end->epoch && at == end->sequence : !end->sequence;
}

/* All was published: nobody has manners any more, so that each gets there. */
static void finish(struct crowd *crowd, struct crowd_reader *reader)
{
	if (reader->is_done)
		return;
	if (!reader->is_watched && reader->socket.state == SOCKET_OPEN)
		watch(crowd, reader, true, EPOLLIN);
	reader->is_done = crowd_is_right(crowd, reader);
	crowd->done_count += reader->is_done;
}

static void tick(struct crowd *crowd)
{
	uint64_t now = clock_now();
	bool done = atomic_load(&crowd->board->done);
	for (unsigned index = 0; index < crowd->reader_count; index++) {
		struct crowd_reader *reader = &crowd->readers[index];
		if (reader->socket.state == SOCKET_CLOSED) {
			if (now >= reader->act_ns && atomic_load(&crowd->board->up))
				connect_reader(crowd, reader);
		} else if (reader->socket.state == SOCKET_OPEN) {
			if (done)
				finish(crowd, reader);
			else if (now >= reader->act_ns)
				act(crowd, reader);
			else if (reader->manner == CROWD_SLOW && !reader->is_watched)
				read_some(crowd, reader, SLOW_SIZE);
		}
	}
}

void crowd_turn(struct crowd *crowd, uint64_t until_ns)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t next_tick = clock_now();
	for (;;) {
		uint64_t now = clock_now();
		if (now >= next_tick) {
			tick(crowd);
			next_tick = now + TICK_NS;
		}
		if (now >= until_ns)
			return;
		int count = epoll_wait(crowd->epoll, events, EVENTS_MAX, (int)(TICK_NS / NS_PER_MS));
		for (int i = 0; i < count; i++) {
			struct crowd_reader *reader = events[i].data.ptr;
			if (reader->socket.state == SOCKET_OPENING)
				open_reader(crowd, reader);
			else if (reader->socket.state == SOCKET_OPEN && reader->is_watched)
				read_some(crowd, reader, SOCKET_BUFFER_SIZE);
			else if (reader->socket.state == SOCKET_OPEN) /* an error is reported to whoever stalls too */
				reconnect(crowd, reader, RETRY_MS);
		}
	}
}

int crowd_open(struct crowd *crowd)
{
	random_seed(crowd->random, crowd->seed);
	crowd->readers = calloc(crowd->reader_count, sizeof *crowd->readers);
	crowd->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!crowd->readers || crowd->epoll < 0)
		return -command_failed("the readers: %s", strerror(errno));
	for (unsigned index = 0; index < crowd->reader_count; index++) {
		struct crowd_reader *reader = &crowd->readers[index];
		reader->book = index % crowd->market->book_count;
		/* Shifted from lap to lap, so that each book gets readers of all manners. */
		unsigned lap = index / crowd->market->book_count;
		reader->manner = crowd->hostile ? manners[(index + lap) % (sizeof manners / sizeof *manners)]
		                                : CROWD_STEADY;
		reader->json = (index / 8 + lap) % 4 == 0;
	}
	return 0;
}

void crowd_close(struct crowd *crowd)
{
	for (unsigned index = 0; crowd->readers && index < crowd->reader_count; index++) {
		socket_drop(&crowd->readers[index].socket);
		book_reader_free(&crowd->readers[index].reader);
	}
	close(crowd->epoll);
	free(crowd->scratch.bytes);
	free(crowd->readers);
}
