/* SPDX-License-Identifier: MIT
 *
 * backplane.c - what a backplane on Redis carries, and how long a message takes: `make bench-backplane`. It starts a
 * redis-server of its own on a free port, and in it
 *
 *   throughput   two nodes in this process: one publishes 100 bytes at a time or many as one, the other's log is what
 * is counted. Beside it redis-benchmark with the same bytes, one a command, pipelined latency      one message at a
 * time, from before the publish to its delivery on another node; beside it a bare XADD and a blocking XREAD by hiredis,
 * each on a connection of its own
 *
 * Rounds take turns, and each figure is the median of its rounds. It must not know how a node works inside.
 */
#include "backplane/backplane.h"
#include "backplane/built.h"

#ifdef BACKPLANE_REDIS

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 100
#define TOGETHER 64 /* messages published as one */
#define ROUNDS 5
#define PAUSE_US 300 /* after each ping, for everybody to come to rest */

struct bench {
	int port;
	pid_t redis;
	char folder[64];
	size_t count, pings;
	struct backplane *from, *to;
	rc_server *servers[2];
	_Atomic uint64_t delivered, delivered_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "backplane: %s\n", what);
	exit(1);
}

static int by_value(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;
	return (a > b) - (a < b);
}

static double at(double *values, size_t count, double share)
{
	qsort(values, count, sizeof *values, by_value);
	return values[(size_t)((double)(count - 1) * share)];
}

/* ---- Redis ---- */

static void start_redis(struct bench *bench)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof address;
	int probe = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(probe, (struct sockaddr *)&address, size) || getsockname(probe, (struct sockaddr *)&address, &size))
		die("no free port");
	close(probe);
	bench->port = ntohs(address.sin_port);
	strcpy(bench->folder, "/tmp/ringcast-bench-XXXXXX");
	if (!mkdtemp(bench->folder))
		die("no folder");
	bench->redis = fork();
	if (bench->redis == 0) {
		char port[8];
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(port, sizeof port, "%d", bench->port & 0xffff);
		execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--dir", bench->folder,
		       "--save", "", "--logfile", "output", (char *)NULL);
		_exit(77);
	}
	for (int tries = 0; tries < 200; tries++) {
		redisContext *context = redisConnect("127.0.0.1", bench->port);
		bool good = context && !context->err;
		redisFree(context);
		if (good)
			return;
		if (waitpid(bench->redis, NULL, WNOHANG))
			break;
		usleep(10000);
	}
	puts("redis-server is not to be had: nothing is measured");
	exit(0);
}

static void stop_redis(const struct bench *bench)
{
	char path[96];
	kill(bench->redis, SIGKILL);
	waitpid(bench->redis, NULL, 0);
	snprintf(path, sizeof path, "%s/output", bench->folder);
	unlink(path);
	rmdir(bench->folder);
}

/* Messages a second of redis-benchmark, one a command; 0 without it. */
static double benchmark(const struct bench *bench)
{
	char command[512], line[256], body[SIZE + 1];
	double rate = 0;
	memset(body, 'x', SIZE);
	body[SIZE] = 0;
	snprintf(command, sizeof command,
	         "redis-benchmark -p %d -n %zu -c 1 -P %d --csv XADD bench MAXLEN '~' 100000 '*' p %s 2>/dev/null",
	         bench->port, bench->count, TOGETHER, body);
	FILE *from = popen(command, "r");
	while (from && fgets(line, sizeof line, from)) {
		const char *value = strstr(line, "\",\"");
		if (value && atof(value + 3) > 0)
			rate = atof(value + 3);
	}
	if (from)
		pclose(from);
	return rate;
}

/* ---- nodes ---- */

static void deliver(void *context, struct backplane_message *messages, size_t count)
{
	struct bench *bench = context;
	backplane_deliver(bench->to, messages, count);
	atomic_store(&bench->delivered_ns, now_ns());
	atomic_fetch_add(&bench->delivered, count);
}

static struct backplane *start_node(struct bench *bench, unsigned index, bool counts)
{
	static char urls[2][96];
	struct rc_config config;
	struct rc_error error = { 0 };
	const struct backplane_handlers handlers = { .context = bench, .deliver = deliver };
	rc_config_init(&config);
	config.worker_count = 1;
	bench->servers[index] = rc_server_new(&config, &error);
	if (!bench->servers[index])
		die(error.text);
	snprintf(urls[index], sizeof urls[index], "redis://127.0.0.1:%d/0?prefix=bench", bench->port);
	const struct backplane_settings settings = {
		.url = urls[index], .away = BACKPLANE_QUEUE, .queue_max = (size_t)64 << 20, .start_ms = 5000
	};
	struct backplane *backplane = backplane_new(&settings, bench->servers[index], counts ? &handlers : NULL,
	                                            &error);
	if (!backplane)
		die(error.text);
	if (counts)
		bench->to = backplane;
	if (rc_server_start(bench->servers[index], &error) || backplane_start(backplane))
		die("a node does not start");
	return backplane;
}

static void publish(struct bench *bench, size_t together)
{
	static char text[SIZE];
	struct backplane_message messages[TOGETHER];
	memset(text, 'x', sizeof text);
	for (size_t i = 0; i < together; i++)
		messages[i] = (struct backplane_message){ .channel = "bench",
			                                  .channel_size = 5,
			                                  .data = text,
			                                  .size = sizeof text,
			                                  .flags = RC_PUBLISH_UNCHECKED };
	while (backplane_publish(bench->from, messages, together, NULL, NULL))
		usleep(100);
}

