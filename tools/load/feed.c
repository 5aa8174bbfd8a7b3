/* SPDX-License-Identifier: MIT
 *
 * feed.c - reads a recording into memory before the run, so that publishing it costs no parsing. Its topics become
 * the run's topics, the busiest first.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lib/feed.h"
#include "lib/options.h"

#define BYTES_MAX ((size_t)4 << 30)

struct name {
	uint32_t number; /* in order of appearance */
	uint32_t messages;
	size_t size;
	char text[FEED_TOPIC_MAX];
};

struct reader {
	struct load_feed *feed;
	size_t record_capacity, byte_count, byte_capacity;
	void *tree;
	struct name **names; /* by number */
	uint32_t name_count;
};

static int compare_names(const void *left, const void *right)
{
	const struct name *a = left, *b = right;
	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	return memcmp(a->text, b->text, a->size);
}

static int compare_activity(const void *left, const void *right)
{
	const struct name *a = *(struct name *const *)left, *b = *(struct name *const *)right;
	if (a->messages != b->messages)
		return a->messages > b->messages ? -1 : 1;
	return a->number < b->number ? -1 : 1;
}

static struct name *find_name(struct reader *reader, const struct feed_record *record)
{
	struct name key = { .size = record->topic_size };
	memcpy(key.text, record->topic, record->topic_size);
	struct name **found = tfind(&key, &reader->tree, compare_names);
	if (found)
		return *found;
	if (reader->name_count == LOAD_TOPICS_MAX)
		return NULL;
	struct name **names = realloc(reader->names, (reader->name_count + 1) * sizeof(struct name *));
	struct name *name = malloc(sizeof *name);
	if (names)
		reader->names = names;
	if (!names || !name || (*name = key, !tsearch(name, &reader->tree, compare_names))) {
		free(name);
		return NULL;
	}
	name->number = reader->name_count;
	reader->names[reader->name_count++] = name;
	return name;
}

/* Grows an array to hold `count` items. */
static int reserve(void **array, size_t *capacity, size_t count, size_t item_size)
{
	if (count <= *capacity)
		return 0;
	size_t wanted = count > *capacity * 2 ? count : *capacity * 2;
	void *larger = wanted * item_size > BYTES_MAX ? NULL : realloc(*array, wanted * item_size);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	*capacity = wanted;
	return 0;
}

static int add(struct reader *reader, const struct feed_record *record, uint64_t first_ns, double speed)
{
	struct load_feed *feed = reader->feed;
	struct name *name = find_name(reader, record);
	if (!name ||
	    reserve((void **)&feed->records, &reader->record_capacity, feed->record_count + 1, sizeof *feed->records) ||
	    reserve((void **)&feed->bytes, &reader->byte_capacity, reader->byte_count + record->payload_size, 1))
		return -ENOMEM;
	name->messages++;
	feed->records[feed->record_count++] = (struct load_record){
		.due_ns = feed_due(first_ns, record->time_ns, speed),
		.topic = name->number,
		.size = (uint32_t)record->payload_size,
		.offset = reader->byte_count,
	};
	memcpy(feed->bytes + reader->byte_count, record->payload, record->payload_size);
	reader->byte_count += record->payload_size;
	return 0;
}

static int read_records(struct reader *reader, struct feed *source, double speed)
{
	struct feed_record record;
	uint64_t first = UINT64_MAX;
	int code;
	while ((code = feed_next(source, &record)) > 0) {
		if (first == UINT64_MAX)
			first = record.time_ns;
		code = add(reader, &record, first, speed);
		if (code) {
			command_failed("%s: too large to be kept in memory", source->path);
			return -1;
		}
	}
	if (code)
		command_failed("%s", source->error);
	else if (!reader->feed->record_count)
		command_failed("%s: no messages", source->path);
	return code || !reader->feed->record_count ? -1 : 0;
}

/* Topic 0 is the busiest: it is the one whose skew is measured. */
static int number_topics(struct load *load, struct reader *reader)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): a recording without a topic was refused before */
	qsort(reader->names, reader->name_count, sizeof *reader->names, compare_activity);
	load->topic_count = reader->name_count;
	load->topics = calloc(load->topic_count, sizeof *load->topics);
	uint32_t *ranks = calloc(load->topic_count, sizeof *ranks);
	if (!load->topics || !ranks) {
		free(ranks);
		command_failed("no memory");
		return -1;
	}
	for (uint32_t rank = 0; rank < load->topic_count; rank++) {
		const struct name *name = reader->names[rank];
		ranks[name->number] = rank;
		load->topics[rank].name = strndup(name->text, name->size);
		load->topics[rank].name_size = name->size;
	}
	for (size_t index = 0; index < load->feed.record_count; index++)
		load->feed.records[index].topic = ranks[load->feed.records[index].topic];
	free(ranks);
	return 0;
}

int load_feed_read(struct load *load)
{
	struct feed source;
	struct reader reader = { .feed = &load->feed };
	if (feed_open(&source, load->options->feed)) {
		command_failed("%s", source.error);
		return -1;
	}
	int code = read_records(&reader, &source, load->options->speed);
	if (!code)
		code = number_topics(load, &reader);
	if (!code) {
		/* Repeated, the first message follows the last as closely as messages do on average. */
		uint64_t last = load->feed.records[load->feed.record_count - 1].due_ns;
		/* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): one without a message was refused before */
		load->feed.period_ns = last + last / load->feed.record_count + 1;
	}
	feed_close(&source);
	tdestroy(reader.tree, free);
	free(reader.names);
	return code;
}
