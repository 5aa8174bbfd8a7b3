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

uint64_t clock_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static sigset_t ending_signals(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	return set;
}

int wait_open(struct wait *wait)
{
	sigset_t set = ending_signals();
	*wait = (struct wait){ .signals = -1, .wake = -1 };
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	wait->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	wait->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wait->signals >= 0 && wait->wake >= 0)
		return 0;
	int code = -errno;
	wait_close(wait);
	return code;
}

int wait_hangups(struct wait *wait)
{
	sigset_t set = ending_signals();
	sigaddset(&set, SIGHUP);
	return sigprocmask(SIG_BLOCK, &set, NULL) || signalfd(wait->signals, &set, 0) < 0 ? -errno : 0;
}

void wait_release(struct wait *wait)
{
	sigset_t set = ending_signals();
	(void)wait;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void wait_close(struct wait *wait)
{
	if (wait->signals >= 0)
		close(wait->signals);
	if (wait->wake >= 0)
		close(wait->wake);
	wait->signals = wait->wake = -1;
}

static enum wait_event wait_for(struct wait *wait, int descriptor, uint64_t until_ns)
{
	struct pollfd polled[] = {
		{ .fd = wait->signals, .events = POLLIN },
		{ .fd = wait->wake, .events = POLLIN },
		{ .fd = descriptor, .events = POLLIN }, /* poll() ignores a negative one */
	};
	for (;;) {
		uint64_t now = clock_now();
		uint64_t rest = until_ns > now ? until_ns - now : 0;
		struct timespec time = { .tv_sec = (time_t)(rest / NS_PER_SECOND),
			                 .tv_nsec = (long)(rest % NS_PER_SECOND) };
		int count = ppoll(polled, 3, until_ns == UINT64_MAX ? NULL : &time, NULL);
		if (count == 0)
			return WAIT_TIME;
		if (count < 0)
			continue; /* EINTR: a debugger, or a stop and a continue */
		struct signalfd_siginfo info;
		if (polled[0].revents && read(wait->signals, &info, sizeof info) > 0)
			return info.ssi_signo == SIGHUP ? WAIT_HANGUP : WAIT_SIGNAL;
		uint64_t value;
		if (polled[1].revents && read(wait->wake, &value, sizeof value) > 0)
			return WAIT_WAKE;
		if (polled[2].revents)
			return WAIT_READABLE;
	}
}

enum wait_event wait_until(struct wait *wait, uint64_t until_ns)
{
	return wait_for(wait, -1, until_ns);
}

enum wait_event wait_readable(struct wait *wait, int descriptor)
{
	return wait_for(wait, descriptor, UINT64_MAX);
}

void wait_wake(struct wait *wait)
{
	/* The counter can only be full after 2^64 wake-ups that nobody read: then a wake-up is waiting anyway. */
	ssize_t written = write(wait->wake, &(uint64_t){ 1 }, sizeof(uint64_t));
	(void)written;
}
