/* SPDX-License-Identifier: MIT
 *
 * application.c - a program on the public API: handlers that do as the peers' messages tell them, and what threads
 * (fibers) say to connections from outside, with handles that may be stale.
 */
#include "ringcast_form.h"
#include "ringcast_stats.h"
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t application_messages, application_closed, application_unsure, application_slow;
static unsigned posted_count, ran_count;

/* The end of a connection is never told inside another callback: whoever is in the middle of something may keep what
 * belongs to a connection until it is done. Per thread: the simulator may run another one inside a callback. */
static unsigned inside[FIBERS_MAX + 1];

void application_reset(void)
{
	memset(inside, 0, sizeof inside);
	application_messages = application_closed = application_unsure = application_slow = 0;
	posted_count = ran_count = 0;
}

/* ---- messages to one connection ---- */

static bool sent_direct(struct peer *peer, char kind, unsigned number, int result)
{
	CHECK(result == 0 || result == -ENOBUFS || (result == -ENOMEM && sim_memory_lacks()) ||
	          (result == -ENOTCONN && !peer->conn_open),
	      "peer %u: send gives %d", peer->index, result);
	CHECK(peer->direct_end - peer->direct_begin < DIRECT_MAX, "too many messages wait for peer %u", peer->index);
	if (result == 0)
		peer->direct[peer->direct_end++ % DIRECT_MAX] = (unsigned)kind << 24 | number;
	return result == 0;
}

/* On its worker. */
static bool send_direct(struct peer *peer, char kind, unsigned number, size_t size)
{
	uint8_t bytes[512];
	char start[16];
	unsigned digits = kind == 'M' ? 5 : 4;
	snprintf(start, sizeof start, "%c%0*x", kind, (int)digits, number);
	size = RC_MAX(size, digits + 1);
	memcpy(bytes, start, digits + 1);
	tap_fill(bytes + digits + 1, 0, digits + 1, size - digits - 1);
	enum rc_opcode opcode = sim_one_in(2) || peer->events ? RC_TEXT : RC_BINARY;
	int result = rc_send(sim.server, peer->conn, opcode, bytes, size);
	return sent_direct(peer, kind, number, result);
}

/* ---- what peers ask for ---- */

static struct rc_start start_for(unsigned topic, char mode)
{
	uint64_t sequence = oracle_sequence(topic), back = sim_below(40);
	return (struct rc_start){
		.last = mode == 'l',
		.resume = mode == 'r',
		.since = sequence > back ? sequence - back : sim_below(2),
	};
}

static void subscribe(struct peer *peer, unsigned topic, char mode, bool opening)
{
	const char *name = oracle_topics[topic];
	const struct interest *interest = oracle_interest(peer, topic);
	struct rc_start start = start_for(topic, mode);
	unsigned marker = 0;
	bool has = interest && interest->active;
	if (interest && (interest->posted || peer->interest_count[topic] == INTERESTS_MAX))
		return;
	if (!opening && !has) {
		if (peer->direct_end - peer->direct_begin == DIRECT_MAX)
			return;
		marker = ++peer->marker_count;
		if (!send_direct(peer, 'M', topic << 16 | marker, 0))
			return;
	}
	int result = rc_subscribe(sim.server, peer->conn, name, strlen(name), &start);
	if (result == 0) {
		CHECK(!has, "peer %u: subscribed twice to %s", peer->index, name);
		oracle_subscribed(peer, topic, &start, marker);
		return;
	}
	CHECK((result == -EEXIST && has) || (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]) ||
	          (result == -ENOSPC && sim.config.subscriptions_max < TOPICS),
	      "peer %u: subscribe gives %d", peer->index, result);
}

bool application_mark(struct peer *peer, unsigned topic, unsigned marker)
{
	return peer->direct_end - peer->direct_begin < DIRECT_MAX && send_direct(peer, 'M', topic << 16 | marker, 0);
}

