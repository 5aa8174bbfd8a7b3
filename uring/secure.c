/* SPDX-License-Identifier: MIT
 *
 * secure.c - see secure.h. It must not know frames, topics or plans. Invariant: a stage with references stays where it
 * is; the current one may also grow.
 */
#include "certificates.h"
#include "fanout.h"

#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define REPLY_SIZE (64 * KIB) /* of one step; a longer flight takes more */

/* ---- opening and closing ---- */

static void *map(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t size)
{
	if (memory)
		munmap(memory, size);
}

int rc_secure_open(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	secure->places = map(worker->slot_count * sizeof *secure->places);
	secure->queue = map(worker->slot_count * sizeof *secure->queue);
	secure->plain = map(RC_TLS_RECORD_MAX);
	secure->reply = map(REPLY_SIZE);
	secure->stage_bytes = map(RC_TLS_STAGES * RC_TLS_STAGE_SIZE);
	if (!secure->places || !secure->queue || !secure->plain || !secure->reply || !secure->stage_bytes)
		return -ENOMEM;
	for (unsigned i = RC_TLS_STAGES - 1; i > 0; i--)
		secure->free[secure->free_count++] = (uint16_t)i;
	return rc_tls_wire_open(&secure->wire);
}

void rc_secure_close(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	for (uint32_t slot = 0; secure->places && slot < worker->slot_high; slot++)
		rc_secure_free(worker, slot);
	rc_tls_wire_close(&secure->wire);
	unmap(secure->places, worker->slot_count * sizeof *secure->places);
	unmap(secure->queue, worker->slot_count * sizeof *secure->queue);
	unmap(secure->plain, RC_TLS_RECORD_MAX);
	unmap(secure->reply, REPLY_SIZE);
	unmap(secure->stage_bytes, RC_TLS_STAGES * RC_TLS_STAGE_SIZE);
	memset(secure, 0, sizeof *secure);
}

static void forget_keys(struct secure *place)
{
	if (place->keys)
		explicit_bzero(place->keys, RC_TLS_KERNEL_KEYS_MAX);
	free(place->keys);
	place->keys = NULL;
}

void rc_secure_free(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	rc_tls_stream_free(place->stream);
	rc_outbox_free(place->aside, &worker->pool);
	forget_keys(place);
	memset(place, 0, sizeof *place);
}

bool rc_secure_is_open(const struct worker *worker, uint32_t slot)
{
	const struct rc_tls_stream *stream = worker->secure.places[slot].stream;
	return stream && rc_tls_is_open(stream);
}

/* ---- what a stream says by itself ---- */

static void set_reply(struct secure_worker *secure)
{
	secure->wire.out = secure->reply;
	secure->wire.out_end = secure->reply + REPLY_SIZE;
}

/* Keeps what the stream has written into the reply, to be sent. */
static bool put_aside(struct worker *worker, uint32_t slot)
{
	struct secure_worker *secure = &worker->secure;
	struct secure *place = &secure->places[slot];
	size_t size = (size_t)(secure->wire.out - secure->reply);
	set_reply(secure);
	if (place->kernel == KERNEL_ON && place->stream && rc_tls_take_alert(place->stream, place->alert)) {
		place->alert_waits = true;
		rc_worker_queue(worker, slot);
	}
	if (!size)
		return true;
	/* Between the keys' leaving and the kernel's having them, nobody could say which record is the next. */
	if (place->kernel >= KERNEL_GIVEN)
		return false;
	if (!place->aside)
		place->aside = rc_outbox_new(&worker->pool);
	bool full;
	uint8_t *at = place->aside ? rc_outbox_add(place->aside, &worker->pool, size, RC_TLS_REPLY_SIZE_MAX, &full)
	                           : NULL;
	if (!at)
		return false;
	memcpy(at, secure->reply, size);
	rc_worker_queue(worker, slot);
	return true;
}

bool rc_secure_say_end(struct worker *worker, uint32_t slot)
{
	set_reply(&worker->secure);
	return rc_secure_is_open(worker, slot) && rc_tls_close(worker->secure.places[slot].stream) &&
	       put_aside(worker, slot);
}

