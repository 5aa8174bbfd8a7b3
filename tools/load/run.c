/* SPDX-License-Identifier: MIT
 *
 * run.c - a run of the load generator from its beginning to its end, on the main thread: connect, warm up,
 * measure, wait for the last delivery, sum up. The server's cost is sampled while nothing is under way, so that the
 * difference belongs to the measured messages and to nothing else.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "lib/client.h"
#include "lib/options.h"
#include "lib/url.h"

#define LOG_SIZE ((size_t)64 << 10) /* this role publishes nothing itself */
#define MESSAGE_SIZE_MAX ((size_t)64 << 20)
#define SETTLE_NS (500 * NS_PER_MS)  /* after connecting: what the server does late */
#define LONE_NS (100 * NS_PER_MS)    /* and after a message to each, twice what its kernel waits for another */
#define STALL_NS (5 * NS_PER_SECOND) /* when nothing came for so long, nothing will */
#define TICK_NS (1 * NS_PER_MS)
#define PUMP_PERIOD_NS 50000 /* the main thread's timer is no finer */
#define HANDSHAKE_TIMEOUT_MS 60000
#define DRAIN_MS 2000

uint64_t load_received(struct load *load)
{
	uint64_t sum = 0;
	for (unsigned index = 0; index < load->options->worker_count; index++)
		sum += atomic_load_explicit(&load->workers[index].received, memory_order_relaxed);
	return sum;
}

static void run_call(void *argument)
{
	struct load_worker *worker = argument;
	struct load *load = worker->load;
	load->call(worker);
	atomic_fetch_sub(&load->calls, 1);
	wait_wake(&load->wait);
}

/* Waits, and remembers a signal: the run then ends as soon as it can, with the figures so far. */
static void sleep_until(struct load *load, uint64_t until_ns)
{
	if (wait_until(&load->wait, until_ns) == WAIT_SIGNAL)
		load->report->interrupted = true;
}

void load_call(struct load *load, void (*fn)(struct load_worker *worker))
{
	load->call = fn;
	atomic_store(&load->calls, load->options->worker_count);
	for (unsigned index = 0; index < load->options->worker_count; index++) {
		while (rc_post(load->server, index, run_call, &load->workers[index]))
			sleep_until(load, clock_now() + TICK_NS);
	}
	while (atomic_load(&load->calls))
		sleep_until(load, UINT64_MAX);
}

static uint64_t cpu_now(void)
{
	struct timespec used = { 0 };
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
}

static struct process_cost cost(const struct load *load)
{
	return load->options->server_pid ? process_cost(load->options->server_pid) : (struct process_cost){ 0 };
}

static void begin_recording(struct load_worker *worker)
{
	histogram_clear(&worker->latency);
	load_skew_begin(&worker->skew, worker->load->skew_base);
	worker->bytes = 0;
	atomic_store_explicit(&worker->last_ns, 0, memory_order_relaxed);
	worker->recording = true;
}

static void begin_publishing(struct load_worker *worker)
{
	if (!worker->index)
		load_publisher_begin(worker->load);
}

static void stop_publishing(struct load_worker *worker)
{
	if (!worker->index)
		worker->load->publisher.running = false;
}

static void stop_sending(struct load_worker *worker)
{
	worker->sending = false;
}

static uint64_t target_reached(struct load *load)
{
	return load_received(load) >= atomic_load(&load->publisher.expected);
}

static uint64_t none_outstanding(struct load *load)
{
	uint64_t sum = 0;
	for (unsigned index = 0; index < load->options->worker_count; index++)
		sum += atomic_load(&load->workers[index].outstanding);
	return !sum;
}

/* Waits for the end of what is under way; gives up when nothing moves any more. */
static void await_deliveries(struct load *load, uint64_t (*done)(struct load *load))
{
	uint64_t received = load_received(load), moved_ns = clock_now();
	while (!done(load)) {
		sleep_until(load, clock_now() + TICK_NS);
		uint64_t now_received = load_received(load);
		if (now_received != received)
			moved_ns = clock_now();
		received = now_received;
		if (clock_now() - moved_ns > STALL_NS) {
			load->report->stalled = true;
			return;
		}
	}
}

