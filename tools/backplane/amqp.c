/* SPDX-License-Identifier: MIT
 *
 * amqp.c - RabbitMQ as an engine: a *stream* queue PREFIX.packets over AMQP 0.9.1. A packet's place is its offset
 * and 1. It must not know what a packet holds, nor nodes.
 *
 * Three things that this protocol does not say are found out here:
 *   - where the stream ends: the last chunk is read once, until nothing more of it comes. Who has a packet that seems
 * to lie behind the end waits longer before he believes it.
 *   - that the queue is gone: RabbitMQ confirms what reaches no queue, unless it is published as mandatory; and a
 * reader that hears nothing asks now and then.
 *   - that it was made anew: its offsets begin again, which is found by reading again.
 */
#include "built.h"
#ifdef BACKPLANE_AMQP

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "amqp_side.h"
#include "amqp_writer.h"
#include "engine.h"
#include "plain.h"

#define TYPE "application/x-ringcast"
#define QUEUE_SIZE 128
#define HEARTBEAT_S 5
#define PREFETCH 2000
#define SLICE_MS 100
#define SILENCE_MS 900 /* after which the queue is looked at */
#define READ_MAX 4096  /* packets that one read hands over */
/* How long the last chunk may take to go on: when all is as expected, at a start, when packets seem to be lost, and
 * before it has begun: a server that has just come up, or is busy, takes its time, and what it has must not seem to be
 * gone. */
#define END_MS 25
#define END_START_MS 100
#define END_LOST_MS 2000
#define END_EMPTY_MS 4000
#define KEEP_DEFAULT 1073741824ul /* bytes */
#define SEGMENT_MAX 268435456ul   /* of these files a stream consists: the oldest is dropped as a whole */