/* ---- receiving ---- */

static void give_up(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	struct rc_tls_stream *stream = worker->secure.places[slot].stream;
	bool distrusted = false;
	const char *why = stream ? rc_tls_why(stream, &distrusted) : "out of memory";
	rc_connection_drop(worker, slot, distrusted ? -EKEYREJECTED : -EPROTO, why);
	if (conn->state != CONNECTION_ENDING)
		rc_worker_queue(worker, slot);
}

static struct rc_tls_stream *stream_of(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	if (place->stream)
		return place->stream;
	rc_tls_tickets_turn(worker->server->certificates.tickets, worker->now_ns);
	struct rc_tls_context *context = rc_certificates_take(worker->server);
	if (context)
		place->stream = rc_tls_stream_server(context, &worker->secure.wire);
	rc_tls_context_release(context);
	return place->stream;
}

/* Returns DONE, MORE or FAILED. */
static enum rc_tls_result shake_hands(struct worker *worker, uint32_t slot)
{
	struct secure_worker *secure = &worker->secure;
	struct rc_tls_stream *stream = stream_of(worker, slot);
	enum rc_tls_result result = stream ? RC_TLS_FULL : RC_TLS_FAILED;
	while (result == RC_TLS_FULL) {
		result = rc_tls_handshake(stream);
		if (!put_aside(worker, slot))
			result = RC_TLS_FAILED;
	}
	if (result == RC_TLS_FAILED) {
		rc_count(&worker->stats.tls_failed, 1);
	} else if (result == RC_TLS_DONE) {
		rc_count(&worker->stats.tls_handshakes, 1);
		rc_count(&worker->stats.tls_resumed, rc_tls_is_resumed(stream));
		if (worker->server->config.kernel_tls && !secure->kernel_refused)
			secure->places[slot].kernel = KERNEL_WANTED;
		rc_worker_queue(worker, slot); /* a client's request waits */
	}
	return result;
}

static bool listens(const struct connection *conn)
{
	return conn->state == CONNECTION_HANDSHAKE || conn->state == CONNECTION_OPEN ||
	       conn->state == CONNECTION_CLOSING;
}

static void feed(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct secure_worker *secure = &worker->secure;
	struct connection *conn = &worker->connections[slot];
	enum rc_tls_result result = RC_TLS_DONE;
	secure->wire.in = bytes;
	secure->wire.in_end = bytes + size;
	set_reply(secure);
	if (!rc_secure_is_open(worker, slot) && (result = shake_hands(worker, slot)) != RC_TLS_DONE) {
		if (result == RC_TLS_FAILED)
			give_up(worker, slot);
		return;
	}
	struct rc_tls_stream *stream = secure->places[slot].stream;
	while (listens(conn)) {
		size_t got;
		result = rc_tls_read(stream, secure->plain, &got);
		if (result != RC_TLS_DONE)
			break;
		rc_connection_take_bytes(worker, slot, secure->plain, got);
	}
	if (!put_aside(worker, slot) || result == RC_TLS_FAILED || result == RC_TLS_FULL) {
		rc_count(&worker->stats.tls_errors, 1);
		give_up(worker, slot);
	} else if (result == RC_TLS_CLOSED && listens(conn)) {
		rc_connection_stream_ended(worker, slot, 0);
	}
}

/* Keeps what came of a handshake until its turn. */
static bool hold(struct worker *worker, struct handshake *handshake, const uint8_t *bytes, size_t size)
{
	size_t total;
	return handshake->size + size <= RC_TLS_HELD_SIZE_MAX &&
	       rc_connection_gather(worker, handshake, bytes, size, &total);
}

static void wait_for_turn(struct worker *worker, uint32_t slot)
{
	struct secure_worker *secure = &worker->secure;
	struct connection *conn = &worker->connections[slot];
	if (conn->stepping)
		return;
	conn->stepping = true;
	uint64_t place = (uint64_t)secure->queue_at + secure->queue_count++;
	secure->queue[place < worker->slot_count ? place : place - worker->slot_count] = slot;
}

