/* SPDX-License-Identifier: MIT
 *
 * expiry.c - see expiry.h.
 */
#include "expiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "log.h"
#include "ringcast_stats.h"
#include "wait.h"

#define DAY_S 86400

static void write_date(int64_t seconds, char to[static 32])
{
	time_t time = (time_t)seconds;
	struct tm parts;
	gmtime_r(&time, &parts);
	strftime(to, 32, "%F %R UTC", &parts);
}

/* Returns an enum log_level, or -1: there is nothing to say. */
static int judge(const struct rc_certificate *certificate, int64_t now_s, char *words, size_t room)
{
	char date[32];
	int64_t left_s = certificate->ends_s - now_s;
	write_date(certificate->ends_s, date);
	if (left_s <= 0) {
		snprintf(words, room,
		         "the certificate '%s' has expired, on %s: clients refuse it; put a new one in its place",
		         certificate->file, date);
		return LEVEL_ERROR;
	}
	if (certificate->begins_s > now_s) {
		write_date(certificate->begins_s, date);
		snprintf(words, room,
		         "the certificate '%s' is not valid before %s: clients refuse it, unless the clock "
		         "here is wrong",
		         certificate->file, date);
		return LEVEL_ERROR;
	}
	if (left_s >= EXPIRY_SOON_DAYS * DAY_S)
		return -1;
	snprintf(words, room, "the certificate '%s' expires in %lld days, on %s", certificate->file,
	         (long long)(left_s / DAY_S), date);
	return LEVEL_WARNING;
}

unsigned expiry_look(rc_server *server, void (*say)(int level, const char *words))
{
	struct rc_certificate *shown = calloc(RC_TLS_PAIRS_MAX, sizeof *shown);
	size_t count = shown ? rc_certificates(server, shown, RC_TLS_PAIRS_MAX) : 0;
	unsigned said = 0;
	for (size_t i = 0; i < count; i++) {
		char words[512];
		int level = judge(&shown[i], (int64_t)time(NULL), words, sizeof words);
		if (level < 0)
			continue;
		say(level, words);
		said++;
	}
	free(shown);
	return said;
}

static void say_in_log(int level, const char *words)
{
	log_say((enum log_level)level, "certificate", NULL, "%s", words);
}

void expiry_warn(rc_server *server)
{
	expiry_look(server, say_in_log);
}

void expiry_warn_daily(rc_server *server, uint64_t *next_ns)
{
	uint64_t now_ns = clock_now();
	if (now_ns < *next_ns)
		return;
	*next_ns = now_ns + DAY_S * NS_PER_SECOND;
	expiry_warn(server);
}
