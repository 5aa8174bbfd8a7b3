/* SPDX-License-Identifier: MIT
 *
 * inflate.c - compressed messages (RFC 7692, section 7.2.2). The bytes are one, as it stands in its frames: it must be
 * taken exactly when a second reader, written from RFC 1951 bit by bit, takes it too, and mean the same; after whatever
 * came, the next message is read as if nothing had been. The bytes are a text as well: what we make of it, that reader
 * must read back without looking further back than the window that was agreed.
 */
#include "deflate.h"

#include "bounds.h"
#include "check.h"
#include "fuzz.h"

#define HISTORY_MAX (64 * RC_KIB)
#define TEXT_MAX (16 * RC_KIB)

/* ---- the second reader ---- */

struct reader {
	const uint8_t *bytes;
	size_t size, at; /* in bits */
	uint8_t *out;    /* everything since the last message that took nothing over */
	size_t out_size, out_max;
	size_t back_max; /* the furthest it had to look back */
	bool failed, full;
};

static unsigned bits(struct reader *r, unsigned count)
{
	unsigned value = 0;
	for (unsigned i = 0; i < count; i++, r->at++) {
		if (r->at >= r->size) {
			r->failed = true;
			return 0;
		}
		value |= (r->bytes[r->at / 8] >> r->at % 8 & 1u) << i;
	}
	return value;
}

static void put_byte(struct reader *r, uint8_t byte)
{
	r->full |= r->out_size == r->out_max;
	if (!r->full)
		r->out[r->out_size++] = byte;
}

/* Codes by length and then by symbol, as section 3.2.2 numbers them. */
struct code {
	unsigned count[16], symbols[288];
};

/* Returns whether the lengths make a whole code; one of a single code is whole enough, where `single` allows it. */
static bool make_code(struct code *code, const uint8_t *lengths, unsigned symbol_count, bool single)
{
	unsigned place[16] = { 0 }, used = 0, longest = 0;
	long left = 1;
	memset(code, 0, sizeof *code);
	for (unsigned i = 0; i < symbol_count; i++)
		code->count[lengths[i]]++;
	code->count[0] = 0;
	for (unsigned length = 1; length < 16; length++) {
		left = left * 2 - (long)code->count[length];
		if (left < 0)
			return false;
		place[length] = used;
		used += code->count[length];
		longest = code->count[length] ? length : longest;
	}
	for (unsigned i = 0; i < symbol_count; i++)
		if (lengths[i])
			code->symbols[place[lengths[i]]++] = i;
	return left == 0 || (single && longest <= 1);
}

static unsigned symbol(struct reader *r, const struct code *code)
{
	unsigned value = 0, first = 0, before = 0;
	for (unsigned length = 1; length < 16 && !r->failed; length++) {
		value = value << 1 | bits(r, 1);
		first <<= 1;
		if (value - first < code->count[length])
			return code->symbols[before + value - first];
		first += code->count[length];
		before += code->count[length];
	}
	r->failed = true;
	return 0;
}

static void copy_back(struct reader *r, unsigned length_code, const struct code *distances)
{
	static const uint16_t lengths[] = { 3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
		                            31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258 };
	unsigned extra = length_code < 8 || length_code == 28 ? 0 : length_code / 4 - 1;
	if (length_code > 28) {
		r->failed = true;
		return;
	}
	unsigned length = lengths[length_code] + bits(r, extra), code = symbol(r, distances);
	if (code > 29)
		r->failed = true;
	if (r->failed)
		return;
	unsigned more = code < 4 ? 0 : code / 2 - 1;
	size_t back = (code < 4 ? code + 1 : ((size_t)(2 + code % 2) << more) + 1) + bits(r, more);
	if (r->failed || back > r->out_size) {
		r->failed = true;
		return;
	}
	r->back_max = RC_MAX(r->back_max, back);
	for (; length && !r->full; length--)
		put_byte(r, r->out[r->out_size - back]);
}

