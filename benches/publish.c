/* SPDX-License-Identifier: MIT
 *
 * publish.c - what publishing takes of the thread that does it, and how long it may take: by 1 to 8 threads, at full
 * speed and from a schedule, with and without subscribers, beside somebody who reads statistics; by name, by handle,
 * many as one, built in the log. Beside it stands the floor: a ring buffer under a mutex that the same bytes are copied
 * into.
 *
 * Those of a case take turns, A B A B, in one process. Each call is timed by itself, and all times are kept and sorted.
 * The clock's own cost is in each of them; it is measured and printed. Who is refused tries again, and only the time of
 * the last try counts. Publisher i has processor i, counted around; all threads of the library, clients and readers
 * included, have the last one. When the kernel gives a publisher's processor to somebody else, that is in the tail;
 * "switched" says how often it was.
 */
#include "drive.h"
#include "lib/random.h"
#include "ringcast_stats.h"
#include "ways.h"

#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define ROUNDS_MAX 101
#define THREADS_MAX 8
#define ARMS_MAX 6
#define TOPICS 1000
#define SUBSCRIBERS 100 /* with 10 of the topics each: every message is one delivery */
#define READS_A_SECOND 100
#define READ_TOPICS 100    /* that a reader asks for */
#define TAIL_SAMPLES 50000 /* with fewer, p99.99 would be the maximum */
#define PATIENCE_NS (20 * NS_PER_SECOND)

static struct {
	unsigned rounds, threads, reader_topics; /* threads: 0 is all of 1, 2, 4, 8 */
	size_t size, log_size;
	unsigned samples; /* of an arm in a round, at full speed */
	double seconds;   /* of an arm in a round, from a schedule */
} options = { .rounds = 5, .reader_topics = 100000, .size = 100, .samples = 1000000, .seconds = 1 };

static uint8_t *payload;
static cpu_set_t allowed;

/* ---- who is published to ---- */

enum reading { NOBODY, TOP, MATCH };

/* One lap through ring or log, so that no page and no topic is touched for the first time when it counts. */
static void warm_up(struct target *target)
{
	size_t lap = options.log_size / (options.size < 128 ? options.size : 128) * 11 / 10;
	for (size_t i = 0; i < lap || i < target->topics; i++) {
		while (!way_publish(target, (uint32_t)(i % target->topics)))
			sleep_until(now_ns() + 50000); /* a worker has still to see where the log is */
	}
}

static void make_names(struct target *target, unsigned topics)
{
	target->topics = topics;
	target->payload = payload;
	target->size = options.size;
	target->names = calloc(topics, sizeof *target->names);
	if (!target->names)
		die("no memory");
	for (unsigned i = 0; i < topics; i++)
		target->names[i].size = (uint8_t)sprintf(target->names[i].text, "%u", i);
}

static void make_ring(struct target *target, unsigned topics)
{
	make_names(target, topics);
	target->ring.size = options.log_size;
	target->ring.bytes = malloc(options.log_size);
	pthread_mutex_init(&target->ring.lock, NULL);
	if (!target->ring.bytes)
		die("no memory");
	warm_up(target);
}

static int on_request(void *context, rc_request *request)
{
	(void)context;
	return drive_subscribe(request);
}

/* Returns its port. */
static int make_server(struct target *target, unsigned topics)
{
	struct rc_config config;
	make_names(target, topics);
	drive_config(&config);
	config.log_size = options.log_size;
	config.handlers = (struct rc_handlers){ .request = on_request };
	int port = drive_serve(&config, "0", &target->server);
	target->handles = calloc(topics, sizeof *target->handles);
	for (unsigned i = 0; i < topics; i++)
		if (!target->handles ||
		    rc_topic_open(target->server, target->names[i].text, target->names[i].size, &target->handles[i]))
			die("no memory");
	warm_up(target);
	return port;
}

/* ---- subscribers and readers ---- */

