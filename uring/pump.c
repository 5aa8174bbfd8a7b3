/* SPDX-License-Identifier: MIT
 *
 * pump.c - see pump.h. It must not know of rounds beyond where they stand, nor how bytes are received.
 *
 * A send that comes back short leaves a connection in the middle of a frame: the rest of that frame is finished before
 * anything else. What is encrypted here counts as sent once it is encrypted; its rest is secure.c's.
 */
#include "pump.h"
#include "encode.h"
#include "fanout.h"
#include "hold.h"
#include "plans.h"
#include "trace.h"

#include <string.h>

/* ---- counting what left and what did not ---- */

static void count_taken(struct worker *worker, const struct rc_plan *plan, uint16_t taken_count)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t delivered = 0, conflated = 0;
	if (plan->single && !plan->conflated_count) {
		struct rc_audience *audience = rc_audience_at(&worker->subscribers, plan->topic);
		rc_count_shared(&audience->deliveries, taken_count);
		rc_count(&worker->stats.deliveries, taken_count);
		return;
	}
	for (uint16_t i = 0; i < taken_count; i++) {
		uint64_t number = plan->begin + (plan->taken[i] & RC_PLAN_OFFSET);
		struct rc_audience *audience = rc_audience_at(&worker->subscribers, rc_log_entry(log, number)->topic);
		bool left_out = plan->taken[i] & RC_PLAN_CONFLATED;
		rc_count_shared(left_out ? &audience->conflated : &audience->deliveries, 1);
		conflated += left_out;
		delivered += !left_out;
	}
	rc_count(&worker->stats.deliveries, delivered);
	rc_count(&worker->stats.conflated, conflated);
}

/* A subscription that began after the plan was made missed what came in between, or reads another topic's cohort: then
 * the plan says nothing about it. */
static void set_synced(const struct worker *worker, struct connection *conn, const struct rc_plan *plan, bool synced)
{
	if (!conn->in_cohort)
		return;
	conn->synced = false;
	if (!synced || conn->subscription_count != 1 || conn->resuming)
		return;
	if (rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->from <= plan->begin)
		conn->synced = true;
}

/* ---- sending ---- */

static void poll_writable(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].polling = true;
	rc_ring_poll_writable(worker->ring, slot, rc_tag(worker, TAG_WRITABLE, slot, 0));
}

/* Whether what is sent is encrypted here. */
static bool seals(const struct connection *conn)
{
	return conn->secure && !conn->kernel_tls;
}

/* How much of a plan is encrypted at a time: all of it, or whole frames, or a part of one that is larger. */
static size_t secure_size(const struct rc_plan *plan, const struct rc_log *log, struct rc_progress *progress)
{
	size_t size = RC_MIN(plan->size, (uint64_t)RC_TLS_SEND_SIZE_MAX);
	*progress = rc_plan_progress(plan, log, size);
	size_t begun = progress->partial & RC_PARTIAL_SIZE;
	if (begun && begun < size && progress->cursor > plan->begin) {
		size -= begun;
		progress->partial = 0;
	}
	return size;
}

/* Encrypted is as good as sent: the cursor moves now, and the plan is done with. */
static bool send_plan_secure(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_progress progress;
	size_t size = secure_size(plan, &worker->server->log, &progress);
	bool sent = rc_secure_send(worker, slot, plan->ranges, size, false);
	if (sent) {
		count_taken(worker, plan, progress.taken_count);
		conn->cursor = progress.cursor;
		conn->partial = progress.partial;
		set_synced(worker, conn, plan, progress.synced || progress.partial & RC_PARTIAL_ENCODED);
		if (conn->partial || conn->cursor < worker->round_end || conn->resuming)
			rc_fanout_fall_behind(worker, slot, conn->cursor);
		else
			rc_fanout_catch_up(worker, conn);
	}
	rc_plans_drop(worker, plan);
	return sent;
}

