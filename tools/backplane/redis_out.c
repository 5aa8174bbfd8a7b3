/* SPDX-License-Identifier: MIT
 *
 * redis_out.c - Redis' queue for services: a stream whose entries have the fields user, id, time and data. It keeps as
 * many as the nodes' own stream does (?keep=); what was worked on is acknowledged to a group of readers, and stays
 * until then or until it is deleted. It must not know nodes.
 */
#include "redis_link.h"

#ifdef BACKPLANE_REDIS

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct out {
	struct redis_where where;
	SSL_CTX *tls;
	struct redis_link link;
	const char *queue;
	char keep[24];
};

static void close_state(void *state)
{
	struct out *out = state;
	redis_link_close(&out->link);
	SSL_CTX_free(out->tls);
	free(out);
}

static void *open_state(const struct engine_setup *setup, const char *queue)
{
	char why[ENGINE_WHY_SIZE];
	struct out *out = calloc(1, sizeof *out);
	if (!out)
		return NULL;
	out->queue = queue;
	out->link.fd = -1;
	snprintf(out->keep, sizeof out->keep, "%lu", setup->keep_max);
	if (redis_where_read(&out->where, setup->url, why) ||
	    (out->where.tls && !(out->tls = redis_tls_new(&out->where, why)))) {
		free(out);
		return NULL;
	}
	return out;
}

static int put_job(struct out *out, const struct engine_job *job)
{
	char time[24];
	snprintf(time, sizeof time, "%" PRIu64, job->time_ms);
	const struct redis_word words[] = {
		REDIS_WORD("XADD"),    redis_text(out->queue),    REDIS_WORD("MAXLEN"), REDIS_WORD("~"),
		redis_text(out->keep), REDIS_WORD("*"),           REDIS_WORD("user"),   { job->user, job->user_size },
		REDIS_WORD("id"),      { job->id, job->id_size }, REDIS_WORD("time"),   redis_text(time),
		REDIS_WORD("data"),    { job->data, job->size }
	};
	return redis_link_put(&out->link, words, sizeof words / sizeof *words);
}

/* A server without room for more is still the right one. */
static int judge(const redisReply *reply, char why[static ENGINE_WHY_SIZE])
{
	if (reply->type == REDIS_REPLY_STRING)
		return 0;
	snprintf(why, ENGINE_WHY_SIZE, "Redis says: %.150s", reply->str ? reply->str : "?");
	return reply->str && strncmp(reply->str, "OOM", 3) == 0 ? -ENOSPC : -EPROTO;
}

static int hand_out(void *state, struct engine_job *jobs, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct out *out = state;
	int code = 0, worst = 0;
	if (out->link.fd < 0)
		code = redis_link_open(&out->link, &out->where, out->tls, why);
	for (size_t i = 0; i < count && !code; i++)
		code = put_job(out, &jobs[i]);
	if (!code && count)
		code = redis_link_flush(&out->link, why);
	for (size_t i = 0; i < count && !code; i++) {
		redisReply *reply;
		code = redis_link_reply(&out->link, &reply, ENGINE_WAIT_MS, -1, why);
		if (code == -ETIMEDOUT)
			snprintf(why, ENGINE_WHY_SIZE, "the server does not answer");
		if (code)
			break;
		int verdict = judge(reply, why);
		jobs[i].appended = !verdict;
		if (verdict && worst != -EPROTO)
			worst = verdict;
		freeReplyObject(reply);
	}
	/* Most other errors (READONLY, LOADING, NOAUTH) mean that this is not the right server, or not yet. */
	if (code || worst == -EPROTO)
		redis_link_close(&out->link);
	return code ? code : worst;
}

const struct engine_out engine_redis_out = {
	.signs = "._-:/",
	.open = open_state,
	.close = close_state,
	.hand_out = hand_out,
};
#endif
