/* SPDX-License-Identifier: MIT
 *
 * top.c - `ringcast top`: a running server on one screen, from its /stats alone. Each look is a text; a rate is the
 * difference of two. On a terminal the screen is drawn anew, elsewhere each look is a line.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"
#include "json.h"
#include "top_source.h"
#include "units.h"
#include "wait.h"

#define ROWS_MAX 64
#define BAR 24

static int run(int argc, char **argv);

const struct rc_command rc_command_top = {
	.name = "top",
	.summary = "watch a running server",
	.usage = "[options] URL|PID",
	.about = "Shows what a server does, from its page /stats: connections, rates, how far subscribers are behind,\n"
		 "workers, the topics with the most subscribers and the slowest subscribers. URL is ws://HOST:PORT or\n"
		 "ws+unix:/SOCKET:, PID a process on this machine. On a terminal the screen is drawn anew, and Ctrl-C ends\n"
		 "it; into a file or a pipe each look is a line.",
	.examples = "  ringcast top ws://127.0.0.1:8080\n"
		    "  ringcast top $(pidof ringcast)\n"
		    "  ringcast top --count 60 --plain ws://127.0.0.1:8080 >figures.txt",
	.run = run,
};

struct top {
	struct rc_top_source source;
	struct rc_wait wait;
	char *before, *now; /* the last two texts */
	double seconds;     /* between them */
	unsigned rows;      /* of the screen */
	bool plain;
};

static double figure(const char *object, const char *name) { return rc_json_number(rc_json_member(object, name)); }

/* Of a counter: how much it grew a second. A server that was begun anew counts from 0. */
static double rate(const struct top *top, const char *now, const char *before, const char *name)
{
	double grown = figure(now, name) - figure(before, name);
	return before && grown > 0 && top->seconds > 0 ? grown / top->seconds : 0;
}

static const char *totals(const char *text) { return rc_json_member(text, "total"); }

struct words {
	char text[8][RC_UNITS_SIZE];
};

static void print_line(const struct top *top)
{
	const char *now = totals(top->now), *before = totals(top->before);
	struct words w;
	printf("%.0f connections  published %s/s  delivered %s/s  sent %s/s  lag %s  behind %.0f  dropped %s/s  CPU %.1f %%\n",
	       figure(now, "connections"), rc_format_count(w.text[0], rate(top, now, before, "published")),
	       rc_format_count(w.text[1], rate(top, now, before, "deliveries") + rate(top, now, before, "messages_sent")),
	       rc_format_size(w.text[2], (uint64_t)rate(top, now, before, "bytes_sent")),
	       rc_format_time(w.text[3], (uint64_t)figure(now, "lag_ns")), figure(now, "behind"),
	       rc_format_count(w.text[4], rate(top, now, before, "dropped") + rate(top, now, before, "conflated")),
	       100 * rate(top, top->now, top->before, "cpu_seconds"));
}

static void print_totals(const struct top *top)
{
	const char *now = totals(top->now), *before = totals(top->before);
	struct words w;
	char version[32];
	printf("ringcast %s at %s   CPU %.1f %%   lag %s\n", rc_json_text(rc_json_member(top->now, "version"), version, 32),
	       top->source.name, 100 * rate(top, top->now, top->before, "cpu_seconds"),
	       rc_format_time(w.text[0], (uint64_t)figure(now, "lag_ns")));
	printf("connections  %.0f open, %s/s in, %s/s out, %.0f refused; %.0f subscriptions to %.0f topics\n",
	       figure(now, "connections"), rc_format_count(w.text[0], rate(top, now, before, "accepted")),
	       rc_format_count(w.text[1], rate(top, now, before, "closed")), figure(now, "refused"),
	       figure(now, "subscriptions"), figure(now, "topics"));
	printf("messages     published %s/s (%s/s), delivered %s/s, echoed and others %s/s, received %s/s\n",
	       rc_format_count(w.text[0], rate(top, now, before, "published")),
	       rc_format_size(w.text[1], (uint64_t)rate(top, now, before, "published_size")),
	       rc_format_count(w.text[2], rate(top, now, before, "deliveries")),
	       rc_format_count(w.text[3], rate(top, now, before, "messages_sent")),
	       rc_format_count(w.text[4], rate(top, now, before, "messages_received")));
	printf("slow         %.0f behind now; %s/s dropped, %s/s conflated, %.0f closed\n", figure(now, "behind"),
	       rc_format_count(w.text[0], rate(top, now, before, "dropped")),
	       rc_format_count(w.text[1], rate(top, now, before, "conflated")), figure(now, "slow_closed"));
	printf("log          %.0f messages, %.0f to %.0f\n", figure(now, "log_head") - figure(now, "log_oldest"),
	       figure(now, "log_oldest"), figure(now, "log_head"));
}

