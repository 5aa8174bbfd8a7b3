/* SPDX-License-Identifier: MIT
 *
 * figures.c - see figures.h.
 */
#include "figures.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "figures_nodes.h"
#include "info.h"
#include "lib/metrics.h"
#include "lib/wait.h"
#include "reports.h"
#include "ringcast_stats.h"

static double mean(const struct app_latency *latency, double unit_ns)
{
	uint64_t count = atomic_load(&latency->count);
	return count ? (double)atomic_load(&latency->ns) / (double)count / unit_ns : 0;
}

static double percentile(const struct app_latency *latency, double share, double unit_ns)
{
	return (double)app_latency_percentile(latency, share) / unit_ns;
}

struct here {
	uint64_t clients, users, away, rooms;
};

static struct here count_here(struct app *app)
{
	struct app_directory *directory = &app->directory;
	struct rc_stats stats;
	rc_server_stats(app->server, &stats);
	pthread_mutex_lock(&directory->lock);
	size_t away = directory->waited_for.count + directory->remembered.count;
	struct here here = {
		.clients = atomic_load(&app->counters.open),
		.users = directory->users.count - away,
		.away = away,
		.rooms = directory->rooms.count,
	};
	pthread_mutex_unlock(&directory->lock);
	return here;
}

void app_figures_own(struct app *app, struct app_out *out)
{
	struct app_counters *c = &app->counters;
	struct here here = count_here(app);
	struct rc_stats stats;
	rc_server_stats(app->server, &stats);
	app_out_format(out, "{\"connectedClients\":%llu,\"activeRooms\":%llu,\"users\":%llu,\"usersAway\":%llu,",
	               (unsigned long long)here.clients, (unsigned long long)here.rooms, (unsigned long long)here.users,
	               (unsigned long long)here.away);
	app_out_format(out, "\"uptime\":%.3f,\"messagesReceived\":%llu,\"messagesSent\":%llu,\"errors\":%llu,",
	               (double)(clock_now() - app->started_ns) / 1e9, (unsigned long long)atomic_load(&c->received),
	               (unsigned long long)stats.messages_sent + stats.deliveries,
	               (unsigned long long)atomic_load(&c->errors));
	app_out_format(
	    out,
	    "\"reconnections\":%llu,\"rejected\":%llu,\"loginFailures\":%llu,\"flooded\":%llu,\"stored\":%llu,"
	    "\"storeDropped\":%llu,",
	    (unsigned long long)atomic_load(&c->reconnections), (unsigned long long)atomic_load(&c->rejected),
	    (unsigned long long)atomic_load(&c->login_failures), (unsigned long long)atomic_load(&c->flooded),
	    (unsigned long long)atomic_load(&c->stored), (unsigned long long)atomic_load(&c->store_dropped));
	app_out_format(out, "\"slowStreams\":%llu,", (unsigned long long)atomic_load(&c->slow_streams));
	app_out_format(out, "\"resent\":%llu,\"unacknowledged\":%llu,\"duplicates\":%llu,",
	               (unsigned long long)atomic_load(&c->resent), (unsigned long long)atomic_load(&c->unacknowledged),
	               (unsigned long long)atomic_load(&c->duplicates));
	app_out_format(out,
	               "\"latency\":{\"meanUs\":%.1f,\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,",
	               mean(&c->handling, 1e3), percentile(&c->handling, 0.5, 1e3), percentile(&c->handling, 0.9, 1e3),
	               percentile(&c->handling, 0.99, 1e3), percentile(&c->handling, 0.999, 1e3));
	app_out_format(out, "\"ackMeanMs\":%.1f,\"ackP50Ms\":%.3f,\"ackP99Ms\":%.3f,\"lagMs\":%.3f},",
	               mean(&c->ack, 1e6), percentile(&c->ack, 0.5, 1e6), percentile(&c->ack, 0.99, 1e6),
	               (double)stats.lag_ns / 1e6);
	app_out_text(out, "\"clientMetrics\":");
	app_reports_write(app, out);
	app_out_format(
	    out, ",\"topics\":%llu,\"subscriptions\":%llu,\"behind\":%llu,\"bytesReceived\":%llu,\"bytesSent\":%llu}",
	    (unsigned long long)stats.topics, (unsigned long long)stats.subscriptions, (unsigned long long)stats.behind,
	    (unsigned long long)stats.bytes_received, (unsigned long long)stats.bytes_sent);
}

