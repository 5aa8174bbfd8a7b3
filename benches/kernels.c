/* SPDX-License-Identifier: MIT
 *
 * kernels.c - what unmasking and validating cost: every kernel, by size and kind of text, against memcpy of the same
 * size, and the ratios that are promised. Alternatives run in turn, A B A B, and each figure is a median, so that what
 * else the machine does falls on all of them.
 *
 *   kernels [--tiny]    --tiny: a fraction of a second, to see that it runs; its figures mean nothing
 *
 * In place, the mask is zero: no kernel looks at its value, and the text stays what it is, round after round.
 */
#include "session.h"
#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS_MAX 61
#define OFFSET 6 /* of a payload in the buffer: after a short masked header */
#define MASK 0x5AC3E917u
#define LARGEST ((size_t)1 << 20)

static const char *const kinds[] = { "ASCII", "Latin", "Cyrillic", "CJK", "emoji" };
static const char *const phrases[] = {
	"The quick brown fox jumps over the lazy dog; 0123456789. ",
	"Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis. ",
	"Съешь ещё этих мягких французских булок, да выпей чаю. ",
	"天地玄黃宇宙洪荒日月盈昃辰宿列張寒來暑往秋收冬藏。",
	"😀🚀🎉🐙🌍🔥🥝🦊",
	"Mixed: naïve Привет 世界 😀 and plain words between; ",
};
enum { KINDS = 5, MIXED = 5, TEXTS = 6 };

enum what { MEMCPY, UNMASK, CHECK, FUSED, TWO_PASSES };

struct job {
	const char *kernel;
	enum what what;
	uint8_t *to;
	const uint8_t *from;
	size_t size;
	uint32_t mask;
};

/* Small spans are not the same bytes again and again: a load would wait for the store of the round before. */
static size_t stride(size_t size)
{
	return (size + OFFSET + 63) / 64 * 64;
}
static size_t copies(size_t size)
{
	return size < 12800 ? 12800 / stride(size) : 1;
}

static unsigned rounds = 31;
static double sample_ns = 200000;
static volatile bool sink;

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void run(const struct job *job, size_t times)
{
	const size_t step = stride(job->size), all = step * copies(job->size), size = job->size;
	bool valid = true;
	for (size_t i = 0, at = 0; i < times; i++) {
		struct rc_utf8 state = { 0 };
		uint8_t *to = job->to + at;
		const uint8_t *from = job->from + at;
		at = at + step == all ? 0 : at + step;
		switch (job->what) {
		case MEMCPY:
			memcpy(to, from, size);
			break;
		case UNMASK:
			rc_unmask(to, from, size, job->mask);
			break;
		case CHECK:
			valid &= rc_utf8_check(&state, from, size);
			break;
		case FUSED:
			valid &= rc_unmask_utf8(&state, to, from, size, job->mask);
			break;
		case TWO_PASSES:
			rc_unmask(to, from, size, job->mask);
			valid &= rc_utf8_check(&state, to, size);
			break;
		}
		__asm__ volatile("" ::: "memory");
	}
	if (!valid) {
		fprintf(stderr, "kernels: %s refused a valid text of %zu bytes\n", job->kernel, job->size);
		exit(1);
	}
	sink = valid;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
	qsort(values, count, sizeof *values, by_value);
	return values[count / 2];
}

/* Nanoseconds of one call of each job, taken in turn. */
static void measure(const struct job *jobs, size_t count, double *ns)
{
	static double taken[8][ROUNDS_MAX];
	for (unsigned round = 0; round < rounds; round++) {
		for (size_t j = 0; j < count; j++) {
			size_t times =
			    (size_t)(sample_ns / (5 + (double)jobs[j].size / (jobs[j].kernel[0] == 's' ? 1 : 25))) + 1;
			rc_text_choose(jobs[j].kernel);
			run(&jobs[j], times / 8 + 1);
			double start = now_ns();
			run(&jobs[j], times);
			taken[j][round] = (now_ns() - start) / (double)times;
		}
	}
	for (size_t j = 0; j < count; j++)
		ns[j] = median(taken[j], rounds);
}

static uint8_t *plain[TEXTS], *masked[TEXTS], *target;