static void print_workers(const struct top *top, unsigned rows)
{
	const char *now = rc_json_first(rc_json_member(top->now, "workers"));
	const char *before = rc_json_first(rc_json_member(top->before, "workers"));
	printf("\n%-8s %11s %11s %11s %10s %10s %9s %9s\n", "worker", "connections", "delivered/s", "sent/s", "sends/s",
	       "short/s", "ticks/s", "behind");
	for (unsigned index = 0; now && index < rows; index++) {
		struct words w;
		printf("%-8u %11.0f %11s %11s %10s %10s %9s %9.0f\n", index, figure(now, "connections"),
		       rc_format_count(w.text[0], rate(top, now, before, "deliveries")),
		       rc_format_size(w.text[1], (uint64_t)rate(top, now, before, "bytes_sent")),
		       rc_format_count(w.text[2], rate(top, now, before, "sends")),
		       rc_format_count(w.text[3], rate(top, now, before, "sends_short")),
		       rc_format_count(w.text[4], rate(top, now, before, "ticks")), figure(now, "behind"));
		now = rc_json_next(now);
		before = rc_json_next(before);
	}
	unsigned more = 0;
	for (; now; now = rc_json_next(now))
		more++;
	if (more)
		printf("and %u more\n", more);
}

/* The same topic in the look before. */
static const char *topic_before(const struct top *top, const char *name)
{
	char other[256];
	for (const char *at = rc_json_first(rc_json_member(top->before, "topics")); at; at = rc_json_next(at))
		if (!strcmp(rc_json_text(rc_json_member(at, "name"), other, sizeof other), name))
			return at;
	return NULL;
}

