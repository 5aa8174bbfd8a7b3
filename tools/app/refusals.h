/* SPDX-License-Identifier: MIT
 *
 * refusals.h - what becomes of those who are not let in. The log says who and why, in so many lines and no more, and
 * counts the others. A client that asked for it (?refusals=1, as ringcast.js does) hears why in a Close, because pages
 * are shown nothing of a handshake that was refused. And logins that fail have a bound, by address.
 */
#ifndef APP_REFUSALS_H
#define APP_REFUSALS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bucket.h"
#include "gate.h"
#include "ringcast.h"

struct app;
struct app_client;

/* Closes that stand for a status: what a page can know of it. */
enum {
	APP_CLOSE_UNAUTHORIZED = 3401,
	APP_CLOSE_FORBIDDEN = 3403,
	APP_CLOSE_TOO_MANY = 3429,
};

struct app_refusals {
	pthread_mutex_t lock;
	struct app_bucket lines;
	struct app_gate of_address; /* lines */
	struct app_gate failures;   /* logins that failed */
	uint64_t left_out;          /* refusals without a line, since it was last said */
	uint64_t said_ns;           /* when that was */
};

bool app_refusals_init(struct app_refusals *refusals, uint64_t seed);
void app_refusals_destroy(struct app_refusals *refusals);

/* Refuses a request, with words that have no line's end. Returns as handlers.request does. */
int app_refuse(struct app *app, rc_request *request, int status, const char *words);
/* A line for what was refused by others. */
void app_refusals_note(struct app *app, const char *address, int status, const char *words);
/* Says how many had no line, if it is time. */
void app_refusals_tell(struct app *app);

/* Whether an address may try to log in; and that one did, in vain. */
bool app_refusals_may_login(struct app *app, const char *address);
void app_refusals_failed(struct app *app, const char *address);

#endif
