/* SPDX-License-Identifier: MIT
 *
 * client.h - a client: one connection, and all that this server knows of it. And its crew: the clients of one worker.
 *
 * A client belongs to its worker: only that thread looks into it, but for the fields marked (lock), which are the
 * directory's. To reach a client of another worker, a letter is posted (letters.h), or bytes are sent to its handle.
 *
 * A client is freed in handlers.close alone. The library calls that in no other callback and in no call to it, so
 * nothing that is done for a client ends its memory meanwhile.
 */
#ifndef APP_CLIENT_H
#define APP_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "bare.h"
#include "bucket.h"
#include "clock.h"
#include "form.h"
#include "out.h"
#include "ringcast.h"
#include "status.h"
#include "store.h"
#include "table.h"
#include "token.h"

#define APP_CLIENT_ID_SIZE 16
#define APP_PATTERNS_MAX 16 /* of a client */

/* Pings as messages: heartbeat.c. */
struct app_heartbeat {
	unsigned interval_ms; /* 0: none */
	uint64_t stamp;       /* of the latest, and when that left; 0: it was answered */
	uint64_t sent_ns;
	uint64_t round_trip_ns;
};

struct app_crew {
	struct app *app;
	struct app_table clients; /* by handle */
	struct app_deadlines deadlines;
	struct app_out out, head, tail; /* scratch: for an answer, and for what is published */
	struct app_out coded;           /* and for what of it goes in another form than JSON, or came so */
	struct app_in_hand *in_hand;    /* the DATA that is handled, on several nodes (span.h) */
};

struct app_client {
	struct app_node node; /* in its crew's clients */
	struct app *app;
	struct app_crew *crew;
	rc_conn conn;
	char id[APP_CLIENT_ID_SIZE + 1];
	struct app_wish *wish;          /* what it asked for by plain HTTP; null: it has a WebSocket */
	enum app_bare bare;             /* it does not speak the dialect */
	char *shown;                    /* its address, as a chat shows it; or null */
	enum app_form form;             /* of its messages on the wire */
	struct app_info *info;          /* info.c; or null */
	struct app_out *answers;        /* it has no connection, and hears this; null: it has one */
	struct app_session *session;    /* it has none, and stays: its user polls (sessions.h); or null, */
	struct app_speech *speech;      /* it has none, and speaks by one request (speech.h); or null */
	rc_conn polled;                 /* and the request that waits for what it hears; or 0 */
	bool opened, closing, returned; /* returned: it, or its user, was here a short time ago */

	/* who it is: login.c, people.c */
	struct app_user *user;          /* null until it has said who it is */
	struct app_client *next_device; /* (lock) */
	struct app_claims claims;
	bool has_token, expired; /* has_token: or the backend said who it is: */
	bool by_hook, guest;     /* guest: and it gave it no name */
	struct app_hold *hold;   /* null until its backend is asked */
	unsigned permissions;
	char *claimed;               /* the USER of its path, which a token has yet to prove, or null */
	struct app_address *address; /* (lock) */

	/* how much it may say: rate.c */
	struct app_bucket bucket, strikes;
	unsigned stranger_messages; /* before it said who it is */

	/* what it follows: rooms.c, feeds.c */
	struct app_member *members;
	unsigned room_count;
	unsigned join_count; /* so far */
	struct app_feed *feeds;
	unsigned feed_count;
	char *patterns[APP_PATTERNS_MAX];
	unsigned pattern_count;
	unsigned subscribe_count;     /* subscribes so far */
	struct app_partial *partials; /* what it says in pieces (partials.h) */
	unsigned partial_count;
	const json_t *inside;                    /* the id of the DATA that is being handled, or null */
	bool refused;                            /* something in it */
	struct app_outcome outcome;              /* of what is in it */
	struct app_passing_types *passing_types; /* what it has said that is not kept (passing.h), or null */

	/* what waits for it: reliable.c, wire.c */
	bool by_letter; /* (lock) others hand it messages by letter, because of what follows */
	bool reliable;  /* direct messages come as DATA */
	struct app_pending *pending, *pending_last;
	unsigned pending_count;
	struct app_store waiting; /* what follows them, when ACKs make room; its worker changes it, with the lock */
	bool took; /* some of it waited for its user on all nodes, which are to hear when it has it (taken.h) */
	unsigned batch_count, batch_delay_ms; /* 0: not in batches */
	struct app_out batch;
	unsigned batched;

	struct app_heartbeat heartbeat;

	/* when something is due: clock.c */
	struct app_times times;
};

bool app_crews_init(struct app *app, unsigned count, uint64_t seed);
void app_crews_free(struct app *app);

/* Runs `fn` on every worker, one after the other: afterwards no callback is running that began before. From a thread
 * that is none of them. */
void app_crews_visit(struct app *app, void (*fn)(struct app_crew *crew));
struct app_client *app_crew_find(const struct app_crew *crew, rc_conn conn);

/* Whether it is there for longer than one message. */
static inline bool app_client_stays(const struct app_client *client)
{
	return !client->answers || client->session;
}

/* A client that nobody knows yet, on the worker of its handle; null without memory. `wish` is null for a WebSocket; it
 * becomes the client's. */
struct app_client *app_client_new(struct app *app, rc_conn conn, struct app_wish *wish);
void app_client_free(struct app_client *client);

#endif
