/* SPDX-License-Identifier: MIT
 *
 * log_threads.c - readers beside a publisher, in a log so small that it comes around thousands of times: every byte
 * that a reader may read must be the one that was published. Made to run under the thread sanitizer as well.
 */
#include "log_model.h"

#include <pthread.h>
#include <sched.h>

enum { READERS = 3, TOPICS = 5, MESSAGES = 120000 };

static struct {
	struct rc_log log;
	struct rc_topics topics;
	pthread_mutex_t lock;
	_Atomic uint64_t floors[READERS];
	struct rc_topic *topic[TOPICS]; /* each has a subscriber, so it stays */
	_Atomic bool done;
	_Atomic unsigned fault_line; /* of the first check that failed: an assertion may not leave a thread */
	_Atomic uint64_t searches, returns;
} shared;

static bool check_at(bool condition, unsigned line)
{
	unsigned none = 0;
	if (!condition)
		atomic_compare_exchange_strong(&shared.fault_line, &none, line);
	return condition;
}
#define CHECK(condition) check_at(condition, __LINE__)

static size_t size_of(uint32_t topic, uint64_t sequence)
{
	uint64_t seed = sequence << 8 | topic;
	uint64_t any = chance(&seed);
	return (size_t)(any % 64 == 0 ? any >> 8 & 0x3fff : any >> 8 & 0x7ff) %
	       (RC_LOG_SIZE_MIN / 4 - RC_FRAME_HEADER_MAX);
}

static void *publish(void *argument)
{
	uint64_t seed = *(uint64_t *)argument;
	static uint8_t payload[RC_LOG_SIZE_MIN / 4];
	for (unsigned i = 0; i < MESSAGES && !shared.fault_line; i++) {
		uint32_t id = (uint32_t)below(&seed, TOPICS);
		struct rc_topic *topic = shared.topic[id];
		uint64_t sequence = atomic_load(&topic->sequence) + 1;
		size_t size = size_of(id, sequence);
		model_payload(payload, size, id, sequence);
		int64_t result;
		unsigned held_by;
		do {
			pthread_mutex_lock(&shared.lock);
			result = append_raw(&shared.log, topic, RC_BINARY, payload, size, 0, i, &held_by);
			pthread_mutex_unlock(&shared.lock);
			if (result == -EAGAIN)
				sched_yield();
		} while (result == -EAGAIN && !shared.fault_line);
		CHECK(result == (int64_t)sequence || shared.fault_line);
	}
	atomic_store(&shared.done, true);
	return NULL;
}

/* A reader, and what it needs of its own. */
struct reader {
	unsigned index;
	uint64_t seed;
	uint64_t cursor;
	uint64_t sequences[TOPICS]; /* that it read last */
	uint8_t frame[RC_LOG_SIZE_MIN / 4];
};

static const struct rc_entry *check_entry(struct reader *reader, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(&shared.log, number);
	if (!CHECK(entry->topic < TOPICS && entry->sequence))
		return NULL;
	const struct model_message message = {
		.size = size_of(entry->topic, entry->sequence),
		.name = entry->topic,
		.sequence = entry->sequence,
		.opcode = RC_BINARY,
	};
	size_t size = model_frame(reader->frame, &message);
	uint64_t end = atomic_load_explicit(&shared.log.end, memory_order_relaxed);
	CHECK(end >= entry->position + entry->size);
	CHECK(entry->size == size && memcmp(rc_log_frame(&shared.log, entry), reader->frame, size) == 0);
	return entry;
}

static void read_to(struct reader *reader, uint64_t head)
{
	for (; reader->cursor < head; reader->cursor++) {
		const struct rc_entry *entry = check_entry(reader, reader->cursor);
		if (!entry)
			return;
		uint64_t *last = &reader->sequences[entry->topic];
		CHECK(!*last || entry->sequence == *last + 1);
		*last = entry->sequence;
	}
}

/* Straight to the newest entry of a topic, and from there as far back as the floor allows: without the lock. */
static void search(struct reader *reader, uint64_t floor)
{
	const struct rc_topic *topic = shared.topic[below(&reader->seed, TOPICS)];
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_acquire);
	uint64_t first = rc_log_first_from(&shared.log, topic, floor);
	if (newest != RC_NONE && newest >= floor) {
		const struct rc_entry *entry = check_entry(reader, newest);
		CHECK(entry && entry->topic == topic->id);
		CHECK(first != RC_NONE && first <= newest);
	}
	if (first != RC_NONE) {
		const struct rc_entry *entry = check_entry(reader, first);
		CHECK(first >= floor && entry && entry->topic == topic->id);
		CHECK(entry && (entry->previous == 0 || first - entry->previous < floor));
		atomic_fetch_add_explicit(&shared.searches, 1, memory_order_relaxed);
	}
}

