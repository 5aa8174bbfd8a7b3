/* SPDX-License-Identifier: MIT
 *
 * form.c - see form.h.
 */
#include "form.h"

#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "out.h"
#include "pack.h"
#include "parse.h"
#include "ringcast_form.h"

#define JSON_DEPTH_MAX 32
#define JSON_VALUES_MAX 10000
#define ZLIB_LEVEL 1 /* a message is made smaller once for many, and waited for by all of them */
#define ZLIB_FIRST 0x78
#define INFLATED_FIRST 4096

static const char *const protocols[APP_FORM_COUNT] = { "ringcast.json", "ringcast.msgpack", "ringcast.zlib" };

/* ---- out ---- */

static size_t deflate_to(const void *from, size_t size, void *to, size_t room)
{
	uLongf made = room;
	size_t bound = compressBound(size);
	if (room < bound)
		return bound;
	return compress2(to, &made, from, size, ZLIB_LEVEL) == Z_OK ? made : 0;
}

/* How large it becomes is found out by doing it: into the room that there is, if that is enough for whatever comes. */
static size_t write_zlib(void *context, const struct rc_past *message, void *to, size_t room)
{
	(void)context;
	struct app_out out = { 0 };
	if (message->opcode != RC_TEXT)
		return 0;
	if (room >= compressBound(message->size))
		return deflate_to(message->data, message->size, to, room);
	app_form_write(APP_FORM_ZLIB, message->data, message->size, &out);
	size_t size = out.failed ? 0 : out.size;
	if (size && size <= room)
		memcpy(to, out.bytes, size);
	app_out_free(&out);
	return size;
}

static size_t write_msgpack(void *context, const struct rc_past *message, void *to, size_t room)
{
	(void)context;
	return message->opcode == RC_TEXT ? app_pack_write(message->data, message->size, to, room) : 0;
}

int app_form_register(rc_server *server)
{
	int code = rc_server_form(server, RC_FORM_OWN, write_msgpack, NULL);
	return code ? code : rc_server_form(server, RC_FORM_OWN_2, write_zlib, NULL);
}

void app_form_write(enum app_form form, const char *json, size_t size, struct app_out *out)
{
	app_out_clear(out);
	size_t room = form == APP_FORM_ZLIB ? compressBound(size) : size + 64, made;
	for (;;) {
		char *to = app_out_room(out, room);
		if (!to)
			return;
		made = form == APP_FORM_ZLIB ? deflate_to(json, size, to, room) : app_pack_write(json, size, to, room);
		if (made <= room)
			break;
		room = made;
	}
	out->size = made;
	out->failed = !made;
}

/* ---- which ---- */

static enum app_form form_of(const char *word, size_t size)
{
	unsigned form = 0;
	while (form < APP_FORM_COUNT && (strlen(protocols[form]) != size || memcmp(protocols[form], word, size) != 0))
		form++;
	return (enum app_form)form;
}

bool app_form_is_named(const char *word, size_t size)
{
	return form_of(word, size) != APP_FORM_COUNT;
}

static enum app_form offered_first(const char *list)
{
	while (list && *list) {
		list += strspn(list, " \t,");
		size_t size = strcspn(list, " \t,");
		enum app_form form = form_of(list, size);
		if (form != APP_FORM_COUNT)
			return form;
		list += size;
	}
	return APP_FORM_COUNT;
}

bool app_form_choose(rc_request *request, enum app_form *form)
{
	const char *list;
	*form = APP_FORM_COUNT;
	for (unsigned i = 0; *form == APP_FORM_COUNT; i++) {
		list = rc_request_header_at(request, "Sec-WebSocket-Protocol", i);
		if (!list)
			break;
		*form = offered_first(list);
	}
	if (*form == APP_FORM_COUNT) {
		*form = APP_FORM_JSON;
		return true;
	}
	rc_request_choose_protocol(request, protocols[*form]);
	if (*form == APP_FORM_JSON)
		return true;
	return rc_request_form(request, *form == APP_FORM_MSGPACK ? RC_FORM_OWN : RC_FORM_OWN_2) == 0;
}

/* ---- in ---- */

json_t *app_form_parse(const void *text, size_t size)
{
	/* The memory and time that it takes grow with them. */
	static const struct app_parse_bounds bounds = { .depth_max = JSON_DEPTH_MAX, .values_max = JSON_VALUES_MAX };
	return app_parse(text, size, &bounds);
}

/* All of a frame, and nothing behind it. */
static enum app_form_wrong inflate_to(const struct rc_message *frame, size_t size_max, struct app_out *out)
{
	z_stream stream = { .next_in = (Bytef *)frame->data, .avail_in = (uInt)frame->size };
	enum app_form_wrong wrong = APP_FORM_BAD;
	int code = Z_OK;
	app_out_clear(out);
	if (inflateInit(&stream) != Z_OK)
		return APP_FORM_BAD;
	while (code == Z_OK) {
		size_t room = out->size ? out->size : INFLATED_FIRST; /* doubles it */
		size_t left = size_max + 1 - out->size;               /* a byte more shows that it is too long */
		room = room < left ? room : left;
		uint8_t *to = room ? (uint8_t *)app_out_room(out, room) : NULL;
		if (!to) {
			wrong = room ? APP_FORM_BAD : APP_FORM_TOO_LONG;
			break;
		}
		stream.next_out = to;
		stream.avail_out = (uInt)room;
		code = inflate(&stream, Z_NO_FLUSH);
		out->size += room - stream.avail_out;
	}
	if (out->size > size_max)
		wrong = APP_FORM_TOO_LONG;
	else if (code == Z_STREAM_END && !stream.avail_in)
		wrong = APP_FORM_GOOD;
	inflateEnd(&stream);
	return wrong;
}

enum app_form_wrong app_form_read(enum app_form form, const struct rc_message *frame, size_t size_max,
                                  struct app_out *scratch, size_t *inflated, json_t **value)
{
	bool binary = frame->opcode == RC_BINARY;
	*inflated = 0;
	*value = NULL;
	if (binary && form == APP_FORM_MSGPACK) {
		*value = app_pack_read(frame->data, frame->size, JSON_DEPTH_MAX, JSON_VALUES_MAX);
	} else if (binary && (form == APP_FORM_ZLIB || (frame->size && *frame->data == ZLIB_FIRST))) {
		enum app_form_wrong wrong = inflate_to(frame, size_max, scratch);
		*inflated = scratch->size;
		if (wrong != APP_FORM_GOOD)
			return wrong;
		*value = app_form_parse(scratch->bytes, scratch->size);
	} else {
		*value = app_form_parse(frame->data, frame->size);
	}
	return *value ? APP_FORM_GOOD : APP_FORM_BAD;
}
