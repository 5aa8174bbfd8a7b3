/* SPDX-License-Identifier: MIT
 *
 * nats.c - NATS JetStream as an engine: the stream PREFIX with the subject PREFIX.packets, where a packet's place is
 * its sequence. It must not know what a packet holds, nor nodes.
 *
 * Reading is by an ephemeral push consumer. The library's ordered one would hide that its stream was deleted,
 * and repair by itself what the node is to hear of; so the consumer's numbers are looked at here, and whatever is odd
 * ends in a new follow. The server's heartbeats tell both that the connection is alive and that the stream is.
 *
 * Invariant: a connection that was lost is not mended by the library (it would send again what it had not sent): it is
 * closed, and the node calls again.
 */
#include "built.h"
#ifdef BACKPLANE_NATS

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "nats_side.h"
#include "plain.h"

#define SUBJECT_SIZE 256
#define HEARTBEAT_MS 300
#define SILENCE_MS 800 /* without a heartbeat: the stream is looked at */
#define SLICE_MS 100
#define READ_MAX 4096 /* packets that one read hands over */

struct state {
	struct engine_setup setup;
	char name[NATS_NAME_SIZE], subject[NATS_NAME_SIZE]; /* of the stream */
	struct nats_side reader, writer;
	int64_t created;   /* when the stream began, by the server's clock; 0: there is none */
	uint64_t consumed; /* packets that the consumer has sent */
	uint64_t heard_ms; /* of the consumer */
	uint64_t tag;      /* of the next packet to append: the inbox's last word */
};

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- what can be wrong ---- */

static const char *version(void)
{
	return nats_GetVersion();
}

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	static const char *const known[] = { "prefix", "keep", "plain", "tls",      "ca",
		                             "cert",   "key",  "creds", "replicas", NULL };
	const char *prefix = backplane_url_value(url, "prefix", ""), *stranger = backplane_url_unknown(url, known);
	unsigned long number = 0;
	if (stranger)
		snprintf(wrong, ENGINE_WHY_SIZE,
		         "%s: NATS takes prefix, keep, plain, tls, ca, cert, key, creds, replicas", stranger);
	else if (*url->path)
		snprintf(wrong, ENGINE_WHY_SIZE, "/%s: NATS takes no path; the stream's name is ?prefix=NAME",
		         url->path);
	else if (strlen(prefix) > 64 || prefix[strcspn(prefix, ".*> \t/\\")])
		snprintf(wrong, ENGINE_WHY_SIZE,
		         "prefix=%s: NATS names a stream without . * > / \\ and spaces, in at most 64 bytes", prefix);
	else if (!backplane_url_number(url, "replicas", 1, 5, &number) ||
	         !backplane_url_number(url, "tls", 0, 1, &number))
		snprintf(wrong, ENGINE_WHY_SIZE, "replicas is 1 to 5, and tls is 0 or 1");
	else if (!backplane_url_value(url, "cert", NULL) != !backplane_url_value(url, "key", NULL))
		snprintf(wrong, ENGINE_WHY_SIZE, "cert and key are given together");
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
	state->writer.is_writer = true;
	snprintf(state->name, sizeof state->name, "%s", setup->prefix);
	snprintf(state->subject, sizeof state->subject, "%s.packets", setup->prefix);
	return state;
}

static void close_state(void *context)
{
	struct state *state = context;
	nats_side_leave(&state->reader);
	nats_side_leave(&state->writer);
	free(state);
}

/* ---- following ---- */

/* Asks the server about the stream. Returns 1, 0 (there is none), or an error. */
static int look(struct state *state, int64_t *created, uint64_t *last, bool *empty, char why[static ENGINE_WHY_SIZE])
{
	jsStreamInfo *info = NULL;
	jsErrCode code = 0;
	natsStatus status = js_GetStreamInfo(&info, state->reader.stream, state->name, NULL, &code);
	*created = 0, *last = 0, *empty = true;
	if (status == NATS_NOT_FOUND || code == JSStreamNotFoundErr)
		return 0;
	if (status)
		return nats_failed_at(why, state->name, status, code);
	*created = info->Created;
	*last = info->State.LastSeq;
	*empty = !info->State.Msgs;
	jsStreamInfo_Destroy(info);
	return 1;
}

