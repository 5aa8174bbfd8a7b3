/* SPDX-License-Identifier: MIT
 *
 * out.h - text that grows while JSON is written into it. What is written by hand here is the hot path: a message of a
 * known shape costs a few copies; only values of unknown shape go through the JSON library.
 *
 * Running out of memory is remembered and told once, by rc_out_failed(): nobody has to ask after every word.
 */
#ifndef RC_APP_OUT_H
#define RC_APP_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rc_out {
	char *bytes;
	size_t size, capacity;
	bool failed;
};

static inline void rc_out_clear(struct rc_out *out)
{
	out->size = 0;
	out->failed = false;
}

void rc_out_free(struct rc_out *out);

/* Room for `size` more bytes, or null. */
char *rc_out_room(struct rc_out *out, size_t size);

void rc_out_bytes(struct rc_out *out, const void *bytes, size_t size);
void rc_out_text(struct rc_out *out, const char *text);
void rc_out_format(struct rc_out *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
void rc_out_number(struct rc_out *out, uint64_t number);

/* A quoted string (RFC 8259, section 7) of UTF-8 text. */
void rc_out_string(struct rc_out *out, const char *text, size_t size);

/* Any value, as compact JSON; null is `null`. */
void rc_out_value(struct rc_out *out, const json_t *value);

/* The members that begin an object: {"type":"TYPE" and, if there is one, ,"id":ID. The caller writes on from there. */
void rc_out_type(struct rc_out *out, const char *type, const json_t *id);

/* Another member: what the sender called the message, if it did. Whoever sends a message again, because this server or
 * the one before died over it, gets a new id each time; by this its readers know it. */
void rc_out_ref(struct rc_out *out, const json_t *id);

#endif
