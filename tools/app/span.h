/* SPDX-License-Identifier: MIT
 *
 * span.h - rooms and users over several nodes: what this node tells the others. Each thing that happens is a record
 * (record.h) in the one stream of the backplane, and happens when it comes back from there, on this node as on all
 * others (replicate.h). So all nodes know the same members, tell the same comings and goings, and have one order. Here
 * records are only written: it must not know what becomes of them.
 *
 * Without a backplane none of this is called, but for app_spans().
 */
#ifndef APP_SPAN_H
#define APP_SPAN_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "letters.h"
#include "out.h"
#include "record.h"
#include "replica.h"

#define APP_ROOM_CHANNEL "room/0/"
#define APP_USER_CHANNEL "user/"
#define APP_CHANNEL_SIZE_MAX 160
#define APP_NODE_NAME_SIZE 128
#define APP_SPAN_AWAY "The nodes cannot be reached; the message was not sent"

struct app;
struct app_client;
struct app_room;
struct backplane;
struct backplane_number;

struct app_span {
	struct backplane *backplane; /* null: this node is alone */
	uint64_t node;
	struct app_replica replica;    /* under the directory's lock */
	_Atomic uint64_t repeat;       /* the number of this node's newest repeat */
	_Atomic bool is_unsure;        /* its members are to be said again */
	uint64_t said_ns;              /* when they were, last; under the directory's lock */
	_Atomic uint64_t asked_ns;     /* when the others were asked for their figures */
	uint64_t told_ns;              /* when this node told its own; the follower's */
	_Atomic bool is_new;           /* it has yet to say hello */
	char name[APP_NODE_NAME_SIZE]; /* HOST:PORT of its first listener, for people */
	void (*write_figures)(struct app *app, struct app_out *out); /* as an object: of this node alone */
};

/* What a client's DATA still waits for before it is acknowledged; while it is handled, its crew's in_hand. */
struct app_in_hand {
	struct app_in_hand *outer; /* of the DATA that it stands in */
	struct app_answer *answer;
	const json_t *id;
	unsigned count; /* records written for it */
};

/* The bytes before a room's name in its channel, which is its topic on several nodes; 0: it is none of a room. */
static inline size_t app_room_prefix(const char *topic, size_t size)
{
	const size_t prefix = sizeof APP_ROOM_CHANNEL - 1;
	return size > prefix && memcmp(topic, APP_ROOM_CHANNEL, prefix) == 0 ? prefix : 0;
}

/* A channel's name, of a room or a user. */
struct app_channel {
	size_t size;
	char name[APP_CHANNEL_SIZE_MAX];
};
struct app_channel app_channel_of(const char *prefix, const char *name, size_t size);

struct app_device app_device_of(const struct app_client *client);

/* ---- who is where ---- */

/* What cannot be said now is said later, with all others. */
void app_span_arrive(struct app_client *client);
void app_span_leave(struct app_client *client);
/* Its letter is opened when the client has its place in the order, and then says it: the epoch as `sender`, and the
 * `number`. While the nodes cannot be reached it is opened at once, with 0 as both. */
struct app_entry {
	void (*open)(struct app_client *client, const struct app_letter *letter);
	struct app_letter letter;
};
void app_span_enter_room(struct app_client *client, const struct app_room *room, const struct app_entry *entry);
/* The client is sent `told`, if that is not null, likewise. */
void app_span_leave_room(struct app_client *client, const char *topic, size_t size, struct app_out *told);

/* The client has had what had waited for its user. Returns 0, or a negative errno: it could not be said. */
int app_span_had(struct app_client *client);

/* How many devices a user has on other nodes, and in all. (lock) */
size_t app_span_elsewhere(const struct app *app, const char *user, size_t size);
size_t app_span_devices(const struct app *app, const char *user, size_t size);

/* ---- what is said ---- */

/* Who says something, and what is told to whom of it. */
struct app_said {
	struct app *app;
	struct app_client *client; /* null: the application says it */
	const json_t *id;          /* what the client calls it, or null */
	const char *status;        /* what it is told when the engine has it, if it has an id: see status.h */
	size_t count;
	/* Of what the application says: what is called when the engine has it, or never will. Null: nobody waits. */
	void (*done)(void *context, int code, const struct backplane_number *numbers, size_t count);
	void *context;
};

/* Writes a record of what is said; its user, connection and id are set here. Returns 0, or -EAGAIN and others: it was
 * not written. When the engine does not take it later, the client is told so. */
int app_span_say(const struct app_said *said, unsigned kind, const char *channel, size_t size,
                 struct app_record *record);

struct app_directed {
	const char *to, *bytes;
	size_t to_size, size;
	uint64_t number, sender;
	unsigned flags; /* APP_RECORD_... */
};
int app_span_direct(const struct app_said *said, const struct app_directed *directed);

/* Hands what the client's DATA holds to services, as JSON; its ACK waits for that too. Returns 0, or -EAGAIN and
 * others: it was not handed over. */
int app_span_hand_out(struct app_client *client, const char *bytes, size_t size);

/* Has connections of a user closed, or, with its id, one. Returns how many that are, or a negative errno: of none, as
 * after an error, nothing is written. Takes the lock. */
int app_span_close(const struct app_said *said, const char *user, size_t size, const char *client_id,
                   const char *reason);

/* ---- DATA ---- */

/* Between these two a client's DATA is handled. If records were written meanwhile, which in_hand->count says, `told` is
 * what the client is sent when the engine has them all. When it does not take one, the client is told to try later: it
 * sends the DATA again, and what was written counts once. */
void app_in_hand_begin(struct app_client *client, const json_t *id, struct app_in_hand *in_hand);
void app_in_hand_end(struct app_client *client, struct app_in_hand *in_hand, const struct app_out *told);

#endif
