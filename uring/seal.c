/* SPDX-License-Identifier: MIT
 *
 * seal.c - see seal.h. It must not know frames, topics or plans.
 *
 * Invariant: a stage with references stays where it is; the one being filled may also grow.
 */
#include "seal.h"

#include "worker.h"

#include <string.h>

bool rc_seal_open(struct staging *staging)
{
	staging->bytes = rc_map(RC_TLS_STAGES * RC_TLS_STAGE_SIZE);
	for (unsigned i = RC_TLS_STAGES - 1; i > 0; i--)
		staging->free[staging->free_count++] = (uint16_t)i;
	return staging->bytes;
}

void rc_seal_close(struct staging *staging)
{
	rc_unmap(staging->bytes, RC_TLS_STAGES * RC_TLS_STAGE_SIZE);
}

void rc_seal_broken(struct worker *worker, uint32_t slot)
{
	struct rc_tls_stream *stream = worker->secure.of_slot[slot].stream;
	bool distrusted = false;
	const char *why = stream ? rc_tls_why(stream, &distrusted) : "out of memory";
	rc_ending_note(worker, &(struct ending){ .kind = ENDING_BROKEN,
	                                         .slot = slot,
	                                         .code = RC_CLOSE_ABNORMAL,
	                                         .status = distrusted ? -EKEYREJECTED : -EPROTO,
	                                         .reason = why,
	                                         .reason_size = strlen(why) });
}

/* ---- what a stream says by itself ---- */

void rc_seal_set_reply(struct worker *worker)
{
	struct secure_worker *secure = &worker->secure;
	secure->wire.out = secure->reply;
	secure->wire.out_end = secure->reply + RC_TLS_REPLY_SIZE;
}

bool rc_seal_put_aside(struct worker *worker, uint32_t slot)
{
	struct secure_worker *secure = &worker->secure;
	struct secure *own = &secure->of_slot[slot];
	size_t size = (size_t)(secure->wire.out - secure->reply);
	rc_seal_set_reply(worker);
	if (own->kernel == KERNEL_ON && own->stream && rc_tls_take_alert(own->stream, own->alert)) {
		own->alert_waits = true;
		rc_worker_queue(worker, slot);
	}
	if (!size)
		return true;
	/* While the keys are on their way to the kernel, neither side knows which record is the next. */
	if (own->kernel >= KERNEL_GIVEN)
		return false;
	if (!own->aside)
		own->aside = rc_outbox_new(&worker->pool);
	bool full;
	uint8_t *at = own->aside ? rc_outbox_add(own->aside, &worker->pool, size, RC_TLS_REPLY_SIZE_MAX, &full) : NULL;
	if (!at)
		return false;
	memcpy(at, secure->reply, size);
	rc_worker_queue(worker, slot);
	return true;
}

/* ---- stages ---- */

bool rc_seal_can_stage(const struct staging *staging)
{
	return staging->free_count || staging->stages[staging->filling].used + RC_TLS_STAGED_MAX <= RC_TLS_STAGE_SIZE;
}

/* Room for the records of `size` bytes, each of at most `record_max`. */
static uint8_t *stage_for(struct staging *staging, size_t size, size_t record_max)
{
	size_t needed = RC_TLS_SEALED_SIZE(size, record_max);
	if (staging->stages[staging->filling].used + needed > RC_TLS_STAGE_SIZE) {
		RC_ASSERT(staging->free_count);
		staging->filling = staging->free[--staging->free_count];
	}
	return staging->bytes + staging->filling * RC_TLS_STAGE_SIZE + staging->stages[staging->filling].used;
}

static void unstage(struct staging *staging, unsigned index)
{
	struct stage *stage = &staging->stages[index];
	RC_ASSERT(stage->reference_count);
	if (--stage->reference_count)
		return;
	stage->used = 0;
	if (index != staging->filling)
		staging->free[staging->free_count++] = (uint16_t)index;
}

