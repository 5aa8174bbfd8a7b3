/* SPDX-License-Identifier: MIT
 *
 * keys.c - see keys.h.
 */
#include "keys.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "options.h"
#include "text.h"

#define LINE_MAX_SIZE 1024

const char *keys_add(struct keys *keys, const char *text)
{
	size_t size = strlen(text);
	if (size < KEY_SIZE_MIN)
		return "a key has at least 16 bytes: `openssl rand -hex 24` makes one";
	if (!text_is_name(text, size))
		return "a key is text without control characters";
	if (keys->count == KEYS_MAX)
		return "more than 64 keys";
	char *copy = strdup(text);
	if (!copy)
		return "no memory";
	keys->items[keys->count++] = copy;
	return NULL;
}

bool keys_read(struct keys *keys, const char *path)
{
	char line[LINE_MAX_SIZE];
	const char *wrong = NULL;
	unsigned number = 0, before = keys->count;
	FILE *file = fopen(path, "re");
	if (!file)
		return command_failed("%s: %s", path, strerror(errno)), false;
	while (!wrong && fgets(line, sizeof line, file)) {
		size_t size = strcspn(line, "\r\n");
		number++;
		if (!line[size] && !feof(file))
			wrong = "a line is longer than 1022 bytes, or holds a zero byte";
		line[size] = 0;
		if (!wrong && line[strspn(line, " \t")])
			wrong = keys_add(keys, line);
	}
	if (!wrong && ferror(file))
		wrong = "cannot be read";
	if (!wrong && keys->count == before)
		wrong = "there is no key in it";
	fclose(file);
	explicit_bzero(line, sizeof line);
	return wrong ? command_failed("%s:%u: %s", path, number, wrong), false : true;
}

void keys_free(struct keys *keys)
{
	for (unsigned i = 0; i < keys->count; i++) {
		OPENSSL_cleanse(keys->items[i], strlen(keys->items[i]));
		free(keys->items[i]);
	}
	keys->count = 0;
}

/* The time it takes tells the length of a key at most. */
static bool is_same(const char *one, const char *other)
{
	size_t size = strlen(one);
	return size == strlen(other) && CRYPTO_memcmp(one, other, size) == 0;
}

bool keys_open(const struct keys *keys, const rc_request *request)
{
	const char *header = rc_request_header(request, "Authorization"),
		   *shown = rc_request_header(request, "X-API-Key");
	bool found = false;
	if (!shown && header && strncasecmp(header, "Bearer ", 7) == 0)
		shown = header + 7 + strspn(header + 7, " ");
	for (unsigned i = 0; shown && i < keys->count; i++)
		found |= is_same(keys->items[i], shown);
	return found;
}
