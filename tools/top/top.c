/* SPDX-License-Identifier: MIT
 *
 * top.c - `ringcast top`: a running server on one screen, from its /stats alone. Each look is a text; a rate is the
 * difference of two. On a terminal the screen is drawn anew, elsewhere each look is a line.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"
#include "lib/keys.h"
#include "lib/units.h"
#include "lib/wait.h"
#include "source.h"

#define ROWS_MAX 64
#define SHOWN_SIZE 33 /* of a topic's name */

static const char bar[] = "########################";

static int run(int argc, char **argv);

const struct subcommand command_top = {
	.name = "top",
	.summary = "watch a running server",
	.usage = "[options] URL|PID",
	.about =
	    "Shows what a server does, from its page /stats: connections, rates, how far subscribers are behind,\n"
	    "workers, the topics with the most subscribers and the slowest subscribers. URL is ws://HOST:PORT or\n"
	    "ws+unix:/SOCKET:, PID a process on this machine. On a terminal the screen is drawn anew, and Ctrl-C ends\n"
	    "it; into a file or a pipe each look is a line.",
	.examples = "  ringcast top ws://127.0.0.1:8080\n"
		    "  ringcast top $(pidof ringcast)\n"
		    "  ringcast top --count 60 --plain ws://127.0.0.1:8080 >figures.txt",
	.run = run,
};

struct top {
	struct top_source source;
	struct wait wait;
	json_t *before, *now; /* the last two looks */
	double seconds;       /* between them */
	unsigned rows;        /* of the screen */
	bool plain;
};

/* A member that is missing, or of another type, reads as 0 or "". */
static double figure(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

static const char *words_of(const json_t *object, const char *name)
{
	const char *words = json_string_value(json_object_get(object, name));
	return words ? words : "";
}

/* How much a counter grew a second. A server that was restarted counts from 0. */
static double rate(const struct top *top, const json_t *now, const json_t *before, const char *name)
{
	double grown = figure(now, name) - figure(before, name);
	return before && grown > 0 && top->seconds > 0 ? grown / top->seconds : 0;
}

static const json_t *totals(const json_t *look)
{
	return json_object_get(look, "total");
}

struct words {
	char text[8][UNITS_SIZE];
};

static void print_line(const struct top *top)
{
	const json_t *now = totals(top->now), *before = totals(top->before);
	struct words w = { 0 };
	printf(
	    "%.0f connections  published %s/s  delivered %s/s  sent %s/s  lag %s  behind %.0f  dropped %s/s  CPU %.1f "
	    "%%\n",
	    figure(now, "connections"), units_format_count(w.text[0], rate(top, now, before, "published")),
	    units_format_count(w.text[1],
	                       rate(top, now, before, "deliveries") + rate(top, now, before, "messages_sent")),
	    units_format_size(w.text[2], (uint64_t)rate(top, now, before, "bytes_sent")),
	    units_format_time(w.text[3], (uint64_t)figure(now, "lag_ns")), figure(now, "behind"),
	    units_format_count(w.text[4], rate(top, now, before, "dropped") + rate(top, now, before, "conflated")),
	    100 * rate(top, top->now, top->before, "cpu_seconds"));
}

static void print_totals(const struct top *top)
{
	const json_t *now = totals(top->now), *before = totals(top->before);
	struct words w = { 0 };
	printf("ringcast %s at %s   CPU %.1f %%   lag %s\n", words_of(top->now, "version"), top->source.name,
	       100 * rate(top, top->now, top->before, "cpu_seconds"),
	       units_format_time(w.text[0], (uint64_t)figure(now, "lag_ns")));
	printf("connections  %.0f open, %s/s in, %s/s out, %.0f refused; %.0f subscriptions to %.0f topics\n",
	       figure(now, "connections"), units_format_count(w.text[0], rate(top, now, before, "accepted")),
	       units_format_count(w.text[1], rate(top, now, before, "closed")), figure(now, "refused"),
	       figure(now, "subscriptions"), figure(now, "topics"));
	printf("messages     published %s/s (%s/s), delivered %s/s, echoed and others %s/s, received %s/s\n",
	       units_format_count(w.text[0], rate(top, now, before, "published")),
	       units_format_size(w.text[1], (uint64_t)rate(top, now, before, "published_size")),
	       units_format_count(w.text[2], rate(top, now, before, "deliveries")),
	       units_format_count(w.text[3], rate(top, now, before, "messages_sent")),
	       units_format_count(w.text[4], rate(top, now, before, "messages_received")));
	printf("slow         %.0f behind now; %s/s dropped, %s/s conflated, %.0f closed\n", figure(now, "behind"),
	       units_format_count(w.text[0], rate(top, now, before, "dropped")),
	       units_format_count(w.text[1], rate(top, now, before, "conflated")), figure(now, "slow_closed"));
	printf("log          %.0f messages, %.0f to %.0f\n", figure(now, "log_head") - figure(now, "log_oldest"),
	       figure(now, "log_oldest"), figure(now, "log_head"));
}

static void print_workers(const struct top *top, size_t rows)
{
	const json_t *all = json_object_get(top->now, "workers"), *all_before = json_object_get(top->before, "workers");
	printf("\n%-8s %11s %11s %11s %10s %10s %9s %9s\n", "worker", "connections", "delivered/s", "sent/s", "sends/s",
	       "short/s", "ticks/s", "behind");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *now = json_array_get(all, index), *before = json_array_get(all_before, index);
		struct words w = { 0 };
		printf("%-8zu %11.0f %11s %11s %10s %10s %9s %9.0f\n", index, figure(now, "connections"),
		       units_format_count(w.text[0], rate(top, now, before, "deliveries")),
		       units_format_size(w.text[1], (uint64_t)rate(top, now, before, "bytes_sent")),
		       units_format_count(w.text[2], rate(top, now, before, "sends")),
		       units_format_count(w.text[3], rate(top, now, before, "sends_short")),
		       units_format_count(w.text[4], rate(top, now, before, "ticks")), figure(now, "behind"));
	}
	if (json_array_size(all) > rows)
		printf("and %zu more\n", json_array_size(all) - rows);
}

