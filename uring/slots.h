/* SPDX-License-Identifier: MIT
 *
 * slots.h - the slots of a ring that does not use the kernel's table: numbers that stand for descriptors.
 *
 *      free --- rc_slots_add ---> in use --- rc_slots_begin_closing ---> closing --- rc_slots_end_closing ---> free
 *
 * A slot that closes is not free before its close completes: until then the caller knows it by its old use. Pure state:
 * the caller closes the descriptors.
 */
#ifndef RC_SLOTS_H
#define RC_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

struct slots {
	int *descriptors;                                 /* -1 where the slot is not in use */
	uint32_t *next;                                   /* number + 1, in the list of free or of closing ones */
	uint32_t slot_count;                              /* that may be in use at once */
	uint32_t made_count;                              /* numbers ever used */
	uint32_t free_first, closing_first, closing_last; /* number + 1, or 0 */
};

/* Makes room for `count` slots; false when memory is out. Either way rc_slots_close() frees what there is. */
bool rc_slots_open(struct slots *slots, uint32_t count);
void rc_slots_close(struct slots *slots);

/* Gives a descriptor a slot: its number, or -ENFILE when none is left. */
int rc_slots_add(struct slots *slots, int descriptor);

/* Frees a slot at once. Returns its descriptor, which is the caller's from here on. */
int rc_slots_remove(struct slots *slots, uint32_t slot);

/* Returns the descriptor, which belongs to the operation that closes it. The slot waits for that to complete. */
int rc_slots_begin_closing(struct slots *slots, uint32_t slot);

/* A close has completed. Closes complete in the order in which they began, so this frees the slot that waits longest.
 */
void rc_slots_end_closing(struct slots *slots);

#endif
