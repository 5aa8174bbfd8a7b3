/* SPDX-License-Identifier: MIT
 *
 * streams.c - topics that are numbered elsewhere: a stream with holes, which loses its data now and then, or is cut off
 * before it was read, and says some of it again; and readers of the binary form. A reader is right when every message
 * that there was comes, or a loss was told that there was; when nothing comes again; and when no epoch comes without a
 * word. It looks into the production code for nothing.
 */
#include "ringcast_replica.h"
#include "ringcast_stats.h"
#include "sim.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#define HEAD 28 /* of the binary form */
#define ENTRIES_MAX 4096
#define MANY_MAX 12
#define PAYLOAD_MAX 400
#define BEGINNINGS 6

enum { MESSAGE, STATE, RESYNC, CONFLATED, HEARTBEAT };

const char *const streams_topics[STREAMS] = { "stream/a", "stream/b" };

/* What was published. */
static struct entry {
	uint64_t epoch, sequence, previous;
	bool loose; /* nobody said where its epoch begins: the number below its own may count as lost */
	uint8_t topic;
	uint32_t size;
} entries[ENTRIES_MAX];
static unsigned entry_count;

static struct truth {
	uint64_t epoch;
	uint64_t newest; /* number; or what it begins behind */
	uint64_t begin;  /* everything up to here is lost by what was said */
	bool unsure;     /* publishing there failed, and perhaps it began anew */
} truths[STREAMS];

static struct {
	uint64_t epoch, sequence;
	uint64_t said_epoch, said_sequence; /* to rc_server_begin() */
	bool busy;                          /* somebody reads it */
	unsigned published_count;
} stream;

struct beginning {
	unsigned marker;
	bool anew; /* a mark comes first */
	uint64_t epoch, until;
};

static struct stream_reader {
	bool active, begun;
	struct beginning waits[BEGINNINGS];
	unsigned wait_begin, wait_end, end; /* when not active: no later entry may come */
	uint64_t epoch, has;
	unsigned marks, told;
} readers[PEERS_MAX][STREAMS];

void streams_reset(void)
{
	memset(truths, 0, sizeof truths);
	memset(readers, 0, sizeof readers);
	memset(&stream, 0, sizeof stream);
	entry_count = 0;
}

unsigned streams_published_count(void)
{
	return stream.published_count;
}

/* ---- publishing ---- */

static void say(uint64_t epoch, uint64_t sequence)
{
	int result = rc_server_begin(sim.server, epoch, sequence);
	CHECK(result == 0 || (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]), "where it begins: %d", result);
	TRACE("the stream begins behind %llu/%llu", (unsigned long long)epoch, (unsigned long long)sequence);
	stream.said_epoch = epoch;
	stream.said_sequence = RC_MAX(sequence, stream.said_epoch == epoch ? stream.said_sequence : 0);
	for (unsigned topic = 0; topic < STREAMS; topic++) {
		struct truth *truth = &truths[topic];
		if (truth->epoch == epoch && truth->newest >= sequence)
			continue;
		*truth = (struct truth){ .epoch = epoch, .newest = sequence, .begin = sequence, .unsure = result < 0 };
	}
}

void streams_begin(void)
{
	stream.epoch = sim_between(1, 1000);
	stream.sequence = sim_below(50);
	say(stream.epoch, stream.sequence);
}

static void lose(void)
{
	switch (sim_below(4)) {
	case 0: /* cut off before it was read */
		stream.sequence += sim_between(1, 60);
		say(stream.epoch, stream.sequence);
		break;
	case 1: /* new, and nobody says so but its messages */
		stream.epoch += sim_between(1, 3);
		stream.sequence = sim_below(100);
		break;
	default:
		stream.epoch += sim_between(1, 3);
		stream.sequence = sim_below(100);
		say(stream.epoch, stream.sequence);
		break;
	}
}

static size_t fill(uint8_t *to, uint64_t epoch, uint64_t sequence, size_t size)
{
	char start[32];
	size_t used = (size_t)snprintf(start, sizeof start, "%08llx%08llx", (unsigned long long)epoch,
	                               (unsigned long long)sequence);
	memcpy(to, start, used);
	tap_fill(to + used, (unsigned)sequence, used, size - used);
	return size;
}

static struct entry some_entry(void)
{
	stream.sequence += sim_one_in(3) ? sim_between(2, 9) : 1;
	return (struct entry){ .epoch = stream.epoch,
		               .sequence = stream.sequence,
		               .topic = (uint8_t)sim_below(STREAMS),
		               .size = sim_one_in(6) ? sim_between(17, PAYLOAD_MAX) : sim_between(17, 60) };
}

