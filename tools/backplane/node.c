/* SPDX-License-Identifier: MIT
 *
 * node.c - see backplane.h: a node's life, and what is asked of it from outside its threads.
 */
#include "node.h"
#include "plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LEAVE_MS 1000 /* for what was published to reach the engine before the end */
#define KEEP_MAX 100000000

/* ---- the URL ---- */

static int fail(struct rc_error *error, int code, const char *format, const char *first, const char *second)
{
	error->code = code;
	snprintf(error->text, sizeof error->text, format, first, second);
	return -1;
}

/* A file that cannot be read would be told as an engine that is away, again and again. */
static int check_files(const struct backplane_url *url, struct rc_error *error)
{
	static const char *const names[] = { "ca", "cert", "key", "creds" };
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		const char *path = backplane_url_value(url, names[i], NULL);
		if (path && access(path, R_OK))
			return fail(error, -EINVAL, "%s=: the file cannot be read: %s", names[i], strerror(errno));
	}
	return 0;
}

static int check_url(const struct backplane_settings *settings, const struct backplane_url *url,
                     const struct engine **engine, unsigned long *keep, struct rc_error *error)
{
	const char *package;
	char wrong[ENGINE_WHY_SIZE] = "";
	*engine = engine_find(url->scheme, &package);
	if (!*engine && package)
		return fail(error, -EINVAL, "this ringcast was built without '%s': install %s and build it again",
		            url->scheme, package);
	if (!*engine)
		return fail(error, -EINVAL, "there is no backplane '%s': `ringcast probe` lists those that there are%s",
		            url->scheme, "");
	if (!backplane_url_number(url, "keep", 100, KEEP_MAX, keep))
		return fail(error, -EINVAL, "keep=%s: expected a number of packets from 100 to 100000000%s",
		            backplane_url_value(url, "keep", ""), "");
	if (!plain_check(url, wrong))
		return fail(error, -EINVAL, "%s%s", wrong, "");
	const char *prefix = backplane_url_value(url, "prefix", "ringcast");
	if (!*prefix || strlen(prefix) > 64 ||
	    strspn(prefix, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(prefix))
		return fail(error, -EINVAL, "prefix=%s: expected 1 to 64 letters, digits, '_' or '-'%s", prefix, "");
	struct backplane_map map;
	if (!jobs_check(settings, url, *engine, wrong) || !bridge_check(settings, *engine, &map, wrong))
		return fail(error, -EINVAL, "%s%s", wrong, "");
	if ((*engine)->check(url, wrong))
		return fail(error, -EINVAL, "%s%s", wrong, "");
	return check_files(url, error);
}

int backplane_check(const struct backplane_settings *settings, struct rc_error *error)
{
	struct backplane_url url;
	const struct engine *engine;
	unsigned long keep = KEEP_DEFAULT;
	const char *wrong = backplane_url_parse(&url, settings->url);
	return wrong ? fail(error, -EINVAL, "%s%s", wrong, "") : check_url(settings, &url, &engine, &keep, error);
}

/* ---- life ---- */

static bool open_parts(struct backplane *backplane, struct rc_error *error)
{
	const char *wrong = backplane_url_parse(&backplane->url, backplane->settings.url);
	char why[ENGINE_WHY_SIZE] = "no memory";
	struct follower *follower = &backplane->follower;
	if (wrong)
		return fail(error, -EINVAL, "%s%s", wrong, "") == 0;
	if (check_url(&backplane->settings, &backplane->url, &backplane->engine, &backplane->keep, error))
		return false;
	follower->messages = calloc(BACKPLANE_MESSAGES_MAX, sizeof *follower->messages);
	follower->numbers = calloc(BACKPLANE_MESSAGES_MAX, sizeof *follower->numbers);
	backplane->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	const struct engine_setup setup = { .url = &backplane->url,
		                            .prefix = backplane_url_value(&backplane->url, "prefix", "ringcast"),
		                            .keep_max = backplane->keep,
		                            .node = backplane->node,
		                            .map = &backplane->map,
		                            .wake_fd = backplane->wake_fd };
	bridge_check(&backplane->settings, backplane->engine, &backplane->map, why);
	if (follower->messages && follower->numbers && backplane->wake_fd >= 0)
		backplane->state = backplane->engine->open(&setup, why);
	if (backplane->state && backplane->settings.out && !(backplane->jobs = jobs_new(backplane, &setup)))
		return fail(error, -ENOMEM, "no memory%s%s", "", "") == 0;
	if (backplane->state && backplane->map.count && backplane->engine->in->open &&
	    !(backplane->bridge = bridge_new(backplane, &setup)))
		return fail(error, -ENOMEM, "no memory%s%s", "", "") == 0;
	return backplane->state || fail(error, -ENOMEM, "%s%s", why, "") == 0;
}

struct backplane *backplane_new(const struct backplane_settings *settings, rc_server *server,
                                const struct backplane_handlers *handlers, struct rc_error *error)
{
	struct backplane *backplane = calloc(1, sizeof *backplane);
	pthread_condattr_t clock;
	if (!backplane || outbox_init(&backplane->outbox, settings->queue_max)) {
		free(backplane);
		fail(error, -ENOMEM, "no memory%s%s", "", "");
		return NULL;
	}
	backplane->settings = *settings;
	backplane->server = server;
	if (handlers)
		backplane->handlers = *handlers;
	backplane->wake_fd = -1;
	backplane->keep = KEEP_DEFAULT;
	backplane->away_since_ns = state_clock_ns();
	snprintf(backplane->why, sizeof backplane->why, "not connected yet");
	pthread_mutex_init(&backplane->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&backplane->changed, &clock);
	pthread_condattr_destroy(&clock);
	if (getrandom(&backplane->node, sizeof backplane->node, 0) != sizeof backplane->node)
		backplane->node = state_day_ns();
	backplane->node = (backplane->node & INT64_MAX) | 1;
	if (!open_parts(backplane, error)) {
		backplane_free(backplane);
		return NULL;
	}
	backplane_describe(backplane);
	backplane->tail_max = backplane->keep;
	return backplane;
}

static int wait_whole(struct backplane *backplane, unsigned wait_ms)
{
	uint64_t until_ns = state_clock_ns() + (uint64_t)wait_ms * 1000000;
	const struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000),
		                        .tv_nsec = (long)(until_ns % 1000000000) };
	pthread_mutex_lock(&backplane->lock);
	while (backplane->away_since_ns)
		if (pthread_cond_timedwait(&backplane->changed, &backplane->lock, &until))
			break;
	bool up = !backplane->away_since_ns;
	pthread_mutex_unlock(&backplane->lock);
	return up ? 0 : -EAGAIN;
}

