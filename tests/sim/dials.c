/* SPDX-License-Identifier: MIT
 *
 * dials.c - the client role: who is dialled, by address and by name, what becomes of each attempt, and the truth about
 * them: when the next may come, which handle they have, which failure may be told, and that it ends exactly once.
 *
 * A dial is named by its first peer. When its connection comes back, another peer is its life.
 */
#include "ring_sim.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUSES_MAX 64
#define LOOKUPS_MAX 16
#define EARLY_NS 20000000   /* the worker's time may be older than the attempt */
#define SLACK_NS 1000000000 /* until a worker has looked at its timers */

static struct dialling {
	bool used, over, given_up, asked_to_end;
	rc_conn conn;
	struct rc_connect_options options;
	uint64_t timeout_ns, again_max_ms;
	unsigned step_ms;
	uint64_t not_before_ns; /* the next attempt */
	uint64_t began_ns;      /* this one; 0: none has begun */
	uint64_t opened_ns, opened_now_ns;
	bool open, was_open;
	int statuses[STATUSES_MAX]; /* that this attempt has met */
	unsigned status_count;
	unsigned life; /* whose connection it is */
} dials[PEERS_MAX];

static struct asked {
	struct lookup *lookup;
	uint64_t due_ns;
	bool never;
} asked[LOOKUPS_MAX];

void dials_reset(void)
{
	memset(dials, 0, sizeof dials);
	memset(asked, 0, sizeof asked);
}

struct peer *dial_life(struct peer *peer)
{
	return peer->kind == PEER_SERVER ? &peers[dials[peer->index].life] : peer;
}

bool dials_rest(void)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (dials[i].used && !dials[i].over && !dials[i].open)
			return false;
	return true;
}

/* ---- an offer ---- */

static const char *const hosts[] = { "10.1.1.1", "one.sim", "many.sim", "missing.sim", "hangs.sim", "[2001:db8::1]" };

void dial_offer(struct peer *peer)
{
	struct dialling *dial = &dials[peer->index];
	static const struct rc_connect_header headers[] = { { "X-Key", "abc" }, { "Authorization", "Bearer x" } };
	char url[96];
	peer->secure = sim.secure && sim_one_in(2);
	peer->state = PEER_OFFERED;
	unsigned host = sim_one_in(2) ? 0 : sim_below(sizeof hosts / sizeof *hosts);
	snprintf(url, sizeof url, "ws%s://%s:%u/feed", peer->secure ? "s" : "", hosts[host], peer->index);
	*dial = (struct dialling){ .life = peer->index };
	dial->options = (struct rc_connect_options){
		.protocols = sim_one_in(2) ? "a, b" : NULL,
		.user = peer,
		.headers = headers,
		.header_count = sim_below(3),
		.timeout_ms = sim_one_in(2) ? sim_between(100, 3000) : 0,
		.again_ms = sim_one_in(2) ? sim_between(1, 400) : 0,
		.conn = &dial->conn,
	};
	dial->options.again_max_ms = sim_one_in(3) ? 0 : dial->options.again_ms + sim_below(1000);
	dial->again_max_ms = dial->options.again_max_ms ? dial->options.again_max_ms : 30000;
	dial->timeout_ns = 1000000ull *
	                   (dial->options.timeout_ms ? dial->options.timeout_ms : sim.config.handshake_timeout_ms);
	dial->used = true;
	unsigned worker = sim_below(sim.server->worker_count);
	int result = rc_connect(sim.server, worker, url, &dial->options);
	CHECK(result == 0 || result == -EAGAIN || result == -ENOTCONN ||
	          (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]),
	      "rc_connect gives %d", result);
	TRACE("dial %u: %s, again %u ms, handle %llx", peer->index, url, dial->options.again_ms,
	      (unsigned long long)dial->conn);
	if (result < 0) {
		dial->over = true;
		peer_refused(peer);
		return;
	}
	CHECK(dial->conn && rc_conn_worker(dial->conn) == worker, "dial %u: no handle", peer->index);
	if (sim_one_in(12))
		dial_give_up(peer);
}

void dial_ends(const struct peer *life)
{
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (dials[i].used && dials[i].life == life->index)
			dials[i].asked_to_end = true;
}

void dial_give_up(struct peer *first)
{
	struct dialling *dial = &dials[first->index];
	if (!dial->used || dial->over)
		return;
	bool here = rc_worker_here && rc_worker_here->index == rc_conn_worker(dial->conn), was_over = dial->given_up;
	dial->asked_to_end = true;
	int result = rc_close(sim.server, dial->conn, 1000, NULL, 0);
	TRACE("dial %u: given up, %d", first->index, result);
	if (result == 0 && here) {
		sim_met(MET_GIVEN_UP);
		dial->given_up = true;
	}
	CHECK(result == 0 || was_over || dial->over || !here || (dial->open && !dial->options.again_ms) ||
	          (result == -EAGAIN || result == -ENOMEM),
	      "dial %u: it cannot be given up: %d", first->index, result);
}

