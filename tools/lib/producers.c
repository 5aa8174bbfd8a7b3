/* SPDX-License-Identifier: MIT
 *
 * producers.c - see producers.h.
 */
#include "producers.h"

#include <errno.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A user's number, written as such or by its name. */
static bool parse_user(const char *word, unsigned *uid)
{
	char *end;
	if (*word >= '0' && *word <= '9') {
		unsigned long long number = strtoull(word, &end, 10);
		*uid = (unsigned)number;
		return !*end && number < UINT32_MAX;
	}
	const struct passwd *user = getpwnam(word);
	if (user)
		*uid = user->pw_uid;
	return user;
}

int producers_listen(rc_server *server, const struct producers *producers, const struct rc_producers_options *rules,
                     struct rc_error *error)
{
	unsigned uids[OPTION_LIST_MAX];
	struct rc_producers_options options = *rules;
	if (!producers->address)
		return 0;
	for (unsigned i = 0; i < producers->uids.count; i++) {
		if (parse_user(producers->uids.items[i], &uids[i]))
			continue;
		snprintf(error->text, sizeof error->text, "producer-uids: there is no user '%.100s'",
		         producers->uids.items[i]);
		return error->code = -EINVAL;
	}
	options.uids = uids;
	options.uid_count = producers->uids.count;
	options.topics = producers->topics.items;
	options.topic_count = producers->topics.count;
	options.producers_max = producers->count_max;
	options.topics_max = producers->topics_max;
	options.ring_size = producers->ring_size;
	return rc_server_listen_producers(server, producers->address, &options, error);
}