static void coded_block(struct reader *r, const struct code *letters, const struct code *distances)
{
	while (!r->failed && !r->full) {
		unsigned s = symbol(r, letters);
		if (r->failed || s == 256)
			return;
		if (s < 256)
			put_byte(r, (uint8_t)s);
		else
			copy_back(r, s - 257, distances);
	}
}

static void fixed_block(struct reader *r)
{
	struct code letters, distances;
	uint8_t lengths[288];
	for (unsigned i = 0; i < 288; i++)
		lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
	make_code(&letters, lengths, 288, false);
	memset(lengths, 5, 32);
	make_code(&distances, lengths, 32, false);
	coded_block(r, &letters, &distances);
}

static void dynamic_block(struct reader *r)
{
	static const uint8_t order[19] = { 16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15 };
	struct code letters, distances, code;
	uint8_t lengths[320] = { 0 };
	unsigned letter_count = bits(r, 5) + 257, distance_count = bits(r, 5) + 1, count = bits(r, 4) + 4;
	for (unsigned i = 0; i < count; i++)
		lengths[order[i]] = (uint8_t)bits(r, 3);
	if (letter_count > 286 || distance_count > 30 || !make_code(&code, lengths, 19, false))
		r->failed = true;
	memset(lengths, 0, 19);
	for (unsigned i = 0; !r->failed && i < letter_count + distance_count;) {
		unsigned s = symbol(r, &code), times = 1;
		uint8_t value = s < 16 ? (uint8_t)s : 0;
		if (s == 16) {
			r->failed |= i == 0;
			value = i ? lengths[i - 1] : 0;
			times = 3 + bits(r, 2);
		} else if (s > 16) {
			times = s == 17 ? 3 + bits(r, 3) : 11 + bits(r, 7);
		}
		r->failed |= i + times > letter_count + distance_count;
		for (; !r->failed && times; times--)
			lengths[i++] = value;
	}
	if (r->failed || !lengths[256] || !make_code(&letters, lengths, letter_count, true) ||
	    !make_code(&distances, lengths + letter_count, distance_count, true))
		r->failed = true;
	else
		coded_block(r, &letters, &distances);
}

static void stored_block(struct reader *r)
{
	r->at = (r->at + 7) / 8 * 8;
	unsigned size = bits(r, 16), inverse = bits(r, 16);
	r->failed |= (size ^ inverse) != 0xffff;
	for (; size && !r->failed && !r->full; size--) {
		uint8_t byte = (uint8_t)bits(r, 8);
		if (!r->failed)
			put_byte(r, byte);
	}
}

/* Section 7.2.2: the four bytes that were cut off are put back; then blocks, to the end. One that is final ends a
 * stream, and another may begin at the next byte, but not that of the four bytes. */
static void read_message(struct reader *r, const uint8_t *data, size_t size)
{
	uint8_t *bytes = malloc(size + 4);
	bool final = false;
	memcpy(bytes, data, size);
	memcpy(bytes + size, "\0\0\xff\xff", 4);
	r->bytes = bytes;
	r->size = (size + 4) * 8;
	r->at = 0;
	r->failed = r->full = false;
	while (!r->failed && !r->full && r->at < r->size) {
		final = bits(r, 1);
		unsigned kind = bits(r, 2);
		if (r->failed)
			break;
		if (kind == 0)
			stored_block(r);
		else if (kind == 1)
			fixed_block(r);
		else if (kind == 2)
			dynamic_block(r);
		else
			r->failed = true;
		if (final)
			r->at = (r->at + 7) / 8 * 8;
	}
	r->failed |= final && !r->full;
	free(bytes);
}

/* ---- what must hold ---- */

static uint8_t history[2 * HISTORY_MAX];
static struct rc_pool pool;

static enum rc_inflated expected(struct reader *r, const uint8_t *data, size_t size, size_t size_max)
{
	r->out = history;
	r->out_max = r->out_size + size_max;
	read_message(r, data, size);
	return r->full ? RC_INFLATE_TOO_BIG : r->failed ? RC_INFLATE_MALFORMED : RC_INFLATED;
}

