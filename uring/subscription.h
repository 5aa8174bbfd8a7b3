/* SPDX-License-Identifier: MIT
 *
 * subscription.h - letting connections into topics and out of them.
 */
#ifndef RC_SUBSCRIPTION_H
#define RC_SUBSCRIPTION_H

#include "ringcast.h"

struct worker;

/* As rc_subscribe() and rc_unsubscribe(), on the worker. */
int rc_subscription_begin(struct worker *worker, uint32_t slot, const char *name, size_t size, struct rc_start *start);
int rc_subscription_end(struct worker *worker, uint32_t slot, const char *name, size_t size);
void rc_subscription_end_all(struct worker *worker, uint32_t slot);

/* Lets subscriptions begin that wait to begin further back; only when no frame is half sent. */
void rc_subscription_resume(struct worker *worker, uint32_t slot);

#endif