void rc_secure_received(struct worker *worker, uint32_t slot, const uint8_t *bytes, size_t size)
{
	struct secure_worker *secure = &worker->secure;
	struct connection *conn = &worker->connections[slot];
	if (!listens(conn))
		return;
	if (rc_secure_is_open(worker, slot)) {
		feed(worker, slot, bytes, size);
	} else if (!conn->handshake->size && !secure->queue_count && secure->steps_left) {
		secure->steps_left--;
		feed(worker, slot, bytes, size);
	} else if (hold(worker, conn->handshake, bytes, size)) {
		wait_for_turn(worker, slot);
	} else {
		rc_count(&worker->stats.tls_failed, 1);
		give_up(worker, slot);
	}
}

static void step(struct worker *worker, uint32_t slot)
{
	struct connection *conn = &worker->connections[slot];
	conn->stepping = false;
	if (conn->state != CONNECTION_HANDSHAKE || !conn->secure || !conn->handshake->size)
		return; /* it has gone, or another connection is there now */
	/* The head of the request behind the handshake may be gathered in the same place. */
	struct handshake *handshake = conn->handshake;
	char *bytes = handshake->bytes;
	size_t size = handshake->size, capacity = handshake->capacity;
	handshake->bytes = NULL;
	handshake->size = handshake->capacity = 0;
	worker->secure.steps_left--;
	feed(worker, slot, (const uint8_t *)bytes, size);
	rc_pool_give(&worker->pool, bytes, capacity);
}

bool rc_secure_tick(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	secure->steps_left = RC_TLS_HANDSHAKES_A_TICK;
	while (secure->queue_count && secure->steps_left) {
		uint32_t slot = secure->queue[secure->queue_at];
		secure->queue_at = secure->queue_at + 1 == worker->slot_count ? 0 : secure->queue_at + 1;
		secure->queue_count--;
		step(worker, slot);
	}
	return secure->queue_count > 0;
}

bool rc_secure_dial(struct worker *worker, uint32_t slot, const char *host)
{
	struct secure_worker *secure = &worker->secure;
	struct secure *place = &secure->places[slot];
	struct rc_tls_context *context = rc_certificates_take_client(worker->server);
	if (context)
		place->stream = rc_tls_stream_client(context, &secure->wire, host);
	rc_tls_context_release(context);
	if (!place->stream)
		return false;
	secure->wire.in = secure->wire.in_end = NULL;
	set_reply(secure);
	return shake_hands(worker, slot) == RC_TLS_MORE;
}

void rc_secure_ended(struct worker *worker, uint32_t slot)
{
	const struct rc_tls_stream *stream = worker->secure.places[slot].stream;
	if (!rc_secure_is_open(worker, slot))
		rc_count(&worker->stats.tls_failed, 1);
	else if (!rc_tls_saw_close(stream))
		rc_count(&worker->stats.tls_truncated, 1);
}

/* ---- sending ---- */

bool rc_secure_can_stage(const struct worker *worker)
{
	const struct secure_worker *secure = &worker->secure;
	return secure->free_count || secure->stages[secure->stage].used + RC_TLS_STAGED_MAX <= RC_TLS_STAGE_SIZE;
}

/* A place for the records of `size` bytes. */
static uint8_t *stage_for(struct secure_worker *secure, size_t size)
{
	size_t needed = size + (size / RC_TLS_RECORD_MAX + 2) * RC_TLS_OVERHEAD_MAX;
	if (secure->stages[secure->stage].used + needed > RC_TLS_STAGE_SIZE) {
		RC_ASSERT(secure->free_count);
		secure->stage = secure->free[--secure->free_count];
	}
	return secure->stage_bytes + secure->stage * RC_TLS_STAGE_SIZE + secure->stages[secure->stage].used;
}

static void unstage(struct secure_worker *secure, unsigned index)
{
	struct secure_stage *stage = &secure->stages[index];
	RC_ASSERT(stage->reference_count);
	if (--stage->reference_count)
		return;
	stage->used = 0;
	if (index != secure->stage)
		secure->free[secure->free_count++] = (uint16_t)index;
}

