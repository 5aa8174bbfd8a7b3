/* SPDX-License-Identifier: MIT
 *
 * encode.c - see encode.h. It must not know how anything is sent.
 *
 * Invariant: audience.wanted[e] counts the members whose encoding is e.
 */
#include "encode.h"

#include "form.h"
#include "own.h"
#include "worker.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define CLAIM_TRIES 10000 /* looks at an encoding that another worker is making, before the message goes as it is */
#define PAST_MAX 64       /* entries looked at together, for a stream that begins further back */

/* ---- who wants what ---- */

enum rc_encoding_id rc_encode_wanted(const struct worker *worker, const struct connection *conn, uint32_t topic)
{
	enum rc_encoding_id only = rc_form_of(conn)->encoding;
	if (only != RC_ENCODING_LOG)
		return only;
	if (!conn->deflate || conn->client)
		return RC_ENCODING_LOG;
	if (!conn->in_cohort)
		return (enum rc_encoding_id)(RC_ENCODING_DEFLATE_8 + rc_compress_window(conn));
	return rc_topic_at(&worker->server->topics, topic)->options.cohort ? RC_ENCODING_COHORT : RC_ENCODING_LOG;
}

void rc_encode_interest(const struct worker *worker, const struct connection *conn, struct rc_interest *interest)
{
	interest->cohort = UINT32_MAX;
	interest->encoding = NULL;
	enum rc_encoding_id only = rc_form_of(conn)->encoding;
	interest->encoded_only = only != RC_ENCODING_LOG;
	if (interest->encoded_only)
		interest->encoding = atomic_load_explicit(&worker->server->encodings[only], memory_order_acquire);
	if (!conn->deflate || interest->encoded_only)
		return;
	enum rc_encoding_id id = (enum rc_encoding_id)(RC_ENCODING_DEFLATE_8 + rc_compress_window(conn));
	size_t size_min = rc_compress_options(worker, conn)->size_min;
	if (conn->in_cohort) {
		id = RC_ENCODING_COHORT;
		size_min = 0;
		if (conn->subscription_count == 1) {
			interest->cohort =
			    rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
			interest->synced = conn->cursor.synced;
		} else {
			/* A cohort's stream must be the only one that it reads, so with a second topic nothing more
			 * is encoded for it. Only the rest of a frame may be left. */
			size_min = UINT32_MAX - RC_FRAME_HEADER_MAX;
		}
	}
	interest->encoding = atomic_load_explicit(&worker->server->encodings[id], memory_order_acquire);
	interest->encoded_size_min = (uint32_t)(size_min + rc_frame_header_size(size_min));
}

/* Half as many bytes as the log has, an extent for each entry, and after them the struct. */
static size_t encoding_memory_size(const struct rc_server *server)
{
	return server->config.log_size / 2 + server->log.entry_count * sizeof(struct rc_extent) +
	       sizeof(struct rc_encoding);
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
	/* release: a thread that finds the encoding finds it made */
	atomic_store_explicit(&server->encodings[id], encoding, memory_order_release);
	return true;
}

void rc_encode_join(struct worker *worker, const struct connection *conn, uint32_t topic_id)
{
	struct rc_server *server = worker->server;
	enum rc_encoding_id id = rc_encode_wanted(worker, conn, topic_id);
	rc_audience_at(&worker->subscribers, topic_id)->wanted[id]++;
	worker->encoder.wanted_count += id != RC_ENCODING_LOG;
	if (id == RC_ENCODING_LOG || !make_encoding(server, id))
		return;
	if (id != RC_ENCODING_COHORT)
		return;
	struct rc_topic *topic = rc_topic_at(&server->topics, topic_id);
	pthread_mutex_lock(&server->encodings_lock);
	if (!topic->cohort && server->topics.cohort_count < RC_COHORTS_MAX) {
		topic->cohort = rc_cohort_new(rc_window_for(server->config.deflate.bits),
		                              (int)server->config.deflate.level);
		server->topics.cohort_count += topic->cohort != NULL;
	}
	if (topic->cohort)
		rc_cohort_join(topic->cohort, rc_log_head(&server->log));
	pthread_mutex_unlock(&server->encodings_lock);
}

void rc_encode_leave(struct worker *worker, const struct connection *conn, uint32_t topic)
{
	enum rc_encoding_id id = rc_encode_wanted(worker, conn, topic);
	uint32_t *wanted = &rc_audience_at(&worker->subscribers, topic)->wanted[id];
	RC_ASSERT(*wanted);
	--*wanted;
	worker->encoder.wanted_count -= id != RC_ENCODING_LOG;
}

