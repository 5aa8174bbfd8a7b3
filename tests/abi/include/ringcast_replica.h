/* SPDX-License-Identifier: MIT
 *
 * ringcast_replica.h - topics that are numbered elsewhere: a server's log as a replica of a stream. Part of the public
 * contract; the conventions at the head of ringcast.h hold here too.
 *
 * Numbers. A stream holds the messages of many topics in one order. A message's number in its topic is its position in
 * the stream, so the numbers of a topic rise and have holes; its epoch is the incarnation of the stream. Whoever reads
 * the stream publishes each message with both (rc_publication.at_epoch and at_sequence, rc_batch_message likewise), in
 * the order of the stream. Numbers of one epoch are of one stream: a program that reads several gives each epochs of
 * its own. Both are from 1 to INT64_MAX; what readers in JavaScript are told must be below 2^53.
 *
 * Again. A number that is not above the newest of its topic is refused with -EEXIST: who reads the stream again from
 * further back does no harm, and need not know where the log ends.
 *
 * Holes. Each message knows the number of the topic's message before it (rc_past.previous, and in each form that tells
 * numbers), so a hole is told from a loss: whoever has everything up to `previous` has lost nothing. What is not known
 * counts as lost: the first message of a topic of which rc_topic_begin() and rc_server_begin() said nothing has the
 * number below its own as its previous one.
 *
 * Another epoch. A message of another epoch than its topic's begins the topic anew: the history, the state and the last
 * value of the old epoch are given to nobody any more. So does a message without a number in a topic that had
 * them, since the numbers of the stream are not the server's to give: such a topic gets an epoch of the server's. Those
 * who are subscribed are told before anything else as RC_POLICY_RESYNC tells: by handlers.resync, and by the mark
 * "resync" in the forms that have marks. Handles of the topic stay good.
 */
#ifndef RINGCAST_REPLICA_H
#define RINGCAST_REPLICA_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What rc_publication.make_of and rc_batch_message.make_of are told. They are called instead of `make`, for a message
 * that also holds the number before its own. Only the library makes such structs. */
struct rc_numbers {
	uint64_t epoch, sequence;
	uint64_t previous; /* of the topic's message before it, as in rc_past */
	bool first;        /* the topic has had none since it was made, or began anew, on this server */
};

/* Says where a topic of a stream begins on this server: its epoch, and that everything up to and with `sequence` came
 * before this server's log. Whoever resumes in that epoch since a lower number is told that there is a loss; whoever
 * resumes since this number or a higher one loses nothing. The topic's newest number is `sequence` until it has a
 * message. A topic of another epoch begins anew, and so does one of this epoch whose newest number is lower, as what
 * lies between never came; otherwise nothing changes. Unless it is of the epoch of rc_server_begin(), the
 * topic counts for RC_TOPICS_MAX from then on, until a message of it was recycled.
 * Any thread. Returns 0, -EINVAL (the name, an epoch of 0, or a number above INT64_MAX), -ENOSPC (RC_TOPICS_MAX topics
 * exist), -ENOMEM. */
RC_API int rc_topic_begin(rc_server *server, const char *topic, size_t topic_size, uint64_t epoch, uint64_t sequence);

/* Says the same of all topics that do not exist yet, for who has read the stream from behind `sequence` on: each begins
 * in that epoch behind that number when it is made, unless rc_topic_options.numbered_here says that it is none of the
 * stream. It is said before anything is published, again when the stream has a new epoch, and again with a higher
 * number when it was cut off before it was read: topics that exist, and are of another epoch than the server's own or
 * have no number as high, then begin anew. The server remembers what it forgets: a topic that is made again begins
 * behind the newest message that was recycled, or a little later, so a loss may be told where there was none, and never
 * the other way round. An epoch of 0 ends all that: new topics are the server's again. Any thread. Returns 0, -EINVAL
 * (a number above INT64_MAX), or, when it is to be said again, -ENOSPC (RC_TOPICS_MAX topics exist) or -ENOMEM. */
RC_API int rc_server_begin(rc_server *server, uint64_t epoch, uint64_t sequence);

/* The number behind which the newest `count` messages of a topic come, as far as the log has them: for rc_topic_read().
 * Any thread. Returns 0 for an unknown topic too. */
RC_API uint64_t rc_topic_since(rc_server *server, const char *topic, size_t topic_size, unsigned count);

#ifdef __cplusplus
}
#endif
#endif
