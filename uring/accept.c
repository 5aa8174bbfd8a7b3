/* SPDX-License-Identifier: MIT
 *
 * accept.c - see accept.h. It must not know what a connection says.
 *
 * Invariant: a listener is armed, or among those that ended, until no more connections are taken.
 */
#include "proxy.h"
#include "worker.h"

#include <string.h>

#define ACCEPT_PAUSE_NS 100000000 /* before another try, when the table was full or memory was out */

static void arm(struct worker *worker, unsigned listener)
{
	worker->acceptor.armed |= 1u << listener;
	rc_ring_accept(worker->ring, worker->acceptor.fds[listener], rc_tag_make(TAG_ACCEPTED, 0, 0, listener));
}

void rc_accept_begin(struct worker *worker)
{
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		arm(worker, i);
}

void rc_accept_again(struct worker *worker)
{
	struct acceptor *acceptor = &worker->acceptor;
	if (!acceptor->again_ns || acceptor->again_ns > worker->now_ns)
		return;
	acceptor->again_ns = 0;
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		if (acceptor->ended & 1u << i)
			arm(worker, i);
	acceptor->ended = 0;
}

void rc_accept_room(struct worker *worker)
{
	if (worker->acceptor.again_ns)
		worker->acceptor.again_ns = worker->now_ns;
}

void rc_accept_stop(struct worker *worker)
{
	for (unsigned i = 0; i < worker->server->listener_count; i++)
		rc_ring_accept_cancel(worker->ring, worker->acceptor.fds[i], rc_tag_make(TAG_CANCELLED, 0, 0, 0));
}

/* Notes which limits the connection exceeds. Returns whether it gets an answer that says so: a crowd gets none. Who has
 * an address that could not be learned counts as a crowd, or the limit would hold for nobody in one. */
static bool judge(struct worker *worker, uint32_t slot, const struct sockaddr_storage *peer)
{
	struct rc_server *server = worker->server;
	struct connection *conn = &worker->connections[slot];
	unsigned count = atomic_fetch_add_explicit(&server->connection_count, 1, memory_order_relaxed) + 1;
	unsigned max = server->config.connections_max;
	conn->refused = max && count > max;
	conn->starved = worker->budget.is_short;
	if (server->addresses) {
		unsigned here =
		    peer ? rc_addresses_enter(server->addresses, peer, &worker->acceptor.address_indexes[slot]) : 0;
		conn->counted = here > 0;
		conn->crowded = here > server->config.connections_per_address;
		if (!here)
			return false;
		if (here > server->config.connections_per_address + RC_REFUSALS_MAX)
			return false; /* or whoever asks for nothing would hold as many as he likes */
	}
	return !max || count <= max + RC_REFUSALS_MAX;
}

/* Whether its address may have one more that is not open. */
static bool may_wait(struct worker *worker, uint32_t slot, const struct sockaddr_storage *peer)
{
	const struct rc_server *server = worker->server;
	const struct rc_handlers *handlers = &server->config.handlers;
	unsigned max = handlers->unopened_max ? handlers->unopened_max(handlers->context, (const struct sockaddr *)peer)
	                                      : 0;
	if (!max)
		return true;
	uint32_t index;
	unsigned here = rc_addresses_enter(server->unopened, peer, &index);
	if (here)
		worker->acceptor.unopened[slot] = index + 1;
	return here && here <= max;
}

void rc_accept_opened(struct worker *worker, uint32_t slot)
{
	uint32_t *unopened = worker->acceptor.unopened;
	if (!unopened || !unopened[slot])
		return;
	rc_addresses_leave(worker->server->unopened, unopened[slot] - 1);
	unopened[slot] = 0;
}

static void take(struct worker *worker, uint32_t slot, unsigned listener, const struct sockaddr_storage *peer)
{
	struct rc_server *server = worker->server;
	struct connection *conn = rc_connection_begin(worker, slot);
	rc_count(&worker->stats.accepted, 1);
	conn->listener = listener & 15;
	conn->secure = server->listeners[listener].secure;
	bool told = judge(worker, slot, peer);
	struct handshake *handshake = rc_handshake_new(worker);
	if (!handshake)
		rc_worker_report(worker, REPORT_MEMORY, "worker %u: no memory for a connection", worker->index);
	if (!handshake || !told || !may_wait(worker, slot, peer)) {
		rc_handshake_free(worker, handshake);
		rc_count(&worker->stats.refused, 1);
		rc_connection_close_slot(worker, slot);
		return;
	}
	if (peer)
		handshake->peer = *peer;
	handshake->wants_proxy = server->listeners[listener].proxied;
	conn->handshake = handshake;
	rc_connection_set_state(worker, slot, CONNECTION_HANDSHAKE, server->config.handshake_timeout_ms);
	rc_connection_receive(worker, slot, RECEPTION_STREAM);
}

void rc_accept_completed(struct worker *worker, unsigned listener, const struct rc_completion *completion)
{
	struct acceptor *acceptor = &worker->acceptor;
	int result = completion->result;
	if (result >= 0) {
		struct sockaddr_storage peer;
		if (completion->peer)
			rc_peer_unmap(&peer, completion->peer);
		take(worker, (uint32_t)result, listener, completion->peer ? &peer : NULL);
	} else if (result == -ENOSPC) {
		rc_count(&worker->stats.refused, 1);
		rc_worker_report(worker, REPORT_REFUSED,
		                 "worker %u: a connection was refused: epoll watches no more than %u: raise the sysctl "
		                 "fs.epoll.max_user_watches",
		                 worker->index, worker->used_count);
	} else if (result == -ENFILE || result == -EMFILE || result == -ENOMEM || result == -ENOBUFS) {
		rc_count(&worker->stats.refused, 1);
		rc_worker_report(worker, REPORT_REFUSED,
		                 "worker %u: a connection was refused (%s): %u are open; raise 'ulimit -n' or the "
		                 "number of workers",
		                 worker->index, strerror(-result), worker->used_count);
	}
	if (completion->flags & RC_RING_MORE)
		return;
	acceptor->armed &= ~(1u << listener);
	acceptor->ended |= 1u << listener;
	/* It is armed at once when it only ended, and after a pause when there is no room, so that it does not spin. */
	bool pause = result < 0 && result != -ECONNABORTED;
	acceptor->again_ns = worker->now_ns + (pause ? ACCEPT_PAUSE_NS : 0);
}
