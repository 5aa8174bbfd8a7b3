/* SPDX-License-Identifier: MIT
 *
 * wait.h - what the main thread waits for: a signal that asks to end, a wake-up by a worker, or time. Signals are
 * blocked before any thread starts and read as data, so that nothing ever runs inside a signal handler.
 */
#ifndef RC_WAIT_H
#define RC_WAIT_H

#include <stdint.h>

#define RC_NS_PER_MS 1000000ull
#define RC_NS_PER_SECOND 1000000000ull

struct rc_wait {
	int signals; /* signalfd of SIGINT and SIGTERM, and perhaps of SIGHUP */
	int wake;    /* eventfd */
};

enum rc_wait_event { RC_WAIT_TIME, RC_WAIT_WAKE, RC_WAIT_SIGNAL, RC_WAIT_READABLE, RC_WAIT_HANGUP };

/* Call before the first thread starts. Returns 0 or a negative errno. */
int rc_wait_open(struct rc_wait *wait);
void rc_wait_close(struct rc_wait *wait);
/* SIGHUP is no end any more but RC_WAIT_HANGUP. Also before the first thread. Returns 0 or a negative errno. */
int rc_wait_hangups(struct rc_wait *wait);
/* From here on the calling thread is ended by a signal as usual: for a second Ctrl-C while it joins the others. */
void rc_wait_release(struct rc_wait *wait);

/* Waits until something happens or `until_ns` (rc_clock_now()) has come; UINT64_MAX is for ever. A signal comes first.
 */
enum rc_wait_event rc_wait_until(struct rc_wait *wait, uint64_t until_ns);

/* Waits until `descriptor` can be read without blocking, or something else happens. */
enum rc_wait_event rc_wait_readable(struct rc_wait *wait, int descriptor);

/* Wakes the waiting thread. Any thread. */
void rc_wait_wake(struct rc_wait *wait);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t rc_clock_now(void);

#endif
