/* SPDX-License-Identifier: MIT
 *
 * compress.h - permessage-deflate on a worker: agreeing, making encodings of the log, single messages both ways.
 */
#ifndef RC_COMPRESS_H
#define RC_COMPRESS_H

#include "extension.h"
#include "worker.h"

/* Agrees with a client's offers, writes the answer ("" for none), and moves the connection's subscriptions to the
 * encoding that follows from it. */
void rc_compress_negotiate(struct worker *worker, uint32_t slot, const struct rc_http_request *request,
                           char answer[RC_EXTENSION_SIZE_MAX]);

/* Client role: takes what the server answered. False without memory. */
bool rc_compress_agreed(struct worker *worker, uint32_t slot, const struct rc_deflate *agreed);

/* The encoding in which a connection wants a topic. */
enum rc_encoding_id rc_compress_wanted(const struct worker *worker, const struct connection *conn, uint32_t topic);

/* Adds what a connection wants of the log to its interest. */
void rc_compress_interest(const struct worker *worker, const struct connection *conn, struct rc_interest *interest);

/* A member comes or goes: its audience's encodings are made while somebody wants them. With the log's lock. */
void rc_compress_join(struct worker *worker, const struct connection *conn, uint32_t topic);
void rc_compress_leave(struct worker *worker, const struct connection *conn, uint32_t topic);

/* It is out of step with its cohort, and waits for a place where it can join again. */
void rc_compress_rejoin(struct worker *worker, const struct connection *conn);

/* Makes the wanted encodings of a new entry, before anything that sends it is planned. Returns the bytes it took. */
size_t rc_compress_entry(struct worker *worker, uint64_t number);

/* Replaces a compressed message by its content; the block is the caller's to give back. Returns null, or what is wrong
 * with a close code in *code. */
const char *rc_compress_inflate(struct worker *worker, uint32_t slot, const struct rc_event *event,
                                struct rc_inflated_message *message, uint16_t *code);

/* Compresses a message of the connection's own into the worker's scratch. Returns the size, 0: it goes as it is. */
size_t rc_compress_message(struct worker *worker, const struct connection *conn, const void *data, size_t size);

/* Frees what a connection or a worker had. */
void rc_compress_end(struct worker *worker, uint32_t slot);
void rc_compress_close(struct worker *worker);
void rc_compress_free(struct rc_server *server, enum rc_encoding_id id);

#endif
