/* SPDX-License-Identifier: MIT
 *
 * pump.c - see pump.h. It must not know of rounds beyond where they stand, nor how bytes are received, nor how a
 * connection ends.
 *
 * A send that comes back short leaves a connection in the middle of a frame: the rest of that frame is finished before
 * anything else. What is encrypted here counts as sent once it is encrypted; its rest is seal.c's.
 */
#include "pump.h"

#include "form.h"
#include "kernel_tls.h"
#include "say.h"
#include "subscription.h"
#include "trace.h"
#include "worker.h"

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

static void count_one(struct worker *worker, uint64_t number)
{
	uint32_t topic = rc_log_entry(&worker->server->log, number)->topic;
	rc_count_shared(&rc_audience_at(&worker->subscribers, topic)->deliveries, 1);
	rc_count(&worker->stats.deliveries, 1);
}

/* Whether the plan says of its cohort what this connection has read. A subscription that began after the plan was made
 * missed what came in between, or reads another topic's cohort. */
static bool is_in_step(const struct worker *worker, const struct connection *conn, const struct rc_plan *plan)
{
	return conn->in_cohort && conn->subscription_count == 1 &&
	       rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->from <= plan->begin;
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

/* What is encrypted counts as sent: the cursor moves now, and the plan is given back. */
static bool seal_plan(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_progress progress;
	size_t size = secure_size(plan, &worker->server->log, &progress);
	bool sent = rc_seal_send(worker, slot, plan->ranges, size, false);
	if (sent) {
		bool was_behind = conn->cursor.behind;
		count_taken(worker, plan, progress.taken_count);
		rc_cursor_sealed(&conn->cursor, &progress, worker->round.end, is_in_step(worker, conn, plan));
		rc_lag_follow(worker, slot, was_behind);
	}
	rc_plans_drop(&worker->plans, plan);
	return sent;
}

bool rc_pump_plan(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	if (seals(conn))
		return seal_plan(worker, slot, plan);
	bool was_behind = conn->cursor.behind;
	plan->reference_count++;
	conn->sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, plan->ranges, plan->range_count, rc_hold_begin(worker, slot, plan),
	             rc_tag(worker, TAG_SENT_PLAN, slot, (unsigned)(plan - worker->plans.all)));
	rc_cursor_planned(&conn->cursor, plan->end, worker->round.end);
	rc_lag_follow(worker, slot, was_behind);
	return true;
}

static bool has_aside(const struct worker *worker, uint32_t slot)
{
	return worker->connections[slot].secure && rc_secure_has_aside(worker, slot);
}

uint64_t rc_pump_past(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	count_taken(worker, plan, plan->taken_count);
	rc_cursor_passed(&conn->cursor, plan, is_in_step(worker, conn, plan));
	rc_plans_drop(&worker->plans, plan);
	return conn->cursor.at;
}

/* ---- what is its own ---- */

static bool seal_outbox(struct worker *worker, uint32_t slot, const struct rc_range *range)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_outbox *outbox = conn->outbox;
	size_t size = RC_MIN(range->size, RC_TLS_SEND_SIZE_MAX);
	bool last = conn->state == CONNECTION_FLUSHING && size == rc_outbox_size(outbox);
	if (!rc_seal_send(worker, slot, range, size, last))
		return false;
	rc_outbox_sent(outbox, &worker->pool, size);
	if (!rc_outbox_size(outbox))
		rc_connection_drop_outbox(worker, conn);
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
		if (!conn->close_sent) /* nothing may follow a Close */
			rc_say_frame(worker, slot, RC_FRAME_PONG, outbox->late_pong, outbox->late_pong_size);
	}
	if (seals(conn))
		return seal_outbox(worker, slot, range);
	conn->sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, range, 1, false, rc_tag(worker, TAG_SENT_OUTBOX, slot, 0));
	return true;
}

/* ---- from a cursor of its own ---- */

/* The next entry is not in the one encoding that this connection reads: there was no room for it, or it is larger than
 * fits. It gets a copy of its own. Some entries have none: a binary message is no event. */
