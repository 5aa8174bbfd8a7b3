/* SPDX-License-Identifier: MIT
 *
 * environment.c - see environment.h.
 */
#include "environment.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "url.h"

#define PREFIX "RINGCAST_"
#define PREFIX_SIZE (sizeof PREFIX - 1)

/* An empty variable counts as none, as in a shell. */
static const char *read_variable(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

int environment_url(const struct subcommand *command, const char *operand, char **url)
{
	const char *base = read_variable("RINGCAST_URL");
	bool path = operand && *operand == '/';
	if (operand && !path) {
		*url = strdup(operand);
	} else if (!base) {
		return path ? options_wrong(command,
		                            "'%s' is a path: set RINGCAST_URL to its server, as in "
		                            "RINGCAST_URL=ws://127.0.0.1:8080, or write the whole URL",
		                            operand)
		            : options_wrong(command, "a URL is missing: write one, or set RINGCAST_URL");
	} else {
		size_t size = url_base_size(base);
		if (!size)
			return options_wrong(command,
			                     "RINGCAST_URL '%s': expected ws://HOST:PORT, wss://HOST:PORT or "
			                     "ws+unix:/SOCKET:",
			                     base);
		*url = malloc((path ? size + strlen(operand) : strlen(base)) + 1);
		if (*url)
			sprintf(*url, "%.*s%s", path ? (int)size : (int)strlen(base), base, path ? operand : "");
	}
	return *url ? -1 : command_failed("no memory");
}

int environment_urls(const struct subcommand *command, char **operands, int count, struct environment_urls *urls)
{
	urls->count = 0;
	if (count > ENVIRONMENT_URLS_MAX)
		return options_wrong(command, "at most %d URLs", ENVIRONMENT_URLS_MAX);
	do {
		int status = environment_url(command, count ? operands[urls->count] : NULL, &urls->items[urls->count]);
		if (status >= 0)
			return status;
		urls->count++;
	} while ((int)urls->count < count);
	return -1;
}

void environment_urls_free(struct environment_urls *urls)
{
	while (urls->count)
		free(urls->items[--urls->count]);
}

bool environment_token(const char **token)
{
	const char *value = read_variable("RINGCAST_TOKEN");
	*token = value;
	if (!value)
		return true;
	size_t size = strlen(value);
	if (size <= ENVIRONMENT_TOKEN_MAX && text_is_name(value, size) && !strchr(value, ' '))
		return true;
	/* What it says is a secret, and stays one. */
	command_failed("RINGCAST_TOKEN: expected a token of at most %d bytes, without spaces and line ends",
	               ENVIRONMENT_TOKEN_MAX);
	return false;
}

void environment_name(const char *option, char name[ENVIRONMENT_NAME_SIZE])
{
	size_t at = PREFIX_SIZE;
	memcpy(name, PREFIX, PREFIX_SIZE);
	for (; *option && at + 1 < ENVIRONMENT_NAME_SIZE; option++)
		name[at++] = *option == '-' ? '_' : (char)toupper((unsigned char)*option);
	name[at] = 0;
}

/* Kubernetes tells a pod of every service in its namespace, and one of them may well be called ringcast:
 * RINGCAST_SERVICE_HOST, RINGCAST_SERVICE_PORT_HTTP, RINGCAST_PORT=tcp://..., RINGCAST_PORT_8080_TCP_ADDR. */
static bool is_of_kubernetes(const char *name, const char *value)
{
	const char *port = strstr(name, "_PORT_");
	size_t size = strlen(name);
	return strstr(name, "_SERVICE_PORT") || (size > 13 && !strcmp(name + size - 13, "_SERVICE_HOST")) ||
	       (port && isdigit((unsigned char)port[6])) ||
	       (size > 5 && !strcmp(name + size - 5, "_PORT") && strstr(value, "://"));
}

static bool is_known(const struct option_entry *settings, const char *name, const char *value)
{
	if (!strcmp(name, "RINGCAST_URL") || !strcmp(name, "RINGCAST_TOKEN") || is_of_kubernetes(name, value))
		return true;
	for (; settings->name; settings++) {
		char setting[ENVIRONMENT_NAME_SIZE];
		environment_name(settings->name, setting);
		if (!strcmp(setting, name))
			return true;
	}
	return false;
}

bool environment_is_known(const struct option_entry *settings)
{
	for (char **entry = environ; entry && *entry; entry++) {
		const char *value = strchr(*entry, '=');
		char name[256];
		if (!value || strncmp(*entry, PREFIX, PREFIX_SIZE) != 0)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)(value - *entry), *entry);
		if (is_known(settings, name, value + 1))
			continue;
		command_failed("%s is set in the environment, and nothing reads it: correct its name ('ringcast app "
		               "--help' has those of the settings), or 'unset %s'",
		               name, name);
		return false;
	}
	return true;
}