static void unsubscribe(struct peer *peer, unsigned topic)
{
	const char *name = oracle_topics[topic];
	const struct interest *interest = oracle_interest(peer, topic);
	bool has = interest && interest->active;
	if (interest && interest->posted)
		return;
	int result = rc_unsubscribe(sim.server, peer->conn, name, strlen(name));
	CHECK(result == (has ? 0 : -ENOENT), "peer %u: unsubscribe gives %d", peer->index, result);
	oracle_unsubscribed(peer, topic);
}

/* At times there is no memory for its Close. A single allocation hardly ever fails just then, so all of the worker's
 * blocks count as used. */
static void close_peer(struct peer *peer)
{
	struct rc_pool *pool = &rc_worker_here->pool;
	dial_ends(peer);
	size_t size_max = pool->used_size_max;
	if (sim.weights[FAULT_ALLOCATION] && !sim.quiet && sim_one_in(4)) {
		sim_met(FAULT_ALLOCATION);
		pool->used_size_max = 0;
	}
	CHECK(rc_close(sim.server, peer->conn, peer->app_close, "because", 7) == 0, "peer %u: cannot be closed",
	      peer->index);
	pool->used_size_max = size_max;
}

static void obey(struct peer *peer, const char *text)
{
	unsigned topic = 0, value = 0;
	char mode = 'n';
	sscanf(text + 1, "%x %c%u", &topic, &mode, &value);
	topic %= TOPICS;
	switch (text[0]) {
	case 's':
		subscribe(peer, topic, mode, false);
		break;
	case 'u':
		unsubscribe(peer, topic);
		break;
	case 'p':
		application_publish(topic, value, mode == 'b' ? RC_PUBLISH_BINARY : 0);
		break;
	case 'x':
		peer->app_close = (uint16_t)value;
		close_peer(peer);
		break;
	case 'b':
		if (topic % (BOOKS + STREAMS) < BOOKS)
			books_subscribe(peer, topic % (BOOKS + STREAMS), value, false);
		else
			streams_subscribe(peer, topic % (BOOKS + STREAMS) - BOOKS, false);
		break;
	case 'g':
		rc_ping(sim.server, peer->conn, "G", 1);
		break;
	default:
		sim_fail("peer %u: a command '%c'", peer->index, text[0]);
	}
}

/* ---- handlers ---- */

static int on_request(void *context, rc_request *request)
{
	(void)context;
	const char *path = rc_request_path(request), *number = rc_request_query(request, "c");
	const char *topics = rc_request_query(request, "t"), *last = rc_request_query(request, "l");
	const char *since = rc_request_query(request, "r");
	rc_request_peer(request);
	if (strcmp(path, "/hello") == 0)
		return rc_request_respond(request, 200, "text/plain", "hello\n", 6);
	if (strcmp(path, "/deny") == 0)
		return 403;
	if (strcmp(path, "/e") == 0)
		CHECK(rc_request_events(request) == 0, "no stream of events");
	else if (!rc_request_is_websocket(request) || !number)
		return 0;
	bool books = strcmp(path, "/b") == 0;
	if (books)
		CHECK(rc_request_form(request, RC_FORM_BINARY) == 0, "no binary form");
	struct peer *peer = &peers[strtoul(number, NULL, 10) % PEERS_MAX];
	CHECK(!peer->requested, "peer %u: a second request", peer->index);
	peer->requested = true;
	peer->conn = rc_request_conn(request);
	rc_request_set_user(request, peer);
	if (books) {
		for (unsigned book = 0; book < BOOKS; book++)
			books_subscribe(peer, book, sim_below(64), true);
		for (unsigned topic = 0; topic < STREAMS; topic++)
			streams_subscribe(peer, topic, true);
		return 0;
	}
	unsigned wanted = (unsigned)strtoul(topics, NULL, 16), lasts = (unsigned)strtoul(last, NULL, 16);
	unsigned sinces = (unsigned)strtoul(since, NULL, 16);
	for (unsigned i = 0; i < TOPICS; i++)
		if (wanted >> i & 1)
			subscribe(peer, i, lasts >> i & 1 ? 'l' : sinces >> i & 1 ? 'r' : 'n', true);
	return 0;
}

