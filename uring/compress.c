/* SPDX-License-Identifier: MIT
 *
 * compress.c - see compress.h. Compressors and the inflater of all connections without takeover belong to the worker, so
 * an idle compressed connection owns nothing. Invariant: audience.wanted[e] counts the members whose encoding is e.
 */
#include "compress.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define CLAIM_TRIES 10000 /* looks at an encoding that another worker is making, before the message goes as it is */

static enum rc_window window_of(const struct connection *conn)
{
	return (enum rc_window)(conn->flags >> WINDOW_SHIFT & 3);
}

static const struct rc_deflate_options *options_of(const struct worker *worker, const struct connection *conn)
{
	return &worker->server->listeners[conn->flags >> LISTENER_SHIFT & 15].deflate;
}

/* ---- agreeing ---- */

static void set_agreed(struct connection *conn, unsigned own_bits, bool peer_takeover)
{
	conn->flags &= ~(uint32_t)(3u << WINDOW_SHIFT);
	conn->flags |= DEFLATE | (uint32_t)rc_window_for(own_bits) << WINDOW_SHIFT;
	if (peer_takeover)
		conn->flags |= TAKEOVER;
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
			rc_compress_join(worker, conn, record->topic);
		else
			rc_compress_leave(worker, conn, record->topic);
		at = record->next;
	}
}

static bool make_inflater(struct worker *worker, uint32_t slot, unsigned bits)
{
	worker->inflaters[slot] = rc_inflater_new(bits);
	return worker->inflaters[slot] != NULL;
}

void rc_compress_negotiate(struct worker *worker, uint32_t slot, const struct rc_http_request *request,
                           char answer[RC_EXTENSION_SIZE_MAX])
{
	struct connection *conn = &worker->connections[slot];
	const struct rc_deflate_options *options = options_of(worker, conn);
	struct rc_deflate agreed;
	answer[0] = 0;
	if (!options->on)
		return;
	bool cohort = may_join_cohort(worker, conn);
	const struct rc_deflate_wish wish = {
		.server_takeover = cohort, .client_takeover = options->client_takeover, .bits = (uint8_t)options->bits
	};
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
	if (agreed.server_takeover && rc_window_for(agreed.server_bits) == rc_window_for(worker->server->config.deflate.bits))
		conn->flags |= COHORT;
	move_subscriptions(worker, conn, true);
	pthread_mutex_unlock(&worker->server->log_lock);
}

bool rc_compress_agreed(struct worker *worker, uint32_t slot, const struct rc_deflate *agreed)
{
	if (!agreed->on)
		return true;
	if (agreed->server_takeover && !make_inflater(worker, slot, agreed->server_bits))
		return false;
	set_agreed(&worker->connections[slot], agreed->client_bits, agreed->server_takeover);
	return true;
}

/* ---- who wants what ---- */

enum rc_encoding_id rc_compress_wanted(const struct worker *worker, const struct connection *conn, uint32_t topic)
{
	if (!(conn->flags & DEFLATE) || conn->flags & CLIENT)
		return RC_ENCODING_LOG;
	if (!(conn->flags & COHORT))
		return (enum rc_encoding_id)(RC_ENCODING_DEFLATE_8 + window_of(conn));
	return rc_topic_at(&worker->server->topics, topic)->options.cohort ? RC_ENCODING_COHORT : RC_ENCODING_LOG;
}

void rc_compress_interest(const struct worker *worker, const struct connection *conn, struct rc_interest *interest)
{
	interest->cohort = UINT32_MAX;
	interest->encoding = NULL;
	if (!(conn->flags & DEFLATE))
		return;
	enum rc_encoding_id id = (enum rc_encoding_id)(RC_ENCODING_DEFLATE_8 + window_of(conn));
	size_t size_min = options_of(worker, conn)->size_min;
	if (conn->flags & COHORT) {
		id = RC_ENCODING_COHORT;
		size_min = 0;
		if (conn->subscription_count == 1) {
			interest->cohort = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
			interest->synced = conn->flags & SYNCED;
		} else {
			/* With a second topic the stream would not be its only one. What may be left is the rest of a frame. */
			size_min = UINT32_MAX - RC_FRAME_HEADER_MAX;
		}
	}
	interest->encoding = atomic_load_explicit(&worker->server->encodings[id], memory_order_acquire);
	interest->encoded_size_min = (uint32_t)(size_min + rc_frame_header_size(size_min));
}

