/* SPDX-License-Identifier: MIT
 *
 * log.c - see log.h. Invariants, which rc_log_check() asserts:
 *   - tail <= granted <= every floor <= head, but for the floors of readers that have ended
 *   - head - tail <= entry_count, and write_position - tail_position <= size
 *   - the live entries, from tail to head, have their positions in order between tail_position and write_position
 *   - the bytes of an entry that is in no block are at its position in the ring, and do not wrap
 *   - an entry's bytes are one complete frame of its size
 *   - an entry's links lead to earlier entries of its topic, the first to the message before it, and `next` to the
 *     message behind it; it knows the number of the message before it, and is counted one more
 *   - a topic counts its live entries and knows the newest
 */
#include "log.h"

#include "check.h"
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RECYCLED_A_MESSAGE 4 /* beyond what it needs: a segment is recycled long before the next is wanted */

void rc_log_init(struct rc_log *log, struct rc_topics *topics, uint8_t *bytes, uint64_t size, struct rc_entry *entries,
                 uint64_t entry_count, _Atomic uint64_t *floors, unsigned floor_count)
{
	RC_ASSERT(size >= RC_LOG_SIZE_MIN && (size & (size - 1)) == 0);
	RC_ASSERT(entry_count >= RC_LOG_SEGMENTS && (entry_count & (entry_count - 1)) == 0);
	memset(log, 0, sizeof *log);
	log->bytes = bytes;
	log->size = size;
	log->segment_size = size / RC_LOG_SEGMENTS;
	log->entries = entries;
	log->entry_count = entry_count;
	log->topics = topics;
	log->floors = floors;
	log->floor_count = floor_count;
	for (unsigned i = 0; i < floor_count; i++)
		atomic_init(&floors[i], 0);
}

static uint64_t tail_of(const struct rc_log *log)
{
	return atomic_load_explicit(&log->tail, memory_order_relaxed);
}

