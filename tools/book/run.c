/* SPDX-License-Identifier: MIT
 *
 * run.c - a run of `ringcast book`: the server's lives on one side, the crowd on the other, and what came of it.
 */
#include "run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "crowd.h"
#include "lib/options.h"
#include "lib/wait.h"
#include "stage.h"

#define UPDATES 100000
#define BOOKS 50
#define RATE 20000
#define COMPLAINTS_MAX 10
#define TURN_NS (20 * NS_PER_MS)

struct run {
	const struct book_options *options;
	struct wait wait;
	struct market market;
	struct stage stage;
	struct crowd crowd;
	unsigned kills;
	uint64_t begin_ns;
};

/* What all readers have seen together. */
struct sums {
	uint64_t updates, checks, wrong, silent, states, resyncs, conflated, resets, heartbeats, malformed, gaps,
	    missing;
};

static struct sums add_up(const struct crowd *crowd)
{
	struct sums sums = { 0 };
	for (unsigned index = 0; index < crowd->reader_count; index++) {
		const struct book_reader *reader = &crowd->readers[index].reader;
		sums.updates += reader->updates;
		sums.checks += reader->checks;
		sums.wrong += reader->wrong;
		sums.silent += reader->silent;
		sums.states += reader->states;
		sums.resyncs += reader->resyncs;
		sums.conflated += reader->conflated;
		sums.resets += reader->resets;
		sums.heartbeats += reader->heartbeats;
		sums.malformed += reader->malformed;
		sums.gaps += reader->follow.gaps;
		sums.missing += reader->follow.missing;
	}
	return sums;
}

static void show_progress(const struct run *run)
{
	struct sums sums = add_up(&run->crowd);
	fprintf(stderr,
	        "%6.1f s  %" PRIu64 " updates published, %" PRIu64 " received, %" PRIu64 " checksums, %" PRIu64
	        " wrong, %" PRIu64 " resyncs, %" PRIu64 " gaps\n",
	        (double)(clock_now() - run->begin_ns) * 1e-9, atomic_load(&run->stage.board->published), sums.updates,
	        sums.checks, sums.wrong, sums.resyncs, sums.gaps);
}

/* Says of the first readers that are not right what they have, and what they should. */
static void complain(const struct run *run)
{
	static const char *const manners[] = { "steady", "stalls", "breaks", "slow", "rated", "rude" };
	const struct crowd *crowd = &run->crowd;
	unsigned told = 0;
	for (unsigned index = 0; index < crowd->reader_count && told < COMPLAINTS_MAX; index++) {
		const struct crowd_reader *reader = &crowd->readers[index];
		const struct stage_end *end = &crowd->board->ends[reader->book];
		const struct follow *follow = &reader->reader.follow;
		if (reader->is_done)
			continue;
		told++;
		command_failed("reader %u (%s) of book %s has %" PRIu64 " of epoch %" PRIu64 " (state up to %" PRIu64
		               ", %s), checksum %" PRIu32 "; the book ended at %" PRIu64 " of %" PRIu64
		               ", checksum %" PRIu32,
		               index, manners[reader->manner], run->market.symbols[reader->book], follow->last,
		               follow->epoch, follow->until, follow_is_whole(follow) ? "whole" : "not whole",
		               book_checksum(&reader->reader.book), end->sequence, end->epoch, end->checksum);
	}
}

/* One name and number a line, for people and for scripts. Returns the exit status. */
static int show_end(const struct run *run)
{
	const struct crowd *crowd = &run->crowd;
	struct sums sums = add_up(crowd);
	const struct {
		const char *name;
		uint64_t value;
	} lines[] = {
		{ "updates published", atomic_load(&run->stage.board->published) },
		{ "books", run->market.book_count },
		{ "readers", crowd->reader_count },
		{ "server killed", run->kills },
		{ "connections opened", crowd->connects },
		{ "connections refused", crowd->refused },
		{ "connections closed by the server", crowd->closed },
		{ "stalls", crowd->stalls },
		{ "breaks", crowd->breaks },
		{ "updates received", sums.updates },
		{ "states begun", sums.states },
		{ "resyncs told", sums.resyncs },
		{ "conflations told", sums.conflated },
		{ "resets told", sums.resets },
		{ "heartbeats", sums.heartbeats },
		{ "gaps told", sums.gaps },
		{ "updates missing in them", sums.missing },
		{ "checksums compared", sums.checks },
		{ "checksums wrong", sums.wrong },
		{ "silent gaps", sums.silent },
		{ "malformed messages", sums.malformed },
		{ "readers right at the end", crowd->done_count },
	};
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
		printf("%-34s %12" PRIu64 "\n", lines[i].name, lines[i].value);
	bool good = !sums.wrong && !sums.silent && !sums.malformed && crowd->done_count == crowd->reader_count;
	if (crowd->done_count < crowd->reader_count)
		complain(run);
	printf("%s\n", good ? "every book is proven" : "NOT every book is proven");
	return fflush(stdout) || !good ? EXIT_FAILED : EXIT_OK;
}

