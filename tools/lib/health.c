/* SPDX-License-Identifier: MIT
 *
 * health.c - see health.h.
 */
#include "health.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "wait.h"

void health_add(struct health *health, const struct health_part *part)
{
	assert(health->part_count < HEALTH_PARTS_MAX);
	health->parts[health->part_count++] = part;
}

bool health_open(struct health *health, rc_server *server)
{
	health->server = server;
	health->count = rc_server_worker_count(server);
	health->words = calloc(health->count, sizeof *health->words);
	return health->words;
}

void health_close(struct health *health)
{
	free(health->words);
	health->words = NULL;
	health->count = 0;
}

void health_drain(struct health *health)
{
	atomic_store(&health->draining, true);
}

static void arrive(void *argument)
{
	struct health_word *word = argument;
	atomic_store(&word->under_way, false);
}

/* Sends a word, unless one is under way. Returns why the worker is not well, or null. */
static const char *ask(struct health *health, unsigned worker, uint64_t now_ns)
{
	struct health_word *word = &health->words[worker];
	bool idle = false;
	if (!atomic_compare_exchange_strong(&word->under_way, &idle, true))
		return now_ns - atomic_load(&word->sent_ns) > HEALTH_STUCK_NS ? "does not go round" : NULL;
	atomic_store(&word->sent_ns, now_ns);
	if (rc_post(health->server, worker, arrive, word) == 0)
		return NULL;
	atomic_store(&word->under_way, false);
	return "takes no words";
}

bool health_is_ready(struct health *health, char why[static 64])
{
	uint64_t now_ns = clock_now();
	if (atomic_load(&health->draining)) {
		snprintf(why, 64, "draining");
		return false;
	}
	for (unsigned worker = 0; worker < health->count; worker++) {
		const char *wrong = ask(health, worker, now_ns);
		if (!wrong)
			continue;
		snprintf(why, 64, "worker %u %s", worker, wrong);
		return false;
	}
	return true;
}

static int say(rc_request *request, int status, const char *words)
{
	rc_request_add_header(request, "Cache-Control", "no-store");
	return rc_request_respond(request, status, "text/plain", words, strlen(words)) ? 503 : 0;
}

bool health_is_degraded(const struct health *health, char why[static 160])
{
	for (unsigned i = 0; i < health->part_count; i++) {
		const struct health_part *part = health->parts[i];
		if (part->is_degraded && part->is_degraded(part->context, why))
			return true;
	}
	return false;
}

/* Being degraded is no error: who is restarted for it has lost his clients, and is degraded still. */
static int say_alive(const struct health *health, rc_request *request)
{
	char why[160] = "", *words = NULL;
	size_t size;
	FILE *to = open_memstream(&words, &size);
	if (!to)
		return 503;
	fprintf(to, health_is_degraded(health, why) ? "degraded: %s\n" : "ok\n", why);
	for (unsigned i = 0; i < health->part_count; i++)
		if (health->parts[i]->write_words)
			health->parts[i]->write_words(health->parts[i]->context, to);
	int code = fclose(to) ? 503 : say(request, 200, words);
	free(words);
	return code;
}

int health_answer(struct health *health, rc_request *request)
{
	const char *path = rc_request_path(request);
	char why[64], line[100];
	if (strcmp(path, "/healthz") != 0 && strcmp(path, "/readyz") != 0)
		return -1;
	if (!answer_takes(request, "GET, HEAD"))
		return answer_method(request, "GET, HEAD");
	if (!strcmp(path, "/healthz"))
		return say_alive(health, request);
	bool ready = health_is_ready(health, why);
	snprintf(line, sizeof line, "not ready: %s\n", why);
	return ready ? say(request, 200, "ready\n") : say(request, 503, line);
}
