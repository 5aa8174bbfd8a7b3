/* SPDX-License-Identifier: MIT
 *
 * fanout.c - from the log to the sockets: rounds, plans and sends. It must not know how bytes are received.
 *
 *      log      ....... round_begin ---------- round_end ........ head
 *      walk     the topics of that window; for each its audience, from a different member each round
 *
 * Who is not BEHIND has everything before round_begin; a visit plans from there (or from where an earlier visit in the
 * same round left it) to the head, so who comes late in a large round simply has more to send. A send that comes back
 * short, or a subscriber that cannot be sent to right now, makes it BEHIND: from then on its own cursor counts, it is
 * pumped when it can take more, and the topics' policies watch how far back it is. The kernel holds no byte of the log
 * after a send has completed, so a worker's floor is the lowest of these places; but for zero-copy sends, see hold.h.
 */
#include "encode.h"
#include "fanout.h"
#include "hold.h"
#include "trace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int rc_fanout_open(struct worker *worker)
{
	size_t plans_size = PLANS_MAX * sizeof *worker->plans;
	worker->plans = mmap(NULL, plans_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (worker->plans == MAP_FAILED) {
		worker->plans = NULL;
		return -ENOMEM;
	}
	for (unsigned i = 0; i < PLANS_MAX; i++)
		worker->plans_free[i] = (uint16_t)(PLANS_MAX - 1 - i);
	worker->plan_free_count = PLANS_MAX;
	worker->walk = malloc(RC_PLAN_WINDOW * sizeof *worker->walk);
	worker->behind_floor = UINT64_MAX;
	worker->round_begin = worker->round_end = worker->encoded_end = rc_log_head(&worker->server->log);
	return worker->walk ? 0 : -ENOMEM;
}

void rc_fanout_close(struct worker *worker)
{
	if (worker->plans)
		munmap(worker->plans, PLANS_MAX * sizeof *worker->plans);
	free(worker->walk);
	free(worker->marks);
}

/* ---- plans ---- */

static void drop_plan(struct worker *worker, struct rc_plan *plan)
{
	if (plan->reference_count || plan == worker->shared)
		return;
	worker->plans_free[worker->plan_free_count++] = (uint16_t)(plan - worker->plans);
}

static void forget_shared(struct worker *worker)
{
	struct rc_plan *plan = worker->shared;
	worker->shared = NULL;
	if (plan)
		drop_plan(worker, plan);
}

static struct rc_plan *take_plan(struct worker *worker)
{
	if (!worker->plan_free_count)
		return NULL;
	struct rc_plan *plan = &worker->plans[worker->plans_free[--worker->plan_free_count]];
	plan->reference_count = 0;
	return plan;
}

static bool conflates(const struct worker *worker, uint32_t topic)
{
	return rc_topic_at(&worker->server->topics, topic)->options.policy == RC_POLICY_CONFLATE;
}

/* Marks what a connection wants; forgotten at the next call. */
static bool mark_interest(struct worker *worker, const struct connection *conn, struct rc_interest *interest)
{
	if (!++worker->mark_round) {
		worker->mark_count = 0; /* it came around: marks as old as that would count again */
		worker->mark_round = 1;
	}
	for (uint32_t at = conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (record->topic >= worker->mark_count) {
			uint32_t count = RC_MAX(record->topic + 1, worker->mark_count * 2);
			RC_ASSERT(count > record->topic);
			struct rc_mark *marks = realloc(worker->marks, count * sizeof *marks);
			if (!marks)
				return false;
			memset(marks + worker->mark_count, 0, (count - worker->mark_count) * sizeof *marks);
			worker->marks = marks;
			worker->mark_count = count;
		}
		at = record->next;
		if (record->resumes)
			continue; /* not before rc_fanout_resume() */
		worker->marks[record->topic] = (struct rc_mark){
			.from = record->from,
			.round = worker->mark_round,
			.conflate = conn->flags & BEHIND && (record->conflate || conflates(worker, record->topic)),
		};
	}
	/* Without a subscription there may never have been an array, and a null one would mean topic 0. */
	static const struct rc_mark none;
	interest->marks = worker->marks ? worker->marks : &none;
	interest->mark_count = worker->mark_count;
	interest->round = worker->mark_round;
	return true;
}

/* The only topic of a connection whose plan does not depend on anything else of it, or UINT32_MAX. */
static uint32_t only_topic(const struct worker *worker, const struct connection *conn, uint64_t begin)
{
	if (conn->subscription_count != 1 || conn->partial || conn->flags & (RESUMING | SAID))
		return UINT32_MAX;
	const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1);
	if (record->from > begin || (conn->flags & BEHIND && (record->conflate || conflates(worker, record->topic))))
		return UINT32_MAX;
	return record->topic;
}

