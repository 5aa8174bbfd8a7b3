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
#ifndef APP_H
#define APP_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bucket.h"
#include "lib/wait.h"
#include "log.h"
#include "out.h"
#include "ringcast.h"
#include "settings.h"
#include "store.h"
#include "table.h"
#include "token.h"
#include "window.h"

#define APP_CLIENT_ID_SIZE 16
#define APP_FEED_NAME_MAX 200
#define APP_PATTERNS_MAX 16 /* of a client */
#define APP_MESSAGE_ID_MAX 128
#define APP_NEVER UINT64_MAX

struct app;
struct app_client;

/* ---- counters; any thread ---- */

#define APP_LATENCY_BUCKETS 16 /* below 1, 2, 4 ... microseconds, and the rest */

struct app_counters {
	_Atomic uint64_t open, received, sent, errors, reconnections, rejected, flooded;
	_Atomic uint64_t stored, store_dropped, resent, unacknowledged, duplicates;
	_Atomic uint64_t rooms_made, api_requests;
	_Atomic uint64_t latency_ns, latency_count, latency[APP_LATENCY_BUCKETS]; /* of handling a message */
	_Atomic uint64_t ack_ns, ack_count, ack[APP_LATENCY_BUCKETS]; /* from DATA to its ACK, milliseconds */
};
#define APP_COUNT(app, name) atomic_fetch_add_explicit(&(app)->counters.name, 1, memory_order_relaxed)

/* ---- the directory; all of it (lock) ---- */

struct app_user {
	struct app_node node; /* in users */
	struct app_client *devices;
	unsigned device_count; /* connections that opened or are about to */
	struct app_store store;
	struct app_window *window;      /* ids of its DATA, or null */
	struct app_user *newer, *older; /* in the list of those who are away */
	uint64_t left_ns;               /* 0: is here */
	bool known;                     /* has been here */
	char name[];
};

struct app_room {
	struct app_node node; /* in rooms */
	struct app_member *members;
	size_t member_count; /* connections */
	size_t topic_size;
	char *topic; /* of the log; differs each time a room of this name is made */
	char name[];
};

/* A client in a room: in two lists. */
struct app_member {
	struct app_room *room;
	struct app_client *client;
	struct app_member *next, *previous; /* of the room (lock) */
	struct app_member *next_room;       /* of the client, whose worker changes it, with the lock */
};

struct app_directory {
	pthread_mutex_t lock;
	struct app_table users, rooms, addresses;
	struct app_user *newest, *oldest; /* who are away */
	size_t away_count;
	uint64_t rooms_ever;
};

/* ---- a worker's ---- */

struct app_crew {
	struct app *app;
	unsigned index;
	struct app_table clients; /* by handle */
	struct app_client **heap; /* by deadline */
	size_t heap_count, heap_capacity;
	_Atomic uint64_t next_ns;       /* the first deadline */
	struct app_out out, head, tail; /* scratch: of the answer, and of what is published */
	unsigned inside;                /* callbacks that may still look at a client */
	struct app_client *dead;        /* freed when none is left */
};

/* A message that waits for its ACK. */
struct app_pending {
	struct app_pending *next;
	uint64_t number;
	uint64_t sent_ns, due_ns;
	unsigned tries;
	bool keep; /* it is a user's: it goes back to the store if this client leaves without ACK */
	size_t data_size;
	char data[]; /* the value of "data" */
};

struct app_feed {
	struct app_feed *next;
	bool pulled;           /* read from the log batch by batch, and not followed by a cursor: */
	uint64_t epoch, since; /* what it has had */
	bool chosen;           /* it was asked for by its name, not only by a pattern */
	bool room;
	size_t size;
	char name[];
};

/* What a client without WebSocket asked for. */
struct app_plain {
	json_t *wish;             /* as a `subscribe` says it */
	struct rc_event_id after; /* of server-sent events: what it had last */
	bool polls;               /* one answer, and not a stream */
	unsigned wait_s;
	char headers[512]; /* of that answer */
};

struct app_client {
	struct app_node node; /* in its crew's clients */
	struct app *app;
	struct app_crew *crew;
	rc_conn conn;
	char id[APP_CLIENT_ID_SIZE + 1];
	struct app_plain *plain; /* null: it has a WebSocket */
	bool opened, closing;
	struct app_client *next_dead;

	/* who it is */
	struct app_user *user;          /* null until it has said who it is */
	struct app_client *next_device; /* (lock) */
	struct app_claims claims;
	bool has_token, expired;
	unsigned permissions;
	char *claimed;               /* the USER of its path, which a token has yet to prove, or null */
	struct app_address *address; /* (lock) */

	/* what it does */
	struct app_bucket bucket, strikes;
	struct app_member *members;
	unsigned room_count;
	struct app_feed *feeds;
	unsigned feed_count;
	char *patterns[APP_PATTERNS_MAX];
	bool pattern_conflates[APP_PATTERNS_MAX];
	unsigned pattern_count;

