/* SPDX-License-Identifier: MIT
 *
 * packet.h - what travels through an engine, as bytes: a head, and behind it up to BACKPLANE_MESSAGES_MAX messages.
 * Pure state. What comes from an engine may have been written by anybody, so nothing in it is believed before it was
 * measured. All numbers are little-endian:
 *
 *      "RCB1"  u32 count  u64 node  u64 token  u64 epoch  u64 time_ns
 *      u8 kind  u8 flags  u16 channel_size  u16 key_size  u16 0  u32 size  u32 0  u64 time_ns  u64 tag
 *              channel  key  data                                                      ... and the next message
 *
 * Token. A node numbers its packets from 1. One that an engine was given twice, since nobody knew whether it had it, is
 * told by its token: see packet_seen().
 */
#ifndef BACKPLANE_PACKET_H
#define BACKPLANE_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backplane.h"

#define PACKET_HEAD_SIZE 40
#define PACKET_MESSAGE_SIZE 32 /* of the head of a message */

#define PACKET_PLAIN UINT64_MAX /* the node of a packet that no node wrote: it is of the epoch in which it stands */

/* A count of 0 says that an epoch begins. */
struct packet_head {
	uint64_t node, token, epoch;
	uint64_t time_ns; /* by the clock of the day, when it was packed */
	uint32_t count;
};

void packet_write_head(uint8_t *bytes, const struct packet_head *head);
/* False: these bytes are no packet. */
bool packet_read_head(struct packet_head *head, const void *bytes, size_t size);

size_t packet_message_size(const struct backplane_message *message);
/* Writes a message; returns where the next one goes. */
uint8_t *packet_write_message(uint8_t *at, const struct backplane_message *message);
/* Reads a message at *at, which it moves on; what it refers to lies in the bytes. False: it is no message. */
bool packet_read_message(struct backplane_message *message, const uint8_t **at, const uint8_t *end);

/* ---- what was seen ---- */

#define PACKET_ORIGINS_MAX 1024 /* nodes of which tokens are remembered: the one that was silent for longest goes */
#define PACKET_WINDOW 512       /* tokens of a node */

struct packet_origin {
	uint64_t node; /* 0: free */
	uint64_t newest;
	uint64_t heard;                    /* when, in packets */
	uint64_t seen[PACKET_WINDOW / 64]; /* bit token % PACKET_WINDOW, of the newest PACKET_WINDOW tokens */
};

struct packet_memory {
	struct packet_origin *origins;
	unsigned count, room;
	uint64_t packets;
};

/* Notes a packet. Returns whether it was seen before; one that is older than the window counts as seen. Without memory
 * for another origin it returns false. */
bool packet_seen(struct packet_memory *memory, uint64_t node, uint64_t token);
void packet_memory_free(struct packet_memory *memory);

#endif
