/* SPDX-License-Identifier: MIT
 *
 * connection.h - one socket's life, from its slot to its end.
 *
 *      FREE -> HANDSHAKE -> OPEN -> CLOSING ----------------> ENDING -> FREE
 *                  |          |        our Close is out,        cancel, close the slot
 *                  |          |        the peer's is awaited
 *                  +----------+-> FLUSHING -> LINGER
 *                        last bytes leave    nothing more is said; reads on so that no reset eats them
 *
 * The hot part is one cache line. What only some need hangs off it: a handshake while it is not open, a session while a
 * message is in pieces, an outbox while something waits to be sent.
 */
#ifndef RC_CONNECTION_H
#define RC_CONNECTION_H

#include "extension.h"
#include "handshake.h"
#include "outbox.h"
#include "ring.h"
#include "session.h"

#include <netinet/in.h>

struct worker;

enum connection_state {
	CONNECTION_FREE,
	CONNECTION_HANDSHAKE,
	CONNECTION_OPEN,
	CONNECTION_CLOSING,
	CONNECTION_FLUSHING,
	CONNECTION_LINGER,
	CONNECTION_ENDING,
};

/* What an open connection is sent. */
enum connection_form {
	FORM_FRAMES, /* a WebSocket */
	FORM_EVENTS, /* a stream of server-sent events */
	FORM_ANSWER, /* one answer to a plain request, later */
};

struct handshake {
	struct sockaddr_storage peer;
	bool wants_proxy;             /* the PROXY header has not come yet */
	char proxy[INET6_ADDRSTRLEN]; /* who sent it */
	uint8_t nonce[16];            /* client role */
	char *protocols;              /* client role: what was offered, or null */
	bool offers_deflate;          /* client role */
	char *bytes; /* the request or response so far, a block of the pool; before, what TLS has not yet read */
	size_t size, capacity;
};

struct connection {
	uint64_t cursor; /* the next entry of the log to consider; see BEHIND */
	union {
		struct handshake *handshake; /* until it is open */
		struct rc_session *session;  /* while something received is in pieces */
	};
	struct rc_outbox *outbox;
	void *user;
	_Atomic uint32_t generation; /* read by other threads, to refuse stale handles */
	uint32_t first_subscription; /* number + 1 */
	uint32_t subscription_count;
	uint32_t partial;    /* bytes of the frame at the cursor that have left; its rest is in the log */
	uint32_t heard;      /* tick of the last sign of life, or of the state's beginning */
	uint16_t close_code; /* of the Close that was sent or received first */
	uint8_t state;       /* enum connection_state */
	uint8_t form;        /* enum connection_form */

	/* operations on their way: the slot is closed when none is left */
	bool receiving : 1, sending : 1, polling : 1, shutting : 1, closing_slot : 1;
	/* lists it is in; these outlive the connection and belong to the slot */
	bool queued : 1;   /* the worker's connections to pump */
	bool listed : 1;   /* the worker's subscribers that are behind */
	bool stepping : 1; /* the worker's TLS handshakes that wait */
	/* how it began, and how it ends */
	bool client : 1;         /* we opened it */
	bool opened : 1;         /* handlers.close is owed */
	bool refused : 1;        /* over a limit: its request gets 503 */
	bool crowded : 1;        /* over the limit of its address: its request gets 429 */
	bool counted : 1;        /* among its address's connections */
	bool pinged : 1;         /* an idle Ping waits for a sign of life */
	bool close_sent : 1;     /* a Close */
	bool close_received : 1; /* likewise */
	bool by_peer : 1;        /* the peer's Close came first */
	bool lingers : 1;        /* after flushing: shut down and read on, because the peer may still be sending */
	/* where it stands in the log */
	bool behind : 1;    /* its cursor is its own; without it, it has seen everything before the round */
	bool resuming : 1;  /* a subscription waits to begin further back than the cursor */
	bool own_ahead : 1; /* the log may have entries of its own ahead, which it does not get */
	/* what was agreed */
	bool deflate : 1;    /* permessage-deflate, with our `window` */
	bool takeover : 1;   /* the peer's compressor goes on from message to message: we keep an inflater for it */
	bool in_cohort : 1;  /* our compressor does: the topic's, see engine/cohort.h */
	bool synced : 1;     /* it has read the cohort's last frame, so the next makes sense to it */
	bool secure : 1;     /* TLS: see secure.h */
	bool kernel_tls : 1; /* what is sent is sealed by the kernel: see secure.h */
	bool copies : 1;     /* zero copy gains nothing here: see hold.h */
	uint32_t window : 2; /* enum rc_window */
	uint32_t listener : 4;
};
static_assert(sizeof(struct connection) <= 64, "a connection is one cache line");
static_assert(RC_LISTENERS_MAX <= 16 && RC_WINDOW_COUNT <= 4, "a listener's number and a window fit their bits");

