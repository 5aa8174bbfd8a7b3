/* SPDX-License-Identifier: MIT
 *
 * feeds.c - what keyed feeds cost the server beside plain messages of the same bytes:
 *
 *      join   readers that are open are sent the state of a topic with many keys; beside it as many plain messages of
 *             the same size, published at once to as many readers
 *      json   messages in the form json, in bursts of 32; beside it plain messages of the size that they have in it
 *
 * The server and its publisher are this process, the readers a child of it, each on a processor of its own. Those of a
 * case take turns, A B A B. The figure is this process's time a delivery, from when the readers are open until all of
 * it has arrived. Invariant: what arrives is counted, and a turn ends only when every message and every byte is there.
 */
#include "drive.h"
#include "ringcast_feed.h"
#include "ringcast_form.h"
#include "ringcast_stats.h"

#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_MAX 99
#define BURST 32
#define PATIENCE_NS (120 * NS_PER_SECOND)
#define SIZE_MAX_MESSAGE 4096
#define PATH_SIZE 16

static struct {
	unsigned rounds, readers, keys, messages;
	size_t size;
} options = { .rounds = 5, .readers = 1000, .keys = 10000, .messages = 3200, .size = 100 };

/* What the readers have had, in memory that both processes see. */
struct arrived {
	_Atomic uint64_t messages, bytes;
};

static struct arrived *arrived;

static void stay_on(unsigned processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	if (sysconf(_SC_NPROCESSORS_ONLN) > (long)processor)
		sched_setaffinity(0, sizeof set, &set);
}

/* ---- the readers ---- */

struct readers {
	struct drive drive; /* first, so that its address is theirs */
	char path[PATH_SIZE];
};

static void on_update(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)context;
	(void)conn;
	(void)user;
	drive_count(&arrived->bytes, message->size);
	drive_count(&arrived->messages, 1);
}

static void *path_of(struct drive *drive, unsigned index, char *path, size_t size)
{
	(void)index;
	snprintf(path, size, "%s", ((struct readers *)drive)->path);
	return NULL;
}

/* Opens readers of the path that it is told, says so, and ends them when it is told anything. */
static void read_all(int line, int port)
{
	struct readers readers;
	char word = 0;
	for (;;) {
		memset(&readers, 0, sizeof readers);
		if (read(line, readers.path, PATH_SIZE) != PATH_SIZE)
			return;
		drive_start(&readers.drive, port, on_update);
		drive_connect(&readers.drive, options.readers, path_of);
		if (write(line, &word, 1) != 1 || read(line, &word, 1) != 1)
			return;
		readers.drive.ending = true;
		rc_server_stop(readers.drive.server, 0);
		rc_server_join(readers.drive.server);
		rc_server_free(readers.drive.server);
	}
}

/* ---- the server ---- */

struct bench {
	rc_server *server;
	int port, line; /* to the readers */
	rc_conn *conns; /* of this turn */
	_Atomic unsigned opened, closed;
	char payload[SIZE_MAX_MESSAGE];
};

static int on_request(void *context, rc_request *request)
{
	const char *name = rc_request_path(request) + 1;
	(void)context;
	if (strcmp(name, "json") == 0 && rc_request_form(request, RC_FORM_JSON))
		return 400;
	return strcmp(name, "state") == 0 ? 0 : drive_subscribe(request);
}

static void on_open(void *context, rc_conn conn, void *user)
{
	struct bench *bench = context;
	(void)user;
	bench->conns[bench->opened] = conn;
	bench->opened++;
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	struct bench *bench = context;
	(void)conn;
	(void)user;
	(void)closing;
	bench->closed++;
}

static void publish(struct bench *bench, const char *topic, size_t size, const uint32_t *key)
{
	struct rc_publication message = {
		.data = bench->payload, .size = size, .key = key, .key_size = key ? sizeof *key : 0
	};
	int64_t result;
	while ((result = rc_publish_with(bench->server, topic, strlen(topic), &message)) == -EAGAIN)
		sleep_until(now_ns() + 100000);
	if (result < 0)
		die("a message was refused");
}

