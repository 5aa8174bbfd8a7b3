/* SPDX-License-Identifier: MIT
 *
 * cursor_random.c - a subscriber's place under random operations. The driver does what a worker does, in the same
 * order, with chance where that has reasons; cursor_model.h knows what must come of it.
 */
#include "cursor.h"

#include "cursor_model.h"

enum { RUNS = 200, STEPS = 1500, DRAIN_MAX = 20000 };

static struct naive naive;
static struct model *const m = &naive.m;
static struct rc_plan plan; /* on its way, or made last */
static struct rc_cursor cursor;

/* Of a run. In a cohort it is while it has one topic; else its frames may leave in another way. Topics that are not
 * loud are nearly silent: who wants only those stands still while the log goes on. */
static bool in_cohort;
static unsigned names, loud;

static struct {
	bool on;
	bool resumes; /* it begins further back than the cursor stands, and waits */
	uint64_t from;
} wants[MODEL_NAMES];

static struct {
	uint64_t head; /* as far as the worker has looked */
	uint64_t begin, end;
	bool walking;
	unsigned visits; /* to come */
} fanout;

/* The rest of a frame, or all of one, that is kept elsewhere. */
static struct {
	uint8_t bytes[16 * RC_KIB];
	size_t begin, end;
} aside;

/* What all runs have come by: a test that never gets somewhere says nothing of it. */
enum event {
	PLANNED,
	SENT,
	CUT,
	CUT_ASIDE,
	CUT_IN_LOG,
	SEALED,
	SEALED_IN_PART,
	PASSED,
	STEPPED,
	FELL_BEHIND,
	SKIPPED,
	SKIPPED_WITHIN,
	WANTED_BACK,
	WANTED_BACK_WITHIN,
	WANTED_BACK_ON_ITS_WAY,
	RESUMED,
	CAUGHT_UP,
	UNSUBSCRIBED_WITHIN,
	UNSUBSCRIBED_ON_ITS_WAY,
	BEGUN_AGAIN,
	EVENTS,
};
static uint64_t events[EVENTS];

/* It reads on where the cursor says, and lacks nothing from before. */
static void check_place(void)
{
	rc_cursor_check(&cursor);
	if (cursor.on_its_way)
		return;
	cr_assert_eq(naive.half.number != RC_NONE, cursor.partial || aside.begin < aside.end);
	if (cursor.partial) {
		cr_assert(naive.half.number == cursor.at && naive.half_size == (cursor.partial & RC_PARTIAL_SIZE));
		cr_assert_eq(naive.half.encoded, (cursor.partial & RC_PARTIAL_ENCODED) != 0);
	}
	for (uint64_t number = 0; number < rc_cursor_place(&cursor, fanout.begin); number++)
		cr_assert(!naive.due[number], "at %lu, message %lu is lost", cursor.at, number);
}

/* ---- the log ---- */

/* As fanout.c and lag.c say how far the log may be recycled. */
static void set_floor(void)
{
	uint64_t floor = fanout.begin;
	if (cursor.behind)
		floor = RC_MIN(floor, cursor.at);
	if (cursor.on_its_way)
		floor = RC_MIN(floor, plan.begin);
	for (unsigned name = 0; name < MODEL_NAMES; name++)
		if (wants[name].on && wants[name].resumes)
			floor = RC_MIN(floor, wants[name].from);
	cr_assert_geq(floor, m->tail, "at %lu, the log has nothing before %lu", cursor.at, m->tail);
	m->floors[0] = floor;
}

static void publish(uint64_t *seed)
{
	for (uint64_t left = 1 + below(seed, 8); left && m->head < NAIVE_MESSAGES_MAX; left--) {
		unsigned name = (unsigned)below(seed, below(seed, 50) ? loud : names);
		size_t size = below(seed, below(seed, 20) ? 200 : 15 * RC_KIB);
		uint64_t number = m->head;
		if (model_append(m, name, size, RC_TEXT) < 0)
			continue;
		naive.due[number] = wants[name].on && !wants[name].resumes;
		if (below(seed, 8))
			naive_encode(&naive, below(seed, 12) == 0);
	}
}

/* ---- planning, as plans.c and encode.c do it ---- */

static unsigned subscription_count(void)
{
	unsigned count = 0;
	for (unsigned name = 0; name < MODEL_NAMES; name++)
		count += wants[name].on;
	return count;
}

static unsigned first_subscription(void)
{
	unsigned name = 0;
	while (name < MODEL_NAMES && !wants[name].on)
		name++;
	return name;
}

/* Whether the plan can say of its cohort what this subscriber has read. */
static bool is_in_step(void)
{
	return in_cohort && subscription_count() == 1 && wants[first_subscription()].from <= plan.begin;
}