static bool send_bare(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t number = conn->cursor.at;
	rc_lag_fall_behind(worker, slot, number);
	bool made = rc_encode_past(worker, conn, number), full;
	size_t size = made ? 0 : rc_encode_alone(worker, conn, number, NULL);
	uint8_t *at = NULL;
	if (size && rc_connection_outbox(worker, conn))
		at = rc_outbox_add(conn->outbox, &worker->pool, size, SIZE_MAX, &full);
	/* The budget does not grow by trying again. */
	if (size && !at && !rc_pool_allows(&worker->pool, size)) {
		rc_budget_refuse(worker, slot);
		return false;
	}
	if (made || (size && !at)) {
		rc_worker_queue(worker, slot);
		return false;
	}
	rc_cursor_stepped(&conn->cursor);
	if (!size) {
		rc_worker_queue(worker, slot);
		return false;
	}
	rc_encode_alone(worker, conn, number, at);
	count_one(worker, number);
	return send_outbox(worker, slot);
}

/* ---- a state ---- */

static void note_shown(struct worker *worker, uint32_t slot, size_t size)
{
	const struct show *show = &worker->shows.of_slot[slot];
	uint32_t count = rc_show_sent(worker, slot, size);
	if (show->subscription)
		rc_count_shared(&rc_audience_at(&worker->subscribers, show->picture->topic)->deliveries, count);
	rc_count(&worker->stats.deliveries, count);
	if (!rc_show_next(worker, slot, 1).size)
		rc_show_end(worker, slot);
}

static bool send_show(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct show *show = &worker->shows.of_slot[slot];
	struct rc_range range = rc_show_next(worker, slot, seals(conn) ? RC_TLS_SEND_SIZE_MAX : RC_PLAN_SIZE_MAX);
	if (!range.size) {
		rc_show_end(worker, slot);
		rc_worker_queue(worker, slot);
		return false;
	}
	if (seals(conn)) { /* what is encrypted counts as sent */
		bool sent = rc_seal_send(worker, slot, &range, range.size, false);
		if (sent)
			note_shown(worker, slot, range.size);
		return sent;
	}
	show->range = range;
	conn->sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, &show->range, 1, false, rc_tag(worker, TAG_SENT_SHOW, slot, 0));
	return true;
}

/* There is something new for a request that waits: the application reads it, and answers. */
static void tell_ready(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	if (!conn->cursor.behind)
		return;
	rc_subscription_resume(worker, slot);
	rc_cursor_skipped(&conn->cursor, worker->encoder.end);
	rc_lag_catch_up(worker, slot);
	if (handlers->ready)
		handlers->ready(handlers->context, rc_handle(worker, slot), conn->user);
}

/* Returns whether a send was prepared. */
static bool send_behind(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_cursor *cursor = &conn->cursor;
	bool only_rest = conn->state != CONNECTION_OPEN;
	if (!only_rest) {
		rc_subscription_resume(worker, slot);
		if (!rc_lag_allows(worker, slot))
			return false;
		if (!cursor->partial && !cursor->resuming)
			rc_feeds_begin_runs(worker, slot);
		if (!cursor->partial && (cursor->resuming || cursor->owed)) {
			rc_worker_queue(worker, slot);
			return false;
		}
	}
	/* What is its own comes right after the rest of a frame, before more of the log. */
	uint64_t end = only_rest || (cursor->partial && conn->outbox) ? cursor->at + 1 : worker->encoder.end;
	if (cursor->at >= end || (!conn->first_subscription && !cursor->partial)) {
		rc_lag_catch_up(worker, slot);
		return false;
	}
	struct rc_plan *plan = rc_plans_for(worker, slot, cursor->at, end);
	if (!plan) {
		rc_worker_queue(worker, slot);
		return false;
	}
	if (plan->size)
		return rc_pump_plan(worker, slot, plan);
	bool bare = plan->bare;
	rc_pump_past(worker, slot, plan);
	if (bare)
		return send_bare(worker, slot);
	if (cursor->at >= worker->round.end && cursor->at >= worker->encoder.end)
		rc_lag_catch_up(worker, slot);
	else
		rc_worker_queue(worker, slot);
	return false;
}

/* ---- what comes next ---- */

static void note_flushed(struct worker *worker, uint32_t slot)
{
	if (worker->connections[slot].state == CONNECTION_FLUSHING)
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_FLUSHED, .slot = slot });
}

