/* SPDX-License-Identifier: MIT
 *
 * wheel.h - the timer wheel: one time-out a slot number, set, moved and cleared in O(1) (Varghese and Lauck, 1987).
 * Times are ticks, whatever the caller makes of them. A time-out beyond the wheel's turn is kept in its last bucket and
 * reported early: the caller looks at the real deadline and sets it again.
 */
#ifndef RC_WHEEL_H
#define RC_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#define RC_WHEEL_BUCKETS 1024

struct rc_wheel_link {
	uint32_t next, previous; /* number + 1; 0 ends a list. `previous` has its top bit set for a bucket */
};

struct rc_wheel {
	struct rc_wheel_link *links; /* the caller's, zeroed, one a slot */
	uint32_t buckets[RC_WHEEL_BUCKETS];
	uint64_t full[RC_WHEEL_BUCKETS / 64]; /* a bit for each bucket that is not empty */
	uint64_t now;                         /* every earlier bucket is empty */
};

void rc_wheel_init(struct rc_wheel *wheel, struct rc_wheel_link *links, uint64_t now);

/* Sets or moves; a tick that has passed is reported by the next rc_wheel_next(). */
void rc_wheel_set(struct rc_wheel *wheel, uint32_t slot, uint64_t tick);
void rc_wheel_clear(struct rc_wheel *wheel, uint32_t slot);

/* Takes one slot whose tick is at or before `now` out of the wheel. False when there is none; the wheel has then turned
 * to `now`. */
bool rc_wheel_next(struct rc_wheel *wheel, uint64_t now, uint32_t *slot);

/* The tick of the first bucket that is not empty, or UINT64_MAX. */
uint64_t rc_wheel_first(const struct rc_wheel *wheel);

#endif