struct audience {
	struct drive drive; /* first, so that its address is the audience's */
	_Atomic uint64_t received;
};

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	(void)conn;
	(void)user;
	(void)message;
	drive_count(&((struct audience *)context)->received, 1);
}

static void *path_of(struct drive *drive, unsigned index, char *path, size_t size)
{
	size_t used = 0;
	(void)drive;
	for (unsigned topic = index; topic < TOPICS; topic += SUBSCRIBERS)
		used += (size_t)snprintf(path + used, size - used, "%s%u", used ? "," : "", topic);
	return NULL;
}

/* Somebody who looks at the topics. */
struct reader {
	rc_server *server;
	enum reading reading;
	atomic_bool stop;
	uint64_t calls, spent_ns, longest_ns;
};

static void *read_statistics(void *argument)
{
	static struct rc_topic_stats found[READ_TOPICS];
	struct reader *reader = argument;
	uint64_t next = now_ns();
	while (!atomic_load(&reader->stop)) {
		uint64_t begin = now_ns();
		if (reader->reading == TOP)
			rc_topics_top(reader->server, found, READ_TOPICS);
		else
			rc_topics_match(reader->server, "1*", 2, found, READ_TOPICS);
		uint64_t spent = now_ns() - begin;
		reader->calls++;
		reader->spent_ns += spent;
		reader->longest_ns = spent > reader->longest_ns ? spent : reader->longest_ns;
		next = next + NS_PER_SECOND / READS_A_SECOND;
		next = next > now_ns() ? next : now_ns();
		sleep_until(next);
	}
	return NULL;
}

/* ---- publishers ---- */

/* One of those that take turns, and what it has shown so far. */
struct arm {
	const char *name;
	struct target *target;
	enum reading reading;
	struct reader reader;
	uint32_t *samples;
	size_t count;
	uint64_t switched, refused;
	double averages[ROUNDS_MAX], speeds[ROUNDS_MAX];
};

struct publisher {
	struct target *target;
	pthread_barrier_t *begin;
	uint32_t *samples;
	size_t count;
	unsigned index;
	uint64_t interval_ns; /* 0: at full speed */
	uint64_t random[4];
	uint64_t begin_ns, end_ns, switched, refused;
};

static void pin(pthread_t thread, unsigned index)
{
	cpu_set_t one;
	unsigned place = index % (unsigned)CPU_COUNT(&allowed);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && !place--)
			CPU_SET(cpu, &one);
	}
	pthread_setaffinity_np(thread, sizeof one, &one);
}

static uint64_t switches(void)
{
	struct rusage usage;
	getrusage(RUSAGE_THREAD, &usage);
	return (uint64_t)usage.ru_nivcsw;
}

static void *publish_all(void *argument)
{
	struct publisher *publisher = argument;
	struct target *target = publisher->target;
	pin(pthread_self(), publisher->index);
	prctl(PR_SET_TIMERSLACK, 1);
	pthread_barrier_wait(publisher->begin);
	uint64_t switched = switches(), due = now_ns();
	publisher->begin_ns = due;
	for (size_t i = 0; i < publisher->count; i++) {
		uint32_t topic = random_below(publisher->random, target->topics);
		due += publisher->interval_ns;
		if (publisher->interval_ns && due > now_ns())
			sleep_until(due);
		uint64_t before = now_ns();
		while (!way_publish(target, topic)) { /* a worker has still to see where the log is */
			publisher->refused++;
			sleep_until(now_ns() + 50000);
			before = now_ns();
		}
		uint64_t took = (now_ns() - before) / way_count(target);
		publisher->samples[i] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
	}
	publisher->end_ns = now_ns();
	publisher->switched = switches() - switched;
	return NULL;
}

