/* SPDX-License-Identifier: MIT
 *
 * wish.h - what a client without WebSocket asks for: an address as a `subscribe` of the dialect, and what is to be
 * remembered of its request.
 *
 *      GET /sse/TOPIC[,TOPIC...]     a stream of events
 *      GET /sse?me=1&rooms=ROOM,...  the same, and what is for a user and his rooms
 *      GET /poll/TOPIC[,TOPIC...]    one answer
 *      GET /poll?me=1&rooms=ROOM,... the same, and what is for a user and his rooms: /poll?session=... goes on
 */
#ifndef APP_WISH_H
#define APP_WISH_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ringcast.h"

struct app;
struct app_settings;

#define APP_SESSION_ID_SIZE 32 /* hexadecimal digits */

struct app_wish {
	json_t *message;                       /* as a `subscribe` says it */
	struct rc_event_id after;              /* of server-sent events: what it had last */
	bool polls;                            /* one answer, and not a stream */
	bool is_device;                        /* what is for its user and his rooms comes by it */
	json_t *rooms;                         /* that it joins then, or null */
	char session[APP_SESSION_ID_SIZE + 1]; /* whose poll it is: "" of a new one, or of none */
	uint64_t session_number;               /* of the answer that it has had */
	char *user;                            /* as it calls itself, where nobody shows who he is; or null */
	bool fresh;                            /* a poll that did not say where it stands */
	unsigned wait_s;                       /* that an answer may wait for */
	char headers[512];                     /* of that answer */
};

/* What a request says, percent-decoded; null where it says nothing. */
struct app_wish_words {
	const char *topics; /* of the path: divided by commas */
	const char *since, *epoch, *wait, *last, *conflate, *state, *snapshot, *rate, *me, *rooms, *session;
};

/* Reads them into a wish that is zeroed. Returns null; or what is wrong, with its status. */
const char *app_wish_take(struct app_wish *wish, const struct app_wish_words *words, size_t topics_max, int *status);

/* Reads a request as handlers.request does: -1 when it is for neither path, 0 or the status when it has been answered
 * or is to be refused. When the request is to be served, *out is set, for the caller to free; otherwise it is null. */
int app_wish_read(struct app *app, rc_request *request, struct app_wish **out);
void app_wish_free(struct app_wish *wish);

/* Lets scripts of other sites read the answer, where a WebSocket of theirs may connect: of this request, and of `wish`
 * later, if it is not null. And answers when a browser asks whether a script of another site may send. */
void app_wish_allow_origin(const struct app_settings *settings, rc_request *request, struct app_wish *wish);
int app_wish_preflight(struct app *app, rc_request *request, const char *methods);

#endif
