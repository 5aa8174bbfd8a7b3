/* SPDX-License-Identifier: MIT
 *
 * feed.h - a recorded feed: one message a line, `seconds<TAB>topic<TAB>payload`. Streamed from a descriptor through one
 * bounded buffer, so that a recording may be larger than memory. Knows neither a clock nor a server.
 */
#ifndef LIB_FEED_H
#define LIB_FEED_H

#include <stddef.h>
#include <stdint.h>

#define FEED_LINE_MAX ((size_t)16 << 20) /* a longer line is an error, not a reason to take more memory */
#define FEED_TOPIC_MAX 255               /* bytes of a topic's name */

struct feed_record {
	uint64_t time_ns; /* as recorded: only differences have a meaning */
	const char *topic;
	size_t topic_size;
	const char *payload; /* may hold tabs, and may be empty */
	size_t payload_size;
	const char *key; /* null: none; only after feed_take_key() */
	size_t key_size;
};

/* Takes one line apart, without its line end. The record points into the line. Returns null, or what is wrong. */
const char *feed_parse(const char *line, size_t size, struct feed_record *record);

/* Takes a fourth column off the payload: what stands behind its last tab is the key. Without a tab, or with nothing
 * behind it, there is none. */
void feed_take_key(struct feed_record *record);

struct feed {
	const char *path;
	int descriptor;
	char *buffer;
	size_t capacity;
	size_t begin, end; /* unread bytes: begin <= end <= capacity */
	uint64_t line;     /* of the record that was returned last, from 1 */
	int at_end;
	char error[256];
};

/* Opens a file, or standard input for "-". Returns 0 or a negative errno, with feed->error set. */
int feed_open(struct feed *feed, const char *path);
/* The same on a descriptor that the feed closes. `path` is for errors and must live on. */
int feed_open_descriptor(struct feed *feed, const char *path, int descriptor);

/* The next record, valid until the next call. Empty lines and lines that begin with '#' are passed over.
 * Returns 1, 0 at the end, or a negative errno with feed->error set to `PATH:LINE: what is wrong`. */
int feed_next(struct feed *feed, struct feed_record *record);

/* Back to the first record. Returns 0, or a negative errno where the source cannot seek. */
int feed_rewind(struct feed *feed);
void feed_close(struct feed *feed);

/* When a record is due, in nanoseconds after the first one, at `speed` times the recorded pace; 0 is at once. A
 * recording that steps back in time is due at once as well. */
uint64_t feed_due(uint64_t first_ns, uint64_t time_ns, double speed);

#endif