/* Half as much as the log has for its own form, a place for each entry, and the struct behind them. */
static size_t encoding_memory_size(const struct rc_server *server)
{
	return server->config.log_size / 2 + server->log.entry_count * sizeof(struct rc_extent) + sizeof(struct rc_encoding);
}

static bool make_encoding(struct rc_server *server, enum rc_encoding_id id)
{
	if (atomic_load_explicit(&server->encodings[id], memory_order_relaxed))
		return true;
	uint64_t size = server->config.log_size / 2, count = server->log.entry_count;
	size_t total = encoding_memory_size(server);
	uint8_t *memory = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	struct rc_extent *extents = (struct rc_extent *)(memory + size);
	struct rc_encoding *encoding = (struct rc_encoding *)(extents + count);
	rc_encoding_init(encoding, memory, size, extents, count);
	/* release: who finds it finds it made */
	atomic_store_explicit(&server->encodings[id], encoding, memory_order_release);
	return true;
}

void rc_compress_join(struct worker *worker, const struct connection *conn, uint32_t topic_id)
{
	struct rc_server *server = worker->server;
	enum rc_encoding_id id = rc_compress_wanted(worker, conn, topic_id);
	rc_audience_at(&worker->subscribers, topic_id)->wanted[id]++;
	worker->encoded_count += id != RC_ENCODING_LOG;
	if (id == RC_ENCODING_LOG || !make_encoding(server, id))
		return;
	if (id != RC_ENCODING_COHORT)
		return;
	struct rc_topic *topic = rc_topic_at(&server->topics, topic_id);
	pthread_mutex_lock(&server->encodings_lock);
	if (!topic->cohort && server->topics.cohort_count < RC_COHORTS_MAX) {
		topic->cohort = rc_cohort_new(rc_window_for(server->config.deflate.bits), (int)server->config.deflate.level);
		server->topics.cohort_count += topic->cohort != NULL;
	}
	if (topic->cohort)
		rc_cohort_join(topic->cohort, rc_log_head(&server->log));
	pthread_mutex_unlock(&server->encodings_lock);
}

void rc_compress_leave(struct worker *worker, const struct connection *conn, uint32_t topic)
{
	enum rc_encoding_id id = rc_compress_wanted(worker, conn, topic);
	uint32_t *wanted = &rc_audience_at(&worker->subscribers, topic)->wanted[id];
	RC_ASSERT(*wanted);
	--*wanted;
	worker->encoded_count -= id != RC_ENCODING_LOG;
}

void rc_compress_rejoin(struct worker *worker, const struct connection *conn)
{
	struct rc_server *server = worker->server;
	if (conn->subscription_count != 1)
		return;
	uint32_t topic = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
	pthread_mutex_lock(&server->encodings_lock);
	struct rc_cohort *cohort = rc_topic_at(&server->topics, topic)->cohort;
	if (cohort)
		rc_cohort_join(cohort, conn->cursor);
	pthread_mutex_unlock(&server->encodings_lock);
}

/* ---- making encodings ---- */

static bool make_scratch(struct worker *worker, size_t size)
{
	if (worker->scratch_size >= size)
		return true;
	size_t capacity;
	uint8_t *block = rc_pool_take(&worker->pool, size, &capacity);
	if (!block)
		return false;
	rc_pool_give(&worker->pool, worker->scratch_bytes, worker->scratch_size);
	worker->scratch_bytes = block;
	worker->scratch_size = capacity;
	return true;
}

