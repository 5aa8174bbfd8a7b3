/* SPDX-License-Identifier: MIT
 *
 * step.c - the public functions that run a worker inside a loop of the program's own. It must not know what a tick
 * does.
 *
 * Invariant: between two steps all that was prepared is submitted, and the worker counts as asleep unless its
 * descriptor is readable: whoever has work for it makes it so.
 */
#include "ringcast_latency.h"
#include "worker.h"

#include <unistd.h>

static struct stepped *stepped_of(rc_server *server, unsigned index)
{
	return index < server->worker_count ? &server->workers[index].stepped : NULL;
}

static int begin(struct worker *worker)
{
	struct rc_error error;
	struct rc_server *server = worker->server;
	/* The kernel does not pass a producer's word on from its eventfd to the one that the loop waits for. */
	int result = server->producing ? rc_fail(&error, -EOPNOTSUPP,
	                                         "producers need workers with threads of their own: rc_server_start() "
	                                         "or rc_server_run()")
	                               : rc_server_take_worker(server, worker->index, &error);
	bool taken = result == 0;
	if (taken) {
		worker->stepped.thread = pthread_self();
		worker->stepped.fd = worker->mailbox.wake_fd;
		/* release: who sees that it is stepped sees by whom */
		atomic_store_explicit(&worker->stepped.state, STEP_OPEN, memory_order_release);
		result = rc_worker_open(worker, &error);
	}
	if (result == 0) {
		rc_workers_stepped++;
		return 0;
	}
	/* Of two threads that come here at once, the one that has not taken the worker has nothing to undo. */
	if (taken && worker->stepped.fd != worker->mailbox.wake_fd)
		close(worker->stepped.fd);
	if (taken)
		atomic_store_explicit(&worker->stepped.state, STEP_NONE, memory_order_release);
	if (server->config.handlers.report)
		server->config.handlers.report(server->config.handlers.context, error.text);
	return result;
}

int rc_server_fd(rc_server *server, unsigned index)
{
	struct stepped *stepped = stepped_of(server, index);
	if (!stepped)
		return -EINVAL;
	struct worker *worker = &server->workers[index];
	if (stepped->state == STEP_NONE) {
		int result = begin(worker);
		if (result < 0)
			return result;
	}
	if (stepped->state == STEP_ENDED)
		return stepped->result < 0 ? stepped->result : -ENOTCONN;
	return pthread_equal(stepped->thread, pthread_self()) ? stepped->fd : -EPERM;
}

int rc_worker_step(rc_server *server, unsigned index)
{
	struct stepped *stepped = stepped_of(server, index);
	if (!stepped || stepped->state == STEP_NONE)
		return -EINVAL;
	if (stepped->state == STEP_ENDED)
		return stepped->result;
	if (!pthread_equal(stepped->thread, pthread_self()))
		return -EPERM;
	if (rc_worker_here)
		return -EDEADLK;
	stepped->result = rc_worker_tick(&server->workers[index]);
	if (stepped->result <= 0) {
		stepped->state = STEP_ENDED;
		rc_workers_stepped--;
	}
	return stepped->result;
}