static void on_open(void *context, rc_conn conn, void *user)
{
	(void)context;
	struct peer *peer = dial_life(user);
	if (peer->kind == PEER_SERVER)
		dial_opened(user, conn);
	CHECK(!peer->conn_open && !peer->closes, "peer %u opens twice", peer->index);
	CHECK(peer->kind == PEER_SERVER || peer->conn == conn, "peer %u has another handle", peer->index);
	peer->conn = conn;
	peer->conn_open = true;
	TRACE("peer %u: open", peer->index);
	if (sim_one_in(4))
		send_direct(peer, 'D', ++peer->direct_made, sim_below(300));
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context;
	struct peer *peer = dial_life(user);
	uint8_t wanted[OUT_MAX];
	char start[8] = { 0 };
	application_messages++;
	CHECK(peer->conn_open && peer->conn == conn, "peer %u: a message while it is not open", peer->index);
	CHECK(message->size >= 5, "peer %u: a message of %zu bytes came", peer->index, message->size);
	memcpy(start, message->data, 5);
	unsigned number = (unsigned)strtoul(start + 1, NULL, 16);
	CHECK(number == peer->messages_in + 1, "peer %u: its message %u came after %u", peer->index, number,
	      peer->messages_in);
	peer->messages_in = number;
	if (start[0] == 'C') {
		char text[64] = { 0 };
		memcpy(text, message->data + 5, RC_MIN(message->size - 5, sizeof text - 1));
		obey(peer, text);
		return;
	}
	tap_fill(wanted, number, 5, message->size - 5);
	CHECK(start[0] == 'E' && memcmp(wanted, message->data + 5, message->size - 5) == 0,
	      "peer %u: its message %u came as %s", peer->index, number, start);
	if (sim_one_in(2) && peer->direct_end - peer->direct_begin < DIRECT_MAX) {
		/* As it came, or from bytes of its own: for the production code that is not the same. */
		const void *bytes = sim_one_in(3) ? memcpy(wanted, message->data, message->size) : message->data;
		sent_direct(peer, 'E', number, rc_send(sim.server, conn, message->opcode, bytes, message->size));
	}
}

static void on_pong(void *context, rc_conn conn, void *user, const uint8_t *data, size_t size)
{
	(void)context;
	struct peer *peer = dial_life(user);
	CHECK(peer->conn_open && peer->conn == conn, "peer %u: a pong while it is not open", peer->index);
	/* 8 bytes are the mark of a Ping that a silent connection gets. */
	CHECK(size == 8 || (size == 1 && data[0] == 'G') || (size == 4 && memcmp(data, "pong", 4) == 0),
	      "peer %u: a wrong pong", peer->index);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context;
	struct peer *peer = user;
	if (peer->kind == PEER_SERVER && !(peer = dial_closed(peer, conn, closing)))
		return;
	CHECK(peer->closes == 0, "peer %u is closed twice", peer->index);
	CHECK(peer->requested || peer->kind == PEER_SERVER, "peer %u is closed, and was not open", peer->index);
	CHECK(conn == peer->conn || !peer->conn_open, "peer %u is closed with another handle", peer->index);
	TRACE("peer %u: handlers.close %u", peer->index, closing->code);
	peer->closes++;
	peer->conn_open = false;
	peer->closing = *closing;
	if (closing->code == RC_CLOSE_TRY_LATER && !closing->by_peer && conn)
		short_closed(peer, conn);
	/* Of a client's connection that memory was short for, or that was given up just then, nobody here knows whether
	 * it began. */
	bool unsure = peer->kind == PEER_SERVER && (closing->status == -ENOMEM || closing->status == -ECANCELED);
	application_unsure += unsure;
	application_closed += !unsure;
	application_slow += closing->code == RC_CLOSE_POLICY;
	for (unsigned i = 0; i < TOPICS; i++)
		oracle_unsubscribed(peer, i);
	if (sim_one_in(8))
		CHECK(rc_send(sim.server, conn, RC_TEXT, "x", 1) == -ENOTCONN, "a closed connection can be sent to");
}

