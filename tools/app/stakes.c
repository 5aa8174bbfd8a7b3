/* SPDX-License-Identifier: MIT
 *
 * stakes.c - see stakes.h. It does not know what a room is.
 */
#include "stakes.h"

#include <stdlib.h>
#include <string.h>

#include "app.h"

#define KEY_SIZE_MAX (sizeof(struct app_address *) + RC_TOPIC_NAME_MAX)

struct app_stake *app_stake_take(struct app *app, struct app_address *address, const char *topic, size_t size,
                                 bool makes)
{
	struct app_table *stakes = &app->directory.stakes;
	unsigned max = app_settings_now(app)->topics_per_address;
	char key[KEY_SIZE_MAX];
	size_t key_size = sizeof address + size;
	if (key_size > sizeof key)
		return NULL;
	memcpy(key, &address, sizeof address);
	memcpy(key + sizeof address, topic, size);
	struct app_stake *stake = (struct app_stake *)app_table_find(stakes, key, key_size);
	if (stake) {
		stake->count++;
		return stake;
	}
	if (max && ((makes && address->made_count >= max) || address->stake_count / 2 >= max))
		return NULL;
	stake = malloc(sizeof *stake + key_size);
	if (!stake)
		return NULL;
	*stake = (struct app_stake){ .address = address, .count = 1, .made = makes };
	memcpy(stake->key, key, key_size);
	stake->node.name = stake->key;
	stake->node.name_size = key_size;
	app_table_add(stakes, &stake->node);
	address->stake_count++;
	address->made_count += makes;
	return stake;
}

void app_stake_give(struct app *app, struct app_stake *stake)
{
	if (!stake || --stake->count)
		return;
	app_table_remove(&app->directory.stakes, &stake->node);
	stake->address->stake_count--;
	stake->address->made_count -= stake->made;
	free(stake);
}
