/* SPDX-License-Identifier: MIT
 *
 * timeout.c - see timeout.h. It must not end anything: it notes.
 */
#include "timeout.h"

#include "arrive.h"
#include "form.h"
#include "opening.h"
#include "worker.h"

static void cut(struct worker *worker, uint32_t slot, const char *reason, size_t reason_size)
{
	rc_count(&worker->stats.timeouts, 1);
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT,
	                                         .slot = slot,
	                                         .code = RC_CLOSE_ABNORMAL,
	                                         .reason = reason,
	                                         .reason_size = reason_size });
}

static void cut_idle(struct worker *worker, uint32_t slot)
{
	cut(worker, slot, "idle", 4);
}

/* Since its last sign of life, or since its state began. */
static uint64_t passed_ms(const struct worker *worker, uint32_t slot)
{
	return (uint64_t)(uint32_t)(rc_worker_ticks(worker) - worker->connections[slot].heard) * (RC_TICK_NS / 1000000);
}

/* Nothing is ever heard from the reader of a stream. A comment now and then finds out whether it is still there: one
 * that has taken nothing from one comment to the next is not. */
static void silent_stream(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	unsigned silence_ms = rc_connection_silence_ms(worker, conn);
	bool stuck = conn->polling;
	if (stuck && conn->pinged) {
		cut_idle(worker, slot);
		return;
	}
	if (stuck)
		conn->pinged = true;
	else if (!conn->outbox)
		rc_say(worker, slot, RC_FRAME_PING, NULL, 0);
	rc_worker_set_timer(worker, slot, stuck ? worker->server->config.idle_timeout_ms - silence_ms : silence_ms);
}

static void silent_websocket(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t timeout_ms = worker->server->config.idle_timeout_ms, silent_ms = passed_ms(worker, slot);
	uint64_t silence_ms = rc_connection_silence_ms(worker, conn);
	if (silent_ms >= timeout_ms) {
		cut_idle(worker, slot);
		return;
	}
	if (silent_ms >= silence_ms) {
		uint8_t mark[RC_PING_MARK_SIZE];
		rc_times_mark_ping(worker, mark);
		if (!conn->pinged)
			rc_say(worker, slot, RC_FRAME_PING, mark, sizeof mark);
		conn->pinged = conn->asked = true;
		/* Its answer begins the silence anew, whose end is looked for in time. */
		rc_worker_set_timer(worker, slot, RC_MIN(timeout_ms - silent_ms, RC_MAX(silence_ms, 1)));
	} else {
		rc_worker_set_timer(worker, slot, silence_ms - silent_ms);
	}
}

static void silent(struct worker *worker, uint32_t slot)
{
	switch (rc_form_of(&worker->connections[slot])->silence) {
	case SILENCE_PING:
		silent_websocket(worker, slot);
		break;
	case SILENCE_STREAM:
		silent_stream(worker, slot);
		break;
	case SILENCE_NONE:
		break;
	}
}

/* The wheel keeps what is further away than one turn in its last bucket: then it is not time yet. */
static bool is_early(struct worker *worker, uint32_t slot, uint64_t timeout_ms)
{
	uint64_t passed = passed_ms(worker, slot);
	if (passed >= timeout_ms)
		return false;
	rc_worker_set_timer(worker, slot, timeout_ms - passed);
	return true;
}

static void never_opened(struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	rc_count(&worker->stats.timeouts, 1);
	if (conn->secure && !rc_secure_is_open(worker, slot))
		rc_arrive_end(worker, slot, -ETIMEDOUT);
	else
		rc_opening_refuse(worker, slot, 408, NULL);
}

/* It is over, or the connection is kept and no further request has begun. */
static void handshake(struct worker *worker, uint32_t slot)
{
	const struct rc_config *config = &worker->server->config;
	const struct handshake *parts = worker->connections[slot].handshake;
	bool kept = parts->answered && !parts->size;
	if (is_early(worker, slot, kept ? config->idle_timeout_ms : config->handshake_timeout_ms))
		return;
	if (kept)
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_ANSWERED, .slot = slot });
	else
		never_opened(worker, slot);
}

void rc_timeout(struct worker *worker, uint32_t slot)
{
	const struct rc_config *config = &worker->server->config;
	switch (worker->connections[slot].state) {
	case CONNECTION_HANDSHAKE:
		handshake(worker, slot);
		break;
	case CONNECTION_OPEN:
		silent(worker, slot);
		break;
	case CONNECTION_CLOSING:
	case CONNECTION_FLUSHING:
		if (!is_early(worker, slot, config->close_timeout_ms))
			cut(worker, slot, NULL, 0);
		break;
	case CONNECTION_ENDING:
		rc_hold_reset(worker, slot);
		break;
	default:
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
		break;
	}
}
