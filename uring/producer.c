/* SPDX-License-Identifier: MIT
 *
 * producer.c - see producer.h. It must not know who may connect, nor what a message is for.
 *
 * Invariant: of a producer that is not PRODUCER_FREE, the socket, the eventfd and the mapping are open; it becomes free
 * only when the kernel watches neither any more.
 */
#include "producer.h"

#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- watching ---- */

static uint64_t tag_of(const struct worker *worker, const struct producer *producer, enum producer_watch watch)
{
	return rc_tag_make(TAG_PRODUCER, watch, 0, (uint32_t)(producer - worker->producers.all));
}

static void watch(struct worker *worker, struct producer *producer, enum producer_watch watch)
{
	producer->watched |= 1u << watch;
	rc_ring_watch(worker->ring, watch == WATCH_SOCKET ? producer->socket : producer->wake_fd,
	              tag_of(worker, producer, watch));
}

static void watch_door(struct worker *worker)
{
	worker->producers.door_watched = true;
	rc_ring_watch(worker->ring, worker->server->producing->listener, rc_tag_make(TAG_PRODUCER, WATCH_DOOR, 0, 0));
}

static void cancel(struct worker *worker, uint64_t tag)
{
	rc_ring_cancel(worker->ring, 0, tag, rc_tag_make(TAG_CANCELLED, 0, 0, 0));
}

/* ---- the end of one ---- */

static void release(struct worker *worker, struct producer *producer)
{
	const struct producing *producing = worker->server->producing;
	for (uint32_t i = 0; producing->close_topic && i < producer->topic_count; i++)
		producing->close_topic(worker->server, producer->topics[i].handle);
	rc_producer_ring_free(producer);
	free(producer->topics);
	*producer = (struct producer){ .state = PRODUCER_FREE };
	rc_producers_leave(worker);
}

void rc_producers_leave(struct worker *worker)
{
	atomic_fetch_sub(&worker->producers.count, 1);
	atomic_fetch_sub(&worker->server->producing->count, 1);
}

static void let_go(struct worker *worker, struct producer *producer)
{
	producer->state = PRODUCER_LEAVING;
	producer->blocked = false;
	rc_records_gone(&producer->records);
	shutdown(producer->socket, SHUT_RDWR);
	for (unsigned each = WATCH_SOCKET; each <= WATCH_EVENT; each++)
		if (producer->watched & 1u << each)
			cancel(worker, tag_of(worker, producer, (enum producer_watch)each));
	if (!producer->watched)
		release(worker, producer);
}

/* It did what no producer does. */
static void cut(struct worker *worker, struct producer *producer, const char *why)
{
	atomic_fetch_add(&worker->server->producing->cut, 1);
	rc_worker_report(worker, REPORT_PRODUCER, "a producer (process %d, user %u) was let go: %s", (int)producer->pid,
	                 (unsigned)producer->uid, why);
	let_go(worker, producer);
}

static void drain(struct producer *producer)
{
	producer->state = PRODUCER_DRAINING;
	producer->speaks = false;
	rc_records_end(&producer->records);
}

/* ---- the beginning ---- */

static struct producer *find_free(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	for (unsigned i = 0; i < worker->server->producing->options.producers_max; i++) {
		if (producers->all[i].state != PRODUCER_FREE)
			continue;
		producers->high = RC_MAX(producers->high, i + 1);
		return &producers->all[i];
	}
	return NULL;
}

