/* SPDX-License-Identifier: MIT
 *
 * dial.c - see dial.h. Those that wait are in a list while a bounded number is on its way. It must not know what is
 * received, nor end a connection that has begun: it notes.
 *
 * Invariant: a dial is in the list of its state or, in ASKS, CONNECTS, BEGAN and PAUSES, in none; in ASKS and CONNECTS
 * it counts as on its way. handlers.close is never called inside another callback.
 */
#include "dial.h"

#include "reach.h"
#include "worker.h"

#include <stdlib.h>
#include <string.h>

#define STOPPED "this side closed it before it was open"

/* What our client role offers: the server may keep its compressor, ours begins anew with each message. */
const struct rc_deflate_wish rc_dial_wish = { .server_takeover = true, .bits = 15 };

/* ---- lists and timers ---- */

static void append(struct dial_list *list, struct dial *dial)
{
	dial->next = NULL;
	dial->place = list->end;
	*list->end = dial;
	list->end = &dial->next;
}

static void take_out(struct dial_list *list, struct dial *dial)
{
	*dial->place = dial->next;
	if (dial->next)
		dial->next->place = dial->place;
	else
		list->end = dial->place;
}

void rc_dialler_open(struct worker *worker)
{
	struct dialler *dialler = &worker->dialler;
	dialler->waiting.end = &dialler->waiting.first;
	dialler->over.end = &dialler->over.first;
	rc_wheel_init(&dialler->wheel, NULL, worker->now_ns / RC_TICK_NS);
}

static bool make_link(struct dialler *dialler, uint32_t index)
{
	if (index < dialler->link_count)
		return true;
	uint32_t count = RC_MAX(2 * dialler->link_count, index + 64);
	struct rc_wheel_link *links = realloc(dialler->links, count * sizeof *links);
	if (!links)
		return false;
	memset(links + dialler->link_count, 0, (count - dialler->link_count) * sizeof *links);
	dialler->links = dialler->wheel.links = links;
	dialler->link_count = count;
	return true;
}

static void set_timer(struct worker *worker, struct dial *dial, uint64_t at_ns)
{
	dial->due_ns = at_ns;
	rc_wheel_set(&worker->dialler.wheel, dial->index, (at_ns + RC_TICK_NS - 1) / RC_TICK_NS);
}

static uint64_t tag_of(const struct worker *worker, const struct dial *dial)
{
	return rc_tag_make(TAG_DIALLED, 0, (uint32_t)rc_dialled_handle(worker, dial->index), dial->index);
}

/* ---- the end of an attempt ---- */

void rc_dial_free(struct dial *dial)
{
	if (!dial)
		return;
	free(dial->protocols);
	free(dial->headers);
	free(dial);
}

/* Its handle may go on: to a connection that is open. */
static void drop(struct worker *worker, struct dial *dial)
{
	if (dial->index < worker->dialler.link_count)
		rc_wheel_clear(&worker->dialler.wheel, dial->index);
	rc_dialled_at(worker, dial->index)->dial = NULL;
	rc_dial_free(dial);
}

/* Whether an attempt that ended so would end so again. */
static bool is_permanent(const struct dial *dial, int status)
{
	if (status > 0)
		return status >= 300 && status < 500 && status != 408 && status != 425 && status != 429;
	return status == -EKEYREJECTED || status == -EINVAL || (status == -ENXIO && !dial->was_open) ||
	       (dial->url.is_unix && (status == -EACCES || status == -EPERM));
}

/* Decides what comes after an attempt: a pause, whose time is returned, or nothing. */
static unsigned leave(struct worker *worker, struct dial *dial, int status)
{
	bool stops = dial->given_up || atomic_load(&worker->server->stop_at_ns);
	if (!dial->again_ms || stops || (!dial->opened_ns && is_permanent(dial, status))) {
		uint32_t index = dial->index;
		drop(worker, dial);
		rc_dialled_give(worker, index);
		return 0;
	}
	uint64_t lasted_ns = dial->opened_ns ? worker->now_ns - dial->opened_ns : 0;
	if (!dial->step_ms || lasted_ns >= (uint64_t)dial->again_max_ms * 1000000)
		dial->step_ms = dial->again_ms;
	else
		dial->step_ms = RC_MIN(2 * dial->step_ms, dial->again_max_ms);
	unsigned half = (dial->step_ms + 1) / 2,
		 pause_ms = half + rc_worker_random(worker) % (dial->step_ms - half + 1);
	dial->state = DIAL_PAUSES;
	dial->opened_ns = 0;
	set_timer(worker, dial, worker->now_ns + (uint64_t)pause_ms * 1000000);
	return pause_ms;
}

