/* SPDX-License-Identifier: MIT
 *
 * form.h - what an open connection is. All that depends on it stands in one table, so that a new form is a row of
 * form.c and what that row names.
 */
#ifndef RC_FORM_H
#define RC_FORM_H

#include "connection.h"
#include "envelope.h"

enum connection_form {
	FORM_FRAMES, /* a WebSocket */
	FORM_JSON,   /* one that gets its topics in the json form */
	FORM_BINARY, /* likewise in the binary form */
	FORM_OWN,    /* likewise as the application writes them */
	FORM_OWN_2,
	FORM_EVENTS,      /* a stream of server-sent events */
	FORM_JSON_EVENTS, /* one that gets its topics in the json form */
	FORM_ANSWER,      /* one answer to a plain request, later */
	FORM_COUNT,
};

/* What is done when nothing was heard for half the idle time-out. */
enum form_silence {
	SILENCE_PING,   /* a Ping, and the end when nothing was heard for the whole time-out */
	SILENCE_STREAM, /* nothing is ever heard: a comment finds out whether anybody still takes it */
	SILENCE_NONE,   /* the application's own time-outs count */
};

struct form {
	bool websocket;     /* frames both ways, and a closing handshake */
	bool answers_later; /* it opens without a response, which comes later and is its last */
	bool follows; /* it is sent what its cursor reads; otherwise handlers.ready says that there is something */
	/* The only encoding in which it reads the log; RC_ENCODING_LOG: frames, compressed as agreed. */
	enum rc_encoding_id encoding;
	/* Writes a message in its form and returns the size; 0: it has none. A null `to` asks for the size. */
	size_t (*write)(const struct rc_server *server, uint8_t *to, const struct rc_value *value);
	/* The same for a mark, at most RC_MARK_SIZE_MAX; null: the form tells no marks. */
	size_t (*mark)(uint8_t *to, const struct rc_mark *mark);
	enum form_silence silence;
	const char *head; /* the response that opens a stream; null: there is none, or it is computed */

	/* Queues a message or a control frame of its own. Returns 0, -ENOBUFS, -ENOMEM, or -EINVAL where the form has
	 * no such thing. */
	int (*say)(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size);

	/* Closes it, in its form's way, because the server wants that. It is open. */
	void (*close)(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size);
};

extern const struct form rc_forms[FORM_COUNT];

static inline const struct form *rc_form_of(const struct connection *conn)
{
	return &rc_forms[conn->form];
}

/* Whether it has a handshake in that state, and no session: a request that waits may be followed by another. */
static inline bool rc_form_has_handshake(const struct connection *conn, enum connection_state state)
{
	return state == CONNECTION_HANDSHAKE || (state == CONNECTION_OPEN && conn->form == FORM_ANSWER);
}

/* Whether nothing of the log can be sent right now: something else comes first. */
bool rc_form_is_busy(const struct worker *worker, uint32_t slot);

/* Says something in the connection's form. */
int rc_say(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size);

/* Answers a request that waits, after what waits to be sent: as the last that is said, unless the next request may
 * follow. `headers` are whole lines, or null. Returns 0, -ENOMEM, -EINVAL. */
int rc_answer(struct worker *worker, uint32_t slot, int status, const char *type, const char *headers, const void *body,
              size_t size);

/* Puts headers after the status line of a response of `size` bytes; there is room for them. Those that its status
 * demands stay out where the application says the same itself. Returns the new size. */
size_t rc_answer_insert_headers(char *bytes, size_t size, const char *headers, size_t headers_size);

#endif
