/* SPDX-License-Identifier: MIT
 *
 * letters.h - how a thread reaches a client of another worker: a letter is posted, and opened on the client's own
 * worker, if the client is still there. Who posts it says what is to be done then.
 */
#ifndef APP_LETTERS_H
#define APP_LETTERS_H

#include <stddef.h>
#include <stdint.h>

#include "ringcast.h"

struct app;
struct app_client;

struct app_letter {
	uint64_t number, sender; /* for the opener */
	size_t size;
	const char *bytes; /* copied; the opener finds a zero behind them */
};

/* Has `open` called for the client, unless it is closing by then. Returns 0 or a negative errno. Any thread. */
int app_letter_post(struct app *app, rc_conn conn,
                    void (*open)(struct app_client *client, const struct app_letter *letter),
                    const struct app_letter *letter);

/* Closes the client's connection. */
int app_letter_close(struct app *app, rc_conn conn, uint16_t code, const char *reason, size_t size);

#endif
