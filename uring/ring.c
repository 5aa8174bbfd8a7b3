/* SPDX-License-Identifier: MIT
 *
 * ring.c - the seam of ring.h on io_uring: the only file that knows liburing. It must not know what a connection is.
 *
 * Set-up: SINGLE_ISSUER and DEFER_TASKRUN (6.1): completions are worked off inside our own wait and never interrupt us;
 * a completion queue of several times the submission queue, because multishot operations complete more often than they
 * are submitted. Descriptors live in the ring's table only, so neither accept nor send touches the process's.
 *
 * On an older kernel they are ordinary ones. Up to Linux 6.12 a ring lets go of the files that left its table in the
 * order they left, each only when every operation begun before has ended: one idle connection with a receive armed
 * would keep all that closed since open, their peers waiting for an end (and 6.1 waits a second on top). Slots are then
 * places in an array of ours, and accepts are one-shot ones, because 6.1 has no way to ask for a peer's address
 * afterwards.
 *
 * The thread sanitizer sees our side of a ring and not the kernel's, which reads and writes without it. That leaves
 * open whether memory that was handed over (ranges, receive buffers, addresses) is touched before its completion. What
 * covers it: only its own thread touches a ring, which SINGLE_ISSUER makes the kernel check; the simulator's ring
 * poisons and reuses memory at the first moment it may, and keeps it in use to the last; and under the address
 * sanitizer the live tests see memory of ours that was freed too early when it is next used.
 */
#include "ring.h"

#include "check.h"
#include "slots.h"
#include "trace.h"

#include <errno.h>
#include <liburing.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SEND_ZC_REPORT_USAGE (1u << 3) /* Linux 6.2: the notification says whether the kernel copied ... */
#define NOTIFICATION_COPIED (1u << 31) /* ... so */
#define COMMAND_GETSOCKOPT 2           /* Linux 6.7, after Debian 12's headers: getsockopt as a ring command */
#define COMMAND_SETSOCKOPT 3           /* and setsockopt */
#define RECORD_ALERT 21                /* RFC 8446, section 5.1 */

#define BUFFER_GROUP 0
#define BUFFERS_IDLE_NS 1000000000
#define PENDING_MAX 1024            /* accepts whose peer is being asked for, connects on their way */
#define DESCRIPTORS_SPARED 24       /* of the process, for files that are no connections, where these take some too */
#define DESCRIPTORS_SPARED_A_RING 4 /* itself, its eventfd, its listeners */
#define SINGLE_ACCEPTS 64           /* one-shot accepts kept waiting a listener where the table is not used */

/* Our own kinds of operation, above the caller's tags. */
enum { TAG_USER, TAG_ACCEPT, TAG_PEER, TAG_ACCEPT_ONE, TAG_INSTALL, TAG_CONNECT, TAG_CLOSED, TAG_IGNORE };
#define TAG(kind, value) ((uint64_t)(kind) << 60 | (value))
#define TAG_KIND(tag) ((unsigned)((tag) >> 60))
#define TAG_VALUE(tag) ((tag) & (RC_RING_TAG_MAX - 1))

static_assert(sizeof(struct rc_range) == sizeof(struct iovec), "a plan's ranges are handed over as they are");
static_assert(offsetof(struct rc_range, size) == offsetof(struct iovec, iov_len), "and in the same order");

/* An accept or connect that takes more than one operation. */
struct pending {
	struct sockaddr_storage address;
	socklen_t address_size;
	int fd;
	int slot;
	uint64_t tag;
	struct pending *next;
};

struct listener {
	int fd;
	uint64_t tag;
	sa_family_t family;
	bool cancelled;
	unsigned armed; /* one-shot accepts on their way */
};

struct rc_ring {
	struct io_uring uring;
	struct io_uring_buf_ring *buffer_ring;
	size_t buffer_ring_size;
	uint8_t *buffers;
	size_t buffer_size;
	unsigned buffer_count;   /* places for buffers */
	unsigned buffers_made;   /* buffers in use: more are made when they run out */
	bool buffers_more;       /* they ran out */
	bool buffers_touched;    /* since their memory was given back */
	unsigned buffers_added;  /* given back since the last wait */
	bool direct;             /* the kernel's table, multishot accept, and the peer by COMMAND_GETSOCKOPT */
	struct slots slots;      /* used when it is not */
	struct msghdr *messages; /* one a submission entry: read when the entry is submitted */
	struct pending *pending, *pending_free, *pending_done;
	struct listener listeners[RC_LISTENERS_MAX];
	unsigned listener_count;
};

