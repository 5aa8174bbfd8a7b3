/* SPDX-License-Identifier: MIT
 *
 * origin.c - see origin.h.
 */
#include "origin.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/environment.h"
#include "settings.h"

void app_origin_note(struct app_origins *origins, const struct option_entry *table, const struct option_entry *option,
                     enum app_source source, unsigned line)
{
	const struct option_list *list = option->kind == OPTION_LIST ? option->target : NULL;
	unsigned item = list && list->count ? list->count - 1 : 0;
	/* A setting may have two names. */
	for (unsigned row = 0; row < OPTIONS_MAX && table[row].name; row++) {
		if (table[row].target != option->target)
			continue;
		origins->sources[row] = (uint8_t)source;
		origins->lines[row][item] = line;
	}
}

static unsigned row_of(const struct option_entry *table, const char *name)
{
	unsigned row = 0;
	while (table[row].name && strcmp(table[row].name, name) != 0)
		row++;
	return row;
}

unsigned app_origin_line(const struct app_origins *origins, const struct option_entry *table,
                         const struct option_entry *option)
{
	unsigned row = (unsigned)(option - table);
	bool once = option->kind != OPTION_LIST && row < OPTIONS_MAX && origins->sources[row] == APP_BY_FILE;
	return once ? origins->lines[row][0] : 0;
}

int app_wrong(const struct app_settings *settings, const char *name, unsigned item, const char *format, ...)
{
	const struct app_origins *origins = &settings->where;
	unsigned row = row_of(app_settings_options((struct app_settings *)(uintptr_t)settings), name);
	char words[600], variable[ENVIRONMENT_NAME_SIZE];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	enum app_source source = row < OPTIONS_MAX ? origins->sources[row] : APP_BY_DEFAULT;
	unsigned line = row < OPTIONS_MAX && item < OPTION_LIST_MAX ? origins->lines[row][item] : 0;
	environment_name(name, variable);
	if (source == APP_BY_FILE && line)
		return command_failed("%s:%u: %s", origins->path, line, words);
	if (source == APP_BY_FILE)
		return command_failed("%s: %s", origins->path, words);
	return source == APP_BY_ENVIRONMENT ? command_failed("%s: %s", variable, words) : command_failed("%s", words);
}
