/* SPDX-License-Identifier: MIT
 *
 * redis_in.c - streams of others in Redis: what they have is moved into the nodes' stream by a script, which is one
 * step, and remembers how far it came. So any number of nodes may run it, each entry arrives once, and in its order. A
 * stream is read from where it was when it was first named. It must not know what an entry holds.
 */
#include "redis_link.h"

#ifdef BACKPLANE_REDIS

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT "64"          /* entries that are moved in one step */
#define FIELDS_MAX "64"     /* names and values of an entry, and */
#define ENTRY_MAX "1000000" /* bytes: of one that has more nothing but its source is moved, so that it is counted */
#define LATE_MS 2000
#define TEXT_SIZE 256

/* Returns how far the source was moved, and how many entries that were; nothing while there is no stream of nodes. */
static const char script[] =
    "local newest=redis.call('XREVRANGE',KEYS[1],'+','-','COUNT',1)[1] if not newest then return nil end "
    "local at=redis.call('HGET',KEYS[2],KEYS[3]) "
    "if not at then at='0-0' local info=redis.pcall('XINFO','STREAM',KEYS[3]) "
    "if info.err then if not string.find(info.err,'no such key') then return info end "
    "else for i=1,#info,2 do if info[i]=='last-generated-id' then at=info[i+1] end end end "
    "redis.call('HSET',KEYS[2],KEYS[3],at) end "
    "local entries=redis.pcall('XRANGE',KEYS[3],'('..at,'+','COUNT'," COUNT ") if entries.err then return entries end "
    "local epoch=string.match(newest[1],'%d+') "
    "for _,entry in ipairs(entries) do local fields,size=entry[2],0 "
    "for _,text in ipairs(fields) do size=size+#text end "
    "if #fields>" FIELDS_MAX " or size>" ENTRY_MAX " then fields={} end "
    "redis.call('XADD',KEYS[1],'MAXLEN','~',ARGV[1],epoch..'-*','from',KEYS[3],unpack(fields)) at=entry[1] end "
    "if #entries>0 then redis.call('HSET',KEYS[2],KEYS[3],at) end return {at,#entries}";

struct in {
	const struct backplane_map *map;
	struct redis_where where;
	SSL_CTX *tls;
	struct redis_link link;
	char stream[128], sources[128], keep[24];
	char names[MAP_RULES_MAX][TEXT_SIZE], at[MAP_RULES_MAX][48];
};

static void close_state(void *state)
{
	struct in *in = state;
	redis_link_close(&in->link);
	SSL_CTX_free(in->tls);
	free(in);
}

static void *open_state(const struct engine_setup *setup)
{
	char why[ENGINE_WHY_SIZE];
	struct in *in = calloc(1, sizeof *in);
	if (!in)
		return NULL;
	in->map = setup->map;
	in->link.fd = -1;
	snprintf(in->stream, sizeof in->stream, "%.100s:stream", setup->prefix);
	snprintf(in->sources, sizeof in->sources, "%.100s:sources", setup->prefix);
	snprintf(in->keep, sizeof in->keep, "%lu", setup->keep_max);
	for (unsigned i = 0; i < in->map->count; i++)
		snprintf(in->names[i], TEXT_SIZE, "%.*s", (int)in->map->rules[i].source_size, in->map->rules[i].source);
	if (redis_where_read(&in->where, setup->url, why) ||
	    (in->where.tls && !(in->tls = redis_tls_new(&in->where, why)))) {
		free(in);
		return NULL;
	}
	return in;
}

/* A source that is no stream keeps none of the others; any other error is of a server that is not the right one. */
static int fail(struct in *in, const char *name, const redisReply *reply, char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "%.40s: Redis says: %.120s", name, reply->str ? reply->str : "?");
	if (reply->str && strstr(reply->str, "WRONGTYPE"))
		return -EINVAL;
	redis_link_close(&in->link);
	return -EPROTO;
}

/* Moves one step of a source. Returns how many entries, or an error; -EAGAIN: there is no stream of nodes. */
static int move_one(struct in *in, unsigned index, char why[static ENGINE_WHY_SIZE])
{
	const struct redis_word words[] = { REDIS_WORD("EVAL"),      redis_text(script),
		                            REDIS_WORD("3"),         redis_text(in->stream),
		                            redis_text(in->sources), redis_text(in->names[index]),
		                            redis_text(in->keep) };
	int code;
	redisReply *reply = redis_link_ask(&in->link, words, 7, &code, why);
	if (!reply)
		return code;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str) {
		snprintf(in->at[index], sizeof in->at[index], "%.47s", reply->element[0]->str);
		code = (int)reply->element[1]->integer;
	} else if (reply->type == REDIS_REPLY_NIL) {
		snprintf(why, ENGINE_WHY_SIZE, "the nodes have no stream yet");
		code = -EAGAIN;
	} else {
		code = fail(in, in->names[index], reply, why);
	}
	freeReplyObject(reply);
	return code;
}

/* Until one of them has something new. */
static int wait_for_more(struct in *in, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE])
{
	struct redis_word words[6 + 2 * MAP_RULES_MAX] = { REDIS_WORD("XREAD"), REDIS_WORD("COUNT"), REDIS_WORD("1"),
		                                           REDIS_WORD("BLOCK") };
	const unsigned count = in->map->count;
	char block[16];
	snprintf(block, sizeof block, "%u", timeout_ms);
	words[4] = redis_text(block);
	words[5] = REDIS_WORD("STREAMS");
	for (unsigned i = 0; i < count; i++) {
		words[6 + i] = redis_text(in->names[i]);
		words[6 + count + i] = redis_text(in->at[i]);
	}
	int code = redis_link_put(&in->link, words, 6 + 2 * count);
	if (!code)
		code = redis_link_flush(&in->link, why);
	redisReply *reply;
	if (!code)
		code = redis_link_reply(&in->link, &reply, timeout_ms + LATE_MS, -1, why);
	if (code) {
		redis_link_close(&in->link);
		return code;
	}
	code = reply->type == REDIS_REPLY_ERROR ? fail(in, "XREAD", reply, why) : 0;
	freeReplyObject(reply);
	return code;
}

static int move(void *state, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE])
{
	struct in *in = state;
	int code = 0, moved = 0, wrong = 0;
	if (in->link.fd < 0)
		code = redis_link_open(&in->link, &in->where, in->tls, why);
	for (unsigned i = 0; i < in->map->count && !code; i++) {
		int count = move_one(in, i, why);
		wrong = count == -EINVAL ? count : wrong;
		code = count < 0 && count != -EINVAL ? count : 0;
		moved += count > 0;
	}
	code = code ? code : wrong;
	return code || moved ? code : wait_for_more(in, timeout_ms, why);
}

static bool is_source(const char *source, size_t size)
{
	return size < TEXT_SIZE && !memchr(source, '*', size) && !memchr(source, '#', size) &&
	       !memchr(source, '>', size);
}

const struct engine_in engine_redis_in = {
	.words = "a source of Redis is the name of a stream, without * # >",
	.is_source = is_source,
	.open = open_state,
	.close = close_state,
	.move = move,
};
#endif