/* The plan of a connection from its cursor to the head. Who has one topic shares it with whoever stands at the same
 * place. Null: none is free, or no memory; try again later. */
static struct rc_plan *plan_for(struct worker *worker, uint32_t slot, uint64_t begin, uint64_t end)
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_log *log = &worker->server->log;
	struct rc_interest interest = { 0 };
	rc_encode_interest(worker, conn, &interest);
	uint32_t topic = only_topic(worker, conn, begin);
	if (topic != UINT32_MAX) {
		struct rc_plan *shared = worker->shared;
		if (shared && shared->topic == topic && shared->begin == begin && worker->shared_end == end &&
		    shared->encoding == interest.encoding && shared->encoded_only == interest.encoded_only && shared->synced == interest.synced &&
		    worker->shared_size_min == interest.encoded_size_min)
			return shared;
		forget_shared(worker);
		interest.topic = topic;
	} else if (!mark_interest(worker, conn, &interest)) {
		return NULL;
	}
	struct rc_plan *plan = take_plan(worker);
	if (!plan)
		return NULL;
	interest.self = conn->flags & SAID ? rc_handle(worker, slot) : 0;
	rc_plan_make(plan, log, &interest, begin, end, conn->partial);
	/* Its own entries are all behind it: from here on it may share plans again. */
	if (!plan->left_out && plan->end == end && end == worker->head)
		conn->flags &= ~(uint32_t)SAID;
	if (topic != UINT32_MAX) {
		worker->shared = plan;
		worker->shared_end = end;
		worker->shared_size_min = interest.encoded_size_min;
	}
	return plan;
}

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
	if (!(conn->flags & COHORT))
		return;
	conn->flags &= ~(uint32_t)SYNCED;
	if (!synced || conn->subscription_count != 1 || conn->flags & RESUMING)
		return;
	if (rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->from <= plan->begin)
		conn->flags |= SYNCED;
}

/* ---- who is behind ---- */

void rc_fanout_fall_behind(struct worker *worker, uint32_t slot, uint64_t cursor)
{
	struct connection *conn = &worker->connections[slot];
	conn->cursor = cursor;
	worker->behind_floor = RC_MIN(worker->behind_floor, cursor);
	if (!(conn->flags & BEHIND))
		rc_count(&worker->stats.behind, 1);
	conn->flags |= BEHIND;
	if (!(conn->flags & LISTED)) {
		conn->flags |= LISTED;
		worker->behind[worker->behind_count++] = slot;
	}
}

void rc_fanout_catch_up(struct worker *worker, struct connection *conn)
{
	if (conn->flags & BEHIND)
		rc_count(&worker->stats.behind, (uint64_t)-1);
	conn->flags &= (uint32_t)~BEHIND;
}

/* Where a connection that is not behind stands. */
uint64_t rc_fanout_cursor(const struct worker *worker, const struct connection *conn)
{
	return conn->flags & BEHIND ? conn->cursor : RC_MAX(conn->cursor, worker->round_begin);
}

/* ---- sending ---- */

static void poll_writable(struct worker *worker, uint32_t slot)
{
	worker->connections[slot].flags |= POLLING;
	rc_ring_poll_writable(worker->ring, slot, rc_tag(worker, TAG_WRITABLE, slot, 0));
}

/* Whether what is sent is encrypted here. */
static bool seals(const struct connection *conn) { return conn->flags & SECURE && !conn->kernel_tls; }

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
		if (conn->partial || conn->cursor < worker->round_end || conn->flags & RESUMING)
			rc_fanout_fall_behind(worker, slot, conn->cursor);
		else
			rc_fanout_catch_up(worker, conn);
	}
	drop_plan(worker, plan);
	return sent;
}

