/* SPDX-License-Identifier: MIT
 *
 * histogram.h - counts of values in log-linear buckets: 128 to each power of two, so that a percentile is off by less
 * than one part in 128 whatever the range. Pure, fixed size, and two histograms merge by adding. Values are exact
 * below 128, and the smallest and largest are always exact.
 */
#ifndef LIB_HISTOGRAM_H
#define LIB_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BITS 7
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) << HISTOGRAM_BITS)

struct histogram {
	uint64_t count;
	uint64_t min, max; /* without meaning while count is 0 */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

static inline unsigned histogram_bucket(uint64_t value)
{
	if (value < (1u << HISTOGRAM_BITS))
		return (unsigned)value;
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
	return ((shift + 1) << HISTOGRAM_BITS) + (unsigned)(value >> shift) - (1u << HISTOGRAM_BITS);
}

/* The largest value that falls into a bucket. */
uint64_t histogram_bucket_top(unsigned bucket);

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
	if (!histogram->count++ || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[histogram_bucket(value)]++;
}

void histogram_clear(struct histogram *histogram);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that `share` (0 to 1) of all values do not pass: the top of its bucket, but never above the maximum.
 * 0 when there are none. */
uint64_t histogram_percentile(const struct histogram *histogram, double share);

#endif
