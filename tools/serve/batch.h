/* SPDX-License-Identifier: MIT
 *
 * batch.h - what a publisher sends, as messages that are published as one. It publishes nothing itself.
 *
 *      {"t":"book.A","k":"bid:7","d":{"px":7}}       an object: its topic, its key, its payload. d: a text stands for
 *      {"t":"book.A","k":"bid:7","r":true}           its bytes, any other value for its JSON; x instead: base64
 *      {"t":"book.A","b":true,"d":[...]}             r: the key is there no more; b: a base
 *      [{...},{...}]                                 many as one; or a line each
 */
#ifndef SERVE_BATCH_H
#define SERVE_BATCH_H

#include <jansson.h>
#include <stdbool.h>

#include "ringcast_publish.h"

struct serve_batch {
	struct rc_batch_message *messages;
	size_t count, capacity;
	json_t *values; /* that the messages' text belongs to */
	void **decoded; /* what stood there as base64, null for others; as many as messages */
	bool single;    /* one object, and not a list of one */
	char wrong[120];
};

/* Reads text into a batch that is zeroed. `topic` is that of messages which name none; of size 0: each must. False: the
 * text is wrong, and batch->wrong says why. What is read refers to `text` and `topic`. */
bool serve_batch_read(struct serve_batch *batch, const char *topic, size_t topic_size, const char *text, size_t size);
/* The same for JSON in lines, and for lines that are messages themselves. Empty ones are none. */
bool serve_batch_read_lines(struct serve_batch *batch, const char *topic, size_t topic_size, const char *text,
                            size_t size, bool json);
/* Adds one message. False as above. */
bool serve_batch_add(struct serve_batch *batch, const struct rc_batch_message *message);

void serve_batch_free(struct serve_batch *batch);

#endif
