/* SPDX-License-Identifier: MIT
 *
 * connect.c - who subscribes to what, and getting everybody connected: in bounded numbers at a time, spread over
 * workers (each ring has a descriptor table of its own) and over addresses (each pair of them has 28,000 ports).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "lib/options.h"
#include "lib/random.h"
#include "lib/url.h"
#include "ringcast_client.h"
#include "stalled.h"

#define IN_FLIGHT_MAX 256
#define POLL_NS (1 * NS_PER_MS)
#define URL_SIZE 4096

static int name_topics(struct load *load)
{
	const struct load_options *options = load->options;
	if (options->feed)
		return load_feed_read(load);
	load->topic_count = options->topics;
	load->topics = calloc(load->topic_count, sizeof *load->topics);
	for (unsigned index = 0; load->topics && index < load->topic_count; index++) {
		int size = load->topic_count == 1 ? asprintf(&load->topics[index].name, "load")
		                                  : asprintf(&load->topics[index].name, "load.%u", index);
		load->topics[index].name_size = size < 0 ? 0 : (size_t)size;
	}
	return load->topics ? 0 : command_failed("no memory");
}

/* Recorded topics are drawn at random, each as likely as any other; numbered ones are dealt out in turn. */
static void choose_topics(struct load *load, struct load_peer *peer, uint32_t *deck, uint64_t random[4])
{
	for (uint32_t index = 0; index < peer->stream_count; index++) {
		uint32_t topic = (uint32_t)(((uint64_t)peer->index * peer->stream_count + index) % load->topic_count);
		if (load->options->feed) {
			uint32_t other = index + random_below(random, load->topic_count - index);
			topic = deck[other];
			deck[other] = deck[index];
			deck[index] = topic;
		}
		peer->streams[index].topic = topic;
		load->topics[topic].subscribers++;
		load->topics[topic].subscribers_of[peer->worker->index]++;
	}
}

static int plan_subscriptions(struct load *load)
{
	const struct load_options *options = load->options;
	uint32_t per_peer = options->topics_per_connection;
	uint64_t random[4];
	random_seed(random, options->seed);
	if (per_peer > load->topic_count) {
		command_failed("%u topics a connection, but there are only %u", per_peer, load->topic_count);
		return -1;
	}
	/* The last ones are for publishers that receive their own messages. */
	load->streams = calloc((size_t)options->connections * per_peer + load->topic_count, sizeof *load->streams);
	uint32_t *deck = calloc(load->topic_count, sizeof *deck);
	if (!load->streams || !deck) {
		free(deck);
		command_failed("no memory");
		return -1;
	}
	for (uint32_t topic = 0; topic < load->topic_count; topic++)
		deck[topic] = topic;
	for (unsigned index = 0; index < options->connections; index++) {
		struct load_peer *peer = &load->peers[index];
		peer->streams = &load->streams[(size_t)index * per_peer];
		peer->stream_count = per_peer;
		choose_topics(load, peer, deck, random);
	}
	free(deck);
	return 0;
}

static int plan_publishers(struct load *load)
{
	struct load_stream *own = load->streams +
	                          (size_t)load->options->connections * load->options->topics_per_connection;
	for (unsigned index = 0; index < load->topic_count; index++) {
		struct load_topic *topic = &load->topics[index];
		topic->publisher = (struct load_peer){ .worker = &load->workers[0], .index = index, .publisher = true };
		if (load->options->protocol != LOAD_RELAY)
			continue;
		topic->publisher.streams = &own[index];
		topic->publisher.stream_count = 1;
		own[index].topic = index;
		topic->subscribers++;
		topic->subscribers_of[0]++;
	}
	return 0;
}

int load_plan(struct load *load)
{
	const struct load_options *options = load->options;
	load->peers = calloc(options->connections, sizeof *load->peers);
	if (!load->peers || name_topics(load))
		return -1;
	for (unsigned index = 0; index < load->topic_count; index++) {
		load->topics[index].subscribers_of = calloc(options->worker_count, sizeof(unsigned));
		if (!load->topics[index].subscribers_of || !load->topics[index].name)
			return -command_failed("no memory");
	}
	for (unsigned index = 0; index < options->connections; index++) {
		load->peers[index].index = index;
		load->peers[index].worker = &load->workers[index % options->worker_count];
	}
	if (plan_subscriptions(load) || plan_publishers(load))
		return -1;
	return 0;
}

