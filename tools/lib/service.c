/* SPDX-License-Identifier: MIT
 *
 * service.c - see service.h.
 */
#include "service.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "log.h"

void service_started(const char *format, ...)
{
	char words[256];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	sd_notifyf(0, "READY=1\nSTATUS=%s", words);
}

void service_reload_begin(struct service *service)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	service->parts_taken = service->parts_refused = 0;
	service->words[0] = 0;
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading",
	           (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

/* For the summary. */
static void add_words(struct service *service, const char *one, const char *other)
{
	size_t used = strlen(service->words);
	used += (size_t)snprintf(service->words + used, sizeof service->words - used, "%s", used ? ", " : "");
	if (used < sizeof service->words)
		snprintf(service->words + used, sizeof service->words - used, "%s%s", one, other);
}

void service_reload_part(struct service *service, bool taken, const char *part, const char *format, ...)
{
	char words[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	log_say(taken ? LEVEL_INFO : LEVEL_ERROR, "reload", NULL, "%s: %s: %s", part, taken ? "taken" : "refused",
	        words);
	if (taken)
		service->parts_taken++;
	else
		service->parts_refused++;
	add_words(service, part, taken ? " taken" : " refused");
}

void service_reload_note(struct service *service, const char *format, ...)
{
	char words[400];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof words, format, arguments);
	va_end(arguments);
	log_say(LEVEL_WARNING, "reload", NULL, "%s", words);
	add_words(service, words, "");
}

void service_reload_end(struct service *service)
{
	char date[32];
	time_t now = time(NULL);
	struct tm parts;
	gmtime_r(&now, &parts);
	strftime(date, sizeof date, "%FT%TZ", &parts);
	bool refused = service->parts_refused;
	const char *what = !refused               ? "reloaded"
	                   : service->parts_taken ? "reloaded in part"
	                                          : "not reloaded, all stays as it was";
	log_say(refused ? LEVEL_ERROR : LEVEL_INFO, "reload", NULL, "%s: %s", what, service->words);
	atomic_fetch_add(refused ? &service->refused : &service->taken, 1);
	atomic_store(&service->last_refused, refused);
	atomic_store(&service->reloaded_s, (int64_t)now);
	sd_notifyf(0, "READY=1\nSTATUS=%s at %s: %s", what, date, service->words);
}

void service_ending(const char *words)
{
	sd_notifyf(0, "STOPPING=1\nSTATUS=%s", words);
}
