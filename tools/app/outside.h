/* SPDX-License-Identifier: MIT
 *
 * outside.h - what programs without us say to rooms, users and everybody, by the engine's own tools
 * (backplane/PLAIN.md): each such record becomes what a node's record would be. On the follower's thread.
 */
#ifndef APP_OUTSIDE_H
#define APP_OUTSIDE_H

#include <stdbool.h>

#include "out.h"

struct backplane_message;

/* Makes a message of a kind of record.h of one of BACKPLANE_PLAIN, whose channel says where it is for; its bytes go to
 * `out`, and its channel to `channel`, of APP_CHANNEL_SIZE_MAX bytes. False: it goes nowhere. */
bool app_outside_read(struct backplane_message *message, char *channel, struct app_out *out);

#endif
