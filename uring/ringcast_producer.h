/* SPDX-License-Identifier: MIT
 *
 * ringcast_producer.h - publishing from a process of its own. It needs this file, ringcast_record.h beside
 * it, and libc: no library of ringcast.
 * The server's side of it is rc_server_listen_producers() (ringcast_ingest.h), `ringcast serve --producers unix:/PATH`.
 *
 * A producer connects to the server's Unix socket and is handed a ring of records in shared memory, for itself alone.
 * Publishing copies a record into that ring, which takes no system call as long as the server is awake. The server
 * reads a record once it is complete, so that a producer that dies in the middle of one harms nobody, itself included:
 * what it had published before is still published.
 *
 *      struct rc_producer producer;
 *      if (rc_producer_open(&producer, "/run/ringcast/producers") < 0)
 *              errx(1, "%s", producer.error);
 *      int topic = rc_producer_topic(&producer, "quote.EURUSD", 12);
 *      rc_producer_publish(&producer, topic, text, size, 0);
 *
 * A function that can fail returns 0 or more on success and a negative errno value otherwise. One thread at a time may
 * use a producer; a process may have several. A child made by fork() must not use its parent's.
 */
#ifndef RINGCAST_PRODUCER_H
#define RINGCAST_PRODUCER_H

#include "ringcast_record.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

#define RC_PRODUCER_TIMEOUT_S 5 /* how long the server may take to answer */

/* ---------------------------------------------------------------------------------------------------- a producer -- */

/* A producer. Its fields are for the functions here alone, but `error`. */
struct rc_producer {
	struct rc_producer_shared *shared;
	uint8_t *bytes;
	uint64_t size;
	uint64_t head, shown; /* written so far; of that, shown to the server */
	uint64_t tail;        /* of the server, as last seen */
	uint64_t knocked;     /* the tail at which it was last told that the ring is full, + 1 */
	uint32_t topic_count;
	int socket, wake_fd;
	char error[256]; /* what went wrong in rc_producer_open() or rc_producer_topic(), in words */
};

/* A message, with all that may be said about it. */
struct rc_producer_message {
	uint32_t topic;
	unsigned flags;
	const void *data;
	size_t size;
	uint64_t time_ns; /* the producer's own time, or 0 */
	const void *key;  /* reserved: key_size must be 0 */
	size_t key_size;
};

static inline int rc_producer_fail(struct rc_producer *producer, int code, const char *words)
{
	size_t size = strlen(words);
	size = size < sizeof producer->error ? size : sizeof producer->error - 1;
	memcpy(producer->error, words, size);
	producer->error[size] = 0;
	return code;
}

/* Inside: receives an answer, and the descriptors that came with it (or leaves -1 there). */
static inline int rc_producer_hear(struct rc_producer *producer, struct rc_producer_answer *answer, int descriptors[2])
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec part;
	struct msghdr message;
	ssize_t size;
	part.iov_base = answer;
	part.iov_len = sizeof *answer;
	memset(&message, 0, sizeof message);
	message.msg_iov = &part;
	message.msg_iovlen = 1;
	message.msg_control = control.bytes;
	message.msg_controllen = sizeof control.bytes;
	descriptors[0] = descriptors[1] = -1;
	do
		size = recvmsg(producer->socket, &message, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0)
		return rc_producer_fail(producer, errno == EAGAIN ? -ETIMEDOUT : -errno, "the server does not answer");
	if (size == 0)
		return rc_producer_fail(producer, -EPIPE, "the server has let go of this producer");
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(2 * sizeof(int)))
		memcpy(descriptors, CMSG_DATA(header), 2 * sizeof(int));
	if (size != (ssize_t)sizeof *answer || answer->version != RC_PRODUCER_VERSION)
		return rc_producer_fail(producer, -EPROTO, "this is no server for this version of ringcast_producer.h");
	answer->text[sizeof answer->text - 1] = 0;
	return answer->result < 0 ? rc_producer_fail(producer, answer->result, answer->text) : answer->result;
}

/* Lets go of the server, which still publishes what was shown to it. */
static inline void rc_producer_close(struct rc_producer *producer)
{
	if (producer->shared)
		munmap(producer->shared, RC_PRODUCER_BYTES_AT + producer->size);
	if (producer->wake_fd >= 0)
		close(producer->wake_fd);
	if (producer->socket >= 0)
		close(producer->socket);
	producer->shared = NULL;
	producer->wake_fd = producer->socket = -1;
}

/* Connects to the server's socket. `path` may begin with "unix:". Returns 0, or, with producer->error in words, what
 * socket(2), connect(2) or mmap(2) says; and of the server -EACCES (this user may not), -EUSERS (as many producers as
 * it takes are connected), -ENOMEM, -EMFILE; -ETIMEDOUT, -EPIPE and -EPROTO when it does not answer as it should. */
