/* SPDX-License-Identifier: MIT
 *
 * stats.c - see stats.h. metrics.c has the same figures under the names that Prometheus wants.
 */
#include "stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "quote.h"
#include "ringcast_ingest.h"
#include "ringcast_latency.h"
#include "ringcast_stats.h"

#define TOPICS_SHOWN 32

struct figure {
	const char *name;
	size_t offset;
	bool server; /* of the whole server: a worker has no share of it */
};

#define FIGURE(field, server)                                                                                          \
	{                                                                                                              \
#field, offsetof(struct rc_stats, field), server                                                       \
	}

static const struct figure figures[] = {
	FIGURE(connections, false),
	FIGURE(accepted, false),
	FIGURE(connected, false),
	FIGURE(refused, false),
	FIGURE(handshakes_failed, false),
	FIGURE(http_requests, false),
	FIGURE(closed, false),
	FIGURE(closed_abnormal, false),
	FIGURE(protocol_errors, false),
	FIGURE(timeouts, false),
	FIGURE(messages_received, false),
	FIGURE(bytes_received, false),
	FIGURE(messages_sent, false),
	FIGURE(deliveries, false),
	FIGURE(bytes_sent, false),
	FIGURE(dropped, false),
	FIGURE(conflated, false),
	FIGURE(memory_held, false),
	FIGURE(memory_closed, false),
	FIGURE(slow_closed, false),
	FIGURE(compressed, false),
	FIGURE(compressed_from, false),
	FIGURE(compressed_to, false),
	FIGURE(encoded, false),
	FIGURE(encoded_size, false),
	FIGURE(inflated, false),
	FIGURE(sends, false),
	FIGURE(sends_short, false),
	FIGURE(sends_zero_copy, false),
	FIGURE(zero_copies_copied, false),
	FIGURE(receive_starved, false),
	FIGURE(ticks, false),
	FIGURE(tls_handshakes, false),
	FIGURE(tls_resumed, false),
	FIGURE(tls_failed, false),
	FIGURE(tls_errors, false),
	FIGURE(tls_kernel, false),
	FIGURE(tls_truncated, false),
	FIGURE(subscriptions, false),
	FIGURE(behind, false),
	FIGURE(resyncs, false),
	FIGURE(published, true),
	FIGURE(published_size, true),
	FIGURE(publish_refused, true),
	FIGURE(topics, true),
	FIGURE(keys, true),
	FIGURE(state_size, true),
	FIGURE(state_sent_size, true),
	FIGURE(state_dropped, true),
	FIGURE(log_oldest, true),
	FIGURE(log_head, true),
	FIGURE(lag_ns, true),
};
#define FIGURE_COUNT (sizeof figures / sizeof *figures)

static uint64_t value_of(const struct figure *figure, const void *stats)
{
	uint64_t value;
	memcpy(&value, (const char *)stats + figure->offset, sizeof value);
	return value;
}

