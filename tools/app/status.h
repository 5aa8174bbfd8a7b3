/* SPDX-License-Identifier: MIT
 *
 * status.h - what became of a message that its sender gave an id: a `status`, or, if the message stood in a DATA, a
 * part of that one's ACK.
 */
#ifndef APP_STATUS_H
#define APP_STATUS_H

#include <jansson.h>
#include <stddef.h>

#include "out.h"

struct app_client;

/* What is to be said in the ACK of a DATA. */
struct app_outcome {
	const char *status; /* null: nothing */
	size_t count;
};

/* `number` is what the server calls the message, or empty. */
void app_status_tell(struct app_client *client, const json_t *id, const char *status, size_t count, const char *number);
/* ,"status":STATUS,"count":N */
void app_status_write(struct app_out *out, const char *status, size_t count);

#endif
