/* SPDX-License-Identifier: MIT
 *
 * log.h - the log: every published message, once, as a complete server frame.
 *
 *      position   0 ......... tail_position ============================= write_position
 *      bytes      (recycled)  | frame | frame | frame | ...     a ring of log_size bytes; a frame never wraps
 *      index      (recycled)  tail ---------------------------- head     a ring of one small entry a frame
 *      chains     each entry knows the previous and the next one of its topic, and one further back to jump to
 *
 * Positions and entry numbers only grow; masked, they are offsets in the bytes and in the index. Frames stand side by
 * side, so a run of messages is one range of bytes. Segments are equal pieces of the ring. Readers are asked for space
 * a segment at a time, oldest first: what they let go of is granted. Of that each message recycles what it needs and a
 * few entries more, so that no publisher pays for a whole segment. A message larger than a segment lies across several.
 *
 * A message may have been built in a block of its own instead (block.h). Then its entry says where its bytes are, and
 * the bytes of the ring at its position are not used: positions tell how far the log has come, wherever the bytes are.
 *
 * Messages that were appended together become visible together, and each but the last says that more belong to it.
 *
 * Readers hold a floor each: the lowest entry they may still read, or UINT64_MAX for a reader that has ended. Recycling
 * stops at the lowest floor. A floor is raised by its reader at any time and lowered only under the lock.
 *
 * Threads: appending, recycling and searching by sequence want the log's lock, which the caller holds. It is a lock and
 * not a lock-free queue because the frame, its number in the topic, the chain and the index must appear in one order.
 * It is held for the copy of a message, or of those that are published as one, and readers never take it. Everything in
 * [floor, head) may be read without.
 */
#ifndef RC_LOG_H
#define RC_LOG_H

#include "block.h"
#include "check.h"
#include "key.h"

#define RC_LOG_FRAME_SIZE_MAX 0x7FFFFFFFu /* what the size in an entry, and an offset inside a frame, can hold */

/* Links to entries of the same topic are distances, 0 where there is none. */
struct rc_entry {
	uint64_t position;
	uint64_t sequence; /* in its topic: from 1, rising, and with holes where it is numbered elsewhere */
	uint64_t
	    before; /* sequence of the topic's message before it, whether the log has that or not; 0: there was none */
	uint64_t time_ns;  /* of publishing, by the server's own clock */
	uint64_t at;       /* its bytes, counted from those of the log */
	uint32_t previous; /* back to the message before it */
	uint32_t jump;     /* further back: see log.c */
	/* To the message behind it. Whoever sees the head behind an entry sees the link to it. */
	_Atomic uint32_t next;
	uint32_t count; /* messages of its topic up to it: two differ by what lies between them, past 2^32 too */
	uint32_t size;  /* of the frame, header included */
	uint32_t topic : 31;
	uint32_t more : 1; /* the next entry was appended with it, and is seen with it */
};
static_assert(sizeof(struct rc_entry) == 64, "an entry is one cache line");
static_assert(RC_TOPICS_MAX <= UINT32_C(1) << 31, "a topic's number has 31 bits in an entry");

/* What hardly any reader of an entry looks at: it lies apart, and nobody touches it before it is needed. */
struct rc_aside {
	uint64_t source_ns; /* the publisher's own time, or 0 */
	uint64_t except;    /* the connection that does not get it, or 0 */
	/* Entry of the same key behind it, or RC_NONE; as `next` of an entry. */
	_Atomic uint64_t key_next;
	uint32_t key; /* number + 1; 0: it has none, and the field before means nothing */
	bool removed;
};
static_assert(sizeof(struct rc_aside) == 32, "two of them are a cache line");

