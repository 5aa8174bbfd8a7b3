/* SPDX-License-Identifier: MIT
 *
 * figures_nodes.c - see figures_nodes.h.
 */
#include "figures_nodes.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app.h"
#include "backplane/backplane.h"
#include "client.h"
#include "figures.h"
#include "lib/wait.h"
#include "nodes.h"
#include "span.h"

/* ---- names ---- */

struct listed {
	struct app_listing *listing;
	const char *prefix;
};

static bool is_a(const struct app_group *group, const char *prefix)
{
	return group->device_count && strncmp(group->channel, prefix, strlen(prefix)) == 0;
}

static void write_name(struct app_out *out, const struct app_group *group, const char *prefix)
{
	const size_t size = strlen(prefix);
	app_out_string(out, group->channel + size, group->node.name_size - size);
}

static void list_room(void *context, struct app_node *node)
{
	struct app_listing *listing = context;
	const struct app_group *group = (const struct app_group *)node;
	if (!is_a(group, APP_ROOM_CHANNEL) || listing->count++ >= listing->max)
		return;
	app_out_text(listing->out, listing->count > 1 ? ",{\"room\":" : "{\"room\":");
	write_name(listing->out, group, APP_ROOM_CHANNEL);
	app_out_format(listing->out, ",\"members\":%zu}", group->device_count);
}

void app_figures_all_rooms(struct app *app, struct app_listing *listing)
{
	app_table_each(&app->span.replica.groups, list_room, listing);
}

static void list_user(void *context, struct app_node *node)
{
	struct app_listing *listing = context;
	const struct app_group *group = (const struct app_group *)node;
	struct app_out *out = listing->out;
	if (!is_a(group, APP_USER_CHANNEL) || listing->count++ >= listing->max)
		return;
	app_out_text(out, listing->count > 1 ? ",{\"userId\":" : "{\"userId\":");
	write_name(out, group, APP_USER_CHANNEL);
	app_out_text(out, ",\"clients\":[");
	const struct app_presence *first = group->people->devices;
	for (const struct app_presence *device = first; device; device = device->next)
		app_out_format(out, "%s\"%016llx\"", device == first ? "" : ",",
		               (unsigned long long)device->key.device.client);
	app_out_text(out, "],\"rooms\":[");
	for (const struct app_person *place = group->places; place; place = place->next_place) {
		app_out_text(out, place == group->places ? "" : ",");
		write_name(out, place->group, APP_ROOM_CHANNEL);
	}
	app_out_text(out, "]}");
}

void app_figures_all_users(struct app *app, const char *user, struct app_listing *listing)
{
	struct app_replica *replica = &app->span.replica;
	if (!user) {
		app_table_each(&replica->groups, list_user, listing);
		return;
	}
	const struct app_channel channel = app_channel_of(APP_USER_CHANNEL, user, strlen(user));
	struct app_group *group = app_replica_group(replica, channel.name, channel.size);
	if (group)
		list_user(listing, &group->node);
}

/* ---- this node ---- */

/* What stands before an address: `proxy+`, `ws://`. */
static const char *behind_prefixes(const char *address)
{
	static const char *const prefixes[] = { "proxy+", "wss://", "ws://" };
	for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
		if (strncmp(address, prefixes[i], strlen(prefixes[i])) == 0)
			address += strlen(prefixes[i]);
	return address;
}

static bool is_everywhere(const char *host, size_t size)
{
	static const char *const everywhere[] = { "", "*", "0.0.0.0", "[::]" };
	for (size_t i = 0; i < sizeof everywhere / sizeof *everywhere; i++)
		if (strlen(everywhere[i]) == size && memcmp(host, everywhere[i], size) == 0)
			return true;
	return false;
}

void app_figures_name(struct app *app, const char *address, int port)
{
	char machine[65] = "";
	address = behind_prefixes(address);
	const int size = (int)strcspn(address, "?");
	const char *colon = memrchr(address, ':', (size_t)size);
	const int host = colon ? (int)(colon - address) : size;
	if (gethostname(machine, sizeof machine - 1))
		snprintf(machine, sizeof machine, "localhost");
	if (strncmp(address, "unix:", 5) == 0)
		snprintf(app->span.name, sizeof app->span.name, "%s:%.*s", machine, size - 5, address + 5);
	else if (strncmp(address, "fd:", 3) == 0 || is_everywhere(address, (size_t)host))
		snprintf(app->span.name, sizeof app->span.name, "%s:%d", machine, port);
	else
		snprintf(app->span.name, sizeof app->span.name, "%.*s:%d", host, address, port);
}