void load_unplan(struct load *load)
{
	for (unsigned index = 0; index < load->topic_count && load->topics; index++) {
		free(load->topics[index].name);
		free(load->topics[index].subscribers_of);
	}
	for (unsigned index = 0; load->stalled && index < load->options->stalled; index++)
		stream_close(&load->stalled[index]);
	free(load->stalled);
	free(load->topics);
	free(load->peers);
	free(load->streams);
	free(load->feed.records);
	free(load->feed.bytes);
}

/* Appends to a URL. Returns its size, which is URL_SIZE when it does not fit. */
static size_t append(char *url, size_t size, const char *text, size_t text_size)
{
	if (size + text_size >= URL_SIZE)
		return URL_SIZE;
	memcpy(url + size, text, text_size);
	url[size + text_size] = 0;
	return size + text_size;
}

static size_t append_path(const struct load *load, const struct load_peer *peer, char *url, size_t size)
{
	const char *path = load->options->url + load->base_size;
	if (*path && strcmp(path, "/"))
		return append(url, size, path, strlen(path));
	if (load->options->mode == LOAD_ECHO)
		return append(url, size, "/echo", 5);
	path = load->options->protocol == LOAD_RELAY ? "/relay/" : "/topic/";
	for (uint32_t index = 0; index < peer->stream_count; index++) {
		const struct load_topic *topic = &load->topics[peer->streams[index].topic];
		char *name = url_join("", 0, index ? "," : path, topic->name, topic->name_size);
		size = name ? append(url, size, name, strlen(name)) : URL_SIZE;
		free(name);
	}
	return size;
}

/* Where a subscriber connects to: the URL's address, or the next of --destinations. */
static size_t peer_url(const struct load *load, const struct load_peer *peer, char url[URL_SIZE])
{
	const struct load_options *options = load->options;
	size_t size = load->base_size;
	if (!options->destinations.count)
		return append_path(load, peer, url, append(url, 0, options->url, size));
	uint32_t address = options->destinations.first + peer->index % options->destinations.count;
	size_t scheme_size = strcspn(options->url, ":") + 3;
	const char *port = memrchr(options->url + scheme_size, ':', size - scheme_size);
	int written = snprintf(url, URL_SIZE, "%.*s%u.%u.%u.%u%.*s", (int)scheme_size, options->url, address >> 24,
	                       address >> 16 & 255, address >> 8 & 255, address & 255,
	                       port ? (int)(options->url + size - port) : 0, port ? port : "");
	return append_path(load, peer, url, (size_t)written);
}

/* The stalled ones subscribe to what the first of the others does. */
int load_connect_stalled(struct load *load)
{
	char url[URL_SIZE];
	if (!load->options->stalled)
		return 0;
	if (peer_url(load, &load->peers[0], url) >= URL_SIZE)
		return -command_failed("a URL is too long");
	load->stalled = calloc(load->options->stalled, sizeof *load->stalled);
	return load->stalled ? load_stall(load->options, url, load->stalled) : -command_failed("no memory");
}

static size_t publisher_url(const struct load *load, const struct load_peer *peer, char url[URL_SIZE])
{
	const struct load_options *options = load->options;
	const struct load_topic *topic = &load->topics[peer->index];
	const char *base = options->publish_url ? options->publish_url : options->url;
	size_t base_size = options->publish_url ? strlen(base) : load->base_size;
	if (options->publish_url && load->topic_count == 1)
		return append(url, 0, base, base_size);
	const char *path = options->publish_url ? "/" : options->protocol == LOAD_RELAY ? "/relay/" : "/publish/";
	char *joined = url_join(base, base_size, path, topic->name, topic->name_size);
	size_t size = joined ? append(url, 0, joined, strlen(joined)) : URL_SIZE;
	free(joined);
	return size;
}