static void make_plan(uint64_t end)
{
	struct rc_want list[MODEL_NAMES];
	uint32_t count = 0;
	for (unsigned name = 0; name < MODEL_NAMES; name++) {
		if (!wants[name].on || wants[name].resumes)
			continue;
		list[count++] = (struct rc_want){ .from = wants[name].from, .topic = m->names[name].id };
	}
	const bool single = in_cohort && subscription_count() == 1;
	const struct rc_interest interest = {
		.wants = list,
		.want_count = count,
		.encoding = &naive.form,
		.encoded_size_min = single ? 0 : UINT32_MAX,
		.cohort = single ? m->names[first_subscription()].id : UINT32_MAX,
		.synced = single && cursor.synced,
	};
	rc_plan_make(&plan, &m->log, &interest, rc_cursor_place(&cursor, fanout.begin), end, cursor.partial);
	naive_planned(&naive, &plan);
}

/* The first bytes of the plan have left. */
static void leave(uint64_t size)
{
	static uint8_t bytes[RC_PLAN_SIZE_MAX];
	size_t done = 0;
	for (unsigned i = 0; done < size; i++) {
		size_t some = RC_MIN(plan.ranges[i].size, size - done);
		memcpy(bytes + done, plan.ranges[i].at, some);
		done += some;
	}
	naive_receive(&naive, bytes, size);
}

/* ---- what pump.c does ---- */

/* As much as secure_size() allows: whole frames, or a part of one that is larger. */
static void seal(uint64_t *seed)
{
	uint64_t size = 1 + below(seed, below(seed, 2) ? 100 : 10000);
	size = RC_MIN(size, plan.size);
	struct rc_progress progress = rc_plan_progress(&plan, &m->log, size);
	uint32_t begun = progress.partial & RC_PARTIAL_SIZE;
	if (begun && begun < size && progress.cursor > plan.begin) {
		size -= begun;
		progress.partial = 0;
	}
	rc_cursor_sealed(&cursor, &progress, fanout.end, is_in_step());
	leave(size);
	events[SEALED]++;
	events[SEALED_IN_PART] += progress.partial > 0;
}

static void send_plan(uint64_t *seed)
{
	if (below(seed, 3) == 0) {
		seal(seed);
		return;
	}
	rc_cursor_planned(&cursor, plan.end, fanout.end);
	events[PLANNED]++;
}

static void pass(void)
{
	rc_cursor_passed(&cursor, &plan, is_in_step());
	events[PASSED]++;
}

/* Copies what has not left of a frame. */
static void put_aside(uint64_t number, uint32_t partial)
{
	struct rc_range frame = rc_plan_frame(&m->log, &naive.form, number, partial & RC_PARTIAL_ENCODED);
	aside.begin = 0;
	aside.end = frame.size - (partial & RC_PARTIAL_SIZE);
	cr_assert_leq(aside.end, sizeof aside.bytes);
	memcpy(aside.bytes, (uint8_t *)frame.at + (partial & RC_PARTIAL_SIZE), aside.end);
}

static void send_aside(uint64_t *seed)
{
	size_t size = aside.end - aside.begin;
	size = below(seed, 3) ? size : below(seed, size);
	naive_receive(&naive, aside.bytes + aside.begin, size);
	aside.begin += size;
}

/* The next frame goes in a form of its own. */
static void step(void)
{
	uint64_t number = cursor.at;
	naive_leaves(&naive, &(struct naive_frame){ number, false }, 1);
	rc_cursor_fell_behind(&cursor, number);
	rc_cursor_stepped(&cursor);
	put_aside(number, 0);
	aside.begin = 1;
	naive_receive(&naive, aside.bytes, 1);
	events[STEPPED]++;
}

static void resume(void)
{
	if (!cursor.resuming || cursor.partial)
		return;
	uint64_t lowest = cursor.at;
	for (unsigned name = 0; name < MODEL_NAMES; name++) {
		if (!wants[name].on)
			continue;
		if (!wants[name].resumes)
			wants[name].from = RC_MAX(wants[name].from, cursor.at);
		else
			naive_want(&naive, name, wants[name].from);
		wants[name].resumes = false;
		lowest = RC_MIN(lowest, wants[name].from);
	}
	rc_cursor_resumed(&cursor, lowest);
	events[RESUMED]++;
}

static void catch_up(void)
{
	rc_cursor_caught_up(&cursor);
	events[CAUGHT_UP]++;
}

