/* SPDX-License-Identifier: MIT
 *
 * content.h - content of clients as it is handed on: as it is, or made harmless for pages that show it as HTML. Pure.
 *
 *      escape   the five characters that HTML has a meaning for become references, in text and in attributes
 *      strip    tags go, with what stands in script and style; what is left has no < > " or ' but as references, and
 *               its own references stay
 *
 * Whatever is left can be put into a page's text or into a quoted attribute, alone or between other text.
 */
#ifndef APP_CONTENT_H
#define APP_CONTENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "out.h"

#define APP_SANITIZE "off|escape|strip"
enum app_sanitize { APP_SANITIZE_OFF, APP_SANITIZE_ESCAPE, APP_SANITIZE_STRIP };

/* Any value, as compact JSON. With a mode that is not off, all its texts are changed. */
void app_content_write(struct app_out *out, const json_t *value, int mode);
/* A key of an object: it is escaped in either mode, so that no two of them become one. */
void app_content_key(struct app_out *out, const char *key, int mode);

/* Another member, `ref`: the id that the sender gave the message, if any. A message that is sent again, because a
 * server died over it, gets a new id each time; its readers know it again by its `ref`. */
void app_content_ref(struct app_out *out, const json_t *id, int mode);
/* Whether a name needs no reference where it is shown. */
bool app_content_is_plain(const char *name, size_t size);

/* The same of a text that is no JSON: not quoted. */
void app_content_text(struct app_out *out, const char *text, size_t size, int mode);

#endif