void rc_encode_rejoin(struct worker *worker, const struct connection *conn)
{
	struct rc_server *server = worker->server;
	if (conn->subscription_count != 1)
		return;
	uint32_t topic = rc_subscription_at(&worker->subscribers, conn->first_subscription - 1)->topic;
	pthread_mutex_lock(&server->encodings_lock);
	struct rc_cohort *cohort = rc_topic_at(&server->topics, topic)->cohort;
	if (cohort)
		rc_cohort_join(cohort, conn->cursor.at);
	pthread_mutex_unlock(&server->encodings_lock);
}

/* ---- making encodings ---- */

static void put(struct worker *worker, struct rc_encoding *encoding, uint64_t number, uint8_t opcode, size_t size,
                bool fresh)
{
	const struct rc_frame frame = { .fin = true, .rsv = RC_FRAME_RSV1, .opcode = opcode, .size = size };
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t header_size = rc_frame_write(header, &frame);
	rc_encoding_put(encoding, &worker->server->log, number, header, header_size, worker->compressor.scratch_bytes,
	                size, fresh);
}

static void count_made(struct worker *worker, size_t from, size_t to)
{
	rc_count(&worker->stats.compressed, 1);
	rc_count(&worker->stats.compressed_from, from);
	rc_count(&worker->stats.compressed_to, to);
}

static void wait_for(struct rc_encoding *encoding, uint64_t number)
{
	for (int i = 0; i < CLAIM_TRIES && rc_extent_state(encoding, number) == RC_EXTENT_CLAIMED; i++)
		sched_yield();
}

