/* SPDX-License-Identifier: MIT
 *
 * connect_again.c - what brings a connection of rc_connect() back, what does not, and the handle that means it from the
 * call on.
 */
#include "connect_side.h"

/* ---- again ---- */

static void serve_and_close(struct raw *raw, int fd)
{
	(void)raw;
	(void)fd;
}

static void serve_open_and_close(struct raw *raw, int fd)
{
	say_accept(raw, fd);
	nap(5);
}

/* The pauses double up to the largest, each is at least half of its step, and they hold. */
static void expect_pauses(void (*serve)(struct raw *raw, int fd), bool opens)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve);
	start_client(&client, 0);
	run_client(&client);
	rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 20, .again_max_ms = 160 });
	AWAIT(client.closed == 7);
	unsigned step = 20;
	for (unsigned i = 0; i < 6; i++) {
		const struct told *told = &client.told[i];
		cr_expect_eq(told->conn, conn);
		cr_expect(told->closing.again_ms >= step / 2 && told->closing.again_ms <= step, "%u: %u ms", i,
		          told->closing.again_ms);
		cr_expect_geq(raw.times[i + 1] + 1, told->ms + told->closing.again_ms);
		step = step * 2 < 160 ? step * 2 : 160;
	}
	cr_expect_eq(client.opened, opens ? client.closed : 0);
	AWAIT(rc_close(client.server, conn, 1000, NULL, 0) == 0);
	AWAIT(client.final == 1);
	unsigned closed = client.closed, accepted = raw.accepted;
	cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), -ENOTCONN, "the handle is stale");
	nap(250);
	cr_expect_eq(client.closed, closed);
	cr_expect_eq(raw.accepted, accepted);
	stop_client(&client);
	stop_raw(&raw);
}

Test(connect, a_server_that_closes_at_once)
{
	expect_pauses(serve_and_close, false);
}

Test(connect, a_server_that_opens_and_closes_at_once)
{
	expect_pauses(serve_open_and_close, true);
}

Test(connect, it_comes_back_by_the_same_handle)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_websocket);
	int port = raw.port;
	start_client(&client, 0);
	run_client(&client);
	rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 20, .again_max_ms = 60 });
	for (unsigned i = 1; i <= 3; i++) {
		AWAIT(client.opened == i);
		cr_expect_eq(client.conn, conn);
		cr_expect_eq(rc_send(client.server, conn, RC_TEXT, "x", 1), 0);
		nap(100); /* longer than again_max_ms: the pauses begin anew */
		unsigned closed = client.closed;
		stop_raw(&raw);
		AWAIT(client.closed > closed);
		cr_expect_leq(client.told[closed].closing.again_ms, 20);
		cr_expect_eq(client.told[closed].closing.status, 0);
		AWAIT(client.closed > closed + 1); /* nobody listens */
		EXPECT_TOLD(&client, -ECONNREFUSED, "Connection refused");
		listen_raw(&raw, port);
		start_raw(&raw, serve_websocket);
	}
	AWAIT(client.opened == 4);
	cr_expect_eq(client.final, 0);
	cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
	stop_raw(&raw);
	AWAIT(client.final == 1);
	cr_expect_eq(client.opened, 4);
	stop_client(&client);
}

Test(connect, what_is_to_stay_is_not_tried_again)
{
	static struct raw raw;
	static struct client client;
	static const struct {
		const char *answer;
		bool again;
	} answers[] = {
		{ "HTTP/1.1 403 x\r\n\r\n", false }, { "HTTP/1.1 404 x\r\n\r\n", false },
		{ "HTTP/1.1 429 x\r\n\r\n", true },  { "HTTP/1.1 503 x\r\n\r\n", true },
		{ "HTTP/1.1 302 x\r\n\r\n", false }, { "what\r\n\r\n", true },
	};
	start_raw(&raw, say_answer);
	start_client(&client, 0);
	run_client(&client);
	client.give_up = true;
	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
		unsigned closed = client.closed;
		raw.answer = answers[i].answer;
		client.given_up = 1;
		dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 60000, .again_max_ms = 60000 });
		AWAIT(client.final == i + 1);
		cr_expect_eq(client.closed - closed, 1 + answers[i].again, "%s", answers[i].answer);
		cr_expect_eq(client.given_up, answers[i].again ? 0 : 1);
		if (answers[i].again)
			EXPECT_TOLD(&client, -ECANCELED, "closed it before it was open");
	}
	stop_client(&client);
	stop_raw(&raw);
}

/* The server takes its time, because a peer does not answer its Close. */
Test(connect, nothing_is_tried_again_while_the_server_stops)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_websocket);
	start_client(&client, 0);
	run_client(&client);
	dial_raw(&client, &raw, (struct rc_connect_options){ 0 });
	AWAIT(client.opened == 1);
	dial(&client, "ws://127.0.0.1:1/", (struct rc_connect_options){ .again_ms = 100, .again_max_ms = 100 });
	AWAIT(client.closed == 1);
	stop_client(&client);
	stop_raw(&raw);
	cr_expect_eq(client.final, 2);
	for (unsigned i = 1; i < client.closed; i++)
		cr_expect(client.told[i].closing.status == 0 || client.told[i].closing.status == -ECANCELED, "%u: %s",
		          i, client.told[i].reason);
}

/* ---- a handle at once ---- */

static void connect_and_close(void *argument)
{
	struct client *client = argument;
	rc_conn conn = dial(client, "ws://127.0.0.1:1/", (struct rc_connect_options){ 0 });
	cr_expect_eq(rc_send(client->server, conn, RC_TEXT, "x", 1), -ENOTCONN);
	cr_expect_eq(rc_close(client->server, conn, 1000, NULL, 0), 0);
}

Test(connect, the_handle_works_before_it_is_open)
{
	static struct raw raw;
	static struct client client;
	start_raw(&raw, serve_nothing);
	start_client(&client, 0);
	run_client(&client);
	rc_conn before = 0;
	for (unsigned i = 0; i < 20; i++) {
		rc_conn conn = dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = i % 2 ? 50 : 0 });
		cr_expect_neq(conn, before);
		cr_expect_eq(rc_conn_worker(conn), 0);
		nap(i % 3); /* in the mailbox, or in any state behind it */
		cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), 0);
		AWAIT(client.final == i + 1);
		cr_expect_eq(last(&client)->conn, conn);
		EXPECT_TOLD(&client, -ECANCELED, "closed it before it was open");
		cr_expect_eq(rc_close(client.server, conn, 1000, NULL, 0), -ENOTCONN);
		before = conn;
	}
	cr_assert_eq(rc_post(client.server, 0, connect_and_close, &client), 0);
	AWAIT(client.final == 21);
	EXPECT_TOLD(&client, -ECANCELED, "");
	/* Those that pause or open when the server stops hear of it. */
	dial_raw(&client, &raw, (struct rc_connect_options){ .again_ms = 50 });
	dial(&client, "ws://127.0.0.1:1/", (struct rc_connect_options){ .again_ms = 60000, .again_max_ms = 60000 });
	AWAIT(client.closed == 22);
	stop_client(&client);
	cr_expect_eq(client.final, 23);
	stop_raw(&raw);
}
