/* SPDX-License-Identifier: MIT
 *
 * date.h - the time of day, as messages tell it. What is measured or waited for is by clock_now() instead.
 */
#ifndef APP_DATE_H
#define APP_DATE_H

#include <stdint.h>

#include "out.h"

/* Milliseconds since 1970. */
uint64_t app_date_ms(void);
/* The same as a quoted string of ISO 8601, in UTC. */
void app_date_write(struct app_out *out);

#endif
