/* SPDX-License-Identifier: MIT
 *
 * api.h - HTTP: what an application's other parts ask for, and what an operator looks at.
 */
#ifndef APP_API_H
#define APP_API_H

#include "ringcast.h"

struct app;

/* Looks at a key before a body is gathered: as handlers.head does. */
int app_api_head(struct app *app, rc_request *request);
/* The methods that a path takes by plain HTTP, as `Allow` names them; null: there is no such path. */
const char *app_api_methods(const struct app *app, const rc_request *request);
/* Answers as handlers.request does. */
int app_api_answer(struct app *app, rc_request *request);

#endif
