/* SPDX-License-Identifier: MIT
 *
 * report.c - what a node says about itself: for /stats, /metrics and /healthz. It changes nothing.
 */
#include <inttypes.h>
#include <string.h>

#include "lib/metrics.h"
#include "lib/quote.h"
#include "node.h"

void backplane_stats(struct backplane *backplane, struct backplane_stats *stats)
{
	struct backplane_counters *counters = &backplane->counters;
	*stats = (struct backplane_stats){ .engine = backplane->engine->name,
		                           .away_ns = state_away_ns(backplane),
		                           .lag_ns = atomic_load(&counters->lag_ns),
		                           .epoch = atomic_load(&backplane->epoch),
		                           .reconnects = atomic_load(&counters->reconnects),
		                           .repairs = atomic_load(&counters->repairs),
		                           .repaired = atomic_load(&counters->repaired),
		                           .epochs = atomic_load(&counters->epochs),
		                           .gaps = atomic_load(&counters->gaps),
		                           .sent = atomic_load(&counters->sent),
		                           .sent_bytes = atomic_load(&counters->sent_bytes),
		                           .received = atomic_load(&counters->received),
		                           .received_bytes = atomic_load(&counters->received_bytes),
		                           .duplicates = atomic_load(&counters->duplicates),
		                           .broken = atomic_load(&counters->broken),
		                           .refused = atomic_load(&counters->refused),
		                           .failed = atomic_load(&counters->failed),
		                           .nodes = atomic_load(&counters->nodes) };
	stats->up = !stats->away_ns;
	if (stats->away_ns)
		stats->lag_ns = stats->away_ns;
	pthread_mutex_lock(&backplane->outbox.lock);
	stats->queue = backplane->outbox.count;
	stats->queue_bytes = backplane->outbox.size;
	pthread_mutex_unlock(&backplane->outbox.lock);
	char why[ENGINE_WHY_SIZE];
	if (backplane->jobs)
		jobs_stats(backplane->jobs, stats, why);
}

static const struct figure {
	const char *name, *metric, *help;
	size_t offset;
} figures[] = {
#define FIGURE(field, metric, help)                                                                                    \
	{                                                                                                              \
#field, "backplane_" metric, help, offsetof(struct backplane_stats, field)                             \
	}
	FIGURE(reconnects, "reconnects_total", "Times that the connection to the engine was made again"),
	FIGURE(repairs, "repairs_total", "Times that something was read from the engine that was missed"),
	FIGURE(repaired, "repaired_messages_total", "Messages that were read so"),
	FIGURE(epochs, "epochs_total", "Times that the engine's stream began anew, since data was lost"),
	FIGURE(gaps, "gaps_total", "Times that the engine had let go of what this node had not read"),
	FIGURE(sent, "sent_messages_total", "Messages that this node handed over"),
	FIGURE(sent_bytes, "sent_bytes_total", "Bytes that the engine took from this node"),
	FIGURE(received, "received_messages_total", "Messages that this node read, its own included"),
	FIGURE(received_bytes, "received_bytes_total", "Bytes that this node read"),
	FIGURE(duplicates, "duplicates_total", "Packets that came twice, and were dropped"),
	FIGURE(broken, "broken_total", "Packets in the stream that no node wrote, dropped"),
	FIGURE(refused, "refused_total", "Publishes refused, since the engine is away or the queue is full"),
	FIGURE(failed, "failed_messages_total", "Messages of other nodes that the log here did not take"),
#undef FIGURE
};

static uint64_t value_of(const struct figure *figure, const struct backplane_stats *stats)
{
	uint64_t value;
	memcpy(&value, (const char *)stats + figure->offset, sizeof value);
	return value;
}