/* Back to an older message, which is allowed under the lock alone. */
static void go_back(struct reader *reader)
{
	const struct rc_topic *topic = shared.topic[below(&reader->seed, TOPICS)];
	pthread_mutex_lock(&shared.lock);
	uint64_t readable = rc_log_readable(&shared.log);
	uint64_t first = rc_log_first_sequence(&shared.log, topic, 1, readable);
	bool lower = first != RC_NONE && first < reader->cursor;
	if (lower)
		atomic_store_explicit(&shared.floors[reader->index], first, memory_order_release);
	pthread_mutex_unlock(&shared.lock);
	if (!lower)
		return;
	reader->cursor = first;
	memset(reader->sequences, 0, sizeof reader->sequences);
	atomic_fetch_add_explicit(&shared.returns, 1, memory_order_relaxed);
}

static void *follow(void *argument)
{
	struct reader *reader = argument;
	for (bool done = false; !done && !shared.fault_line;) {
		done = atomic_load(&shared.done);
		uint64_t head = rc_log_head(&shared.log);
		if (reader->cursor == head && !done)
			sched_yield();
		search(reader, reader->cursor);
		read_to(reader, head);
		if (reader->index && below(&reader->seed, 16) == 0) {
			go_back(reader);
			continue;
		}
		/* release: what was read of the log was read before it is written over */
		atomic_store_explicit(&shared.floors[reader->index], reader->cursor, memory_order_release);
	}
	read_to(reader, rc_log_head(&shared.log));
	/* So that the publisher and the others are not held back. */
	atomic_store_explicit(&shared.floors[reader->index], UINT64_MAX, memory_order_release);
	return NULL;
}

/* Returns what went wrong, or null. */
static const char *run(uint64_t seed)
{
	enum { ENTRIES = 256 };
	static const struct rc_topic_options options;
	static struct reader readers[READERS];
	uint8_t *bytes = malloc(RC_LOG_SIZE_MIN);
	struct rc_entry *entries = malloc(ENTRIES * sizeof *entries);
	pthread_t publisher, threads[READERS];
	if (!bytes || !entries || rc_topics_init(&shared.topics, &options, 0, 1, 1))
		return "no memory";
	pthread_mutex_init(&shared.lock, NULL);
	rc_log_init(&shared.log, &shared.topics, bytes, RC_LOG_SIZE_MIN, entries, ENTRIES, shared.floors, READERS);
	for (uint32_t i = 0; i < TOPICS; i++) {
		int error = 0;
		char name = (char)('a' + (int)i);
		shared.topic[i] = rc_topics_get(&shared.topics, &name, 1, rc_topic_hash(&shared.topics, &name, 1),
		                                &error);
		if (!shared.topic[i] || shared.topic[i]->id != i)
			return "no topic";
		shared.topic[i]->subscription_count = 1;
	}
	for (unsigned i = 0; i < READERS; i++) {
		readers[i].index = i;
		readers[i].seed = chance(&seed);
		if (pthread_create(&threads[i], NULL, follow, &readers[i]))
			return "no thread";
	}
	if (pthread_create(&publisher, NULL, publish, &seed))
		return "no thread";
	pthread_join(publisher, NULL);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	bool all_read = readers[0].cursor == MESSAGES && rc_log_head(&shared.log) == MESSAGES;
	bool came_around = shared.log.write_position / RC_LOG_SIZE_MIN > 1000;
	rc_topics_destroy(&shared.topics);
	free(bytes);
	free(entries);
	static char fault[64];
	snprintf(fault, sizeof fault, "the check in line %u failed", shared.fault_line);
	return shared.fault_line                     ? fault
	       : !all_read                           ? "who never went back has not read it all"
	       : !came_around                        ? "the log hardly came around"
	       : !shared.searches || !shared.returns ? "nobody searched or went back"
	                                             : NULL;
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_THREAD__
/* Criterion's shared memory and the thread sanitizer want the same addresses (Criterion issue 274). */
int main(void)
{
	const char *why = run(seed_of("log_threads"));
	printf("%s readers_see_what_was_published%s%s\n", why ? "FAIL" : "ok", why ? ": " : "", why ? why : "");
	return why != NULL;
}
#else
Test(log_threads, readers_see_what_was_published)
{
	const char *why = run(seed_of("log_threads"));
	cr_assert_null(why, "%s", why);
}
#endif