	/* what waits for it */
	bool by_letter; /* (lock) others hand it messages by letter, because of what follows */
	bool reliable;  /* direct messages come as DATA */
	struct app_pending *pending, *pending_last;
	unsigned pending_count;
	unsigned batch_count, batch_delay_ms; /* 0: not in batches */
	struct app_out batch;
	unsigned batched;

	/* when something is due; APP_NEVER */
	uint64_t auth_ns, expiry_ns, resend_ns, batch_ns, wait_ns;
	uint64_t deadline_ns;
	size_t heap_place; /* + 1; 0: is not there */
};

struct app {
	rc_server *server;
	_Atomic(struct app_settings *) settings;
	struct app_directory directory;
	struct app_crew *crews;
	unsigned crew_count;
	struct app_counters counters;
	uint64_t started_ns;
	uint64_t epoch;           /* differs from one start to the next: part of the ids of messages */
	_Atomic uint64_t numbers; /* given to messages that the server sends as DATA or direct */
	_Atomic bool draining;
	unsigned api_listener_first; /* listeners from this one on serve /api alone; UINT_MAX: there are none */

	pthread_mutex_t feeds_lock;
	struct app_watch *watches; /* who waits for new topics; feeds.c */
	_Atomic unsigned watch_count;

	pthread_t clock;
	pthread_mutex_t clock_lock;
	pthread_cond_t clock_wake;
	uint64_t clock_until_ns;
	bool clock_ends;
};

/* The settings of now: valid until the callback returns. */
static inline const struct app_settings *app_settings_now(const struct app *app)
{
	return atomic_load_explicit(&app->settings, memory_order_acquire);
}

/* ---- directory.c: what is called with the lock says so ---- */
bool app_directory_init(struct app_directory *directory, uint64_t seed);
void app_directory_destroy(struct app_directory *directory);
struct app_user *app_directory_user(struct app_directory *directory, const char *name, size_t size,
                                    bool make); /* lock */
struct app_room *app_directory_room(struct app_directory *directory, const char *name, size_t size,
                                    bool make);                                       /* lock */
void app_directory_leave(struct app_directory *directory, struct app_member *member); /* lock; the room may vanish */
void app_directory_settle(struct app *app, struct app_user *user); /* lock: nobody needs it any more? */
void app_directory_sweep(struct app *app);
/* An address that has a place less, or null: it has all it may have. */
struct app_address *app_address_enter(struct app *app, const char *name, unsigned max);
void app_address_leave(struct app *app, struct app_address *address);

/* ---- access.c ---- */
int app_access_judge(struct app *app, rc_request *request, struct app_client *client);
int app_access_judge_plain(struct app *app, rc_request *request, struct app_client *client);
/* The address that counts: the peer's, or what a proxy that is trusted says. */
const char *app_access_address(const struct app_settings *settings, const rc_request *request, char *scratch,
                               size_t size);
bool app_access_origin(const struct app_settings *settings, const rc_request *request);
bool app_access_api(const struct app_settings *settings, rc_request *request, const char **why);
void app_access_auth(struct app_client *client, const json_t *message, const json_t *id);
void app_access_due(struct app_client *client, uint64_t now_ns);

/* ---- clients.c ---- */
struct rc_handlers app_clients_handlers(struct app *app);
/* A client for a request: it is let in, or the request has been answered, or the status is to be. `plain` is null for a
 * WebSocket; it is the client's from here on. */
int app_clients_open(struct app *app, rc_request *request, struct app_plain *plain);
/* Around whatever may end a client and looks at it afterwards. */
void app_crew_enter(struct app_crew *crew);
void app_crew_leave(struct app_crew *crew);
struct app_client *app_clients_find(struct app_crew *crew, rc_conn conn);
/* Sends what is in *out, perhaps in a batch. */
void app_send(struct app_client *client, struct app_out *out);
void app_close(struct app_client *client, uint16_t code, const char *reason);
void app_due(struct app_client *client, uint64_t now_ns);

/* ---- people.c ---- */
/* Makes a client one of a user's devices. False: the user has all it may have. */
bool app_people_reserve(struct app *app, struct app_client *client, const char *name);
void app_people_arrive(struct app_client *client);
void app_people_leave(struct app_client *client);
/* Hands a message to a user's devices, or stores it. Returns how many devices; -1: it was stored; -2: neither. `except`
 * may be null. */
int app_people_deliver(struct app *app, const char *user, size_t user_size, const char *bytes, size_t size,
                       bool reliable, const struct app_client *except);
/* Keeps a message for the user's next connection. (lock) */
bool app_people_store(struct app *app, struct app_user *user, uint64_t number, const char *bytes, size_t size);
void app_people_broadcast(struct app *app, const char *from, const json_t *content, const json_t *id);
void app_people_direct(struct app_client *client, const json_t *message, const json_t *id);

/* ---- dialect.c ---- */
void app_dialect_receive(struct app_client *client, const struct rc_message *message);
void app_dialect_handle(struct app_client *client, const json_t *message, unsigned depth);
/* The same for what has been counted against the rate already: the content of a DATA, which is acknowledged whatever.
 */
