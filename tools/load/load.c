/* SPDX-License-Identifier: MIT
 *
 * load.c - `ringcast load`: the load generator's flags, and its report as text or JSON.
 */
#include "load.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "lib/client.h"
#include "lib/quote.h"
#include "lib/units.h"
#include "lib/url.h"

#define CONNECTIONS_MAX 4000000u
#define SIZE_MAX_MESSAGE ((size_t)16 << 20)

static int run(int argc, char **argv);

static const struct option_need needs[] = {
	{ "size", "mode=broadcast|mode=echo" },
	{ "rate", "mode=broadcast" },
	{ "burst", "mode=broadcast" },
	{ "window", "mode=broadcast|mode=echo" },
	{ "window", "!rate" },
	{ "topics", "mode=broadcast" },
	{ "topics-per-connection", "mode=broadcast" },
	{ "publish-url", "mode=broadcast" },
	{ "peer-protocol", "mode=broadcast|mode=idle|mode=connect" },
	{ "speed", "feed" },
	CLIENT_TLS_NEEDS,
	{ 0 },
};

const struct subcommand command_load = {
	.name = "load",
	.summary = "load a server and measure it",
	.usage = "[options] [URL]",
	.about =
	    "Opens many connections to URL (ws://HOST:PORT) and measures what the server does with them:\n"
	    "  broadcast  one publisher sends to URL/publish/load, all others subscribe to URL/topic/load\n"
	    "  echo       each connection sends to URL/echo and waits for its answer, --window at a time\n"
	    "  idle       connections do nothing: what does one cost?\n"
	    "  connect    connections open and close, again and again\n"
	    "With --rate the publisher keeps its schedule whatever the server does (open loop), and latency counts\n"
	    "from the scheduled time. Without it the next burst leaves when the last has arrived everywhere.\n"
	    "The exit status is 1 when anything was lost, duplicated, reordered or corrupted, or a connection\n"
	    "failed. Addresses of this machine (127.0.0.0/8) have 28,000 ports each: see "
	    "--destinations.\n" ENVIRONMENT_ABOUT,
	.examples = "  ringcast load ws://127.0.0.1:8080 --connections 1000 --burst 32 --server-pid $(pidof ringcast)\n"
		    "  ringcast load ws://127.0.0.1:8080 --connections 1000 --rate 500 --duration 30s --json\n"
		    "  ringcast load ws://127.0.0.1:8080 --mode echo --connections 100 --size 16k\n"
		    "  ringcast load ws://127.0.0.1:8080 --mode idle --connections 60000 --workers 4 \\\n"
		    "      --destinations 127.0.0.1-127.0.0.40\n"
		    "  ringcast load ws://127.0.0.1:8080 --feed market.tsv --speed 20 --topics-per-connection 5",
	.needs = needs,
	.run = run,
};

struct words {
	const char *destinations, *sources;
	char *url; /* to be freed */
	char token[CLIENT_TOKEN_HEADER_SIZE];
	bool json;
};

/* "A" or "A-B" of IPv4 addresses. */
static bool parse_range(const char *text, struct load_range *range)
{
	char first[16];
	struct in_addr from, to;
	size_t size = strcspn(text, "-");
	if (size >= sizeof first)
		return false;
	memcpy(first, text, size);
	first[size] = 0;
	if (inet_pton(AF_INET, first, &from) != 1 || inet_pton(AF_INET, text[size] ? text + size + 1 : first, &to) != 1)
		return false;
	range->first = ntohl(from.s_addr);
	range->count = ntohl(to.s_addr) - range->first + 1;
	return ntohl(to.s_addr) >= range->first && range->count <= 1u << 24;
}

