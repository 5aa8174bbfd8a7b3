/* SPDX-License-Identifier: MIT
 *
 * map.c - see map.h.
 */
#include "map.h"

#include <string.h>

#include "lib/text.h"

#define NAME_MAX_SIZE 64 /* of a field in a target */
#define WORDS_MAX 128    /* of a source */

/* ---- reading rules ---- */

static const char *check_target(const char *target, bool topics_only)
{
	static const char *const places[] = { "topic/", "room/", "user/" };
	unsigned place = 0;
	while (place < 3 && strncmp(target, places[place], strlen(places[place])) != 0)
		place++;
	bool all = strcmp(target, "all") == 0;
	if ((place == 3 && !all) || (place < 3 && !target[strlen(places[place])]))
		return "a target is topic/NAME, room/NAME, user/NAME or all";
	if (topics_only && place)
		return "serve has topics alone: topic/NAME; rooms, users and all are those of `ringcast app`";
	for (const char *at = target; (at = strpbrk(at, "{}"));) {
		const size_t size = *at == '{' ? strcspn(at + 1, "{}") : 0;
		if (!size || at[size + 1] != '}' || size > NAME_MAX_SIZE)
			return "in a target, {1} is what the first wildcard matched, and {NAME} a field";
		at += size + 2;
	}
	return NULL;
}

const char *map_read(struct backplane_map *map, const struct option_list *list, bool topics_only, const char **item)
{
	*map = (struct backplane_map){ 0 };
	for (unsigned i = 0; i < list->count; i++) {
		const char *text = *item = list->items[i], *equals = strrchr(text, '=');
		if (i == MAP_RULES_MAX)
			return "at most 32 rules are taken";
		if (!equals || equals == text)
			return "expected SOURCE=TARGET, as orders=topic/orders";
		const char *wrong = check_target(equals + 1, topics_only);
		if (wrong)
			return wrong;
		map->rules[map->count++] =
		    (struct map_rule){ .source = text, .source_size = (size_t)(equals - text), .target = equals + 1 };
	}
	return NULL;
}

/* ---- matching ---- */

struct words {
	const char *at[WORDS_MAX];
	size_t sizes[WORDS_MAX];
	unsigned count;
};

static bool split(struct words *words, const char *text, size_t size, bool slash)
{
	const char *end = text + size, *parts = slash ? memchr(text, '/', size) : NULL;
	words->count = 0;
	for (const char *dot; words->count < WORDS_MAX; text = dot + 1) {
		dot = memchr(text, '.', (size_t)(end - text));
		if (parts && parts >= text && (!dot || parts < dot))
			dot = parts;
		words->at[words->count] = text;
		words->sizes[words->count++] = (size_t)((dot ? dot : end) - text);
		if (!dot)
			return true;
	}
	return false;
}

struct matching {
	struct words pattern, text;
	struct map_match *match;
};

static void note(const struct matching *matching, unsigned wildcard, unsigned from, unsigned to)
{
	const struct words *text = &matching->text;
	if (wildcard >= MAP_WILDCARDS_MAX)
		return;
	matching->match->texts[wildcard] = from < to ? text->at[from] : "";
	matching->match->sizes[wildcard] = from < to ? (size_t)(text->at[to - 1] + text->sizes[to - 1] - text->at[from])
	                                             : 0;
}

/* The pattern from its word i on, and the text from its word j on. */
static bool matches(const struct matching *matching, unsigned i, unsigned j, unsigned wildcard)
{
	const struct words *pattern = &matching->pattern, *text = &matching->text;
	if (i == pattern->count)
		return j == text->count;
	const char sign = pattern->sizes[i] == 1 ? *pattern->at[i] : 0;
	if (sign == '>') {
		note(matching, wildcard, j, text->count);
		return j < text->count && i + 1 == pattern->count;
	}
	for (unsigned k = j; sign == '#' && k <= text->count; k++)
		if (matches(matching, i + 1, k, wildcard + 1)) {
			note(matching, wildcard, j, k);
			return true;
		}
	if (sign == '#' || j == text->count)
		return false;
	if (sign == '*')
		note(matching, wildcard++, j, j + 1);
	else if (pattern->sizes[i] != text->sizes[j] || memcmp(pattern->at[i], text->at[j], text->sizes[j]) != 0)
		return false;
	return matches(matching, i + 1, j + 1, wildcard);
}

bool map_matches(const char *pattern, size_t pattern_size, const char *text, size_t size, bool slash,
                 struct map_match *match)
{
	struct matching matching = { .match = match };
	*match = (struct map_match){ 0 };
	return split(&matching.pattern, pattern, pattern_size, slash) && split(&matching.text, text, size, slash) &&
	       matches(&matching, 0, 0, 0);
}

/* ---- filling in ---- */

static bool add(char *target, size_t *used, const char *text, size_t size)
{
	if (!text || size > MAP_TARGET_MAX - *used)
		return false;
	memcpy(target + *used, text, size);
	*used += size;
	return true;
}

/* What stands for the word within braces. */
static const char *value_of(const char *name, size_t name_size, const struct map_match *match, map_field *field,
                            const void *context, size_t *size)
{
	const unsigned wildcard = name_size == 1 && *name >= '1' && *name <= '8' ? (unsigned)(*name - '1') : ~0u;
	if (wildcard == ~0u)
		return field(context, name, name_size, size);
	*size = match->sizes[wildcard];
	return match->texts[wildcard];
}

static size_t fill(const char *template, const struct map_match *match, map_field *field, const void *context,
                   char target[static MAP_TARGET_MAX])
{
	size_t used = 0, size;
	for (const char *at = template; *at; at += size) {
		size = strcspn(at, "{");
		if (!add(target, &used, at, size))
			return 0;
		if (!at[size])
			break;
		at += size + 1;
		size = strcspn(at, "}");
		size_t value_size = 0;
		const char *value = value_of(at, size, match, field, context, &value_size);
		if (!value_size || !add(target, &used, value, value_size))
			return 0;
		size++;
	}
	return text_is_name(target, used) ? used : 0;
}

static const struct map_rule *rule_for(const struct backplane_map *map, const char *source, size_t size,
                                       struct map_match *match)
{
	for (unsigned i = 0; i < map->count; i++)
		if (map_matches(map->rules[i].source, map->rules[i].source_size, source, size, map->slash, match))
			return &map->rules[i];
	return NULL;
}

bool map_has(const struct backplane_map *map, const char *source, size_t size)
{
	struct map_match match;
	return rule_for(map, source, size, &match);
}

size_t map_find(const struct backplane_map *map, const char *source, size_t size, map_field *field, const void *context,
                char target[static MAP_TARGET_MAX])
{
	struct map_match match;
	const struct map_rule *rule = rule_for(map, source, size, &match);
	return rule ? fill(rule->target, &match, field, context, target) : 0;
}
