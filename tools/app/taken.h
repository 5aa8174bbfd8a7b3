/* SPDX-License-Identifier: MIT
 *
 * taken.h - on several nodes: what waited for a user and was handed to one of its devices, wherever that is, until it
 * is known to have arrived. The node of the device may die first. All of it is with the directory's lock.
 */
#ifndef APP_TAKEN_H
#define APP_TAKEN_H

#include "replica.h"
#include "store.h"

struct app_user;

struct app_taken {
	struct app_taken *next;
	struct app_device device;
	struct app_store store;
};

/* Puts a store aside for a device. Without memory it is dropped, as it is when the device is known to have it. */
void app_taken_add(struct app_user *user, struct app_device device, struct app_store store, struct app_budget *budget);
/* What was put aside for a device, which is the caller's from here on; empty: nothing was. */
struct app_store app_taken_take(struct app_user *user, struct app_device device);
/* Drops what is too old. */
void app_taken_expire(struct app_user *user, const struct app_store_limits *limits, struct app_budget *budget,
                      uint64_t now_ns);
void app_taken_clear(struct app_user *user, struct app_budget *budget);

#endif
