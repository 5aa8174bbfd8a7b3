/* SPDX-License-Identifier: MIT
 *
 * metrics.c - see metrics.h. Each figure has one row in a table; http.c has the same figures as JSON.
 */
#include "metrics.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "process.h"
#include "ringcast_ingest.h"
#include "ringcast_stats.h"
#include "stats.h"

#define GAUGE "gauge"
#define COUNTER "counter"

struct row {
	const char *name, *type;
	size_t offset;
	const char *help;
};
#define ROW(name, type, field, help)                                                                                   \
	{                                                                                                              \
		name, type, offsetof(struct rc_stats, field), help                                                     \
	}

/* A value for each worker. */
static const struct row of_workers[] = {
	ROW("connections", GAUGE, connections, "Connections open now, handshakes included."),
	ROW("connections_accepted_total", COUNTER, accepted, "Connections accepted."),
	ROW("client_connections_total", COUNTER, connected, "Connections made in the client role."),
	ROW("connections_refused_total", COUNTER, refused, "Connections refused at the accept."),
	ROW("connections_closed_total", COUNTER, closed, "Open connections that ended."),
	ROW("connections_closed_abnormally_total", COUNTER, closed_abnormal, "Of those, without a closing handshake."),
	ROW("handshakes_failed_total", COUNTER, handshakes_failed, "Opening requests that were wrong or too slow."),
	ROW("http_requests_total", COUNTER, http_requests, "Plain HTTP requests."),
	ROW("protocol_errors_total", COUNTER, protocol_errors, "Connections closed with 1002, 1007 or 1009."),
	ROW("timeouts_total", COUNTER, timeouts, "Handshake, idle and close time-outs."),
	ROW("messages_received_total", COUNTER, messages_received, "Messages received."),
	ROW("received_bytes_total", COUNTER, bytes_received, "Bytes received."),
	ROW("messages_sent_total", COUNTER, messages_sent, "Messages sent to single connections."),
	ROW("deliveries_total", COUNTER, deliveries,
	    "Deliveries of topics' messages: one for each message and subscriber."),
	ROW("sent_bytes_total", COUNTER, bytes_sent, "Bytes sent."),
	ROW("messages_dropped_total", COUNTER, dropped, "Messages skipped for slow subscribers."),
	ROW("messages_conflated_total", COUNTER, conflated, "Messages conflated away for slow subscribers."),
	ROW("slow_closed_total", COUNTER, slow_closed, "Subscribers closed because they were too slow."),
	ROW("memory_held_bytes", GAUGE, memory_held, "What is kept for connections outside the log."),
	ROW("memory_closed_total", COUNTER, memory_closed, "Connections closed because memory was short."),
	ROW("messages_compressed_total", COUNTER, compressed,
	    "Messages compressed: once for each window size or cohort."),
	ROW("compression_input_bytes_total", COUNTER, compressed_from, "Their bytes before compression."),
	ROW("compression_output_bytes_total", COUNTER, compressed_to, "Their bytes after compression."),
	ROW("messages_encoded_total", COUNTER, encoded,
	    "Messages written as events or in a form, each once for all readers."),
	ROW("encoded_bytes_total", COUNTER, encoded_size, "The bytes that they became."),
	ROW("messages_inflated_total", COUNTER, inflated, "Messages received compressed."),
	ROW("sends_total", COUNTER, sends, "Sends submitted."),
	ROW("sends_short_total", COUNTER, sends_short, "Sends that came back short or would have blocked."),
	ROW("sends_zero_copy_total", COUNTER, sends_zero_copy, "Sends that asked for zero copy."),
	ROW("sends_zero_copy_copied_total", COUNTER, zero_copies_copied, "Of those, copied by the kernel after all."),
	ROW("receives_starved_total", COUNTER, receive_starved, "Receives that found no buffer free."),
	ROW("worker_rounds_total", COUNTER, ticks, "Rounds of the workers."),
	ROW("tls_handshakes_total", COUNTER, tls_handshakes, "TLS handshakes done."),
	ROW("tls_resumed_total", COUNTER, tls_resumed, "Of those, resumed by a ticket."),
	ROW("tls_kernel_total", COUNTER, tls_kernel, "Of those, after which the kernel makes the records."),
	ROW("tls_failed_total", COUNTER, tls_failed, "TLS handshakes that failed."),
	ROW("tls_errors_total", COUNTER, tls_errors, "Connections ended by wrong TLS records."),
	ROW("tls_truncated_total", COUNTER, tls_truncated,
	    "TLS connections that the peer ended without a close_notify."),
	ROW("subscriptions", GAUGE, subscriptions, "Subscriptions now."),
	ROW("subscribers_behind", GAUGE, behind, "Subscribers behind now."),
	ROW("resyncs_total", COUNTER, resyncs, "Subscribers that were overrun and went on from the state."),
};