static struct rc_deflater *deflater_for(struct worker *worker, enum rc_window window)
{
	struct rc_deflater **deflater = &worker->deflaters[window];
	if (!*deflater)
		*deflater = rc_deflater_new(window, (int)worker->server->config.deflate.level);
	return *deflater;
}

static void put(struct worker *worker, struct rc_encoding *encoding, uint64_t number, uint8_t opcode, size_t size,
                bool fresh)
{
	const struct rc_frame frame = { .fin = true, .rsv = RC_FRAME_RSV1, .opcode = opcode, .size = size };
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t header_size = rc_frame_write(header, &frame);
	rc_encoding_put(encoding, &worker->server->log, number, header, header_size, worker->scratch_bytes, size, fresh);
}

static void count_made(struct worker *worker, size_t from, size_t to)
{
	rc_count(&worker->stats.compressed, 1);
	rc_count(&worker->stats.compressed_from, from);
	rc_count(&worker->stats.compressed_to, to);
}

static void make_single(struct worker *worker, struct rc_encoding *encoding, enum rc_window window, uint64_t number,
                        uint8_t opcode, const uint8_t *payload, size_t size)
{
	struct rc_server *server = worker->server;
	if (!rc_extent_claim(encoding, number)) {
		for (int i = 0; i < CLAIM_TRIES && rc_extent_state(encoding, number) == RC_EXTENT_CLAIMED; i++)
			sched_yield();
		return;
	}
	struct rc_deflater *deflater = deflater_for(worker, window);
	/* Only as much room as makes it smaller. */
	size_t made = deflater && make_scratch(worker, size + 8)
	                      ? rc_deflate_message(deflater, worker->scratch_bytes, size + 4, payload, size, true) : 0;
	if (!made || made >= size) {
		rc_extent_refuse(encoding, number);
		return;
	}
	pthread_mutex_lock(&server->encodings_lock);
	put(worker, encoding, number, opcode, made, true);
	pthread_mutex_unlock(&server->encodings_lock);
	count_made(worker, size, made);
}

static void make_cohort(struct worker *worker, struct rc_encoding *encoding, uint64_t number, uint8_t opcode,
                        const uint8_t *payload, size_t size)
{
	struct rc_server *server = worker->server;
	uint32_t topic_id = rc_log_entry(&server->log, number)->topic;
	bool fresh = false, room = make_scratch(worker, rc_deflate_bound(size));
	pthread_mutex_lock(&server->encodings_lock);
	struct rc_cohort *cohort = rc_topic_at(&server->topics, topic_id)->cohort;
	size_t made = cohort && room && rc_extent_claim(encoding, number)
	                      ? rc_cohort_add(cohort, number, worker->scratch_bytes, worker->scratch_size, payload, size,
	                                      &fresh) : 0;
	if (made) {
		put(worker, encoding, number, opcode, made, fresh);
		if (rc_extent_state(encoding, number) == RC_EXTENT_REFUSED)
			cohort->broken = true;
		count_made(worker, size, made);
	} else if (rc_extent_state(encoding, number) == RC_EXTENT_CLAIMED) {
		rc_extent_refuse(encoding, number);
	}
	pthread_mutex_unlock(&server->encodings_lock);
}

size_t rc_compress_entry(struct worker *worker, uint64_t number)
{
	struct rc_server *server = worker->server;
	const struct rc_entry *entry = rc_log_entry(&server->log, number);
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, entry->topic);
	if (!audience || audience->wanted[RC_ENCODING_LOG] == atomic_load_explicit(&audience->member_count, memory_order_relaxed))
		return 0;
	const uint8_t *frame = rc_log_at(&server->log, entry->position);
	struct rc_frame header;
	size_t header_size = 0, taken = 0;
	for (unsigned id = RC_ENCODING_DEFLATE_8; id < RC_ENCODING_COUNT; id++) {
		if (!audience->wanted[id])
			continue;
		struct rc_encoding *encoding = atomic_load_explicit(&server->encodings[id], memory_order_acquire);
		if (!header_size)
			header_size = (size_t)rc_frame_read(&header, frame, entry->size);
		if (!encoding || (id != RC_ENCODING_COHORT && header.size < server->deflate_size_min))
			continue;
		taken += (size_t)header.size;
		if (id == RC_ENCODING_COHORT)
			make_cohort(worker, encoding, number, header.opcode, frame + header_size, (size_t)header.size);
		else
			make_single(worker, encoding, (enum rc_window)(id - RC_ENCODING_DEFLATE_8), number, header.opcode,
			            frame + header_size, (size_t)header.size);
	}
	return taken;
}

