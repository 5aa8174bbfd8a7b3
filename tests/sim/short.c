/* SPDX-License-Identifier: MIT
 *
 * short.c - what must hold when a connection goes because memory is short: there is a budget, it is short, and nobody
 * else of that worker makes the server keep more than twice as much. It looks into the production state for how much is
 * kept, and counts that anew.
 */
#include "sim.h"

#define GATHERED_MAX (16 * RC_KIB) /* of a request or message in pieces: the largest here, as a block of the pool */

static size_t size_of(const struct rc_outbox *outbox)
{
	return outbox ? outbox->sending_capacity + outbox->filling_capacity : 0;
}

static size_t kept(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	return size_of(conn->outbox) + (conn->secure ? size_of(worker->secure.of_slot[slot].aside) : 0);
}

bool short_has_closed(void)
{
	uint64_t count = 0;
	for (unsigned i = 0; i < sim.config.worker_count; i++)
		count += sim.server->workers[i].stats.memory_closed;
	return count;
}

static uint64_t held(void)
{
	uint64_t sum = 0;
	for (unsigned i = 0; sim.server && i < sim.config.worker_count; i++)
		sum += sim.server->workers[i].stats.memory_held;
	return sum;
}

void short_tick(void)
{
	sim.held_most[host_current()] = 0;
}

void short_pause(void)
{
	unsigned index = (unsigned)host_current();
	if (index < WORKERS_MAX)
		sim.held_most[index] = RC_MAX(sim.held_most[index], held());
}

void short_closed(struct peer *peer, rc_conn conn)
{
	const struct worker *worker = &sim.server->workers[rc_conn_worker(conn)];
	CHECK(sim.config.memory_max, "peer %u: closed because memory is short, and there is no budget", peer->index);
	peer_excuse(peer, "memory is short");
	sim_met(MET_MEMORY_SHORT);
	uint32_t own_slot = conn >> 32 & (RC_SLOTS_MAX - 1);
	size_t own = kept(worker, own_slot), most = 0;
	/* It tells of it after it has chosen all that go, and others may have given some back meanwhile. */
	uint64_t sum = RC_MAX(held(), sim.held_most[rc_conn_worker(conn)]);
	if (worker->connections[own_slot].close_sent || peer->events)
		return; /* one that asked for more than there is, or may have: nobody else holds too much */
	CHECK(sum >= sim.config.memory_max / 8 * 5,
	      "peer %u: closed because memory is short, and %llu of %zu bytes are kept", peer->index,
	      (unsigned long long)sum, sim.config.memory_max);
	for (uint32_t slot = 0; slot < worker->slot_high; slot++) {
		const struct connection *other = &worker->connections[slot];
		if (slot != own_slot && other->state != CONNECTION_FREE && other->state != CONNECTION_ENDING &&
		    other->polling)
			most = RC_MAX(most, kept(worker, slot));
	}
	/* What was gathered of its message, or of the answer to a handshake of ours, is gone by now. */
	bool gathered = !peer->opened || peer->messages_in != peer->messages_out || peer->out_begin != peer->out_end ||
	                peer->up_size;
	own = gathered || worker->connections[own_slot].polling ? own : 0;
	CHECK(own + (gathered ? GATHERED_MAX : 0) >= most / 2,
	      "peer %u: closed because memory is short, with %zu bytes, and another one stays with %zu", peer->index,
	      own, most);
}
