/* SPDX-License-Identifier: MIT
 *
 * encode.h - the encodings of the log on a worker: which connection wants which, and making them, once for all workers.
 */
#ifndef RC_ENCODE_H
#define RC_ENCODE_H

#include "connection.h"
#include "encoding.h"

struct worker;
struct rc_server;

struct encoder {
	uint64_t end;          /* entries before it have the encodings that somebody here wants */
	uint64_t wanted_count; /* subscriptions that want one */
};

/* The encoding in which a connection wants a topic. */
enum rc_encoding_id rc_encode_wanted(const struct worker *worker, const struct connection *conn, uint32_t topic);

/* Adds what a connection wants of the log to its interest. */
void rc_encode_interest(const struct worker *worker, const struct connection *conn, struct rc_interest *interest);

/* A member comes or goes: its audience's encodings are made while somebody wants them. With the log's lock. */
void rc_encode_join(struct worker *worker, const struct connection *conn, uint32_t topic);
void rc_encode_leave(struct worker *worker, const struct connection *conn, uint32_t topic);

/* It is out of step with its cohort: asks for a beginning from which it can read on. */
void rc_encode_rejoin(struct worker *worker, const struct connection *conn);

/* Makes the wanted encodings of what is new, before anything that sends it is planned; a bounded number of bytes. */
void rc_encode_new(struct worker *worker);

/* For a connection that reads one encoding alone (form.h) and begins further back: encodes an entry and some after it
 * that were published before anybody here wanted them. Returns whether the entry is encoded now. */
bool rc_encode_past(struct worker *worker, const struct connection *conn, uint64_t number);

/* Writes the entry itself in such a connection's encoding, and returns the size; 0: the encoding has none of it. A null
 * `to` asks for the size. */
size_t rc_encode_alone(struct worker *worker, const struct connection *conn, uint64_t number, uint8_t *to);

/* Frees an encoding, when nobody reads in it any more. */
void rc_encode_free(struct rc_server *server, enum rc_encoding_id id);

#endif
