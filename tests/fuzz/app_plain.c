/* SPDX-License-Identifier: MIT
 *
 * app_plain.c - the input as the path and query of a poll or a stream, to a server whose workers do not run and whose
 * log has some topics. What is taken is bounded, each topic once; the page is JSON, bounded, each topic and message
 * once, and what it reaches is what the topics have; and a reader who goes on from page to page gets to the end.
 */
#include "app/app.h"

#include "app/client.h"
#include "app/feeds.h"
#include "app/feeds_messages.h"
#include "app/names.h"
#include "app/plain.h"
#include "app/updates.h"
#include "app/wish.h"
#include "commands.h"
#include "fuzz.h"
#include "lib/log.h"
#include "ringcast_stats.h"

#define TOPICS_MAX 6
#define PAGE_SIZE_MAX ((size_t)2 << 20)

static struct app app;

static void publish(const char *topic, size_t size)
{
	char *text = malloc(size);
	json_t *data = json_stringn(memset(text, 'x', size), size);
	HOLDS(app_updates_publish_data(&app, topic, strlen(topic), data) > 0, "%s", topic);
	json_decref(data);
	free(text);
}

static void begin_once(void)
{
	static struct app_settings *settings;
	struct rc_config config;
	char *words[] = {
		"app", "--messages-per-second", "0", "--log-level", "error", "--subscriptions-max", "6", NULL
	};
	if (settings)
		return;
	HOLDS(app_settings_read(&command_app, 7, words, &settings) < 0, "settings");
	rc_config_init(&config);
	config.worker_count = 1;
	config.log_size = 4 << 20;
	app.server = rc_server_new(&config, NULL);
	HOLDS(app.server, "a server");
	json_object_seed(1);
	log_setup(&settings->log);
	app.epoch = 7;
	atomic_init(&app.settings, settings);
	atomic_init(&app.numbers, 1);
	pthread_mutex_init(&app.watches.lock, NULL);
	pthread_mutex_init(&app.clock.lock, NULL);
	pthread_cond_init(&app.clock.wake, NULL);
	HOLDS(app_crews_init(&app, 1, 1) && app_directory_init(&app.directory, 1), "memory");
	for (unsigned i = 0; i < 7; i++) {
		char name[16];
		snprintf(name, sizeof name, "topic %u", i);
		publish(name, 10);
		publish("a", 100);
		publish("large", 200000);
	}
	publish("data/x", 10);
}

/* Cuts "since=1&wait=2" apart. */
static void take_query(char *query, struct app_wish_words *words)
{
	const struct {
		const char *name;
		const char **value;
	} fields[] = { { "since", &words->since },
		       { "epoch", &words->epoch },
		       { "wait", &words->wait },
		       { "last", &words->last },
		       { "conflate", &words->conflate } };
	for (char *item; (item = strsep(&query, "&"));) {
		char *value = strchr(item, '=');
		if (value)
			*value++ = 0;
		for (size_t i = 0; value && i < sizeof fields / sizeof *fields; i++)
			if (!strcmp(item, fields[i].name))
				*fields[i].value = value;
	}
}

static void check_wish(const struct app_wish *wish)
{
	const json_t *topics = json_object_get(wish->message, "topics");
	size_t index, other, patterns = 0;
	json_t *each, *again;
	HOLDS(json_array_size(topics) && json_array_size(topics) <= TOPICS_MAX && wish->wait_s <= 60, "bounds");
	json_array_foreach((json_t *)topics, index, each)
	{
		const char *name = json_string_value(each);
		size_t size = json_string_length(each);
		HOLDS(size && size <= APP_FEED_NAME_MAX && strlen(name) == size && !app_name_reserved(name, size), "%s",
		      name);
		patterns += name[size - 1] == '*';
		json_array_foreach((json_t *)topics, other, again)
		    HOLDS(other == index || !json_equal(each, again), "%s twice", name);
	}
	HOLDS(patterns <= APP_PATTERNS_MAX, "%zu patterns", patterns);
}

