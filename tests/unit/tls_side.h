/* SPDX-License-Identifier: MIT
 *
 * tls_side.h - one side of a connection in memory: a stream, its wire, and all that it has said and read.
 */
#ifndef RC_TLS_SIDE_H
#define RC_TLS_SIDE_H

#include "context.h"
#include "stream.h"
#include "tls_files.h"

static struct pair authority, here;
static struct rc_tls_tickets *tickets;
static const char *revoked_path; /* a list of theirs that servers read */

static inline void prepare(void)
{
	authority = make_pair("authority", NULL, NULL);
	here = make_pair("here", "DNS:here.example,IP:127.0.0.1", &authority);
	tickets = rc_tls_tickets_new();
	rc_tls_tickets_turn(tickets, 1);
}

static inline struct rc_tls_context *server_of(const struct pair *pair, const struct pair *client_authority,
                                               bool optional)
{
	struct rc_tls_pair files = { pair->path, pair->key_path };
	struct rc_tls_options options = { .pairs = &files, .pair_count = 1, .client_optional = optional };
	struct rc_error error = { 0 };
	if (client_authority)
		options.client_ca = client_authority->path;
	options.crl = revoked_path;
	struct rc_tls_context *context = rc_tls_context_server(&options, tickets, &error);
	cr_assert_not_null(context, "%s", error.text);
	return context;
}

struct side {
	struct rc_tls_wire wire;
	struct rc_tls_stream *stream;
	uint8_t out[512 * 1024];
	size_t out_size;
	uint8_t plain[256 * 1024];
	size_t plain_size;
	enum rc_tls_result result; /* of the last call */
	size_t room;               /* given to a call; 0: plenty */
};

static inline void begin(struct side *side)
{
	size_t room = side->room ? side->room : sizeof side->out - side->out_size;
	side->wire.out = side->out + side->out_size;
	side->wire.out_end = side->wire.out + room;
}

static inline void done(struct side *side)
{
	side->out_size = (size_t)(side->wire.out - side->out);
}

static inline struct side *new_side(struct rc_tls_context *context, const char *host)
{
	struct side *side = calloc(1, sizeof *side);
	cr_assert_eq(rc_tls_wire_open(&side->wire), 0);
	side->stream = host ? rc_tls_stream_client(context, &side->wire, host)
	                    : rc_tls_stream_server(context, &side->wire);
	cr_assert_not_null(side->stream);
	rc_tls_context_release(context); /* the stream keeps it */
	return side;
}

static inline void free_side(struct side *side)
{
	rc_tls_stream_free(side->stream);
	rc_tls_wire_close(&side->wire);
	free(side);
}

static inline void take(struct side *side, const uint8_t *bytes, size_t size)
{
	side->wire.in = bytes;
	side->wire.in_end = bytes + size;
	side->result = RC_TLS_DONE;
	while (side->result == RC_TLS_DONE || side->result == RC_TLS_FULL) {
		size_t got = 0;
		begin(side);
		side->result = rc_tls_is_open(side->stream)
		                   ? rc_tls_read(side->stream, side->plain + side->plain_size, &got)
		                   : rc_tls_handshake(side->stream);
		done(side);
		if (side->result == RC_TLS_DONE)
			side->plain_size += got;
		cr_assert(side->plain_size <= sizeof side->plain - RC_TLS_RECORD_MAX);
	}
	if (side->result == RC_TLS_MORE)
		cr_assert_eq(side->wire.in, side->wire.in_end, "asks for more with bytes left");
}

static inline enum rc_tls_result say(struct side *side, const void *bytes, size_t size)
{
	begin(side);
	enum rc_tls_result result = rc_tls_write(side->stream, bytes, size);
	done(side);
	return result;
}

#endif
