/* SPDX-License-Identifier: MIT
 *
 * nodes.c - see nodes.h. It publishes under the directory's lock, which publishing never waits for anything with: so a
 * member that leaves meanwhile leaves behind the record that says it is there.
 */
#include "nodes.h"

#include "app.h"
#include "backplane/backplane.h"
#include "client.h"
#include "lib/log.h"
#include "lib/wait.h"
#include "span.h"

#define CHUNK 256                                 /* records that are written as one */
#define GRACE_NS (BACKPLANE_LEASE_MS * NS_PER_MS) /* for a node that is known by its records alone */
#define AGAIN_NS (200 * NS_PER_MS)                /* between two repeats */
#define BURY_AGAIN_NS (2 * NS_PER_SECOND)         /* until a member that did not leave is told to once more */
#define ASK_NS (500 * NS_PER_MS)                  /* between two questions for figures, and two answers */
#define FORGET_NS (60 * NS_PER_SECOND)            /* a node without a lease and without members */

/* ---- writing many ---- */

struct writing {
	struct app *app;
	uint64_t number, now_ns; /* of this repeat */
	unsigned count;
	int code;
	struct app_out out;
	struct {
		unsigned kind;
		size_t channel_at, channel_size, at, size;
	} records[CHUNK];
};

static void flush(struct writing *writing)
{
	struct backplane_message messages[CHUNK];
	for (unsigned i = 0; i < writing->count; i++)
		messages[i] = (struct backplane_message){ .kind = writing->records[i].kind,
			                                  .channel = writing->out.bytes +
			                                             writing->records[i].channel_at,
			                                  .channel_size = writing->records[i].channel_size,
			                                  .data = writing->out.bytes + writing->records[i].at,
			                                  .size = writing->records[i].size };
	if (writing->out.failed)
		writing->code = -1;
	if (writing->count && !writing->code)
		writing->code = backplane_publish(writing->app->span.backplane, messages, writing->count, NULL, NULL);
	writing->count = 0;
	app_out_clear(&writing->out);
}

static void add(struct writing *writing, unsigned kind, const char *channel, size_t size,
                const struct app_record *record)
{
	if (writing->count == CHUNK)
		flush(writing);
	struct app_out *out = &writing->out;
	const size_t begin = out->size;
	app_out_bytes(out, channel, size);
	const size_t at = out->size;
	app_record_write(out, record);
	writing->records[writing->count].kind = kind;
	writing->records[writing->count].channel_at = begin;
	writing->records[writing->count].channel_size = size;
	writing->records[writing->count].at = at;
	writing->records[writing->count++].size = out->size - at;
}

/* ---- saying all members again ---- */

static void add_member(struct writing *writing, const struct app_client *client, const char *channel, size_t size)
{
	const struct app_group *group = app_replica_group(&writing->app->span.replica, channel, size);
	const struct app_record record = { .client = app_device_of(client).client,
		                           .conn = client->conn,
		                           .repeat = writing->number,
		                           .begin_epoch = group ? group->begin.epoch : 0,
		                           .begin_sequence = group ? group->begin.sequence : 0,
		                           .user = client->user->name,
		                           .user_size = client->user->node.name_size };
	add(writing, APP_RECORD_ENTER, channel, size, &record);
}

static void add_devices(struct writing *writing, const struct app_client *device)
{
	for (; device; device = device->next_device) {
		const struct app_channel user = app_channel_of(APP_USER_CHANNEL, device->user->name,
		                                               device->user->node.name_size);
		add_member(writing, device, user.name, user.size);
		for (const struct app_member *member = device->members; member; member = member->next_room)
			add_member(writing, device, member->room->topic, member->room->topic_size);
	}
}

static void add_user(void *context, struct app_node *node)
{
	const struct app_user *user = (const struct app_user *)node;
	add_devices(context, user->devices);
	add_devices(context, user->arriving);
}