static void join_threads(struct backplane *backplane, bool follows, bool publishes)
{
	pthread_mutex_lock(&backplane->lock);
	atomic_store(&backplane->ending, true);
	pthread_cond_broadcast(&backplane->changed);
	pthread_mutex_unlock(&backplane->lock);
	state_wake(backplane);
	outbox_wake(&backplane->outbox);
	if (follows)
		pthread_join(backplane->follower_thread, NULL);
	if (publishes)
		pthread_join(backplane->publisher_thread, NULL);
	bridge_stop(backplane->bridge);
}

int backplane_start(struct backplane *backplane)
{
	int code = pthread_create(&backplane->follower_thread, NULL, follower_run, backplane);
	bool follows = !code, publishes = false;
	if (follows) {
		code = pthread_create(&backplane->publisher_thread, NULL, publisher_run, backplane);
		publishes = !code;
	}
	if (!code && backplane->bridge)
		code = -bridge_start(backplane->bridge);
	if (!code && backplane->jobs)
		code = -jobs_start(backplane->jobs);
	if (code) {
		join_threads(backplane, follows, publishes);
		return -code;
	}
	backplane->started = true;
	return wait_whole(backplane, backplane->settings.start_ms);
}

void backplane_stop(struct backplane *backplane)
{
	if (!backplane || !backplane->started)
		return;
	backplane->started = false;
	outbox_close(&backplane->outbox);
	uint64_t until_ns = state_clock_ns() + UINT64_C(1000000) * LEAVE_MS;
	while (!outbox_is_empty(&backplane->outbox) && !state_away_ns(backplane) && state_clock_ns() < until_ns)
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	jobs_stop(backplane->jobs, until_ns);
	join_threads(backplane, true, true);
	outbox_expire(&backplane->outbox, UINT64_MAX, -ECANCELED);
}

