/* SPDX-License-Identifier: MIT
 *
 * books.c - keyed topics ("books"): the truth about them, and readers of the binary form that each keep a book. A
 * reader is right when every number that it was not told to do without is there, and when its book is the true one at
 * every moment of which it can know that. It looks into the production code for nothing.
 */
#include "ringcast_feed.h"
#include "ringcast_form.h"
#include "sim.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define BOOK_KEYS 12
#define PAYLOAD_MAX 1600
#define HEAD 28 /* of the binary form */
#define BEGINNINGS 6

enum { MESSAGE, STATE, RESYNC, CONFLATED, HEARTBEAT, KINDS };
enum { TEXT_FLAG = 1, REMOVED = 2, BASE = 4, INCOMPLETE = 8 };

const char *const books_topics[BOOKS] = { "book/a", "book/b" };

struct line {
	unsigned id;
	uint32_t size;
	uint8_t key; /* BOOK_KEYS: none */
	bool removed, base;
};

static struct truth {
	struct line lines[BOOK_MESSAGES_MAX]; /* by sequence */
	uint64_t sequence, epoch;
} truths[BOOKS];
static unsigned made_count, published_count;

/* What a subscription begins with. */
struct beginning {
	unsigned marker;
	bool state;     /* a mark comes first */
	uint64_t first; /* without one: what comes first */
};

static struct book_reader {
	bool active, begun, unsure; /* subscribed; it has its beginning; values were dropped, and it was told */
	bool knows;                 /* its book began with a state */
	bool less;                  /* a mark said that it gets less */
	struct beginning waits[BEGINNINGS];
	unsigned wait_begin, wait_end;
	uint64_t end; /* when not active: nothing later may come */
	uint64_t last, until;
	uint64_t keys[BOOK_KEYS], base;
	unsigned marks[KINDS], told;
} readers[PEERS_MAX][BOOKS];

static uint8_t bytes_of[PEERS_MAX][HEAD + 64 + RC_KEY_MAX + PAYLOAD_MAX];
static size_t sizes_of[PEERS_MAX];

void books_reset(void)
{
	memset(truths, 0, sizeof truths);
	memset(readers, 0, sizeof readers);
	made_count = published_count = 0;
}

unsigned books_published_count(void)
{
	return published_count;
}

/* ---- publishing ---- */

static void fill(uint8_t *to, unsigned id, size_t size)
{
	char start[16];
	snprintf(start, sizeof start, "B%07x", id);
	memcpy(to, start, 8);
	tap_fill(to + 8, id, 8, size - 8);
}

static struct line some_line(void)
{
	struct line line = { .id = ++made_count, .key = (uint8_t)sim_below(sim_one_in(2) ? 3 : BOOK_KEYS) };
	line.size = sim_one_in(12) ? sim_between(8, PAYLOAD_MAX) : sim_between(8, 150);
	line.base = sim_one_in(50);
	line.removed = !line.base && sim_one_in(6);
	if (line.base || (!line.removed && sim_one_in(16)))
		line.key = BOOK_KEYS;
	return line;
}

static size_t name_key(char *to, unsigned key)
{
	return key == BOOK_KEYS ? 0 : (size_t)snprintf(to, 16, "key-%u", key);
}

static void note(unsigned book, const struct line *line, int64_t result, uint64_t epoch)
{
	struct truth *truth = &truths[book];
	if (result <= 0) {
		CHECK(result == -EAGAIN || result == -EMSGSIZE ||
		          (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]),
		      "publishing to a book gives %d", (int)result);
		return;
	}
	if (result == 1)
		truth->sequence = 0;
	CHECK((uint64_t)result == truth->sequence + 1, "%s: %d after %llu", books_topics[book], (int)result,
	      (unsigned long long)truth->sequence);
	TRACE("published %u as %s %d, key %u%s%s", line->id, books_topics[book], (int)result, line->key,
	      line->removed ? ", removed" : "", line->base ? ", a base" : "");
	truth->sequence = (uint64_t)result;
	truth->lines[result] = *line;
	if (epoch)
		truth->epoch = epoch;
	published_count++;
	sim_mix(line->id);
}

