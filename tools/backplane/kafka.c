/* SPDX-License-Identifier: MIT
 *
 * kafka.c - Kafka as an engine: partition 0 of the topic PREFIX.packets. A packet's place is its offset and 1. It must
 * not know what a packet holds, nor nodes.
 *
 * The library mends its connections itself, and reads on by itself: so an offset that is not there, a topic that is
 * gone and brokers that are all away are what it has to tell. Then the consumer is made anew, at the place that the
 * node says. The producer is idempotent: packets keep their order also when the library sends some of them again.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "plain.h"

#define NAME_SIZE 128
#define PORT_DEFAULT 9092
#define CALL_MS 2000
#define SLICE_MS 100
#define SILENCE_MS 900 /* after which the topic is looked at */
#define READ_MAX 1024  /* packets that one read hands over */
#define PARTITION 0

/* One side: a handle of the library, and the topic at it. */
struct side {
	rd_kafka_t *kafka; /* null: none */
	rd_kafka_topic_t *topic;
	bool away;      /* no broker answers */
	char said[128]; /* by the library: why it is not let in; empty: it did not say */
	/* Of one that appends: what it waits for. The library tells by tag. */
	struct engine_packet *packets;
	size_t count, told;
	uintptr_t first_tag;
	rd_kafka_resp_err_t wrong;
};

