/* SPDX-License-Identifier: MIT
 *
 * wake.c - how an engine without a poll() of its own finds that somebody wants it back.
 */
#include <poll.h>

#include "engine.h"

bool engine_woken(int wake_fd)
{
	struct pollfd asked = { .fd = wake_fd, .events = POLLIN };
	return poll(&asked, 1, 0) > 0;
}
