/* SPDX-License-Identifier: MIT
 *
 * log.h - what the operator reads, the same for every command that serves: one line an event on stderr, as text or
 * JSON, from a level up; and on wish one line a request in a file of its own. Beyond a number of lines a second they
 * are counted instead, and the count is written later. Any thread.
 *
 * Invariant: once log_setup() was told so, or log_expect_json() found it, every line of this process is JSON.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "options.h"

enum log_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_WARNING, LEVEL_ERROR };

/* What the rows fill in. */
struct log_settings {
	int format, level;
	unsigned rate;
	const char *access; /* where each request gets a line; null: nowhere */
};
#define LOG_DEFAULTS                                                                                                   \
	{                                                                                                              \
		.level = LEVEL_INFO, .rate = 100                                                                       \
	}
/* The entries of an option table. */
#define LOG_OPTIONS(log)                                                                                               \
	{ "log-format", OPTION_CHOICE, &(log)->format, "text|json", "of every line that is written (text)" },          \
	    { "log-level", OPTION_CHOICE, &(log)->level, "debug|info|warning|error",                                   \
	      "what is logged: this and worse (info)" },                                                               \
	    { "log-rate", OPTION_COUNT, &(log)->rate, "N",                                                             \
	      "lines logged a second; more are only counted (100; 0: no\nlimit)" },                                    \
	{                                                                                                              \
		"access-log", OPTION_TEXT, &(log)->access, "FILE",                                                     \
		    "a line for each request, and for the end of each\nconnection; - for stderr; SIGHUP opens the "    \
		    "file\nanew (none)"                                                                                \
	}

/* Looks for --log-format, and in the environment where that counts, so that the first words already are as they will
 * be.
 */
void log_expect_json(int argc, char **argv, bool environment);
/* A settings file wants it, or not; what log_expect_json() found counts for more. */
void log_file_wants_json(bool json);
bool log_is_json(void);

/* Takes over the format, level and rate. To be called again after a reload. */
void log_setup(const struct log_settings *settings);

/* `event` is a word for machines; `who` is a client's id or null. */
void log_say(enum log_level level, const char *event, const char *who, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* A line on stdout, whatever the level: as it is, or in JSON as the message of an event. */
void log_print(const char *event, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What was left out for the rate, or because nobody took it, since the start. */
uint64_t log_left_out(void);

/* One line to a file that was opened for appending, or to a pipe, if it takes it without waiting. */
bool log_write(int fd, const char *line, unsigned size);

#endif
