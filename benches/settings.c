/* SPDX-License-Identifier: MIT
 *
 * settings.c - what the settings of ringcast-latency(7) give and cost: from the call of rc_publish() to the first byte
 * at a client, what the call itself takes, and how much of a processor the server uses meanwhile. It prints the table
 * of that page as the page has it.
 *
 * One thread publishes and is the client: it calls rc_publish(), and then asks the socket of one subscriber until bytes
 * come. So both times are of one clock, and no client has to be woken. It has the first processor; a worker that is
 * pinned has the last. Between two messages it waits for 50 us to 2 ms, drawn from one seed for all, without sleeping.
 * Each arm is a server of its own, so that each begins with the first lap through its log; the arms take turns.
 */
#include "drive.h"
#include "lib/random.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READERS_MAX 100
#define PATIENCE_NS (10 * NS_PER_SECOND)
#define PAUSE_LEAST_NS 50000.0
#define PAUSE_MOST_NS 2000000.0
#define RESPONSE_SIZE 4096

static struct {
	unsigned rounds, size, messages; /* of an arm in a round */
} options = { .rounds = 5, .size = 128, .messages = 4000 };

enum needs { ANY, TWO_PROCESSORS }; /* a worker that never sleeps must not have the client's */

struct arm {
	const char *name; /* as the page has it */
	void (*set)(struct rc_config *config);
	unsigned readers;
	enum needs needs;
	const char *without; /* why it was left out */
	uint64_t *first, *call;
	unsigned count;
	uint64_t busy_ns, elapsed_ns;
};

static uint8_t *payload;
static cpu_set_t allowed, first;
static unsigned last_cpu, cpu_count;

/* ---- the settings ---- */

static void set_nothing(struct rc_config *config)
{
	(void)config;
}
static void set_cpus(struct rc_config *config)
{
	config->cpus = &last_cpu;
	config->cpu_count = 1;
}
static void set_spin_100(struct rc_config *config)
{
	config->spin_us = 100;
}
static void set_spin_2000(struct rc_config *config)
{
	config->spin_us = 2000;
}
static void set_busy_poll(struct rc_config *config)
{
	config->busy_poll = true;
}
static void set_priority(struct rc_config *config)
{
	config->thread_priority = 10;
}
static void set_prefault(struct rc_config *config)
{
	config->log_prefault = true;
}
static void set_huge_pages(struct rc_config *config)
{
	config->log_prefault = true;
	config->log_huge_pages = RC_HUGE_PAGES_TRANSPARENT;
}
static void set_at_once(struct rc_config *config)
{
	config->round_interval_us = 0;
}
static void set_all(struct rc_config *config)
{
	set_cpus(config);
	set_busy_poll(config);
	set_huge_pages(config);
	set_at_once(config);
}

static struct arm arms[] = {
	{ .name = "(defaults)", .set = set_nothing, .readers = 1 },
	{ .name = "cpus", .set = set_cpus, .readers = 1 },
	{ .name = "spin-us 100", .set = set_spin_100, .readers = 1 },
	{ .name = "spin-us 2000", .set = set_spin_2000, .readers = 1, .needs = TWO_PROCESSORS },
	{ .name = "busy-poll", .set = set_busy_poll, .readers = 1, .needs = TWO_PROCESSORS },
	{ .name = "priority 10", .set = set_priority, .readers = 1 },
	{ .name = "log-prefault", .set = set_prefault, .readers = 1 },
	{ .name = "  and huge pages", .set = set_huge_pages, .readers = 1 },
	{ .name = "all of these", .set = set_all, .readers = 1, .needs = TWO_PROCESSORS },
	{ .name = "(defaults), 100 readers", .set = set_nothing, .readers = 100 },
	{ .name = "round-interval 0, 100 readers", .set = set_at_once, .readers = 100 },
};
#define ARM_COUNT (sizeof arms / sizeof *arms)

/* ---- a server and its readers ---- */