static int consume(struct state *state, uint64_t from, char why[static ENGINE_WHY_SIZE])
{
	jsConsumerConfig config;
	jsErrCode code = 0;
	jsConsumerConfig_Init(&config);
	/* The server looks for somebody who subscribed to just this: a pattern would not do. */
	config.DeliverSubject = state->reader.subject;
	config.DeliverPolicy = js_DeliverByStartSequence;
	config.OptStartSeq = from;
	config.AckPolicy = js_AckNone;
	config.FlowControl = true;
	config.MaxDeliver = 1;
	config.MemoryStorage = true;
	config.Heartbeat = (int64_t)HEARTBEAT_MS * 1000000;
	state->consumed = 0;
	natsStatus status = js_AddConsumer(NULL, state->reader.stream, state->name, &config, NULL, &code);
	return status ? nats_failed_at(why, state->name, status, code) : 0;
}

/* The subjects of the stream: that of packets, those of plain records, and those of others that the map knows. */
struct subjects {
	const char *all[5 + MAP_RULES_MAX];
	int count;
	char texts[4 + MAP_RULES_MAX][SUBJECT_SIZE];
};

static void list_subjects(const struct state *state, struct subjects *subjects)
{
	static const char *const forms[] = { "%s.topic.>", "%s.room.>", "%s.user.>", "%s.all" };
	const struct backplane_map *map = state->setup.map;
	unsigned texts = 0;
	subjects->all[0] = state->subject;
	for (; plain_is_on(state->setup.url) && texts < 4; texts++)
		snprintf(subjects->texts[texts], SUBJECT_SIZE, forms[texts], state->setup.prefix);
	for (unsigned i = 0; i < map->count; i++, texts++)
		snprintf(subjects->texts[texts], SUBJECT_SIZE, "%.*s", (int)map->rules[i].source_size,
		         map->rules[i].source);
	for (unsigned i = 0; i < texts; i++)
		subjects->all[i + 1] = subjects->texts[i];
	subjects->count = (int)texts + 1;
}

/* Whether the stream takes more than packets. */
static bool takes_more(const struct state *state)
{
	return plain_is_on(state->setup.url) || state->setup.map->count;
}

/* Makes the stream, or has it take what others publish as well. */
static int make_stream(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	struct subjects subjects;
	unsigned long replicas = 1;
	jsStreamConfig config;
	jsErrCode code = 0;
	backplane_url_number(state->setup.url, "replicas", 1, 5, &replicas);
	list_subjects(state, &subjects);
	jsStreamConfig_Init(&config);
	config.Name = state->name;
	config.Subjects = subjects.all;
	config.SubjectsLen = subjects.count;
	config.MaxMsgs = (int64_t)state->setup.keep_max;
	config.Replicas = (int64_t)replicas;
	natsStatus status = js_AddStream(NULL, state->reader.stream, &config, NULL, &code);
	/* Another node made it, or somebody who wants it to be otherwise. */
	if (code == JSStreamNameExistErr && takes_more(state))
		status = js_UpdateStream(NULL, state->reader.stream, &config, NULL, &code);
	if (!status || code == JSStreamNameExistErr)
		return 0;
	int failed = nats_failed_at(why, state->name, status, code);
	if (code == JSStreamSubjectOverlapErr)
		snprintf(why, ENGINE_WHY_SIZE,
		         "%.60s: another stream takes a subject of --backplane-map, and no two may: leave one out",
		         state->name);
	return failed;
}

static int stand(struct state *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	uint64_t last = 0, at = place->at.sequence;
	int code = nats_side_enter(&state->reader, state->setup.url, why);
	int found = code ? code : look(state, &state->created, &last, &place->spent, why);
	if (found > 0 && takes_more(state) && (code = make_stream(state, why)))
		return code;
	state->heard_ms = now_ms();
	if (found < 0)
		return found;
	place->newest = (struct engine_position){ 0, last };
	if (!at)
		at = last > place->tail_max ? last - place->tail_max + 1 : 1;
	/* That the stream has less is told by `newest`. */
	return found ? consume(state, at > last + 1 ? last + 1 : at, why) : 0;
}

