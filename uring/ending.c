/* SPDX-License-Identifier: MIT
 *
 * ending.c - see ending.h. It must not act on anything.
 *
 * Invariant: connection.ends is set while a note of that slot waits here, so there are never more notes than slots.
 */
#include "worker.h"

bool rc_endings_open(struct endings *endings, uint32_t capacity)
{
	endings->notes = rc_map(capacity * sizeof *endings->notes);
	endings->capacity = capacity;
	return endings->notes;
}

void rc_endings_close(struct endings *endings)
{
	rc_unmap(endings->notes, endings->capacity * sizeof *endings->notes);
	*endings = (struct endings){ 0 };
}

bool rc_ending_note(struct worker *worker, const struct ending *ending)
{
	struct endings *endings = &worker->endings;
	struct connection *conn = &worker->connections[ending->slot];
	if (conn->ends || conn->state == CONNECTION_FREE || conn->state == CONNECTION_ENDING)
		return false;
	RC_ASSERT(endings->count < endings->capacity);
	conn->ends = true;
	uint64_t end = (uint64_t)endings->at + endings->count++;
	endings->notes[end < endings->capacity ? end : end - endings->capacity] = *ending;
	return true;
}

bool rc_ending_cut(struct worker *worker, uint32_t slot, uint16_t code)
{
	return rc_ending_note(worker, &(struct ending){ .kind = ENDING_CUT, .slot = slot, .code = code });
}

bool rc_ending_take(struct worker *worker, struct ending *ending)
{
	struct endings *endings = &worker->endings;
	if (!endings->count)
		return false;
	*ending = endings->notes[endings->at];
	endings->at = endings->at + 1 == endings->capacity ? 0 : endings->at + 1;
	if (!--endings->count)
		endings->at = 0; /* begin again at the start, so that not all of the memory is touched in turn */
	RC_ASSERT(worker->connections[ending->slot].ends);
	worker->connections[ending->slot].ends = false;
	return true;
}
