/* SPDX-License-Identifier: MIT
 *
 * url.h - putting URLs together for commands that speak to several paths of one server. Pure text.
 */
#ifndef LIB_URL_H
#define LIB_URL_H

#include <stddef.h>

/* The size of "ws://HOST:PORT", "wss://HOST:PORT" or "ws+unix:/SOCKET:" at the beginning of a URL, up to its path; 0
 * when it begins with none of them. */
size_t url_base_size(const char *url);

/* BASE + PATH + the name, of which every byte is percent-encoded that a path may not hold as it is. To be freed; null
 * without memory. */
char *url_join(const char *base, size_t base_size, const char *path, const char *name, size_t name_size);

/* The URL with `name=value` in its query, unless there is a value of that name already. To be freed; null without
 * memory. */
char *url_with_query(const char *url, const char *name, const char *value);

#endif