/* A turn of one arm: so many samples by so many threads. */
static void turn(struct arm *arm, unsigned round, unsigned threads, double rate, size_t count)
{
	struct publisher publishers[THREADS_MAX];
	pthread_t ids[THREADS_MAX] = { 0 }, reading = 0;
	pthread_barrier_t begin;
	uint64_t first = UINT64_MAX, last = 0;
	double sum = 0;
	count = count / threads * threads;
	pthread_barrier_init(&begin, NULL, threads);
	atomic_store(&arm->reader.stop, false);
	if (arm->reading != NOBODY && pthread_create(&reading, NULL, read_statistics, &arm->reader))
		die("no thread");
	for (unsigned i = 0; i < threads; i++) {
		publishers[i] = (struct publisher){ .target = arm->target,
			                            .begin = &begin,
			                            .index = i,
			                            .count = count / threads,
			                            .samples = arm->samples + arm->count + count / threads * i };
		publishers[i].interval_ns = rate > 0 ? (uint64_t)(1e9 * threads / rate) : 0;
		random_seed(publishers[i].random, round * THREADS_MAX + i);
		if (pthread_create(&ids[i], NULL, publish_all, &publishers[i]))
			die("no thread");
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		first = publishers[i].begin_ns < first ? publishers[i].begin_ns : first;
		last = publishers[i].end_ns > last ? publishers[i].end_ns : last;
		arm->switched += publishers[i].switched;
		arm->refused += publishers[i].refused;
	}
	atomic_store(&arm->reader.stop, true);
	if (arm->reading != NOBODY)
		pthread_join(reading, NULL);
	for (size_t i = 0; i < count; i++)
		sum += arm->samples[arm->count + i];
	arm->count += count;
	arm->averages[round] = sum / (double)count;
	arm->speeds[round] = (double)count * way_count(arm->target) * 1e9 / (double)(last - first);
	pthread_barrier_destroy(&begin);
}

/* ---- figures ---- */

static int by_size(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
	return (a > b) - (a < b);
}

static int by_value(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;
	return (a > b) - (a < b);
}

static double median(const double *values, unsigned count)
{
	double ordered[ROUNDS_MAX];
	memcpy(ordered, values, count * sizeof *values);
	qsort(ordered, count, sizeof *ordered, by_value);
	return count % 2 ? ordered[count / 2] : (ordered[count / 2 - 1] + ordered[count / 2]) / 2;
}

static uint32_t percentile(const uint32_t *sorted, size_t count, double share)
{
	size_t place = (size_t)((double)count * share);
	return sorted[place < count ? place : count - 1];
}

static void print_tail(const uint32_t *sorted, size_t count)
{
	char last[16] = "-";
	if (count >= TAIL_SAMPLES)
		snprintf(last, sizeof last, "%u", percentile(sorted, count, 0.9999));
	printf("%8u %8u %8s %9u", percentile(sorted, count, 0.5), percentile(sorted, count, 0.99), last,
	       sorted[count - 1]);
}

static void print_head(const char *about)
{
	printf("\n%s\n  threads %-24s %8s %8s %8s %9s %8s  %-20s %10s %8s %s\n", about, "", "p50", "p99", "p99.99",
	       "max", "average", "average's ratio", "million/s", "switched", "refused");
}

/* Ratios are to the first arm of the case, within a round. */
static void print_arm(struct arm *arm, const struct arm *base, unsigned threads)
{
	double ratios[ROUNDS_MAX], ordered[ROUNDS_MAX];
	char words[48];
	for (unsigned round = 0; round < options.rounds; round++)
		ratios[round] = arm->averages[round] / base->averages[round];
	memcpy(ordered, ratios, options.rounds * sizeof *ratios);
	qsort(ordered, options.rounds, sizeof *ordered, by_value);
	qsort(arm->samples, arm->count, sizeof *arm->samples, by_size);
	snprintf(words, sizeof words, "%.2f [%.2f, %.2f]", median(ratios, options.rounds), ordered[0],
	         ordered[options.rounds - 1]);
	printf("  %7u %-24s ", threads, arm->name);
	print_tail(arm->samples, arm->count);
	printf(" %8.1f  %-20s %10.3f %8" PRIu64 " %" PRIu64 "\n", median(arm->averages, options.rounds), words,
	       median(arm->speeds, options.rounds) / 1e6, arm->switched, arm->refused);
	if (arm->reader.calls)
		printf("          a look took %.0f us, at most %.0f us\n",
		       (double)arm->reader.spent_ns / 1e3 / (double)arm->reader.calls,
		       (double)arm->reader.longest_ns / 1e3);
	fflush(stdout);
}

