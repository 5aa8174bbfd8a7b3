/* SPDX-License-Identifier: MIT
 *
 * publishing.c - see publishing.h. All of it is looked at before any of it is published.
 */
#include "publishing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "backplane/backplane.h"
#include "forward.h"
#include "lib/text.h"
#include "names.h"
#include "rights.h"
#include "updates.h"

/* Reads one. Returns null, or what is wrong, with its status. */
static const char *read_update(const struct app *app, const json_t *object, struct app_update *update, int *status)
{
	const json_t *topic = json_object_get(object, "topic"), *key = json_object_get(object, "key");
	const json_t *remove = json_object_get(object, "remove"), *snapshot = json_object_get(object, "snapshot");
	*update = (struct app_update){
		.topic = json_string_value(topic),
		.topic_size = json_string_length(topic),
		.key = json_string_value(key),
		.key_size = json_string_length(key),
		.removed = json_is_true(remove),
		.snapshot = json_is_true(snapshot),
		.data = json_object_get(object, "data"),
	};
	*status = 400;
	if (!update->topic || update->topic_size > APP_FEED_NAME_MAX ||
	    !text_is_name(update->topic, update->topic_size) || (!update->data && !update->removed))
		return "expected {\"topic\":NAME,\"data\":VALUE}";
	if (key && (!update->key_size || update->key_size > RC_KEY_MAX))
		return "key is a text of 1 to 64 bytes";
	if ((remove && !json_is_boolean(remove)) || (snapshot && !json_is_boolean(snapshot)))
		return "remove and snapshot are true or false";
	if (update->removed && !key)
		return "remove needs a key: the one that is there no more";
	if (update->snapshot && key)
		return "a snapshot has no key: it stands for all of them";
	if (app_name_reserved(update->topic, update->topic_size))
		return "topics that begin with room/ and data/ are the server's own";
	*status = 403;
	if (!app_is_listed(&app_settings_now(app)->publish_topics, update->topic, update->topic_size))
		return "this topic is not among publish-topics";
	return NULL;
}

static int fail(struct app_publishing *publishing, int status, const char *words)
{
	snprintf(publishing->wrong, sizeof publishing->wrong, "%s", words);
	return status;
}

static int read_all(struct app_publishing *publishing, const json_t *list, struct app_update *updates, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int status;
		const char *wrong = read_update(publishing->app, json_array_get(list, i), &updates[i], &status);
		if (!wrong)
			continue;
		if (count == 1)
			return fail(publishing, status, wrong);
		snprintf(publishing->wrong, sizeof publishing->wrong, "message %zu: %s", i + 1, wrong);
		return status;
	}
	return 0;
}

static void write_answer(struct app_out *out, const struct app_update *updates, size_t count, bool single)
{
	app_out_text(out, single ? "" : "{\"results\":[");
	for (size_t i = 0; i < count; i++) {
		app_out_text(out, i ? ",{" : "{");
		if (!single) {
			app_out_text(out, "\"topic\":");
			app_out_string(out, updates[i].topic, updates[i].topic_size);
			app_out_text(out, ",");
		}
		app_out_text(out, "\"seq\":");
		app_out_number(out, (uint64_t)updates[i].sequence);
		app_out_text(out, ",\"epoch\":");
		app_out_number(out, updates[i].epoch);
		app_out_text(out, "}");
	}
	app_out_text(out, single ? "" : "]}");
}

/* How many are of topics that are delivered at once. */
static size_t count_local(const struct app *app, const struct app_update *updates, size_t count)
{
	size_t local = 0;
	for (size_t i = 0; i < count && app->backplane; i++)
		local += backplane_is_local(app->backplane, updates[i].topic, updates[i].topic_size);
	return local;
}

/* Returns 0, or a negative errno. */
static int publish_here(struct app *app, struct app_update *updates, size_t count)
{
	int code = app_updates_publish(app, updates, count);
	if (!code && app->backplane)
		app_forward_local(app, updates, count);
	return code;
}

int app_publishing_run(struct app_publishing *publishing, const json_t *values, struct app_out *out)
{
	const json_t *first = json_array_get(values, 0);
	bool array = json_array_size(values) == 1 && json_is_array(first);
	bool single = json_array_size(values) == 1 && !array;
	const json_t *list = array ? first : values;
	size_t count = json_array_size(list);
	if (!count)
		return fail(publishing, 400, "the array is empty");
	if (count > APP_UPDATES_MAX)
		return fail(publishing, 413, "at most 1024 messages are published as one");
	struct app_update *updates = calloc(count, sizeof *updates);
	if (!updates)
		return fail(publishing, 503, "out of memory");
	int status = read_all(publishing, list, updates, count), code = 0;
	size_t local = status ? 0 : count_local(publishing->app, updates, count);
	const bool forwards = publishing->app->backplane && !local;
	if (local && local < count)
		status = fail(publishing, 400, "topics of backplane-local are not published as one with others");
	else if (!status && forwards)
		code = app_forward_updates(publishing->app, publishing->conn, updates, count, single);
	else if (!status)
		code = publish_here(publishing->app, updates, count);
	if (code < 0 && forwards)
		status = fail(publishing, app_forward_status(code), app_forward_words(code));
	else if (code < 0)
		status = fail(publishing, code == -EMSGSIZE ? 413 : 503, rc_strerror(code));
	else if (!status && forwards)
		status = APP_PUBLISHING_WAITS;
	else if (!status)
		write_answer(out, updates, count, single);
	free(updates);
	return status ? status : 200;
}
