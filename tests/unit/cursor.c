/* SPDX-License-Identifier: MIT
 *
 * cursor.c - each operation of a subscriber's place, from each state it can be in: what it makes of it, or that it is
 * refused by an assertion.
 */
#include "cursor.h"

#include "check.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <signal.h>
#include <string.h>

/* The states, each a letter. Small: something further back waits for it (`resuming`), so it is behind in any case. */
static const char states[] = {
	'C',      /* caught up */
	'W',      /* on its way, and caught up unless something happens */
	'B', 'b', /* behind */
	'H', 'h', /* behind, within a frame */
	'L', 'l', /* behind, on its way */
};
enum { STATES = sizeof states, AT = 100, PARTIAL = 7 };

static struct rc_cursor cursor_in(char state)
{
	const bool resuming = strchr("bhl", state);
	return (struct rc_cursor){
		.at = AT,
		.partial = strchr("Hh", state) ? PARTIAL : 0,
		.behind = resuming || strchr("BHL", state),
		.on_its_way = strchr("WLl", state),
		.resuming = resuming,
	};
}

static char state_of(const struct rc_cursor *cursor)
{
	if (!cursor->behind)
		return cursor->on_its_way ? 'W' : 'C';
	char state = cursor->partial ? 'H' : cursor->on_its_way ? 'L' : 'B';
	return cursor->resuming ? (char)(state - 'A' + 'a') : state;
}

/* ---- the operations ---- */

static struct {
	bool in_step, synced; /* what the plan, or the progress, says of the cohort */
} say;

static struct rc_plan plan_to(uint64_t end)
{
	static struct rc_plan plan;
	plan.end = end;
	plan.synced_end = say.synced;
	return plan;
}

static void begin(struct rc_cursor *cursor)
{
	rc_cursor_begin(cursor, 90);
}

static void planned_to_the_rounds_end(struct rc_cursor *cursor)
{
	rc_cursor_planned(cursor, 110, 110);
}

static void planned_beyond_the_round(struct rc_cursor *cursor)
{
	rc_cursor_planned(cursor, 111, 110);
}

static void planned_short_of_the_round(struct rc_cursor *cursor)
{
	rc_cursor_planned(cursor, 109, 110);
}

/* It may have gone further on than its plan, by what it does not want. */
static void sent(struct rc_cursor *cursor)
{
	const struct rc_plan plan = plan_to(AT - 1);
	rc_cursor_sent(cursor, &plan, AT, say.in_step);
}

static void sent_and_the_round_went_on(struct rc_cursor *cursor)
{
	const struct rc_plan plan = plan_to(AT);
	rc_cursor_sent(cursor, &plan, AT + 1, say.in_step);
}

static void sent_of_another_plan(struct rc_cursor *cursor)
{
	const struct rc_plan plan = plan_to(AT + 1);
	rc_cursor_sent(cursor, &plan, AT, say.in_step);
}

static void cut_short(struct rc_cursor *cursor, uint32_t partial, bool aside, bool wants)
{
	const struct rc_progress progress = { .cursor = 95, .partial = partial, .synced = say.synced };
	rc_cursor_cut_short(cursor, &progress, aside, wants, say.in_step);
}

static void cut_between_frames(struct rc_cursor *cursor)
{
	cut_short(cursor, 0, false, true);
}

static void cut_between_frames_and_unsubscribed(struct rc_cursor *cursor)
{
	cut_short(cursor, 0, false, false);
}

static void cut_between_frames_but_aside(struct rc_cursor *cursor)
{
	cut_short(cursor, 0, true, true);
}

static void cut_within_a_frame(struct rc_cursor *cursor)
{
	cut_short(cursor, 9, false, true);
}

static void cut_within_a_frame_and_unsubscribed(struct rc_cursor *cursor)
{
	cut_short(cursor, 9, false, false);
}

static void cut_and_put_aside(struct rc_cursor *cursor)
{
	cut_short(cursor, 9, true, true);
}

static void cut_put_aside_and_unsubscribed(struct rc_cursor *cursor)
{
	cut_short(cursor, 9, true, false);
}

static void sealed(struct rc_cursor *cursor, uint32_t partial, uint64_t round_end)
{
	const struct rc_progress progress = { .cursor = 110, .partial = partial, .synced = say.synced };
	rc_cursor_sealed(cursor, &progress, round_end, say.in_step);
}

static void sealed_to_the_rounds_end(struct rc_cursor *cursor)
{
	sealed(cursor, 0, 110);
}

static void sealed_short_of_the_round(struct rc_cursor *cursor)
{
	sealed(cursor, 0, 111);
}

static void sealed_within_a_frame(struct rc_cursor *cursor)
{
	sealed(cursor, 9, 110);
}

