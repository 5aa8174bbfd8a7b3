/* SPDX-License-Identifier: MIT
 *
 * plain.h - what programs without us publish: records in the engine's own form, beside the packets of nodes and in one
 * order with them. An engine's file says where a record is for, in words: "topic/NAME"; how that is written in the
 * engine, PLAIN.md says; likewise "room/NAME", "user/NAME" and "all". Here a record becomes a packet that no node
 * wrote. It must not know any engine.
 *
 * The URL says what such records may reach: ?plain=topic,room. Without it they are dropped, and counted as broken. What
 * others wrote in their own way, to what is theirs, goes where a map says (map.h), and needs no such word.
 */
#ifndef BACKPLANE_PLAIN_H
#define BACKPLANE_PLAIN_H

#include "engine.h"
#include "map.h"

struct plain_record {
	const char *to, *key;
	const void *data;
	size_t to_size, key_size, size;
};

/* Whether the URL lets plain records in; to be asked before the engine is made ready for them. */
bool plain_is_on(const struct backplane_url *url);
/* Whether the URL's ?plain= is nothing or as it should be. */
bool plain_check(const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE]);

/* Something of a source that is none of ours: who it is for, the map says. */
struct plain_foreign {
	const char *source;
	size_t source_size;
	map_field *field;
	const void *context;
};
/* Hands it on with its key and data, or, when it goes nowhere, as bytes that are no packet. */
void plain_take_foreign(const struct backplane_map *map, engine_take *take, void *context,
                        struct engine_position position, const struct plain_foreign *foreign,
                        struct plain_record *record);

/* Hands on that there is nothing at this place. */
void plain_take_nothing(engine_take *take, void *context, struct engine_position position);

/* Hands a record on as a packet, or, when it may not be, or goes nowhere, as bytes that are none. */
void plain_take(const struct backplane_url *url, engine_take *take, void *context, struct engine_position position,
                const struct plain_record *record);

#endif
