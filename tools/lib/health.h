/* SPDX-License-Identifier: MIT
 *
 * health.h - whether a server lives, and whether it should be sent clients. To live is to answer. To be ready is that
 * every worker goes round, and that the server is not about to end.
 *
 * Nothing runs while nobody asks: each question about readiness sends a word through every worker, and finds those that
 * have not taken the word of the question before.
 */
#ifndef LIB_HEALTH_H
#define LIB_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "ringcast.h"

#define HEALTH_PARTS_MAX 4
#define HEALTH_STUCK_NS UINT64_C(2000000000) /* a worker that needs longer for a word is stuck */

struct health_word {
	_Atomic bool under_way;
	_Atomic uint64_t sent_ns;
};

/* What a server depends on and cannot always have, such as other nodes. Without it the server lives, and says so. Any
 * function may be null. */
struct health_part {
	void *context;
	bool (*is_degraded)(void *context, char why[static 160]); /* in one line: the server is, then */
	/* Whole lines of what else whoever asks for /healthz should know; the server is well all the same. */
	void (*write_words)(void *context, FILE *to);
	void (*write_json)(void *context, FILE *to); /* "NAME":{...}, for /stats */
	void (*write_metrics)(void *context, FILE *to);
};

struct health {
	rc_server *server;
	const struct health_part *parts[HEALTH_PARTS_MAX];
	struct health_word *words; /* by worker */
	unsigned count, part_count;
	_Atomic bool draining;
};

/* Before the start. At most HEALTH_PARTS_MAX; the part lives as long. */
void health_add(struct health *health, const struct health_part *part);

/* Between rc_server_new() and the start. Returns false without memory. */
bool health_open(struct health *health, rc_server *server);
/* After rc_server_join(). */
void health_close(struct health *health);

/* From here on it is not ready: others should get the clients. */
void health_drain(struct health *health);

/* Any thread. Returns whether it is ready; if not, why in `why`. */
bool health_is_ready(struct health *health, char why[static 64]);

/* Whether it lives without something that it wants; why of the first, in `why`. Any thread. */
bool health_is_degraded(const struct health *health, char why[static 160]);

/* Answers /healthz and /readyz. Returns 0, an HTTP status to refuse with, or -1: the path is another's. */
int health_answer(struct health *health, rc_request *request);

#endif