static unsigned flags_of(const struct line *line)
{
	return (line->removed ? RC_PUBLISH_REMOVE : 0) | (line->base ? RC_PUBLISH_SNAPSHOT : 0);
}

static void publish_one(unsigned book, unsigned flags)
{
	uint8_t bytes[PAYLOAD_MAX];
	char key[16];
	struct line line = some_line();
	fill(bytes, line.id, line.size);
	struct rc_publication message = { .data = bytes,
		                          .size = line.size,
		                          .flags = flags | flags_of(&line),
		                          .key = key,
		                          .key_size = name_key(key, line.key) };
	int64_t result = rc_publish_with(sim.server, books_topics[book], strlen(books_topics[book]), &message);
	note(book, &line, result, message.epoch);
}

static void publish_many(unsigned flags)
{
	static uint8_t all_bytes[FIBERS_MAX + 1][RC_PUBLISH_MANY_MAX][PAYLOAD_MAX];
	uint8_t(*bytes)[PAYLOAD_MAX] = all_bytes[host_current() + 1];
	struct rc_batch_message messages[RC_PUBLISH_MANY_MAX];
	struct line lines[RC_PUBLISH_MANY_MAX];
	char keys[RC_PUBLISH_MANY_MAX][16];
	unsigned count = sim_between(1, RC_PUBLISH_MANY_MAX), books[RC_PUBLISH_MANY_MAX];
	for (unsigned i = 0; i < count; i++) {
		lines[i] = some_line();
		books[i] = sim_below(BOOKS);
		fill(bytes[i], lines[i].id, lines[i].size);
		messages[i] = (struct rc_batch_message){ .name = books_topics[books[i]],
			                                 .name_size = strlen(books_topics[books[i]]),
			                                 .data = bytes[i],
			                                 .size = lines[i].size,
			                                 .flags = flags_of(&lines[i]),
			                                 .key = keys[i],
			                                 .key_size = name_key(keys[i], lines[i].key) };
	}
	int64_t result = rc_publish_many(sim.server, messages, count, flags);
	for (unsigned i = 0; i < count; i++)
		note(books[i], &lines[i], result < 0 ? result : messages[i].result, 0);
}

void books_publish(unsigned flags)
{
	if (made_count + RC_PUBLISH_MANY_MAX >= BOOK_MESSAGES_MAX)
		return;
	if (sim_one_in(6))
		publish_many(flags & ~(unsigned)RC_PUBLISH_BINARY);
	else
		publish_one(sim_below(BOOKS), flags);
}

/* ---- subscribing ---- */

static void subscribed(struct peer *peer, unsigned book, const struct rc_start *start, unsigned marker)
{
	struct book_reader *reader = &readers[peer->index][book];
	uint64_t sequence = truths[book].sequence;
	struct beginning *waits = &reader->waits[reader->wait_end++ % BEGINNINGS];
	bool all = start->resume && start->first == start->since + 1;
	*waits = (struct beginning){ .marker = marker,
		                     .state = (start->state || start->snapshot) && !all,
		                     .first = start->first };
	reader->active = true;
	TRACE("peer %u: subscribed %s from %llu%s", peer->index, books_topics[book], (unsigned long long)start->first,
	      waits->state ? " with its state" : "");
	CHECK(start->first <= sequence + 1, "%s begins with %llu, and %llu is the newest", books_topics[book],
	      (unsigned long long)start->first, (unsigned long long)sequence);
}

static bool may_lack(void)
{
	return sim_memory_lacks() || sim.books_short;
}