/* An attempt has ended without a connection. */
static void tell(struct worker *worker, struct dial *dial, int status, const char *why)
{
	const struct rc_handlers *handlers = &worker->server->config.handlers;
	rc_conn conn = rc_dialled_handle(worker, dial->index);
	void *user = dial->user;
	const struct rc_closing closing = {
		.code = RC_CLOSE_ABNORMAL,
		.reason = why,
		.reason_size = strlen(why),
		.status = status,
		.again_ms = leave(worker, dial, status),
	};
	if (handlers->close)
		handlers->close(handlers->context, conn, user, &closing);
}

/* What ends a handshake that is none of the handshake's own faults. */
static void explain_end(const struct worker *worker, struct rc_closing *closing)
{
	bool stops = atomic_load(&worker->server->stop_at_ns);
	closing->status = stops ? -ECANCELED : -ECONNABORTED;
	if (!closing->reason_size)
		closing->reason = stops ? "the server stops" : "the worker had no memory for it";
	closing->reason_size = strlen(closing->reason);
}

void rc_dial_left(struct worker *worker, uint32_t slot, struct rc_closing *closing)
{
	uint32_t index = worker->dialled.of_slot[slot] - 1;
	struct dialled *entry = rc_dialled_at(worker, index);
	worker->dialled.of_slot[slot] = 0;
	entry->slot = 0;
	if (!entry->dial) {
		rc_dialled_give(worker, index);
		return;
	}
	if (!entry->dial->opened_ns && !closing->status)
		explain_end(worker, closing);
	closing->again_ms = leave(worker, entry->dial, closing->status);
}

/* ---- a new attempt ---- */

static void wait_for_turn(struct worker *worker, struct dial *dial)
{
	dial->state = DIAL_WAITS;
	append(&worker->dialler.waiting, dial);
}

static void begin_attempt(struct worker *worker, struct dial *dial)
{
	dial->until_ns = 0;
	dial->address_count = dial->address_at = 0;
	dial->status = 0;
	wait_for_turn(worker, dial);
}

void rc_dial_begin(struct worker *worker, struct command *command)
{
	struct dial *dial = (struct dial *)command;
	rc_dialled_at(worker, dial->index)->dial = dial;
	if (make_link(&worker->dialler, dial->index)) {
		begin_attempt(worker, dial);
		return;
	}
	dial->again_ms = 0; /* without a timer there is no pause */
	tell(worker, dial, -ENOMEM, "out of memory");
}

/* ---- asking for addresses ---- */

/* The answer: on the worker, if anybody still waits for it. */
static void take_answer(struct worker *worker, struct command *command)
{
	struct lookup *lookup = (struct lookup *)command;
	const struct dialled *entry = rc_dialled_find(worker, lookup->conn);
	struct dial *dial = entry ? entry->dial : NULL;
	if (dial && dial->state == DIAL_ASKS && dial->lookup == lookup) {
		worker->dialler.on_their_way--;
		dial->lookup = NULL;
		dial->address_count = lookup->count;
		memcpy(dial->addresses, lookup->addresses, sizeof dial->addresses);
		if (lookup->count) {
			wait_for_turn(worker, dial);
		} else {
			char *why = worker->dialler.why;
			tell(worker, dial, rc_reach_explain_name(why, sizeof worker->dialler.why, lookup), why);
		}
	}
	free(lookup);
}

/* The question could not even be put. */
static void tell_unasked(struct worker *worker, struct dial *dial, int result)
{
	char *why = worker->dialler.why;
	tell(worker, dial, rc_reach_explain_unasked(why, sizeof worker->dialler.why, dial->url.host, result), why);
}

