/* SPDX-License-Identifier: MIT
 *
 * main.c - runs of the simulator, one a seed: chaos, then quiet until everything has drained, then the end. The seed is
 * printed first when one fails, and it is all that is needed to see the same run again.
 */
#include "sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUIET_STEPS 60000 /* in which everything must have drained */
#define LONG_NS 200000000 /* longer than any pause that the production code makes while it has something to send */

struct sim sim;
uint64_t sim_struck[FAULT_COUNT];
const char *const sim_fault_names[FAULT_COUNT] = {
	"short send", "one-byte receive", "would block", "multishot ended with data", "multishot ended alone", "no buffers",
	"cancelled", "reset", "accept EMFILE", "accept ENFILE", "accept ENOMEM", "queue full", "overflow", "few completions",
	"late start", "late completion", "late cancel", "writable too early", "woken too early", "slot used again at once",
	"peer unknown", "allocation", "clock jump", "preempted", "connect refused", "zero copy failed", "zero copy copied",
	"zero copy released late", "zero copy not released", "no kernel TLS", "keys refused", "compressed message", "message of a cohort", "message sent compressed",
	"wrong compressed message", "TLS record", "TLS key update", "wrong TLS record",
	"server-sent event", "kernel TLS",
};
static int results[WORKERS_MAX];

/* ---- chance ---- */

uint64_t sim_random(void)
{
	/* splitmix64 (Steele, Lea and Flood, 2014) */
	uint64_t z = sim.state += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

uint32_t sim_below(uint32_t count) { return (uint32_t)((sim_random() >> 32) * count >> 32); }

bool sim_fault(enum fault kind)
{
	if (sim.quiet || !sim.weights[kind] || sim_below(65536) >= sim.weights[kind])
		return false;
	sim.struck_here[kind]++;
	return true;
}

void sim_met(enum fault kind) { sim.struck_here[kind]++; }

void sim_mix(uint64_t value) { sim.hash = (sim.hash ^ value) * UINT64_C(0x9E3779B97F4A7C15) + (sim.hash >> 29); }

/* ---- saying something ---- */

void sim_trace(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	printf("%10.3f ms [%2d] ", (double)(sim.now_ns - sim.start_ns) / 1e6, host_current());
	vprintf(format, arguments);
	putchar('\n');
	va_end(arguments);
}

_Noreturn void sim_fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	fprintf(stderr, "\nseed %llu failed at step %llu: ", (unsigned long long)sim.seed, (unsigned long long)sim.step);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	_exit(1);
}

static void on_signal(int number)
{
	static const char after[] = ": an assertion or a wrong access in the production code\n";
	char text[64] = "\nseed ", digits[24];
	unsigned count = 0, at = 6;
	uint64_t seed = sim.seed;
	do
		digits[count++] = (char)('0' + seed % 10);
	while (seed /= 10);
	while (count)
		text[at++] = digits[--count];
	memcpy(text + at, after, sizeof after - 1 < sizeof text - at ? sizeof after - 1 : sizeof text - at);
	ssize_t written = write(2, text, RC_MIN(sizeof text, at + sizeof after - 1));
	(void)written;
	signal(number, SIG_DFL);
	raise(number);
}

/* ---- who goes next ---- */

static bool worker_can_run(unsigned index)
{
	if (!host_alive(index))
		return false;
	struct rc_ring *ring = sim.server->workers[index].ring;
	return !ring || ring_can_run(ring);
}

static uint64_t next_ns_of(unsigned fiber)
{
	if (!host_alive(fiber))
		return UINT64_MAX;
	if (fiber >= WORKERS_MAX)
		return host_wake_ns(fiber);
	struct rc_ring *ring = sim.server->workers[fiber].ring;
	return ring ? ring_next_ns(ring) : 0;
}

static void settle(struct peer *peer)
{
	peer->settled = true;
	peer_check(peer);
	oracle_settle(peer, false);
}

/* All sleep, and not for a moment: then nobody may be waiting for anything. */
static void check_sleep(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		CHECK(peers[i].state != PEER_LINKED || !peers[i].conn_open || peers[i].close_got || oracle_caught_up(&peers[i]),
		      "everybody sleeps, and peer %u waits for messages", i);
}

