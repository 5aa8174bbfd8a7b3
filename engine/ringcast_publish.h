/* SPDX-License-Identifier: MIT
 *
 * ringcast_publish.h - publishing from a thread that has no time to lose: topics by handle, many messages as one, and
 * messages that are built in the log itself. rc_publish() and its flags are in ringcast.h, whose conventions hold here
 * too.
 */
#ifndef RINGCAST_PUBLISH_H
#define RINGCAST_PUBLISH_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------- topics by handle -- */

/* Opens a topic, so that publishing to it looks up no name. Any thread may call this, and any thread may use the handle
 * until it is closed. A handle keeps its topic, with its sequence numbers and its epoch, even while nobody subscribes
 * and the log has none of its messages; the topic counts for RC_TOPICS_MAX meanwhile. Who opens a name once more gets
 * the same handle, and closes it once more. A handle that was closed as often as it was opened is refused, also when
 * the name is opened again later, unless the topic lived on meanwhile.
 * Returns 0, -EINVAL (the name), -ENOSPC (RC_TOPICS_MAX topics exist), -ENOMEM. */
RC_API int rc_topic_open(rc_server *server, const char *name, size_t name_size, rc_topic *topic);

/* Closes a topic that was opened. Any thread. Returns 0, or -ENOENT for what is no open topic. */
RC_API int rc_topic_close(rc_server *server, rc_topic topic);

/* Publishes to an open topic. Any thread. Returns what rc_publish() does, and -ENOENT for what is no open topic. */
RC_API int64_t rc_publish_to(rc_server *server, rc_topic topic, const void *data, size_t size, unsigned flags);

/* --------------------------------------------------------------------------------------------------- many as one -- */

#define RC_PUBLISH_MANY_MAX 1024 /* messages of one rc_publish_many() */

/* One of the messages of rc_publish_many(). */
struct rc_batch_message {
	rc_topic topic;   /* an open one; 0: the one with this name */
	const char *name; /* not looked at with a handle */
	size_t name_size;
	const void *data;
	size_t size;
	unsigned flags;   /* RC_PUBLISH_BINARY, RC_PUBLISH_UNCHECKED, RC_PUBLISH_REMOVE, RC_PUBLISH_SNAPSHOT */
	uint64_t time_ns; /* as in rc_publication */
	int64_t result;   /* out: the sequence number; of the message for which all were refused, why; else 0 */
	const void *key;  /* as in rc_publication */
	size_t key_size;
	/* Instead of data, as in rc_publication, but called once: it returns no more than `size`, for which there is
	 * room, and what is beyond is cut off. Its text is not checked: say RC_PUBLISH_UNCHECKED. */
	size_t (*make)(void *context, uint64_t sequence, uint64_t epoch, const void **data);
	void *context;
	uint64_t epoch; /* out: of the topic */
	/* As in rc_publication. A message whose number the topic has already is left out: its result is -EEXIST, and
	 * the others are published. */
	uint64_t at_epoch, at_sequence;
	size_t (*make_of)(void *context, const struct rc_numbers *numbers, const void **data); /* instead of make */
};

/* Publishes all of these messages, in this order, or none: under one lock, with one wake-up. All are looked at before
 * anybody sees the first, and then everybody sees all at once: nothing that others publish comes between them, and a
 * round of fan-out has all of them or none. So a subscriber that keeps up finds them in one send, as far as one send
 * goes. To one that is behind, the policies of the topics apply message by message.
 * `flags` may be RC_PUBLISH_WAIT and RC_PUBLISH_QUIET. Any thread. Returns `count`, and 0 for no messages, or what
 * rc_publish_with() does, but for -EEXIST, of which
 *   -EMSGSIZE more than RC_PUBLISH_MANY_MAX messages; together larger than a quarter of the log, each with 14 bytes
 *             more; or more than a 512th of log_size, in messages
 *   -ENOENT   a handle is of no open topic */
RC_API int64_t rc_publish_many(rc_server *server, struct rc_batch_message *messages, size_t count, unsigned flags,
                               size_t struct_size);
#define rc_publish_many(...) rc_publish_many(__VA_ARGS__, sizeof(struct rc_batch_message))

/* ---------------------------------------------------------------------------------------------- built in the log -- */

#define RC_PLACES_MAX 64 /* places that are being built in at a time */

/* A place in the log, by number: one that is over is told from every later one. 0 is no place. */
typedef uint64_t rc_place;

/* Reserves a place for a payload of at most `size` bytes, which the caller then writes to *data, in any order, by any
 * thread. rc_commit() publishes it where it stands: it is not copied.
 *
 * A place holds nobody up. It has no turn among the messages before it is committed, so others publish meanwhile, and
 * workers read on. It lies in a block of the log in which nothing else is built until it is given back by rc_commit()
 * or rc_abandon(). So whatever is written there meets no message of anybody, however late, until one of the two has
 * said that the place is over. Who never gives it back, as a thread that was ended does not, keeps one of RC_PLACES_MAX
 * places until rc_server_free(). All blocks together are as much memory again as log_size. Only what is used of it is
 * taken from the system, but with log_prefault, log_lock and reserved huge pages all of it. A block that has no room
 * for the next place is left to its messages, so places that are far larger than what is committed use up blocks, and
 * the log lets go of its oldest messages sooner.
 *
 * Any thread. Returns 0, or
 *   -EMSGSIZE larger than a 128th of the log, less 14 bytes
 *   -ENOBUFS  RC_PLACES_MAX places are being built in
 *   -EAGAIN   all blocks are full of messages that the log still has, and a worker is too far behind for it to let go
 *             of them: try again */
RC_API int rc_reserve(rc_server *server, size_t size, rc_place *place, void **data);

/* Publishes the first `size` bytes of a place to an open topic. `time_ns` is the publisher's own time, as in
 * rc_publication; 0: it does not say. Flags are those of rc_publish(). Any thread; after a success the bytes must not
 * be touched any more. After the first two of these errors the place is over. After the others it is as it was, so that
 * it can be put right and committed, or abandoned. Returns the sequence number, or
 *   -ETIMEDOUT it was reserved more than a second ago: it is over, and nothing is published
 *   -EALREADY  it is over: committed, abandoned or timed out before
 *   -EMSGSIZE  larger than what was reserved
 *   -ENOENT    no open topic
 *   -EINVAL    unknown flags
 *   -EILSEQ    text that is not UTF-8
 *   -ENOSPC    the topic begins anew (ringcast_replica.h), and RC_TOPICS_MAX exist
 *   -ENOMEM    likewise, and there is no memory for that
 *   -EAGAIN    a worker is a whole log behind */
RC_API int64_t rc_commit(rc_server *server, rc_place place, rc_topic topic, size_t size, uint64_t time_ns,
                         unsigned flags);

/* Gives a place back unpublished. Any thread. Returns 0, or -EALREADY (it is over). */
RC_API int rc_abandon(rc_server *server, rc_place place);

/* ----------------------------------------------------------------------------------------------- waking and room -- */

/* Wakes the workers that RC_PUBLISH_QUIET left asleep, once each, whichever threads published. Any thread. */
RC_API void rc_flush(rc_server *server);

/* How much can be published now before a message is refused. Returns the bytes, of which each message takes its size
 * and up to 10 more; *messages is how many messages at most, and `messages` may be null. Workers make more room as they
 * send. Other publishers take of it, and so may a subscriber that begins far back. Any thread. */
RC_API size_t rc_server_room(rc_server *server, size_t *messages);

#ifdef __cplusplus
}
#endif
#endif