static int fail(struct rc_error *error, int code, const char *text)
{
	if (error) {
		error->code = code;
		snprintf(error->text, sizeof error->text, "%s: %s", text, strerror(-code));
	}
	return code;
}

static struct io_uring_sqe *next_entry(struct rc_ring *ring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	while (!sqe) {
		/* Full: submit. -EBUSY means that completions have overflown; asking for events moves them. */
		int result = io_uring_submit(&ring->uring);
		if (result == -EBUSY || result == -EAGAIN)
			io_uring_get_events(&ring->uring);
		sqe = io_uring_get_sqe(&ring->uring);
	}
	return sqe;
}

/* ---- opening ---- */

static int open_uring(struct rc_ring *ring, const struct rc_ring_config *config, struct rc_error *error)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
		         IORING_SETUP_CQSIZE,
		.cq_entries = config->entry_count * RC_COMPLETIONS_PER_ENTRY,
	};
	int result = io_uring_queue_init_params(config->entry_count, &ring->uring, &params);
	if (result == -EPERM)
		return fail(error, result,
		            "io_uring is not allowed here: set the sysctl kernel.io_uring_disabled to 0, or "
		            "allow io_uring in the container's seccomp profile");
	if (result == -ENOSYS)
		return fail(error, result,
		            "this kernel was built without io_uring: Linux 6.1 or newer with io_uring is needed");
	if (result == -EINVAL)
		return fail(error, result, "this kernel's io_uring is too old: Linux 6.1 or newer is needed");
	if (result == -ENOMEM)
		return fail(error, result,
		            "no memory may be locked for a ring: raise 'ulimit -l', or use fewer workers");
	if (result == -EMFILE || result == -ENFILE)
		return fail(error, result, "no descriptor is left for a ring: raise 'ulimit -n'");
	if (result < 0)
		return fail(error, result, "cannot make a ring");
	io_uring_register_ring_fd(&ring->uring); /* only spares a look-up a call, so a failure does not matter */
	ring->direct = !config->old_kernel && params.features & RC_RING_FEATURE_6_14;
	return 0;
}

static int open_table(struct rc_ring *ring, struct rc_ring_config *config, struct rc_error *error)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	/* The table may have as many places as the process may have descriptors, though it uses none of them. */
	uint64_t most = limit.rlim_cur;
	if (!ring->direct) {
		/* Slots run out before descriptors do: then a connection too many is accepted and refused, and does not
		 * wait. */
		uint64_t others = DESCRIPTORS_SPARED + DESCRIPTORS_SPARED_A_RING * (uint64_t)config->ring_count;
		most = most > others ? (most - others) / config->ring_count : 0;
		if (!most)
			return fail(error, -EMFILE,
			            "the descriptor limit is too low: raise 'ulimit -n' (systemd: LimitNOFILE)");
	}
	unsigned count = (unsigned)RC_MIN((uint64_t)config->slot_count, most);
	config->slot_count = count;
	if (!ring->direct)
		return rc_slots_open(&ring->slots, count) ? 0 : fail(error, -ENOMEM, "no memory for slots");
	int result = io_uring_register_files_sparse(&ring->uring, count);
	if (result == -EMFILE)
		return fail(error, result, "the descriptor limit is too low: raise 'ulimit -n' (systemd: LimitNOFILE)");
	if (result == -ENOMEM)
		return fail(error, result,
		            "no memory for the table of connections: lower --connections-max or raise 'ulimit -l'");
	if (result < 0)
		return fail(error, result, "cannot register the table of connections");
	return 0;
}

/* The kernel hands buffers out in turn, so every one that exists is soon in memory: few to begin with. */
static void more_buffers(struct rc_ring *ring)
{
	unsigned count = ring->buffers_made ? ring->buffers_made * 2 : RC_RECEIVE_BUFFERS_FIRST;
	for (count = RC_MIN(count, ring->buffer_count); ring->buffers_made < count; ring->buffers_made++)
		rc_ring_buffer_return(ring, (uint16_t)ring->buffers_made);
}

/* Nothing was received for a while: the buffers stay with the kernel, their memory does not. It writes into them only
 * inside our own calls, so none is being filled now. */