struct rc_log {
	uint8_t *bytes;
	struct rc_entry *entries;
	struct rc_aside *asides;    /* one an entry, zeroed; null: none are kept */
	bool asides_used;           /* from here on all are written */
	struct rc_keys *keys;       /* null: no message has a key */
	uint64_t size, entry_count; /* powers of two */
	uint64_t segment_size;
	struct rc_topics *topics;
	_Atomic uint64_t *floors; /* one a reader */
	unsigned floor_count;
	uint64_t write_position, tail_position;
	uint64_t filled;                    /* entries that are written: the head, but while some are put */
	uint64_t granted, granted_position; /* no reader will read an entry, or a byte, before it */
	_Atomic uint64_t tail;              /* the oldest entry */
	_Atomic uint64_t head;              /* the next entry: everything before it is committed */
	_Atomic uint64_t end;               /* write_position, for readers: lag is measured from here */
	_Atomic uint64_t wanted;            /* where the last message would have ended, had it found room; else 0 */
	uint64_t published_size;            /* of payloads */
	uint64_t refused;
	uint64_t segments_recycled;
	uint32_t wants_base; /* topics of which a new base is wanted since this was emptied, number + 1 of the first */
	struct rc_blocks blocks;
};

/* A message to be put. */
struct rc_log_message {
	struct rc_topic *topic;
	const void *data;
	size_t size;
	enum rc_opcode opcode;
	uint64_t source_ns, except; /* as in struct rc_aside */
	uint64_t sequence;          /* above the topic's; 0: the next */
	uint64_t built_at;          /* its frame lies there already, in a block; 0: `data` is copied */
	uint32_t key;               /* of rc_keys_get(), + 1; 0: it has none */
	bool removed;
	bool more; /* what is put next belongs to it */
};

/* `bytes` and `entries` are the caller's, of these sizes, which are powers of two. Floors start at 0. Asides and blocks
 * are given afterwards, by who has some. */
void rc_log_init(struct rc_log *log, struct rc_topics *topics, uint8_t *bytes, uint64_t size, struct rc_entry *entries,
                 uint64_t entry_count, _Atomic uint64_t *floors, unsigned floor_count);

/* Appends a message and returns its sequence in the topic; -EMSGSIZE above a quarter of the log, or 2 GiB; or -EAGAIN
 * when the floor of the reader *held_by keeps the space (nothing was appended then). */
int64_t rc_log_append(struct rc_log *log, const struct rc_log_message *message, uint64_t now_ns, unsigned *held_by);

/* The same in steps, for several messages that are seen at once. First room for all of them: `end` is where the last
 * one will end by rc_log_place(), and each topic must have been counted one entry more for each, or it may be forgotten
 * meanwhile. False when *held_by keeps the space: nothing changed then, but for what was counted. */
bool rc_log_make_room(struct rc_log *log, uint64_t end, uint64_t count, unsigned *held_by);

/* Writes the next message, which nobody sees before rc_log_show(). Returns its sequence. */
uint64_t rc_log_put(struct rc_log *log, const struct rc_log_message *message, uint64_t now_ns);
void rc_log_show(struct rc_log *log);

/* Moves on by a segment in which nothing is published, so that what is oldest is let go of. False as above. */
bool rc_log_skip(struct rc_log *log, unsigned *held_by);

/* What fits before some reader keeps the space: frames of so many bytes together, and no more than *count of them. */
uint64_t rc_log_room(const struct rc_log *log, uint64_t *count);

/* The topic's first entry with number `from` or above, or RC_NONE. Either `from` is not below the caller's floor, or
 * the caller holds the lock. */
uint64_t rc_log_first_from(const struct rc_log *log, const struct rc_topic *topic, uint64_t from);

/* The topic's first entry with this sequence or above, no older than `oldest`, or RC_NONE. With the lock. */
uint64_t rc_log_first_sequence(const struct rc_log *log, const struct rc_topic *topic, uint64_t sequence,
                               uint64_t oldest);

/* The lowest entry that a reader may take as its floor from now on. With the lock. */
uint64_t rc_log_readable(const struct rc_log *log);

/* Of the newest `count` messages of a topic, the first that the log has, or RC_NONE. With the lock. */
uint64_t rc_log_first_of(const struct rc_log *log, const struct rc_topic *topic, uint32_t count);

/* The sequence of the topic's newest message before an entry that is not above the head; what the log has of it is not
 * below the caller's floor there, or the caller has the lock. */
