/* SPDX-License-Identifier: MIT
 *
 * producer.c - what publishing from a process of its own costs: what rc_producer_publish() takes of the producer, and
 * how long it is from there to the first send, and to the subscriber's socket, with a worker that spins.
 *
 * The server is in this process, as one worker with busy_poll on the first processor. The producer is the main thread,
 * on the last one; it reaches the server by the Unix socket and the shared memory alone. Each publish is timed by
 * itself, and all times are kept and sorted. The clock's own cost is in each of them; it is measured and printed. A
 * ring that is full is waited for, and that wait is not a publish.
 */
#include "drive.h"
#include "ringcast_ingest.h"
#include "ringcast_producer.h"
#include "ringcast_stats.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>

#define SIZE_MAX_TESTED 65536

static struct {
	unsigned publishes, messages;
	size_t size;
	bool sleeps;
} options = { .publishes = 1000000, .messages = 5000, .size = 128 };

static uint8_t payload[SIZE_MAX_TESTED];

/* ---- what was measured ---- */

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

static void show(const char *what, uint64_t *times, size_t count)
{
	static const double shares[] = { 0.5, 0.9, 0.99, 0.999, 0.9999 };
	qsort(times, count, sizeof *times, compare);
	printf("%-38s", what);
	for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
		printf("%10" PRIu64, times[(size_t)((double)(count - 1) * shares[i])]);
	printf("%12" PRIu64 "\n", times[count - 1]);
}

static void show_clock(uint64_t *times, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t begin = now_ns();
		times[i] = now_ns() - begin;
	}
	show("the clock itself", times, count);
}

/* ---- the two ends ---- */

static int on_request(void *context, rc_request *request)
{
	(void)context;
	return drive_subscribe(request);
}

static void stay_on(int processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static int serve(const char *path, rc_server **server)
{
	char address[128];
	struct rc_config config;
	struct rc_error error;
	drive_config(&config);
	config.busy_poll = !options.sleeps;
	config.handlers = (struct rc_handlers){ .request = on_request };
	*server = rc_server_new(&config, &error);
	snprintf(address, sizeof address, "unix:%s", path);
	int port = *server ? rc_server_listen(*server, "127.0.0.1:0", &error) : -1;
	if (port < 0 || rc_server_listen_producers(*server, address, NULL, &error) < 0)
		die(error.text);
	stay_on(0);
	if (rc_server_start(*server, &error))
		die(error.text);
	return port;
}

/* A subscriber on a bare socket, so that no thread of ours stands between the kernel and the clock. */
static int subscribe(int port)
{
	static const char request[] =
	    "GET /t HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	const struct sockaddr_in address = { .sin_family = AF_INET,
		                             .sin_port = htons((uint16_t)port),
		                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char answer[4096];
	size_t size = 0;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) < 0 ||
	    send(fd, request, sizeof request - 1, 0) < 0)
		die("the subscriber cannot connect");
	do {
		ssize_t got = recv(fd, answer + size, sizeof answer - 1 - size, 0);
		if (got <= 0)
			die("the subscriber was refused");
		answer[size += (size_t)got] = 0;
	} while (!strstr(answer, "\r\n\r\n"));
	return fd;
}

/* ---- the measurements ---- */

static void wait_for_room(struct rc_producer *producer)
{
	while (rc_producer_room(producer) < producer->size / 4 - sizeof(struct rc_producer_record))
		sleep_until(now_ns() + 20000);
}

static void measure_publishing(struct rc_producer *producer, int topic, uint64_t *times)
{
	unsigned full = 0;
	uint64_t spent = 0;
	for (unsigned i = 0; i < options.publishes;) {
		uint64_t begin = now_ns();
		int result = rc_producer_publish(producer, topic, payload, options.size, RC_PRODUCER_BINARY);
		times[i] = now_ns() - begin;
		if (result == 0) {
			spent += times[i++];
		} else if (result == -EAGAIN) {
			full++;
			wait_for_room(producer);
		} else {
			die("the server has let go of the producer");
		}
	}
	char what[64];
	snprintf(what, sizeof what, "publish of %zu B", options.size);
	show(what, times, options.publishes);
	printf("%-38s%10.1f ns; the ring was full %u times\n", "  mean", (double)spent / options.publishes, full);
}

static uint64_t sends_of(rc_server *server)
{
	struct rc_stats stats;
	rc_worker_stats(server, 0, &stats);
	return stats.sends;
}

/* Waits until the subscriber has it all: a frame has 2, 4 or 10 bytes before the payload. */
static uint64_t receive(int fd)
{
	static uint8_t bytes[SIZE_MAX_TESTED + 16];
	size_t whole = options.size + (options.size < 126 ? 2 : options.size < 65536 ? 4 : 10), size = 0;
	uint64_t first = 0;
	while (size < whole) {
		ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
		if (got > 0 && !first)
			first = now_ns();
		if (got > 0)
			size += (size_t)got;
		else if (got == 0 || errno != EAGAIN)
			die("the subscriber's connection ended");
	}
	return first;
}

static void measure_delay(rc_server *server, struct rc_producer *producer, int topic, int fd, uint64_t *to_send,
                          uint64_t *to_socket)
{
	for (unsigned i = 0; i < options.messages; i++) {
		sleep_until(now_ns() + 200000); /* longer than a round: each message finds a worker at rest */
		uint64_t before = sends_of(server), begin = now_ns(), sent = 0;
		if (rc_producer_publish(producer, topic, payload, options.size, RC_PRODUCER_BINARY) < 0)
			die("a ring that is empty is full");
		while (sends_of(server) == before)
			;
		sent = now_ns();
		to_send[i] = sent - begin;
		to_socket[i] = receive(fd) - begin;
	}
	show("publish to first send", to_send, options.messages);
	show("publish to the subscriber's socket", to_socket, options.messages);
}

static void parse(int argc, char **argv)
{
	static const struct option longs[] = { { "tiny", no_argument, NULL, 't' },
		                               { "size", required_argument, NULL, 's' },
		                               { "sleeps", no_argument, NULL, 'z' },
		                               { 0 } };
	for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (option == 't')
			options.publishes = 2000, options.messages = 50;
		else if (option == 's')
			options.size = strtoul(optarg, NULL, 10);
		else if (option == 'z')
			options.sleeps = true;
		else
			die("--tiny --size BYTES --sleeps (instead of spinning)");
	}
	if (options.size > SIZE_MAX_TESTED)
		die("at most 64 KiB");
}

int main(int argc, char **argv)
{
	char folder[] = "/tmp/ringcast-bench-XXXXXX", path[64];
	struct rc_producer producer;
	rc_server *server;
	parse(argc, argv);
	if (!mkdtemp(folder))
		die("no directory for the socket");
	snprintf(path, sizeof path, "%s/producers", folder);
	int port = serve(path, &server);
	stay_on((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	int code = rc_producer_open(&producer, path);
	int topic = code < 0 ? code : rc_producer_topic(&producer, "t", 1),
	    alone = rc_producer_topic(&producer, "u", 1);
	if (topic < 0 || alone < 0)
		die(producer.error);
	uint64_t *times = calloc(options.publishes, sizeof *times), *more = calloc(options.publishes, sizeof *more);
	if (!times || !more)
		die("no memory");
	printf("%-38s%10s%10s%10s%10s%10s%12s\n", "ns", "p50", "p90", "p99", "p99.9", "p99.99", "max");
	show_clock(times, options.publishes);
	measure_publishing(&producer, alone, times);
	measure_delay(server, &producer, topic, subscribe(port), times, more);
	rc_producer_close(&producer);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
	rmdir(folder);
	return 0;
}