/* Processor time of this process, in seconds. */
static double cpu_seconds(void)
{
	struct timespec used = { 0 };
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void write_object(FILE *to, const struct rc_stats *stats, bool worker)
{
	const char *before = "{";
	for (size_t index = 0; index < FIGURE_COUNT; index++) {
		if (worker && figures[index].server)
			continue;
		fprintf(to, "%s\"%s\":%" PRIu64, before, figures[index].name, value_of(&figures[index], stats));
		before = ",";
	}
	putc('}', to);
}

static void write_topics(FILE *to, rc_server *server)
{
	struct rc_topic_stats *topics = calloc(TOPICS_SHOWN, sizeof *topics);
	size_t count = topics ? rc_topics_top(server, topics, TOPICS_SHOWN) : 0;
	for (size_t index = 0; index < count; index++) {
		const struct rc_topic_stats *topic = &topics[index];
		fputs(index ? ",\n{\"name\":" : "\n{\"name\":", to);
		quote_json(to, topic->name);
		fprintf(to,
		        ",\"sequence\":%" PRIu64 ",\"oldest\":%" PRIu64 ",\"subscribers\":%" PRIu64
		        ",\"deliveries\":%" PRIu64 ",\"dropped\":%" PRIu64 ",\"conflated\":%" PRIu64
		        ",\"slow_closed\":%" PRIu64 "}",
		        topic->sequence, topic->oldest, topic->subscribers, topic->deliveries, topic->dropped,
		        topic->conflated, topic->slow_closed);
	}
	free(topics);
}

static void write_lag(FILE *to, rc_server *server)
{
	struct rc_lag_stats *lag = malloc(sizeof *lag);
	if (!lag)
		return;
	rc_lag_stats(server, lag);
	for (size_t age = 0; age < RC_LAG_AGES; age++)
		fprintf(to, "%s%" PRIu64, age ? "," : "\"behind_by_age_ms\":[", lag->ages[age]);
	fputs("],\n\"slowest\":[", to);
	for (size_t index = 0; index < lag->slowest_count; index++) {
		fprintf(to,
		        "%s{\"connection\":\"%016" PRIx64 "\",\"lag_ns\":%" PRIu64 ",\"lag_messages\":%" PRIu64
		        ",\"topic\":",
		        index ? ",\n" : "\n", lag->slowest[index].conn, lag->slowest[index].lag_ns,
		        lag->slowest[index].lag_messages);
		quote_json(to, lag->slowest[index].topic);
		putc('}', to);
	}
	fputs("],\n", to);
	free(lag);
}

static const struct figure producer_figures[] = {
	{ "producers", offsetof(struct rc_producer_stats, producers), true },
	{ "producers_accepted", offsetof(struct rc_producer_stats, accepted), true },
	{ "producers_refused", offsetof(struct rc_producer_stats, refused), true },
	{ "producers_cut", offsetof(struct rc_producer_stats, cut), true },
	{ "producer_topics_refused", offsetof(struct rc_producer_stats, topics_refused), true },
	{ "producer_records", offsetof(struct rc_producer_stats, records), true },
	{ "producer_bytes", offsetof(struct rc_producer_stats, bytes), true },
	{ "producer_records_refused", offsetof(struct rc_producer_stats, records_refused), true },
	{ "producer_held", offsetof(struct rc_producer_stats, held), true },
};
#define PRODUCER_FIGURE_COUNT (sizeof producer_figures / sizeof *producer_figures)

static void write_producers(FILE *to, rc_server *server)
{
	struct rc_producer_stats stats;
	rc_producer_stats(server, &stats);
	for (size_t index = 0; index < PRODUCER_FIGURE_COUNT; index++)
		fprintf(to, "%s\"%s\":%" PRIu64, index ? "," : "\"producers\":{", producer_figures[index].name,
		        value_of(&producer_figures[index], &stats));
	fputs("},\n", to);
}

const char *stats_ring_name(rc_server *server)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.ring == RC_RING_EPOLL ? "epoll" : "io_uring";
}

void stats_write(FILE *to, rc_server *server, const struct health *health, void (*more)(void *context, FILE *to),
                 void *context)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	fprintf(to, "{\"version\":\"%s\",\"ring\":\"%s\",\"cpu_seconds\":%.3f,\n\"total\":", rc_version(),
	        stats_ring_name(server), cpu_seconds());
	write_object(to, &stats, false);
	fputs(",\n\"workers\":[", to);
	for (unsigned worker = 0; !rc_worker_stats(server, worker, &stats); worker++) {
		fputs(worker ? ",\n" : "\n", to);
		write_object(to, &stats, true);
	}
	fputs("],\n", to);
	write_producers(to, server);
	write_lag(to, server);
	for (unsigned i = 0; i < health->part_count; i++) {
		if (!health->parts[i]->write_json)
			continue;
		health->parts[i]->write_json(health->parts[i]->context, to);
		fputs(",\n", to);
	}
	if (more)
		more(context, to);
	fputs("\"topics\":[", to);
	write_topics(to, server);
	fputs("]}\n", to);
}
