/* SPDX-License-Identifier: MIT
 *
 * wait.c - see wait.h.
 */
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

uint64_t rc_clock_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * RC_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static sigset_t ending_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	return set;
}

int rc_wait_open(struct rc_wait *wait)
{
	sigset_t set = ending_signals();
	*wait = (struct rc_wait){ .signals = -1, .wake = -1 };
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	wait->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	wait->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wait->signals >= 0 && wait->wake >= 0)
		return 0;
	int code = -errno;
	rc_wait_close(wait);
	return code;
}

int rc_wait_hangups(struct rc_wait *wait)
{
	sigset_t set = ending_signals();
	sigaddset(&set, SIGHUP);
	return sigprocmask(SIG_BLOCK, &set, NULL) || signalfd(wait->signals, &set, 0) < 0 ? -errno : 0;
}

void rc_wait_release(struct rc_wait *wait)
{
	sigset_t set = ending_signals();
	(void)wait;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void rc_wait_close(struct rc_wait *wait)
{
	if (wait->signals >= 0)
		close(wait->signals);
	if (wait->wake >= 0)
		close(wait->wake);
	wait->signals = wait->wake = -1;
}

static enum rc_wait_event wait_for(struct rc_wait *wait, int descriptor, uint64_t until_ns)
{
	struct pollfd polled[] = {
		{ .fd = wait->signals, .events = POLLIN },
		{ .fd = wait->wake, .events = POLLIN },
		{ .fd = descriptor, .events = POLLIN }, /* passed over by poll() when negative */
	};
	for (;;) {
		uint64_t now = rc_clock_now();
		uint64_t rest = until_ns > now ? until_ns - now : 0;
		struct timespec time = { .tv_sec = (time_t)(rest / RC_NS_PER_SECOND),
			                 .tv_nsec = (long)(rest % RC_NS_PER_SECOND) };
		int count = ppoll(polled, 3, until_ns == UINT64_MAX ? NULL : &time, NULL);
		if (count == 0)
			return RC_WAIT_TIME;
		if (count < 0)
			continue; /* EINTR: a debugger, or a stop and a continue */
		struct signalfd_siginfo info;
		if (polled[0].revents && read(wait->signals, &info, sizeof info) > 0)
			return info.ssi_signo == SIGHUP ? RC_WAIT_HANGUP : RC_WAIT_SIGNAL;
		uint64_t value;
		if (polled[1].revents && read(wait->wake, &value, sizeof value) > 0)
			return RC_WAIT_WAKE;
		if (polled[2].revents)
			return RC_WAIT_READABLE;
	}
}

enum rc_wait_event rc_wait_until(struct rc_wait *wait, uint64_t until_ns)
{
	return wait_for(wait, -1, until_ns);
}

enum rc_wait_event rc_wait_readable(struct rc_wait *wait, int descriptor)
{
	return wait_for(wait, descriptor, UINT64_MAX);
}

void rc_wait_wake(struct rc_wait *wait)
{
	/* The counter can only be full after 2^64 wake-ups that nobody read: then a wake-up is waiting anyway. */
	ssize_t written = write(wait->wake, &(uint64_t){ 1 }, sizeof(uint64_t));
	(void)written;
}
