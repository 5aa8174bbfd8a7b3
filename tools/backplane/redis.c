/* SPDX-License-Identifier: MIT
 *
 * redis.c - the engine Redis: a stream whose ids are (epoch, sequence). XADD with EPOCH-* numbers without a script, and
 * refuses an older epoch by itself; NOMKSTREAM says when the stream is gone. It needs Redis 7.0. Keys:
 *
 *      PREFIX:stream            packets, in the field p; and what others wrote (redis_plain.h)
 *      PREFIX:sources           how far streams of others were moved into it (redis_in.c)
 *      PREFIX:beginning         who makes the stream anew, for half a second
 *      PREFIX:nodes             nodes by the time when their lease ends, by Redis' own clock
 *      PREFIX:rooms:NODE        rooms in which a node has members
 *      PREFIX:members:NODE:ROOM members and their values
 */
#include "redis_link.h"

#ifdef BACKPLANE_REDIS

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis_plain.h"

#define READ_COUNT "128" /* packets of one reply */
#define LATE_MS 2000     /* that a reply may come later than it was asked for */
#define KEY_SIZE 2048

struct redis {
	struct engine_setup setup;
	struct redis_where where;
	SSL_CTX *tls;
	char stream[128], keep[24], node[20];
	/* The follower's. */
	struct redis_link follower;
	bool asked; /* an XREAD is under way */
	struct engine_position at;
	/* The publisher's. */
	struct redis_link publisher;
	bool early; /* a packet was handed over by append_now, and its answer was not read */
	bool leased;
};

/* ---- ids ---- */

struct id_text {
	char text[48];
};

static struct id_text id_text(uint64_t epoch, uint64_t sequence)
{
	struct id_text id;
	snprintf(id.text, sizeof id.text, "%" PRIu64 "-%" PRIu64, epoch, sequence);
	return id;
}

static struct engine_position id_read(const char *text)
{
	char *end;
	struct engine_position position = { .epoch = strtoull(text, &end, 10) };
	position.sequence = *end == '-' ? strtoull(end + 1, NULL, 10) : 0;
	return position;
}

static bool is_before(struct engine_position one, struct engine_position other)
{
	return one.epoch != other.epoch ? one.epoch < other.epoch : one.sequence < other.sequence;
}

/* ---- life ---- */

static const char *version(void)
{
	static char words[64];
	snprintf(words, sizeof words, "hiredis %d.%d.%d", HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
	return words;
}

static int check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE])
{
	struct redis_where where;
	int code = redis_where_read(&where, url, wrong);
	if (code || !where.tls)
		return code;
	SSL_CTX *tls = redis_tls_new(&where, wrong);
	SSL_CTX_free(tls);
	return tls ? 0 : -EINVAL;
}

static void *open_state(const struct engine_setup *setup, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = calloc(1, sizeof *redis);
	if (!redis)
		return NULL;
	redis->setup = *setup;
	redis->follower.fd = redis->publisher.fd = -1;
	snprintf(redis->stream, sizeof redis->stream, "%.100s:stream", setup->prefix);
	snprintf(redis->keep, sizeof redis->keep, "%lu", setup->keep_max);
	snprintf(redis->node, sizeof redis->node, "%016" PRIx64, setup->node);
	if (redis_where_read(&redis->where, setup->url, why) ||
	    (redis->where.tls && !(redis->tls = redis_tls_new(&redis->where, why)))) {
		free(redis);
		return NULL;
	}
	return redis;
}

static void close_state(void *state)
{
	struct redis *redis = state;
	redis_link_close(&redis->follower);
	redis_link_close(&redis->publisher);
	SSL_CTX_free(redis->tls);
	free(redis);
}

/* An answer that is an error: the connection is given up, since most of them (READONLY, LOADING, NOAUTH) mean that this
 * is not the right server, or not yet. */
static int give_up(struct redis_link *link, const redisReply *reply, char why[static ENGINE_WHY_SIZE])
{
	snprintf(why, ENGINE_WHY_SIZE, "Redis says: %.150s",
	         reply->str ? reply->str : "something else than was asked for");
	redis_link_close(link);
	return -EPROTO;
}

/* ---- the follower ---- */

