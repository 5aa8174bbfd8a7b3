/* SPDX-License-Identifier: MIT
 *
 * producing.c - the public functions for producers: where they come in and what holds for them. It must not know how a
 * worker reads them.
 */
#include "growing.h"
#include "producer.h"
#include "ringcast_publish.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE_DEFAULT 0600
#define BACKLOG 128

static int64_t publish_to_log(rc_server *server, const struct rc_produced *message, rc_topic topic)
{
	struct rc_publication publication = { .data = message->data,
		                              .size = message->size,
		                              .flags = message->flags,
		                              .time_ns = message->time_ns,
		                              .topic = topic };
	return rc_publish_with(server, NULL, 0, &publication);
}

static int64_t publish_as_told(rc_server *server, const struct rc_produced *message, rc_topic topic)
{
	const struct rc_producers_options *options = &server->producing->options;
	(void)topic;
	return options->publish(options->context, message);
}

/* ---- settings ---- */

static int parse_address(struct producing *producing, const char *address, struct rc_error *error)
{
	const char *path = strncmp(address, "unix:", 5) == 0 ? address + 5 : "", *query = strchr(path, '?');
	size_t size = query ? (size_t)(query - path) : strlen(path);
	unsigned mode = MODE_DEFAULT;
	char end;
	if (!size || size >= sizeof producing->address.sun_path)
		return rc_fail(error, -EINVAL,
		               "'%s' is not an address for producers: write unix:/PATH, of at most %zu characters",
		               address, sizeof producing->address.sun_path - 1);
	if (query && (sscanf(query, "?mode=%4o%c", &mode, &end) != 1 || mode > 0777))
		return rc_fail(error, -EINVAL, "'%s': behind the path may stand ?mode=0600 to ?mode=0777", address);
	producing->address.sun_family = AF_UNIX;
	memcpy(producing->address.sun_path, path, size);
	producing->mode = mode;
	return 0;
}

static int check_options(const struct rc_producers_options *options, struct rc_error *error)
{
	if (options->producers_max > RC_PRODUCERS_LIMIT)
		return rc_fail(error, -EINVAL, "%u producers: at most %u", options->producers_max, RC_PRODUCERS_LIMIT);
	if (options->topics_max > RC_PRODUCER_TOPICS_LIMIT)
		return rc_fail(error, -EINVAL, "%u topics of a producer: at most %u", options->topics_max,
		               RC_PRODUCER_TOPICS_LIMIT);
	if (options->ring_size < RC_PRODUCER_RING_MIN || options->ring_size > RC_PRODUCER_RING_MAX ||
	    options->ring_size & (options->ring_size - 1))
		return rc_fail(error, -EINVAL,
		               "a producer's ring of %zu bytes: it must be a power of two from %zu to %zu",
		               options->ring_size, RC_PRODUCER_RING_MIN, RC_PRODUCER_RING_MAX);
	for (size_t i = 0; i < options->topic_count; i++)
		if (!*options->topics[i] || strlen(options->topics[i]) > RC_TOPIC_NAME_MAX + 1)
			return rc_fail(error, -EINVAL, "'%.64s' is no topic, and no prefix that ends in *",
			               options->topics[i]);
	return 0;
}

/* The lists are still the caller's. */
static int read_options(struct rc_producers_options *to, const struct rc_producers_options *from, size_t struct_size,
                        struct rc_error *error)
{
	*to = (struct rc_producers_options){ 0 };
	int result = from ? rc_growing_take(to, sizeof *to, from, struct_size) : 0;
	if (result < 0)
		return rc_fail(error, result, "the options for producers: %s (this is version %s)", rc_strerror(result),
		               RC_VERSION);
	if (!to->producers_max)
		to->producers_max = RC_PRODUCERS_DEFAULT;
	if (!to->topics_max)
		to->topics_max = RC_PRODUCER_TOPICS_DEFAULT;
	if (!to->ring_size)
		to->ring_size = RC_PRODUCER_RING_DEFAULT;
	return check_options(to, error);
}

