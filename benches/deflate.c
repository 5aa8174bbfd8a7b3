/* SPDX-License-Identifier: MIT
 *
 * deflate.c - what a subscriber's message costs on the wire and to make: in the log's form, compressed by itself, and
 * in a cohort's stream. For the recorded feeds, where they are, and for made JSON of 450 bytes.
 *
 *   deflate [--tiny] [FEED.tsv...]    a feed's lines are TIME TAB TOPIC TAB MESSAGE; --tiny: a fraction of a second
 *
 * A message by itself is made once for all; the cohort's once a topic. Topics keep their order as in the feed, each
 * with a compressor of its own; newcomers ask for a beginning at every 1,000th message.
 */
#include "check.h"
#include "cohort.h"
#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MESSAGES_MAX 200000
#define TOPICS_MAX 4096
#define ROOM (8 * RC_MIB)
#define JOIN_EVERY 1000

struct message {
	char *text;
	size_t size;
	unsigned topic;
};

static struct message messages[MESSAGES_MAX];
static size_t message_count, message_max = MESSAGES_MAX;
static char *topics[TOPICS_MAX];
static unsigned topic_count;
static uint8_t to[ROOM];
static volatile size_t sink;

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *checked(void *pointer)
{
	if (!pointer) {
		fprintf(stderr, "deflate: no memory\n");
		exit(1);
	}
	return pointer;
}

static unsigned topic_of(const char *name)
{
	for (unsigned i = 0; i < topic_count; i++)
		if (strcmp(topics[i], name) == 0)
			return i;
	if (topic_count == TOPICS_MAX)
		return TOPICS_MAX - 1;
	topics[topic_count] = checked(strdup(name));
	return topic_count++;
}

static void add(const char *topic, const char *text, size_t size)
{
	if (message_count == message_max)
		return;
	struct message *message = &messages[message_count++];
	*message = (struct message){ .text = checked(malloc(size + 1)), .size = size, .topic = topic_of(topic) };
	memcpy(message->text, text, size);
}

static void forget(void)
{
	while (message_count)
		free(messages[--message_count].text);
	while (topic_count)
		free(topics[--topic_count]);
}

static bool load(const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t capacity = 0;
	ssize_t size;
	if (!file)
		return false;
	while ((size = getline(&line, &capacity, file)) > 0) {
		char *topic = strchr(line, '\t'), *text = topic ? strchr(topic + 1, '\t') : NULL;
		if (!text)
			continue;
		*text++ = 0;
		add(topic + 1, text, (size_t)(line + size - text) - (line[size - 1] == '\n'));
	}
	free(line);
	fclose(file);
	return message_count > 0;
}

static void make(void)
{
	uint64_t chance = 42;
	for (unsigned i = 0; i < 20000; i++) {
		char text[1024], topic[16];
		int size = 0;
		size = snprintf(text, sizeof text,
		                "{\"type\":\"ticker\",\"sequence\":%u,\"product_id\":\"ACME-%02u\",\"trades\":[",
		                1000000 + i, i % 8);
		for (unsigned trade = 0; size < 400; trade++) {
			chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
			size += snprintf(text + size, sizeof text - (size_t)size,
			                 "%s{\"price\":\"%u.%02u\",\"size\":\"%.4f\",\"side\":\"%s\"}",
			                 trade ? "," : "", 300 + (unsigned)(chance >> 60),
			                 (unsigned)(chance >> 40) % 100, (double)(chance >> 33 & 0xffff) / 1000,
			                 chance >> 63 ? "buy" : "sell");
		}
		size += snprintf(text + size, sizeof text - (size_t)size, "]}");
		snprintf(topic, sizeof topic, "ACME-%02u", i % 8);
		add(topic, text, (size_t)size);
	}
}

struct cost {
	double size, ns; /* a message */
};

static size_t framed(size_t size)
{
	return rc_frame_header_size(size) + size;
}

