/* SPDX-License-Identifier: MIT
 *
 * embed_refused.c - a kernel that forbids io_uring_enter, from the start or while a server runs: whoever started it
 * hears of it, with the remedy, and no worker spins.
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
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

static rc_server *server;
static _Atomic int failed, reports;
static int returned[2] = { 1, 1 };
static char said[256];

/* Of the calling thread, and of those that it makes. */
static void forbid(void *argument)
{
	unsigned code = *(const unsigned *)argument;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_enter, 0, 1),
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

static void make(void)
{
	struct rc_error error;
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 2;
	config.log_size = 1 << 20;
	config.handlers = (struct rc_handlers){ .report = on_report, .failed = on_failed };
	server = rc_server_new(&config, &error);
	cr_assert(server, "%s", error.text);
	cr_assert_gt(rc_server_listen(server, "127.0.0.1:0", &error), 0, "%s", error.text);
}

static const unsigned codes[] = { EPERM, ENOSYS };

static void from_the_start(unsigned code)
{
	struct rc_error error = { 0 };
	make();
	forbid(&code);
	cr_expect_eq(rc_server_start(server, &error), -(int)code);
	cr_expect(strstr(error.text, "io_uring_enter") && strstr(error.text, "seccomp"), "%s", error.text);
	rc_server_free(server);
	struct rc_feature features[16];
	cr_expect_gt(rc_probe(features, 16, &error), 0);
	cr_expect(error.code && strstr(error.text, "io_uring_enter"), "%s", error.text);
}

Test(embed_refused, from_the_start)
{
	from_the_start(codes[0]);
}
Test(embed_refused, as_if_there_were_none)
{
	from_the_start(codes[1]);
}

static void *run_worker(void *argument)
{
	struct rc_error error;
	unsigned index = *(const unsigned *)argument;
	returned[index] = rc_server_run(server, index, &error);
	return NULL;
}

Test(embed_refused, while_it_runs)
{
	static unsigned indices[] = { 0, 1 };
	pthread_t threads[2];
	make();
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