static int follow(void *context, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	/* A consumer of before ends by itself when nobody subscribes to where it sends. */
	if (state->reader.nats) {
		natsSubscription_Destroy(state->reader.inbox);
		state->reader.inbox = NULL;
		if (natsConnection_IsClosed(state->reader.nats) || nats_side_inbox(&state->reader))
			nats_side_leave(&state->reader);
	}
	int code = stand(state, place, why);
	if (code)
		nats_side_leave(&state->reader);
	return code;
}

/* ---- reading ---- */

/* The numbers in the subject for answers: $JS.ACK.[DOMAIN.ACCOUNT.]STREAM.CONSUMER.DELIVERED.SEQUENCE.CONSUMED.TIME.
 * PENDING[.MORE], as servers without and with domains write it. */
static bool numbers_of(const char *reply, uint64_t *sequence, uint64_t *consumed)
{
	const char *words[16];
	size_t count = 0;
	if (!reply || strncmp(reply, "$JS.ACK.", 8) != 0)
		return false;
	for (const char *word = reply; word && count < 16; count++) {
		words[count] = word;
		word = strchr(word, '.');
		word = word ? word + 1 : NULL;
	}
	if (count != 9 && count < 11)
		return false;
	size_t shift = count == 9 ? 0 : 2;
	*sequence = strtoull(words[5 + shift], NULL, 10);
	*consumed = strtoull(words[6 + shift], NULL, 10);
	return *sequence > 0;
}

/* The server wants to know that what it sent was taken, or says that it is there. */
static int answer(struct state *state, natsMsg *message, char why[static ENGINE_WHY_SIZE])
{
	const char *status = NULL, *text = NULL, *stalled = NULL, *count = NULL;
	const char *reply = natsMsg_GetReply(message);
	natsMsgHeader_Get(message, "Status", &status);
	if (!status || strcmp(status, "100") != 0) {
		natsMsgHeader_Get(message, "Description", &text);
		return snprintf(why, ENGINE_WHY_SIZE, "the stream's consumer: %s", text ? text : "it ended"), -EPIPE;
	}
	if (reply && *reply)
		return natsConnection_Publish(state->reader.nats, reply, NULL, 0) ? -ECONNRESET : 0;
	if (natsMsgHeader_Get(message, "Nats-Consumer-Stalled", &stalled) == NATS_OK && stalled)
		natsConnection_Publish(state->reader.nats, stalled, NULL, 0);
	if (natsMsgHeader_Get(message, "Nats-Last-Consumer", &count) == NATS_OK && count &&
	    strtoull(count, NULL, 10) != state->consumed)
		return snprintf(why, ENGINE_WHY_SIZE, "packets were lost on the way"), -EPIPE;
	return 0;
}

/* A header by its name. */
static const char *header_of(const void *context, const char *name, size_t name_size, size_t *size)
{
	char key[128];
	const char *value = NULL;
	snprintf(key, sizeof key, "%.*s", (int)name_size, name);
	natsMsgHeader_Get((natsMsg *)context, key, &value);
	*size = value ? strlen(value) : 0;
	return value;
}

/* PREFIX.topic.NAME and its like, where the name is all that is left; its key in a header. Or a subject of others. */
static void take_plain(const struct state *state, natsMsg *message, uint64_t sequence, engine_take *take, void *context)
{
	const char *subject = natsMsg_GetSubject(message), *key = NULL;
	const size_t prefix = strlen(state->setup.prefix);
	const struct engine_position position = { 0, sequence };
	char to[1024];
	natsMsgHeader_Get(message, "Ringcast-Key", &key);
	struct plain_record record = { .key = key,
		                       .key_size = key ? strlen(key) : 0,
		                       .data = natsMsg_GetData(message),
		                       .size = (size_t)natsMsg_GetDataLength(message) };
	if (strncmp(subject, state->setup.prefix, prefix) != 0 || subject[prefix] != '.') {
		const struct plain_foreign foreign = {
			.source = subject, .source_size = strlen(subject), .field = header_of, .context = message
		};
		plain_take_foreign(state->setup.map, take, context, position, &foreign, &record);
		return;
	}
	snprintf(to, sizeof to, "%s", subject + prefix + 1);
	char *dot = strchr(to, '.');
	if (dot)
		*dot = '/';
	record.to = to;
	record.to_size = strlen(to);
	plain_take(state->setup.url, take, context, position, &record);
}

