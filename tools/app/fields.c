/* SPDX-License-Identifier: MIT
 *
 * fields.c - see fields.h. It knows what a field may be, and not what it is for.
 */
#include "fields.h"

#include <stdio.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "lib/text.h"
#include "wire.h"

/* ---- what is wrong ---- */

void app_send_error(struct app_client *client, const json_t *id, const char *code, const char *words)
{
	struct app_out *out = &client->crew->out;
	APP_COUNT(client->app, errors);
	if (client->inside) {
		client->refused = true;
		id = client->inside;
	}
	app_out_clear(out);
	if (client->bare) {
		app_out_text(out, "error: ");
		app_out_text(out, words);
		app_send(client, out);
		return;
	}
	app_out_format(out, "{\"type\":\"error\",\"code\":\"%s\",\"message\":", code);
	app_out_string(out, words, strlen(words));
	if (id) {
		app_out_text(out, ",\"id\":");
		app_out_value(out, id);
		app_out_text(out, ",\"status\":\"failed\"");
	}
	app_out_text(out, "}");
	app_send(client, out);
}

void app_field_wrong(struct app_client *client, const json_t *id, const char *field, const json_t *value,
                     const char *expected)
{
	char words[128];
	snprintf(words, sizeof words, "%s field: %s%s%s", value ? "Wrong" : "Missing", field,
	         value ? ": expected " : "", value ? expected : "");
	app_send_error(client, id, value ? "INVALID_FIELD" : "MISSING_FIELD", words);
}

static void too_long(struct app_client *client, const json_t *id, const char *field, size_t max)
{
	char words[128];
	snprintf(words, sizeof words, "Too long: %s has at most %zu characters", field, max);
	app_send_error(client, id, "TOO_LONG", words);
}

size_t app_field_characters(const char *text, size_t size)
{
	size_t count = 0;
	for (size_t i = 0; i < size; i++)
		count += ((unsigned char)text[i] & 0xC0) != 0x80;
	return count;
}

const char *app_field_text(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                           size_t max, size_t *size)
{
	const json_t *value = json_object_get(message, field);
	const char *text = json_string_value(value);
	*size = json_string_length(value);
	if (!text || !text_is_name(text, *size)) {
		app_field_wrong(client, id, field, value, "a text without control characters");
		return NULL;
	}
	if (*size <= max)
		return text;
	too_long(client, id, field, max);
	return NULL;
}

const char *app_field_of_content(const json_t *message)
{
	static const char *const names[] = { "content", "message", "text" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (json_object_get(message, names[i]))
			return names[i];
	return names[0];
}

bool app_field_is_empty(const json_t *content)
{
	const char *text = json_string_value(content);
	return text && strspn(text, " \t\r\n") == json_string_length(content);
}

/* A text counts by its characters, any other value by its size as JSON. */
const json_t *app_field_content(struct app_client *client, const json_t *message, const json_t *id)
{
	const json_t *content = json_object_get(message, app_field_of_content(message));
	size_t max = app_settings_now(client->app)->content_max;
	if (!content || json_is_null(content)) {
		app_field_wrong(client, id, "content", content, "a value");
		return NULL;
	}
	struct app_out *scratch = &client->crew->tail;
	const char *text = json_string_value(content);
	size_t size = json_string_length(content);
	app_out_clear(scratch);
	if (!text)
		app_out_value(scratch, content);
	if (!text)
		size = scratch->size;
	else if (size > max) /* it has no more characters than bytes */
		size = app_field_characters(text, size);
	if (size <= max)
		return content;
	too_long(client, id, "content", max);
	return NULL;
}

int64_t app_field_number(struct app_client *client, const json_t *message, const json_t *id, const char *field,
                         int64_t max, int64_t missing)
{
	const json_t *value = json_object_get(message, field);
	if (!value || json_is_null(value))
		return missing;
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		return json_integer_value(value) < max ? json_integer_value(value) : max;
	app_field_wrong(client, id, field, value, "a whole number");
	return -1;
}
