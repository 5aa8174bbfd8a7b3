/* SPDX-License-Identifier: MIT
 *
 * error.h - filling struct rc_error.
 */
#ifndef RC_ERROR_H
#define RC_ERROR_H

#include "ringcast.h"

/* Says what went wrong, cut off where it is longer than the text may be; `error` may be null. Returns `code`. */
int rc_fail(struct rc_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