/* All rounds of a case, its arms in turns. `rate` is a second and of all threads together; 0 is full speed. */
static void run_case(struct arm *arms, unsigned arm_count, unsigned threads, double rate)
{
	size_t count = rate > 0 ? (size_t)(rate * options.seconds) : options.samples;
	for (unsigned i = 0; i < arm_count; i++) {
		size_t size = count * options.rounds * sizeof *arms[i].samples;
		arms[i].samples = malloc(size);
		if (!arms[i].samples)
			die("no memory");
		memset(arms[i].samples, 0xff, size); /* its pages, too, are there before */
		arms[i].reader.server = arms[i].target->server;
		arms[i].reader.reading = arms[i].reading;
	}
	for (unsigned round = 0; round < options.rounds; round++) {
		for (unsigned i = 0; i < arm_count; i++)
			turn(&arms[i], round, threads, rate, count);
	}
	for (unsigned i = 0; i < arm_count; i++) {
		print_arm(&arms[i], &arms[0], threads);
		free(arms[i].samples);
	}
}

static void measure_clock(void)
{
	size_t count = options.samples;
	uint32_t *samples = malloc(count * sizeof *samples);
	if (!samples)
		die("no memory");
	memset(samples, 0, count * sizeof *samples);
	for (size_t i = 0; i < count; i++) {
		uint64_t before = now_ns();
		samples[i] = (uint32_t)(now_ns() - before);
	}
	qsort(samples, count, sizeof *samples, by_size);
	printf("  the clock, which is in every figure below: ");
	print_tail(samples, count);
	printf("\n");
	free(samples);
}

/* ---- the cases ---- */

static const unsigned thread_counts[] = { 1, 2, 4, 8 };

static bool chosen(unsigned threads)
{
	return !options.threads || options.threads == threads;
}

/* The ways to publish, each figure that of one message. What 50 at once take is shared among them. */
static void measure_ways(const struct target *target)
{
	static const struct {
		enum way way;
		const char *name;
	} ways[] = { { WAY_NAME, "rc_publish, by name" },  { WAY_HANDLE, "rc_publish_to, a handle" },
		     { WAY_KEYED, "keyed, by a handle" },  { WAY_QUIET, "50 quiet, rc_flush" },
		     { WAY_BATCH, "rc_publish_many, 50" }, { WAY_BUILT, "rc_reserve, rc_commit" } };
	const unsigned count = sizeof ways / sizeof *ways;
	print_head("at full speed, nobody is subscribed, in each of the ways there are");
	for (unsigned i = 0; i < 4; i++) {
		struct target targets[sizeof ways / sizeof *ways];
		struct arm arms[ARMS_MAX] = { 0 };
		for (unsigned j = 0; j < count; j++) {
			targets[j] = *target;
			targets[j].way = ways[j].way;
			arms[j] = (struct arm){ .name = ways[j].name, .target = &targets[j] };
			if (chosen(thread_counts[i]) && i == 0)
				warm_up(&targets[j]);
		}
		if (chosen(thread_counts[i]))
			run_case(arms, count, thread_counts[i], 0);
	}
}

/* Returns how many messages went to those who are subscribed. */
static uint64_t measure_publishing(struct target *floor, struct target *alone, struct target *heard)
{
	static const double rates[] = { 50000, 1000 };
	uint64_t published = 0;
	print_head("at full speed, nobody is subscribed");
	for (unsigned i = 0; i < 4; i++) {
		struct arm arms[] = { { .name = "floor", .target = floor }, { .name = "ringcast", .target = alone } };
		if (chosen(thread_counts[i]))
			run_case(arms, 2, thread_counts[i], 0);
	}
	for (unsigned rate = 0; rate < 2; rate++) {
		print_head(rate ? "1,000 a second: each wakes a worker that sleeps, where somebody is subscribed"
		                : "50,000 a second");
		for (unsigned i = 0; i < 4; i++) {
			struct arm arms[ARMS_MAX] = { { .name = "floor", .target = floor },
				                      { .name = "ringcast", .target = alone },
				                      { .name = "ringcast, subscribers", .target = heard } };
			if (!chosen(thread_counts[i]))
				continue;
			run_case(arms, 3, thread_counts[i], rates[rate]);
			published += arms[2].count;
		}
	}
	return published;
}