void app_figures_node(struct app *app, struct app_out *out)
{
	struct backplane_stats stats;
	char why[160] = "";
	app_figures_own(app, out);
	if (out->failed)
		return;
	backplane_stats(app->span.backplane, &stats);
	health_is_degraded(&app->health, why);
	out->size--; /* the object goes on */
	app_out_text(out, ",\"name\":");
	app_out_string(out, app->span.name, strlen(app->span.name));
	app_out_format(out, ",\"backplane\":{\"up\":%s,\"why\":", stats.up ? "true" : "false");
	app_out_string(out, why, strlen(why));
	app_out_format(out, ",\"lagMs\":%.3f,\"queue\":%llu}}", (double)stats.lag_ns / 1e6,
	               (unsigned long long)stats.queue);
}

/* ---- figures ---- */

/* What can be added up. The others of a node's figures are its own alone. */
static const char *const summed[] = { "connectedClients", "messagesReceived", "messagesSent",   "errors",
	                              "reconnections",    "rejected",         "flooded",        "stored",
	                              "storeDropped",     "resent",           "unacknowledged", "duplicates",
	                              "subscriptions",    "behind",           "bytesReceived",  "bytesSent" };

static void add_up(json_t *sums, const json_t *figures)
{
	for (size_t i = 0; i < sizeof summed / sizeof *summed; i++) {
		json_int_t before = json_integer_value(json_object_get(sums, summed[i]));
		json_int_t more = json_integer_value(json_object_get(figures, summed[i]));
		json_object_set_new(sums, summed[i], json_integer(before + more));
	}
}

/* told_ns: when it said that of itself; 0: it did not. */
static json_t *describe(uint64_t node, bool own, const json_t *figures, uint64_t told_ns)
{
	char name[17];
	snprintf(name, sizeof name, "%016llx", (unsigned long long)node);
	json_t *object = json_pack("{s:s,s:b,s:o}", "node", name, "own", own, "age",
	                           told_ns ? json_real((double)(clock_now() - told_ns) / 1e9) : json_null());
	if (object && figures)
		json_object_update(object, (json_t *)figures);
	return object;
}

/* (lock) */
static void add_peers(const struct app *app, json_t *sums, json_t *nodes)
{
	const struct app_table *peers = &app->span.replica.peers;
	for (size_t i = 0; i < peers->bucket_count; i++)
		for (const struct app_node *node = peers->buckets[i]; node; node = node->next) {
			const struct app_peer *peer = (const struct app_peer *)node;
			if (peer->missing_ns || peer->id == app->span.node)
				continue;
			json_t *figures = peer->figures ? json_loads(peer->figures, 0, NULL) : NULL;
			add_up(sums, figures);
			json_array_append_new(nodes, describe(peer->id, false, figures, figures ? peer->told_ns : 0));
			json_decref(figures);
		}
}

void app_figures_nodes(struct app *app, struct app_out *out)
{
	struct app_out own = { 0 };
	app->span.write_figures(app, &own);
	json_t *figures = own.failed ? NULL : json_loadb(own.bytes, own.size, 0, NULL);
	json_t *sums = json_copy(figures), *nodes = json_array();
	json_array_append_new(nodes, describe(app->span.node, true, figures, clock_now()));
	json_object_del(sums, "name");
	json_object_del(sums, "backplane");
	pthread_mutex_lock(&app->directory.lock);
	add_peers(app, sums, nodes);
	json_object_set_new(sums, "activeRooms", json_integer((json_int_t)app->span.replica.room_count));
	json_object_set_new(sums, "users", json_integer((json_int_t)app->span.replica.user_count));
	pthread_mutex_unlock(&app->directory.lock);
	json_object_set_new(sums, "nodes", nodes);
	app_out_value(out, sums);
	json_decref(sums);
	json_decref(figures);
	app_out_free(&own);
	app_nodes_ask(app);
}