/* The server that died by itself, said why or was ended by somebody else. */
static bool is_alive(struct run *run)
{
	if (!waitpid(run->stage.process, NULL, WNOHANG))
		return true;
	run->stage.process = 0;
	if (!atomic_load(&run->stage.board->failed))
		command_failed("the server's process ended");
	return false;
}

/* Kills the server when it has published its share. Returns whether to go on. */
static bool maybe_kill(struct run *run)
{
	const struct stage *stage = &run->stage;
	unsigned kills = run->options->hostile ? run->options->kills : 0;
	uint64_t due = stage->updates_max / (kills + 1) * (run->kills + 1);
	if (run->kills == kills || atomic_load(&stage->board->published) < due || atomic_load(&stage->board->done))
		return true;
	stage_kill(&run->stage);
	run->kills++;
	return !stage_start(&run->stage);
}

/* Until all readers are right, or the patience is over. Returns whether it came to an end that can be told. */
static bool serve(struct run *run)
{
	uint64_t deadline = UINT64_MAX, show = run->begin_ns + NS_PER_SECOND;
	while (run->crowd.done_count < run->crowd.reader_count) {
		uint64_t now = clock_now();
		if (now >= deadline)
			break;
		if (deadline == UINT64_MAX && atomic_load(&run->stage.board->done))
			deadline = now + run->options->patience_ns;
		if (now >= show && !run->options->quiet) {
			show_progress(run);
			show += NS_PER_SECOND;
		}
		if (!is_alive(run) || !maybe_kill(run) || wait_until(&run->wait, 0) == WAIT_SIGNAL)
			return false;
		crowd_turn(&run->crowd, now + TURN_NS);
	}
	return true;
}

/* Waits until the first life listens. */
static bool await_server(struct run *run)
{
	while (!atomic_load(&run->stage.board->up)) {
		if (!is_alive(run) || wait_until(&run->wait, clock_now() + NS_PER_MS) == WAIT_SIGNAL)
			return false;
	}
	return true;
}

static bool open_market(struct run *run)
{
	const struct book_options *options = run->options;
	if (options->recording)
		return !market_read(&run->market, options->recording);
	market_open(&run->market, options->seed, options->books ? options->books : BOOKS);
	return true;
}

int book_run(const struct book_options *options)
{
	static struct run run;
	int status = EXIT_FAILED, code = wait_open(&run.wait);
	if (code)
		return command_failed("signals: %s", strerror(-code));
	run.options = options;
	if (!open_market(&run))
		return EXIT_FAILED;
	uint64_t usual = options->recording ? run.market.recorded_count : UPDATES;
	run.stage = (struct stage){
		.market = &run.market,
		.updates_max = options->updates ? options->updates : usual,
		.rate = options->rate < 0 ? RATE : options->rate,
		.log_size = options->log_size,
		.hostile = options->hostile,
	};
	if (stage_open(&run.stage))
		return EXIT_FAILED;
	run.crowd = (struct crowd){
		.market = &run.market,
		.board = run.stage.board,
		.reader_count = options->readers,
		.hostile = options->hostile,
		.seed = options->seed,
	};
	fprintf(stderr, "seed %" PRIu64 "\n", options->seed);
	run.begin_ns = clock_now();
	if (!stage_start(&run.stage) && await_server(&run) && !crowd_open(&run.crowd)) {
		if (serve(&run))
			status = show_end(&run);
		crowd_close(&run.crowd);
	}
	stage_close(&run.stage);
	market_close(&run.market);
	wait_close(&run.wait);
	return status;
}
