/* SPDX-License-Identifier: MIT
 *
 * session.h - one direction of one open WebSocket: received bytes in, events out, pulled one at a time. It knows
 * fragments, control frames between them, sizes and UTF-8, and nothing of sockets, sending or time.
 *
 * Zeroed, a session is at rest: between two messages, with no byte of a frame seen. A connection at rest needs no
 * session at all, so a worker keeps one zeroed session for all of them, and only a connection in the middle of
 * something owns one. Payloads that lie whole in the received bytes are unmasked there, in place; others are gathered
 * in a block of the pool, or come right there.
 */
#ifndef RC_SESSION_H
#define RC_SESSION_H

#include "frame.h"
#include "pool.h"
#include "text.h"

struct rc_session_rules {
	bool client;             /* our role: a client takes unmasked frames only, a server masked ones only */
	size_t message_size_max; /* a compressed one may be a little larger; it is judged again when it is inflated */
	unsigned fragments_max;
	bool deflate; /* RSV1 may mark a message as compressed (RFC 7692, section 6) */
	size_t ahead; /* memory that a large frame gets before its bytes come, if that is more than any peer gets */
	struct rc_pool *pool;
};

struct rc_session {
	struct rc_frame frame;  /* the one being received */
	uint64_t frame_done;    /* bytes of its payload that have come */
	bool in_frame;          /* its header is complete, its payload is not */
	bool in_message;        /* a fragment without FIN came */
	bool over;              /* CLOSE or FAIL was the last event */
	bool compressed;        /* the message is */
	uint8_t message_opcode; /* of the message, as its first frame said */
	uint8_t header_size;    /* bytes of an incomplete header kept in `header` */
	uint8_t header[RC_FRAME_HEADER_MAX];
	uint8_t control[RC_CONTROL_SIZE_MAX]; /* payload of a control frame in pieces */
	struct rc_utf8 utf8;
	unsigned fragment_count;
	uint8_t *gathered; /* block of the pool; the message begins RC_GATHERED_HEADROOM behind its start */
	size_t gathered_size, gathered_capacity;
};

enum rc_event_kind {
	RC_EVENT_NONE,    /* all bytes are consumed */
	RC_EVENT_MESSAGE, /* opcode, data, size; text is valid UTF-8, unless it is compressed */
	RC_EVENT_PING,    /* data, size */
	RC_EVENT_PONG,    /* data, size */
	RC_EVENT_CLOSE,   /* code (RC_CLOSE_NO_CODE if it had none), data and size are the reason; no event follows */
	RC_EVENT_FAIL,    /* code to close with: 1002, 1007, 1009, or 1011 out of memory; no event follows */
};

struct rc_event {
	enum rc_event_kind kind;
	uint8_t opcode;
	bool compressed; /* of a message */
	uint16_t code;
	const char *why; /* RC_EVENT_FAIL: which rule was broken, static text that fits a Close frame's reason */
	uint8_t *data;   /* valid until the next call; it may be changed */
	size_t size;
};

/* Takes the next event from [*at, end) and moves *at past what it consumed. After RC_EVENT_NONE, *at is `end`. A wrong
 * byte is reported by the call that is given it, never later. After CLOSE or FAIL every call consumes all bytes and
 * returns RC_EVENT_NONE; the session is then not at rest, and must be reset before it serves anything else. */
enum rc_event_kind rc_session_next(struct rc_session *session, const struct rc_session_rules *rules, uint8_t **at,
                                   uint8_t *end, struct rc_event *event);

/* Where the rest of the payload that is being received belongs, for a caller who can have it there at once: *to, and
 * how much of it has room. 0: nowhere, since it is short, or nothing is open, or memory is out. Until
 * rc_session_placed() or rc_session_reset() the session must not be given anything else. */
size_t rc_session_place(struct rc_session *session, const struct rc_session_rules *rules, uint8_t **to);

/* `size` bytes have come there. As rc_session_next(), of which the next call takes what follows them. */
enum rc_event_kind rc_session_placed(struct rc_session *session, const struct rc_session_rules *rules, size_t size,
                                     struct rc_event *event);

/* True when nothing is kept: the session may be forgotten. Right after a MESSAGE event the block it lies in is still
 * kept, until the next call. */
static inline bool rc_session_at_rest(const struct rc_session *s)
{
	return !(s->in_frame | s->in_message | s->over | s->header_size | (s->gathered != NULL));
}

/* Gives its block back and zeroes it. */
void rc_session_reset(struct rc_session *session, struct rc_pool *pool);

/* Asserts the invariants of session.c. */
void rc_session_check(const struct rc_session *session, const struct rc_session_rules *rules);

#endif