void rc_producers_adopt(struct worker *worker, int socket, pid_t pid, uid_t uid)
{
	struct producing *producing = worker->server->producing;
	struct producers *producers = &worker->producers;
	struct producer *producer = producers->all && !producers->stopped ? find_free(worker) : NULL;
	int result = -EPIPE;
	if (producer) {
		*producer = (struct producer){ .socket = socket, .pid = pid, .uid = uid };
		result = rc_producer_ring_make(producer, producing->options.ring_size);
	} else {
		rc_producer_answer(socket, -EPIPE, "the server is going away");
	}
	if (result < 0) {
		atomic_fetch_add(&producing->refused, 1);
		rc_producers_leave(worker);
		if (producers->all)
			rc_worker_report(worker, REPORT_PRODUCER, "a producer (process %d, user %u) was refused: %s",
			                 (int)pid, (unsigned)uid, strerror(-result));
		close(socket);
		return;
	}
	producer->state = PRODUCER_OPEN;
	atomic_fetch_add(&producing->accepted, 1);
	watch(worker, producer, WATCH_SOCKET);
	watch(worker, producer, WATCH_EVENT);
	producer->speaks = producers->more = true; /* it may have asked before it was watched */
}

int rc_producers_open(struct worker *worker)
{
	const struct producing *producing = worker->server->producing;
	struct producers *producers = &worker->producers;
	if (!producing)
		return 0;
	producers->buffer = malloc(RC_PRODUCER_RECORD_MAX(producing->options.ring_size));
	producers->all = calloc(producing->options.producers_max, sizeof *producers->all);
	return producers->buffer && producers->all ? 0 : -ENOMEM;
}

void rc_producers_begin(struct worker *worker)
{
	if (worker->producers.all && worker->index == 0)
		watch_door(worker);
}

void rc_producers_close(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	for (unsigned i = 0; i < producers->high; i++) {
		if (producers->all[i].state == PRODUCER_FREE)
			continue;
		rc_records_gone(&producers->all[i].records);
		release(worker, &producers->all[i]);
	}
	free(producers->all);
	free(producers->buffer);
	producers->all = NULL;
	producers->buffer = NULL;
	producers->high = 0;
}

/* ---- questions ---- */

static int number_topic(struct worker *worker, struct producer *producer, const char *name, size_t size,
                        const char **why)
{
	const struct producing *producing = worker->server->producing;
	const struct rc_producers_options *options = &producing->options;
	if (!size || size > RC_PRODUCER_NAME_MAX) {
		*why = "a topic's name has 1 to 255 bytes";
		return -EINVAL;
	}
	if (!rc_producer_may(options, name, size)) {
		*why = "a producer may not publish to this topic";
		return -EACCES;
	}
	if (producer->topic_count == options->topics_max) {
		*why = "this producer has as many topics as the server takes of one";
		return -ENOSPC;
	}
	if (producer->topic_count == producer->topic_room) {
		uint32_t room = producer->topic_room ? producer->topic_room * 2 : 16;
		struct producer_topic *topics = realloc(producer->topics, room * sizeof *topics);
		if (!topics) {
			*why = "the server has no memory for another topic";
			return -ENOMEM;
		}
		producer->topics = topics;
		producer->topic_room = room;
	}
	struct producer_topic *topic = &producer->topics[producer->topic_count];
	topic->handle = 0;
	int opened = producing->open_topic ? producing->open_topic(worker->server, name, size, &topic->handle) : 0;
	if (opened < 0) {
		*why = "the server has as many topics as it takes, or no memory";
		return opened;
	}
	topic->size = (uint8_t)size;
	memcpy(topic->name, name, size);
	return (int)producer->topic_count++;
}

static void answer(struct worker *worker, struct producer *producer, const struct rc_producer_question *question,
                   size_t size)
{
	const size_t head = offsetof(struct rc_producer_question, name);
	const char *why = "this question is unknown";
	int result = -EINVAL;
	if (size >= head && question->kind == RC_PRODUCER_TOPIC)
		result = number_topic(worker, producer, question->name, size - head, &why);
	if (result < 0)
		atomic_fetch_add(&worker->server->producing->topics_refused, 1);
	/* Who has gone meanwhile is seen by the next look at the socket. */
	if (rc_producer_answer(producer->socket, result, result < 0 ? why : "") == -EAGAIN)
		cut(worker, producer, "it does not read what it is answered");
}

