/* SPDX-License-Identifier: MIT
 *
 * http.h - the plain HTTP answers of a running server: /healthz, /stats (JSON), /metrics (Prometheus). They run on a
 * worker and read nothing but the public statistics.
 */
#ifndef LIB_HTTP_H
#define LIB_HTTP_H

#include "ringcast.h"

/* Answers a request for one of them. Returns 0, an HTTP status to refuse with, or -1 when the path is another's. */
int http_answer(rc_request *request);

/* What the server's workers run on: "io_uring" or "epoll". */
const char *http_ring_name(rc_server *server);

#endif
