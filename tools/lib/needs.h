/* SPDX-License-Identifier: MIT
 *
 * needs.h - which options mean nothing without another, or beside one. Who gives such an option expects something of
 * it: it is refused in words, not passed over. Pure; knows tables and no command.
 */
#ifndef LIB_NEEDS_H
#define LIB_NEEDS_H

#include <stdbool.h>
#include <stddef.h>

#include "options.h"

#define NEEDS_WORDS_SIZE 256

/* Whether a row was given, as its source knows. */
typedef bool needs_given(const void *context, const struct option_entry *option);

/* Looks for the first option that was given without effect. `dashes` stands before names: "--", or "" in a file.
 * Returns whether there is one, with what to do in `words`. A null table has none. */
bool needs_find(const struct option_need *needs, const struct option_entry *options, needs_given *given,
                const void *context, const char *dashes, char words[NEEDS_WORDS_SIZE]);

/* A needs_given() for targets that are zero, null, empty or the first choice until they are set. Others count as not
 * given. `context` is not looked at. */
bool needs_is_set(const void *context, const struct option_entry *option);

#endif
