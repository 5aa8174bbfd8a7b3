/* SPDX-License-Identifier: MIT
 *
 * cursor.c - see cursor.h. It must not know a connection, a socket or a worker.
 */
#include "cursor.h"

#include "check.h"

void rc_cursor_check(const struct rc_cursor *cursor)
{
	RC_ASSERT(!cursor->partial || cursor->behind);
	RC_ASSERT(!cursor->partial || !cursor->on_its_way);
	RC_ASSERT(!cursor->resuming || cursor->behind);
	RC_ASSERT(!cursor->resuming || !cursor->synced);
}

void rc_cursor_begin(struct rc_cursor *cursor, uint64_t at)
{
	RC_ASSERT(!cursor->behind && !cursor->on_its_way);
	cursor->at = at;
	rc_cursor_check(cursor);
}

void rc_cursor_planned(struct rc_cursor *cursor, uint64_t end, uint64_t round_end)
{
	RC_ASSERT(!cursor->on_its_way);
	cursor->at = end;
	cursor->partial = 0; /* the plan knows what of its first frame had left */
	cursor->on_its_way = true;
	/* Cut short by a bound: the next round may begin before the completion, and must not take it for further on. */
	if (end < round_end)
		cursor->behind = true;
	rc_cursor_check(cursor);
}

static void settle(struct rc_cursor *cursor, bool behind, bool synced)
{
	cursor->on_its_way = false;
	cursor->behind = behind || cursor->resuming;
	cursor->synced = synced && !cursor->resuming;
	rc_cursor_check(cursor);
}

void rc_cursor_sent(struct rc_cursor *cursor, const struct rc_plan *plan, uint64_t round_end, bool in_step)
{
	RC_ASSERT(cursor->on_its_way && cursor->at >= plan->end);
	settle(cursor, cursor->at < round_end, in_step && plan->synced_end);
}

void rc_cursor_cut_short(struct rc_cursor *cursor, const struct rc_progress *progress, bool aside, bool wants,
                         bool in_step)
{
	RC_ASSERT(cursor->on_its_way && (progress->partial || !aside));
	cursor->at = progress->cursor + aside;
	cursor->partial = aside ? 0 : progress->partial;
	settle(cursor, cursor->behind || cursor->partial || wants, in_step && progress->synced);
}

void rc_cursor_sealed(struct rc_cursor *cursor, const struct rc_progress *progress, uint64_t round_end, bool in_step)
{
	RC_ASSERT(!cursor->on_its_way);
	cursor->at = progress->cursor;
	cursor->partial = progress->partial;
	/* The rest of a compressed frame is sealed before anything else, so its reader is in step behind it. */
	bool synced = progress->synced || progress->partial & RC_PARTIAL_ENCODED;
	settle(cursor, cursor->partial || cursor->at < round_end, in_step && synced);
}

void rc_cursor_passed(struct rc_cursor *cursor, const struct rc_plan *plan, bool in_step)
{
	RC_ASSERT(!cursor->on_its_way && !cursor->partial);
	cursor->at = plan->end;
	settle(cursor, cursor->behind, in_step && plan->synced_end);
}

void rc_cursor_stepped(struct rc_cursor *cursor)
{
	RC_ASSERT(!cursor->on_its_way && !cursor->partial);
	cursor->at++;
	rc_cursor_check(cursor);
}

void rc_cursor_fell_behind(struct rc_cursor *cursor, uint64_t at)
{
	RC_ASSERT(!cursor->partial || at == cursor->at);
	cursor->at = at;
	cursor->behind = true;
	rc_cursor_check(cursor);
}

void rc_cursor_skipped(struct rc_cursor *cursor, uint64_t at)
{
	RC_ASSERT(!cursor->on_its_way && !cursor->partial);
	cursor->at = RC_MAX(cursor->at, at);
	rc_cursor_check(cursor);
}

void rc_cursor_out_of_step(struct rc_cursor *cursor)
{
	cursor->synced = false;
	rc_cursor_check(cursor);
}

void rc_cursor_wants_back(struct rc_cursor *cursor, uint64_t at)
{
	RC_ASSERT(!cursor->partial || at == cursor->at);
	cursor->at = at;
	cursor->behind = cursor->resuming = true;
	cursor->synced = false;
	rc_cursor_check(cursor);
}

void rc_cursor_resumed(struct rc_cursor *cursor, uint64_t lowest)
{
	RC_ASSERT(cursor->behind && !cursor->partial && !cursor->on_its_way && lowest <= cursor->at);
	cursor->at = lowest;
	cursor->resuming = false;
	rc_cursor_check(cursor);
}

void rc_cursor_caught_up(struct rc_cursor *cursor)
{
	RC_ASSERT(!cursor->partial);
	cursor->behind = cursor->resuming = false;
	rc_cursor_check(cursor);
}

void rc_cursor_unsubscribed(struct rc_cursor *cursor)
{
	cursor->behind = cursor->partial != 0;
	cursor->resuming = false;
	rc_cursor_check(cursor);
}

void rc_cursor_ended(struct rc_cursor *cursor)
{
	cursor->partial = 0;
	rc_cursor_caught_up(cursor);
}
