/* SPDX-License-Identifier: MIT
 *
 * keyed.h - the forms in which a server tells a message's numbers and its key: ?form=json and ?form=binary, read. It
 * must not know what a payload means, nor whether the numbers fit: that is follow.h's.
 */
#ifndef LIB_KEYED_H
#define LIB_KEYED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "follow.h"

#define KEYED_KEY_MAX 64 /* bytes of a key */
#define KEYED_TOPIC_MAX 255

struct keyed_message {
	enum follow_kind kind;
	bool removed; /* the key is */
	bool base;    /* it stands for everything of the topic before it */
	uint64_t sequence, epoch, previous;
	char topic[KEYED_TOPIC_MAX + 1];
	size_t topic_size;
	char key[KEYED_KEY_MAX + 1]; /* ends in a zero too */
	size_t key_size;             /* 0: it has none */
	const char *payload;         /* see the functions for how long */
	size_t payload_size;
};

/* Reads one message of the binary form. The payload lies in `data`. Returns whether it is one. */
bool keyed_read_binary(const void *data, size_t size, struct keyed_message *message);

/* Reads one message of the JSON form. The payload is the JSON text of its data, or what a JSON string stands for; it
 * lies in *scratch, which the function makes larger and the caller frees. Returns whether it is one. */
struct keyed_scratch {
	char *bytes;
	size_t capacity;
};
bool keyed_read_json(const void *data, size_t size, struct keyed_message *message, struct keyed_scratch *scratch);

#endif