/* (lock) */
static void say_again(struct app *app, uint64_t now_ns)
{
	struct app_span *span = &app->span;
	if (!atomic_load(&span->is_unsure) || now_ns - span->said_ns < AGAIN_NS)
		return;
	struct writing writing = { .app = app, .number = atomic_fetch_add(&span->repeat, 1) + 1 };
	const struct app_record end = { .repeat = writing.number };
	span->said_ns = now_ns;
	atomic_store(&span->is_unsure, false);
	app_table_each(&app->directory.users, add_user, &writing);
	add(&writing, APP_RECORD_REPEATED, "nodes", 5, &end);
	flush(&writing);
	app_out_free(&writing.out);
	if (writing.code)
		atomic_store(&span->is_unsure, true);
}

/* ---- burying ---- */

static bool is_first(struct app *app)
{
	const struct app_table *peers = &app->span.replica.peers;
	for (size_t i = 0; i < peers->bucket_count; i++)
		for (const struct app_node *node = peers->buckets[i]; node; node = node->next) {
			const struct app_peer *peer = (const struct app_peer *)node;
			if (!peer->missing_ns && peer->id < app->span.node)
				return false;
		}
	return true;
}

static void look_at_presence(void *context, struct app_node *node)
{
	struct writing *writing = context;
	struct app_replica *replica = &writing->app->span.replica;
	struct app_presence *presence = (struct app_presence *)node;
	const struct app_group *group = presence->key.group;
	struct app_peer *peer = app_replica_peer(replica, presence->key.device.node, writing->now_ns);
	if (peer)
		peer->is_needed = true;
	if (!app_replica_is_stale(replica, presence, writing->now_ns, GRACE_NS) ||
	    (presence->buried_ns && writing->now_ns - presence->buried_ns < BURY_AGAIN_NS))
		return;
	const struct app_record record = { .node = presence->key.device.node, .client = presence->key.device.client };
	presence->buried_ns = writing->now_ns;
	add(writing, APP_RECORD_LEAVE, group->channel, group->node.name_size, &record);
}

struct doubt {
	struct app_replica *replica;
	uint64_t now_ns;
	bool any;
};

static void look_at_peer(void *context, struct app_node *node)
{
	struct doubt *doubt = context;
	struct app_peer *peer = (struct app_peer *)node;
	peer->is_needed = false;
	doubt->any |= peer->missing_ns || (peer->repeated_ns && doubt->now_ns - peer->repeated_ns < 2 * GRACE_NS);
}

static void forget_peer(void *context, struct app_node *node)
{
	struct doubt *doubt = context;
	struct app_peer *peer = (struct app_peer *)node;
	if (!peer->missing_ns || peer->is_needed || doubt->now_ns - peer->missing_ns < FORGET_NS)
		return;
	app_table_remove(&doubt->replica->peers, node);
	free(peer->figures);
	free(peer);
}

/* Looks at all members only while something is in doubt. (lock) */
static void bury(struct app *app, uint64_t now_ns)
{
	struct app_replica *replica = &app->span.replica;
	struct doubt doubt = { .replica = replica, .now_ns = now_ns };
	struct writing writing = { .app = app, .now_ns = now_ns };
	app_table_each(&replica->peers, look_at_peer, &doubt);
	if (!doubt.any || !is_first(app))
		return;
	app_table_each(&replica->presences, look_at_presence, &writing);
	flush(&writing);
	app_out_free(&writing.out);
	app_table_each(&replica->peers, forget_peer, &doubt);
}

/* ---- figures ---- */

static void write_one(struct app *app, unsigned kind, const struct app_record *record)
{
	struct writing writing = { .app = app };
	add(&writing, kind, "nodes", 5, record);
	flush(&writing);
	app_out_free(&writing.out);
}