/* Whether an operation is on its way. */
static inline bool rc_connection_is_busy(const struct connection *conn)
{
	return conn->receiving || conn->sending || conn->polling || conn->shutting || conn->closing_slot;
}

/* A new connection in a slot: accepted, or opened by us with this handshake (then it is the connection's). */
void rc_connection_accept(struct worker *worker, uint32_t slot, unsigned listener, const struct sockaddr_storage *peer);
void rc_connection_dialled(struct worker *worker, uint32_t slot, struct handshake *handshake, const struct rc_url *url,
                           void *user);
void rc_connection_refuse_slot(struct worker *worker, uint32_t slot);

/* Completions. */
void rc_connection_received(struct worker *worker, uint32_t slot, const struct rc_completion *completion);
void rc_connection_slot_closed(struct worker *worker, uint32_t slot);

/* What was received, decrypted if need be; and the end of it. */
void rc_connection_take_bytes(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size);
void rc_connection_stream_ended(struct worker *worker, uint32_t slot, int result);

/* Keeps bytes of a handshake behind those that it has. Returns all so far, or null without memory. */
char *rc_connection_gather(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size,
                           size_t *total);

/* Its TLS is over: what that has put aside still leaves, and nothing else. */
void rc_connection_drop(struct worker *worker, uint32_t slot, int status, const char *why);

/* Its time has come: what that means depends on its state. */
void rc_connection_expired(struct worker *worker, uint32_t slot);

/* All that was to leave has left. */
void rc_connection_flushed(struct worker *worker, uint32_t slot);

/* Queues a frame of its own. Returns 0, -ENOBUFS or -ENOMEM. */
int rc_connection_queue(struct worker *worker, uint32_t slot, uint8_t opcode, const void *data, size_t size);

/* Queues a Close and waits for the answer. */
void rc_connection_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size);

/* Ends it now. `code` is what handlers.close is told, unless a Close was sent or received before. */
void rc_connection_end(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size);

/* Takes it out of all topics and lets it end once what waits for it has left; `code` is what handlers.close is told. */
void rc_connection_leave(struct worker *worker, uint32_t slot, uint16_t code);

/* Sends raw bytes (a response) and then ends; `lingers` where the peer may still be sending. */
void rc_connection_finish(struct worker *worker, uint32_t slot, const void *bytes, size_t size, bool lingers);

/* ---- between connection.c and receive.c ---- */

/* What our client role offers: the server may keep its compressor, ours begins anew with each message. */
extern const struct rc_deflate_wish rc_connection_client_wish;

/* Enters a state; its time-out is 0 for none. */
void rc_connection_set_state(struct worker *worker, uint32_t slot, enum connection_state state, unsigned timeout_ms);
unsigned rc_connection_idle_ping_ms(const struct worker *worker);

/* Begins to receive. */
void rc_connection_receive(struct worker *worker, uint32_t slot);

/* Its outbox, made if there is none; null without memory. */
struct rc_outbox *rc_connection_outbox(struct worker *worker, struct connection *conn);

/* Queues a Close, unless one was sent. */
void rc_connection_say_close(struct worker *worker, uint32_t slot, uint16_t code, const char *reason,
                             size_t reason_size);

/* Refuses a request with a status and words, or null. */
void rc_connection_refuse(struct worker *worker, uint32_t slot, int status, const char *words);

/* Frees what belongs to the state it was in. */
void rc_connection_free_parts(struct worker *worker, struct connection *conn, enum connection_state before);

/* Calls handlers.close. */
void rc_connection_tell_closed(struct worker *worker, uint32_t slot, rc_conn handle, uint16_t code, const char *reason,
                               size_t reason_size, int status);

/* rc_connection_end() with the status of a client's failed handshake. */
void rc_connection_end_with(struct worker *worker, uint32_t slot, uint16_t code, const char *reason, size_t reason_size,
                            int status);

/* Closes the slot if it is time to. */
void rc_connection_try_close_slot(struct worker *worker, uint32_t slot);

/* request.c: the verdict on a complete request. Returns the status to refuse with, or 0; *bytes then is the 101
 * response of *size bytes. A response that the application gave is in *bytes with a status. */
struct rc_verdict {
	int status;     /* 0: the connection opens */
	char *response; /* malloc'ed */
	size_t size;
	void *user;
};
void rc_request_judge(struct worker *worker, uint32_t slot, struct rc_http_request *http,
                      const struct handshake *handshake, struct rc_verdict *verdict);
/* Answers a request that waits, and lets it end. `headers` are whole lines, or null. Returns 0, -ENOMEM, -EINVAL. */
int rc_request_answer(struct worker *worker, uint32_t slot, int status, const char *type, const char *headers,
                      const void *body, size_t size);
void rc_peer_name(char text[INET6_ADDRSTRLEN], const struct sockaddr_storage *peer);

#endif
