/* SPDX-License-Identifier: MIT
 *
 * producer_peer.c - producers as test_producers.py wants them, fast or hostile, on ringcast_producer.h alone:
 *      producer_peer PATH TOPIC flood COUNT     "0", "1" ... COUNT-1, as fast as the ring takes them
 *      producer_peer PATH TOPIC die COUNT SEED  COUNT processes, one after the other: each publishes "KEPT <n>", begins
 *                                               another record and is killed within it, or is killed wherever it is
 *      producer_peer PATH TOPIC scribble SECONDS SEED
 *                                               random bytes over all of the shared memory, again and again
 * It prints how many messages it published.
 */
#include "ringcast_producer.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

static const char *path, *topic;

static uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static void nap(long ns)
{
	const struct timespec time = { 0, ns };
	nanosleep(&time, NULL);
}

static void die(const char *what, int code)
{
	fprintf(stderr, "producer_peer: %s: %d\n", what, code);
	exit(1);
}

static int begin(struct rc_producer *producer)
{
	int code = rc_producer_open(producer, path);
	if (code < 0)
		die(producer->error, code);
	int number = rc_producer_topic(producer, topic, strlen(topic));
	if (number < 0)
		die(producer->error, number);
	return number;
}

static void publish(struct rc_producer *producer, int number, const char *text)
{
	int code;
	while ((code = rc_producer_publish(producer, number, text, strlen(text), 0)) == -EAGAIN)
		nap(20000);
	if (code < 0)
		die("publish", code);
}

static void flood(long count)
{
	struct rc_producer producer;
	int number = begin(&producer);
	char text[32];
	for (long i = 0; i < count; i++) {
		snprintf(text, sizeof text, "%ld", i);
		publish(&producer, number, text);
	}
	rc_producer_close(&producer);
}

/* The header of a record and some of its payload are there, its head is shown or not, and then there is nobody. */
static void die_within(long index, uint64_t seed)
{
	struct rc_producer producer;
	int number = begin(&producer);
	char text[64];
	snprintf(text, sizeof text, "KEPT %ld", index);
	publish(&producer, number, text);
	struct rc_producer_record *record =
	    (struct rc_producer_record *)(void *)(producer.bytes + (producer.head & (producer.size - 1)));
	record->size = 24 + (uint32_t)(draw(&seed) % 4000);
	record->topic = (uint32_t)number;
	memset(record + 1, 'x', draw(&seed) % 64);
	kill(getpid(), SIGKILL);
}

/* Publishes text that is worth nothing until it is killed from outside, wherever that finds it. */
static void publish_for_ever(uint64_t seed)
{
	struct rc_producer producer;
	int number = begin(&producer);
	static char text[2000];
	memset(text, 'y', sizeof text);
	for (;;)
		rc_producer_publish(&producer, number, text, draw(&seed) % sizeof text, 0);
}

static void die_often(long count, uint64_t seed)
{
	long kept = 0;
	for (long i = 0; i < count; i++) {
		bool alone = draw(&seed) % 2;
		uint64_t own = draw(&seed);
		pid_t child = fork();
		if (child == 0 && alone)
			die_within(i, own);
		if (child == 0)
			publish_for_ever(own);
		if (child < 0)
			die("fork", errno);
		if (!alone) {
			nap(200000 + (long)(draw(&seed) % 2000000));
			kill(child, SIGKILL);
		}
		int status;
		waitpid(child, &status, 0);
		if (!WIFSIGNALED(status))
			die("a child was not killed", status);
		kept += alone;
	}
	printf("%ld\n", kept);
}

static void scribble(long seconds, uint64_t seed)
{
	time_t end = time(NULL) + seconds;
	unsigned long rings = 0;
	while (time(NULL) < end) {
		struct rc_producer producer;
		begin(&producer);
		uint64_t *words = (uint64_t *)(void *)producer.shared;
		uint64_t count = (RC_PRODUCER_BYTES_AT + producer.size) / 8;
		/* Now and then a head that may be one, so that what it leads to is read, and is written at that moment.
		 */
		for (unsigned i = 0; i < 20000 && rc_producer_is_connected(&producer); i++) {
			for (unsigned j = 0; j < 8; j++)
				words[draw(&seed) % (j % 2 ? count : 1024)] = j % 4 ? draw(&seed) % 512 : draw(&seed);
			if (i % 2)
				__atomic_store_n(&producer.shared->head,
				                 __atomic_load_n(&producer.shared->tail, __ATOMIC_ACQUIRE) +
				                     draw(&seed) % 512 * 8,
				                 __ATOMIC_SEQ_CST);
			rc_producer_knock(&producer);
		}
		rings++;
		rc_producer_close(&producer);
	}
	printf("%lu\n", rings);
}

/* Asks for two topics of a server that was stopped meanwhile: a line when it may be stopped, one when it may go on. */
static void ask_late(void)
{
	struct rc_producer producer;
	char line[8];
	begin(&producer);
	puts("open");
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		die("no word to go on", -EPIPE);
	printf("%d\n", rc_producer_topic(&producer, "first", 5));
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		die("no word to go on", -EPIPE);
	printf("%d\n", rc_producer_topic(&producer, "second", 6));
	rc_producer_close(&producer);
}

int main(int argc, char **argv)
{
	if (argc < 5)
		die("PATH TOPIC flood|late|die|scribble COUNT [SEED]", -EINVAL);
	path = argv[1];
	topic = argv[2];
	long count = atol(argv[4]);
	uint64_t seed = argc > 5 ? strtoull(argv[5], NULL, 10) : 1;
	if (strcmp(argv[3], "flood") == 0)
		flood(count);
	else if (strcmp(argv[3], "late") == 0)
		ask_late();
	else if (strcmp(argv[3], "die") == 0)
		die_often(count, seed);
	else
		scribble(count, seed);
	return 0;
}
