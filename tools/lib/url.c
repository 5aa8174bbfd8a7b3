/* SPDX-License-Identifier: MIT
 *
 * url.c - see url.h.
 */
#include "url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t url_base_size(const char *url)
{
	if (!strncmp(url, "ws+unix:", 8)) {
		const char *colon = strchr(url + 8, ':');
		return colon ? (size_t)(colon + 1 - url) : 0;
	}
	size_t scheme_size = !strncmp(url, "ws://", 5) ? 5 : !strncmp(url, "wss://", 6) ? 6 : 0;
	return scheme_size && url[scheme_size] ? scheme_size + strcspn(url + scheme_size, "/?#") : 0;
}

/* RFC 3986, section 3.3: pchar, without the comma, which separates topics. */
static int is_plain(unsigned char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
	       (byte && strchr("-._~!$&'()*+;=:@", byte));
}

char *url_join(const char *base, size_t base_size, const char *path, const char *name, size_t name_size)
{
	size_t path_size = strlen(path);
	char *url = malloc(base_size + path_size + 3 * name_size + 1);
	if (!url)
		return NULL;
	memcpy(url, base, base_size);
	memcpy(url + base_size, path, path_size);
	char *end = url + base_size + path_size;
	for (size_t index = 0; index < name_size; index++) {
		unsigned char byte = (unsigned char)name[index];
		if (is_plain(byte))
			*end++ = (char)byte;
		else
			end += sprintf(end, "%%%02X", byte);
	}
	*end = 0;
	return url;
}

/* Whether the query has a value of that name. */
static int has_query(const char *query, const char *name)
{
	size_t size = strlen(name);
	for (; query; query = strchr(query, '&')) {
		query++;
		if (!strncmp(query, name, size) && (query[size] == '=' || query[size] == '&' || !query[size]))
			return 1;
	}
	return 0;
}

char *url_with_query(const char *url, const char *name, const char *value)
{
	const char *query = strchr(url, '?');
	if (has_query(query, name))
		return strdup(url);
	size_t size = strlen(url) + strlen(name) + strlen(value) + 3;
	char *made = malloc(size);
	if (made)
		snprintf(made, size, "%s%c%s=%s", url, query ? '&' : '?', name, value);
	return made;
}
