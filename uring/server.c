/* SPDX-License-Identifier: MIT
 *
 * server.c - the public functions that make, start and stop a server. It must not know what a worker does.
 */
#include "server.h"

#include "growing.h"
#include "place.h"
#include "producer.h"
#include "ringcast_latency.h"
#include "text.h"
#include "worker.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

const char *rc_version(void)
{
	return RC_VERSION;
}
unsigned rc_version_number(void)
{
	return RC_VERSION_NUMBER;
}
unsigned rc_server_worker_count(const rc_server *server)
{
	return server->worker_count;
}

void(rc_config_init)(struct rc_config *given, size_t struct_size)
{
	const struct rc_config defaults = {
		.subscriptions_max = RC_SUBSCRIPTIONS_DEFAULT,
		.message_size_max = RC_MESSAGE_SIZE_DEFAULT,
		.log_size = RC_LOG_SIZE_DEFAULT,
		.policy = RC_POLICY_CLOSE,
		.handshake_timeout_ms = RC_HANDSHAKE_TIMEOUT_MS,
		.idle_timeout_ms = RC_IDLE_TIMEOUT_MS,
		.ping_interval_ms = RC_PING_INTERVAL_MS,
		.close_timeout_ms = RC_CLOSE_TIMEOUT_MS,
		.notsent_lowat_size = RC_NOTSENT_LOWAT,
		.round_interval_us = RC_ROUND_INTERVAL_US,
		.deflate = { .level = RC_DEFLATE_LEVEL, .bits = 15, .size_min = RC_DEFLATE_SIZE_MIN },
		.numa_node = -1,
	};
	rc_growing_give(given, struct_size, &defaults, sizeof defaults);
}

/* ---- making ---- */

static int check_config(const struct rc_config *config, struct rc_error *error)
{
	if (config->worker_count > RC_WORKERS_MAX)
		return rc_fail(error, -EINVAL, "%u workers: at most %u", config->worker_count, RC_WORKERS_MAX);
	if (config->log_size < RC_LOG_SIZE_MIN || config->log_size > RC_LOG_SIZE_MAX ||
	    config->log_size & (config->log_size - 1))
		return rc_fail(error, -EINVAL, "a log of %zu bytes: it must be a power of two from %zu to %zu",
		               config->log_size, RC_LOG_SIZE_MIN, RC_LOG_SIZE_MAX);
	if (!config->message_size_max || config->message_size_max > RC_MESSAGE_SIZE_LIMIT)
		return rc_fail(error, -EINVAL, "messages of %zu bytes: 1 to %zu", config->message_size_max,
		               RC_MESSAGE_SIZE_LIMIT);
	if (config->send_size_max > UINT32_MAX / 2)
		return rc_fail(error, -EINVAL, "%zu bytes waiting for a connection: at most %u", config->send_size_max,
		               UINT32_MAX / 2);
	if (config->memory_max && config->memory_max < RC_MEMORY_MAX_LEAST)
		return rc_fail(error, -EINVAL, "%zu bytes of memory for connections: at least %zu, or 0",
		               config->memory_max, RC_MEMORY_MAX_LEAST);
	if (!config->subscriptions_max || config->subscriptions_max > RC_SUBSCRIPTIONS_LIMIT)
		return rc_fail(error, -EINVAL, "%u subscriptions of a connection: 1 to %u", config->subscriptions_max,
		               RC_SUBSCRIPTIONS_LIMIT);
	if (config->body_size_max > RC_BODY_SIZE_LIMIT)
		return rc_fail(error, -EINVAL, "bodies of %zu bytes: at most %zu", config->body_size_max,
		               RC_BODY_SIZE_LIMIT);
	if (!config->handshake_timeout_ms || !config->close_timeout_ms)
		return rc_fail(error, -EINVAL, "the limits of handshake time and close time must not be 0");
	if (config->deflate.level < 1 || config->deflate.level > 9 || config->deflate.bits < 8 ||
	    config->deflate.bits > 15)
		return rc_fail(error, -EINVAL, "compression at level %u with windows of %u bits: 1 to 9, and 8 to 15",
		               config->deflate.level, config->deflate.bits);
	if (config->policy > RC_POLICY_LAST)
		return rc_fail(error, -EINVAL, "an unknown policy");
	if (config->ring > RC_RING_EPOLL)
		return rc_fail(error, -EINVAL, "an unknown ring");
	return rc_place_check(config, error);
}