static void want_state(struct bench *bench)
{
	for (unsigned i = 0; i < options.readers; i++) {
		struct rc_start start = { .state = true };
		int result;
		while ((result = rc_subscribe(bench->server, bench->conns[i], "state", 5, &start)) == -EAGAIN)
			sleep_until(now_ns() + 100000);
		if (result < 0)
			die("no subscription to the state");
	}
}

static void wait_for(const struct bench *bench, const _Atomic uint64_t *counter, uint64_t count)
{
	for (uint64_t end = now_ns() + PATIENCE_NS; *counter < count; sleep_until(now_ns() + 100000))
		if (now_ns() > end || bench->closed)
			die("not all of it arrived");
	if (*counter > count)
		die("more arrived than was sent");
}

static uint64_t used_ns(void)
{
	struct timespec used;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NS_PER_SECOND + (uint64_t)used.tv_nsec;
}

/* ---- the cases ---- */

struct arm {
	const char *name, *path;
	size_t size;      /* of a payload as it is published */
	size_t sent_size; /* of a payload as it arrives; 0: it is not counted */
	unsigned count;   /* messages */
	unsigned burst;   /* 0: all at once */
	double ns[ROUNDS_MAX], encoded;
};

static void send_all(struct bench *bench, const struct arm *arm)
{
	if (strcmp(arm->path, "state") == 0) {
		want_state(bench);
		return;
	}
	for (unsigned sent = 0; sent < arm->count;) {
		publish(bench, arm->path, arm->size, NULL);
		if (++sent == arm->count || (arm->burst && sent % arm->burst == 0))
			wait_for(bench, &arrived->messages, (uint64_t)sent * options.readers);
	}
}

static uint64_t encoded(const struct bench *bench)
{
	struct rc_stats stats;
	rc_server_stats(bench->server, &stats);
	return stats.encoded;
}

static void turn(struct bench *bench, struct arm *arm, unsigned round)
{
	char path[PATH_SIZE] = { 0 }, word;
	snprintf(path, sizeof path, "%s", arm->path);
	bench->opened = bench->closed = 0;
	arrived->messages = arrived->bytes = 0;
	if (write(bench->line, path, sizeof path) != sizeof path || read(bench->line, &word, 1) != 1)
		die("the readers are gone");
	while (bench->opened < options.readers)
		sleep_until(now_ns() + 100000);
	uint64_t encoded_before = encoded(bench), before = used_ns();
	uint64_t deliveries = (uint64_t)arm->count * options.readers;
	send_all(bench, arm);
	wait_for(bench, &arrived->messages, deliveries);
	arm->ns[round] = (double)(used_ns() - before) / (double)deliveries;
	arm->encoded = (double)(encoded(bench) - encoded_before) / arm->count;
	if (arm->sent_size && arrived->bytes != deliveries * arm->sent_size)
		die("other bytes arrived than were sent");
	if (write(bench->line, &word, 1) != 1)
		die("the readers are gone");
	while (bench->closed < options.readers)
		sleep_until(now_ns() + 100000);
}

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static void print(const struct arm *arm, const struct arm *plain)
{
	double ratios[ROUNDS_MAX], times[ROUNDS_MAX];
	for (unsigned i = 0; i < options.rounds; i++) {
		ratios[i] = arm->ns[i] / plain->ns[i];
		times[i] = arm->ns[i];
	}
	qsort(ratios, options.rounds, sizeof *ratios, by_size);
	qsort(times, options.rounds, sizeof *times, by_size);
	printf("  %-28s %8.1f ns  %5.2f [%.2f, %.2f]  encoded %.3f times a message\n", arm->name,
	       times[options.rounds / 2], ratios[options.rounds / 2], ratios[0], ratios[options.rounds - 1],
	       arm->encoded);
	fflush(stdout);
}

