/* SPDX-License-Identifier: MIT
 *
 * connection.h - one socket's life, from its slot to its end.
 *
 *      FREE -> HANDSHAKE -> OPEN -> CLOSING ----------------> ENDING -> FREE
 *                  |          |        our Close is out,        cancel, close the slot
 *                  |          |        the peer's is awaited
 *                  +----------+-> FLUSHING -> LINGER
 *                        last bytes leave    nothing more is said; it reads on, so that no reset loses them
 *
 * A plain request that was answered begins its HANDSHAKE again where the peer may ask for more.
 *
 * The hot part is one cache line. What only some need hangs off it: a handshake while it is not open, a session while a
 * message is in pieces, an outbox while something waits to be sent. What an open connection is (a WebSocket, a stream
 * of events, a request that waits) is its form: form.h.
 */
#ifndef RC_CONNECTION_H
#define RC_CONNECTION_H

#include "cursor.h"
#include "deflate.h"
#include "extension.h"
#include "handshake.h"
#include "outbox.h"
#include "ringcast.h"
#include "session.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

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

enum reception {
	RECEPTION_STREAM, /* into shared buffers, one after the other */
	RECEPTION_ONCE,   /* into one of them */
	RECEPTION_PLACED, /* to where the session gathers the message */
};

struct handshake {
	struct sockaddr_storage peer;
	uint64_t began_ns;            /* the accept, or the connect */
	bool wants_proxy;             /* the PROXY header has not come yet */
	bool head_judged;             /* of a request with a body, which may come */
	bool keeps;                   /* the next request follows on this connection */
	bool answered;                /* one or more were before */
	struct rc_http_chunks chunks; /* of the body that is coming */
	char proxy[INET6_ADDRSTRLEN]; /* who sent it */
	uint8_t nonce[16];            /* client role */
	const char *protocols;        /* client role: what was offered, or null; its dial's */
	bool offers_deflate;          /* client role */
	char *bytes; /* the request or response so far, a block of the pool; before, what TLS has not read yet */
	size_t size, capacity;
};

struct connection {
	struct rc_cursor cursor;
	union {
		struct handshake *handshake; /* until it is open; then while its answer is awaited */
		struct rc_session *session;  /* while something received is in pieces */
	};
	struct rc_outbox *outbox;
	void *user;
	_Atomic uint32_t generation; /* read by other threads, to refuse stale handles */
	uint32_t first_subscription; /* number + 1 */
	uint32_t subscription_count : 24;
	uint32_t bulk : 6;     /* its last message was large: the power of two in which it fits; 0: it was not */
	uint32_t pace : 2;     /* how slow the way to it is, by the latest Pong: see rc_connection_silence_ms() */
	uint32_t heard;        /* the wheel's tick at the last sign of life, or when the state began */
	uint16_t close_code;   /* of the Close that was sent or received first */
	uint8_t state;         /* enum connection_state */
	uint8_t form : 4;      /* enum connection_form */
	uint8_t reception : 2; /* enum reception: what is on its way while `receiving` */
	bool turning : 1;      /* that was cancelled, to go on in another way */