/* The next `size` bytes of the ranges, where they lie if they lie together. */
static const uint8_t *take(struct secure_worker *secure, const struct rc_range **range, size_t *skip, size_t size)
{
	const uint8_t *at = (const uint8_t *)(*range)->at + *skip;
	if ((*range)->size - *skip >= size) {
		*skip += size;
		return at;
	}
	for (size_t done = 0; done < size;) {
		size_t some = RC_MIN((*range)->size - *skip, size - done);
		memcpy(secure->plain + done, (const uint8_t *)(*range)->at + *skip, some);
		done += some;
		*skip += some;
		if (*skip == (*range)->size && done < size) {
			(*range)++;
			*skip = 0;
		}
	}
	return secure->plain;
}

bool rc_secure_send(struct worker *worker, uint32_t slot, const struct rc_range *ranges, size_t size, bool last)
{
	struct secure_worker *secure = &worker->secure;
	struct secure *place = &secure->places[slot];
	RC_ASSERT(size <= RC_TLS_SEND_SIZE_MAX);
	uint8_t *begin = stage_for(secure, size);
	size_t skip = 0;
	secure->wire.out = begin;
	secure->wire.out_end = secure->stage_bytes + (secure->stage + 1) * RC_TLS_STAGE_SIZE;
	for (size_t left = size; left;) {
		size_t some = RC_MIN(left, (size_t)RC_TLS_RECORD_MAX);
		if (skip == ranges->size) {
			ranges++;
			skip = 0;
		}
		if (rc_tls_write(place->stream, take(secure, &ranges, &skip, some), some) != RC_TLS_DONE) {
			rc_count(&worker->stats.tls_errors, 1);
			give_up(worker, slot);
			return false;
		}
		left -= some;
	}
	if (last)
		rc_tls_close(place->stream);
	struct secure_stage *stage = &secure->stages[secure->stage];
	place->sending = (struct rc_range){ begin, (size_t)(secure->wire.out - begin) };
	stage->used += (uint32_t)place->sending.size;
	stage->reference_count++;
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, &place->sending, 1, false,
	             rc_tag(worker, TAG_SENT_SECURE, slot, secure->stage));
	return true;
}

/* ---- kernel TLS ---- */

/* What an option's being set, or not, means. */
static void option_set(struct worker *worker, uint32_t slot, int result);

static void set_option(struct worker *worker, uint32_t slot, int level, int name, const void *value, unsigned size)
{
	uint64_t tag = rc_tag(worker, TAG_SENT_SECURE, slot, RC_TLS_OPTION);
	int result = rc_ring_set_option(worker->ring, slot, level, name, value, size, tag);
	if (result == -EINPROGRESS)
		worker->connections[slot].sending = true;
	else
		option_set(worker, slot, result);
}

static void give_keys(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	place->keys = malloc(RC_TLS_KERNEL_KEYS_MAX);
	size_t size = place->keys ? rc_tls_kernel_keys(place->stream, place->keys) : 0;
	place->kernel = size ? KERNEL_GIVEN : KERNEL_NOT;
	if (size)
		set_option(worker, slot, SOL_TLS, TLS_TX, place->keys, (unsigned)size);
	else
		forget_keys(place);
}

static void option_set(struct worker *worker, uint32_t slot, int result)
{
	struct secure *place = &worker->secure.places[slot];
	struct connection *conn = &worker->connections[slot];
	if (conn->state == CONNECTION_ENDING)
		return;
	if (place->kernel == KERNEL_ASKED && result == 0) {
		if (place->aside)
			place->kernel = KERNEL_NOT; /* something came aside meanwhile; it goes on without the kernel */
		else
			give_keys(worker, slot);
		return;
	}
	if (result == -ENOENT) {
		worker->secure.kernel_refused = true;
		rc_worker_report(worker, 3,
		                 "worker %u: the kernel makes no TLS records: its module tls or a cipher is missing",
		                 worker->index);
	}
	forget_keys(place);
	if (result < 0 || place->kernel != KERNEL_GIVEN) {
		place->kernel = KERNEL_NOT;
		return;
	}
	rc_tls_kernel_took(place->stream);
	place->kernel = KERNEL_ON;
	conn->kernel_tls = conn->copies = true;
	rc_count(&worker->stats.tls_kernel, 1);
}

