/* SPDX-License-Identifier: MIT
 *
 * names.h - what names of topics mean here: which are the server's own, and which a pattern reaches. Pure.
 */
#ifndef APP_NAMES_H
#define APP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#define APP_FEED_NAME_MAX 200
#define APP_ROOM_NAME_MAX 100

/* Topics that are the server's own: "room/..." is followed by joining the room, and "data/..." (what users send as
 * DATA) is for administrators. Those that begin with APP_PASSING have what is not kept (passing.h). */
#define APP_PASSING "room/~"
bool app_name_reserved(const char *name, size_t size);

/* A pattern ends with a star, and matches all names that begin with what stands before it. */
bool app_name_matches(const char *pattern, size_t pattern_size, const char *name, size_t size);

/* As app_name_matches(), but a pattern reaches the server's own topics only if it names them, which not everybody may
 * do. */
bool app_name_reaches(const char *pattern, size_t pattern_size, const char *name, size_t size);

/* Whether a list of names, or prefixes and a star, with commas between them holds a name; null holds none. */
bool app_names_hold(const char *list, const char *name, size_t size);

#endif
