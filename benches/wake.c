/* SPDX-License-Identifier: MIT
 *
 * wake.c - what it costs a thread to wake another one that sleeps on another processor, by each way that a worker could
 * be woken: `make bench-wake`. It must not know the library; it measures the kernel.
 *
 * The worker sleeps on processor 0, in its ring or on a word. The publisher, on processor 1, wakes it a thousand times
 * a second and notes how long its own call took. The ways take turns.
 */
#include "drive.h"

#include <liburing.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EVERY_NS 1000000
#define WAKES 1000
#define ROUNDS 3
#define OP_FUTEX_WAIT 51           /* Linux 6.7; the header of liburing 2.3 has no name for it */
#define FUTEX2_32_BITS_PRIVATE 130 /* FUTEX2_SIZE_U32 | FUTEX2_PRIVATE */

enum way { WAY_POLL, WAY_READ, WAY_FUTEX_IN_RING, WAY_RING_TO_RING, WAY_FUTEX, WAYS };

static const char *const names[WAYS] = { "eventfd, polled by the ring", "eventfd, read by the ring",
	                                 "futex in the ring", "message from ring to ring", "futex without a ring" };

struct sleeper {
	enum way way;
	struct io_uring ring;
	int event;
	uint64_t event_value;
	_Atomic uint32_t word;
	atomic_bool sleeps_soon, over;
	bool unsupported;
};

static void pin(int processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static void watch(struct sleeper *sleeper)
{
	struct io_uring_sqe *sqe = sleeper->way == WAY_RING_TO_RING ? NULL : io_uring_get_sqe(&sleeper->ring);
	if (sleeper->way == WAY_POLL)
		io_uring_prep_poll_multishot(sqe, sleeper->event, POLLIN);
	if (sleeper->way == WAY_READ)
		io_uring_prep_read(sqe, sleeper->event, &sleeper->event_value, sizeof sleeper->event_value, 0);
	if (sleeper->way == WAY_FUTEX_IN_RING) {
		io_uring_prep_rw(OP_FUTEX_WAIT, sqe, FUTEX2_32_BITS_PRIVATE, &sleeper->word, 0,
		                 atomic_load(&sleeper->word));
		sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
	}
}

static void sleep_in_ring(struct sleeper *sleeper)
{
	struct io_uring_cqe *cqe;
	uint64_t value;
	atomic_store(&sleeper->sleeps_soon, true);
	if (io_uring_submit_and_wait(&sleeper->ring, 1) < 0)
		return;
	while (io_uring_peek_cqe(&sleeper->ring, &cqe) == 0) {
		bool again = !(cqe->flags & IORING_CQE_F_MORE);
		sleeper->unsupported |= cqe->res == -EINVAL;
		io_uring_cqe_seen(&sleeper->ring, cqe);
		if (again && !sleeper->unsupported)
			watch(sleeper);
	}
	if (sleeper->way == WAY_POLL && read(sleeper->event, &value, sizeof value) < 0)
		return;
}

static void *sleep_again_and_again(void *argument)
{
	struct sleeper *sleeper = argument;
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
	pin(0);
	if (io_uring_queue_init_params(64, &sleeper->ring, &params) < 0)
		die("io_uring is not to be had here");
	if (sleeper->way != WAY_FUTEX)
		watch(sleeper);
	while (!atomic_load(&sleeper->over) && !sleeper->unsupported) {
		uint32_t word = atomic_load(&sleeper->word);
		if (sleeper->way != WAY_FUTEX) {
			sleep_in_ring(sleeper);
			continue;
		}
		atomic_store(&sleeper->sleeps_soon, true);
		syscall(SYS_futex, &sleeper->word, FUTEX_WAIT_PRIVATE, word, NULL, NULL, 0);
	}
	return NULL;
}

static void wake(struct sleeper *sleeper, struct io_uring *mine)
{
	uint64_t one = 1;
	if (sleeper->way == WAY_POLL || sleeper->way == WAY_READ) {
		if (write(sleeper->event, &one, sizeof one) < 0)
			die("an eventfd takes no more");
	} else if (sleeper->way == WAY_RING_TO_RING) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(mine);
		io_uring_prep_msg_ring(sqe, sleeper->ring.ring_fd, 0, 0, 0);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		io_uring_submit(mine);
	} else {
		atomic_fetch_add(&sleeper->word, 1);
		syscall(SYS_futex, &sleeper->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Fills `took` with what each wake-up cost the caller, sorted. Returns false where the kernel cannot do it so. */
static bool measure(enum way way, uint64_t *took, size_t count, struct io_uring *mine)
{
	struct sleeper sleeper = { .way = way, .event = eventfd(0, EFD_NONBLOCK) };
	pthread_t thread;
	if (sleeper.event < 0 || pthread_create(&thread, NULL, sleep_again_and_again, &sleeper))
		die("no thread");
	for (size_t i = 0; i < count; i++) {
		sleep_until(now_ns() + EVERY_NS);
		while (!atomic_load(&sleeper.sleeps_soon) && !sleeper.unsupported)
			sched_yield();
		uint64_t begin = now_ns();
		wake(&sleeper, mine);
		took[i] = now_ns() - begin;
	}
	atomic_store(&sleeper.over, true);
	wake(&sleeper, mine);
	pthread_join(thread, NULL);
	io_uring_queue_exit(&sleeper.ring);
	close(sleeper.event);
	qsort(took, count, sizeof *took, compare);
	return !sleeper.unsupported;
}

int main(int argc, char **argv)
{
	static uint64_t took[WAKES];
	bool tiny = argc == 2 && strcmp(argv[1], "--tiny") == 0;
	size_t count = tiny ? 20 : WAKES;
	struct io_uring mine;
	if (io_uring_queue_init(8, &mine, 0) < 0)
		die("io_uring is not to be had here");
	pin(1);
	printf("%-30s %10s %10s %10s   ns of the thread that wakes\n", "", "p50", "p90", "p99");
	for (unsigned round = 0; round < (tiny ? 1 : ROUNDS); round++) {
		for (enum way way = 0; way < WAYS; way++) {
			if (measure(way, took, count, &mine))
				printf("%-30s %10lu %10lu %10lu\n", names[way], took[count / 2], took[count * 9 / 10],
				       took[count * 99 / 100]);
			else
				printf("%-30s not with this kernel\n", names[way]);
		}
	}
	io_uring_queue_exit(&mine);
	return 0;
}
