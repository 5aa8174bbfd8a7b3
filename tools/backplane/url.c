/* SPDX-License-Identifier: MIT
 *
 * url.c - see url.h. The text is copied and cut in place; what is percent-encoded is decoded after the cuts.
 */
#include "url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 32) - 'a' + 10 : -1;
}

/* In place; false: a '%' without two digits, or a zero byte. */
static bool decode(char *text)
{
	char *to = text;
	for (const char *at = text; *at; at++) {
		if (*at != '%') {
			*to++ = *at;
			continue;
		}
		int high = digit(at[1]), low = high < 0 ? -1 : digit(at[2]);
		if (low < 0 || !(high | low))
			return false;
		*to++ = (char)(high << 4 | low);
		at += 2;
	}
	*to = 0;
	return true;
}

/* Cuts at the first of these characters; returns what is behind it, or null. */
static char *cut(char *text, const char *at)
{
	char *found = strpbrk(text, at);
	if (found)
		*found++ = 0;
	return found;
}

static const char *parse_host(struct backplane_url *url, char *text)
{
	struct backplane_host *host = &url->hosts[url->host_count];
	char *port = NULL;
	if (url->host_count == BACKPLANE_HOSTS_MAX)
		return "at most 8 addresses are taken";
	if (*text == '[') {
		char *end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return "an address of IPv6 is written [ADDRESS]:PORT";
		port = end[1] ? end + 2 : NULL;
		*end = 0;
		text++;
	} else {
		port = cut(text, ":");
	}
	char *end = NULL;
	unsigned long number = port ? strtoul(port, &end, 10) : 0;
	if (port && (!isdigit((unsigned char)*port) || *end || !number || number > 65535))
		return "a port is a number from 1 to 65535";
	if (!*text || !decode(text))
		return "the host is missing: SCHEME://HOST:PORT";
	host->name = text;
	host->port = (unsigned)number;
	url->host_count++;
	return NULL;
}

static const char *parse_authority(struct backplane_url *url, char *text)
{
	char *hosts = strrchr(text, '@');
	if (hosts) {
		*hosts++ = 0;
		char *password = cut(text, ":");
		if (!decode(text) || (password && !decode(password)))
			return "user and password are percent-encoded: %XX";
		url->user = *text ? text : NULL;
		url->password = password;
	} else {
		hosts = text;
	}
	for (char *next; hosts; hosts = next) {
		next = cut(hosts, ",");
		const char *wrong = parse_host(url, hosts);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static const char *parse_values(struct backplane_url *url, char *text)
{
	for (char *next; text && *text; text = next) {
		next = cut(text, "&");
		char *value = cut(text, "=");
		if (url->value_count == BACKPLANE_VALUES_MAX)
			return "too many values behind the '?'";
		if (!value || !*text || !decode(value))
			return "behind the '?' stand NAME=VALUE, with '&' between";
		url->values[url->value_count++] = (struct backplane_value){ text, value };
	}
	return NULL;
}

const char *backplane_url_parse(struct backplane_url *url, const char *text)
{
	*url = (struct backplane_url){ .path = "" };
	if (strlen(text) >= BACKPLANE_URL_SIZE)
		return "it is longer than 1023 bytes";
	snprintf(url->text, sizeof url->text, "%s", text);
	char *rest = strstr(url->text, "://");
	if (!rest || rest == url->text)
		return "expected SCHEME://HOST:PORT, as redis://127.0.0.1:6379/0";
	*rest = 0;
	rest += 3;
	url->scheme = url->text;
	char *values = strchr(rest, '?');
	if (values)
		*values++ = 0;
	/* A password may hold a '/' only as %2F. */
	char *path = cut(rest, "/");
	if (path && !decode(path))
		return "the path is percent-encoded: %XX";
	url->path = path ? path : "";
	const char *wrong = parse_authority(url, rest);
	return wrong ? wrong : parse_values(url, values);
}

const char *backplane_url_value(const struct backplane_url *url, const char *name, const char *otherwise)
{
	for (unsigned i = 0; i < url->value_count; i++)
		if (strcmp(url->values[i].name, name) == 0)
			return url->values[i].value;
	return otherwise;
}

bool backplane_url_number(const struct backplane_url *url, const char *name, unsigned long least, unsigned long most,
                          unsigned long *number)
{
	const char *text = backplane_url_value(url, name, NULL);
	char *end;
	if (!text)
		return true;
	errno = 0;
	unsigned long read = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || read < least || read > most)
		return false;
	*number = read;
	return true;
}

const char *backplane_url_unknown(const struct backplane_url *url, const char *const *known)
{
	for (unsigned i = 0; i < url->value_count; i++) {
		const char *const *at = known;
		while (*at && strcmp(*at, url->values[i].name) != 0)
			at++;
		if (!*at)
			return url->values[i].name;
	}
	return NULL;
}

void backplane_url_show(const struct backplane_url *url, char *text, size_t size)
{
	int at = snprintf(text, size, "%s://", url->scheme);
	for (unsigned i = 0; i < url->host_count && at > 0 && (size_t)at < size; i++) {
		const struct backplane_host *host = &url->hosts[i];
		bool six = strchr(host->name, ':');
		at += snprintf(text + at, size - (size_t)at, "%s%s%s%s", i ? "," : "", six ? "[" : "", host->name,
		               six ? "]" : "");
		if (host->port && (size_t)at < size)
			at += snprintf(text + at, size - (size_t)at, ":%u", host->port);
	}
	if (*url->path && at > 0 && (size_t)at < size)
		snprintf(text + at, size - (size_t)at, "/%s", url->path);
}