static void make_single(struct worker *worker, struct rc_encoding *encoding, enum rc_window window, uint64_t number,
                        uint8_t opcode, const uint8_t *payload, size_t size)
{
	struct rc_server *server = worker->server;
	if (!rc_extent_claim(encoding, number)) {
		wait_for(encoding, number);
		return;
	}
	struct rc_deflater *deflater = rc_compress_deflater(worker, window);
	/* It gets no more room than makes it smaller. */
	size_t made = deflater && rc_compress_scratch(worker, size + 8)
	                  ? rc_deflate_message(deflater, worker->compressor.scratch_bytes, size + 4, payload, size,
	                                       true)
	                  : 0;
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
	bool fresh = false, room = rc_compress_scratch(worker, rc_deflate_bound(size));
	pthread_mutex_lock(&server->encodings_lock);
	struct rc_cohort *cohort = rc_topic_at(&server->topics, topic_id)->cohort;
	size_t made = cohort && room && rc_extent_claim(encoding, number)
	                  ? rc_cohort_add(cohort, number, worker->compressor.scratch_bytes,
	                                  worker->compressor.scratch_size, payload, size, &fresh)
	                  : 0;
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

/* The event of an entry; frames have none. One that is numbered elsewhere has the same on every node. */
static struct rc_event_id event_of(const struct rc_server *server, uint64_t number, const struct rc_value *value)
{
	const struct rc_topic *topic = rc_topic_at(&server->topics, rc_log_entry(&server->log, number)->topic);
	return topic->given ? (struct rc_event_id){ value->epoch, value->sequence }
	                    : (struct rc_event_id){ server->epoch, number };
}

static size_t write_envelope(struct worker *worker, enum rc_encoding_id id, uint64_t number,
                             const struct rc_value *value)
{
	struct rc_event_id event = event_of(worker->server, number, value);
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	size_t size = rc_envelope_write(NULL, id, value, event, &payload);
	if (!size || !rc_compress_scratch(worker, size))
		return 0;
	return rc_envelope_write(worker->compressor.scratch_bytes, id, value, event, &payload);
}

/* What the application writes into the room that there is costs one call; only a larger one costs two. The header is
 * handed over apart. */
static size_t write_own(struct worker *worker, enum rc_encoding_id id, const struct rc_value *value, uint8_t *header,
                        size_t *header_size)
{
	const struct compressor *scratch = &worker->compressor;
	size_t size = rc_own_payload(worker->server, id, scratch->scratch_bytes, scratch->scratch_size, value);
	if (size > scratch->scratch_size) {
		if (!rc_compress_scratch(worker, size))
			return 0;
		size_t written = rc_own_payload(worker->server, id, scratch->scratch_bytes, size, value);
		RC_ASSERT(written == size); /* as ringcast_form.h wants it */
	}
	const struct rc_frame frame = { .fin = true, .opcode = RC_FRAME_BINARY, .size = size };
	*header_size = rc_frame_write(header, &frame);
	return size;
}

/* Makes an entry in an encoding that some connections read alone. */
static void make_alone(struct worker *worker, struct rc_encoding *encoding, enum rc_encoding_id id, uint64_t number)
{
	struct rc_server *server = worker->server;
	if (!rc_extent_claim(encoding, number)) {
		wait_for(encoding, number);
		return;
	}
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t header_size = 0;
	struct rc_value value;
	rc_value_of_entry(&value, &server->log, number);
	size_t size = rc_own_is(id) ? write_own(worker, id, &value, header, &header_size)
	                            : write_envelope(worker, id, number, &value);
	if (!size) {
		rc_extent_refuse(encoding, number);
		return;
	}
	pthread_mutex_lock(&server->encodings_lock);
	rc_encoding_put(encoding, &server->log, number, header, header_size, worker->compressor.scratch_bytes, size,
	                true);
	pthread_mutex_unlock(&server->encodings_lock);
	rc_count(&worker->stats.encoded, 1);
	rc_count(&worker->stats.encoded_size, size);
}

bool rc_encode_past(struct worker *worker, const struct connection *conn, uint64_t number)
{
	enum rc_encoding_id id = rc_form_of(conn)->encoding;
	struct rc_encoding *encoding = atomic_load_explicit(&worker->server->encodings[id], memory_order_acquire);
	uint64_t end = RC_MIN(number + PAST_MAX, worker->encoder.end);
	for (uint64_t past = number; encoding && past < end; past++) {
		const struct rc_audience *audience = rc_audience_at(&worker->subscribers,
		                                                    rc_log_entry(&worker->server->log, past)->topic);
		if (audience && audience->wanted[id])
			make_alone(worker, encoding, id, past);
	}
	return encoding && rc_extent_state(encoding, number) == RC_EXTENT_FRESH;
}

size_t rc_encode_alone(struct worker *worker, const struct connection *conn, uint64_t number, uint8_t *to)
{
	enum rc_payload payload = RC_PAYLOAD_UNKNOWN;
	struct rc_value value;
	rc_value_of_entry(&value, &worker->server->log, number);
	if (rc_own_is(rc_form_of(conn)->encoding))
		return rc_own_write(worker->server, rc_form_of(conn)->encoding, to, &value);
	return rc_envelope_write(to, rc_form_of(conn)->encoding, &value, event_of(worker->server, number, &value),
	                         &payload);
}

static size_t encode_entry(struct worker *worker, uint64_t number)
{
	struct rc_server *server = worker->server;
	const struct rc_entry *entry = rc_log_entry(&server->log, number);
	const struct rc_audience *audience = rc_audience_at(&worker->subscribers, entry->topic);
	if (!audience ||
	    audience->wanted[RC_ENCODING_LOG] == atomic_load_explicit(&audience->member_count, memory_order_relaxed))
		return 0;
	const uint8_t *frame = rc_log_frame(&server->log, entry);
	struct rc_frame header;
	size_t header_size = 0, taken = 0;
	for (unsigned id = RC_ENCODING_DEFLATE_8; id < RC_ENCODING_COUNT; id++) {
		if (!audience->wanted[id])
			continue;
		struct rc_encoding *encoding = atomic_load_explicit(&server->encodings[id], memory_order_acquire);
		if (!header_size)
			header_size = (size_t)rc_frame_read(&header, frame, entry->size);
		if (!encoding || (id < RC_ENCODING_COHORT && header.size < server->deflate_size_min))
			continue;
		taken += (size_t)header.size;
		if (id == RC_ENCODING_COHORT)
			make_cohort(worker, encoding, number, header.opcode, frame + header_size, (size_t)header.size);
		else if (id >= RC_ENCODING_ALONE)
			make_alone(worker, encoding, (enum rc_encoding_id)id, number);
		else
			make_single(worker, encoding, (enum rc_window)(id - RC_ENCODING_DEFLATE_8), number,
			            header.opcode, frame + header_size, (size_t)header.size);
	}
	return taken;
}

/* Only what has its encodings is planned, so this goes in slices as well. A slice does not end between messages that
 * were published as one. */
void rc_encode_new(struct worker *worker)
{
	struct encoder *encoder = &worker->encoder;
	uint64_t head = rc_log_head(&worker->server->log);
	if (!encoder->wanted_count)
		encoder->end = head;
	bool more = false;
	for (size_t taken = 0; encoder->end < head && (taken < RC_SLICE_ENCODE_SIZE || more); encoder->end++) {
		more = rc_log_entry(&worker->server->log, encoder->end)->more;
		taken += encode_entry(worker, encoder->end);
	}
}

/* ---- ending ---- */

void rc_encode_free(struct rc_server *server, enum rc_encoding_id id)
{
	struct rc_encoding *encoding = atomic_load(&server->encodings[id]);
	if (encoding)
		munmap(encoding->bytes, encoding_memory_size(server));
}
