/* SPDX-License-Identifier: MIT
 *
 * text_check.h - what text.h promises, as checks that need no framework: tests/unit/text.c runs them here, and
 * tests/cross/text_main.c on another architecture. Each takes a kernel's name, says on stderr what was wrong and
 * returns false.
 *
 * The verdict comes from an oracle that shares nothing with the kernels: it asks which code points a prefix can still
 * become.
 */
#ifndef TEXT_CHECK_H
#define TEXT_CHECK_H

#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NEVER SIZE_MAX
#define MASK 0xC35A917Eu
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const text_kernels[] = { "scalar", "avx2", "avx512", "neon" };

/* Where vectors begin and end, and where other code begins: see engine/text_walk.h. */
static const size_t text_edges[] = { 0, 1, 7, 8, 14, 15, 16, 30, 31, 32, 62, 63, 64, 96, 127, 128, 129, 255, 256 };

/* A representative of each class of bytes, and both ends of each range that RFC 3629 names. */
static const uint8_t text_classes[] = { 0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
	                                0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
	                                0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF };

struct verdict {
	size_t wrong;  /* index of the first byte after which no valid text is possible, or NEVER */
	bool complete; /* no sequence is open at the end */
};

static inline bool reachable(unsigned length, uint32_t least, uint32_t most)
{
	static const uint32_t from[] = { 0, 0, 0x80, 0x800, 0x10000 }, to[] = { 0, 0, 0x7FF, 0xFFFF, 0x10FFFF };
	least = least < from[length] ? from[length] : least;
	most = most > to[length] ? to[length] : most;
	return least <= most && !(least >= 0xD800 && most <= 0xDFFF);
}

static inline struct verdict judged(const uint8_t *text, size_t size)
{
	for (size_t i = 0; i < size;) {
		unsigned length = text[i] < 0x80       ? 1
		                  : text[i] >> 5 == 6  ? 2
		                  : text[i] >> 4 == 14 ? 3
		                  : text[i] >> 3 == 30 ? 4
		                                       : 0;
		if (length == 0)
			return (struct verdict){ i, false };
		uint32_t point = text[i] & (0x7Fu >> length);
		for (unsigned have = 1; length > 1; have++) {
			uint32_t least = point << 6 * (length - have);
			if (!reachable(length, least, least | ((UINT32_C(1) << 6 * (length - have)) - 1)))
				return (struct verdict){ i + have - 1, false };
			if (have == length)
				break;
			if (i + have == size)
				return (struct verdict){ NEVER, false };
			if (text[i + have] >> 6 != 2)
				return (struct verdict){ i + have, false };
			point = point << 6 | (text[i + have] & 0x3F);
		}
		i += length;
	}
	return (struct verdict){ NEVER, true };
}

enum way { CHECK, COPY, IN_PLACE };

/* One piece, through spans of exactly its size when `exact`: the address sanitizer sees a byte too far. */
static inline bool piece_agrees(struct rc_utf8 *state, const uint8_t *text, size_t size, uint32_t mask, enum way way,
                                bool good, bool exact)
{
	static uint8_t here[4096], there[4096];
	uint8_t *from = exact ? malloc(size) : here, *to = from;
	if (way == COPY)
		to = exact ? malloc(size) : there;
	if (size && way != CHECK) {
		for (size_t i = 0; i < size; i++, mask = rc_mask_rotate(mask, 1))
			from[i] = text[i] ^ (uint8_t)mask;
		mask = rc_mask_rotate(mask, -size);
	} else if (size) {
		memcpy(from, text, size);
	}
	bool said = way == CHECK ? rc_utf8_check(state, from, size) : rc_unmask_utf8(state, to, from, size, mask);
	bool agrees = said == good && (!good || !size || memcmp(to, text, size) == 0);
	if (exact) {
		free(from);
		if (to != from)
			free(to);
	}
	return agrees;
}

/* A text in pieces that end at cuts[]; the last one ends it. The piece that holds the wrong byte is refused, and no
 * piece before it. */
