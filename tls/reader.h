/* SPDX-License-Identifier: MIT
 *
 * reader.h - the receiving side of TLS 1.3 once the handshake is done: records, as they come in pieces, to what the
 * peer says in them (RFC 8446, sections 4.6, 5 and 6). It must not know OpenSSL's state machine, nor how anything is
 * sent.
 *
 * A record that has come whole is decrypted where it came; only one that is cut off is kept, in as much memory as has
 * come.
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
	uint8_t useless;         /* records since the last with data: each costs more than it brings */
	bool is_client;          /* which is sent tickets, and has no use for them */
	bool closed;             /* the peer said that it will send no more */
	bool owes_update;        /* it wants new keys: the owner says them, and forgets this */
	enum rc_tls_alert alert; /* FAILED: to be sent to the peer; 0 when it was the peer that failed, ... */
	uint8_t told;            /* ... and told us so by this alert */
	const char *why;         /* in words */
};

/* Takes records of in..in_end up to the first with content, which goes to `to` (room for RC_TLS_RECORD_MAX bytes): DONE
 * with *size of at least 1. MORE, CLOSED and FAILED as of rc_tls_read(). */
enum rc_tls_result rc_tls_reader_take(struct rc_tls_reader *reader, struct evp_cipher_ctx_st *shared,
                                      const uint8_t **in, const uint8_t *in_end, uint8_t *to, size_t *size);
void rc_tls_reader_close(struct rc_tls_reader *reader);

#endif
