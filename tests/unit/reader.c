/* SPDX-License-Identifier: MIT
 *
 * reader.c - what may come behind a handshake of TLS 1.3 and what may not (RFC 8446, sections 4.6, 5 and 6), against
 * records made here, in every split of the bytes.
 */
#include "bounds.h"

#include "reader.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "seed.h"

#define STREAM_MAX (1 << 20)

static const uint8_t secret[RC_TLS_SECRET_MAX] = "a secret that both sides have agreed upon......";
static EVP_CIPHER_CTX *sealing, *opening;

/* Both ends: what is sealed, and the reader with what it has read. */
struct ends {
	struct rc_tls_half half;
	uint8_t *sealed, *at;
	struct rc_tls_reader reader;
	uint8_t *plain;
	size_t plain_size;
	unsigned updates; /* that were asked for */
};

static void open_ends(struct ends *ends, unsigned suite, bool is_client)
{
	if (!sealing) {
		sealing = EVP_CIPHER_CTX_new();
		opening = EVP_CIPHER_CTX_new();
	}
	*ends =
	    (struct ends){ .sealed = malloc(STREAM_MAX), .plain = malloc(STREAM_MAX), .reader.is_client = is_client };
	ends->at = ends->sealed;
	cr_assert(rc_tls_half_open(&ends->half, suite, secret, 0));
	cr_assert(rc_tls_half_open(&ends->reader.half, suite, secret, 0));
}

static void close_ends(struct ends *ends)
{
	rc_tls_half_close(&ends->half);
	rc_tls_reader_close(&ends->reader);
	free(ends->sealed);
	free(ends->plain);
}

/* A record with so many zeros behind its type. */
static void seal(struct ends *ends, unsigned type, const void *bytes, size_t size, size_t padding)
{
	uint8_t *inner = calloc(1, size + 1 + padding);
	memcpy(inner, bytes, size);
	inner[size] = (uint8_t)type;
	/* What rc_tls_seal() puts behind what it is given is the last byte. */
	cr_assert(rc_tls_seal(&ends->half, sealing, padding ? 0 : type, inner, padding ? size + padding : size,
	                      &ends->at, ends->sealed + STREAM_MAX));
	free(inner);
}

static void update(struct ends *ends, uint8_t asked)
{
	const uint8_t message[] = { 24, 0, 0, 1, asked };
	seal(ends, RC_TLS_HANDSHAKE, message, sizeof message, 0);
	cr_assert(rc_tls_half_turn(&ends->half));
}

/* Reads bytes that lie in a block of their own size. */
static enum rc_tls_result read_piece(struct ends *ends, const uint8_t *bytes, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	memcpy(copy, bytes, size);
	const uint8_t *in = copy;
	enum rc_tls_result result = RC_TLS_DONE;
	while (result == RC_TLS_DONE) {
		uint8_t *to = malloc(RC_TLS_RECORD_MAX);
		size_t got;
		result = rc_tls_reader_take(&ends->reader, opening, &in, copy + size, to, &got);
		if (result == RC_TLS_DONE) {
			cr_assert(got && got <= RC_TLS_RECORD_MAX && ends->plain_size + got <= STREAM_MAX);
			memcpy(ends->plain + ends->plain_size, to, got);
			ends->plain_size += got;
		}
		free(to);
		ends->updates += ends->reader.owes_update;
		ends->reader.owes_update = false;
	}
	if (result == RC_TLS_MORE)
		cr_assert_eq(in, copy + size, "asks for more with bytes left");
	free(copy);
	return result;
}

static enum rc_tls_result read_all(struct ends *ends)
{
	return read_piece(ends, ends->sealed, (size_t)(ends->at - ends->sealed));
}

