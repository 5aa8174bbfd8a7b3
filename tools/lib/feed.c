/* SPDX-License-Identifier: MIT
 *
 * feed.c - see feed.h. The buffer grows by doubling up to one line of FEED_LINE_MAX and is never larger.
 */
#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define BUFFER_SIZE ((size_t)256 << 10)
#define NS_PER_SECOND 1000000000u

/* digits [. digits] to nanoseconds; digits past the ninth are dropped. Returns whether all of it was a time. */
static int parse_seconds(const char *text, size_t size, uint64_t *ns)
{
	uint64_t whole = 0, fraction = 0, scale = NS_PER_SECOND;
	size_t index = 0;
	for (; index < size && text[index] >= '0' && text[index] <= '9'; index++) {
		whole = whole * 10 + (uint64_t)(text[index] - '0');
		if (whole > UINT64_MAX / NS_PER_SECOND - 1)
			return 0;
	}
	if (!index)
		return 0;
	if (index < size && text[index] == '.') {
		for (index++; index < size && text[index] >= '0' && text[index] <= '9'; index++) {
			scale /= 10;
			fraction += scale * (uint64_t)(text[index] - '0');
		}
	}
	*ns = whole * NS_PER_SECOND + fraction;
	return index == size;
}

const char *feed_parse(const char *line, size_t size, struct feed_record *record)
{
	const char *end = line + size;
	const char *topic = memchr(line, '\t', size);
	if (!topic)
		return "expected seconds<TAB>topic<TAB>payload";
	if (!parse_seconds(line, (size_t)(topic - line), &record->time_ns))
		return "the first field is not a time in seconds";
	topic++;
	const char *payload = memchr(topic, '\t', (size_t)(end - topic));
	if (!payload)
		return "expected a payload after a second tab";
	if (payload == topic)
		return "the topic is empty";
	if (payload - topic > FEED_TOPIC_MAX)
		return "the topic is longer than 255 bytes";
	if (!text_is_name(topic, (size_t)(payload - topic)))
		return "the topic is not UTF-8, or has control characters";
	record->topic = topic;
	record->topic_size = (size_t)(payload - topic);
	record->payload = payload + 1;
	record->payload_size = (size_t)(end - payload - 1);
	record->key = NULL;
	record->key_size = 0;
	return NULL;
}

void feed_take_key(struct feed_record *record)
{
	const char *end = record->payload + record->payload_size,
		   *tab = memrchr(record->payload, '\t', record->payload_size);
	if (!tab)
		return;
	record->payload_size = (size_t)(tab - record->payload);
	record->key_size = (size_t)(end - tab - 1);
	record->key = record->key_size ? tab + 1 : NULL;
}

int feed_open_descriptor(struct feed *feed, const char *path, int descriptor)
{
	*feed = (struct feed){ .path = path, .descriptor = descriptor, .capacity = BUFFER_SIZE };
	feed->buffer = malloc(feed->capacity);
	if (!feed->buffer) {
		snprintf(feed->error, sizeof feed->error, "%s: no memory", path);
		feed_close(feed);
		return -ENOMEM;
	}
	return 0;
}

int feed_open(struct feed *feed, const char *path)
{
	int standard_input = !strcmp(path, "-");
	int descriptor = standard_input ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0) {
		int code = -errno;
		*feed = (struct feed){ .path = path, .descriptor = -1 };
		snprintf(feed->error, sizeof feed->error, "%s: %s", path, strerror(-code));
		return code;
	}
	return feed_open_descriptor(feed, standard_input ? "standard input" : path, descriptor);
}

void feed_close(struct feed *feed)
{
	free(feed->buffer);
	feed->buffer = NULL;
	if (feed->descriptor >= 0)
		close(feed->descriptor);
	feed->descriptor = -1;
}

int feed_rewind(struct feed *feed)
{
	if (lseek(feed->descriptor, 0, SEEK_SET) < 0) {
		int code = -errno;
		snprintf(feed->error, sizeof feed->error, "%s: cannot begin again: %s", feed->path, strerror(-code));
		return code;
	}
	feed->begin = feed->end = 0;
	feed->line = 0;
	feed->at_end = 0;
	return 0;
}

/* Makes room after the unread bytes and reads more of them. Returns 0 or a negative errno. */
static int fill(struct feed *feed)
{
	if (feed->begin) {
		memmove(feed->buffer, feed->buffer + feed->begin, feed->end - feed->begin);
		feed->end -= feed->begin;
		feed->begin = 0;
	}
	if (feed->end == feed->capacity) {
		if (feed->capacity >= FEED_LINE_MAX)
			return -EMSGSIZE;
		char *larger = realloc(feed->buffer, feed->capacity * 2);
		if (!larger)
			return -ENOMEM;
		feed->buffer = larger;
		feed->capacity *= 2;
	}
	ssize_t size;
	do
		size = read(feed->descriptor, feed->buffer + feed->end, feed->capacity - feed->end);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return -errno;
	feed->at_end = size == 0;
	feed->end += (size_t)size;
	return 0;
}

/* The next line, without its end. Returns 1, 0 at the end, or a negative errno. A last line may lack its end. */
static int next_line(struct feed *feed, const char **line, size_t *size)
{
	size_t searched = 0;
	for (;;) {
		char *begin = feed->buffer + feed->begin;
		char *found = memchr(begin + searched, '\n', feed->end - feed->begin - searched);
		size_t length = found ? (size_t)(found - begin) : feed->end - feed->begin;
		if (found || (feed->at_end && length)) {
			feed->begin += length + (found ? 1 : 0);
			feed->line++;
			*line = begin;
			*size = length && begin[length - 1] == '\r' ? length - 1 : length;
			return 1;
		}
		if (feed->at_end)
			return 0;
		searched = length;
		int code = fill(feed);
		if (code)
			return code;
	}
}

int feed_next(struct feed *feed, struct feed_record *record)
{
	const char *line = NULL;
	size_t size = 0;
	int code;
	while ((code = next_line(feed, &line, &size)) > 0) {
		if (!size || *line == '#')
			continue;
		const char *error = feed_parse(line, size, record);
		if (!error)
			return 1;
		snprintf(feed->error, sizeof feed->error, "%s:%llu: %s", feed->path, (unsigned long long)feed->line,
		         error);
		return -EINVAL;
	}
	if (code == -EMSGSIZE)
		snprintf(feed->error, sizeof feed->error, "%s:%llu: the line is longer than %zu bytes", feed->path,
		         (unsigned long long)feed->line + 1, FEED_LINE_MAX);
	else if (code)
		snprintf(feed->error, sizeof feed->error, "%s: %s", feed->path, strerror(-code));
	return code;
}

uint64_t feed_due(uint64_t first_ns, uint64_t time_ns, double speed)
{
	if (speed <= 0 || time_ns <= first_ns)
		return 0;
	double due = (double)(time_ns - first_ns) / speed;
	return due < (double)INT64_MAX ? (uint64_t)due : INT64_MAX;
}
