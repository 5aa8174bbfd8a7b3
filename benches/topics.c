/* SPDX-License-Identifier: MIT
 *
 * topics.c - both ends of `make bench-topics`, which topics.py runs against each other and against Bun:
 *
 *      topics serve PORT                             a server that publishes from a thread of its own
 *      topics listen PORT CONNECTIONS PER TOPICS HOT   its subscribers, who count what comes
 *      topics --tiny                                 both in one process: does all arrive?
 *
 * A path is a list of topics: /17,204 or /hot. GET /start?rate=&topics=&hot=&size= begins to publish: one message to
 * each topic, a pause, then `rate` messages a second, each to a topic drawn at random, and `hot` a second to "hot". GET
 * /stop ends that, GET /state says what was published. What is due leaves at each tick of a millisecond, as in the
 * server for Bun (peers/topics.js), which does the same in the same words.
 *
 * A message holds the number of its topic and its place in it. Invariant of the listener: whatever is missing between
 * two messages of a topic, or comes again, is counted.
 */
#include "drive.h"
#include "lib/random.h"

#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#define TICK_NS 1000000
#define SETTLE_NS 200000000 /* after the lone messages: see "How a figure comes about" in README.md */
#define BEHIND_NS 100000000 /* who is further behind its schedule leaves out the rest */
#define SIZE_MIN 8          /* topic and place */
#define SIZE_MAX_MESSAGE 65536
#define HOT UINT32_MAX
#define SEED 1
#define TINY_NS (20 * NS_PER_SECOND) /* the test gives up */

/* ---- the server ---- */

struct order {
	double rate, hot; /* a second */
	unsigned topics;
	size_t size;
};

struct name {
	char text[11];
	uint8_t size;
};

/* What the embedder's thread publishes. */
struct source {
	rc_server *server;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct order order;   /* under the lock ... */
	bool wanted, running; /* ... as these */
	atomic_bool stop;
	_Atomic uint64_t published, hot, skipped, refused;
	struct name *names; /* of each topic, the hot one's last ... */
	uint32_t *places;   /* ... and the place of its next message */
	uint32_t random;
	uint8_t message[SIZE_MAX_MESSAGE];
};

/* A schedule: so many are due since the last look. */
struct pace {
	double rate;
	uint64_t begin_ns, due;
};

static uint64_t take_due(struct source *source, struct pace *pace, uint64_t now)
{
	uint64_t due = (uint64_t)((double)(now - pace->begin_ns) * pace->rate / 1e9);
	uint64_t count = due - pace->due, most = 1 + (uint64_t)(pace->rate * BEHIND_NS / 1e9);
	pace->due = due;
	if (count <= most)
		return count;
	source->skipped += count - most;
	return most;
}

static void publish(struct source *source, uint32_t topic)
{
	const struct name *name = &source->names[topic == HOT ? RC_TOPICS_MAX : topic];
	uint32_t *place = &source->places[topic == HOT ? RC_TOPICS_MAX : topic];
	memcpy(source->message, &topic, 4);
	memcpy(source->message + 4, place, 4);
	if (rc_publish(source->server, name->text, name->size, source->message, source->order.size,
	               RC_PUBLISH_BINARY | RC_PUBLISH_WAIT) < 0) {
		source->refused++;
		return;
	}
	++*place;
	*(topic == HOT ? &source->hot : &source->published) += 1;
}

/* The same numbers as in peers/topics.js: what is drawn costs both next to nothing. */
static uint32_t draw(struct source *source)
{
	source->random = source->random * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)source->random * source->order.topics >> 32);
}

static void publish_until_stopped(struct source *source)
{
	for (uint32_t topic = 0; topic < source->order.topics; topic++)
		source->names[topic].size = (uint8_t)sprintf(source->names[topic].text, "%u", topic);
	for (uint32_t topic = 0; topic < source->order.topics && source->order.rate > 0; topic++)
		publish(source, topic);
	if (source->order.hot > 0)
		publish(source, HOT);
	sleep_until(now_ns() + SETTLE_NS);
	uint64_t now = now_ns();
	struct pace all = { source->order.rate, now, 0 }, hot = { source->order.hot, now, 0 };
	for (uint64_t tick = now; !atomic_load(&source->stop); now = now_ns()) {
		for (uint64_t count = take_due(source, &all, now); count; count--)
			publish(source, draw(source));
		for (uint64_t count = take_due(source, &hot, now); count; count--)
			publish(source, HOT);
		tick = tick + TICK_NS > now ? tick + TICK_NS : now + TICK_NS;
		sleep_until(tick);
	}
}

