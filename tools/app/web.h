/* SPDX-License-Identifier: MIT
 *
 * web.h - the browser side, as files that are part of the program: the dashboard at /, the client /ringcast.js and the
 * smaller /ringcast.min.js, and the page of an order book for the servers that have one.
 */
#ifndef APP_WEB_H
#define APP_WEB_H

#include <stdbool.h>
#include <stddef.h>

#include "ringcast.h"

/* Whether there is such a file. */
bool app_web_has(const char *path);
/* Answers a plain request for one of the files as handlers.request does. Returns -1 when it is for none of them. */
int app_web_answer(rc_request *request);

/* The same for the page of an order book, which stands at `place`, and for what it loads. `topics` are the books that
 * it can show, as a JSON list of names. */
int app_web_answer_book(rc_request *request, const char *place, const char *topics);

/* How many bytes /ringcast.min.js has, compressed. */
size_t app_web_small_size(void);

#endif
