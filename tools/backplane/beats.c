/* SPDX-License-Identifier: MIT
 *
 * beats.c - see beats.h.
 */
#include "beats.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "RCB1"
#define DEAF_MS 2000 /* without its own beat a node hears nobody */

int beats_begin(struct beats *beats, uint64_t self, uint64_t now_ms)
{
	*beats = (struct beats){ .self = self, .nodes = calloc(BEATS_NODES_MAX, sizeof *beats->nodes) };
	if (!beats->nodes)
		return -ENOMEM;
	beats->nodes[beats->count++] = (struct beat_of){ self, now_ms };
	return 0;
}

void beats_end(struct beats *beats)
{
	free(beats->nodes);
	*beats = (struct beats){ 0 };
}

bool beats_are_due(const struct beats *beats, uint64_t now_ms)
{
	return !beats->sent_ms || now_ms - beats->sent_ms >= BEATS_EACH_MS;
}

void beats_write(const struct beats *beats, char text[static BEATS_SIZE + 1])
{
	snprintf(text, BEATS_SIZE + 1, MAGIC "%016" PRIx64, beats->self);
}

static struct beat_of *find(struct beats *beats, uint64_t node)
{
	for (unsigned i = 0; i < beats->count; i++)
		if (beats->nodes[i].node == node)
			return &beats->nodes[i];
	if (beats->count == BEATS_NODES_MAX)
		return NULL;
	beats->nodes[beats->count] = (struct beat_of){ .node = node };
	return &beats->nodes[beats->count++];
}

/* It hears again. What others said meanwhile is unknown, so they begin anew. */
static void wake(struct beats *beats, uint64_t now_ms)
{
	for (unsigned i = 1; i < beats->count; i++)
		beats->nodes[i].heard_ms = now_ms;
}

void beats_hear(struct beats *beats, const void *bytes, size_t size, uint64_t now_ms)
{
	char text[BEATS_SIZE + 1] = "";
	if (size == BEATS_SIZE)
		memcpy(text, bytes, size);
	const bool good = !strncmp(text, MAGIC, 4) && strspn(text + 4, "0123456789abcdef") == BEATS_SIZE - 4;
	const uint64_t node = good ? strtoull(text + 4, NULL, 16) : 0;
	struct beat_of *of = node ? find(beats, node) : NULL;
	if (!of)
		return;
	if (node == beats->self && now_ms - of->heard_ms > DEAF_MS)
		wake(beats, now_ms);
	of->heard_ms = now_ms;
}

bool beats_visit(struct beats *beats, unsigned ttl_ms, uint64_t now_ms, void (*visit)(void *context, uint64_t node),
                 void *context)
{
	const uint64_t silence_ms = now_ms - beats->nodes[0].heard_ms;
	const bool deaf = silence_ms > DEAF_MS;
	/* Others have dropped this node; it is told when it can be heard again. */
	if (silence_ms > ttl_ms)
		beats->broke = true;
	for (unsigned i = beats->count; i-- > 0;) {
		if (i && !deaf && now_ms - beats->nodes[i].heard_ms > ttl_ms)
			beats->nodes[i] = beats->nodes[--beats->count];
		else
			visit(context, beats->nodes[i].node);
	}
	const bool held = deaf || !beats->broke;
	beats->broke = beats->broke && deaf;
	return held;
}