/* The newest id that the stream has had; 0-0: there is no stream. *held is the newest that it still holds. */
static int find_newest(struct redis *redis, struct engine_position *newest, struct engine_position *held,
                       char why[static ENGINE_WHY_SIZE])
{
	const struct redis_word words[] = { REDIS_WORD("XINFO"), REDIS_WORD("STREAM"), redis_text(redis->stream) };
	int code;
	redisReply *reply = redis_link_ask(&redis->follower, words, 3, &code, why);
	*newest = *held = (struct engine_position){ 0 };
	if (!reply)
		return code;
	if (reply->type == REDIS_REPLY_ARRAY) {
		for (size_t i = 0; i + 1 < reply->elements; i += 2) {
			const char *name = reply->element[i]->str;
			const redisReply *value = reply->element[i + 1];
			if (name && !strcmp(name, "last-generated-id") && value->str)
				*newest = id_read(value->str);
			else if (name && !strcmp(name, "last-entry") && value->elements && value->element[0]->str)
				*held = id_read(value->element[0]->str);
		}
	} else if (reply->type != REDIS_REPLY_ERROR || !strstr(reply->str, "no such key")) {
		code = give_up(&redis->follower, reply, why);
	}
	freeReplyObject(reply);
	return code;
}

static int follow(void *state, struct engine_place *place, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	struct engine_position held;
	int code = 0;
	/* The answer to an XREAD may be half a second away. */
	if (redis->asked)
		redis_link_close(&redis->follower);
	redis->asked = false;
	if (redis->follower.fd < 0)
		code = redis_link_open(&redis->follower, &redis->where, redis->tls, why);
	if (!code)
		code = find_newest(redis, &place->newest, &held, why);
	if (code)
		return code;
	place->spent = !is_before(place->at, held);
	const struct engine_position *newest = &place->newest;
	if (place->at.sequence)
		redis->at = (struct engine_position){ place->at.epoch, place->at.sequence - 1 };
	else
		redis->at = (struct engine_position){ newest->epoch, newest->sequence > place->tail_max
			                                                 ? newest->sequence - place->tail_max
			                                                 : 0 };
	return 0;
}

static int ask_for_more(struct redis *redis, unsigned timeout_ms, char why[static ENGINE_WHY_SIZE])
{
	struct id_text id = id_text(redis->at.epoch, redis->at.sequence);
	char block[16];
	snprintf(block, sizeof block, "%u", timeout_ms);
	const struct redis_word words[] = { REDIS_WORD("XREAD"),       REDIS_WORD("COUNT"), REDIS_WORD(READ_COUNT),
		                            REDIS_WORD("BLOCK"),       redis_text(block),   REDIS_WORD("STREAMS"),
		                            redis_text(redis->stream), redis_text(id.text) };
	int code = redis_link_put(&redis->follower, words, 8);
	if (!code)
		code = redis_link_flush(&redis->follower, why);
	redis->asked = !code;
	return code;
}

/* [[id, [p, bytes]], ...] */
static int take_all(struct redis *redis, const redisReply *entries, engine_take *take, void *context)
{
	for (size_t i = 0; i < entries->elements; i++) {
		const redisReply *entry = entries->element[i];
		if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2 || !entry->element[0]->str)
			return -EPROTO;
		const redisReply *fields = entry->element[1], *packet = NULL;
		redis->at = id_read(entry->element[0]->str);
		if (redis_plain_take(&redis->setup, take, context, redis->at, fields))
			continue;
		if (fields->type == REDIS_REPLY_ARRAY && fields->elements == 2 && fields->element[1]->str)
			packet = fields->element[1];
		take(context, redis->at, packet ? packet->str : "", packet ? (size_t)packet->len : 0);
	}
	return (int)entries->elements;
}

static int read_some(void *state, unsigned timeout_ms, engine_take *take, void *context,
                     char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	redisReply *reply;
	int code = redis->asked ? 0 : ask_for_more(redis, timeout_ms, why);
	if (!code)
		code = redis_link_reply(&redis->follower, &reply, timeout_ms + LATE_MS, redis->setup.wake_fd, why);
	if (code == -EINTR)
		return code;
	redis->asked = false;
	if (code) {
		if (code == -ETIMEDOUT)
			snprintf(why, ENGINE_WHY_SIZE, "the server does not answer");
		redis_link_close(&redis->follower);
		return code;
	}
	bool nothing = reply->type == REDIS_REPLY_NIL;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 && reply->element[0]->elements == 2)
		code = take_all(redis, reply->element[0]->element[1], take, context);
	else if (!nothing)
		code = give_up(&redis->follower, reply, why);
	freeReplyObject(reply);
	if (!nothing)
		return code;
	/* A stream that is gone is silent too. */
	struct engine_position newest, held;
	code = find_newest(redis, &newest, &held, why);
	return code ? code : is_before(newest, redis->at) ? -ENOENT : 0;
}