/* What became of it. */
static void note(struct entry *entry, int64_t result)
{
	struct truth *truth = &truths[entry->topic];
	bool said = stream.said_epoch == entry->epoch, anew = truth->epoch != entry->epoch;
	if (anew) /* with the message, or by trying */
		*truth = (struct truth){ .epoch = entry->epoch,
			                 .newest = said ? stream.said_sequence : entry->sequence - 1 };
	if (anew)
		truth->begin = truth->newest;
	truth->unsure |= anew && result < 0;
	if (result == -EEXIST) {
		CHECK(entry->sequence <= truth->newest, "%s: %llu is there already, and %llu the newest",
		      streams_topics[entry->topic], (unsigned long long)entry->sequence,
		      (unsigned long long)truth->newest);
		return;
	}
	if (result < 0) {
		CHECK(result == -EAGAIN || result == -EMSGSIZE ||
		          (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]),
		      "publishing to a stream's topic gives %d", (int)result);
		return;
	}
	CHECK((uint64_t)result == entry->sequence, "%llu became %lld", (unsigned long long)entry->sequence,
	      (long long)result);
	TRACE("published %s %llu/%llu", streams_topics[entry->topic], (unsigned long long)entry->epoch,
	      (unsigned long long)entry->sequence);
	entry->previous = truth->newest;
	entry->loose = !said;
	truth->newest = entry->sequence;
	truth->unsure = false;
	entries[entry_count++] = *entry;
	stream.published_count++;
	sim_mix(entry->sequence);
}

static void publish_one(struct entry entry, unsigned flags)
{
	uint8_t bytes[PAYLOAD_MAX];
	const char *name = streams_topics[entry.topic];
	struct rc_publication message = { .data = bytes,
		                          .size = fill(bytes, entry.epoch, entry.sequence, entry.size),
		                          .flags = flags & ~(unsigned)RC_PUBLISH_BINARY,
		                          .at_epoch = entry.epoch,
		                          .at_sequence = entry.sequence };
	note(&entry, rc_publish_with(sim.server, name, strlen(name), &message));
}

/* Some of them twice, and some that were published before. */
static void publish_many(unsigned flags)
{
	static uint8_t bytes[MANY_MAX][PAYLOAD_MAX]; /* one at a time reads the stream */
	struct rc_batch_message messages[MANY_MAX];
	struct entry many[MANY_MAX];
	unsigned count = sim_between(1, MANY_MAX);
	for (unsigned i = 0; i < count; i++) {
		many[i] = i && sim_one_in(4) ? many[sim_below(i)] : some_entry();
		messages[i] = (struct rc_batch_message){
			.name = streams_topics[many[i].topic],
			.name_size = strlen(streams_topics[many[i].topic]),
			.data = bytes[i],
			.size = fill(bytes[i], many[i].epoch, many[i].sequence, many[i].size),
			.at_epoch = many[i].epoch,
			.at_sequence = many[i].sequence,
		};
	}
	int64_t result = rc_publish_many(sim.server, messages, count, flags & ~(unsigned)RC_PUBLISH_BINARY);
	for (unsigned i = 0; i < count; i++)
		note(&many[i], result < 0 ? result : messages[i].result);
}

void streams_publish(unsigned flags)
{
	if (stream.busy || entry_count + MANY_MAX >= ENTRIES_MAX)
		return;
	stream.busy = true;
	if (sim_one_in(60))
		lose();
	const struct entry *before = entry_count ? &entries[entry_count - 1 - sim_below(RC_MIN(entry_count, 20))]
	                                         : NULL;
	if (sim_one_in(8) && before && before->epoch == truths[before->topic].epoch && before->epoch == stream.epoch)
		publish_one(*before, flags);
	else if (sim_one_in(5))
		publish_many(flags);
	else
		publish_one(some_entry(), flags);
	stream.busy = false;
}

/* ---- subscribing ---- */

/* Whether there was a message of it above one number, and not above the other. */
static bool exists(unsigned topic, uint64_t epoch, uint64_t above, uint64_t to)
{
	for (unsigned i = entry_count; i-- > 0;)
		if (entries[i].topic == topic && entries[i].epoch == epoch && entries[i].sequence > above &&
		    entries[i].sequence <= to)
			return true;
	return false;
}