/* ---- what happens on the way ---- */

static void attempt(unsigned index)
{
	struct dialling *dial = &dials[index];
	CHECK(dial->used && !dial->over, "dial %u: an attempt after its end", index);
	CHECK(!dial->given_up, "dial %u: an attempt after rc_close()", index);
	CHECK(sim.now_ns >= dial->not_before_ns, "dial %u: the next attempt comes %llu us too early", index,
	      (unsigned long long)(dial->not_before_ns - sim.now_ns) / 1000);
	if (!dial->began_ns)
		dial->began_ns = sim.now_ns;
}

static void met(unsigned index, int status)
{
	struct dialling *dial = &dials[index];
	if (dial->status_count < STATUSES_MAX)
		dial->statuses[dial->status_count++] = status;
}

/* Another one that nobody uses. */
static struct peer *spare(unsigned first)
{
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (peers[i].state != PEER_UNUSED)
			continue;
		peer_plan(i);
		peers[i].kind = PEER_SERVER;
		peers[i].secure = peers[first].secure;
		return &peers[i];
	}
	return NULL;
}

/* Who answers at this address; null: nobody. */
static struct peer *arrive(unsigned index)
{
	struct dialling *dial = &dials[index];
	struct peer *before = &peers[dial->life], *peer = before;
	if (before->state != PEER_OFFERED)
		peer = sim.quiet ? NULL : spare(index);
	if (!peer)
		return NULL;
	if (peer != before) {
		sim_met(MET_AGAIN);
		peer->app_close = before->app_close;
		peer->conn = dial->conn;
		dial->life = peer->index;
	}
	return peer;
}

enum reached dial_reaches(const struct sockaddr_storage *address, struct peer **peer)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	unsigned index = ntohs(four->sin_port), last = ntohl(four->sin_addr.s_addr) & 255;
	attempt(index);
	if (four->sin_family == AF_INET && last == 9) {
		met(index, -ECONNREFUSED);
		return REACHED_NOBODY;
	}
	if ((four->sin_family == AF_INET && last == 8) || sim_fault(FAULT_CONNECT_HANGS)) {
		met(index, -ETIMEDOUT);
		return REACHED_NOTHING;
	}
	*peer = sim_fault(FAULT_CONNECT_REFUSED) ? NULL : arrive(index);
	if (!*peer)
		met(index, -ECONNREFUSED);
	else if (dials[index].status_count)
		sim_met(MET_OTHER_ADDRESS);
	return *peer ? REACHED_PEER : REACHED_NOBODY;
}

/* ---- what the application is told ---- */

void dial_opened(struct peer *first, rc_conn conn)
{
	struct dialling *dial = &dials[first->index];
	CHECK(conn == dial->conn && !dial->open && !dial->over, "dial %u opens out of turn, or by another handle",
	      first->index);
	CHECK(!dial->given_up, "dial %u opens after rc_close()", first->index);
	CHECK(sim.jumped_ns >= dial->began_ns || sim.now_ns <= dial->began_ns + dial->timeout_ns + SLACK_NS,
	      "dial %u opens after its time", first->index);
	dial->open = dial->was_open = true;
	dial->opened_ns = rc_worker_here->now_ns;
}

static bool is_permanent(const struct dialling *dial, int status)
{
	return (status >= 300 && status < 500 && status != 408 && status != 425 && status != 429) ||
	       status == -EKEYREJECTED || (status == -ENXIO && !dial->was_open);
}

static void check_status(const struct dialling *dial, unsigned index, const struct rc_closing *closing, bool linked)
{
	int status = closing->status;
	bool known = linked || (status == -ECANCELED && (dial->asked_to_end || sim.stopping)) ||
	             (status == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]) || status == -EMFILE ||
	             status == -ENFILE ||
	             (status == -ETIMEDOUT &&
	              (sim.jumped_ns || sim.now_ns + EARLY_NS >= dial->began_ns + dial->timeout_ns)) ||
	             (status == -EAGAIN && sim.struck_here[FAULT_NAME_FAILED]);
	for (unsigned i = 0; i < dial->status_count; i++)
		known |= dial->statuses[i] == status;
	CHECK(known, "dial %u: status %d, which it has not met", index, status);
	CHECK(status && closing->reason_size && strlen(closing->reason) == closing->reason_size,
	      "dial %u: status %d without words", index, status);
}

static void check_pause(struct dialling *dial, unsigned index, const struct rc_closing *closing)
{
	uint64_t now_ns = rc_worker_here->now_ns;
	unsigned most = dial->options.again_ms;
	if (dial->step_ms && !(dial->open && now_ns - dial->opened_ns >= dial->again_max_ms * 1000000))
		most = (unsigned)RC_MIN(2 * (uint64_t)dial->step_ms, dial->again_max_ms);
	dial->step_ms = most;
	CHECK(closing->again_ms <= most && closing->again_ms >= most / 2 && closing->again_ms,
	      "dial %u: a pause of %u ms, where it must be %u to %u", index, closing->again_ms, most / 2, most);
	dial->not_before_ns = now_ns + (uint64_t)closing->again_ms * 1000000;
}