static int begin(void *state, const struct engine_packet *packet, struct engine_position newest,
                 char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	struct redis_link *link = &redis->follower;
	struct engine_position now, held;
	char key[160];
	int code;
	snprintf(key, sizeof key, "%.100s:beginning", redis->setup.prefix);
	const struct redis_word turn[] = { REDIS_WORD("SET"), redis_text(key),  redis_text(redis->node),
		                           REDIS_WORD("NX"),  REDIS_WORD("PX"), REDIS_WORD("500") };
	redisReply *reply = redis_link_ask(link, turn, 6, &code, why);
	if (!reply)
		return code;
	bool other = reply->type == REDIS_REPLY_NIL;
	if (reply->type == REDIS_REPLY_ERROR)
		code = give_up(link, reply, why);
	freeReplyObject(reply);
	if (!code)
		code = other ? -EEXIST : find_newest(redis, &now, &held, why);
	if (code)
		return code;
	if (now.epoch != newest.epoch || now.sequence != newest.sequence)
		return -EEXIST;
	struct id_text id = id_text(packet->epoch, 1);
	const struct redis_word words[] = { REDIS_WORD("XADD"),
		                            redis_text(redis->stream),
		                            redis_text(id.text),
		                            REDIS_WORD("p"),
		                            { packet->data, packet->size } };
	reply = redis_link_ask(link, words, 5, &code, why);
	if (!reply)
		return code;
	if (reply->type == REDIS_REPLY_ERROR)
		code = strstr(reply->str, "equal or smaller") ? -EEXIST : give_up(link, reply, why);
	freeReplyObject(reply);
	return code;
}

/* ---- the publisher ---- */

static int connect_publisher(void *state, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	if (redis->publisher.fd >= 0)
		return 0;
	redis->early = false;
	return redis_link_open(&redis->publisher, &redis->where, redis->tls, why);
}

/* What Redis says to one XADD. */
static int judge(const redisReply *reply, char why[static ENGINE_WHY_SIZE])
{
	if (reply->type == REDIS_REPLY_STRING)
		return 0;
	if (reply->type == REDIS_REPLY_NIL ||
	    (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "equal or smaller")))
		return -ENOENT;
	snprintf(why, ENGINE_WHY_SIZE, "Redis says: %.150s", reply->str ? reply->str : "?");
	return -EPROTO;
}

static int put_packet(struct redis *redis, const struct engine_packet *packet)
{
	char id[32];
	snprintf(id, sizeof id, "%" PRIu64 "-*", packet->epoch);
	const struct redis_word words[] = {
		REDIS_WORD("XADD"),   redis_text(redis->stream), REDIS_WORD("NOMKSTREAM"),
		REDIS_WORD("MAXLEN"), REDIS_WORD("~"),           redis_text(redis->keep),
		redis_text(id),       REDIS_WORD("p"),           { packet->data, packet->size }
	};
	return redis_link_put(&redis->publisher, words, 9);
}

/* Reads one answer. Returns 0, with *verdict what Redis said, or why there is none. */
static int read_verdict(struct redis *redis, int *verdict, char why[static ENGINE_WHY_SIZE])
{
	redisReply *reply;
	int code = redis_link_reply(&redis->publisher, &reply, ENGINE_WAIT_MS, -1, why);
	if (code == -ETIMEDOUT)
		snprintf(why, ENGINE_WHY_SIZE, "the server does not answer");
	if (code) {
		redis_link_close(&redis->publisher);
		return code;
	}
	*verdict = judge(reply, why);
	freeReplyObject(reply);
	return 0;
}

/* What was handed over directly and is not among the packets any more has been confirmed: its answer is passed over. */
static int settle_early(struct redis *redis, char why[static ENGINE_WHY_SIZE])
{
	int verdict, code = redis->early ? redis_link_flush(&redis->publisher, why) : 0;
	if (redis->early && !code)
		code = read_verdict(redis, &verdict, why);
	redis->early = false;
	return code;
}