static void measure_readers(void)
{
	char about[128];
	struct target many = { 0 };
	make_server(&many, options.reader_topics);
	snprintf(about, sizeof about, "at full speed, %u topics, %d times a second somebody looks at them",
	         options.reader_topics, READS_A_SECOND);
	print_head(about);
	for (unsigned i = 0; i < 4; i++) {
		struct arm arms[ARMS_MAX] = { { .name = "nobody looks", .target = &many },
			                      { .name = "rc_topics_top", .target = &many, .reading = TOP },
			                      { .name = "rc_topics_match", .target = &many, .reading = MATCH } };
		if (chosen(thread_counts[i]))
			run_case(arms, 3, thread_counts[i], 0);
	}
}

static void parse(int argc, char **argv)
{
	static const struct option known[] = { { "tiny", no_argument, NULL, 't' },
		                               { "rounds", required_argument, NULL, 'r' },
		                               { "threads", required_argument, NULL, 'n' },
		                               { "size", required_argument, NULL, 's' },
		                               { "reader-topics", required_argument, NULL, 'k' },
		                               { 0 } };
	options.log_size = (size_t)64 << 20;
	for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		unsigned value = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
		if (found == 't') {
			options.rounds = 1;
			options.log_size = (size_t)1 << 20;
			options.samples = 5000;
			options.seconds = 0.02;
			options.reader_topics = 2000;
		} else if (found == 'r') {
			options.rounds = value;
		} else if (found == 'n') {
			options.threads = value;
		} else if (found == 's') {
			options.size = value;
		} else if (found == 'k') {
			options.reader_topics = value;
		}
		if (found == '?' || (optarg && !value) || options.rounds > ROUNDS_MAX ||
		    options.threads > THREADS_MAX || options.threads & (options.threads - 1) ||
		    options.reader_topics > RC_TOPICS_MAX || options.size > options.log_size / 4) {
			fprintf(stderr, "usage: publish [--rounds N] [--threads 1|2|4|8] [--size BYTES] "
			                "[--reader-topics N] [--tiny]\n");
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	static struct audience audience;
	struct target floor = { 0 }, alone = { 0 }, heard = { 0 };
	parse(argc, argv);
	payload = malloc(options.size);
	if (!payload || sched_getaffinity(0, sizeof allowed, &allowed))
		die("no memory");
	memset(payload, 'x', options.size);
	printf("ns a publish: %zu B, %d topics; rounds in turns: %u; processors: %d\n", options.size, TOPICS,
	       options.rounds, CPU_COUNT(&allowed));
	printf("Before: a lap through the log and the ring, because the first one faults their pages in.\n");
	pin(pthread_self(), 0);
	measure_clock();
	pin(pthread_self(), (unsigned)CPU_COUNT(&allowed) - 1); /* and every thread that is made from here on */
	make_ring(&floor, TOPICS);
	make_server(&alone, TOPICS);
	drive_start(&audience.drive, make_server(&heard, TOPICS), on_message);
	drive_connect(&audience.drive, SUBSCRIBERS, path_of);
	measure_ways(&alone);
	uint64_t published = measure_publishing(&floor, &alone, &heard);
	for (uint64_t end = now_ns() + PATIENCE_NS; now_ns() < end && audience.received < published;)
		sleep_until(now_ns() + 1000000);
	if (audience.received != published || audience.drive.closed)
		die("not all that was published has arrived once");
	measure_readers();
	return 0;
}