void books_subscribe(struct peer *peer, unsigned book, unsigned mode, bool opening)
{
	const char *name = books_topics[book];
	struct book_reader *reader = &readers[peer->index][book];
	struct rc_start start = { .state = mode & 1,
		                  .snapshot = (mode & 6) == 6,
		                  .rate = mode & 8 ? 8u << sim_below(8) : 0,
		                  .resume = (mode & 0x30) == 0x30,
		                  .since = truths[book].sequence - RC_MIN(truths[book].sequence, sim_below(30)) };
	unsigned marker = 0;
	start.rate = RC_MIN(start.rate, RC_RATE_MAX);
	if (reader->active) {
		CHECK(rc_unsubscribe(sim.server, peer->conn, name, strlen(name)) == 0, "a book cannot be left");
		reader->active = false;
		reader->end = truths[book].sequence;
		TRACE("peer %u: unsubscribed %s", peer->index, name);
		return;
	}
	if (reader->wait_end - reader->wait_begin == BEGINNINGS)
		return;
	if (!opening) {
		marker = ++peer->marker_count;
		if (!application_mark(peer, TOPICS + book, marker))
			return;
	}
	int result = rc_subscribe(sim.server, peer->conn, name, strlen(name), &start);
	CHECK(result == 0 || (result == -ENOMEM && may_lack()) || result == -EAGAIN ||
	          (result == -ENOSPC && sim.config.subscriptions_max < BOOKS + STREAMS),
	      "subscribing to a book gives %d", result);
	if (result == 0)
		subscribed(peer, book, &start, marker);
}

static void begin(struct book_reader *reader)
{
	const struct beginning *waits = &reader->waits[reader->wait_begin++ % BEGINNINGS];
	reader->begun = !waits->state;
	reader->knows = reader->unsure = reader->less = false;
	reader->last = 0;
	reader->until = waits->first - 1;
	if (waits->state)
		reader->until = 0;
}

/* A message to the peer alone says that from here on what comes is of its next subscription. */
void books_marked(struct peer *peer, unsigned book, unsigned marker)
{
	struct book_reader *reader = &readers[peer->index][book];
	/* Of one that it left again at once, nothing may have come; and there may be none that began here, where
	 * a mark was sent and the subscription refused. */
	unsigned at = reader->wait_begin;
	while (at != reader->wait_end && reader->waits[at % BEGINNINGS].marker != marker)
		at++;
	if (at == reader->wait_end)
		return;
	reader->wait_begin = at;
	begin(reader);
}

void books_resync(struct peer *peer, const char *topic)
{
	for (unsigned book = 0; book < BOOKS; book++)
		readers[peer->index][book].told += strcmp(topic, books_topics[book]) == 0;
}

/* ---- reading ---- */

/* The book as it truly was when that was the newest message. Returns its base. */
static uint64_t true_book(unsigned book, uint64_t sequence, uint64_t *keys)
{
	uint64_t base = 0;
	memset(keys, 0, BOOK_KEYS * sizeof *keys);
	for (uint64_t at = 1; at <= sequence; at++) {
		const struct line *line = &truths[book].lines[at];
		if (line->base) {
			memset(keys, 0, BOOK_KEYS * sizeof *keys);
			base = at;
		} else if (line->key < BOOK_KEYS) {
			keys[line->key] = line->removed ? 0 : at;
		}
	}
	return base;
}

static bool is_true(const struct book_reader *reader, unsigned book, uint64_t sequence)
{
	uint64_t keys[BOOK_KEYS];
	return true_book(book, sequence, keys) == reader->base && memcmp(keys, reader->keys, sizeof keys) == 0;
}

static void check_book(const struct peer *peer, unsigned book, uint64_t sequence)
{
	const struct book_reader *reader = &readers[peer->index][book];
	uint64_t keys[BOOK_KEYS];
	if (!reader->knows || reader->unsure || is_true(reader, book, sequence))
		return;
	uint64_t base = true_book(book, sequence, keys);
	CHECK(base == reader->base, "peer %u: %s has the base %llu instead of %llu at %llu", peer->index,
	      books_topics[book], (unsigned long long)reader->base, (unsigned long long)base,
	      (unsigned long long)sequence);
	for (unsigned key = 0; key < BOOK_KEYS; key++)
		CHECK(keys[key] == reader->keys[key], "peer %u: %s has %llu as key %u instead of %llu at %llu",
		      peer->index, books_topics[book], (unsigned long long)reader->keys[key], key,
		      (unsigned long long)keys[key], (unsigned long long)sequence);
}

