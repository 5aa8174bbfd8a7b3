/* SPDX-License-Identifier: MIT
 *
 * app.h - the server that applications talk to: users, rooms and messages on the public API of the library.
 *
 *      worker's callbacks --> dialect.c --> rooms.c  people.c  feeds.c  reliable.c  batch.c
 *                                              |         |
 *      GET /sse, /poll    --> plain.c --> feeds.c
 *      POST /api          --> api.c      --> directory.c (users, rooms; one lock)
 *
 * Who owns what
 *   A client (a connection) belongs to its worker: only that thread looks into it, but for the fields marked (lock).
 *   The directory belongs to its lock: who is there, in which rooms, and what waits for whom is away. It is held for
 *   look-ups and changes, and while something is handed to a user's devices, so that what was stored comes before what
 *   is new; never while a message is read, and not for messages to rooms.
 *   To reach a client of another worker, a letter is posted to that worker (letters.c), or bytes are sent to its
 * handle.
 *
 * How a message to a room travels: a room is a topic of the log. It is published once, and every member is a cursor.
 * The sender is left out by name (rc_publication.except), so all others still share one plan. Sending a copy to each
 * member instead would cost a copy, a posting and a queue a member, and would leave nothing for `history` to read.
 */
#ifndef RC_APP_H
#define RC_APP_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bucket.h"
#include "log.h"
#include "out.h"
#include "ringcast.h"
#include "settings.h"
#include "store.h"
#include "table.h"
#include "token.h"
#include "window.h"

#define RC_CLIENT_ID_SIZE 16
#define RC_FEED_NAME_MAX 200
#define RC_PATTERNS_MAX 16 /* of a client */
#define RC_MESSAGE_ID_MAX 128
#define RC_NS_PER_S UINT64_C(1000000000)
#define RC_NEVER UINT64_MAX

struct rc_app;
struct rc_app_client;

/* ---- counters; any thread ---- */

#define RC_LATENCY_BUCKETS 16 /* below 1, 2, 4 ... microseconds, and the rest */

struct rc_counters {
	_Atomic uint64_t open, received, sent, errors, reconnections, rejected, flooded;
	_Atomic uint64_t stored, store_dropped, resent, unacknowledged, duplicates;
	_Atomic uint64_t rooms_made, api_requests;
	_Atomic uint64_t latency_ns, latency_count, latency[RC_LATENCY_BUCKETS]; /* of handling a message */
	_Atomic uint64_t ack_ns, ack_count, ack[RC_LATENCY_BUCKETS]; /* from DATA to its ACK, milliseconds */
};
#define RC_COUNT(app, name) atomic_fetch_add_explicit(&(app)->counters.name, 1, memory_order_relaxed)

/* ---- the directory; all of it (lock) ---- */

struct rc_user {
	struct rc_node node; /* in users */
	struct rc_app_client *devices;
	unsigned device_count; /* connections that opened or are about to */
	struct rc_store store;
	struct rc_window *window;      /* ids of its DATA, or null */
	struct rc_user *newer, *older; /* in the list of those who are away */
	uint64_t left_ns;              /* 0: is here */
	bool known;                    /* has been here */
	char name[];
};

struct rc_room {
	struct rc_node node; /* in rooms */
	struct rc_member *members;
	size_t member_count; /* connections */
	size_t topic_size;
	char *topic; /* of the log; differs each time a room of this name is made */
	char name[];
};

/* A client in a room: in two lists. */
struct rc_member {
	struct rc_room *room;
	struct rc_app_client *client;
	struct rc_member *next, *previous; /* of the room (lock) */
	struct rc_member *next_room;       /* of the client, whose worker changes it, with the lock */
};

struct rc_directory {
	pthread_mutex_t lock;
	struct rc_table users, rooms, addresses;
	struct rc_user *newest, *oldest; /* who are away */
	size_t away_count;
	uint64_t rooms_ever;
};

/* ---- a worker's ---- */

struct rc_crew {
	struct rc_app *app;
	unsigned index;
	struct rc_table clients;     /* by handle */
	struct rc_app_client **heap; /* by deadline */
	size_t heap_count, heap_capacity;
	_Atomic uint64_t next_ns;      /* the first deadline */
	struct rc_out out, head, tail; /* scratch: of the answer, and of what is published */
	unsigned inside;               /* callbacks that may still look at a client */
	struct rc_app_client *dead;    /* freed when none is left */
};

