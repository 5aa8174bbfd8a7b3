/* SPDX-License-Identifier: MIT
 *
 * map.h - what others publish in their own way, and where it goes: a table of rules SOURCE=TARGET. A source is what the
 * engine calls it (a subject, an exchange and a key, a stream, a topic), perhaps a pattern; a target is topic/NAME,
 * room/NAME, user/NAME or all, in which {1} stands for what the first wildcard matched, and {NAME} for a field or
 * header of the message. Pure text. It must not know any engine.
 */
#ifndef BACKPLANE_MAP_H
#define BACKPLANE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/options.h"

#define MAP_RULES_MAX 32
#define MAP_TARGET_MAX 512 /* bytes of a target that is filled in */

struct map_rule {
	const char *source, *target;
	size_t source_size;
};

struct backplane_map {
	struct map_rule rules[MAP_RULES_MAX];
	unsigned count;
	bool slash; /* a source has two parts with a slash between: the first one parts words as a dot does */
};

/* Reads the rules, which then refer to the list's texts. Returns null, or what is wrong in words; *item is then the
 * rule. */
const char *map_read(struct backplane_map *map, const struct option_list *list, bool topics_only, const char **item);

/* What a message says of itself: the value of a field, or null. It is valid until the next call. */
typedef const char *map_field(const void *context, const char *name, size_t name_size, size_t *size);

/* Whether a rule is for this source. */
bool map_has(const struct backplane_map *map, const char *source, size_t size);

/* Where what came from this source goes. Returns its size, or 0: no rule is for it, a field that the rule wants is
 * missing, or what comes out is no name. */
size_t map_find(const struct backplane_map *map, const char *source, size_t size, map_field *field, const void *context,
                char target[static MAP_TARGET_MAX]);

/* Whether words between dots match a pattern: * one of them, > and # any number (> at least one, at the end). */
#define MAP_WILDCARDS_MAX 8
struct map_match {
	const char *texts[MAP_WILDCARDS_MAX];
	size_t sizes[MAP_WILDCARDS_MAX];
};
bool map_matches(const char *pattern, size_t pattern_size, const char *text, size_t size, bool slash,
                 struct map_match *match);

#endif
