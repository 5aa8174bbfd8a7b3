/* SPDX-License-Identifier: MIT
 *
 * app_dialect.c - a conversation: each line is a message of one client, to a server whose workers do not run. What
 * comes back must be JSON with a type, text that is no JSON must be told so and nothing else, and what is said must
 * leave the books in order: who is in a room is in the directory, and nobody is when the client has gone.
 *
 * The client is one that is served in batches, because such a one needs no worker to hear its answers.
 */
#include "app/app.h"

#include "app/batch.h"
#include "app/client.h"
#include "app/dialect.h"
#include "app/people.h"
#include "app/rooms.h"
#include "commands.h"
#include "fuzz.h"
#include "lib/log.h"

#define LINES_MAX 64

static struct app app;
static struct app_client client;
static union {
	struct app_address of;
	uint8_t bytes[sizeof(struct app_address) + sizeof "127.0.0.1"];
} address;

static void begin(void)
{
	static struct app_settings *settings;
	static rc_server *server;
	struct rc_config config;
	char *words[] = { "app",
		          "--permissions",
		          "read,write,broadcast",
		          "--messages-per-second",
		          "0",
		          "--log-level",
		          "error",
		          "--rooms-per-connection",
		          "3",
		          "--subscriptions-max",
		          "6",
		          NULL };
	if (!settings) {
		HOLDS(app_settings_read(&command_app, 11, words, &settings) < 0, "settings");
		rc_config_init(&config);
		config.worker_count = 1;
		config.log_size = 65536;
		server = rc_server_new(&config, NULL);
		HOLDS(server, "a server");
		json_object_seed(1);
		log_setup(&settings->log);
	}
	app = (struct app){ .server = server, .epoch = 7 };
	atomic_init(&app.settings, settings);
	atomic_init(&app.numbers, 1);
	pthread_mutex_init(&app.watches.lock, NULL);
	pthread_mutex_init(&app.clock.lock, NULL);
	pthread_cond_init(&app.clock.wake, NULL);
	HOLDS(app_crews_init(&app, 1, 1) && app_directory_init(&app.directory, 1) &&
	          app_refusals_init(&app.refusals, 1) && app_returns_init(&app.returns, 1),
	      "memory");

	memset(&address, 0, sizeof address);
	client = (struct app_client){ .app = &app,
		                      .crew = app.crews,
		                      .id = "client",
		                      .opened = true,
		                      .batch_count = UINT32_MAX,
		                      .address = &address.of };
	client.times = APP_TIMES_NONE;
	client.permissions = app_settings_now(&app)->permissions;
	HOLDS(app_people_reserve(&app, &client, "alice"), "a user");
	app_people_arrive(&client);
}

static void end(void)
{
	client.closing = true;
	app_rooms_leave_all(&client);
	app_feeds_leave_all(&client);
	app_people_leave(&client);
	HOLDS(app.directory.rooms.count == 0, "%zu rooms are left", app.directory.rooms.count);
	HOLDS(app.directory.users.count == app.directory.waited_for.count + app.directory.remembered.count,
	      "somebody is here");
	HOLDS(!client.feed_count && !client.room_count && !app.watches.first, "something is left behind");
	HOLDS(!address.of.stake_count && !address.of.made_count, "a stake is left behind");
	app_out_free(&client.batch);
	app_directory_destroy(&app.directory);
	app_refusals_destroy(&app.refusals);
	app_returns_destroy(&app.returns);
	app_crews_free(&app);
	pthread_mutex_destroy(&app.watches.lock);
	pthread_mutex_destroy(&app.clock.lock);
	pthread_cond_destroy(&app.clock.wake);
}

/* The answers since the last look, as an array. */
static json_t *take_answers(void)
{
	if (!client.batched)
		return json_array();
	app_out_text(&client.batch, "]}");
	json_t *batch = json_loadb(client.batch.bytes, client.batch.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
	                           NULL);
	HOLDS(batch, "no JSON: %.*s", (int)client.batch.size, client.batch.bytes);
	json_t *messages = json_incref(json_object_get(batch, "messages"));
	json_decref(batch);
	app_out_clear(&client.batch);
	client.batched = 0;
	return messages;
}

static void say(const uint8_t *line, size_t size)
{
	uint8_t *bytes = exact_copy(line, size);
	const struct rc_message message = { .data = bytes, .size = size, .opcode = RC_TEXT };
	json_t *read = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL), *each;
	size_t index;
	app_dialect_receive(&client, &message);
	json_t *answers = take_answers();
	app_batch_due(&client, 0); /* what it follows is read, and goes nowhere */
	json_array_foreach(answers, index, each)
	    HOLDS(json_is_string(json_object_get(each, "type")), "an answer without a type to %.*s", (int)size, line);
	if (!json_is_object(read)) {
		const char *code = json_string_value(json_object_get(json_array_get(answers, 0), "code"));
		HOLDS(json_array_size(answers) == 1 && code && !strcmp(code, "INVALID_JSON"), "%.*s", (int)size, line);
	}
	HOLDS(client.room_count <= 3 && client.feed_count <= 6, "%u rooms, %u feeds", client.room_count,
	      client.feed_count);
	unsigned rooms = 0;
	for (const struct app_member *member = client.members; member; member = member->next_room, rooms++)
		HOLDS(app_directory_room(&app.directory, member->room->name, member->room->node.name_size) ==
		          member->room,
		      "lost");
	HOLDS(rooms == client.room_count && rooms == app.directory.rooms.count, "%u of %u rooms", rooms,
	      client.room_count);
	json_decref(answers);
	json_decref(read);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	json_decref(take_answers());
	client.batch_delay_ms = 1;
	for (unsigned lines = 0; size && lines < LINES_MAX; lines++) {
		const uint8_t *stop = memchr(data, '\n', size);
		size_t line = stop ? (size_t)(stop - data) : size;
		client.batch_count = UINT32_MAX; /* it may have asked for something else */
		say(data, line);
		data += stop ? line + 1 : line;
		size -= stop ? line + 1 : line;
	}
	end();
	return 0;
}
