/* SPDX-License-Identifier: MIT
 *
 * outside.c - see outside.h. Such a record has no sender and no time of its own: it is from "server", as what the
 * application sends by HTTP is, and its time is when this node read it.
 */
#include "outside.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "backplane/backplane.h"
#include "date.h"
#include "lib/text.h"
#include "names.h"
#include "people.h"
#include "record.h"
#include "span.h"
#include "token.h"

/* Behind a message's id: who says it, what, and when. */
static void write_tail(struct app_out *out, const char *room, size_t room_size, const struct backplane_message *message)
{
	json_t *value = json_loadb(message->data, message->size, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	app_out_text(out, "\",\"from\":\"server\"");
	if (room) {
		app_out_text(out, ",\"room\":");
		app_out_string(out, room, room_size);
	}
	app_out_text(out, ",\"content\":");
	if (value)
		app_out_value(out, value);
	else
		app_out_string(out, message->data, message->size);
	app_out_format(out, ",\"timestamp\":%llu}", (unsigned long long)app_date_ms());
	json_decref(value);
}

/* The name behind a prefix of the record's address, or null. */
static const char *name_behind(const struct backplane_message *message, const char *prefix, size_t max, size_t *size)
{
	const size_t length = strlen(prefix);
	if (message->channel_size <= length || memcmp(message->channel, prefix, length) != 0)
		return NULL;
	*size = message->channel_size - length;
	return *size <= max && text_is_name(message->channel + length, *size) ? message->channel + length : NULL;
}

bool app_outside_read(struct backplane_message *message, char *channel, struct app_out *out)
{
	struct app_out head = { 0 }, tail = { 0 };
	struct app_record record = { 0 };
	size_t size = 0, user_size = 0;
	const char *room = name_behind(message, "room/", APP_ROOM_NAME_MAX, &size);
	const char *user = name_behind(message, "user/", APP_SUBJECT_SIZE_MAX, &user_size);
	bool all = message->channel_size == 3 && memcmp(message->channel, "all", 3) == 0;
	if ((!room && !user && !all) || message->flags & RC_PUBLISH_BINARY)
		return false;
	const char *type = room ? "room_message" : user ? "direct" : "broadcast";
	app_out_format(&head, "{\"type\":\"%s\",\"id\":\"", type);
	write_tail(&tail, room, size, message);
	if (user) {
		/* A direct message is one text. */
		app_out_format(&head, "%llx-%llu", (unsigned long long)message->epoch,
		               (unsigned long long)message->sequence);
		app_out_bytes(&head, tail.bytes, tail.size);
		record.text = head.bytes, record.text_size = head.size;
		record.number = message->sequence;
	} else {
		record.head = head.bytes, record.head_size = head.size;
		record.text = tail.bytes, record.text_size = tail.size;
	}
	int length = room   ? snprintf(channel, APP_CHANNEL_SIZE_MAX, "%s%.*s", APP_ROOM_CHANNEL, (int)size, room)
	             : user ? snprintf(channel, APP_CHANNEL_SIZE_MAX, "%s%.*s", APP_USER_CHANNEL, (int)user_size, user)
	                    : snprintf(channel, APP_CHANNEL_SIZE_MAX, "%s", APP_BROADCAST_TOPIC);
	bool good = !head.failed && !tail.failed && length > 0 && length < APP_CHANNEL_SIZE_MAX;
	if (good)
		app_record_write(out, &record);
	app_out_free(&head);
	app_out_free(&tail);
	message->kind = user ? APP_RECORD_DIRECT : APP_RECORD_SAY;
	message->channel = channel, message->channel_size = (size_t)length;
	message->data = out->bytes, message->size = out->size;
	return good && !out->failed;
}
