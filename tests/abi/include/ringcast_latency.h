/* SPDX-License-Identifier: MIT
 *
 * ringcast_latency.h - for programs in which microseconds count: workers inside a loop of the program's own, and what
 * workers run on. Part of the public contract; the conventions at the head of ringcast.h hold here too.
 * ringcast-latency(7) says what each choice gives and costs.
 */
#ifndef RINGCAST_LATENCY_H
#define RINGCAST_LATENCY_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------------- its ring -- */

/* What the ring of a worker is made of (rc_config.ring). On epoll everything works as on io_uring, but each send is a
 * call of its own, no send is zero-copy, and each connection takes a descriptor of the process, as on io_uring before
 * Linux 6.14. */
enum rc_ring_kind {
	/* io_uring; or epoll where that is forbidden, switched off or older than Linux 6.1. rc_server_new() decides;
	 * when it is epoll, handlers.report says why at the start. */
	RC_RING_AUTO,
	RC_RING_URING, /* io_uring, or an error */
	RC_RING_EPOLL, /* Linux 4.18 */
};

/* ------------------------------------------------------------------------------------------- a loop of one's own -- */

/* Opens a worker for an event loop (epoll, libuv, asio) of the calling thread, instead of rc_server_start(). Any
 * thread, which from then on is the only one that may step this worker; each worker wants a thread that steps or runs
 * it. The descriptor is readable whenever the worker has something to do: connections, messages, what other threads
 * publish or post, and its timers. Wait for that and call rc_worker_step(); never read or close it. It belongs to the
 * server, and stays open until rc_server_free(). A second call returns the same. Returns the descriptor, or what
 * rc_server_start() does, which handlers.report says in words; or
 *   -EINVAL     there is no such worker
 *   -EBUSY      another thread runs it
 *   -EPERM      another thread steps it
 *   -EOPNOTSUPP the server listens for producers, which only workers with threads of their own hear
 *   -ENOTCONN   it has ended */
RC_API int rc_server_fd(rc_server *server, unsigned worker);

/* Runs one tick of such a worker: takes what has happened, calls the handlers, sends, and never blocks. What is left to
 * do then makes the descriptor readable again. Between steps this thread is like any other: it may call what "any
 * thread" may, and RC_PUBLISH_WAIT does not wait, because the worker that it would wait for is its own. With busy_poll
 * publishers do not wake the worker: step it without a pause, and do not wait for the descriptor. Returns 1 as long as
 * the worker goes on. After rc_server_stop() it goes on until all connections have ended or the time is up, and then
 * returns 0, whenever it is called: when each worker did, rc_server_free() is next. Or -EINVAL (no such worker, or no
 * rc_server_fd() before), -EPERM (another thread than that of rc_server_fd()), -EDEADLK (from inside a callback), or
 * the errno of handlers.failed, and the worker has ended. */
RC_API int rc_worker_step(rc_server *server, unsigned worker);

#ifdef __cplusplus
}
#endif
#endif
