/* SPDX-License-Identifier: MIT
 *
 * paths.h - which path a WebSocket may ask for, what it is spoken to there, and which subprotocol is agreed on.
 *
 *      /ws, /ws/USER, and each --path P as P, P/USER     the dialect; with --plain-chat a chat of plain text for
 * whoever offers no subprotocol of ours /echo                                             what comes goes back, where
 * nobody needs an account /                                                 the chat, with --plain-chat
 */
#ifndef APP_PATHS_H
#define APP_PATHS_H

#include <stdbool.h>

#include "form.h"
#include "ringcast.h"
#include "settings.h"

enum app_place { APP_PLACE_NONE, APP_PLACE_DIALECT, APP_PLACE_ECHO, APP_PLACE_CHAT };

enum app_place app_paths_place(const struct app_settings *settings, const rc_request *request);
/* Whether the dialect is spoken at a path. *user is the USER of it, within `path`, or null. */
bool app_paths_find(const struct app_settings *settings, const char *path, const char **user);

/* Agrees on the first subprotocol that the client offers and that is ours (form.h) or of --protocols, if there is one.
 * False: no memory, or another fault of our own. */
bool app_paths_agree(const struct app_settings *settings, rc_request *request, enum app_form *form);

#endif
