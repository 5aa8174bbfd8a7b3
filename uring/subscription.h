/* SPDX-License-Identifier: MIT
 *
 * subscription.h - letting connections into topics and out of them.
 */
#ifndef RC_SUBSCRIPTION_H
#define RC_SUBSCRIPTION_H

#include "ringcast.h"

struct rc_subscription;
struct worker;

/* As rc_subscribe() and rc_unsubscribe(), on the worker. */
int rc_subscription_begin(struct worker *worker, uint32_t slot, const char *name, size_t size, struct rc_start *start);
int rc_subscription_end(struct worker *worker, uint32_t slot, const char *name, size_t size);
void rc_subscription_end_all(struct worker *worker, uint32_t slot);

/* Its topic has a successor: it goes on there, and owes the connection word of that. With the log's lock. Returns 0, or
 * a negative errno, and then it is subscribed to neither, or was not told. */
int rc_subscription_move(struct worker *worker, uint32_t slot, struct rc_subscription *record);

/* Lets subscriptions begin that wait to begin further back; only when no frame is half sent. */
void rc_subscription_resume(struct worker *worker, uint32_t slot);

#endif
