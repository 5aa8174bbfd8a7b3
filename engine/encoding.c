/* SPDX-License-Identifier: MIT
 *
 * encoding.c - see encoding.h. Invariant: a segment is written over only when the newest entry with bytes in it is
 * below every floor. Therefore, as rc_encoding_check() asserts:
 *   - write_position - tail_position <= size
 *   - a frame that was made lies between the two, or before tail_position and is refused; it never wraps
 *   - no segment has a frame of a newer entry than its `newest` says
 *   - frames do not overlap: their sizes fit side by side
 */
#include "encoding.h"

#include "check.h"

#include <string.h>

void rc_encoding_init(struct rc_encoding *encoding, uint8_t *bytes, uint64_t size, struct rc_extent *extents,
                      uint64_t extent_count)
{
	RC_ASSERT((size & (size - 1)) == 0 && size >= RC_LOG_SEGMENTS && (extent_count & (extent_count - 1)) == 0);
	memset(encoding, 0, sizeof *encoding);
	encoding->bytes = bytes;
	encoding->size = size;
	encoding->segment_size = size / RC_LOG_SEGMENTS;
	encoding->extents = extents;
	encoding->extent_count = extent_count;
}

bool rc_extent_claim(struct rc_encoding *encoding, uint64_t number)
{
	_Atomic uint64_t *state = &rc_extent_of(encoding, number)->state;
	uint64_t before = atomic_load_explicit(state, memory_order_relaxed);
	/* Entry 0 without a state is what zeroed memory looks like. */
	if (before / 8 == number && before % 8 != RC_EXTENT_NONE)
		return false;
	return atomic_compare_exchange_strong_explicit(state, &before, number * 8 + RC_EXTENT_CLAIMED,
	                                               memory_order_relaxed, memory_order_relaxed);
}

void rc_extent_refuse(struct rc_encoding *encoding, uint64_t number)
{
	atomic_store_explicit(&rc_extent_of(encoding, number)->state, number * 8 + RC_EXTENT_REFUSED,
	                      memory_order_release);
}

static bool make_room(struct rc_encoding *encoding, const struct rc_log *log, uint64_t end)
{
	uint64_t tail = atomic_load_explicit(&encoding->tail_position, memory_order_relaxed);
	if (end - tail <= encoding->size)
		return true;
	uint64_t floor = UINT64_MAX;
	for (unsigned i = 0; i < log->floor_count; i++) {
		/* acquire: what the reader read happened before we write over it */
		uint64_t one = atomic_load_explicit(&log->floors[i], memory_order_acquire);
		floor = RC_MIN(floor, one);
	}
	bool room = true;
	for (; room && end - tail > encoding->size; tail += room ? encoding->segment_size : 0)
		room = encoding->newest[tail / encoding->segment_size % RC_LOG_SEGMENTS] < floor;
	atomic_store_explicit(&encoding->tail_position, tail, memory_order_relaxed);
	return room;
}

void rc_encoding_put(struct rc_encoding *encoding, const struct rc_log *log, uint64_t number, const void *header,
                     size_t header_size, const void *payload, size_t payload_size, bool fresh)
{
	uint64_t size = header_size + payload_size, position = encoding->write_position;
	if ((position & (encoding->size - 1)) + size > encoding->size)
		position = (position | (encoding->size - 1)) + 1; /* a frame never wraps */
	if (size > encoding->size / 4 || !make_room(encoding, log, position + size)) {
		rc_extent_refuse(encoding, number);
		return;
	}
	uint8_t *at = encoding->bytes + (position & (encoding->size - 1));
	memcpy(at, header, header_size);
	memcpy(at + header_size, payload, payload_size);
	for (uint64_t segment = position / encoding->segment_size;
	     segment <= (position + size - 1) / encoding->segment_size; segment++) {
		/* A segment that begins with this frame had frames of older entries a turn ago. */
		uint64_t *newest = &encoding->newest[segment % RC_LOG_SEGMENTS];
		bool begins = segment * encoding->segment_size >= encoding->write_position;
		*newest = begins ? number : RC_MAX(*newest, number);
	}
	RC_ASSERT(position + size - atomic_load_explicit(&encoding->tail_position, memory_order_relaxed) <=
	          encoding->size);
	encoding->write_position = position + size;
	encoding->made_count++;
	encoding->made_size += size;
	struct rc_extent *extent = rc_extent_of(encoding, number);
	extent->position = position;
	extent->size = (uint32_t)size;
	atomic_store_explicit(&extent->state, number * 8 + (fresh ? RC_EXTENT_FRESH : RC_EXTENT_MADE),
	                      memory_order_release);
	RC_VERIFY(rc_encoding_check(encoding));
}

/* ---- the invariants ---- */

/* Entries looked at, back from the newest with a frame. Older ones have not changed, or are of no reader any more. */
#define CHECKED_EXTENTS 512

static void check_extent(const struct rc_encoding *encoding, const struct rc_extent *extent, uint64_t number)
{
	uint64_t end = extent->position + extent->size;
	RC_ASSERT(extent->size > 0 && end <= encoding->write_position);
	RC_ASSERT((extent->position & (encoding->size - 1)) + extent->size <= encoding->size);
	for (uint64_t at = extent->position / encoding->segment_size; at <= (end - 1) / encoding->segment_size; at++)
		RC_ASSERT(encoding->newest[at % RC_LOG_SEGMENTS] >= number);
}

void rc_encoding_check(const struct rc_encoding *encoding)
{
	uint64_t tail = atomic_load_explicit(&encoding->tail_position, memory_order_relaxed), used = 0, newest = 0;
	RC_ASSERT(tail <= encoding->write_position && encoding->write_position - tail <= encoding->size);
	RC_ASSERT(tail % encoding->segment_size == 0);
	for (unsigned i = 0; i < RC_LOG_SEGMENTS; i++)
		newest = RC_MAX(newest, encoding->newest[i]);
	uint64_t count = RC_MIN(RC_MIN(newest + 1, encoding->extent_count), (uint64_t)CHECKED_EXTENTS);
	for (uint64_t number = newest + 1 - count; number <= newest; number++) {
		const struct rc_extent *extent = rc_extent_of(encoding, number);
		/* Its entry may be claimed meanwhile for a later one; its bytes change only with the lock. */
		uint64_t state = atomic_load_explicit(&extent->state, memory_order_acquire);
		RC_ASSERT(state % 8 <= RC_EXTENT_FRESH);
		if (state / 8 != number || state % 8 < RC_EXTENT_MADE || extent->position < tail)
			continue;
		check_extent(encoding, extent, number);
		used += extent->size;
	}
	RC_ASSERT(used <= encoding->write_position - tail);
}