void app_figures_stats(struct app *app, struct app_out *out)
{
	if (app_spans(app))
		app_figures_nodes(app, out);
	else
		app_figures_own(app, out);
}

/* ---- Prometheus ---- */

#define QUANTILES 4

/* The buckets of Prometheus are powers of two of a unit; what is finer is in the quantiles. */
static void histogram(FILE *to, const char *name, const char *help, const struct app_latency *latency, uint64_t unit_ns)
{
	static const double shares[QUANTILES] = { 0.5, 0.9, 0.99, 0.999 };
	uint64_t counts[APP_LATENCY_SHOWN];
	char full[64];
	app_latency_octaves(latency, unit_ns, counts);
	snprintf(full, sizeof full, "%s_seconds", name);
	metrics_histogram(to, full, help, counts, APP_LATENCY_SHOWN, (double)unit_ns / 1e9,
	                  (double)atomic_load(&latency->ns) / 1e9);
	snprintf(full, sizeof full, "%s_quantile_seconds", name);
	metrics_head(to, full, "summary", "The same as quantiles, each at most an eighth too large.");
	for (unsigned i = 0; i < QUANTILES; i++)
		fprintf(to, "ringcast_%s{quantile=\"%g\"} %.9f\n", full, shares[i],
		        (double)app_latency_percentile(latency, shares[i]) / 1e9);
	fprintf(to, "ringcast_%s_sum %.9f\nringcast_%s_count %llu\n", full, (double)atomic_load(&latency->ns) / 1e9,
	        full, (unsigned long long)atomic_load(&latency->count));
}