Test(reader, every_split)
{
	uint64_t seed = seed_of("every_split");
	for (unsigned run = 0; run < 60; run++) {
		struct ends ends;
		uint8_t *said = malloc(STREAM_MAX), text[RC_TLS_RECORD_MAX];
		size_t said_size = 0, piece_max = run % 3 ? 1 + below(&seed, 40) : 1 + below(&seed, 20000);
		unsigned asked = 0;
		unsigned apart = 0; /* of these, the ones with data since the one before; the others may be one */
		bool data = true;
		open_ends(&ends, 0x1301 + run % 3, run & 1);
		for (unsigned record = 0; record < 40 && said_size < STREAM_MAX / 2; record++) {
			static const uint8_t canceled[] = { 1, RC_TLS_USER_CANCELED };
			size_t size = below(&seed, 20) ? below(&seed, 100) : RC_TLS_RECORD_MAX - below(&seed, 2);
			size_t room = RC_TLS_RECORD_MAX - size;
			for (size_t i = 0; i < size; i++)
				text[i] = (uint8_t)chance(&seed);
			seal(&ends, RC_TLS_DATA, text, size,
			     below(&seed, 3) ? 0 : below(&seed, (room < 500 ? room : 500) + 1));
			memcpy(said + said_size, text, size);
			said_size += size;
			data |= size > 0;
			if (!below(&seed, 8)) {
				bool wants = below(&seed, 2);
				update(&ends, wants);
				asked += wants;
				apart += wants && data;
				data &= !wants;
			}
			if (!below(&seed, 8))
				seal(&ends, RC_TLS_ALERT, canceled, 2, below(&seed, 5));
		}
		size_t size = (size_t)(ends.at - ends.sealed);
		for (size_t at = 0, some; at < size; at += some) {
			some = 1 + below(&seed, piece_max);
			some = some < size - at ? some : size - at;
			cr_assert_eq(read_piece(&ends, ends.sealed + at, some), RC_TLS_MORE, "at %zu: %s", at,
			             ends.reader.why);
		}
		cr_assert_eq(ends.plain_size, said_size);
		cr_assert(!memcmp(ends.plain, said, said_size));
		cr_assert(apart <= ends.updates && ends.updates <= asked, "%u to %u, not %u", apart, asked,
		          ends.updates);
		cr_assert_null(ends.reader.part, "nothing is in the middle, and memory is kept");
		close_ends(&ends);
		free(said);
	}
}

Test(reader, key_update_across_records)
{
	struct ends ends;
	open_ends(&ends, 0x1301, false);
	for (unsigned cut = 1; cut < 5; cut++) {
		static const uint8_t message[] = { 24, 0, 0, 1, 1 };
		seal(&ends, RC_TLS_HANDSHAKE, message, cut, 0);
		seal(&ends, RC_TLS_HANDSHAKE, message + cut, sizeof message - cut, 3);
		cr_assert(rc_tls_half_turn(&ends.half));
		seal(&ends, RC_TLS_DATA, "x", 1, 0);
	}
	cr_expect_eq(read_all(&ends), RC_TLS_MORE, "%s", ends.reader.why);
	cr_expect_eq(ends.plain_size, 4);
	cr_expect_eq(ends.updates, 4);
	close_ends(&ends);
}

Test(reader, tickets)
{
	for (int is_client = 0; is_client < 2; is_client++) {
		struct ends ends;
		uint8_t tickets[600] = { 4, 0, 0, 200 };
		tickets[204] = 4; /* the second lies in three records */
		tickets[206] = 1;
		tickets[207] = 0x88;
		open_ends(&ends, 0x1301, is_client);
		seal(&ends, RC_TLS_HANDSHAKE, tickets, 206, 0);
		seal(&ends, RC_TLS_HANDSHAKE, tickets + 206, 100, 0);
		seal(&ends, RC_TLS_HANDSHAKE, tickets + 306, 294, 0);
		seal(&ends, RC_TLS_DATA, "behind", 6, 0);
		enum rc_tls_result result = read_all(&ends);
		if (is_client) {
			cr_expect_eq(result, RC_TLS_MORE, "%s", ends.reader.why);
			cr_expect(ends.plain_size == 6 && !memcmp(ends.plain, "behind", 6));
		} else {
			cr_expect(result == RC_TLS_FAILED && ends.reader.alert == RC_TLS_UNEXPECTED_MESSAGE);
		}
		close_ends(&ends);
	}
}

Test(reader, close_notify)
{
	static const uint8_t close_notify[] = { 1, RC_TLS_CLOSE_NOTIFY };
	struct ends ends;
	open_ends(&ends, 0x1302, false);
	seal(&ends, RC_TLS_DATA, "the last", 8, 0);
	seal(&ends, RC_TLS_ALERT, close_notify, 2, 0);
	seal(&ends, RC_TLS_DATA, "not heard", 9, 0);
	cr_expect_eq(read_all(&ends), RC_TLS_CLOSED);
	cr_expect_eq(read_piece(&ends, (const uint8_t *)"anything", 8), RC_TLS_CLOSED);
	cr_expect(ends.reader.closed && ends.plain_size == 8);
	close_ends(&ends);
}

