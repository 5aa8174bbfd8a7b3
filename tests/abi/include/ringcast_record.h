/* SPDX-License-Identifier: MIT
 *
 * ringcast_record.h - what a producer in a process of its own and the server share: the layout of the memory, and the
 * messages of the socket. ringcast_producer.h is how a producer in C or C++ uses it.
 *
 * For other languages this is the whole protocol. All numbers are the machine's own. `head`, `tail` and `state` want
 * the memory orders that the functions of ringcast_producer.h give them.
 */
#ifndef RINGCAST_RECORD_H
#define RINGCAST_RECORD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RC_PRODUCER_VERSION 1u
#define RC_PRODUCER_NAME_MAX 255u /* bytes of a topic's name */
#define RC_PRODUCER_KEY_MAX 64u   /* bytes of a key */

/* Whether the server reads a ring, as its `state` says. */
enum rc_producer_state {
	RC_PRODUCER_AWAKE = 0,
	RC_PRODUCER_ASLEEP = 1, /* a producer that finds this makes it AWAKE, and then writes to the eventfd */
	RC_PRODUCER_GONE = 2,   /* the server has let go of this producer */
};

/* The first bytes of the memory. Positions only grow; modulo the size of the ring they are offsets in it. */
struct rc_producer_shared {
	uint64_t head; /* the producer's: all records before it are complete */
	uint64_t apart_head[15];
	uint64_t tail;    /* the server's: everything before it has been read */
	uint64_t refused; /* the server's: records that it did not publish ... */
	int64_t reason;   /* ... and why not, of the last of them: a negative errno value */
	uint64_t apart_tail[13];
	uint32_t state; /* both: see enum rc_producer_state */
};

#define RC_PRODUCER_BYTES_AT 4096u /* where the ring begins, behind what stands above */

/* How a message is published. */
enum rc_producer_flags {
	RC_PRODUCER_BINARY = 1, /* a binary message instead of text, which must be UTF-8 */
	/* The server is not shown the record yet: rc_producer_flush() shows it, or the next one without this flag. The
	 * server then sees all of them at once. */
	RC_PRODUCER_QUIET = 2,
};

/* A record: this header, the key, the payload. It begins at a multiple of 8 and never wraps: where the rest of the ring
 * is too short, a record whose topic is RC_PRODUCER_SKIP fills it, of which only `size` and `topic` are there. */
struct rc_producer_record {
	uint32_t size;  /* header, key and payload; the next record begins at the next multiple of 8 */
	uint32_t topic; /* as the server numbered it */
	uint32_t flags; /* RC_PRODUCER_BINARY */
	uint16_t key_size;
	uint16_t reserved; /* 0 */
	uint64_t time_ns;  /* the producer's own time, in a clock of its choice; 0: none */
};

#define RC_PRODUCER_SKIP UINT32_MAX
#define RC_PRODUCER_RECORD_MAX(ring_size) ((ring_size) / 4)

/* The socket is of type SOCK_SEQPACKET. The server's first message is such an answer, with the memory's and the
 * eventfd's descriptors beside it. Each question gets an answer too, without descriptors. */
struct rc_producer_answer {
	int32_t result; /* the number of a topic, or a negative errno value */
	uint32_t version;
	uint64_t ring_size; /* a power of two */
	char text[240];     /* why not, in words */
};

/* What a producer may ask for by its socket. */
enum rc_producer_question_kind { RC_PRODUCER_TOPIC = 1 }; /* a number for a topic */

/* A question, as a message of the socket. */
struct rc_producer_question {
	uint32_t kind;
	char name[RC_PRODUCER_NAME_MAX + 1]; /* as many bytes as the message has left; no terminating zero */
};

#ifdef __cplusplus
}
#endif
#endif