/* Returns 1 when it was a packet, 0 when it was not, or an error. */
static int take_one(struct state *state, natsMsg *message, engine_take *take, void *context,
                    char why[static ENGINE_WHY_SIZE])
{
	uint64_t sequence, consumed;
	state->heard_ms = now_ms();
	if (!numbers_of(natsMsg_GetReply(message), &sequence, &consumed))
		return answer(state, message, why);
	if (consumed != state->consumed + 1)
		return snprintf(why, ENGINE_WHY_SIZE, "packets were lost on the way"), -EPIPE;
	state->consumed = consumed;
	if (!strcmp(natsMsg_GetSubject(message), state->subject))
		take(context, (struct engine_position){ 0, sequence }, natsMsg_GetData(message),
		     (size_t)natsMsg_GetDataLength(message));
	else
		take_plain(state, message, sequence, take, context);
	return 1;
}

/* After a while without a heartbeat: has the stream gone, or only its consumer? */
static int look_for_end(struct state *state, char why[static ENGINE_WHY_SIZE])
{
	int64_t created;
	uint64_t last;
	bool empty;
	if (now_ms() - state->heard_ms < SILENCE_MS)
		return 0;
	int found = look(state, &created, &last, &empty, why);
	if (found < 0)
		return found;
	state->heard_ms = now_ms();
	if (created != state->created)
		return snprintf(why, ENGINE_WHY_SIZE, "the stream %s %s", state->name,
		                found ? "was made anew" : "is gone"),
		       -ENOENT;
	if (found)
		return snprintf(why, ENGINE_WHY_SIZE, "no heartbeat of the stream's consumer"), -ETIMEDOUT;
	return 0; /* there was none, and there is none */
}

/* Waits for one message, in slices. Returns 1, 0 when the time is over, or an error. */
static int wait_for_one(struct state *state, unsigned timeout_ms, natsMsg **message, char why[static ENGINE_WHY_SIZE])
{
	const uint64_t until = now_ms() + timeout_ms;
	for (;;) {
		const uint64_t now = now_ms();
		const uint64_t left = until > now ? until - now : 0;
		natsStatus status = natsSubscription_NextMsg(message, state->reader.inbox,
		                                             (int64_t)(left < SLICE_MS ? left : SLICE_MS));
		if (!status)
			return 1;
		if (status != NATS_TIMEOUT)
			return nats_failed(why, "the connection is gone", status);
		if (engine_woken(state->setup.wake_fd))
			return -EINTR;
		int code = look_for_end(state, why);
		if (code || !left)
			return code;
	}
}

static int read_packets(void *context, unsigned timeout_ms, engine_take *take, void *taker,
                        char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	const uint64_t until = now_ms() + timeout_ms;
	natsMsg *message = NULL;
	int taken = 0, code = 0;
	if (!state->reader.inbox)
		return snprintf(why, ENGINE_WHY_SIZE, "there is no connection"), -ENOTCONN;
	code = look_for_end(state, why);
	while (taken < READ_MAX && !code) {
		const uint64_t now = now_ms();
		if (taken) {
			if (natsSubscription_NextMsg(&message, state->reader.inbox, 0))
				break;
		} else {
			code = wait_for_one(state, now < until ? (unsigned)(until - now) : 0, &message, why);
			if (code <= 0)
				break;
		}
		code = take_one(state, message, take, taker, why);
		natsMsg_Destroy(message);
		if (code > 0)
			taken++, code = 0;
	}
	/* What was taken is told first; what is wrong is found again by the next call, or by its follow. */
	if (taken)
		return taken;
	if (code < 0 && code != -EINTR && code != -ENOENT)
		nats_side_leave(&state->reader);
	return code;
}