/* Content that no peer may send, and the alert it gets. */
Test(reader, wrong_content)
{
	static const uint8_t many[4] = { 0 };
	static const struct {
		unsigned type;
		const char *bytes;
		size_t size;
		enum rc_tls_alert alert;
	} cases[] = {
		{ RC_TLS_ALERT, "", 0, RC_TLS_DECODE_ERROR },
		{ RC_TLS_ALERT, "\1", 1, RC_TLS_DECODE_ERROR },
		{ RC_TLS_ALERT, "\1\0\1\0", 4, RC_TLS_DECODE_ERROR }, /* two in one record */
		{ RC_TLS_ALERT, "\2\12", 2, 0 },                      /* the peer failed: nothing to say */
		{ RC_TLS_ALERT, "\1\12", 2, 0 },                      /* its level means nothing */
		{ RC_TLS_HANDSHAKE, "", 0, RC_TLS_UNEXPECTED_MESSAGE },
		{ RC_TLS_HANDSHAKE, "\1\0\0\1x", 5, RC_TLS_UNEXPECTED_MESSAGE },  /* a ClientHello: renegotiation */
		{ RC_TLS_HANDSHAKE, "\15\0\0\1x", 5, RC_TLS_UNEXPECTED_MESSAGE }, /* a CertificateRequest */
		{ RC_TLS_HANDSHAKE, "\4\0\0\1x", 5, RC_TLS_UNEXPECTED_MESSAGE },  /* a ticket, to a server */
		{ RC_TLS_HANDSHAKE, "\30\0\0\0", 4, RC_TLS_UNEXPECTED_MESSAGE },  /* KeyUpdates ... */
		{ RC_TLS_HANDSHAKE, "\30\0\0\2\0\0", 6, RC_TLS_UNEXPECTED_MESSAGE },
		{ RC_TLS_HANDSHAKE, "\30\0\0\1\2", 5, RC_TLS_ILLEGAL_PARAMETER },
		{ RC_TLS_HANDSHAKE, "\30\0\0\1\0\30", 6, RC_TLS_UNEXPECTED_MESSAGE }, /* with something behind it */
		{ 20, "\1", 1, RC_TLS_UNEXPECTED_MESSAGE },                           /* change_cipher_spec */
		{ 99, "x", 1, RC_TLS_UNEXPECTED_MESSAGE },
		{ 0, "", 0, RC_TLS_UNEXPECTED_MESSAGE }, /* nothing but padding */
		{ 0, (const char *)many, 4, RC_TLS_UNEXPECTED_MESSAGE },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ends ends;
		open_ends(&ends, 0x1303, false);
		seal(&ends, RC_TLS_DATA, "before", 6, 0);
		seal(&ends, cases[i].type, cases[i].bytes, cases[i].size, 0);
		seal(&ends, RC_TLS_DATA, "behind", 6, 0);
		cr_expect_eq(read_all(&ends), RC_TLS_FAILED, "case %zu", i);
		cr_expect_eq(ends.reader.alert, cases[i].alert, "case %zu: alert %d", i, ends.reader.alert);
		cr_expect(ends.reader.why && ends.plain_size == 6, "case %zu", i);
		close_ends(&ends);
	}
}

/* Section 5.1: no other record comes into the middle of a handshake message. */
Test(reader, message_interrupted)
{
	for (unsigned cut = 1; cut < 5; cut++) {
		struct ends ends;
		open_ends(&ends, 0x1301, false);
		seal(&ends, RC_TLS_HANDSHAKE, "\30\0\0\1", cut, 0);
		seal(&ends, RC_TLS_DATA, "x", 1, 0);
		cr_expect(read_all(&ends) == RC_TLS_FAILED && ends.reader.alert == RC_TLS_UNEXPECTED_MESSAGE, "cut %u",
		          cut);
		cr_expect_eq(ends.plain_size, 0);
		close_ends(&ends);
	}
}