static bool send_plan(struct worker *worker, uint32_t slot, struct rc_plan *plan)
{
	struct connection *conn = &worker->connections[slot];
	if (seals(conn))
		return send_plan_secure(worker, slot, plan);
	plan->reference_count++;
	conn->flags |= SENDING;
	conn->cursor = plan->end; /* where it will stand if all of it leaves */
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, plan->ranges, plan->range_count, rc_hold_begin(worker, slot, plan),
	             rc_tag(worker, TAG_SENT_PLAN, slot, (unsigned)(plan - worker->plans)));
	return true;
}

static bool has_aside(const struct worker *worker, uint32_t slot)
{
	return worker->connections[slot].flags & SECURE && rc_secure_has_aside(worker, slot);
}

/* Nothing of the window was wanted, or all of it was conflated. */
static void pass_over(struct worker *worker, struct connection *conn, struct rc_plan *plan)
{
	count_taken(worker, plan, plan->taken_count);
	conn->cursor = plan->end;
	set_synced(worker, conn, plan, plan->synced_end);
	drop_plan(worker, plan);
}

/* One member of a topic that the round touched. Returns whether a send was prepared. */
static bool visit(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	uint64_t begin = rc_fanout_cursor(worker, conn);
	if (conn->state != CONNECTION_OPEN || conn->flags & BEHIND || begin >= worker->round_end)
		return false;
	if (conn->flags & (SENDING | POLLING) || conn->outbox || has_aside(worker, slot) || conn->form == FORM_ANSWER) {
		rc_fanout_fall_behind(worker, slot, begin);
		rc_worker_queue(worker, slot);
		return false;
	}
	struct rc_plan *plan = plan_for(worker, slot, begin, worker->head);
	if (!plan) {
		rc_fanout_fall_behind(worker, slot, begin);
		rc_worker_queue(worker, slot);
		return false;
	}
	if (!plan->size) {
		pass_over(worker, conn, plan);
		if (conn->cursor < worker->round_end) { /* cut short by a bound, or before what has no event yet */
			rc_fanout_fall_behind(worker, slot, conn->cursor);
			rc_worker_queue(worker, slot);
		}
		return false;
	}
	if (!send_plan(worker, slot, plan))
		return false;
	/* Cut short by a bound: the next round, which may begin before the completion, must not take it for further on. */
	if (!seals(conn) && plan->end < worker->round_end)
		rc_fanout_fall_behind(worker, slot, plan->end);
	return true;
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
		if (!(conn->flags & CLOSE_SENT)) /* behind a Close nothing may come */
			rc_connection_queue(worker, slot, RC_FRAME_PONG, outbox->late_pong, outbox->late_pong_size);
	}
	if (seals(conn))
		return send_outbox_secure(worker, slot, range);
	conn->flags |= SENDING;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, range, 1, false, rc_tag(worker, TAG_SENT_OUTBOX, slot, 0));
	return true;
}

/* The next entry has no event that all streams share: there was no room for it, or it is larger than fits. This one gets
 * its own. What is no text has no event at all. */
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
	if (!(conn->flags & BEHIND))
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
	struct rc_plan *plan = plan_for(worker, slot, conn->cursor, end);
	if (!plan) {
		rc_worker_queue(worker, slot);
		return false;
	}
	if (plan->size)
		return send_plan(worker, slot, plan);
	bool bare = plan->bare;
	pass_over(worker, conn, plan);
	if (bare)
		return send_bare(worker, slot);
	if (conn->cursor >= worker->round_end && conn->cursor >= worker->head)
		rc_fanout_catch_up(worker, conn);
	else
		rc_worker_queue(worker, slot);
	return false;
}

/* Sends what comes next for one connection: the rest of a frame, then what is its own, then the log. */
static bool pump(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING || conn->flags & (SENDING | POLLING))
		return false;
	if (conn->flags & SECURE) {
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
	if (conn->flags & BEHIND && conn->state == CONNECTION_OPEN)
		return send_behind(worker, slot);
	if (conn->flags & SECURE && conn->state == CONNECTION_FLUSHING && rc_secure_say_end(worker, slot))
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
	rc_connection_operation_done(worker, slot, SENDING);
}

