/* SPDX-License-Identifier: MIT
 *
 * info.c - see info.h. It decides nothing, and does not know who asks.
 */
#include "info.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"
#include "client.h"
#include "date.h"
#include "directory.h"
#include "lib/local.h"
#include "wish.h"

struct app_info {
	uint64_t since_ms;
	char address[ADDRESS_TEXT_SIZE];
	char agent[]; /* ASCII */
};

void app_info_take(struct app_client *client, rc_request *request)
{
	const char *agent = rc_request_header(request, "User-Agent");
	char scratch[ADDRESS_TEXT_SIZE];
	size_t size = agent ? strnlen(agent, APP_INFO_AGENT_MAX) : 0;
	struct app_info *info = calloc(1, sizeof *info + size + 1);
	if (!info)
		return;
	info->since_ms = app_date_ms();
	const char *address = local_client(&app_settings_now(client->app)->proxies, request, scratch);
	size_t address_size = strnlen(address, sizeof info->address - 1);
	memcpy(info->address, address, address_size);
	/* What it calls itself is shown to people, as JSON. */
	for (size_t i = 0; i < size; i++)
		info->agent[i] = (char)(agent[i] >= ' ' && agent[i] < 0x7f ? agent[i] : '?');
	client->info = info;
}

void app_info_free(struct app_client *client)
{
	free(client->info);
	client->info = NULL;
}

void app_info_write(struct app_out *out, const struct app_client *client)
{
	const struct app_info *info = client->info;
	app_out_format(out, "{\"clientId\":\"%s\",\"userId\":", client->id);
	app_out_string(out, client->user->name, client->user->node.name_size);
	if (info) {
		app_out_text(out, ",\"address\":");
		app_out_string(out, info->address, strlen(info->address));
		app_out_text(out, ",\"userAgent\":");
		app_out_string(out, info->agent, strlen(info->agent));
		app_out_format(out, ",\"connectedSince\":%llu", (unsigned long long)info->since_ms);
	}
	app_out_format(out, ",\"transport\":\"%s\"}", client->session ? "poll" : client->wish ? "sse" : "websocket");
}
