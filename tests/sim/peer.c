/* SPDX-License-Identifier: MIT
 *
 * peer.c - the other end of a connection: it reads at its own pace, writes in pieces, answers Pings and Closes once it
 * has read them, and is asked at its end whether that was the end it had to have.
 */
#include "ringcast_client.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

struct peer peers[PEERS_MAX];

void peer_reset_all(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		struct peer *peer = &peers[i];
		/* All but the bytes of its pipes, which mean nothing. */
		memset(peer, 0, offsetof(struct peer, up));
		memset((uint8_t *)peer + offsetof(struct peer, up_begin), 0,
		       offsetof(struct peer, out) - offsetof(struct peer, up_begin));
		memset((uint8_t *)peer + offsetof(struct peer, out_begin), 0,
		       sizeof *peer - offsetof(struct peer, out_begin));
		peer->index = i;
	}
}

void peer_plan(unsigned index)
{
	static const uint32_t capacities[] = { 300, 1500, 6000, 60000 };
	struct peer *peer = &peers[index];
	peer->state = PEER_PLANNED;
	peer->secure = false;
	peer->kind = index && sim_one_in(10) ? PEER_SERVER : PEER_CLIENT;
	peer->next_ns = sim.now_ns + sim_below(sim_one_in(2) ? 1000000 : 60000000);
	peer->down_capacity = capacities[sim_below(4)] + sim_below(64);
	peer->address = 2 + sim_below(4);
	peer->payload_size = UINT64_MAX;
	peer->piece_max = sim_one_in(3) ? sim_between(1, 8) : sim_between(100, UP_MAX);
	peer->reader = sim_one_in(2) ? READER_EAGER : (enum reader)sim_below(READER_KINDS);
	peer->actions_left = sim_one_in(3) ? 0 : sim_below(25);
	peer->says_bye = sim_one_in(2);
	peer->pause_ns = 1000u << sim_below(15);
	unsigned topics = sim_below(4);
	for (unsigned i = 0; i < topics; i++)
		peer->topics |= 1u << sim_below(TOPICS);
	if (sim.crowd)
		peer->topics = 9;
	peer->want_last = sim_one_in(3) ? sim_below(256) : 0;
	peer->want_since = sim_one_in(3) ? sim_below(256) : 0;
}

void peer_excuse(struct peer *peer, const char *why)
{
	if (!peer->broken)
		TRACE("peer %u: excused, %s", peer->index, why);
	peer->broken = true;
}

bool peer_excused(const struct peer *peer)
{
	return peer->broken || sim.stopping || sim.struck_here[FAULT_ALLOCATION] ||
	       (sim.jumped_ns && sim.jumped_ns >= peer->linked_ns) || peer->reader != READER_EAGER;
}

void peer_reset(struct peer *peer)
{
	peer_excuse(peer, "reset by itself");
	peer->reset_by_peer = true;
	peer->up_size = peer->up_begin = 0;
	peer->down_size = 0;
	peer->out_begin = peer->out_end = 0;
	secret_forget(peer);
	peer->script_over = true;
}

void peer_write(struct peer *peer, const void *bytes, size_t size)
{
	if (peer->out_begin == peer->out_end)
		peer->out_begin = peer->out_end = 0;
	CHECK(peer->out_end + size <= OUT_MAX, "a script writes too much");
	memcpy(peer->out + peer->out_end, bytes, size);
	peer->out_end += size;
}

void peer_refused(struct peer *peer)
{
	peer->state = PEER_OVER;
	peer->settled = true;
}

/* ---- a turn ---- */

static void read_some(struct peer *peer)
{
	size_t size = peer->down_size, some = sim_below(200);
	enum reader reader = sim.quiet ? READER_EAGER : peer->reader;
	if (reader == READER_SLOW)
		size = RC_MIN(size, some);
	else if (reader == READER_NEVER)
		size = 0;
	else if (reader == READER_BURSTS)
		size = sim_one_in(20) ? size : 0;
	peer->down_size -= size;
	peer->read_total += size;
}

static void react(struct peer *peer)
{
	if (peer->ping_waits && peer->read_total >= peer->ping.at && !peer->close_sent && !peer->violation) {
		peer->ping_waits = false;
		script_frame(peer, 0x8A, peer->ping.bytes, peer->ping.size);
	}
	if (peer->close_got && peer->read_total >= peer->close_at && !peer->close_sent && !peer->violation &&
	    !peer->up_ended) {
		script_close(peer, peer->close_got == RC_CLOSE_NO_CODE ? 0 : peer->close_got);
		peer->script_over = true;
	}
}

static void write_some(struct peer *peer)
{
	size_t room = UP_MAX - peer->up_size, piece = sim_between(1, (uint32_t)peer->piece_max);
	const uint8_t *bytes = peer->out + peer->out_begin;
	if (peer->closed || peer->up_ended) {
		peer->out_begin = peer->out_end = 0;
		secret_forget(peer);
		return;
	}
	size_t waits = peer->secure ? secret_seal(peer, &bytes) : peer->out_end - peer->out_begin;
	size_t size = RC_MIN(RC_MIN(room, piece), waits);
	if (!size)
		return;
	if (peer->up_begin + peer->up_size + size > UP_MAX) {
		memmove(peer->up, peer->up + peer->up_begin, peer->up_size);
		peer->up_begin = 0;
	}
	memcpy(peer->up + peer->up_begin + peer->up_size, bytes, size);
	peer->up_size += size;
	peer->up_total += size;
	if (peer->secure)
		secret_went(peer, size);
	else
		peer->out_begin += size;
}

