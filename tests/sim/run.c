/* SPDX-License-Identifier: MIT
 *
 * run.c - one run: chaos, then quiet until everything has drained, then the end.
 */
#include "ringcast_stats.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define QUIET_STEPS 60000 /* in which everything must have drained */
#define LONG_NS 200000000 /* longer than any pause that the production code makes while it has something to send */

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
		CHECK(peers[i].state != PEER_LINKED || !peers[i].conn_open || peers[i].close_got ||
		          (oracle_caught_up(&peers[i]) && books_caught_up(&peers[i]) && streams_caught_up(&peers[i])),
		      "everybody sleeps, and peer %u waits for messages", i);
}

/* Lets one of those go on that can. False when nothing will ever happen again. */
static bool step(void)
{
	unsigned ready[FIBERS_MAX + PEERS_MAX + 1], count = 0;
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
	if (names_next_ns() <= sim.now_ns)
		ready[count++] = FIBERS_MAX + PEERS_MAX;
	else
		next = RC_MIN(next, names_next_ns());
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
		oracle_check_rounds();
		return true;
	}
	if (who == FIBERS_MAX + PEERS_MAX) {
		names_step();
		return true;
	}
	struct peer *peer = &peers[who - FIBERS_MAX];
	peer_step(peer);
	if (peer->state == PEER_OVER && !peer->settled)
		settle(peer);
	return true;
}

/* ---- a run ---- */

static bool at_rest(struct peer *peer)
{
	switch (peer->state) {
	case PEER_UNUSED:
	case PEER_OVER:
		return true;
	case PEER_OFFERED:
		return peer->kind == PEER_CLIENT; /* it waits for a free slot */
	case PEER_LINKED:
		break;
	default:
		return false;
	}
	bool pongs = peer->pong_last == peer->pings_out || sim_memory_lacks();
	return peer->conn_open && secret_rests(peer) && !peer->up_size && !peer->down_size &&
	       peer->out_begin == peer->out_end && !peer->close_sent && !peer->violation && !peer->close_got &&
	       !peer->up_ended && !peer->reset_by_peer && pongs && peer->direct_begin == peer->direct_end &&
	       peer->messages_in == peer->messages_out && oracle_caught_up(peer) && books_caught_up(peer) &&
	       streams_caught_up(peer);
}

/* What a state ends with, and that what is left is nothing for its form, nobody outside can tell: who has all of it may
 * be looked after once more. */
static bool nobody_is_behind(void)
{
	struct rc_stats stats;
	rc_server_stats(sim.server, &stats);
	return !stats.behind;
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
	return dials_rest() && nobody_is_behind();
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
			fprintf(stderr,
			        "peer %u: state %d open %d up %zu down %zu out %zu close %u/%u wrong %u pong %u/%u "
			        "direct %u in %u/%u "
			        "caught up %d\n",
			        i, peer->state, peer->conn_open, peer->up_size, peer->down_size,
			        peer->out_end - peer->out_begin, peer->close_sent, peer->close_got, peer->violation,
			        peer->pong_last, peer->pings_out, peer->direct_end - peer->direct_begin,
			        peer->messages_in, peer->messages_out, oracle_caught_up(&peers[i]));
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

/* A worker could not begin, so there is no server. */
static bool a_worker_failed(void)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		if (sim.results[i] < 0)
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
		if (peers[i].state == PEER_LINKED) {
			oracle_settle(&peers[i], true);
			books_check(&peers[i]);
		}
	oracle_check_counters();
	rc_server_stats(sim.server, &stats);
	CHECK(stats.slow_closed >= application_slow, "slow_closed %llu, %llu were",
	      (unsigned long long)stats.slow_closed, (unsigned long long)application_slow);
}

static void say_bye(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers[i];
		if (peer->state != PEER_LINKED || peer->close_sent || peer->violation || peer->up_ended ||
		    peer->reset_by_peer)
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
	CHECK(!stats.connections && !stats.subscriptions && !stats.behind,
	      "%llu connections, %llu subscriptions, %llu behind", (unsigned long long)stats.connections,
	      (unsigned long long)stats.subscriptions, (unsigned long long)stats.behind);
	CHECK(stats.closed >= application_closed && stats.closed <= application_closed + application_unsure,
	      "closed %llu, %llu were", (unsigned long long)stats.closed, (unsigned long long)application_closed);
	CHECK(stats.slow_closed == application_slow, "slow_closed %llu, %llu were",
	      (unsigned long long)stats.slow_closed, (unsigned long long)application_slow);
	CHECK(atomic_load(&server->connection_count) == 0, "connections are counted that are not there");
	for (unsigned i = 0; i < server->worker_count; i++) {
		/* It keeps the block that it compresses into. */
		CHECK(server->workers[i].pool.used_size == server->workers[i].compressor.scratch_size,
		      "worker %u: %zu bytes of the pool are lost", i, server->workers[i].pool.used_size);
		CHECK(server->workers[i].subscribers.count == 0, "subscriptions are lost");
		ring_check_empty(server->workers[i].ring);
	}
}

/* Nobody counts for an address any more: whoever comes is the first. */
static void check_addresses(void)
{
	struct sockaddr_storage address = { .ss_family = AF_UNIX };
	uint32_t index;
	if (!sim.server->addresses)
		return;
	for (unsigned i = 2; i < 6; i++) {
		address.ss_family = i % 2 ? AF_INET6 : AF_INET;
		if (i % 2)
			memcpy((uint8_t *)&address + 8, (uint8_t[8]){ 0x20, 1, 0x0d, 0xb8, 0, 0, 0, (uint8_t)i }, 8);
		else
			memcpy((uint8_t *)&address + 4, (uint8_t[4]){ 10, 0, 0, (uint8_t)i }, 4);
		unsigned count = rc_addresses_enter(sim.server->addresses, &address, &index);
		CHECK(count == 1, "address %u still counts %u connections", i, count - 1);
		rc_addresses_leave(sim.server->addresses, index);
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
	unsigned kept = (oracle_sequence(TOPICS - 1) > 0) + (sim.books ? BOOKS : 0);
	CHECK(stats.topics <= 1 + kept, "%llu topics are left", (unsigned long long)stats.topics);
}

static bool workers_ended(void)
{
	return !workers_alive();
}

static void be_quiet(void)
{
	sim.quiet = true;
	/* A worker that spins must not need too many steps for the time to pass. */
	if (sim.config.busy_poll || sim.config.spin_us)
		sim.step_ns = 1000000;
}

static void run(void)
{
	if (!world_make_server()) {
		CHECK(!sim.live_blocks && !sim.open_fds,
		      "a server that could not be made leaves %llu blocks and %u descriptors",
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

uint64_t run_seed(uint64_t seed)
{
	world_begin(seed);
	run();
	sim_mix(sim.now_ns);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		sim_struck[i] += sim.struck_here[i];
	return sim.hash;
}
