/* SPDX-License-Identifier: MIT
 *
 * outbox.h - what is on its way from this node to the engine: calls of backplane_publish() that wait, and packets made
 * of them that are not confirmed. It must not know any engine, nor the library; time is handed in. Any thread.
 *
 *      add --> waiting calls --pack--> packets: not sent --sent--> appended --confirm--> done
 *                                         ^---------- again ---------'
 *
 * Invariant: each call that was added is told once what became of it, never under the lock.
 */
#ifndef BACKPLANE_OUTBOX_H
#define BACKPLANE_OUTBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backplane.h"
#include "engine.h"

#define OUTBOX_PACKET_SIZE ((size_t)64 << 10) /* no call is added to a packet beyond it */
#define OUTBOX_PACKETS_MAX 128                /* not confirmed at a time, of PACKET_WINDOW tokens that nodes remember */
#define OUTBOX_SEND_MAX 16                    /* given to the engine at once */

struct outbox_call;   /* of backplane_publish() */
struct outbox_member; /* a change of members, in one line with calls */

struct outbox_packet {
	struct outbox_packet *next;
	struct outbox_call *calls;
	uint64_t token, packed_ns; /* when, by the clock of the day */
	uint64_t appended_ns;
	uint32_t count;
	bool appended; /* the engine has said that it has it */
	bool sent;     /* the engine may have it */
	bool handed;   /* see engine.h, append_now */
	size_t size;
	uint8_t bytes[];
};

struct outbox {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* by CLOCK_MONOTONIC */
	/* Under the lock. */
	struct outbox_call *first, **end;
	struct outbox_packet *packets, **packets_end;
	struct outbox_member *members, **members_end;
	unsigned packet_count;
	size_t size, size_max; /* of calls and members, until they are told or written */
	size_t count;          /* messages, likewise */
	uint64_t token;
	bool woken, closed;
	bool resting; /* the publisher's thread */
	bool direct;  /* who added a call sends it by itself, and that thread waits until it has */
};

int outbox_init(struct outbox *outbox, size_t size_max);
/* Tells all that are left that the node ends. */
void outbox_free(struct outbox *outbox);

/* ---- by whoever publishes ---- */

/* Copies messages that were looked at. Returns 0, -EAGAIN (full), -ENOMEM, -ECANCELED (closed). Where *direct is
 * wanted, it says whether the caller is to send at once what it added (outbox_pack()), and to say so by
 * outbox_handed(). */
int outbox_add(struct outbox *outbox, const struct backplane_message *messages, size_t count, uint64_t now_ns,
               backplane_done *done, void *context, bool *direct);
/* The caller is done with sending; the packet of this token was handed over, or none (0). */
void outbox_handed(struct outbox *outbox, uint64_t token);
int outbox_add_member(struct outbox *outbox, const struct engine_member *member);
/* Nothing is added any more. */
void outbox_close(struct outbox *outbox);
bool outbox_is_empty(struct outbox *outbox);

/* ---- by the publisher's thread ---- */

/* Sleeps until somebody wakes it or adds something, the time has come, or, `for_calls`, there is something to send. */
void outbox_wait(struct outbox *outbox, uint64_t until_ns, bool for_calls);
void outbox_wake(struct outbox *outbox);

/* Makes packets of calls that wait, and copies out those that the engine has not said it has, the oldest first, with
 * this epoch in their heads. Returns how many; *again of them may be in the engine. The copies are of `bytes`, which
 * grows as it needs to; a negative errno without memory. */
struct outbox_sending {
	struct engine_packet packets[OUTBOX_SEND_MAX];
	uint64_t tokens[OUTBOX_SEND_MAX];
	uint8_t *bytes;
	size_t room;
};
int outbox_pack(struct outbox *outbox, struct outbox_sending *sending, uint64_t node, uint64_t epoch, uint64_t time_ns);
/* Those of `sending` that are marked are in the engine. */
void outbox_sent(struct outbox *outbox, const struct outbox_sending *sending, size_t count, uint64_t now_ns);

/* The next change of members, to be freed, or null; they are to be written before the calls that were added later. */
const struct engine_member *outbox_member(struct outbox *outbox);
void outbox_member_written(struct outbox *outbox);

/* Tells calls that came before `before_ns` that they are late: of those that were never sent with `unsent`, of others
 * with -ETIMEDOUT. Returns how many messages they had. */
size_t outbox_expire(struct outbox *outbox, uint64_t before_ns, int unsent);
/* Drops the packet of this token, which the engine can never take. */
void outbox_refuse(struct outbox *outbox, uint64_t token, int code);

/* ---- by the follower's thread ---- */

/* A packet of this node came back: its calls are told. */
void outbox_confirm(struct outbox *outbox, uint64_t token, const struct backplane_number *numbers, size_t count);
/* ---- by both ---- */

/* What was appended before that time and has not come back may be lost: it is sent again. Returns whether there is any.
 */
bool outbox_again(struct outbox *outbox, uint64_t before_ns);

#endif
