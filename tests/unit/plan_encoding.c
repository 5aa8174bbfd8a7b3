/* SPDX-License-Identifier: MIT
 *
 * plan_encoding.c - plans of subscribers that prefer another form of the log, as tables: which form each message leaves
 * in. For a cohort, what every client must be able to say of its stream: a frame that goes on from earlier ones comes
 * only to who has read, since the last beginning, all that the compressor has seen.
 */
#include "plan.h"

#include "log_model.h"

static struct model m;
static struct rc_plan plan;
static struct rc_encoding encoding;

enum { ENTRIES = 512, ENCODING_SIZE = 16 * 1024, TOPIC = 0, OTHER = 1 };

static void begin(void)
{
	model_begin(&m, RC_LOG_SIZE_MIN, ENTRIES, 1, 0);
	model_subscribe(&m, TOPIC);
	model_subscribe(&m, OTHER);
	rc_encoding_init(&encoding, calloc(1, ENCODING_SIZE), ENCODING_SIZE, calloc(ENTRIES, sizeof(struct rc_extent)),
	                 ENTRIES);
}

static void end(void)
{
	free(encoding.bytes);
	free(encoding.extents);
	model_end(&m);
}

TestSuite(plan_encoding, .init = begin, .fini = end);

static void put(uint64_t number, bool fresh, size_t size)
{
	static uint8_t payload[4096];
	uint8_t header[2] = { 0xc1, 0x7e };
	memset(payload, (int)('a' + number % 26), sizeof payload);
	cr_assert(rc_extent_claim(&encoding, number));
	rc_encoding_put(&encoding, &m.log, number, header, sizeof header, payload, size - 2, fresh);
}

/* One message a letter, of 100 bytes; a small letter is of the other topic:
 *   f fresh   m made   r refused   c claimed   n nobody has looked */
static void publish(const char *states)
{
	for (const char *at = states; *at; at++) {
		uint64_t number = m.head;
		model_append(&m, *at >= 'a' ? OTHER : TOPIC, 100, RC_TEXT);
		switch (*at | 0x20) {
		case 'c':
		case 'r':
			cr_assert(rc_extent_claim(&encoding, number));
			if ((*at | 0x20) == 'r')
				rc_extent_refuse(&encoding, number);
			break;
		case 'f':
		case 'm':
			put(number, (*at | 0x20) == 'f', 30);
			break;
		default:
			break;
		}
	}
}

static char form_of(uint64_t number, const uint8_t *at)
{
	const struct rc_range plain = rc_plan_frame(&m.log, &encoding, number, false);
	return at == plain.at ? 'p' : 'e';
}

/* Which form each taken entry has, '-' for those conflated; an upper letter at the end says that it stays in sync. */
static const char *forms(void)
{
	static char text[RC_PLAN_WINDOW + 2];
	unsigned count = 0, range = 0;
	size_t at = 0;
	for (unsigned i = 0; i < plan.taken_count; i++) {
		uint64_t number = plan.begin + (plan.taken[i] & RC_PLAN_OFFSET);
		if (plan.taken[i] & RC_PLAN_CONFLATED) {
			text[count++] = '-';
			continue;
		}
		bool encoded = plan.taken[i] & RC_PLAN_ENCODED;
		const uint8_t *bytes = (const uint8_t *)plan.ranges[range].at + at;
		if (!i && plan.partial)
			bytes -= plan.partial & RC_PARTIAL_SIZE;
		cr_assert_eq(form_of(number, bytes), encoded ? 'e' : 'p');
		text[count++] = encoded ? 'e' : 'p';
		at += rc_plan_frame(&m.log, &encoding, number, encoded).size -
		      (!i ? plan.partial & RC_PARTIAL_SIZE : 0);
		cr_assert_leq(at, plan.ranges[range].size);
		if (at == plan.ranges[range].size) {
			at = 0;
			range++;
		}
	}
	text[count++] = plan.synced_end ? 'S' : '.';
	text[count] = 0;
	return text;
}

static const char *plan_of(uint32_t cohort, bool synced, uint64_t from, uint32_t partial)
{
	const struct rc_interest interest = {
		.topic = TOPIC, .encoding = &encoding, .encoded_size_min = 2, .cohort = cohort, .synced = synced
	};
	rc_plan_make(&plan, &m.log, &interest, from, m.head, partial);
	return forms();
}

Test(plan_encoding, each_message_by_itself)
{
	publish("NMRCFMmM");
	plan_of(UINT32_MAX, false, 0, 0);
	cr_expect_arr_eq(forms(), "peppeee", 7);
}

Test(plan_encoding, below_its_size_a_message_stays_plain)
{
	model_append(&m, TOPIC, 99, RC_TEXT);
	put(0, true, 30);
	model_append(&m, TOPIC, 100, RC_TEXT);
	put(1, true, 30);
	const struct rc_interest interest = {
		.topic = TOPIC, .encoding = &encoding, .encoded_size_min = 102, .cohort = UINT32_MAX
	};
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect_arr_eq(forms(), "pe", 2);
}

