/* SPDX-License-Identifier: MIT
 *
 * peek.h - what a message is called, told from its first bytes without reading it: so that one that is refused for its
 * cost can be refused by its id. Pure.
 */
#ifndef APP_PEEK_H
#define APP_PEEK_H

#include <jansson.h>
#include <stddef.h>

#define APP_PEEK_MAX 1024 /* bytes that are looked at */

/* The value of the outermost `id`, as far as it is a text without escapes or a whole number; or null. The caller gives
 * it back. */
json_t *app_peek_id(const void *bytes, size_t size);

#endif
