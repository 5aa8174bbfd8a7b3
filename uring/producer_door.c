/* SPDX-License-Identifier: MIT
 *
 * producer_door.c - who is let in as a producer: the Unix socket, the user at its other end, how many there may be. It
 * must not know what a record is.
 */
#include "producer.h"

#include "worker.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- letting in ---- */

/* A process that was let in, on its way to its worker. */
struct arrival {
	struct command command;
	int socket;
	pid_t pid;
	uid_t uid;
};

static void arrive(struct worker *worker, struct command *command)
{
	struct arrival *arrival = (struct arrival *)command;
	rc_producers_adopt(worker, arrival->socket, arrival->pid, arrival->uid);
	free(arrival);
}

/* It counts as that worker's from now on: of many who come at once, each looks at those before. */
static struct worker *choose_worker(struct rc_server *server)
{
	struct worker *best = &server->workers[0];
	for (unsigned i = 1; i < server->worker_count; i++)
		if (atomic_load(&server->workers[i].producers.count) < atomic_load(&best->producers.count))
			best = &server->workers[i];
	atomic_fetch_add(&best->producers.count, 1);
	return best;
}

static bool is_allowed(const struct rc_producers_options *options, uid_t uid)
{
	bool found = !options->uid_count;
	for (size_t i = 0; i < options->uid_count && !found; i++)
		found = options->uids[i] == uid;
	return found;
}

static void turn_away(struct worker *worker, int socket, const struct ucred *peer, int code, const char *why)
{
	atomic_fetch_add(&worker->server->producing->refused, 1);
	rc_producer_answer(socket, code, why);
	close(socket);
	rc_worker_report(worker, REPORT_PRODUCER, "a producer (process %d, user %u) was refused: %s", (int)peer->pid,
	                 (unsigned)peer->uid, why);
}

static void judge(struct worker *worker, int socket)
{
	struct producing *producing = worker->server->producing;
	struct ucred peer = { .uid = (uid_t)-1 };
	socklen_t size = sizeof peer;
	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 ||
	    !is_allowed(&producing->options, peer.uid)) {
		turn_away(worker, socket, &peer, -EACCES, "this user may not be a producer here");
		return;
	}
	if (atomic_fetch_add(&producing->count, 1) >= producing->options.producers_max) {
		atomic_fetch_sub(&producing->count, 1);
		turn_away(worker, socket, &peer, -EUSERS, "as many producers as this server takes are connected");
		return;
	}
	struct worker *target = choose_worker(worker->server);
	if (target == worker) {
		rc_producers_adopt(worker, socket, peer.pid, peer.uid);
		return;
	}
	struct arrival *arrival = malloc(sizeof *arrival);
	if (arrival)
		*arrival = (struct arrival){ { .run = arrive }, socket, peer.pid, peer.uid };
	if (!arrival || rc_mailbox_post(&target->mailbox, &arrival->command) < 0) {
		free(arrival);
		rc_producers_leave(target);
		turn_away(worker, socket, &peer, -ENOMEM, "the server has no memory for another producer");
	}
}

void rc_producer_door_look(struct worker *worker)
{
	struct producers *producers = &worker->producers;
	if (!producers->door_ready || worker->now_ns < producers->door_again_ns)
		return;
	producers->door_again_ns = 0;
	for (unsigned i = 0; i < RC_PRODUCERS_ACCEPTED_A_TICK; i++) {
		int socket = accept4(worker->server->producing->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (socket >= 0) {
			judge(worker, socket);
		} else if (errno == EAGAIN) {
			producers->door_ready = false;
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			rc_worker_report(worker, REPORT_PRODUCER, "a producer cannot be accepted: %s%s",
			                 strerror(errno), errno == EMFILE ? ": raise 'ulimit -n'" : "");
			producers->door_again_ns = worker->now_ns + RC_PRODUCER_PAUSE_NS;
			return;
		}
	}
}

/* ---- the end ---- */

void rc_producing_free(struct producing *producing)
{
	if (!producing)
		return;
	if (producing->listener >= 0) {
		close(producing->listener);
		unlink(producing->address.sun_path);
	}
	for (size_t i = 0; producing->options.topics && i < producing->options.topic_count; i++)
		free((char *)(uintptr_t)producing->options.topics[i]);
	free((void *)(uintptr_t)producing->options.topics);
	free((void *)(uintptr_t)producing->options.uids);
	free(producing);
}