static uint64_t real_time_ms(void)
{
	struct timespec time;
	clock_gettime(CLOCK_REALTIME, &time);
	return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* What was left open follows from what was not: a message that may come in may also go out, and may come in pieces. */
static void follow_limits(struct rc_config *config)
{
	size_t message_max = config->message_size_max, largest = RC_MAX(message_max, config->body_size_max);
	if (!config->fragments_max)
		config->fragments_max = (unsigned)RC_MAX(RC_FRAGMENTS_DEFAULT, message_max / RC_FRAGMENT_SIZE_LEAST);
	if (!config->send_size_max)
		config->send_size_max = RC_MAX(RC_SEND_SIZE_DEFAULT, 2 * (largest + RC_FRAME_HEADER_MAX));
}

/* *error is set where the memory was refused. */
static int make_log(struct rc_server *server, struct rc_error *error)
{
	const struct rc_config *config = &server->config;
	const struct rc_topic_options defaults = { .policy = config->policy };
	uint64_t entry_count = config->log_size / RC_LOG_BYTES_PER_ENTRY;
	/* The ring, what is known of its entries, and the blocks, which are touched only where they are used. */
	uint64_t asides_offset = config->log_size + entry_count * sizeof(struct rc_entry);
	uint64_t blocks_offset = asides_offset + entry_count * sizeof(struct rc_aside);
	int result = rc_place_map(config, blocks_offset + config->log_size, &server->log_memory,
	                          &server->log_memory_size, error);
	if (result < 0)
		return result;
	server->floors = calloc(server->worker_count, sizeof *server->floors);
	if (!server->floors)
		return -ENOMEM;
	result = rc_topics_init(&server->topics, &defaults, config->log_size, real_time_ms(), server->seed);
	if (result < 0)
		return result;
	server->epoch = server->topics.birth_next;
	result = rc_keys_init(&server->keys, &server->topics, server->pictures.size_max);
	if (result < 0)
		return result;
	rc_log_init(&server->log, &server->topics, server->log_memory, config->log_size,
	            (struct rc_entry *)((uint8_t *)server->log_memory + config->log_size), entry_count, server->floors,
	            server->worker_count);
	server->log.keys = &server->keys;
	server->log.asides = (struct rc_aside *)((uint8_t *)server->log_memory + asides_offset);
	rc_blocks_init(&server->log.blocks, server->log_memory, blocks_offset, config->log_size / RC_BLOCKS);
	return 0;
}

static int make_workers(struct rc_server *server)
{
	server->workers = calloc(server->worker_count, sizeof *server->workers);
	if (!server->workers)
		return -ENOMEM;
	for (unsigned i = 0; i < server->worker_count; i++) {
		struct worker *worker = &server->workers[i];
		worker->server = server;
		worker->index = i;
		rc_dialler_open(worker);
		rc_dialled_open(&worker->dialled);
		for (unsigned j = 0; j < RC_LISTENERS_MAX; j++)
			worker->acceptor.fds[j] = -1;
		int result = rc_mailbox_open(&worker->mailbox);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The caller's may go when rc_server_new() has returned. */
static int copy_cpus(struct rc_server *server)
{
	struct rc_config *config = &server->config;
	size_t size = config->cpu_count * sizeof *config->cpus;
	if (!size)
		return 0;
	server->cpus = malloc(size);
	if (!server->cpus)
		return -ENOMEM;
	config->cpus = memcpy(server->cpus, config->cpus, size);
	return 0;
}

static void init_lock(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attributes;
	pthread_mutexattr_init(&attributes);
	/* Mostly held for the copy of one message: spinning a little costs less than sleeping. */
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP);
	pthread_mutex_init(lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
}

/* What the caller's version did not know yet has its default. */
static int take_config(struct rc_config *config, const struct rc_config *given, size_t struct_size,
                       struct rc_error *error)
{
	rc_config_init(config);
	int result = rc_growing_take(config, sizeof *config, given, struct_size);
	for (size_t i = 0; i < sizeof config->handlers.reserved / sizeof config->handlers.reserved[0]; i++)
		if (result == 0 && config->handlers.reserved[i])
			result = -E2BIG;
	return result < 0 ? rc_fail(error, result, "the configuration: %s (this is version %s)", rc_strerror(result),
	                            RC_VERSION)
	                  : 0;
}

/* Limits of a topic's lag, or of all topics'; 0: none. */
static void note_limits(struct rc_server *server, uint64_t size_max, unsigned ms_max)
{
	if (size_max)
		server->lag_size_least = RC_MIN(server->lag_size_least, size_max);
	if (ms_max)
		server->lag_ns_least = RC_MIN(server->lag_ns_least, (uint64_t)ms_max * 1000000);
	server->lag_step_size = RC_MAX(server->lag_size_least / 64, 4 * RC_KIB);
}

/* The environment variable RC_RING is for tests: "epoll", or "6.1" for an io_uring as old as that. */
static void choose_ring(struct rc_server *server)
{
	const char *wanted = getenv("RC_RING");
	struct rc_error why = { 0 };
	server->old_kernel = wanted && strcmp(wanted, "6.1") == 0;
	if (server->config.ring != RC_RING_AUTO) {
		server->epoll = server->config.ring == RC_RING_EPOLL;
	} else if (wanted && strcmp(wanted, "epoll") == 0) {
		server->epoll = true;
	} else if (!rc_ring_can_uring(&why)) {
		server->epoll = true;
		memcpy(server->epoll_why, why.text, sizeof why.text);
	}
	if (server->epoll)
		server->config.zero_copy_size_min = 0; /* there is no such send */
}

rc_server *(rc_server_new)(const struct rc_config *given, struct rc_error *error, size_t struct_size)
{
	struct rc_config taken;
	struct rc_error refused = { 0 };
	const struct rc_config *config = &taken;
	if (take_config(&taken, given, struct_size, error) < 0 || check_config(config, error) < 0 ||
	    rc_choose_kernels(error) < 0)
		return NULL;
	struct rc_server *server = calloc(1, sizeof *server);
	if (!server) {
		rc_fail(error, -ENOMEM, "no memory for a server");
		return NULL;
	}
	/* The first handshake would bring more than a megabyte of libcrypto into memory: it comes now instead. */
	char accept[RC_ACCEPT_SIZE + 1];
	rc_handshake_accept(accept, "");
	server->config = *config;
	follow_limits(&server->config);
	server->worker_count = config->worker_count ? config->worker_count : rc_place_worker_count(config);
	if (!server->config.lag_size_max)
		server->config.lag_size_max = config->log_size;
	server->lag_size_least = RC_MIN(server->config.lag_size_max, config->log_size);
	server->lag_ns_least = UINT64_MAX;
	note_limits(server, 0, config->lag_ms_max);
	server->start_ns = rc_server_now();
	choose_ring(server);
	init_lock(&server->log_lock);
	init_lock(&server->encodings_lock);
	rc_pictures_open(&server->pictures, config->state_max ? config->state_max : config->log_size);
	server->deflate_size_min = config->deflate.size_min;
	int result = getrandom(&server->seed, sizeof server->seed, 0) == sizeof server->seed ? 0 : -EIO;
	if (result == 0)
		result = rc_certificates_open(server);
	if (result == 0 && !(server->names = rc_names_new()))
		result = -ENOMEM;
	if (result == 0)
		result = make_workers(server);
	if (result == 0)
		result = copy_cpus(server);
	if (result == 0)
		result = make_log(server, &refused);
	if (result == 0 && config->connections_per_address && !(server->addresses = rc_addresses_new(server->seed)))
		result = -ENOMEM;
	if (result == 0 && config->handlers.unopened_max && !(server->unopened = rc_addresses_new(server->seed)))
		result = -ENOMEM;
	if (result < 0) {
		if (refused.code)
			rc_fail(error, result, "%s", refused.text);
		else
			rc_fail(error, result, "cannot make a server: %s", strerror(-result));
		rc_server_free(server);
		return NULL;
	}
	return server;
}

void rc_server_free(rc_server *server)
{
	if (!server)
		return;
	rc_names_free(server->names);
	for (unsigned i = 0; server->workers && i < server->worker_count; i++) {
		struct worker *worker = &server->workers[i];
		for (unsigned j = 0; j < server->listener_count; j++)
			if (worker->acceptor.fds[j] >= 0)
				close(worker->acceptor.fds[j]);
		rc_worker_free(worker);
		rc_mailbox_close(&worker->mailbox);
	}
	for (unsigned j = 0; j < server->listener_count; j++) {
		const struct sockaddr_un *path = (const struct sockaddr_un *)&server->listeners[j].socket_address;
		if (path->sun_family == AF_UNIX && server->listeners[j].inherited < 0)
			unlink(path->sun_path);
	}
	free(server->workers);
	rc_pictures_close(&server->pictures);
	rc_keys_destroy(&server->keys);
	rc_topics_destroy(&server->topics);
	rc_place_unmap(server->log_memory, server->log_memory_size);
	free(server->cpus);
	free(server->floors);
	rc_addresses_free(server->addresses);
	rc_producing_free(server->producing);
	rc_addresses_free(server->unopened);
	for (unsigned i = 0; i < RC_ENCODING_COUNT; i++)
		rc_encode_free(server, (enum rc_encoding_id)i);
	pthread_mutex_destroy(&server->encodings_lock);
	rc_certificates_close(server);
	pthread_mutex_destroy(&server->log_lock);
	free(server);
}

/* A path can be bound only once: all workers accept from the same socket then. */
static int share_socket(const struct listener *listener, int fd, struct rc_error *error)
{
	int copy = dup(fd);
	if (copy < 0)
		return rc_fail(error, -errno, "cannot listen on %s: %s%s", listener->address, strerror(errno),
		               errno == EMFILE ? ": raise the descriptor limit (ulimit -n)" : "");
	fcntl(copy, F_SETFD, FD_CLOEXEC);
	return copy;
}

int rc_server_listen(rc_server *server, const char *address, struct rc_error *error)
{
	if (atomic_load(&server->started))
		return rc_fail(error, -EBUSY, "listeners must be added before the start");
	if (server->listener_count == RC_LISTENERS_MAX)
		return rc_fail(error, -ENOSPC, "at most %d listeners", RC_LISTENERS_MAX);
	unsigned index = server->listener_count;
	struct listener *listener = &server->listeners[index];
	int result = rc_listen_parse(listener, address, &server->config.deflate, error);
	if (result < 0)
		return result;
	if (listener->deflate.on)
		server->deflate_size_min = RC_MIN(server->deflate_size_min, listener->deflate.size_min);
	bool is_unix = listener->socket_address.ss_family == AF_UNIX;
	for (unsigned i = 0; i < server->worker_count; i++) {
		int fd = is_unix && i ? share_socket(listener, server->workers[0].acceptor.fds[index], error)
		                      : rc_listen_open(listener, &server->config, i == 0, error);
		if (fd < 0) {
			while (i-- > 0)
				close(server->workers[i].acceptor.fds[index]);
			return fd;
		}
		server->workers[i].acceptor.fds[index] = fd;
	}
	server->listener_count++;
	return is_unix ? 0
	               : ntohs(((struct sockaddr_in *)&listener->socket_address)->sin_port); /* as in sockaddr_in6 */
}

int(rc_server_topic_rule)(rc_server *server, const char *pattern, const struct rc_topic_options *given,
                          size_t struct_size)
{
	struct rc_topic_options options = { 0 };
	if (atomic_load(&server->started))
		return -EBUSY;
	int result = rc_growing_take(&options, sizeof options, given, struct_size);
	if (result < 0)
		return result;
	note_limits(server, options.lag_size_max, options.lag_ms_max);
	if (!server->config.handlers.snapshot_wanted)
		options.snapshot_factor = 0;
	return rc_topics_add_rule(&server->topics, pattern, &options);
}

/* ---- running ---- */

struct start {
	struct worker *worker;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool finished;
	int result;
	struct rc_error error;
};

static void *worker_thread(void *argument)
{
	struct start *start = argument;
	struct worker *worker = start->worker;
	char name[32];
	snprintf(name, sizeof name, "ringcast-%u", worker->index);
	pthread_setname_np(pthread_self(), name);
	int result = rc_place_thread(&worker->server->config, worker->index, &start->error);
	if (result == 0)
		result = rc_worker_open(worker, &start->error);
	pthread_mutex_lock(&start->lock);
	start->result = result;
	start->finished = true;
	pthread_cond_signal(&start->done);
	pthread_mutex_unlock(&start->lock);
	if (result == 0)
		rc_worker_run(worker);
	return NULL;
}

/* The ring is made by the thread that will own it, so the start waits to hear how that went. */
static int start_worker(struct worker *worker, struct rc_error *error)
{
	struct start start = { .worker = worker, .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };
	sigset_t all, before;
	sigfillset(&all);
	/* Signals are the program's: none is taken on a worker. */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = -pthread_create(&worker->thread, NULL, worker_thread, &start);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result < 0)
		return rc_fail(error, result, "cannot start a thread: %s", strerror(-result));
	pthread_mutex_lock(&start.lock);
	while (!start.finished)
		pthread_cond_wait(&start.done, &start.lock);
	pthread_mutex_unlock(&start.lock);
	if (start.result < 0) {
		pthread_join(worker->thread, NULL);
		if (error)
			*error = start.error;
		return start.result;
	}
	worker->has_thread = true;
	return 0;
}

static int check_listeners(const struct rc_server *server, struct rc_error *error)
{
	for (unsigned i = 0; i < server->listener_count; i++)
		if (server->listeners[i].secure && !server->certificates.server)
			return rc_fail(error, -EINVAL, "'%s' needs a certificate and its key",
			               server->listeners[i].address);
	return 0;
}

int rc_server_take_worker(rc_server *server, unsigned index, struct rc_error *error)
{
	int result = check_listeners(server, error);
	if (result < 0)
		return result;
	if (atomic_exchange(&server->workers[index].taken, true))
		return rc_fail(error, -EBUSY, "worker %u runs already", index);
	atomic_store(&server->started, true);
	return 0;
}

int rc_server_start(rc_server *server, struct rc_error *error)
{
	int checked = check_listeners(server, error);
	if (checked < 0)
		return checked;
	if (atomic_exchange(&server->started, true))
		return rc_fail(error, -EBUSY, "the server has been started before");
	for (unsigned i = 0; i < server->worker_count; i++) {
		atomic_store(&server->workers[i].taken, true);
		int result = start_worker(&server->workers[i], error);
		if (result < 0) {
			rc_server_stop(server, 0);
			rc_server_join(server);
			return result;
		}
	}
	return 0;
}

int rc_server_run(rc_server *server, unsigned index, struct rc_error *error)
{
	if (index >= server->worker_count)
		return rc_fail(error, -EINVAL, "worker %u: there are %u", index, server->worker_count);
	int result = rc_server_take_worker(server, index, error);
	if (result < 0)
		return result;
	result = rc_worker_open(&server->workers[index], error);
	return result < 0 ? result : rc_worker_run(&server->workers[index]);
}

void rc_server_stop(rc_server *server, unsigned drain_ms)
{
	uint64_t at = rc_server_now() + (uint64_t)drain_ms * 1000000;
	uint64_t before = atomic_load(&server->stop_at_ns);
	while ((!before || at < before) && !atomic_compare_exchange_weak(&server->stop_at_ns, &before, at))
		;
	for (unsigned i = 0; i < server->worker_count; i++)
		rc_mailbox_knock(&server->workers[i].mailbox);
}

void rc_server_join(rc_server *server)
{
	for (unsigned i = 0; i < server->worker_count; i++) {
		if (server->workers[i].has_thread)
			pthread_join(server->workers[i].thread, NULL);
		server->workers[i].has_thread = false;
	}
}