/* What comes over the wire may not reach the terminal as a command. */
static char *shown(const char *value, char out[256])
{
	rc_json_text(value, out, 256);
	for (char *at = out; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return out;
}

static void print_topics(const struct top *top, unsigned rows)
{
	printf("\n%-32s %11s %11s %11s %11s\n", "topic", "subscribers", "published/s", "delivered/s", "left out/s");
	const char *at = rc_json_first(rc_json_member(top->now, "topics"));
	for (unsigned index = 0; at && index < rows; index++, at = rc_json_next(at)) {
		char name[256], words[256];
		struct words w;
		const char *before = topic_before(top, rc_json_text(rc_json_member(at, "name"), name, sizeof name));
		printf("%-32.32s %11.0f %11s %11s %11s\n", shown(rc_json_member(at, "name"), words), figure(at, "subscribers"),
		       rc_format_count(w.text[0], rate(top, at, before, "sequence")),
		       rc_format_count(w.text[1], rate(top, at, before, "deliveries")),
		       rc_format_count(w.text[2], rate(top, at, before, "dropped") + rate(top, at, before, "conflated")));
	}
}

/* How old the oldest message is that waits for those who are behind. */
static void print_lag(const struct top *top)
{
	double most = 0;
	unsigned count = 0, first = 0, last = 0;
	for (const char *at = rc_json_first(rc_json_member(top->now, "behind_by_age_ms")); at; at = rc_json_next(at)) {
		most = rc_json_number(at) > most ? rc_json_number(at) : most;
		count++;
		last = rc_json_number(at) > 0 ? count : last;
		first += !last;
	}
	if (most <= 0)
		return;
	printf("\nbehind by\n");
	const char *at = rc_json_first(rc_json_member(top->now, "behind_by_age_ms"));
	for (unsigned index = 0; at && index < last; index++, at = rc_json_next(at)) {
		char bound[RC_UNITS_SIZE], edge[RC_UNITS_SIZE + 2];
		bool open = index + 1 == count;
		if (index < first)
			continue;
		rc_format_time(bound, RC_NS_PER_MS << (open ? index - 1 : index));
		snprintf(edge, sizeof edge, "%s%s", open ? ">=" : "<", bound);
		int length = (int)(rc_json_number(at) / most * BAR + 0.99);
		printf("  %10s %8.0f %.*s\n", edge, rc_json_number(at), length, "########################");
	}
}

static void print_slowest(const struct top *top, unsigned rows)
{
	const char *at = rc_json_first(rc_json_member(top->now, "slowest"));
	if (!at)
		return;
	printf("\n%-18s %12s %12s  %s\n", "slowest", "waits since", "messages", "topic");
	for (unsigned index = 0; at && index < rows; index++, at = rc_json_next(at)) {
		char name[256], conn[24], lag[RC_UNITS_SIZE];
		printf("%-18s %12s %12.0f  %.32s\n", rc_json_text(rc_json_member(at, "connection"), conn, sizeof conn),
		       rc_format_time(lag, (uint64_t)figure(at, "lag_ns")), figure(at, "lag_messages"),
		       shown(rc_json_member(at, "topic"), name));
	}
}

static void print_screen(struct top *top)
{
	struct winsize size = { 0 };
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		top->rows = size.ws_row;
	unsigned part = top->rows > 30 ? (top->rows - 22) / 3 : 4; /* workers, topics and the slowest share what is left */
	part = part < ROWS_MAX ? part : ROWS_MAX;
	fputs("\033[H\033[J", stdout);
	print_totals(top);
	print_workers(top, part);
	print_topics(top, part);
	print_lag(top);
	print_slowest(top, part);
}

/* Another look. Returns whether the server answered. */
static bool look(struct top *top, uint64_t *taken_ns)
{
	char *text = rc_top_fetch(&top->source);
	if (!text || !totals(text)) {
		free(text);
		return false;
	}
	uint64_t now = rc_clock_now();
	free(top->before);
	top->before = top->now;
	top->now = text;
	top->seconds = (double)(now - *taken_ns) / 1e9;
	*taken_ns = now;
	return true;
}

static int watch(struct top *top, uint64_t interval_ns, uint64_t count)
{
	uint64_t taken_ns = 0, next = rc_clock_now();
	for (uint64_t shown_count = 0; look(top, &taken_ns);) {
		if (top->before) {
			if (top->plain)
				print_line(top);
			else
				print_screen(top);
			if (fflush(stdout))
				return RC_EXIT_OK; /* nobody reads any more */
			if (++shown_count == count)
				return RC_EXIT_OK;
		}
		next += interval_ns;
		if (rc_wait_until(&top->wait, next) == RC_WAIT_SIGNAL)
			return RC_EXIT_OK;
	}
	return rc_failed("%s: no answer to /stats", top->source.name);
}

static int run(int argc, char **argv)
{
	static struct top top;
	uint64_t interval_ns = RC_NS_PER_SECOND, count = 0;
	const struct rc_option options[] = {
		{ "interval", RC_OPTION_NS, &interval_ns, "TIME", "between two looks (1s)" },
		{ "count", RC_OPTION_COUNT64, &count, "N", "end after so many (0: never)" },
		{ "plain", RC_OPTION_FLAG, &top.plain, NULL, "a line a look, on a terminal too" },
		{ 0 },
	};
	int operand;
	int status = rc_options_parse(&rc_command_top, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand != 1)
		return rc_options_wrong(&rc_command_top, "expected one URL or process id");
	if (!interval_ns)
		return rc_options_wrong(&rc_command_top, "--interval: expected more than 0");
	if (rc_top_find(&top.source, argv[operand]))
		return rc_failed("%s", top.source.name);
	int code = rc_wait_open(&top.wait);
	if (code)
		return rc_failed("signals: %s", strerror(-code));
	top.plain |= !isatty(STDOUT_FILENO);
	top.rows = 24;
	status = watch(&top, interval_ns, count);
	free(top.before);
	free(top.now);
	rc_wait_close(&top.wait);
	return status;
}