static void hear(struct worker *worker, struct producer *producer)
{
	struct rc_producer_question question;
	for (unsigned i = 0; i < RC_PRODUCER_QUESTIONS_A_TICK && producer->state == PRODUCER_OPEN; i++) {
		/* MSG_TRUNC: the size is the message's, also where that is larger than a question. */
		ssize_t size = recv(producer->socket, &question, sizeof question, MSG_DONTWAIT | MSG_TRUNC);
		if (size > 0) {
			answer(worker, producer, &question, (size_t)size);
		} else if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
			producer->speaks = errno == EINTR;
			break;
		} else {
			drain(producer);
		}
	}
	worker->producers.more |= producer->speaks;
}

/* ---- records ---- */

static int64_t publish(struct worker *worker, const struct producer *producer, const struct rc_record *record)
{
	const struct producing *producing = worker->server->producing;
	const struct producer_topic *topic = &producer->topics[record->topic];
	unsigned flags = record->flags & RC_PRODUCER_BINARY ? RC_PUBLISH_BINARY : 0;
	if (record->key_size)
		return -EINVAL; /* nothing here has keys */
	const struct rc_produced message = { .topic = topic->name,
		                             .topic_size = topic->size,
		                             .data = record->data,
		                             .size = record->size,
		                             .flags = flags,
		                             .time_ns = record->time_ns };
	return producing->publish(worker->server, &message, topic->handle);
}

static void refuse(struct worker *worker, struct producer *producer, const struct rc_record *record, int reason)
{
	const struct producer_topic *topic = &producer->topics[record->topic];
	atomic_fetch_add_explicit(&worker->server->producing->records_refused, 1, memory_order_relaxed);
	rc_records_refuse(&producer->records, reason);
	rc_worker_report(worker, REPORT_PRODUCER,
	                 "a record of a producer (process %d, user %u) was not published to %.*s: %s",
	                 (int)producer->pid, (unsigned)producer->uid, (int)RC_MIN(topic->size, 64), topic->name,
	                 reason == -EILSEQ ? "it is not UTF-8, and not marked as binary" : strerror(-reason));
}

/* Publishes what is complete, up to `size_max` bytes or one larger record. Returns the bytes. */
static uint64_t read_records(struct worker *worker, struct producer *producer, uint64_t size_max)
{
	struct producing *producing = worker->server->producing;
	struct rc_records *records = &producer->records;
	uint64_t taken = 0, count = 0, bytes = 0;
	struct rc_record record;
	int result = 0;
	producer->blocked = false;
	while (taken < size_max &&
	       (result = rc_records_next(records, producer->topic_count, worker->producers.buffer, &record)) > 0) {
		int64_t published = publish(worker, producer, &record);
		if (published == -EAGAIN) {
			producer->blocked = true;
			atomic_fetch_add_explicit(&producing->held, 1, memory_order_relaxed);
			break;
		}
		if (published < 0) {
			refuse(worker, producer, &record, (int)published);
		} else {
			count++;
			bytes += record.size;
		}
		taken += rc_records_take(records);
	}
	rc_records_show(records);
	if (count) {
		atomic_fetch_add_explicit(&producing->records, count, memory_order_relaxed);
		atomic_fetch_add_explicit(&producing->bytes, bytes, memory_order_relaxed);
	}
	if (result < 0)
		cut(worker, producer, records->fault);
	else if (result == 0 && producer->state == PRODUCER_DRAINING)
		let_go(worker, producer);
	worker->producers.blocked |= producer->blocked;
	worker->producers.more |= result > 0 && !producer->blocked;
	return taken;
}

/* Once stopped: says so when the last record has been published. */
static void note_over(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	bool over = producers->stopped && !producers->over;
	for (unsigned i = 0; over && i < producers->high; i++)
		over = producers->all[i].state != PRODUCER_DRAINING;
	producers->over |= over;
	if (over && worker->server->producing)
		atomic_fetch_add(&worker->server->producing->stopped, 1);
}