bool rc_pump(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING || conn->ends || conn->sending ||
	    conn->polling)
		return false;
	if (conn->secure) {
		if (rc_secure_send_aside(worker, slot))
			return true;
		if (!rc_secure_is_open(worker, slot)) {
			note_flushed(worker, slot);
			return false;
		}
	}
	if (!rc_form_of(conn)->follows && conn->state == CONNECTION_OPEN) {
		tell_ready(worker, slot);
		return false;
	}
	if (conn->cursor.owed && rc_show_is_within(worker, slot))
		return send_show(worker, slot);
	if (conn->cursor.partial)
		return send_behind(worker, slot);
	if (conn->outbox && rc_outbox_size(conn->outbox))
		return send_outbox(worker, slot);
	if (conn->outbox)
		rc_connection_drop_outbox(worker, conn);
	if (conn->cursor.owed && conn->state == CONNECTION_OPEN)
		return rc_feeds_next(worker, slot) && send_show(worker, slot);
	if (conn->cursor.behind && conn->state == CONNECTION_OPEN)
		return send_behind(worker, slot);
	if (conn->secure && conn->state == CONNECTION_FLUSHING && rc_secure_say_end(worker, slot))
		return rc_secure_send_aside(worker, slot);
	note_flushed(worker, slot);
	return false;
}

/* ---- completions ---- */

/* Whether something comes next for it that is not its own. */
static bool reads_more(const struct connection *conn)
{
	return conn->cursor.behind || conn->cursor.owed;
}

static void count_sent(struct worker *worker, uint32_t slot, size_t sent)
{
	rc_count(&worker->stats.bytes_sent, sent);
	if (worker->connections[slot].kernel_tls)
		rc_kernel_tls_count(worker, slot, sent);
}

static void sent_outbox(struct worker *worker, uint32_t slot, int result)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_outbox *outbox = conn->outbox;
	size_t waited = outbox->sending_end - outbox->sending_begin, sent = result > 0 ? (size_t)result : 0;
	rc_outbox_sent(outbox, &worker->pool, sent);
	count_sent(worker, slot, sent);
	if (sent < waited) {
		RC_TRACE3(short_send, slot, sent, waited);
		rc_count(&worker->stats.sends_short, 1);
		poll_writable(worker, slot);
	} else if (!rc_outbox_size(outbox) && !reads_more(conn) && conn->state == CONNECTION_OPEN) {
		rc_connection_drop_outbox(worker, conn);
	} else {
		rc_worker_queue(worker, slot);
	}
}

/* Part of a frame has left. Its rest is put aside, so that the log may go on without it; only a large rest stays in the
 * log. Returns whether it was put aside. */
static bool put_aside(struct worker *worker, uint32_t slot, const struct rc_plan *plan, const struct rc_progress *at)
{
	const struct rc_log *log = &worker->server->log;
	bool encoded = at->partial & RC_PARTIAL_ENCODED;
	struct rc_range frame = rc_plan_frame(log, plan->encoding, at->cursor, encoded);
	size_t done = at->partial & RC_PARTIAL_SIZE, rest = frame.size - done;
	if (rest > RC_REST_SIZE_MAX)
		return false;
	struct rc_outbox *outbox = rc_connection_outbox(worker, &worker->connections[slot]);
	uint8_t *to = outbox ? rc_outbox_add_first(outbox, &worker->pool, rest) : NULL;
	if (!to)
		return false;
	memcpy(to, (const uint8_t *)frame.at + done, rest);
	count_one(worker, at->cursor);
	return true;
}

static void sent_short(struct worker *worker, uint32_t slot, const struct rc_plan *plan, uint64_t sent)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_progress progress = rc_plan_progress(plan, &worker->server->log, sent);
	bool was_behind = conn->cursor.behind;
	count_taken(worker, plan, progress.taken_count);
	RC_TRACE3(short_send, slot, sent, plan->size);
	rc_count(&worker->stats.sends_short, 1);
	bool aside = progress.partial && put_aside(worker, slot, plan, &progress);
	rc_cursor_cut_short(&conn->cursor, &progress, aside, conn->subscription_count, is_in_step(worker, conn, plan));
	rc_lag_follow(worker, slot, was_behind);
	poll_writable(worker, slot);
}