Test(reader, wrong_headers)
{
	static const struct {
		uint8_t header[5];
		enum rc_tls_alert alert;
	} cases[] = {
		{ { 22, 3, 3, 0, 40 }, RC_TLS_UNEXPECTED_MESSAGE }, /* in the clear: a handshake, an alert, HTTP */
		{ { 21, 3, 3, 0, 2 }, RC_TLS_UNEXPECTED_MESSAGE },
		{ { 'G', 'E', 'T', ' ', '/' }, RC_TLS_UNEXPECTED_MESSAGE },
		{ { 20, 3, 3, 0, 1 }, RC_TLS_UNEXPECTED_MESSAGE },
		{ { 23, 3, 3, 0, 0 }, RC_TLS_DECODE_ERROR },
		{ { 23, 3, 3, 0, 16 }, RC_TLS_DECODE_ERROR },
		{ { 23, 3, 3, 0x40, 18 }, RC_TLS_RECORD_OVERFLOW },
		{ { 23, 3, 3, 0xFF, 0xFF }, RC_TLS_RECORD_OVERFLOW },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (size_t cut = 0; cut < 5; cut++) {
			struct ends ends;
			open_ends(&ends, 0x1301, false);
			if (cut)
				cr_assert_eq(read_piece(&ends, cases[i].header, cut), RC_TLS_MORE);
			cr_expect_eq(read_piece(&ends, cases[i].header + cut, 5 - cut), RC_TLS_FAILED, "case %zu", i);
			cr_expect_eq(ends.reader.alert, cases[i].alert, "case %zu: alert %d", i, ends.reader.alert);
			close_ends(&ends);
		}
	}
}

/* As many records without data as there may be, of each kind, and one more. */
Test(reader, useless)
{
	static const uint8_t canceled[] = { 1, RC_TLS_USER_CANCELED };
	for (unsigned kind = 0; kind < 3; kind++) {
		struct ends ends;
		open_ends(&ends, 0x1301, false);
		for (unsigned row = 0; row < 3; row++) {
			for (unsigned i = 0; i < RC_TLS_USELESS_MAX + row / 2; i++) {
				if (kind == 0)
					update(&ends, i & 1);
				else
					seal(&ends, kind == 1 ? RC_TLS_ALERT : RC_TLS_DATA, canceled, kind == 1 ? 2 : 0,
					     0);
			}
			seal(&ends, RC_TLS_DATA, "x", 1, 0);
		}
		cr_expect(read_all(&ends) == RC_TLS_FAILED && ends.reader.alert == RC_TLS_UNEXPECTED_MESSAGE, "kind %u",
		          kind);
		cr_expect_eq(ends.plain_size, 2, "kind %u: %zu", kind, ends.plain_size);
		close_ends(&ends);
	}
}

/* The largest record, and one byte of padding more than there may be. */
Test(reader, largest)
{
	static const uint8_t text[RC_TLS_RECORD_MAX] = { 1, 2, 3 };
	struct ends ends;
	open_ends(&ends, 0x1301, false);
	seal(&ends, RC_TLS_DATA, text, sizeof text, 0);
	seal(&ends, RC_TLS_DATA, text, 3, sizeof text - 3);
	cr_expect_eq(read_all(&ends), RC_TLS_MORE, "%s", ends.reader.why);
	cr_expect_eq(ends.plain_size, sizeof text + 3);
	close_ends(&ends);
}

Test(reader, any_byte_changed)
{
	for (size_t byte = 0; byte < 5 + 8 + 17; byte++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct ends ends;
			open_ends(&ends, 0x1301, false);
			seal(&ends, RC_TLS_DATA, "12345678", 8, 0);
			ends.sealed[byte] ^= (uint8_t)(1u << bit);
			cr_expect_neq(read_all(&ends), RC_TLS_DONE);
			cr_expect_eq(ends.plain_size, 0, "byte %zu bit %u", byte, bit);
			close_ends(&ends);
		}
	}
}

/* A promise of a large record takes memory as its bytes come, and never more than the record. */
Test(reader, memory_follows_what_came)
{
	static const uint8_t text[RC_TLS_RECORD_MAX];
	struct ends ends;
	open_ends(&ends, 0x1301, false);
	seal(&ends, RC_TLS_DATA, text, sizeof text, 0);
	size_t size = (size_t)(ends.at - ends.sealed);
	for (size_t at = 0; at + 1 < size; at++) {
		cr_assert_eq(read_piece(&ends, ends.sealed + at, 1), RC_TLS_MORE);
		cr_assert(ends.reader.part_capacity <= 256 + 2 * (at + 1) && ends.reader.part_capacity <= size,
		          "%zu: %u", at, ends.reader.part_capacity);
	}
	read_piece(&ends, ends.sealed + size - 1, 1);
	cr_expect_eq(ends.plain_size, sizeof text);
	cr_expect_null(ends.reader.part);
	close_ends(&ends);
}
