/* SPDX-License-Identifier: MIT
 *
 * hub.h - an engine for the model test that is hostile on purpose: it answers late or not at all, has what it said it
 * had not, gives nothing when there is something, ends connections, is restarted without its newest packets, and
 * forgets everything. What it never does is what no engine may: change what it gave to two readers at one position of
 * one epoch, or lose what it still says it has.
 */
#ifndef TESTS_BACKPLANE_HUB_H
#define TESTS_BACKPLANE_HUB_H

#include <stdbool.h>
#include <stdint.h>

/* Chances, each one in so many; 0: never. */
struct hub_malice {
	unsigned cut;    /* a call ends with its connection */
	unsigned unsaid; /* an append that succeeded is not told */
	unsigned late;   /* an append that failed arrives later, behind others */
	unsigned slow;   /* a call takes some milliseconds */
	unsigned blind;  /* a read gives nothing, or less than there is */
};

/* own_epochs: it numbers by epochs of its own, as Redis does; otherwise nodes write them into packets, as with Kafka.
 */
void hub_begin(uint64_t seed, bool own_epochs);
void hub_set(const struct hub_malice *malice);
/* Ends all connections. */
void hub_cut_all(void);
/* It is restarted, without its newest `lost` packets. */
void hub_restart(unsigned lost);
/* The node that was the index-th to come cannot read for so long; it may write. */
void hub_deafen(unsigned index, uint64_t ns);
/* It forgets everything (FLUSHALL). */
void hub_flush(void);
/* It lets go of the oldest, but for so many, perhaps none: it goes on numbering where it was. */
void hub_trim(unsigned left);
unsigned long hub_packets(void);
void hub_end(void);

#endif