/* ---- appending ---- */

static int enter_writer(void *context, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	return nats_side_enter(&state->writer, state->setup.url, why);
}

/* Sends a packet, to be answered to the inbox under the next tag. */
static natsStatus send_packet(struct state *state, const struct engine_packet *packet)
{
	char reply[NATS_NAME_SIZE + 24];
	snprintf(reply, sizeof reply, "%s.%llu", state->writer.subject, (unsigned long long)state->tag);
	return natsConnection_PublishRequest(state->writer.nats, state->subject, reply, packet->data,
	                                     (int)packet->size);
}

static int append(void *context, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	struct nats_side *side = &state->writer;
	const uint64_t first = state->tag;
	natsStatus status = NATS_OK;
	size_t sent = 0;
	if (!side->nats)
		return snprintf(why, ENGINE_WHY_SIZE, "there is no connection"), -ENOTCONN;
	for (; sent < count && !status; sent += !status, state->tag += !status)
		status = send_packet(state, &packets[sent]);
	int code = sent ? nats_side_await(side, first, packets, sent, why) : 0;
	if (status && !code && status == NATS_MAX_PAYLOAD) {
		snprintf(why, ENGINE_WHY_SIZE, "the server takes no more than %lld bytes: see its max_payload",
		         (long long)natsConnection_GetMaxPayload(side->nats));
		return -EMSGSIZE;
	}
	if (status && !code)
		code = nats_failed(why, "a packet cannot be sent", status);
	/* Nobody's absence is told for each packet, without saying for which: the next call is to hear none of it. */
	natsSubscription_Destroy(code ? side->inbox : NULL);
	if (code && (code != -ENOENT || nats_side_inbox(side)))
		side->inbox = NULL, nats_side_leave(side);
	return code;
}

static int begin(void *context, const struct engine_packet *packet, struct engine_position newest,
                 char why[static ENGINE_WHY_SIZE])
{
	struct state *state = context;
	char before[24];
	natsMsg *message = NULL;
	jsErrCode code = 0;
	int made = state->reader.nats ? make_stream(state, why) : -ENOTCONN;
	snprintf(before, sizeof before, "%llu", (unsigned long long)newest.sequence);
	natsStatus status = made ? NATS_ERR
	                         : natsMsg_Create(&message, state->subject, NULL, packet->data, (int)packet->size);
	if (!status)
		status = natsMsgHeader_Set(message, "Nats-Expected-Last-Sequence", before);
	if (!status)
		status = js_PublishMsg(NULL, state->reader.stream, message, NULL, &code);
	natsMsg_Destroy(message);
	if (!status || code == JSStreamWrongLastSequenceErr)
		return status ? -EEXIST : 0;
	if (!made)
		made = nats_failed_at(why, state->name, status, code);
	nats_side_leave(&state->reader);
	return made;
}

/* A subject, with * and > as whole words; not of the nodes themselves, which begin with the prefix. */
static bool is_source(const char *source, size_t size)
{
	char text[SUBJECT_SIZE];
	if (size >= sizeof text || memchr(source, '\0', size))
		return false;
	snprintf(text, sizeof text, "%.*s", (int)size, source);
	const char *end = strchr(text, '>');
	return !strpbrk(text, " \t\r\n#") && *text != '.' && *text != '$' && text[size - 1] != '.' &&
	       !strstr(text, "..") && (!end || (!end[1] && (end == text || end[-1] == '.')));
}

/* The stream takes them. */
static const struct engine_in in = {
	.words = "a source of NATS is a subject: orders.*.created, or orders.>",
	.is_source = is_source,
};

const struct engine engine_nats = {
	.name = "nats",
	.schemes = (const char *const[]){ "nats", "nats+tls", NULL },
	.version = version,
	.check = check,
	.open = open_state,
	.close = close_state,
	.follow = follow,
	.read = read_packets,
	.begin = begin,
	.connect = enter_writer,
	.append = append,
	.out = &engine_nats_out,
	.in = &in,
};
#endif