void backplane_free(struct backplane *backplane)
{
	if (!backplane)
		return;
	jobs_free(backplane->jobs);
	bridge_free(backplane->bridge);
	if (backplane->state)
		backplane->engine->close(backplane->state);
	outbox_free(&backplane->outbox);
	presence_free(backplane->presence);
	packet_memory_free(&backplane->follower.memory);
	free(backplane->direct.bytes);
	free(backplane->follower.messages);
	free(backplane->follower.numbers);
	if (backplane->wake_fd >= 0)
		close(backplane->wake_fd);
	pthread_cond_destroy(&backplane->changed);
	pthread_mutex_destroy(&backplane->lock);
	free(backplane);
}

/* ---- publishing ---- */

static int look_at(const struct backplane_message *message)
{
	bool key = message->key_size, topic = message->kind == BACKPLANE_TOPIC;
	if ((topic && (!message->channel_size || message->channel_size > RC_TOPIC_NAME_MAX)) ||
	    message->channel_size > BACKPLANE_NAME_MAX || message->key_size > RC_KEY_MAX || message->kind > UINT8_MAX ||
	    (!topic && message->kind < BACKPLANE_CONTROL) || (message->flags & RC_PUBLISH_REMOVE && !key) ||
	    (message->flags & RC_PUBLISH_SNAPSHOT && key))
		return -EINVAL;
	if (message->size > UINT32_MAX)
		return -EMSGSIZE;
	if (topic && !(message->flags & (RC_PUBLISH_BINARY | RC_PUBLISH_UNCHECKED)) &&
	    !rc_text_valid(message->data, message->size))
		return -EILSEQ;
	return 0;
}

int backplane_publish(struct backplane *backplane, const struct backplane_message *messages, size_t count,
                      backplane_done *done, void *context)
{
	size_t size = 0;
	if (!count || count > BACKPLANE_MESSAGES_MAX)
		return count ? -EMSGSIZE : -EINVAL;
	for (size_t i = 0; i < count; i++) {
		int code = look_at(&messages[i]);
		if (code)
			return code;
		size += messages[i].size + PACKET_MESSAGE_SIZE;
	}
	if (backplane->settings.message_max && size > backplane->settings.message_max)
		return -EMSGSIZE;
	int wrong;
	if (at_once_wanted(backplane, messages, count, &wrong))
		return wrong ? wrong : at_once_publish(backplane, messages, count, done, context);
	bool direct = false, *ask = backplane->engine->append_now ? &direct : NULL;
	int code = backplane->settings.away == BACKPLANE_REFUSE && state_away_ns(backplane) > PATIENCE_NS ? -EAGAIN : 0;
	if (!code)
		code = outbox_add(&backplane->outbox, messages, count, state_clock_ns(), done, context, ask);
	if (direct)
		publisher_direct(backplane);
	atomic_fetch_add(code ? &backplane->counters.refused : &backplane->counters.sent, code ? 1 : count);
	return code == -ECANCELED ? -EAGAIN : code;
}

int backplane_publish_batch(struct backplane *backplane, const struct rc_batch_message *batch, size_t count,
                            backplane_done *done, void *context)
{
	struct backplane_message one = { 0 }, *messages = &one;
	if (count > BACKPLANE_MESSAGES_MAX)
		return -EMSGSIZE;
	if (count > 1 && !(messages = malloc(count * sizeof *messages)))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		messages[i] = (struct backplane_message){ .flags = batch[i].flags,
			                                  .channel = batch[i].name,
			                                  .channel_size = batch[i].name_size,
			                                  .key = batch[i].key,
			                                  .key_size = batch[i].key_size,
			                                  .data = batch[i].data,
			                                  .size = batch[i].size,
			                                  .time_ns = batch[i].time_ns };
	int code = backplane_publish(backplane, messages, count, done, context);
	if (count > 1)
		free(messages);
	return code;
}

/* ---- presence ---- */

uint64_t backplane_node(const struct backplane *backplane)
{
	return backplane->node;
}

void backplane_use_presence(struct backplane *backplane)
{
	if (!backplane->presence)
		backplane->presence = presence_new();
}

bool backplane_keeps_members(const struct backplane *backplane)
{
	return backplane->engine->members_write;
}

int backplane_member(struct backplane *backplane, const char *room, size_t room_size, const char *name,
                     size_t name_size, const void *value, size_t value_size)
{
	const struct engine_member member = { .room = room,
		                              .room_size = room_size,
		                              .name = name,
		                              .name_size = name_size,
		                              .value = value,
		                              .value_size = value_size };
	return backplane_keeps_members(backplane) ? outbox_add_member(&backplane->outbox, &member) : 0;
}