/* One of all who can goes on. False when nothing will ever happen again. */
static bool step(void)
{
	unsigned ready[FIBERS_MAX + PEERS_MAX], count = 0;
	uint64_t next = UINT64_MAX;
	sim.step++;
	sim.now_ns += 1 + sim_below((uint32_t)sim.step_ns);
	if (sim_fault(FAULT_CLOCK_JUMP)) {
		sim.now_ns += (uint64_t)sim_between(1, 40000) * 1000000;
		sim.jumped_ns = sim.now_ns;
	}
	for (unsigned i = 0; i < FIBERS_MAX; i++) {
		bool can = i < WORKERS_MAX ? worker_can_run(i) : host_alive(i) && host_wake_ns(i) <= sim.now_ns;
		if (can)
			ready[count++] = i;
		else
			next = RC_MIN(next, next_ns_of(i));
	}
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		uint64_t at = peer_next_ns(&peers[i]);
		if (at <= sim.now_ns)
			ready[count++] = FIBERS_MAX + i;
		else
			next = RC_MIN(next, at);
	}
	if (!count) {
		if (sim.quiet && !sim.stopping && next > sim.now_ns + LONG_NS)
			check_sleep();
		if (next != UINT64_MAX)
			sim.now_ns = RC_MAX(sim.now_ns, next);
		return next != UINT64_MAX;
	}
	unsigned who = ready[sim_below(count)];
	sim_mix(who);
	if (who < FIBERS_MAX) {
		host_resume(who);
		return true;
	}
	struct peer *peer = &peers[who - FIBERS_MAX];
	peer_step(peer);
	if (peer->state == PEER_OVER && !peer->settled)
		settle(peer);
	return true;
}

/* ---- the world of a seed ---- */

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
			weight = sim_one_in(4) ? 8000 : 0;
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
	config->send_size_max = sim_one_in(4) ? 2000 : 4 * MIB;
	config->log_size = sim_one_in(6) ? 512 * KIB : 64 * KIB;
	config->lag_size_max = sim_one_in(3) ? sim_between(2000, 40000) : 0;
	config->lag_ms_max = sim_one_in(4) ? sim_between(20, 1000) : 0;
	config->handshake_timeout_ms = sim_between(1000, 10000);
	config->idle_timeout_ms = sim_one_in(3) ? 2000 : sim_one_in(2) ? 0 : 120000;
	config->close_timeout_ms = sim_between(1000, 5000);
	config->busy_poll = sim_one_in(20);
	config->deflate.on = sim_one_in(2);
	config->deflate.size_min = sim_one_in(2) ? 16 : 200;
	config->deflate.level = sim_between(1, 9);
	config->deflate.bits = sim_between(8, 15);
	config->deflate.client_takeover = sim_one_in(2);
	config->kernel_tls = sim_one_in(2);
	sim.old_kernel = sim_one_in(2);
	sim.events = sim_one_in(4);
	config->zero_copy_size_min = sim_one_in(3) ? sim_between(1, 600) : 0;
}

static void add_rules(void)
{
	static const enum rc_policy policies[TOPICS] = {
		RC_POLICY_CLOSE, RC_POLICY_CLOSE, RC_POLICY_CLOSE, RC_POLICY_SKIP, RC_POLICY_SKIP, RC_POLICY_CONFLATE,
		RC_POLICY_CONFLATE, RC_POLICY_CLOSE,
	};
	for (unsigned i = 0; i < TOPICS; i++) {
		struct rc_topic_options *options = &oracle_options[i];
		*options = (struct rc_topic_options){ .policy = policies[i], .keep_last = i == TOPICS - 1,
			                                        .cohort = sim_one_in(2) };
		if (sim_one_in(3))
			options->lag_size_max = sim_between(1000, 40000);
		if (sim_one_in(4))
			options->lag_ms_max = sim_between(5, 500);
		CHECK(rc_server_topic_rule(sim.server, oracle_topics[i], options) == 0, "a topic rule is refused");
	}
}

static void worker_fiber(unsigned index)
{
	struct rc_error error;
	results[index] = rc_server_run(sim.server, index, &error);
}