static void sent_whole(struct worker *worker, uint32_t slot, const struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	bool was_behind = conn->cursor.behind;
	rc_cursor_sent(&conn->cursor, plan, worker->round.end, is_in_step(worker, conn, plan));
	rc_lag_follow(worker, slot, was_behind);
	count_taken(worker, plan, plan->taken_count);
	if (!conn->cursor.behind && conn->in_cohort && !conn->cursor.synced)
		rc_encode_rejoin(worker, conn);
	if (reads_more(conn) || conn->outbox || conn->state != CONNECTION_OPEN)
		rc_worker_queue(worker, slot);
}

static void sent_show(struct worker *worker, uint32_t slot, int result)
{
	struct show *show = &worker->shows.of_slot[slot];
	size_t sent = result > 0 ? (size_t)result : 0, waited = show->range.size;
	show->range = (struct rc_range){ 0 };
	count_sent(worker, slot, sent);
	note_shown(worker, slot, sent);
	if (sent < waited) {
		RC_TRACE3(short_send, slot, sent, waited);
		rc_count(&worker->stats.sends_short, 1);
		poll_writable(worker, slot);
	} else {
		rc_worker_queue(worker, slot);
	}
}

static void sent_plan(struct worker *worker, uint32_t slot, const struct rc_plan *plan, int result)
{
	uint64_t sent = result > 0 ? (uint64_t)result : 0;
	count_sent(worker, slot, sent);
	if (sent < plan->size)
		sent_short(worker, slot, plan, sent);
	else
		sent_whole(worker, slot, plan);
}

/* A send of TLS records has completed; `all`: nothing of it is left. */
static void sent_sealed(struct worker *worker, uint32_t slot, int result, bool all)
{
	struct connection *conn = &worker->connections[slot];
	rc_count(&worker->stats.bytes_sent, result > 0 ? (uint64_t)result : 0);
	if (!all) {
		rc_count(&worker->stats.sends_short, 1);
		if (conn->first_subscription && conn->state == CONNECTION_OPEN)
			rc_lag_fall_behind(worker, slot, rc_lag_place(worker, slot));
		poll_writable(worker, slot);
	} else if (reads_more(conn) || conn->outbox || conn->state != CONNECTION_OPEN || has_aside(worker, slot)) {
		rc_worker_queue(worker, slot);
	}
}

void rc_pump_completed(struct worker *worker, const struct tag *tag, int result, bool held)
{
	uint32_t slot = tag->slot;
	struct connection *conn = &worker->connections[slot];
	struct rc_plan *plan = tag->kind == TAG_SENT_PLAN ? &worker->plans.all[tag->detail] : NULL;
	int all = 1;
	conn->sending = false;
	/* What the send referred to is let go of, however it went and whatever became of the connection. */
	if (plan) {
		result = rc_hold_sent(worker, slot, result, held);
		plan->reference_count--;
	} else if (tag->kind == TAG_SENT_STAGE) {
		all = rc_seal_sent_stage(worker, slot, tag->detail, result);
	} else if (tag->kind == TAG_SENT_ASIDE) {
		all = rc_seal_sent_aside(worker, slot, result);
	} else if (tag->kind == TAG_SENT_ALERT) {
		all = rc_kernel_tls_sent_alert(worker, slot, result);
	}
	bool ending = conn->state == CONNECTION_ENDING;
	if (tag->kind == TAG_OPTION_SET) { /* the answer may be no */
		rc_kernel_tls_option_set(worker, slot, result);
		if (!ending)
			rc_worker_queue(worker, slot);
	} else if (ending || (result < 0 && result != -EAGAIN) || all < 0) {
		rc_ending_cut(worker, slot, RC_CLOSE_ABNORMAL);
	} else if (plan) {
		sent_plan(worker, slot, plan, result);
	} else if (tag->kind == TAG_SENT_OUTBOX) {
		sent_outbox(worker, slot, result);
	} else if (tag->kind == TAG_SENT_SHOW) {
		sent_show(worker, slot, result);
	} else {
		sent_sealed(worker, slot, result, all);
	}
	if (plan)
		rc_plans_drop(&worker->plans, plan);
}