/* The embedder's thread: waits for an order, and obeys it until told to stop. */
static void *publish_orders(void *argument)
{
	struct source *source = argument;
	for (;;) {
		pthread_mutex_lock(&source->lock);
		source->running = false;
		while (!source->wanted)
			pthread_cond_wait(&source->changed, &source->lock);
		source->wanted = false;
		source->running = true;
		pthread_mutex_unlock(&source->lock);
		publish_until_stopped(source);
	}
	return NULL;
}

static bool start_publishing(struct source *source, const struct order *order)
{
	pthread_mutex_lock(&source->lock);
	bool idle = !source->running && !source->wanted;
	if (idle) {
		source->order = *order;
		source->wanted = true;
		atomic_store(&source->stop, false);
		pthread_cond_signal(&source->changed);
	}
	pthread_mutex_unlock(&source->lock);
	return idle;
}

static bool is_publishing(struct source *source)
{
	pthread_mutex_lock(&source->lock);
	bool is = source->running || source->wanted;
	pthread_mutex_unlock(&source->lock);
	return is;
}

static int respond_state(struct source *source, rc_request *request)
{
	char text[256];
	int size = snprintf(text, sizeof text,
	                    "{\"running\":%s,\"published\":%" PRIu64 ",\"hot\":%" PRIu64 ",\"skipped\":%" PRIu64
	                    ",\"refused\":%" PRIu64 "}",
	                    is_publishing(source) ? "true" : "false", source->published, source->hot, source->skipped,
	                    source->refused);
	return rc_request_respond(request, 200, "application/json", text, (size_t)size) ? 500 : 0;
}

static double query(rc_request *request, const char *name)
{
	const char *text = rc_request_query(request, name);
	return text ? strtod(text, NULL) : 0;
}

static int on_request(void *context, rc_request *request)
{
	struct source *source = context;
	const char *path = rc_request_path(request);
	if (rc_request_is_websocket(request))
		return drive_subscribe(request);
	if (strcmp(path, "/start") == 0) {
		struct order order = { query(request, "rate"), query(request, "hot"),
			               (unsigned)query(request, "topics"), (size_t)query(request, "size") };
		if (order.topics > RC_TOPICS_MAX - 1 || order.size < SIZE_MIN || order.size > SIZE_MAX_MESSAGE)
			return 400;
		if (!start_publishing(source, &order))
			return 409;
	} else if (strcmp(path, "/stop") == 0) {
		atomic_store(&source->stop, true);
	}
	return respond_state(source, request);
}

/* Makes the server and the thread that publishes. Returns its port. */
static int serve(struct source *source, const char *port)
{
	struct rc_config config;
	pthread_t thread;
	drive_config(&config);
	config.handlers = (struct rc_handlers){ .context = source, .request = on_request };
	pthread_mutex_init(&source->lock, NULL);
	pthread_cond_init(&source->changed, NULL);
	source->places = calloc((size_t)RC_TOPICS_MAX + 1, sizeof *source->places);
	source->names = calloc((size_t)RC_TOPICS_MAX + 1, sizeof *source->names);
	source->random = SEED;
	memset(source->message, 'x', sizeof source->message);
	if (!source->places || !source->names)
		die("no memory");
	source->names[RC_TOPICS_MAX] = (struct name){ "hot", 3 };
	int bound = drive_serve(&config, port, &source->server);
	if (pthread_create(&thread, NULL, publish_orders, source))
		die("no thread");
	return bound;
}

/* ---- the listener ---- */

struct stream {
	uint32_t topic, next;
};

struct peer {
	struct stream *streams;
	uint32_t count;
};

struct listener {
	struct drive drive; /* first, so that its address is the listener's */
	unsigned connections, per, topics, hot_connections;
	struct peer *peers; /* the hot ones last */
	struct stream *streams;
	_Atomic uint64_t received, hot, lost, doubled;
};

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	struct listener *listener = context;
	const struct peer *peer = user;
	uint32_t topic, place, index = 0;
	(void)conn;
	if (message->size < SIZE_MIN)
		die("a message without its number");
	memcpy(&topic, message->data, 4);
	memcpy(&place, message->data + 4, 4);
	while (index < peer->count && peer->streams[index].topic != topic)
		index++;
	if (index == peer->count)
		die("a message of another topic");
	struct stream *stream = &peer->streams[index];
	drive_count(topic == HOT ? &listener->hot : &listener->received, 1);
	if (place < stream->next) {
		drive_count(&listener->doubled, 1);
		return;
	}
	if (place > stream->next)
		drive_count(&listener->lost, place - stream->next);
	stream->next = place + 1;
}

/* Topics are dealt from a shuffled deck, and from another one when it is used up: each topic goes to as many
 * connections, and no two connections need have the same set. */
