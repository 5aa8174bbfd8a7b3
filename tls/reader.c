/* SPDX-License-Identifier: MIT
 *
 * reader.c - see reader.h. Invariant: `part` exists only while a record is incomplete, and is never larger than one
 * record.
 */
#include "reader.h"

#include "bounds.h"
#include "check.h"

#include <stdlib.h>
#include <string.h>

#define PART_MIN 256
#define SEALED_SIZE(header) ((size_t)((header)[3] << 8 | (header)[4]))

/* Section 4: handshake messages that may come behind the handshake. */
#define NEW_SESSION_TICKET 4
#define KEY_UPDATE 24
#define TICKET_SIZE_MAX (1u << 18) /* more than its fields can hold */

static enum rc_tls_result fail(struct rc_tls_reader *reader, enum rc_tls_alert alert, const char *why)
{
	reader->alert = alert;
	reader->why = why;
	return RC_TLS_FAILED;
}

/* ---- records ---- */

static enum rc_tls_result check_header(struct rc_tls_reader *reader, const uint8_t *header)
{
	if (header[0] != RC_TLS_DATA) /* section 5.2: all are, from the outside */
		return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "a record of an unexpected type");
	if (SEALED_SIZE(header) > RC_TLS_SEALED_MAX)
		return fail(reader, RC_TLS_RECORD_OVERFLOW, "a record that is too large");
	if (SEALED_SIZE(header) < RC_TLS_SEALED_MIN)
		return fail(reader, RC_TLS_DECODE_ERROR, "a record that is too small");
	return RC_TLS_DONE;
}

static bool reserve(struct rc_tls_reader *reader, size_t size)
{
	if (reader->part && size <= reader->part_capacity)
		return true;
	size_t capacity = RC_MAX(RC_MAX(size, (size_t)reader->part_capacity * 2), (size_t)PART_MIN);
	capacity = RC_MIN(capacity, (size_t)RC_TLS_HEADER_SIZE + RC_TLS_SEALED_MAX);
	uint8_t *part = realloc(reader->part, capacity);
	if (!part)
		return false;
	reader->part = part;
	reader->part_capacity = (uint32_t)capacity;
	return true;
}

static void drop_part(struct rc_tls_reader *reader)
{
	free(reader->part);
	reader->part = NULL;
	reader->part_size = reader->part_capacity = 0;
}

/* Adds to the part until it is a record: DONE. */
static enum rc_tls_result gather(struct rc_tls_reader *reader, const uint8_t **in, const uint8_t *in_end)
{
	while (*in < in_end) {
		bool headless = reader->part_size < RC_TLS_HEADER_SIZE;
		size_t whole = RC_TLS_HEADER_SIZE + (headless ? 0 : SEALED_SIZE(reader->part));
		size_t some = RC_MIN(whole - reader->part_size, (size_t)(in_end - *in));
		if (!reserve(reader, reader->part_size + some))
			return fail(reader, RC_TLS_INTERNAL_ERROR, "out of memory");
		memcpy(reader->part + reader->part_size, *in, some);
		reader->part_size += (uint32_t)some;
		*in += some;
		if (reader->part_size < whole)
			return RC_TLS_MORE;
		if (!headless)
			return RC_TLS_DONE;
		if (check_header(reader, reader->part) != RC_TLS_DONE)
			return RC_TLS_FAILED;
	}
	return RC_TLS_MORE;
}

/* The next record: DONE with where it is, which may be the part. */
static enum rc_tls_result next_record(struct rc_tls_reader *reader, const uint8_t **in, const uint8_t *in_end,
                                      const uint8_t **record, size_t *size)
{
	size_t there = (size_t)(in_end - *in);
	enum rc_tls_result result;
	if (!reader->part_size && there >= RC_TLS_HEADER_SIZE) {
		if (check_header(reader, *in) != RC_TLS_DONE)
			return RC_TLS_FAILED;
		*size = RC_TLS_HEADER_SIZE + SEALED_SIZE(*in);
		*record = *in;
		if (there >= *size) {
			*in += *size;
			return RC_TLS_DONE;
		}
	}
	if ((result = gather(reader, in, in_end)) == RC_TLS_DONE) {
		*record = reader->part;
		*size = reader->part_size;
	}
	return result;
}

/* ---- what is not data ---- */

