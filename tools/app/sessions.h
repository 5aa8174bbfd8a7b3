/* SPDX-License-Identifier: MIT
 *
 * sessions.h - a user who polls: a client without a connection, which is its user's device and a member of its rooms
 * from its first poll until some time (--poll-timeout) after its last. What the log has is read from there when it is
 * polled for; what is for its user waits in a store of its own, as for one who is away; only answers to itself are
 * queued.
 *
 *      GET /poll?me=1&rooms=a,b     200 {"messages":[...],"session":"ID.1"}
 *      GET /poll?session=ID.1       200 {"messages":[...],"session":"ID.2"}, or 204 when nothing came
 *
 * Each answer has a number. Who asks with it has had that answer; who asks with the number before gets it again.
 *
 * Invariant: a session stays on the worker where it began. A poll comes to it from any worker as a letter, and gets its
 * answer as one. A session counts as a connection of its address and of its user, and holds at most APP_HEARD_SIZE_MAX,
 * its last answer, and what a store may.
 */
#ifndef APP_SESSIONS_H
#define APP_SESSIONS_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ringcast.h"
#include "table.h"
#include "token.h"

struct app;
struct app_client;

#define APP_SESSIONS_MAX 65536 /* of all */
#define APP_SESSION_OVER "{\"error\":\"this session is over: poll again without it\",\"code\":\"SESSION_OVER\"}"

struct app_sessions {
	pthread_mutex_t lock;
	struct app_table table;   /* by id */
	unsigned worker_bit;      /* the lowest of a handle's that say the worker */
	_Atomic uint32_t numbers; /* of the handles that were given */
};

bool app_sessions_init(struct app_sessions *sessions, uint64_t seed);
/* There are none any more. */
void app_sessions_destroy(struct app_sessions *sessions);
size_t app_sessions_count(struct app *app);

/* Makes a client of plain HTTP hear what its user would, and joins its rooms. False: the user has too many connections.
 */
bool app_sessions_enter(struct app_client *client, const char *user, const json_t *rooms);
/* The name of who asks by plain HTTP. */
const char *app_sessions_name(const struct app_client *client);

/* Who polls, and what for. Its claims become the session's. */
struct app_caller {
	rc_conn poll;    /* that is answered */
	uint64_t number; /* of the answer that it has had */
	unsigned wait_s;
	json_t *rooms; /* null: as they are */
	char *user;    /* null: whoever knows the id */
	bool has_token, by_hook, guest;
	unsigned permissions;
	struct app_claims claims;
};

/* For a poll that was let in, on its worker: makes a session, which answers it; or says why there is none. */
void app_session_begin(struct app_client *poll, struct app_caller *caller);

/* Where the session of this id is, or was just now, as a handle; 0: nowhere. Any thread. The functions below are for
 * its worker. */
rc_conn app_session_place(struct app *app, const char *id);
const char *app_session_id(const struct app_client *client);
/* Whether this poll may go on with it, and then does; it is answered unless the client is closing then. */
bool app_session_is_of(const struct app_client *client, const struct app_caller *caller);
void app_session_go_on(struct app_client *client, struct app_caller *caller);
/* Something came that this poll of its follows; or the poll has gone. */
void app_session_look(struct app_client *client, rc_conn poll);
void app_session_forget(struct app_client *client, rc_conn poll);
/* Answers a poll, from any thread. */
void app_session_answer(struct app *app, rc_conn poll, int status, const char *bytes, size_t size);

void app_sessions_due(struct app_client *client, uint64_t now_ns);
/* It ends, which whoever ends a client asks for; and when nothing knows the client any more. */
void app_sessions_end(struct app_client *client);
void app_sessions_free(struct app_client *client);

#endif
