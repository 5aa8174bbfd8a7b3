/* SPDX-License-Identifier: MIT
 *
 * replay.c - `ringcast replay`: publishes a recording to a server at its recorded pace, over one connection a topic, so
 * that each topic keeps its order.
 */
#include <inttypes.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "lib/client.h"
#include "lib/feed.h"
#include "lib/url.h"

#define BATCH_MAX 256
#define BATCH_SIZE ((size_t)256 << 10)
#define TOPICS_MAX 16384

static int run(int argc, char **argv);

static const struct option_need needs[] = { CLIENT_TLS_NEEDS, { 0 } };

const struct subcommand command_replay = {
	.name = "replay",
	.summary = "publish a recording to a server",
	.usage = "FILE [--to URL] [options]",
	.about =
	    "Publishes a recording, one message a line (seconds<TAB>topic<TAB>payload; `-` is standard input), at its\n"
	    "recorded pace. Each topic has a connection of its own, to URL/publish/TOPIC. When the server is slow\n"
	    "the replay falls behind its schedule; nothing is lost.\n" ENVIRONMENT_ABOUT,
	.examples = "  ringcast replay market.tsv --to ws://127.0.0.1:8080\n"
		    "  ringcast replay market.tsv --to ws://127.0.0.1:8080 --speed 20\n"
		    "  zcat day.tsv.gz | ringcast replay - --to ws://127.0.0.1:8080 --speed 0",
	.needs = needs,
	.run = run,
};

struct destination {
	struct client_conn conn;
	char *url;
	size_t topic_size;
	char topic[FEED_TOPIC_MAX];
};

struct replay {
	struct client client;
	struct feed feed;
	const char *to;
	char *url; /* the same, to be freed */
	double speed;
	bool loop;
	void *tree; /* of destinations, by topic */
	struct destination *destinations[TOPICS_MAX];
	unsigned destination_count;
	uint64_t published;
	/* Due messages that were not sent yet, their payloads copied. */
	struct client_send batch[BATCH_MAX];
	size_t batch_count;
	char *bytes;
	size_t bytes_size, bytes_capacity;
};

static int compare(const void *left, const void *right)
{
	const struct destination *a = left, *b = right;
	if (a->topic_size != b->topic_size)
		return a->topic_size < b->topic_size ? -1 : 1;
	return memcmp(a->topic, b->topic, a->topic_size);
}

static struct destination *make_destination(struct replay *replay, const struct destination *key)
{
	struct destination *made = replay->destination_count < TOPICS_MAX ? malloc(sizeof *made) : NULL;
	if (!made) {
		command_failed("more than %u topics", replay->destination_count);
		return NULL;
	}
	*made = *key;
	made->url = url_join(replay->to, url_base_size(replay->to), "/publish/", key->topic, key->topic_size);
	if (!made->url || !tsearch(made, &replay->tree, compare)) {
		command_failed("no memory");
		free(made->url);
		free(made);
		return NULL;
	}
	replay->destinations[replay->destination_count++] = made;
	if (client_connect(&replay->client, &made->conn, made->url))
		return NULL;
	return made;
}

/* The connection of a record's topic, which may not be open yet. Null after printing why. */
static struct destination *find_destination(struct replay *replay, const struct feed_record *record)
{
	struct destination key = { .topic_size = record->topic_size };
	memcpy(key.topic, record->topic, record->topic_size);
	struct destination **found = tfind(&key, &replay->tree, compare);
	return found ? *found : make_destination(replay, &key);
}

/* Connects to all topics before the first is due, where the recording can be read twice. */
static int connect_ahead(struct replay *replay)
{
	struct feed_record record;
	int code;
	if (feed_rewind(&replay->feed))
		return 0; /* a pipe: a topic is connected to when its first message comes */
	while ((code = feed_next(&replay->feed, &record)) > 0) {
		if (!find_destination(replay, &record))
			return -1;
	}
	if (!code && !feed_rewind(&replay->feed))
		return 0;
	command_failed("%s", replay->feed.error);
	return -1;
}

static int flush(struct replay *replay)
{
	size_t count = replay->batch_count;
	replay->batch_count = replay->bytes_size = 0;
	if (count && client_send(&replay->client, replay->batch, count))
		return -1;
	replay->published += count;
	return 0;
}

/* Keeps a message for the next flush. One that fits no batch is sent at once. */
static int add(struct replay *replay, const struct feed_record *record)
{
	struct destination *to = find_destination(replay, record);
	if (!to)
		return -1;
	if (replay->batch_count == BATCH_MAX || replay->bytes_size + record->payload_size > replay->bytes_capacity) {
		if (flush(replay))
			return -1;
	}
	if (atomic_load(&to->conn.state) != CLIENT_OPEN && client_await_open(&replay->client, &to->conn))
		return -1;
	struct client_send send = { &to->conn, RC_TEXT, record->payload, record->payload_size };
	if (record->payload_size > replay->bytes_capacity) {
		replay->published++;
		return client_send(&replay->client, &send, 1);
	}
	char *copy = replay->bytes + replay->bytes_size;
	memcpy(copy, record->payload, record->payload_size);
	replay->bytes_size += record->payload_size;
	send.data = copy;
	replay->batch[replay->batch_count++] = send;
	return 0;
}

