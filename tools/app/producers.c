/* SPDX-License-Identifier: MIT
 *
 * producers.c - see producers.h. Both functions run on workers and must not wait.
 */
#include "producers.h"

#include <errno.h>
#include <jansson.h>

#include "app.h"
#include "lib/text.h"
#include "names.h"
#include "updates.h"

static bool allow(void *context, const char *topic, size_t size)
{
	(void)context;
	return size <= APP_FEED_NAME_MAX && text_is_name(topic, size) && !app_name_reserved(topic, size);
}

static int64_t publish(void *context, const struct rc_produced *message)
{
	json_error_t error;
	if (message->flags & RC_PUBLISH_BINARY)
		return -EBADMSG;
	json_t *data = json_loadb(message->data, message->size,
	                          JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
	if (!data)
		return -EBADMSG;
	int64_t sequence = app_updates_publish_data(context, message->topic, message->topic_size, data);
	json_decref(data);
	return sequence;
}

int app_producers_listen(struct app *app, const struct app_settings *settings, struct rc_error *error)
{
	const struct rc_producers_options rules = { .allow = allow, .publish = publish, .context = app };
	return producers_listen(app->server, &settings->producers, &rules, error);
}
