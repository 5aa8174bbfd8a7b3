/* SPDX-License-Identifier: MIT
 *
 * market_data.c - quotes of ten pairs of currencies, 10,000 a second, and readers of every speed.
 *
 * A pair is a topic. The policy of all topics is to conflate: whoever cannot keep up gets the newest quote of each pair
 * and never an old one. The library keeps the last value of each topic, also when the log has long written over it: a
 * reader begins with the status of the market, which was published only once.
 */
#include <ringcast.h>
#include <ringcast_stats.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAIR_COUNT 10

static const char *const pairs[PAIR_COUNT] = { "AUDUSD", "EURCHF", "EURGBP", "EURJPY", "EURUSD",
	                                       "GBPUSD", "NZDUSD", "USDCAD", "USDCHF", "USDJPY" };
static volatile sig_atomic_t running = 1;

static void end(int signal_number)
{
	(void)signal_number;
	running = 0;
}

/* "/quotes/EURUSD,USDJPY" reads these two, "/quotes" reads all. The market's status comes with either. */
static int on_request(void *context, rc_request *request)
{
	rc_server *server = rc_request_server(request);
	rc_conn conn = rc_request_conn(request);
	const char *path = rc_request_path(request);
	struct rc_start from_last = { .last = true };
	unsigned found = 0;
	(void)context;
	if (!rc_request_is_websocket(request) || strncmp(path, "/quotes", 7) != 0)
		return 404;
	if (rc_subscribe(server, conn, "status", 6, &from_last) < 0)
		return 503;
	for (unsigned i = 0; i < PAIR_COUNT; i++)
		if (path[7] == '\0' || strstr(path + 7, pairs[i])) {
			if (rc_subscribe(server, conn, pairs[i], strlen(pairs[i]), &from_last) < 0)
				return 503;
			found++;
		}
	return found ? 0 : 404;
}

/* One step of a random walk for each pair. A full log (-EAGAIN) loses a quote here, as the next one is newer anyway. */
static void publish_quotes(rc_server *server, double *prices)
{
	static unsigned long number;
	for (unsigned i = 0; i < PAIR_COUNT; i++) {
		char text[128];
		prices[i] *= 1 + (drand48() - 0.5) / 10000;
		int size = snprintf(text, sizeof text, "{\"pair\":\"%s\",\"bid\":%.5f,\"ask\":%.5f,\"number\":%lu}",
		                    pairs[i], prices[i], prices[i] * 1.0001, number);
		rc_publish(server, pairs[i], strlen(pairs[i]), text, (size_t)size, 0);
	}
	number++;
}

static void print_totals(rc_server *server)
{
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	printf("%llu quotes published, %llu deliveries, %llu conflated for slow readers\n",
	       (unsigned long long)stats.published, (unsigned long long)stats.deliveries,
	       (unsigned long long)stats.conflated);
}

int main(int argc, char **argv)
{
	const char *address = argc > 1 ? argv[1] : "127.0.0.1:8080";
	static const char open_text[] = "{\"market\":\"open\"}";
	double prices[PAIR_COUNT];
	struct rc_config config;
	struct rc_error error;

	rc_config_init(&config);
	config.handlers.request = on_request;
	config.log_size = 1 << 20; /* a second and a little of quotes, to show that last values outlive it */
	rc_server *server = rc_server_new(&config, &error);
	struct rc_topic_options newest = { .policy = RC_POLICY_CONFLATE, .keep_last = true };
	if (server)
		rc_server_topic_rule(server, "*", &newest); /* it fails for a wrong pattern, or after the start */
	int port = server ? rc_server_listen(server, address, &error) : -1;
	if (port < 0 || rc_server_start(server, &error) < 0) {
		fprintf(stderr, "market_data: %s\n", error.text);
		return 1;
	}
	printf("listening on ws://127.0.0.1:%d\n", port);
	fflush(stdout);
	signal(SIGINT, end);
	signal(SIGTERM, end);

	for (unsigned i = 0; i < PAIR_COUNT; i++)
		prices[i] = 1 + drand48();
	rc_publish(server, "status", 6, open_text, sizeof open_text - 1, 0);
	while (running) {
		publish_quotes(server, prices);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	rc_server_stop(server, 1000);
	rc_server_join(server);
	print_totals(server);
	rc_server_free(server);
	return 0;
}
