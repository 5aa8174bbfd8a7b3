/* SPDX-License-Identifier: MIT
 *
 * log.c - the log and its topics against a list of everything that was ever published: who reads which bytes, which
 * sequence comes next, what is recycled and what may not be, what a search finds, and which topics live.
 */
#include "log.h"

#include "check.h"
#include "frame.h"
#include "fuzz.h"

#include <errno.h>
#include <stdatomic.h>

#define LOG_SIZE RC_LOG_SIZE_MIN
#define ENTRIES 512
#define READERS 3
#define TOPICS 6
#define PUBLISHED_MAX 4096
#define KEPT_SIZE_MAX 20000

struct published {
	unsigned topic;
	uint64_t sequence;
	uint32_t size; /* of the payload */
	bool binary;
};

struct model_topic {
	const char *name;
	unsigned subscriptions;
	uint64_t sequence;
	uint64_t newest; /* number of its newest message, live or not; RC_NONE before the first */
};

static struct rc_log log_;
static struct rc_topics topics;
static uint8_t *bytes;
static struct rc_entry *entries;
static _Atomic uint64_t floors[READERS];
static struct published published[PUBLISHED_MAX];
static uint64_t count;
static struct model_topic model[TOPICS];
static const struct rc_topic_options defaults = { .policy = RC_POLICY_SKIP };

/* Every payload differs from all others: it is made of its number. */
static void make_payload(uint8_t *to, uint64_t number, uint32_t size)
{
	for (uint32_t i = 0; i < size; i++)
		to[i] = (uint8_t)(number * 31 + i * 7 + (number >> 8) + (i >> 8));
}

static void check_frame(const uint8_t *frame, uint32_t frame_size, uint64_t number)
{
	static uint8_t expected[LOG_SIZE];
	const struct published *p = &published[number];
	const struct rc_frame header = { .fin = true, .opcode = p->binary ? 2 : 1, .size = p->size };
	size_t size = rc_frame_write(expected, &header);
	make_payload(expected + size, number, p->size);
	HOLDS(frame_size == size + p->size, "message %llu: %u bytes for %zu", (unsigned long long)number, frame_size,
	      size + p->size);
	HOLDS(memcmp(frame, expected, frame_size) == 0, "message %llu is another", (unsigned long long)number);
}

static void check_entry(uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(&log_, number);
	const struct published *p = &published[number];
	HOLDS(entry->sequence == p->sequence, "sequence %llu", (unsigned long long)entry->sequence);
	HOLDS((entry->position & (LOG_SIZE - 1)) + entry->size <= LOG_SIZE, "a frame wraps");
	HOLDS(entry->position >= log_.tail_position && entry->position + entry->size <= log_.write_position, "outside");
	HOLDS(strcmp(rc_topic_at(&topics, entry->topic)->name, model[p->topic].name) == 0, "another topic");
	check_frame(rc_log_frame(&log_, entry), entry->size, number);
}

static struct rc_topic *find(unsigned index)
{
	const char *name = model[index].name;
	return rc_topics_find(&topics, name, strlen(name), rc_topic_hash(&topics, name, strlen(name)));
}

/* A topic lives while somebody subscribes to it, the log has a message of it, or its last one is kept. */
static void check_topic(unsigned index)
{
	const struct rc_topic *topic = find(index);
	uint64_t live = 0, tail = atomic_load(&log_.tail);
	for (uint64_t i = tail; i < count; i++)
		live += published[i].topic == index;
	if (!topic) {
		HOLDS(!live && !model[index].subscriptions, "topic %u was forgotten", index);
		model[index].sequence = 0; /* it begins again */
		model[index].newest = RC_NONE;
		return;
	}
	HOLDS(live || model[index].subscriptions || topic->kept, "topic %u is held by nothing", index);
	HOLDS(topic->entry_count == live, "%llu entries for %llu", (unsigned long long)topic->entry_count,
	      (unsigned long long)live);
	HOLDS(atomic_load(&topic->sequence) == model[index].sequence, "sequence");
	HOLDS(atomic_load(&topic->newest) == (live ? model[index].newest : RC_NONE), "newest");
	HOLDS(!topic->kept || (!live && topic->options.keep_last), "kept beside the log");
	if (topic->kept)
		check_frame(topic->kept, topic->kept_size, model[index].newest);
}

static void check_all(void)
{
	uint64_t tail = atomic_load(&log_.tail);
	HOLDS(rc_log_head(&log_) == count && tail <= count && count - tail <= ENTRIES, "head or tail");
	HOLDS(log_.write_position - log_.tail_position <= LOG_SIZE, "more than the log");
	for (unsigned i = 0; i < READERS; i++)
		HOLDS(atomic_load(&floors[i]) >= tail, "recycled under reader %u", i);
	if (tail < count) {
		check_entry(tail);
		check_entry(count - 1);
		check_entry(tail + (count - tail) / 2);
	}
	size_t kept = 0;
	for (unsigned i = 0; i < TOPICS; i++) {
		check_topic(i);
		kept += find(i) ? find(i)->kept_size : 0;
	}
	HOLDS(kept == topics.kept_size && kept <= KEPT_SIZE_MAX, "%zu bytes kept", topics.kept_size);
}