struct peer *dial_closed(struct peer *first, rc_conn conn, const struct rc_closing *closing)
{
	unsigned index = first->index;
	struct dialling *dial = &dials[index];
	struct peer *life = &peers[dial->life];
	bool linked = life->state != PEER_OFFERED && !life->closes, final = !closing->again_ms;
	TRACE("dial %u: closed, status %d, again %u ms: %.*s", index, closing->status, closing->again_ms,
	      (int)closing->reason_size, closing->reason);
	CHECK(conn == dial->conn && dial->used && !dial->over, "dial %u: closed after its end, or by another handle",
	      index);
	/* Memory was short for its timer, or for its worker, which never began. */
	bool short_of_memory = sim.struck_here[FAULT_ALLOCATION] && (closing->status == -ENOMEM || !rc_worker_here);
	bool may_end = dial->asked_to_end || sim.stopping || short_of_memory,
	     must_end = dial->given_up || !dial->options.again_ms ||
	                (!dial->open && is_permanent(dial, closing->status));
	CHECK(!must_end || final, "dial %u: it comes again after what is to stay, status %d", index, closing->status);
	CHECK(!final || must_end || may_end, "dial %u: it does not come again after status %d", index, closing->status);
	if (!dial->open && rc_worker_here)
		check_status(dial, index, closing, linked);
	if (!final)
		check_pause(dial, index, closing);
	dial->open = false;
	dial->began_ns = 0;
	dial->status_count = 0;
	dial->over = final;
	if (final && first->state == PEER_OFFERED)
		peer_refused(first);
	if (!final && (sim.quiet || sim_one_in(20)))
		dial_give_up(first);
	return linked ? life : NULL;
}

/* ---- instead of uring/names.c ---- */

struct names *rc_names_new(void)
{
	return malloc(1);
}

void rc_names_free(struct names *names)
{
	for (unsigned i = 0; i < LOOKUPS_MAX; i++)
		free(asked[i].lookup);
	memset(asked, 0, sizeof asked);
	free(names);
}

int rc_names_ask(struct names *names, struct lookup *lookup)
{
	(void)names;
	attempt(lookup->port);
	for (unsigned i = 0; i < LOOKUPS_MAX; i++) {
		if (asked[i].lookup || sim_fault(FAULT_NAME_FAILED))
			continue;
		bool late = sim_fault(FAULT_NAME_LATE);
		asked[i] = (struct asked){ lookup, sim.now_ns + sim_below(late ? 2000000000 : 5000000), false };
		return 0;
	}
	sim.struck_here[FAULT_NAME_FAILED]++;
	return -EAGAIN;
}

static void add_address(struct lookup *lookup, unsigned last)
{
	struct rc_address *to = &lookup->addresses[lookup->count++];
	memset(to, 0, sizeof *to);
	to->any.sa_family = last ? AF_INET : AF_INET6;
	if (last)
		to->four.sin_addr.s_addr = htonl(0x0A010100u + last);
	to->four.sin_port = htons(lookup->port);
}

static void answer(struct lookup *lookup)
{
	if (sim_fault(FAULT_NAME_FAILED)) {
		lookup->result = EAI_AGAIN;
		met(lookup->port, -EAGAIN);
	} else if (strcmp(lookup->name, "missing.sim") == 0) {
		lookup->result = EAI_NONAME;
		met(lookup->port, -ENXIO);
	} else if (strcmp(lookup->name, "one.sim") == 0) {
		add_address(lookup, 1);
	} else {
		for (unsigned i = sim_between(0, 3); i; i--)
			add_address(lookup, sim_between(8, 9));
		add_address(lookup, sim_below(2));
	}
	if (strcmp(lookup->name, "hangs.sim") == 0) {
		lookup->count = 0;
		add_address(lookup, 8);
	}
}

void names_step(void)
{
	for (unsigned i = 0; i < LOOKUPS_MAX; i++) {
		struct lookup *lookup = asked[i].lookup;
		if (!lookup || (asked[i].due_ns > sim.now_ns && !sim.quiet))
			continue;
		asked[i].lookup = NULL;
		answer(lookup);
		if (rc_mailbox_deliver(lookup->mailbox, &lookup->command) < 0)
			free(lookup);
		return;
	}
}

uint64_t names_next_ns(void)
{
	uint64_t next = UINT64_MAX;
	for (unsigned i = 0; i < LOOKUPS_MAX; i++)
		if (asked[i].lookup)
			next = RC_MIN(next, sim.quiet ? sim.now_ns : asked[i].due_ns);
	return next;
}
