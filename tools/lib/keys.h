/* SPDX-License-Identifier: MIT
 *
 * keys.h - keys that a request shows: `Authorization: Bearer KEY` or `X-API-Key: KEY`. Invariant: no key in a list is
 * short enough to be guessed, so an empty one opens nothing.
 */
#ifndef LIB_KEYS_H
#define LIB_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "ringcast.h"

#define KEYS_MAX 64
#define KEY_SIZE_MIN 16

struct keys {
	char *items[KEYS_MAX];
	unsigned count;
};

/* Adds a copy. Returns null or what is wrong with the key. */
const char *keys_add(struct keys *keys, const char *text);
/* Adds the keys of a file, one a line; blank lines are none. Returns false after saying why. */
bool keys_read(struct keys *keys, const char *path);
void keys_free(struct keys *keys);

/* Whether the request shows one of the keys. */
bool keys_open(const struct keys *keys, const rc_request *request);

#endif