static struct cost plain(void)
{
	size_t size = 0;
	double begin = now_ns();
	for (size_t i = 0; i < message_count; i++) {
		memcpy(to, messages[i].text, RC_MIN(messages[i].size, ROOM));
		size += framed(messages[i].size);
	}
	sink = to[0];
	return (struct cost){ (double)size, now_ns() - begin };
}

static struct cost alone(enum rc_window window, int level)
{
	struct rc_deflater *deflater = checked(rc_deflater_new(window, level));
	size_t size = 0;
	double begin = now_ns();
	for (size_t i = 0; i < message_count; i++) {
		const struct message *m = &messages[i];
		size_t made = m->size < RC_DEFLATE_SIZE_MIN
		                  ? 0
		                  : rc_deflate_message(deflater, to, RC_MIN(m->size, ROOM), (const uint8_t *)m->text,
		                                       m->size, true);
		size += framed(made ? made : m->size);
	}
	double ns = now_ns() - begin;
	rc_deflater_free(deflater);
	return (struct cost){ (double)size, ns };
}

static struct cost cohorts(enum rc_window window, int level)
{
	static struct rc_cohort *of[TOPICS_MAX];
	size_t size = 0;
	for (unsigned i = 0; i < topic_count; i++)
		of[i] = checked(rc_cohort_new(window, level));
	double begin = now_ns();
	for (size_t i = 0; i < message_count; i++) {
		const struct message *m = &messages[i];
		bool fresh;
		if (i % JOIN_EVERY == 0)
			for (unsigned topic = 0; topic < topic_count; topic++)
				rc_cohort_join(of[topic], i);
		size_t made = rc_cohort_add(of[m->topic], i, to, ROOM, (const uint8_t *)m->text, m->size, &fresh);
		size += framed(made ? made : m->size);
	}
	double ns = now_ns() - begin;
	for (unsigned i = 0; i < topic_count; i++)
		rc_cohort_free(of[i]);
	return (struct cost){ (double)size, ns };
}

static void row(const char *form, struct cost cost, struct cost reference)
{
	double count = (double)message_count;
	printf("  %-28s %9.1f bytes  %9.0f ns  %6.3f of its bytes by itself\n", form, cost.size / count,
	       cost.ns / count, cost.size / reference.size);
}

static void show(const char *name)
{
	static const struct {
		const char *name;
		enum rc_window window;
	} windows[] = { { "8", RC_WINDOW_8 }, { "9", RC_WINDOW_9 }, { "12", RC_WINDOW_12 }, { "15", RC_WINDOW_15 } };
	struct cost reference = alone(RC_WINDOW_15, RC_DEFLATE_LEVEL);
	printf("%s: %zu messages, %u topics; a message\n", name, message_count, topic_count);
	row("plain", plain(), reference);
	for (unsigned i = 0; i < sizeof windows / sizeof *windows; i++) {
		char form[64];
		snprintf(form, sizeof form, "by itself, window %s", windows[i].name);
		row(form, alone(windows[i].window, RC_DEFLATE_LEVEL), reference);
	}
	row("by itself, level 1", alone(RC_WINDOW_15, 1), reference);
	row("by itself, level 9", alone(RC_WINDOW_15, 9), reference);
	row("cohort, window 12", cohorts(RC_WINDOW_12, RC_DEFLATE_LEVEL), reference);
	row("cohort, window 15", cohorts(RC_WINDOW_15, RC_DEFLATE_LEVEL), reference);
	forget();
}

int main(int argc, char **argv)
{
	bool given = false;
	if (argc > 1 && strcmp(argv[1], "--tiny") == 0) {
		message_max = 300;
		argc--;
		argv++;
	}
	for (int i = 1; i < argc; i++) {
		if (!load(argv[i])) {
			fprintf(stderr, "deflate: %s holds no feed\n", argv[i]);
			return 1;
		}
		show(argv[i]);
		given = true;
	}
	static const char *const recorded[] = { "../shared/data/market/coinbase.tsv",
		                                "../shared/data/market/binance.tsv" };
	for (unsigned i = 0; i < 2 && !given; i++)
		if (load(recorded[i]))
			show(recorded[i]);
	make();
	show("made JSON");
	return 0;
}