bool rc_pump_plan(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	if (seals(conn))
		return send_plan_secure(worker, slot, plan);
	plan->reference_count++;
	conn->sending = true;
	conn->cursor = plan->end; /* where it will stand if all of it leaves */
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, plan->ranges, plan->range_count, rc_hold_begin(worker, slot, plan),
	             rc_tag(worker, TAG_SENT_PLAN, slot, (unsigned)(plan - worker->plans)));
	/* Cut short by a bound: the next round, which may begin before the completion, must not take it for further on.
	 */
	if (plan->end < worker->round_end)
		rc_fanout_fall_behind(worker, slot, plan->end);
	return true;
}

static bool has_aside(const struct worker *worker, uint32_t slot)
{
	return worker->connections[slot].secure && rc_secure_has_aside(worker, slot);
}

bool rc_pump_busy(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	return conn->sending || conn->polling || conn->outbox || has_aside(worker, slot) || conn->form == FORM_ANSWER;
}

void rc_pump_past(struct worker *worker, struct connection *conn, struct rc_plan *plan)
{
	count_taken(worker, plan, plan->taken_count);
	conn->cursor = plan->end;
	set_synced(worker, conn, plan, plan->synced_end);
	rc_plans_drop(worker, plan);
}

static bool send_outbox_secure(struct worker *worker, uint32_t slot, const struct rc_range *range)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_outbox *outbox = conn->outbox;
	size_t size = RC_MIN(range->size, RC_TLS_SEND_SIZE_MAX);
	bool last = conn->state == CONNECTION_FLUSHING && size == rc_outbox_size(outbox);
	if (!rc_secure_send(worker, slot, range, size, last))
		return false;
	rc_outbox_sent(outbox, &worker->pool, size);
	if (!rc_outbox_size(outbox)) {
		rc_outbox_free(outbox, &worker->pool);
		conn->outbox = NULL;
	}
	return true;
}

static bool send_outbox(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_outbox *outbox = conn->outbox;
	if (outbox->sending_begin == outbox->sending_end)
		outbox->pong_count = 0;
	const struct rc_range *range = rc_outbox_next(outbox, &worker->pool);
	if (outbox->late_pong_waits && !outbox->pong_count) {
		outbox->late_pong_waits = false;
		if (!conn->close_sent) /* behind a Close nothing may come */
			rc_connection_queue(worker, slot, RC_FRAME_PONG, outbox->late_pong, outbox->late_pong_size);
	}
	if (seals(conn))
		return send_outbox_secure(worker, slot, range);
	conn->sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, range, 1, false, rc_tag(worker, TAG_SENT_OUTBOX, slot, 0));
	return true;
}

/* The next entry has no event that all streams share: there was no room for it, or it is larger than fits. This one
 * gets its own. What is no text has no event at all. */
static bool send_bare(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t number = conn->cursor;
	rc_fanout_fall_behind(worker, slot, number);
	rc_encode_past(worker, number);
	const struct rc_encoding *encoding = worker->server->encodings[RC_ENCODING_SSE];
	bool made = encoding && rc_extent_state(encoding, number) == RC_EXTENT_FRESH, full;
	size_t size = made ? 0 : rc_encode_event(worker, number, NULL);
	uint8_t *at = NULL;
	if (size && rc_connection_outbox(worker, conn))
		at = rc_outbox_add(conn->outbox, &worker->pool, size, SIZE_MAX, &full);
	if (made || (size && !at)) {
		rc_worker_queue(worker, slot);
		return false;
	}
	conn->cursor++;
	if (!size) {
		rc_worker_queue(worker, slot);
		return false;
	}
	rc_encode_event(worker, number, at);
	uint32_t topic = rc_log_entry(&worker->server->log, number)->topic;
	rc_count_shared(&rc_audience_at(&worker->subscribers, topic)->deliveries, 1);
	rc_count(&worker->stats.deliveries, 1);
	return send_outbox(worker, slot);
}

/* Something new for a request that waits: its owner reads it, and answers. */
static void tell_ready(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	if (!conn->behind)
		return;
	rc_fanout_resume(worker, slot);
	conn->cursor = RC_MAX(conn->cursor, worker->head);
	rc_fanout_catch_up(worker, conn);
	if (handlers->ready)
		handlers->ready(handlers->context, rc_handle(worker, slot), conn->user);
}

