/* SPDX-License-Identifier: MIT
 *
 * arrivals.h - a user's device on one of several nodes: when its record has come back, what has waited for the user is
 * taken on all nodes, and this device gets it. From then on it hears what is for its user. On the follower's thread.
 *
 *      it enters --> taken, by all nodes alike --> it has had it, or leaves: its node says so --> dropped
 *                                             `--> its node dies: for the user's other devices, or its next one
 */
#ifndef APP_ARRIVALS_H
#define APP_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>

#include "replica.h"

struct app;

/* A device has entered its user's group; own: of this node, which is to hand it what waits. */
void app_arrivals_came(struct app *app, const char *user, size_t size, struct app_device device, bool own);
/* It has had that, or its node has written down again what it had not. */
void app_arrivals_had(struct app *app, const char *user, size_t size, struct app_device device);
/* Its node is dead, or was taken for dead: nobody knows whether it has had it. */
void app_arrivals_died(struct app *app, const char *user, size_t size, struct app_device device);

#endif