static void deal(struct listener *listener)
{
	uint32_t *deck = calloc(listener->topics + 1, sizeof *deck), left = 0;
	uint64_t random[4];
	random_seed(random, SEED);
	if (!deck)
		die("no memory");
	for (uint32_t topic = 0; topic < listener->topics; topic++)
		deck[topic] = topic;
	for (size_t i = 0; i < (size_t)listener->connections * listener->per; i++) {
		left = left ? left : listener->topics;
		uint32_t other = random_below(random, left--), topic = deck[other];
		deck[other] = deck[left];
		deck[left] = topic;
		listener->streams[i].topic = topic;
	}
	free(deck);
}

static void plan(struct listener *listener)
{
	size_t dealt = (size_t)listener->connections * listener->per;
	unsigned all = listener->connections + listener->hot_connections;
	if (listener->connections && (!listener->topics || !listener->per || listener->topics % listener->per ||
	                              dealt % listener->topics || listener->per > DRIVE_SUBSCRIPTIONS_MAX))
		die("expected as many connections for each topic, and each with another part of them: "
		    "TOPICS a multiple of PER, and CONNECTIONS * PER one of TOPICS");
	listener->peers = calloc(all + 1, sizeof *listener->peers);
	listener->streams = calloc(dealt + listener->hot_connections + 1, sizeof *listener->streams);
	if (!listener->peers || !listener->streams)
		die("no memory");
	deal(listener);
	for (unsigned i = 0; i < all; i++) {
		bool hot = i >= listener->connections;
		size_t first = hot ? dealt + i - listener->connections : (size_t)i * listener->per;
		listener->peers[i] = (struct peer){ &listener->streams[first], hot ? 1 : listener->per };
		if (hot)
			listener->streams[first].topic = HOT;
	}
}

static void *path_of(struct drive *drive, unsigned index, char *path, size_t size)
{
	struct peer *peer = &((struct listener *)drive)->peers[index];
	size_t used = 0;
	for (uint32_t i = 0; i < peer->count && used < size; i++) {
		uint32_t topic = peer->streams[i].topic;
		used += (size_t)(topic == HOT ? snprintf(path + used, size - used, "hot")
		                              : snprintf(path + used, size - used, "%s%u", i ? "," : "", topic));
	}
	return peer;
}

static void listen_to(struct listener *listener, int port)
{
	plan(listener);
	drive_start(&listener->drive, port, on_message);
	drive_connect(&listener->drive, listener->connections + listener->hot_connections, path_of);
}

static void print_counts(const struct listener *listener)
{
	printf("{\"ns\":%" PRIu64 ",\"received\":%" PRIu64 ",\"hot\":%" PRIu64 ",\"lost\":%" PRIu64
	       ",\"doubled\":%" PRIu64 ",\"closed\":%u}\n",
	       now_ns(), listener->received, listener->hot, listener->lost, listener->doubled, listener->drive.closed);
	fflush(stdout);
}

/* ---- both in one process ---- */

static bool has_all(const struct listener *listener, const struct source *source)
{
	return listener->received == source->published * 2 && listener->hot == source->hot * 2;
}

static int run_tiny(void)
{
	static struct source source;
	static struct listener listener = { .connections = 20, .per = 5, .topics = 50, .hot_connections = 2 };
	struct order order = { .rate = 5000, .hot = 1000, .topics = 50, .size = 100 };
	listen_to(&listener, serve(&source, "0"));
	start_publishing(&source, &order);
	sleep_until(now_ns() + SETTLE_NS * 2);
	atomic_store(&source.stop, true);
	while (is_publishing(&source))
		sleep_until(now_ns() + TICK_NS);
	for (uint64_t end = now_ns() + TINY_NS; now_ns() < end && !has_all(&listener, &source);)
		sleep_until(now_ns() + TICK_NS);
	print_counts(&listener);
	bool right = !listener.lost && !listener.doubled && !listener.drive.closed && !source.refused;
	return right && has_all(&listener, &source) ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct source source;
	static struct listener listener;
	char line[16];
	if (argc == 2 && strcmp(argv[1], "--tiny") == 0)
		return run_tiny();
	if (argc == 3 && strcmp(argv[1], "serve") == 0) {
		serve(&source, argv[2]);
		for (;;)
			pause();
	}
	if (argc == 7 && strcmp(argv[1], "listen") == 0) {
		listener.connections = (unsigned)atoi(argv[3]);
		listener.per = (unsigned)atoi(argv[4]);
		listener.topics = (unsigned)atoi(argv[5]);
		listener.hot_connections = (unsigned)atoi(argv[6]);
		listen_to(&listener, atoi(argv[2]));
		do
			print_counts(&listener); /* the first says that all are open, the others answer */
		while (fgets(line, sizeof line, stdin));
		return 0;
	}
	fprintf(stderr, "usage: topics serve PORT | listen PORT CONNECTIONS PER TOPICS HOT | --tiny\n");
	return 2;
}
