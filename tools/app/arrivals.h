/* SPDX-License-Identifier: MIT
 *
 * arrivals.h - a user's device on one of several nodes: when its record has come back, what has waited for the user is
 * taken on all nodes, and this device gets it. From then on it hears what is for its user. On the follower's thread.
 */
#ifndef APP_ARRIVALS_H
#define APP_ARRIVALS_H

#include <stddef.h>

#include "replica.h"

struct app;

/* A device of this node has entered its user's group. */
void app_arrivals_own(struct app *app, const char *user, size_t size, struct app_device device);
/* One of another node: what waits is that node's to hand over. */
void app_arrivals_other(struct app *app, const char *user, size_t size);

#endif