static void send_behind(uint64_t *seed)
{
	resume();
	if (cursor.at >= fanout.head || (!subscription_count() && !cursor.partial)) {
		catch_up();
		return;
	}
	uint64_t end = cursor.at + 1;
	if (below(seed, 3))
		end += below(seed, fanout.head - cursor.at);
	unsigned name = naive_name(&naive, cursor.at);
	if (!in_cohort && !cursor.partial && wants[name].on && cursor.at >= wants[name].from && below(seed, 4) == 0) {
		step();
		return;
	}
	make_plan(end);
	if (plan.size) {
		send_plan(seed);
		return;
	}
	pass();
	if (cursor.at >= fanout.end && cursor.at >= fanout.head)
		catch_up();
}

static void pump(uint64_t *seed)
{
	if (cursor.on_its_way)
		return;
	if (aside.begin < aside.end)
		send_aside(seed);
	else if (cursor.behind)
		send_behind(seed);
}

static void complete(uint64_t *seed)
{
	if (!cursor.on_its_way)
		return;
	uint64_t sent = below(seed, 2) ? plan.size : below(seed, 4) ? below(seed, plan.size) : 0;
	if (sent == plan.size) {
		rc_cursor_sent(&cursor, &plan, fanout.end, is_in_step());
		leave(sent);
		events[SENT]++;
		return;
	}
	struct rc_progress progress = rc_plan_progress(&plan, &m->log, sent);
	bool aside = progress.partial && below(seed, 2);
	if (aside)
		put_aside(progress.cursor, progress.partial);
	rc_cursor_cut_short(&cursor, &progress, aside, subscription_count(), is_in_step());
	leave(sent);
	events[progress.partial ? aside ? CUT_ASIDE : CUT_IN_LOG : CUT]++;
}

/* ---- what fanout.c and lag.c do ---- */

static void begin_round(uint64_t *seed)
{
	fanout.begin = fanout.end;
	fanout.end += 1 + below(seed, fanout.head - fanout.end);
	fanout.walking = true;
	fanout.visits = 0;
	for (unsigned name = 0; name < MODEL_NAMES; name++) {
		bool touched = false;
		for (uint64_t number = fanout.begin; number < fanout.end; number++)
			touched |= naive_name(&naive, number) == name;
		fanout.visits += touched && wants[name].on;
	}
}

static void visit(uint64_t *seed)
{
	uint64_t at = rc_cursor_place(&cursor, fanout.begin);
	if (cursor.behind || at >= fanout.end)
		return;
	if (cursor.on_its_way || aside.begin < aside.end) {
		rc_cursor_fell_behind(&cursor, at);
		events[FELL_BEHIND]++;
		return;
	}
	make_plan(at + 1 + below(seed, below(seed, 2) ? 1 : fanout.head - at));
	if (plan.size) {
		send_plan(seed);
		return;
	}
	pass();
	if (cursor.at < fanout.end)
		rc_cursor_fell_behind(&cursor, cursor.at);
}

static void go_round(uint64_t *seed)
{
	if (!fanout.walking) {
		fanout.head += below(seed, m->head - fanout.head + 1);
		if (fanout.end < fanout.head)
			begin_round(seed);
	} else if (fanout.visits) {
		fanout.visits--;
		visit(seed);
	} else {
		fanout.walking = false;
		fanout.begin = fanout.end;
	}
}

/* A policy moves some of its topics on. */
static void skip(uint64_t *seed)
{
	if (!cursor.behind || cursor.on_its_way)
		return;
	bool reads = false; /* else everything it wants waits to begin */
	uint64_t next = m->head, begin = cursor.partial ? cursor.at + 1 : cursor.at;
	for (unsigned name = 0; name < MODEL_NAMES; name++) {
		if (!wants[name].on)
			continue;
		uint64_t from = wants[name].resumes ? wants[name].from : RC_MAX(wants[name].from, begin);
		if (from < m->head && below(seed, 2)) {
			from += 1 + below(seed, m->head - from);
			wants[name].from = from;
			naive_drop(&naive, name, from);
			rc_cursor_out_of_step(&cursor);
		}
		if (wants[name].resumes)
			continue;
		reads = true;
		next = RC_MIN(next, model_first(m, name, from, 0));
	}
	events[cursor.partial ? SKIPPED_WITHIN : SKIPPED]++;
	if (reads && !cursor.partial)
		rc_cursor_skipped(&cursor, next);
}

/* A send of something else came back short. */
static void fall_behind(void)
{
	if (!subscription_count())
		return;
	rc_cursor_fell_behind(&cursor, rc_cursor_place(&cursor, fanout.begin));
	events[FELL_BEHIND]++;
}

/* ---- what subscription.c does ---- */