static void subscribed(struct peer *peer, unsigned topic, const struct rc_start *start, uint64_t since, unsigned marker)
{
	struct stream_reader *reader = &readers[peer->index][topic];
	struct beginning *waits = &reader->waits[reader->wait_end++ % BEGINNINGS];
	const struct truth *truth = &truths[topic];
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(sim.server, streams_topics[topic], strlen(streams_topics[topic]), &stats);
	*waits = (struct beginning){ .marker = marker, .epoch = stats.epoch, .until = start->first - 1 };
	if (start->resume || since)
		*waits = (struct beginning){ .marker = marker,
			                     .anew = since && !start->since,
			                     .epoch = start->epoch,
			                     .until = RC_MAX(start->lost, since) };
	reader->active = true;
	TRACE("peer %u: subscribed %s from %llu/%llu%s, %llu lost", peer->index, streams_topics[topic],
	      (unsigned long long)waits->epoch, (unsigned long long)waits->until, waits->anew ? " anew" : "",
	      (unsigned long long)start->lost);
	bool known = start->epoch == truth->epoch && !stream.busy && stream.said_epoch == truth->epoch;
	CHECK(!start->lost || waits->anew || !known || sim.struck_here[FAULT_ALLOCATION] ||
	          start->lost <= truth->begin || exists(topic, start->epoch, since, start->lost),
	      "peer %u: %s has lost nothing between %llu and %llu", peer->index, streams_topics[topic],
	      (unsigned long long)since, (unsigned long long)start->lost);
}

void streams_subscribe(struct peer *peer, unsigned topic, bool opening)
{
	const char *name = streams_topics[topic];
	struct stream_reader *reader = &readers[peer->index][topic];
	struct rc_start start = { 0 };
	uint64_t since = 0;
	unsigned marker = 0;
	if (reader->active) {
		CHECK(rc_unsubscribe(sim.server, peer->conn, name, strlen(name)) == 0, "a stream cannot be left");
		reader->active = false;
		reader->end = entry_count + 2 * MANY_MAX; /* what is being published may come, too */
		if (sim_one_in(3))
			return;
	}
	if (reader->wait_end - reader->wait_begin == BEGINNINGS)
		return;
	if (reader->epoch && !sim_one_in(4)) { /* where it was, or a little further on */
		since = reader->has + (sim_one_in(2) ? sim_below(40) : 0);
		start = (struct rc_start){ .resume = true, .since = since, .epoch = reader->epoch };
	}
	if (!opening) {
		marker = ++peer->marker_count;
		if (!application_mark(peer, TOPICS + BOOKS + topic, marker))
			return;
	}
	int result = rc_subscribe(sim.server, peer->conn, name, strlen(name), &start);
	CHECK(result == 0 || (result == -ENOMEM && sim_memory_lacks()) ||
	          (result == -ENOSPC && sim.config.subscriptions_max < BOOKS + STREAMS),
	      "subscribing to a stream gives %d", result);
	if (result == 0)
		subscribed(peer, topic, &start, since, marker);
}

static void begin(struct stream_reader *reader)
{
	const struct beginning *waits = &reader->waits[reader->wait_begin++ % BEGINNINGS];
	reader->begun = !waits->anew;
	reader->epoch = waits->epoch;
	reader->has = waits->until;
}