static void publish(unsigned index, uint32_t size, bool binary)
{
	static uint8_t payload[2 * LOG_SIZE];
	int error = 0;
	unsigned held_by = READERS;
	const char *name = model[index].name;
	check_topic(index);
	struct rc_topic *topic = rc_topics_get(&topics, name, strlen(name), rc_topic_hash(&topics, name, strlen(name)),
	                                       &error);
	uint64_t tail = atomic_load(&log_.tail), position = log_.write_position;
	if (count == PUBLISHED_MAX)
		return;
	make_payload(payload, count, size);
	published[count] = (struct published){ index, model[index].sequence + 1, size, binary };
	const struct rc_log_message message = {
		.topic = topic, .opcode = binary ? RC_BINARY : RC_TEXT, .data = payload, .size = size
	};
	int64_t sequence = rc_log_append(&log_, &message, count, &held_by);
	HOLDS((sequence == -EMSGSIZE) == (size > LOG_SIZE / 4 - RC_FRAME_HEADER_MAX), "%u bytes", size);
	if (sequence < 0) {
		HOLDS(sequence == -EMSGSIZE || (sequence == -EAGAIN && held_by < READERS), "%lld", (long long)sequence);
		HOLDS(sequence != -EAGAIN || atomic_load(&floors[held_by]) < count, "held by one who holds nothing");
		HOLDS(tail == atomic_load(&log_.tail) && position == log_.write_position, "refused, and changed");
		rc_topics_release(&topics, topic);
		return;
	}
	model[index].sequence++;
	model[index].newest = count++;
	HOLDS(sequence == (int64_t)model[index].sequence, "sequence %lld", (long long)sequence);
}

static void search(unsigned index, uint64_t number, uint64_t sequence)
{
	const struct rc_topic *topic = find(index);
	uint64_t tail = atomic_load(&log_.tail), first = RC_NONE, after = RC_NONE;
	if (!topic)
		return;
	number = number < tail ? tail : number;
	for (uint64_t i = count; i-- > number;) {
		first = published[i].topic == index ? i : first;
		after = published[i].topic == index && published[i].sequence >= sequence ? i : after;
	}
	HOLDS(rc_log_first_from(&log_, topic, number) == first, "from entry %llu", (unsigned long long)number);
	HOLDS(rc_log_first_sequence(&log_, topic, sequence, number) == after, "from sequence %llu",
	      (unsigned long long)sequence);
}

/* Where a new reader may begin: the first entry that is not so far back that it would be moved on at once. */
static uint64_t readable(void)
{
	uint64_t least = rc_log_readable(&log_), at = atomic_load(&log_.tail), end = atomic_load(&log_.end);
	while (at < count && rc_log_too_far(&log_, rc_log_entry(&log_, at), at, count, end))
		at++;
	HOLDS(least == at, "readable from %llu, not %llu", (unsigned long long)least, (unsigned long long)at);
	return least;
}

static void step(struct steps *steps)
{
	static const uint32_t sizes[] = { 0, 1, 100, 125, 126, 1000, 1010, 4000, 16000, 16370, 16371, 40000 };
	unsigned what = step_byte(steps), index = what % TOPICS;
	switch (what / TOPICS % 8) {
	case 0:
	case 1:
		publish(index, sizes[step_below(steps, sizeof sizes / sizeof *sizes)], what & 128);
		break;
	case 2: /* a burst of small ones, so that the index fills before the bytes */
		for (unsigned left = step_byte(steps); left; left--)
			publish((index + left) % TOPICS, left % 40, false);
		break;
	case 3: { /* a reader goes on, or back as far as it may */
		unsigned reader = step_below(steps, READERS);
		uint64_t from = what & 128 ? readable() : atomic_load(&floors[reader]);
		if (from <= count)
			atomic_store(&floors[reader], from + step_byte(steps) * (count - from) / 255);
		break;
	}
	case 4:
		for (unsigned i = 0; i < READERS; i++)
			atomic_store(&floors[i], count);
		break;
	case 5: {
		int error;
		const char *name = model[index].name;
		struct rc_topic *topic = rc_topics_get(&topics, name, strlen(name),
		                                       rc_topic_hash(&topics, name, strlen(name)), &error);
		topic->subscription_count++;
		model[index].subscriptions++;
		break;
	}
	case 6:
		if (model[index].subscriptions) {
			model[index].subscriptions--;
			find(index)->subscription_count--;
			rc_topics_release(&topics, find(index));
		}
		break;
	default:
		search(index, count - (uint64_t)step_byte(steps) * (count - atomic_load(&log_.tail)) / 255,
		       model[index].sequence - RC_MIN(model[index].sequence, step_byte(steps)));
		readable();
	}
	check_all();
}

/* Names that all want the last places of the table of topics: removing one must move others, around its end too. */
static const char *name_of(unsigned index)
{
	static char names[TOPICS][32];
	for (unsigned i = 0; !names[index][0] || (rc_topic_hash(&topics, names[index], strlen(names[index])) & 63) < 62;
	     i++)
		snprintf(names[index], sizeof *names, "%s%u.%u", index / 2 == 1 ? "keep." : "", index, i);
	return names[index];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct steps steps = { data, data + size };
	bytes = malloc(LOG_SIZE);
	entries = malloc(ENTRIES * sizeof *entries);
	HOLDS(rc_topics_init(&topics, &defaults, KEPT_SIZE_MAX, 1, 1) == 0, "no memory");
	HOLDS(rc_topics_add_rule(&topics, "keep.*", &(struct rc_topic_options){ .keep_last = true }) == 0, "the rule");
	rc_log_init(&log_, &topics, bytes, LOG_SIZE, entries, ENTRIES, floors, READERS);
	count = 0;
	for (unsigned i = 0; i < TOPICS; i++)
		model[i] = (struct model_topic){ .name = name_of(i), .newest = RC_NONE };
	while (steps.at < steps.end && count < PUBLISHED_MAX)
		step(&steps);
	for (uint64_t i = atomic_load(&log_.tail); i < count; i++)
		check_entry(i);
	rc_topics_destroy(&topics);
	free(bytes);
	free(entries);
	return 0;
}
