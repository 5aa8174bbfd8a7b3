/* SPDX-License-Identifier: MIT
 *
 * needs.c - see needs.h.
 */
#include "needs.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define NAME_SIZE 64

static const struct option_entry *find(const struct option_entry *options, const char *name)
{
	while (options->name && strcmp(options->name, name) != 0)
		options++;
	return options->name ? options : NULL;
}

bool needs_is_set(const void *context, const struct option_entry *option)
{
	(void)context;
	switch (option->kind) {
	case OPTION_FLAG:
		return *(const bool *)option->target;
	case OPTION_TEXT:
		return *(const char *const *)option->target;
	case OPTION_LIST:
		return ((const struct option_list *)option->target)->count;
	case OPTION_CHOICE:
		return *(const int *)option->target;
	case OPTION_COUNT:
	case OPTION_SIZE32:
	case OPTION_MS:
		return *(const unsigned *)option->target;
	case OPTION_SIZE:
		return *(const size_t *)option->target;
	case OPTION_COUNT64:
	case OPTION_NS:
		return *(const uint64_t *)option->target;
	case OPTION_NUMBER:
		break;
	}
	return false;
}

/* One of the words of a need: "replay", "mode=broadcast". Appends it to the words for people. */
static bool holds(const char *word, const struct option_entry *options, needs_given *given, const void *context)
{
	char name[NAME_SIZE];
	const char *value = strchr(word, '=');
	snprintf(name, sizeof name, "%.*s", (int)(value ? value - word : (long)strlen(word)), word);
	const struct option_entry *option = find(options, name);
	if (!option)
		return false;
	return value ? option_choice(option->argument, value + 1) == *(const int *)option->target
	             : given(context, option);
}

/* Looks at the alternatives of a need in turn, and writes them down: "--replay or --demo". */
static bool is_met(const char *needs, const struct option_entry *options, needs_given *given, const void *context,
                   const char *dashes, char names[NEEDS_WORDS_SIZE])
{
	size_t size = 0;
	bool met = false;
	names[0] = 0;
	while (*needs) {
		char word[NAME_SIZE];
		size_t length = strcspn(needs, "|");
		snprintf(word, sizeof word, "%.*s", (int)length, needs);
		met |= holds(word, options, given, context);
		char *value = strchr(word, '=');
		if (value)
			*value = ' ';
		int written = snprintf(names + size, NEEDS_WORDS_SIZE - size, "%s%s%s", size ? " or " : "", dashes,
		                       word);
		size += written > 0 && (size_t)written < NEEDS_WORDS_SIZE - size ? (size_t)written : 0;
		needs += length + (needs[length] == '|');
	}
	return met;
}

bool needs_find(const struct option_need *needs, const struct option_entry *options, needs_given *given,
                const void *context, const char *dashes, char words[NEEDS_WORDS_SIZE])
{
	for (; needs && needs->name; needs++) {
		const struct option_entry *option = find(options, needs->name);
		bool beside = *needs->needs == '!';
		char names[NEEDS_WORDS_SIZE];
		if (!option || !given(context, option) ||
		    is_met(needs->needs + beside, options, given, context, dashes, names) != beside)
			continue;
		if (beside)
			snprintf(words, NEEDS_WORDS_SIZE, "%s%s has no effect beside %.120s: leave one of them out",
			         dashes, needs->name, names);
		else
			snprintf(words, NEEDS_WORDS_SIZE,
			         "%s%s has no effect without %.120s: add that, or leave %s%s out", dashes, needs->name,
			         names, dashes, needs->name);
		return true;
	}
	return false;
}