void app_dialect_handle_admitted(struct app_client *client, const json_t *message, unsigned depth);
void app_dialect_error(struct app_client *client, const json_t *id, const char *code, const char *words);
/* A text field of 1 to `max` characters; null after telling the client what is wrong. */
const char *app_dialect_text(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                             size_t max, size_t *size);
const json_t *app_dialect_content(struct app_client *client, const json_t *message, const json_t *id);
/* `since` and `limit` and the like: a whole number up to `max`, or `missing`; -1 after telling what is wrong. */
int64_t app_dialect_number(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                           int64_t max, int64_t missing);

/* ---- rooms.c ---- */
void app_rooms_join(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_leave(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_message(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_members(struct app_client *client, const json_t *message, const json_t *id);
void app_rooms_leave_all(struct app_client *client);
/* Leaves those that the client's new claims do not allow. */
void app_rooms_recheck(struct app_client *client);
struct app_member *app_rooms_find(const struct app_client *client, const char *room, size_t size);

/* ---- feeds.c ---- */
void app_feeds_subscribe(struct app_client *client, const json_t *message, const json_t *id);
void app_feeds_unsubscribe(struct app_client *client, const json_t *message, const json_t *id);
void app_feeds_history(struct app_client *client, const json_t *message, const json_t *id);
void app_feeds_leave_all(struct app_client *client);
/* Publishes an update. Returns its sequence, or a negative errno. Any thread. */
int64_t app_feeds_publish(struct app *app, const char *topic, size_t size, const json_t *data);
/* Publishes a message that holds its number: `head` NUMBER `tail`. A room's number is "EPOCH-SEQ", a feed's is SEQ and
 * its epoch as another member. */
int64_t app_feeds_publish_numbered(struct app *app, const char *topic, size_t topic_size, const struct app_out *head,
                                   const struct app_out *tail, bool room, rc_conn except);
bool app_feed_name_reserved(const char *name, size_t size);
/* Begins to follow a topic of the log: through a cursor of its own, or batch by batch. *start as in rc_subscribe(). */
void app_out_gap(struct app_out *out, const char *topic, size_t size, uint64_t from, uint64_t to, uint64_t epoch,
                 bool reset);
int app_feeds_follow(struct app_client *client, const char *name, size_t size, bool room, struct rc_start *start);
void app_feeds_unfollow(struct app_client *client, const char *name, size_t size);
struct app_feed *app_feeds_find(const struct app_client *client, const char *name, size_t size);

/* ---- plain.c ---- */
/* Answers /sse/ and /poll/ as handlers.request does; -1: it is for neither. */
int app_plain_answer(struct app *app, rc_request *request);
/* After it was let in: a stream, a wait, or an answer at once (then client->opened is false). A status, or 0. */
int app_plain_begin(struct app_client *client, rc_request *request);
void app_plain_open(struct app_client *client);
void app_plain_ready(struct app_client *client);
void app_plain_due(struct app_client *client);
void app_plain_free(struct app_plain *plain);

/* ---- reliable.c ---- */
void app_reliable_data(struct app_client *client, const json_t *message, const json_t *id, unsigned depth);
void app_reliable_heartbeat(struct app_client *client, const json_t *id);
void app_reliable_ack(struct app_client *client, const json_t *message, const json_t *id);
/* Sends `data` as DATA and again until it is acknowledged. */
void app_reliable_send(struct app_client *client, uint64_t number, const char *data, size_t size, bool keep);
void app_reliable_due(struct app_client *client, uint64_t now_ns);
/* What was not acknowledged goes back to its user's store. (lock) */
void app_reliable_return(struct app_client *client);

/* ---- batch.c ---- */
void app_batch_receive(struct app_client *client, const json_t *message, const json_t *id);
void app_batch_set(struct app_client *client, const json_t *message, const json_t *id);
void app_batch_add(struct app_client *client, const char *bytes, size_t size);
void app_batch_due(struct app_client *client, uint64_t now_ns);
void app_batch_flush(struct app_client *client);

/* ---- clock.c ---- */
int app_clock_start(struct app *app);
void app_clock_stop(struct app *app);
/* After one of a client's times has changed. */
void app_clock_set(struct app_client *client);
void app_clock_remove(struct app_client *client);

/* ---- letters.c ---- */
enum app_letter_kind { APP_LETTER_TEXT, APP_LETTER_DATA, APP_LETTER_TOPIC, APP_LETTER_CLOSE };
/* Posts to the worker of a client: there it is found by its handle, if it still is. */
int app_letter_post(struct app *app, rc_conn conn, enum app_letter_kind kind, uint64_t number, const void *bytes,
                    size_t size);

/* ---- api.c, figures.c ---- */
int app_api_answer(struct app *app, rc_request *request);
void app_figures_stats(struct app *app, struct app_out *out);
void app_figures_metrics(struct app *app, struct app_out *out);
void app_figures_rooms(struct app *app, struct app_out *out, size_t max);
void app_figures_presence(struct app *app, struct app_out *out, const char *user, size_t max);
void app_figures_latency(_Atomic uint64_t *buckets, uint64_t value);

/* ---- time, as it is written ---- */
uint64_t app_time_ms(void);
void app_out_time_iso(struct app_out *out);

#endif
