/* SPDX-License-Identifier: MIT
 *
 * agree.c - see agree.h. It must not compress anything.
 */
#include "agree.h"

#include "form.h"
#include "worker.h"

static void set_agreed(struct connection *conn, unsigned own_bits, bool peer_takeover)
{
	conn->deflate = true;
	conn->window = rc_window_for(own_bits) & 3;
	conn->takeover = peer_takeover;
}

/* Whether the connection subscribed, in its request, to one topic that is compressed for a cohort. */
static bool may_join_cohort(const struct worker *worker, const struct connection *conn)
{
	if (conn->subscription_count != 1)
		return false;
	uint32_t topic = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
	return rc_topic_at(&worker->server->topics, topic)->options.cohort;
}

static void move_subscriptions(struct worker *worker, const struct connection *conn, bool join)
{
	for (uint32_t at = conn->first_subscription; at;) {
		const struct rc_subscription *record = rc_subscription_at(&worker->subscribers, at - 1);
		if (join)
			rc_encode_join(worker, conn, record->topic);
		else
			rc_encode_leave(worker, conn, record->topic);
		at = record->next;
	}
}

static bool make_inflater(struct worker *worker, uint32_t slot, unsigned bits)
{
	worker->compressor.inflaters[slot] = rc_inflater_new(bits);
	return worker->compressor.inflaters[slot] != NULL;
}

void rc_agree_with_client(struct worker *worker, uint32_t slot, const struct rc_http_request *request,
                          char answer[RC_EXTENSION_SIZE_MAX])
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_deflate_options *options = rc_compress_options(worker, conn);
	struct rc_deflate agreed;
	answer[0] = 0;
	/* In other forms than the log's, messages are not compressed. */
	if (!options->on || rc_form_of(conn)->encoding != RC_ENCODING_LOG)
		return;
	bool cohort = may_join_cohort(worker, conn);
	const struct rc_deflate_wish wish = { .server_takeover = cohort,
		                              .client_takeover = options->client_takeover,
		                              .bits = (uint8_t)options->bits };
	rc_extension_accept(&agreed, answer, request, &wish);
	if (!agreed.on)
		return;
	if (agreed.client_takeover && !make_inflater(worker, slot, agreed.client_bits)) {
		answer[0] = 0;
		return;
	}
	pthread_mutex_lock(&worker->server->log_lock);
	move_subscriptions(worker, conn, false);
	set_agreed(conn, agreed.server_bits, agreed.client_takeover);
	if (agreed.server_takeover &&
	    rc_window_for(agreed.server_bits) == rc_window_for(worker->server->config.deflate.bits))
		conn->in_cohort = true;
	move_subscriptions(worker, conn, true);
	pthread_mutex_unlock(&worker->server->log_lock);
}

bool rc_agree_with_server(struct worker *worker, uint32_t slot, const struct rc_deflate *agreed)
{
	if (!agreed->on)
		return true;
	if (agreed->server_takeover && !make_inflater(worker, slot, agreed->server_bits))
		return false;
	set_agreed(&worker->connections[slot], agreed->client_bits, agreed->server_takeover);
	return true;
}
