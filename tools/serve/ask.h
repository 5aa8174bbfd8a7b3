/* SPDX-License-Identifier: MIT
 *
 * ask.h - what a reader asks for in the query of its address: in which form, from where on, how often. It must not know
 * by which way it reads.
 *
 *      form=json   state=1 snapshot=1 last=1   rate=10   since=5,,7 epoch=E,,E   wait=25
 */
#ifndef SERVE_ASK_H
#define SERVE_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "ringcast_form.h"

#define SERVE_WAIT_S_MAX 60

struct serve_ask {
	enum rc_form form;
	struct rc_start start;     /* but for what is said of each topic */
	const char *since, *epoch; /* a number for all topics, or one each; or null */
	unsigned wait_s;           /* of a poll */
};

/* Reads the query. Returns null, or in words what is wrong. The text of `ask` is the request's. */
const char *serve_ask_read(struct serve_ask *ask, rc_request *request);

/* Where the topic begins that stands at `index` of the path. */
struct rc_start serve_ask_start(const struct serve_ask *ask, unsigned index);

/* Goes through the names of a path, which commas divide: the first one, and the one behind it. Returns its size, or -1
 * when it is no name of a topic. */
int serve_ask_name(const char *names);

#define SERVE_BAD_NAME "a topic's name has 1 to 255 bytes, and is UTF-8 without control characters\n"

#endif
