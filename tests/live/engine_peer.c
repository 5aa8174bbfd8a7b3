/* SPDX-License-Identifier: MIT
 *
 * engine_peer.c - an engine of a backplane by itself, for the tests: `engine_peer URL` makes one of tools/backplane,
 * and does what the lines of its input say. Each answer ends with a line "= CODE", a negative errno or what the call
 * returns, and words. It knows nothing of nodes; a packet is the text that it was given.
 *
 *      follow AT TAIL     "newest N"                       begin TEXT
 *      read MS COUNT      "N TEXT" a packet, until there   append TEXT...    "appended N"
 *                         were COUNT or the time is over   fill COUNT SIZE   the same, with so many of that size
 *      connect
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "backplane/engine.h"

#define WORDS_MAX 64

struct peer {
	const struct engine *engine;
	void *state;
	int taken;
	char why[ENGINE_WHY_SIZE];
};

static long now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take(void *context, struct engine_position position, const void *data, size_t size)
{
	struct peer *peer = context;
	peer->taken++;
	printf("%llu %.*s\n", (unsigned long long)position.sequence, size < 100 ? (int)size : 100, (const char *)data);
}

static int read_on(struct peer *peer, long ms, int count)
{
	const long until = now_ms() + ms;
	int code = 0;
	peer->taken = 0;
	while (code >= 0 && peer->taken < count && now_ms() < until)
		code = peer->engine->read(peer->state, (unsigned)(until - now_ms()), take, peer, peer->why);
	return code < 0 ? code : peer->taken;
}

static int append(struct peer *peer, struct engine_packet *packets, size_t count)
{
	int appended = 0, code = peer->engine->append(peer->state, packets, count, peer->why);
	for (size_t i = 0; i < count; i++)
		appended += packets[i].appended;
	printf("appended %d\n", appended);
	return code;
}

static int fill(struct peer *peer, size_t count, size_t size)
{
	struct engine_packet *packets = calloc(count, sizeof *packets);
	char *text = malloc(size);
	int code = -ENOMEM;
	if (packets && text) {
		memset(text, 'x', size);
		for (size_t i = 0; i < count; i++)
			packets[i] = (struct engine_packet){ .data = text, .size = size };
		code = append(peer, packets, count);
	}
	free(packets);
	free(text);
	return code;
}

static int obey(struct peer *peer, char **words, size_t count)
{
	struct engine_packet packets[WORDS_MAX];
	struct engine_place place = { .at.sequence = strtoull(words[1], NULL, 10),
		                      .tail_max = strtoul(words[2], NULL, 10) };
	for (size_t i = 1; i < count; i++)
		packets[i - 1] = (struct engine_packet){ .data = words[i], .size = strlen(words[i]) };
	if (!strcmp(words[0], "follow")) {
		int code = peer->engine->follow(peer->state, &place, peer->why);
		printf("newest %llu\n", (unsigned long long)place.newest.sequence);
		return code;
	}
	if (!strcmp(words[0], "read"))
		return read_on(peer, atol(words[1]), atoi(words[2]));
	if (!strcmp(words[0], "connect"))
		return peer->engine->connect(peer->state, peer->why);
	if (!strcmp(words[0], "append"))
		return append(peer, packets, count - 1);
	if (!strcmp(words[0], "fill"))
		return fill(peer, strtoul(words[1], NULL, 10), strtoul(words[2], NULL, 10));
	if (!strcmp(words[0], "begin")) {
		struct engine_position newest = { 0, strtoull(words[2], NULL, 10) };
		return peer->engine->begin(peer->state, packets, newest, peer->why);
	}
	return -EINVAL;
}

static bool prepare(struct peer *peer, struct engine_setup *setup, struct backplane_url *url, const char *text)
{
	static const struct backplane_map map;
	const char *wrong = backplane_url_parse(url, text), *package;
	if (wrong)
		return fprintf(stderr, "engine_peer: %s\n", wrong), false;
	peer->engine = engine_find(url->scheme, &package);
	if (!peer->engine)
		return fprintf(stderr, "engine_peer: built without %s\n", package ? package : url->scheme), false;
	if (peer->engine->check(url, peer->why))
		return fprintf(stderr, "engine_peer: %s\n", peer->why), false;
	*setup = (struct engine_setup){ .url = url,
		                        .prefix = backplane_url_value(url, "prefix", "ringcast"),
		                        .keep_max = 100000,
		                        .node = 1,
		                        .map = &map,
		                        .wake_fd = eventfd(0, 0) };
	peer->state = peer->engine->open(setup, peer->why);
	return peer->state != NULL;
}

int main(int argc, char **argv)
{
	static struct backplane_url url;
	struct engine_setup setup;
	struct peer peer = { 0 };
	char line[4096];
	if (argc != 2 || !prepare(&peer, &setup, &url, argv[1]))
		return 2;
	while (fgets(line, sizeof line, stdin)) {
		char *words[WORDS_MAX + 3] = { "", "", "" }, *rest = line, *word;
		size_t count = 0;
		while (count < WORDS_MAX && (word = strsep(&rest, " \n")))
			if (*word)
				words[count++] = word;
		for (size_t i = count; i < 3; i++)
			words[i] = "";
		*peer.why = '\0';
		int code = obey(&peer, words, count);
		printf("= %d %s\n", code, code < 0 ? peer.why : "");
		fflush(stdout);
	}
	peer.engine->close(peer.state);
	return 0;
}