static inline bool pieces_agree(const char *kernel, const uint8_t *text, const size_t *cuts, size_t count, enum way way,
                                bool exact)
{
	struct rc_utf8 state = { 0 };
	size_t size = cuts[count - 1];
	struct verdict verdict = judged(text, size);
	bool agrees = true, going = true;
	for (size_t i = 0, at = 0; i < count && agrees && going; at = cuts[i++]) {
		going = verdict.wrong >= cuts[i];
		agrees = piece_agrees(&state, text + at, cuts[i] - at, rc_mask_rotate(MASK, at), way, going, exact);
	}
	if (agrees && going)
		agrees = rc_utf8_complete(&state) == verdict.complete;
	if (agrees)
		return true;
	fprintf(stderr, "%s, way %d: %zu bytes, wrong at %zd, %s, cut at", kernel, (int)way, size,
	        (ssize_t)verdict.wrong, verdict.complete ? "complete" : "open or wrong");
	for (size_t i = 0; i < count; i++)
		fprintf(stderr, " %zu", cuts[i]);
	fprintf(stderr, ":");
	for (size_t i = 0; i < size; i++)
		fprintf(stderr, " %02x", text[i]);
	fprintf(stderr, "\n");
	return false;
}

/* A sequence at `at` in ASCII, `after` more bytes behind it: whole, and cut in two around and inside it. */
static inline bool sequence_agrees(const char *kernel, const uint8_t *sequence, size_t length, size_t at, size_t after,
                                   enum way way)
{
	uint8_t text[2048];
	memset(text, 'a', at + length + after);
	memcpy(text + at, sequence, length);
	size_t end = at + length + after;
	bool agrees = pieces_agree(kernel, text, &end, 1, way, false);
	for (size_t cut = at; cut <= at + length && agrees; cut++)
		agrees = pieces_agree(kernel, text, (size_t[]){ cut, end }, 2, way, false);
	return agrees;
}

/* All sequences of one and of two bytes, across every edge, cut everywhere. */
static inline bool check_pairs(const char *kernel)
{
	for (unsigned value = 0; value < 0x10000; value++) {
		const uint8_t pair[2] = { (uint8_t)(value >> 8), (uint8_t)value };
		const size_t edge = text_edges[value % COUNT(text_edges)];
		const enum way way = (enum way)(value % 3);
		for (size_t at = edge < 2 ? 0 : edge - 2; at <= edge; at++) {
			if (!sequence_agrees(kernel, pair, 2, at, value % 5, way))
				return false;
			if (pair[0] == 'b' && !sequence_agrees(kernel, pair + 1, 1, at, 0, way))
				return false;
		}
	}
	return true;
}

