/* SPDX-License-Identifier: MIT
 *
 * producer_ring.c - what a producer is given, and how it is answered: shared memory that cannot change its size any
 * more, an eventfd, and the messages of its socket. It must not know a worker.
 */
#include "producer.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct rc_producer_answer make_answer(int result, const char *text)
{
	struct rc_producer_answer answer = { .result = result, .version = RC_PRODUCER_VERSION };
	snprintf(answer.text, sizeof answer.text, "%s", text);
	return answer;
}

int rc_producer_answer(int socket, int result, const char *text)
{
	const struct rc_producer_answer answer = make_answer(result, text);
	return send(socket, &answer, sizeof answer, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The first answer, with the descriptors beside it. */
static int hand_over(int socket, uint64_t ring_size, int memory_fd, int wake_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = { .bytes = { 0 } };
	struct rc_producer_answer answer = make_answer(0, "");
	struct iovec part = { &answer, sizeof answer };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	const int descriptors[2] = { memory_fd, wake_fd };
	answer.ring_size = ring_size;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof descriptors);
	memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
	return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Shared memory whose size is fixed: a producer that cut it off would end us with SIGBUS. */
static int make_memory(uint64_t size)
{
	int fd = memfd_create("ringcast-producer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	int result = -errno;
	close(fd);
	return result;
}

int rc_producer_ring_make(struct producer *producer, uint64_t ring_size)
{
	uint64_t size = RC_PRODUCER_BYTES_AT + ring_size;
	int result = 0, memory_fd = make_memory(size), wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	void *memory = MAP_FAILED;
	if (memory_fd < 0 || wake_fd < 0)
		result = memory_fd < 0 ? memory_fd : -errno;
	else if ((memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0)) == MAP_FAILED)
		result = -errno;
	else
		result = hand_over(producer->socket, ring_size, memory_fd, wake_fd);
	if (memory_fd >= 0)
		close(memory_fd); /* the mapping holds it */
	if (result == 0) {
		producer->wake_fd = wake_fd;
		rc_records_init(&producer->records, memory, ring_size);
		return 0;
	}
	if (memory != MAP_FAILED)
		munmap(memory, size);
	if (wake_fd >= 0)
		close(wake_fd);
	rc_producer_answer(producer->socket, result,
	                   result == -EMFILE ? "the server has no descriptors left: raise its 'ulimit -n'"
	                                     : "the server has no memory for another producer");
	return result;
}

void rc_producer_ring_free(struct producer *producer)
{
	munmap(producer->records.shared, RC_PRODUCER_BYTES_AT + producer->records.size);
	close(producer->wake_fd);
	close(producer->socket);
}

static bool matches(const char *pattern, const char *topic, size_t size)
{
	size_t length = strlen(pattern);
	if (length && pattern[length - 1] == '*')
		return size >= length - 1 && memcmp(pattern, topic, length - 1) == 0;
	return size == length && memcmp(pattern, topic, size) == 0;
}

bool rc_producer_may(const struct rc_producers_options *options, const char *topic, size_t size)
{
	bool found = !options->topic_count;
	for (size_t i = 0; i < options->topic_count && !found; i++)
		found = matches(options->topics[i], topic, size);
	return found && (!options->allow || options->allow(options->context, topic, size));
}
