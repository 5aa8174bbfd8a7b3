/* SPDX-License-Identifier: MIT
 *
 * rate.c - see rate.h. It knows no message.
 */
#include "rate.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "fields.h"
#include "hold.h"
#include "lib/wait.h"
#include "peek.h"
#include "wire.h"

#define STRANGER_SIZE_MAX 4096 /* of a message from a client whose user is not known yet */
#define STRANGER_MESSAGES_MAX 10

uint32_t app_cost_of_subscribe(const json_t *message)
{
	const json_t *topics = json_object_get(message, "topics");
	bool state = json_is_true(json_object_get(message, "state")) ||
	             json_is_true(json_object_get(message, "snapshot"));
	uint32_t names = 0, patterns = 0;
	size_t index;
	json_t *each;
	json_array_foreach((json_t *)topics, index, each)
	{
		size_t size = json_string_length(each);
		bool pattern = size && json_string_value(each)[size - 1] == '*';
		names += !pattern;
		patterns += pattern;
	}
	return (state ? names : names / 8) + patterns * APP_COST_PATTERN;
}

static const char *user_of(const struct app_client *client)
{
	return client->has_token && !client->guest ? client->claims.subject : NULL;
}

void app_rate_begin(struct app_client *client)
{
	const struct app_settings *settings = app_settings_now(client->app);
	client->bucket = app_bucket_full(settings->burst, clock_now());
	client->strikes = app_bucket_full(settings->flood, clock_now());
	app_address_borrow(client->app, client->address, user_of(client), &client->bucket);
}

void app_rate_become(struct app_client *client, const char *user, uint32_t price)
{
	const char *before = user_of(client);
	if (before && strcmp(before, user) == 0)
		return;
	/* Whoever it was until now goes on owing what it said. That is still missing to the connection, too: a login
	 * fills no bucket. */
	struct app_bucket owing = client->bucket;
	owing.level += price * APP_BUCKET_UNIT;
	app_address_return(client->app, client->address, before, &owing);
	app_address_borrow(client->app, client->address, user, &client->bucket);
}

void app_rate_end(struct app_client *client)
{
	if (client->bucket.at_ns)
		app_address_return(client->app, client->address, user_of(client), &client->bucket);
}

enum verdict { GRANTED, REFUSED, CLOSED };

static enum verdict take(struct app_client *client, uint32_t cost)
{
	const struct app_settings *settings = app_settings_now(client->app);
	uint32_t rate = settings->messages_per_second;
	if (!rate || !cost)
		return GRANTED;
	uint64_t now_ns = clock_now();
	if (app_bucket_take(&client->bucket, cost, rate, settings->burst, now_ns))
		return GRANTED;
	if (app_bucket_take(&client->strikes, cost, rate, settings->flood, now_ns))
		return REFUSED;
	APP_COUNT(client->app, flooded);
	app_close(client, RC_CLOSE_POLICY, "flood: too many messages");
	return CLOSED;
}

static void refuse(struct app_client *client, const json_t *id)
{
	app_send_error(client, id, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded");
}

bool app_rate_take(struct app_client *client, const json_t *id, uint32_t cost)
{
	enum verdict verdict = take(client, cost);
	if (verdict == REFUSED)
		refuse(client, id);
	return verdict == GRANTED;
}

static bool is_known(const struct app_client *client)
{
	return client->user || client->bare;
}

/* Whether a client that has yet to say who it is may say this. */
static bool may_stranger(struct app_client *client, const json_t *id, size_t size)
{
	/* While it waits to be let in it may say what it would say at once. */
	unsigned max = app_hold_waits(client) ? APP_HELD_MAX : STRANGER_MESSAGES_MAX;
	if (++client->stranger_messages > max) {
		app_close(client, RC_CLOSE_POLICY, "authentication required");
		return false;
	}
	if (size <= STRANGER_SIZE_MAX)
		return true;
	app_send_error(client, id, "TOO_LONG", "Too long: 4096 bytes before authentication");
	return false;
}

bool app_rate_admit(struct app_client *client, const json_t *id, size_t size)
{
	return (is_known(client) || may_stranger(client, id, size)) &&
	       app_rate_take(client, id, app_cost_of_size(size));
}

bool app_rate_admit_unread(struct app_client *client, const void *bytes, size_t size)
{
	if (!is_known(client) && !may_stranger(client, NULL, size))
		return false;
	enum verdict verdict = take(client, app_cost_of_size(size));
	if (verdict == REFUSED) {
		json_t *id = app_peek_id(bytes, size);
		refuse(client, id);
		json_decref(id);
	}
	return verdict == GRANTED;
}

void app_rate_drain(struct app_client *client, uint32_t cost)
{
	app_bucket_drain(&client->bucket, cost);
}