/* A value for the whole server. */
static const struct row of_server[] = {
	ROW("messages_published_total", COUNTER, published, "Messages published."),
	ROW("published_bytes_total", COUNTER, published_size, "Bytes published."),
	ROW("publishes_refused_total", COUNTER, publish_refused,
	    "Publishes refused because a worker was a whole log behind."),
	ROW("topics", GAUGE, topics, "Topics now."),
	ROW("keys", GAUGE, keys, "Keys now, of all topics."),
	ROW("state_bytes", GAUGE, state_size, "Keys' values that are kept though the log let go of them."),
	ROW("state_sent_bytes", GAUGE, state_sent_size, "States as readers are being sent them."),
	ROW("state_dropped_total", COUNTER, state_dropped, "Values of keys that were dropped for want of room."),
	ROW("log_oldest_message", GAUGE, log_oldest, "Number of the oldest message in the log."),
	ROW("log_next_message", GAUGE, log_head, "Number of the next message."),
};

#define PRODUCER(name, type, field, help)                                                                              \
	{                                                                                                              \
		name, type, offsetof(struct rc_producer_stats, field), help                                            \
	}
static const struct row of_producers[] = {
	PRODUCER("producers", GAUGE, producers, "Producers connected now."),
	PRODUCER("producers_accepted_total", COUNTER, accepted, "Producers let in."),
	PRODUCER("producers_refused_total", COUNTER, refused, "Producers turned away."),
	PRODUCER("producers_cut_total", COUNTER, cut, "Producers let go because their ring made no sense."),
	PRODUCER("producer_topics_refused_total", COUNTER, topics_refused, "Topics that producers were not given."),
	PRODUCER("producer_records_total", COUNTER, records, "Messages of producers."),
	PRODUCER("producer_bytes_total", COUNTER, bytes, "Their bytes."),
	PRODUCER("producer_records_refused_total", COUNTER, records_refused,
	         "Messages of producers that could not be published."),
	PRODUCER("producer_held_total", COUNTER, held,
	         "Times that a producer had to wait because the log had no room."),
};

static uint64_t value_of(const struct row *row, const void *stats)
{
	uint64_t value;
	memcpy(&value, (const char *)stats + row->offset, sizeof value);
	return value;
}

void metrics_head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP ringcast_%s %s\n# TYPE ringcast_%s %s\n", name, help, name, type);
}

void metrics_value(FILE *to, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_head(to, name, type, help);
	fprintf(to, "ringcast_%s %" PRIu64 "\n", name, value);
}

void metrics_histogram(FILE *to, const char *name, const char *help, const uint64_t *counts, unsigned bucket_count,
                       double least, double sum)
{
	uint64_t count = 0;
	metrics_head(to, name, "histogram", help);
	for (unsigned i = 0; i < bucket_count; i++) {
		count += counts[i];
		if (i + 1 < bucket_count)
			fprintf(to, "ringcast_%s_bucket{le=\"%.10g\"} %" PRIu64 "\n", name,
			        (double)(UINT64_C(1) << i) * least, count);
	}
	fprintf(to,
	        "ringcast_%s_bucket{le=\"+Inf\"} %" PRIu64 "\nringcast_%s_sum %.9f\nringcast_%s_count %" PRIu64 "\n",
	        name, count, name, sum, name, count);
}

