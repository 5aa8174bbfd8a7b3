/* SPDX-License-Identifier: MIT
 *
 * arrive.c - see arrive.h. It must not know what the bytes mean.
 *
 * Invariant: what is noted while bytes are read is acted on before more of them are read.
 */
#include "arrive.h"

#include "close.h"
#include "form.h"
#include "frames.h"
#include "opening.h"
#include "proxy.h"
#include "trace.h"
#include "worker.h"

#include <string.h>

void rc_arrive_end(struct worker *worker, uint32_t slot, int result)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->secure && conn->state < CONNECTION_FLUSHING)
		rc_secure_ended(worker, slot);
	if (conn->state == CONNECTION_FLUSHING && result == 0)
		return; /* it may still want to read the answer */
	struct ending ending = { .kind = ENDING_CUT, .slot = slot, .code = RC_CLOSE_ABNORMAL };
	if (conn->client) {
		bool opens = conn->state == CONNECTION_HANDSHAKE;
		ending.status = !opens ? 0 : result ? result : -ECONNRESET;
		ending.reason = result  ? strerrordesc_np(-result)
		                : opens ? "the server ended the connection before it answered"
		                        : "the server ended the connection without a Close";
		ending.reason_size = ending.reason ? strlen(ending.reason) : 0;
	}
	rc_ending_note(worker, &ending);
}

static void heard(struct worker *worker, struct connection *conn, size_t size)
{
	rc_count(&worker->stats.bytes_received, size);
	if (conn->state != CONNECTION_OPEN)
		return;
	conn->heard = rc_worker_ticks(worker);
	conn->pinged = false;
}

/* Plaintext. */
static void take_bytes(struct worker *worker, uint32_t slot, uint8_t *at, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	uint8_t *end = at + size;
	heard(worker, conn, size);
	while (at < end && conn->state == CONNECTION_HANDSHAKE) {
		at += rc_opening_take(worker, slot, at, (size_t)(end - at));
		rc_close_noted(worker);
	}
	/* Nobody keeps what comes before an answer that is still awaited: that will be the last. */
	if (at < end && conn->state == CONNECTION_OPEN && conn->form == FORM_ANSWER)
		conn->handshake->keeps = false;
	while (at < end && (conn->state == CONNECTION_OPEN || conn->state == CONNECTION_CLOSING)) {
		at = rc_frames_take(worker, slot, at, end);
		rc_close_noted(worker);
	}
}

/* Ciphertext, in its turn. */
static void take_sealed(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	const struct connection *conn = &worker->connections[slot];
	uint8_t *plain;
	size_t got;
	if (rc_secure_feed(worker, slot, bytes, size)) {
		while (rc_connection_listens(conn) && rc_secure_read(worker, slot, &plain, &got))
			take_bytes(worker, slot, plain, got);
		if (rc_secure_fed(worker, slot) && rc_connection_listens(conn))
			rc_arrive_end(worker, slot, 0);
	}
	rc_close_noted(worker);
}

bool rc_arrive_waiting(struct worker *worker)
{
	struct secure_turn turn;
	rc_secure_begin_turns(worker);
	while (rc_secure_next_turn(worker, &turn)) {
		take_sealed(worker, turn.slot, turn.bytes, turn.size);
		rc_pool_give(&worker->pool, turn.bytes, turn.capacity);
	}
	return rc_secure_turns_wait(worker);
}

/* Takes the header that a proxy sends before all else, TLS included. Returns how many of these bytes belonged to it, or
 * 0: more of it is awaited, or this is no such header. Then the connection is cut, since nobody there could read an
 * answer. */