/* Waits until a record is due; what is due before it is sent first. Returns 0, or -1 when a signal came. */
static int await(struct replay *replay, uint64_t due_ns)
{
	if (clock_now() >= due_ns)
		return 0;
	if (flush(replay))
		return -1;
	for (enum wait_event event; (event = wait_until(&replay->client.wait, due_ns)) != WAIT_TIME;) {
		if (event == WAIT_SIGNAL) {
			replay->client.interrupted = true;
			return -1;
		}
	}
	return 0;
}

static int replay_once(struct replay *replay)
{
	struct feed_record record;
	uint64_t begin = clock_now(), first = UINT64_MAX;
	int code;
	while ((code = feed_next(&replay->feed, &record)) > 0) {
		if (first == UINT64_MAX)
			first = record.time_ns;
		if (await(replay, begin + feed_due(first, record.time_ns, replay->speed)) || add(replay, &record))
			return -1;
	}
	if (code)
		command_failed("%s", replay->feed.error);
	if (flush(replay) || code)
		return -1;
	return first == UINT64_MAX && replay->loop ? command_failed("%s: no messages", replay->feed.path) : 0;
}

static int replay_all(struct replay *replay)
{
	if (connect_ahead(replay))
		return -1;
	for (;;) {
		if (replay_once(replay))
			return -1;
		if (!replay->loop)
			return 0;
		if (feed_rewind(&replay->feed))
			return -command_failed("%s", replay->feed.error);
	}
}

/* Closes all connections. Prints how a connection ended that did not end as it should. Returns whether all did. */
static bool close_all(struct replay *replay)
{
	bool good = true;
	for (unsigned index = 0; index < replay->destination_count; index++) {
		struct client_conn *conn = &replay->destinations[index]->conn;
		if (!replay->client.interrupted && !client_await_open(&replay->client, conn))
			rc_close(replay->client.server, conn->handle, RC_CLOSE_NORMAL, NULL, 0);
	}
	if (replay->client.interrupted || client_await_closed(&replay->client))
		return false;
	for (unsigned index = 0; index < replay->destination_count; index++) {
		const struct client_conn *conn = &replay->destinations[index]->conn;
		if (conn->status || (conn->code != RC_CLOSE_NORMAL && conn->code != RC_CLOSE_GOING_AWAY)) {
			client_verdict(conn);
			good = false;
		}
	}
	return good;
}

static int run(int argc, char **argv)
{
	static struct replay replay = { .speed = 1, .bytes_capacity = BATCH_SIZE };
	const struct option_entry options[] = {
		{ "to", OPTION_TEXT, &replay.to, "URL", "the server: ws://HOST:PORT, wss://... or ws+unix:/SOCKET:" },
		{ "speed", OPTION_NUMBER, &replay.speed, "X", "times the recorded pace (1); 0: as fast as possible" },
		{ "loop", OPTION_FLAG, &replay.loop, NULL, "begin again at the end, until a signal comes" },
		CLIENT_TLS_OPTIONS(&replay.client.tls),
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_replay, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand != 1)
		return options_wrong(&command_replay, "expected one FILE");
	if ((status = environment_url(&command_replay, replay.to, &replay.url)) >= 0 ||
	    (status = client_tls_useless(&command_replay, &replay.client.tls, &replay.url, 1)) >= 0)
		return status;
	replay.to = replay.url;
	if (!url_base_size(replay.to))
		return options_wrong(&command_replay, "--to: expected ws://HOST:PORT");
	replay.bytes = malloc(replay.bytes_capacity);
	if (!replay.bytes)
		return command_failed("no memory");
	if (feed_open(&replay.feed, argv[operand]))
		return command_failed("%s", replay.feed.error);
	if (client_start(&replay.client))
		return EXIT_FAILED;
	int code = replay_all(&replay);
	bool good = close_all(&replay);
	fprintf(stderr, "replayed %" PRIu64 " messages to %u topics\n", replay.published, replay.destination_count);
	client_end(&replay.client);
	feed_close(&replay.feed);
	free(replay.bytes);
	free(replay.url);
	for (unsigned index = 0; index < replay.destination_count; index++)
		free(replay.destinations[index]->url);
	tdestroy(replay.tree, free); /* frees the destinations themselves */
	return !code && good ? EXIT_OK : EXIT_FAILED;
}
