/* SPDX-License-Identifier: MIT
 *
 * out.h - text that grows while JSON is written into it. The hot path is written by hand: a message of a known shape
 * costs a few copies. Only values of unknown shape go through the JSON library.
 *
 * Running out of memory is remembered in out->failed, so that nobody has to ask after every word.
 */
#ifndef APP_OUT_H
#define APP_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct app_out {
	char *bytes;
	size_t size, capacity;
	bool failed;
};

static inline void app_out_clear(struct app_out *out)
{
	out->size = 0;
	out->failed = false;
}

void app_out_free(struct app_out *out);

/* Room for `size` more bytes, or null. */
char *app_out_room(struct app_out *out, size_t size);

void app_out_bytes(struct app_out *out, const void *bytes, size_t size);
void app_out_text(struct app_out *out, const char *text);
/* The bytes and a line end: both, or without memory neither. */
void app_out_line(struct app_out *out, const void *bytes, size_t size);
void app_out_format(struct app_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void app_out_number(struct app_out *out, uint64_t number);

/* Write a number so that it ends before `end`, at most 20 digits, or 16. Return where it begins. */
char *app_digits(char *end, uint64_t number);
char *app_digits_hex(char *end, uint64_t number);

/* How many bytes of a text come before the first that a JSON string may not hold, or that is escaped in it. */
size_t app_plain_size(const char *text, size_t size);

/* A quoted string (RFC 8259, section 7) of UTF-8 text. */
void app_out_string(struct app_out *out, const char *text, size_t size);

/* Any value, as compact JSON; null is `null`. */
void app_out_value(struct app_out *out, const json_t *value);

/* The members that begin an object: {"type":"TYPE" and, if there is one, ,"id":ID. The caller writes on from there. */
void app_out_type(struct app_out *out, const char *type, const json_t *id);

/* A whole message: what is missing of a topic, and whether its numbers began again. */
void app_out_gap(struct app_out *out, const char *topic, size_t size, uint64_t from, uint64_t to, uint64_t epoch,
                 bool reset);

/* A whole message: what is known of the "topic" is void, and its state up to that number follows; or, of the "room",
 * what was said up to there may be lost. */
void app_out_resync(struct app_out *out, const char *field, const char *name, size_t size, uint64_t epoch,
                    uint64_t sequence);

#endif
