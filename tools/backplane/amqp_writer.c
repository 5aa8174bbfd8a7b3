/* SPDX-License-Identifier: MIT
 *
 * amqp_writer.c - see amqp_writer.h.
 */
#include "built.h"
#ifdef BACKPLANE_AMQP

#include "amqp_writer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <time.h>

/* What was sent and is not confirmed yet. */
struct waiting {
	struct engine_packet *packets;
	size_t count, told;
	uint64_t before;        /* the tag before the first */
	bool returned, refused; /* some reached no queue; the queue took some not */
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Those up to a tag, or that alone, were taken or not. What was told of is `handed`: the broker tells of each once, and
 * of those up to a tag also when some of them were told of before. */
static void tell(struct waiting *waiting, uint64_t tag, bool multiple, bool taken)
{
	if (tag <= waiting->before || tag > waiting->before + waiting->count)
		return;
	const size_t last = (size_t)(tag - waiting->before - 1);
	for (size_t i = multiple ? 0 : last; i <= last; i++) {
		if (waiting->packets[i].handed)
			continue;
		waiting->told++;
		waiting->packets[i].handed = true;
		waiting->packets[i].appended = taken;
		waiting->refused |= !taken;
	}
}

static int hear(struct amqp_side *side, struct waiting *waiting, uint64_t wait_ms, char why[static ENGINE_WHY_SIZE])
{
	const struct timeval limit = { (time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000 * 1000) };
	amqp_frame_t frame;
	amqp_message_t message;
	amqp_maybe_release_buffers(side->amqp);
	int status = amqp_simple_wait_frame_noblock(side->amqp, &frame, &limit);
	if (status)
		return amqp_side_failed(status, "no answer to a message", why);
	if (frame.frame_type != AMQP_FRAME_METHOD)
		return 0;
	if (frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
		const amqp_basic_ack_t *method = frame.payload.method.decoded;
		tell(waiting, method->delivery_tag, method->multiple, true);
		return 0;
	}
	if (frame.payload.method.id == AMQP_BASIC_NACK_METHOD) {
		const amqp_basic_nack_t *method = frame.payload.method.decoded;
		tell(waiting, method->delivery_tag, method->multiple, false);
		return 0;
	}
	if (frame.payload.method.id == AMQP_BASIC_RETURN_METHOD) {
		amqp_rpc_reply_t reply = amqp_read_message(side->amqp, AMQP_CHANNEL, &message, 0);
		if (reply.reply_type == AMQP_RESPONSE_NORMAL)
			amqp_destroy_message(&message);
		waiting->returned = true;
		return amqp_side_judge(reply, "a message that came back", why);
	}
	const char *name = amqp_method_name(frame.payload.method.id);
	snprintf(why, ENGINE_WHY_SIZE, "messages are refused: %s", name ? name : "?");
	return -EIO;
}

static int publish(struct amqp_writer *writer, const struct amqp_sending *sending, size_t index,
                   char why[static ENGINE_WHY_SIZE])
{
	const struct engine_packet *packet = &sending->packets[index];
	int status = amqp_basic_publish(
	    writer->side.amqp, AMQP_CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(sending->queue), 1, 0,
	    sending->properties_of(sending->context, index), (amqp_bytes_t){ packet->size, (void *)packet->data });
	if (status)
		return amqp_side_failed(status, "a message cannot be sent", why);
	writer->sent++;
	return 0;
}

/* What came back is confirmed as well: then nothing of it counts. */
int amqp_writer_append(struct amqp_writer *writer, const struct amqp_sending *sending, char why[static ENGINE_WHY_SIZE])
{
	struct engine_packet *packets = sending->packets;
	struct waiting waiting = { .packets = packets, .count = sending->count, .before = writer->sent };
	const uint64_t until = now_ms() + ENGINE_WAIT_MS;
	int code = writer->side.amqp ? 0 : -ENOTCONN;
	for (size_t i = 0; i < sending->count; i++)
		packets[i].appended = packets[i].handed = false;
	for (size_t i = 0; i < sending->count && !code; i++)
		code = publish(writer, sending, i, why);
	while (!code && waiting.told < sending->count) {
		const uint64_t now = now_ms();
		code = hear(&writer->side, &waiting, until > now ? until - now : 0, why);
	}
	for (size_t i = 0; i < sending->count && waiting.returned; i++)
		packets[i].appended = false;
	if (!code && waiting.returned)
		return snprintf(why, ENGINE_WHY_SIZE, "the queue %s is gone", sending->queue), -ENOENT;
	if (!code && waiting.refused)
		return snprintf(why, ENGINE_WHY_SIZE, "the queue %s is full", sending->queue), -ENOSPC;
	if (code)
		amqp_side_leave(&writer->side);
	return code;
}

int amqp_writer_enter(struct amqp_writer *writer, const struct backplane_url *url, char why[static ENGINE_WHY_SIZE])
{
	if (writer->side.amqp)
		return 0;
	int code = amqp_side_enter(&writer->side, url, 0, why);
	if (code)
		return code;
	writer->sent = 0;
	amqp_confirm_select(writer->side.amqp, AMQP_CHANNEL);
	code = amqp_side_judge(amqp_get_rpc_reply(writer->side.amqp), "confirms", why);
	if (code)
		amqp_side_leave(&writer->side);
	return code;
}
#endif
