/* SPDX-License-Identifier: MIT
 *
 * pack.h - JSON as MessagePack, and back (libmsgpack). Pure: bytes in, bytes or a value out.
 *
 * What we write comes from JSON text that we made: a message costs one walk over it, and no tree. What a stranger wrote
 * is looked at whole before the library allocates for it, since five bytes may announce four thousand million values.
 */
#ifndef APP_PACK_H
#define APP_PACK_H

#include <jansson.h>
#include <stddef.h>

/* Writes JSON text as MessagePack, and returns the size; more than `room`: `to` holds nothing. 0: it is no JSON. */
size_t app_pack_write(const char *json, size_t size, void *to, size_t room);

/* Reads one value, all of the bytes, with at most so many levels and values. Null: it is none that JSON could say (a
 * map has texts as keys, each once; binaries, extensions, NaN and infinities are none), or beyond a bound, or no
 * memory. */
json_t *app_pack_read(const void *bytes, size_t size, unsigned depth_max, unsigned values_max);

#endif
