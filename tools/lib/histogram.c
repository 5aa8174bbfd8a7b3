/* SPDX-License-Identifier: MIT
 *
 * histogram.c - see histogram.h.
 */
#include "histogram.h"

#include <math.h>
#include <string.h>

uint64_t histogram_bucket_top(unsigned bucket)
{
	unsigned octave = bucket >> HISTOGRAM_BITS;
	uint64_t place = bucket & ((1u << HISTOGRAM_BITS) - 1);
	if (!octave)
		return place;
	uint64_t bottom = (place + (1u << HISTOGRAM_BITS)) << (octave - 1);
	return bottom + ((uint64_t)1 << (octave - 1)) - 1;
}

void histogram_clear(struct histogram *histogram)
{
	memset(histogram, 0, sizeof *histogram);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	if (!from->count)
		return;
	if (!into->count || from->min < into->min)
		into->min = from->min;
	if (from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
		into->buckets[bucket] += from->buckets[bucket];
}

uint64_t histogram_percentile(const struct histogram *histogram, double share)
{
	uint64_t rank = (uint64_t)ceil(share * (double)histogram->count), passed = 0;
	if (rank < 1)
		return histogram->count ? histogram->min : 0;
	for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
		passed += histogram->buckets[bucket];
		if (passed >= rank) {
			uint64_t top = histogram_bucket_top(bucket);
			return top < histogram->max ? top : histogram->max;
		}
	}
	return histogram->max;
}
