/* SPDX-License-Identifier: MIT
 *
 * record.h - what nodes tell each other of rooms and users, as bytes: a record has a kind, a channel and these fields.
 * It must not know what is done with them. What comes in may have been written by anybody who reaches the engine: a
 * record that is not whole is refused, and nothing is read beyond its end.
 *
 *      numbers (8 bytes each, little endian), user, id: 2 bytes of size and so many bytes, head: 4 and so many, the
 * rest
 */
#ifndef APP_RECORD_H
#define APP_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "out.h"

/* Kinds, from BACKPLANE_CONTROL on. */
enum app_record_kind {
	APP_RECORD_ENTER = 16, /* a device enters a group (replica.h) */
	APP_RECORD_LEAVE,      /* one leaves */
	APP_RECORD_SAY,        /* to those in a room, or to everybody */
	APP_RECORD_FEED,       /* to the feed of a user's data */
	APP_RECORD_DIRECT,     /* to a user's devices, or until it comes */
	APP_RECORD_CLOSE,      /* connections of a user are closed */
	APP_RECORD_APART,    /* to those in a room, or to everybody, but for some users: `head` is their list as JSON */
	APP_RECORD_PASS,     /* what passes, to all of a channel (passing.h): number and sender are its key */
	APP_RECORD_HELLO,    /* a node begins, and knows nobody */
	APP_RECORD_REPEATED, /* a node has said all of its members again */
	APP_RECORD_ASK,      /* a node wants the figures of the others */
	APP_RECORD_FIGURES,  /* a node's */
	APP_RECORD_HAD,      /* a device has had what waited for its user when it entered */
};

/* Of a direct message: it goes as DATA; it is for the user's next connection, though another is there. */
#define APP_RECORD_RELIABLE 1
#define APP_RECORD_NEXT 2
/* Of what goes apart: who reads too slowly goes without it; it does not go to the connection that says it. */
#define APP_RECORD_PASSES 4
#define APP_RECORD_OTHERS 8
/* Of what is said: it is whole, and no number stands in it. */
#define APP_RECORD_WHOLE 16

/* Numbers that a kind does not use are 0, and texts empty. */
struct app_record {
	uint64_t node, client;                /* the device; node 0: one of the node that wrote it */
	uint64_t conn;                        /* its handle there: who is left out of what it says, or is told of it */
	uint64_t repeat;                      /* ENTER, REPEATED */
	uint64_t begin_epoch, begin_sequence; /* ENTER: since when the room is there */
	uint64_t number, sender, flags;       /* DIRECT: see store.h */
	const char *user;                     /* whose device; or who said it */
	const char *id;                       /* of the user's DATA that it was said with */
	const char *head, *text;              /* a message; its numbers stand between the two */
	size_t user_size, id_size, head_size, text_size;
};

/* Adds a record's bytes. Sizes are within their bounds: a user's name and an id have less than 64 KB. */
void app_record_write(struct app_out *out, const struct app_record *record);
/* Takes them apart: texts point into the bytes. False: this is no record. */
bool app_record_read(struct app_record *record, const void *bytes, size_t size);

#endif
