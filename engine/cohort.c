/* SPDX-License-Identifier: MIT
 *
 * cohort.c - see cohort.h. Invariant: a frame that is not fresh refers only to frames back to the last fresh one, and
 * all of these are kept.
 */
#include "cohort.h"

#include <stdlib.h>

struct rc_cohort *rc_cohort_new(enum rc_window window, int level)
{
	struct rc_cohort *cohort = calloc(1, sizeof *cohort);
	if (!cohort)
		return NULL;
	cohort->deflater = rc_deflater_new(window, level);
	if (!cohort->deflater) {
		free(cohort);
		return NULL;
	}
	cohort->broken = true;
	return cohort;
}

void rc_cohort_free(struct rc_cohort *cohort)
{
	if (!cohort)
		return;
	rc_deflater_free(cohort->deflater);
	free(cohort);
}

void rc_cohort_join(struct rc_cohort *cohort, uint64_t from)
{
	if (from > cohort->wanted)
		cohort->wanted = from;
}

size_t rc_cohort_add(struct rc_cohort *cohort, uint64_t number, uint8_t *to, size_t to_size, const uint8_t *payload,
                     size_t size, bool *fresh)
{
	if (number < cohort->next)
		return 0;
	cohort->next = number + 1;
	*fresh = cohort->broken || (cohort->wanted > cohort->begins && cohort->since_fresh >= RC_COHORT_FRESH_MESSAGES);
	size_t made = rc_deflate_message(cohort->deflater, to, to_size, payload, size, *fresh);
	cohort->broken = made == 0;
	if (!made)
		return 0;
	if (*fresh) {
		cohort->since_fresh = 0;
		cohort->begins = number;
	}
	cohort->since_fresh++;
	return made;
}
