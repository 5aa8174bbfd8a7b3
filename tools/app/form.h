/* SPDX-License-Identifier: MIT
 *
 * form.h - how a client's messages stand on the wire, by the subprotocol that it chose. Inside they are JSON: what goes
 * out is written once as text, and what is for many is put into another form once for all who read in it
 * (rc_server_form()).
 *
 *      ringcast.json, or none   text; binary frames are taken as JSON too, or inflated if they begin as zlib does
 *      ringcast.msgpack         binary frames of MessagePack, both ways
 *      ringcast.zlib            binary frames of JSON in zlib's format, both ways
 *
 * Text frames are JSON in each of them. It knows no message.
 */
#ifndef APP_FORM_H
#define APP_FORM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "ringcast.h"

struct app_out;

enum app_form { APP_FORM_JSON, APP_FORM_MSGPACK, APP_FORM_ZLIB, APP_FORM_COUNT };

/* Says to the library, before the start, what is written in the forms. Returns 0 or a negative errno. */
int app_form_register(rc_server *server);

/* Accepts the first subprotocol of ours that a handshake offers, and has its connection read in that form. False: no
 * memory, or another fault of our own. */
bool app_form_choose(rc_request *request, enum app_form *form);

/* Whether this is a subprotocol of ours. */
bool app_form_is_named(const char *word, size_t size);

/* Puts JSON text into a form other than JSON. out->failed: no memory. */
void app_form_write(enum app_form form, const char *json, size_t size, struct app_out *out);

/* JSON that a frame held, its levels and values within the bounds; or null. */
json_t *app_form_parse(const void *text, size_t size);

enum app_form_wrong { APP_FORM_GOOD, APP_FORM_BAD, APP_FORM_TOO_LONG };

/* Reads a frame. What is inflated is put into `scratch`, of at most `size_max` bytes, and *inflated is its size: that
 * much was done, whatever came of it. */
enum app_form_wrong app_form_read(enum app_form form, const struct rc_message *frame, size_t size_max,
                                  struct app_out *scratch, size_t *inflated, json_t **value);

#endif