/* Messages a second into the other node's log. */
static double carry(struct bench *bench, size_t together)
{
	uint64_t begin = now_ns(), target = atomic_load(&bench->delivered) + bench->count / together * together;
	for (size_t sent = 0; sent < bench->count / together; sent++)
		publish(bench, together);
	while (atomic_load(&bench->delivered) < target)
		usleep(200);
	return (double)(bench->count / together * together) * 1e9 / (double)(now_ns() - begin);
}

/* Microseconds of each of these pings. */
static void ping(struct bench *bench, double *us)
{
	for (size_t i = 0; i < bench->pings; i++) {
		uint64_t before = atomic_load(&bench->delivered), begin = now_ns();
		publish(bench, 1);
		while (atomic_load(&bench->delivered) == before)
			usleep(20);
		us[i] = (double)(atomic_load(&bench->delivered_ns) - begin) / 1000;
		usleep(PAUSE_US);
	}
}

/* ---- the same by hiredis alone ---- */

struct bare {
	const struct bench *bench;
	_Atomic uint64_t read, read_ns;
	_Atomic bool ready;
};

static void *read_bare(void *argument)
{
	struct bare *bare = argument;
	redisContext *context = redisConnect("127.0.0.1", bare->bench->port);
	char id[64] = "0-0";
	for (size_t got = 0; context && !context->err && got < bare->bench->pings;) {
		atomic_store(&bare->ready, true);
		redisReply *reply = redisCommand(context, "XREAD COUNT 128 BLOCK 2000 STREAMS bare %s", id);
		if (!reply || reply->type != REDIS_REPLY_ARRAY) {
			freeReplyObject(reply);
			break;
		}
		atomic_store(&bare->read_ns, now_ns());
		const redisReply *entries = reply->element[0]->element[1];
		snprintf(id, sizeof id, "%s", entries->element[entries->elements - 1]->element[0]->str);
		got += entries->elements;
		atomic_store(&bare->read, got);
		freeReplyObject(reply);
	}
	redisFree(context);
	return NULL;
}

static void ping_bare(const struct bench *bench, double *us)
{
	struct bare bare = { .bench = bench };
	pthread_t thread;
	char text[SIZE];
	memset(text, 'x', sizeof text);
	redisContext *context = redisConnect("127.0.0.1", bench->port);
	freeReplyObject(redisCommand(context, "DEL bare"));
	if (!context || context->err || pthread_create(&thread, NULL, read_bare, &bare))
		die("hiredis does not connect");
	while (!atomic_load(&bare.ready))
		usleep(100);
	for (size_t i = 0; i < bench->pings; i++) {
		uint64_t begin = now_ns();
		freeReplyObject(redisCommand(context, "XADD bare * p %b", text, sizeof text));
		while (atomic_load(&bare.read) <= i && now_ns() - begin < 2000000000)
			usleep(20);
		us[i] = (double)(atomic_load(&bare.read_ns) - begin) / 1000;
		usleep(PAUSE_US);
	}
	pthread_join(thread, NULL);
	redisFree(context);
}

static void measure(struct bench *bench, unsigned rounds)
{
	double single[ROUNDS], many[ROUNDS], engine[ROUNDS];
	double *ours = calloc(rounds * bench->pings, sizeof *ours), *bare = calloc(rounds * bench->pings, sizeof *bare);
	if (!ours || !bare)
		die("no memory");
	for (unsigned i = 0; i < rounds; i++) {
		engine[i] = benchmark(bench);
		single[i] = carry(bench, 1);
		many[i] = carry(bench, TOGETHER);
		ping_bare(bench, bare + i * bench->pings);
		ping(bench, ours + i * bench->pings);
	}
	size_t all = rounds * bench->pings;
	printf("messages a second of %d bytes, median of %u rounds of %zu\n", SIZE, rounds, bench->count);
	printf("  redis-benchmark, XADD, %d pipelined    %9.0f\n", TOGETHER, at(engine, rounds, 0.5));
	printf("  into the other node's log, one a call  %9.0f\n", at(single, rounds, 0.5));
	printf("  %d as one                              %9.0f\n", TOGETHER, at(many, rounds, 0.5));
	printf("microseconds from the publish to the other side    p50      p99\n");
	printf("  XADD to XREAD by hiredis                    %8.1f %8.1f\n", at(bare, all, 0.5), at(bare, all, 0.99));
	printf("  node to node, into the log                  %8.1f %8.1f\n", at(ours, all, 0.5), at(ours, all, 0.99));
	printf("  ratio of the p50                            %8.2f\n", at(ours, all, 0.5) / at(bare, all, 0.5));
	free(ours);
	free(bare);
}

int main(int argc, char **argv)
{
	bool tiny = argc > 1 && !strcmp(argv[1], "--tiny");
	static struct bench bench;
	bench.count = tiny ? 2000 : 200000;
	bench.pings = tiny ? 20 : 1000;
	start_redis(&bench);
	bench.from = start_node(&bench, 0, false);
	start_node(&bench, 1, true);
	measure(&bench, tiny ? 1 : ROUNDS);
	backplane_stop(bench.from);
	backplane_stop(bench.to);
	for (unsigned i = 0; i < 2; i++) {
		rc_server_stop(bench.servers[i], 0);
		rc_server_join(bench.servers[i]);
	}
	backplane_free(bench.from);
	backplane_free(bench.to);
	for (unsigned i = 0; i < 2; i++)
		rc_server_free(bench.servers[i]);
	stop_redis(&bench);
	return 0;
}

#else

#include <stdio.h>

int main(void)
{
	puts("built without hiredis: nothing is measured");
	return 0;
}

#endif
