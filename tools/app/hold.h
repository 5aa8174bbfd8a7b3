/* SPDX-License-Identifier: MIT
 *
 * hold.h - a client whose backend is being asked: what waits for the answer, and what the client said meanwhile. The
 * order of its messages holds: while one waits, all behind it do. It knows no message; who has something held says what
 * is to be done with it.
 *
 * Bounds: at most APP_HELD_MAX frames and APP_HELD_SIZE bytes behind the one that waits (and what is left of the batch
 * that has it). What comes beyond that is refused (TRY_LATER), and what waits goes on.
 */
#ifndef APP_HOLD_H
#define APP_HOLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "hooks.h"
#include "ringcast.h"

struct app_client;

#define APP_HELD_MAX 64
#define APP_HELD_SIZE (64u << 10)

/* A frame as it came, or a message of a batch. */
struct app_held {
	STAILQ_ENTRY(app_held) link;
	json_t *message; /* null: a frame */
	unsigned depth;
	struct rc_message frame;
	uint8_t bytes[];
};
STAILQ_HEAD(app_held_list, app_held);

/* What the backend says; *answer is its JSON, an object perhaps without members. */
typedef void app_hold_decided(struct app_client *client, enum app_hook_verdict verdict, const json_t *answer);

struct app_hold {
	uint32_t ticket; /* of the question; 0: nothing is asked, and nothing is held */
	enum app_hook hook;
	json_t *message; /* that waits, or null: the client itself does */
	unsigned depth;
	app_hold_decided *decided;
	struct app_held_list held;
	unsigned count;
	size_t size;
	uint32_t tickets;
};

/* Whether the client waits for an answer. */
bool app_hold_waits(const struct app_client *client);

/* Asks. APP_HOOK_ASKED: the client waits from here on, and `decided` is called later, on its worker; with another
 * verdict that is final, and *answer is the caller's if it is not null. `message` (which may be null) is kept. `pay`
 * says whether the question may be asked if no answer is kept; null: it may. */
enum app_hook_verdict app_hold_ask(struct app_client *client, const struct app_question *question, json_t *message,
                                   unsigned depth, app_hold_decided *decided,
                                   bool (*pay)(struct app_client *client, const json_t *message), json_t **answer);

/* Holds a frame, or a message, behind what waits. False: there is no room. */
bool app_hold_frame(struct app_client *client, const struct rc_message *frame);
bool app_hold_message(struct app_client *client, json_t *message, unsigned depth);

/* For app->resume, which is called when `decided` is done: what was held goes on, until something waits again. */
void app_hold_release(struct app_client *client,
                      void (*frame)(struct app_client *client, const struct rc_message *frame),
                      void (*message)(struct app_client *client, const json_t *message, unsigned depth));

/* It has waited for too long. */
void app_hold_due(struct app_client *client);
void app_hold_free(struct app_client *client);

#endif
