/* SPDX-License-Identifier: MIT
 *
 * names.c - the threads that look names up (uring/names.h), where the system gives them reluctantly. What they find is
 * tests/unit/connect.c's.
 */
#include "names.h"
#include "reach.h"
#include "ringcast_client.h"
#include "ringcast_latency.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#define QUESTIONS 50

static struct names *names;
static struct mailbox mailbox;

static void begin(void)
{
	cr_assert_eq(rc_mailbox_open(&mailbox), 0);
	names = rc_names_new();
	cr_assert_not_null(names);
}

static void end(void)
{
	rc_names_free(names);
	rc_mailbox_close(&mailbox);
}

/* From now on this thread can start no other: as where a limit of processes is reached. */
static void forbid_threads(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof *filter, filter };
	cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

static int ask(void)
{
	struct lookup *lookup = calloc(1, sizeof *lookup);
	cr_assert_not_null(lookup);
	lookup->mailbox = &mailbox;
	lookup->port = 80;
	strcpy(lookup->name, "127.0.0.1");
	int result = rc_names_ask(names, lookup);
	if (result < 0)
		free(lookup);
	return result;
}

/* Takes the answers that have come. Returns how many. */
static unsigned take_answers(void)
{
	unsigned count = 0;
	for (struct command *command = rc_mailbox_take(&mailbox); command; count++) {
		struct lookup *lookup = (struct lookup *)command;
		command = command->next;
		cr_expect_eq(lookup->result, 0);
		cr_expect_eq(lookup->count, 1);
		rc_mailbox_done(&mailbox);
		free(lookup);
	}
	return count;
}

static unsigned taken;
static int refusal;

/* On a thread of its own, so that only this one is forbidden something. */
static void *ask_in_need(void *argument)
{
	(void)argument;
	forbid_threads();
	for (unsigned i = 1; i < QUESTIONS; i++) {
		int result = ask();
		taken += result == 0;
		refusal = result < 0 ? result : refusal;
	}
	return NULL;
}

static void run_in_need(void)
{
	pthread_t thread;
	cr_assert_eq(pthread_create(&thread, NULL, ask_in_need, NULL), 0);
	pthread_join(thread, NULL);
}

/* The first thread serves whoever another one was meant for. */
Test(names, a_thread_that_cannot_be_had_is_done_without, .init = begin, .fini = end)
{
	unsigned answered = 0;
	cr_assert_eq(ask(), 0);
	run_in_need();
	cr_assert_eq(taken, QUESTIONS - 1, "%d", refusal);
	for (unsigned i = 0; i < 10000 && answered < QUESTIONS; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		answered += take_answers();
	}
	cr_expect_eq(answered, QUESTIONS);
}

Test(names, without_any_thread_nobody_is_asked, .init = begin, .fini = end)
{
	run_in_need();
	cr_expect_eq(taken, 0);
	cr_expect_eq(refusal, -EAGAIN);
	cr_expect_eq(take_answers(), 0);
}

struct told {
	int status;
	char text[256];
};

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct told *told = context;
	(void)conn, (void)user;
	told->status = closing->status;
	snprintf(told->text, sizeof told->text, "%.*s", (int)closing->reason_size, closing->reason);
}

/* Its worker is this thread, which may start no other. */
Test(names, who_connects_is_told_what_is_missing)
{
	struct told told = { 0 };
	struct rc_config config;
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 1 << 20;
	config.handlers = (struct rc_handlers){ .context = &told, .close = on_close };
	rc_server *server = rc_server_new(&config, NULL);
	cr_assert_not_null(server);
	cr_assert_geq(rc_server_fd(server, 0), 0);
	forbid_threads();
	cr_assert_eq(rc_connect(server, 0, "ws://somewhere.invalid/", NULL), 0);
	for (unsigned i = 0; i < 100 && !told.status; i++)
		cr_assert_eq(rc_worker_step(server, 0), 1);
	cr_expect_eq(told.status, -EAGAIN, "%d", told.status);
	cr_expect_not_null(strstr(told.text, "no thread"), "%s", told.text);
	cr_expect_not_null(strstr(told.text, "ulimit -u"), "%s", told.text);
	rc_server_stop(server, 0);
	while (rc_worker_step(server, 0) > 0)
		;
	rc_server_free(server);
}

Test(names, too_many_are_no_want_of_threads)
{
	char text[256];
	cr_expect_eq(rc_reach_explain_unasked(text, sizeof text, "x", -EBUSY), -EAGAIN);
	cr_expect_not_null(strstr(text, "1024 others wait"), "%s", text);
	cr_expect_eq(rc_reach_explain_unasked(text, sizeof text, "x", -ENOMEM), -ENOMEM);
	cr_expect_not_null(strstr(text, "memory"), "%s", text);
}
