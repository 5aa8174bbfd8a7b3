/* SPDX-License-Identifier: MIT
 *
 * answer.h - what is answered when a request is not served: the status, and {"error":WORDS} in JSON, as programs read
 * it. It knows no path.
 */
#ifndef LIB_ANSWER_H
#define LIB_ANSWER_H

#include <stdbool.h>

#include "ringcast.h"

/* Answers with a status and words, which have no line's end. Returns 0, or the status that the library is to answer
 * instead, as handlers.request does. */
int answer_error(rc_request *request, int status, const char *words);

/* Whether the request's method is in the list: "GET, HEAD". */
bool answer_takes(const rc_request *request, const char *methods);
/* 405, with the list as `Allow`. */
int answer_method(rc_request *request, const char *methods);

/* What a status says where nobody found better words. */
const char *answer_words(int status);

#endif