int load_connect_peer(struct load *load, struct load_peer *peer)
{
	const struct load_options *options = load->options;
	char url[URL_SIZE], source[16];
	struct rc_connect_options connect = { .user = peer, .deflate = options->deflate && !peer->publisher };
	if (options->token.value) {
		connect.headers = &options->token;
		connect.header_count = 1;
	}
	size_t size = peer->publisher ? publisher_url(load, peer, url) : peer_url(load, peer, url);
	if (size >= URL_SIZE)
		return -ENAMETOOLONG;
	if (options->sources.count) {
		uint32_t turn = options->destinations.count ? peer->index / options->destinations.count : peer->index;
		uint32_t address = options->sources.first + turn % options->sources.count;
		snprintf(source, sizeof source, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255,
		         address & 255);
		connect.source = source;
	}
	return rc_connect(load->server, peer->worker->index, url, &connect);
}

static void count(struct load *load, unsigned *opened, unsigned *failed)
{
	*opened = *failed = 0;
	for (unsigned index = 0; index < load->options->worker_count; index++) {
		*opened += atomic_load(&load->workers[index].opened);
		*failed += atomic_load(&load->workers[index].failed);
	}
}

static void show_progress(const struct load *load, unsigned opened, unsigned total, uint64_t *next_ns)
{
	bool terminal = isatty(STDERR_FILENO);
	if (load->options->quiet || clock_now() < *next_ns)
		return;
	fprintf(stderr, "%sconnecting: %u of %u%s", terminal ? "\r\033[K" : "", opened, total, terminal ? "" : "\n");
	*next_ns = clock_now() + (terminal ? 100 * NS_PER_MS : NS_PER_SECOND);
}

/* Begins one attempt. Returns 0, -EAGAIN when it must wait, or -1 after printing why it cannot. */
static int begin(struct load *load, struct load_peer *peer)
{
	peer->connect_ns = clock_now();
	int code = load_connect_peer(load, peer);
	if (!code || code == -EAGAIN)
		return code;
	if (code == -EMFILE)
		command_failed("the descriptor table of a worker is full: use more --workers, or raise 'ulimit -n'");
	else if (code == -ENAMETOOLONG)
		command_failed("too many topics a connection for one URL");
	else
		command_failed("%s: %s", load->options->url, rc_strerror(code));
	return -1;
}

/* The publishers come first, then everybody else. */
static struct load_peer *peer_at(struct load *load, unsigned publishers, unsigned index)
{
	return index < publishers ? &load->topics[index].publisher : &load->peers[index - publishers];
}

static bool may_begin(const struct load *load, unsigned started, unsigned settled, uint64_t began_ns)
{
	double rate = load->options->connect_rate;
	if (started - settled >= IN_FLIGHT_MAX)
		return false;
	return rate <= 0 || (double)started <= (double)(clock_now() - began_ns) / 1e9 * rate;
}

int load_connect_all(struct load *load)
{
	unsigned publishers = load->options->mode == LOAD_BROADCAST ? load->topic_count : 0;
	unsigned total = publishers + load->options->connections, started = 0, opened = 0, failed = 0;
	uint64_t began = clock_now(), next = began + 500 * NS_PER_MS;
	while (opened + failed < total && !failed) {
		int code = 0;
		while (!code && started < total && may_begin(load, started, opened + failed, began)) {
			code = begin(load, peer_at(load, publishers, started));
			started += !code;
			count(load, &opened, &failed);
		}
		if (code && code != -EAGAIN)
			return -1;
		if (wait_until(&load->wait, clock_now() + POLL_NS) == WAIT_SIGNAL)
			return -command_failed("interrupted while connecting");
		count(load, &opened, &failed);
		show_progress(load, opened, total, &next);
	}
	if (!load->options->quiet && isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	load->report->connecting_ns = clock_now() - began;
	load->report->opened = opened - (opened > publishers ? publishers : opened);
	load->report->failed = failed;
	if (!failed)
		return 0;
	command_failed("%u of %u connections open, then one failed: %s%s", opened, total, load->report->first_failure,
	               strstr(load->report->first_failure, strerror(EADDRNOTAVAIL))
	                   ? " (out of local ports: use --destinations 127.0.0.1-127.0.0.40)"
	                   : "");
	return -1;
}
