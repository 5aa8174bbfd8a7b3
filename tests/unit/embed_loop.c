/* SPDX-License-Identifier: MIT
 *
 * embed_loop.c - a worker inside the caller's own loop, as a wrong caller meets it, and beside a worker that has a
 * thread. That it serves is shown in tests/live/test_loop.py.
 */
#include "ringcast_ingest.h"
#include "ringcast_latency.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct end {
	rc_server *server;
	int inside;     /* what a step returned inside a callback */
	char text[256]; /* what was reported */
};

static void on_report(void *context, const char *text)
{
	struct end *end = context;
	strncpy(end->text, text, sizeof end->text - 1);
}

static rc_server *make(struct end *end, unsigned workers)
{
	struct rc_config config;
	struct rc_error error;
	rc_config_init(&config);
	config.worker_count = workers;
	config.log_size = 1 << 20;
	config.handlers = (struct rc_handlers){ .context = end, .report = on_report };
	end->server = rc_server_new(&config, &error);
	cr_assert_not_null(end->server, "%s", error.text);
	cr_assert_gt(rc_server_listen(end->server, "127.0.0.1:0", NULL), 0);
	return end->server;
}

/* Steps while the descriptor is readable. Returns what the last step did. */
static int step_all(rc_server *server, unsigned worker, int fd, int wait_ms)
{
	struct pollfd poller = { .fd = fd, .events = POLLIN };
	int result = 1;
	while (result == 1 && poll(&poller, 1, wait_ms) == 1)
		result = rc_worker_step(server, worker);
	return result;
}

static void inside(void *argument)
{
	struct end *end = argument;
	end->inside = rc_worker_step(end->server, 0);
}

static void *from_another_thread(void *argument)
{
	rc_server *server = argument;
	cr_expect_eq(rc_server_fd(server, 0), -EPERM);
	cr_expect_eq(rc_worker_step(server, 0), -EPERM);
	return NULL;
}

Test(embed_loop, wrong_calls_are_refused)
{
	struct end end = { 0 };
	rc_server *server = make(&end, 1);
	pthread_t thread;
	cr_expect_eq(rc_worker_step(server, 0), -EINVAL, "no descriptor was asked for");
	cr_expect_eq(rc_server_fd(server, 1), -EINVAL, "no such worker");
	cr_expect_eq(rc_worker_step(server, 1), -EINVAL);
	int fd = rc_server_fd(server, 0);
	cr_assert_geq(fd, 0);
	cr_expect_eq(rc_server_fd(server, 0), fd, "the same again");
	cr_expect_eq(rc_server_start(server, NULL), -EBUSY);
	cr_expect_eq(rc_server_run(server, 0, NULL), -EBUSY);
	pthread_create(&thread, NULL, from_another_thread, server);
	pthread_join(thread, NULL);
	cr_assert_eq(rc_post(server, 0, inside, &end), 0);
	cr_expect_eq(step_all(server, 0, fd, 50), 1);
	cr_expect_eq(end.inside, -EDEADLK);
	rc_server_stop(server, 0);
	cr_expect_eq(step_all(server, 0, fd, 1000), 0);
	cr_expect_eq(rc_worker_step(server, 0), 0, "the end stays the end");
	cr_expect_eq(rc_server_fd(server, 0), -ENOTCONN);
	cr_expect_eq(rc_post(server, 0, inside, &end), -ENOTCONN);
	rc_server_free(server);
}

Test(embed_loop, a_started_server_is_not_stepped)
{
	struct end end = { 0 };
	rc_server *server = make(&end, 1);
	cr_assert_eq(rc_server_start(server, NULL), 0);
	cr_expect_eq(rc_server_fd(server, 0), -EBUSY);
	cr_expect_not_null(strstr(end.text, "runs already"), "%s", end.text);
	cr_expect_eq(rc_worker_step(server, 0), -EINVAL);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
}

Test(embed_loop, a_listener_without_its_certificate_is_reported)
{
	struct end end = { 0 };
	rc_server *server = make(&end, 1);
	cr_assert_gt(rc_server_listen(server, "wss://127.0.0.1:0", NULL), 0);
	cr_expect_eq(rc_server_fd(server, 0), -EINVAL);
	cr_expect_not_null(strstr(end.text, "certificate"), "%s", end.text);
	rc_server_free(server);
}

Test(embed_loop, producers_want_a_thread)
{
	char address[64];
	struct end end = { 0 };
	rc_server *server = make(&end, 1);
	snprintf(address, sizeof address, "unix:/tmp/ringcast-loop-%d", (int)getpid());
	cr_assert_eq(rc_server_listen_producers(server, address, NULL, NULL), 0);
	cr_expect_eq(rc_server_fd(server, 0), -EOPNOTSUPP);
	cr_expect_not_null(strstr(end.text, "producers need workers with threads"), "%s", end.text);
	rc_server_free(server);
}

/* The log is full, and the worker that could make room is this thread's own. */
Test(embed_loop, its_publisher_does_not_wait_for_itself)
{
	static char text[4096];
	struct end end = { 0 };
	rc_server *server = make(&end, 1);
	int fd = rc_server_fd(server, 0);
	cr_assert_geq(fd, 0);
	memset(text, 'x', sizeof text);
	int64_t result = 1;
	for (unsigned i = 0; i < 1000 && result > 0; i++)
		result = rc_publish(server, "t", 1, text, sizeof text, RC_PUBLISH_WAIT);
	cr_expect_eq(result, -EAGAIN);
	cr_expect_eq(step_all(server, 0, fd, 50), 1);
	cr_expect_gt(rc_publish(server, "t", 1, text, sizeof text, RC_PUBLISH_WAIT), 0);
	rc_server_stop(server, 0);
	cr_expect_eq(step_all(server, 0, fd, 1000), 0);
	cr_expect_gt(rc_publish(server, "t", 1, text, sizeof text, RC_PUBLISH_WAIT), 0);
	rc_server_free(server);
}

static void *run_second(void *argument)
{
	cr_expect_eq(rc_server_run(argument, 1, NULL), 0);
	return NULL;
}

Test(embed_loop, one_worker_is_stepped_and_the_other_has_a_thread)
{
	struct end end = { 0 };
	rc_server *server = make(&end, 2);
	pthread_t thread;
	int fd = rc_server_fd(server, 0);
	cr_assert_geq(fd, 0);
	pthread_create(&thread, NULL, run_second, server);
	cr_expect_eq(step_all(server, 0, fd, 50), 1);
	rc_server_stop(server, 100);
	cr_expect_eq(step_all(server, 0, fd, 1000), 0);
	pthread_join(thread, NULL);
	rc_server_free(server);
}
