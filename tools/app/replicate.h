/* SPDX-License-Identifier: MIT
 *
 * replicate.h - rooms and users over several nodes: what this node does when a record comes back from the backplane.
 * All of it is on the follower's thread, in the one order that all nodes have. It writes nothing about others
 * (nodes.h).
 */
#ifndef APP_REPLICATE_H
#define APP_REPLICATE_H

#include <stdbool.h>

struct backplane_message;

/* For backplane_handlers.control; the context is the app. */
void app_replicate(void *context, struct backplane_message *message, bool own, bool again);

#endif