struct state {
	struct engine_setup setup;
	char queue[QUEUE_SIZE];
	struct amqp_side reader, asker;
	struct amqp_writer writer;
	bool exists;       /* as the last follow found it */
	uint64_t last_tag; /* read, and not acknowledged yet */
	unsigned unacknowledged;
	uint64_t heard_ms;
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct timeval time_of(uint64_t ms)
{
	return (struct timeval){ .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
}

static const char *version(void)
{
	return amqp_version();
}

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const known[] = { "prefix", "keep", "keep-bytes", "plain", "ca", "cert", "key", NULL };
	const char *stranger = backplane_url_unknown(url, known);
	unsigned long number;
	if (stranger)
		snprintf(wrong, ENGINE_WHY_SIZE, "%s: RabbitMQ takes prefix, keep-bytes, plain, ca, cert, key",
		         stranger);
	else if (backplane_url_value(url, "keep", NULL))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep: RabbitMQ counts what a stream keeps in bytes: ?keep-bytes=");
	else if (!backplane_url_number(url, "keep-bytes", 1 << 20, ~0ul >> 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep-bytes is a number of bytes from 1048576 on");
	else if (strlen(backplane_url_value(url, "prefix", "")) > QUEUE_SIZE - 32)
		snprintf(wrong, ENGINE_WHY_SIZE, "prefix: RabbitMQ's names are shorter");
	else if (amqp_side_check(url, wrong))
		return 0;
	return -EINVAL;
}

static void *open_state(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = calloc(1, sizeof *state);
	if (!state)
		return snprintf(why, ENGINE_WHY_SIZE, "no memory"), NULL;
	state->setup = *setup;
	snprintf(state->queue, sizeof state->queue, "%s.packets", setup->prefix);
	return state;
}

static void close_state(void *context)
{
	struct state *state = context;
	amqp_side_leave(&state->reader);
	amqp_side_leave(&state->asker);
	amqp_side_leave(&state->writer.side);
	free(state);
}

/* ---- where the stream ends ---- */

/* Begins to read, at an offset or with the last chunk. */
static int consume(struct amqp_side *side, const char *queue, const uint64_t *offset, char why[static ENGINE_WHY_SIZE])
{
	amqp_table_entry_t from = { .key = amqp_cstring_bytes("x-stream-offset") };
	const amqp_table_t arguments = { 1, &from };
	if (offset) {
		from.value.kind = AMQP_FIELD_KIND_I64;
		from.value.value.i64 = (int64_t)*offset;
	} else {
		from.value.kind = AMQP_FIELD_KIND_UTF8;
		from.value.value.bytes = amqp_cstring_bytes("last");
	}
	amqp_basic_qos(side->amqp, AMQP_CHANNEL, 0, PREFETCH, 0);
	int code = amqp_side_judge(amqp_get_rpc_reply(side->amqp), queue, why);
	if (code)
		return code;
	amqp_basic_consume(side->amqp, AMQP_CHANNEL, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, arguments);
	return amqp_side_judge(amqp_get_rpc_reply(side->amqp), queue, why);
}

/* The place of a packet; 0: it has none. */
static uint64_t sequence_of(const amqp_basic_properties_t *properties)
{
	for (int i = 0; i < properties->headers.num_entries; i++) {
		const amqp_table_entry_t *entry = &properties->headers.entries[i];
		if (entry->key.len == 15 && memcmp(entry->key.bytes, "x-stream-offset", 15) == 0 &&
		    entry->value.kind == AMQP_FIELD_KIND_I64)
			return (uint64_t)entry->value.value.i64 + 1;
	}
	return 0;
}

/* Whether the queue exists: 0, -ENOENT, or an error. The question costs the channel when it does not. */
static int ask(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	int code = amqp_side_enter(&state->asker, state->setup.url, 0, why);
	if (code)
		return code;
	amqp_queue_declare(state->asker.amqp, AMQP_CHANNEL, amqp_cstring_bytes(state->queue), 1, 1, 0, 0,
	                   amqp_empty_table);
	code = amqp_side_judge(amqp_get_rpc_reply(state->asker.amqp), state->queue, why);
	if (code)
		amqp_side_leave(&state->asker);
	return code;
}

/* Exchanges of others, which are there already: what their keys match comes into the queue too. */
static int bind_others(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_map *map = state->setup.map;
	int code = map->count ? amqp_side_enter(&state->asker, state->setup.url, 0, why) : 0;
	for (unsigned i = 0; i < map->count && !code; i++) {
		const struct map_rule *rule = &map->rules[i];
		const char *slash = memchr(rule->source, '/', rule->source_size);
		const amqp_bytes_t exchange = { (size_t)(slash - rule->source), (void *)rule->source };
		const amqp_bytes_t key = { rule->source_size - exchange.len - 1, (void *)(slash + 1) };
		amqp_queue_bind(state->asker.amqp, AMQP_CHANNEL, amqp_cstring_bytes(state->queue), exchange, key,
		                amqp_empty_table);
		code = amqp_side_judge(amqp_get_rpc_reply(state->asker.amqp), "backplane-map", why);
	}
	if (code)
		amqp_side_leave(&state->asker);
	return code == -ENOENT ? -EIO : code; /* the exchange is missing, and not the queue */
}

/* The exchange that programs without us publish to: a stream's queue is bound to it. */
static int declare_plain(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	static const char *const keys[] = { "topic.#", "room.#", "user.#", "all" };
	const amqp_bytes_t exchange = amqp_cstring_bytes(state->setup.prefix);
	if (!plain_is_on(state->setup.url))
		return bind_others(state, why);
	int code = amqp_side_enter(&state->asker, state->setup.url, 0, why);
	if (code)
		return code;
	amqp_exchange_declare(state->asker.amqp, AMQP_CHANNEL, exchange, amqp_cstring_bytes("topic"), 0, 1, 0, 0,
	                      amqp_empty_table);
	code = amqp_side_judge(amqp_get_rpc_reply(state->asker.amqp), state->setup.prefix, why);
	for (size_t i = 0; i < sizeof keys / sizeof *keys && !code; i++) {
		amqp_queue_bind(state->asker.amqp, AMQP_CHANNEL, amqp_cstring_bytes(state->queue), exchange,
		                amqp_cstring_bytes(keys[i]), amqp_empty_table);
		code = amqp_side_judge(amqp_get_rpc_reply(state->asker.amqp), state->setup.prefix, why);
	}
	if (code)
		amqp_side_leave(&state->asker);
	return code ? code : bind_others(state, why);
}

/* Reads the last chunk on a connection of its own, so that nothing of it is taken for what was asked for after it. */
static int find_end(struct state *state, uint64_t at, uint64_t *newest, char why[static ENGINE_WHY_SIZE])
{
	struct amqp_side side = { .host = state->reader.host };
	unsigned unacknowledged = 0;
	*newest = 0;
	int code = ask(state, why);
	if (!code)
		code = amqp_side_enter(&side, state->setup.url, 0, why);
	if (!code)
		code = consume(&side, state->queue, NULL, why);
	uint64_t heard = now_ms();
	while (!code) {
		amqp_envelope_t envelope;
		const uint64_t limit = !*newest       ? END_EMPTY_MS
		                       : *newest < at ? END_LOST_MS
		                       : at           ? END_MS
		                                      : END_START_MS;
		const uint64_t now = now_ms();
		const struct timeval left = time_of(heard + limit > now ? heard + limit - now : 0);
		amqp_maybe_release_buffers(side.amqp);
		amqp_rpc_reply_t reply = amqp_consume_message(side.amqp, &envelope, &left, 0);
		if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
			if (reply.library_error != AMQP_STATUS_TIMEOUT)
				code = amqp_side_judge(reply, state->queue, why);
			break;
		}
		heard = now_ms();
		*newest = sequence_of(&envelope.message.properties);
		if (++unacknowledged == PREFETCH / 2) {
			amqp_basic_ack(side.amqp, AMQP_CHANNEL, envelope.delivery_tag, 1);
			unacknowledged = 0;
		}
		amqp_destroy_envelope(&envelope);
	}
	amqp_side_leave(&side);
	return code;
}

/* ---- following ---- */

static int stand(struct state *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	uint64_t last = 0, at = place->at.sequence;
	int code = find_end(state, at, &last, why);
	state->exists = code != -ENOENT;
	state->heard_ms = now_ms();
	place->newest = (struct engine_position){ 0, last };
	if (code && code != -ENOENT)
		return code;
	code = state->exists ? declare_plain(state, why) : 0;
	if (!code)
		code = amqp_side_enter(&state->reader, state->setup.url, HEARTBEAT_S, why);
	if (code || !state->exists)
		return code;
	if (!at)
		at = last > place->tail_max ? last - place->tail_max + 1 : 1;
	/* Behind the end RabbitMQ would wait until the stream has come so far. */
	uint64_t offset = at > last ? last : at - 1;
	return consume(&state->reader, state->queue, &offset, why);
}

static int follow(void *context, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	amqp_side_leave(&state->reader);
	state->unacknowledged = 0;
	int code = stand(state, place, why);
	if (code)
		amqp_side_leave(&state->reader);
	return code;
}

/* ---- reading ---- */

/* Tells the server that there is room for more. */
static void acknowledge(struct state *state)
{
	if (state->unacknowledged)
		amqp_basic_ack(state->reader.amqp, AMQP_CHANNEL, state->last_tag, 1);
	state->unacknowledged = 0;
}

/* Nothing came for a while: is the queue still there, or there now? */
static int look(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	if (now_ms() - state->heard_ms < SILENCE_MS)
		return 0;
	int code = ask(state, why);
	state->heard_ms = now_ms();
	if (code && code != -ENOENT)
		return code;
	if (!code != state->exists)
		return snprintf(why, ENGINE_WHY_SIZE, "the queue %s %s", state->queue,
		                code ? "is gone" : "was made anew"),
		       -ENOENT;
	return 0;
}

/* Something came that is no message: the end of the consumer, of the channel or of the connection. */
static int hear_end(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	amqp_frame_t frame;
	int status = amqp_simple_wait_frame(state->reader.amqp, &frame);
	if (status)
		return amqp_side_failed(status, state->queue, why);
	if (frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_CANCEL_METHOD)
		return snprintf(why, ENGINE_WHY_SIZE, "the queue %s is gone", state->queue), -ENOENT;
	if (frame.frame_type != AMQP_FRAME_METHOD)
		return 0;
	return snprintf(why, ENGINE_WHY_SIZE, "%s: the server ended it", state->queue), -ECONNRESET;
}

/* Packets come by the nameless exchange, and plain records by one that is bound to the queue. */
static bool is_packet(const struct state *state, const amqp_envelope_t *envelope)
{
	return envelope->routing_key.len == strlen(state->queue) &&
	       memcmp(envelope->routing_key.bytes, state->queue, envelope->routing_key.len) == 0;
}

/* A header by its name, if it is text. */
static const char *header_of(const void *context, const char *name, size_t name_size, size_t *size)
{
	const amqp_basic_properties_t *properties = context;
	for (int i = 0; i < properties->headers.num_entries; i++) {
		const amqp_table_entry_t *entry = &properties->headers.entries[i];
		if (entry->key.len == name_size && memcmp(entry->key.bytes, name, name_size) == 0 &&
		    entry->value.kind == AMQP_FIELD_KIND_UTF8) {
			*size = entry->value.value.bytes.len;
			return entry->value.value.bytes.bytes;
		}
	}
	return NULL;
}

static bool is_own(const struct state *state, const amqp_bytes_t *exchange)
{
	return exchange->len == strlen(state->setup.prefix) &&
	       memcmp(exchange->bytes, state->setup.prefix, exchange->len) == 0;
}

/* Routing key topic.NAME and its like, where the name is all that is left; its key in a header. Or what another
 * exchange carries; one that an operator bound to ours is told by its key alone, as if it came by ours. */
static void take_plain(const struct state *state, const amqp_envelope_t *envelope, uint64_t sequence, engine_take *take,
                       void *taker)
{
	const amqp_basic_properties_t *properties = &envelope->message.properties;
	const struct engine_position position = { 0, sequence };
	struct plain_record record = { .data = envelope->message.body.bytes, .size = envelope->message.body.len };
	char to[600];
	record.key = header_of(properties, "ringcast-key", 12, &record.key_size);
	if (state->setup.map->count && !is_own(state, &envelope->exchange)) {
		const int size = snprintf(to, sizeof to, "%.*s/%.*s", (int)envelope->exchange.len,
		                          (const char *)envelope->exchange.bytes, (int)envelope->routing_key.len,
		                          (const char *)envelope->routing_key.bytes);
		const struct plain_foreign foreign = {
			.source = to, .source_size = (size_t)size, .field = header_of, .context = properties
		};
		if (map_has(state->setup.map, to, (size_t)size)) {
			plain_take_foreign(state->setup.map, take, taker, position, &foreign, &record);
			return;
		}
	}
	record.to = to;
	record.to_size = envelope->routing_key.len < sizeof to ? envelope->routing_key.len : sizeof to;
	memcpy(to, envelope->routing_key.bytes, record.to_size);
	char *dot = memchr(to, '.', record.to_size);
	if (dot)
		*dot = '/';
	plain_take(state->setup.url, take, taker, position, &record);
}

/* Waits for one message. Returns 1, 0 when the time is over, or an error. */
static int take_one(struct state *state, uint64_t wait_ms, engine_take *take, void *taker,
                    char why[static ENGINE_WHY_SIZE])
{
	const struct timeval limit = time_of(wait_ms);
	amqp_envelope_t envelope;
	amqp_maybe_release_buffers(state->reader.amqp);
	amqp_rpc_reply_t reply = amqp_consume_message(state->reader.amqp, &envelope, &limit, 0);
	if (reply.reply_type != AMQP_RESPONSE_NORMAL) {
		if (reply.library_error == AMQP_STATUS_TIMEOUT)
			return 0;
		return reply.library_error == AMQP_STATUS_UNEXPECTED_STATE ? hear_end(state, why)
		                                                           : amqp_side_judge(reply, state->queue, why);
	}
	uint64_t sequence = sequence_of(&envelope.message.properties);
	state->heard_ms = now_ms();
	state->last_tag = envelope.delivery_tag;
	if (sequence && is_packet(state, &envelope))
		take(taker, (struct engine_position){ 0, sequence }, envelope.message.body.bytes,
		     envelope.message.body.len);
	else if (sequence)
		take_plain(state, &envelope, sequence, take, taker);
	amqp_destroy_envelope(&envelope);
	if (++state->unacknowledged == PREFETCH / 4)
		acknowledge(state);
	return 1;
}

static int read_packets(void *context, unsigned timeout_ms, engine_take *take, void *taker,
                        char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	const uint64_t until = now_ms() + timeout_ms;
	int taken = 0, code = state->reader.amqp ? 0 : -ENOTCONN;
	while (!code && taken < READ_MAX) {
		const uint64_t now = now_ms();
		const uint64_t left = taken || now >= until ? 0 : until - now;
		code = take_one(state, left < SLICE_MS ? left : SLICE_MS, take, taker, why);
		if (code > 0) {
			taken++, code = 0;
			continue;
		}
		if (!code && !taken)
			code = engine_woken(state->setup.wake_fd) ? -EINTR : look(state, why);
		if (!left)
			break;
	}
	if (code < 0 && code != -EINTR && code != -ENOENT)
		amqp_side_leave(&state->reader);
	return code ? code : taken;
}

/* ---- appending ---- */

static const amqp_basic_properties_t *properties_of(const void *context, size_t index)
{
	static const amqp_basic_properties_t properties = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG,
		.content_type = { sizeof TYPE - 1, (void *)TYPE },
	};
	(void)context, (void)index;
	return &properties;
}

static int append_by(const struct state *state, struct amqp_writer *writer, struct engine_packet *packets, size_t count,
                     char why[static ENGINE_WHY_SIZE])
{
	const struct amqp_sending sending = {
		.queue = state->queue, .packets = packets, .count = count, .properties_of = properties_of
	};
	return amqp_writer_append(writer, &sending, why);
}

static int enter_writer(void *context, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return amqp_writer_enter(&state->writer, state->setup.url, why);
}

static int append(void *context, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return append_by(state, &state->writer, packets, count, why);
}

/* ---- beginning ---- */

/* One that exists and was made with other limits stays as it is. */
static int declare(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	unsigned long keep = KEEP_DEFAULT;
	backplane_url_number(state->setup.url, "keep-bytes", 0, ~0ul, &keep);
	const unsigned long segment = keep / 4 < SEGMENT_MAX ? keep / 4 : SEGMENT_MAX;
	amqp_table_entry_t entries[] = {
		{ amqp_cstring_bytes("x-queue-type"),
		  { .kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("stream") } },
		{ amqp_cstring_bytes("x-max-length-bytes"),
		  { .kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)keep } },
		{ amqp_cstring_bytes("x-stream-max-segment-size-bytes"),
		  { .kind = AMQP_FIELD_KIND_I64, .value.i64 = (int64_t)segment } },
	};
	int code = amqp_side_enter(&state->asker, state->setup.url, 0, why);
	if (code)
		return code;
	amqp_queue_declare(state->asker.amqp, AMQP_CHANNEL, amqp_cstring_bytes(state->queue), 0, 1, 0, 0,
	                   (amqp_table_t){ 3, entries });
	code = amqp_side_judge(amqp_get_rpc_reply(state->asker.amqp), state->queue, why);
	if (code)
		amqp_side_leave(&state->asker);
	return code == -EBUSY ? 0 : code;
}

