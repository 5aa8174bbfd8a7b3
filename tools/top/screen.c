/* SPDX-License-Identifier: MIT
 *
 * screen.c - see screen.h. A rate is the difference of two looks.
 */
#include "screen.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/units.h"
#include "lib/wait.h"

#define ROWS_MAX 64
#define ROWS_DEFAULT 24
#define SHOWN_SIZE 33 /* of a topic's name */
#define LABEL_SIZE 25 /* of a node's name, where each has a line */

static const char bar[] = "########################";

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
static double rate(const struct screen *screen, const json_t *now, const json_t *before, const char *name)
{
	double grown = figure(now, name) - figure(before, name);
	return before && grown > 0 && screen->seconds > 0 ? grown / screen->seconds : 0;
}

static const json_t *totals(const json_t *look)
{
	return json_object_get(look, "total");
}

/* What a server says, for a terminal: no byte of it may be a command. */
static char *shown_in(const char *words, char *out, size_t size)
{
	snprintf(out, size, "%s", words);
	for (char *at = out; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return out;
}

static char *shown(const char *name, char out[SHOWN_SIZE])
{
	return shown_in(name, out, SHOWN_SIZE);
}

struct words {
	char text[8][UNITS_SIZE];
};

static void print_line(const struct screen *screen)
{
	const json_t *now = totals(screen->now), *before = totals(screen->before);
	struct words w = { 0 };
	printf(
	    "%.0f connections  published %s/s  delivered %s/s  sent %s/s  lag %s  behind %.0f  dropped %s/s  CPU %.1f "
	    "%%\n",
	    figure(now, "connections"), units_format_count(w.text[0], rate(screen, now, before, "published")),
	    units_format_count(w.text[1],
	                       rate(screen, now, before, "deliveries") + rate(screen, now, before, "messages_sent")),
	    units_format_size(w.text[2], (uint64_t)rate(screen, now, before, "bytes_sent")),
	    units_format_time(w.text[3], (uint64_t)figure(now, "lag_ns")), figure(now, "behind"),
	    units_format_count(w.text[4],
	                       rate(screen, now, before, "dropped") + rate(screen, now, before, "conflated")),
	    100 * rate(screen, screen->now, screen->before, "cpu_seconds"));
}

static void print_totals(const struct screen *screen)
{
	const json_t *now = totals(screen->now), *before = totals(screen->before);
	struct words w = { 0 };
	char version[SHOWN_SIZE], name[300];
	snprintf(name, sizeof name, "%s", screen->nodes->source.place.name);
	if (screen->node_count > 1)
		snprintf(name, sizeof name, "%u nodes", screen->node_count);
	printf("ringcast %s%sat %s   CPU %.1f %%   lag %s\n", shown(words_of(screen->now, "version"), version),
	       *version ? " " : "", name, 100 * rate(screen, screen->now, screen->before, "cpu_seconds"),
	       units_format_time(w.text[0], (uint64_t)figure(now, "lag_ns")));
	printf("connections  %.0f open, %s/s in, %s/s out, %.0f refused; %.0f subscriptions to %.0f topics\n",
	       figure(now, "connections"), units_format_count(w.text[0], rate(screen, now, before, "accepted")),
	       units_format_count(w.text[1], rate(screen, now, before, "closed")), figure(now, "refused"),
	       figure(now, "subscriptions"), figure(now, "topics"));
	printf("messages     published %s/s (%s/s), delivered %s/s, echoed and others %s/s, received %s/s\n",
	       units_format_count(w.text[0], rate(screen, now, before, "published")),
	       units_format_size(w.text[1], (uint64_t)rate(screen, now, before, "published_size")),
	       units_format_count(w.text[2], rate(screen, now, before, "deliveries")),
	       units_format_count(w.text[3], rate(screen, now, before, "messages_sent")),
	       units_format_count(w.text[4], rate(screen, now, before, "messages_received")));
	printf("slow         %.0f behind now; %s/s dropped, %s/s conflated, %.0f closed\n", figure(now, "behind"),
	       units_format_count(w.text[0], rate(screen, now, before, "dropped")),
	       units_format_count(w.text[1], rate(screen, now, before, "conflated")), figure(now, "slow_closed"));
	printf("log          %.0f messages", figure(now, "log_head") - figure(now, "log_oldest"));
	if (screen->node_count == 1)
		printf(", %.0f to %.0f", figure(now, "log_oldest"), figure(now, "log_head"));
	putchar('\n');
}

/* Of a server that is one of several nodes. */
static void print_backplane(const struct screen *screen)
{
	const json_t *now = json_object_get(screen->now, "backplane"),
		     *before = json_object_get(screen->before, "backplane");
	struct words w = { 0 };
	char engine[SHOWN_SIZE], why[160];
	if (!now)
		return;
	shown(words_of(now, "engine"), engine);
	if (!json_is_true(json_object_get(now, "up")))
		printf("backplane    %s, degraded: %s\n", engine, shown_in(words_of(now, "why"), why, sizeof why));
	else
		printf("backplane    %s, whole: lag %s, sent %s/s, received %s/s, %.0f waiting; %.0f reconnects, %.0f "
		       "repairs\n",
		       engine, units_format_time(w.text[0], (uint64_t)(figure(now, "lag_seconds") * 1e9)),
		       units_format_count(w.text[1], rate(screen, now, before, "sent")),
		       units_format_count(w.text[2], rate(screen, now, before, "received")), figure(now, "queue"),
		       figure(now, "reconnects"), figure(now, "repairs"));
}

static const json_t *peers_of(const json_t *look)
{
	return json_object_get(json_object_get(look, "app"), "nodes");
}

/* What a node did a second, by its own clock; its figures are as old as it says. */
static double rate_of_peer(const json_t *now, const json_t *all_before, const char *name)
{
	for (size_t index = 0; index < json_array_size(all_before); index++) {
		const json_t *before = json_array_get(all_before, index);
		double seconds = figure(now, "uptime") - figure(before, "uptime");
		if (!strcmp(words_of(now, "node"), words_of(before, "node")) && seconds > 0)
			return (figure(now, name) - figure(before, name)) / seconds;
	}
	return 0;
}

/* All nodes, as the one that is asked knows them. */
static void print_peers(const struct screen *screen)
{
	const json_t *all = peers_of(screen->now), *before = peers_of(screen->before);
	if (json_array_size(all))
		printf("\n%-*s %11s %11s %11s %11s %9s\n", LABEL_SIZE - 1, "node", "clients", "users", "in/s", "out/s",
		       "lag");
	for (size_t index = 0; index < json_array_size(all) && index < ROWS_MAX; index++) {
		const json_t *now = json_array_get(all, index), *backplane = json_object_get(now, "backplane");
		struct words w = { 0 };
		char name[LABEL_SIZE];
		shown_in(words_of(now, backplane ? "name" : "node"), name, sizeof name);
		if (!backplane)
			printf("%-*s has said nothing yet\n", LABEL_SIZE - 1, name);
		else
			printf("%-*s %11.0f %11.0f %11s %11s %9s\n", LABEL_SIZE - 1, name,
			       figure(now, "connectedClients"), figure(now, "users"),
			       units_format_count(w.text[0], rate_of_peer(now, before, "messagesReceived")),
			       units_format_count(w.text[1], rate_of_peer(now, before, "messagesSent")),
			       units_format_time(w.text[2], (uint64_t)(figure(backplane, "lagMs") * 1e6)));
	}
}

/* What one of several nodes says; it has no other looks than its own. */
static struct screen of_node(const struct screen *screen, const struct node *node)
{
	return (struct screen){
		.before = node->before, .now = node->now, .seconds = screen->seconds, .nodes = node, .node_count = 1
	};
}

void screen_print_line(const struct screen *screen)
{
	if (screen->node_count > 1)
		printf("%-*s ", LABEL_SIZE - 1, "all");
	print_line(screen);
	for (unsigned index = 0; screen->node_count > 1 && index < screen->node_count; index++) {
		const struct node *node = &screen->nodes[index];
		const struct screen one = of_node(screen, node);
		printf("%-*s ", LABEL_SIZE - 1, node->source.place.name);
		if (node->before)
			print_line(&one);
		else
			printf("%s\n", node->now ? "answers again" : node->source.words);
	}
}

static void print_nodes(const struct screen *screen)
{
	printf("\n%-*s %11s %11s %11s %11s %9s %7s %9s\n", LABEL_SIZE - 1, "node", "connections", "published/s",
	       "delivered/s", "sent/s", "lag", "CPU %", "behind");
	for (unsigned index = 0; index < screen->node_count; index++) {
		const struct node *node = &screen->nodes[index];
		const json_t *now = totals(node->now), *before = totals(node->before);
		struct words w = { 0 };
		if (!node->before) {
			printf("%-*.*s %s\n", LABEL_SIZE - 1, LABEL_SIZE - 1, node->source.place.name,
			       node->now ? "answers again" : node->source.words);
			continue;
		}
		printf("%-*.*s %11.0f %11s %11s %11s %9s %7.1f %9.0f\n", LABEL_SIZE - 1, LABEL_SIZE - 1,
		       node->source.place.name, figure(now, "connections"),
		       units_format_count(w.text[0], rate(screen, now, before, "published")),
		       units_format_count(w.text[1], rate(screen, now, before, "deliveries")),
		       units_format_size(w.text[2], (uint64_t)rate(screen, now, before, "bytes_sent")),
		       units_format_time(w.text[3], (uint64_t)figure(now, "lag_ns")),
		       100 * rate(screen, node->now, node->before, "cpu_seconds"), figure(now, "behind"));
	}
}

static void print_workers(const struct screen *screen, size_t rows)
{
	const json_t *all = json_object_get(screen->now, "workers"),
		     *all_before = json_object_get(screen->before, "workers");
	printf("\n%-8s %11s %11s %11s %10s %10s %9s %9s\n", "worker", "connections", "delivered/s", "sent/s", "sends/s",
	       "short/s", "ticks/s", "behind");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *now = json_array_get(all, index), *before = json_array_get(all_before, index);
		struct words w = { 0 };
		printf("%-8zu %11.0f %11s %11s %10s %10s %9s %9.0f\n", index, figure(now, "connections"),
		       units_format_count(w.text[0], rate(screen, now, before, "deliveries")),
		       units_format_size(w.text[1], (uint64_t)rate(screen, now, before, "bytes_sent")),
		       units_format_count(w.text[2], rate(screen, now, before, "sends")),
		       units_format_count(w.text[3], rate(screen, now, before, "sends_short")),
		       units_format_count(w.text[4], rate(screen, now, before, "ticks")), figure(now, "behind"));
	}
	if (json_array_size(all) > rows)
		printf("and %zu more\n", json_array_size(all) - rows);
}