uint64_t rc_log_sequence_before(const struct rc_log *log, const struct rc_topic *topic, uint64_t end);

/* Asserts the invariants of log.c. With the lock. */
void rc_log_check(const struct rc_log *log);

/* True when a reader at this entry keeps room that publishers are to have: it must be moved on. `wanted` counts too, or
 * a reader that is only just near enough could make a large message wait for ever. */
static inline bool rc_log_too_far(const struct rc_log *log, const struct rc_entry *entry, uint64_t number,
                                  uint64_t head, uint64_t end)
{
	uint64_t wanted = atomic_load_explicit(&log->wanted, memory_order_relaxed);
	return RC_MAX(end, wanted) - entry->position > log->segment_size * RC_LOG_READABLE_SEGMENTS ||
	       head - number > log->entry_count / RC_LOG_SEGMENTS * RC_LOG_READABLE_SEGMENTS;
}

static inline uint64_t rc_log_head(const struct rc_log *log)
{
	/* acquire: whoever sees the number sees the entry and its bytes */
	return atomic_load_explicit(&log->head, memory_order_acquire);
}

static inline const struct rc_entry *rc_log_entry(const struct rc_log *log, uint64_t number)
{
	return &log->entries[number & (log->entry_count - 1)];
}

/* What hardly any reader looks at, or null. */
static inline const struct rc_aside *rc_log_aside(const struct rc_log *log, uint64_t number)
{
	return log->asides ? &log->asides[number & (log->entry_count - 1)] : NULL;
}

/* The connection that does not get it, or 0. */
static inline uint64_t rc_log_except(const struct rc_log *log, uint64_t number)
{
	return log->asides ? rc_log_aside(log, number)->except : 0;
}

/* The publisher's own time, or 0. */
static inline uint64_t rc_log_source_ns(const struct rc_log *log, uint64_t number)
{
	return log->asides ? rc_log_aside(log, number)->source_ns : 0;
}

/* A key is about to get a message: asks early for the memory that its last one is to be linked in. */
static inline void rc_log_expect(const struct rc_log *log, uint32_t key)
{
	uint64_t newest = rc_key_at(log->keys, key)->newest;
	if (newest != RC_NONE)
		__builtin_prefetch(rc_log_aside(log, newest), 1);
}

/* The largest frame, so that some messages always fit beside it. */
static inline uint64_t rc_log_frame_max(const struct rc_log *log)
{
	return RC_MIN(log->size / 4, RC_LOG_FRAME_SIZE_MAX);
}

/* Where a frame stands that comes behind `position`: it never wraps. */
static inline uint64_t rc_log_place(const struct rc_log *log, uint64_t position, uint64_t frame_size)
{
	bool fits = (position & (log->size - 1)) + frame_size <= log->size;
	return fits ? position : (position | (log->size - 1)) + 1;
}

/* The entry of the same topic behind one before `end`, which is not above the head; `end` when there is none. */
static inline uint64_t rc_log_next(const struct rc_log *log, uint64_t number, uint64_t end)
{
	uint64_t next = atomic_load_explicit(&rc_log_entry(log, number)->next, memory_order_relaxed);
	return next && number + next < end ? number + next : end;
}

/* Where a link of an entry leads back to, or RC_NONE. */
static inline uint64_t rc_log_back(uint64_t number, uint32_t distance)
{
	return distance ? number - distance : RC_NONE;
}

/* Whether an entry is not the newest of its key among those before `end`, which is not above the head; `state` asks
 * whether the topic's state can do without it. An entry without a key is of no state; otherwise it counts as if all
 * such entries of its topic had one key. */
static inline bool rc_log_is_superseded(const struct rc_log *log, uint64_t number, uint64_t end, bool state)
{
	const struct rc_aside *aside = rc_log_aside(log, number);
	if (aside && aside->key)
		return atomic_load_explicit(&aside->key_next, memory_order_relaxed) < end;
	return state || rc_log_next(log, number, end) < end;
}

static inline uint8_t *rc_log_frame(const struct rc_log *log, const struct rc_entry *entry)
{
	return log->bytes + entry->at;
}

#endif