static void offer(struct peer *peer)
{
	if (sim.quiet || sim.stopping) {
		peer_refused(peer);
		return;
	}
	script_begin(peer);
	if (peer->kind == PEER_CLIENT) {
		peer->state = listener_offer(peer->index) ? PEER_OFFERED : PEER_OVER;
		peer->settled = peer->state == PEER_OVER;
		return;
	}
	dial_offer(peer);
}

void peer_step(struct peer *peer)
{
	peer->next_ns = sim.now_ns + 1000 + sim_below(sim.quiet ? 20000 : (uint32_t)peer->pause_ns);
	if (peer->state == PEER_PLANNED) {
		offer(peer);
		return;
	}
	if (peer->closed && (peer->reset_by_us || peer->reset_by_peer || !peer->down_size)) {
		peer->state = PEER_OVER;
		return;
	}
	if (peer->reset_by_peer)
		return;
	read_some(peer);
	react(peer);
	write_some(peer);
	if (peer->down_ended && !peer->down_size)
		peer->up_ended = true; /* it read the end, and closes */
	if (peer->out_begin != peer->out_end || secret_waits(peer) || peer->up_ended)
		return;
	if (peer->hangs_up)
		peer->up_ended = true;
	bool answered = peer->kind == PEER_CLIENT ? peer->opened : peer->response_over;
	if (!answered || peer->script_over || peer->close_sent || peer->violation || sim.quiet || sim.stopping)
		return;
	if (peer->actions_left) {
		peer->actions_left--;
		script_act(peer);
	} else if (peer->says_bye) {
		script_close(peer, sim_one_in(4) ? 0 : 1000);
	} else {
		peer->script_over = true;
	}
}

uint64_t peer_next_ns(const struct peer *peer)
{
	if (peer->state == PEER_PLANNED)
		return peer->next_ns;
	if (peer->state != PEER_LINKED)
		return UINT64_MAX;
	bool waits = peer->secure ? secret_waits(peer) || (peer->out_begin != peer->out_end && secret_is_open(peer))
	                          : peer->out_begin != peer->out_end;
	bool writes = waits && peer->up_size < UP_MAX;
	bool busy = writes || peer->down_size || peer->closed || (peer->down_ended && !peer->up_ended);
	return busy || !(sim.quiet || sim.stopping) ? peer->next_ns : UINT64_MAX;
}

/* ---- its end ---- */

void peer_check(struct peer *peer)
{
	bool over = peer->opened || peer->kind == PEER_SERVER;
	CHECK(!peer->conn_open && peer->closes <= 1, "peer %u: its socket is closed, and handlers.close was not called",
	      peer->index);
	CHECK(!peer->opened || peer->closes == 1, "peer %u: handlers.close was called %u times", peer->index,
	      peer->closes);
	if (peer->close_got && peer->closes && peer->closing.code != peer->close_got)
		CHECK(peer->close_sent, "peer %u: got %u, handlers.close %u", peer->index, peer->close_got,
		      peer->closing.code);
	bool half = peer->payload_size != UINT64_MAX || peer->header_size || secret_is_half(peer);
	if (peer_excused(peer) || half || peer->cut)
		return; /* a peer that takes half a frame for too long cannot be told why */
	/* A crowd over the limit gets no answer, nor does who is limited by an address that nobody knows. */
	if (peer->unknown && sim.config.connections_per_address)
		return;
	/* A TLS handshake that is late ends without an answer; when it was over for the other side, nobody here can
	 * know. */
	bool slow = peer->secure && sim.now_ns - peer->linked_ns >= (uint64_t)sim.config.handshake_timeout_ms * 1000000;
	bool limited = sim.config.connections_max || sim.config.connections_per_address || sim.config.memory_max;
	if (peer->kind == PEER_CLIENT && !limited && !slow)
		CHECK(peer->response, "peer %u: no response", peer->index);
	if (!over)
		return;
	bool refused = peer->kind == PEER_CLIENT && !peer->opened;
	/* One whose end has been told already may still be cut, with its last words, when memory is short. */
	bool starved = peer->closes && !peer->close_got && short_has_closed();
	if ((peer->violation || peer->close_sent) && !refused && !starved) {
		CHECK(peer->close_got, "peer %u: ended without a Close after %s", peer->index,
		      peer->violation ? "a fault" : "its own");
		CHECK(peer->reset_by_us ? peer->read_total >= peer->close_at || peer->app_close : true,
		      "peer %u: a reset ate the Close", peer->index);
	}
	if (peer->close_got && (peer->close_got == peer->violation || peer->close_got == peer->close_sent) &&
	    !peer->app_close && peer->close_got != RC_CLOSE_POLICY)
		CHECK(peer->messages_in == peer->messages_out, "peer %u: %u of its %u messages arrived", peer->index,
		      peer->messages_in, peer->messages_out);
}