struct state {
	struct engine_setup setup;
	char name[NAME_SIZE];
	struct side reader, writer;
	bool exists;  /* as the last follow found it */
	int64_t next; /* the offset to read */
	uint64_t heard_ms;
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *version(void)
{
	return rd_kafka_version_str();
}

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const known[] = { "prefix", "keep", "keep-bytes", "plain", "replicas", "tls",
		                             "ca",     "cert", "key",        "sasl",  NULL };
	static const char *const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *stranger = backplane_url_unknown(url, known), *prefix = backplane_url_value(url, "prefix", "");
	const char *sasl = backplane_url_value(url, "sasl", "PLAIN");
	unsigned long number;
	if (stranger)
		snprintf(wrong, ENGINE_WHY_SIZE,
		         "%s: Kafka takes prefix, keep-bytes, plain, replicas, tls, ca, cert, key, sasl", stranger);
	else if (*url->path)
		snprintf(wrong, ENGINE_WHY_SIZE, "/%.100s: Kafka takes no path; the topic is ?prefix=NAME", url->path);
	else if (prefix[strspn(prefix, letters)] || strlen(prefix) > NAME_SIZE - 16)
		snprintf(wrong, ENGINE_WHY_SIZE, "prefix=%.100s: Kafka names a topic with letters, digits and . _ -",
		         prefix);
	else if (backplane_url_value(url, "keep", NULL))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep: Kafka counts what a topic keeps in bytes: ?keep-bytes=");
	else if (!backplane_url_number(url, "keep-bytes", 1 << 20, ~0ul >> 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "keep-bytes is a number of bytes from 1048576 on");
	else if (!backplane_url_number(url, "replicas", 1, 32, &number) ||
	         !backplane_url_number(url, "tls", 0, 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "replicas is 1 to 32, and tls is 0 or 1");
	else if (strcmp(sasl, "PLAIN") != 0 && strcmp(sasl, "SCRAM-SHA-256") != 0 && strcmp(sasl, "SCRAM-SHA-512") != 0)
		snprintf(wrong, ENGINE_WHY_SIZE, "sasl is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
	else
		return 0;
	return -EINVAL;
}

static void *open_state(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = calloc(1, sizeof *state);
	if (!state)
		return snprintf(why, ENGINE_WHY_SIZE, "no memory"), NULL;
	state->setup = *setup;
	snprintf(state->name, sizeof state->name, "%s.packets", setup->prefix);
	return state;
}

/* ---- handles of the library ---- */

static void leave(struct side *side)
{
	if (side->topic)
		rd_kafka_topic_destroy(side->topic);
	if (side->kafka)
		rd_kafka_destroy(side->kafka);
	side->topic = NULL, side->kafka = NULL;
}

static void close_state(void *context)
{
	struct state *state = context;
	leave(&state->reader);
	leave(&state->writer);
	free(state);
}

/* What the library says begins with the broker's address, and where in its code it was; what can be done about it is
 * known by words in it. */
static void note_reason(struct side *side, int code, const char *reason)
{
	static const struct {
		const char *words, *remedy;
	} known[] = {
		{ "certificate required", "it wants ?cert=FILE&key=FILE" },
		{ "security.protocol", "it may want kafka+tls://, or USER:PASSWORD@ and ?sasl=" },
		{ "SSL_HANDSHAKE", "?ca=FILE names its authority; without TLS it is kafka://" },
		{ "SASL", "kafka://USER:PASSWORD@HOST?sasl= lets us in" },
	};
	const bool tells = code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
	const char *words = strstr(reason, ": "), *place = strstr(reason, "::"), *remedy = "";
	if (!tells && (code != RD_KAFKA_RESP_ERR__TRANSPORT || *side->said))
		return;
	for (size_t i = sizeof known / sizeof *known; i-- > 0;)
		remedy = strstr(reason, known[i].words) ? known[i].remedy : remedy;
	words = place ? place + 2 : words ? words + 2 : reason;
	size_t size = strcspn(words, "(:");
	while (size && words[size - 1] == ' ')
		size--;
	snprintf(side->said, sizeof side->said, "%.*s%s%s", (int)size, words, *remedy ? "; " : "", remedy);
}

/* Both are called from within the library's calls, by the side's own thread. */
static void on_error(rd_kafka_t *kafka, int code, const char *reason, void *context)
{
	struct side *side = context;
	(void)kafka;
	note_reason(side, code, reason);
	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__FATAL)
		side->away = true;
}

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *context)
{
	struct side *side = context;
	const uintptr_t tag = (uintptr_t)message->_private;
	(void)kafka;
	if (tag < side->first_tag || tag - side->first_tag >= side->count)
		return;
	side->told++;
	if (message->err && !side->wrong)
		side->wrong = message->err;
	side->packets[tag - side->first_tag].appended = !message->err;
}

/* What is wrong at all, and why, where the library said so. */
static void say_why(const struct side *side, const char *what, rd_kafka_resp_err_t error,
                    char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%.60s: %s", what, *side->said ? side->said : rd_kafka_err2str(error));
}

struct choice {
	const char *name, *value;
};

/* What the library says of a setting that is a topic's is no failure. */
static bool choose(rd_kafka_conf_t *conf, const struct choice *choices, char why[static ENGINE_WHY_SIZE])
{
	char said[ENGINE_WHY_SIZE];
	for (; choices->name; choices++)
		if (choices->value && rd_kafka_conf_set(conf, choices->name, choices->value, said, sizeof said))
			return snprintf(why, ENGINE_WHY_SIZE, "%s", said), false;
	return true;
}

static void write_addresses(const struct backplane_url *url, char *text, size_t size)
{
	size_t used = 0;
	*text = '\0';
	for (unsigned i = 0; i < url->host_count && used < size; i++) {
		const bool v6 = strchr(url->hosts[i].name, ':');
		used += (size_t)snprintf(text + used, size - used, "%s%s%s%s:%u", i ? "," : "", v6 ? "[" : "",
		                         url->hosts[i].name, v6 ? "]" : "",
		                         url->hosts[i].port ? url->hosts[i].port : PORT_DEFAULT);
	}
}

static bool choose_all(rd_kafka_conf_t *conf, const struct state *state, const struct choice *more,
                       char why[static ENGINE_WHY_SIZE])
{
	const struct backplane_url *url = state->setup.url;
	unsigned long tls = strcmp(url->scheme, "kafka+tls") == 0;
	char addresses[2 * BACKPLANE_URL_SIZE];
	backplane_url_number(url, "tls", 0, 1, &tls);
	tls = tls || backplane_url_value(url, "ca", NULL) || backplane_url_value(url, "cert", NULL);
	write_addresses(url, addresses, sizeof addresses);
	const struct choice choices[] = {
		{ "bootstrap.servers", addresses },
		{ "client.id", "ringcast" },
		{ "log_level", "0" }, /* what matters is told by errors */
		{ "reconnect.backoff.ms", "20" },
		{ "reconnect.backoff.max.ms", "500" },
		{ "socket.nagle.disable", "true" },
		{ "security.protocol", tls         ? url->user ? "sasl_ssl" : "ssl"
		                       : url->user ? "sasl_plaintext"
		                                   : NULL },
		{ "ssl.ca.location", backplane_url_value(url, "ca", NULL) },
		{ "ssl.certificate.location", backplane_url_value(url, "cert", NULL) },
		{ "ssl.key.location", backplane_url_value(url, "key", NULL) },
		{ "sasl.mechanism", url->user ? backplane_url_value(url, "sasl", "PLAIN") : NULL },
		{ "sasl.username", url->user },
		{ "sasl.password", url->user ? url->password : NULL },
		{ NULL, NULL },
	};
	return choose(conf, choices, why) && choose(conf, more, why);
}

static int enter(const struct state *state, struct side *side, rd_kafka_type_t type, const struct choice *more,
                 char why[static ENGINE_WHY_SIZE])
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	side->away = false, *side->said = 0;
	rd_kafka_conf_set_opaque(conf, side);
	rd_kafka_conf_set_error_cb(conf, on_error);
	if (type == RD_KAFKA_PRODUCER)
		rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	if (choose_all(conf, state, more, why))
		side->kafka = rd_kafka_new(type, conf, why, ENGINE_WHY_SIZE);
	if (!side->kafka) /* else the handle has it */
		return rd_kafka_conf_destroy(conf), -EINVAL;
	side->topic = rd_kafka_topic_new(side->kafka, state->name, NULL);
	return side->topic ? 0 : -ENOMEM;
}

