/* SPDX-License-Identifier: MIT
 *
 * check.c - that the checks of engine/ and uring/ see what they are for: each invariant is broken on purpose in a state
 * that was whole, in a process of its own, and the check must abort there and name the expression that does not hold
 * any more.
 */
#include "check.h"

#include "encoding.h"
#include "frame.h"
#include "log.h"
#include "outbox.h"
#include "session.h"
#include "worker.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A way to break a state, and what the assertion that sees it must name. */
struct breakage {
	const char *expression;
	void (*damage)(void);
};

/* Runs `check` in a child after the damage. Fails unless it aborted with one line that names `file`, a line number and
 * the expression. */
static void expect_caught(const struct breakage *breakage, void (*check)(void), const char *file)
{
	int ends[2];
	char said[512] = "";
	cr_assert_eq(pipe(ends), 0);
	pid_t child = fork();
	cr_assert(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(ends[1], STDERR_FILENO);
		breakage->damage();
		check();
		_exit(0);
	}
	close(ends[1]);
	size_t size = 0;
	for (ssize_t got; size < sizeof said - 1 && (got = read(ends[0], said + size, sizeof said - 1 - size)) > 0;)
		size += (size_t)got;
	close(ends[0]);
	int status = 0;
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "'%s' was not caught: %d", breakage->expression,
	          status);
	const char *at = strstr(said, file);
	cr_expect(at && atoi(at + strlen(file) + 1) > 0, "no line of %s in '%s'", file, said);
	cr_expect(strstr(said, breakage->expression), "'%s' is not in '%s'", breakage->expression, said);
	cr_expect_eq(strchr(said, '\n'), said + strlen(said) - 1, "one line: '%s'", said);
}