static void compare(struct rc_inflater *inflater, struct reader *r, const uint8_t *data, size_t size, size_t size_max,
                    bool takeover)
{
	struct rc_inflated_message message;
	size_t before = r->out_size;
	enum rc_inflated wanted = expected(r, data, size, size_max);
	enum rc_inflated got = rc_inflate_message(inflater, &pool, data, size, size_max, takeover, &message);
	HOLDS(got == wanted, "%d, not %d, at most %zu bytes, takeover %d", got, wanted, size_max, takeover);
	if (got == RC_INFLATED) {
		HOLDS(message.size == r->out_size - before && !memcmp(message.data, history + before, message.size),
		      "other bytes");
		HOLDS(message.capacity <= 2 * RC_MAX(size_max, 4 * RC_KIB), "%zu bytes for at most %zu",
		      message.capacity, size_max);
	}
	rc_pool_give(&pool, message.data, message.capacity);
	HOLDS(pool.used_size == 0, "%zu bytes are kept", pool.used_size);
	if (got != RC_INFLATED || !takeover)
		r->out_size = 0;
}

static void check_message(const uint8_t *data, size_t size, uint64_t *chances)
{
	static const size_t limits[] = { 1, 100, 4095, 4096, 5000, 20000 };
	struct rc_inflater *inflater = rc_inflater_new(15);
	struct reader reader = { 0 };
	for (unsigned i = 0; i < 5; i++) {
		size_t size_max = limits[draw(chances) % 6];
		bool takeover = draw(chances) % 3;
		compare(inflater, &reader, data, size, size_max, takeover);
		if (draw(chances) % 2) {
			size_t cut = size ? draw(chances) % size : 0;
			compare(inflater, &reader, data + cut, size - cut, size_max, takeover);
		}
		if (draw(chances) % 2)
			compare(inflater, &reader, (const uint8_t *)"\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100, takeover);
	}
	rc_inflater_free(inflater);
}

static void check_text(const uint8_t *data, size_t size, uint64_t *chances)
{
	static struct rc_deflater *deflaters[RC_WINDOW_COUNT][10];
	static const unsigned window_bits[] = { 8, 9, 12, 15 };
	static uint8_t to[2 * TEXT_MAX + 64];
	unsigned window = (unsigned)draw(chances) % RC_WINDOW_COUNT, level = 1 + (unsigned)draw(chances) % 9;
	struct rc_deflater **deflater = &deflaters[window][level];
	struct reader reader = { .out = history };
	if (!*deflater)
		*deflater = rc_deflater_new((enum rc_window)window, (int)level);
	for (unsigned i = 0; i < 3; i++) {
		size_t part = draw(chances) % (size + 1), before = reader.out_size;
		size_t room = draw(chances) % 4 ? rc_deflate_bound(part) : draw(chances) % rc_deflate_bound(part);
		bool fresh = i == 0 || draw(chances) % 4 == 0;
		size_t made = rc_deflate_message(*deflater, to, room, data + size - part, part, fresh);
		HOLDS(made <= room, "%zu bytes in %zu", made, room);
		HOLDS(made || !part || room < rc_deflate_bound(part), "the bound is none: %zu bytes", part);
		if (!made)
			return;
		if (fresh)
			reader.out_size = before = 0; /* it must make sense without */
		enum rc_inflated result = expected(&reader, to, made, part);
		HOLDS(result == RC_INFLATED && reader.out_size - before == part &&
		          (!part || !memcmp(history + before, data + size - part, part)),
		      "%d, window %u, level %u", result, window_bits[window], level);
		HOLDS(reader.back_max <= (size_t)1 << window_bits[window], "%zu back, window %u", reader.back_max,
		      window_bits[window]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t chances = hash_of(data, size);
	if (size > TEXT_MAX)
		return 0;
	rc_pool_init(&pool, 0, 128 * RC_KIB);
	check_message(data, size, &chances);
	check_text(data, size, &chances);
	rc_pool_destroy(&pool);
	return 0;
}