/* ---- following ---- */

/* Asks a broker about the topic: 0, -ENOENT, or an error. */
static int look(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t error = rd_kafka_metadata(state->reader.kafka, 0, state->reader.topic, &metadata, CALL_MS);
	if (!error)
		error = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!error && !metadata->topics[0].partition_cnt)
		error = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (!error)
		return 0;
	rd_kafka_poll(state->reader.kafka, 0);
	say_why(&state->reader, state->name, error, why);
	return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? -ENOENT : -ECONNRESET;
}

static int stand(struct state *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	static const struct choice consumer[] = { { "fetch.wait.max.ms", "200" },
		                                  { "fetch.error.backoff.ms", "20" },
		                                  { "auto.offset.reset", "error" },
		                                  { "queued.max.messages.kbytes", "16384" },
		                                  { NULL, NULL } };
	int64_t low = 0, high = 0;
	int code = enter(state, &state->reader, RD_KAFKA_CONSUMER, consumer, why);
	if (!code)
		code = look(state, why);
	state->exists = code == 0;
	state->heard_ms = now_ms();
	place->newest = (struct engine_position){ 0, 0 };
	if (code)
		return code == -ENOENT ? 0 : code;
	rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(state->reader.kafka, state->name, PARTITION, &low,
	                                                             &high, CALL_MS);
	if (error)
		return snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_err2str(error)), -ECONNRESET;
	place->newest.sequence = (uint64_t)high;
	place->spent = low >= high;
	int64_t tail = high - (int64_t)place->tail_max, at = (int64_t)place->at.sequence - 1;
	int64_t from = at >= 0 ? at : tail;
	state->next = from < low ? low : from > high ? high : from;
	if (rd_kafka_consume_start(state->reader.topic, PARTITION, state->next) == 0)
		return 0;
	return snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_err2str(rd_kafka_last_error())), -EIO;
}

static void leave_reader(struct state *state)
{
	if (state->reader.topic && state->exists)
		rd_kafka_consume_stop(state->reader.topic, PARTITION);
	leave(&state->reader);
}

static int follow(void *context, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	leave_reader(state);
	int code = stand(state, place, why);
	if (code)
		state->exists = false, leave_reader(state);
	return code;
}

/* ---- reading ---- */