static void expect_all_caught(const struct breakage *breakages, size_t count, void (*check)(void), const char *file)
{
	check();
	for (size_t i = 0; i < count; i++)
		expect_caught(&breakages[i], check, file);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

Test(check, an_assertion_ends_the_process, .signal = SIGABRT)
{
	int one = 1;
	RC_ASSERT(one == 2);
}

/* ---- the log ---- */

enum { ENTRIES = 128 };

static struct rc_topics topics;
static struct rc_log log_;
static uint8_t log_bytes[RC_LOG_SIZE_MIN];
static struct rc_entry entries[ENTRIES];
static _Atomic uint64_t floors[2];
static struct rc_topic *topic, *other;

static void append(struct rc_topic *to)
{
	unsigned held_by;
	const struct rc_log_message message = { .topic = to, .opcode = RC_TEXT, .data = "0123456789", .size = 10 };
	cr_assert_gt(rc_log_append(&log_, &message, 1, &held_by), 0);
}

/* So many messages that the log has been recycled. */
static void make_log(void)
{
	static const struct rc_topic_options options;
	int error;
	cr_assert_eq(rc_topics_init(&topics, &options, 0, 1, 1), 0);
	rc_log_init(&log_, &topics, log_bytes, sizeof log_bytes, entries, ENTRIES, floors, COUNT(floors));
	topic = rc_topics_get(&topics, "one", 3, rc_topic_hash(&topics, "one", 3), &error);
	other = rc_topics_get(&topics, "two", 3, rc_topic_hash(&topics, "two", 3), &error);
	for (unsigned i = 0; i < 3 * ENTRIES; i++) {
		for (size_t j = 0; j < COUNT(floors); j++)
			atomic_store(&floors[j], rc_log_head(&log_));
		append(i % 3 ? topic : other);
	}
	atomic_store(&floors[1], UINT64_MAX);
}

static void free_log(void)
{
	rc_topics_destroy(&topics);
}

static void check_log(void)
{
	rc_log_check(&log_);
}

/* The live entry so far before the head. */
static struct rc_entry *back(unsigned by)
{
	return &entries[(rc_log_head(&log_) - by) % ENTRIES];
}

/* clang-format off */
static void floor_below_tail(void) { atomic_store(&floors[0], atomic_load(&log_.tail) - 1); }
static void floor_above_head(void) { atomic_store(&floors[1], rc_log_head(&log_) + 1); }
static void tail_above_head(void) { atomic_store(&log_.tail, rc_log_head(&log_) + 1); }
static void more_entries_than_fit(void) { atomic_store(&log_.tail, rc_log_head(&log_) - ENTRIES - 1); }
static void more_bytes_than_the_log(void) { log_.write_position += log_.size; }
static void end_not_told(void) { log_.write_position++; }
static void granted_within_a_segment(void) { log_.granted_position++; }
static void granted_past_the_head(void) { log_.granted = rc_log_head(&log_) + 1; }
static void tail_past_an_entry(void) { log_.tail_position += 4 * log_.segment_size; }
static void entry_wraps(void) { back(1)->position |= log_.size - 1; }
static void entries_overlap(void) { back(2)->position++; }
static void entry_before_the_end(void) { back(1)->position--; }
static void frame_of_another_size(void) { *(rc_log_frame(&log_, back(5)) + 1) ^= 1; }
static void frame_written_over(void) { *rc_log_frame(&log_, back(5)) = 0x01; }
static void frame_of_no_message(void) { *rc_log_frame(&log_, back(5)) = 0x80 | RC_FRAME_PING; }
static void chain_into_another_topic(void) { back(3)->topic = topic->id; }
static void chain_forward(void) { back(5)->previous = -4u; }
static void chain_past_a_message(void) { back(1)->previous += back(1 + back(1)->previous)->previous; }
static void predecessor_of_another_number(void) { back(1)->before--; }
static void counted_twice(void) { back(1)->count--; }
static void jump_without_a_link(void) { back(3)->previous = 0; }
static void jump_to_another(void) { topic->jumps.to--, other->jumps.to--; }
static void chain_that_skips_one(void) { back(5)->next = 4; }
static void lost_what_it_has(void) { topic->lost = topic->sequence - 1; }
static void topic_without_its_newest(void) { atomic_store(&topic->newest, RC_NONE); }
static void topic_counts_wrong(void) { topic->entry_count++; }
static void topic_numbers_wrong(void) { atomic_fetch_add(&topic->sequence, 1); }
/* clang-format on */

Test(check, of_the_log, .init = make_log, .fini = free_log)
{
	static const struct breakage breakages[] = {
		{ "floor >= log->granted", floor_below_tail },
		{ "floor <= head || floor == UINT64_MAX", floor_above_head },
		{ "tail <= head", tail_above_head },
		{ "head - tail <= log->entry_count", more_entries_than_fit },
		{ "log->write_position - log->tail_position <= log->size", more_bytes_than_the_log },
		{ "== log->write_position", end_not_told },
		{ "log->granted_position % log->segment_size == 0", granted_within_a_segment },
		{ "log->granted <= head", granted_past_the_head },
		{ "entry->position >= log->tail_position", tail_past_an_entry },
		{ "(entry->position & (log->size - 1)) + entry->size <= log->size", entry_wraps },
		{ "end <= rc_log_entry(log, number + 1)->position", entries_overlap },
		{ "(log->write_position - end) % log->segment_size == 0", entry_before_the_end },
		{ "(uint64_t)header_size + frame.size == entry->size", frame_of_another_size },
		{ "frame.fin && !frame.rsv && !frame.masked", frame_written_over },
		{ "frame.opcode == RC_FRAME_TEXT", frame_of_no_message },
		{ "earlier->topic == entry->topic", chain_into_another_topic },
		{ "link < number", chain_forward },
		{ "earlier->count + 1 == entry->count", chain_past_a_message },
		{ "rc_log_entry(log, next)->before == entry->sequence", predecessor_of_another_number },
		{ "earlier->count + 1 == entry->count", counted_twice },
		{ "(entry->previous == 0) == (entry->jump == 0)", jump_without_a_link },
		{ "== topic->jumps.to", jump_to_another },
		{ "topic->lost <= entry->before", lost_what_it_has },
		{ "next > number &&", chain_that_skips_one },
		{ "newest != RC_NONE", topic_without_its_newest },
		{ "->entry_count == count", topic_counts_wrong },
		{ "entry->sequence == ", topic_numbers_wrong },
	};
	expect_all_caught(breakages, COUNT(breakages), check_log, "engine/log.c");
}

/* ---- an encoding ---- */

enum { EXTENTS = 512, ENCODING_SIZE = 64 * 1024, FRAME_SIZE = 700 };

static struct rc_encoding encoding;
static uint8_t encoding_bytes[ENCODING_SIZE];
static struct rc_extent extents[EXTENTS];
static uint64_t last;

static void make_encoding(void)
{
	static const uint8_t payload[FRAME_SIZE];
	log_ = (struct rc_log){ .floors = floors, .floor_count = 1 };
	rc_encoding_init(&encoding, encoding_bytes, ENCODING_SIZE, extents, EXTENTS);
	for (last = 0; last < 400; last++) {
		atomic_store(&floors[0], last);
		cr_assert(rc_extent_claim(&encoding, last));
		if (last % 7 == 3)
			rc_extent_refuse(&encoding, last);
		else
			rc_encoding_put(&encoding, &log_, last, payload, 4, payload, FRAME_SIZE - 4, last % 5 == 0);
	}
	last--;
	cr_assert_eq(rc_extent_state(&encoding, last), RC_EXTENT_MADE);
}

static void check_encoding(void)
{
	rc_encoding_check(&encoding);
}

static struct rc_extent *last_extent(void)
{
	return rc_extent_of(&encoding, last);
}

/* clang-format off */
static void tail_past_the_frames(void) { atomic_store(&encoding.tail_position, encoding.write_position + 1); }
static void nothing_recycled(void) { atomic_store(&encoding.tail_position, 0); }
static void tail_moved_a_byte(void) { atomic_fetch_add(&encoding.tail_position, 1); }
static void state_unknown(void) { atomic_store(&last_extent()->state, last * 8 + RC_EXTENT_FRESH + 1); }
static void frame_of_no_bytes(void) { last_extent()->size = 0; }
static void frame_not_yet_written(void) { last_extent()->position += 1; }
static void frame_wraps(void) { last_extent()->position = encoding.write_position / ENCODING_SIZE * ENCODING_SIZE - 1; }
/* clang-format on */

static void segment_takes_itself_for_older(void)
{
	uint64_t position = rc_extent_of(&encoding, last - 10)->position;
	encoding.newest[position / encoding.segment_size % RC_LOG_SEGMENTS] = 0;
}

static void frames_overlap(void)
{
	struct rc_extent *extent = rc_extent_of(&encoding, last - 40);
	extent->size += 20 * FRAME_SIZE;
}

Test(check, of_an_encoding, .init = make_encoding)
{
	static const struct breakage breakages[] = {
		{ "tail <= encoding->write_position", tail_past_the_frames },
		{ "encoding->write_position - tail <= encoding->size", nothing_recycled },
		{ "tail % encoding->segment_size == 0", tail_moved_a_byte },
		{ "state % 8 <= RC_EXTENT_FRESH", state_unknown },
		{ "extent->size > 0", frame_of_no_bytes },
		{ "end <= encoding->write_position", frame_not_yet_written },
		{ "(extent->position & (encoding->size - 1)) + extent->size <= encoding->size", frame_wraps },
		{ "encoding->newest[at % RC_LOG_SEGMENTS] >= number", segment_takes_itself_for_older },
		{ "used <= encoding->write_position - tail", frames_overlap },
	};
	expect_all_caught(breakages, COUNT(breakages), check_encoding, "engine/encoding.c");
}

/* ---- an outbox ---- */

static struct rc_pool pool;
static struct rc_outbox *outbox;

static void make_outbox(void)
{
	bool full;
	rc_pool_init(&pool, 1 << 16, 1 << 20);
	outbox = rc_outbox_new(&pool);
	cr_assert(rc_outbox_add(outbox, &pool, 100, SIZE_MAX, &full));
	cr_assert_eq(rc_outbox_next(outbox, &pool)->size, 100);
	rc_outbox_sent(outbox, &pool, 40);
	cr_assert(rc_outbox_add(outbox, &pool, 50, SIZE_MAX, &full));
}

static void free_outbox(void)
{
	rc_outbox_free(outbox, &pool);
	rc_pool_destroy(&pool);
}

static void check_outbox(void)
{
	rc_outbox_check(outbox);
}

/* clang-format off */
static void block_without_bytes(void) { outbox->sending_begin = outbox->sending_end; }
static void bytes_past_the_block(void) { outbox->filling_end = outbox->filling_capacity + 1; }
static void block_of_no_pool(void) { outbox->filling_capacity = 100; }
static void bytes_without_a_block(void) { outbox->filling = NULL; }
static void one_block_twice(void) { outbox->filling = outbox->sending; }
static void pong_too_long(void) { outbox->late_pong_size = RC_CONTROL_SIZE_MAX + 1; }
/* clang-format on */

Test(check, of_an_outbox, .init = make_outbox, .fini = free_outbox)
{
	static const struct breakage breakages[] = {
		{ "begin < end", block_without_bytes },
		{ "end <= capacity", bytes_past_the_block },
		{ "capacity >= BLOCK_SIZE_MIN", block_of_no_pool },
		{ "begin == 0 && end == 0 && capacity == 0", bytes_without_a_block },
		{ "outbox->sending != outbox->filling", one_block_twice },
		{ "outbox->late_pong_size <= sizeof outbox->late_pong", pong_too_long },
	};
	expect_all_caught(breakages, COUNT(breakages), check_outbox, "engine/outbox.c");
}

/* ---- a session ---- */

static struct rc_session session;
static const struct rc_session_rules rules = { .message_size_max = 1000, .fragments_max = 4, .pool = &pool };

static void feed(const void *bytes, size_t size)
{
	uint8_t copy[64], *at = copy;
	struct rc_event event;
	memcpy(copy, bytes, size);
	cr_assert_eq(rc_session_next(&session, &rules, &at, copy + size, &event), RC_EVENT_NONE);
}

/* In the second fragment of a text, three bytes of 20 still to come. */
static void make_session(void)
{
	rc_pool_init(&pool, 1 << 16, 1 << 20);
	session = (struct rc_session){ 0 };
	feed("\x01\x83\0\0\0\0one\x00\x94\0\0\0\0seventeen bytes!!", 32);
	cr_assert(session.in_frame && session.in_message && session.gathered_size == 20);
}

static void free_session(void)
{
	rc_session_reset(&session, &pool);
	rc_pool_destroy(&pool);
}

static void check_session(void)
{
	rc_session_check(&session, &rules);
}

/* clang-format off */
static void header_inside_a_frame(void) { session.header_size = 1; }
static void header_kept_whole(void) { session.in_frame = false; session.header_size = RC_FRAME_HEADER_MAX; }
static void frame_left_open(void) { session.frame_done = session.frame.size; }
static void frame_not_masked(void) { session.frame.masked = false; }
static void control_in_fragments(void) { session.frame.opcode = RC_FRAME_PING; session.frame.fin = false; }
static void bytes_lost(void) { session.gathered_size = 16; }
static void more_than_came(void) { session.in_message = false; }
static void more_announced_than_allowed(void) { session.frame.size = 1000; }
static void gathered_past_the_block(void) { session.gathered_size = session.gathered_capacity; }
static void block_kept_for_nothing(void) { session.in_frame = session.in_message = false; session.gathered_size = 0; }
static void block_lost(void) { session.gathered = NULL; }
static void over_with_a_block(void) { session.in_frame = false; session.over = true; }
static void message_of_no_kind(void) { session.message_opcode = RC_FRAME_CONTINUATION; }
static void no_fragment_counted(void) { session.fragment_count = 0; }
static void too_many_fragments(void) { session.fragment_count = 5; }
static void compressed_unasked(void) { session.compressed = true; }
static void sequence_too_long(void) { session.utf8.open_size = 4; }
/* clang-format on */

Test(check, of_a_session, .init = make_session, .fini = free_session)
{
	static const struct breakage breakages[] = {
		{ "s->header_size == 0", header_inside_a_frame },
		{ "s->header_size < sizeof s->header", header_kept_whole },
		{ "s->frame_done < frame->size", frame_left_open },
		{ "frame->masked != rules->client", frame_not_masked },
		{ "frame->fin && frame->size <= sizeof s->control", control_in_fragments },
		{ "s->gathered_size >= s->frame_done", bytes_lost },
		{ "s->gathered_size == s->frame_done", more_than_came },
		{ "(frame->size - s->frame_done) <= size_limit(rules, s->compressed)", more_announced_than_allowed },
		{ "RC_GATHERED_HEADROOM + s->gathered_size <= s->gathered_capacity", gathered_past_the_block },
		{ "s->gathered_size > 0", block_kept_for_nothing },
		{ "s->gathered_size == 0 && s->gathered_capacity == 0", block_lost },
		{ "!s->in_frame && !s->header_size && !s->gathered", over_with_a_block },
		{ "s->message_opcode == RC_FRAME_TEXT", message_of_no_kind },
		{ "s->fragment_count > 0", no_fragment_counted },
		{ "s->fragment_count <= RC_MAX(rules->fragments_max, 1u)", too_many_fragments },
		{ "rules->deflate || !s->compressed", compressed_unasked },
		{ "s->utf8.open_size <= sizeof s->utf8.open", sequence_too_long },
	};
	expect_all_caught(breakages, COUNT(breakages), check_session, "engine/session.c");
}

/* ---- a cursor ---- */

static struct rc_cursor cursor;

/* Behind, and within a frame. */
static void make_cursor(void)
{
	cursor = (struct rc_cursor){ .at = 7, .partial = 3, .behind = true };
}

static void check_cursor(void)
{
	rc_cursor_check(&cursor);
}

/* clang-format off */
static void half_a_frame_at_the_head(void) { cursor.behind = false; }
static void half_a_frame_twice(void) { cursor.on_its_way = true; }
static void back_from_the_head(void) { cursor = (struct rc_cursor){ .resuming = true }; }
static void back_and_in_step(void) { cursor.resuming = cursor.synced = true; }
/* clang-format on */

Test(check, of_a_cursor, .init = make_cursor)
{
	static const struct breakage breakages[] = {
		{ "!cursor->partial || cursor->behind", half_a_frame_at_the_head },
		{ "!cursor->partial || !cursor->on_its_way", half_a_frame_twice },
		{ "!cursor->resuming || cursor->behind", back_from_the_head },
		{ "!cursor->resuming || !cursor->synced", back_and_in_step },
	};
	expect_all_caught(breakages, COUNT(breakages), check_cursor, "engine/cursor.c");
}

/* ---- a connection ---- */

enum { FREE, OPEN, BEHIND, ENDING, SLOTS };

static struct connection connections[SLOTS];
static struct worker worker;

/* One in each kind of state: a free slot, an open connection that is being sent a plan, one that waits behind until its
 * socket can take more, and one whose slot is being closed. */
static void make_connections(void)
{
	worker.connections = connections;
	memset(connections, 0, sizeof connections);
	for (unsigned slot = 0; slot < SLOTS; slot++)
		atomic_store(&connections[slot].generation, slot + 1);
	connections[OPEN].state = CONNECTION_OPEN;
	connections[OPEN].receiving = connections[OPEN].sending = connections[OPEN].cursor.on_its_way = true;
	connections[OPEN].subscription_count = connections[OPEN].first_subscription = 1;
	connections[BEHIND].state = CONNECTION_OPEN;
	connections[BEHIND].polling = connections[BEHIND].listed = connections[BEHIND].cursor.behind = true;
	connections[ENDING].state = CONNECTION_ENDING;
	connections[ENDING].closing_slot = true;
}

static void check_connections(void)
{
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		rc_connection_check(&worker, slot);
}

/* clang-format off */
static void receives_without_a_connection(void) { connections[FREE].receiving = true; }
static void ends_without_a_connection(void) { connections[FREE].ends = true; }
static void outbox_left_behind(void) { connections[FREE].outbox = (struct rc_outbox *)&worker; }
static void handshake_left_behind(void) { connections[FREE].handshake = (struct handshake *)&worker; }
static void handle_of_nobody(void) { atomic_store(&connections[OPEN].generation, 0); }
static void slot_closed_while_open(void) { connections[OPEN].closing_slot = true; }
static void ends_twice(void) { connections[ENDING].ends = true; }
static void plan_without_a_send(void) { connections[OPEN].sending = false; }
static void sends_to_a_full_socket(void) { connections[OPEN].polling = true; }
static void subscription_lost(void) { connections[OPEN].first_subscription = 0; }
static void subscription_not_counted(void) { connections[OPEN].subscription_count = 0; }
static void behind_and_forgotten(void) { connections[BEHIND].listed = false; }
/* clang-format on */

Test(check, of_a_connection, .init = make_connections)
{
	static const char free_slot[] =
	    "!rc_connection_is_busy(conn) && !conn->ends && !conn->outbox && !conn->handshake";
	static const char subscriptions[] =
	    "conn->subscription_count ? conn->first_subscription : !conn->first_subscription";
	static const struct breakage breakages[] = {
		{ free_slot, receives_without_a_connection },
		{ free_slot, ends_without_a_connection },
		{ free_slot, outbox_left_behind },
		{ free_slot, handshake_left_behind },
		{ "atomic_load_explicit(&conn->generation, memory_order_relaxed)", handle_of_nobody },
		{ "!conn->closing_slot || conn->state == CONNECTION_ENDING", slot_closed_while_open },
		{ "conn->state != CONNECTION_ENDING || !conn->ends", ends_twice },
		{ "!conn->cursor.on_its_way || conn->sending || conn->state == CONNECTION_ENDING",
		  plan_without_a_send },
		{ "!conn->sending || !conn->polling", sends_to_a_full_socket },
		{ subscriptions, subscription_lost },
		{ subscriptions, subscription_not_counted },
		{ "!conn->cursor.behind || conn->listed || conn->state >= CONNECTION_CLOSING", behind_and_forgotten },
	};
	expect_all_caught(breakages, COUNT(breakages), check_connections, "uring/connection.c");
}

static void half_a_frame_and_not_behind(void)
{
	connections[BEHIND].cursor = (struct rc_cursor){ .partial = 3 };
}

/* What the cursor's check sees ends the connection's check too; of a connection that ends, nobody reads the cursor. */
Test(check, of_a_connections_cursor, .init = make_connections)
{
	static const struct breakage breakage = { "!cursor->partial || cursor->behind", half_a_frame_and_not_behind };
	expect_caught(&breakage, check_connections, "engine/cursor.c");
	connections[ENDING].cursor.partial = 3;
	check_connections();
}
