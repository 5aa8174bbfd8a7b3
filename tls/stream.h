/* SPDX-License-Identifier: MIT
 *
 * stream.h - one TLS connection as bytes in, bytes out. It knows no socket and no ring: the caller points its wire at
 * received ciphertext and at room for ciphertext, and calls.
 *
 *      received ciphertext -> wire.in    -> handshake, read -> plaintext in the caller's buffer
 *      plaintext           -> write      -> wire.out        -> ciphertext to send
 *
 * Streams of one thread share one wire: between calls a stream keeps only what is in the middle of something.
 */
#ifndef RC_TLS_STREAM_H
#define RC_TLS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rc_tls_context;
struct rc_tls_stream;

#define RC_TLS_RECORD_MAX 16384   /* plaintext of a record, RFC 8446, section 5.1 */
#define RC_TLS_RECORD_LEAST 512   /* to this a peer may bound it, RFC 6066, section 4 */
#define RC_TLS_OVERHEAD_MAX 256   /* more than a record adds, and an answer to a KeyUpdate before it */
#define RC_TLS_RECORD_ADDS_MAX 32 /* more than a record adds by itself: header, nonce, type, tag */
/* More than `size` bytes take as records of at most `record_max`, and a close_notify behind them. */
#define RC_TLS_SEALED_SIZE(size, record_max)                                                                           \
	((size) + ((size) / (record_max) + 6) * RC_TLS_RECORD_ADDS_MAX + RC_TLS_OVERHEAD_MAX)

struct rc_tls_wire {
	const uint8_t *in, *in_end; /* consumed by handshake and read */
	uint8_t *out, *out_end;     /* filled by all */
	void *bio, *cipher, *decipher;
};

int rc_tls_wire_open(struct rc_tls_wire *wire); /* 0 or -ENOMEM */
void rc_tls_wire_close(struct rc_tls_wire *wire);

enum rc_tls_result {
	RC_TLS_DONE,   /* the handshake is complete; the record was made; bytes were read */
	RC_TLS_MORE,   /* wire.in was consumed: more bytes are needed */
	RC_TLS_FULL,   /* wire.out is full: call again with more room */
	RC_TLS_CLOSED, /* the peer said that it will send no more */
	RC_TLS_FAILED, /* over; what wire.out got (an alert) is still worth sending */
};

/* Null when memory is out. A stream keeps the context and belongs to the wire's thread. */
struct rc_tls_stream *rc_tls_stream_server(struct rc_tls_context *context, struct rc_tls_wire *wire);
/* `host` is the name or address that the server's certificate must be for. */
struct rc_tls_stream *rc_tls_stream_client(struct rc_tls_context *context, struct rc_tls_wire *wire, const char *host);
void rc_tls_stream_free(struct rc_tls_stream *stream); /* null is allowed */

/* Goes on with the handshake: DONE, MORE, FULL, FAILED. */
enum rc_tls_result rc_tls_handshake(struct rc_tls_stream *stream);

/* Decrypts up to RC_TLS_RECORD_MAX bytes into `to`: DONE with *size of at least 1, MORE, CLOSED, FAILED. */
enum rc_tls_result rc_tls_read(struct rc_tls_stream *stream, uint8_t *to, size_t *size);

/* Encrypts 1 to RC_TLS_RECORD_MAX bytes, as one record or as several of what the peer takes; wire.out has room for
 * RC_TLS_SEALED_SIZE. DONE or FAILED. */
enum rc_tls_result rc_tls_write(struct rc_tls_stream *stream, const uint8_t *bytes, size_t size);

/* Takes new keys for what is sent, as rc_tls_write() does by itself after RC_TLS_RECORDS_A_KEY records. False when that
 * failed. With TLS 1.2 it does nothing. */
bool rc_tls_update_keys(struct rc_tls_stream *stream);

/* For a kernel that makes the records from here on (Documentation/networking/tls.rst): what its TLS_TX takes, written
 * to `keys`. Returns the size, 0 where this stream's records cannot be handed over (TLS 1.2). All that wire.out got
 * must have left before the kernel is told. */
#define RC_TLS_KERNEL_KEYS_MAX 64
size_t rc_tls_kernel_keys(const struct rc_tls_stream *stream, void *keys);
/* The kernel took them: from now on nothing is written to wire.out, and alerts wait for rc_tls_take_alert(). A peer
 * that asks for new keys cannot get them: reading then fails. */
void rc_tls_kernel_took(struct rc_tls_stream *stream);
/* Takes an alert that the kernel is to send as a record of that type; false when there is none. */
bool rc_tls_take_alert(struct rc_tls_stream *stream, uint8_t alert[2]);

/* Says that no more will be sent (close_notify). True when wire.out got it, or rc_tls_take_alert() will give it. */
bool rc_tls_close(struct rc_tls_stream *stream);

/* The plaintext that a record may hold, once it is open. */
size_t rc_tls_record_size(const struct rc_tls_stream *stream);

bool rc_tls_is_open(const struct rc_tls_stream *stream); /* the handshake is done, and nothing failed */
bool rc_tls_is_resumed(const struct rc_tls_stream *stream);
bool rc_tls_saw_close(const struct rc_tls_stream *stream); /* the peer's close_notify came */

/* Why it failed, in words; "" when it did not. Valid until the next call on this thread. *distrusted is set when it was
 * because of the peer's certificate. */
const char *rc_tls_why(const struct rc_tls_stream *stream, bool *distrusted);

/* Whether a certificate that the peer showed is on this context's revocation lists, as far as the one that the stream
 * began with had lists. */
bool rc_tls_stream_is_revoked(const struct rc_tls_stream *stream, const struct rc_tls_context *context);

/* The subject of the certificate that the peer showed and that was verified, as RFC 2253 writes it. Returns whether
 * there is one that fits. */
bool rc_tls_subject(const struct rc_tls_stream *stream, char *to, size_t size);

#endif
