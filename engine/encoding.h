/* SPDX-License-Identifier: MIT
 *
 * encoding.h - other forms of the log's messages. Each is made at most once, and only while somebody wants it. The
 * log's own frames are the form that always exists; an encoding holds, for some entries, a whole frame in bytes of its
 * own.
 *
 *      log       | A    | B  | C      | D   | E  |           entries, in order
 *      encoding  | a  | c   | e |                            B is too short to gain, nobody wanted D
 *
 * A worker makes them before it plans, each after it has claimed the entry. Bytes are recycled by segments like the
 * log's, and only below every reader's floor. When there is no room, the message is sent in the log's own form, so an
 * encoding never holds anybody back.
 *
 * Threads: claiming and reading need no lock. rc_encoding_put() is called with the encodings' lock held.
 */
#ifndef RC_ENCODING_H
#define RC_ENCODING_H

#include "log.h"

enum rc_encoding_id {
	RC_ENCODING_LOG,       /* the log's own frames */
	RC_ENCODING_DEFLATE_8, /* each message compressed by itself, a class of windows each */
	RC_ENCODING_DEFLATE_9,
	RC_ENCODING_DEFLATE_12,
	RC_ENCODING_DEFLATE_15,
	RC_ENCODING_COHORT, /* one compressor goes on through a topic's messages */
	/* From here on those that some connections read alone, without the log's own form: envelope.h writes them. */
	RC_ENCODING_SSE,      /* server-sent events, see sse.h */
	RC_ENCODING_SSE_JSON, /* events whose data is the json form */
	RC_ENCODING_JSON,     /* frames in the json form */
	RC_ENCODING_BINARY,   /* frames in the binary form */
	RC_ENCODING_OWN,      /* binary messages that the application writes; nothing here knows what they are */
	RC_ENCODING_OWN_2,
	RC_ENCODING_COUNT,
};

#define RC_ENCODING_ALONE RC_ENCODING_SSE

/* What an encoding has of an entry. The entry's number is kept with the state, so that nothing needs clearing. */
enum rc_extent_state {
	RC_EXTENT_NONE,    /* nobody has looked at it */
	RC_EXTENT_CLAIMED, /* somebody is making it */
	RC_EXTENT_REFUSED, /* it stays in the log's form */
	RC_EXTENT_MADE,
	RC_EXTENT_FRESH, /* made, and readable without what came before: newcomers to a cohort begin here */
};

struct rc_extent {
	_Atomic uint64_t state; /* entry number * 8 + enum rc_extent_state */
	uint64_t position;
	uint32_t size;
};

struct rc_encoding {
	uint8_t *bytes;
	struct rc_extent *extents; /* as many as the log has entries */
	uint64_t size, extent_count, segment_size;
	uint64_t write_position;
	_Atomic uint64_t tail_position;   /* frames before it are written over */
	uint64_t newest[RC_LOG_SEGMENTS]; /* the highest entry with bytes in the segment */
	uint64_t made_count, made_size;   /* for statistics */
};

/* The caller's memory: `size` bytes, a power of two, and extents, zeroed. */
void rc_encoding_init(struct rc_encoding *encoding, uint8_t *bytes, uint64_t size, struct rc_extent *extents,
                      uint64_t extent_count);

static inline struct rc_extent *rc_extent_of(const struct rc_encoding *encoding, uint64_t number)
{
	return &encoding->extents[number & (encoding->extent_count - 1)];
}

/* The log may have a message for longer than an encoding has its frame. A frame that is gone counts as refused. It
 * cannot go while a reader's floor is not above its entry, because a floor is lowered only with the encodings' lock
 * held too. */
static inline enum rc_extent_state rc_extent_state(const struct rc_encoding *encoding, uint64_t number)
{
	const struct rc_extent *extent = rc_extent_of(encoding, number);
	/* acquire: whoever sees it made sees its bytes */
	uint64_t state = atomic_load_explicit(&extent->state, memory_order_acquire);
	if (state / 8 != number)
		return RC_EXTENT_NONE;
	if (state % 8 >= RC_EXTENT_MADE &&
	    extent->position < atomic_load_explicit(&encoding->tail_position, memory_order_relaxed))
		return RC_EXTENT_REFUSED;
	return (enum rc_extent_state)(state % 8);
}

/* True when the caller is the one to make it. */
bool rc_extent_claim(struct rc_encoding *encoding, uint64_t number);
void rc_extent_refuse(struct rc_encoding *encoding, uint64_t number);

/* Stores the frame of a claimed entry: header and payload, copied once. When there is no room for it, the entry is
 * refused. With the lock. */
void rc_encoding_put(struct rc_encoding *encoding, const struct rc_log *log, uint64_t number, const void *header,
                     size_t header_size, const void *payload, size_t payload_size, bool fresh);

/* Asserts the invariants of encoding.c. With the lock. */
void rc_encoding_check(const struct rc_encoding *encoding);

#endif
