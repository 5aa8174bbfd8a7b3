/* SPDX-License-Identifier: MIT
 *
 * world.c - the world of a seed: which faults strike how often, how the server is configured, what is reset before it.
 */
#include "ringcast_latency.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

static void choose_faults(void)
{
	bool calm = sim_one_in(12);
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		uint32_t weight = 32768u >> sim_below(12);
		if (i == FAULT_CANCELLED || i == FAULT_RESET || i == FAULT_ALLOCATION)
			weight = 1000u >> sim_below(8);
		if (i == FAULT_ALLOCATION && !sim_one_in(3))
			weight = 0;
		if (i == FAULT_NO_KERNEL_TLS)
			weight = sim_one_in(2) ? 30000 : 0;
		if (i == FAULT_CLOCK_JUMP)
			weight = sim_one_in(4) ? 40 : 0;
		sim.weights[i] = calm || sim_one_in(2) ? 0 : weight;
	}
}

static void choose_config(void)
{
	struct rc_config *config = &sim.config;
	rc_config_init(config);
	config->worker_count = sim.crowd ? 1 : sim_between(1, WORKERS_MAX - 1);
	config->handlers = application_handlers;
	config->connections_max = sim_one_in(4) ? sim_between(3, 16) : 0;
	config->connections_per_address = sim_one_in(4) ? sim_between(2, 6) : 0;
	config->subscriptions_max = sim_one_in(8) ? 3 : 256;
	config->message_size_max = sim_between(1000, 8000);
	config->send_size_max = sim_one_in(4) ? 2000 : 4 * RC_MIB;
	config->fragments_max = RC_FRAGMENTS_DEFAULT;
	config->log_size = sim_one_in(6) ? 512 * RC_KIB : 64 * RC_KIB;
	config->lag_size_max = sim_one_in(3) ? sim_between(2000, 40000) : 0;
	config->lag_ms_max = sim_one_in(4) ? sim_between(20, 1000) : 0;
	config->handshake_timeout_ms = sim_between(1000, 10000);
	config->idle_timeout_ms = sim_one_in(3) ? 2000 : sim_one_in(2) ? 0 : 120000;
	config->close_timeout_ms = sim_between(1000, 5000);
	config->busy_poll = sim_one_in(20);
	config->spin_us = sim_one_in(8) ? sim_between(1, 500) : 0;
	config->deflate.on = sim_one_in(2);
	config->deflate.size_min = sim_one_in(2) ? 16 : 200;
	config->deflate.level = sim_between(1, 9);
	config->deflate.bits = sim_between(8, 15);
	config->deflate.client_takeover = sim_one_in(2);
	config->kernel_tls = sim_one_in(2);
	sim.old_kernel = sim_one_in(2);
	sim.events = sim_one_in(4);
	config->memory_max = sim_one_in(3) ? sim_between(16, 120) * RC_KIB : 0;
	sim.stepped = sim_one_in(4);
	config->zero_copy_size_min = sim_one_in(3) ? sim_between(1, 600) : 0;
	sim.books = sim_one_in(2);
	sim.books_short = sim_one_in(6);
	config->state_max = sim.books_short ? sim_between(2, 40) * RC_KIB : 8 * RC_MIB;
}

static void add_rules(void)
{
	static const enum rc_policy policies[TOPICS] = {
		RC_POLICY_CLOSE, RC_POLICY_CLOSE,    RC_POLICY_CLOSE,    RC_POLICY_SKIP,
		RC_POLICY_SKIP,  RC_POLICY_CONFLATE, RC_POLICY_CONFLATE, RC_POLICY_CLOSE,
	};
	for (unsigned i = 0; i < TOPICS; i++) {
		struct rc_topic_options *options = &oracle_options[i];
		*options = (struct rc_topic_options){ .policy = policies[i],
			                              .keep_last = i == TOPICS - 1,
			                              .cohort = sim_one_in(2),
			                              .numbered_here = true };
		if (sim_one_in(3))
			options->lag_size_max = sim_between(1000, 40000);
		if (sim_one_in(4))
			options->lag_ms_max = sim_between(5, 500);
		CHECK(rc_server_topic_rule(sim.server, oracle_topics[i], options) == 0, "a topic rule is refused");
	}
}

static void add_books(void)
{
	for (unsigned book = 0; book < BOOKS; book++) {
		struct rc_topic_options options = { .policy = sim_one_in(2) ? RC_POLICY_RESYNC : RC_POLICY_CONFLATE,
			                            .numbered_here = true };
		if (sim_one_in(2))
			options.lag_size_max = sim_between(2000, 40000);
		if (sim_one_in(3))
			options.heartbeat_ms = sim_between(30, 2000);
		CHECK(rc_server_topic_rule(sim.server, books_topics[book], &options) == 0, "a topic rule is refused");
	}
}

static void add_streams(void)
{
	for (unsigned topic = 0; topic < STREAMS; topic++) {
		struct rc_topic_options options = { .policy = RC_POLICY_RESYNC };
		if (sim_one_in(2))
			options.lag_size_max = sim_between(2000, 40000);
		if (sim_one_in(3))
			options.heartbeat_ms = sim_between(30, 2000);
		CHECK(rc_server_topic_rule(sim.server, streams_topics[topic], &options) == 0,
		      "a topic rule is refused");
	}
	streams_begin();
}

/* A program's own loop: its descriptor is readable when the ring can run, see run.c. */
static int loop(unsigned index)
{
	int result = rc_server_fd(sim.server, index);
	if (result < 0)
		return result;
	do {
		if (!sim.config.busy_poll)
			host_yield();
		result = rc_worker_step(sim.server, index);
	} while (result > 0);
	CHECK(rc_worker_step(sim.server, index) == result, "a worker that has ended goes on");
	return result;
}

static void worker_fiber(unsigned index)
{
	struct rc_error error;
	if (sim.stepped) {
		sim.results[index] = loop(index);
		return;
	}
	sim.results[index] = rc_server_run(sim.server, index, &error);
}

bool world_make_server(void)
{
	struct rc_error error;
	choose_config();
	sim.server = rc_server_new(&sim.config, &error);
	if (!sim.server) {
		CHECK(sim.struck_here[FAULT_ALLOCATION], "no server: %s", error.text);
		return false;
	}
	add_rules();
	if (sim.books) {
		add_books();
		add_streams();
	}
	CHECK(rc_server_listen(sim.server, "127.0.0.1:80", &error) == 80, "cannot listen");
	if (sim_one_in(3))
		CHECK(rc_server_listen(sim.server, "unix:/sim", &error) == 0, "cannot listen");
	if (sim_one_in(3) && secret_serve()) {
		sim.secure = true;
		CHECK(rc_server_listen(sim.server, "wss://127.0.0.1:443", &error) == 443, "cannot listen");
	}
	for (unsigned i = 0; i < sim.config.worker_count; i++)
		host_fiber(i, worker_fiber);
	return true;
}

void world_begin(uint64_t seed)
{
	bool verbose = sim.verbose;
	sim = (struct sim){ .seed = seed, .state = seed * UINT64_C(0xD1342543DE82EF95), .verbose = verbose };
	sim_random();
	sim.now_ns = sim.start_ns = 1000000000 + sim_below(1000000000);
	sim.step_ns = 1000u << sim_below(8);
	choose_faults();
	sim.crowd = sim_one_in(5);
	host_reset();
	ring_reset();
	listener_reset();
	peer_reset_all();
	dials_reset();
	secret_reset_all();
	kernel_reset_all();
	oracle_reset();
	books_reset();
	streams_reset();
	application_reset();
}