/* Reads the page, and sets the wish to go on behind it. Returns how many updates it has. */
static size_t check_page(struct app_client *client)
{
	const struct app_out *out = &client->crew->out;
	size_t index, updates = 0, count = app_plain_page(client);
	json_t *each, *since = json_object(), *reached = json_object();
	HOLDS(!out->failed && out->size < PAGE_SIZE_MAX, "%zu bytes", out->size);
	json_t *page = json_loadb(out->bytes, out->size, JSON_REJECT_DUPLICATES, NULL);
	HOLDS(json_array_size(json_object_get(page, "messages")) == count, "%.*s", (int)out->size, out->bytes);
	json_array_foreach(json_object_get(page, "messages"), index, each)
	{
		const char *topic = json_string_value(json_object_get(each, "topic"));
		json_int_t sequence = json_integer_value(json_object_get(each, "seq"));
		if (strcmp(json_string_value(json_object_get(each, "type")), "update"))
			continue;
		HOLDS(sequence > json_integer_value(json_object_get(reached, topic)), "%s %lld again", topic, sequence);
		json_object_set_new(reached, topic, json_integer(sequence));
		updates++;
	}
	json_array_foreach(json_object_get(page, "topics"), index, each)
	{
		const char *topic = json_string_value(json_object_get(each, "topic"));
		struct rc_topic_stats stats = { 0 };
		json_int_t sequence = json_integer_value(json_object_get(each, "seq"));
		rc_topic_stats(app.server, topic, strlen(topic), &stats);
		HOLDS(!json_object_get(since, topic), "%s twice", topic);
		HOLDS((uint64_t)sequence <= stats.sequence && !app_name_reserved(topic, strlen(topic)), "%s", topic);
		json_object_set_new(since, topic, json_integer(sequence));
	}
	HOLDS(json_object_size(since) <= TOPICS_MAX, "%zu topics", json_object_size(since));
	json_object_set_new(client->wish->message, "since", since);
	json_object_del(client->wish->message, "epoch");
	json_decref(reached);
	json_decref(page);
	return count ? updates + 1 : 0;
}

static void follow(struct app_client *client)
{
	client->batch_count = UINT32_MAX; /* so that no worker is needed */
	app_feeds_subscribe(client, client->wish->message, NULL);
	HOLDS(client->feed_count <= TOPICS_MAX && client->pattern_count <= APP_PATTERNS_MAX, "%u feeds",
	      client->feed_count);
	app_feeds_leave_all(client);
	HOLDS(!client->feed_count && !app.watches.first, "something is left behind");
	app_out_free(&client->batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct app_wish_words words = { 0 };
	struct app_wish *wish = calloc(1, sizeof *wish);
	char *text = malloc(size + 1);
	int status;
	begin_once();
	HOLDS(wish && text, "memory");
	memcpy(text, data, size);
	text[size] = 0;
	char *path = text, *query = path;
	strsep(&query, "?");
	wish->polls = strncmp(path, "poll/", 5) == 0;
	words.topics = wish->polls || strncmp(path, "sse/", 4) ? path + (wish->polls ? 5 : 0) : path + 4;
	take_query(query, &words);
	static struct app_address address;
	struct app_client client = {
		.app = &app, .crew = app.crews, .id = "client", .opened = true, .address = &address
	};
	client.times = APP_TIMES_NONE;
	client.permissions = APP_MAY_READ;
	const char *wrong = app_wish_take(wish, &words, TOPICS_MAX, &status);
	if (!wrong) {
		check_wish(wish);
		client.wish = wish;
		wish->polls = false; /* it hears what it follows */
		follow(&client);
		for (unsigned pages = 0; check_page(&client); pages++)
			HOLDS(pages < 20, "no end: %.*s", (int)size, (const char *)data);
	} else {
		HOLDS(status >= 400 && status < 504, "%d", status);
	}
	app_wish_free(wish);
	free(text);
	return 0;
}
