/* SPDX-License-Identifier: MIT
 *
 * nats_out.c - JetStream's queue for services: a subject, and a stream of its own that drops what was worked on and
 * refuses more than it may hold; or a stream of somebody else that takes this subject. A message's body is the data;
 * user, id and time are headers, and the server drops what it was given twice. It must not know nodes.
 */
#include "built.h"
#ifdef BACKPLANE_NATS

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_side.h"

#define QUEUE_SIZE 256
#define VALUE_SIZE 512 /* of a header: a user and an id */

struct out {
	const struct backplane_url *url;
	const char *queue;
	char stream[QUEUE_SIZE];
	unsigned long keep;
	struct nats_side side;
	uint64_t tag;
};

static void *open_state(const struct engine_setup *setup, const char *queue)
{
	struct out *out = calloc(1, sizeof *out);
	if (!out)
		return NULL;
	out->url = setup->url;
	out->queue = queue;
	out->keep = setup->keep_max;
	out->side.is_writer = true;
	snprintf(out->stream, sizeof out->stream, "%s", queue);
	for (char *at = out->stream; (at = strchr(at, '.'));)
		*at = '-';
	return out;
}

static void close_state(void *state)
{
	struct out *out = state;
	nats_side_leave(&out->side);
	free(out);
}

/* Makes the stream, unless there is one of this name, or another one that takes this subject. */
static int make_stream(struct out *out, char why[static ENGINE_WHY_SIZE])
{
	const char *subjects[] = { out->queue };
	unsigned long replicas = 1;
	jsStreamConfig config;
	jsErrCode code = 0;
	backplane_url_number(out->url, "replicas", 1, 5, &replicas);
	jsStreamConfig_Init(&config);
	config.Name = out->stream;
	config.Subjects = subjects;
	config.SubjectsLen = 1;
	config.Retention = js_WorkQueuePolicy;
	config.Discard = js_DiscardNew;
	config.MaxMsgs = (int64_t)out->keep;
	config.Replicas = (int64_t)replicas;
	natsStatus status = js_AddStream(NULL, out->side.stream, &config, NULL, &code);
	if (!status || code == JSStreamNameExistErr || code == JSStreamSubjectOverlapErr)
		return 0;
	return nats_failed_at(why, out->stream, status, code);
}

static int enter(struct out *out, char why[static ENGINE_WHY_SIZE])
{
	bool connected = out->side.nats && !natsConnection_IsClosed(out->side.nats);
	int code = nats_side_enter(&out->side, out->url, why);
	if (!code && !connected && (code = make_stream(out, why)))
		nats_side_leave(&out->side);
	return code;
}

static natsStatus set(natsMsg *message, const char *header, const char *text, size_t size)
{
	char value[VALUE_SIZE];
	snprintf(value, sizeof value, "%.*s", (int)size, text);
	return natsMsgHeader_Set(message, header, value);
}

/* Publishes one, to be answered to the inbox under the next tag. */
static natsStatus publish(struct out *out, const struct engine_job *job)
{
	char reply[NATS_NAME_SIZE + 24], time[24], known[VALUE_SIZE];
	natsMsg *message = NULL;
	snprintf(reply, sizeof reply, "%s.%llu", out->side.subject, (unsigned long long)out->tag);
	snprintf(time, sizeof time, "%" PRIu64, job->time_ms);
	/* With the size, no two of a user and an id read the same. */
	snprintf(known, sizeof known, "%zu/%.*s/%.*s", job->user_size, (int)job->user_size, job->user,
	         (int)job->id_size, job->id);
	natsStatus status = natsMsg_Create(&message, out->queue, reply, job->data, (int)job->size);
	if (!status)
		status = set(message, "Ringcast-User", job->user, job->user_size);
	if (!status)
		status = set(message, "Ringcast-Id", job->id, job->id_size);
	if (!status)
		status = set(message, "Ringcast-Time", time, strlen(time));
	if (!status)
		status = set(message, "Nats-Msg-Id", known, strlen(known));
	if (!status)
		status = natsConnection_PublishMsg(out->side.nats, message);
	natsMsg_Destroy(message);
	out->tag += !status;
	return status;
}

static int hand_out(void *state, struct engine_job *jobs, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct out *out = state;
	struct engine_packet packets[ENGINE_JOBS_MAX] = { 0 };
	const uint64_t first = out->tag;
	natsStatus status = NATS_OK;
	size_t sent = 0;
	int code = enter(out, why);
	if (code || !count)
		return code;
	while (sent < count && !status) {
		status = publish(out, &jobs[sent]);
		sent += !status;
	}
	code = sent ? nats_side_await(&out->side, first, packets, sent, why) : 0;
	for (size_t i = 0; i < sent; i++)
		jobs[i].appended = packets[i].appended;
	if (!code && status == NATS_MAX_PAYLOAD)
		return -EMSGSIZE;
	if (!code && status)
		code = nats_failed(why, "a message cannot be sent", status);
	if (code == -EIO)
		return -ENOSPC;
	if (code)
		nats_side_leave(&out->side);
	return code;
}

const struct engine_out engine_nats_out = {
	.signs = "._-",
	.open = open_state,
	.close = close_state,
	.hand_out = hand_out,
};
#endif