	/* operations on their way: the slot is closed when none is left */
	bool receiving : 1, sending : 1, polling : 1, shutting : 1, closing_slot : 1;
	/* lists it is in; these outlive the connection and belong to the slot */
	bool queued : 1;   /* the worker's connections to pump */
	bool listed : 1;   /* the worker's subscribers that are behind */
	bool stepping : 1; /* the worker's TLS handshakes that wait */
	/* how it began, and how it ends */
	bool client : 1;         /* we opened it */
	bool opened : 1;         /* handlers.close is owed */
	bool ends : 1;           /* a note of how it is to end waits: ending.h */
	bool refused : 1;        /* over a limit: its request gets 503 */
	bool starved : 1;        /* memory was short when it came: its request gets 503 */
	bool crowded : 1;        /* over the limit of its address: its request gets 429 */
	bool counted : 1;        /* among its address's connections */
	bool pinged : 1;         /* an idle Ping waits for a sign of life */
	bool asked : 1;          /* its Pong has not come; other signs of life may have */
	bool close_sent : 1;     /* a Close */
	bool close_received : 1; /* likewise */
	bool by_peer : 1;        /* the peer's Close came first */
	bool lingers : 1;        /* after flushing: shut down and read on, because the peer may still be sending */
	/* what was agreed */
	bool deflate : 1;    /* permessage-deflate, with our `window` */
	bool takeover : 1;   /* the peer's compressor goes on from message to message: we keep an inflater for it */
	bool in_cohort : 1;  /* its topic's compressor goes on from message to message: see engine/cohort.h */
	bool secure : 1;     /* TLS: see secure.h */
	bool kernel_tls : 1; /* what is sent is sealed by the kernel: see kernel_tls.h */
	bool copies : 1;     /* zero copy gains nothing here: see hold.h */
	uint32_t window : 2; /* enum rc_window */
	uint32_t listener : 4;
};
static_assert(sizeof(struct connection) == 64, "a connection is one cache line");
static_assert(RC_SUBSCRIPTIONS_LIMIT < 1u << 24, "a number of subscriptions fits its bits");
static_assert(RC_LISTENERS_MAX <= 16 && RC_WINDOW_COUNT <= 4, "a listener's number and a window fit their bits");

/* Whether an operation is on its way. */
static inline bool rc_connection_is_busy(const struct connection *conn)
{
	return conn->receiving || conn->sending || conn->polling || conn->shutting || conn->closing_slot;
}

/* Whether something may be said to it, and it may be sent what it is subscribed to. */
static inline bool rc_connection_is_open(const struct connection *conn)
{
	return conn->state == CONNECTION_OPEN && !conn->ends;
}

/* Whether what its peer sends still means something. */
static inline bool rc_connection_listens(const struct connection *conn)
{
	return conn->state == CONNECTION_HANDSHAKE || conn->state == CONNECTION_OPEN ||
	       conn->state == CONNECTION_CLOSING;
}

/* Checks what must hold of a connection between two events. */
void rc_connection_check(const struct worker *worker, uint32_t slot);

/* A new connection in a free slot, in no state yet. */
struct connection *rc_connection_begin(struct worker *worker, uint32_t slot);

/* Gives a slot back to the ring. Nothing is on its way on it. */
void rc_connection_close_slot(struct worker *worker, uint32_t slot);

/* Enters a state with a time-out; 0: none. */
void rc_connection_set_state(struct worker *worker, uint32_t slot, enum connection_state state, unsigned timeout_ms);

/* How long an open connection may be silent before something is done: ping_interval_ms, and half of the idle time-out
 * at most; 0: for ever. Where the way is slow it is half or a third of that: such ways break more often. */
unsigned rc_connection_silence_ms(const struct worker *worker, const struct connection *conn);

/* Begins to receive, in a way other than RECEPTION_PLACED. */
void rc_connection_receive(struct worker *worker, uint32_t slot, enum reception how);

/* Begins to receive up to `size` bytes to where its session wants them. The session stays until that completes. */
void rc_connection_receive_placed(struct worker *worker, uint32_t slot, uint8_t *to, size_t size);

/* Ends what is being received: it completes once more, without RC_RING_MORE. */
void rc_connection_receive_end(struct worker *worker, uint32_t slot);

/* Its outbox, made if there is none; null when memory is out. */
struct rc_outbox *rc_connection_outbox(struct worker *worker, struct connection *conn);

/* Puts bytes after all that waits to be sent, whatever the limit. False when memory is out. */
bool rc_connection_put(struct worker *worker, uint32_t slot, const void *bytes, size_t size);

/* Drops its outbox. */
void rc_connection_drop_outbox(struct worker *worker, struct connection *conn);

/* Frees what belongs to the state it was in: a handshake, or a session. A session that is being received into stays:
 * this is called again when that has completed. */
void rc_connection_free_parts(struct worker *worker, struct connection *conn, enum connection_state before);

/* An empty handshake; null when memory is out. */
struct handshake *rc_handshake_new(struct worker *worker);
void rc_handshake_free(struct worker *worker, struct handshake *handshake);

/* Keeps bytes of a handshake after those that it has. Returns all so far, or null when memory is out. */
char *rc_handshake_gather(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size,
                          size_t *total);

#endif