static void give_buffers_back(struct rc_ring *ring)
{
	madvise(ring->buffers, ring->buffer_size * ring->buffer_count, MADV_DONTNEED);
	ring->buffers_touched = false;
}

static int open_buffers(struct rc_ring *ring, const struct rc_ring_config *config, struct rc_error *error)
{
	ring->buffer_count = config->buffer_count;
	ring->buffer_size = config->buffer_size;
	ring->buffer_ring_size = sizeof(struct io_uring_buf) * config->buffer_count;
	ring->buffer_ring = mmap(NULL, ring->buffer_ring_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	                         0);
	ring->buffers = mmap(NULL, config->buffer_size * config->buffer_count, PROT_READ | PROT_WRITE,
	                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ring->buffer_ring == MAP_FAILED || ring->buffers == MAP_FAILED)
		return fail(error, -ENOMEM, "no memory for receive buffers");
	struct io_uring_buf_reg registration = {
		.ring_addr = (uintptr_t)ring->buffer_ring,
		.ring_entries = config->buffer_count,
		.bgid = BUFFER_GROUP,
	};
	int result = io_uring_register_buf_ring(&ring->uring, &registration, 0);
	if (result < 0)
		return fail(error, result,
		            "cannot register receive buffers (Linux 5.19 or newer; 'ulimit -l' if memory lacks)");
	io_uring_buf_ring_init(ring->buffer_ring);
	more_buffers(ring);
	return 0;
}

int rc_ring_open(struct rc_ring **out, struct rc_ring_config *config, struct rc_error *error)
{
	struct rc_ring *ring = calloc(1, sizeof *ring);
	if (!ring)
		return fail(error, -ENOMEM, "no memory for a ring");
	ring->uring.ring_fd = -1;
	ring->buffer_ring = MAP_FAILED;
	ring->buffers = MAP_FAILED;
	ring->messages = calloc(config->entry_count, sizeof *ring->messages);
	ring->pending = calloc(PENDING_MAX, sizeof *ring->pending);
	int result = -ENOMEM;
	if (!ring->messages || !ring->pending) {
		fail(error, result, "no memory for a ring");
		goto failed;
	}
	for (unsigned i = PENDING_MAX; i-- > 0;) {
		ring->pending[i].next = ring->pending_free;
		ring->pending_free = &ring->pending[i];
	}
	if ((result = open_uring(ring, config, error)) < 0 || (result = open_table(ring, config, error)) < 0 ||
	    (result = open_buffers(ring, config, error)) < 0)
		goto failed;
	*out = ring;
	return 0;
failed:
	rc_ring_close(ring);
	return result;
}

void rc_ring_close(struct rc_ring *ring)
{
	if (ring->uring.ring_fd >= 0)
		io_uring_queue_exit(&ring->uring);
	if (ring->buffer_ring != MAP_FAILED)
		munmap(ring->buffer_ring, ring->buffer_ring_size);
	if (ring->buffers != MAP_FAILED)
		munmap(ring->buffers, ring->buffer_size * ring->buffer_count);
	for (uint32_t slot = 0; slot < ring->slots.made_count; slot++)
		if (ring->slots.descriptors[slot] >= 0)
			close(ring->slots.descriptors[slot]);
	rc_slots_close(&ring->slots);
	free(ring->messages);
	free(ring->pending);
	free(ring);
}

static void aim(struct rc_ring *ring, struct io_uring_sqe *sqe, unsigned slot)
{
	sqe->fd = ring->direct ? (int)slot : ring->slots.descriptors[slot];
	if (ring->direct)
		sqe->flags |= IOSQE_FIXED_FILE;
}

/* ---- accept and connect: more than one operation each ---- */

/* Gives a descriptor a slot; closes it and returns -ENFILE when there is none. */
static int slot_for(struct rc_ring *ring, int descriptor)
{
	int slot = rc_slots_add(&ring->slots, descriptor);
	if (slot < 0)
		close(descriptor);
	return slot;
}

static struct pending *take_pending(struct rc_ring *ring)
{
	struct pending *pending = ring->pending_free;
	if (pending)
		ring->pending_free = pending->next;
	return pending;
}

/* Not reused before the next wait: the caller may still read the address. */
static void give_pending(struct rc_ring *ring, struct pending *pending)
{
	pending->next = ring->pending_done;
	ring->pending_done = pending;
}