/* The same topic in the look before. */
static const json_t *topic_before(const struct top *top, const char *name)
{
	const json_t *all = json_object_get(top->before, "topics");
	for (size_t index = 0; index < json_array_size(all); index++)
		if (!strcmp(words_of(json_array_get(all, index), "name"), name))
			return json_array_get(all, index);
	return NULL;
}

/* A topic's name for a terminal: no byte of it may be a command. */
static char *shown(const char *name, char out[SHOWN_SIZE])
{
	snprintf(out, SHOWN_SIZE, "%s", name);
	for (char *at = out; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return out;
}

static void print_topics(const struct top *top, size_t rows)
{
	const json_t *all = json_object_get(top->now, "topics");
	printf("\n%-32s %11s %11s %11s %11s\n", "topic", "subscribers", "published/s", "delivered/s", "left out/s");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *now = json_array_get(all, index), *before = topic_before(top, words_of(now, "name"));
		char name[SHOWN_SIZE];
		struct words w = { 0 };
		printf("%-32s %11.0f %11s %11s %11s\n", shown(words_of(now, "name"), name), figure(now, "subscribers"),
		       units_format_count(w.text[0], rate(top, now, before, "sequence")),
		       units_format_count(w.text[1], rate(top, now, before, "deliveries")),
		       units_format_count(w.text[2],
		                          rate(top, now, before, "dropped") + rate(top, now, before, "conflated")));
	}
}

