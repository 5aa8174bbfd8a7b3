/* SPDX-License-Identifier: MIT
 *
 * reader.h - the receiving side of TLS 1.3 once the handshake is done: records, as they come in pieces, to what the
 * peer says in them (RFC 8446, sections 4.6, 5 and 6). It must not know OpenSSL's state machine, nor how anything is
 * sent.
 *
 * A record that has come whole is decrypted from where it lies. Only one that is cut off is kept, in about as much
 * memory as has come of it.
 */
#ifndef RC_TLS_READER_H
#define RC_TLS_READER_H

#include "record.h"
#include "stream.h"

struct rc_tls_reader {
	struct rc_tls_half half;
	uint8_t *part; /* of a record that has not come whole */
	uint32_t part_size, part_capacity;
	uint8_t head[4];         /* of a handshake message ... */
	uint8_t head_size;       /* ... as far as it came; 0: none has begun */
	uint32_t body_left;      /* and what is still to come of it */
	uint8_t useless;         /* records since the last one with data */
	bool is_client;          /* a client is sent session tickets, and ignores them */
	bool closed;             /* the peer said that it will send no more */
	bool owes_update;        /* the peer asks for new keys of ours: the owner sends a KeyUpdate and clears this */
	enum rc_tls_alert alert; /* after FAILED: the alert to send; 0 when the peer ended it, ... */
	uint8_t told;            /* ... by this alert of its own */
	const char *why;         /* after FAILED: the reason in words */
};

/* Takes records of [*in, in_end) up to the first with data, which goes to `to` (room for RC_TLS_RECORD_MAX bytes): DONE
 * with *size of at least 1. MORE, CLOSED and FAILED mean what they do in rc_tls_read(). */
enum rc_tls_result rc_tls_reader_take(struct rc_tls_reader *reader, struct evp_cipher_ctx_st *shared,
                                      const uint8_t **in, const uint8_t *in_end, uint8_t *to, size_t *size);
void rc_tls_reader_close(struct rc_tls_reader *reader);

#endif
