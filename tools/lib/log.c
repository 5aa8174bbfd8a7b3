/* SPDX-License-Identifier: MIT
 *
 * log.c - see log.h. A line is made whole and written by one call, so that lines of several threads never mix.
 */
#include "log.h"

#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "quote.h"
#include "wait.h"

#define WORDS_MAX 1024

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double tokens; /* lines that may be written now */
static uint64_t filled_ns;
static unsigned rate, suppressed;
static bool expected; /* a flag or the environment says which format */
static _Atomic int level_min = LEVEL_INFO, as_json;
static _Atomic uint64_t left_out;

void log_setup(const struct log_settings *settings)
{
	pthread_mutex_lock(&lock);
	rate = settings->rate;
	tokens = rate;
	filled_ns = clock_now();
	pthread_mutex_unlock(&lock);
	atomic_store(&level_min, settings->level);
	atomic_store(&as_json, settings->format);
}

bool log_is_json(void)
{
	return atomic_load(&as_json) != 0;
}

void log_file_wants_json(bool json)
{
	if (!expected)
		atomic_store(&as_json, json);
}

void log_expect_json(int argc, char **argv, bool environment)
{
	static const char flag[] = "--log-format";
	const size_t size = sizeof flag - 1;
	const char *word = environment ? getenv("RINGCAST_LOG_FORMAT") : NULL;
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], flag) == 0 && i + 1 < argc)
			word = argv[++i];
		else if (strncmp(argv[i], flag, size) == 0 && argv[i][size] == '=')
			word = argv[i] + size + 1;
	}
	expected = word;
	if (word)
		atomic_store(&as_json, strcmp(word, "json") == 0);
}

/* False: over the rate. *missed is how many lines were left out before this one. */
static bool may_say(unsigned *missed)
{
	pthread_mutex_lock(&lock);
	uint64_t now_ns = clock_now();
	tokens += (double)(now_ns - filled_ns) / 1e9 * rate;
	filled_ns = now_ns;
	if (tokens > rate)
		tokens = rate;
	bool may = !rate || tokens >= 1;
	tokens -= may ? 1 : 0;
	*missed = may ? suppressed : 0;
	suppressed = may ? 0 : suppressed + 1;
	pthread_mutex_unlock(&lock);
	if (!may)
		atomic_fetch_add(&left_out, 1);
	return may;
}

uint64_t log_left_out(void)
{
	return atomic_load(&left_out);
}

bool log_write(int fd, const char *line, unsigned size)
{
	struct pollfd polled = { .fd = fd, .events = POLLOUT };
	bool taken = poll(&polled, 1, 0) == 1 && (polled.revents & POLLOUT) && write(fd, line, size) >= 0;
	if (!taken)
		atomic_fetch_add(&left_out, 1);
	return taken;
}

static void write_line(FILE *to, const char *level, const char *event, const char *who, const char *words)
{
	struct timespec now;
	struct tm parts;
	char time[40];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t size = strftime(time, sizeof time, "%FT%T", &parts);
	snprintf(time + size, sizeof time - size, ".%03ldZ", now.tv_nsec / 1000000);
	if (!log_is_json()) {
		fprintf(to, "%s %s %s%s%s: %s\n", time, level, event, who ? " " : "", who ? who : "", words);
		return;
	}
	fprintf(to, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", time, level, event);
	if (who)
		fprintf(to, ",\"client\":\"%s\"", who);
	fputs(",\"message\":", to);
	quote_json(to, words);
	fputs("}\n", to);
}

/* A stranger's words may hold anything, but must not begin a line. */
static void tame(char *words)
{
	for (; *words; words++)
		if ((unsigned char)*words < ' ' || *words == 0x7f)
			*words = '?';
}

static void write_all(int fd, const char *bytes, size_t size)
{
	ssize_t written = write(fd, bytes, size);
	(void)written;
}

void log_say(enum log_level level, const char *event, const char *who, const char *format, ...)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };
	char words[WORDS_MAX], *bytes = NULL;
	size_t size = 0;
	unsigned missed;
	if ((int)level < atomic_load(&level_min) || !may_say(&missed))
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	tame(words);
	FILE *to = open_memstream(&bytes, &size);
	if (!to)
		return;
	if (missed) {
		char count[64];
		snprintf(count, sizeof count, "%u lines were left out", missed);
		write_line(to, names[LEVEL_WARNING], "suppressed", NULL, count);
	}
	write_line(to, names[level], event, who, words);
	if (fclose(to) == 0)
		write_all(STDERR_FILENO, bytes, size);
	free(bytes);
}

void log_print(const char *event, const char *format, ...)
{
	char words[WORDS_MAX];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	flockfile(stdout);
	if (log_is_json()) {
		tame(words);
		write_line(stdout, "info", event, NULL, words);
	} else {
		printf("%s\n", words);
	}
	fflush(stdout);
	funlockfile(stdout);
}
