/* SPDX-License-Identifier: MIT
 *
 * ring_sim.h - what ring_sim.c, its operations and the sockets under them share.
 */
#ifndef RING_SIM_H
#define RING_SIM_H

#include "sim.h"

#define SLOTS 48
#define OPERATIONS_MAX 512
#define PREPARED_MAX 64
#define COMPLETIONS_MAX 2048
#define ADDRESSES_MAX 64
#define CANARY_SIZE 8
#define NO_SLOT UINT32_MAX

enum kind {
	OP_NONE,
	OP_ACCEPT,
	OP_RECEIVE,
	OP_SEND,
	OP_POLL,
	OP_SHUTDOWN,
	OP_CANCEL,
	OP_CLOSE,
	OP_WATCH,
	OP_CONNECT,
	OP_ACCEPT_CANCEL,
	OP_ABORT,
	OP_OPTION
};

enum reached { REACHED_PEER, REACHED_NOBODY, REACHED_NOTHING };

struct operation {
	enum kind kind;
	bool over; /* its last completion was made */
	unsigned number, slot;
	int fd;
	uint64_t tag, of; /* of: a cancel, the tag it ends */
	const struct rc_range *ranges;
	struct rc_range copies[RC_PLAN_RANGES_MAX];
	unsigned range_count;
	size_t size;
	uint64_t sum;
	uint64_t ready_ns;   /* not done before */
	uint64_t visible_ns; /* of its newest completion */
	unsigned waiting;    /* completions not handed out */
	bool zero_copy, never_released;
	bool is_alert;
	bool once;                  /* a receive: of one completion ... */
	uint8_t *place;             /* ... and to here, `size` bytes at most; null: into a buffer */
	size_t placed;              /* bytes that came there */
	struct sockaddr_storage to; /* of a connect */
	bool hangs, cancelled;      /* likewise */
	int level, name;            /* of an option, whose value is ranges[0] */
	uint64_t held_total; /* of a zero-copy send that was taken: where its bytes end in the stream; 0: not taken */
	uint64_t seen;
};

/* A completion that was not handed out yet. */
struct pending {
	struct rc_completion out;
	unsigned operation;
	uint64_t visible_ns;
	bool has_peer;
	struct sockaddr_storage peer;
};

enum slot_state { SLOT_FREE, SLOT_OPEN, SLOT_CLOSING };

struct slot {
	enum slot_state state;
	struct peer *peer;
	unsigned in_flight;
	bool sending, receiving;
};

struct rc_ring {
	bool open, waits;
	int event_fd;     /* of a ring inside another loop, or 0 ... */
	uint64_t written; /* ... and how often it was written to before the last wait */
	uint64_t wake_ns;
	unsigned held; /* waits that still bring nothing */
	struct slot slots[SLOTS];
	unsigned slot_count, slot_freed;
	struct operation operations[OPERATIONS_MAX];
	unsigned prepared[PREPARED_MAX], prepared_count;
	unsigned begun[OPERATIONS_MAX], begun_count; /* in the order they were submitted */
	struct pending completions[COMPLETIONS_MAX];
	unsigned completion_count;
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	struct {
		bool out;
		size_t used;
	} buffers[RC_RECEIVE_BUFFERS];
	unsigned buffer_count;
	size_t buffer_size;
	uint8_t memory[RC_RECEIVE_BUFFERS][RC_RECEIVE_BUFFER_SIZE + CANARY_SIZE];
};

/* operations.c */
void operation_start(struct rc_ring *ring, struct operation *op);
void operations_go_on(struct rc_ring *ring); /* does what can be done by now */
/* Right behind the completion that says a slot is closed may come the one that says it is a new connection's. */
void operations_accept_again(struct rc_ring *ring);
uint64_t operation_sum(const struct rc_range *ranges, unsigned count,
                       size_t *size); /* of the bytes, and their number */

/* kernel.c: kernel TLS. */
bool kernel_seals(const struct peer *peer);
int kernel_option(struct peer *peer, int level, int name, const void *value, unsigned size);
void kernel_send(struct peer *peer, const struct rc_range *ranges, size_t size, bool is_alert);

/* socket.c: a peer is the other end of its socket, so it is the socket. */
void socket_close(struct slot *slot);
void socket_abort(struct peer *peer);
void socket_take(struct peer *peer, uint8_t *to, size_t size); /* of what came up */
struct sockaddr_storage socket_address(const struct peer *peer);
void socket_link(struct peer *peer);
enum reached dial_reaches(const struct sockaddr_storage *address, struct peer **peer); /* dials.c */
bool listener_waiting(int fd);
struct peer *listener_take(int fd);

#endif
