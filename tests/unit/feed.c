/* SPDX-License-Identifier: MIT
 *
 * feed.c - recordings: what a line is, which lines are refused and how that is said, that it does not matter in which
 * pieces the bytes come, and when a message is due. At the end the real recordings, where they are there.
 */
#include "lib/feed.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Test(feed, lines)
{
	static const struct {
		const char *line;
		uint64_t time_ns;
		const char *topic, *payload;
	} cases[] = {
		{ "0\ta\tb", 0, "a", "b" },
		{ "0.000094\teth@book\t{\"b\":1}", 94000, "eth@book", "{\"b\":1}" },
		{ "1626916403.864000001\tt\tp", 1626916403864000001, "t", "p" },
		{ "1.\tt\tp", 1000000000, "t", "p" },
		{ "1.5\tt\t", 1500000000, "t", "" },
		{ "1.0000000019\tt\tp", 1000000001, "t", "p" },
		{ "2\tt\ta\tb\tc", 2000000000, "t", "a\tb\tc" },
		{ "2\ttwo words\t\t", 2000000000, "two words", "\t" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct feed_record record;
		const char *error = feed_parse(cases[i].line, strlen(cases[i].line), &record);
		cr_assert_null(error, "'%s': %s", cases[i].line, error ? error : "");
		cr_expect_eq(record.time_ns, cases[i].time_ns, "'%s'", cases[i].line);
		cr_expect_eq(record.topic_size, strlen(cases[i].topic), "'%s'", cases[i].line);
		cr_expect(!memcmp(record.topic, cases[i].topic, record.topic_size), "'%s'", cases[i].line);
		cr_expect_eq(record.payload_size, strlen(cases[i].payload), "'%s'", cases[i].line);
		cr_expect(!memcmp(record.payload, cases[i].payload, record.payload_size), "'%s'", cases[i].line);
	}
}

Test(feed, keys)
{
	static const struct {
		const char *line, *payload, *key;
	} cases[] = {
		{ "0\tt\tp", "p", NULL },       { "0\tt\tp\tk", "p", "k" }, { "0\tt\ta\tb\tk", "a\tb", "k" },
		{ "0\tt\t\tgone", "", "gone" }, { "0\tt\tp\t", "p", NULL }, { "0\tt\t", "", NULL },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct feed_record record;
		cr_assert_null(feed_parse(cases[i].line, strlen(cases[i].line), &record));
		cr_expect_null(record.key);
		feed_take_key(&record);
		cr_expect_eq(record.payload_size, strlen(cases[i].payload), "'%s'", cases[i].line);
		cr_expect(!memcmp(record.payload, cases[i].payload, record.payload_size), "'%s'", cases[i].line);
		cr_expect_eq(!record.key, !cases[i].key, "'%s'", cases[i].line);
		if (record.key)
			cr_expect(record.key_size == strlen(cases[i].key) &&
			          !memcmp(record.key, cases[i].key, record.key_size));
	}
}

Test(feed, wrong_lines)
{
	static char long_topic[300] = "0\t";
	memset(long_topic + 2, 'x', 256);
	strcpy(long_topic + 258, "\tp");
	static const struct {
		const char *line, *because;
	} cases[] = {
		{ "x", "expected seconds" },
		{ "0", "expected seconds" },
		{ "0\ta", "expected a payload" },
		{ "0\t\tp", "the topic is empty" },
		{ "\ta\tp", "the first field" },
		{ "-1\ta\tp", "the first field" },
		{ "1s\ta\tp", "the first field" },
		{ "1.2.3\ta\tp", "the first field" },
		{ " 1\ta\tp", "the first field" },
		{ "1e3\ta\tp", "the first field" },
		{ ".5\ta\tp", "the first field" },
		{ "99999999999999\ta\tp", "the first field" },
		{ long_topic, "the topic is longer" },
		{ "0\t\xff\xfe\tp", "the topic is not UTF-8" },
		{ "0\ta\x1b[m\tp", "the topic is not UTF-8" },
		{ "0\t\xc2\x85\tp", "the topic is not UTF-8" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct feed_record record;
		const char *error = feed_parse(cases[i].line, strlen(cases[i].line), &record);
		cr_assert(error, "'%s' was taken", cases[i].line);
		cr_expect(!strncmp(error, cases[i].because, strlen(cases[i].because)), "'%s': %s", cases[i].line,
		          error);
	}
}

static int memory_file(const char *text, size_t size)
{
	int descriptor = memfd_create("feed", MFD_CLOEXEC);
	cr_assert(descriptor >= 0);
	cr_assert_eq(write(descriptor, text, size), (ssize_t)size);
	lseek(descriptor, 0, SEEK_SET);
	return descriptor;
}

static void expect_next(struct feed *feed, const char *topic, const char *payload, uint64_t line)
{
	struct feed_record record;
	cr_assert_eq(feed_next(feed, &record), 1, "%s: %s", topic, feed->error);
	cr_expect_eq(record.topic_size, strlen(topic));
	cr_expect(!memcmp(record.topic, topic, record.topic_size));
	cr_expect_eq(record.payload_size, strlen(payload), "%.*s", (int)record.payload_size, record.payload);
	cr_expect(!memcmp(record.payload, payload, record.payload_size));
	cr_expect_eq(feed->line, line);
}

Test(feed, files_and_their_ends)
{
	static const char text[] = "# recorded somewhere\n0\ta\tone\n\n1\tb\ttwo\r\n2\tc\tlast";
	struct feed feed;
	struct feed_record record;
	cr_assert_eq(feed_open_descriptor(&feed, "memory", memory_file(text, sizeof text - 1)), 0);
	for (int round = 0; round < 2; round++) {
		expect_next(&feed, "a", "one", 2);
		expect_next(&feed, "b", "two", 4);
		expect_next(&feed, "c", "last", 5);
		cr_expect_eq(feed_next(&feed, &record), 0);
		cr_expect_eq(feed_next(&feed, &record), 0, "the end stays the end");
		cr_assert_eq(feed_rewind(&feed), 0);
	}
	feed_close(&feed);
}

Test(feed, errors_name_file_and_line)
{
	static const char text[] = "0\ta\tone\n\nnonsense\n";
	struct feed feed;
	struct feed_record record;
	cr_assert_eq(feed_open_descriptor(&feed, "memory", memory_file(text, sizeof text - 1)), 0);
	expect_next(&feed, "a", "one", 1);
	cr_expect(feed_next(&feed, &record) < 0);
	cr_expect_str_eq(feed.error, "memory:3: expected seconds<TAB>topic<TAB>payload");
	feed_close(&feed);
	cr_expect(feed_open(&feed, "/nonexistent/feed.tsv") < 0);
	cr_expect_str_eq(feed.error, "/nonexistent/feed.tsv: No such file or directory");
	feed_close(&feed);
}

/* A line of FEED_LINE_MAX bytes and more is refused; one just below it is taken. */
Test(feed, lines_are_bounded)
{
	struct feed feed;
	struct feed_record record;
	size_t size = FEED_LINE_MAX + 16;
	char *text = malloc(size);
	memset(text, 'x', size);
	memcpy(text, "0\ta\t", 4);
	text[FEED_LINE_MAX - 1] = '\n';
	cr_assert_eq(feed_open_descriptor(&feed, "memory", memory_file(text, FEED_LINE_MAX)), 0);
	cr_assert_eq(feed_next(&feed, &record), 1, "%s", feed.error);
	cr_expect_eq(record.payload_size, FEED_LINE_MAX - 5);
	feed_close(&feed);
	text[FEED_LINE_MAX - 1] = 'x';
	cr_assert_eq(feed_open_descriptor(&feed, "memory", memory_file(text, size)), 0);
	cr_expect(feed_next(&feed, &record) < 0);
	cr_expect(strstr(feed.error, "memory:1: the line is longer"), "%s", feed.error);
	cr_expect(feed.capacity <= FEED_LINE_MAX, "and takes no more memory than the bound");
	feed_close(&feed);
	free(text);
}

struct pipe_writer {
	const char *text;
	size_t size, piece;
	int descriptor;
};

static void *write_pieces(void *argument)
{
	struct pipe_writer *writer = argument;
	for (size_t at = 0; at < writer->size; at += writer->piece) {
		size_t piece = writer->size - at < writer->piece ? writer->size - at : writer->piece;
		if (write(writer->descriptor, writer->text + at, piece) != (ssize_t)piece)
			break;
	}
	close(writer->descriptor);
	return NULL;
}

/* A pipe gives what was written so far, so that lines begin and end anywhere in what a read returns. */
Test(feed, pieces_do_not_matter)
{
	char text[8192];
	size_t size = 0;
	for (unsigned line = 0; line < 100; line++)
		size += (size_t)sprintf(text + size, "%u.5\ttopic.%u\t%.*s\n", line, line, (int)line % 40,
		                        "0123456789012345678901234567890123456789");
	for (size_t piece = 1; piece < 70; piece++) {
		int ends[2];
		pthread_t thread;
		struct feed feed;
		struct feed_record record;
		cr_assert_eq(pipe(ends), 0);
		struct pipe_writer writer = { text, size, piece, ends[1] };
		cr_assert_eq(pthread_create(&thread, NULL, write_pieces, &writer), 0);
		cr_assert_eq(feed_open_descriptor(&feed, "pipe", ends[0]), 0);
		for (unsigned line = 0; line < 100; line++) {
			cr_assert_eq(feed_next(&feed, &record), 1, "piece %zu, line %u: %s", piece, line, feed.error);
			cr_assert_eq(record.time_ns, line * 1000000000ull + 500000000);
			cr_assert_eq(record.payload_size, line % 40);
		}
		cr_assert_eq(feed_next(&feed, &record), 0);
		cr_expect(feed_rewind(&feed) < 0, "a pipe cannot begin again");
		feed_close(&feed);
		pthread_join(thread, NULL);
	}
}

Test(feed, due_times)
{
	cr_expect_eq(feed_due(5, 5, 1), 0);
	cr_expect_eq(feed_due(1000, 3000, 1), 2000);
	cr_expect_eq(feed_due(1000, 3000, 20), 100);
	cr_expect_eq(feed_due(1000, 3000, 0.5), 4000);
	cr_expect_eq(feed_due(1000, 3000, 0), 0, "as fast as possible");
	cr_expect_eq(feed_due(3000, 1000, 1), 0, "a step back in time is due at once");
	cr_expect(feed_due(0, UINT64_MAX, 0.001) <= INT64_MAX, "no overflow: it is only very late");
}

Test(feed, real_recordings)
{
	static const struct {
		const char *path;
		unsigned messages;
	} cases[] = {
		{ "../shared/data/market/coinbase.tsv", 9943 },
		{ "../shared/data/market/binance.tsv", 4371 },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct feed feed;
		struct feed_record record;
		unsigned count = 0;
		int code;
		if (access(cases[i].path, R_OK))
			cr_skip("%s is not here\n", cases[i].path);
		cr_assert_eq(feed_open(&feed, cases[i].path), 0);
		while ((code = feed_next(&feed, &record)) > 0)
			count++;
		cr_expect_eq(code, 0, "%s", feed.error);
		cr_expect_eq(count, cases[i].messages);
		feed_close(&feed);
	}
}