static bool make_server(void)
{
	struct rc_error error;
	choose_config();
	sim.server = rc_server_new(&sim.config, &error);
	if (!sim.server) {
		CHECK(sim.struck_here[FAULT_ALLOCATION], "no server: %s", error.text);
		return false;
	}
	add_rules();
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

static void begin(uint64_t seed)
{
	bool verbose = sim.verbose;
	sim = (struct sim){ .seed = seed, .state = seed * UINT64_C(0xD1342543DE82EF95), .verbose = verbose };
	sim_random();
	sim.now_ns = sim.start_ns = 1000000000 + sim_below(1000000000);
	sim.step_ns = 1000u << sim_below(8);
	memset(results, 0, sizeof results);
	choose_faults();
	sim.crowd = sim_one_in(5);
	host_reset();
	ring_reset();
	listener_reset();
	peer_reset_all();
	secret_reset_all();
	kernel_reset_all();
	oracle_reset();
	application_reset();
}

/* ---- a run ---- */

static bool at_rest(struct peer *peer)
{
	switch (peer->state) {
	case PEER_UNUSED:
	case PEER_OVER:
		return true;
	case PEER_OFFERED:
		return peer->kind == PEER_CLIENT; /* it waits for a free place */
	case PEER_LINKED:
		break;
	default:
		return false;
	}
	bool pongs = peer->pong_last == peer->pings_out || sim.struck_here[FAULT_ALLOCATION];
	return peer->conn_open && secret_rests(peer) && !peer->up_size && !peer->down_size && peer->out_begin == peer->out_end && !peer->close_sent &&
	       !peer->violation && !peer->close_got && !peer->up_ended && !peer->reset_by_peer && pongs &&
	       peer->direct_begin == peer->direct_end && peer->messages_in == peer->messages_out && oracle_caught_up(peer);
}

static bool all_at_rest(void)
{
	for (unsigned i = 0; i < FIBERS_MAX; i++) {
		if (!host_alive(i))
			continue;
		if (i >= WORKERS_MAX || !sim.server->workers[i].ring)
			return false;
		struct rc_ring *ring = sim.server->workers[i].ring;
		if (sim.config.busy_poll ? !ring_rests(ring) : !ring_waits(ring))
			return false;
	}
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (!at_rest(&peers[i]))
			return false;
	return true;
}

static bool all_over(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (peers[i].state == PEER_OFFERED || peers[i].state == PEER_LINKED || peers[i].state == PEER_PLANNED)
			return false;
	for (unsigned i = 0; i < sim.config.worker_count; i++)
		if (sim.server->workers[i].used_count)
			return false;
	return all_at_rest();
}

static bool workers_alive(void)
{
	for (unsigned i = 0; i < FIBERS_MAX; i++)
		if (host_alive(i))
			return true;
	return false;
}

static void describe_unrest(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		const struct peer *peer = &peers[i];
		if (!at_rest(&peers[i]))
			fprintf(stderr, "peer %u: state %d open %d up %zu down %zu out %zu close %u/%u wrong %u pong %u/%u direct %u in %u/%u "
			                "caught up %d\n", i, peer->state, peer->conn_open, peer->up_size, peer->down_size,
			        peer->out_end - peer->out_begin, peer->close_sent, peer->close_got, peer->violation, peer->pong_last,
			        peer->pings_out, peer->direct_end - peer->direct_begin, peer->messages_in, peer->messages_out,
			        oracle_caught_up(&peers[i]));
	}
}

static void go_on_until(bool (*done)(void), const char *what)
{
	for (unsigned i = 0; i < QUIET_STEPS; i++) {
		if (done())
			return;
		if (!step())
			break;
	}
	if (done())
		return;
	describe_unrest();
	sim_fail("%s", what);
}

/* A worker could not begin: the server is not one. */
static bool a_worker_failed(void)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (results[i] < 0)
			return true;
	return false;
}

static void stop(unsigned drain_ms)
{
	TRACE("stop, %u ms", drain_ms);
	sim.stopping = true;
	rc_server_stop(sim.server, drain_ms);
}

static void check_counters(void)
{
	struct rc_stats stats;
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (peers[i].state == PEER_LINKED)
			oracle_settle(&peers[i], true);
	oracle_check_counters();
	rc_server_stats(sim.server, &stats);
	CHECK(stats.slow_closed >= application_slow, "slow_closed %llu, %llu were", (unsigned long long)stats.slow_closed,
	      (unsigned long long)application_slow);
}