void rc_producers_read(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	uint64_t taken = 0;
	unsigned high = producers->high;
	producers->more = producers->blocked = false;
	if (!high)
		return;
	/* Whoever comes last in one tick comes first in another, also when the bytes of a tick do not reach him. */
	unsigned first = producers->first < high ? producers->first : 0;
	producers->first = first + 1;
	for (unsigned i = 0; i < high; i++) {
		unsigned index = first + i < high ? first + i : first + i - high;
		struct producer *producer = &producers->all[index];
		if (producer->state == PRODUCER_OPEN && producer->speaks)
			hear(worker, producer);
		if (producer->state != PRODUCER_OPEN && producer->state != PRODUCER_DRAINING)
			continue;
		if (taken >= RC_PRODUCERS_TICK_SIZE) {
			producers->first = index;
			producers->more = true;
			break;
		}
		taken += read_records(worker, producer, RC_PRODUCER_TICK_SIZE);
	}
	note_over(worker);
}

/* ---- sleeping and waking ---- */

uint64_t rc_producers_next_look_ns(const struct worker *worker)
{
	const struct producers *producers = &worker->producers;
	uint64_t at = UINT64_MAX;
	if (producers->more)
		at = 0;
	else if (producers->blocked)
		at = worker->now_ns + RC_PRODUCER_RETRY_NS;
	return producers->door_ready ? RC_MIN(at, producers->door_again_ns) : at;
}

bool rc_producers_sleep(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	for (unsigned i = 0; i < producers->high; i++) {
		struct producer *producer = &producers->all[i];
		producers->asleep = true;
		if (producer->state == PRODUCER_OPEN && !producer->blocked && !rc_records_sleep(&producer->records))
			return false;
	}
	return true;
}

void rc_producers_wake(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	if (!producers->asleep)
		return;
	producers->asleep = false;
	for (unsigned i = 0; i < producers->high; i++)
		if (producers->all[i].state == PRODUCER_OPEN)
			rc_records_wake(&producers->all[i].records);
}

static void take_of_producer(struct worker *worker, struct producer *producer, enum producer_watch of,
                             const struct rc_completion *completion)
{
	producer->speaks |= of == WATCH_SOCKET && producer->state == PRODUCER_OPEN;
	if (completion->flags & RC_RING_MORE)
		return;
	producer->watched &= ~(1u << of);
	if (producer->state == PRODUCER_OPEN && completion->result < 0)
		cut(worker, producer, "the kernel does not watch it");
	else if (producer->state == PRODUCER_OPEN)
		watch(worker, producer, of);
	else if (producer->state == PRODUCER_LEAVING && !producer->watched)
		release(worker, producer);
}

void rc_producers_completed(struct worker *worker, const struct tag *tag, const struct rc_completion *completion)
{
	struct producers *producers = &worker->producers;
	if (tag->detail != WATCH_DOOR) {
		struct producer *producer = &producers->all[tag->slot];
		RC_ASSERT(tag->slot < producers->high && producer->state != PRODUCER_FREE);
		take_of_producer(worker, producer, (enum producer_watch)tag->detail, completion);
		return;
	}
	producers->door_ready = !producers->stopped;
	if (completion->flags & RC_RING_MORE)
		return;
	producers->door_watched = false;
	if (!producers->stopped)
		watch_door(worker);
}

void rc_producers_stop(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	producers->stopped = true;
	producers->door_ready = false;
	if (producers->door_watched) {
		shutdown(worker->server->producing->listener, SHUT_RDWR); /* who connects from now on is refused */
		cancel(worker, rc_tag_make(TAG_PRODUCER, WATCH_DOOR, 0, 0));
	}
	for (unsigned i = 0; i < producers->high; i++) {
		struct producer *producer = &producers->all[i];
		if (producer->state == PRODUCER_OPEN)
			drain(producer);
		if (producer->state == PRODUCER_DRAINING)
			read_records(worker, producer, UINT64_MAX);
	}
	note_over(worker);
}

bool rc_producers_have_stopped(const struct worker *worker)
{
	const struct producing *producing = worker->server->producing;
	return !producing || atomic_load(&producing->stopped) == worker->server->worker_count;
}
