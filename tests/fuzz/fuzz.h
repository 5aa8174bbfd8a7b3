/* SPDX-License-Identifier: MIT
 *
 * fuzz.h - what the fuzzers share. Each file here is one target: a function from bytes to nothing that aborts when a
 * property does not hold. libFuzzer drives it (`make fuzz TARGET=name`), or run.c does with the seeds of
 * corpus/name/ (`make test`).
 *
 * The bytes are what the code under test reads, with nothing of the harness in them where that can be: what the harness
 * must choose (cuts, sizes) comes from their hash, so a seed can be read, and any capture is a seed.
 */
#ifndef RC_TESTS_FUZZ_H
#define RC_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Says which property broke, and ends. */
#define HOLDS(x, ...)                                                                                                  \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #x);                                        \
			fprintf(stderr, __VA_ARGS__);                                                                  \
			fputc('\n', stderr);                                                                           \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* FNV-1a */
static inline uint64_t hash_of(const uint8_t *data, size_t size)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* splitmix64 */
static inline uint64_t draw(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9E3779B97F4A7C15);
	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

/* A block of exactly these bytes, so that the address sanitizer sees what is read or written beside it. */
static inline void *exact_copy(const void *from, size_t size)
{
	void *to = malloc(size ? size : 1);
	HOLDS(to, "no memory");
	if (size)
		memcpy(to, from, size);
	return to;
}

/* Cuts blanks off both ends. */
static inline char *trim(char *text)
{
	text += strspn(text, " \t\r");
	for (char *end = text + strlen(text); end > text && strchr(" \t\r", end[-1]);)
		*--end = 0;
	return text;
}

/* Whether a comma separated list holds the word. */
static inline bool list_holds(const char *list, const char *word, int (*compare)(const char *, const char *))
{
	char *copy = strdup(list), *rest = copy;
	bool held = false;
	for (char *item; (item = strsep(&rest, ","));)
		held |= *trim(item) && compare(trim(item), word) == 0;
	free(copy);
	return held;
}

/* For targets whose input is a program of small steps: one byte a choice; 0 for ever once it is over. */
struct steps {
	const uint8_t *at, *end;
};

static inline unsigned step_byte(struct steps *steps)
{
	return steps->at < steps->end ? *steps->at++ : 0;
}

static inline unsigned step_below(struct steps *steps, unsigned bound)
{
	unsigned value = step_byte(steps);
	if (bound > 256)
		value = value << 8 | step_byte(steps);
	return bound ? value % bound : 0;
}

#endif