static void sealed_within_a_compressed_frame(struct rc_cursor *cursor)
{
	sealed(cursor, 9 | RC_PARTIAL_ENCODED, 110);
}

static void passed(struct rc_cursor *cursor)
{
	const struct rc_plan plan = plan_to(110);
	rc_cursor_passed(cursor, &plan, say.in_step);
}

static void fell_behind_there(struct rc_cursor *cursor)
{
	rc_cursor_fell_behind(cursor, AT);
}

static void fell_behind_further_on(struct rc_cursor *cursor)
{
	rc_cursor_fell_behind(cursor, 110);
}

static void skipped(struct rc_cursor *cursor)
{
	rc_cursor_skipped(cursor, 110);
}

static void skipped_to_before(struct rc_cursor *cursor)
{
	rc_cursor_skipped(cursor, 90);
}

static void wants_back_there(struct rc_cursor *cursor)
{
	rc_cursor_wants_back(cursor, AT);
}

static void wants_back_further_on(struct rc_cursor *cursor)
{
	rc_cursor_wants_back(cursor, 110);
}

static void resumed(struct rc_cursor *cursor)
{
	rc_cursor_resumed(cursor, 80);
}

static void resumed_there(struct rc_cursor *cursor)
{
	rc_cursor_resumed(cursor, AT);
}

static void resumed_further_on(struct rc_cursor *cursor)
{
	rc_cursor_resumed(cursor, AT + 1);
}

/* ---- the table ---- */

enum synced { KEPT, SAID, COMPRESSED, LOST };

