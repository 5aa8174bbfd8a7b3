/* SPDX-License-Identifier: MIT
 *
 * publish.c - the publisher, all of it on worker 0. One function publishes whatever is due and allowed; it is
 * called when the clock says so (open loop, by the main thread) and when a burst has arrived everywhere (closed loop,
 * by the worker that saw the last delivery), and it may be called at any other time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "lib/options.h"

#define RETRY_NS (1 * NS_PER_MS)

int load_publisher_make(struct load *load)
{
	struct load_publisher *publisher = &load->publisher;
	const struct load_options *options = load->options;
	size_t size = options->size;
	for (size_t index = 0; index < load->feed.record_count; index++)
		size = load->feed.records[index].size > size ? load->feed.records[index].size : size;
	publisher->payload = malloc(size < LOAD_HEAD_SIZE ? LOAD_HEAD_SIZE : size);
	publisher->goals = calloc((size_t)options->window * options->worker_count, sizeof(uint64_t));
	publisher->promised = calloc(options->worker_count, sizeof(uint64_t));
	if (!publisher->payload || !publisher->goals || !publisher->promised)
		return -command_failed("no memory");
	for (size_t index = 0; index < size; index++)
		publisher->payload[index] = "{\"symbol\":\"ACME.017\",\"price\":123.450}"[index % 37];
	publisher->open_loop = options->feed ? options->speed > 0 : options->rate > 0;
	return 0;
}

void load_publisher_free(struct load *load)
{
	free(load->publisher.payload);
	free(load->publisher.goals);
	free(load->publisher.promised);
}

void load_post_pump(struct load *load)
{
	if (atomic_exchange(&load->publisher.posted, true))
		return;
	if (rc_post(load->server, 0, load_pump, load))
		atomic_store(&load->publisher.posted, false); /* the main thread asks again within a millisecond */
}

static void set_goals(struct load *load, const uint64_t *goals)
{
	for (unsigned index = 0; index < load->options->worker_count; index++)
		atomic_store(&load->workers[index].goal, goals ? goals[index] : UINT64_MAX);
}

static bool reached(struct load *load, const uint64_t *goals)
{
	for (unsigned index = 0; index < load->options->worker_count; index++) {
		if (atomic_load(&load->workers[index].received) < goals[index])
			return false;
	}
	return true;
}

/* The goals of a burst: what each worker has received when the burst is complete. */
static uint64_t *goals_of(struct load *load, uint64_t burst)
{
	return load->publisher.goals + burst % load->options->window * load->options->worker_count;
}

void load_progress(struct load_worker *worker)
{
	struct load *load = worker->load;
	/* A single worker is the publisher's as well, and needs no post. The goal is passed by then, so this happens
	 * once a burst. */
	if (load->options->worker_count == 1)
		load_pump(load);
	else
		load_post_pump(load);
}

/* When the next burst is to be sent; UINT64_MAX when the phase has no more. Closed loop: now, if it is allowed. */
static uint64_t next_due(struct load *load, uint64_t now)
{
	struct load_publisher *publisher = &load->publisher;
	const struct load_options *options = load->options;
	uint64_t due;
	if (publisher->messages >= publisher->messages_max)
		return UINT64_MAX;
	if (!publisher->open_loop)
		due = now;
	else if (options->feed)
		due = publisher->feed_begin_ns + load->feed.records[publisher->cursor].due_ns;
	else
		due = publisher->begin_ns +
		      (uint64_t)((double)publisher->bursts * options->burst * 1e9 / options->rate);
	return due >= publisher->end_ns ? UINT64_MAX : due;
}

/* Prepares the next message. The head lies over the payload's first bytes, so that sizes are as recorded. */
static struct load_topic *prepare(struct load *load, size_t *size)
{
	struct load_publisher *publisher = &load->publisher;
	uint32_t topic = (uint32_t)(publisher->messages % load->topic_count);
	*size = load->options->size;
	if (load->options->feed) {
		const struct load_record *record = &load->feed.records[publisher->cursor];
		topic = record->topic;
		memcpy(publisher->payload, load->feed.bytes + record->offset, record->size);
		*size = record->size < LOAD_HEAD_SIZE ? LOAD_HEAD_SIZE : record->size;
		/* The head may have cut a character in two: no continuation byte may follow it. */
		for (size_t index = LOAD_HEAD_SIZE; index < *size && (publisher->payload[index] & 0xc0) == 0x80;
		     index++)
			publisher->payload[index] = '~';
	}
	load_head_write(publisher->payload, &(struct load_head){ .topic = topic,
	                                                         .sequence = load->topics[topic].published,
	                                                         .time_ns = publisher->schedule_ns });
	return &load->topics[topic];
}

