/* SPDX-License-Identifier: MIT
 *
 * access.h - what a request tells of where it comes from: its origin, its address behind proxies, and the keys of the
 * API and of operators. It reads requests and settings; login.h decides who the client is.
 */
#ifndef APP_ACCESS_H
#define APP_ACCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "ringcast.h"
#include "settings.h"

struct app;

#define APP_PROTOCOL "ringcast.json" /* the subprotocol */

/* Whether the name by which a browser asks is one that cannot have been pointed here by a stranger. That matters where
 * only this machine is expected and no token says who it is: by a listener of loopback. */
bool app_access_host(const struct app *app, const rc_request *request);
/* Whether pages of the request's origin may connect. */
bool app_access_origin(const struct app_settings *settings, const rc_request *request);
/* Whether the request's cookies say who its user is. */
bool app_access_cookies(const struct app_settings *settings, const rc_request *request);

/* The address that counts: the peer's, or what a trusted proxy says. Returns it in `scratch`. */
const char *app_access_address(const struct app_settings *settings, const rc_request *request, char *scratch,
                               size_t size);

/* Whether the request may use /api; and whether it may read the figures of operators. If not, *why is what to say. */
bool app_access_api(const struct app *app, rc_request *request, const char **why);
bool app_access_figures(const struct app *app, rc_request *request, const char **why);

#endif
