/* SPDX-License-Identifier: MIT
 *
 * cohort.h - one compressor that goes on through all messages of a topic. Its readers, the cohort, are the connections
 * that get no other topic compressed. A message costs each of them a handful of bytes, because they have the messages
 * before it. A newcomer gets plain frames until the compressor begins anew. It does so for newcomers, but not too
 * often.
 *
 * Threads: every function is called with the encodings' lock held.
 */
#ifndef RC_COHORT_H
#define RC_COHORT_H

#include "deflate.h"
#include "encoding.h"

struct rc_cohort {
	struct rc_deflater *deflater;
	uint64_t next;        /* the lowest entry that may still be compressed */
	unsigned since_fresh; /* messages since the last beginning */
	uint64_t begins;      /* the entry of the last beginning */
	uint64_t wanted;      /* somebody waits for a beginning at this entry or behind it */
	bool broken;          /* the last message could not be kept: the next must be a beginning */
};

/* Null when memory is out. */
struct rc_cohort *rc_cohort_new(enum rc_window window, int level);
void rc_cohort_free(struct rc_cohort *cohort);

/* Somebody who reads from this entry on waits for a beginning. */
void rc_cohort_join(struct rc_cohort *cohort, uint64_t from);

/* Compresses an entry's payload into `to` (rc_deflate_bound() bytes). Returns the size; or 0 when the entry stays
 * plain, because a later one was compressed before it, or because it does not fit. *fresh is set when it is a
 * beginning. */
size_t rc_cohort_add(struct rc_cohort *cohort, uint64_t number, uint8_t *to, size_t to_size, const uint8_t *payload,
                     size_t size, bool *fresh);

#endif
