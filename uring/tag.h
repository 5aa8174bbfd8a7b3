/* SPDX-License-Identifier: MIT
 *
 * tag.h - what an operation is given and its completion brings back: whose it is. One pair of functions makes and
 * splits it.
 *
 *      kind 4 | detail 10 | generation 24 | slot 22
 *
 * Invariant: a tag with a generation stands for one connection, also after its slot was used again.
 */
#ifndef RC_TAG_H
#define RC_TAG_H

#include "bounds.h"

#include <stdint.h>

enum tag_kind {
	/* of no connection */
	TAG_ACCEPTED, /* slot: the listener's index */
	TAG_WOKEN,
	TAG_DIALLED,  /* slot: the dial's index */
	TAG_PRODUCER, /* slot: the producer's index; detail: enum producer_watch */
	/* of a connection */
	TAG_RECEIVED,
	TAG_SENT_PLAN, /* detail: the plan's index */
	TAG_SENT_OUTBOX,
	TAG_SENT_SHOW,
	TAG_SENT_STAGE, /* TLS records; detail: the stage's index */
	TAG_SENT_ASIDE, /* TLS records that were put aside */
	TAG_SENT_ALERT, /* a TLS alert whose record the kernel makes */
	TAG_OPTION_SET, /* a socket option of kernel TLS */
	TAG_WRITABLE,
	TAG_SHUT, /* shut down, or reset */
	TAG_CANCELLED,
	TAG_SLOT_CLOSED,
};

struct tag {
	enum tag_kind kind;
	unsigned detail;
	uint32_t generation; /* its lowest bits */
	uint32_t slot;
};

#define RC_TAG_DETAILS 1024u /* values of a detail */
#define RC_TAG_GENERATION_MASK 0xFFFFFFu
static_assert(RC_SLOT_BITS == 22, "a tag holds a slot");

static inline uint64_t rc_tag_make(enum tag_kind kind, unsigned detail, uint32_t generation, uint32_t slot)
{
	return (uint64_t)kind << 56 | (uint64_t)detail << 46 | (uint64_t)(generation & RC_TAG_GENERATION_MASK) << 22 |
	       slot;
}

static inline struct tag rc_tag_split(uint64_t tag)
{
	return (struct tag){
		.kind = (enum tag_kind)(tag >> 56),
		.detail = (unsigned)(tag >> 46 & (RC_TAG_DETAILS - 1)),
		.generation = (uint32_t)(tag >> 22 & RC_TAG_GENERATION_MASK),
		.slot = (uint32_t)(tag & (RC_SLOTS_MAX - 1)),
	};
}

#endif
