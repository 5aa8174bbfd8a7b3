/* SPDX-License-Identifier: MIT
 *
 * poll.c - see poll.h.
 *
 * What is read is copied under the log's lock, and becomes JSON behind it.
 */
#include "poll.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/quote.h"
#include "lib/wait.h"
#include "ringcast_feed.h"
#include "ringcast_stats.h"

#define PAGE_MESSAGES_MAX 1000
#define PAGE_SIZE_MAX (1u << 20)  /* of its payloads; a larger one comes alone */
#define STATE_SIZE_MAX (4u << 20) /* of all states in an answer, which come whole or not at all */
#define TOPICS_MAX 256
#define LOOK_NS (100 * UINT64_C(1000000)) /* between two looks for polls that have waited for long enough */
#define HEADERS "Access-Control-Allow-Origin: *\r\nCache-Control: no-store\r\n"

struct topic {
	char name[RC_TOPIC_NAME_MAX + 1];
	size_t size;
	struct rc_start start;
};

struct serve_poll {
	struct serve_polls *polls;
	struct serve_poll *next, **link; /* (lock) among those that wait; link is null when it does not */
	rc_conn conn;
	bool fresh; /* it did not say where it stands */
	uint64_t until_ns;
	unsigned topic_count;
	struct topic topics[];
};

/* ---- a page ---- */

struct page {
	FILE *to;
	size_t count, size;
	bool more, failed, too_large;
	/* What was copied of a topic: structs rc_past, each followed by its key and its payload. */
	char *copies;
	size_t used, capacity;
	uint64_t sequence, epoch; /* how far it was read */
};

static void *room_for(struct page *page, size_t size)
{
	size = (size + 15) / 16 * 16;
	if (page->capacity - page->used < size) {
		size_t capacity = page->capacity ? page->capacity : 4096;
		while (capacity - page->used < size)
			capacity *= 2;
		char *copies = realloc(page->copies, capacity);
		if (!copies) {
			page->failed = true;
			return NULL;
		}
		page->copies = copies;
		page->capacity = capacity;
	}
	page->used += size;
	return page->copies + page->used - size;
}

/* Under the log's lock, as the next two. */
static bool take(struct page *page, const struct rc_past *past)
{
	struct rc_past *to = room_for(page, sizeof *to + past->key_size + past->size);
	if (!to)
		return false;
	*to = *past;
	if (past->key_size)
		memcpy(to + 1, past->key, past->key_size);
	if (past->size)
		memcpy((char *)(to + 1) + past->key_size, past->data, past->size);
	page->count++;
	page->size += past->size;
	page->sequence = past->sequence;
	page->epoch = past->epoch;
	return true;
}

static bool copy(void *context, const struct rc_past *past)
{
	struct page *page = context;
	bool full = page->count >= PAGE_MESSAGES_MAX || (page->count && page->size + past->size > PAGE_SIZE_MAX);
	page->more |= full;
	return !full && take(page, past);
}

static bool copy_state(void *context, const struct rc_past *past)
{
	struct page *page = context;
	page->too_large |= page->size + past->key_size + past->size > STATE_SIZE_MAX;
	return !page->too_large && take(page, past);
}

static void write_copies(struct page *page, const struct topic *topic, size_t written)
{
	char *text = NULL;
	for (size_t at = 0; at < page->used && !page->failed; written++) {
		struct rc_past past = *(const struct rc_past *)(page->copies + at);
		char *bytes = page->copies + at + sizeof past;
		past.key = past.key_size ? bytes : NULL;
		past.data = bytes + past.key_size;
		at += (sizeof past + past.key_size + past.size + 15) / 16 * 16;
		size_t size = rc_form_write(RC_FORM_JSON, NULL, topic->name, topic->size, &past);
		char *larger = realloc(text, size + 1);
		text = larger ? larger : text;
		page->failed |= !larger;
		if (!larger)
			break;
		rc_form_write(RC_FORM_JSON, text, topic->name, topic->size, &past);
		fputs(written ? "," : "", page->to);
		fwrite(text, 1, size, page->to);
	}
	free(text);
	page->used = 0;
}