void app_figures_metrics(void *context, FILE *to)
{
	struct app *app = context;
	struct app_counters *c = &app->counters;
	const struct here here = count_here(app);
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{ "app_clients", "gauge", "Clients: WebSockets, streams and polls that wait.", here.clients },
		{ "app_sessions", "gauge", "Of those, users who poll for what is theirs.", app_sessions_count(app) },
		{ "app_users", "gauge", "Users with a connection.", here.users },
		{ "app_users_away", "gauge", "Users remembered without one.", here.away },
		{ "app_rooms", "gauge", "Rooms with a member.", here.rooms },
		{ "app_messages_received_total", "counter", "Messages of the dialect received.",
		  atomic_load(&c->received) },
		{ "app_api_requests_total", "counter", "Requests to /api.", atomic_load(&c->api_requests) },
		{ "app_errors_total", "counter", "Errors told to clients.", atomic_load(&c->errors) },
		{ "app_reconnections_total", "counter", "Users and clients who came back within five minutes.",
		  atomic_load(&c->reconnections) },
		{ "app_slow_streams_total", "counter",
		  "Streams of events that were ended because they were read too slowly.",
		  atomic_load(&c->slow_streams) },
		{ "app_pushes_total", "counter", "Figures pushed to --push-url.", atomic_load(&c->pushes) },
		{ "app_pushes_failed_total", "counter", "Of those, not taken there.", atomic_load(&c->pushes_failed) },
		{ "app_rejected_total", "counter", "Handshakes refused.", atomic_load(&c->rejected) },
		{ "app_login_failures_total", "counter", "Tokens refused, and logins that came too late.",
		  atomic_load(&c->login_failures) },
		{ "app_flooded_total", "counter", "Connections closed for sending too much.",
		  atomic_load(&c->flooded) },
		{ "app_stored_total", "counter", "Messages stored for users who were away.", atomic_load(&c->stored) },
		{ "app_store_dropped_total", "counter", "Of those, dropped for count, size or age.",
		  atomic_load(&c->store_dropped) },
		{ "app_resent_total", "counter", "Messages sent again for want of an ACK.", atomic_load(&c->resent) },
		{ "app_unacknowledged_total", "counter", "Messages given up on.", atomic_load(&c->unacknowledged) },
		{ "app_duplicates_total", "counter", "Messages that came again.", atomic_load(&c->duplicates) },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		metrics_value(to, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
	histogram(to, "app_handling", "Time to handle a message.", &c->handling, 1000);
	app_hooks_metrics(app, to);
	histogram(to, "app_ack", "Time from a message to its ACK.", &c->ack, NS_PER_MS);
	app_reports_metrics(app, to);
}

void app_figures_members(void *context, FILE *to)
{
	struct app_out out = { 0 };
	app_figures_stats(context, &out);
	if (!out.failed)
		fprintf(to, "\"app\":%.*s,\n", (int)out.size, out.bytes);
	app_out_free(&out);
}

/* ---- names ---- */

static void list_room(void *context, struct app_node *node)
{
	struct app_listing *listing = context;
	const struct app_room *room = (const struct app_room *)node;
	if (listing->count++ >= listing->max)
		return;
	app_out_text(listing->out, listing->count > 1 ? ",{\"room\":" : "{\"room\":");
	app_out_string(listing->out, node->name, node->name_size);
	app_out_format(listing->out, ",\"members\":%zu}", room->member_count);
}

void app_figures_rooms(struct app *app, struct app_out *out, size_t max)
{
	struct app_listing listing = { .out = out, .max = max };
	app_out_text(out, "{\"rooms\":[");
	pthread_mutex_lock(&app->directory.lock);
	if (app_spans(app))
		app_figures_all_rooms(app, &listing);
	else
		app_table_each(&app->directory.rooms, list_room, &listing);
	pthread_mutex_unlock(&app->directory.lock);
	app_out_format(out, "],\"count\":%zu}", listing.count);
}

static void list_user(void *context, struct app_node *node)
{
	struct app_listing *listing = context;
	const struct app_user *user = (const struct app_user *)node;
	if (!user->device_count || listing->count++ >= listing->max)
		return;
	app_out_text(listing->out, listing->count > 1 ? ",{\"userId\":" : "{\"userId\":");
	app_out_string(listing->out, node->name, node->name_size);
	app_out_text(listing->out, ",\"clients\":[");
	for (const struct app_client *device = user->devices; device; device = device->next_device)
		app_out_format(listing->out, "%s\"%s\"", device == user->devices ? "" : ",", device->id);
	app_out_text(listing->out, "],\"rooms\":[");
	bool first = true;
	for (const struct app_client *device = user->devices; device; device = device->next_device) {
		for (const struct app_member *member = device->members; member; member = member->next_room) {
			app_out_text(listing->out, first ? "" : ",");
			app_out_string(listing->out, member->room->name, member->room->node.name_size);
			first = false;
		}
	}
	app_out_text(listing->out, "]}");
}

static void list_clients(void *context, struct app_node *node)
{
	struct app_listing *listing = context;
	const struct app_user *user = (const struct app_user *)node;
	for (const struct app_client *device = user->devices; device; device = device->next_device) {
		if (listing->count++ >= listing->max)
			continue;
		app_out_text(listing->out, listing->count > 1 ? "," : "");
		app_info_write(listing->out, device);
	}
}

void app_figures_clients(struct app *app, struct app_out *out, const char *name, size_t max)
{
	struct app_directory *directory = &app->directory;
	struct app_listing listing = { .out = out, .max = max };
	app_out_text(out, "{\"clients\":[");
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = name ? app_directory_user(directory, name, strlen(name), false) : NULL;
	if (user)
		list_clients(&listing, &user->node);
	else if (!name)
		app_table_each(&directory->users, list_clients, &listing);
	pthread_mutex_unlock(&directory->lock);
	app_out_format(out, "],\"count\":%zu}", listing.count);
}

void app_figures_presence(struct app *app, struct app_out *out, const char *name, size_t max)
{
	struct app_directory *directory = &app->directory;
	struct app_listing listing = { .out = out, .max = max };
	app_out_text(out, "{\"users\":[");
	pthread_mutex_lock(&directory->lock);
	struct app_user *user = name ? app_directory_user(directory, name, strlen(name), false) : NULL;
	if (app_spans(app))
		app_figures_all_users(app, name, &listing);
	else if (user)
		list_user(&listing, &user->node);
	else if (!name)
		app_table_each(&directory->users, list_user, &listing);
	pthread_mutex_unlock(&directory->lock);
	app_out_format(out, "],\"count\":%zu}", listing.count);
}
