/* SPDX-License-Identifier: MIT
 *
 * directory.h - users, rooms and addresses by name, and what waits for users who are away. All of it is under one lock,
 * which is held for look-ups and changes, and while something is handed to a user's devices, so that what was stored
 * comes before what is new. It is never held while a message is read, nor for messages to rooms.
 *
 * Functions that the caller calls with the lock held say (lock); the others take it.
 */
#ifndef APP_DIRECTORY_H
#define APP_DIRECTORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addresses.h"
#include "stakes.h"
#include "store.h"
#include "table.h"
#include "window.h"

struct app;
struct app_client;

struct app_user {
	struct app_node node; /* in users */
	struct app_client *devices;
	struct app_client *arriving; /* likewise, whose record has not come back yet (span.h) */
	unsigned device_count;       /* connections that opened or are about to */
	struct app_store store;
	struct app_taken *taken;        /* what one of its devices has yet to get (taken.h) */
	struct app_window *window;      /* ids of its DATA, or null */
	struct app_user *newer, *older; /* in a list of those who are away */
	struct app_away *away;          /* which; null: it is here */
	uint64_t left_ns;
	bool passing; /* its devices follow its topic of what is not kept (passing.h) */
	char name[];
};

struct app_room {
	struct app_node node; /* in rooms */
	struct app_member *members;
	_Atomic size_t member_count;  /* connections; changed with the lock */
	struct app_partial *partials; /* what is being said in pieces (partials.h, whose lock it is under) */
	unsigned partial_count;
	_Atomic bool passing; /* its members follow its topic of what is not kept (passing.h); likewise */
	size_t topic_size;
	char *topic; /* of the log; another one each time a room of this name is made */
	char name[];
};

/* A client in a room: in two lists. */
struct app_member {
	struct app_room *room;
	struct app_client *client;
	struct app_stake *stake;
	unsigned serial;                    /* of the client's joins: which this is */
	bool placed;                        /* it follows the room; on several nodes from its place in the order on */
	struct app_member *next, *previous; /* of the room (lock) */
	struct app_member *next_room;       /* of the client, whose worker changes it, with the lock */
};

struct app_away {
	struct app_user *newest, *oldest;
	size_t count;
};

struct app_directory {
	pthread_mutex_t lock;
	struct app_table users, rooms;
	struct app_addresses addresses;
	struct app_table stakes;
	/* Who are away, with messages or with a window of ids alone. Those with messages are never pushed out: when
	 * there are too many, nothing is kept for another one. */
	struct app_away waited_for, remembered;
	struct app_budget budget; /* of all stores */
	uint64_t rooms_ever;
};

bool app_directory_init(struct app_directory *directory, uint64_t seed);
void app_directory_destroy(struct app_directory *directory);

/* Null: there is none, or no memory to make one. (lock) */
struct app_user *app_directory_user(struct app_directory *directory, const char *name, size_t size, bool make);
struct app_room *app_directory_room(const struct app_directory *directory, const char *name, size_t size);
/* Puts a member, for the account of this address, into the room of this name, which is made if there is none. False
 * also when the address is in all rooms that it may be in, or may make no more. (lock) */
bool app_directory_enter(struct app *app, const char *name, size_t size, struct app_address *address,
                         struct app_member *member);
/* The room ends with its last member. (lock) */
void app_directory_leave(struct app *app, struct app_member *member);

/* After a user's devices, store or window changed: counts it as here or away, or forgets it. (lock) */
void app_directory_settle(struct app *app, struct app_user *user);
/* Forgets who has been away for too long, and what was stored for too long. */
void app_directory_sweep(struct app *app);

/* Keeps a message in a store, or for a user's next connection. False: it was not kept. (lock) */
bool app_directory_keep_in(struct app *app, struct app_store *store, const struct app_item *item);
bool app_directory_keep(struct app *app, struct app_user *user, const struct app_item *item);
/* All that waits for a user, which is the caller's from here on. (lock) */
struct app_store app_directory_take(struct app_user *user);
/* Copies of what is in a store, as far as there is room. (lock) */
struct app_store app_directory_copy(struct app *app, const struct app_store *store);
/* The next of a store that is not too old; the caller frees it. Null when it is empty. */
struct app_stored *app_directory_next(struct app *app, struct app_store *store);

#endif
