/* SPDX-License-Identifier: MIT
 *
 * secure.h - the TLS of a worker's connections: between the ring and what a connection receives, and between what the
 * fan-out chose and the ring. In all else a secure connection is like any other.
 *
 *      received --> [held, while handshakes wait their turn] --> stream --> plaintext           secure.c
 *      ranges of the log, outbox --> stream --> stage --> one send --> [aside: its rest]          seal.c
 *      or: keys --> the kernel, which makes the records from then on                        kernel_tls.c
 *
 * Bytes that were encrypted have left, as far as the fan-out is concerned: a record once made must be sent. So what is
 * aside goes before everything else.
 */
#ifndef RC_SECURE_H
#define RC_SECURE_H

#include "outbox.h"
#include "seal.h"
#include "service.h"
#include "stream.h"

enum kernel_tls { KERNEL_NOT, KERNEL_WANTED, KERNEL_ASKED, KERNEL_GIVEN, KERNEL_ON }; /* asked for, given the keys */

/* Beside a connection, by slot. */
struct secure {
	struct rc_tls_stream *stream;
	struct rc_outbox *aside; /* ciphertext: the rest of a send, handshake messages, alerts */
	struct rc_range sending; /* in a stage, on its way */
	uint8_t *keys;           /* GIVEN: what the kernel reads */
	uint64_t kernel_size;    /* ON: bytes that were sealed with them */
	uint8_t kernel;          /* enum kernel_tls */
	bool alert_waits;        /* ON: to be sent as a record of its own */
	uint8_t alert[2];
};

struct secure_worker {
	struct secure *of_slot;
	struct rc_tls_wire wire;
	uint8_t *plain;            /* a record's plaintext: received, or gathered from ranges */
	uint8_t *reply;            /* what a stream says by itself, before it is put aside */
	enum rc_tls_result result; /* of the last rc_secure_read() */
	struct staging staging;
	struct slot_queue to_step; /* handshakes that wait, connection.stepping */
	unsigned turns_left;       /* of handshakes, in this tick */
	bool kernel_refused;       /* it makes no records */
	unsigned reload_count;     /* certificates were looked at after so many reloads */
};

int rc_secure_open(struct worker *worker);
void rc_secure_close(struct worker *worker);

/* Client role: begins the handshake. False when memory is out. */
bool rc_secure_dial(struct worker *worker, uint32_t slot, const char *host);

/* ---- receiving, pulled ---- */

/* Whether these bytes are taken now. Otherwise they are kept until the handshake has its turn. Where there is no room
 * for them, the connection's end is noted. */
bool rc_secure_has_turn(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size);

/* A handshake whose turn has come, with the bytes that were kept: a block of the pool, now the caller's. */
struct secure_turn {
	uint32_t slot;
	void *bytes;
	size_t size, capacity;
};
void rc_secure_begin_turns(struct worker *worker); /* of a tick */
bool rc_secure_next_turn(struct worker *worker, struct secure_turn *turn);
bool rc_secure_turns_wait(const struct worker *worker);

/* Hands ciphertext to the stream. True: records may be read, until rc_secure_fed(). */
bool rc_secure_feed(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size);
/* The content of the next record, valid until the next call. */
bool rc_secure_read(struct worker *worker, uint32_t slot, uint8_t **plain, size_t *size);
/* Returns whether the peer has closed its side. What went wrong is noted. */
bool rc_secure_fed(struct worker *worker, uint32_t slot);

/* The stream of bytes has ended, or the time is up: counts what that means for TLS. */
void rc_secure_ended(struct worker *worker, uint32_t slot);

/* After certificates were read again: notes the end of those connections whose certificate is revoked by now. */
void rc_secure_recheck(struct worker *worker);

/* The slot is free. */
void rc_secure_free(struct worker *worker, uint32_t slot);

/* Whether frames can be sent: the handshake is done, and nothing failed. */
bool rc_secure_is_open(const struct worker *worker, uint32_t slot);

/* ---- sending, beside seal.h ---- */

/* Sends what is aside, or hands the records over to the kernel; false when there is neither to do. */
bool rc_secure_has_aside(const struct worker *worker, uint32_t slot);
bool rc_secure_send_aside(struct worker *worker, uint32_t slot);

/* Puts a close_notify aside. Returns whether it did: it does so once. */
bool rc_secure_say_end(struct worker *worker, uint32_t slot);

#endif