void rc_fanout_sent_outbox(struct worker *worker, uint32_t slot, int result)
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
	conn->flags &= (uint32_t)~SENDING;
	if (conn->kernel_tls)
		rc_secure_count(worker, slot, sent);
	if (sent < waited) {
		RC_TRACE3(short_send, slot, sent, waited);
		rc_count(&worker->stats.sends_short, 1);
		poll_writable(worker, slot);
		return;
	}
	if (!rc_outbox_size(outbox) && !(conn->flags & BEHIND) && conn->state == CONNECTION_OPEN) {
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

void rc_fanout_sent_plan(struct worker *worker, uint32_t slot, unsigned number, int result, bool held)
{
	result = rc_hold_sent(worker, slot, result, held);
	struct connection *conn = &worker->connections[slot];
	struct rc_plan *plan = &worker->plans[number];
	uint64_t sent = result > 0 ? (uint64_t)result : 0;
	plan->reference_count--;
	if (conn->state == CONNECTION_ENDING || (result < 0 && result != -EAGAIN)) {
		drop_plan(worker, plan);
		send_failed(worker, slot);
		return;
	}
	conn->flags &= (uint32_t)~SENDING;
	rc_count(&worker->stats.bytes_sent, sent);
	if (conn->kernel_tls)
		rc_secure_count(worker, slot, sent);
	if (sent < plan->size) {
		sent_short(worker, slot, plan, sent);
	} else {
		conn->partial = 0;
		set_synced(worker, conn, plan, plan->synced_end);
		count_taken(worker, plan, plan->taken_count);
		bool reached = conn->cursor >= worker->round_end && !(conn->flags & RESUMING);
		if (reached && (conn->flags & (COHORT | SYNCED)) == COHORT)
			rc_encode_rejoin(worker, conn);
		if (reached)
			rc_fanout_catch_up(worker, conn);
		else
			rc_fanout_fall_behind(worker, slot, conn->cursor);
		if (!reached || conn->outbox || conn->state != CONNECTION_OPEN)
			rc_worker_queue(worker, slot);
	}
	drop_plan(worker, plan);
}

void rc_fanout_sent_secure(struct worker *worker, uint32_t slot, unsigned stage, int result)
{
	struct connection *conn = &worker->connections[slot];
	size_t sent = result > 0 && stage != RC_TLS_OPTION ? (size_t)result : 0;
	bool asked = stage == RC_TLS_OPTION; /* whose answer may be no */
	if (asked)
		conn->flags &= (uint32_t)~SENDING;
	int all = rc_secure_sent(worker, slot, stage, result);
	if (conn->state == CONNECTION_ENDING || (result < 0 && result != -EAGAIN && !asked) || all < 0) {
		send_failed(worker, slot);
		return;
	}
	if (asked) {
		rc_worker_queue(worker, slot);
		return;
	}
	conn->flags &= (uint32_t)~SENDING;
	rc_count(&worker->stats.bytes_sent, sent);
	if (!all) {
		rc_count(&worker->stats.sends_short, 1);
		if (conn->first_subscription && conn->state == CONNECTION_OPEN)
			rc_fanout_fall_behind(worker, slot, rc_fanout_cursor(worker, conn));
		poll_writable(worker, slot);
	} else if (conn->flags & BEHIND || conn->outbox || conn->state != CONNECTION_OPEN || has_aside(worker, slot)) {
		rc_worker_queue(worker, slot);
	}
}

/* ---- rounds ---- */

static void touch(struct worker *worker, uint64_t number)
{
	uint32_t topic = rc_log_entry(&worker->server->log, number)->topic;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic);
	uint32_t count = audience ? atomic_load_explicit(&audience->member_count, memory_order_relaxed) : 0;
	if (!count || audience->walked)
		return;
	audience->walked = true;
	audience->walk_left = count;
	audience->walk_at = (uint32_t)(worker->round_number * 2654435761u % count); /* nobody is always last */
	worker->walk[worker->walk_count++] = topic;
}

