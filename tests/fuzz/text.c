/* SPDX-License-Identifier: MIT
 *
 * text.c - UTF-8 and unmasking: every kernel that this processor has against the oracle of tests/unit/text_check.h and
 * against each other, in spans of exactly the bytes, whole and in pieces.
 */
#include "text.h"

#include "../unit/text_check.h"
#include "fuzz.h"

#define PIECES_MAX 12

static void check_pieces(const char *kernel, const uint8_t *data, size_t size, uint64_t *chances)
{
	size_t cuts[PIECES_MAX], count = 0;
	for (size_t at = 0; count < PIECES_MAX - 1 && at < size; cuts[count++] = at) {
		at += draw(chances) % (draw(chances) % 2 ? 8 : size + 1);
		at = at > size ? size : at;
	}
	cuts[count++] = size;
	for (int way = CHECK; way <= IN_PLACE; way++)
		HOLDS(pieces_agree(kernel, data, cuts, count, (enum way)way, true), "kernel %s", kernel);
}

/* Not a byte more or less than asked for, at every place in a vector. */
static void check_mask(const char *kernel, const uint8_t *data, size_t size, uint32_t mask)
{
	uint8_t *to = exact_copy(data, size), *here = exact_copy(data, size);
	rc_unmask(to, data, size, mask);
	rc_unmask(here, here, size, mask);
	for (size_t i = 0; i < size; i++)
		HOLDS(to[i] == (uint8_t)(data[i] ^ mask >> 8 * (i % 4)) && here[i] == to[i], "%s: byte %zu of %zu",
		      kernel, i, size);
	free(to);
	free(here);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4096)
		return 0;
	for (size_t k = 0; k < COUNT(text_kernels); k++) {
		uint64_t chances = hash_of(data, size);
		if (!rc_text_choose(text_kernels[k]))
			continue;
		const size_t end = size;
		for (int way = CHECK; way <= IN_PLACE; way++)
			HOLDS(pieces_agree(text_kernels[k], data, &end, 1, (enum way)way, true), "kernel %s",
			      text_kernels[k]);
		check_pieces(text_kernels[k], data, size, &chances);
		check_mask(text_kernels[k], data, size, (uint32_t)draw(&chances));
		/* From a place that is not aligned, and without the last bytes: what is peeled off at both ends
		 * changes. */
		const size_t from = size ? draw(&chances) % (size < 64 ? size : 64) : 0;
		check_mask(text_kernels[k], data + from, size - from, (uint32_t)draw(&chances));
		check_pieces(text_kernels[k], data + from, size - from, &chances);
	}
	return 0;
}
