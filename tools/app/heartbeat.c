/* SPDX-License-Identifier: MIT
 *
 * heartbeat.c - see heartbeat.h. A client that answers no ping loses nothing by it: whether it is still there is found
 * out by the Pings of the protocol.
 */
#include "heartbeat.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "date.h"
#include "fields.h"
#include "lib/wait.h"
#include "wire.h"

#define DEFAULT_S 25
#define MAX_S 300
/* A way as slow as this breaks more often, so it is looked after twice or three times as often. */
#define SLOW_NS (NS_PER_SECOND / 4)
#define SLOWEST_NS NS_PER_SECOND

bool app_heartbeat_of_value(const json_t *value, unsigned *interval_ms)
{
	json_int_t seconds = json_is_true(value) ? DEFAULT_S : json_is_integer(value) ? json_integer_value(value) : 0;
	*interval_ms = (unsigned)seconds * 1000;
	return json_is_boolean(value) || (json_is_integer(value) && seconds >= 0 && seconds <= MAX_S);
}

bool app_heartbeat_of_text(const char *text, unsigned *interval_ms)
{
	char *end;
	unsigned long seconds = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : MAX_S + 1;
	if (strcmp(text, "true") == 0)
		seconds = DEFAULT_S;
	else if (strcmp(text, "false") == 0)
		seconds = 0;
	else if (seconds > MAX_S || *end)
		return false;
	*interval_ms = (unsigned)seconds * 1000;
	return true;
}

static void plan(struct app_client *client, uint64_t now_ns)
{
	struct app_heartbeat *heartbeat = &client->heartbeat;
	unsigned parts = 1 + (heartbeat->round_trip_ns >= SLOW_NS) + (heartbeat->round_trip_ns >= SLOWEST_NS);
	client->times.ping_ns = heartbeat->interval_ms ? now_ns + heartbeat->interval_ms / parts * NS_PER_MS
	                                               : APP_NEVER;
}

void app_heartbeat_set(struct app_client *client, unsigned interval_ms)
{
	client->heartbeat = (struct app_heartbeat){ .interval_ms = interval_ms };
	plan(client, clock_now());
}

void app_heartbeat_due(struct app_client *client, uint64_t now_ns)
{
	struct app_out *out = &client->crew->out;
	struct app_heartbeat *heartbeat = &client->heartbeat;
	heartbeat->stamp = app_date_ms();
	heartbeat->sent_ns = now_ns;
	plan(client, now_ns);
	app_out_clear(out);
	app_out_type(out, "ping", NULL);
	app_out_text(out, ",\"timestamp\":");
	app_out_number(out, heartbeat->stamp);
	app_out_text(out, "}");
	app_send(client, out);
}

/* One that does not say which ping it answers tells nothing. */
void app_heartbeat_pong(struct app_client *client, const json_t *message, const json_t *id)
{
	struct app_heartbeat *heartbeat = &client->heartbeat;
	const json_t *timestamp = json_object_get(message, "timestamp");
	(void)id;
	if (!heartbeat->sent_ns || !json_is_integer(timestamp) ||
	    (uint64_t)json_integer_value(timestamp) != heartbeat->stamp)
		return;
	heartbeat->round_trip_ns = clock_now() - heartbeat->sent_ns;
	plan(client, heartbeat->sent_ns);
	heartbeat->sent_ns = 0;
	app_clock_set(client);
}

void app_heartbeat_hello(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *wish = json_object_get(message, "heartbeat");
	struct app_out *out = &client->crew->out;
	unsigned interval_ms;
	if (wish && !app_heartbeat_of_value(wish, &interval_ms)) {
		app_field_wrong(client, id, "heartbeat", wish, APP_HEARTBEAT_WORDS);
		return;
	}
	if (wish)
		app_heartbeat_set(client, interval_ms);
	app_clock_set(client);
	app_out_clear(out);
	app_out_type(out, "hello", id);
	app_out_format(out, ",\"heartbeat\":%u}", client->heartbeat.interval_ms / 1000);
	app_send(client, out);
}