/* The first live entry that lies at this position or after it; head when none does. */
static uint64_t entry_at(const struct rc_log *log, uint64_t position)
{
	uint64_t low = tail_of(log), high = rc_log_head(log);
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		if (rc_log_entry(log, middle)->position < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#define AHEAD 8 /* entries, when they are forgotten one after the other */

/* Keys lie anywhere: what the next entries' need is asked for before their turn. */
static void look_ahead(const struct rc_log *log, uint64_t number)
{
	const struct rc_aside *aside = rc_log_aside(log, number + AHEAD);
	if (aside->key)
		__builtin_prefetch(rc_key_at(log->keys, aside->key - 1), 1);
}

static void forget(struct rc_log *log, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	struct rc_topic *topic = rc_topic_at(log->topics, entry->topic);
	bool is_newest = atomic_load_explicit(&topic->newest, memory_order_relaxed) == number;
	/* While the topic still counts it: values of others may have to go, and topics with them. */
	const struct rc_aside *aside = log->asides_used ? rc_log_aside(log, number) : NULL;
	if (aside && log->keys)
		look_ahead(log, number);
	if (aside && aside->key)
		rc_keys_forget(log->keys, aside->key - 1, number, entry->before, rc_log_frame(log, entry), entry->size);
	topic->entry_count--;
	topic->lost = entry->sequence;
	if (is_newest && topic->options.keep_last && !topic->successor)
		rc_topic_keep(log->topics, topic, rc_log_frame(log, entry), entry->size, entry->before);
	if (entry->at >= log->size)
		rc_blocks_forget(&log->blocks, entry->at);
	if (!is_newest)
		return;
	atomic_store_explicit(&topic->newest, RC_NONE, memory_order_relaxed);
	topic->begun = false;
	rc_topics_release(log->topics, topic);
}

/* Whether no reader's floor is below this entry. */
static bool is_let_go_of(const struct rc_log *log, uint64_t to, unsigned *held_by)
{
	for (unsigned i = 0; i < log->floor_count; i++) {
		/* acquire: what the reader read happened before we write over it */
		if (atomic_load_explicit(&log->floors[i], memory_order_acquire) < to) {
			*held_by = i;
			return false;
		}
	}
	return true;
}

/* Has so many segments granted that frames which end at `end` and their entries find room. */
static bool grant(struct rc_log *log, uint64_t end, uint64_t count, unsigned *held_by)
{
	uint64_t position = log->granted_position, to = log->granted;
	if (end - position > log->size) {
		position = (end - log->size + log->segment_size - 1) / log->segment_size * log->segment_size;
		to = RC_MAX(to, entry_at(log, position));
	}
	while (rc_log_head(log) + count - to > log->entry_count)
		to += log->entry_count / RC_LOG_SEGMENTS;
	if (to > log->granted && !is_let_go_of(log, to, held_by))
		return false;
	log->segments_recycled += (position - log->granted_position) / log->segment_size;
	log->granted = to;
	log->granted_position = position;
	return true;
}

/* Recycles what frames that end at `end` need, and a few entries more of what is granted. */
static void recycle(struct rc_log *log, uint64_t end, uint64_t count)
{
	uint64_t tail = tail_of(log), head = rc_log_head(log), begin = tail;
	while (tail < log->granted &&
	       (rc_log_entry(log, tail)->position + log->size < end || head + count - tail > log->entry_count))
		forget(log, tail++);
	for (uint64_t i = 0; i < RECYCLED_A_MESSAGE * count && tail < log->granted; i++)
		forget(log, tail++);
	log->tail_position = tail < log->granted ? rc_log_entry(log, tail)->position : log->granted_position;
	if (tail != begin)
		atomic_store_explicit(&log->tail, tail, memory_order_relaxed);
}

static bool is_live(const struct rc_log *log, uint64_t number)
{
	return number != RC_NONE && number >= tail_of(log);
}

static void fetch(const struct rc_log *log, uint64_t number)
{
	if (is_live(log, number))
		__builtin_prefetch(rc_log_entry(log, number));
}

static_assert(RC_LOG_SIZE_MAX / RC_LOG_BYTES_PER_ENTRY <= UINT32_MAX, "live entries are no further apart");

/* Back from an entry to a live one, as a link has it. */
static uint32_t distance(uint64_t number, uint64_t earlier)
{
	return earlier == RC_NONE ? 0 : (uint32_t)(number - earlier);
}

/* Where to jump back from a new entry: either to the previous one, or, when the two jumps behind it span the same
 * number of messages, over both. Any entry is then found in O(log n) steps with one link an entry (Myers, "An
 * applicative random-access stack", 1983). Links to recycled entries are never followed: numbers below the tail are
 * dead. The topic remembers those two jumps, and the next entry that will be looked at is asked for now: a publisher
 * must not wait for memory that was written long ago. */
static uint64_t jump_from(const struct rc_log *log, struct rc_topic *topic, uint64_t previous)
{
	struct rc_jumps *jumps = &topic->jumps;
	uint32_t count = topic->message_count; /* of the previous entry */
	if (previous == RC_NONE) {
		*jumps = (struct rc_jumps){ .to = RC_NONE, .then_to = RC_NONE };
		return RC_NONE;
	}
	uint64_t over = jumps->then_to;
	bool both = is_live(log, jumps->to) && is_live(log, over);
	if (both && !jumps->then_known) {
		jumps->then_count = rc_log_entry(log, over)->count;
		jumps->then_known = true;
	}
	if (both && count - jumps->count == jumps->count - jumps->then_count) {
		*jumps = (struct rc_jumps){ .to = over,
			                    .count = jumps->then_count,
			                    .then_to = rc_log_back(over, rc_log_entry(log, over)->jump) };
		fetch(log, jumps->then_to);
		return over;
	}
	*jumps = (struct rc_jumps){
		.to = previous, .count = count, .then_to = jumps->to, .then_count = jumps->count, .then_known = true
	};
	fetch(log, jumps->then_to);
	return previous;
}

bool rc_log_make_room(struct rc_log *log, uint64_t end, uint64_t count, unsigned *held_by)
{
	if (!grant(log, end, count, held_by)) {
		log->refused++;
		atomic_store_explicit(&log->wanted, end, memory_order_relaxed);
		return false;
	}
	recycle(log, end, count);
	return true;
}

static void put_aside(struct rc_log *log, uint64_t number, uint64_t sequence, const struct rc_log_message *message)
{
	if (!log->asides || !(log->asides_used |= message->source_ns || message->except || message->key))
		return;
	struct rc_aside *aside = &log->asides[number & (log->entry_count - 1)];
	*aside = (struct rc_aside){ .source_ns = message->source_ns,
		                    .except = message->except,
		                    .key_next = RC_NONE,
		                    .key = message->key,
		                    .removed = message->removed };
	if (!message->key)
		return;
	uint64_t before = rc_keys_put(log->keys, message->topic, message->key - 1, number, sequence, message->removed);
	if (before != RC_NONE)
		atomic_store_explicit(&log->asides[before & (log->entry_count - 1)].key_next, number,
		                      memory_order_relaxed);
}

/* What is published behind a topic's base, until that is so much that a new one is wanted. Without memory it is not. */
static void count_since_base(struct rc_log *log, struct rc_topic *topic, const struct rc_log_message *message,
                             uint64_t size)
{
	struct rc_state *state = topic->state ? topic->state : (topic->state = calloc(1, sizeof *state));
	if (!state)
		return;
	if (message->key && !rc_key_at(log->keys, message->key - 1)->size) {
		state->base_size = size;
		state->size_since = 0;
		state->base_wanted = false;
		return;
	}
	state->size_since += size;
	if (state->base_wanted || state->size_since <= topic->options.snapshot_factor * state->base_size)
		return;
	state->base_wanted = true;
	state->wants_next = log->wants_base;
	log->wants_base = topic->id + 1;
}

/* Where the bytes of a frame at this position are, which are copied there if they are not. */
static uint64_t put_bytes(struct rc_log *log, const struct rc_log_message *message, uint64_t position)
{
	if (message->built_at)
		return message->built_at;
	uint64_t at = position & (log->size - 1);
	const struct rc_frame frame = { .fin = true, .opcode = (uint8_t)message->opcode, .size = message->size };
	size_t header_size = rc_frame_write(log->bytes + at, &frame);
	if (message->size)
		memcpy(log->bytes + at + header_size, message->data, message->size);
	return at;
}

uint64_t rc_log_put(struct rc_log *log, const struct rc_log_message *message, uint64_t now_ns)
{
	struct rc_topic *topic = message->topic;
	uint64_t frame_size = rc_frame_header_size(message->size) + message->size;
	uint64_t position = message->built_at ? log->write_position
	                                      : rc_log_place(log, log->write_position, frame_size);
	uint64_t number = log->filled++;
	RC_ASSERT(position + frame_size - log->tail_position <= log->size && number - tail_of(log) < log->entry_count);
	if (topic->kept)
		rc_topic_unkeep(log->topics, topic);
	uint64_t previous = atomic_load_explicit(&topic->newest, memory_order_relaxed);
	uint64_t before = atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	uint64_t sequence = message->sequence ? message->sequence : before + 1;
	RC_ASSERT(sequence > before);
	log->entries[number & (log->entry_count - 1)] = (struct rc_entry){
		.position = position,
		.sequence = sequence,
		.before = before,
		.time_ns = now_ns,
		.at = put_bytes(log, message, position),
		.previous = distance(number, previous),
		.jump = distance(number, jump_from(log, topic, previous)),
		.count = topic->message_count + 1,
		.size = (uint32_t)frame_size,
		.topic = topic->id,
		.more = message->more,
	};
	topic->message_count++;
	put_aside(log, number, sequence, message);
	if (previous != RC_NONE)
		atomic_store_explicit(&log->entries[previous & (log->entry_count - 1)].next,
		                      (uint32_t)(number - previous), memory_order_relaxed);
	log->write_position = position + frame_size;
	log->published_size += message->size;
	if (RC_UNLIKELY(topic->options.snapshot_factor))
		count_since_base(log, topic, message, frame_size);
	atomic_store_explicit(&topic->sequence, sequence, memory_order_relaxed);
	atomic_store_explicit(&log->end, log->write_position, memory_order_relaxed);
	/* release: a worker that finds the entry through its topic sees it whole, and the end behind it */
	atomic_store_explicit(&topic->newest, number, memory_order_release);
	return sequence;
}

void rc_log_show(struct rc_log *log)
{
	atomic_store_explicit(&log->wanted, 0, memory_order_relaxed);
	/* seq_cst: paired with a worker that says it sleeps and then looks here once more; see worker.c */
	atomic_store_explicit(&log->head, log->filled, memory_order_seq_cst);
	RC_VERIFY(rc_log_check(log));
}

int64_t rc_log_append(struct rc_log *log, const struct rc_log_message *message, uint64_t now_ns, unsigned *held_by)
{
	if (message->size > rc_log_frame_max(log) - RC_FRAME_HEADER_MAX)
		return -EMSGSIZE;
	uint64_t frame_size = rc_frame_header_size(message->size) + message->size;
	uint64_t end = rc_log_place(log, log->write_position, frame_size) + frame_size;
	message->topic->entry_count++; /* before making room, which might forget the topic */
	if (!rc_log_make_room(log, end, 1, held_by)) {
		message->topic->entry_count--;
		RC_VERIFY(rc_log_check(log));
		return -EAGAIN;
	}
	uint64_t sequence = rc_log_put(log, message, now_ns);
	rc_log_show(log);
	return (int64_t)sequence;
}

bool rc_log_skip(struct rc_log *log, unsigned *held_by)
{
	uint64_t end = log->write_position + log->segment_size;
	bool done = rc_log_make_room(log, end, 0, held_by);
	if (done) {
		log->write_position = end;
		atomic_store_explicit(&log->end, end, memory_order_relaxed);
		rc_log_show(log);
	}
	return done;
}

uint64_t rc_log_room(const struct rc_log *log, uint64_t *count)
{
	uint64_t head = rc_log_head(log), floor = head, step = log->entry_count / RC_LOG_SEGMENTS;
	for (unsigned i = 0; i < log->floor_count; i++)
		floor = RC_MIN(floor, atomic_load_explicit(&log->floors[i], memory_order_acquire));
	/* Readers are asked for whole segments, of bytes and of the index. */
	uint64_t held = floor < head ? rc_log_entry(log, floor)->position : log->write_position;
	uint64_t end = RC_MAX(held / log->segment_size * log->segment_size, log->granted_position) + log->size;
	uint64_t granted = RC_MAX(floor - RC_MIN(floor, step - 1), log->granted);
	*count = log->entry_count + granted > head ? log->entry_count + granted - head : 0;
	/* A frame never wraps: what is surely there is the larger of the two pieces. */
	uint64_t wrap = (log->write_position | (log->size - 1)) + 1;
	return end <= wrap ? end - log->write_position : RC_MAX(wrap - log->write_position, end - wrap);
}

/* What bounds a search: an entry below one of these is too far back. `newer` says so of what is this many messages, or
 * more, before the newest. */
struct bounds {
	uint64_t number, sequence;
	uint32_t newest, newer;
};

static bool is_within(const struct rc_log *log, uint64_t number, const struct bounds *bounds)
{
	if (number == RC_NONE || number < bounds->number)
		return false;
	const struct rc_entry *entry = rc_log_entry(log, number);
	return entry->sequence >= bounds->sequence && (!bounds->newer || bounds->newest - entry->count < bounds->newer);
}

/* Walks back from the newest entry to the earliest that is within the bounds. */
static uint64_t search(const struct rc_log *log, const struct rc_topic *topic, const struct bounds *bounds)
{
	uint64_t at = atomic_load_explicit(&topic->newest, memory_order_acquire);
	if (!is_within(log, at, bounds))
		return RC_NONE;
	for (;;) {
		const struct rc_entry *entry = rc_log_entry(log, at);
		uint64_t next = rc_log_back(at, entry->jump);
		if (!is_within(log, next, bounds))
			next = rc_log_back(at, entry->previous);
		if (!is_within(log, next, bounds))
			return at;
		at = next;
	}
}

uint64_t rc_log_first_from(const struct rc_log *log, const struct rc_topic *topic, uint64_t from)
{
	return search(log, topic, &(struct bounds){ .number = from });
}

uint64_t rc_log_first_sequence(const struct rc_log *log, const struct rc_topic *topic, uint64_t sequence,
                               uint64_t oldest)
{
	return search(log, topic, &(struct bounds){ .number = RC_MAX(oldest, tail_of(log)), .sequence = sequence });
}

uint64_t rc_log_first_of(const struct rc_log *log, const struct rc_topic *topic, uint32_t count)
{
	const struct bounds bounds = { .number = tail_of(log), .newest = topic->message_count, .newer = count };
	return count ? search(log, topic, &bounds) : RC_NONE;
}

uint64_t rc_log_sequence_before(const struct rc_log *log, const struct rc_topic *topic, uint64_t end)
{
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_acquire);
	if (newest == RC_NONE)
		return atomic_load_explicit(&topic->sequence, memory_order_relaxed);
	uint64_t first = newest < end ? RC_NONE : rc_log_first_from(log, topic, end);
	return first == RC_NONE ? rc_log_entry(log, newest)->sequence : rc_log_entry(log, first)->before;
}

uint64_t rc_log_readable(const struct rc_log *log)
{
	uint64_t head = rc_log_head(log);
	uint64_t bytes_back = log->segment_size * RC_LOG_READABLE_SEGMENTS;
	uint64_t entries_back = log->entry_count / RC_LOG_SEGMENTS * RC_LOG_READABLE_SEGMENTS;
	uint64_t end = RC_MAX(log->write_position, atomic_load_explicit(&log->wanted, memory_order_relaxed));
	uint64_t by_bytes = end > bytes_back ? entry_at(log, end - bytes_back) : 0;
	uint64_t by_count = head > entries_back ? head - entries_back : 0;
	return RC_MAX(RC_MAX(by_bytes, by_count), log->granted);
}

/* ---- the invariants ---- */

/* Entries looked at on each end of the log. What lies between has not changed since it stood at one of them. */
#define CHECKED_ENTRIES 64

static void check_link(const struct rc_log *log, uint64_t number, uint64_t link)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	if (link == RC_NONE || link < tail_of(log))
		return;
	const struct rc_entry *earlier = rc_log_entry(log, link);
	RC_ASSERT(link < number && earlier->topic == entry->topic && earlier->sequence < entry->sequence);
}

