/* SPDX-License-Identifier: MIT
 *
 * paths.c - see paths.h.
 */
#include "paths.h"

#include <string.h>

#define OURS "ringcast."

static const char *header_at(const rc_request *request, unsigned line)
{
	return rc_request_header_at(request, "Sec-WebSocket-Protocol", line);
}

/* ---- paths ---- */

static bool begins(const char *path, const char *place, const char **user)
{
	size_t size = strlen(place);
	if (strncmp(path, place, size) != 0 || (path[size] && path[size] != '/'))
		return false;
	*user = path[size] && path[size + 1] ? path + size + 1 : NULL;
	return true;
}

bool app_paths_find(const struct app_settings *settings, const char *path, const char **user)
{
	*user = NULL;
	if (begins(path, "/ws", user))
		return true;
	for (unsigned i = 0; i < settings->paths.count; i++) {
		const char *place = settings->paths.items[i];
		/* Below / are all paths, and none of them is anybody's name. */
		if (strcmp(place, "/") == 0 ? strcmp(path, "/") == 0 : begins(path, place, user))
			return true;
	}
	return false;
}

static bool offers_ours(const rc_request *request)
{
	const char *line;
	for (unsigned i = 0; (line = header_at(request, i)); i++)
		if (strstr(line, OURS))
			return true;
	return false;
}

enum app_place app_paths_place(const struct app_settings *settings, const rc_request *request)
{
	const char *path = rc_request_path(request), *user;
	bool ways = app_paths_find(settings, path, &user);
	if (settings->plain_chat && (ways || strcmp(path, "/") == 0) && !offers_ours(request))
		return APP_PLACE_CHAT;
	if (ways)
		return APP_PLACE_DIALECT;
	bool open = settings->auth == APP_AUTH_OFF || settings->auth == APP_AUTH_OPTIONAL;
	return open && !settings->hooks.urls[APP_HOOK_CONNECT] && strcmp(path, "/echo") == 0 ? APP_PLACE_ECHO
	                                                                                     : APP_PLACE_NONE;
}

/* ---- subprotocols ---- */

static bool is_word(const char *word, size_t size, const char *name)
{
	return strlen(name) == size && memcmp(word, name, size) == 0;
}

/* The one of --protocols that this is, or null. */
static const char *find_own(const struct app_settings *settings, const char *word, size_t size)
{
	for (unsigned i = 0; i < settings->protocols.count; i++)
		if (is_word(word, size, settings->protocols.items[i]))
			return settings->protocols.items[i];
	return NULL;
}

/* The text that is chosen must stay when the request is over. */
bool app_paths_agree(const struct app_settings *settings, rc_request *request, enum app_form *form)
{
	const char *line;
	*form = APP_FORM_JSON;
	for (unsigned i = 0; (line = header_at(request, i)); i++) {
		while (*line) {
			line += strspn(line, ", \t");
			size_t size = strcspn(line, ", \t");
			const char *own = size ? find_own(settings, line, size) : NULL;
			if (own && rc_request_choose_protocol(request, own))
				return true;
			if (app_form_is_named(line, size))
				return app_form_choose(request, form);
			line += size;
		}
	}
	return true;
}
