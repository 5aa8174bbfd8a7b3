/* SPDX-License-Identifier: MIT
 *
 * main.c - runs of the simulator, one a seed. The seed is printed first when one fails, and it is all that is needed to
 * see the same run again.
 */
#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

struct sim sim;
uint64_t sim_struck[FAULT_COUNT];
const char *const sim_fault_names[FAULT_COUNT] = {
	"short send",
	"one-byte receive",
	"would block",
	"multishot ended with data",
	"multishot ended alone",
	"no buffers",
	"cancelled",
	"reset",
	"accept EMFILE",
	"accept ENFILE",
	"accept ENOMEM",
	"queue full",
	"overflow",
	"few completions",
	"late start",
	"late completion",
	"late cancel",
	"writable too early",
	"woken too early",
	"slot used again at once",
	"peer unknown",
	"allocation",
	"clock jump",
	"preempted",
	"connect refused",
	"connect hangs",
	"name not found",
	"name found late",
	"zero copy failed",
	"zero copy copied",
	"zero copy released late",
	"zero copy not released",
	"no kernel TLS",
	"keys refused",
	"compressed message",
	"message of a cohort",
	"message sent compressed",
	"wrong compressed message",
	"TLS record",
	"TLS key update",
	"wrong TLS record",
	"server-sent event",
	"kernel TLS",
	"memory is short",
	"connected again",
	"given up",
	"another address",
	"a placed receive",
	"a state",
	"a resync",
	"the newest of each key",
	"a heartbeat",
	"a message numbered elsewhere",
	"another epoch",
};

static void on_signal(int number)
{
	static const char wrong[] = ": an assertion or a wrong access in the production code\n";
	static const char endless[] = ": the run comes to no end\n";
	const char *after = number == SIGPROF ? endless : wrong;
	size_t after_size = strlen(after);
	char text[128] = "\nseed ", digits[24];
	unsigned count = 0, at = 6;
	uint64_t seed = sim.seed;
	do
		digits[count++] = (char)('0' + seed % 10);
	while (seed /= 10);
	while (count)
		text[at++] = digits[--count];
	memcpy(text + at, after, after_size);
	ssize_t written = write(2, text, at + after_size);
	(void)written;
	signal(number, SIG_DFL);
	raise(number);
}

/* Processor time does not depend on what else runs. A run takes some 10 ms of it, with a sanitizer 100. */
static void limit_run(void)
{
	const struct itimerval limit = { .it_value.tv_sec = 20 };
	setitimer(ITIMER_PROF, &limit, NULL);
}

struct options {
	uint64_t count, from;
	bool quiet, hashes, all_kinds;
};

static int use(void)
{
	fprintf(stderr, "usage: sim [--seeds N] [--from S] [--verbose] [--quiet] [--hashes] [--every-fault]\n"
	                "  --hashes       a line for each seed: the seed and the hash of its run\n"
	                "  --every-fault  fails when a kind of fault never struck\n");
	return 2;
}

static bool parse(struct options *options, int count, char **arguments)
{
	for (int i = 1; i < count; i++) {
		const char *name = arguments[i];
		if (strcmp(name, "--verbose") == 0)
			sim.verbose = true;
		else if (strcmp(name, "--quiet") == 0)
			options->quiet = true;
		else if (strcmp(name, "--hashes") == 0)
			options->hashes = true;
		else if (strcmp(name, "--every-fault") == 0)
			options->all_kinds = true;
		else if (strcmp(name, "--seeds") == 0 && i + 1 < count)
			options->count = strtoull(arguments[++i], NULL, 10);
		else if (strcmp(name, "--from") == 0 && i + 1 < count)
			options->from = strtoull(arguments[++i], NULL, 10);
		else
			return false;
	}
	return true;
}

static int say_struck(const struct options *options)
{
	int missing = 0;
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		if (!options->quiet)
			printf("%12llu %s\n", (unsigned long long)sim_struck[i], sim_fault_names[i]);
		if (sim_struck[i] || !options->all_kinds)
			continue;
		fprintf(stderr, "fault '%s' never struck\n", sim_fault_names[i]);
		missing = 1;
	}
	return missing;
}

int main(int count, char **arguments)
{
	struct options options = { .count = 100, .from = 1 };
	if (!parse(&options, count, arguments))
		return use();
	signal(SIGABRT, on_signal);
	signal(SIGSEGV, on_signal);
	signal(SIGBUS, on_signal);
	signal(SIGPROF, on_signal);
	bool progress = !options.quiet && isatty(1);
	for (uint64_t i = 0; i < options.count; i++) {
		limit_run();
		uint64_t hash = run_seed(options.from + i);
		if (options.hashes)
			printf("%llu %016llx\n", (unsigned long long)(options.from + i), (unsigned long long)hash);
		if (progress && i % 20 == 0) {
			printf("\r%llu of %llu seeds", (unsigned long long)i, (unsigned long long)options.count);
			fflush(stdout);
		}
	}
	if (progress)
		printf("\r");
	if (!options.quiet)
		printf("%llu seeds from %llu: all well\n", (unsigned long long)options.count,
		       (unsigned long long)options.from);
	return options.hashes ? 0 : say_struck(&options);
}
