/* SPDX-License-Identifier: MIT
 *
 * info.h - where a client is from, as operators and those with the permission `admin` may see it: its address, what it
 * calls itself, and since when it is here. It is taken once and does not change.
 */
#ifndef APP_INFO_H
#define APP_INFO_H

#include "out.h"
#include "ringcast.h"

struct app_client;

#define APP_INFO_AGENT_MAX 200 /* bytes of a User-Agent that are kept */

/* Without memory, nothing is known of it. */
void app_info_take(struct app_client *client, rc_request *request);
void app_info_free(struct app_client *client);

/* Writes {"clientId","userId","address","userAgent","connectedSince","transport"}. (lock) */
void app_info_write(struct app_out *out, const struct app_client *client);

#endif