/* Sends from a cursor of its own. Returns whether a send was prepared. */
static bool send_behind(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	bool only_rest = conn->state != CONNECTION_OPEN;
	if (!only_rest) {
		rc_fanout_resume(worker, slot);
		rc_fanout_enforce(worker, slot);
		/* cppcheck-suppress oppositeInnerCondition; what was called in between may have closed it */
		if (conn->state != CONNECTION_OPEN)
			return false;
	}
	/* What is its own comes right behind the rest of a frame, before more of the log. */
	uint64_t end = only_rest || (conn->partial && conn->outbox) ? conn->cursor + 1 : worker->head;
	if (conn->cursor >= end || (!conn->first_subscription && !conn->partial)) {
		RC_ASSERT(!conn->partial);
		rc_fanout_catch_up(worker, conn);
		return false;
	}
	struct rc_plan *plan = rc_plans_for(worker, slot, conn->cursor, end);
	if (!plan) {
		rc_worker_queue(worker, slot);
		return false;
	}
	if (plan->size)
		return rc_pump_plan(worker, slot, plan);
	bool bare = plan->bare;
	rc_pump_past(worker, conn, plan);
	if (bare)
		return send_bare(worker, slot);
	if (conn->cursor >= worker->round_end && conn->cursor >= worker->head)
		rc_fanout_catch_up(worker, conn);
	else
		rc_worker_queue(worker, slot);
	return false;
}

bool rc_pump(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING || conn->sending || conn->polling)
		return false;
	if (conn->secure) {
		if (rc_secure_send_aside(worker, slot))
			return true;
		if (!rc_secure_is_open(worker, slot)) {
			rc_connection_flushed(worker, slot);
			return false;
		}
	}
	if (conn->form == FORM_ANSWER && conn->state == CONNECTION_OPEN) {
		tell_ready(worker, slot);
		return false;
	}
	if (conn->partial)
		return send_behind(worker, slot);
	if (conn->outbox && rc_outbox_size(conn->outbox))
		return send_outbox(worker, slot);
	if (conn->outbox) {
		rc_outbox_free(conn->outbox, &worker->pool);
		conn->outbox = NULL;
	}
	if (conn->behind && conn->state == CONNECTION_OPEN)
		return send_behind(worker, slot);
	if (conn->secure && conn->state == CONNECTION_FLUSHING && rc_secure_say_end(worker, slot))
		return rc_secure_send_aside(worker, slot);
	rc_connection_flushed(worker, slot);
	return false;
}

/* ---- completions ---- */

static void send_failed(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state != CONNECTION_ENDING)
		rc_connection_end(worker, slot, RC_CLOSE_ABNORMAL, NULL, 0);
	conn->sending = false;
	rc_connection_try_close_slot(worker, slot);
}

void rc_pump_sent_outbox(struct worker *worker, uint32_t slot, int result)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_ENDING || (result < 0 && result != -EAGAIN)) {
		send_failed(worker, slot);
		return;
	}
	struct rc_outbox *outbox = conn->outbox;
	size_t waited = outbox->sending_end - outbox->sending_begin, sent = result > 0 ? (size_t)result : 0;
	rc_outbox_sent(outbox, &worker->pool, sent);
	rc_count(&worker->stats.bytes_sent, sent);
	conn->sending = false;
	if (conn->kernel_tls)
		rc_secure_count(worker, slot, sent);
	if (sent < waited) {
		RC_TRACE3(short_send, slot, sent, waited);
		rc_count(&worker->stats.sends_short, 1);
		poll_writable(worker, slot);
		return;
	}
	if (!rc_outbox_size(outbox) && !conn->behind && conn->state == CONNECTION_OPEN) {
		rc_outbox_free(outbox, &worker->pool);
		conn->outbox = NULL;
		return;
	}
	rc_worker_queue(worker, slot);
}