static void subscribe(uint64_t *seed, unsigned name)
{
	uint64_t readable = rc_log_readable(&m->log), from = m->head;
	if (!subscription_count() && !cursor.partial && !cursor.on_its_way && !cursor.behind) {
		rc_cursor_begin(&cursor, m->head);
		events[BEGUN_AGAIN]++;
	}
	if (below(seed, 2))
		from = readable + below(seed, m->head - readable + 1);
	model_subscribe(m, name);
	wants[name].on = true;
	wants[name].from = from;
	wants[name].resumes = from < m->head;
	rc_cursor_out_of_step(&cursor);
	if (from == m->head)
		return;
	events[cursor.on_its_way ? WANTED_BACK_ON_ITS_WAY : cursor.partial ? WANTED_BACK_WITHIN : WANTED_BACK]++;
	rc_cursor_wants_back(&cursor, rc_cursor_place(&cursor, fanout.begin));
}

static void unsubscribe(unsigned name)
{
	if (!wants[name].on)
		return;
	wants[name].on = wants[name].resumes = false;
	model_unsubscribe(m, name);
	naive_drop(&naive, name, m->head);
	if (subscription_count())
		return;
	events[UNSUBSCRIBED_WITHIN] += cursor.partial > 0;
	events[UNSUBSCRIBED_ON_ITS_WAY] += cursor.on_its_way;
	rc_cursor_unsubscribed(&cursor);
}

/* ---- a run ---- */

static void begin(uint64_t *seed)
{
	naive_begin(&naive);
	memset(&cursor, 0, sizeof cursor);
	memset(wants, 0, sizeof wants);
	memset(&fanout, 0, sizeof fanout);
	aside.begin = aside.end = 0;
	in_cohort = below(seed, 2);
	names = in_cohort ? 1 + (unsigned)below(seed, 2) : MODEL_NAMES;
	loud = 1 + (unsigned)below(seed, names);
	for (unsigned name = 0; name < names; name++)
		if (below(seed, 3) == 0)
			subscribe(seed, name);
}

static void change(uint64_t *seed)
{
	unsigned name = (unsigned)below(seed, names);
	switch (below(seed, in_cohort ? 10 : 6)) {
	case 0:
		skip(seed);
		break;
	case 1:
		fall_behind();
		break;
	case 2:
	case 3:
		if (wants[name].on)
			unsubscribe(name);
		else
			subscribe(seed, name);
		break;
	case 4:
		for (name = 0; name < names; name++)
			unsubscribe(name);
		break;
	default: /* from one to another */
		unsubscribe(name);
		if (!wants[(name + 1) % names].on)
			subscribe(seed, (name + 1) % names);
	}
}

static void go_on(uint64_t *seed)
{
	switch (below(seed, 5)) {
	case 0:
		publish(seed);
		break;
	case 1:
		pump(seed);
		break;
	case 2:
		complete(seed);
		break;
	default:
		go_round(seed);
	}
}

/* Nothing new comes: it must end with everything. */
static void drain(uint64_t *seed)
{
	unsigned steps = 0;
	while (cursor.behind || cursor.on_its_way || aside.begin < aside.end || fanout.walking ||
	       fanout.end < m->head) {
		go_round(seed);
		pump(seed);
		complete(seed);
		check_place();
		cr_assert_lt(steps++, DRAIN_MAX, "it comes to no end");
	}
	for (uint64_t number = 0; number < m->head; number++)
		cr_assert(!naive.due[number], "message %lu never came", number);
	for (unsigned name = 0; name < MODEL_NAMES; name++)
		cr_assert(!wants[name].resumes, "its topic %u still waits to begin", name);
	cr_assert(naive.half.number == RC_NONE && !cursor.resuming);
}

Test(cursor_random, against_a_list_of_what_is_due)
{
	uint64_t seed = seed_of("cursor_random"), recycled = 0, refused = 0, referred = 0;
	for (unsigned run = 0; run < RUNS; run++) {
		begin(&seed);
		const unsigned rare = 2 + (unsigned)below(&seed, below(&seed, 2) ? 8 : 80);
		for (unsigned steps = 0; steps < STEPS; steps++) {
			if (below(&seed, rare) == 0)
				change(&seed);
			else
				go_on(&seed);
			check_place();
			set_floor();
			if (below(&seed, 200) == 0)
				drain(&seed);
		}
		drain(&seed);
		recycled += m->tail;
		refused += m->refused;
		referred += naive.referred;
		naive_end(&naive);
	}
	for (unsigned event = 0; event < EVENTS; event++)
		cr_expect_geq(events[event], RUNS / 20, "event %u came %lu times", event, events[event]);
	cr_expect(recycled > 1000 && refused > 100 && referred > 1000, "%lu, %lu, %lu", recycled, refused, referred);
}
