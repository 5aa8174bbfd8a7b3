/* SPDX-License-Identifier: MIT
 *
 * names.c - see names.h: a few threads around getaddrinfo(), begun when the first names come. It must not know who asks
 * or why.
 *
 * Invariant: a lookup is in the queue, with one thread, or in a mailbox. The threads outlive the server where
 * getaddrinfo() does: what they share is freed by the last of them.
 */
#include "names.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct names {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct lookup *first, **end;
	unsigned waiting, threads, idle;
	bool over;
};

struct names *rc_names_new(void)
{
	struct names *names = calloc(1, sizeof *names);
	if (!names)
		return NULL;
	names->end = &names->first;
	pthread_mutex_init(&names->lock, NULL);
	pthread_cond_init(&names->more, NULL);
	return names;
}

static void destroy(struct names *names)
{
	pthread_cond_destroy(&names->more);
	pthread_mutex_destroy(&names->lock);
	free(names);
}

static void ask(struct lookup *lookup)
{
	/* Not AI_ADDRCONFIG: it would hide ::1 where only the loopback has IPv6. What cannot be reached says so. */
	const struct addrinfo wish = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *found = NULL;
	char port[8];
	snprintf(port, sizeof port, "%u", (unsigned)lookup->port);
	lookup->result = getaddrinfo(lookup->name, port, &wish, &found);
	lookup->system_error = lookup->result == EAI_SYSTEM ? errno : 0;
	for (const struct addrinfo *at = found; at && lookup->count < RC_ADDRESSES_MAX; at = at->ai_next)
		if (at->ai_addrlen <= sizeof *lookup->addresses)
			memcpy(&lookup->addresses[lookup->count++], at->ai_addr, at->ai_addrlen);
	if (found)
		freeaddrinfo(found);
}

/* Takes the next question; null: it is over. With the lock. */
static struct lookup *await(struct names *names)
{
	names->idle++;
	while (!names->first && !names->over)
		pthread_cond_wait(&names->more, &names->lock);
	names->idle--;
	if (names->over)
		return NULL;
	struct lookup *lookup = names->first;
	names->first = lookup->next;
	if (!names->first)
		names->end = &names->first;
	names->waiting--;
	return lookup;
}

static void *serve(void *argument)
{
	struct names *names = argument;
	struct lookup *lookup;
	pthread_setname_np(pthread_self(), "ringcast-names");
	pthread_mutex_lock(&names->lock);
	while ((lookup = await(names))) {
		pthread_mutex_unlock(&names->lock);
		ask(lookup);
		/* The mailboxes are there as long as it is not over. */
		pthread_mutex_lock(&names->lock);
		if (names->over || rc_mailbox_deliver(lookup->mailbox, &lookup->command) < 0)
			free(lookup);
	}
	bool last = --names->threads == 0;
	pthread_mutex_unlock(&names->lock);
	if (last)
		destroy(names);
	return NULL;
}

/* With the lock. Returns 0 or a negative errno. */
static int start_thread(struct names *names)
{
	pthread_t thread;
	sigset_t all, before;
	sigfillset(&all);
	/* Signals are the program's. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = -pthread_create(&thread, NULL, serve, names);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result < 0)
		return result;
	pthread_detach(thread);
	names->threads++;
	return 0;
}

int rc_names_ask(struct names *names, struct lookup *lookup)
{
	int result = 0;
	lookup->next = NULL;
	pthread_mutex_lock(&names->lock);
	if (names->waiting >= RC_NAMES_MAX) {
		result = -EBUSY;
	} else if (names->waiting >= names->idle && names->threads < RC_NAME_THREADS_MAX) {
		result = start_thread(names);
		if (names->threads)
			result = 0; /* those that there are serve it too */
	}
	if (result == 0) {
		*names->end = lookup;
		names->end = &lookup->next;
		names->waiting++;
		pthread_cond_signal(&names->more);
	}
	pthread_mutex_unlock(&names->lock);
	return result;
}

void rc_names_free(struct names *names)
{
	if (!names)
		return;
	pthread_mutex_lock(&names->lock);
	names->over = true;
	while (names->first) {
		struct lookup *lookup = names->first;
		names->first = lookup->next;
		free(lookup);
	}
	bool last = names->threads == 0;
	pthread_cond_broadcast(&names->more);
	pthread_mutex_unlock(&names->lock);
	if (last)
		destroy(names);
}