/* ---- single messages ---- */

const char *rc_compress_inflate(struct worker *worker, uint32_t slot, const struct rc_event *event,
                                struct rc_inflated_message *message, uint16_t *code)
{
	const struct connection *conn = &worker->connections[slot];
	bool takeover = conn->flags & TAKEOVER;
	if (!takeover && !worker->inflater)
		worker->inflater = rc_inflater_new(15);
	struct rc_inflater *inflater = takeover ? worker->inflaters[slot] : worker->inflater;
	enum rc_inflated result = !inflater ? RC_INFLATE_NO_MEMORY
	                                    : rc_inflate_message(inflater, &worker->pool, event->data, event->size,
	                                                         worker->server->config.message_size_max, takeover, message);
	rc_count(&worker->stats.inflated, result == RC_INFLATED);
	switch (result) {
	case RC_INFLATED: {
		struct rc_utf8 utf8 = { 0 };
		if (event->opcode == RC_FRAME_BINARY ||
		    (rc_utf8_check(&utf8, message->data, message->size) && rc_utf8_complete(&utf8)))
			return NULL;
		rc_pool_give(&worker->pool, message->data, message->capacity);
		*code = RC_CLOSE_INVALID_DATA;
		return "text is not UTF-8";
	}
	case RC_INFLATE_TOO_BIG:
		*code = RC_CLOSE_TOO_BIG;
		return "message too big";
	case RC_INFLATE_MALFORMED:
		*code = RC_CLOSE_INVALID_DATA;
		return "malformed compressed message";
	default:
		*code = RC_CLOSE_INTERNAL;
		return "out of memory";
	}
}

size_t rc_compress_message(struct worker *worker, const struct connection *conn, const void *data, size_t size)
{
	size_t size_min = conn->flags & CLIENT ? RC_DEFLATE_SIZE_MIN : options_of(worker, conn)->size_min;
	if (!(conn->flags & DEFLATE) || conn->flags & COHORT || size < size_min)
		return 0;
	struct rc_deflater *deflater = deflater_for(worker, window_of(conn));
	if (!deflater || !make_scratch(worker, size + 8))
		return 0;
	size_t made = rc_deflate_message(deflater, worker->scratch_bytes, size + 4, data, size, true);
	return made < size ? made : 0;
}

/* ---- ending ---- */

void rc_compress_end(struct worker *worker, uint32_t slot)
{
	if (!(worker->connections[slot].flags & TAKEOVER))
		return;
	rc_inflater_free(worker->inflaters[slot]);
	worker->inflaters[slot] = NULL;
}

void rc_compress_close(struct worker *worker)
{
	for (unsigned i = 0; i < RC_WINDOW_COUNT; i++) {
		rc_deflater_free(worker->deflaters[i]);
		worker->deflaters[i] = NULL;
	}
	rc_inflater_free(worker->inflater);
	worker->inflater = NULL;
	rc_pool_give(&worker->pool, worker->scratch_bytes, worker->scratch_size);
	worker->scratch_bytes = NULL;
	worker->scratch_size = 0;
}

void rc_compress_free(struct rc_server *server, enum rc_encoding_id id)
{
	struct rc_encoding *encoding = atomic_load(&server->encodings[id]);
	if (encoding)
		munmap(encoding->bytes, encoding_memory_size(server));
}
