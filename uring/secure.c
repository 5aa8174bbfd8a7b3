/* SPDX-License-Identifier: MIT
 *
 * secure.c - see secure.h: handshakes, what is received, and what goes before all else. It must not know frames, topics
 * or plans.
 */
#include "secure.h"

#include "certificates.h"
#include "kernel_tls.h"
#include "worker.h"

#include <string.h>

/* ---- opening and closing ---- */

int rc_secure_open(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	secure->of_slot = rc_map(worker->slot_count * sizeof *secure->of_slot);
	secure->plain = rc_map(RC_TLS_RECORD_MAX);
	secure->reply = rc_map(RC_TLS_REPLY_SIZE);
	if (!rc_queue_open(&secure->to_step, worker->slot_count) || !rc_seal_open(&secure->staging) ||
	    !secure->of_slot || !secure->plain || !secure->reply)
		return -ENOMEM;
	return rc_tls_wire_open(&secure->wire);
}

void rc_secure_close(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	for (uint32_t slot = 0; secure->of_slot && slot < worker->slot_high; slot++)
		rc_secure_free(worker, slot);
	rc_tls_wire_close(&secure->wire);
	rc_queue_close(&secure->to_step);
	rc_seal_close(&secure->staging);
	rc_unmap(secure->of_slot, worker->slot_count * sizeof *secure->of_slot);
	rc_unmap(secure->plain, RC_TLS_RECORD_MAX);
	rc_unmap(secure->reply, RC_TLS_REPLY_SIZE);
	memset(secure, 0, sizeof *secure);
}

void rc_secure_free(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	rc_tls_stream_free(own->stream);
	rc_outbox_free(own->aside, &worker->pool);
	rc_kernel_tls_forget_keys(own);
	memset(own, 0, sizeof *own);
}

bool rc_secure_is_open(const struct worker *worker, uint32_t slot)
{
	const struct rc_tls_stream *stream = worker->secure.of_slot[slot].stream;
	return stream && rc_tls_is_open(stream);
}

/* ---- handshakes ---- */

static struct rc_tls_stream *stream_of(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	if (own->stream)
		return own->stream;
	rc_tls_tickets_turn(worker->server->certificates.tickets, worker->now_ns);
	struct rc_tls_context *context = rc_certificates_take(worker->server);
	if (context)
		own->stream = rc_tls_stream_server(context, &worker->secure.wire);
	rc_tls_context_release(context);
	return own->stream;
}

/* The lists may have been read again since the handshake began. */
static bool is_revoked_by_now(struct worker *worker, const struct rc_tls_stream *stream)
{
	struct rc_tls_context *context = rc_certificates_take(worker->server);
	bool revoked = context && rc_tls_stream_is_revoked(stream, context);
	rc_tls_context_release(context);
	return revoked;
}

/* Returns DONE, MORE or FAILED. */
static enum rc_tls_result shake_hands(struct worker *worker, uint32_t slot)
{
	struct secure_worker *secure = &worker->secure;
	struct rc_tls_stream *stream = stream_of(worker, slot);
	enum rc_tls_result result = stream ? RC_TLS_FULL : RC_TLS_FAILED;
	while (result == RC_TLS_FULL) {
		result = rc_tls_handshake(stream);
		if (!rc_seal_put_aside(worker, slot))
			result = RC_TLS_FAILED;
	}
	if (result == RC_TLS_DONE && is_revoked_by_now(worker, stream))
		result = RC_TLS_FAILED;
	if (result == RC_TLS_FAILED) {
		rc_count(&worker->stats.tls_failed, 1);
	} else if (result == RC_TLS_DONE) {
		rc_count(&worker->stats.tls_handshakes, 1);
		rc_count(&worker->stats.tls_resumed, rc_tls_is_resumed(stream));
		if (worker->server->config.kernel_tls && !secure->kernel_refused)
			secure->of_slot[slot].kernel = KERNEL_WANTED;
		rc_worker_queue(worker, slot); /* a client's request waits */
	}
	return result;
}

bool rc_secure_dial(struct worker *worker, uint32_t slot, const char *host)
{
	struct secure_worker *secure = &worker->secure;
	struct secure *own = &secure->of_slot[slot];
	struct rc_tls_context *context = rc_certificates_take_client(worker->server);
	if (context)
		own->stream = rc_tls_stream_client(context, &secure->wire, host);
	rc_tls_context_release(context);
	if (!own->stream)
		return false;
	secure->wire.in = secure->wire.in_end = NULL;
	rc_seal_set_reply(worker);
	return shake_hands(worker, slot) == RC_TLS_MORE;
}

void rc_secure_recheck(struct worker *worker)
{
	static const char reason[] = "the certificate was revoked";
	struct secure_worker *secure = &worker->secure;
	unsigned reload_count = atomic_load(&worker->server->certificates.reload_count), count = 0;
	if (secure->reload_count == reload_count)
		return;
	secure->reload_count = reload_count;
	struct rc_tls_context *context = rc_certificates_take(worker->server);
	for (uint32_t slot = 0; slot < worker->slot_high; slot++) {
		const struct connection *conn = &worker->connections[slot];
		const struct rc_tls_stream *stream = conn->client ? NULL : secure->of_slot[slot].stream;
		if (!stream || !rc_connection_listens(conn) || !rc_tls_stream_is_revoked(stream, context))
			continue;
		const struct ending ending = { .kind = conn->state == CONNECTION_OPEN ? ENDING_CLOSE : ENDING_CUT,
			                       .slot = slot,
			                       .code = RC_CLOSE_POLICY,
			                       .reason = reason,
			                       .reason_size = sizeof reason - 1 };
		count += rc_ending_note(worker, &ending);
	}
	rc_tls_context_release(context);
	if (count)
		rc_worker_report(worker, REPORT_REVOKED, "worker %u: %u connections are closed: %s", worker->index,
		                 count, reason);
}