/* Nothing came for a while: is there a topic now, or none any more, or less of it than was read? */
static int look_for_end(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	int64_t low = 0, high = 0;
	if (state->reader.away)
		return snprintf(why, ENGINE_WHY_SIZE, "no broker answers"), -ECONNRESET;
	if (now_ms() - state->heard_ms < SILENCE_MS)
		return 0;
	int code = look(state, why);
	state->heard_ms = now_ms();
	if (code && code != -ENOENT)
		return code;
	if (!code != state->exists)
		return snprintf(why, ENGINE_WHY_SIZE, "the topic %s %s", state->name,
		                code ? "is gone" : "was made anew"),
		       -ENOENT;
	if (state->exists &&
	    !rd_kafka_query_watermark_offsets(state->reader.kafka, state->name, PARTITION, &low, &high, CALL_MS) &&
	    high < state->next)
		return snprintf(why, ENGINE_WHY_SIZE, "the topic %s has begun again", state->name), -ENOENT;
	return 0;
}

static int take_one(struct state *state, const rd_kafka_message_t *message, engine_take *take, void *taker,
                    char why[static ENGINE_WHY_SIZE])
{
	state->heard_ms = now_ms();
	if (!message->err) {
		state->next = message->offset + 1;
		const struct engine_position position = { 0, (uint64_t)message->offset + 1 };
		/* Packets have no key; that of a plain record says where it is for. */
		const struct plain_record record = { .to = message->key,
			                             .to_size = message->key_len,
			                             .data = message->payload ? message->payload : "",
			                             .size = message->len };
		if (message->key)
			plain_take(state->setup.url, take, taker, position, &record);
		else
			take(taker, position, message->payload, message->len);
		return 1;
	}
	if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
		return 0;
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_message_errstr(message));
	switch ((int)message->err) {
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
	case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
	case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
		return -ENOENT;
	default:
		return -ECONNRESET;
	}
}

/* The first message within the time. Without a topic, its time alone. */
static rd_kafka_message_t *wait_for_one(struct state *state, uint64_t wait_ms)
{
	if (state->exists)
		return rd_kafka_consume(state->reader.topic, PARTITION, (int)wait_ms);
	rd_kafka_poll(state->reader.kafka, (int)wait_ms);
	return NULL;
}

static int read_packets(void *context, unsigned timeout_ms, engine_take *take, void *taker,
                        char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	const uint64_t until = now_ms() + timeout_ms;
	int taken = 0, code = state->reader.kafka ? 0 : -ENOTCONN;
	while (!code && taken < READ_MAX) {
		const uint64_t now = now_ms(), left = taken || now >= until ? 0 : until - now;
		rd_kafka_message_t *message = wait_for_one(state, left < SLICE_MS ? left : SLICE_MS);
		if (message) {
			code = take_one(state, message, take, taker, why);
			rd_kafka_message_destroy(message);
			taken += code > 0;
			code = code < 0 ? code : 0;
			continue;
		}
		if (!taken) {
			rd_kafka_poll(state->reader.kafka, 0);
			code = engine_woken(state->setup.wake_fd) ? -EINTR : look_for_end(state, why);
		}
		if (!left)
			break;
	}
	if (code < 0 && code != -EINTR && code != -ENOENT)
		leave_reader(state);
	return code ? code : taken;
}

/* ---- appending ---- */

static int enter_producer(const struct state *state, struct side *side, char why[static ENGINE_WHY_SIZE])
{
	static const struct choice producer[] = { { "acks", "all" },
		                                  { "enable.idempotence", "true" },
		                                  { "linger.ms", "0" },
		                                  { "message.timeout.ms", "4000" },
		                                  { "message.max.bytes", "100000000" },
		                                  { "compression.type", "none" },
		                                  { NULL, NULL } };
	if (side->kafka && !side->away)
		return 0;
	leave(side);
	int code = enter(state, side, RD_KAFKA_PRODUCER, producer, why);
	if (code)
		leave(side);
	return code;
}

static int judge(const struct state *state, rd_kafka_resp_err_t error, char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", state->name, rd_kafka_err2str(error));
	switch ((int)error) {
	case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
	case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
	case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		return -ENOENT;
	case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
		return -EMSGSIZE;
	default:
		return -EIO;
	}
}