static int copy_lists(struct rc_producers_options *options)
{
	const char *const *topics = options->topics;
	const unsigned *uids = options->uids;
	size_t topic_count = options->topic_count;
	char **copies = calloc(topic_count + 1, sizeof *copies);
	unsigned *numbers = calloc(options->uid_count + 1, sizeof *numbers);
	options->topics = (const char *const *)copies;
	options->uids = numbers;
	options->topic_count = 0;
	if (!copies || !numbers)
		return -ENOMEM;
	if (options->uid_count)
		memcpy(numbers, uids, options->uid_count * sizeof *numbers);
	for (; options->topic_count < topic_count; options->topic_count++)
		if (!(copies[options->topic_count] = strdup(topics[options->topic_count])))
			return -ENOMEM;
	return 0;
}

/* Nobody can connect before listen(2), so that the file has its mode by then. */
static int bind_and_listen(struct producing *producing, struct rc_error *error)
{
	const struct sockaddr *address = (const struct sockaddr *)&producing->address;
	const char *path = producing->address.sun_path;
	producing->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (producing->listener < 0)
		return rc_fail(error, -errno, "cannot make a socket for %s: %s", path, strerror(errno));
	rc_listen_remove_stale(&producing->address, SOCK_SEQPACKET);
	if (bind(producing->listener, address, sizeof producing->address) == 0) {
		if (chmod(path, producing->mode) == 0 && listen(producing->listener, BACKLOG) == 0)
			return 0;
		int code = errno;
		unlink(path);
		errno = code;
	}
	int code = errno;
	close(producing->listener);
	producing->listener = -1;
	return rc_fail(error, -code, "cannot listen for producers on %s: %s (%s)", path, strerror(code),
	               code == EADDRINUSE ? "something else listens there, or the file is no socket: remove it"
	               : code == ENOENT   ? "its directory does not exist"
	                                  : "the directory must be writable");
}

int(rc_server_listen_producers)(rc_server *server, const char *address, const struct rc_producers_options *options,
                                struct rc_error *error, size_t struct_size)
{
	if (atomic_load(&server->started) || server->producing)
		return rc_fail(error, -EBUSY, "producers are let in once, and before the start");
	struct producing *producing = calloc(1, sizeof *producing);
	if (!producing)
		return rc_fail(error, -ENOMEM, "no memory for producers");
	producing->listener = -1;
	int result = parse_address(producing, address, error);
	if (result == 0)
		result = read_options(&producing->options, options, struct_size, error);
	if (result < 0) {
		free(producing);
		return result;
	}
	if (copy_lists(&producing->options) < 0)
		result = rc_fail(error, -ENOMEM, "no memory for producers");
	else
		result = bind_and_listen(producing, error);
	if (result < 0) {
		rc_producing_free(producing);
		return result;
	}
	producing->publish = publish_as_told;
	if (!producing->options.publish) {
		producing->open_topic = rc_topic_open;
		producing->close_topic = rc_topic_close;
		producing->publish = publish_to_log;
	}
	server->producing = producing;
	return 0;
}

/* ---- figures ---- */

void(rc_producer_stats)(rc_server *server, struct rc_producer_stats *stats, size_t struct_size)
{
	struct rc_producer_stats now = { 0 };
	const struct producing *producing = server->producing;
	if (producing)
		now = (struct rc_producer_stats){
			.producers = atomic_load(&producing->count),
			.accepted = atomic_load(&producing->accepted),
			.refused = atomic_load(&producing->refused),
			.cut = atomic_load(&producing->cut),
			.topics_refused = atomic_load(&producing->topics_refused),
			.records = atomic_load(&producing->records),
			.bytes = atomic_load(&producing->bytes),
			.records_refused = atomic_load(&producing->records_refused),
			.held = atomic_load(&producing->held),
		};
	rc_growing_give(stats, struct_size, &now, sizeof now);
}
