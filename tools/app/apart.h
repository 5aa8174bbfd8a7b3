/* SPDX-License-Identifier: MIT
 *
 * apart.h - a message that goes to each connection by itself, because some users of a room, or of all, are not to get
 * it. It costs a copy and a queue a connection, where one publication would do; so it is charged ten times as much, and
 * no history has it.
 */
#ifndef APP_APART_H
#define APP_APART_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"
#include "ringcast.h"

struct app;
struct app_client;

#define APP_EXCLUDE_MAX 32 /* users that one message names */

struct app_apart {
	const json_t *exclude;           /* an array of at most APP_EXCLUDE_MAX names */
	const struct app_client *sender; /* who does not get it; or null */
	rc_conn except;                  /* likewise, for who has no more than its handle; or 0 */
	bool passes;                     /* who reads too slowly goes without it, and is not closed */
	const struct app_out *message;
};

/* Whether this is such an array; null, which is none, is one too. */
bool app_apart_is_list(const json_t *exclude);

/* Return for how many connections it is, or a negative errno. Any thread. */
int64_t app_apart_to_room(struct app *app, const char *name, size_t size, const struct app_apart *apart);
int64_t app_apart_to_all(struct app *app, const struct app_apart *apart);

#endif
