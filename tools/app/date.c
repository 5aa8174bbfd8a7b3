/* SPDX-License-Identifier: MIT
 *
 * date.c - see date.h.
 */
#include "date.h"

#include <time.h>

uint64_t app_date_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void app_date_write(struct app_out *out)
{
	uint64_t ms = app_date_ms();
	time_t seconds = (time_t)(ms / 1000);
	struct tm parts;
	char text[32];
	gmtime_r(&seconds, &parts);
	strftime(text, sizeof text, "%FT%T", &parts);
	app_out_format(out, "\"%s.%03uZ\"", text, (unsigned)(ms % 1000));
}
