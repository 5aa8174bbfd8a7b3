/* SPDX-License-Identifier: MIT
 *
 * speaking.h - what the application says to a room, a user or everybody, over /api: a content, around which the server
 * puts a message; or a whole message, one with a `type`, which goes out as it is. It must not know what a request is.
 *
 *      {"content","from"?}         {"type":"room_message" or "direct" or "broadcast","id","from","content","timestamp"}
 *      {"type":"stock_price",...}  the same
 *
 * Beside either may stand `exclude` (users who do not get it) and `ephemeral`; to a user `reliable`.
 */
#ifndef APP_SPEAKING_H
#define APP_SPEAKING_H

#include <jansson.h>
#include <stddef.h>

#include "out.h"
#include "ringcast.h"

struct app;

struct app_speaking {
	struct app *app;
	rc_conn conn;       /* whose answer comes later, on several nodes */
	const json_t *body; /* an object */
	char wrong[160];    /* out: in words */
};

#define APP_SPEAKING_WAITS 202

/* Write the answer, and return 200, or a status with speaking->wrong set. On several nodes nothing is written, and they
 * return APP_SPEAKING_WAITS: the request is to wait, and is answered when the nodes have it. */
int app_speaking_to_room(struct app_speaking *speaking, const char *room, size_t size, struct app_out *out);
int app_speaking_to_user(struct app_speaking *speaking, struct app_out *out);
int app_speaking_to_all(struct app_speaking *speaking, struct app_out *out);

#endif