/* A label's value: what a backslash, a quote or a line end would break off is written with a backslash. */
static void write_label(FILE *to, const char *name, const char *value)
{
	fprintf(to, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '\n')
			fputs("\\n", to);
		else if (*value == '\\' || *value == '"')
			fprintf(to, "\\%c", *value);
		else
			putc(*value, to);
	}
	putc('"', to);
}

/* ---- the parts ---- */

static void write_server(FILE *to, rc_server *server)
{
	unsigned worker_count = rc_server_worker_count(server);
	struct rc_stats *stats = calloc(worker_count + 1, sizeof *stats);
	if (!stats)
		return;
	for (unsigned worker = 0; worker < worker_count; worker++)
		rc_worker_stats(server, worker, &stats[worker]);
	rc_server_stats(server, &stats[worker_count]);
	for (size_t i = 0; i < sizeof of_workers / sizeof *of_workers; i++) {
		const struct row *row = &of_workers[i];
		metrics_head(to, row->name, row->type, row->help);
		for (unsigned worker = 0; worker < worker_count; worker++)
			fprintf(to, "ringcast_%s{worker=\"%u\"} %" PRIu64 "\n", row->name, worker,
			        value_of(row, &stats[worker]));
	}
	for (size_t i = 0; i < sizeof of_server / sizeof *of_server; i++)
		metrics_value(to, of_server[i].name, of_server[i].type, of_server[i].help,
		              value_of(&of_server[i], &stats[worker_count]));
	metrics_head(to, "unsent_age_seconds", GAUGE, "Age of the oldest message that some worker has not yet sent.");
	fprintf(to, "ringcast_unsent_age_seconds %.9f\n", (double)stats[worker_count].lag_ns / 1e9);
	free(stats);
}

static void write_producers(FILE *to, rc_server *server)
{
	struct rc_producer_stats stats;
	rc_producer_stats(server, &stats);
	for (size_t i = 0; i < sizeof of_producers / sizeof *of_producers; i++)
		metrics_value(to, of_producers[i].name, of_producers[i].type, of_producers[i].help,
		              value_of(&of_producers[i], &stats));
}

static void write_times_of(FILE *to, const char *name, const char *help, const struct rc_times *times)
{
	metrics_histogram(to, name, help, times->counts, RC_TIMES, 1e-6, (double)times->sum_ns / 1e9);
}

static void write_times(FILE *to, rc_server *server)
{
	struct rc_times_stats times;
	rc_times_stats(server, &times);
	write_times_of(to, "lag_seconds",
	               "From publishing to sending: of each round of a worker, its oldest message and its last send.",
	               &times.lag);
	write_times_of(to, "round_trip_seconds", "From the Ping that a silent connection gets to its Pong.",
	               &times.round_trip);
	write_times_of(to, "handshake_seconds", "From the accept to the open connection, TLS included.",
	               &times.handshake);
}

static void write_certificates(FILE *to, rc_server *server)
{
	struct rc_certificate *shown = calloc(RC_TLS_PAIRS_MAX, sizeof *shown);
	size_t count = shown ? rc_certificates(server, shown, RC_TLS_PAIRS_MAX) : 0;
	if (count)
		metrics_head(to, "certificate_expiry_timestamp_seconds", GAUGE,
		             "When a certificate that is shown ends, in seconds since 1970.");
	for (size_t i = 0; i < count; i++) {
		bool named_before = false;
		for (size_t j = 0; j < i; j++)
			named_before |= strcmp(shown[i].file, shown[j].file) == 0;
		if (named_before)
			continue; /* a series may stand here once */
		fputs("ringcast_certificate_expiry_timestamp_seconds{", to);
		write_label(to, "file", shown[i].file);
		putc(',', to);
		write_label(to, "subject", shown[i].subject);
		fprintf(to, "} %" PRId64 "\n", shown[i].ends_s);
	}
	free(shown);
}

