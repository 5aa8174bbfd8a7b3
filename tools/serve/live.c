/* SPDX-License-Identifier: MIT
 *
 * live.c - see live.h.
 */
#include "live.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/units.h"
#include "lib/wait.h"
#include "ringcast_stats.h"

#define TERMINAL_PERIOD_NS NS_PER_SECOND
#define LOG_PERIOD_NS (10 * NS_PER_SECOND)

static uint64_t cpu_now(void)
{
	struct timespec used = { 0 };
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
}

static void take(struct serve_live *live)
{
	rc_server_stats(live->server, &live->stats);
	live->at_ns = clock_now();
	live->cpu_ns = cpu_now();
}

void serve_live_begin(struct serve_live *live, rc_server *server)
{
	bool terminal = isatty(STDOUT_FILENO) && !log_is_json();
	*live = (struct serve_live){
		.server = server,
		.terminal = terminal,
		.period_ns = terminal ? TERMINAL_PERIOD_NS : LOG_PERIOD_NS,
	};
	take(live);
}

void serve_live_show(struct serve_live *live)
{
	struct serve_live before = *live;
	char in[UNITS_SIZE], out[UNITS_SIZE], lag[UNITS_SIZE], slow[64] = "";
	take(live);
	double seconds = (double)(live->at_ns - before.at_ns) / 1e9;
	const struct rc_stats *now = &live->stats, *old = &before.stats;
	uint64_t delivered = now->deliveries + now->messages_sent - old->deliveries - old->messages_sent;
	uint64_t lost = now->dropped + now->conflated + now->slow_closed;
	if (lost)
		snprintf(slow, sizeof slow, "  slow: %" PRIu64 " dropped %" PRIu64 " closed",
		         now->dropped + now->conflated, now->slow_closed);
	struct pollfd polled = { .fd = STDOUT_FILENO, .events = POLLOUT };
	if (poll(&polled, 1, 0) != 1 || !(polled.revents & POLLOUT))
		return;
	char line[256];
	snprintf(line, sizeof line, "%" PRIu64 " connections  published %s/s  delivered %s/s  lag %s  CPU %.1f %%%s",
	         now->connections, units_format_count(in, (double)(now->published - old->published) / seconds),
	         units_format_count(out, (double)delivered / seconds), units_format_time(lag, now->lag_ns),
	         (double)(live->cpu_ns - before.cpu_ns) / 1e7 / seconds, slow);
	if (!live->terminal) {
		log_print("figures", "%s", line);
		return;
	}
	printf("\r\033[K%s", line);
	fflush(stdout);
}

void serve_live_end(struct serve_live *live)
{
	if (live->terminal)
		putchar('\n');
	fflush(stdout);
}
