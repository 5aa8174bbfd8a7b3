/* SPDX-License-Identifier: MIT
 *
 * embed_refused.c - a kernel that forbids what a ring needs, from the start or while a server runs: whoever insists on
 * that ring hears of it, with the remedy, and no worker spins; who does not insist gets the other ring.
 */
#include "ringcast.h"
#include "ringcast_stats.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

static rc_server *server;
static _Atomic int failed, reports;
static int returned[2] = { 1, 1 };
static char said[256];

/* The calls with which the rings wait. */
#ifdef __NR_epoll_wait
#define EPOLL_WAIT __NR_epoll_wait
#else
#define EPOLL_WAIT __NR_epoll_pwait
#endif
static unsigned calls[] = { __NR_io_uring_enter, __NR_io_uring_enter };

/* Of the calling thread, and of those that it makes. */
static void forbid(void *argument)
{
	unsigned code = *(const unsigned *)argument;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[0], 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[1], 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | code),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static void on_report(void *context, const char *text)
{
	(void)context;
	snprintf(said, sizeof said, "%s", text);
	reports++;
}

static void on_failed(void *context, const struct rc_error *error)
{
	(void)context;
	cr_expect(strstr(error->text, "seccomp"), "%s", error->text);
	failed = error->code;
}

static void make(enum rc_ring_kind ring)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 2;
	config.log_size = 1 << 20;
	config.ring = ring;
	config.handlers = (struct rc_handlers){ .report = on_report, .failed = on_failed };
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_gt(rc_server_listen(server, "127.0.0.1:0", &error), 0, "%s", error.text);
}

static const unsigned codes[] = { EPERM, ENOSYS };

static void from_the_start(unsigned code)
{
	struct rc_error error = { 0 };
	forbid(&code);
	make(RC_RING_URING);
	cr_expect_eq(rc_server_start(server, &error), -(int)code);
	cr_expect(strstr(error.text, "io_uring_enter") && strstr(error.text, "seccomp"), "%s", error.text);
	cr_expect(strstr(error.text, "rc_config.ring"), "%s", error.text);
	rc_server_free(server);
	cr_expect_eq(reports, 0);
}

static uint64_t ring_now(void)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.ring;
}

static void without_insisting(unsigned code)
{
	struct rc_error error = { 0 };
	struct rc_feature features[24];
	unsetenv("RC_RING");
	forbid(&code);
	make(RC_RING_AUTO);
	cr_assert_eq(rc_server_start(server, &error), 0, "%s", error.text);
	cr_expect_eq(ring_now(), RC_RING_EPOLL);
	cr_expect_eq(reports, 1, "one line, not one a worker");
	cr_expect(strstr(said, "epoll") && strstr(said, "io_uring_enter"), "%s", said);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
	cr_expect_gt(rc_probe(features, 24, &error), 0);
	cr_expect_eq(error.code, 0, "%s", error.text);
}

Test(embed_refused, from_the_start)
{
	from_the_start(codes[0]);
}
Test(embed_refused, as_if_there_were_none)
{
	from_the_start(codes[1]);
}

Test(embed_refused, the_other_ring_serves)
{
	without_insisting(codes[0]);
}
Test(embed_refused, the_other_ring_serves_as_if_there_were_none)
{
	without_insisting(codes[1]);
}

Test(embed_refused, neither_ring)
{
	struct rc_error error = { 0 };
	struct rc_feature features[24];
	calls[1] = __NR_epoll_create1;
	forbid((void *)(uintptr_t)&codes[0]);
	make(RC_RING_AUTO);
	cr_expect_eq(rc_server_start(server, &error), -EPERM);
	cr_expect(strstr(error.text, "epoll_create1") && strstr(error.text, "seccomp"), "%s", error.text);
	rc_server_free(server);
	cr_expect_gt(rc_probe(features, 24, &error), 0);
	cr_expect_eq(error.code, -ENOSYS);
}

Test(embed_refused, a_ring_that_there_is_not)
{
	struct rc_error error = { 0 };
	struct rc_config config;
	rc_config_init(&config);
	config.ring = (enum rc_ring_kind)3;
	cr_expect_null(rc_server_new(&config, &error));
	cr_expect_eq(error.code, -EINVAL);
}

static void *run_worker(void *argument)
{
	struct rc_error error;
	unsigned index = *(const unsigned *)argument;
	returned[index] = rc_server_run(server, index, &error);
	return NULL;
}

static void while_it_runs(enum rc_ring_kind ring, unsigned call)
{
	static unsigned indices[] = { 0, 1 };
	pthread_t threads[2];
	calls[0] = calls[1] = call;
	make(ring);
	cr_assert_eq(ring_now(), ring);
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, run_worker, &indices[i]);
	while (rc_post(server, 1, forbid, (void *)(uintptr_t)&codes[0]) < 0)
		;
	/* Both end: new connections would still be given to the one that is gone. */
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_expect_eq(returned[0], 0);
	cr_expect_eq(returned[1], -EPERM);
	cr_expect_eq(failed, -EPERM);
	cr_expect_eq(reports, 1);
	cr_expect(strstr(said, "worker 1 ends"), "%s", said);
	rc_server_free(server);
}

Test(embed_refused, while_it_runs)
{
	while_it_runs(RC_RING_URING, __NR_io_uring_enter);
}
Test(embed_refused, while_it_runs_on_epoll)
{
	while_it_runs(RC_RING_EPOLL, EPOLL_WAIT);
}