/* Says that what the reader knows of the topic is void: what follows, up to that number, is all there is. */
static void write_mark(struct page *page, const struct topic *topic, uint64_t sequence, uint64_t epoch, bool incomplete,
                       bool first)
{
	fputs(first ? "{\"m\":\"state\",\"t\":" : ",{\"m\":\"state\",\"t\":", page->to);
	quote_json(page->to, topic->name);
	fprintf(page->to, ",\"s\":%" PRIu64 ",\"e\":%" PRIu64 "%s}", sequence, epoch, incomplete ? ",\"i\":true" : "");
}

static void read_state(struct page *page, rc_server *server, struct topic *topic)
{
	size_t before = page->count++;
	bool complete = true;
	uint64_t epoch = 0, sequence = 0;
	rc_topic_state(server, topic->name, topic->size, &epoch, &sequence, &complete, copy_state, page);
	write_mark(page, topic, sequence, epoch, !complete, !before);
	write_copies(page, topic, before + 1);
	topic->start = (struct rc_start){ .resume = true, .since = sequence, .epoch = epoch };
}

/* Reads what is new of a topic, and sets where it goes on. */
static void read_topic(struct page *page, rc_server *server, struct topic *topic)
{
	struct rc_start *start = &topic->start;
	struct rc_topic_stats stats = { 0 };
	rc_topic_stats(server, topic->name, topic->size, &stats);
	bool anew = start->resume && ((start->since > stats.sequence && !stats.elsewhere) ||
	                              (start->epoch && start->since && start->epoch != stats.epoch));
	bool state = start->state || start->snapshot;
	if (state && (!start->resume || anew || (stats.oldest != 0 && stats.lost > start->since))) {
		read_state(page, server, topic);
		return;
	}
	page->sequence = start->resume && !anew ? start->since
	                 : anew                 ? stats.lost
	                                        : stats.sequence - (start->last && stats.sequence);
	page->epoch = stats.epoch;
	size_t before = page->count;
	if (anew)
		write_mark(page, topic, page->sequence, stats.epoch, false, !page->count++);
	rc_topic_read(server, topic->name, topic->size, page->sequence, PAGE_MESSAGES_MAX + 1, copy, page);
	write_copies(page, topic, before + anew);
	*start = (struct rc_start){ .resume = true, .since = page->sequence, .epoch = page->epoch };
}

/* Writes what is new. Returns how many messages and marks; -EMSGSIZE for states that are too large; or -ENOMEM. */
static int write_page(struct serve_poll *poll, char **text, size_t *size)
{
	rc_server *server = poll->polls->server;
	struct page page = { .to = open_memstream(text, size) };
	if (!page.to)
		return -ENOMEM;
	fputs("{\"messages\":[", page.to);
	for (unsigned i = 0; i < poll->topic_count; i++)
		read_topic(&page, server, &poll->topics[i]);
	fputs("],\"topics\":[", page.to);
	for (unsigned i = 0; i < poll->topic_count; i++) {
		fputs(i ? ",{\"topic\":" : "{\"topic\":", page.to);
		quote_json(page.to, poll->topics[i].name);
		fprintf(page.to, ",\"seq\":%" PRIu64 ",\"epoch\":%" PRIu64 "}", poll->topics[i].start.since,
		        poll->topics[i].start.epoch);
	}
	fputs(page.more ? "],\"more\":true}\n" : "]}\n", page.to);
	page.failed |= fclose(page.to) != 0;
	free(page.copies);
	if (page.too_large)
		return -EMSGSIZE;
	return page.failed ? -ENOMEM : (int)page.count;
}

/* ---- a poll ---- */