static inline int rc_producer_open(struct rc_producer *producer, const char *path)
{
	struct rc_producer_answer answer;
	struct sockaddr_un address;
	struct timeval limit;
	int descriptors[2] = { -1, -1 }, result;
	void *memory = MAP_FAILED;
	memset(producer, 0, sizeof *producer);
	memset(&address, 0, sizeof address);
	memset(&limit, 0, sizeof limit);
	producer->socket = producer->wake_fd = -1;
	if (strncmp(path, "unix:", 5) == 0)
		path += 5;
	if (!*path || strlen(path) >= sizeof address.sun_path)
		return rc_producer_fail(producer, -EINVAL, "the path of the server's socket is empty or too long");
	address.sun_family = AF_UNIX;
	strcpy(address.sun_path, path);
	limit.tv_sec = RC_PRODUCER_TIMEOUT_S;
	producer->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (producer->socket < 0 || setsockopt(producer->socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
	    setsockopt(producer->socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ||
	    connect(producer->socket, (struct sockaddr *)&address, sizeof address) < 0) {
		result = rc_producer_fail(producer, -errno, strerror(errno));
		rc_producer_close(producer);
		return result;
	}
	result = rc_producer_hear(producer, &answer, descriptors);
	if (result >= 0) {
		int flags = MAP_SHARED;
#ifdef MAP_POPULATE
		flags |= MAP_POPULATE; /* no page is touched for the first time when it counts */
#endif
		memory = mmap(NULL, RC_PRODUCER_BYTES_AT + answer.ring_size, PROT_READ | PROT_WRITE, flags,
		              descriptors[0], 0);
		if (memory == MAP_FAILED)
			result = rc_producer_fail(producer, -errno, "the shared memory cannot be mapped");
	}
	if (descriptors[0] >= 0)
		close(descriptors[0]);
	producer->wake_fd = descriptors[1];
	if (memory != MAP_FAILED) {
		producer->shared = (struct rc_producer_shared *)memory;
		producer->bytes = (uint8_t *)memory + RC_PRODUCER_BYTES_AT;
		producer->size = answer.ring_size;
	}
	if (result < 0)
		rc_producer_close(producer);
	return result < 0 ? result : 0;
}

/* Registers a topic, once. Returns its number for rc_producer_publish(), or, with producer->error in words, -EINVAL
 * (the name is empty or too long), -EACCES (this producer may not publish to it), -ENOSPC (it has as many topics as the
 * server takes of one), -ENOMEM, -EPIPE. It waits for the server's answer; -ETIMEDOUT after some seconds without
 * one, and the producer is then over: an answer that comes late would be taken for that to the next question. */
static inline int rc_producer_topic(struct rc_producer *producer, const char *name, size_t size)
{
	struct rc_producer_question question;
	struct rc_producer_answer answer;
	int descriptors[2], result;
	if (!size || size > RC_PRODUCER_NAME_MAX)
		return rc_producer_fail(producer, -EINVAL, "a topic's name has 1 to 255 bytes");
	question.kind = RC_PRODUCER_TOPIC;
	memcpy(question.name, name, size);
	if (send(producer->socket, &question, offsetof(struct rc_producer_question, name) + size, MSG_NOSIGNAL) < 0)
		return rc_producer_fail(producer, errno == EAGAIN ? -ETIMEDOUT : -errno, "the server does not listen");
	result = rc_producer_hear(producer, &answer, descriptors);
	if (result == -ETIMEDOUT)
		shutdown(producer->socket, SHUT_RDWR);
	if (result >= 0 && (uint32_t)result >= producer->topic_count)
		producer->topic_count = (uint32_t)result + 1;
	return result;
}

/* Whether the server still holds the other end. It is one system call. */
static inline int rc_producer_is_connected(const struct rc_producer *producer)
{
	char byte;
	ssize_t size = recv(producer->socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	return size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR));
}

static inline void rc_producer_knock(const struct rc_producer *producer)
{
	const uint64_t one = 1;
	ssize_t written = write(producer->wake_fd, &one, sizeof one);
	(void)written; /* it fails only when the counter is full, and then the server is awake */
}

/* Shows the server what was written with RC_PRODUCER_QUIET. Returns 0 or -EPIPE (the server has let go). */
static inline int rc_producer_flush(struct rc_producer *producer)
{
	uint32_t asleep = RC_PRODUCER_ASLEEP, state;
	producer->shown = producer->head;
	/* The store and the load are seq_cst, as those of the server in the opposite order: one of the two sees the
	 * other, and no record is left lying by a server that sleeps. */
	__atomic_store_n(&producer->shared->head, producer->head, __ATOMIC_SEQ_CST);
	state = __atomic_load_n(&producer->shared->state, __ATOMIC_SEQ_CST);
	if (__builtin_expect(state == RC_PRODUCER_AWAKE, 1))
		return 0;
	if (state == RC_PRODUCER_GONE)
		return -EPIPE;
	if (__atomic_compare_exchange_n(&producer->shared->state, &asleep, RC_PRODUCER_AWAKE, 0, __ATOMIC_SEQ_CST,
	                                __ATOMIC_SEQ_CST))
		rc_producer_knock(producer);
	return 0;
}

/* Inside: whether so many bytes are free, from the next record's place on. */
static inline int rc_producer_fits(struct rc_producer *producer, uint64_t need)
{
	if (need <= producer->size - (producer->head - producer->tail))
		return 1;
	/* acquire: the server has read the bytes before they are written anew */
	producer->tail = __atomic_load_n(&producer->shared->tail, __ATOMIC_ACQUIRE);
	return need <= producer->size - (producer->head - producer->tail);
}

/* Inside: the ring is full, so the server is shown what it was not, and is woken where it waits for other things. */
static inline int rc_producer_full(struct rc_producer *producer)
{
	int result = producer->shown != producer->head ? rc_producer_flush(producer) : 0;
	if (result < 0 || !rc_producer_is_connected(producer))
		return -EPIPE;
	if (producer->knocked != producer->tail + 1)
		rc_producer_knock(producer);
	producer->knocked = producer->tail + 1;
	return -EAGAIN;
}

/* Publishes a message: copies it into the ring. Returns 0, or
 *   -EAGAIN   the ring is full: try again later; rc_producer_room() says what would fit
 *   -EMSGSIZE header, key and payload are more than a quarter of the ring
 *   -EINVAL   no such topic, an unknown flag, or a key: keys are reserved
 *   -EPIPE    the server has let go of this producer: open another one. A server that was killed shows itself so when
 *             the ring is full, or by rc_producer_is_connected()
 * What the server cannot publish (text that is not UTF-8, for example) it counts: see rc_producer_refused(). */
static inline int rc_producer_publish_with(struct rc_producer *producer, const struct rc_producer_message *message)
{
	struct rc_producer_record *record;
	uint64_t at = producer->head & (producer->size - 1), left = producer->size - at, size, whole;
	if (message->topic >= producer->topic_count || message->key_size ||
	    message->flags & ~(unsigned)(RC_PRODUCER_BINARY | RC_PRODUCER_QUIET))
		return -EINVAL;
	if (message->size > RC_PRODUCER_RECORD_MAX(producer->size) - sizeof *record)
		return -EMSGSIZE;
	size = sizeof *record + message->size;
	whole = (size + 7) & ~UINT64_C(7);
	if (!rc_producer_fits(producer, whole <= left ? whole : left + whole))
		return rc_producer_full(producer);
	record = (struct rc_producer_record *)(void *)(producer->bytes + at);
	if (whole > left) {
		record->size = (uint32_t)left;
		record->topic = RC_PRODUCER_SKIP;
		producer->head += left;
		record = (struct rc_producer_record *)(void *)producer->bytes;
	}
	record->size = (uint32_t)size;
	record->topic = message->topic;
	record->flags = message->flags & RC_PRODUCER_BINARY;
	record->key_size = 0;
	record->reserved = 0;
	record->time_ns = message->time_ns;
	if (message->size)
		memcpy(record + 1, message->data, message->size);
	producer->head += whole;
	return message->flags & RC_PRODUCER_QUIET ? 0 : rc_producer_flush(producer);
}

/* Publishes with less to choose. `topic` is what rc_producer_topic() returned. Returns what rc_producer_publish_with()
 * does. */
static inline int rc_producer_publish(struct rc_producer *producer, int topic, const void *data, size_t size,
                                      unsigned flags)
{
	struct rc_producer_message message;
	memset(&message, 0, sizeof message);
	message.topic = (uint32_t)topic;
	message.flags = flags;
	message.data = data;
	message.size = size;
	return rc_producer_publish_with(producer, &message);
}

/* The largest payload that could be published now, in bytes. */
static inline size_t rc_producer_room(struct rc_producer *producer)
{
	uint64_t at = producer->head & (producer->size - 1), left = producer->size - at, room, wrapped;
	producer->tail = __atomic_load_n(&producer->shared->tail, __ATOMIC_ACQUIRE);
	room = producer->size - (producer->head - producer->tail);
	wrapped = room > left ? room - left : 0;
	room = room < left ? room : left;
	room = room > wrapped ? room : wrapped;
	if (room > RC_PRODUCER_RECORD_MAX(producer->size))
		room = RC_PRODUCER_RECORD_MAX(producer->size);
	return room > sizeof(struct rc_producer_record) ? (size_t)(room - sizeof(struct rc_producer_record)) : 0;
}

/* How many records the server did not publish, and, where *reason is wanted, why not the last of them: -EILSEQ (text
 * that is not UTF-8), -EMSGSIZE (too large for its log), -ENOSPC (too many topics), -ENOMEM, -EINVAL. */
static inline uint64_t rc_producer_refused(const struct rc_producer *producer, int *reason)
{
	if (reason)
		*reason = (int)__atomic_load_n(&producer->shared->reason, __ATOMIC_RELAXED);
	return __atomic_load_n(&producer->shared->refused, __ATOMIC_ACQUIRE);
}

#ifdef __cplusplus
}
#endif
#endif
