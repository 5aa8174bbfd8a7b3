/* SPDX-License-Identifier: MIT
 *
 * log_random.c - the log under random operations: messages of all sizes to several topics, readers that come along,
 * fall behind and go back, subscriptions that come and go. log_model.h knows what must come of it.
 */
#include "log_model.h"

static struct model m;

static size_t random_size(uint64_t *seed)
{
	static const size_t edges[] = { 0, 1, 125, 126, 127, 65535, 65536, 65537 };
	const size_t size_max = m.log.size / 4 - RC_FRAME_HEADER_MAX;
	switch (below(seed, 24)) {
	case 0:
		return size_max - 1 + below(seed, 3); /* the last is too large */
	case 1:
	case 2:
		return edges[below(seed, sizeof edges / sizeof *edges)];
	case 3:
		return below(seed, size_max);
	case 4:
	case 5:
		return below(seed, 3 * m.log.segment_size);
	default:
		return below(seed, 200);
	}
}

static void move_floor(uint64_t *seed)
{
	unsigned reader = (unsigned)below(seed, m.log.floor_count);
	uint64_t floor = m.floors[reader], readable = rc_log_readable(&m.log);
	cr_assert_eq(readable, model_readable(&m));
	switch (below(seed, 8)) {
	case 0: /* back, as far as is allowed */
		if (floor > readable)
			floor = below(seed, 2) ? readable : readable + below(seed, floor - readable);
		break;
	case 1:
		break; /* it stays where it is, and the log comes around */
	case 2:
	case 3:
		floor += below(seed, m.head - floor + 1);
		break;
	default:
		floor = RC_MAX(floor, readable);
	}
	m.floors[reader] = floor;
}

static void search(uint64_t *seed)
{
	unsigned name = (unsigned)below(seed, MODEL_NAMES);
	const struct rc_topic *topic = model_find(&m, name);
	if (!topic)
		return;
	uint64_t from = m.tail + below(seed, m.head - m.tail + 2);
	cr_assert_eq(rc_log_first_from(&m.log, topic, from), model_first(&m, name, from, 0));
	uint64_t sequence = below(seed, 2) ? below(seed, m.names[name].sequence + 2)
	                                   : m.names[name].sequence + 1 - below(seed, m.names[name].entry_count + 2);
	uint64_t oldest = below(seed, 3) ? 0 : from;
	cr_assert_eq(rc_log_first_sequence(&m.log, topic, sequence, oldest), model_first(&m, name, oldest, sequence));
}

static void subscribe(uint64_t *seed)
{
	unsigned name = (unsigned)below(seed, MODEL_NAMES);
	if (!m.names[name].subscriptions)
		model_subscribe(&m, name);
	else if (m.names[name].subscriptions < 3 && below(seed, 3) == 0)
		model_subscribe(&m, name);
	else
		model_unsubscribe(&m, name);
}

static void check_too_far(uint64_t *seed)
{
	if (m.tail == m.head)
		return;
	uint64_t number = m.tail + below(seed, m.head - m.tail);
	bool far = rc_log_too_far(&m.log, rc_log_entry(&m.log, number), number, m.head, m.end);
	cr_assert_eq(far, number < model_readable(&m), "what may be read, and only that, is not too far");
}

static void step(uint64_t *seed)
{
	/* The last names are published rarely, so that they leave the log while others go on. */
	unsigned name = (unsigned)below(seed, below(seed, 40) ? MODEL_NAMES - 4 : MODEL_NAMES);
	model_append(&m, name, random_size(seed), below(seed, 2) ? RC_TEXT : RC_BINARY);
	if (m.log.floor_count && below(seed, 3))
		move_floor(seed);
	search(seed);
	check_too_far(seed);
	if (below(seed, 30) == 0)
		subscribe(seed);
	model_check_log(&m);
}

Test(log_random, against_a_list_of_messages)
{
	static const struct {
		uint64_t size, entry_count;
		unsigned readers;
		size_t kept_size_max;
	} kinds[] = {
		{ 64 * RC_KIB, 64, 1, 1 << 20 },   { 64 * RC_KIB, 512, 2, 1 << 20 }, { 64 * RC_KIB, 512, 0, 300 },
		{ 64 * RC_KIB, 4096, 3, 1 << 20 }, { 512 * RC_KIB, 1024, 2, 70000 }, { 1 * RC_MIB, 128, 1, 1 << 20 },
		{ 256 * RC_KIB, 8192, 4, 0 },
	};
	uint64_t seed = seed_of("log_random"), recycled = 0, refused = 0, kept = 0, forgotten = 0;
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		model_begin(&m, kinds[i].size, kinds[i].entry_count, kinds[i].readers, kinds[i].kept_size_max);
		m.holes = below(&seed, 2) ? seed | 1 : 0;
		for (unsigned round = 0; round < 12000; round++) {
			step(&seed);
			if (round % 100 == 0)
				model_check_all(&m);
			for (unsigned name = 0; name < MODEL_NAMES; name++) {
				kept += m.names[name].kept != RC_NONE;
				forgotten += !m.names[name].exists && m.names[name].epoch;
			}
		}
		model_check_all(&m);
		recycled += m.tail;
		refused += m.refused;
		model_end(&m);
	}
	cr_expect(recycled > 1000 && refused > 100 && kept && forgotten, "%lu, %lu, %lu, %lu", recycled, refused, kept,
	          forgotten);
}

/* What lies where a recycled entry lay belongs to another topic, and may look as if it continued the chain: with two
 * topics in turns of bursts, whose sequences stay close to each other, it often does. */
Test(log_random, chains_do_not_run_into_each_other)
{
	uint64_t seed = seed_of("log_random chains");
	for (unsigned run = 0; run < 400; run++) {
		model_begin(&m, RC_LOG_SIZE_MIN, 64, 0, 0);
		for (unsigned i = 0, name = 0, left = 0; i < 300; i++, left--) {
			if (!left) {
				name = (unsigned)below(&seed, 2);
				left = 1 + (unsigned)below(&seed, 1 + run % 20);
			}
			model_append(&m, name, 0, RC_TEXT);
			search(&seed);
		}
		model_check_all(&m);
		model_end(&m);
	}
}
