/* SPDX-License-Identifier: MIT
 *
 * histogram.h - counts of values in log-linear buckets: 128 to each power of two, so that a percentile is off by less
 * than one part in 128 whatever the range. Pure, fixed size, and two histograms merge by adding. Values are exact
 * below 128, and the smallest and largest are always exact.
 */
#ifndef RC_HISTOGRAM_H
#define RC_HISTOGRAM_H

#include <stdint.h>

#define RC_HISTOGRAM_BITS 7
#define RC_HISTOGRAM_BUCKETS ((64 - RC_HISTOGRAM_BITS + 1) << RC_HISTOGRAM_BITS)

struct rc_histogram {
	uint64_t count;
	uint64_t min, max; /* of no meaning while count is 0 */
	uint64_t buckets[RC_HISTOGRAM_BUCKETS];
};

static inline unsigned rc_histogram_bucket(uint64_t value)
{
	if (value < (1u << RC_HISTOGRAM_BITS))
		return (unsigned)value;
	unsigned shift = 63u - (unsigned)__builtin_clzll(value) - RC_HISTOGRAM_BITS;
	return ((shift + 1) << RC_HISTOGRAM_BITS) + (unsigned)(value >> shift) - (1u << RC_HISTOGRAM_BITS);
}

/* The largest value that falls into a bucket. */
uint64_t rc_histogram_bucket_top(unsigned bucket);

static inline void rc_histogram_add(struct rc_histogram *histogram, uint64_t value)
{
	if (!histogram->count++ || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->buckets[rc_histogram_bucket(value)]++;
}

void rc_histogram_clear(struct rc_histogram *histogram);
void rc_histogram_merge(struct rc_histogram *into, const struct rc_histogram *from);

/* The value that `share` (0 to 1) of all values do not pass: the top of its bucket, but never above the maximum.
 * 0 when there are none. */
uint64_t rc_histogram_percentile(const struct rc_histogram *histogram, double share);

#endif