static void advance(struct load *load, struct load_topic *topic)
{
	struct load_publisher *publisher = &load->publisher;
	topic->published++;
	publisher->messages++;
	publisher->burst_rest--;
	if (!load->options->feed || ++publisher->cursor < load->feed.record_count)
		return;
	publisher->cursor = 0;
	publisher->feed_begin_ns += load->feed.period_ns;
}

/* Deliveries are promised before the message is sent: a worker must never have received more than was promised. */
static void promise(struct load *load, const struct load_topic *topic)
{
	struct load_publisher *publisher = &load->publisher;
	for (unsigned index = 0; index < load->options->worker_count; index++)
		publisher->promised[index] += topic->subscribers_of[index];
	atomic_fetch_add(&publisher->expected, topic->subscribers);
}

static void withdraw(struct load *load, const struct load_topic *topic)
{
	struct load_publisher *publisher = &load->publisher;
	for (unsigned index = 0; index < load->options->worker_count; index++)
		publisher->promised[index] -= topic->subscribers_of[index];
	atomic_fetch_sub(&publisher->expected, topic->subscribers);
}

/* Sends the rest of the burst. Returns false when a connection's queue is full, or gone. */
static bool send_burst(struct load *load)
{
	struct load_publisher *publisher = &load->publisher;
	while (publisher->burst_rest) {
		size_t size;
		struct load_topic *topic = prepare(load, &size);
		promise(load, topic);
		int code = rc_send_unchecked(load->server, topic->publisher.conn, RC_TEXT, publisher->payload, size);
		if (code) {
			withdraw(load, topic);
			if (code == -ENOBUFS || code == -EAGAIN)
				return false;
			publisher->running = false; /* its close said why, and was counted */
			publisher->burst_rest = 0;
			atomic_store(&publisher->finished, true);
			return false;
		}
		advance(load, topic);
	}
	uint64_t *goals = goals_of(load, publisher->bursts);
	memcpy(goals, publisher->promised, load->options->worker_count * sizeof *goals);
	publisher->bursts++;
	return true;
}

static void begin_burst(struct load *load, uint64_t due_ns)
{
	struct load_publisher *publisher = &load->publisher;
	uint64_t rest = publisher->messages_max - publisher->messages;
	unsigned burst = load->options->feed && publisher->open_loop ? 1 : load->options->burst;
	publisher->schedule_ns = due_ns;
	publisher->burst_rest = rest < burst ? (unsigned)rest : burst;
}

/* Closed loop: whether the window has room. When it has none, the workers are told what to wait for. */
static bool window_is_open(struct load *load)
{
	struct load_publisher *publisher = &load->publisher;
	if (publisher->open_loop)
		return true;
	for (bool told = false;; told = true) {
		while (publisher->bursts_done < publisher->bursts &&
		       reached(load, goals_of(load, publisher->bursts_done)))
			publisher->bursts_done++;
		if (publisher->bursts - publisher->bursts_done < load->options->window) {
			set_goals(load, NULL);
			return true;
		}
		if (told)
			return false;
		/* The workers are told first, and the window is looked at again after that: the last delivery may come
		 * in between. */
		set_goals(load, goals_of(load, publisher->bursts_done));
	}
}

void load_pump(void *argument)
{
	struct load *load = argument;
	struct load_publisher *publisher = &load->publisher;
	atomic_store(&publisher->posted, false);
	while (publisher->running) {
		if (!publisher->burst_rest) {
			uint64_t now = clock_now(), due = next_due(load, now);
			if (due == UINT64_MAX) {
				publisher->running = false;
				set_goals(load, NULL);
				atomic_store(&publisher->finished, true);
				wait_wake(&load->wait);
				break;
			}
			if (due > now || !window_is_open(load)) {
				atomic_store(&publisher->due_ns, due > now ? due : now + RETRY_NS);
				break;
			}
			begin_burst(load, due);
		}
		if (!send_burst(load)) {
			atomic_store(&publisher->due_ns, clock_now() + RETRY_NS);
			break;
		}
	}
}

void load_publisher_begin(struct load *load)
{
	struct load_publisher *publisher = &load->publisher;
	publisher->feed_begin_ns = publisher->begin_ns;
	publisher->cursor = 0;
	publisher->messages = publisher->bursts = publisher->bursts_done = 0;
	publisher->burst_rest = 0;
	publisher->running = true;
	atomic_store(&publisher->finished, false);
	load_pump(load);
}
