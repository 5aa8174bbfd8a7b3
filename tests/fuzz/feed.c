/* SPDX-License-Identifier: MIT
 *
 * feed.c - recordings: the reader must give the same records in whatever pieces the bytes come, and those of a walk
 * over the lines that has them all at once; an error names the line it is in.
 */
#include "lib/feed.h"

#include "fuzz.h"

#include <jansson.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct result {
	uint64_t records, hash;
	uint64_t line; /* of the last record, or of the error */
	int code;
};

static void note(struct result *result, const struct feed_record *record)
{
	uint64_t parts[] = { result->hash,
		             record->time_ns,
		             hash_of((const uint8_t *)record->topic, record->topic_size),
		             hash_of((const uint8_t *)record->payload, record->payload_size),
		             record->topic_size,
		             record->payload_size };
	result->hash = hash_of((const uint8_t *)parts, sizeof parts);
	result->records++;
}

static struct result read_all(struct feed *feed)
{
	struct result result = { 0 };
	struct feed_record record;
	while ((result.code = feed_next(feed, &record)) == 1) {
		HOLDS(record.topic_size >= 1 && record.topic_size <= FEED_TOPIC_MAX, "topic of %zu", record.topic_size);
		HOLDS(!memchr(record.topic, '\t', record.topic_size), "a tab in a topic");
		HOLDS(!memchr(record.payload, '\n', record.payload_size), "a line end in a payload");
		note(&result, &record);
		result.line = feed->line;
	}
	if (result.code < 0) {
		char begins[64];
		HOLDS(result.code == -EINVAL, "%s", feed->error);
		result.line = feed->line;
		snprintf(begins, sizeof begins, "fuzz:%llu: ", (unsigned long long)feed->line);
		HOLDS(!strncmp(feed->error, begins, strlen(begins)) && feed->error[strlen(begins)], "%s", feed->error);
	}
	return result;
}

/* ---- the walk ---- */

static bool is_time(const char *text, size_t size, uint64_t *ns)
{
	char copy[64], *point;
	unsigned __int128 whole = 0;
	uint64_t fraction = 0;
	if (size == 0 || size >= sizeof copy) /* longer ones are not judged */
		return false;
	memcpy(copy, text, size);
	copy[size] = 0;
	if (strlen(copy) != size || copy[strspn(copy, "0123456789.")] || copy[0] == '.')
		return false;
	point = strchr(copy, '.');
	if (point && strchr(point + 1, '.'))
		return false;
	for (const char *c = copy; *c && *c != '.'; c++)
		whole = whole > UINT64_MAX ? whole : whole * 10 + (unsigned)(*c - '0');
	for (unsigned i = 1; i <= 9; i++) {
		bool there = point && strlen(point) > i;
		fraction = fraction * 10 + (there ? (unsigned)(point[i] - '0') : 0);
	}
	*ns = (uint64_t)whole * 1000000000 + fraction;
	return whole <= UINT64_MAX / 1000000000 - 1;
}

/* By somebody else's reading of UTF-8. */
static bool is_name(const char *text, size_t size)
{
	json_t *value = json_stringn(text, size);
	bool clean = value;
	for (size_t i = 0; i < size && clean; i++)
		clean = (unsigned char)text[i] >= ' ' && text[i] != 0x7f &&
		        !(text[i] == '\xc2' && (unsigned char)text[i + 1] < 0xa0);
	json_decref(value);
	return clean;
}

static struct result walk(const char *at, size_t size)
{
	struct result result = { 0 };
	const char *end = at + size;
	for (uint64_t line = 1; at < end; line++) {
		const char *next = memchr(at, '\n', (size_t)(end - at)), *stop = next ? next : end;
		const char *begin = at;
		at = next ? next + 1 : end;
		if (stop > begin && stop[-1] == '\r')
			stop--;
		if (stop == begin || *begin == '#')
			continue;
		struct feed_record record = { 0 };
		const char *first = memchr(begin, '\t', (size_t)(stop - begin));
		const char *second = first ? memchr(first + 1, '\t', (size_t)(stop - first - 1)) : NULL;
		result.line = line;
		if (!second || second - first < 2 || second - first - 1 > 255 ||
		    !is_name(first + 1, (size_t)(second - first - 1)) ||
		    !is_time(begin, (size_t)(first - begin), &record.time_ns)) {
			result.code = -EINVAL;
			return result;
		}
		record.topic = first + 1;
		record.topic_size = (size_t)(second - first - 1);
		record.payload = second + 1;
		record.payload_size = (size_t)(stop - second - 1);
		note(&result, &record);
	}
	return result;
}

static bool has_a_long_time(const char *at, size_t size)
{
	unsigned run = 0;
	for (size_t i = 0; i < size; i++) {
		run = at[i] == '\n' || at[i] == '\t' ? 0 : run + 1;
		if (run > 60 && (i == run - 1 || at[i - run] == '\n'))
			return true;
	}
	return false;
}

static void same(const struct result *a, const struct result *b, const char *what)
{
	HOLDS(a->records == b->records && a->hash == b->hash && a->line == b->line && a->code == b->code,
	      "%s: %llu records up to line %llu, %d; %llu up to %llu, %d", what, (unsigned long long)a->records,
	      (unsigned long long)a->line, a->code, (unsigned long long)b->records, (unsigned long long)b->line,
	      b->code);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed;
	uint64_t chances = hash_of(data, size);
	int pair[2], file = memfd_create("feed", MFD_CLOEXEC);
	if (size > 8000) {
		close(file);
		return 0;
	}
	HOLDS(file >= 0 && write(file, data, size) == (ssize_t)size && lseek(file, 0, SEEK_SET) == 0, "no file");
	HOLDS(feed_open_descriptor(&feed, "fuzz", file) == 0, "%s", feed.error);
	struct result whole = read_all(&feed);
	HOLDS(feed_rewind(&feed) == 0, "%s", feed.error);
	struct result again = read_all(&feed);
	same(&again, &whole, "after a rewind");
	feed_close(&feed);
	struct result walked = walk((const char *)data, size);
	if (!has_a_long_time((const char *)data, size))
		same(&walked, &whole, "the walk and the reader");

	/* One datagram is one read: the pieces are ours to choose. */
	HOLDS(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "no socket");
	for (size_t at = 0, pieces = 0; at < size; pieces++) {
		size_t piece = 1 + draw(&chances) % (pieces < 60 ? 40 : size);
		piece = piece > size - at || pieces == 90 ? size - at : piece;
		HOLDS(send(pair[0], data + at, piece, MSG_DONTWAIT) == (ssize_t)piece, "not sent");
		at += piece;
	}
	shutdown(pair[0], SHUT_WR);
	HOLDS(feed_open_descriptor(&feed, "fuzz", pair[1]) == 0, "%s", feed.error);
	struct result cut = read_all(&feed);
	same(&cut, &whole, "in pieces");
	HOLDS(feed_rewind(&feed) < 0, "a socket cannot seek");
	feed_close(&feed);
	close(pair[0]);
	return 0;
}
