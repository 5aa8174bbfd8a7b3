/* SPDX-License-Identifier: MIT
 *
 * secure.h - the TLS of a worker's connections: between the ring and what a connection receives, and between what the
 * fan-out chose and the ring. The rest of a SECURE connection is as of any other.
 *
 *      received --> [held, while handshakes wait their turn] --> stream --> rc_connection_take_bytes()
 *      ranges of the log, outbox --> stream --> stage --> one send --> [aside: what the socket did not take]
 *
 * Where the kernel makes the records (kernel_tls), it is given the keys when the handshake is done and all that it put
 * aside has left. From then on plaintext is sent as on any other connection, the rest of a short send is plaintext too,
 * and what the stream says by itself are alerts, sent as records of that type. Receiving stays the stream's.
 *
 * Bytes that were encrypted have left, as far as the fan-out is concerned: a record once made must be sent. So what is
 * aside goes before everything else. A stage is a block that the records of many sends share until they have completed;
 * there is a bounded number of them, and it is warm.
 */
#ifndef RC_SECURE_H
#define RC_SECURE_H

#include "outbox.h"
#include "stream.h"

struct worker;

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

struct secure_stage {
	uint32_t used, reference_count;
};

#define RC_TLS_NO_STAGE RC_TLS_STAGES     /* in a tag: the send is of what was aside */
#define RC_TLS_OPTION (RC_TLS_STAGES + 1) /* it was no send: the kernel was asked, or given the keys */
#define RC_TLS_ALERT_SENT (RC_TLS_STAGES + 2)
#define RC_TLS_STAGED_MAX (RC_TLS_SEND_SIZE_MAX + (RC_TLS_SEND_SIZE_MAX / RC_TLS_RECORD_MAX + 2) * RC_TLS_OVERHEAD_MAX)
static_assert(RC_TLS_STAGED_MAX <= RC_TLS_STAGE_SIZE, "a send fits in a stage");

struct secure_worker {
	struct secure *places; /* by slot */
	struct rc_tls_wire wire;
	uint8_t *plain; /* a record's plaintext: received, or gathered from ranges */
	uint8_t *reply; /* what a stream says by itself, before it is put aside */
	uint8_t *stage_bytes;
	struct secure_stage stages[RC_TLS_STAGES];
	uint16_t free[RC_TLS_STAGES];
	unsigned free_count, stage; /* the one being filled */
	uint32_t *queue;            /* slots whose handshake waits, STEPPING: a ring */
	uint32_t queue_at, queue_count;
	unsigned steps_left; /* of handshakes, in this tick */
	bool kernel_refused; /* it makes no records */
};

int rc_secure_open(struct worker *worker);
void rc_secure_close(struct worker *worker);

/* Handshakes that waited go on, a bounded number. Returns whether some still wait. */
bool rc_secure_tick(struct worker *worker);

/* Client role: begins the handshake. False without memory. */
bool rc_secure_dial(struct worker *worker, uint32_t slot, const char *host);

void rc_secure_received(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size);

/* The stream of bytes ended, or the time was up: counts what that means. */
void rc_secure_ended(struct worker *worker, uint32_t slot);

/* The slot is free. */
void rc_secure_free(struct worker *worker, uint32_t slot);

/* Whether frames can be sent: the handshake is done, and nothing failed. */
bool rc_secure_is_open(const struct worker *worker, uint32_t slot);

/* Whether a send may be staged now. */
bool rc_secure_can_stage(const struct worker *worker);

/* Encrypts the first `size` bytes of the ranges (at most RC_TLS_SEND_SIZE_MAX), and a close_notify behind them if it is
 * the last, and sends that. False when the connection had to be given up. Only when rc_secure_can_stage(). */
bool rc_secure_send(struct worker *worker, uint32_t slot, const struct rc_range *ranges, size_t size, bool last);

/* Sends what is aside, or hands the records over to the kernel; false when there is neither to do. */
bool rc_secure_has_aside(const struct worker *worker, uint32_t slot);
bool rc_secure_send_aside(struct worker *worker, uint32_t slot);

/* The kernel has sealed and sent so many bytes. */
void rc_secure_count(struct worker *worker, uint32_t slot, size_t size);

/* Puts a close_notify aside, once. Returns whether. */
bool rc_secure_say_end(struct worker *worker, uint32_t slot);

/* A send has completed, `result` bytes of it left. Returns 1 when it was all, 0 when the rest is aside, -ENOMEM. */
int rc_secure_sent(struct worker *worker, uint32_t slot, unsigned stage, int result);

#endif