/* To a reader of events the log's own frames would be noise. */
Test(plan_encoding, who_reads_no_frames_stops_where_there_is_nothing_else)
{
	publish("FFNFRFCF");
	struct rc_interest interest = {
		.topic = TOPIC, .encoding = &encoding, .cohort = UINT32_MAX, .encoded_only = true
	};
	static const struct {
		uint64_t begin, end;
		bool bare;
		const char *forms;
	} expected[] = {
		{ 0, 2, true, "ee." }, { 2, 2, true, "." }, { 3, 4, true, "e." },  { 4, 4, true, "." },
		{ 5, 6, true, "e." },  { 6, 6, true, "." }, { 7, 8, false, "e." },
	};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		rc_plan_make(&plan, &m.log, &interest, expected[i].begin, m.head, 0);
		cr_expect_eq(plan.end, expected[i].end, "from %lu", expected[i].begin);
		cr_expect_eq(plan.bare, expected[i].bare, "from %lu", expected[i].begin);
		cr_expect_str_eq(forms(), expected[i].forms, "from %lu", expected[i].begin);
	}
	interest.encoding = NULL;
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect(plan.bare && plan.end == 0 && plan.size == 0);
	/* What it does not want does not stop it. */
	interest.topic = OTHER;
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect(!plan.bare && plan.end == m.head && plan.size == 0);
}

Test(plan_encoding, who_joins_a_cohort_waits_for_a_beginning)
{
	publish("MMFMM");
	cr_expect_str_eq(plan_of(TOPIC, false, 0, 0), "ppeeeS");
	cr_expect_str_eq(plan_of(TOPIC, true, 0, 0), "eeeeeS");
	cr_expect_str_eq(plan_of(TOPIC, false, 3, 0), "pp.");
}

Test(plan_encoding, other_topics_are_not_of_the_cohort)
{
	publish("FfMmM");
	struct rc_want wants[2] = { { .topic = 0 }, { .topic = 1 } };
	const struct rc_interest interest = {
		.wants = wants, .want_count = 2, .encoding = &encoding, .encoded_size_min = 2, .cohort = TOPIC
	};
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect_str_eq(forms(), "epepeS");
}

/* A frame that goes plain because nobody has encoded it yet may be encoded the next moment, and what follows then
 * refers to it. */
Test(plan_encoding, who_got_a_plain_frame_is_out_of_step)
{
	publish("FMNM");
	cr_expect_str_eq(plan_of(TOPIC, false, 0, 0), "eepp.");
	cr_expect_not(rc_plan_progress(&plan, &m.log, plan.size - 1).synced);
	publish("CMFM");
	cr_expect_str_eq(plan_of(TOPIC, true, 0, 0), "eeppppeeS");
	publish("RMF");
	cr_expect_str_eq(plan_of(TOPIC, true, 6, 0), "eeppeS");
}

Test(plan_encoding, where_a_short_send_leaves_a_member_of_a_cohort)
{
	publish("MFMNF");
	cr_assert_str_eq(plan_of(TOPIC, false, 0, 0), "peepeS");
	static const struct {
		uint64_t sent, cursor;
		uint32_t partial;
		bool synced; /* there, or once the rest of the frame has left */
	} expected[] = {
		{ 0, 0, 0, false },   { 101, 0, 101, false },
		{ 102, 1, 0, false }, { 103, 1, 1 | RC_PARTIAL_ENCODED, true },
		{ 132, 2, 0, true },  { 133, 2, 1 | RC_PARTIAL_ENCODED, true },
		{ 162, 3, 0, true },  { 163, 3, 1, false },
		{ 264, 4, 0, false }, { 265, 4, 1 | RC_PARTIAL_ENCODED, true },
		{ 294, 5, 0, true },
	};
	for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
		struct rc_progress progress = rc_plan_progress(&plan, &m.log, expected[i].sent);
		cr_expect_eq(progress.cursor, expected[i].cursor, "%lu bytes", expected[i].sent);
		cr_expect_eq(progress.partial, expected[i].partial, "%lu bytes", expected[i].sent);
		cr_expect_eq(progress.synced, expected[i].synced, "%lu bytes", expected[i].sent);
	}
}

/* Whether the rest of a frame brings its reader in step was decided when it was cut: since then messages may have been
 * skipped, or the topic left and entered again. */
Test(plan_encoding, the_rest_of_a_frame_decides_nothing)
{
	publish("FMMM");
	uint32_t partial = 7 | RC_PARTIAL_ENCODED;
	cr_expect_str_eq(plan_of(TOPIC, true, 0, partial), "eeeeS");
	cr_expect_str_eq(plan_of(TOPIC, false, 0, partial), "eppp.");
	cr_expect_eq(plan.size, 23 + 3 * 102);
	cr_expect_not(rc_plan_progress(&plan, &m.log, 23).synced);
	cr_expect_eq(rc_plan_progress(&plan, &m.log, 22).partial, 29 | RC_PARTIAL_ENCODED);
	partial = 7; /* of the log's form: in step it was not */
	cr_expect_str_eq(plan_of(TOPIC, false, 0, partial), "pppp.");
}

Test(plan_encoding, what_is_left_out_breaks_the_stream)
{
	publish("FMMM");
	struct rc_want wants[1] = { { .topic = TOPIC, .conflate = true } };
	const struct rc_interest interest = { .wants = wants,
		                              .want_count = 1,
		                              .encoding = &encoding,
		                              .encoded_size_min = 2,
		                              .cohort = TOPIC,
		                              .synced = true };
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect_str_eq(forms(), "---p.");
	publish("F");
	wants[0].from = 0;
	rc_plan_make(&plan, &m.log, &interest, 0, m.head, 0);
	cr_expect_str_eq(forms(), "----eS");
}

Test(plan_encoding, encoded_frames_that_touch_are_one_range)
{
	publish("MMMNMM");
	plan_of(UINT32_MAX, false, 0, 0);
	cr_expect_eq(plan.range_count, 3);
	cr_expect_eq(plan.ranges[0].size, 90);
	cr_expect_eq(plan.ranges[1].size, 102);
	cr_expect_eq(plan.ranges[2].size, 60);
	cr_expect_eq(plan.size, 252);
}