/* On a connection of its own: the reader's is the reader's, and the writer's another thread's. */
static int begin(void *context, const struct engine_packet *packet, struct engine_position newest,
                 char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	struct amqp_writer writer = { .side.host = state->reader.host };
	struct engine_packet one = *packet;
	(void)newest; /* there is no way to say that it must be the one before */
	int code = declare(state, why);
	if (!code)
		code = declare_plain(state, why);
	if (!code)
		code = amqp_writer_enter(&writer, state->setup.url, why);
	if (!code)
		code = append_by(state, &writer, &one, 1, why);
	amqp_side_leave(&writer.side);
	if (code)
		amqp_side_leave(&state->reader);
	return code;
}

/* An exchange, and the key with which the queue is bound to it. */
static bool is_source(const char *source, size_t size)
{
	const char *slash = memchr(source, '/', size), *end = source + size;
	unsigned any = 0;
	/* Each one more multiplies what a long key costs. */
	for (const char *at = source; (at = memchr(at, '#', (size_t)(end - at))); at++)
		any++;
	return any < 3 && slash && slash > source && slash - source < 256 && size - (size_t)(slash - source) <= 256 &&
	       !memchr(source, '>', size);
}

/* The broker brings them into the queue. */
static const struct engine_in in = {
	.words = "a source of RabbitMQ is EXCHANGE/KEY, with # twice at most: shop/order.*.created, or shop/#",
	.slash = true,
	.is_source = is_source,
};

const struct engine engine_amqp = {
	.name = "amqp",
	.schemes = (const char *const[]){ "amqp", "amqps", NULL },
	.version = version,
	.check = check,
	.open = open_state,
	.close = close_state,
	.follow = follow,
	.read = read_packets,
	.begin = begin,
	.connect = enter_writer,
	.append = append,
	.out = &engine_amqp_out,
	.in = &in,
};
#endif