/* How old the oldest message is that waits for those who are behind. */
static void print_lag(const struct top *top)
{
	const json_t *ages = json_object_get(top->now, "behind_by_age_ms");
	size_t count = json_array_size(ages), first = count, last = 0;
	double most = 0;
	for (size_t index = 0; index < count; index++) {
		double subscribers = json_number_value(json_array_get(ages, index));
		most = subscribers > most ? subscribers : most;
		if (subscribers > 0) {
			first = index < first ? index : first;
			last = index + 1;
		}
	}
	if (first < last)
		printf("\nbehind by\n");
	for (size_t index = first; index < last; index++) {
		double subscribers = json_number_value(json_array_get(ages, index));
		char bound[UNITS_SIZE], edge[UNITS_SIZE + 2];
		bool open = index && index + 1 == count;
		units_format_time(bound, NS_PER_MS << (open ? index - 1 : index));
		snprintf(edge, sizeof edge, "%s%s", open ? ">=" : "<", bound);
		printf("  %10s %8.0f %.*s\n", edge, subscribers, (int)(subscribers / most * (sizeof bar - 1) + 0.99),
		       bar);
	}
}

static void print_slowest(const struct top *top, size_t rows)
{
	const json_t *all = json_object_get(top->now, "slowest");
	if (json_array_size(all))
		printf("\n%-18s %12s %12s  %s\n", "slowest", "waits since", "messages", "topic");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *one = json_array_get(all, index);
		char name[SHOWN_SIZE], lag[UNITS_SIZE];
		printf("%-18.18s %12s %12.0f  %s\n", words_of(one, "connection"),
		       units_format_time(lag, (uint64_t)figure(one, "lag_ns")), figure(one, "lag_messages"),
		       shown(words_of(one, "topic"), name));
	}
}

static void print_screen(struct top *top)
{
	struct winsize size = { 0 };
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		top->rows = size.ws_row;
	size_t part = top->rows > 30 ? (top->rows - 22) / 3
	                             : 4; /* workers, topics and the slowest share what is left */
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
	char *text = top_fetch(&top->source);
	json_t *now_seen = text ? json_loads(text, 0, NULL) : NULL;
	uint64_t now = clock_now();
	free(text);
	if (!json_is_object(totals(now_seen))) {
		json_decref(now_seen);
		return false;
	}
	json_decref(top->before);
	top->before = top->now;
	top->now = now_seen;
	top->seconds = (double)(now - *taken_ns) / 1e9;
	*taken_ns = now;
	return true;
}

static int watch(struct top *top, uint64_t interval_ns, uint64_t count)
{
	uint64_t taken_ns = 0, next = clock_now();
	for (uint64_t shown_count = 0; look(top, &taken_ns);) {
		if (top->before) {
			if (top->plain)
				print_line(top);
			else
				print_screen(top);
			if (fflush(stdout))
				return EXIT_OK; /* nobody reads any more */
			if (++shown_count == count)
				return EXIT_OK;
		}
		next += interval_ns;
		if (wait_until(&top->wait, next) == WAIT_SIGNAL)
			return EXIT_OK;
	}
	return command_failed("%s: no answer to /stats", top->source.name);
}

static int run(int argc, char **argv)
{
	static struct top top;
	static struct keys keys;
	uint64_t interval_ns = NS_PER_SECOND, count = 0;
	const char *key_file = NULL;
	const struct option_entry options[] = {
		{ "interval", OPTION_NS, &interval_ns, "TIME", "time between two looks (1s)" },
		{ "count", OPTION_COUNT64, &count, "N", "end after so many looks (0: never)" },
		{ "key-file", OPTION_TEXT, &key_file, "FILE",
		  "the operator's key, for a server that wants one: the\nfirst line" },
		{ "plain", OPTION_FLAG, &top.plain, NULL, "print one line a look, on a terminal too" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_top, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand != 1)
		return options_wrong(&command_top, "expected one URL or process id");
	if (!interval_ns)
		return options_wrong(&command_top, "--interval: expected more than 0");
	if (key_file && !keys_read(&keys, key_file))
		return EXIT_FAILED;
	top.source.key = key_file ? keys.items[0] : NULL;
	if (top_find(&top.source, argv[operand]))
		return command_failed("%s", top.source.name);
	int code = wait_open(&top.wait);
	if (code)
		return command_failed("signals: %s", strerror(-code));
	top.plain |= !isatty(STDOUT_FILENO);
	top.rows = 24;
	status = watch(&top, interval_ns, count);
	json_decref(top.before);
	json_decref(top.now);
	wait_close(&top.wait);
	keys_free(&keys);
	return status;
}
