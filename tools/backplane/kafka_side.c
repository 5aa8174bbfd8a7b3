/* SPDX-License-Identifier: MIT
 *
 * kafka_side.c - see kafka_side.h.
 */
#include "built.h"
#ifdef BACKPLANE_KAFKA

#include "kafka_side.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define PORT_DEFAULT 9092
#define SLICE_MS 100

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void kafka_side_leave(struct kafka_side *side)
{
	if (side->topic)
		rd_kafka_topic_destroy(side->topic);
	if (side->kafka)
		rd_kafka_destroy(side->kafka);
	side->topic = NULL, side->kafka = NULL;
}

/* What the library says begins with the broker's address, and where in its code it was; what can be done about it is
 * known by words in it. */
static void note_reason(struct kafka_side *side, int code, const char *reason)
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
	struct kafka_side *side = context;
	(void)kafka;
	note_reason(side, code, reason);
	if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__FATAL)
		side->away = true;
}

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *context)
{
	struct kafka_side *side = context;
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
static void say_why(const struct kafka_side *side, const char *what, rd_kafka_resp_err_t error,
                    char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%.60s: %s", what, *side->said ? side->said : rd_kafka_err2str(error));
}

/* What the library says of a setting that is a topic's is no failure. */
static bool choose(rd_kafka_conf_t *conf, const struct kafka_choice *choices, char why[static ENGINE_WHY_SIZE])
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

static bool choose_all(rd_kafka_conf_t *conf, const struct backplane_url *url, const struct kafka_choice *more,
                       char why[static ENGINE_WHY_SIZE])
{
	unsigned long tls = strcmp(url->scheme, "kafka+tls") == 0;
	char addresses[2 * BACKPLANE_URL_SIZE];
	backplane_url_number(url, "tls", 0, 1, &tls);
	tls = tls || backplane_url_value(url, "ca", NULL) || backplane_url_value(url, "cert", NULL);
	write_addresses(url, addresses, sizeof addresses);
	const struct kafka_choice choices[] = {
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

int kafka_side_enter(struct kafka_side *side, const struct backplane_url *url, const char *topic, rd_kafka_type_t type,
                     const struct kafka_choice *more, char why[static ENGINE_WHY_SIZE])
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	side->away = false, *side->said = 0;
	rd_kafka_conf_set_opaque(conf, side);
	rd_kafka_conf_set_error_cb(conf, on_error);
	if (type == RD_KAFKA_PRODUCER)
		rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	if (choose_all(conf, url, more, why))
		side->kafka = rd_kafka_new(type, conf, why, ENGINE_WHY_SIZE);
	if (!side->kafka) /* else the handle has it */
		return rd_kafka_conf_destroy(conf), -EINVAL;
	side->topic = rd_kafka_topic_new(side->kafka, topic, NULL);
	return side->topic ? 0 : -ENOMEM;
}

int kafka_side_is_there(struct kafka_side *side, const char *name, char why[static ENGINE_WHY_SIZE])
{
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t error = rd_kafka_metadata(side->kafka, 0, side->topic, &metadata, KAFKA_CALL_MS);
	if (!error)
		error = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (!error && !metadata->topics[0].partition_cnt)
		error = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
	if (metadata)
		rd_kafka_metadata_destroy(metadata);
	if (!error)
		return 0;
	rd_kafka_poll(side->kafka, 0);
	say_why(side, name, error, why);
	return error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? -ENOENT : -ECONNRESET;
}

/* ---- writing ---- */

int kafka_side_produce(struct kafka_side *side, const struct backplane_url *url, const char *topic,
                       char why[static ENGINE_WHY_SIZE])
{
	static const struct kafka_choice producer[] = { { "acks", "all" },
		                                        { "enable.idempotence", "true" },
		                                        { "linger.ms", "0" },
		                                        { "message.timeout.ms", "4000" },
		                                        { "message.max.bytes", "100000000" },
		                                        { "compression.type", "none" },
		                                        { NULL, NULL } };
	if (side->kafka && !side->away)
		return 0;
	kafka_side_leave(side);
	int code = kafka_side_enter(side, url, topic, RD_KAFKA_PRODUCER, producer, why);
	if (code)
		kafka_side_leave(side);
	return code;
}

static int judge(const char *topic, rd_kafka_resp_err_t error, char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", topic, rd_kafka_err2str(error));
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

static rd_kafka_resp_err_t send_packet(const struct kafka_side *side, const struct engine_packet *packet, uintptr_t tag)
{
	return rd_kafka_produce(side->topic, 0, RD_KAFKA_MSG_F_COPY, (void *)packet->data, packet->size, NULL, 0,
	                        (void *)tag)
	           ? rd_kafka_last_error()
	           : 0;
}

/* What a user sent goes to one partition, in its order. */
static rd_kafka_resp_err_t send_job(const struct kafka_side *side, const struct engine_job *job, uintptr_t tag)
{
	char time[24];
	snprintf(time, sizeof time, "%" PRIu64, job->time_ms);
	return rd_kafka_producev(side->kafka, RD_KAFKA_V_RKT(side->topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
	                         RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(job->user, job->user_size),
	                         RD_KAFKA_V_VALUE((void *)job->data, job->size),
	                         RD_KAFKA_V_HEADER("user", job->user, (ssize_t)job->user_size),
	                         RD_KAFKA_V_HEADER("id", job->id, (ssize_t)job->id_size),
	                         RD_KAFKA_V_HEADER("time", time, (ssize_t)strlen(time)), RD_KAFKA_V_OPAQUE((void *)tag),
	                         RD_KAFKA_V_END);
}

/* With its headers, and its key as one of them. */
static rd_kafka_resp_err_t send_moved(const struct kafka_side *side, const rd_kafka_message_t *moved, uintptr_t tag)
{
	rd_kafka_headers_t *headers = NULL, *copy = NULL;
	char key[320];
	const int size = snprintf(key, sizeof key, KAFKA_MOVED "%s:%" PRId32 ":%" PRId64,
	                          rd_kafka_topic_name(moved->rkt), moved->partition, moved->offset);
	copy = rd_kafka_message_headers(moved, &headers) ? rd_kafka_headers_new(1) : rd_kafka_headers_copy(headers);
	if (moved->key)
		rd_kafka_header_add(copy, "key", -1, moved->key, (ssize_t)moved->key_len);
	rd_kafka_resp_err_t error = rd_kafka_producev(
	    side->kafka, RD_KAFKA_V_RKT(side->topic), RD_KAFKA_V_PARTITION(0), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
	    RD_KAFKA_V_KEY(key, (size_t)size), RD_KAFKA_V_VALUE(moved->payload, moved->len), RD_KAFKA_V_HEADERS(copy),
	    RD_KAFKA_V_OPAQUE((void *)tag), RD_KAFKA_V_END);
	if (error)
		rd_kafka_headers_destroy(copy);
	return error;
}

/* What is not told in time may still be sent: the handle goes, and with it what it holds. */
int kafka_side_append(struct kafka_side *side, const char *topic, const struct kafka_sending *sending,
                      char why[static ENGINE_WHY_SIZE])
{
	const uint64_t until = now_ms() + ENGINE_WAIT_MS;
	struct engine_packet *packets = sending->packets;
	const size_t count = sending->count;
	size_t sent = 0;
	if (!side->kafka)
		return snprintf(why, ENGINE_WHY_SIZE, "there is no connection"), -ENOTCONN;
	side->first_tag += side->count;
	side->packets = packets, side->count = count, side->told = 0, side->wrong = 0;
	for (; sent < count && !side->wrong; sent++) {
		const uintptr_t tag = side->first_tag + sent;
		packets[sent].appended = false;
		side->wrong = sending->jobs    ? send_job(side, &sending->jobs[sent], tag)
		              : sending->moved ? send_moved(side, sending->moved[sent], tag)
		                               : send_packet(side, &packets[sent], tag);
	}
	/* The one that was refused will not be told of. */
	const size_t told_max = side->wrong ? sent - 1 : sent;
	while (side->told < told_max && now_ms() < until && !side->away)
		rd_kafka_poll(side->kafka, SLICE_MS);
	if (side->told == count && !side->wrong)
		return 0;
	int code = side->wrong ? judge(topic, side->wrong, why)
	                       : (snprintf(why, ENGINE_WHY_SIZE, "no answer to a message"), -ETIMEDOUT);
	side->packets = NULL, side->count = 0;
	rd_kafka_purge(side->kafka, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	kafka_side_leave(side);
	return code;
}

void kafka_side_make_topic(struct kafka_side *side, const struct backplane_url *url, const char *name, int partitions,
                           const char *keep_bytes)
{
	rd_kafka_t *kafka = side->kafka;
	unsigned long replicas = 0;
	char wrong[ENGINE_WHY_SIZE];
	backplane_url_number(url, "replicas", 1, 32, &replicas);
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, replicas ? (int)replicas : -1, wrong,
	                                                   sizeof wrong);
	rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(kafka, RD_KAFKA_ADMIN_OP_CREATETOPICS);
	rd_kafka_queue_t *answers = rd_kafka_queue_new(kafka);
	if (topic && keep_bytes)
		rd_kafka_NewTopic_set_config(topic, "retention.bytes", keep_bytes);
	if (topic) {
		rd_kafka_AdminOptions_set_request_timeout(options, KAFKA_CALL_MS, wrong, sizeof wrong);
		rd_kafka_CreateTopics(kafka, &topic, 1, options, answers);
		rd_kafka_event_t *event = rd_kafka_queue_poll(answers, KAFKA_CALL_MS);
		if (event)
			rd_kafka_event_destroy(event);
		rd_kafka_NewTopic_destroy(topic);
	}
	rd_kafka_queue_destroy(answers);
	rd_kafka_AdminOptions_destroy(options);
}

#endif