/* The second is what the first is compared with. */
static void run_case(struct bench *bench, struct arm arms[2])
{
	for (unsigned round = 0; round < options.rounds; round++)
		for (unsigned i = 0; i < 2; i++)
			turn(bench, &arms[i], round);
	for (unsigned i = 0; i < 2; i++)
		print(&arms[i], &arms[1]);
}

static void join(struct bench *bench)
{
	struct arm arms[] = {
		{ .name = "the state", .path = "state", .size = options.size, .count = options.keys },
		{ .name = "plain messages", .path = "plain", .size = options.size, .count = options.keys },
	};
	arms[0].sent_size = arms[1].sent_size = options.size;
	for (uint32_t key = 0; key < options.keys; key++)
		publish(bench, "state", options.size, &key);
	printf("join: %u readers get %u keys of %zu bytes\n", options.readers, options.keys, options.size);
	run_case(bench, arms);
}

/* How large a message is in the form depends on the digits of its numbers, so the plain ones are as large as those of a
 * first turn were on average. */
static void json(struct bench *bench)
{
	struct arm arms[] = {
		{ .name = "the form json", .path = "json", .size = options.size },
		{ .name = "plain messages of that size", .path = "plain" },
	};
	arms[0].count = arms[1].count = options.messages;
	arms[0].burst = arms[1].burst = BURST;
	bench->payload[0] = bench->payload[options.size - 1] = '"';
	turn(bench, &arms[0], 0);
	arms[1].size = arrived->bytes / arrived->messages;
	printf("json: %u readers get bursts of %u, %zu bytes each that are %zu in the form\n", options.readers, BURST,
	       options.size, arms[1].size);
	run_case(bench, arms);
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = { { "tiny", no_argument, NULL, 't' },
		                               { "rounds", required_argument, NULL, 'r' },
		                               { "readers", required_argument, NULL, 'n' },
		                               { "keys", required_argument, NULL, 'k' },
		                               { "messages", required_argument, NULL, 'm' },
		                               { "size", required_argument, NULL, 's' },
		                               { 0 } };
	for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (found == 't')
			options.rounds = 1, options.readers = 20, options.keys = 200, options.messages = 64;
		else if (found == 'r')
			options.rounds = value;
		else if (found == 'n')
			options.readers = value;
		else if (found == 'k')
			options.keys = value;
		else if (found == 'm')
			options.messages = value;
		else if (found == 's')
			options.size = value;
		else
			exit(2);
	}
	if (!options.rounds || options.rounds > ROUNDS_MAX || !options.readers || !options.keys || !options.messages ||
	    options.size < 2 || options.size > SIZE_MAX_MESSAGE / 2) {
		fprintf(stderr,
		        "usage: feeds [--rounds N] [--readers N] [--keys N] [--messages N] [--size BYTES] [--tiny]\n");
		exit(2);
	}
}

/* The child begins before there is any thread, and learns the port when there is one. */
static int begin_readers(void)
{
	int line[2], port;
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, line))
		die("no socket");
	pid_t child = fork();
	if (child < 0)
		die("no process");
	close(line[child == 0 ? 0 : 1]);
	if (child)
		return line[0];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stay_on(1);
	if (read(line[1], &port, sizeof port) == sizeof port)
		read_all(line[1], port);
	_exit(0);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct rc_config config;
	parse(argc, argv);
	arrived = mmap(NULL, sizeof *arrived, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bench.conns = calloc(options.readers, sizeof *bench.conns);
	if (arrived == MAP_FAILED || !bench.conns)
		die("no memory");
	memset(bench.payload, 'x', sizeof bench.payload);
	bench.line = begin_readers();
	stay_on(0);
	drive_config(&config);
	config.handlers =
	    (struct rc_handlers){ .context = &bench, .request = on_request, .open = on_open, .close = on_close };
	int port = drive_serve(&config, "0", &bench.server);
	if (write(bench.line, &port, sizeof port) != sizeof port)
		die("the readers are gone");
	join(&bench);
	json(&bench);
	rc_server_stop(bench.server, 0);
	rc_server_join(bench.server);
	rc_server_free(bench.server);
	close(bench.line);
	free(bench.conns);
	return 0;
}
