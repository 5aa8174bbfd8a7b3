/* SPDX-License-Identifier: MIT
 *
 * http.c - see http.h. One table names each figure once; JSON and Prometheus are two ways to walk over it.
 */
#include "http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "quote.h"
#include "ringcast_ingest.h"
#include "ringcast_stats.h"

#define TOPICS_SHOWN 32

struct figure {
	const char *name;
	size_t offset;
	bool now;    /* goes up and down */
	bool server; /* of the whole server: a worker has no share of it */
	const char *help;
};

#define FIGURE(field, now, server, help)                                                                               \
	{                                                                                                              \
#field, offsetof(struct rc_stats, field), now, server, help                                            \
	}

static const struct figure figures[] = {
	FIGURE(connections, true, false, "Connections open now, handshakes included."),
	FIGURE(accepted, false, false, "Connections accepted."),
	FIGURE(connected, false, false, "Connections made in the client role."),
	FIGURE(refused, false, false, "Connections refused at the accept."),
	FIGURE(handshakes_failed, false, false, "Opening requests that were wrong or too slow."),
	FIGURE(http_requests, false, false, "Plain HTTP requests."),
	FIGURE(closed, false, false, "Open connections that ended."),
	FIGURE(closed_abnormal, false, false, "Of those, without a closing handshake."),
	FIGURE(protocol_errors, false, false, "Connections closed with 1002, 1007 or 1009."),
	FIGURE(timeouts, false, false, "Handshake, idle and close time-outs."),
	FIGURE(messages_received, false, false, "Messages received."),
	FIGURE(bytes_received, false, false, "Bytes received."),
	FIGURE(messages_sent, false, false, "Messages sent to single connections."),
	FIGURE(deliveries, false, false, "Deliveries of topics' messages: one for each message and subscriber."),
	FIGURE(bytes_sent, false, false, "Bytes sent."),
	FIGURE(dropped, false, false, "Messages skipped for slow subscribers."),
	FIGURE(conflated, false, false, "Messages conflated away for slow subscribers."),
	FIGURE(memory_held, true, false, "Bytes kept for connections outside the log."),
	FIGURE(memory_closed, false, false, "Connections closed because memory was short."),
	FIGURE(slow_closed, false, false, "Subscribers closed because they were too slow."),
	FIGURE(compressed, false, false, "Messages compressed: once for each window size or cohort."),
	FIGURE(compressed_from, false, false, "Their bytes before compression."),
	FIGURE(compressed_to, false, false, "Their bytes after compression."),
	FIGURE(encoded, false, false, "Messages written as events or in a form, each once for all readers."),
	FIGURE(encoded_size, false, false, "The bytes that they became."),
	FIGURE(inflated, false, false, "Messages received compressed."),
	FIGURE(sends, false, false, "Sends submitted."),
	FIGURE(sends_short, false, false, "Sends that came back short or would have blocked."),
	FIGURE(sends_zero_copy, false, false, "Sends that asked for zero copy."),
	FIGURE(zero_copies_copied, false, false, "Of those, copied by the kernel after all."),
	FIGURE(receive_starved, false, false, "Receives that found no buffer free."),
	FIGURE(ticks, false, false, "Rounds of the workers."),
	FIGURE(tls_handshakes, false, false, "TLS handshakes done."),
	FIGURE(tls_resumed, false, false, "Of those, resumed by a ticket."),
	FIGURE(tls_failed, false, false, "TLS handshakes that failed."),
	FIGURE(tls_errors, false, false, "Connections ended by wrong TLS records."),
	FIGURE(tls_kernel, false, false, "TLS handshakes after which the kernel makes the records."),
	FIGURE(tls_truncated, false, false, "TLS connections that the peer ended without a close_notify."),
	FIGURE(subscriptions, true, false, "Subscriptions now."),
	FIGURE(behind, true, false, "Subscribers behind now."),
	FIGURE(resyncs, false, false, "Subscribers that were overrun and went on from the state."),
	FIGURE(published, false, true, "Messages published."),
	FIGURE(published_size, false, true, "Bytes published."),
	FIGURE(publish_refused, false, true, "Publishes refused because a worker was a whole log behind."),
	FIGURE(topics, true, true, "Topics now."),
	FIGURE(keys, true, true, "Keys now, of all topics."),
	FIGURE(state_size, true, true, "Bytes of keys' values that are kept though the log let go of them."),
	FIGURE(state_sent_size, true, true, "Bytes of states as readers are being sent them."),
	FIGURE(state_dropped, false, true, "Values of keys that were dropped for want of room."),
	FIGURE(log_oldest, true, true, "Number of the oldest message in the log."),
	FIGURE(log_head, true, true, "Number of the next message."),
	FIGURE(lag_ns, true, true, "Age of the oldest message that some worker has not yet sent, in nanoseconds."),
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
	{ "producers", offsetof(struct rc_producer_stats, producers), true, true, "Producers connected now." },
	{ "producers_accepted", offsetof(struct rc_producer_stats, accepted), false, true, "Producers let in." },
	{ "producers_refused", offsetof(struct rc_producer_stats, refused), false, true, "Producers turned away." },
	{ "producers_cut", offsetof(struct rc_producer_stats, cut), false, true,
	  "Producers let go because their ring made no sense." },
	{ "producer_topics_refused", offsetof(struct rc_producer_stats, topics_refused), false, true,
	  "Topics that producers were not given." },
	{ "producer_records", offsetof(struct rc_producer_stats, records), false, true, "Messages of producers." },
	{ "producer_bytes", offsetof(struct rc_producer_stats, bytes), false, true, "Their bytes." },
	{ "producer_records_refused", offsetof(struct rc_producer_stats, records_refused), false, true,
	  "Messages of producers that could not be published." },
	{ "producer_held", offsetof(struct rc_producer_stats, held), false, true,
	  "Times that a producer had to wait because the log had no room." },
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

const char *http_ring_name(rc_server *server)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	return stats.ring == RC_RING_EPOLL ? "epoll" : "io_uring";
}

