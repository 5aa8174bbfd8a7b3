/* SPDX-License-Identifier: MIT
 *
 * web.h - the browser side, as files that are part of the program: the dashboard at / and the client /ringcast.js.
 */
#ifndef APP_WEB_H
#define APP_WEB_H

#include "ringcast.h"

/* Answers a plain request for one of the files as handlers.request does. Returns -1 when it is for none of them. */
int app_web_answer(rc_request *request);

#endif