static void wait_in_line(struct serve_poll *poll)
{
	struct serve_polls *polls = poll->polls;
	pthread_mutex_lock(&polls->lock);
	poll->next = polls->first;
	poll->link = &polls->first;
	if (poll->next)
		poll->next->link = &poll->next;
	polls->first = poll;
	if (poll->until_ns < polls->next_ns)
		pthread_cond_signal(&polls->changed);
	pthread_mutex_unlock(&polls->lock);
}

/* With the lock. */
static void leave_line(struct serve_poll *poll)
{
	if (!poll->link)
		return;
	*poll->link = poll->next;
	if (poll->next)
		poll->next->link = poll->link;
	poll->link = NULL;
}

void serve_poll_free(struct serve_poll *poll)
{
	pthread_mutex_lock(&poll->polls->lock);
	leave_line(poll);
	pthread_mutex_unlock(&poll->polls->lock);
	free(poll);
}

static int refuse(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain", words, strlen(words)) ? 503 : 0;
}

/* Follows its topics from where the page ended, so that nothing is missed in between. */
static int follow(struct serve_poll *poll, rc_request *request)
{
	if (rc_request_wait(request))
		return 503;
	for (unsigned i = 0; i < poll->topic_count; i++) {
		struct rc_start start = poll->topics[i].start;
		int code = rc_subscribe(poll->polls->server, poll->conn, poll->topics[i].name, poll->topics[i].size,
		                        &start);
		if (code)
			return code == -ENOSPC ? refuse(request, 503, "too many topics\n") : 503;
	}
	return 0;
}

/* Answers at once, or begins to wait. */
static int begin(struct serve_poll *poll, rc_request *request, const struct serve_ask *ask, bool *waits)
{
	char *text = NULL;
	size_t size = 0;
	int count = write_page(poll, &text, &size), status = 503;
	rc_request_add_header(request, "Access-Control-Allow-Origin", "*");
	rc_request_add_header(request, "Cache-Control", "no-store");
	if (count == -EMSGSIZE)
		status = refuse(request, 400, "the state is larger than 4 MB: follow it by /topic or /sse\n");
	else if (count > 0 || (count == 0 && poll->fresh && (!ask->wait_s || ask->start.state || ask->start.snapshot)))
		status = rc_request_respond(request, 200, "application/json", text, size) ? 503 : 0;
	else if (count == 0 && !ask->wait_s)
		status = rc_request_respond(request, 204, NULL, NULL, 0) ? 503 : 0;
	else if (count == 0)
		*waits = !(status = follow(poll, request));
	free(text);
	return status;
}

int serve_poll_begin(struct serve_polls *polls, rc_request *request, const char *names, struct serve_poll **out)
{
	struct serve_ask ask;
	const char *wrong = serve_ask_read(&ask, request);
	unsigned count = 1;
	bool waits = false;
	*out = NULL;
	if (wrong)
		return refuse(request, 400, wrong);
	if (ask.form == RC_FORM_BINARY)
		return refuse(request, 400, "a poll is answered in JSON\n");
	for (const char *at = names; (at = strchr(at, ',')); at++)
		count++;
	if (count > TOPICS_MAX)
		return refuse(request, 400, "at most 256 topics\n");
	struct serve_poll *poll = calloc(1, sizeof *poll + count * sizeof poll->topics[0]);
	if (!poll)
		return 503;
	*poll = (struct serve_poll){ .polls = polls,
		                     .conn = rc_request_conn(request),
		                     .fresh = !ask.since,
		                     .until_ns = clock_now() + ask.wait_s * NS_PER_SECOND };
	for (unsigned index = 0; index < count; index++) {
		int size = serve_ask_name(names);
		struct topic *topic = &poll->topics[poll->topic_count];
		if (size < 0) {
			free(poll);
			return refuse(request, 400, SERVE_BAD_NAME);
		}
		memcpy(topic->name, names, (size_t)size);
		topic->name[size] = 0;
		topic->size = (size_t)size;
		topic->start = serve_ask_start(&ask, index);
		names += size + 1;
		bool again = false;
		for (unsigned i = 0; i < poll->topic_count; i++)
			again |= !strcmp(poll->topics[i].name, topic->name);
		poll->topic_count += !again;
	}
	int status = begin(poll, request, &ask, &waits);
	if (!waits) {
		free(poll);
		return status;
	}
	wait_in_line(poll);
	*out = poll;
	return 0;
}