/* Part of a frame has left. Its rest is kept aside, so that the log may go on without it; only a large one stays. */
static void keep_rest(struct worker *worker, struct connection *conn, const struct rc_plan *plan, uint64_t number,
                      uint32_t partial)
{
	const struct rc_log *log = &worker->server->log;
	bool encoded = partial & RC_PARTIAL_ENCODED;
	struct rc_range frame = rc_plan_frame(log, plan->encoding, number, encoded);
	size_t done = partial & RC_PARTIAL_SIZE, rest = frame.size - done;
	conn->partial = partial;
	if (rest > RC_REST_SIZE_MAX)
		return;
	if (!conn->outbox && !(conn->outbox = rc_outbox_new(&worker->pool)))
		return;
	uint8_t *at = rc_outbox_add_first(conn->outbox, &worker->pool, rest);
	if (!at)
		return;
	memcpy(at, (const uint8_t *)frame.at + done, rest);
	conn->partial = 0;
	conn->cursor = number + 1;
	rc_count_shared(&rc_audience_at(&worker->subscribers, rc_log_entry(log, number)->topic)->deliveries, 1);
	rc_count(&worker->stats.deliveries, 1);
}

static void sent_short(struct worker *worker, uint32_t slot, const struct rc_plan *plan, uint64_t sent)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_progress progress = rc_plan_progress(plan, &worker->server->log, sent);
	count_taken(worker, plan, progress.taken_count);
	RC_TRACE3(short_send, slot, sent, plan->size);
	rc_count(&worker->stats.sends_short, 1);
	conn->cursor = progress.cursor;
	conn->partial = 0;
	set_synced(worker, conn, plan, progress.synced);
	if (progress.partial)
		keep_rest(worker, conn, plan, progress.cursor, progress.partial);
	if (conn->first_subscription || conn->partial)
		rc_fanout_fall_behind(worker, slot, conn->cursor);
	poll_writable(worker, slot);
}

void rc_pump_sent_plan(struct worker *worker, uint32_t slot, unsigned number, int result, bool held)
{
	result = rc_hold_sent(worker, slot, result, held);
	struct connection *conn = &worker->connections[slot];
	struct rc_plan *plan = &worker->plans[number];
	uint64_t sent = result > 0 ? (uint64_t)result : 0;
	plan->reference_count--;
	if (conn->state == CONNECTION_ENDING || (result < 0 && result != -EAGAIN)) {
		rc_plans_drop(worker, plan);
		send_failed(worker, slot);
		return;
	}
	conn->sending = false;
	rc_count(&worker->stats.bytes_sent, sent);
	if (conn->kernel_tls)
		rc_secure_count(worker, slot, sent);
	if (sent < plan->size) {
		sent_short(worker, slot, plan, sent);
	} else {
		conn->partial = 0;
		set_synced(worker, conn, plan, plan->synced_end);
		count_taken(worker, plan, plan->taken_count);
		bool reached = conn->cursor >= worker->round_end && !conn->resuming;
		if (reached && conn->in_cohort && !conn->synced)
			rc_encode_rejoin(worker, conn);
		if (reached)
			rc_fanout_catch_up(worker, conn);
		else
			rc_fanout_fall_behind(worker, slot, conn->cursor);
		if (!reached || conn->outbox || conn->state != CONNECTION_OPEN)
			rc_worker_queue(worker, slot);
	}
	rc_plans_drop(worker, plan);
}

void rc_pump_sent_secure(struct worker *worker, uint32_t slot, unsigned stage, int result)
{
	struct connection *conn = &worker->connections[slot];
	size_t sent = result > 0 && stage != RC_TLS_OPTION ? (size_t)result : 0;
	bool asked = stage == RC_TLS_OPTION; /* whose answer may be no */
	if (asked)
		conn->sending = false;
	int all = rc_secure_sent(worker, slot, stage, result);
	if (conn->state == CONNECTION_ENDING || (result < 0 && result != -EAGAIN && !asked) || all < 0) {
		send_failed(worker, slot);
		return;
	}
	if (asked) {
		rc_worker_queue(worker, slot);
		return;
	}
	conn->sending = false;
	rc_count(&worker->stats.bytes_sent, sent);
	if (!all) {
		rc_count(&worker->stats.sends_short, 1);
		if (conn->first_subscription && conn->state == CONNECTION_OPEN)
			rc_fanout_fall_behind(worker, slot, rc_fanout_cursor(worker, conn));
		poll_writable(worker, slot);
	} else if (conn->behind || conn->outbox || conn->state != CONNECTION_OPEN || has_aside(worker, slot)) {
		rc_worker_queue(worker, slot);
	}
}