static int on_request(void *context, rc_request *request)
{
	(void)context;
	return drive_subscribe(request);
}

static int connect_reader(int port)
{
	static const char request[] =
	    "GET /t HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	char response[RESPONSE_SIZE];
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) ||
	    write(fd, request, sizeof request - 1) != (ssize_t)sizeof request - 1 ||
	    recv(fd, response, sizeof response, 0) < 12 || memcmp(response + 9, "101", 3) != 0)
		die("a reader cannot connect");
	return fd;
}

/* Asks until bytes come; returns how many, 0 after a while. */
static size_t first_bytes(int fd)
{
	uint64_t end = now_ns() + PATIENCE_NS;
	char bytes[RESPONSE_SIZE];
	for (unsigned tries = 1;; tries++) {
		ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_TRUNC);
		if (got > 0)
			return (size_t)got;
		if (got == 0 || errno != EAGAIN || (tries % 65536 == 0 && now_ns() > end))
			return 0;
	}
}

/* Takes the rest of `size` bytes of each reader, so that nobody falls behind. */
static void drain(const int *readers, unsigned count, size_t size, size_t of_first)
{
	for (unsigned i = 0; i < count; i++)
		for (size_t got = i ? 0 : of_first, more; got < size; got += more)
			if (!(more = first_bytes(readers[i])))
				die("a message did not arrive");
}

static uint64_t used_by_others_ns(void)
{
	struct rusage all, own;
	getrusage(RUSAGE_SELF, &all);
	getrusage(RUSAGE_THREAD, &own);
	return (uint64_t)(all.ru_utime.tv_sec + all.ru_stime.tv_sec - own.ru_utime.tv_sec - own.ru_stime.tv_sec) *
	           NS_PER_SECOND +
	       (uint64_t)(all.ru_utime.tv_usec + all.ru_stime.tv_usec - own.ru_utime.tv_usec - own.ru_stime.tv_usec) *
	           1000;
}

static void wait_ns(uint64_t ns)
{
	for (uint64_t end = now_ns() + ns; now_ns() < end;)
		;
}

/* ---- measuring ---- */

static void measure(struct arm *arm, rc_server *server, const int *readers, unsigned round)
{
	uint64_t random[4];
	size_t frame_size = options.size + (options.size < 126 ? 2 : 4);
	unsigned begin = options.messages / 10; /* that count for nothing */
	uint64_t began_ns = 0, busy_ns = 0;
	random_seed(random, round + 1);
	for (unsigned i = 0; i < begin + options.messages; i++) {
		wait_ns((uint64_t)(PAUSE_LEAST_NS * pow(PAUSE_MOST_NS / PAUSE_LEAST_NS, random_share(random))));
		if (i == begin) {
			began_ns = now_ns();
			busy_ns = used_by_others_ns();
		}
		uint64_t called_ns = now_ns();
		if (rc_publish(server, "t", 1, payload, options.size, RC_PUBLISH_BINARY) < 0)
			die("a message was refused");
		uint64_t returned_ns = now_ns();
		size_t got = first_bytes(readers[0]);
		uint64_t arrived_ns = now_ns();
		drain(readers, arm->readers, frame_size, got);
		if (i < begin)
			continue;
		arm->first[arm->count] = arrived_ns - called_ns;
		arm->call[arm->count++] = returned_ns - called_ns;
	}
	arm->elapsed_ns += now_ns() - began_ns;
	arm->busy_ns += used_by_others_ns() - busy_ns;
}

