/* SPDX-License-Identifier: MIT
 *
 * outbox.c - the outbox against a string of bytes: what goes in comes out in that order, and within its bound.
 */
#include "outbox.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rc_pool pool;

static void begin(void)
{
	rc_pool_init(&pool, 1 << 16, 1 << 20);
}

static void end(void)
{
	cr_expect_eq(pool.used_size, 0, "%zu bytes were not given back", pool.used_size);
	pool.used_size = 0;
	rc_pool_destroy(&pool);
}

static void add(struct rc_outbox *outbox, const char *text)
{
	bool full;
	uint8_t *at = rc_outbox_add(outbox, &pool, strlen(text), SIZE_MAX, &full);
	cr_assert(at && !full);
	memcpy(at, text, strlen(text));
}

static void add_first(struct rc_outbox *outbox, const char *text)
{
	uint8_t *at = rc_outbox_add_first(outbox, &pool, strlen(text));
	cr_assert(at);
	memcpy(at, text, strlen(text));
}

static void expect_next(struct rc_outbox *outbox, const char *text)
{
	const struct rc_range *range = rc_outbox_next(outbox, &pool);
	cr_assert_eq(range->size, strlen(text), "%zu bytes instead of '%s'", range->size, text);
	if (range->size)
		cr_assert(memcmp(range->at, text, range->size) == 0, "'%.*s' instead of '%s'", (int)range->size,
		          (const char *)range->at, text);
}

Test(outbox, order, .init = begin, .fini = end)
{
	struct rc_outbox *outbox = rc_outbox_new(&pool);
	expect_next(outbox, "");
	add(outbox, "one ");
	add(outbox, "two ");
	cr_expect_eq(rc_outbox_size(outbox), 8);
	expect_next(outbox, "one two ");
	add(outbox, "three ");
	rc_outbox_sent(outbox, &pool, 0);
	expect_next(outbox, "one two ");
	rc_outbox_sent(outbox, &pool, 5);
	cr_expect_eq(rc_outbox_size(outbox), 9);
	expect_next(outbox, "wo ");
	rc_outbox_sent(outbox, &pool, 3);
	add_first(outbox, "before three ");
	add(outbox, "four");
	expect_next(outbox, "before three ");
	rc_outbox_sent(outbox, &pool, 13);
	expect_next(outbox, "three four");
	rc_outbox_sent(outbox, &pool, 10);
	expect_next(outbox, "");
	rc_outbox_sent(outbox, &pool, 0);
	cr_expect_eq(rc_outbox_size(outbox), 0);
	rc_outbox_free(outbox, &pool);
	rc_outbox_free(NULL, &pool);
}

Test(outbox, empty_it_holds_no_block, .init = begin, .fini = end)
{
	struct rc_outbox *outbox = rc_outbox_new(&pool);
	const size_t alone = pool.used_size;
	add(outbox, "bytes");
	add_first(outbox, "more");
	cr_expect_eq(pool.used_size, alone + 512);
	rc_outbox_next(outbox, &pool);
	rc_outbox_sent(outbox, &pool, 4);
	cr_expect_eq(pool.used_size, alone + 256);
	rc_outbox_next(outbox, &pool);
	rc_outbox_sent(outbox, &pool, 5);
	cr_expect_eq(pool.used_size, alone);
	rc_outbox_free(outbox, &pool);
}

Test(outbox, freed_while_both_blocks_hold_bytes, .init = begin, .fini = end)
{
	struct rc_outbox *outbox = rc_outbox_new(&pool);
	add(outbox, "sending");
	rc_outbox_next(outbox, &pool);
	rc_outbox_sent(outbox, &pool, 2);
	add(outbox, "filling");
	rc_outbox_free(outbox, &pool);
}

Test(outbox, the_limit_counts_all_that_waits, .init = begin, .fini = end)
{
	struct rc_outbox *outbox = rc_outbox_new(&pool);
	bool full;
	cr_expect_null(rc_outbox_add(outbox, &pool, 11, 10, &full));
	cr_expect(full);
	cr_expect(rc_outbox_add(outbox, &pool, 6, 10, &full));
	cr_expect(!full);
	cr_expect_eq(rc_outbox_next(outbox, &pool)->size, 6);
	cr_expect_null(rc_outbox_add(outbox, &pool, 5, 10, &full));
	cr_expect(full, "what is being sent waits too");
	cr_expect_eq(rc_outbox_size(outbox), 6, "nothing has changed");
	cr_expect(rc_outbox_add(outbox, &pool, 4, 10, &full), "exactly the limit");
	rc_outbox_sent(outbox, &pool, 1);
	cr_expect(rc_outbox_add(outbox, &pool, 1, 10, &full));
	cr_expect_null(rc_outbox_add(outbox, &pool, 1, 10, &full));
	cr_expect(full);
	cr_expect_null(rc_outbox_add(outbox, &pool, SIZE_MAX - 4, 10, &full));
	cr_expect(full, "sizes that pass the end of numbers are too large as well");
	cr_expect_eq(rc_outbox_size(outbox), 10);
	rc_outbox_free(outbox, &pool);
}

