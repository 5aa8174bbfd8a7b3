/* SPDX-License-Identifier: MIT
 *
 * speech.h - a request that speaks for a user (POST /send), and what it is answered: what a WebSocket would have heard.
 * Its client is of the time of the request, and nobody's device. Where a backend decides, the request waits until the
 * last of its messages has been decided over.
 */
#ifndef APP_SPEECH_H
#define APP_SPEECH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "out.h"
#include "ringcast.h"

struct app_client;

struct app_speech {
	json_t *body;         /* a message, or an array of them */
	size_t size;          /* of its text */
	struct app_out heard; /* messages, divided by commas */
	char headers[512];    /* of an answer that comes later */
};

/* Makes the client's; the body stays the caller's. False without memory. */
bool app_speech_make(struct app_client *client, json_t *body, size_t size, const char *headers);
void app_speech_free(struct app_client *client);

/* Says all of it, for a client whose user is known. */
void app_speech_say(struct app_client *client);

/* Answers the request in its callback. Returns as handlers.request does. */
int app_speech_answer(struct app_client *client, rc_request *request);

/* Of a request that waits: it may speak now; the backend has decided over what it said; or it may not speak. */
void app_speech_begin(struct app_client *client);
void app_speech_go_on(struct app_client *client);
void app_speech_refuse(struct app_client *client, int status, const char *words);

#endif