/* Publishes for a time or a number of messages, and waits until all of it arrived. */
static void publish_phase(struct load *load, uint64_t duration_ns, uint64_t messages)
{
	struct load_publisher *publisher = &load->publisher;
	uint64_t received = 0, moved_ns = clock_now();
	publisher->begin_ns = moved_ns;
	publisher->end_ns = duration_ns ? publisher->begin_ns + duration_ns : UINT64_MAX;
	publisher->messages_max = messages ? messages : UINT64_MAX;
	load_call(load, begin_publishing);
	while (!atomic_load(&publisher->finished) && !load->report->interrupted) {
		uint64_t now = clock_now(), due = atomic_load(&publisher->due_ns), soon = now + PUMP_PERIOD_NS;
		uint64_t latest = now + NS_PER_SECOND;
		sleep_until(load, due < soon ? soon : due > latest ? latest : due);
		if (clock_now() >= atomic_load(&publisher->due_ns))
			load_post_pump(load);
		uint64_t now_received = load_received(load);
		if (now_received != received || publisher->open_loop)
			moved_ns = clock_now();
		received = now_received;
		if (clock_now() - moved_ns > STALL_NS) {
			load->report->stalled = true;
			break;
		}
	}
	load_call(load, stop_publishing);
	if (!load->report->stalled)
		await_deliveries(load, target_reached);
}

static uint64_t last_arrival(struct load *load)
{
	uint64_t last = 0;
	for (unsigned index = 0; index < load->options->worker_count; index++) {
		uint64_t of_worker = atomic_load_explicit(&load->workers[index].last_ns, memory_order_relaxed);
		last = of_worker > last ? of_worker : last;
	}
	return last;
}

struct mark {
	uint64_t ns;
	uint64_t received;
	uint64_t cpu_ns;
};

static struct mark begin_measuring(struct load *load)
{
	load_call(load, begin_recording);
	load->report->begin = cost(load);
	return (struct mark){ .received = load_received(load), .cpu_ns = cpu_now(), .ns = clock_now() };
}

static void end_measuring(struct load *load, const struct mark *mark, uint64_t end_ns)
{
	struct load_report *report = load->report;
	report->elapsed_ns = end_ns > mark->ns ? end_ns - mark->ns : 0;
	report->deliveries = load_received(load) - mark->received;
	report->client_cpu_ns = cpu_now() - mark->cpu_ns;
	report->end = cost(load);
}

/* After a handshake Linux takes a connection for a conversation. The subscriber's side then acknowledges every other
 * segment, in the server's time, instead of each as it is read. It learns that it only listens when its timer for a
 * delayed acknowledgement fires (40 ms). Which connections have learned that by the end of their handshakes is chance,
 * and changes the server's cost of a delivery by an eighth. So each gets a message of its own, and the time to learn.
 */
static void settle(struct load *load)
{
	publish_phase(load, 0, load->topic_count);
	for (uint64_t end = clock_now() + LONE_NS; clock_now() < end && !load->report->interrupted;)
		sleep_until(load, end);
}

static void run_broadcast(struct load *load)
{
	const struct load_options *options = load->options;
	if (options->warmup_ns) {
		if (!options->feed) /* the pauses of a recording are long enough */
			settle(load);
		publish_phase(load, options->warmup_ns, 0);
	}
	load->skew_base = load->topics[0].published;
	struct mark mark = begin_measuring(load);
	if (!load->report->stalled && !load->report->interrupted)
		publish_phase(load, options->duration_ns, options->messages);
	load->report->published = load->publisher.messages;
	end_measuring(load, &mark, last_arrival(load));
}

/* Modes echo and connect: each connection goes on by itself until it is told to stop. */
static void run_rounds(struct load *load)
{
	const struct load_options *options = load->options;
	for (unsigned index = 0; index < options->worker_count; index++)
		load->workers[index].budget = UINT64_MAX;
	load_call(load, load_kick);
	uint64_t begin = clock_now();
	while (clock_now() < begin + options->warmup_ns && !load->report->interrupted)
		sleep_until(load, begin + options->warmup_ns);
	struct mark mark = begin_measuring(load);
	uint64_t end = options->duration_ns ? mark.ns + options->duration_ns : UINT64_MAX;
	while (clock_now() < end && !load->report->interrupted) {
		if (options->messages && load_received(load) - mark.received >= options->messages)
			break;
		uint64_t next = clock_now() + (options->messages ? TICK_NS : 100 * NS_PER_MS);
		sleep_until(load, next < end ? next : end);
	}
	atomic_store(&load->ending, options->mode == LOAD_CONNECT);
	load_call(load, stop_sending);
	if (options->mode == LOAD_ECHO)
		await_deliveries(load, none_outstanding);
	end_measuring(load, &mark, last_arrival(load));
}