static void write_build(FILE *to, rc_server *server)
{
	metrics_head(to, "build_info", GAUGE, "Always 1; the labels say what runs.");
	fputs("ringcast_build_info{", to);
	write_label(to, "version", rc_version());
	putc(',', to);
	write_label(to, "compiler", __VERSION__);
	putc(',', to);
	write_label(to, "openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
	fputs("} 1\n", to);
	metrics_head(to, "ring_info", GAUGE, "Always 1; the label says what the workers run on.");
	fprintf(to, "ringcast_ring_info{ring=\"%s\"} 1\n", stats_ring_name(server));
}

static void write_service(FILE *to, const struct metrics *metrics)
{
	const struct service *service = metrics->service;
	char why[64] = "";
	metrics_value(to, "ready", GAUGE, "Whether /readyz says so.", health_is_ready(metrics->health, why));
	metrics_value(to, "memory_limit_bytes", GAUGE, "What may be kept for connections outside the log.",
	              metrics->memory_max);
	metrics_head(to, "reloads_total", COUNTER, "Reloads, by whether each part was taken.");
	fprintf(to, "ringcast_reloads_total{result=\"taken\"} %" PRIu64 "\n", atomic_load(&service->taken));
	fprintf(to, "ringcast_reloads_total{result=\"refused\"} %" PRIu64 "\n", atomic_load(&service->refused));
	metrics_value(to, "last_reload_successful", GAUGE, "Whether each part of the last reload was taken.",
	              !atomic_load(&service->last_refused));
	metrics_value(to, "last_reload_timestamp_seconds", GAUGE, "When it was, in seconds since 1970; 0: never.",
	              (uint64_t)atomic_load(&service->reloaded_s));
	metrics_value(to, "log_lines_left_out_total", COUNTER,
	              "Lines that were not written: too many, or nobody took them.", log_left_out());
}

/* The names that Prometheus' own clients give these. */
static void write_process(FILE *to)
{
	struct process_figures figures;
	process_figures(&figures);
	static const char *const rows[][3] = {
		{ "process_cpu_seconds_total", COUNTER, "Processor time used." },
		{ "process_start_time_seconds", GAUGE, "When the process started, in seconds since 1970." },
		{ "process_resident_memory_bytes", GAUGE, "Memory in use." },
		{ "process_virtual_memory_bytes", GAUGE, "Addresses in use." },
		{ "process_open_fds", GAUGE, "Descriptors open; connections have none in this table." },
		{ "process_max_fds", GAUGE, "How many may be." },
	};
	const double values[] = { figures.cpu_seconds,          figures.started_seconds, (double)figures.resident_size,
		                  (double)figures.virtual_size, (double)figures.fds,     (double)figures.fds_max };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (values[i] < (double)UINT64_MAX) /* else it is not known */
			fprintf(to, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", rows[i][0], rows[i][2], rows[i][0],
			        rows[i][1], rows[i][0], values[i]);
}

void metrics_write(const struct metrics *metrics, FILE *to)
{
	write_build(to, metrics->server);
	write_service(to, metrics);
	write_server(to, metrics->server);
	write_times(to, metrics->server);
	write_producers(to, metrics->server);
	write_certificates(to, metrics->server);
	const struct health *health = metrics->health;
	for (unsigned i = 0; i < health->part_count; i++)
		if (health->parts[i]->write_metrics)
			health->parts[i]->write_metrics(health->parts[i]->context, to);
	if (metrics->more)
		metrics->more(metrics->context, to);
	write_process(to);
}