void streams_marked(struct peer *peer, unsigned topic, unsigned marker)
{
	struct stream_reader *reader = &readers[peer->index][topic];
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

void streams_resync(struct peer *peer, const char *topic)
{
	for (unsigned i = 0; i < STREAMS; i++)
		readers[peer->index][i].told += strcmp(topic, streams_topics[i]) == 0;
}

/* ---- reading ---- */

static void take_mark(struct peer *peer, unsigned topic, unsigned kind, uint64_t epoch, uint64_t sequence)
{
	struct stream_reader *reader = &readers[peer->index][topic];
	TRACE("peer %u: %s mark %u %llu/%llu", peer->index, streams_topics[topic], kind, (unsigned long long)epoch,
	      (unsigned long long)sequence);
	if (kind == HEARTBEAT) {
		CHECK(reader->begun && epoch == reader->epoch && sequence <= reader->has &&
		          !exists(topic, epoch, reader->has, sequence),
		      "peer %u: %s has %llu/%llu, and a heartbeat says %llu/%llu", peer->index, streams_topics[topic],
		      (unsigned long long)reader->epoch, (unsigned long long)reader->has, (unsigned long long)epoch,
		      (unsigned long long)sequence);
		return;
	}
	reader->marks += kind == RESYNC;
	CHECK(kind == STATE || kind == RESYNC, "peer %u: a mark %u of a stream", peer->index, kind);
	CHECK(kind == STATE || reader->marks <= reader->told, "peer %u: nobody heard that %s began anew", peer->index,
	      streams_topics[topic]);
	CHECK(kind == RESYNC || !reader->begun, "peer %u: %s begins twice", peer->index, streams_topics[topic]);
	CHECK(epoch >= reader->epoch, "peer %u: %s goes back", peer->index, streams_topics[topic]);
	sim_met(epoch > reader->epoch ? MET_EPOCH : MET_RESYNC);
	reader->begun = true;
	reader->epoch = epoch;
	reader->has = sequence;
}

static const struct entry *find(unsigned topic, uint64_t epoch, uint64_t sequence, unsigned *index)
{
	for (*index = entry_count; (*index)-- > 0;)
		if (entries[*index].topic == topic && entries[*index].epoch == epoch &&
		    entries[*index].sequence == sequence)
			return &entries[*index];
	return NULL;
}

static void take_message(struct peer *peer, unsigned topic, uint64_t epoch, uint64_t sequence, uint64_t previous,
                         const uint8_t *data, size_t size)
{
	struct stream_reader *reader = &readers[peer->index][topic];
	const char *name = streams_topics[topic];
	uint8_t wanted[PAYLOAD_MAX];
	unsigned index;
	const struct entry *entry = find(topic, epoch, sequence, &index);
	TRACE("peer %u: %s %llu/%llu<%llu", peer->index, name, (unsigned long long)epoch, (unsigned long long)sequence,
	      (unsigned long long)previous);
	CHECK(entry, "peer %u: %s %llu/%llu was never published", peer->index, name, (unsigned long long)epoch,
	      (unsigned long long)sequence);
	CHECK(size == entry->size && memcmp(data, wanted, fill(wanted, epoch, sequence, size)) == 0,
	      "peer %u: %s %llu/%llu is not what was published", peer->index, name, (unsigned long long)epoch,
	      (unsigned long long)sequence);
	CHECK(previous == entry->previous || (entry->loose && previous == sequence - 1) ||
	          (sim.struck_here[FAULT_ALLOCATION] && previous > entry->previous),
	      "peer %u: %s %llu/%llu has %llu before it, and not %llu", peer->index, name, (unsigned long long)epoch,
	      (unsigned long long)sequence, (unsigned long long)previous, (unsigned long long)entry->previous);
	CHECK(reader->begun, "peer %u: %s does not say that it began anew", peer->index, name);
	CHECK(epoch == reader->epoch, "peer %u: %s goes from %llu to %llu without a word", peer->index, name,
	      (unsigned long long)reader->epoch, (unsigned long long)epoch);
	CHECK(sequence > reader->has, "peer %u: %s %llu came again, after %llu", peer->index, name,
	      (unsigned long long)sequence, (unsigned long long)reader->has);
	CHECK(!exists(topic, epoch, reader->has, sequence - 1), "peer %u: %s %llu came after %llu, and not all of it",
	      peer->index, name, (unsigned long long)sequence, (unsigned long long)reader->has);
	CHECK(reader->active || index <= reader->end, "peer %u: %s %llu after it was left", peer->index, name,
	      (unsigned long long)sequence);
	sim_met(MET_REPLICA);
	reader->has = sequence;
}

bool streams_over(struct peer *peer, const uint8_t *bytes, size_t size)
{
	uint64_t numbers[3];
	unsigned topic = 0;
	while (topic < STREAMS && (strlen(streams_topics[topic]) != bytes[3] ||
	                           memcmp(streams_topics[topic], bytes + HEAD, bytes[3]) != 0))
		topic++;
	if (topic == STREAMS)
		return false;
	memcpy(numbers, bytes + 4, sizeof numbers);
	for (unsigned i = 0; i < 3; i++)
		numbers[i] = be64toh(numbers[i]);
	struct stream_reader *reader = &readers[peer->index][topic];
	if (reader->wait_begin != reader->wait_end && !reader->waits[reader->wait_begin % BEGINNINGS].marker)
		begin(reader);
	if (bytes[0] == MESSAGE)
		take_message(peer, topic, numbers[1], numbers[0], numbers[2], bytes + HEAD + bytes[3],
		             size - HEAD - bytes[3]);
	else
		take_mark(peer, topic, bytes[0], numbers[1], numbers[0]);
	return true;
}

/* ---- at rest ---- */

bool streams_caught_up(const struct peer *peer)
{
	for (unsigned topic = 0; peer->books && topic < STREAMS; topic++) {
		const struct stream_reader *reader = &readers[peer->index][topic];
		const struct truth *truth = &truths[topic];
		if (!reader->active || truth->unsure)
			continue;
		bool waits = reader->wait_begin != reader->wait_end;
		const struct beginning *first = &reader->waits[reader->wait_begin % BEGINNINGS];
		uint64_t epoch = waits ? first->epoch : reader->epoch, has = waits ? first->until : reader->has;
		if ((waits ? first->anew : !reader->begun) || epoch != truth->epoch || has < truth->newest)
			return false;
	}
	return true;
}