static int ask(struct worker *worker, struct dial *dial)
{
	struct lookup *lookup = calloc(1, sizeof *lookup);
	if (!lookup)
		return -ENOMEM;
	lookup->command.run = take_answer;
	lookup->mailbox = &worker->mailbox;
	lookup->conn = rc_dialled_handle(worker, dial->index);
	lookup->port = dial->url.port;
	memcpy(lookup->name, dial->url.host, sizeof lookup->name);
	int result = rc_names_ask(worker->server->names, lookup);
	if (result < 0) {
		free(lookup);
		return result;
	}
	dial->state = DIAL_ASKS;
	dial->lookup = lookup;
	worker->dialler.on_their_way++;
	return 0;
}

/* ---- connecting ---- */

/* An attempt has come to its last address: the failure that says most is told. */
static void tell_unreached(struct worker *worker, struct dial *dial)
{
	char *why = worker->dialler.why;
	rc_reach_explain(why, sizeof worker->dialler.why, &dial->url, &dial->addresses[dial->failed_at],
	                 dial->address_count > 1, dial->status);
	tell(worker, dial, dial->status, why);
}

static void connect_to(struct worker *worker, struct dial *dial, const struct rc_address *address)
{
	struct sockaddr_storage to, source;
	socklen_t to_size = rc_reach_socket(&to, dial->url.is_unix ? dial->url.host : NULL, address), source_size = 0;
	bool binds = dial->source.any.sa_family;
	if (binds)
		source_size = rc_reach_socket(&source, NULL, &dial->source);
	dial->state = DIAL_CONNECTS;
	worker->dialler.on_their_way++;
	rc_ring_connect(worker->ring, &to, to_size, binds ? &source : NULL, source_size, tag_of(worker, dial));
}

static bool fits_source(const struct dial *dial)
{
	sa_family_t family = dial->source.any.sa_family;
	return !family || dial->addresses[dial->address_at].any.sa_family == family;
}

static void try_address(struct worker *worker, struct dial *dial)
{
	while (dial->address_at < dial->address_count && !fits_source(dial))
		dial->address_at++;
	if (dial->address_at == dial->address_count && dial->status) {
		tell_unreached(worker, dial);
	} else if (dial->address_at == dial->address_count) {
		tell(worker, dial, -EAFNOSUPPORT, "it has no address of the source's family");
	} else if (worker->used_count >= worker->slot_count) {
		tell(worker, dial, -EMFILE, "the worker has no room for another connection: raise 'ulimit -n'");
	} else {
		uint64_t left_ns = dial->until_ns > worker->now_ns ? dial->until_ns - worker->now_ns : 0;
		set_timer(worker, dial, worker->now_ns + left_ns / (dial->address_count - dial->address_at));
		connect_to(worker, dial, &dial->addresses[dial->address_at]);
	}
}

static void go_on(struct worker *worker, struct dial *dial)
{
	if (!dial->until_ns) {
		dial->until_ns = worker->now_ns + (uint64_t)dial->timeout_ms * 1000000;
		set_timer(worker, dial, dial->until_ns);
		dial->address_count = rc_reach_known(dial->addresses, &dial->url);
		if (!dial->address_count) {
			int result = ask(worker, dial);
			if (result < 0)
				tell_unasked(worker, dial, result);
			return;
		}
	}
	try_address(worker, dial);
}

void rc_dial_more(struct worker *worker)
{
	struct dialler *dialler = &worker->dialler;
	struct dial *dial;
	while ((dial = dialler->over.first)) {
		take_out(&dialler->over, dial);
		tell(worker, dial, -ECANCELED, STOPPED);
	}
	while ((dial = dialler->waiting.first) && dialler->on_their_way < RC_DIALS_MAX &&
	       rc_ring_can_connect(worker->ring)) {
		take_out(&dialler->waiting, dial);
		go_on(worker, dial);
	}
}

/* ---- a connect has completed ---- */

static bool is_no_route(int status)
{
	return status == -EADDRNOTAVAIL || status == -ENETUNREACH || status == -EHOSTUNREACH || status == -EAFNOSUPPORT;
}