Test(outbox, without_memory_nothing_changes)
{
	bool full;
	rc_pool_init(&pool, 1 << 16, 255);
	cr_expect_null(rc_outbox_new(&pool));
	pool.used_size_max = 768;
	struct rc_outbox *outbox = rc_outbox_new(&pool);
	add(outbox, "bytes");
	cr_expect_null(rc_outbox_add(outbox, &pool, 252, SIZE_MAX, &full), "it would need 512 beside the 256");
	cr_expect(!full, "that is not the limit");
	cr_expect_eq(rc_outbox_size(outbox), 5);
	cr_expect_null(rc_outbox_add_first(outbox, &pool, 300));
	cr_expect_eq(rc_outbox_size(outbox), 5);
	add_first(outbox, "first");
	expect_next(outbox, "first");
	rc_outbox_sent(outbox, &pool, 5);
	expect_next(outbox, "bytes");
	rc_outbox_free(outbox, &pool);
	end();
}

/* ---- the model: bytes in order, and how many of them are given to the ring ---- */

enum { MODEL_SIZE = 1 << 17 };
static struct {
	uint8_t bytes[MODEL_SIZE];
	size_t size, given;
	uint8_t last; /* each byte differs from the one before it */
} model;

static void fill(uint8_t *to, uint8_t *in_model, size_t size)
{
	for (size_t i = 0; i < size; i++)
		to[i] = in_model[i] = model.last = (uint8_t)(model.last + 7);
}

static size_t random_size(uint64_t *seed)
{
	static const size_t sizes[] = { 1, 2, 255, 256, 257, 512, 1000 };
	size_t i = (size_t)below(seed, 12);
	return i < sizeof sizes / sizeof *sizes ? sizes[i] : 1 + (size_t)below(seed, i == 11 ? 9000 : 60);
}

static void try_add(struct rc_outbox *outbox, uint64_t *seed, size_t size_max, unsigned *refused)
{
	bool full;
	size_t size = random_size(seed);
	uint8_t *at = rc_outbox_add(outbox, &pool, size, size_max, &full);
	cr_assert_eq(full, model.size + size > size_max);
	if (at) {
		fill(at, model.bytes + model.size, size);
		model.size += size;
	} else {
		refused[full]++;
	}
}

static void try_add_first(struct rc_outbox *outbox, uint64_t *seed, unsigned *refused)
{
	size_t size = random_size(seed);
	if (model.given || model.size + size > MODEL_SIZE || outbox->sending_begin != outbox->sending_end)
		return;
	uint8_t *at = rc_outbox_add_first(outbox, &pool, size);
	if (!at) {
		refused[0]++;
		return;
	}
	memmove(model.bytes + size, model.bytes, model.size);
	fill(at, model.bytes, size);
	model.size += size;
}

static void take_and_send(struct rc_outbox *outbox, uint64_t *seed)
{
	const struct rc_range *range = rc_outbox_next(outbox, &pool);
	cr_assert(range->size <= model.size && (range->size || !model.size), "what waits is given");
	cr_assert(model.given == 0 || range->size == model.given, "what was given stays until it has left");
	cr_assert(!range->size || memcmp(range->at, model.bytes, range->size) == 0);
	model.given = range->size;
	if (below(seed, 3) == 0)
		return;
	size_t sent = below(seed, 3) ? range->size : (size_t)below(seed, range->size + 1);
	rc_outbox_sent(outbox, &pool, sent);
	memmove(model.bytes, model.bytes + sent, model.size - sent);
	model.size -= sent;
	model.given -= sent;
}

Test(outbox, random_use)
{
	uint64_t seed = seed_of("outbox");
	unsigned refused[2] = { 0 };
	for (unsigned run = 0; run < 40; run++) {
		rc_pool_init(&pool, 1 << 14, run % 4 == 3 ? 12000 : 1 << 20);
		size_t size_max = run % 2 ? 5000 : MODEL_SIZE;
		memset(&model, 0, sizeof model);
		struct rc_outbox *outbox = rc_outbox_new(&pool);
		cr_assert(outbox);
		for (unsigned round = 0; round < 2000; round++) {
			switch (below(&seed, 4)) {
			case 0:
				take_and_send(outbox, &seed);
				break;
			case 1:
				try_add_first(outbox, &seed, refused);
				break;
			default:
				try_add(outbox, &seed, size_max, refused);
			}
			cr_assert_eq(rc_outbox_size(outbox), model.size);
		}
		rc_outbox_free(outbox, &pool);
		end();
	}
	cr_expect(refused[0] && refused[1], "both bounds were met");
}