#define NAMED(operation) #operation, operation
static const struct row {
	const char *becomes; /* from each of `states`, or '-' where it is refused */
	const char *name;
	void (*operation)(struct rc_cursor *cursor);
	uint64_t at; /* afterwards */
	enum synced synced;
	uint32_t partial; /* where it is within a frame then */
} rows[] = {
	/* CWBbHhLl */
	{ "C-------", NAMED(begin), 90, KEPT, 0 },
	{ "W-LlLl--", NAMED(planned_to_the_rounds_end), 110, KEPT, 0 },
	{ "W-LlLl--", NAMED(planned_beyond_the_round), 111, KEPT, 0 },
	{ "L-LlLl--", NAMED(planned_short_of_the_round), 109, KEPT, 0 },
	{ "-C----Cb", NAMED(sent), AT, SAID, 0 },
	{ "-B----Bb", NAMED(sent_and_the_round_went_on), AT, SAID, 0 },
	{ "--------", NAMED(sent_of_another_plan), 0, KEPT, 0 },
	{ "-B----Bb", NAMED(cut_between_frames), 95, SAID, 0 },
	{ "-C----Bb", NAMED(cut_between_frames_and_unsubscribed), 95, SAID, 0 },
	{ "--------", NAMED(cut_between_frames_but_aside), 0, KEPT, 0 },
	{ "-H----Hh", NAMED(cut_within_a_frame), 95, SAID, 9 },
	{ "-H----Hh", NAMED(cut_within_a_frame_and_unsubscribed), 95, SAID, 9 },
	{ "-B----Bb", NAMED(cut_and_put_aside), 96, SAID, 0 },
	{ "-C----Bb", NAMED(cut_put_aside_and_unsubscribed), 96, SAID, 0 },
	{ "C-CbCb--", NAMED(sealed_to_the_rounds_end), 110, SAID, 0 },
	{ "B-BbBb--", NAMED(sealed_short_of_the_round), 110, SAID, 0 },
	{ "H-HhHh--", NAMED(sealed_within_a_frame), 110, SAID, 9 },
	{ "H-HhHh--", NAMED(sealed_within_a_compressed_frame), 110, COMPRESSED, 9 | RC_PARTIAL_ENCODED },
	{ "C-Bb----", NAMED(passed), 110, SAID, 0 },
	{ "C-Bb----", NAMED(rc_cursor_stepped), AT + 1, KEPT, 0 },
	{ "BLBbHhLl", NAMED(fell_behind_there), AT, KEPT, PARTIAL },
	{ "BLBb--Ll", NAMED(fell_behind_further_on), 110, KEPT, 0 },
	{ "C-Bb----", NAMED(skipped), 110, KEPT, 0 },
	{ "C-Bb----", NAMED(skipped_to_before), AT, KEPT, 0 },
	{ "CWBbHhLl", NAMED(rc_cursor_out_of_step), AT, LOST, PARTIAL },
	{ "blbbhhll", NAMED(wants_back_there), AT, LOST, PARTIAL },
	{ "blbb--ll", NAMED(wants_back_further_on), 110, LOST, 0 },
	{ "--BB----", NAMED(resumed), 80, KEPT, 0 },
	{ "--BB----", NAMED(resumed_there), AT, KEPT, 0 },
	{ "--------", NAMED(resumed_further_on), 0, KEPT, 0 },
	{ "CWCC--WW", NAMED(rc_cursor_caught_up), AT, KEPT, 0 },
	{ "CWCCHHWW", NAMED(rc_cursor_unsubscribed), AT, KEPT, PARTIAL },
	{ "CWCCCCWW", NAMED(rc_cursor_ended), AT, KEPT, 0 },
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool synced_behind(const struct row *row, bool before, bool resuming)
{
	switch (row->synced) {
	case KEPT:
		return before;
	case SAID:
		return say.in_step && say.synced && !resuming;
	case COMPRESSED:
		return say.in_step && !resuming;
	default:
		return false;
	}
}

static void check_one(const struct row *row, unsigned column, bool synced, bool own_ahead)
{
	struct rc_cursor cursor = cursor_in(states[column]);
	cursor.synced = synced;
	cursor.own_ahead = own_ahead;
	cr_assert_eq(state_of(&cursor), states[column]);
	rc_cursor_check(&cursor);
	row->operation(&cursor);
	cr_assert_eq(state_of(&cursor), row->becomes[column], "%s from %c gives %c", row->name, states[column],
	             state_of(&cursor));
	cr_assert_eq(cursor.at, row->at, "%s from %c leaves it at %lu", row->name, states[column], cursor.at);
	bool within = strchr("Hh", row->becomes[column]);
	cr_assert_eq(cursor.partial,
	             !within        ? 0
	             : row->partial ? row->partial
	                            : PARTIAL,
	             "%s from %c: %u bytes", row->name, states[column], cursor.partial);
	cr_assert_eq(cursor.synced, synced_behind(row, synced, cursor.resuming), "%s from %c", row->name,
	             states[column]);
	cr_assert_eq(cursor.own_ahead, own_ahead, "%s from %c", row->name, states[column]);
}

Test(cursor, what_each_operation_makes_of_each_state)
{
	for (const struct row *row = rows; row < rows + ROWS; row++) {
		cr_assert_eq(strlen(row->becomes), STATES, "%s", row->name);
		for (unsigned column = 0; column < STATES; column++) {
			if (row->becomes[column] == '-')
				continue;
			for (unsigned bits = 0; bits < 16; bits++) {
				say.in_step = bits & 1;
				say.synced = bits & 2;
				bool synced = bits & 4;
				if (!synced || !cursor_in(states[column]).resuming)
					check_one(row, column, synced, bits & 8);
			}
		}
	}
}

/* ---- what is refused ---- */

struct refused {
	unsigned row, column;
};

ParameterizedTestParameters(cursor, refuses)
{
	static struct refused all[ROWS * STATES];
	size_t count = 0;
	for (unsigned row = 0; row < ROWS; row++)
		for (unsigned column = 0; column < STATES; column++)
			if (rows[row].becomes[column] == '-')
				all[count++] = (struct refused){ row, column };
	return cr_make_param_array(struct refused, all, count);
}

ParameterizedTest(struct refused *refused, cursor, refuses, .signal = SIGABRT)
{
	struct rc_cursor cursor = cursor_in(states[refused->column]);
	rows[refused->row].operation(&cursor);
	cr_assert_fail("%s from %c is let through", rows[refused->row].name, states[refused->column]);
}

ParameterizedTestParameters(cursor, the_invariant_is_checked)
{
	static struct rc_cursor broken[] = {
		{ .partial = 1 },
		{ .partial = 1, .behind = true, .on_its_way = true },
		{ .resuming = true },
		{ .resuming = true, .behind = true, .synced = true },
	};
	return cr_make_param_array(struct rc_cursor, broken, sizeof broken / sizeof *broken);
}

ParameterizedTest(struct rc_cursor *cursor, cursor, the_invariant_is_checked, .signal = SIGABRT)
{
	rc_cursor_check(cursor);
	cr_assert_fail("it is let through");
}

/* ---- where it stands ---- */

Test(cursor, stands_at_the_round_unless_its_own_place_counts)
{
	static const struct {
		char state;
		uint64_t round_begin, place;
	} cases[] = {
		{ 'C', 90, AT },  { 'C', 110, 110 }, { 'W', 90, AT },  { 'W', 110, 110 }, { 'B', 90, AT },
		{ 'B', 110, AT }, { 'H', 110, AT },  { 'L', 110, AT }, { 'b', 110, AT },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct rc_cursor cursor = cursor_in(cases[i].state);
		cr_expect_eq(rc_cursor_place(&cursor, cases[i].round_begin), cases[i].place, "%c", cases[i].state);
	}
}
