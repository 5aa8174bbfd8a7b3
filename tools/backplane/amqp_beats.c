/* SPDX-License-Identifier: MIT
 *
 * amqp_beats.c - see amqp_beats.h.
 */
#include "built.h"
#ifdef BACKPLANE_AMQP

#include "amqp_beats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define NAME_SIZE 128

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static int judge(const struct amqp_side *side, char why[static ENGINE_WHY_SIZE])
{
	return amqp_side_judge(amqp_get_rpc_reply(side->amqp), "beats", why);
}

/* Connects, and listens to everybody, itself included. */
static int enter(struct amqp_side *side, const struct engine_setup *setup, const char *exchange, unsigned ttl_ms,
                 char why[static ENGINE_WHY_SIZE])
{
	char name[NAME_SIZE];
	amqp_table_entry_t ttl = { .key = amqp_cstring_bytes("x-message-ttl"),
		                   .value = { .kind = AMQP_FIELD_KIND_I32, .value.i32 = (int32_t)ttl_ms } };
	if (side->amqp)
		return 0;
	snprintf(name, sizeof name, "%.80s.%016" PRIx64, exchange, setup->node);
	const amqp_bytes_t from = amqp_cstring_bytes(exchange), queue = amqp_cstring_bytes(name);
	int code = amqp_side_enter(side, setup->url, 0, why);
	if (code)
		return code;
	amqp_exchange_declare(side->amqp, AMQP_CHANNEL, from, amqp_cstring_bytes("fanout"), 0, 0, 1, 0,
	                      amqp_empty_table);
	code = judge(side, why);
	if (!code) {
		amqp_queue_declare(side->amqp, AMQP_CHANNEL, queue, 0, 0, 1, 1, (amqp_table_t){ 1, &ttl });
		code = judge(side, why);
	}
	if (!code) {
		amqp_queue_bind(side->amqp, AMQP_CHANNEL, queue, from, amqp_empty_bytes, amqp_empty_table);
		code = judge(side, why);
	}
	if (!code) {
		amqp_basic_consume(side->amqp, AMQP_CHANNEL, queue, amqp_empty_bytes, 0, 1, 1, amqp_empty_table);
		code = judge(side, why);
	}
	return code;
}

static int hear_all(struct amqp_beats *amqp, char why[static ENGINE_WHY_SIZE])
{
	/* With no time at all the library does not look whether anything has come. */
	const struct timeval moment = { .tv_usec = 2000 };
	amqp_envelope_t envelope;
	for (;;) {
		amqp_maybe_release_buffers(amqp->side.amqp);
		amqp_rpc_reply_t reply = amqp_consume_message(amqp->side.amqp, &envelope, &moment, 0);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL)
			return reply.library_error == AMQP_STATUS_TIMEOUT ? 0 : amqp_side_judge(reply, "beats", why);
		beats_hear(&amqp->beats, envelope.message.body.bytes, envelope.message.body.len, now_ms());
		amqp_destroy_envelope(&envelope);
	}
}

static int say(struct amqp_beats *amqp, const char *exchange, char why[static ENGINE_WHY_SIZE])
{
	char text[BEATS_SIZE + 1];
	if (!beats_are_due(&amqp->beats, now_ms()))
		return 0;
	beats_write(&amqp->beats, text);
	amqp->beats.sent_ms = now_ms();
	int status = amqp_basic_publish(amqp->side.amqp, AMQP_CHANNEL, amqp_cstring_bytes(exchange), amqp_empty_bytes,
	                                0, 0, NULL, (amqp_bytes_t){ BEATS_SIZE, text });
	return status ? amqp_side_failed(status, "beats", why) : 0;
}

int amqp_beats_lease(struct amqp_beats *amqp, const struct engine_setup *setup, unsigned ttl_ms, bool *held,
                     void (*visit)(void *context, uint64_t node), void *visitor, char why[static ENGINE_WHY_SIZE])
{
	char exchange[NAME_SIZE];
	snprintf(exchange, sizeof exchange, "%.64s.beats", setup->prefix);
	if (!amqp->beats.nodes && beats_begin(&amqp->beats, setup->node, now_ms()))
		return snprintf(why, ENGINE_WHY_SIZE, "no memory"), -ENOMEM;
	int code = enter(&amqp->side, setup, exchange, ttl_ms, why);
	if (!code)
		code = say(amqp, exchange, why);
	if (!code)
		code = hear_all(amqp, why);
	if (code) {
		amqp_side_leave(&amqp->side);
		return code;
	}
	*held = beats_visit(&amqp->beats, ttl_ms, now_ms(), visit, visitor);
	return 0;
}

void amqp_beats_leave(struct amqp_beats *amqp)
{
	amqp_side_leave(&amqp->side);
	beats_end(&amqp->beats);
}
#endif