static int enter_request(void *context, rc_request *request)
{
	unsigned *depth = &inside[host_current() + 1];
	++*depth;
	int status = on_request(context, request);
	--*depth;
	return status;
}

static void enter_open(void *context, rc_conn conn, void *user)
{
	unsigned *depth = &inside[host_current() + 1];
	++*depth;
	on_open(context, conn, user);
	--*depth;
}

static void enter_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	unsigned *depth = &inside[host_current() + 1];
	++*depth;
	on_message(context, conn, user, message);
	--*depth;
}

static void enter_pong(void *context, rc_conn conn, void *user, const uint8_t *data, size_t size)
{
	unsigned *depth = &inside[host_current() + 1];
	++*depth;
	on_pong(context, conn, user, data, size);
	--*depth;
}

static void enter_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	unsigned *depth = &inside[host_current() + 1];
	CHECK(*depth == 0, "the end of a connection is told inside another callback");
	++*depth;
	on_close(context, conn, user, closing);
	--*depth;
}

static void enter_resync(void *context, rc_conn conn, void *user, const char *topic, uint64_t epoch, uint64_t sequence)
{
	(void)context;
	struct peer *peer = user;
	(void)sequence;
	CHECK(peer->conn_open && peer->conn == conn && epoch, "a resync of nobody");
	books_resync(peer, topic);
	streams_resync(peer, topic);
	if (sim_one_in(4))
		books_subscribe(peer, sim_below(BOOKS), sim_below(64), false);
}

const struct rc_handlers application_handlers = {
	.request = enter_request,
	.open = enter_open,
	.message = enter_message,
	.pong = enter_pong,
	.close = enter_close,
	.resync = enter_resync,
};

/* ---- other threads ---- */

static void ran(void *argument)
{
	CHECK(rc_worker_here == argument, "what was posted runs elsewhere");
	ran_count++;
}

void application_speak(void)
{
	struct peer *peer = dial_life(&peers[sim_below(PEERS_MAX)]);
	unsigned topic = sim_below(TOPICS), worker = sim_below(sim.server->worker_count);
	const char *name = oracle_topics[topic];
	char text[16];
	struct rc_stats stats;
	if (!peer->conn)
		return;
	switch (sim_below(9)) {
	case 0:
	case 1:
	case 2: /* with handles of connections that have gone, too */
		snprintf(text, sizeof text, "P%02x%04x", peer->index, ++peer->posted_made);
		rc_send(sim.server, peer->conn, RC_TEXT, text, 7);
		break;
	case 3:
		rc_ping(sim.server, peer->conn, "G", 1);
		break;
	case 4:
		if (!sim_one_in(8) || (!peer->conn_open && !sim_one_in(4)))
			break;
		if (!peer->app_close)
			peer->app_close = 4001;
		dial_ends(peer);
		rc_close(sim.server, peer->conn, peer->app_close, NULL, 0);
		break;
	case 5:
		if (peer->interest_count[topic] || peer->kind == PEER_SERVER || peer->books)
			break;
		/* It counts from before the call: messages may come as soon as it is posted. */
		oracle_posted(peer, topic);
		rc_subscribe(sim.server, peer->conn, name, strlen(name), NULL);
		break;
	case 6:
		if (!peer->interest_count[topic] || !oracle_interest(peer, topic)->posted)
			break;
		oracle_interest(peer, topic)->posted_end = true;
		rc_unsubscribe(sim.server, peer->conn, name, strlen(name));
		break;
	case 7:
		posted_count += rc_post(sim.server, worker, ran, &sim.server->workers[worker]) == 0;
		break;
	default:
		rc_server_stats(sim.server, &stats);
		CHECK(stats.log_head >= stats.log_oldest, "a log that ends before it begins");
		break;
	}
}
