/* SPDX-License-Identifier: MIT
 *
 * access_log.h - who asked for what, and what came of it: a line for each request, and one for the end of each
 * connection that was opened. It must not know users. Any thread.
 *
 * What stands behind a path's `?` is left out, because tokens stand there, and so are cookies and keys.
 */
#ifndef LIB_ACCESS_LOG_H
#define LIB_ACCESS_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ringcast.h"

struct access_log {
	_Atomic bool on;
	int fd; /* once it is there it stays: another file takes its place */
};

/* Opens the file, or opens it anew: null closes it, "-" is stderr. Returns 0, or a negative errno, when nothing has
 * changed. One thread at a time. */
int access_log_open(struct access_log *log, const char *path);
/* Whether it could be opened; no file is made. Returns as access_log_open() does. */
int access_log_check(const char *path);
/* Closes it. Nobody writes any more. */
void access_log_close(struct access_log *log);

/* `client` is the address that counts; `status` is what handlers.request returns. Returns `status`. */
int access_log_request(const struct access_log *log, const rc_request *request, const char *client, int status);
void access_log_end(const struct access_log *log, rc_conn conn, const struct rc_closing *closing);

#endif
