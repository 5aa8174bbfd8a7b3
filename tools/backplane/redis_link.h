/* SPDX-License-Identifier: MIT
 *
 * redis_link.h - one connection to a Redis, plain or with TLS: a socket of our own under hiredis' reader and writer of
 * the protocol, since the hiredis of Debian 12 has neither TLS nor a wait that something else can end. It must not know
 * what is said over it, but for what begins each connection (AUTH, SELECT, which of several is the master).
 */
#ifndef BACKPLANE_REDIS_LINK_H
#define BACKPLANE_REDIS_LINK_H

#include "built.h"

#ifdef BACKPLANE_REDIS

#include <hiredis/hiredis.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine.h"

/* Where to connect, from the URL; text is the URL's. */
struct redis_where {
	const struct backplane_url *url;
	const char *sentinel; /* the name of the master that sentinels know; null: hosts are servers */
	const char *sentinel_password, *ca, *certificate, *key;
	bool tls, insecure;
	unsigned long database;
};

struct redis_link {
	int fd; /* -1: not connected */
	SSL *tls;
	redisReader *reader;
	char *out;                         /* commands that were not flushed */
	size_t out_at, out_size, out_room; /* from out_at on they are to be sent */
};

/* Reads the URL. Returns 0, or -EINVAL with the words. */
int redis_where_read(struct redis_where *where, const struct backplane_url *url, char wrong[static ENGINE_WHY_SIZE]);
/* For rediss: what its connections share. Null with the words. */
SSL_CTX *redis_tls_new(const struct redis_where *where, char why[static ENGINE_WHY_SIZE]);

/* Connects to the master: the first that is one, or the one that a sentinel names. Returns 0, or a negative errno. */
int redis_link_open(struct redis_link *link, const struct redis_where *where, SSL_CTX *tls,
                    char why[static ENGINE_WHY_SIZE]);
void redis_link_close(struct redis_link *link);

struct redis_word {
	const char *text;
	size_t size;
};
#define REDIS_WORD(literal) ((struct redis_word){ (literal), sizeof(literal) - 1 })
struct redis_word redis_text(const char *text);

/* Puts a command into the line. Returns 0 or -ENOMEM. */
int redis_link_put(struct redis_link *link, const struct redis_word *words, unsigned count);
/* Sends as much of the line as the kernel takes at once. */
void redis_link_nudge(struct redis_link *link);
/* Sends the line. */
int redis_link_flush(struct redis_link *link, char why[static ENGINE_WHY_SIZE]);
/* Waits for one reply, which freeReplyObject() frees. wake_fd of -1: nothing wakes it. Returns 0, -ETIMEDOUT, -EINTR,
 * or another negative errno, after which the link is closed. A reply that is an error is a reply. */
int redis_link_reply(struct redis_link *link, redisReply **reply, unsigned timeout_ms, int wake_fd,
                     char why[static ENGINE_WHY_SIZE]);
/* All of it for one command. Null: the link is closed, and *code says why. */
redisReply *redis_link_ask(struct redis_link *link, const struct redis_word *words, unsigned count, int *code,
                           char why[static ENGINE_WHY_SIZE]);

#endif
#endif
