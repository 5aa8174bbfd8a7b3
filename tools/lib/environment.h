/* SPDX-License-Identifier: MIT
 *
 * environment.h - what the commands read of the environment. RINGCAST_URL names the server, and RINGCAST_TOKEN is what
 * a request shows it; every command that speaks to a server reads both. All other variables that begin with RINGCAST_
 * are settings of `ringcast app`, and one that nobody reads is an error, not passed over.
 */
#ifndef LIB_ENVIRONMENT_H
#define LIB_ENVIRONMENT_H

#include <stddef.h>

#include "options.h"

#define ENVIRONMENT_NAME_SIZE 64
#define ENVIRONMENT_TOKEN_MAX 3072 /* bytes; with its header it fits in a request's head */

/* For the help of the commands that read them. */
#define ENVIRONMENT_ABOUT                                                                                              \
	"RINGCAST_URL names the server where no URL is given, and /PATH is a path of it. RINGCAST_TOKEN is shown as\n" \
	"`Authorization: Bearer TOKEN`."

/* The URL that an operand means: itself, or for "/PATH" that path of RINGCAST_URL's server, or for null RINGCAST_URL.
 * Returns -1 with *url, to be freed; or an exit status after printing why there is none. */
int environment_url(const struct subcommand *command, const char *operand, char **url);

/* The URLs of several operands; of none, RINGCAST_URL's. */
#define ENVIRONMENT_URLS_MAX 64
struct environment_urls {
	char *items[ENVIRONMENT_URLS_MAX];
	unsigned count;
};

/* Returns -1, or an exit status after printing why. environment_urls_free() comes after either. */
int environment_urls(const struct subcommand *command, char **operands, int count, struct environment_urls *urls);
void environment_urls_free(struct environment_urls *urls);

/* Sets *token to RINGCAST_TOKEN, or to null. Returns false after printing that it is none. */
bool environment_token(const char **token);

/* The variable of a setting: RINGCAST_CONTENT_MAX for "content-max". */
void environment_name(const char *option, char name[ENVIRONMENT_NAME_SIZE]);

/* Whether every variable that begins with RINGCAST_ is one of the above, or a setting of this table. If not, says which
 * is not, and what to do. */
bool environment_is_known(const struct option_entry *settings);

#endif