/* Looks for options that cannot be right. Returns -1 when there are none, or the exit status of a usage error. */
static int check(struct load_options *options, const struct words *words)
{
	const struct subcommand *self = &command_load;
	if (!url_base_size(options->url))
		return options_wrong(
		    self, "'%s': expected ws://HOST:PORT, wss://HOST:PORT or ws+unix:/SOCKET:", options->url);
	if (words->destinations && !parse_range(words->destinations, &options->destinations))
		return options_wrong(self, "--destinations '%s': expected A.B.C.D or A.B.C.D-E.F.G.H",
		                     words->destinations);
	if (words->sources && !parse_range(words->sources, &options->sources))
		return options_wrong(self, "--sources '%s': expected A.B.C.D or A.B.C.D-E.F.G.H", words->sources);
	if (words->destinations && !strncmp(options->url, "ws+unix:", 8))
		return options_wrong(self, "--destinations needs a ws:// or wss:// URL");
	if (!options->connections || options->connections > CONNECTIONS_MAX)
		return options_wrong(self, "--connections: expected 1 to %u", CONNECTIONS_MAX);
	if (!options->worker_count || options->worker_count > 1024)
		return options_wrong(self, "--workers: expected 1 to 1024");
	if (options->size < LOAD_HEAD_SIZE || options->size > SIZE_MAX_MESSAGE)
		return options_wrong(self, "--size: expected %d to %zu: each message carries its number and time",
		                     LOAD_HEAD_SIZE, SIZE_MAX_MESSAGE);
	if (!options->burst || !options->window || options->window > LOAD_WINDOW_MAX)
		return options_wrong(self, "--burst and --window: expected at least 1, and a window of at most %d",
		                     LOAD_WINDOW_MAX);
	if (!options->topics || options->topics > LOAD_TOPICS_MAX || !options->topics_per_connection)
		return options_wrong(self, "--topics: expected 1 to %u", LOAD_TOPICS_MAX);
	if (options->protocol == LOAD_RELAY && options->topics_per_connection > 1)
		return options_wrong(self, "--peer-protocol relay has one topic a connection");
	if (options->stalled > 10000 || (options->stalled && options->mode != LOAD_BROADCAST))
		return options_wrong(self, "--stalled is for --mode broadcast, and at most 10000");
	if (options->feed && options->mode != LOAD_BROADCAST)
		return options_wrong(self, "--feed is for --mode broadcast");
	if (options->feed && options->rate > 0)
		return options_wrong(self, "--feed has its own times: use --speed instead of --rate");
	if (!options->duration_ns && !options->messages)
		return options_wrong(self, "--duration 0 needs --messages");
	if (!options->duration_ns && options->mode == LOAD_IDLE)
		return options_wrong(self, "--mode idle needs a --duration");
	return -1;
}

static int parse(struct load_options *load, struct words *words, int argc, char **argv)
{
	const struct option_entry options[] = {
		{ "connections", OPTION_COUNT, &load->connections, "N", "how many subscribe, echo or idle (100)" },
		{ "stalled", OPTION_COUNT, &load->stalled, "N", "how many more subscribe and never read (0)" },
		{ "mode", OPTION_CHOICE, &load->mode, LOAD_MODES, "what the connections do (broadcast)" },
		{ "size", OPTION_SIZE, &load->size, "SIZE", "size of a message, at least 32 (128)" },
		{ "rate", OPTION_NUMBER, &load->rate, "R", "messages a second, whatever the server does: open loop" },
		{ "burst", OPTION_COUNT, &load->burst, "B", "messages sent at once (1)" },
		{ "window", OPTION_COUNT, &load->window, "W",
		  "closed loop: how many bursts, or echoes, are under way\nat a time (1)" },
		{ "duration", OPTION_NS, &load->duration_ns, "T", "how long to measure (10s)" },
		{ "messages", OPTION_COUNT64, &load->messages, "N", "end the measured part after so many messages" },
		{ "warmup", OPTION_NS, &load->warmup_ns, "T", "how long to run before that, not measured (1s)" },
		{ "topics", OPTION_COUNT, &load->topics, "K", "how many topics are published to, in turn (1)" },
		{ "topics-per-connection", OPTION_COUNT, &load->topics_per_connection, "M",
		  "how many of them each subscribes to (1)" },
		{ "feed", OPTION_TEXT, &load->feed, "FILE",
		  "broadcast a recording (seconds<TAB>topic<TAB>payload),\n"
		  "again and again; each subscribes to M of its topics" },
		{ "speed", OPTION_NUMBER, &load->speed, "X",
		  "times the recorded pace (1); 0: closed loop, by --burst\nand --window" },
		{ "workers", OPTION_COUNT, &load->worker_count, "W",
		  "threads of this client, each with a ring (1): one opens as\n"
		  "many connections as 'ulimit -n' allows" },
		{ "destinations", OPTION_TEXT, &words->destinations, "A-B", "IPv4 addresses to connect to in turn" },
		{ "sources", OPTION_TEXT, &words->sources, "A-B", "IPv4 addresses to connect from" },
		{ "connect-rate", OPTION_NUMBER, &load->connect_rate, "R", "connections opened a second (no limit)" },
		{ "publish-url", OPTION_TEXT, &load->publish_url, "URL",
		  "where to publish (URL/publish/load); with several\ntopics their names are appended" },
		{ "peer-protocol", OPTION_CHOICE, &load->protocol, LOAD_PROTOCOLS,
		  "relay: publisher and subscribers connect to URL/relay/NAME" },
		{ "deflate", OPTION_FLAG, &load->deflate, NULL,
		  "all but the publisher offer compression\n(permessage-deflate)" },
		{ "server-pid", OPTION_COUNT, &load->server_pid, "PID", "report this process's CPU and memory too" },
		{ "seed", OPTION_COUNT64, &load->seed, "N", "seed of the random choice of topics (1)" },
		CLIENT_TLS_OPTIONS(&load->tls),
		{ "json", OPTION_FLAG, &words->json, NULL, "report as one JSON object" },
		{ "quiet", OPTION_FLAG, &load->quiet, NULL, "no progress on stderr" },
		{ 0 },
	};
	int operand;
	int status = options_parse(&command_load, options, argc, argv, &operand);
	if (status >= 0)
		return status;
	if (argc - operand > 1)
		return options_wrong(&command_load, "expected one URL");
	status = environment_url(&command_load, operand < argc ? argv[operand] : NULL, &words->url);
	if (status >= 0)
		return status;
	load->url = words->url;
	if (client_token_header(&load->token, words->token) < 0)
		return EXIT_FAILED;
	status = client_tls_useless(&command_load, &load->tls, &words->url, 1);
	return status >= 0 ? status : check(load, words);
}