void rc_secure_ended(struct worker *worker, uint32_t slot)
{
	const struct rc_tls_stream *stream = worker->secure.of_slot[slot].stream;
	if (!rc_secure_is_open(worker, slot))
		rc_count(&worker->stats.tls_failed, 1);
	else if (!rc_tls_saw_close(stream))
		rc_count(&worker->stats.tls_truncated, 1);
}

/* ---- turns: a bounded number of handshakes a tick ---- */

/* Keeps the bytes that came of a handshake until its turn. */
static bool hold(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size)
{
	size_t total;
	return handshake->size + size <= RC_TLS_HELD_SIZE_MAX &&
	       rc_handshake_gather(worker, handshake, bytes, size, &total);
}

bool rc_secure_has_turn(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct secure_worker *secure = &worker->secure;
	struct connection *conn = &worker->connections[slot];
	if (rc_secure_is_open(worker, slot))
		return true;
	if (!conn->handshake->size && !secure->to_step.count && secure->turns_left) {
		secure->turns_left--;
		return true;
	}
	if (!hold(worker, conn->handshake, bytes, size)) {
		rc_count(&worker->stats.tls_failed, 1);
		rc_seal_broken(worker, slot);
	} else if (!conn->stepping) {
		conn->stepping = true;
		rc_queue_add(&secure->to_step, slot);
	}
	return false;
}

void rc_secure_begin_turns(struct worker *worker)
{
	worker->secure.turns_left = RC_TLS_HANDSHAKES_A_TICK;
}

bool rc_secure_turns_wait(const struct worker *worker)
{
	return worker->secure.to_step.count;
}

/* Whether what is gathered there waits for a turn. */
static bool is_held(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	return conn->state == CONNECTION_HANDSHAKE && conn->secure && conn->handshake->size &&
	       !conn->handshake->wants_proxy && !rc_secure_is_open(worker, slot);
}

bool rc_secure_next_turn(struct worker *worker, struct secure_turn *turn)
{
	struct secure_worker *secure = &worker->secure;
	while (secure->to_step.count && secure->turns_left) {
		uint32_t slot = rc_queue_take(&secure->to_step);
		struct connection *conn = &worker->connections[slot];
		conn->stepping = false;
		/* It may be gone, and another connection may have its slot now: then what is gathered in the same block
		 * is perhaps no TLS, but part of a PROXY header or of the request after the handshake. */
		if (!is_held(worker, slot))
			continue;
		struct handshake *handshake = conn->handshake;
		*turn = (struct secure_turn){ slot, handshake->bytes, handshake->size, handshake->capacity };
		handshake->bytes = NULL;
		handshake->size = handshake->capacity = 0;
		secure->turns_left--;
		return true;
	}
	return false;
}

/* ---- receiving ---- */

bool rc_secure_feed(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct secure_worker *secure = &worker->secure;
	secure->result = RC_TLS_DONE;
	secure->wire.in = bytes;
	secure->wire.in_end = bytes + size;
	rc_seal_set_reply(worker);
	if (rc_secure_is_open(worker, slot))
		return true;
	enum rc_tls_result result = shake_hands(worker, slot);
	if (result == RC_TLS_FAILED)
		rc_seal_broken(worker, slot);
	return result == RC_TLS_DONE;
}

bool rc_secure_read(struct worker *worker, uint32_t slot, uint8_t **plain, size_t *size)
{
	struct secure_worker *secure = &worker->secure;
	*plain = secure->plain;
	secure->result = rc_tls_read(secure->of_slot[slot].stream, secure->plain, size);
	return secure->result == RC_TLS_DONE;
}

bool rc_secure_fed(struct worker *worker, uint32_t slot)
{
	enum rc_tls_result result = worker->secure.result;
	if (!rc_seal_put_aside(worker, slot) || result == RC_TLS_FAILED || result == RC_TLS_FULL) {
		rc_count(&worker->stats.tls_errors, 1);
		rc_seal_broken(worker, slot);
		return false;
	}
	return result == RC_TLS_CLOSED;
}

/* ---- sending ---- */

bool rc_secure_say_end(struct worker *worker, uint32_t slot)
{
	rc_seal_set_reply(worker);
	return rc_secure_is_open(worker, slot) && rc_tls_close(worker->secure.of_slot[slot].stream) &&
	       rc_seal_put_aside(worker, slot);
}

bool rc_secure_has_aside(const struct worker *worker, uint32_t slot)
{
	const struct secure *own = &worker->secure.of_slot[slot];
	return own->aside || own->alert_waits || own->kernel == KERNEL_WANTED;
}

bool rc_secure_send_aside(struct worker *worker, uint32_t slot)
{
	const struct secure *own = &worker->secure.of_slot[slot];
	if (!own->aside && own->alert_waits)
		return rc_kernel_tls_send_alert(worker, slot);
	if (!own->aside && own->kernel == KERNEL_WANTED && rc_secure_is_open(worker, slot))
		return rc_kernel_tls_begin(worker, slot);
	return rc_seal_send_aside(worker, slot);
}
