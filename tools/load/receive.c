/* SPDX-License-Identifier: MIT
 *
 * receive.c - the load generator's callbacks. What happens once a message is the price of the measurement: no
 * allocation, one look at the clock, the fixed head and nothing else (in mode echo the whole answer is compared).
 */
#include <stdio.h>
#include <string.h>

#include "engine.h"
#include "lib/options.h"

static void note_failure(struct load *load, const struct rc_closing *closing)
{
	if (atomic_exchange(&load->first_failure, true))
		return;
	char *text = load->report->first_failure;
	size_t size = sizeof load->report->first_failure;
	if (closing->status > 0)
		snprintf(text, size, "HTTP status %d", closing->status);
	else if (closing->status < 0)
		snprintf(text, size, "%.*s", (int)closing->reason_size, closing->reason);
	else
		snprintf(text, size, "closed %u %.*s", closing->code, (int)closing->reason_size,
		         closing->reason ? closing->reason : "");
}

static struct load_stream *find_stream(struct load_peer *peer, uint32_t topic)
{
	for (uint32_t index = 0; index < peer->stream_count; index++) {
		if (peer->streams[index].topic == topic)
			return &peer->streams[index];
	}
	return NULL;
}

/* Only the worker writes it: no locked instruction is needed for others to read a whole number. */
static uint64_t count_one(struct load_worker *worker)
{
	uint64_t received = atomic_load_explicit(&worker->received, memory_order_relaxed) + 1;
	atomic_store_explicit(&worker->received, received, memory_order_relaxed);
	return received;
}

static void on_broadcast(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct load_peer *peer = user;
	struct load_worker *worker = peer->worker;
	struct load_head head;
	struct load_stream *stream;
	(void)context;
	(void)conn;
	if (!load_head_read(message->data, message->size, &head) || !(stream = find_stream(peer, head.topic))) {
		worker->corrupt++;
		return;
	}
	uint64_t now = clock_now();
	load_stream_take(stream, head.sequence, &worker->tally);
	if (worker->recording) {
		histogram_add(&worker->latency, now > head.time_ns ? now - head.time_ns : 0);
		worker->bytes += message->size;
		if (!head.topic)
			load_skew_note(&worker->skew, head.sequence, now);
	}
	atomic_store_explicit(&worker->last_ns, now, memory_order_relaxed);
	uint64_t received = count_one(worker);
	if (received >= atomic_load_explicit(&worker->goal, memory_order_relaxed))
		load_progress(worker);
}

static void echo_send(struct load_peer *peer, uint64_t now)
{
	struct load_worker *worker = peer->worker;
	struct load *load = worker->load;
	if (!worker->sending || !worker->budget)
		return;
	worker->budget--;
	struct load_head head = { .topic = peer->index & 0xffffff, .sequence = peer->sent, .time_ns = now };
	load_head_write(load->echo_payload + worker->index * load->options->size, &head);
	int code = rc_send_unchecked(load->server, peer->conn, RC_TEXT,
	                             load->echo_payload + worker->index * load->options->size, load->options->size);
	if (code)
		return; /* it is closing: its close is counted, and the answer that is missing is too */
	peer->sent++;
	atomic_fetch_add_explicit(&worker->outstanding, 1, memory_order_relaxed);
}

/* What the server may not change: everything but the head, which is read and checked field by field. */
static bool echo_is_right(const struct load_peer *peer, const struct rc_message *message, struct load_head *head)
{
	const struct load *load = peer->worker->load;
	const char *sent = load->echo_payload + peer->worker->index * load->options->size;
	return message->size == load->options->size && load_head_read(message->data, message->size, head) &&
	       head->topic == (peer->index & 0xffffff) && head->sequence == peer->received &&
	       !memcmp(message->data + LOAD_HEAD_SIZE, sent + LOAD_HEAD_SIZE, message->size - LOAD_HEAD_SIZE);
}

static void on_echo(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct load_peer *peer = user;
	struct load_worker *worker = peer->worker;
	struct load_head head = { 0 };
	(void)context;
	(void)conn;
	uint64_t now = clock_now();
	if (!echo_is_right(peer, message, &head))
		worker->corrupt++;
	else if (worker->recording)
		histogram_add(&worker->latency, now - head.time_ns);
	peer->received++;
	atomic_store_explicit(&worker->last_ns, now, memory_order_relaxed);
	if (worker->recording)
		worker->bytes += message->size;
	count_one(worker);
	atomic_fetch_sub_explicit(&worker->outstanding, 1, memory_order_relaxed);
	echo_send(peer, now);
}

/* Mode connect: the next attempt, if there is to be one. */
static void reconnect(struct load_peer *peer)
{
	struct load_worker *worker = peer->worker;
	if (!worker->sending || !worker->budget)
		return;
	worker->budget--;
	peer->connect_ns = clock_now();
	if (load_connect_peer(worker->load, peer))
		atomic_fetch_add(&worker->failed, 1);
}

void load_kick(struct load_worker *worker)
{
	struct load *load = worker->load;
	uint64_t now = clock_now();
	worker->sending = true;
	for (unsigned index = worker->index; index < load->options->connections; index += load->options->worker_count) {
		struct load_peer *peer = &load->peers[index];
		if (load->options->mode == LOAD_ECHO) {
			for (unsigned count = 0; count < load->options->window; count++)
				echo_send(peer, now);
		} else if (!peer->open) { /* the others begin again when they are closed */
			reconnect(peer);
		}
	}
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct load *load = context;
	struct load_peer *peer = user;
	struct load_worker *worker = peer->worker;
	peer->conn = conn;
	peer->open = true;
	atomic_fetch_add(&worker->opened, 1);
	if (load->options->mode != LOAD_CONNECT)
		return;
	uint64_t now = clock_now();
	atomic_store_explicit(&worker->last_ns, now, memory_order_relaxed);
	count_one(worker);
	if (worker->recording)
		histogram_add(&worker->latency, now - peer->connect_ns);
	rc_close(load->server, conn, RC_CLOSE_NORMAL, NULL, 0);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct load *load = context;
	struct load_peer *peer = user;
	struct load_worker *worker = peer->worker;
	bool expected = atomic_load_explicit(&load->ending, memory_order_relaxed) ||
	                (load->options->mode == LOAD_CONNECT && peer->open && closing->code == RC_CLOSE_NORMAL);
	(void)conn;
	if (!expected)
		note_failure(load, closing);
	if (!peer->open)
		atomic_fetch_add(&worker->failed, 1);
	else if (!expected)
		atomic_fetch_add(&worker->closed, 1);
	bool again = peer->open && load->options->mode == LOAD_CONNECT; /* an attempt that failed is not repeated */
	peer->open = false;
	peer->conn = 0;
	if (again)
		reconnect(peer);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	command_failed("%s", text);
}

struct rc_handlers load_handlers(struct load *load)
{
	return (struct rc_handlers){
		.context = load,
		.open = on_open,
		.message = load->options->mode == LOAD_ECHO ? on_echo : on_broadcast,
		.close = on_close,
		.report = on_report,
	};
}
