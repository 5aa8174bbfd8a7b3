/* SPDX-License-Identifier: MIT
 *
 * profile.c - see profile.h. A timer of processor time interrupts whoever runs, and the handler notes where. The file
 * has the format of gperftools: words of a header, one sample after the other, and the mapped files.
 *
 * Where the files really lie in memory is nobody's business: each gets a place by its number, and so do the samples.
 */
#include "profile.h"

#include <errno.h>
#include <inttypes.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

#include "wait.h"

#define PERIOD_US 10000
#define SAMPLES_MAX 65536
#define MODULES_MAX 32
#define MODULE_ROOM 36 /* bits of addresses that each mapped file has for itself */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Made with the first profile, and kept: the handler may come late. 0: its place was taken, and nothing stands there
 * yet.
 */
static _Atomic uintptr_t *samples;
static _Atomic unsigned sample_count;
static _Atomic uint64_t ends_ns; /* 0: there was no profile yet */

static uintptr_t place_of(const ucontext_t *context)
{
#if defined(__x86_64__)
	return (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return (uintptr_t)context->uc_mcontext.pc;
#else
	(void)context;
	return 0;
#endif
}

static void set_timer(long period_us)
{
	const struct itimerval timer = { { 0, period_us }, { 0, period_us } };
	setitimer(ITIMER_PROF, &timer, NULL);
}

static void take_sample(int number, siginfo_t *info, void *context)
{
	int before = errno;
	(void)number, (void)info;
	if (clock_now() >= atomic_load(&ends_ns)) {
		set_timer(0);
	} else {
		unsigned at = atomic_fetch_add(&sample_count, 1);
		if (at < SAMPLES_MAX)
			atomic_store_explicit(&samples[at], place_of(context), memory_order_relaxed);
	}
	errno = before;
}

/* ---- the file ---- */

struct modules {
	struct {
		uintptr_t base, begin, end, offset;
		const char *name;
	} items[MODULES_MAX];
	unsigned count;
};

static int add_module(struct dl_phdr_info *info, size_t size, void *context)
{
	struct modules *modules = context;
	(void)size;
	for (unsigned i = 0; i < info->dlpi_phnum && modules->count < MODULES_MAX; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
			continue;
		modules->items[modules->count].base = info->dlpi_addr;
		modules->items[modules->count].begin = part->p_vaddr;
		modules->items[modules->count].end = part->p_vaddr + part->p_memsz;
		modules->items[modules->count].offset = part->p_offset;
		modules->items[modules->count++].name = *info->dlpi_name ? info->dlpi_name : program_invocation_name;
	}
	return 0;
}

static uint64_t shown_place(const struct modules *modules, uintptr_t place)
{
	for (unsigned i = 0; i < modules->count; i++) {
		uintptr_t inside = place - modules->items[i].base;
		if (inside >= modules->items[i].begin && inside < modules->items[i].end)
			return ((uint64_t)i + 1) << MODULE_ROOM | inside;
	}
	return 1; /* the kernel's page, or nowhere */
}

static void put_words(FILE *to, unsigned count, const uint64_t *words)
{
	fwrite(words, sizeof *words, count, to);
}

static void write_profile(FILE *to)
{
	struct modules modules = { .count = 0 };
	unsigned count = atomic_load(&sample_count);
	dl_iterate_phdr(add_module, &modules);
	put_words(to, 5, (const uint64_t[]){ 0, 3, 0, PERIOD_US, 0 });
	for (unsigned i = 0; i < count && i < SAMPLES_MAX; i++) {
		uintptr_t place = atomic_load_explicit(&samples[i], memory_order_relaxed);
		if (place)
			put_words(to, 3, (const uint64_t[]){ 1, 1, shown_place(&modules, place) });
	}
	put_words(to, 3, (const uint64_t[]){ 0, 1, 0 });
	for (unsigned i = 0; i < modules.count; i++) {
		uint64_t base = ((uint64_t)i + 1) << MODULE_ROOM;
		fprintf(to, "%012" PRIx64 "-%012" PRIx64 " r-xp %08" PRIx64 " 00:00 0 %s\n",
		        base + modules.items[i].begin, base + modules.items[i].end, (uint64_t)modules.items[i].offset,
		        modules.items[i].name);
	}
}

/* ---- the answers ---- */

static int say(rc_request *request, int status, const char *words)
{
	return rc_request_respond(request, status, "text/plain", words, strlen(words)) ? 503 : 0;
}

static bool prepare(void)
{
	const struct sigaction action = { .sa_sigaction = take_sample, .sa_flags = SA_SIGINFO | SA_RESTART };
	if (!samples)
		samples = calloc(SAMPLES_MAX, sizeof *samples);
	return samples && sigaction(SIGPROF, &action, NULL) == 0;
}

static int begin(rc_request *request, const char *text)
{
	char *end, words[96];
	unsigned long seconds = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || !seconds || seconds > PROFILE_SECONDS_MAX)
		return say(request, 400, "expected seconds=1 to 60\n");
	if (!prepare())
		return 503;
	for (unsigned i = 0; i < SAMPLES_MAX; i++)
		atomic_store_explicit(&samples[i], 0, memory_order_relaxed);
	atomic_store(&sample_count, 0);
	atomic_store(&ends_ns, clock_now() + seconds * NS_PER_SECOND);
	set_timer(PERIOD_US);
	snprintf(words, sizeof words, "begun: in %lu s, /profile without seconds has it\n", seconds);
	return say(request, 202, words);
}

static int hand_out(rc_request *request)
{
	char *body = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&body, &size);
	if (!to)
		return 503;
	write_profile(to);
	int code = fclose(to);
	if (!code)
		code = rc_request_respond(request, 200, "application/octet-stream", body, size);
	free(body);
	return code ? 503 : 0;
}

int profile_answer(rc_request *request)
{
	const char *seconds = rc_request_query(request, "seconds");
	int status;
	pthread_mutex_lock(&lock);
	uint64_t until_ns = atomic_load(&ends_ns);
	if (clock_now() < until_ns) {
		rc_request_add_header(request, "Retry-After", "1");
		status = say(request, 503, "a profile is being made: ask again when it is done\n");
	} else if (seconds) {
		status = begin(request, seconds);
	} else {
		status = until_ns ? hand_out(request) : say(request, 404, "begin one: /profile?seconds=10\n");
	}
	pthread_mutex_unlock(&lock);
	return status;
}