static void take_mark(struct peer *peer, unsigned book, unsigned kind, unsigned flags, uint64_t sequence)
{
	struct book_reader *reader = &readers[peer->index][book];
	uint64_t has = RC_MAX(reader->last, reader->until);
	TRACE("peer %u: %s mark %u %llu", peer->index, books_topics[book], kind, (unsigned long long)sequence);
	CHECK(sequence <= truths[book].sequence, "a mark of the future");
	reader->marks[kind]++;
	sim_met((enum fault)(MET_STATE + (kind - STATE)));
	if (kind == HEARTBEAT) {
		CHECK(reader->begun && sequence == has, "peer %u: %s has %llu, and a heartbeat says %llu", peer->index,
		      books_topics[book], (unsigned long long)has, (unsigned long long)sequence);
		check_book(peer, book, sequence);
		return;
	}
	CHECK(sequence >= has || kind == RESYNC, "peer %u: a mark goes back", peer->index);
	CHECK(kind != RESYNC || reader->marks[RESYNC] <= reader->told, "peer %u: nobody heard of its resync",
	      peer->index);
	if (kind == CONFLATED) {
		CHECK(reader->begun, "peer %u: the state does not come first", peer->index);
		/* Nothing is between what it has and what it is told of. */
		check_book(peer, book, has);
	} else {
		memset(reader->keys, 0, sizeof reader->keys);
		reader->base = reader->last = 0;
		reader->begun = reader->knows = true;
		reader->unsure = flags & INCOMPLETE;
		CHECK(!reader->unsure || sim.books_short || sim_memory_lacks(), "values were dropped");
	}
	reader->until = sequence;
	reader->less = true;
}

static void take_line(struct peer *peer, unsigned book, unsigned flags, const uint8_t *rest, size_t size,
                      const uint64_t *numbers)
{
	struct book_reader *reader = &readers[peer->index][book];
	uint64_t sequence = numbers[0], previous = numbers[2], has = RC_MAX(reader->last, reader->until);
	const struct line *line = &truths[book].lines[sequence % BOOK_MESSAGES_MAX];
	uint8_t wanted[PAYLOAD_MAX];
	char key[16];
	size_t key_size = name_key(key, line->key);
	TRACE("peer %u: %s %llu<%llu", peer->index, books_topics[book], (unsigned long long)sequence,
	      (unsigned long long)previous);
	CHECK(sequence && sequence <= truths[book].sequence, "a message of the future");
	fill(wanted, line->id, line->size);
	CHECK(size == key_size + line->size && memcmp(rest, key, key_size) == 0 &&
	          memcmp(rest + key_size, wanted, line->size) == 0,
	      "peer %u: %s %llu is not what was published", peer->index, books_topics[book],
	      (unsigned long long)sequence);
	CHECK(line->removed == !!(flags & REMOVED) && line->base == !!(flags & BASE) && previous == sequence - 1,
	      "peer %u: %s %llu has flags %x and %llu before it", peer->index, books_topics[book],
	      (unsigned long long)sequence, flags, (unsigned long long)previous);
	CHECK(reader->active || sequence <= reader->end, "peer %u: %s %llu after it was left", peer->index,
	      books_topics[book], (unsigned long long)sequence);
	CHECK(reader->begun, "peer %u: the state does not come first", peer->index);
	CHECK(sequence > reader->last, "peer %u: %s %llu after %llu", peer->index, books_topics[book],
	      (unsigned long long)sequence, (unsigned long long)reader->last);
	if (sequence > reader->until) {
		CHECK(previous == has, "peer %u: %s %llu comes after %llu, and nobody said so", peer->index,
		      books_topics[book], (unsigned long long)sequence, (unsigned long long)has);
		if (sim_one_in(4) || reader->last < reader->until)
			check_book(peer, book, previous);
	}
	reader->last = sequence;
	if (line->base) {
		memset(reader->keys, 0, sizeof reader->keys);
		reader->base = sequence;
		reader->unsure = false;
	} else if (line->key < BOOK_KEYS) {
		reader->keys[line->key] = line->removed ? 0 : sequence;
	}
}