/* Its place among the messages of its topic. */
static void check_chain(const struct rc_log *log, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	uint64_t head = rc_log_head(log), previous = rc_log_back(number, entry->previous);
	check_link(log, number, previous);
	check_link(log, number, rc_log_back(number, entry->jump));
	RC_ASSERT(entry->before < entry->sequence);
	RC_ASSERT((entry->previous == 0) == (entry->jump == 0));
	RC_ASSERT(entry->jump >= entry->previous);
	if (is_live(log, previous)) {
		const struct rc_entry *earlier = rc_log_entry(log, previous);
		RC_ASSERT(earlier->sequence == entry->before && earlier->count + 1 == entry->count);
	}
	uint64_t next = rc_log_next(log, number, head);
	RC_ASSERT(next == head || (next > number && rc_log_entry(log, next)->before == entry->sequence));

	const struct rc_topic *topic = rc_topic_at(log->topics, entry->topic);
	uint64_t newest = atomic_load_explicit(&topic->newest, memory_order_relaxed);
	RC_ASSERT(newest != RC_NONE && newest >= number && newest < head && topic->entry_count > 0);
	RC_ASSERT(topic->lost <= entry->before);
	if (newest > number)
		return;
	RC_ASSERT(entry->sequence == atomic_load_explicit(&topic->sequence, memory_order_relaxed));
	RC_ASSERT(entry->count == topic->message_count && rc_log_back(number, entry->jump) == topic->jumps.to);
}