static double per(double value, uint64_t count)
{
	return count ? value / (double)count : 0;
}

static double rate(const struct load_report *report, uint64_t count)
{
	return per((double)count * 1e9, report->elapsed_ns);
}

static uint64_t server_cpu(const struct load_report *report)
{
	return report->end.cpu_ns - report->begin.cpu_ns;
}

/* The cost of idle connections is measured after they have been idle. In other modes they never are: there it is
 * measured after they have been opened. */
static double rss_per_connection(const struct load_options *options, const struct load_report *report)
{
	uint64_t with = options->mode == LOAD_IDLE ? report->end.rss_size : report->after_connecting.rss_size;
	double growth = (double)with - (double)report->before_connecting.rss_size;
	return growth > 0 ? per(growth, report->opened) : 0;
}

static void print_histogram(const char *name, const struct histogram *histogram)
{
	char text[4][UNITS_SIZE];
	if (histogram->count)
		printf("%-12s p50 %s  p99 %s  p99.9 %s  max %s\n", name,
		       units_format_time(text[0], histogram_percentile(histogram, 0.5)),
		       units_format_time(text[1], histogram_percentile(histogram, 0.99)),
		       units_format_time(text[2], histogram_percentile(histogram, 0.999)),
		       units_format_time(text[3], histogram->max));
}

static void print_server(const struct load_options *options, const struct load_report *report, const char *unit)
{
	char rss[UNITS_SIZE];
	if (!report->end.found) {
		printf("server       its process cannot be read\n");
		return;
	}
	printf("server       %.1f %% of a processor", per((double)server_cpu(report) * 100, report->elapsed_ns));
	if (report->deliveries)
		printf(", %.1f ns of it a %s", per((double)server_cpu(report), report->deliveries), unit);
	if (report->end.softirq_found && report->deliveries)
		printf("; ksoftirqd %.1f ns",
		       per((double)(report->end.softirq_ns - report->begin.softirq_ns), report->deliveries));
	printf("\nmemory       %.0f B of RSS a connection, %s in all\n", rss_per_connection(options, report),
	       units_format_size(rss, report->end.rss_size));
}

static void print_text(const struct load_options *options, const struct load_report *report)
{
	static const char *const units[] = { "delivery", "message", "message", "connection" };
	static const char *const counted[] = { "deliveries", "echoes", "messages", "opened" };
	char a[UNITS_SIZE], b[UNITS_SIZE], c[UNITS_SIZE];
	printf("connections  %u open, in %s\n", report->opened, units_format_time(a, report->connecting_ns));
	if (options->mode == LOAD_BROADCAST)
		printf("published    %" PRIu64 " messages in %s, %s/s\n", report->published,
		       units_format_time(a, report->elapsed_ns),
		       units_format_count(b, rate(report, report->published)));
	if (options->mode != LOAD_IDLE)
		printf("%-12s %" PRIu64 ", %s/s%s%s\n", counted[options->mode], report->deliveries,
		       units_format_count(b, rate(report, report->deliveries)), report->bytes ? ", " : "",
		       report->bytes ? strcat(units_format_size(c, (uint64_t)rate(report, report->bytes)), "/s") : "");
	print_histogram("latency", &report->latency);
	print_histogram("skew", &report->skew);
	if (options->server_pid)
		print_server(options, report, units[options->mode]);
	printf("client       %.1f %% of a processor\n", per((double)report->client_cpu_ns * 100, report->elapsed_ns));
	printf("wrong        %" PRIu64 " lost, %" PRIu64 " duplicated, %" PRIu64 " reordered, %" PRIu64
	       " corrupt; %u closed early%s%s\n",
	       report->tally.lost, report->tally.duplicated, report->tally.reordered, report->corrupt,
	       report->closed_early, report->closed_early ? ", the first: " : "",
	       report->closed_early ? report->first_failure : "");
	if (report->stalled)
		printf("             deliveries stopped before all had arrived\n");
	if (report->interrupted)
		printf("             interrupted: the figures are those so far\n");
}

