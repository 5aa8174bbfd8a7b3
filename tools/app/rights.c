/* SPDX-License-Identifier: MIT
 *
 * rights.c - see rights.h.
 */
#include "rights.h"

#include <string.h>

#include "app.h"
#include "client.h"
#include "names.h"

bool app_is_listed(const struct option_list *list, const char *name, size_t size)
{
	for (unsigned i = 0; i < list->count; i++)
		if (app_name_is_within(list->items[i], name, size))
			return true;
	return !list->count;
}

static bool is_allowed(const struct app_client *client, const struct app_names *own, const struct option_list *common,
                       const char *name, size_t size)
{
	if (client->claims.rooms.text || client->claims.topics.text)
		return app_names_allow(own, name, size);
	return app_is_listed(common, name, size);
}

static bool may_read(const struct app_client *client)
{
	return client->permissions & (APP_MAY_READ | APP_MAY_ADMIN);
}

const char *app_rights_room(const struct app_client *client, const char *name, size_t size)
{
	if (!may_read(client))
		return "Permission denied: read";
	if (!is_allowed(client, &client->claims.rooms, &app_settings_now(client->app)->rooms, name, size))
		return "Permission denied: this room is not among yours";
	return NULL;
}

const char *app_rights_topic(const struct app_client *client, const char *name, size_t size)
{
	bool data = size >= 5 && memcmp(name, "data/", 5) == 0;
	if (!may_read(client))
		return "Permission denied: read";
	if (app_name_reserved(name, size) && !(data && client->permissions & APP_MAY_ADMIN))
		return "Permission denied: this topic is the server's own";
	if (!is_allowed(client, &client->claims.topics, &app_settings_now(client->app)->topics, name, size))
		return "Permission denied: this topic is not among yours";
	return NULL;
}