/* The next `size` bytes of the ranges, where they lie if they lie together. */
static const uint8_t *take(struct secure_worker *secure, const struct rc_range **range, size_t *skip, size_t size)
{
	const uint8_t *at = (const uint8_t *)(*range)->at + *skip;
	if ((*range)->size - *skip >= size) {
		*skip += size;
		return at;
	}
	for (size_t done = 0; done < size;) {
		size_t some = RC_MIN((*range)->size - *skip, size - done);
		memcpy(secure->plain + done, (const uint8_t *)(*range)->at + *skip, some);
		done += some;
		*skip += some;
		if (*skip == (*range)->size && done < size) {
			(*range)++;
			*skip = 0;
		}
	}
	return secure->plain;
}

bool rc_seal_send(struct worker *worker, uint32_t slot, const struct rc_range *ranges, size_t size, bool last)
{
	struct secure_worker *secure = &worker->secure;
	struct staging *staging = &secure->staging;
	struct secure *own = &secure->of_slot[slot];
	RC_ASSERT(size <= RC_TLS_SEND_SIZE_MAX);
	uint8_t *begin = stage_for(staging, size, rc_tls_record_size(own->stream));
	size_t skip = 0;
	secure->wire.out = begin;
	secure->wire.out_end = staging->bytes + (staging->filling + 1) * RC_TLS_STAGE_SIZE;
	for (size_t left = size; left;) {
		size_t some = RC_MIN(left, (size_t)RC_TLS_RECORD_MAX);
		if (skip == ranges->size) {
			ranges++;
			skip = 0;
		}
		if (rc_tls_write(own->stream, take(secure, &ranges, &skip, some), some) != RC_TLS_DONE) {
			rc_count(&worker->stats.tls_errors, 1);
			rc_seal_broken(worker, slot);
			return false;
		}
		left -= some;
	}
	if (last)
		rc_tls_close(own->stream);
	struct stage *stage = &staging->stages[staging->filling];
	own->sending = (struct rc_range){ begin, (size_t)(secure->wire.out - begin) };
	stage->used += (uint32_t)own->sending.size;
	stage->reference_count++;
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, &own->sending, 1, false,
	             rc_tag(worker, TAG_SENT_STAGE, slot, staging->filling));
	return true;
}

/* ---- completions ---- */

/* What the socket did not take of a stage goes before all that was put aside meanwhile. */
static int keep_rest(struct worker *worker, struct secure *own, size_t sent)
{
	size_t rest = own->sending.size - sent;
	if (!rest)
		return 1;
	if (!own->aside)
		own->aside = rc_outbox_new(&worker->pool);
	uint8_t *at = own->aside ? rc_outbox_add_first(own->aside, &worker->pool, rest) : NULL;
	if (!at)
		return -ENOMEM;
	memcpy(at, (uint8_t *)own->sending.at + sent, rest);
	return 0;
}

int rc_seal_sent_stage(struct worker *worker, uint32_t slot, unsigned stage, int result)
{
	size_t sent = result > 0 ? (size_t)result : 0;
	int kept = keep_rest(worker, &worker->secure.of_slot[slot], sent);
	unstage(&worker->secure.staging, stage);
	return kept;
}

int rc_seal_sent_aside(struct worker *worker, uint32_t slot, int result)
{
	struct secure *own = &worker->secure.of_slot[slot];
	size_t sent = result > 0 ? (size_t)result : 0;
	size_t waited = own->aside->sending_end - own->aside->sending_begin;
	rc_outbox_sent(own->aside, &worker->pool, sent);
	if (!rc_outbox_size(own->aside)) {
		rc_outbox_free(own->aside, &worker->pool);
		own->aside = NULL;
	}
	return sent == waited;
}

bool rc_seal_send_aside(struct worker *worker, uint32_t slot)
{
	struct secure *own = &worker->secure.of_slot[slot];
	if (!own->aside)
		return false;
	if (!rc_outbox_size(own->aside)) {
		rc_outbox_free(own->aside, &worker->pool);
		own->aside = NULL;
		return false;
	}
	worker->connections[slot].sending = true;
	rc_count(&worker->stats.sends, 1);
	rc_ring_send(worker->ring, slot, rc_outbox_next(own->aside, &worker->pool), 1, false,
	             rc_tag(worker, TAG_SENT_ASIDE, slot, 0));
	return true;
}
