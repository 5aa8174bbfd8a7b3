/* SPDX-License-Identifier: MIT
 *
 * state.c - see node.h: whether a node is up, since when not, and rests that an end cuts short.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "node.h"

#define REST_MAX_MS 1000

static uint64_t clock_of(clockid_t id)
{
	struct timespec now = { 0 };
	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t state_clock_ns(void)
{
	return clock_of(CLOCK_MONOTONIC);
}

uint64_t state_day_ns(void)
{
	return clock_of(CLOCK_REALTIME);
}

void state_thread(void)
{
	sigset_t all;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

void state_wake(struct backplane *backplane)
{
	const uint64_t one = 1;
	ssize_t written = write(backplane->wake_fd, &one, sizeof one);
	(void)written; /* it fails only when the counter is full, and then it is readable */
}

void state_set(struct backplane *backplane, unsigned parts, bool there, const char *why)
{
	char words[ENGINE_WHY_SIZE];
	pthread_mutex_lock(&backplane->lock);
	if (parts & PART_FOLLOWING)
		backplane->following = there;
	if (parts & PART_PUBLISHING)
		backplane->publishing = there;
	if (parts & PART_WHOLE)
		backplane->whole = there;
	bool up = backplane->following && backplane->publishing && backplane->whole;
	bool came = up && backplane->away_since_ns, went = !up && !backplane->away_since_ns;
	if (why)
		snprintf(backplane->why, sizeof backplane->why, "%s", why);
	snprintf(words, sizeof words, "%s", backplane->why);
	if (went)
		backplane->away_since_ns = state_clock_ns();
	if (came) {
		backplane->away_since_ns = 0;
		backplane->was_up = true;
	}
	pthread_cond_broadcast(&backplane->changed);
	pthread_mutex_unlock(&backplane->lock);
	if (came)
		log_say(LEVEL_INFO, "backplane", NULL, "the backplane is up, and this node has what it missed");
	else if (went)
		log_say(LEVEL_WARNING, "backplane", NULL, "the backplane is away: %s", words);
}

uint64_t state_away_ns(struct backplane *backplane)
{
	pthread_mutex_lock(&backplane->lock);
	uint64_t since = backplane->away_since_ns;
	pthread_mutex_unlock(&backplane->lock);
	return since ? state_clock_ns() - since + 1 : 0;
}

void state_rest(struct backplane *backplane, unsigned ms)
{
	uint64_t until_ns = state_clock_ns() + (uint64_t)ms * 1000000;
	const struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000),
		                        .tv_nsec = (long)(until_ns % 1000000000) };
	pthread_mutex_lock(&backplane->lock);
	while (!atomic_load(&backplane->ending) && state_clock_ns() < until_ns)
		if (pthread_cond_timedwait(&backplane->changed, &backplane->lock, &until))
			break;
	pthread_mutex_unlock(&backplane->lock);
}

unsigned state_next_rest(unsigned ms)
{
	unsigned char chance = 0;
	ssize_t got = getrandom(&chance, 1, 0);
	(void)got;
	ms = ms ? ms * 2 : 10;
	return (ms > REST_MAX_MS ? REST_MAX_MS : ms) * (192u + chance / 4u) / 256u;
}