static void connect_failed(struct worker *worker, struct dial *dial, int status)
{
	/* Of several, the one that says most is told. Only the timer cancels. */
	status = status == -ECANCELED ? -ETIMEDOUT : status;
	if (!dial->status || (is_no_route(dial->status) && !is_no_route(status))) {
		dial->status = status;
		dial->failed_at = dial->address_at;
	}
	if (++dial->address_at == dial->address_count || worker->now_ns >= dial->until_ns) {
		tell_unreached(worker, dial);
		return;
	}
	set_timer(worker, dial, dial->until_ns);
	wait_for_turn(worker, dial);
}

static struct handshake *make_handshake(struct worker *worker, const struct dial *dial)
{
	struct handshake *handshake = rc_handshake_new(worker);
	if (!handshake)
		return NULL;
	rc_ring_random(worker->ring, handshake->nonce, sizeof handshake->nonce);
	handshake->protocols = dial->protocols;
	handshake->offers_deflate = dial->deflate;
	return handshake;
}

static bool put_request(struct worker *worker, uint32_t slot, const struct dial *dial)
{
	char request[RC_CONNECT_REQUEST_SIZE_MAX];
	const struct handshake *handshake = worker->connections[slot].handshake;
	size_t size = rc_handshake_request(request, sizeof request, &dial->url, handshake->nonce, dial->protocols,
	                                   dial->headers, dial->deflate ? &rc_dial_wish : NULL);
	return size && rc_connection_put(worker, slot, request, size);
}

static void begin_connection(struct worker *worker, uint32_t slot, struct dial *dial)
{
	struct connection *conn = rc_connection_begin(worker, slot);
	struct handshake *handshake = dial->given_up ? NULL : make_handshake(worker, dial);
	atomic_fetch_add_explicit(&worker->server->connection_count, 1, memory_order_relaxed);
	if (!handshake) {
		rc_connection_close_slot(worker, slot);
		tell(worker, dial, dial->given_up ? -ECANCELED : -ENOMEM, dial->given_up ? STOPPED : "out of memory");
		return;
	}
	rc_count(&worker->stats.connected, 1);
	conn->client = conn->opened = true;
	conn->secure = dial->url.tls;
	conn->handshake = handshake;
	conn->user = dial->user;
	dial->state = DIAL_BEGAN;
	worker->dialled.of_slot[slot] = dial->index + 1;
	rc_dialled_at(worker, dial->index)->slot = slot + 1;
	set_timer(worker, dial, dial->until_ns);
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, 0);
	if (put_request(worker, slot, dial) && (!conn->secure || rc_secure_dial(worker, slot, dial->url.host)))
		rc_connection_receive(worker, slot, RECEPTION_STREAM);
	else
		rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT,
		                                         .slot = slot,
		                                         .code = RC_CLOSE_ABNORMAL,
		                                         .status = -ENOMEM,
		                                         .reason = "out of memory",
		                                         .reason_size = 13 });
}

void rc_dial_done(struct worker *worker, const struct tag *tag, int result)
{
	struct dial *dial = rc_dialled_at(worker, tag->slot)->dial;
	RC_ASSERT(dial && dial->state == DIAL_CONNECTS);
	worker->dialler.on_their_way--;
	rc_wheel_clear(&worker->dialler.wheel, dial->index);
	if (result >= 0)
		begin_connection(worker, (uint32_t)result, dial);
	else if (dial->given_up)
		tell(worker, dial, -ECANCELED, STOPPED);
	else
		connect_failed(worker, dial, result);
}

void rc_dial_opened(struct worker *worker, uint32_t slot)
{
	struct dial *dial = rc_dialled_at(worker, worker->dialled.of_slot[slot] - 1)->dial;
	rc_wheel_clear(&worker->dialler.wheel, dial->index);
	dial->opened_ns = worker->now_ns;
	dial->was_open = true;
	if (!dial->again_ms)
		drop(worker, dial);
}

/* ---- time ---- */

static void note_late(struct worker *worker, uint32_t slot)
{
	bool shakes = worker->connections[slot].secure && !rc_secure_is_open(worker, slot);
	const char *why = shakes ? "no TLS handshake in time" : "no answer to the handshake in time";
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT,
	                                         .slot = slot,
	                                         .code = RC_CLOSE_ABNORMAL,
	                                         .status = -ETIMEDOUT,
	                                         .reason = why,
	                                         .reason_size = strlen(why) });
}