static bool is_degraded(void *context, char why[static 160])
{
	struct backplane *backplane = context;
	pthread_mutex_lock(&backplane->lock);
	bool away = backplane->away_since_ns;
	snprintf(why, 160, "%s%.120s", away ? "the backplane is away: " : "", away ? backplane->why : "");
	pthread_mutex_unlock(&backplane->lock);
	struct backplane_stats stats = { .out_up = true };
	char words[ENGINE_WHY_SIZE];
	if (!away && backplane->bridge && !bridge_is_up(backplane->bridge, words)) {
		snprintf(why, 160, "what others publish does not reach the nodes: %.100s", words);
		return true;
	}
	if (!away && backplane->jobs)
		jobs_stats(backplane->jobs, &stats, words);
	if (!stats.out_up)
		snprintf(why, 160, "what clients send does not reach services: %.100s", words);
	return away || !stats.out_up;
}

static void write_json(void *context, FILE *to)
{
	struct backplane *backplane = context;
	struct backplane_stats stats;
	char why[160] = "";
	backplane_stats(backplane, &stats);
	is_degraded(backplane, why);
	fprintf(to, "\"backplane\":{\"engine\":\"%s\",\"node\":\"%016" PRIx64 "\",\"up\":%s,\"why\":", stats.engine,
	        backplane->node, stats.up ? "true" : "false");
	quote_json(to, why);
	fprintf(to,
	        ",\"lag_seconds\":%.6f,\"epoch\":%" PRIu64 ",\"nodes\":%" PRIu64 ",\"queue\":%" PRIu64
	        ",\"queue_bytes\":%" PRIu64,
	        (double)stats.lag_ns / 1e9, stats.epoch, stats.nodes, stats.queue, stats.queue_bytes);
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		fprintf(to, ",\"%s\":%" PRIu64, figures[i].name, value_of(&figures[i], &stats));
	if (stats.out) {
		fputs(",\"out\":{\"queue\":", to);
		quote_json(to, backplane->settings.out);
		fprintf(to,
		        ",\"up\":%s,\"sent\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"waiting\":%" PRIu64
		        ",\"waiting_bytes\":%" PRIu64 "}",
		        stats.out_up ? "true" : "false", stats.out_sent, stats.out_refused, stats.out_queue,
		        stats.out_queue_bytes);
	}
	fputs("}", to);
}

static void write_metrics(void *context, FILE *to)
{
	struct backplane_stats stats;
	backplane_stats(context, &stats);
	metrics_value(to, "backplane_up", "gauge", "Whether the engine is there, and this node has what it has",
	              stats.up);
	metrics_head(
	    to, "backplane_lag_seconds", "gauge",
	    "From a message's publisher to this node, of the last one; while the engine is away, for how long");
	fprintf(to, "ringcast_backplane_lag_seconds %.6f\n", (double)stats.lag_ns / 1e9);
	metrics_value(to, "backplane_queue_messages", "gauge", "Messages that wait for the engine", stats.queue);
	metrics_value(to, "backplane_queue_bytes", "gauge", "Bytes that they take", stats.queue_bytes);
	metrics_value(to, "backplane_nodes", "gauge", "Nodes that hold a lease, this one included", stats.nodes);
	for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
		metrics_value(to, figures[i].metric, "counter", figures[i].help, value_of(&figures[i], &stats));
	if (!stats.out)
		return;
	metrics_value(to, "backplane_out_up", "gauge", "Whether the queue for services takes what clients send",
	              stats.out_up);
	metrics_value(to, "backplane_out_sent_total", "counter", "What clients sent that the queue for services has",
	              stats.out_sent);
	metrics_value(to, "backplane_out_refused_total", "counter",
	              "What clients sent and were told to send again later", stats.out_refused);
	metrics_value(to, "backplane_out_queue_messages", "gauge", "What waits for the queue for services",
	              stats.out_queue);
	metrics_value(to, "backplane_out_queue_bytes", "gauge", "Bytes that it takes", stats.out_queue_bytes);
}

void backplane_describe(struct backplane *backplane)
{
	backplane->part = (struct health_part){ .context = backplane,
		                                .is_degraded = is_degraded,
		                                .write_json = write_json,
		                                .write_metrics = write_metrics };
}

const struct health_part *backplane_part(struct backplane *backplane)
{
	return &backplane->part;
}
