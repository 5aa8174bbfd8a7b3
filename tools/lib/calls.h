/* SPDX-License-Identifier: MIT
 *
 * calls.h - HTTP requests of ours to somebody else's server, by libcurl's multi interface on a thread of its own.
 * Whoever calls never waits: the answer comes to a function of his, on that thread.
 *
 * Everything is bounded: calls that run at a time, calls that wait, the size of an answer, the time from calls_post()
 * to the answer. And no account has more than half of the first and a quarter of the second, so that whoever makes one
 * address's calls slow, or many, keeps no other from being answered. Accounts whose calls wait take turns.
 *
 * Redirects are not followed, and no proxy is asked. An https server must show a certificate for its name.
 */
#ifndef LIB_CALLS_H
#define LIB_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct calls;

struct calls_options {
	unsigned running_max; /* at a time */
	unsigned waiting_max; /* behind them */
	unsigned timeout_ms;  /* of a call, its waiting included */
	size_t answer_max;    /* bytes of an answer's body */
	const char *ca_file;  /* PEM file of the authorities of https servers; null: those of the system */
};

struct calls_answer {
	int status;       /* of HTTP; 0: there was no answer */
	bool unreachable; /* nobody could be connected to */
	const char *why;  /* then in words; valid until `done` returns, as the body */
	const char *body;
	size_t size;
};

struct call {
	const char *url, *type; /* of the body: "application/json" */
	const char *secret;     /* goes as `Authorization: Bearer SECRET`; null: none */
	const void *body;
	size_t size;
	uint64_t account; /* whose call it is; 0: our own, which is not bounded by a share */
	/* Called exactly once for each call that was taken, on the thread of the calls. */
	void (*done)(void *context, const struct calls_answer *answer);
	void *context;
};

/* Starts the thread. Null without memory, or where there is no thread to be had. */
struct calls *calls_start(const struct calls_options *options);
/* Ends it: what has no answer yet is done with status 0. Null is allowed. */
void calls_stop(struct calls *calls);

/* Takes a POST, all of which is copied. Any thread. Returns 0, -EAGAIN (too many wait), -EBUSY (too many of this
 * account do), -ENOMEM; then `done` is not called. */
int calls_post(struct calls *calls, const struct call *call);

/* How many run, and how many wait. Any thread. */
void calls_count(struct calls *calls, unsigned *running, unsigned *waiting);

/* Null, or what is wrong with a URL for calls_post(). */
const char *calls_wrong_url(const char *url);

#endif
