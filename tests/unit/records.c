/* SPDX-License-Identifier: MIT
 *
 * records.c - a producer's ring, from both ends: what one writes the other reads, and every way in which a ring can
 * make no sense is a fault and nothing else.
 */
#include "records.h"
#include "ringcast_producer.h"

#include <criterion/criterion.h>
#include <errno.h>

enum { RING = 4096, TOPICS = 2 };

static struct {
	_Alignas(8) uint8_t memory[RC_PRODUCER_BYTES_AT + RING];
	uint8_t buffer[RC_PRODUCER_RECORD_MAX(RING)];
	struct rc_records records;
	struct rc_producer producer;
} s;

static void begin(void)
{
	rc_records_init(&s.records, s.memory, RING);
	s.producer = (struct rc_producer){ .shared = s.records.shared,
		                           .bytes = s.memory + RC_PRODUCER_BYTES_AT,
		                           .size = RING,
		                           .topic_count = TOPICS,
		                           .socket = -1,
		                           .wake_fd = -1 };
}

static int next(struct rc_record *record)
{
	return rc_records_next(&s.records, TOPICS, s.buffer, record);
}

TestSuite(records, .init = begin);

Test(records, arrive_in_order_with_all_that_they_say)
{
	struct rc_record record;
	const struct rc_producer_message message = {
		.topic = 1, .flags = RC_PRODUCER_BINARY, .data = "abc", .size = 3, .time_ns = 77
	};
	cr_assert_eq(next(&record), 0);
	cr_assert_eq(rc_producer_publish(&s.producer, 0, "x", 1, 0), 0);
	cr_assert_eq(rc_producer_publish_with(&s.producer, &message), 0);
	cr_assert_eq(next(&record), 1);
	cr_assert(record.topic == 0 && record.flags == 0 && record.size == 1 && record.data[0] == 'x');
	cr_assert_eq(next(&record), 1, "it comes again until it is taken");
	cr_assert(record.topic == 0);
	cr_assert_eq(rc_records_take(&s.records), 32);
	cr_assert_eq(next(&record), 1);
	cr_assert(record.topic == 1 && record.flags == RC_PRODUCER_BINARY && record.time_ns == 77);
	cr_assert(record.size == 3 && memcmp(record.data, "abc", 3) == 0 && record.key_size == 0);
	rc_records_take(&s.records);
	cr_assert_eq(next(&record), 0);
}

Test(records, a_ring_that_is_full_says_what_would_fit)
{
	static const char payload[RING];
	struct rc_record record;
	size_t room, most = RC_PRODUCER_RECORD_MAX(RING) - sizeof(struct rc_producer_record);
	cr_assert_eq(rc_producer_room(&s.producer), most);
	cr_assert_eq(rc_producer_publish(&s.producer, 0, payload, most + 1, 0), -EMSGSIZE);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(rc_producer_publish(&s.producer, 0, payload, most, 0), 0);
	cr_assert_eq(rc_producer_room(&s.producer), 0);
	/* There is no socket here, so it takes the server for gone. */
	cr_assert_eq(rc_producer_publish(&s.producer, 0, payload, 1, 0), -EPIPE);
	cr_assert_eq(next(&record), 1);
	rc_records_take(&s.records);
	cr_assert_eq(rc_producer_room(&s.producer), 0, "the room is told, not guessed");
	rc_records_show(&s.records);
	cr_assert_eq(room = rc_producer_room(&s.producer), most);
	cr_assert_eq(rc_producer_publish(&s.producer, 0, payload, room, 0), 0);
}

Test(records, what_is_quiet_waits_for_the_flush)
{
	struct rc_record record;
	cr_assert_eq(rc_producer_publish(&s.producer, 0, "a", 1, RC_PRODUCER_QUIET), 0);
	cr_assert_eq(next(&record), 0);
	cr_assert_eq(rc_producer_flush(&s.producer), 0);
	cr_assert_eq(next(&record), 1);
}

Test(records, misuse_is_refused_at_the_producer)
{
	const struct rc_producer_message keyed = { .topic = 0, .data = "a", .size = 1, .key = "k", .key_size = 1 };
	cr_assert_eq(rc_producer_publish(&s.producer, TOPICS, "a", 1, 0), -EINVAL);
	cr_assert_eq(rc_producer_publish(&s.producer, -13, "a", 1, 0), -EINVAL);
	cr_assert_eq(rc_producer_publish(&s.producer, 0, "a", 1, 4), -EINVAL);
	cr_assert_eq(rc_producer_publish_with(&s.producer, &keyed), -EINVAL);
	cr_assert_eq(s.producer.head, 0);
}

Test(records, after_the_end_nothing_more_is_read)
{
	struct rc_record record;
	rc_producer_publish(&s.producer, 0, "a", 1, 0);
	rc_records_end(&s.records);
	rc_producer_publish(&s.producer, 0, "b", 1, 0);
	cr_assert_eq(next(&record), 1);
	rc_records_take(&s.records);
	cr_assert_eq(next(&record), 0);
	rc_records_gone(&s.records);
	cr_assert_eq(rc_producer_publish(&s.producer, 0, "c", 1, 0), -EPIPE);
}

Test(records, sleep_is_refused_beside_a_record)
{
	struct rc_record record;
	cr_assert(rc_records_sleep(&s.records));
	cr_assert_eq(s.records.shared->state, RC_PRODUCER_ASLEEP);
	rc_records_wake(&s.records);
	rc_producer_publish(&s.producer, 0, "a", 1, 0);
	cr_assert_not(rc_records_sleep(&s.records));
	cr_assert_eq(s.records.shared->state, RC_PRODUCER_AWAKE);
	cr_assert_eq(next(&record), 1);
	cr_assert_not(rc_records_sleep(&s.records), "it has not been taken");
}

Test(records, no_length_leads_out_of_the_ring)
{
	static const struct {
		const char *what;
		uint64_t head;
		struct rc_producer_record header;
	} cases[] = {
		{ "a head before the tail", UINT64_MAX - 7, { .size = 24 } },
		{ "a head more than a ring away", RING + 8, { .size = 24 } },
		{ "a head between words", 28, { .size = 24 } },
		{ "no size", 32, { .size = 0 } },
		{ "less than a header", 32, { .size = 23 } },
		{ "more than was written", 32, { .size = 40 } },
		{ "half a header was written", 16, { .size = 24 } },
		{ "more than a quarter of the ring", RING, { .size = RC_PRODUCER_RECORD_MAX(RING) + 1 } },
		{ "more than there is memory", 32, { .size = UINT32_MAX } },
		{ "a topic that nobody registered", 32, { .size = 24, .topic = TOPICS } },
		{ "a flag that nobody knows", 32, { .size = 24, .flags = 2 } },
		{ "reserved bits", 32, { .size = 24, .reserved = 1 } },
		{ "a key that is too long", 128, { .size = 128, .key_size = RC_PRODUCER_KEY_MAX + 1 } },
		{ "a key that is longer than its record", 32, { .size = 32, .key_size = 9 } },
		{ "a filler that does not fill", RING, { .size = 64, .topic = RC_PRODUCER_SKIP } },
		{ "a filler that was not written", 64, { .size = RING, .topic = RC_PRODUCER_SKIP } },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct rc_record record;
		begin();
		memcpy(s.memory + RC_PRODUCER_BYTES_AT, &cases[i].header, sizeof cases[i].header);
		s.records.shared->head = cases[i].head;
		cr_expect_eq(next(&record), -EPROTO, "%s", cases[i].what);
		cr_expect(s.records.fault, "%s", cases[i].what);
	}
}
