/* SPDX-License-Identifier: MIT
 *
 * plan_model.h - a naive plan beside the real one: the log is read entry by entry, and each message is taken, left out
 * or the first that does not fit. It knows no chains and no sets. One program includes it, and has one log at a time.
 */
#ifndef RC_TESTS_PLAN_MODEL_H
#define RC_TESTS_PLAN_MODEL_H

#include "encoding.h"
#include "log_model.h"
#include "plan.h"

static struct model m;

/* ---- the other form of some messages: shorter, and with bytes of its own ---- */

static struct {
	struct rc_encoding encoding;
	enum rc_extent_state *states;
	uint64_t *positions;
} form;

static size_t form_payload_size(uint64_t number)
{
	return 1 + m.messages[number].size / 3;
}

static size_t form_frame(uint8_t *to, uint64_t number)
{
	size_t header_size = model_header(to, form_payload_size(number), RC_BINARY);
	model_payload(to + header_size, form_payload_size(number), 1000, number);
	return header_size + form_payload_size(number);
}

/* Large enough that none is recycled: see encoding.h for what happens then. */
static void form_begin(uint64_t *seed)
{
	const uint64_t size = 8 * m.log.size, count = m.log.entry_count;
	rc_encoding_init(&form.encoding, malloc(size), size, calloc(count, sizeof(struct rc_extent)), count);
	form.states = calloc(m.head, sizeof *form.states);
	form.positions = calloc(m.head, sizeof *form.positions);
	cr_assert(form.encoding.bytes && form.encoding.extents && form.states && form.positions);
	for (uint64_t number = m.tail; number < m.head; number++) {
		uint64_t kind = below(seed, 8);
		if (kind == 0)
			continue;
		cr_assert(rc_extent_claim(&form.encoding, number));
		cr_assert(!rc_extent_claim(&form.encoding, number));
		form.states[number] = kind == 1 ? RC_EXTENT_REFUSED : kind == 2 ? RC_EXTENT_FRESH : RC_EXTENT_MADE;
		if (kind == 1) {
			rc_extent_refuse(&form.encoding, number);
			continue;
		}
		size_t frame_size = form_frame(m.frame, number), header_size = frame_size - form_payload_size(number);
		rc_encoding_put(&form.encoding, &m.log, number, m.frame, header_size, m.frame + header_size,
		                form_payload_size(number), kind == 2);
		form.positions[number] = form.encoding.write_position - frame_size;
		cr_assert_eq(rc_extent_state(&form.encoding, number), form.states[number]);
	}
}

static void form_end(void)
{
	free(form.encoding.bytes);
	free(form.encoding.extents);
	free(form.states);
	free(form.positions);
	memset(&form, 0, sizeof form);
}

/* ---- the naive plan ---- */

static struct {
	bool wanted, conflate;
	uint64_t from;
} wants[MODEL_NAMES]; /* by topic number */

static struct {
	bool used, synced;
	uint32_t size_min, cohort;
} wants_form;

static struct {
	uint64_t begin, end, size;
	unsigned range_count, frame_count, conflated_count, taken_count;
	bool synced;
	struct {
		uint64_t number, begin; /* of its bytes in the plan */
		uint32_t size, skip;
		bool conflated, encoded, synced_before;
	} taken[RC_PLAN_TAKEN_MAX];
} naive;

static bool is_wanted(uint64_t number)
{
	uint32_t topic = m.messages[number].topic;
	return wants[topic].wanted && number >= wants[topic].from;
}

static bool is_left_out(uint64_t number)
{
	return wants[m.messages[number].topic].conflate && m.names[m.messages[number].name].newest != number;
}

static bool is_encoded(uint64_t number, bool synced)
{
	const struct model_message *message = &m.messages[number];
	bool in_cohort = wants_form.cohort != UINT32_MAX;
	if (!wants_form.used || model_frame_size(message->size) < wants_form.size_min)
		return false;
	if (in_cohort && wants_form.cohort != message->topic)
		return false;
	return form.states[number] == RC_EXTENT_FRESH ||
	       (form.states[number] == RC_EXTENT_MADE && (!in_cohort || synced));
}

static bool is_synced_behind(uint64_t number, bool synced, bool encoded)
{
	return m.messages[number].topic == wants_form.cohort ? encoded : synced;
}

static size_t frame_of(uint64_t number, bool encoded)
{
	return encoded ? form_frame(m.frame, number) : model_frame(m.frame, &m.messages[number]);
}

static size_t frame_size_of(uint64_t number, bool encoded)
{
	return model_frame_size(encoded ? form_payload_size(number) : m.messages[number].size);
}

static const uint8_t *place_of(uint64_t number, bool encoded)
{
	return encoded ? form.encoding.bytes + form.positions[number]
	               : m.log.bytes + m.messages[number].position % m.log.size;
}

/* False when it does not fit. */
static bool naive_take(uint64_t number, uint32_t skip, bool conflated, bool encoded)
{
	static const uint8_t *last_end;
	const uint8_t *at = place_of(number, encoded) + skip;
	uint32_t size = (uint32_t)frame_size_of(number, encoded) - skip;
	bool touches = naive.range_count && at == last_end;
	if (!conflated &&
	    (naive.frame_count == RC_PLAN_FRAMES_MAX || (naive.frame_count && naive.size + size > RC_PLAN_SIZE_MAX) ||
	     (!touches && naive.range_count == RC_PLAN_RANGES_MAX)))
		return false;
	unsigned i = naive.taken_count++;
	naive.taken[i].number = number;
	naive.taken[i].begin = naive.size;
	naive.taken[i].size = size;
	naive.taken[i].skip = skip;
	naive.taken[i].conflated = conflated;
	naive.taken[i].encoded = encoded;
	naive.taken[i].synced_before = naive.synced;
	naive.conflated_count += conflated;
	naive.synced = !conflated && is_synced_behind(number, naive.synced, encoded);
	if (conflated)
		return true;
	naive.size += size;
	naive.frame_count++;
	naive.range_count += !touches;
	last_end = at + size;
	return true;
}

static void naive_plan(uint64_t begin, uint64_t end, uint32_t partial, bool by_set)
{
	memset(&naive, 0, sizeof naive);
	naive.begin = begin;
	naive.end = by_set ? RC_MIN(end, begin + RC_PLAN_WINDOW) : end;
	naive.synced = wants_form.synced;
	while (!partial && naive.begin < naive.end && !is_wanted(naive.begin))
		naive.begin++;
	if (naive.begin == naive.end)
		naive.begin = begin;
	for (uint64_t number = begin; number < naive.end; number++) {
		bool taken = true;
		if (partial && number == begin) {
			taken = naive_take(number, partial & RC_PARTIAL_SIZE, false, partial & RC_PARTIAL_ENCODED);
			naive.synced = wants_form.synced; /* that was decided when it was cut */
		} else if (is_wanted(number))
			taken = naive.taken_count < RC_PLAN_TAKEN_MAX &&
			        naive_take(number, 0, is_left_out(number),
			                   !is_left_out(number) && is_encoded(number, naive.synced));
		if (!taken)
			naive.end = number;
	}
}

#endif