static void write_stats(FILE *to, rc_server *server)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	fprintf(to, "{\"version\":\"%s\",\"ring\":\"%s\",\"cpu_seconds\":%.3f,\n\"total\":", rc_version(),
	        http_ring_name(server), cpu_seconds());
	write_object(to, &stats, false);
	fputs(",\n\"workers\":[", to);
	for (unsigned worker = 0; !rc_worker_stats(server, worker, &stats); worker++) {
		fputs(worker ? ",\n" : "\n", to);
		write_object(to, &stats, true);
	}
	fputs("],\n", to);
	write_producers(to, server);
	write_lag(to, server);
	fputs("\"topics\":[", to);
	write_topics(to, server);
	fputs("]}\n", to);
}

static void write_producer_metrics(FILE *to, rc_server *server)
{
	struct rc_producer_stats stats;
	rc_producer_stats(server, &stats);
	for (size_t index = 0; index < PRODUCER_FIGURE_COUNT; index++) {
		const struct figure *figure = &producer_figures[index];
		const char *suffix = figure->now ? "" : "_total";
		fprintf(to, "# HELP ringcast_%s%s %s\n# TYPE ringcast_%s%s %s\nringcast_%s%s %" PRIu64 "\n",
		        figure->name, suffix, figure->help, figure->name, suffix, figure->now ? "gauge" : "counter",
		        figure->name, suffix, value_of(figure, &stats));
	}
}

static void write_metrics(FILE *to, rc_server *server)
{
	unsigned worker_count = rc_server_worker_count(server);
	struct rc_stats *stats = calloc(worker_count + 1, sizeof *stats);
	if (!stats)
		return;
	for (unsigned worker = 0; worker < worker_count; worker++)
		rc_worker_stats(server, worker, &stats[worker]);
	rc_server_stats(server, &stats[worker_count]);
	for (size_t index = 0; index < FIGURE_COUNT; index++) {
		const struct figure *figure = &figures[index];
		const char *suffix = figure->now ? "" : "_total";
		fprintf(to, "# HELP ringcast_%s%s %s\n# TYPE ringcast_%s%s %s\n", figure->name, suffix, figure->help,
		        figure->name, suffix, figure->now ? "gauge" : "counter");
		for (unsigned worker = 0; worker < worker_count && !figure->server; worker++)
			fprintf(to, "ringcast_%s%s{worker=\"%u\"} %" PRIu64 "\n", figure->name, suffix, worker,
			        value_of(figure, &stats[worker]));
		if (figure->server)
			fprintf(to, "ringcast_%s%s %" PRIu64 "\n", figure->name, suffix,
			        value_of(figure, &stats[worker_count]));
	}
	write_producer_metrics(to, server);
	fprintf(to,
	        "# HELP process_cpu_seconds_total Processor time used.\n# TYPE process_cpu_seconds_total counter\n"
	        "process_cpu_seconds_total %.3f\n"
	        "# HELP ringcast_ring_info What the workers run on.\n# TYPE ringcast_ring_info gauge\n"
	        "ringcast_ring_info{ring=\"%s\"} 1\n",
	        cpu_seconds(), http_ring_name(server));
	free(stats);
}

static int answer_with(rc_request *request, void (*write)(FILE *, rc_server *), const char *content_type)
{
	char *body = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&body, &size);
	if (!to)
		return 503;
	write(to, rc_request_server(request));
	int code = fclose(to);
	if (!code)
		code = rc_request_respond(request, 200, content_type, body, size);
	free(body);
	return code ? 503 : 0;
}

int http_answer(rc_request *request)
{
	const char *path = rc_request_path(request);
	if (!strcmp(path, "/healthz"))
		return rc_request_respond(request, 200, "text/plain", "ok\n", 3) ? 503 : 0;
	if (!strcmp(path, "/stats"))
		return answer_with(request, write_stats, "application/json");
	if (!strcmp(path, "/metrics"))
		return answer_with(request, write_metrics, "text/plain; version=0.0.4");
	return -1;
}
