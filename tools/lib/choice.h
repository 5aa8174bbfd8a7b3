/* SPDX-License-Identifier: MIT
 *
 * choice.h - one of several words, written "a|b|c". Pure text.
 */
#ifndef LIB_CHOICE_H
#define LIB_CHOICE_H

/* The index of `word` among `choices` ("a|b|c"), or -1. */
int option_choice(const char *choices, const char *word);

#endif