static void cancel_connect(struct worker *worker, const struct dial *dial)
{
	rc_ring_connect_cancel(worker->ring, tag_of(worker, dial));
}

static void expire(struct worker *worker, struct dial *dial)
{
	struct dialler *dialler = &worker->dialler;
	if (dial->state == DIAL_PAUSES && atomic_load(&worker->server->stop_at_ns)) {
		tell(worker, dial, -ECANCELED, "the server stops");
		return;
	}
	if (dial->state == DIAL_PAUSES) {
		begin_attempt(worker, dial);
		return;
	}
	bool more = dial->state == DIAL_CONNECTS && dial->address_at + 1 < dial->address_count;
	rc_count(&worker->stats.timeouts, !more);
	switch (dial->state) {
	case DIAL_CONNECTS:
		cancel_connect(worker, dial);
		break;
	case DIAL_WAITS:
		take_out(&dialler->waiting, dial);
		tell(worker, dial, -ETIMEDOUT, "no turn to connect came in time");
		break;
	case DIAL_ASKS:
		dialler->on_their_way--;
		dial->lookup = NULL; /* which frees itself */
		tell(worker, dial, -ETIMEDOUT, "its name was not found in time");
		break;
	case DIAL_BEGAN:
		note_late(worker, rc_dialled_at(worker, dial->index)->slot - 1);
		break;
	default:
		break;
	}
}

void rc_dial_timers(struct worker *worker)
{
	uint32_t index;
	while (rc_wheel_next(&worker->dialler.wheel, worker->now_ns / RC_TICK_NS, &index)) {
		struct dial *dial = rc_dialled_at(worker, index)->dial;
		if (dial && dial->due_ns > worker->now_ns)
			set_timer(worker, dial, dial->due_ns); /* further away than one turn of the wheel */
		else if (dial)
			expire(worker, dial);
	}
}

uint64_t rc_dial_next_ns(const struct worker *worker)
{
	const struct dialler *dialler = &worker->dialler;
	if (dialler->over.first || (dialler->waiting.first && !dialler->on_their_way))
		return 0;
	uint64_t tick = rc_wheel_first(&dialler->wheel);
	return tick == UINT64_MAX ? tick : tick * RC_TICK_NS;
}

/* ---- giving up ---- */

int rc_dial_give_up(struct worker *worker, rc_conn conn)
{
	const struct dialled *entry = rc_dialled_find(worker, conn);
	struct dial *dial = entry ? entry->dial : NULL;
	struct dialler *dialler = &worker->dialler;
	if (!dial || dial->given_up)
		return -ENOTCONN;
	dial->given_up = true;
	switch (dial->state) {
	case DIAL_CONNECTS:
		cancel_connect(worker, dial);
		return 0;
	case DIAL_BEGAN:
		if (worker->connections[entry->slot - 1].state == CONNECTION_HANDSHAKE)
			rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT,
			                                         .slot = entry->slot - 1,
			                                         .code = RC_CLOSE_ABNORMAL,
			                                         .status = -ECANCELED,
			                                         .reason = STOPPED,
			                                         .reason_size = sizeof STOPPED - 1 });
		return 0;
	case DIAL_WAITS:
		take_out(&dialler->waiting, dial);
		break;
	case DIAL_ASKS:
		dialler->on_their_way--;
		dial->lookup = NULL;
		break;
	default:
		break;
	}
	/* It may be inside a callback: handlers.close comes after it. */
	rc_wheel_clear(&dialler->wheel, dial->index);
	dial->state = DIAL_OVER;
	append(&dialler->over, dial);
	return 0;
}

void rc_dial_close(struct worker *worker)
{
	struct dialler *dialler = &worker->dialler;
	uint32_t count = rc_dialled_count(worker);
	for (uint32_t index = 0; index < count; index++) {
		struct dial *dial = rc_dialled_at(worker, index)->dial;
		if (!dial)
			continue;
		dial->given_up = true;
		tell(worker, dial, -ECANCELED, "the server stops");
	}
	free(dialler->links);
	dialler->links = dialler->wheel.links = NULL;
	dialler->link_count = 0;
	rc_dialler_open(worker);
}
