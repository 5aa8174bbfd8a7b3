/* SPDX-License-Identifier: MIT
 *
 * rights.h - which rooms and feeds a client may have: by the lists of its token, or by those of the settings. It reads,
 * and changes nothing; whoever lets a client into a room or a feed asks here, and asks again when the rights change.
 *
 * Invariant: a token that names rooms or topics gives only what it names, so that who forgot one of the two lists has
 * opened nothing.
 */
#ifndef APP_RIGHTS_H
#define APP_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>

struct app_client;
struct option_list;

/* Null, or why the client may not be in this room. */
const char *app_rights_room(const struct app_client *client, const char *name, size_t size);
/* Null, or why the client may not follow, or read, this feed or all that matches this pattern. */
const char *app_rights_topic(const struct app_client *client, const char *name, size_t size);

/* Whether a list of the settings holds a name, or all that a pattern matches. An empty list holds everything. */
bool app_is_listed(const struct option_list *list, const char *name, size_t size);

#endif