static size_t receive_proxy(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct handshake *handshake = worker->connections[slot].handshake;
	size_t total = size, before = handshake->size;
	struct sockaddr_storage named;
	const char *head = before ? rc_handshake_gather(worker, handshake, bytes, size, &total) : (const char *)bytes;
	int used = head ? rc_proxy_parse((const uint8_t *)head, total, &named) : -1;
	if (used == 0 && !before && !rc_handshake_gather(worker, handshake, bytes, size, &total))
		used = -1;
	if (used < 0) {
		rc_count(&worker->stats.handshakes_failed, 1);
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
	}
	if (used <= 0)
		return 0;
	rc_peer_name(handshake->proxy, &handshake->peer);
	if (named.ss_family != AF_UNSPEC)
		handshake->peer = named;
	handshake->wants_proxy = false;
	handshake->size = 0;
	return (size_t)used - before;
}

static void take_received(struct worker *worker, uint32_t slot, uint8_t *bytes, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_HANDSHAKE && conn->handshake->wants_proxy) {
		size_t used = receive_proxy(worker, slot, bytes, size);
		if (!used || used == size)
			return;
		bytes += used;
		size -= used;
	}
	if (!conn->secure)
		take_bytes(worker, slot, bytes, size);
	else if (rc_connection_listens(conn) && rc_secure_has_turn(worker, slot, bytes, size))
		take_sealed(worker, slot, bytes, size);
}

/* They lie where they belong. Where nobody wants them any more, nobody writes there any more either. */
static void take_placed(struct worker *worker, uint32_t slot, size_t size)
{
	struct connection *conn = &worker->connections[slot];
	heard(worker, conn, size);
	if (conn->state == CONNECTION_OPEN || conn->state == CONNECTION_CLOSING)
		rc_frames_placed(worker, slot, size);
}

static void take_result(struct worker *worker, uint32_t slot, const struct rc_completion *completion)
{
	if (completion->result > 0 && completion->flags & RC_RING_BUFFER) {
		take_received(worker, slot, completion->data, (size_t)completion->result);
	} else if (completion->result > 0) {
		take_placed(worker, slot, (size_t)completion->result);
	} else if (completion->result == -ENOBUFS) {
		rc_count(&worker->stats.receive_starved, 1);
		RC_TRACE1(no_buffers, slot);
	} else {
		rc_arrive_end(worker, slot, completion->result);
	}
}

/* Who sends large messages is received one at a time: its head into a shared buffer, which says how long it is, and the
 * rest where it belongs. That is no copy and few completions; all others are received without being asked for. */
static void receive_on(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	uint8_t *to;
	size_t size = conn->secure ? 0 : rc_frames_place(worker, slot, &to);
	if (size)
		rc_connection_receive_placed(worker, slot, to, size);
	else
		rc_connection_receive(worker, slot, conn->bulk && !conn->secure ? RECEPTION_ONCE : RECEPTION_STREAM);
}

void rc_arrive(struct worker *worker, uint32_t slot, const struct rc_completion *completion)
{
	struct connection *conn = &worker->connections[slot];
	bool more = completion->flags & RC_RING_MORE;
	bool turned = conn->turning && completion->result == -ECANCELED;
	if (!more)
		conn->receiving = conn->turning = false;
	if (!turned)
		take_result(worker, slot, completion);
	rc_close_noted(worker);
	if (!more && !rc_connection_listens(conn))
		rc_connection_free_parts(worker, conn, CONNECTION_ENDING); /* it was still being received into */
	if (completion->flags & RC_RING_BUFFER)
		rc_ring_buffer_return(worker->ring, completion->buffer);
	if (conn->state == CONNECTION_ENDING)
		return;
	/* A receive also ends when the buffers or the completion queue ran out; then it is begun again. */
	if (!more && (completion->result > 0 || completion->result == -ENOBUFS || turned)) {
		receive_on(worker, slot);
	} else if (more && !conn->turning && !conn->secure && rc_frames_rest(conn) >= RC_BULK_SIZE_MIN) {
		/* What it has received by now still comes first. */
		conn->turning = true;
		rc_connection_receive_end(worker, slot);
	}
}
