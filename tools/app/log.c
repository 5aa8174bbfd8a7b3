/* SPDX-License-Identifier: MIT
 *
 * log.c - see log.h. A line is made whole and written by one call, so that lines of several threads never mix.
 */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bucket.h"
#include "lib/wait.h"
#include "out.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct app_bucket bucket;
static unsigned rate, suppressed;
static _Atomic int level_min = APP_LOG_INFO, as_json;

void app_log_setup(const struct app_settings *settings)
{
	pthread_mutex_lock(&lock);
	rate = settings->log_rate;
	bucket = app_bucket_full(rate, clock_now());
	pthread_mutex_unlock(&lock);
	atomic_store(&level_min, settings->log_level);
	atomic_store(&as_json, settings->log_format);
}

/* False: over the rate. *missed is how many lines were left out before this one. */
static bool may_say(unsigned *missed)
{
	pthread_mutex_lock(&lock);
	bool may = app_bucket_take(&bucket, 1, rate, rate, clock_now());
	*missed = may ? suppressed : 0;
	suppressed = may ? 0 : suppressed + 1;
	pthread_mutex_unlock(&lock);
	return may;
}

static void write_line(struct app_out *out, const char *level, const char *event, const char *who, const char *words)
{
	struct timespec now;
	struct tm parts;
	char time[40];
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &parts);
	size_t size = strftime(time, sizeof time, "%FT%T", &parts);
	snprintf(time + size, sizeof time - size, ".%03ldZ", now.tv_nsec / 1000000);
	if (!atomic_load(&as_json)) {
		app_out_format(out, "%s %s %s%s%s: %s\n", time, level, event, who ? " " : "", who ? who : "", words);
		return;
	}
	app_out_format(out, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", time, level, event);
	if (who)
		app_out_format(out, ",\"client\":\"%s\"", who);
	app_out_text(out, ",\"message\":");
	app_out_string(out, words, strlen(words));
	app_out_text(out, "}\n");
}

void app_log_say(enum app_log_level level, const char *event, const char *who, const char *format, ...)
{
	static const char *const names[] = { "debug", "info", "warning", "error" };
	struct app_out out = { 0 };
	char words[1024];
	unsigned missed;
	if ((int)level < atomic_load(&level_min) || !may_say(&missed))
		return;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	/* A stranger's words may hold anything, but must not begin a line. */
	for (char *at = words; *at; at++)
		if ((unsigned char)*at < ' ')
			*at = '?';
	if (missed) {
		char count[64];
		snprintf(count, sizeof count, "%u lines were left out", missed);
		write_line(&out, names[APP_LOG_WARNING], "suppressed", NULL, count);
	}
	write_line(&out, names[level], event, who, words);
	ssize_t written = out.failed ? 0 : write(STDERR_FILENO, out.bytes, out.size);
	(void)written;
	app_out_free(&out);
}