/* `size` bytes of a text, whole characters: what does not fit at the end becomes dots. */
static void fill(uint8_t *to, size_t size, const char *phrase)
{
	size_t length = strlen(phrase), at = 0;
	for (; at + length <= size; at += length)
		memcpy(to + at, phrase, length);
	for (const char *c = phrase; at < size;) {
		size_t n = 1;
		while (((uint8_t)c[n] & 0xC0) == 0x80)
			n++;
		if (at + n > size)
			break;
		memcpy(to + at, c, n);
		at += n;
		c += n;
	}
	memset(to + at, '.', size - at);
}

static void make_text(int kind, size_t size)
{
	for (size_t i = 0, at = OFFSET; i < copies(size); i++, at += stride(size)) {
		fill(plain[kind] + at, size, phrases[kind]);
		rc_unmask(masked[kind] + at, plain[kind] + at, size, MASK);
	}
}

static struct job copying(const char *kernel, enum what what, int kind, size_t size)
{
	return (struct job){ kernel, what, target, masked[kind] + OFFSET, size, MASK };
}

static struct job in_place(const char *kernel, enum what what, int kind, size_t size)
{
	return (struct job){ kernel, what, plain[kind] + OFFSET, plain[kind] + OFFSET, size, 0 };
}

static void table(const char *kernel)
{
	static const size_t sizes[] = { 8, 16, 32, 64, 125, 300, 1024, 4096, 16384, 65536, 262144, LARGEST };
	printf("\n%s, bytes a nanosecond; in place but for memcpy\n%9s %8s %8s %8s", kernel, "bytes", "memcpy",
	       "unmask", "validate");
	for (int k = 0; k < KINDS; k++)
		printf(" %9s", kinds[k]);
	printf("   (both in one pass; validate: ASCII)\n");
	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		const size_t size = sizes[s];
		struct job jobs[3 + KINDS] = {
			copying(kernel, MEMCPY, 0, size),
			in_place(kernel, UNMASK, 0, size),
			in_place(kernel, CHECK, 0, size),
		};
		double ns[3 + KINDS];
		for (int k = 0; k < KINDS; k++) {
			make_text(k, size);
			jobs[3 + k] = in_place(kernel, FUSED, k, size);
		}
		measure(jobs, 3 + KINDS, ns);
		printf("%9zu", size);
		for (int j = 0; j < 3 + KINDS; j++)
			printf(j < 3 ? " %8.2f" : " %9.2f", (double)size / ns[j]);
		printf("\n");
	}
}

/* Prints how fast `a` is as a multiple of `b`. */
static void speed(const char *what, struct job a, struct job b, double least)
{
	struct job jobs[2] = { a, b };
	double ns[2];
	measure(jobs, 2, ns);
	double ratio = ns[1] / ns[0];
	printf("  %-58s %8.1f ns %9.1f ns  %6.2f  (at least %.2f)%s\n", what, ns[0], ns[1], ratio, least,
	       ratio < least ? "  MISSED" : "");
}

static void ratios(const char *best)
{
	static const size_t sizes[] = { 1024, 4096, 16384, 65536, 262144, LARGEST };
	char what[80];
	printf("\nratios of speed, %s\n", best);
	for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
		const size_t size = sizes[s];
		make_text(0, size);
		snprintf(what, sizeof what, "unmask in place / memcpy, %zu bytes", size);
		speed(what, in_place(best, UNMASK, 0, size), copying(best, MEMCPY, 0, size), 0.9);
		snprintf(what, sizeof what, "unmask copying / memcpy, %zu bytes", size);
		speed(what, copying(best, UNMASK, 0, size), copying(best, MEMCPY, 0, size), 0.9);
	}
	const size_t size = 16384;
	for (int k = 0; k < TEXTS; k++)
		make_text(k, size);
	speed("one pass, ASCII / unmask alone, 16 KB in place", in_place(best, FUSED, 0, size),
	      in_place(best, UNMASK, 0, size), 0.7);
	speed("one pass, ASCII / two passes, 16 KB in place", in_place(best, FUSED, 0, size),
	      in_place(best, TWO_PASSES, 0, size), 1 / 0.65);
	speed("one pass, ASCII / unmask alone, 16 KB copying", copying(best, FUSED, 0, size),
	      copying(best, UNMASK, 0, size), 0.7);
	/* Copying, the unmasking alone takes about 0.7 of the two passes: its stores wait while the loads go on. */
	speed("one pass, ASCII / two passes, 16 KB copying", copying(best, FUSED, 0, size),
	      copying(best, TWO_PASSES, 0, size), 1);
	speed("one pass, mixed / two passes, 16 KB in place", in_place(best, FUSED, MIXED, size),
	      in_place(best, TWO_PASSES, MIXED, size), 1);
	speed("one pass, ASCII / scalar, 16 KB", in_place(best, FUSED, 0, size), in_place("scalar", FUSED, 0, size), 8);
	speed("one pass, mixed scripts / scalar, 16 KB", in_place(best, FUSED, MIXED, size),
	      in_place("scalar", FUSED, MIXED, size), 5);
}