void serve_poll_ready(struct serve_poll *poll)
{
	char *text = NULL;
	size_t size = 0;
	int count = write_page(poll, &text, &size);
	if (count > 0)
		rc_respond(poll->polls->server, poll->conn, 200, "application/json", HEADERS, text, size);
	else if (count < 0)
		rc_close(poll->polls->server, poll->conn, RC_CLOSE_TRY_LATER, "", 0); /* which answers 503 */
	free(text);
}

/* ---- the end of waiting ---- */

struct over {
	rc_server *server;
	rc_conn conn;
	char *text; /* the page that is answered, or null */
	size_t size;
};

/* On the worker. The poll may have its answer by now: then the handle is stale. */
static void answer_nothing(void *argument)
{
	struct over *over = argument;
	if (over->text)
		rc_respond(over->server, over->conn, 200, "application/json", HEADERS, over->text, over->size);
	else
		rc_respond(over->server, over->conn, 204, NULL, HEADERS, NULL, 0);
	free(over->text);
	free(over);
}

/* With the lock. False when it must be tried again. */
static bool end_waiting(struct serve_poll *poll)
{
	struct over *over = malloc(sizeof *over);
	if (!over)
		return false;
	*over = (struct over){ .server = poll->polls->server, .conn = poll->conn };
	/* Who did not know where the topics stand does now, and misses nothing until it asks again. */
	if (poll->fresh && write_page(poll, &over->text, &over->size) < 0) {
		free(over->text);
		over->text = NULL;
	}
	int code = rc_post(over->server, rc_conn_worker(poll->conn), answer_nothing, over);
	if (code) {
		free(over->text);
		free(over);
	}
	if (code && code != -ENOTCONN)
		return false;
	leave_line(poll);
	return true;
}

static void *watch(void *argument)
{
	struct serve_polls *polls = argument;
	pthread_mutex_lock(&polls->lock);
	while (!polls->ending) {
		uint64_t now = clock_now(), next = UINT64_MAX;
		for (struct serve_poll *poll = polls->first, *after; poll; poll = after) {
			after = poll->next;
			if (poll->until_ns > now || !end_waiting(poll))
				next = poll->until_ns < next ? poll->until_ns : next;
		}
		polls->next_ns = next;
		if (next == UINT64_MAX) {
			pthread_cond_wait(&polls->changed, &polls->lock);
			continue;
		}
		next = next > now + LOOK_NS ? next : now + LOOK_NS;
		const struct timespec until = { .tv_sec = (time_t)(next / NS_PER_SECOND),
			                        .tv_nsec = (long)(next % NS_PER_SECOND) };
		pthread_cond_timedwait(&polls->changed, &polls->lock, &until);
	}
	pthread_mutex_unlock(&polls->lock);
	return NULL;
}

int serve_polls_start(struct serve_polls *polls, rc_server *server)
{
	pthread_condattr_t monotonic;
	*polls = (struct serve_polls){ .server = server, .next_ns = UINT64_MAX };
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&polls->lock, NULL);
	pthread_cond_init(&polls->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return -pthread_create(&polls->thread, NULL, watch, polls);
}

void serve_polls_end(struct serve_polls *polls)
{
	pthread_mutex_lock(&polls->lock);
	polls->ending = true;
	pthread_cond_signal(&polls->changed);
	pthread_mutex_unlock(&polls->lock);
	pthread_join(polls->thread, NULL);
	pthread_cond_destroy(&polls->changed);
	pthread_mutex_destroy(&polls->lock);
}