static bool append_now(void *state, const struct engine_packet *packet)
{
	struct redis *redis = state;
	if (redis->publisher.fd < 0 || redis->early || put_packet(redis, packet))
		return false;
	redis->early = true;
	redis_link_nudge(&redis->publisher);
	return true;
}

static int append(void *state, struct engine_packet *packets, size_t count, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	bool early = redis->early && count && packets[0].handed;
	int code = early ? 0 : settle_early(redis, why), worst = 0, verdict = 0;
	redis->early = false;
	for (size_t i = early; i < count && !code; i++)
		code = put_packet(redis, &packets[i]);
	if (!code && count)
		code = redis_link_flush(&redis->publisher, why);
	for (size_t i = 0; i < count && !code; i++) {
		code = read_verdict(redis, &verdict, why);
		packets[i].appended = !code && !verdict;
		if (!code && verdict && worst != -EPROTO)
			worst = verdict;
	}
	if (worst == -EPROTO)
		redis_link_close(&redis->publisher);
	return code ? code : worst;
}

/* ---- presence ---- */

/* Renews a lease and lists those that hold, in one step by one clock. */
static const char lease_script[] = "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
				   "local had=redis.call('ZSCORE',KEYS[1],ARGV[1]) "
				   "redis.call('ZADD',KEYS[1],now+ARGV[2],ARGV[1]) "
				   "local all=redis.call('ZRANGEBYSCORE',KEYS[1],now,'+inf') "
				   "table.insert(all,1,(had and tonumber(had)>=now) and '1' or '0') return all";

/* Whose lease still holds keeps what it has, unless it leaves by itself. */
static const char forget_script[] =
    "local t=redis.call('TIME') local now=t[1]*1000+math.floor(t[2]/1000) "
    "local ends=redis.call('ZSCORE',KEYS[1],ARGV[1]) "
    "if ARGV[2]=='0' and ends and tonumber(ends)>=now then return 0 end "
    "redis.call('ZREM',KEYS[1],ARGV[1]) "
    "for _,room in ipairs(redis.call('SMEMBERS',KEYS[2])) do redis.call('UNLINK',ARGV[3]..room) end "
    "redis.call('UNLINK',KEYS[2]) return 1";

static redisReply *ask_well(struct redis *redis, const struct redis_word *words, unsigned count, int *code,
                            char why[static ENGINE_WHY_SIZE])
{
	*code = settle_early(redis, why);
	redisReply *reply = *code ? NULL : redis_link_ask(&redis->publisher, words, count, code, why);
	if (!reply || reply->type != REDIS_REPLY_ERROR)
		return reply;
	*code = give_up(&redis->publisher, reply, why);
	freeReplyObject(reply);
	return NULL;
}

static int lease(void *state, unsigned ttl_ms, bool *held, void (*visit)(void *context, uint64_t node), void *context,
                 char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	char key[160], ttl[16];
	int code;
	snprintf(key, sizeof key, "%.100s:nodes", redis->setup.prefix);
	snprintf(ttl, sizeof ttl, "%u", ttl_ms);
	const struct redis_word words[] = { REDIS_WORD("EVAL"), REDIS_WORD(lease_script), REDIS_WORD("1"),
		                            redis_text(key),    redis_text(redis->node),  redis_text(ttl) };
	redisReply *reply = ask_well(redis, words, 6, &code, why);
	if (!reply)
		return code;
	*held = !redis->leased;
	redis->leased = true;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
		const char *text = reply->element[i]->str;
		if (text && i)
			visit(context, strtoull(text, NULL, 16));
		else if (text && *text == '1')
			*held = true;
	}
	freeReplyObject(reply);
	return 0;
}

static size_t members_key(const struct redis *redis, const char *node, const char *room, size_t size,
                          char key[static KEY_SIZE])
{
	int head = snprintf(key, KEY_SIZE, "%.100s:members:%s:", redis->setup.prefix, node);
	size = size < KEY_SIZE - (size_t)head ? size : KEY_SIZE - (size_t)head;
	memcpy(key + head, room, size);
	return (size_t)head + size;
}