/* A receive buffer full of small text messages from a client, walked by the session. */
static void frames(const char *kernel, size_t size)
{
	static uint8_t buffer[RC_RECEIVE_BUFFER_SIZE], fresh[RC_RECEIVE_BUFFER_SIZE];
	struct rc_pool pool;
	struct rc_session session = { 0 };
	struct rc_session_rules rules = { .message_size_max = 1 << 20, .fragments_max = 16, .pool = &pool };
	double taken[ROUNDS_MAX];
	size_t count = 0, filled = 0;
	rc_pool_init(&pool, 0, 1 << 20);
	rc_text_choose(kernel);
	for (;; count++) {
		struct rc_frame frame = { size, MASK + (uint32_t)count * 2654435761u, RC_FRAME_TEXT, 0, true, true };
		uint8_t header[RC_FRAME_HEADER_MAX];
		size_t header_size = rc_frame_write(header, &frame);
		if (filled + header_size + size > sizeof fresh)
			break;
		memcpy(fresh + filled, header, header_size);
		fill(fresh + filled + header_size, size, phrases[0]);
		rc_unmask(fresh + filled + header_size, fresh + filled + header_size, size, frame.mask);
		filled += header_size + size;
	}
	for (unsigned round = 0; round < rounds; round++) {
		double spent = 0;
		unsigned buffers = 0;
		for (; spent < sample_ns / 4; buffers++) {
			memcpy(buffer, fresh, filled);
			uint8_t *at = buffer;
			struct rc_event event;
			size_t seen = 0;
			double start = now_ns();
			while (rc_session_next(&session, &rules, &at, buffer + filled, &event) == RC_EVENT_MESSAGE)
				seen++;
			spent += now_ns() - start;
			if (seen != count) {
				fprintf(stderr, "kernels: %zu of %zu messages came\n", seen, count);
				exit(1);
			}
		}
		taken[round] = spent / buffers / (double)count;
	}
	double ns = median(taken, rounds);
	printf("  %-8s %4zu bytes: %6.1f ns a message, %6.1f million frames a second\n", kernel, size, ns, 1000 / ns);
	rc_pool_destroy(&pool);
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "scalar", "avx2", "avx512", "neon" };
	size_t largest = LARGEST + 4096;
	if (argc > 1 && strcmp(argv[1], "--tiny") == 0) {
		rounds = 3;
		sample_ns = 2000;
	} else if (argc > 1) {
		fprintf(stderr, "usage: kernels [--tiny]\n");
		return 2;
	}
	target = aligned_alloc(4096, largest);
	for (int k = 0; k < TEXTS; k++) {
		plain[k] = aligned_alloc(4096, largest);
		masked[k] = aligned_alloc(4096, largest);
		if (!target || !plain[k] || !masked[k])
			return 1;
		memset(plain[k], '.', largest);
		memset(masked[k], '.', largest);
	}
	memset(target, '.', largest);
	const char *best = rc_text_choose(NULL);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (rc_text_choose(names[i]))
			table(names[i]);
	}
	ratios(best);
	printf("\ntext messages of ASCII, parsed, unmasked and validated\n");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		for (size_t size = 16; rc_text_choose(names[i]) && size <= 128; size *= 2)
			frames(names[i], size);
	}
	for (int k = 0; k < TEXTS; k++) {
		free(plain[k]);
		free(masked[k]);
	}
	free(target);
	return 0;
}