static void arm_accept(struct rc_ring *ring, unsigned index)
{
	struct listener *listener = &ring->listeners[index];
	if (ring->direct) {
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_multishot_accept_direct(sqe, listener->fd, NULL, NULL, 0);
		sqe->user_data = TAG(TAG_ACCEPT, index);
		return;
	}
	/* A multishot accept has one place for all addresses, so there is a number of one-shot ones. */
	while (listener->armed < SINGLE_ACCEPTS) {
		struct pending *pending = take_pending(ring);
		if (!pending)
			return;
		pending->tag = index;
		pending->address_size = sizeof pending->address;
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_accept(sqe, listener->fd, (struct sockaddr *)&pending->address, &pending->address_size,
		                     SOCK_CLOEXEC);
		sqe->user_data = TAG(TAG_ACCEPT_ONE, (uint64_t)(pending - ring->pending));
		listener->armed++;
	}
}

void rc_ring_accept(struct rc_ring *ring, int fd, uint64_t tag)
{
	unsigned index = 0;
	while (index < ring->listener_count && ring->listeners[index].fd != fd)
		index++;
	RC_ASSERT(index < RC_LISTENERS_MAX);
	ring->listeners[index].fd = fd;
	ring->listeners[index].tag = tag;
	ring->listeners[index].cancelled = false;
	struct sockaddr_storage address = { 0 };
	socklen_t size = sizeof address;
	getsockname(fd, (struct sockaddr *)&address, &size);
	ring->listeners[index].family = address.ss_family;
	ring->listener_count = RC_MAX(ring->listener_count, index + 1);
	arm_accept(ring, index);
}

void rc_ring_accept_cancel(struct rc_ring *ring, int fd, uint64_t tag)
{
	for (unsigned i = 0; i < ring->listener_count; i++)
		if (ring->listeners[i].fd == fd)
			ring->listeners[i].cancelled = true;
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
	sqe->user_data = TAG(TAG_USER, tag);
}

/* Asks the new slot for its peer's address: the command is done at once, inside the next submission. */
static bool ask_peer(struct rc_ring *ring, int slot, const struct listener *listener)
{
	struct pending *pending = take_pending(ring);
	if (!pending)
		return false;
	pending->slot = slot;
	pending->tag = listener->tag;
	struct io_uring_sqe *sqe = next_entry(ring);
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = slot;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->off = COMMAND_GETSOCKOPT;
	sqe->addr = (uint64_t)SOL_SOCKET | (uint64_t)SO_PEERNAME << 32; /* level, optname */
	/* optlen: SO_PEERNAME refuses room for more than the address has */
	sqe->file_index = listener->family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	sqe->addr3 = (uintptr_t)&pending->address; /* optval */
	sqe->user_data = TAG(TAG_PEER, (uint64_t)(pending - ring->pending));
	return true;
}

/* Puts a descriptor into a free place of the table; the kernel writes over `slot` which one it was. */
static void install(struct rc_ring *ring, struct pending *pending)
{
	pending->slot = pending->fd;
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_files_update(sqe, &pending->slot, 1, (int)IORING_FILE_INDEX_ALLOC);
	sqe->user_data = TAG(TAG_INSTALL, (uint64_t)(pending - ring->pending));
}

/* On a slot, or on none: then the completion says why. */
static void start_connect(struct rc_ring *ring, struct pending *pending, int slot)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	pending->slot = slot;
	if (slot >= 0) {
		io_uring_prep_connect(sqe, slot, (struct sockaddr *)&pending->address, pending->address_size);
		aim(ring, sqe, (unsigned)slot);
	} else {
		io_uring_prep_nop(sqe);
	}
	sqe->user_data = TAG(TAG_CONNECT, (uint64_t)(pending - ring->pending));
}

/* A completion that no operation of the kernel will bring. */
static void complete_by_hand(struct rc_ring *ring, uint64_t tag, int result)
{
	struct pending *pending = take_pending(ring);
	RC_ASSERT(pending);
	pending->tag = tag;
	start_connect(ring, pending, result);
}

bool rc_ring_can_connect(const struct rc_ring *ring)
{
	return ring->pending_free && ring->pending_free->next;
}

