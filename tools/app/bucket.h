/* SPDX-License-Identifier: MIT
 *
 * bucket.h - a token bucket: `rate` tokens a second flow in, up to `burst`. Pure: the time is handed in, and may even
 * stand still or go back. Levels are in billionths of a token, so that no flow is lost to rounding.
 */
#ifndef APP_BUCKET_H
#define APP_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#define APP_BUCKET_UNIT UINT64_C(1000000000)

struct app_bucket {
	uint64_t level;
	uint64_t at_ns;
};

static inline struct app_bucket app_bucket_full(uint32_t burst, uint64_t now_ns)
{
	return (struct app_bucket){ .level = burst * APP_BUCKET_UNIT, .at_ns = now_ns };
}

/* Lets flow in what has come since the last time. */
static inline void app_bucket_fill(struct app_bucket *bucket, uint32_t rate, uint32_t burst, uint64_t now_ns)
{
	uint64_t full = burst * APP_BUCKET_UNIT, flowed = full;
	uint64_t passed = now_ns > bucket->at_ns ? now_ns - bucket->at_ns : 0;
	if (passed < full / rate)
		flowed = passed * rate; /* a nanosecond brings `rate` billionths */
	if (now_ns > bucket->at_ns)
		bucket->at_ns = now_ns;
	bucket->level = full - bucket->level < flowed || bucket->level > full ? full : bucket->level + flowed;
}

/* Takes as many tokens. False: there are less, and none was taken. What costs more than the bucket holds takes all of a
 * full one. A rate of 0 is no limit. */
static inline bool app_bucket_take(struct app_bucket *bucket, uint32_t cost, uint32_t rate, uint32_t burst,
                                   uint64_t now_ns)
{
	if (!rate)
		return true;
	app_bucket_fill(bucket, rate, burst, now_ns);
	uint64_t taken = (cost < burst ? cost : burst) * APP_BUCKET_UNIT;
	if (bucket->level < taken || !burst)
		return false;
	bucket->level -= taken;
	return true;
}

/* Takes as many tokens, or all there are: for what shows its cost only afterwards. */
static inline void app_bucket_drain(struct app_bucket *bucket, uint32_t cost)
{
	uint64_t taken = cost * APP_BUCKET_UNIT;
	bucket->level = bucket->level > taken ? bucket->level - taken : 0;
}

#endif