static int members_write(void *state, const struct engine_member *members, size_t count,
                         char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	for (size_t i = 0; i < count; i++) {
		const struct engine_member *member = &members[i];
		char key[KEY_SIZE], rooms[160];
		int code = 0;
		struct redis_word hash = { key, members_key(redis, redis->node, member->room, member->room_size, key) };
		snprintf(rooms, sizeof rooms, "%.100s:rooms:%s", redis->setup.prefix, redis->node);
		const struct redis_word add[] = { REDIS_WORD("SADD"),
			                          redis_text(rooms),
			                          { member->room, member->room_size } };
		redisReply *reply = member->value ? ask_well(redis, add, 3, &code, why) : NULL;
		freeReplyObject(reply);
		const struct redis_word set[] = { REDIS_WORD("HSET"),
			                          hash,
			                          { member->name, member->name_size },
			                          { member->value, member->value_size } };
		const struct redis_word remove[] = { REDIS_WORD("HDEL"), hash, { member->name, member->name_size } };
		reply = code ? NULL : ask_well(redis, member->value ? set : remove, member->value ? 4 : 3, &code, why);
		freeReplyObject(reply);
		if (code)
			return code;
	}
	return 0;
}

static int members_read(void *state, uint64_t node, void (*visit)(void *context, const struct engine_member *member),
                        void *context, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	char name[20], key[KEY_SIZE];
	int code;
	snprintf(name, sizeof name, "%016" PRIx64, node);
	snprintf(key, sizeof key, "%.100s:rooms:%s", redis->setup.prefix, name);
	const struct redis_word words[] = { REDIS_WORD("SMEMBERS"), redis_text(key) };
	redisReply *rooms = ask_well(redis, words, 2, &code, why);
	if (!rooms)
		return code;
	for (size_t i = 0; i < rooms->elements && !code; i++) {
		const redisReply *room = rooms->element[i];
		const struct redis_word all[] = {
			REDIS_WORD("HGETALL"), { key, members_key(redis, name, room->str, (size_t)room->len, key) }
		};
		redisReply *members = ask_well(redis, all, 2, &code, why);
		for (size_t j = 0; members && j + 1 < members->elements; j += 2)
			visit(context, &(struct engine_member){ .room = room->str,
			                                        .room_size = (size_t)room->len,
			                                        .name = members->element[j]->str,
			                                        .name_size = (size_t)members->element[j]->len,
			                                        .value = members->element[j + 1]->str,
			                                        .value_size = (size_t)members->element[j + 1]->len });
		freeReplyObject(members);
	}
	freeReplyObject(rooms);
	return code;
}

static int forget(void *state, uint64_t node, char why[static ENGINE_WHY_SIZE])
{
	struct redis *redis = state;
	char nodes[160], rooms[160], name[20], members[160];
	int code;
	if (redis->publisher.fd < 0)
		return -ENOTCONN;
	snprintf(name, sizeof name, "%016" PRIx64, node);
	snprintf(nodes, sizeof nodes, "%.100s:nodes", redis->setup.prefix);
	snprintf(rooms, sizeof rooms, "%.100s:rooms:%s", redis->setup.prefix, name);
	snprintf(members, sizeof members, "%.100s:members:%s:", redis->setup.prefix, name);
	const struct redis_word words[] = { REDIS_WORD("EVAL"),
		                            REDIS_WORD(forget_script),
		                            REDIS_WORD("2"),
		                            redis_text(nodes),
		                            redis_text(rooms),
		                            redis_text(name),
		                            redis_text(node == redis->setup.node ? "1" : "0"),
		                            redis_text(members) };
	redisReply *reply = ask_well(redis, words, 8, &code, why);
	freeReplyObject(reply);
	return code;
}

static const char *const schemes[] = { "redis", "rediss", "redis-sentinel", "rediss-sentinel", NULL };

const struct engine engine_redis = {
	.name = "redis",
	.schemes = schemes,
	.version = version,
	.check = check,
	.open = open_state,
	.close = close_state,
	.follow = follow,
	.read = read_some,
	.begin = begin,
	.connect = connect_publisher,
	.append = append,
	.append_now = append_now,
	.lease = lease,
	.members_write = members_write,
	.members_read = members_read,
	.forget = forget,
	.out = &engine_redis_out,
	.in = &engine_redis_in,
};

#endif
