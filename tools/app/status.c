/* SPDX-License-Identifier: MIT
 *
 * status.c - see status.h.
 */
#include "status.h"

#include "client.h"
#include "wire.h"

void app_status_write(struct app_out *out, const char *status, size_t count)
{
	app_out_format(out, ",\"status\":\"%s\",\"count\":%zu", status, count);
}

void app_status_tell(struct app_client *client, const json_t *id, const char *status, size_t count, const char *number)
{
	struct app_out *out = &client->crew->out;
	if (client->inside) {
		client->outcome = (struct app_outcome){ status, count };
		return;
	}
	app_out_clear(out);
	app_out_type(out, "status", id);
	app_status_write(out, status, count);
	if (*number)
		app_out_format(out, ",\"messageId\":\"%s\"", number);
	app_out_text(out, "}");
	app_send(client, out);
}
