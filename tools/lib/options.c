/* SPDX-License-Identifier: MIT
 *
 * options.c - see options.h. The long options come from the table; the value getopt_long returns is the row's index
 * after FIRST_ROW, so that no flag needs a letter or a case of its own.
 */
#include "options.h"

#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "needs.h"
#include "text.h"
#include "units.h"

#define FIRST_ROW 256
#define HELP_COLUMN 30

static void complain(const char *format, va_list arguments)
{
	flockfile(stderr);
	fputs("ringcast: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	funlockfile(stderr);
}

int command_failed(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	return EXIT_FAILED;
}

int options_wrong(const struct subcommand *command, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fprintf(stderr, "try 'ringcast %s --help'\n", command->name);
	return EXIT_USAGE;
}

static void print_help(const struct subcommand *command, const struct option_entry *options)
{
	printf("usage: ringcast %s %s\n\n%s\n\noptions:\n", command->name, command->usage, command->about);
	for (const struct option_entry *option = options; option->name; option++) {
		int width = printf("  --%s%s%s", option->name, option->argument ? " " : "",
		                   option->argument ? option->argument : "");
		if (width >= HELP_COLUMN)
			width = (putchar('\n'), 0);
		for (const char *line = option->help; line;) {
			const char *end = strchrnul(line, '\n');
			printf("%*s%.*s\n", HELP_COLUMN - width, "", (int)(end - line), line);
			line = *end ? end + 1 : NULL;
			width = 0;
		}
	}
	printf("  --help%*sthis text\n\nexamples:\n%s\n", HELP_COLUMN - 8, "", command->examples);
}

int option_choice(const char *choices, const char *word)
{
	size_t size = strlen(word);
	for (int index = 0;; index++) {
		const char *end = strchrnul(choices, '|');
		if ((size_t)(end - choices) == size && !memcmp(choices, word, size))
			return index;
		if (!*end)
			return -1;
		choices = end + 1;
	}
}

void options_add(struct option_table *table, const struct option_entry *group, size_t count)
{
	assert(count <= OPTIONS_MAX - table->count);
	memcpy(&table->entries[table->count], group, count * sizeof *group);
	table->count += count;
}

static const char *store_unsigned(unsigned *target, uint64_t value, uint64_t unit)
{
	if (value % unit)
		return "expected whole milliseconds";
	if (value / unit > UINT32_MAX)
		return "too large";
	*target = (unsigned)(value / unit);
	return NULL;
}

const char *option_store(const struct option_entry *option, const char *text)
{
	uint64_t value = 0;
	const char *error;
	if (option->kind != OPTION_FLAG && *text && !text_is_name(text, strlen(text)))
		return "expected UTF-8 without control characters";
	switch (option->kind) {
	case OPTION_FLAG: {
		int index = text ? option_choice("no|yes|false|true|off|on|0|1", text) : 1;
		if (index < 0)
			return "expected yes or no";
		*(bool *)option->target = index & 1;
		return NULL;
	}
	case OPTION_TEXT:
		*(const char **)option->target = text;
		return NULL;
	case OPTION_LIST: {
		struct option_list *list = option->target;
		if (list->replace)
			list->count = 0;
		list->replace = false;
		if (list->count == OPTION_LIST_MAX)
			return "given too often";
		list->items[list->count++] = text;
		return NULL;
	}
	case OPTION_COUNT:
		error = units_parse_count(text, &value);
		return error ? error : store_unsigned(option->target, value, 1);
	case OPTION_COUNT64:
		return units_parse_count(text, option->target);
	case OPTION_NUMBER:
		return units_parse_number(text, option->target);
	case OPTION_SIZE:
		error = units_parse_size(text, &value);
		if (!error)
			*(size_t *)option->target = (size_t)value;
		return error;
	case OPTION_SIZE32:
		error = units_parse_size(text, &value);
		return error ? error : store_unsigned(option->target, value, 1);
	case OPTION_MS:
		error = units_parse_time(text, &value);
		return error ? error : store_unsigned(option->target, value, 1000000);
	case OPTION_NS:
		return units_parse_time(text, option->target);
	case OPTION_CHOICE: {
		int index = option_choice(option->argument, text);
		if (index < 0)
			return option->argument;
		*(int *)option->target = index;
		return NULL;
	}
	}
	return "unknown kind of option";
}

/* Rows that were given, as bits. */
struct given {
	const struct option_entry *options;
	uint64_t bits[OPTIONS_MAX / 64];
};

static bool is_given(const void *context, const struct option_entry *option)
{
	const struct given *given = context;
	size_t row = (size_t)(option - given->options);
	return given->bits[row / 64] >> row % 64 & 1;
}

int options_parse(const struct subcommand *command, const struct option_entry *options, int argc, char **argv,
                  int *operand)
{
	struct option rows[OPTIONS_MAX + 2] = { 0 };
	struct given given = { .options = options };
	char words[NEEDS_WORDS_SIZE];
	unsigned count = 0;
	for (; count < OPTIONS_MAX && options[count].name; count++) {
		rows[count].name = options[count].name;
		rows[count].has_arg = options[count].kind == OPTION_FLAG ? no_argument : required_argument;
		rows[count].val = FIRST_ROW + (int)count;
	}
	rows[count] = (struct option){ .name = "help", .has_arg = no_argument, .val = 'h' };
	opterr = 0;
	optind = 1;
	for (int value; (value = getopt_long(argc, argv, ":h", rows, NULL)) != -1;) {
		if (value == 'h') {
			print_help(command, options);
			return EXIT_OK;
		}
		if (value == ':')
			return options_wrong(command, "%s needs an argument", argv[optind - 1]);
		if (value < FIRST_ROW)
			return options_wrong(command, "unknown option '%s'", argv[optind - 1]);
		const struct option_entry *option = &options[value - FIRST_ROW];
		const char *error = option_store(option, optarg);
		if (error && option->kind == OPTION_CHOICE)
			return options_wrong(command, "--%s '%s': expected %s", option->name, optarg, error);
		if (error)
			return options_wrong(command, "--%s '%s': %s", option->name, optarg, error);
		given.bits[(value - FIRST_ROW) / 64] |= UINT64_C(1) << (value - FIRST_ROW) % 64;
	}
	if (needs_find(command->needs, options, is_given, &given, "--", words))
		return options_wrong(command, "%s", words);
	*operand = optind;
	return -1;
}