static void print_json_histogram(const char *name, const struct histogram *histogram)
{
	printf("\"%s\":{\"count\":%" PRIu64 ",\"min\":%" PRIu64 ",\"p50\":%" PRIu64 ",\"p90\":%" PRIu64
	       ",\"p99\":%" PRIu64 ",\"p999\":%" PRIu64 ",\"p9999\":%" PRIu64 ",\"max\":%" PRIu64 "},",
	       name, histogram->count, histogram->count ? histogram->min : 0, histogram_percentile(histogram, 0.5),
	       histogram_percentile(histogram, 0.9), histogram_percentile(histogram, 0.99),
	       histogram_percentile(histogram, 0.999), histogram_percentile(histogram, 0.9999), histogram->max);
}

static void print_json_server(const struct load_options *options, const struct load_report *report)
{
	printf("\"server\":{\"found\":%s,\"cpu_ns\":%" PRIu64 ",\"cpu_ns_per_delivery\":%.3f,\"rss_size\":%" PRIu64
	       ",\"rss_size_before\":%" PRIu64 ",\"rss_size_connected\":%" PRIu64 ",\"rss_size_per_connection\":%.1f,",
	       report->end.found ? "true" : "false", server_cpu(report),
	       per((double)server_cpu(report), report->deliveries), report->end.rss_size,
	       report->before_connecting.rss_size, report->after_connecting.rss_size,
	       rss_per_connection(options, report));
	if (report->end.softirq_found)
		printf("\"ksoftirqd_ns\":%" PRIu64 "},", report->end.softirq_ns - report->begin.softirq_ns);
	else
		printf("\"ksoftirqd_ns\":null},");
}

static void print_json(const struct load_options *options, const struct load_report *report)
{
	static const char *const modes[] = { "broadcast", "echo", "idle", "connect" };
	printf("{\"mode\":\"%s\",\"url\":", modes[options->mode]);
	quote_json(stdout, options->url);
	printf(",\"size\":%zu,\"burst\":%u,\"window\":%u,\"rate\":%g,\"workers\":%u,\"seed\":%" PRIu64 ",",
	       options->size, options->burst, options->window, options->rate, options->worker_count, options->seed);
	printf("\"connections\":%u,\"connecting_ns\":%" PRIu64 ",\"elapsed_ns\":%" PRIu64 ",\"published\":%" PRIu64
	       ",\"deliveries\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"deliveries_per_second\":%.1f,",
	       report->opened, report->connecting_ns, report->elapsed_ns, report->published, report->deliveries,
	       report->bytes, rate(report, report->deliveries));
	print_json_histogram("latency_ns", &report->latency);
	print_json_histogram("skew_ns", &report->skew);
	if (options->server_pid)
		print_json_server(options, report);
	printf("\"client_cpu_ns\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64
	       ",\"corrupt\":%" PRIu64 ",\"failed\":%u,\"closed_early\":%u,\"first_failure\":",
	       report->client_cpu_ns, report->tally.lost, report->tally.duplicated, report->tally.reordered,
	       report->corrupt, report->failed, report->closed_early);
	quote_json(stdout, report->first_failure);
	printf(",\"stalled\":%s,\"interrupted\":%s}\n", report->stalled ? "true" : "false",
	       report->interrupted ? "true" : "false");
}

static int measure(const struct load_options *options, const struct words *words)
{
	static struct load_report report;
	if (load_run(options, &report))
		return EXIT_FAILED;
	if (words->json)
		print_json(options, &report);
	else
		print_text(options, &report);
	bool wrong = report.tally.lost || report.tally.duplicated || report.tally.reordered || report.corrupt ||
	             report.failed || report.closed_early || report.stalled;
	return wrong ? EXIT_FAILED : EXIT_OK;
}

static int run(int argc, char **argv)
{
	struct load_options options = {
		.connections = 100,
		.size = 128,
		.burst = 1,
		.window = 1,
		.topics = 1,
		.topics_per_connection = 1,
		.duration_ns = 10000000000,
		.warmup_ns = 1000000000,
		.speed = 1,
		.worker_count = 1,
		.seed = 1,
	};
	struct words words = { 0 };
	int status = parse(&options, &words, argc, argv);
	if (status < 0)
		status = measure(&options, &words);
	free(words.url);
	return status;
}