static void check_entry(const struct rc_log *log, uint64_t number)
{
	const struct rc_entry *entry = rc_log_entry(log, number);
	uint64_t head = rc_log_head(log), end = entry->position + entry->size;
	RC_ASSERT(entry->position >= log->tail_position);
	RC_ASSERT(entry->at >= log->size || (entry->position & (log->size - 1)) + entry->size <= log->size);
	/* Behind the last, segments may have been left out. */
	RC_ASSERT(number + 1 < head ? end <= rc_log_entry(log, number + 1)->position
	                            : (log->write_position - end) % log->segment_size == 0);
	RC_ASSERT(entry->at >= log->size || entry->at == (entry->position & (log->size - 1)));
	RC_ASSERT(number + 1 < head || !entry->more);

	struct rc_frame frame;
	int header_size = rc_frame_read(&frame, rc_log_frame(log, entry), entry->size);
	RC_ASSERT(header_size > 0 && (uint64_t)header_size + frame.size == entry->size);
	RC_ASSERT(frame.fin && !frame.rsv && !frame.masked);
	RC_ASSERT(frame.opcode == RC_FRAME_TEXT || frame.opcode == RC_FRAME_BINARY);

	check_chain(log, number);
}

/* That the topic of the newest message counts right. All entries are looked at. */
static void check_count(const struct rc_log *log)
{
	uint64_t tail = tail_of(log), head = rc_log_head(log), count = 0;
	uint32_t topic = rc_log_entry(log, head - 1)->topic;
	for (uint64_t number = tail; number < head; number++)
		count += rc_log_entry(log, number)->topic == topic;
	RC_ASSERT(rc_topic_at(log->topics, topic)->entry_count == count);
}