static void run_arm(struct arm *arm, unsigned round)
{
	int readers[READERS_MAX];
	struct rc_config config;
	struct rc_error error;
	rc_server *server;
	drive_config(&config);
	config.handlers.request = on_request;
	arm->set(&config);
	server = rc_server_new(&config, &error);
	int port = server ? rc_server_listen(server, "127.0.0.1:0", &error) : -1;
	if (port < 0 || rc_server_start(server, &error)) {
		arm->without = strdup(error.text);
		rc_server_free(server);
		return;
	}
	for (unsigned i = 0; i < arm->readers; i++)
		readers[i] = connect_reader(port);
	/* Only now: a server's threads would have inherited it. */
	sched_setaffinity(0, sizeof first, &first);
	measure(arm, server, readers, round);
	sched_setaffinity(0, sizeof allowed, &allowed);
	rc_server_stop(server, 0);
	rc_server_join(server);
	rc_server_free(server);
	for (unsigned i = 0; i < arm->readers; i++)
		close(readers[i]);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

static double us_at(const uint64_t *sorted, unsigned count, double share)
{
	return (double)sorted[(size_t)(share * (count - 1))] / 1e3;
}

/* As ringcast-latency(7) has it, between its marks. */
static void print_table(void)
{
	printf("\n.nf\n.ft CW\n%-30s %23s %14s %5s\n%-30s %7s %7s %7s %7s %6s %5s\n", "", "first byte", "the call",
	       "used", "setting", "p50", "p99", "p99.9", "p50", "p99", "%");
	for (struct arm *arm = arms; arm < arms + ARM_COUNT; arm++) {
		if (arm->without)
			continue;
		qsort(arm->first, arm->count, sizeof *arm->first, by_value);
		qsort(arm->call, arm->count, sizeof *arm->call, by_value);
		printf("%-30s %7.1f %7.1f %7.1f %7.2f %6.1f %5.0f\n", arm->name, us_at(arm->first, arm->count, 0.5),
		       us_at(arm->first, arm->count, 0.99), us_at(arm->first, arm->count, 0.999),
		       us_at(arm->call, arm->count, 0.5), us_at(arm->call, arm->count, 0.99),
		       100.0 * (double)arm->busy_ns / (double)arm->elapsed_ns);
	}
	printf(".ft R\n.fi\n\n");
	for (const struct arm *arm = arms; arm < arms + ARM_COUNT; arm++)
		if (arm->without)
			printf("without %s: %s\n", arm->name, arm->without);
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = { { "tiny", no_argument, NULL, 't' },
		                               { "rounds", required_argument, NULL, 'r' },
		                               { "size", required_argument, NULL, 's' },
		                               { "messages", required_argument, NULL, 'm' },
		                               { 0 } };
	for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (found == 't') {
			options.rounds = 1;
			options.messages = 20;
		} else if (found == 'r') {
			options.rounds = value;
		} else if (found == 's') {
			options.size = value;
		} else if (found == 'm') {
			options.messages = value;
		}
		if (found == '?' || (optarg && !value) || options.size >= RESPONSE_SIZE) {
			fprintf(stderr, "usage: settings [--rounds N] [--size BYTES] [--messages N] [--tiny]\n");
			exit(2);
		}
	}
}

static void find_processors(void)
{
	bool found = false;
	if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
		die("which processors there are is not told");
	cpu_count = (unsigned)CPU_COUNT(&allowed);
	for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed))
			continue;
		if (!found)
			CPU_SET(cpu, &first);
		found = true;
		last_cpu = cpu;
	}
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	find_processors();
	payload = calloc(1, options.size);
	for (struct arm *arm = arms; arm < arms + ARM_COUNT; arm++) {
		size_t most = (size_t)options.rounds * options.messages;
		arm->first = calloc(most, sizeof *arm->first);
		arm->call = calloc(most, sizeof *arm->call);
		if (!payload || !arm->first || !arm->call)
			die("no memory");
		if (arm->needs == TWO_PROCESSORS && cpu_count < 2)
			arm->without = "it needs two processors";
	}
	printf("us: %u B, one worker; rounds in turns: %u, of %u messages; processors: %u\n", options.size,
	       options.rounds, options.messages, cpu_count);
	for (unsigned round = 0; round < options.rounds; round++)
		for (struct arm *arm = arms; arm < arms + ARM_COUNT; arm++)
			if (!arm->without)
				run_arm(arm, round);
	print_table();
	return 0;
}