static void run_idle(struct load *load)
{
	struct mark mark = begin_measuring(load);
	uint64_t end = mark.ns + load->options->duration_ns;
	while (clock_now() < end && !load->report->interrupted)
		sleep_until(load, end);
	end_measuring(load, &mark, clock_now());
}

/* When all workers have ended, their counters are the main thread's. */
static void merge(struct load *load)
{
	struct load_report *report = load->report;
	for (unsigned index = 0; index < load->options->worker_count; index++) {
		struct load_worker *worker = &load->workers[index];
		histogram_merge(&report->latency, &worker->latency);
		report->tally.lost += worker->tally.lost;
		report->tally.duplicated += worker->tally.duplicated;
		report->tally.reordered += worker->tally.reordered;
		report->corrupt += worker->corrupt;
		report->bytes += worker->bytes;
		report->closed_early += atomic_load(&worker->closed);
		report->tally.lost += atomic_load(&worker->outstanding);
		if (index)
			load_skew_merge(&load->workers[0].skew, &worker->skew);
	}
	if (load->options->mode != LOAD_BROADCAST)
		return;
	load_skew_result(&load->workers[0].skew, load->topics[0].subscribers, &report->skew);
	/* A gap shows when the next message comes; what is missing at the very end shows here. */
	size_t count = (size_t)load->options->connections * load->options->topics_per_connection;
	count += load->options->protocol == LOAD_RELAY ? load->topic_count : 0;
	for (size_t index = 0; index < count; index++)
		report->tally.lost += load->topics[load->streams[index].topic].published - load->streams[index].next;
}

static int prepare(struct load *load)
{
	const struct load_options *options = load->options;
	struct rc_error error = { 0 };
	struct rc_config config;
	size_t workers_size = options->worker_count * sizeof *load->workers;
	load->workers = aligned_alloc(_Alignof(struct load_worker), workers_size);
	load->echo_payload = malloc(options->size * options->worker_count);
	if (!load->workers || !load->echo_payload)
		return -command_failed("no memory");
	memset(load->workers, 0, workers_size);
	memset(load->echo_payload, 'e', options->size * options->worker_count);
	for (unsigned index = 0; index < options->worker_count; index++) {
		load->workers[index].load = load;
		load->workers[index].index = index;
		atomic_store(&load->workers[index].goal, UINT64_MAX);
	}
	if (load_plan(load) || load_publisher_make(load))
		return -1;
	rc_config_init(&config);
	config.worker_count = options->worker_count;
	config.log_size = LOG_SIZE;
	config.message_size_max = MESSAGE_SIZE_MAX;
	config.send_size_max = MESSAGE_SIZE_MAX + LOG_SIZE;
	config.handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS;
	config.idle_timeout_ms = 0;
	config.handlers = load_handlers(load);
	load->server = rc_server_new(&config, &error);
	if (load->server && !client_tls(load->server, &load->options->tls, &error) &&
	    !rc_server_start(load->server, &error))
		return 0;
	command_failed("%s", error.text);
	rc_server_free(load->server);
	load->server = NULL;
	return -1;
}

static int measure(struct load *load)
{
	load->report->before_connecting = cost(load);
	if (load_connect_all(load) || load_connect_stalled(load))
		return -1;
	uint64_t settled = clock_now() + SETTLE_NS;
	while (clock_now() < settled && !load->report->interrupted)
		sleep_until(load, settled);
	load->report->after_connecting = cost(load);
	switch (load->options->mode) {
	case LOAD_BROADCAST:
		run_broadcast(load);
		break;
	case LOAD_IDLE:
		run_idle(load);
		break;
	default:
		run_rounds(load);
	}
	return 0;
}

int load_run(const struct load_options *options, struct load_report *report)
{
	static struct load load;
	load = (struct load){ .options = options, .report = report, .base_size = url_base_size(options->url) };
	if (wait_open(&load.wait))
		return -command_failed("no signal descriptor");
	int code = prepare(&load);
	if (!code)
		code = measure(&load);
	atomic_store(&load.ending, true);
	if (load.server) {
		wait_release(&load.wait);
		rc_server_stop(load.server, DRAIN_MS);
		rc_server_join(load.server);
		rc_server_free(load.server);
	}
	if (!code)
		merge(&load);
	load_publisher_free(&load);
	load_unplan(&load);
	free(load.workers);
	free(load.echo_payload);
	wait_close(&load.wait);
	return code;
}