void rc_log_check(const struct rc_log *log)
{
	uint64_t tail = tail_of(log), head = rc_log_head(log);
	RC_ASSERT(tail <= head && head == log->filled && head - tail <= log->entry_count);
	RC_ASSERT(log->tail_position <= log->write_position && log->write_position - log->tail_position <= log->size);
	RC_ASSERT(log->granted_position % log->segment_size == 0);
	RC_ASSERT(tail <= log->granted && log->granted <= head);
	RC_ASSERT(atomic_load_explicit(&log->end, memory_order_relaxed) == log->write_position);
	for (unsigned i = 0; i < log->floor_count; i++) {
		uint64_t floor = atomic_load_explicit(&log->floors[i], memory_order_relaxed);
		RC_ASSERT(floor >= log->granted && (floor <= head || floor == UINT64_MAX));
	}
	for (uint64_t number = tail; number < head; number++) {
		if (number - tail == CHECKED_ENTRIES && head - number > CHECKED_ENTRIES)
			number = head - CHECKED_ENTRIES;
		check_entry(log, number);
	}
	if (head > tail && head - tail <= 2 * CHECKED_ENTRIES)
		check_count(log);
	if (log->blocks.block_size)
		rc_blocks_check(&log->blocks);
	if (log->keys)
		rc_keys_check(log->keys);
}
