/* SPDX-License-Identifier: MIT
 *
 * ask.h - which messages the backend is asked about before they are handled, in which words, and what its answer makes
 * of them. It handles none.
 *
 *      {"hook":"message","user":U,"authenticated":B,"address":A,"message":{...}}
 *      {"hook":"join",...,"room":R}      {"hook":"subscribe",...,"topics":[T...]}
 *
 * It is asked only about what the server itself would take: who may not, is told so at once and costs no call.
 */
#ifndef APP_ASK_H
#define APP_ASK_H

#include <jansson.h>

#include "hold.h"

struct app_client;
struct app_out;

#define APP_COST_HOOK 1         /* units of a question */
#define APP_COST_HOOK_CONNECT 5 /* of the question who it is, from its address */

enum app_ask {
	APP_ASK_GO,   /* it is to be handled now; with *other, which the caller frees, instead of the message */
	APP_ASK_WAIT, /* `decided` is called */
	APP_ASK_OVER, /* it is not to be handled; the client has been told */
};

enum app_ask app_ask_message(struct app_client *client, json_t *message, unsigned depth, app_hold_decided *decided,
                             json_t **other);
/* The same of a message to a room in which the client, which has no connection, is for this message alone: whether it
 * may join that. Not where another device of its user is in the room. */
enum app_ask app_ask_visit(struct app_client *client, json_t *message, app_hold_decided *decided);
/* What the answer makes of the message. */
enum app_ask app_ask_answered(struct app_client *client, const json_t *message, enum app_hook_verdict verdict,
                              const json_t *answer, json_t **other);

/* The question whether a client may follow topics. */
void app_ask_topics(struct app_client *client, const json_t *topics, struct app_out *out);

/* What a client is told: the backend's own words or ours. */
const char *app_ask_words(enum app_hook_verdict verdict, const json_t *answer);

/* Writes {"hook":NAME and who the client is. The caller writes on from there. */
void app_ask_begin(const struct app_client *client, const char *hook, struct app_out *out);

#endif
