/* SPDX-License-Identifier: MIT
 *
 * stage.c - see stage.h.
 */
#include "stage.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/options.h"
#include "lib/random.h"
#include "lib/wait.h"
#include "server.h"

#define PORT_LOWEST 10000
#define PORT_COUNT 20000
#define PORT_TRIES 50
#define PORT_PATIENCE_NS (10 * NS_PER_SECOND)

int stage_open(struct stage *stage)
{
	void *board = mmap(NULL, sizeof *stage->board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		return -command_failed("shared memory: %s", strerror(errno));
	stage->board = board;
	return 0;
}

static void sleep_until(uint64_t due_ns)
{
	const struct timespec due = { .tv_sec = (time_t)(due_ns / NS_PER_SECOND),
		                      .tv_nsec = (long)(due_ns % NS_PER_SECOND) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
}

/* Publishes what is left, at the pace that was asked for: in bursts of what fell due within a millisecond. */
static bool publish_rest(struct stage *stage, struct book_server *server)
{
	uint64_t begin = clock_now(), before = atomic_load(&stage->board->published);
	for (uint64_t published = before; published < stage->updates_max; published++) {
		struct market_change change;
		uint64_t due = stage->rate > 0 ? begin + (uint64_t)((double)(published - before) * 1e9 / stage->rate)
		                               : 0;
		if (due > clock_now())
			sleep_until(due + NS_PER_MS);
		market_next(stage->market, &change);
		int code = book_publish(&server->publisher, &change);
		if (code) {
			command_failed("an update of a book: %s", rc_strerror(code));
			return false;
		}
		atomic_store(&stage->board->published, published + 1);
	}
	return true;
}

static bool is_free(int port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
		                             .sin_port = htons((uint16_t)port),
		                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1, made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (made < 0)
		return false;
	/* Connections of an earlier life are not in the way, only who listens. */
	setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	bool bound = !bind(made, (const struct sockaddr *)&address, sizeof address) && !listen(made, 1);
	close(made);
	return bound;
}

/* A port that the system gives to nobody by itself: while no life listens, it must stay ours. */
static int choose_port(void)
{
	uint64_t random[4];
	random_seed(random, clock_now() ^ (uint64_t)getpid());
	int port = 0;
	for (unsigned tries = 0; tries < PORT_TRIES && !(port && is_free(port)); tries++)
		port = PORT_LOWEST + (int)random_below(random, PORT_COUNT);
	return port;
}

/* What a process had in its ring is given back some time after it has ended, its listeners too. */
static void await_port(int port)
{
	uint64_t end = clock_now() + PORT_PATIENCE_NS;
	while (!is_free(port) && clock_now() < end)
		sleep_until(clock_now() + NS_PER_MS);
}

/* A life of the server, which ends when it is killed. */
static void live(struct stage *stage)
{
	static struct book_server server;
	struct stage_board *board = stage->board;
	char address[32];
	server =
	    (struct book_server){ .market = stage->market, .log_size = stage->log_size, .conflating = stage->hostile };
	for (uint64_t n = atomic_load(&board->published); n > 0; n--) {
		struct market_change change;
		market_next(stage->market, &change);
	}
	int port = atomic_load(&board->port);
	if (!port)
		port = choose_port();
	await_port(port);
	snprintf(address, sizeof address, "127.0.0.1:%d", port);
	if (book_server_start(&server, address) < 0)
		return;
	atomic_store(&board->port, port);
	atomic_store(&board->up, true);
	int code = book_publish_all(&server.publisher);
	if (code)
		command_failed("the levels of the books: %s", rc_strerror(code));
	if (code || !publish_rest(stage, &server))
		return;
	for (unsigned index = 0; index < stage->market->book_count; index++) {
		const struct book_published *book = &server.publisher.books[index];
		board->ends[index] = (struct stage_end){ book->epoch, book->sequence, book->checksum };
	}
	atomic_store(&board->done, true);
	for (;;)
		pause();
}

int stage_start(struct stage *stage)
{
	pid_t parent = getpid();
	fflush(NULL);
	stage->process = fork();
	if (stage->process < 0) {
		stage->process = 0;
		return -command_failed("a process: %s", strerror(errno));
	}
	if (stage->process)
		return 0;
	/* Whatever ends the readers' process ends this one. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		live(stage);
	atomic_store(&stage->board->failed, true);
	_exit(EXIT_FAILED);
}

void stage_kill(struct stage *stage)
{
	if (!stage->process)
		return;
	atomic_store(&stage->board->up, false);
	kill(stage->process, SIGKILL);
	waitpid(stage->process, NULL, 0);
	stage->process = 0;
}

void stage_close(struct stage *stage)
{
	stage_kill(stage);
	munmap(stage->board, sizeof *stage->board);
}