void rc_ring_connect(struct rc_ring *ring, const struct sockaddr_storage *to, socklen_t to_size,
                     const struct sockaddr_storage *source, socklen_t source_size, uint64_t tag)
{
	/* The socket is made by hand and then moved into the table: Linux 6.1 cannot bind one that is only there. */
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd >= 0 && to->ss_family != AF_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fd >= 0 && source) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, (const struct sockaddr *)source, source_size) < 0) {
			int code = -errno;
			close(fd);
			complete_by_hand(ring, tag, code);
			return;
		}
	}
	if (fd < 0) {
		complete_by_hand(ring, tag, -errno);
		return;
	}
	struct pending *pending = take_pending(ring);
	RC_ASSERT(pending);
	pending->address = *to;
	pending->address_size = to_size;
	pending->fd = fd;
	pending->tag = tag;
	if (ring->direct)
		install(ring, pending);
	else
		start_connect(ring, pending, slot_for(ring, fd));
}

/* ---- the other operations ---- */

void rc_ring_receive(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_recv_multishot(sqe, (int)slot, NULL, 0, 0);
	aim(ring, sqe, slot);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUFFER_GROUP;
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_buffer_return(struct rc_ring *ring, uint16_t buffer)
{
	io_uring_buf_ring_add(ring->buffer_ring, ring->buffers + (size_t)buffer * ring->buffer_size,
	                      (unsigned)ring->buffer_size, buffer, io_uring_buf_ring_mask(ring->buffer_count),
	                      (int)ring->buffers_added++);
}

void rc_ring_send(struct rc_ring *ring, unsigned slot, const struct rc_range *ranges, unsigned range_count,
                  bool zero_copy, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	/* MSG_DONTWAIT: a send that would block comes back at once instead of waiting with our memory in its hand. */
	if (range_count == 1) {
		io_uring_prep_send(sqe, (int)slot, ranges[0].at, ranges[0].size, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		struct msghdr *message = &ring->messages[(size_t)(sqe - ring->uring.sq.sqes)];
		*message = (struct msghdr){ .msg_iov = (struct iovec *)(uintptr_t)ranges, .msg_iovlen = range_count };
		io_uring_prep_sendmsg(sqe, (int)slot, message, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	if (zero_copy && ring->direct) { /* the same fields, otherwise carried out */
		sqe->opcode = range_count == 1 ? IORING_OP_SEND_ZC : IORING_OP_SENDMSG_ZC;
		sqe->ioprio = SEND_ZC_REPORT_USAGE;
	}
	aim(ring, sqe, slot);
	sqe->user_data = TAG(TAG_USER, tag);
}

int rc_ring_set_option(struct rc_ring *ring, unsigned slot, int level, int name, const void *value, unsigned size,
                       uint64_t tag)
{
	if (!ring->direct)
		return setsockopt(ring->slots.descriptors[slot], level, name, value, size) < 0 ? -errno : 0;
	struct io_uring_sqe *sqe = next_entry(ring);
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = (int)slot;
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->off = COMMAND_SETSOCKOPT;
	sqe->addr = (uint64_t)(unsigned)level | (uint64_t)(unsigned)name << 32;
	sqe->file_index = size;        /* optlen */
	sqe->addr3 = (uintptr_t)value; /* optval */
	sqe->user_data = TAG(TAG_USER, tag);
	return -EINPROGRESS;
}

void rc_ring_send_alert(struct rc_ring *ring, unsigned slot, const struct rc_range *bytes, uint64_t tag)
{
	/* What every alert says beside its bytes: it is read when the entry is submitted, and never changes. */
	static _Thread_local _Alignas(struct cmsghdr) unsigned char control[CMSG_SPACE(1)];
	struct io_uring_sqe *sqe = next_entry(ring);
	struct msghdr *message = &ring->messages[(size_t)(sqe - ring->uring.sq.sqes)];
	*message = (struct msghdr){ .msg_iov = (struct iovec *)(uintptr_t)bytes, .msg_iovlen = 1 };
	message->msg_control = control;
	message->msg_controllen = sizeof control;
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	header->cmsg_level = SOL_TLS;
	header->cmsg_type = TLS_SET_RECORD_TYPE;
	header->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(header) = RECORD_ALERT;
	io_uring_prep_sendmsg(sqe, (int)slot, message, MSG_DONTWAIT | MSG_NOSIGNAL);
	aim(ring, sqe, slot);
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_poll_writable(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_poll_add(sqe, (int)slot, POLLOUT);
	aim(ring, sqe, slot);
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_shutdown(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_shutdown(sqe, (int)slot, SHUT_WR);
	aim(ring, sqe, slot);
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_abort(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	static struct sockaddr nowhere = { .sa_family = AF_UNSPEC }; /* connect(2): dissolves the association */
	struct io_uring_sqe *sqe = next_entry(ring);
	io_uring_prep_connect(sqe, (int)slot, &nowhere, sizeof nowhere);
	aim(ring, sqe, slot);
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_cancel(struct rc_ring *ring, unsigned slot, uint64_t of, uint64_t tag)
{
	(void)slot;
	struct io_uring_sqe *sqe = next_entry(ring);
	/* By its tag, which the kernel hashes: by descriptor it would look at every operation of the ring, and 20,000
	 * connections that end would cost 400 million looks. */
	io_uring_prep_cancel64(sqe, TAG(TAG_USER, of), 0);
	sqe->user_data = TAG(TAG_USER, tag);
}

void rc_ring_close_slot(struct rc_ring *ring, unsigned slot, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	if (ring->direct)
		io_uring_prep_close_direct(sqe, slot);
	else
		io_uring_prep_close(sqe, rc_slots_begin_closing(&ring->slots, slot));
	sqe->user_data = TAG(ring->direct ? TAG_USER : TAG_CLOSED, tag);
}

void rc_ring_watch(struct rc_ring *ring, int event_fd, uint64_t tag)
{
	struct io_uring_sqe *sqe = next_entry(ring);
	/* Multishot and edge-triggered: the counter never needs to be read. */
	io_uring_prep_poll_multishot(sqe, event_fd, POLLIN);
	sqe->user_data = TAG(TAG_USER, tag);
}

/* ---- waiting ---- */

static bool finish(struct rc_completion *out, struct pending *pending, struct rc_ring *ring, int result, uint16_t flags)
{
	*out = (struct rc_completion){ .tag = pending->tag, .result = result, .flags = flags };
	if (result >= 0 && pending->address.ss_family)
		out->peer = &pending->address;
	give_pending(ring, pending);
	return true;
}

static bool take_accept(struct rc_ring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct listener *listener = &ring->listeners[TAG_VALUE(cqe->user_data)];
	if (cqe->res >= 0 && listener->family != AF_UNIX && ask_peer(ring, cqe->res, listener)) {
		if (!(cqe->flags & IORING_CQE_F_MORE) && !listener->cancelled)
			arm_accept(ring, (unsigned)TAG_VALUE(cqe->user_data));
		return false;
	}
	static const struct sockaddr_storage of_unix = { .ss_family = AF_UNIX }; /* such peers have no name */
	*out = (struct rc_completion){ .tag = listener->tag, .result = cqe->res };
	out->peer = listener->family == AF_UNIX ? &of_unix : NULL;
	out->flags = cqe->flags & IORING_CQE_F_MORE ? RC_RING_MORE : 0;
	return true;
}

static bool take_accept_one(struct rc_ring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct pending *pending = &ring->pending[TAG_VALUE(cqe->user_data)];
	unsigned index = (unsigned)pending->tag;
	struct listener *listener = &ring->listeners[index];
	listener->armed--;
	pending->tag = listener->tag;
	int slot = cqe->res < 0 ? cqe->res : slot_for(ring, cqe->res);
	/* Some are still waiting, so for the caller it goes on; after an error it decides when to begin again. */
	bool more = slot >= 0 && !listener->cancelled;
	if (more && listener->armed < SINGLE_ACCEPTS / 2)
		arm_accept(ring, index);
	return finish(out, pending, ring, slot, more || listener->armed ? RC_RING_MORE : 0);
}

/* The socket is in the table: close our own descriptor of it and connect. */
static bool take_install(struct rc_ring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct pending *pending = &ring->pending[TAG_VALUE(cqe->user_data)];
	close(pending->fd); /* the table holds the file now */
	if (cqe->res != 1)
		return finish(out, pending, ring, cqe->res < 0 ? cqe->res : -ENFILE, 0);
	start_connect(ring, pending, pending->slot);
	return false;
}

static bool take_connect(struct rc_ring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	struct pending *pending = &ring->pending[TAG_VALUE(cqe->user_data)];
	if (pending->slot >= 0 && cqe->res < 0 && !ring->direct) {
		close(rc_slots_remove(&ring->slots, (uint32_t)pending->slot));
	} else if (pending->slot >= 0 && cqe->res < 0) {
		struct io_uring_sqe *sqe = next_entry(ring);
		io_uring_prep_close_direct(sqe, (unsigned)pending->slot);
		sqe->user_data = TAG(TAG_IGNORE, 0);
	}
	return finish(out, pending, ring, cqe->res < 0 ? cqe->res : pending->slot, 0);
}

/* Turns a kernel's completion into one for the caller; false when it was only a step on the way. */
static bool take(struct rc_ring *ring, const struct io_uring_cqe *cqe, struct rc_completion *out)
{
	switch (TAG_KIND(cqe->user_data)) {
	case TAG_ACCEPT:
		return take_accept(ring, cqe, out);
	case TAG_PEER: {
		struct pending *pending = &ring->pending[TAG_VALUE(cqe->user_data)];
		if (cqe->res < 0)
			pending->address.ss_family = 0; /* it has gone already */
		return finish(out, pending, ring, pending->slot, RC_RING_MORE);
	}
	case TAG_ACCEPT_ONE:
		return take_accept_one(ring, cqe, out);
	case TAG_INSTALL:
		return take_install(ring, cqe, out);
	case TAG_CONNECT:
		return take_connect(ring, cqe, out);
	case TAG_IGNORE:
		return false;
	case TAG_CLOSED: /* closing a socket never leaves the submission, so closes complete in their order */
		rc_slots_end_closing(&ring->slots);
		break;
	default:
		break;
	}
	*out = (struct rc_completion){ .tag = TAG_VALUE(cqe->user_data), .result = cqe->res };
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		out->flags = RC_RING_RELEASED;
		out->result = (unsigned)cqe->res >> 31;
		return true;
	}
	if (cqe->res == -ENOBUFS)
		ring->buffers_more = true;
	if (cqe->flags & IORING_CQE_F_MORE)
		out->flags |= RC_RING_MORE;
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		out->flags |= RC_RING_BUFFER;
		out->buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
		out->data = ring->buffers + (size_t)out->buffer * ring->buffer_size;
		ring->buffers_touched = true;
	}
	return true;
}

unsigned rc_ring_wait(struct rc_ring *ring, struct rc_completion *completions, unsigned max, int64_t timeout_ns)
{
	while (ring->pending_done) {
		struct pending *pending = ring->pending_done;
		ring->pending_done = pending->next;
		memset(pending, 0, sizeof *pending);
		pending->next = ring->pending_free;
		ring->pending_free = pending;
	}
	if (ring->buffers_more)
		more_buffers(ring);
	ring->buffers_more = false;
	if (ring->buffers_added) {
		io_uring_buf_ring_advance(ring->buffer_ring, (int)ring->buffers_added);
		ring->buffers_added = 0;
	}
	unsigned submitted = io_uring_sq_ready(&ring->uring);
	if (timeout_ns == 0 || io_uring_cq_ready(&ring->uring)) {
		io_uring_submit_and_get_events(&ring->uring);
	} else {
		struct io_uring_cqe *cqe;
		bool until_idle = ring->buffers_touched && (timeout_ns < 0 || timeout_ns > BUFFERS_IDLE_NS);
		int64_t wait_ns = until_idle ? BUFFERS_IDLE_NS : timeout_ns;
		struct __kernel_timespec time = { wait_ns / 1000000000, wait_ns % 1000000000 };
		io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, wait_ns < 0 ? NULL : &time, NULL);
		if (until_idle && !io_uring_cq_ready(&ring->uring))
			give_buffers_back(ring);
	}
	if (io_uring_cq_has_overflow(&ring->uring))
		RC_TRACE1(overflow, io_uring_cq_ready(&ring->uring));
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, count = 0;
	io_uring_for_each_cqe(&ring->uring, head, cqe)
	{
		if (count == max)
			break;
		seen++;
		if (take(ring, cqe, &completions[count]))
			count++;
	}
	io_uring_cq_advance(&ring->uring, seen);
	RC_TRACE2(tick, count, submitted);
	return count;
}

uint64_t rc_ring_now(struct rc_ring *ring)
{
	(void)ring;
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void rc_ring_random(struct rc_ring *ring, void *bytes, size_t size)
{
	(void)ring;
	for (size_t done = 0; done < size;) {
		ssize_t got = getrandom((uint8_t *)bytes + done, size - done, 0);
		if (got > 0)
			done += (size_t)got;
	}
}