static bool may_come(const struct rc_tls_reader *reader)
{
	return reader->head[0] == KEY_UPDATE ? reader->body_left == 1
	                                     : reader->head[0] == NEW_SESSION_TICKET && reader->is_client &&
	                                           reader->body_left && reader->body_left <= TICKET_SIZE_MAX;
}

static enum rc_tls_result update_keys(struct rc_tls_reader *reader, uint8_t asked, size_t left)
{
	if (asked > 1)
		return fail(reader, RC_TLS_ILLEGAL_PARAMETER, "a KeyUpdate that cannot be understood");
	if (left) /* section 5.1: new keys begin with a record */
		return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "something behind a KeyUpdate");
	if (!rc_tls_half_turn(&reader->half))
		return fail(reader, RC_TLS_INTERNAL_ERROR, "out of memory");
	reader->head_size = 0;
	reader->owes_update |= asked;
	return RC_TLS_DONE;
}

/* Handshake messages, which may begin and end anywhere in a record. */
static enum rc_tls_result take_messages(struct rc_tls_reader *reader, const uint8_t *at, size_t size)
{
	if (!size)
		return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "an empty handshake record");
	while (size) {
		if (reader->head_size < sizeof reader->head) {
			reader->head[reader->head_size++] = *at++;
			size--;
			if (reader->head_size < sizeof reader->head)
				continue;
			reader->body_left = (uint32_t)reader->head[1] << 16 | (uint32_t)reader->head[2] << 8 |
			                    reader->head[3];
			if (!may_come(reader))
				return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "an unexpected handshake message");
		} else if (reader->head[0] == KEY_UPDATE) {
			return update_keys(reader, *at, size - 1);
		} else {
			uint32_t some = RC_MIN(reader->body_left, (uint32_t)size);
			at += some;
			size -= some;
			reader->body_left -= some;
			if (!reader->body_left)
				reader->head_size = 0;
		}
	}
	return RC_TLS_DONE;
}

/* Section 6: all alerts but two end the connection, whatever their level. */
static enum rc_tls_result take_alert(struct rc_tls_reader *reader, const uint8_t *alert, size_t size)
{
	if (size != 2)
		return fail(reader, RC_TLS_DECODE_ERROR, "an alert that cannot be understood");
	if (alert[1] == RC_TLS_USER_CANCELED)
		return RC_TLS_DONE;
	if (alert[1] != RC_TLS_CLOSE_NOTIFY) {
		reader->told = alert[1];
		return fail(reader, 0, "the peer sent an alert");
	}
	reader->closed = true;
	return RC_TLS_DONE;
}

/* ---- reading ---- */

enum rc_tls_result rc_tls_reader_take(struct rc_tls_reader *reader, struct evp_cipher_ctx_st *shared,
                                      const uint8_t **in, const uint8_t *in_end, uint8_t *to, size_t *size)
{
	enum rc_tls_result result = RC_TLS_DONE;
	while (result == RC_TLS_DONE && !reader->closed) {
		const uint8_t *record;
		size_t record_size;
		enum rc_tls_record_type type;
		if ((result = next_record(reader, in, in_end, &record, &record_size)) != RC_TLS_DONE)
			return result;
		enum rc_tls_alert wrong = rc_tls_unseal(&reader->half, shared, record, record_size, to, size, &type);
		drop_part(reader);
		if (wrong)
			return fail(reader, wrong, "a record that cannot be decrypted");
		if (type != RC_TLS_HANDSHAKE && reader->head_size)
			return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "a handshake message that was cut off");
		if (type == RC_TLS_DATA && *size) {
			reader->useless = 0;
			return RC_TLS_DONE;
		}
		if (++reader->useless > RC_TLS_USELESS_MAX)
			return fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "too many records without data");
		if (type == RC_TLS_HANDSHAKE)
			result = take_messages(reader, to, *size);
		else if (type == RC_TLS_ALERT)
			result = take_alert(reader, to, *size);
		else if (type != RC_TLS_DATA)
			result = fail(reader, RC_TLS_UNEXPECTED_MESSAGE, "a record of an unexpected type");
	}
	return reader->closed ? RC_TLS_CLOSED : result;
}

void rc_tls_reader_close(struct rc_tls_reader *reader)
{
	rc_tls_half_close(&reader->half);
	drop_part(reader);
}
