/* SPDX-License-Identifier: MIT
 *
 * cohort.h - one compressor that goes on through a topic's messages, for all whose only compressed stream that topic
 * is. A message then costs a handful of bytes, because the reader has the ones before it. Newcomers get plain frames
 * until the compressor begins anew, which it does for their sake, but not too often.
 *
 * Threads: everything with the encodings' lock.
 */
#ifndef RC_COHORT_H
#define RC_COHORT_H

#include "deflate.h"
#include "encoding.h"

struct rc_cohort {
	struct rc_deflater *deflater;
	uint64_t next;        /* entries before it are not compressed any more */
	unsigned since_fresh; /* messages */
	uint64_t begins;      /* the last beginning */
	uint64_t wanted;      /* somebody waits for one that is not before this entry */
	bool broken;          /* a message could not be kept: the next must be a beginning */
};

/* Null without memory. */
struct rc_cohort *rc_cohort_new(enum rc_window window, int level);
void rc_cohort_free(struct rc_cohort *cohort);

/* Somebody who reads from this entry on waits for a beginning. */
void rc_cohort_join(struct rc_cohort *cohort, uint64_t from);

/* Compresses an entry's payload into `to` (rc_deflate_bound() bytes). Returns the size, or 0 when it stays plain: it
 * comes too late, or does not fit. *fresh says that it is a beginning. */
size_t rc_cohort_add(struct rc_cohort *cohort, uint64_t number, uint8_t *to, size_t to_size, const uint8_t *payload,
                     size_t size, bool *fresh);

#endif