static void say_bye(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers[i];
		if (peer->state != PEER_LINKED || peer->close_sent || peer->violation || peer->up_ended || peer->reset_by_peer)
			continue;
		if (!peer->opened && !(peer->kind == PEER_SERVER && peer->conn_open))
			continue;
		if (sim_one_in(4)) {
			peer_reset(peer);
		} else if (peer->events) {
			peer_excuse(peer, "it reads no more");
			peer->up_ended = true;
		} else {
			script_close(peer, 1000);
		}
	}
}

static bool all_over_bye(void)
{
	say_bye();
	return all_over();
}

static void check_all_gone(void)
{
	struct rc_stats stats;
	struct rc_server *server = sim.server;
	rc_server_stats(server, &stats);
	CHECK(!stats.connections && !stats.subscriptions && !stats.behind, "%llu connections, %llu subscriptions, %llu behind",
	      (unsigned long long)stats.connections, (unsigned long long)stats.subscriptions, (unsigned long long)stats.behind);
	CHECK(stats.closed == application_closed, "closed %llu, %llu were", (unsigned long long)stats.closed,
	      (unsigned long long)application_closed);
	CHECK(stats.slow_closed == application_slow, "slow_closed %llu, %llu were", (unsigned long long)stats.slow_closed,
	      (unsigned long long)application_slow);
	CHECK(atomic_load(&server->connection_count) == 0, "connections are counted that are not there");
	for (unsigned i = 0; i < server->worker_count; i++) {
		/* What it compresses into, it keeps. */
		CHECK(server->workers[i].pool.used_size == server->workers[i].scratch_size, "worker %u: %zu bytes of the pool are lost", i,
		      server->workers[i].pool.used_size);
		CHECK(server->workers[i].subscribers.count == 0, "subscriptions are lost");
		ring_check_empty(server->workers[i].ring);
	}
}

/* Nobody holds a place of his address any more: whoever comes is the first. */
static void check_addresses(void)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	uint32_t place;
	if (!sim.server->addresses)
		return;
	for (unsigned i = 2; i < 6; i++) {
		address.ss_family = i % 2 ? AF_INET6 : AF_INET;
		if (i % 2)
			memcpy((uint8_t *)&address + 8, (uint8_t[8]){ 0x20, 1, 0x0d, 0xb8, 0, 0, 0, (uint8_t)i }, 8);
		else
			memcpy((uint8_t *)&address + 4, (uint8_t[4]){ 10, 0, 0, (uint8_t)i }, 4);
		unsigned count = rc_addresses_enter(sim.server->addresses, &address, &place);
		CHECK(count == 1, "address %u still counts %u connections", i, count - 1);
		rc_addresses_leave(sim.server->addresses, place);
	}
}

/* When the log has come around, a topic without subscribers is forgotten. */
static void check_topics_go(void)
{
	static char filler[600];
	struct rc_stats stats;
	unsigned tries = 0;
	for (size_t done = 0; done < sim.config.log_size * 3; tries++) {
		CHECK(tries < 100000, "nobody makes room in the log");
		if (rc_publish(sim.server, "filler", 6, filler, sizeof filler, 0) > 0)
			done += sizeof filler;
		else
			step();
	}
	rc_server_stats(sim.server, &stats);
	unsigned kept = oracle_sequence(TOPICS - 1) > 0;
	CHECK(stats.topics <= 1 + kept, "%llu topics are left", (unsigned long long)stats.topics);
}

static bool workers_ended(void) { return !workers_alive(); }

static void be_quiet(void)
{
	sim.quiet = true;
	/* Who spins must not need too many steps for the time to pass. */
	if (sim.config.busy_poll)
		sim.step_ns = 1000000;
}

