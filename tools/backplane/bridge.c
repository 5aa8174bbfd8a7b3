/* SPDX-License-Identifier: MIT
 *
 * bridge.c - see node.h: where an engine does not bring what others publish into the nodes' stream by itself, each node
 * does, on a thread of its own: nodes and clients wait for none of it. It must not know any engine.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "node.h"

#define MOVE_MS 300

struct bridge {
	struct backplane *backplane;
	const struct engine_in *engine;
	void *state; /* the thread's */
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	bool away; /* under the lock */
	char why[ENGINE_WHY_SIZE];
};

bool bridge_check(const struct backplane_settings *settings, const struct engine *engine, struct backplane_map *map,
                  char wrong[static ENGINE_WHY_SIZE])
{
	const char *item = "", *words = map_read(map, &settings->map, settings->topics_only, &item);
	map->slash = engine->in && engine->in->slash;
	for (unsigned i = 0; i < map->count && engine->in && !words; i++) {
		item = map->rules[i].source;
		if (!engine->in->is_source(item, map->rules[i].source_size))
			words = engine->in->words;
	}
	if (!words && map->count && !engine->in)
		words = "this engine has no sources";
	if (words)
		snprintf(wrong, ENGINE_WHY_SIZE, "backplane-map %.60s: %s", item, words);
	return !words;
}

bool bridge_is_up(struct bridge *bridge, char *why)
{
	pthread_mutex_lock(&bridge->lock);
	bool up = !bridge->away;
	snprintf(why, ENGINE_WHY_SIZE, "%s", bridge->why);
	pthread_mutex_unlock(&bridge->lock);
	return up;
}

static void set_away(struct bridge *bridge, bool away, const char *why)
{
	pthread_mutex_lock(&bridge->lock);
	bool changed = away != bridge->away;
	bridge->away = away;
	snprintf(bridge->why, sizeof bridge->why, "%s", away ? why : "");
	pthread_mutex_unlock(&bridge->lock);
	if (changed && away)
		log_say(LEVEL_WARNING, "backplane", NULL, "what others publish does not reach the nodes: %s", why);
	else if (changed)
		log_say(LEVEL_INFO, "backplane", NULL, "what others publish reaches the nodes");
}

static void *run(void *argument)
{
	struct bridge *bridge = argument;
	unsigned rest_ms = 0;
	state_thread();
	while (!atomic_load(&bridge->backplane->ending)) {
		char why[ENGINE_WHY_SIZE] = "";
		int code = bridge->engine->move(bridge->state, MOVE_MS, why);
		set_away(bridge, code, why);
		if (code)
			state_rest(bridge->backplane, rest_ms);
		rest_ms = code ? state_next_rest(rest_ms) : 0;
	}
	return NULL;
}

struct bridge *bridge_new(struct backplane *backplane, const struct engine_setup *setup)
{
	struct bridge *bridge = calloc(1, sizeof *bridge);
	if (!bridge)
		return NULL;
	bridge->backplane = backplane;
	bridge->engine = backplane->engine->in;
	bridge->state = bridge->engine->open(setup);
	if (!bridge->state || pthread_mutex_init(&bridge->lock, NULL)) {
		free(bridge);
		return NULL;
	}
	return bridge;
}

int bridge_start(struct bridge *bridge)
{
	int code = pthread_create(&bridge->thread, NULL, run, bridge);
	bridge->started = !code;
	return -code;
}

void bridge_stop(struct bridge *bridge)
{
	if (!bridge || !bridge->started)
		return;
	bridge->started = false;
	pthread_join(bridge->thread, NULL);
}

void bridge_free(struct bridge *bridge)
{
	if (!bridge)
		return;
	bridge->engine->close(bridge->state);
	pthread_mutex_destroy(&bridge->lock);
	free(bridge);
}