/* What is not told in time may still be sent: the handle goes, and with it what it holds. */
static int append_by(const struct state *state, struct side *side, struct engine_packet *packets, size_t count,
                     char why[static ENGINE_WHY_SIZE])
{
	const uint64_t until = now_ms() + ENGINE_WAIT_MS;
	size_t sent = 0;
	if (!side->kafka)
		return snprintf(why, ENGINE_WHY_SIZE, "there is no connection"), -ENOTCONN;
	side->first_tag += side->count;
	side->packets = packets, side->count = count, side->told = 0, side->wrong = 0;
	for (; sent < count && !side->wrong; sent++) {
		packets[sent].appended = false;
		if (rd_kafka_produce(side->topic, PARTITION, RD_KAFKA_MSG_F_COPY, (void *)packets[sent].data,
		                     packets[sent].size, NULL, 0, (void *)(side->first_tag + sent)))
			side->wrong = rd_kafka_last_error();
	}
	/* The one that was refused will not be told of. */
	const size_t told_max = side->wrong ? sent - 1 : sent;
	while (side->told < told_max && now_ms() < until && !side->away)
		rd_kafka_poll(side->kafka, SLICE_MS);
	if (side->told == count && !side->wrong)
		return 0;
	int code = side->wrong ? judge(state, side->wrong, why)
	                       : (snprintf(why, ENGINE_WHY_SIZE, "no answer to a packet"), -ETIMEDOUT);
	side->packets = NULL, side->count = 0;
	rd_kafka_purge(side->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	leave(side);
	return code;
}

static int enter_writer(void *context, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return enter_producer(state, &state->writer, why);
}

static int append(void *context, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return append_by(state, &state->writer, packets, count, why);
}

/* ---- beginning ---- */

/* Asks for the topic. What is wrong with that is not looked at: where a broker makes topics by itself, or a person
 * does, appending says whether there is one. */
static void make_topic(const struct state *state, rd_kafka_t *kafka)
{
	const struct backplane_url *url = state->setup.url;
	const char *keep = backplane_url_value(url, "keep-bytes", NULL);
	unsigned long replicas = 0;
	char wrong[ENGINE_WHY_SIZE];
	backplane_url_number(url, "replicas", 1, 32, &replicas);
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(state->name, 1, replicas ? (int)replicas : -1, wrong,
	                                                   sizeof wrong);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_queue_t *answers = rd_kafka_queue_new(kafka);
	if (topic && keep)
		rd_kafka_NewTopic_set_config(topic, "retention.bytes", keep);
	if (topic) {
		rd_kafka_AdminOptions_set_request_timeout(options, CALL_MS, wrong, sizeof wrong);
		rd_kafka_CreateTopics(kafka, &topic, 1, options, answers);
		rd_kafka_event_t *event = rd_kafka_queue_poll(answers, CALL_MS);
		if (event)
			rd_kafka_event_destroy(event);
		rd_kafka_NewTopic_destroy(topic);
	}
	rd_kafka_queue_destroy(answers);
	rd_kafka_AdminOptions_destroy(options);
}

/* By a producer of its own: the writer's is another thread's. */
static int begin(void *context, const struct engine_packet *packet, struct engine_position newest,
                 char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	struct side side = { 0 };
	struct engine_packet one = *packet;
	(void)newest; /* there is no way to say that it must be the one before */
	int code = enter_producer(state, &side, why);
	if (!code && !state->exists)
		make_topic(state, side.kafka);
	if (!code)
		code = append_by(state, &side, &one, 1, why);
	leave(&side);
	if (code)
		leave_reader(state);
	return code;
}

const struct engine engine_kafka = {
	.name = "kafka",
	.schemes = (const char *const[]){ "kafka", "kafka+tls", NULL },
	.version = version,
	.check = check,
	.open = open_state,
	.close = close_state,
	.follow = follow,
	.read = read_packets,
	.begin = begin,
	.connect = enter_writer,
	.append = append,
};
#endif
