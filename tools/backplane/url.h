/* SPDX-License-Identifier: MIT
 *
 * url.h - the address of an engine, as it is given on the command line, taken apart:
 *
 *      SCHEME://[USER[:PASSWORD]@]HOST[:PORT][,HOST[:PORT]...][/PATH][?NAME=VALUE[&NAME=VALUE...]]
 *
 * User, password, path and values may be percent-encoded; [::1]:6379 is an address of IPv6. It must not know any
 * engine: which names of values there are, and what they mean, is for the engine to say. Pure text.
 */
#ifndef BACKPLANE_URL_H
#define BACKPLANE_URL_H

#include <stdbool.h>
#include <stddef.h>

#define BACKPLANE_HOSTS_MAX 8
#define BACKPLANE_VALUES_MAX 16
#define BACKPLANE_URL_SIZE 1024

struct backplane_host {
	const char *name;
	unsigned port; /* 0: not given */
};

struct backplane_value {
	const char *name, *value;
};

struct backplane_url {
	const char *scheme;
	const char *user, *password; /* null: not given */
	struct backplane_host hosts[BACKPLANE_HOSTS_MAX];
	unsigned host_count;
	const char *path; /* without its '/'; empty: not given */
	struct backplane_value values[BACKPLANE_VALUES_MAX];
	unsigned value_count;
	char text[2 * BACKPLANE_URL_SIZE]; /* that the others point to: the struct must not be moved */
};

/* Takes it apart. Returns null, or what is wrong in words. */
const char *backplane_url_parse(struct backplane_url *url, const char *text);

/* The value of a name, or `otherwise`. */
const char *backplane_url_value(const struct backplane_url *url, const char *name, const char *otherwise);

/* Likewise for a whole number from `least` to `most`; false: it is something else. */
bool backplane_url_number(const struct backplane_url *url, const char *name, unsigned long least, unsigned long most,
                          unsigned long *number);

/* The first name of a value that is not among `known` (null ends it), or null. */
const char *backplane_url_unknown(const struct backplane_url *url, const char *const *known);

/* The URL without its password, for those who read logs. At most `size` bytes with the zero. */
void backplane_url_show(const struct backplane_url *url, char *text, size_t size);

#endif
