/* SPDX-License-Identifier: MIT
 *
 * engines.c - the table of engines, and what each build has of them.
 */
#include <string.h>

#include "built.h"
#include "engine.h"

const struct engine *const engines[] = {
#ifdef BACKPLANE_REDIS
	&engine_redis,
#endif
#ifdef BACKPLANE_NATS
	&engine_nats,
#endif
#ifdef BACKPLANE_AMQP
	&engine_amqp,
#endif
#ifdef BACKPLANE_KAFKA
	&engine_kafka,
#endif
	NULL,
};

/* Every one that there is, whether it was built in or not: its name, the schemes of its URLs, what it needs. */
static const struct known {
	const char *name, *schemes, *package;
} known[] = {
	{ "redis", "redis rediss redis-sentinel rediss-sentinel", "libhiredis-dev" },
	{ "nats", "nats nats+tls", "libnats-dev" },
	{ "amqp", "amqp amqps", "librabbitmq-dev" },
	{ "kafka", "kafka kafka+tls", "librdkafka-dev" },
};

/* Whether a scheme is a word of the list. */
static bool is_listed(const char *list, const char *scheme)
{
	size_t size = strlen(scheme);
	for (const char *at = list; (at = strstr(at, scheme)); at += size)
		if ((at == list || at[-1] == ' ') && (!at[size] || at[size] == ' '))
			return true;
	return false;
}

const struct engine *engine_find(const char *scheme, const char **package)
{
	*package = NULL;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		if (is_listed(known[i].schemes, scheme))
			*package = known[i].package;
	for (const struct engine *const *at = engines; *at; at++)
		for (const char *const *word = (*at)->schemes; *word; word++)
			if (strcmp(*word, scheme) == 0)
				return *at;
	return NULL;
}

unsigned engines_list(struct engine_listed *list, unsigned max)
{
	unsigned count = 0;
	for (size_t i = 0; i < sizeof known / sizeof *known && count < max; i++, count++) {
		list[count] = (struct engine_listed){ .name = known[i].name, .package = known[i].package };
		for (const struct engine *const *at = engines; *at; at++)
			if (strcmp((*at)->name, known[i].name) == 0)
				list[count].engine = *at;
	}
	return count;
}
