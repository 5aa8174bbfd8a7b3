/* SPDX-License-Identifier: MIT
 *
 * config.c - the configuration, as 8 bytes a field: a server is made of it or it is refused in words, with its field
 * within what bounds.h says, and nothing in between. No thread runs and nothing is bound.
 */
#include "ringcast.h"
#include "ringcast_stats.h"

#include "bounds.h"
#include "fuzz.h"

#include <errno.h>

static uint64_t field(struct steps *steps)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)step_byte(steps) << 8 * i;
	return value;
}

static bool is_within_limits(const struct rc_config *c)
{
	bool log = c->log_size >= RC_LOG_SIZE_MIN && c->log_size <= (size_t)64 << 30 &&
	           !(c->log_size & (c->log_size - 1));
	bool sizes = c->message_size_max && c->message_size_max <= RC_MESSAGE_SIZE_LIMIT && c->send_size_max < 1u << 31;
	bool counts = c->worker_count <= RC_WORKERS_MAX && c->subscriptions_max &&
	              c->subscriptions_max <= RC_SUBSCRIPTIONS_LIMIT;
	return log && sizes && counts && c->handshake_timeout_ms && c->close_timeout_ms && c->policy <= RC_POLICY_LAST;
}

static void check_server(rc_server *server, const struct rc_config *config, struct steps *steps)
{
	struct rc_error error = { 0 };
	struct rc_stats stats;
	HOLDS(!config->worker_count || rc_server_worker_count(server) == config->worker_count, "workers");
	for (unsigned i = 0; i < RC_TOPIC_RULES_MAX + 1; i++) {
		struct rc_topic_options options = { .policy = (enum rc_policy)step_byte(steps) };
		int code = rc_server_topic_rule(server, "a*", &options);
		bool good = options.policy <= RC_POLICY_LAST;
		HOLDS(good ? code == 0 || (code == -ENOSPC && i >= RC_TOPIC_RULES_MAX) : code == -EINVAL, "%d", code);
	}
	HOLDS(rc_server_listen(server, "nonsense", &error) == -EINVAL && error.text[0], "an address");
	rc_server_stats(server, &stats);
	HOLDS(stats.connections == 0 && stats.published == 0, "busy before its start");
	/* The log is there already: what is published now waits for the workers. */
	int64_t sequence = rc_publish(server, "a", 1, "text", 4, 0);
	HOLDS(sequence == 1, "%lld", (long long)sequence);
	HOLDS(rc_send(server, field(steps), RC_TEXT, "x", 1) != 0, "sent to nobody");
	HOLDS(rc_worker_stats(server, config->worker_count + RC_WORKERS_MAX, &stats) == -EINVAL, "no such worker");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct steps steps = { data, data + size };
	struct rc_config config;
	struct rc_error error = { 0 };
	rc_config_init(&config);
	unsigned chosen = step_byte(&steps) | step_byte(&steps) << 8;
	config.worker_count = chosen & 1 ? (unsigned)field(&steps) : 1 + chosen % 3;
	if (chosen & 2)
		config.log_size = (size_t)field(&steps);
	if (chosen & 4)
		config.message_size_max = (size_t)field(&steps);
	if (chosen & 8)
		config.send_size_max = (size_t)field(&steps);
	if (chosen & 16)
		config.subscriptions_max = (unsigned)field(&steps);
	if (chosen & 32)
		config.fragments_max = (unsigned)field(&steps);
	if (chosen & 64)
		config.policy = (enum rc_policy)field(&steps);
	if (chosen & 128)
		config.handshake_timeout_ms = config.close_timeout_ms = (unsigned)field(&steps);
	if (chosen & 256)
		config.connections_max = config.connections_per_address = (unsigned)field(&steps);
	if (chosen & 512)
		config.lag_size_max = (size_t)field(&steps);
	if (config.worker_count > 16 && config.worker_count <= RC_WORKERS_MAX)
		config.worker_count %= 16; /* right, and slow */
	rc_server *server = rc_server_new(&config, &error);
	HOLDS(server || (error.code < 0 && error.text[0]), "refused without words");
	/* Within all limits, only memory may still be missing. */
	HOLDS(server ? is_within_limits(&config) : !is_within_limits(&config) || error.code == -ENOMEM, "%s",
	      error.text);
	if (server)
		check_server(server, &config, &steps);
	rc_server_free(server);
	return 0;
}