/* The same topic in the look before. */
static const json_t *topic_before(const struct screen *screen, const char *name)
{
	const json_t *all = json_object_get(screen->before, "topics");
	for (size_t index = 0; index < json_array_size(all); index++)
		if (!strcmp(words_of(json_array_get(all, index), "name"), name))
			return json_array_get(all, index);
	return NULL;
}

static void print_topics(const struct screen *screen, size_t rows)
{
	const json_t *all = json_object_get(screen->now, "topics");
	printf("\n%-32s %11s %11s %11s %11s\n", "topic", "subscribers", "published/s", "delivered/s", "left out/s");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *now = json_array_get(all, index), *before = topic_before(screen, words_of(now, "name"));
		char name[SHOWN_SIZE];
		struct words w = { 0 };
		printf("%-32s %11.0f %11s %11s %11s\n", shown(words_of(now, "name"), name), figure(now, "subscribers"),
		       units_format_count(w.text[0], rate(screen, now, before, "sequence")),
		       units_format_count(w.text[1], rate(screen, now, before, "deliveries")),
		       units_format_count(w.text[2], rate(screen, now, before, "dropped") +
		                                         rate(screen, now, before, "conflated")));
	}
}

/* How old the oldest message is that waits for those who are behind. */
static void print_lag(const struct screen *screen)
{
	const json_t *ages = json_object_get(screen->now, "behind_by_age_ms");
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

static void print_slowest(const struct screen *screen, size_t rows)
{
	const json_t *all = json_object_get(screen->now, "slowest");
	if (json_array_size(all))
		printf("\n%-18s %12s %12s  %s\n", "slowest", "waits since", "messages", "topic");
	for (size_t index = 0; index < json_array_size(all) && index < rows; index++) {
		const json_t *one = json_array_get(all, index);
		char name[SHOWN_SIZE], connection[SHOWN_SIZE], lag[UNITS_SIZE];
		printf("%-18.18s %12s %12.0f  %s\n", shown(words_of(one, "connection"), connection),
		       units_format_time(lag, (uint64_t)figure(one, "lag_ns")), figure(one, "lag_messages"),
		       shown(words_of(one, "topic"), name));
	}
}

void screen_print(const struct screen *screen)
{
	struct winsize size = { .ws_row = 0 };
	size_t rows = ROWS_DEFAULT;
	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		rows = size.ws_row;
	/* Workers, topics and the slowest share what is left. */
	size_t part = rows > 30 ? (rows - 22) / 3 : 4;
	part = part < ROWS_MAX ? part : ROWS_MAX;
	fputs("\033[H\033[J", stdout);
	print_totals(screen);
	print_backplane(screen);
	print_peers(screen);
	if (screen->node_count > 1)
		print_nodes(screen);
	else
		print_workers(screen, part);
	print_topics(screen, part);
	print_lag(screen);
	print_slowest(screen, part);
}