/* Asks for the kernel's records; false when it is known by now that it makes none of this stream, or that it does. */
static bool hand_over(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	uint8_t keys[RC_TLS_KERNEL_KEYS_MAX];
	bool can = rc_tls_kernel_keys(place->stream, keys) > 0;
	explicit_bzero(keys, sizeof keys);
	place->kernel = can ? KERNEL_ASKED : KERNEL_NOT;
	if (can)
		set_option(worker, slot, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls");
	return worker->connections[slot].sending;
}

static bool send_alert(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	place->sending = (struct rc_range){ place->alert, sizeof place->alert };
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send_alert(worker->ring, slot, &place->sending,
	                   rc_tag(worker, TAG_SENT_SECURE, slot, RC_TLS_ALERT_SENT));
	return true;
}

void rc_secure_count(struct worker *worker, uint32_t slot, size_t size)
{
	static const char reason[] = "its keys are used up: connect again";
	struct secure *place = &worker->secure.places[slot];
	place->kernel_size += size + RC_TLS_OVERHEAD_MAX;
	if (place->kernel_size > RC_TLS_KERNEL_SIZE_MAX)
		rc_connection_close(worker, slot, RC_CLOSE_GOING_AWAY, reason, sizeof reason - 1);
}

/* ---- what is aside ---- */

bool rc_secure_has_aside(const struct worker *worker, uint32_t slot)
{
	const struct secure *place = &worker->secure.places[slot];
	return place->aside || place->alert_waits || place->kernel == KERNEL_WANTED;
}

bool rc_secure_send_aside(struct worker *worker, uint32_t slot)
{
	struct secure *place = &worker->secure.places[slot];
	if (!place->aside && place->alert_waits)
		return send_alert(worker, slot);
	if (!place->aside && place->kernel == KERNEL_WANTED && rc_secure_is_open(worker, slot))
		return hand_over(worker, slot);
	if (!place->aside)
		return false;
	if (!rc_outbox_size(place->aside)) {
		rc_outbox_free(place->aside, &worker->pool);
		place->aside = NULL;
		return false;
	}
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, rc_outbox_next(place->aside, &worker->pool), 1, false,
	             rc_tag(worker, TAG_SENT_SECURE, slot, RC_TLS_NO_STAGE));
	return true;
}

/* What the socket did not take of a stage goes before all that came aside meanwhile. */
static int keep_rest(struct worker *worker, struct secure *place, size_t sent)
{
	size_t rest = place->sending.size - sent;
	if (!rest)
		return 1;
	if (!place->aside)
		place->aside = rc_outbox_new(&worker->pool);
	uint8_t *at = place->aside ? rc_outbox_add_first(place->aside, &worker->pool, rest) : NULL;
	if (!at)
		return -ENOMEM;
	memcpy(at, (uint8_t *)place->sending.at + sent, rest);
	return 0;
}

int rc_secure_sent(struct worker *worker, uint32_t slot, unsigned stage, int result)
{
	struct secure *place = &worker->secure.places[slot];
	size_t sent = result > 0 ? (size_t)result : 0;
	if (stage == RC_TLS_OPTION) {
		option_set(worker, slot, result);
		return 1;
	}
	if (stage == RC_TLS_ALERT_SENT) {
		place->alert_waits = sent < sizeof place->alert; /* two bytes leave together or not at all */
		return !place->alert_waits;
	}
	if (stage != RC_TLS_NO_STAGE) {
		int result = keep_rest(worker, place, sent);
		unstage(&worker->secure, stage);
		return result;
	}
	size_t waited = place->aside->sending_end - place->aside->sending_begin;
	rc_outbox_sent(place->aside, &worker->pool, sent);
	if (!rc_outbox_size(place->aside)) {
		rc_outbox_free(place->aside, &worker->pool);
		place->aside = NULL;
	}
	return sent == waited;
}
