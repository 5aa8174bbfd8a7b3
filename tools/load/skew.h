/* SPDX-License-Identifier: MIT
 *
 * skew.h - first-to-last skew: how long after its first subscriber the last one has a message. A worker notes when
 * messages of one topic arrived, in bounded memory: when the table is full it keeps every second entry, and from then
 * on notes only every second message. Which ones are kept depends on their numbers alone, so the tables of all workers
 * can be joined. Pure.
 */
#ifndef LOAD_SKEW_H
#define LOAD_SKEW_H

#include <stdint.h>

#include "lib/histogram.h"

#define LOAD_SKEW_SAMPLES 8192

struct load_arrival {
	uint64_t first_ns, last_ns;
	uint64_t count;
};

struct load_skew {
	uint32_t base;  /* the first sequence that counts */
	uint32_t shift; /* every 2^shift-th is noted */
	struct load_arrival samples[LOAD_SKEW_SAMPLES];
};

void load_skew_begin(struct load_skew *skew, uint32_t base);
/* The rest of load_skew_note(), for a sequence that is sampled. */
void load_skew_sample(struct load_skew *skew, uint32_t offset, uint64_t now_ns);

static inline void load_skew_note(struct load_skew *skew, uint32_t sequence, uint64_t now_ns)
{
	uint32_t offset = sequence - skew->base;
	if (sequence >= skew->base && !(offset & ((1u << skew->shift) - 1)))
		load_skew_sample(skew, offset, now_ns);
}

/* Joins a table into another; both may thin out. */
void load_skew_merge(struct load_skew *into, struct load_skew *from);
/* The skew of each message that all `subscribers` received. */
void load_skew_result(const struct load_skew *skew, uint64_t subscribers, struct histogram *out);

#endif