/* A message that waits for its ACK. */
struct rc_pending {
	struct rc_pending *next;
	uint64_t number;
	uint64_t sent_ns, due_ns;
	unsigned tries;
	bool keep; /* it is a user's: it goes back to the store if this client leaves without ACK */
	size_t data_size;
	char data[]; /* the value of "data" */
};

struct rc_feed {
	struct rc_feed *next;
	bool pulled;           /* read from the log batch by batch, and not followed by a cursor: */
	uint64_t epoch, since; /* what it has had */
	bool chosen;           /* it was asked for by its name, not only by a pattern */
	bool room;
	size_t size;
	char name[];
};

/* What a client without WebSocket asked for. */
struct rc_plain {
	json_t *wish;             /* as a `subscribe` says it */
	struct rc_event_id after; /* of server-sent events: what it had last */
	bool polls;               /* one answer, and not a stream */
	unsigned wait_s;
	char headers[512]; /* of that answer */
};

struct rc_app_client {
	struct rc_node node; /* in its crew's clients */
	struct rc_app *app;
	struct rc_crew *crew;
	rc_conn conn;
	char id[RC_CLIENT_ID_SIZE + 1];
	struct rc_plain *plain; /* null: it has a WebSocket */
	bool opened, closing;
	struct rc_app_client *next_dead;

	/* who it is */
	struct rc_user *user;              /* null until it has said who it is */
	struct rc_app_client *next_device; /* (lock) */
	struct rc_claims claims;
	bool has_token, expired;
	unsigned permissions;
	char *claimed;              /* the USER of its path, which a token has yet to prove, or null */
	struct rc_address *address; /* (lock) */

	/* what it does */
	struct rc_bucket bucket, strikes;
	struct rc_member *members;
	unsigned room_count;
	struct rc_feed *feeds;
	unsigned feed_count;
	char *patterns[RC_PATTERNS_MAX];
	bool pattern_conflates[RC_PATTERNS_MAX];
	unsigned pattern_count;

	/* what waits for it */
	bool by_letter; /* (lock) others hand it messages by letter, because of what follows */
	bool reliable;  /* direct messages come as DATA */
	struct rc_pending *pending, *pending_last;
	unsigned pending_count;
	unsigned batch_count, batch_delay_ms; /* 0: not in batches */
	struct rc_out batch;
	unsigned batched;

	/* when something is due; RC_NEVER */
	uint64_t auth_ns, expiry_ns, resend_ns, batch_ns, wait_ns;
	uint64_t deadline_ns;
	size_t heap_place; /* + 1; 0: is not there */
};

struct rc_app {
	rc_server *server;
	_Atomic(struct rc_settings *) settings;
	struct rc_directory directory;
	struct rc_crew *crews;
	unsigned crew_count;
	struct rc_counters counters;
	uint64_t started_ns;
	uint64_t epoch;           /* differs from one start to the next: part of the ids of messages */
	_Atomic uint64_t numbers; /* given to messages that the server sends as DATA or direct */
	_Atomic bool draining;
	unsigned api_listener_first; /* listeners from this one on serve /api alone; UINT_MAX: there are none */

	pthread_mutex_t feeds_lock;
	struct rc_watch *watches; /* who waits for new topics; feeds.c */
	_Atomic unsigned watch_count;

	pthread_t clock;
	pthread_mutex_t clock_lock;
	pthread_cond_t clock_wake;
	uint64_t clock_until_ns;
	bool clock_ends;
};

/* The settings of now: valid until the callback returns. */
static inline const struct rc_settings *rc_app_settings(const struct rc_app *app)
{
	return atomic_load_explicit(&app->settings, memory_order_acquire);
}

/* ---- directory.c: what is called with the lock says so ---- */
bool rc_directory_init(struct rc_directory *directory, uint64_t seed);
void rc_directory_destroy(struct rc_directory *directory);
struct rc_user *rc_directory_user(struct rc_directory *directory, const char *name, size_t size, bool make); /* lock */
struct rc_room *rc_directory_room(struct rc_directory *directory, const char *name, size_t size, bool make); /* lock */
void rc_directory_leave(struct rc_directory *directory, struct rc_member *member); /* lock; the room may vanish */
void rc_directory_settle(struct rc_app *app, struct rc_user *user);                /* lock: nobody needs it any more? */
void rc_directory_sweep(struct rc_app *app);
/* An address that has a place less, or null: it has all it may have. */
struct rc_address *rc_address_enter(struct rc_app *app, const char *name, unsigned max);
void rc_address_leave(struct rc_app *app, struct rc_address *address);