void app_nodes_ask(struct app *app)
{
	const struct app_record record = { 0 };
	uint64_t now_ns = clock_now(), asked_ns = atomic_load(&app->span.asked_ns);
	if (now_ns - asked_ns > ASK_NS && atomic_compare_exchange_strong(&app->span.asked_ns, &asked_ns, now_ns))
		write_one(app, APP_RECORD_ASK, &record);
}

void app_nodes_tell(struct app *app)
{
	struct app_out out = { 0 };
	uint64_t now_ns = clock_now();
	if (now_ns - app->span.told_ns < ASK_NS)
		return;
	app->span.told_ns = now_ns;
	app->span.write_figures(app, &out);
	const struct app_record record = { .text = out.bytes, .text_size = out.size };
	if (!out.failed)
		write_one(app, APP_RECORD_FIGURES, &record);
	app_out_free(&out);
}

/* ---- when ---- */

/* (lock) */
static void say_hello(struct app *app)
{
	const struct app_record record = { 0 };
	struct writing writing = { .app = app };
	if (!atomic_load(&app->span.is_new))
		return;
	add(&writing, APP_RECORD_HELLO, "nodes", 5, &record);
	flush(&writing);
	app_out_free(&writing.out);
	atomic_store(&app->span.is_new, writing.code != 0);
}

void app_nodes_look(struct app *app)
{
	if (!app_spans(app))
		return;
	uint64_t now_ns = clock_now();
	pthread_mutex_lock(&app->directory.lock);
	say_hello(app);
	say_again(app, now_ns);
	bury(app, now_ns);
	pthread_mutex_unlock(&app->directory.lock);
}

void app_nodes_say_again(struct app *app)
{
	atomic_store(&app->span.is_unsure, true);
	app_nodes_look(app);
}

static void set_lease(struct app *app, uint64_t node, uint64_t missing_ns)
{
	pthread_mutex_lock(&app->directory.lock);
	struct app_peer *peer = app_replica_peer(&app->span.replica, node, clock_now());
	if (peer)
		peer->missing_ns = missing_ns;
	pthread_mutex_unlock(&app->directory.lock);
}

static void on_came(void *context, uint64_t node)
{
	struct app *app = context;
	log_say(LEVEL_INFO, "backplane", NULL, "node %llx is there", (unsigned long long)node);
	set_lease(app, node, 0);
}

static void on_gone(void *context, uint64_t node)
{
	struct app *app = context;
	uint64_t now_ns = clock_now();
	log_say(LEVEL_WARNING, "backplane", NULL, "node %llx is gone", (unsigned long long)node);
	set_lease(app, node, now_ns > GRACE_NS ? now_ns - GRACE_NS : 1);
	app_nodes_look(app);
}

static void on_wanted(void *context)
{
	app_nodes_say_again(context);
}

static void on_begun(void *context, uint64_t epoch)
{
	struct app *app = context;
	(void)epoch;
	/* What was lost with the stream may have been that somebody came or left. */
	atomic_store(&app->span.is_unsure, true);
}

void app_nodes_handlers(struct app *app, struct backplane_handlers *handlers)
{
	handlers->context = app;
	handlers->begun = on_begun;
	handlers->node_came = on_came;
	handlers->node_gone = on_gone;
	handlers->members_wanted = on_wanted;
}

bool app_nodes_begin(struct app *app, struct backplane *backplane, uint64_t seed)
{
	struct app_span *span = &app->span;
	span->node = backplane_node(backplane);
	if (!app_replica_init(&span->replica, span->node, seed))
		return false;
	struct app_peer *own = app_replica_peer(&span->replica, span->node, 0);
	if (!own)
		return false;
	span->backplane = backplane;
	atomic_init(&span->is_new, true);
	/* What is told from one message to the next must be the same on all nodes, and what tells them apart not. */
	app->epoch = 1;
	atomic_store(&app->numbers, (span->node << 32) | 1);
	backplane_use_presence(backplane);
	return true;
}

void app_nodes_end(struct app *app)
{
	app_replica_destroy(&app->span.replica);
	app->span.backplane = NULL;
}