static void run(void)
{
	if (!make_server()) {
		CHECK(!sim.live_blocks && !sim.open_fds, "a server that could not be made leaves %llu blocks and %u descriptors",
		      (unsigned long long)sim.live_blocks, sim.open_fds);
		return;
	}
	unsigned peer_count = sim_one_in(3) && !sim.crowd ? sim_between(1, 6) : sim_between(6, PEERS_MAX);
	for (unsigned i = 0; i < peer_count; i++)
		peer_plan(i);
	unsigned publishers = sim_between(1, PUBLISHERS_MAX);
	for (unsigned i = 0; i < publishers; i++)
		host_fiber(WORKERS_MAX + i, application_publisher);
	unsigned steps = sim_one_in(4) ? sim_below(10000) : sim_between(500, 3000);
	for (unsigned i = 0; i < steps && !a_worker_failed(); i++)
		if (!step())
			break;
	bool failed = a_worker_failed();
	CHECK(!failed || sim.struck_here[FAULT_ALLOCATION], "a worker could not begin");
	if (failed || sim_one_in(5)) {
		stop(failed ? 0 : sim_below(2000));
		for (unsigned i = 0; i < 20000 && workers_alive() && step(); i++)
			;
		be_quiet();
	} else {
		be_quiet();
		go_on_until(all_at_rest, "it does not come to rest");
		check_counters();
		if (!sim_one_in(4)) {
			go_on_until(all_over_bye, "connections do not end");
			check_all_gone();
			check_addresses();
			if (sim_one_in(4))
				check_topics_go();
		}
		stop(sim_one_in(3) ? 0 : 3000);
	}
	go_on_until(workers_ended, "workers do not stop");
	rc_server_free(sim.server);
	sim.server = NULL;
	CHECK(!sim.live_blocks && !sim.open_fds, "%llu blocks of memory and %u descriptors are lost",
	      (unsigned long long)sim.live_blocks, sim.open_fds);
	for (unsigned i = 0; i < PEERS_MAX; i++)
		CHECK(!peers[i].conn_open, "peer %u: handlers.close was never called", i);
}

static uint64_t run_seed(uint64_t seed)
{
	begin(seed);
	run();
	sim_mix(sim.now_ns);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		sim_struck[i] += sim.struck_here[i];
	return sim.hash;
}

/* ---- the program ---- */

struct options { uint64_t count, from; bool quiet, hashes, all_kinds; };

static int use(void)
{
	fprintf(stderr, "usage: sim [--seeds N] [--from S] [--verbose] [--quiet] [--hashes] [--every-fault]\n"
	                "  --hashes       a line for each seed: the seed and the hash of its run\n"
	                "  --every-fault  fails when a kind of fault never struck\n");
	return 2;
}

static bool parse(struct options *options, int count, char **arguments)
{
	for (int i = 1; i < count; i++) {
		const char *name = arguments[i];
		if (strcmp(name, "--verbose") == 0)
			sim.verbose = true;
		else if (strcmp(name, "--quiet") == 0)
			options->quiet = true;
		else if (strcmp(name, "--hashes") == 0)
			options->hashes = true;
		else if (strcmp(name, "--every-fault") == 0)
			options->all_kinds = true;
		else if (strcmp(name, "--seeds") == 0 && i + 1 < count)
			options->count = strtoull(arguments[++i], NULL, 10);
		else if (strcmp(name, "--from") == 0 && i + 1 < count)
			options->from = strtoull(arguments[++i], NULL, 10);
		else
			return false;
	}
	return true;
}

static int say_struck(const struct options *options)
{
	int missing = 0;
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		if (!options->quiet)
			printf("%12llu %s\n", (unsigned long long)sim_struck[i], sim_fault_names[i]);
		if (sim_struck[i] || !options->all_kinds)
			continue;
		fprintf(stderr, "fault '%s' never struck\n", sim_fault_names[i]);
		missing = 1;
	}
	return missing;
}

int main(int count, char **arguments)
{
	struct options options = { .count = 100, .from = 1 };
	if (!parse(&options, count, arguments))
		return use();
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	bool progress = !options.quiet && isatty(1);
	for (uint64_t i = 0; i < options.count; i++) {
		uint64_t hash = run_seed(options.from + i);
		if (options.hashes)
			printf("%llu %016llx\n", (unsigned long long)(options.from + i), (unsigned long long)hash);
		if (progress && i % 20 == 0) {
			printf("\r%llu of %llu seeds", (unsigned long long)i, (unsigned long long)options.count);
			fflush(stdout);
		}
	}
	if (progress)
		printf("\r");
	if (!options.quiet)
		printf("%llu seeds from %llu: all well\n", (unsigned long long)options.count, (unsigned long long)options.from);
	return options.hashes ? 0 : say_struck(&options);
}
