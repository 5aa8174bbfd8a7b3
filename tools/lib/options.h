/* SPDX-License-Identifier: MIT
 *
 * options.h - a subcommand and its flags as one table: what parses them is also what `--help` prints, so the two
 * cannot differ. Knows getopt_long and units, and nothing of what the flags mean.
 */
#ifndef LIB_OPTIONS_H
#define LIB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "choice.h"

#define OPTION_LIST_MAX 64
#define OPTIONS_MAX 192                              /* in a table */
#define OPTION_POLICIES "close|skip|conflate|resync" /* what --policy takes, in the order of enum rc_policy */

struct option_list {
	const char *items[OPTION_LIST_MAX];
	unsigned count;
	bool replace; /* another source of settings begins: the next item replaces all from before */
};

/* What an option's argument is, and what `target` points to. */
enum option_kind {
	OPTION_FLAG,    /* no argument; bool */
	OPTION_TEXT,    /* const char * */
	OPTION_LIST,    /* may be repeated; struct option_list */
	OPTION_COUNT,   /* unsigned */
	OPTION_COUNT64, /* uint64_t */
	OPTION_NUMBER,  /* double */
	OPTION_SIZE,    /* size_t */
	OPTION_SIZE32,  /* unsigned */
	OPTION_MS,      /* a time, whole milliseconds; unsigned */
	OPTION_NS,      /* a time; uint64_t */
	OPTION_CHOICE,  /* one of the words in `argument`, separated by '|'; int, the word's index */
};

struct option_entry {
	const char *name; /* null ends a table */
	enum option_kind kind;
	void *target;
	const char *argument; /* as help shows it; for OPTION_CHOICE the choices themselves */
	const char *help;     /* may have several lines */
};

/* A long table is put together of groups, one function each. */
struct option_table {
	struct option_entry entries[OPTIONS_MAX + 1]; /* the last has no name */
	size_t count;
};

/* An option that means nothing by itself. `needs` names those of which one must be given too ("replay|demo"), the word
 * of a choice ("mode=broadcast"), or behind a '!' one beside which it means nothing ("!insecure"). */
struct option_need {
	const char *name; /* null ends a table */
	const char *needs;
};

struct subcommand {
	const char *name;
	const char *summary; /* one line for `ringcast --help` */
	const char *usage;   /* what follows `ringcast NAME` */
	const char *about;
	const char *examples;
	const struct option_need *needs; /* checked by options_parse(); null: there are none */
	/* argv[0] is the subcommand's name. Returns the exit status. */
	int (*run)(int argc, char **argv);
};

/* Exit statuses of the whole program. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* Parses argv into the targets. Returns -1 when the command is to run, with *operand the index of the first argument
 * that is not an option. Otherwise returns the exit status: --help, or a usage error, has been printed. */
int options_parse(const struct subcommand *command, const struct option_entry *options, int argc, char **argv,
                  int *operand);

/* The same, and tells of each option that it has stored. */
int options_parse_noting(const struct subcommand *command, const struct option_entry *options, int argc, char **argv,
                         int *operand, void (*note)(void *context, const struct option_entry *option), void *context);

/* Appends the `count` entries of a group to a table that was all zeros at first. */
void options_add(struct option_table *table, const struct option_entry *group, size_t count);

/* Stores the argument of one option, as if it had been given as a flag. An OPTION_FLAG takes null, or a word for yes or
 * no. Returns null, or what was expected instead. The text must outlive the target. */
const char *option_store(const struct option_entry *option, const char *text);

/* Prints `ringcast: WORDS` and where help is found, on stderr. Returns EXIT_USAGE. */
int options_wrong(const struct subcommand *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints `ringcast: WORDS` on stderr. Returns EXIT_FAILED. */
int command_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
