/* SPDX-License-Identifier: MIT
 *
 * visit.c - see visit.h.
 */
#include "visit.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

struct visit {
	void (*fn)(void *context, unsigned worker);
	void *context;
	unsigned worker;
	_Atomic bool done;
};

static void arrive(void *argument)
{
	struct visit *visit = argument;
	if (visit->fn)
		visit->fn(visit->context, visit->worker);
	atomic_store(&visit->done, true);
}

void visit_workers(rc_server *server, void (*fn)(void *context, unsigned worker), void *context)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	for (unsigned worker = 0; worker < rc_server_worker_count(server); worker++) {
		struct visit visit = { .fn = fn, .context = context, .worker = worker };
		int code;
		while ((code = rc_post(server, worker, arrive, &visit)) && code != -ENOTCONN)
			nanosleep(&nap, NULL);
		while (!code && !atomic_load(&visit.done))
			nanosleep(&nap, NULL);
	}
}