/* ---- access.c ---- */
int rc_access_judge(struct rc_app *app, rc_request *request, struct rc_app_client *client);
int rc_access_judge_plain(struct rc_app *app, rc_request *request, struct rc_app_client *client);
/* The address that counts: the peer's, or what a proxy that is trusted says. */
const char *rc_access_address(const struct rc_settings *settings, const rc_request *request, char *scratch,
                              size_t size);
bool rc_access_origin(const struct rc_settings *settings, const rc_request *request);
bool rc_access_api(const struct rc_settings *settings, rc_request *request, const char **why);
void rc_access_auth(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_access_due(struct rc_app_client *client, uint64_t now_ns);

/* ---- clients.c ---- */
struct rc_handlers rc_clients_handlers(struct rc_app *app);
/* A client for a request: it is let in, or the request has been answered, or the status is to be. `plain` is null for a
 * WebSocket; it is the client's from here on. */
int rc_clients_open(struct rc_app *app, rc_request *request, struct rc_plain *plain);
/* Around whatever may end a client and looks at it afterwards. */
void rc_crew_enter(struct rc_crew *crew);
void rc_crew_leave(struct rc_crew *crew);
struct rc_app_client *rc_clients_find(struct rc_crew *crew, rc_conn conn);
/* Sends what is in *out, perhaps in a batch. */
void rc_app_send(struct rc_app_client *client, struct rc_out *out);
void rc_app_close(struct rc_app_client *client, uint16_t code, const char *reason);
void rc_app_due(struct rc_app_client *client, uint64_t now_ns);

/* ---- people.c ---- */
/* Makes a client one of a user's devices. False: the user has all it may have. */
bool rc_people_reserve(struct rc_app *app, struct rc_app_client *client, const char *name);
void rc_people_arrive(struct rc_app_client *client);
void rc_people_leave(struct rc_app_client *client);
/* Hands a message to a user's devices, or stores it. Returns how many devices; -1: it was stored; -2: neither. `except`
 * may be null. */
int rc_people_deliver(struct rc_app *app, const char *user, size_t user_size, const char *bytes, size_t size,
                      bool reliable, const struct rc_app_client *except);
/* Keeps a message for the user's next connection. (lock) */
bool rc_people_store(struct rc_app *app, struct rc_user *user, uint64_t number, const char *bytes, size_t size);
void rc_people_broadcast(struct rc_app *app, const char *from, const json_t *content, const json_t *id);
void rc_people_direct(struct rc_app_client *client, const json_t *message, const json_t *id);

/* ---- dialect.c ---- */
void rc_dialect_receive(struct rc_app_client *client, const struct rc_message *message);
void rc_dialect_handle(struct rc_app_client *client, const json_t *message, unsigned depth);
/* The same for what has been counted against the rate already: the content of a DATA, which is acknowledged whatever.
 */
void rc_dialect_handle_admitted(struct rc_app_client *client, const json_t *message, unsigned depth);
void rc_dialect_error(struct rc_app_client *client, const json_t *id, const char *code, const char *words);
/* A text field of 1 to `max` characters; null after telling the client what is wrong. */
const char *rc_dialect_text(struct rc_app_client *client, const json_t *message, const json_t *id, const char *field,
                            size_t max, size_t *size);
const json_t *rc_dialect_content(struct rc_app_client *client, const json_t *message, const json_t *id);
/* `since` and `limit` and the like: a whole number up to `max`, or `missing`; -1 after telling what is wrong. */
int64_t rc_dialect_number(struct rc_app_client *client, const json_t *message, const json_t *id, const char *field,
                          int64_t max, int64_t missing);

/* ---- rooms.c ---- */
void rc_rooms_join(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_rooms_leave(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_rooms_message(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_rooms_members(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_rooms_leave_all(struct rc_app_client *client);
/* Leaves those that the client's new claims do not allow. */
void rc_rooms_recheck(struct rc_app_client *client);
struct rc_member *rc_rooms_find(const struct rc_app_client *client, const char *room, size_t size);

/* ---- feeds.c ---- */
void rc_feeds_subscribe(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_feeds_unsubscribe(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_feeds_history(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_feeds_leave_all(struct rc_app_client *client);
/* Publishes an update. Returns its sequence, or a negative errno. Any thread. */
int64_t rc_feeds_publish(struct rc_app *app, const char *topic, size_t size, const json_t *data);
/* Publishes a message that holds its number: `head` NUMBER `tail`. A room's number is "EPOCH-SEQ", a feed's is SEQ and
 * its epoch as another member. */
int64_t rc_feeds_publish_numbered(struct rc_app *app, const char *topic, size_t topic_size, const struct rc_out *head,
                                  const struct rc_out *tail, bool room, rc_conn except);
bool rc_feed_name_reserved(const char *name, size_t size);
/* Begins to follow a topic of the log: through a cursor of its own, or batch by batch. *start as in rc_subscribe(). */
void rc_out_gap(struct rc_out *out, const char *topic, size_t size, uint64_t from, uint64_t to, uint64_t epoch,
                bool reset);
int rc_feeds_follow(struct rc_app_client *client, const char *name, size_t size, bool room, struct rc_start *start);
void rc_feeds_unfollow(struct rc_app_client *client, const char *name, size_t size);
struct rc_feed *rc_feeds_find(const struct rc_app_client *client, const char *name, size_t size);

/* ---- plain.c ---- */
/* Answers /sse/ and /poll/ as handlers.request does; -1: it is for neither. */
int rc_plain_answer(struct rc_app *app, rc_request *request);
/* After it was let in: a stream, a wait, or an answer at once (then client->opened is false). A status, or 0. */
int rc_plain_begin(struct rc_app_client *client, rc_request *request);
void rc_plain_open(struct rc_app_client *client);
void rc_plain_ready(struct rc_app_client *client);
void rc_plain_due(struct rc_app_client *client);
void rc_plain_free(struct rc_plain *plain);

/* ---- reliable.c ---- */
void rc_reliable_data(struct rc_app_client *client, const json_t *message, const json_t *id, unsigned depth);
void rc_reliable_heartbeat(struct rc_app_client *client, const json_t *id);
void rc_reliable_ack(struct rc_app_client *client, const json_t *message, const json_t *id);
/* Sends `data` as DATA and again until it is acknowledged. */
void rc_reliable_send(struct rc_app_client *client, uint64_t number, const char *data, size_t size, bool keep);
void rc_reliable_due(struct rc_app_client *client, uint64_t now_ns);
/* What was not acknowledged goes back to its user's store. (lock) */
void rc_reliable_return(struct rc_app_client *client);

/* ---- batch.c ---- */
void rc_batch_receive(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_batch_set(struct rc_app_client *client, const json_t *message, const json_t *id);
void rc_batch_add(struct rc_app_client *client, const char *bytes, size_t size);
void rc_batch_due(struct rc_app_client *client, uint64_t now_ns);
void rc_batch_flush(struct rc_app_client *client);

/* ---- clock.c ---- */
int rc_clock_start(struct rc_app *app);
void rc_clock_stop(struct rc_app *app);
/* After one of a client's times has changed. */
void rc_clock_set(struct rc_app_client *client);
void rc_clock_remove(struct rc_app_client *client);

/* ---- letters.c ---- */
enum rc_letter_kind { RC_LETTER_TEXT, RC_LETTER_DATA, RC_LETTER_TOPIC, RC_LETTER_CLOSE };
/* Posts to the worker of a client: there it is found by its handle, if it still is. */
int rc_letter_post(struct rc_app *app, rc_conn conn, enum rc_letter_kind kind, uint64_t number, const void *bytes,
                   size_t size);

/* ---- api.c, figures.c ---- */
int rc_api_answer(struct rc_app *app, rc_request *request);
void rc_figures_stats(struct rc_app *app, struct rc_out *out);
void rc_figures_metrics(struct rc_app *app, struct rc_out *out);
void rc_figures_rooms(struct rc_app *app, struct rc_out *out, size_t max);
void rc_figures_presence(struct rc_app *app, struct rc_out *out, const char *user, size_t max);
void rc_figures_latency(_Atomic uint64_t *buckets, uint64_t value);

/* ---- time, as it is written ---- */
uint64_t rc_time_ms(void);
void rc_out_time_iso(struct rc_out *out);

#endif