/* All sequences of three bytes, across the edge of a vector and alone; one of them goes on, the other ends there. */
static inline bool check_triples(const char *kernel)
{
	enum { AT = 63, SIZE = 72 };
	uint8_t plain[SIZE], masked[SIZE], to[SIZE];
	memset(plain, 'a', SIZE);
	rc_unmask(masked, plain, SIZE, MASK);
	const uint32_t mask = rc_mask_rotate(MASK, AT);
	for (uint32_t value = 0; value < UINT32_C(1) << 24; value++) {
		const uint8_t triple[4] = { (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value, 'a' };
		const struct verdict open = judged(triple, 3), whole = judged(triple, 4);
		for (unsigned i = 0; i < 3; i++)
			masked[AT + i] = triple[i] ^ (uint8_t)(mask >> 8 * i);
		struct rc_utf8 state = { 0 }, alone = { 0 };
		bool agrees = rc_unmask_utf8(&state, to, masked, SIZE, MASK) == (whole.wrong == NEVER) &&
		              (whole.wrong != NEVER || (rc_utf8_complete(&state) && memcmp(to + AT, triple, 3) == 0));
		if (agrees)
			agrees = rc_utf8_check(&alone, triple, 3) == (open.wrong == NEVER) &&
			         (open.wrong != NEVER || rc_utf8_complete(&alone) == open.complete);
		if (!agrees) {
			fprintf(stderr, "%s: %06x\n", kernel, value);
			return false;
		}
	}
	return true;
}

/* Every class of byte in each of four places, each time at another edge and in another way. */
static inline bool check_quads(const char *kernel)
{
	enum { N = COUNT(text_classes) };
	uint32_t turn = 0;
	for (uint32_t value = 0; value < N * N * N * N; value++) {
		const uint8_t quad[4] = { text_classes[value / (N * N * N)], text_classes[value / (N * N) % N],
			                  text_classes[value / N % N], text_classes[value % N] };
		if (quad[0] < 0xC0 && value % 16) /* what cannot lead is wrong at once, whatever follows */
			continue;
		turn++;
		const size_t edge = text_edges[turn % (COUNT(text_edges) - 3)];
		if (!sequence_agrees(kernel, quad, 4, edge - (edge ? turn / 32 % 4 % edge : 0), turn % 7,
		                     (enum way)(turn % 3)))
			return false;
	}
	return true;
}

/* One sequence anywhere in a long text: every block, and what is peeled off at both ends. */
static inline bool check_long(const char *kernel)
{
	static const char *const sequences[] = { "\xC3\xA9",     "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xC0\xAF",
		                                 "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x8F\xBF\xBF",
		                                 "\x80",         "\xE2\x82" };
	static const size_t sizes[] = { 320, 1024, 1093, 1279 };
	static _Alignas(64) uint8_t buffer[64 + 1279], text[1279 + 4];
	for (size_t s = 0; s < COUNT(sizes) * COUNT(sequences); s++) {
		const char *sequence = sequences[s % COUNT(sequences)];
		const size_t size = sizes[s / COUNT(sequences)], length = strlen(sequence);
		for (size_t at = 0; at + length <= size; at++) {
			uint8_t *span = buffer + at * 7 % 64;
			struct rc_utf8 state = { 0 };
			memset(text, 'a', size);
			memcpy(text + at, sequence, length);
			rc_unmask(span, text, size, MASK);
			const struct verdict verdict = judged(text, size);
			const bool said = rc_unmask_utf8(&state, span, span, size, MASK);
			if (said != (verdict.wrong == NEVER) ||
			    (said && (memcmp(span, text, size) || rc_utf8_complete(&state) != verdict.complete))) {
				fprintf(stderr, "%s: sequence %zu at %zu of %zu\n", kernel, s % COUNT(sequences), at,
				        size);
				return false;
			}
		}
	}
	return true;
}

/* XOR alone: every size at every alignment, and not a byte beside it. */
static inline bool check_unmask(const char *kernel)
{
	static _Alignas(64) uint8_t from[2048], to[2048], expected[2048];
	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (uint8_t)(i * 131 + (i >> 8));
	for (size_t size = 0; size <= 1300; size += size < 300 ? 1 : 37) {
		for (size_t offset = 0; offset < 64; offset++) {
			const uint32_t mask = rc_mask_rotate(MASK, offset);
			memcpy(expected, from, sizeof expected);
			for (size_t i = 0; i < size; i++)
				expected[64 + offset + i] ^= (uint8_t)(mask >> 8 * (i % 4));
			memcpy(to, from, sizeof to);
			rc_unmask(to + 64 + offset, to + 64 + offset, size, mask);
			bool agrees = memcmp(to, expected, sizeof to) == 0;
			memcpy(to, from, sizeof to);
			rc_unmask(to + 64 + offset, from + 64 + offset, size, mask);
			if (!agrees || memcmp(to, expected, sizeof to)) {
				fprintf(stderr, "%s: unmask %zu bytes at %zu\n", kernel, size, offset);
				return false;
			}
		}
	}
	return true;
}

/* splitmix64 */
static inline uint64_t chance(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

/* Characters of random lengths, sometimes with a byte spoilt or an end cut off. */
static inline size_t random_text(uint8_t *text, size_t size_max, uint64_t *seed)
{
	static const uint32_t least[] = { 0, 0x80, 0x800, 0x10000 }, most[] = { 0x7F, 0x7FF, 0xFFFF, 0x10FFFF };
	size_t size = 0, target = chance(seed) % (chance(seed) % 4 ? 200 : size_max - 3);
	unsigned scripts = (unsigned)chance(seed);
	while (size < target) {
		unsigned kind = scripts & 1 ? (unsigned)(chance(seed) % 4)
		                            : (unsigned)(chance(seed) % 64 == 0) * (scripts >> 1) % 4;
		uint32_t point = least[kind] + (uint32_t)(chance(seed) % (most[kind] - least[kind] + 1));
		if (point >> 11 == 0x1B)
			point = 0xFFFD;
		if (kind == 0)
			text[size++] = (uint8_t)point;
		for (unsigned i = kind; kind && i <= kind; i--)
			text[size++] = i == kind ? (uint8_t)(0xF0u << (3 - kind) | point >> 6 * i)
			                         : (uint8_t)(0x80 | (point >> 6 * i & 0x3F));
	}
	if (size && chance(seed) % 2)
		text[chance(seed) % size] = chance(seed) % 2 ? text_classes[chance(seed) % COUNT(text_classes)]
		                                             : (uint8_t)chance(seed);
	return size - (chance(seed) % 4 == 0 && size > 3 ? chance(seed) % 4 : 0);
}

/* Random texts in random pieces, in spans of exactly their size. */
static inline bool check_random(const char *kernel, uint64_t seed, unsigned rounds)
{
	static uint8_t text[4096];
	while (rounds--) {
		const uint64_t began = seed;
		size_t cuts[16], count = 0, size = random_text(text, sizeof text, &seed);
		for (size_t at = 0; count < COUNT(cuts) - 1 && at < size; cuts[count++] = at) {
			at += chance(&seed) % (chance(&seed) % 2 ? 8 : size + 1);
			at = at > size ? size : at;
		}
		cuts[count++] = size;
		if (!pieces_agree(kernel, text, cuts, count, (enum way)(chance(&seed) % 3), true)) {
			fprintf(stderr, "seed %llu\n", (unsigned long long)began);
			return false;
		}
	}
	return true;
}

/* Every size and every cut in two, valid text of all lengths of characters, in spans of exactly their size. */
static inline bool check_spans(const char *kernel)
{
	uint8_t text[144];
	for (size_t i = 0; i < sizeof text; i += 12)
		memcpy(text + i, "ab\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z", 12);
	for (size_t size = 0; size <= sizeof text; size++) {
		for (size_t cut = 0; cut <= size; cut++) {
			for (int way = CHECK; way <= IN_PLACE; way++) {
				if (!pieces_agree(kernel, text, (size_t[]){ cut, size }, 2, (enum way)way, true))
					return false;
			}
		}
	}
	return true;
}

/* Spans that touch a page nobody may touch, in front or behind: also sees what no sanitizer instruments. */
static inline bool check_guarded(const char *kernel)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *pages = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool agrees = pages != MAP_FAILED && mprotect(pages + page, page, PROT_READ | PROT_WRITE) == 0;
	for (size_t size = 0; size < 1500 && agrees; size++) {
		for (size_t behind = 0; behind < 2 && agrees; behind++) {
			uint8_t *span = behind ? pages + 2 * page - size : pages + page, copy[1500];
			struct rc_utf8 state = { 0 };
			memset(span, 'a', size);
			for (size_t i = 3; i < size; i += 70)
				memcpy(span + i - 3, "\xF0\x9F\x98\x80", 4);
			agrees = rc_utf8_check(&state, span, size) && rc_unmask_utf8(&state, copy, span, size, 0) &&
			         rc_unmask_utf8(&state, span, span, size, 0) && rc_utf8_complete(&state);
			rc_unmask(span, span, size, MASK);
			rc_unmask(span, copy, size, MASK);
			agrees = agrees && rc_unmask_utf8(&state, span, span, size, MASK) &&
			         memcmp(span, copy, size) == 0;
			if (!agrees)
				fprintf(stderr, "%s: %zu bytes %s\n", kernel, size,
				        behind ? "before the page" : "after it");
		}
	}
	if (pages != MAP_FAILED)
		munmap(pages, 3 * page);
	return agrees;
}

#endif
