/* SPDX-License-Identifier: MIT
 *
 * options.h - a subcommand and its flags as one table: what parses them is also what `--help` prints, so the two
 * cannot differ. Knows getopt_long and units, and nothing of what the flags mean.
 */
#ifndef RC_OPTIONS_H
#define RC_OPTIONS_H

#include <stdbool.h>

#define RC_OPTION_LIST_MAX 64

struct rc_option_list {
	const char *items[RC_OPTION_LIST_MAX];
	unsigned count;
	bool replace; /* the next item takes the place of all before it: another source of settings begins */
};

/* What an option's argument is, and what `target` points to. */
enum rc_option_kind {
	RC_OPTION_FLAG,    /* no argument; bool */
	RC_OPTION_TEXT,    /* const char * */
	RC_OPTION_LIST,    /* may be repeated; struct rc_option_list */
	RC_OPTION_COUNT,   /* unsigned */
	RC_OPTION_COUNT64, /* uint64_t */
	RC_OPTION_NUMBER,  /* double */
	RC_OPTION_SIZE,    /* size_t */
	RC_OPTION_SIZE32,  /* unsigned */
	RC_OPTION_MS,      /* a time, whole milliseconds; unsigned */
	RC_OPTION_NS,      /* a time; uint64_t */
	RC_OPTION_CHOICE,  /* one of the words in `choices`, separated by '|'; int, the word's index */
};

struct rc_option {
	const char *name; /* null ends a table */
	enum rc_option_kind kind;
	void *target;
	const char *argument; /* as help shows it; for RC_OPTION_CHOICE the choices themselves */
	const char *help;     /* may have several lines */
};

struct rc_command {
	const char *name;
	const char *summary; /* one line for `ringcast --help` */
	const char *usage;   /* what follows `ringcast NAME` */
	const char *about;
	const char *examples;
	/* argv[0] is the subcommand's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* Exit statuses of the whole program. */
enum { RC_EXIT_OK = 0, RC_EXIT_FAILED = 1, RC_EXIT_USAGE = 2 };

/* Parses argv into the targets. Returns -1 to go on, with *operand the index of the first argument that is no option;
 * or the exit status, when --help was printed or a usage error was. */
int rc_options_parse(const struct rc_command *command, const struct rc_option *options, int argc, char **argv,
                     int *operand);

/* Stores the argument of one option, as if it had been given as a flag; a RC_OPTION_FLAG wants null. Returns null, or
 * what was expected instead. The text must outlive the target. */
const char *rc_option_store(const struct rc_option *option, const char *text);

/* Prints `ringcast: WORDS` and where help is found, on stderr. Returns RC_EXIT_USAGE. */
int rc_options_wrong(const struct rc_command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints `ringcast: WORDS` on stderr. Returns RC_EXIT_FAILED. */
int rc_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The index of `word` among `choices` ("a|b|c"), or -1. */
int rc_option_choice(const char *choices, const char *word);

#endif
