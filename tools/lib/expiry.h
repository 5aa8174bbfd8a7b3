/* SPDX-License-Identifier: MIT
 *
 * expiry.h - what is to be said of the certificates that a server shows: expired, about to, not valid yet.
 */
#ifndef LIB_EXPIRY_H
#define LIB_EXPIRY_H

#include <stdint.h>

#include "ringcast.h"

#define EXPIRY_SOON_DAYS 14

/* Says each thing once, as a line for the log: `level` is an enum log_level. Returns how many there were. */
unsigned expiry_look(rc_server *server, void (*say)(int level, const char *words));

/* The same, into the log. */
void expiry_warn(rc_server *server);

/* Once a day: `*next_ns` is when, by clock_now(), and 0 at first. */
void expiry_warn_daily(rc_server *server, uint64_t *next_ns);

#endif