bool books_take(struct peer *peer, const uint8_t *bytes, size_t size)
{
	size_t *used = &sizes_of[peer->index];
	if (!peer->books || peer->header[0] != (0x80 | RC_BINARY))
		return false;
	if (!peer->plain_done)
		*used = 0;
	/* What is said to it alone begins with a letter. */
	if (peer->start[0] >= KINDS)
		return false;
	CHECK(*used + size <= sizeof bytes_of[0], "peer %u: a message without end", peer->index);
	memcpy(bytes_of[peer->index] + *used, bytes, size);
	*used += size;
	return true;
}

bool books_over(struct peer *peer)
{
	const uint8_t *bytes = bytes_of[peer->index];
	size_t size = sizes_of[peer->index];
	uint64_t numbers[3];
	unsigned book = 0;
	if (!peer->books || peer->header[0] != (0x80 | RC_BINARY) || !peer->plain_done || peer->start[0] >= KINDS)
		return false;
	CHECK(size == peer->plain_done && size >= (size_t)HEAD + bytes[2] + bytes[3], "peer %u: %zu bytes of a book",
	      peer->index, size);
	while (book < BOOKS &&
	       (strlen(books_topics[book]) != bytes[3] || memcmp(books_topics[book], bytes + HEAD, bytes[3]) != 0))
		book++;
	if (book == BOOKS && streams_over(peer, bytes, size))
		return true;
	CHECK(book < BOOKS, "peer %u: no book's message", peer->index);
	memcpy(numbers, bytes + 4, sizeof numbers);
	for (unsigned i = 0; i < 3; i++)
		numbers[i] = be64toh(numbers[i]);
	struct book_reader *reader = &readers[peer->index][book];
	if (reader->wait_begin != reader->wait_end && !reader->waits[reader->wait_begin % BEGINNINGS].marker)
		begin(reader);
	if (bytes[0] == MESSAGE)
		take_line(peer, book, bytes[1], bytes + HEAD + bytes[3], size - HEAD - bytes[3], numbers);
	else
		take_mark(peer, book, bytes[0], bytes[1], numbers[0]);
	return true;
}

/* ---- at rest ---- */

bool books_caught_up(const struct peer *peer)
{
	for (unsigned book = 0; peer->books && book < BOOKS; book++) {
		const struct book_reader *reader = &readers[peer->index][book];
		const struct beginning *waits = &reader->waits[reader->wait_begin % BEGINNINGS];
		if (!reader->active)
			continue;
		bool waits_for_state = reader->wait_begin != reader->wait_end && waits->state;
		uint64_t has = reader->wait_begin != reader->wait_end ? waits->first - 1
		                                                      : RC_MAX(reader->last, reader->until);
		if (waits_for_state || has < truths[book].sequence)
			return false;
		/* What was conflated ends with the newest message. A state may end with anything. */
		if (reader->less && reader->last < reader->until && !reader->unsure &&
		    (!reader->knows || !is_true(reader, book, truths[book].sequence)))
			return false;
	}
	return true;
}

void books_check(const struct peer *peer)
{
	for (unsigned book = 0; peer->books && book < BOOKS; book++)
		if (readers[peer->index][book].active)
			check_book(peer, book, truths[book].sequence);
}

/* Whether it may be closed as too slow: where a state cannot be had. */
bool books_may_close(const struct peer *peer)
{
	return peer->books && may_lack();
}
