/* SPDX-License-Identifier: MIT
 *
 * wait.h - what the main thread waits for: a signal that asks to end, a wake-up by a worker, or time. Signals are
 * blocked before any thread starts and read as data, so that nothing ever runs inside a signal handler.
 */
#ifndef LIB_WAIT_H
#define LIB_WAIT_H

#include <stdint.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SECOND UINT64_C(1000000000)

struct wait {
	int signals; /* signalfd of SIGINT and SIGTERM, and perhaps of SIGHUP */
	int wake;    /* eventfd */
};

enum wait_event { WAIT_TIME, WAIT_WAKE, WAIT_SIGNAL, WAIT_READABLE, WAIT_HANGUP };

/* Call before the first thread starts. Returns 0 or a negative errno. */
int wait_open(struct wait *wait);
void wait_close(struct wait *wait);
/* From here on SIGHUP is reported as WAIT_HANGUP and no longer ends the program. Call before the first thread starts.
 * Returns 0 or a negative errno. */
int wait_hangups(struct wait *wait);
/* From here on the calling thread is ended by a signal as usual: for a second Ctrl-C while it joins the others. */
void wait_release(struct wait *wait);

/* Waits until something happens, or until clock_now() is `until_ns`; UINT64_MAX is for ever. When several things have
 * happened, a signal is reported first. */
enum wait_event wait_until(struct wait *wait, uint64_t until_ns);

/* Waits until `descriptor` can be read without blocking, or something else happens. */
enum wait_event wait_readable(struct wait *wait, int descriptor);

/* Wakes the waiting thread. Any thread. */
void wait_wake(struct wait *wait);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t clock_now(void);

#endif