/* Begins the next round if there is something new. */
static void begin_round(struct worker *worker)
{
	worker->walk_count = worker->walk_index = 0;
	worker->round_began_ns = worker->now_ns;
	worker->round_sends = 0;
	worker->round_number++;
	while (!worker->walk_count && worker->round_end < worker->head) {
		worker->round_begin = worker->round_end;
		worker->round_end = RC_MIN(worker->head, worker->round_begin + RC_PLAN_WINDOW);
		for (uint64_t number = worker->round_begin; number < worker->round_end; number++)
			touch(worker, number);
	}
}

/* All of a topic's audience was visited. */
static void trace_fanout(const struct worker *worker, uint32_t topic)
{
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic);
	const struct rc_plan *shared = worker->shared && worker->shared->topic == topic ? worker->shared : NULL;
	uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
	const char *name = count ? rc_topic_at(&worker->server->topics, topic)->name : NULL; /* members keep a topic */
	RC_TRACE3(fanout, name, count, shared ? shared->size : 0);
}

static unsigned walk(struct worker *worker, unsigned budget)
{
	unsigned sends = 0;
	bool full = false;
	while (worker->walk_index < worker->walk_count) {
		struct rc_audience *audience = rc_audience_at(&worker->subscribers, worker->walk[worker->walk_index]);
		for (; audience->walk_left; audience->walk_left--) {
			uint32_t count = atomic_load_explicit(&audience->member_count, memory_order_relaxed);
			if (!count || sends == budget || (full = !rc_secure_can_stage(worker)))
				break;
			if (audience->walk_at >= count)
				audience->walk_at = 0;
			sends += visit(worker, audience->members[audience->walk_at++].slot);
		}
		if ((sends == budget || full) && audience->walk_left)
			break;
		audience->walk_left = 0;
		audience->walked = false;
		trace_fanout(worker, worker->walk[worker->walk_index++]);
	}
	return sends;
}

bool rc_fanout_idle(const struct worker *worker)
{
	return worker->walk_index == worker->walk_count && worker->round_end == rc_log_head(&worker->server->log);
}

/* The first message after a pause leaves at once; while messages keep coming, rounds keep a distance, so that one
 * send carries what would have been several. */
static uint64_t next_round_ns(const struct worker *worker)
{
	uint64_t longest_ns = (uint64_t)worker->server->config.round_interval_us * 1000;
	return worker->round_began_ns + RC_MIN(longest_ns, worker->round_sends * RC_ROUND_SEND_NS);
}

/* What is new gets its encodings before anybody plans it, in slices as well: planned is only what has them. */
static void encode_new(struct worker *worker)
{
	uint64_t head = rc_log_head(&worker->server->log);
	if (!worker->encoded_count)
		worker->encoded_end = head;
	for (size_t taken = 0; worker->encoded_end < head && taken < RC_SLICE_ENCODE_SIZE; worker->encoded_end++)
		taken += rc_encode_entry(worker, worker->encoded_end);
	worker->head = worker->encoded_end;
}

uint64_t rc_fanout_slice(struct worker *worker)
{
	unsigned sends = 0;
	encode_new(worker);
	/* Each who waits now is pumped once; who asks again meanwhile waits for the next slice. */
	for (uint32_t left = worker->queue_count; left && sends < RC_SLICE_SENDS && rc_secure_can_stage(worker); left--) {
		uint32_t slot = worker->queue[worker->queue_at];
		worker->queue_at = worker->queue_at + 1 == worker->slot_count ? 0 : worker->queue_at + 1;
		worker->queue_count--;
		worker->connections[slot].flags &= (uint32_t)~QUEUED;
		sends += pump(worker, slot);
	}
	bool may_begin = worker->walk_index == worker->walk_count && worker->now_ns >= next_round_ns(worker);
	if (may_begin && worker->round_end < worker->head)
		begin_round(worker);
	worker->round_sends += walk(worker, RC_SLICE_SENDS - sends);
	if (worker->walk_index == worker->walk_count)
		worker->round_begin = worker->round_end; /* now everyone who is not behind has it */
	forget_shared(worker);
	if (worker->queue_count || worker->walk_index < worker->walk_count || worker->head < rc_log_head(&worker->server->log))
		return 0;
	return worker->round_end < worker->head ? next_round_ns(worker) : UINT64_MAX;
}
