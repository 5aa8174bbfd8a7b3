/* SPDX-License-Identifier: MIT
 *
 * ringcast_feed.h - keyed feeds: a topic whose messages are values of keys, such as the levels of an order book. Part
 * of the public contract; the conventions at the head of ringcast.h hold here too.
 *
 * Keys. A publication may say of what in its topic it is the newest value (rc_publication.key). The *state* of a topic
 * is its newest base, if it has one, and behind that the newest message of each key, in the order of the log. A base
 * (RC_PUBLISH_SNAPSHOT) stands for everything before it: keys that were published before are not of the state any more.
 * RC_PUBLISH_REMOVE says that a key is there no more: subscribers get that message, and the state does not have it.
 * Messages without a key are events: everybody gets them, and the state has none of them.
 *
 * Start. rc_start.state gives a subscriber the state first, then everything after it, out of one log: nothing is
 * missing in between, and nothing comes twice but what is newer than the state.
 *
 * Memory. A value is kept when the log lets go of its message, as long as it is the newest of its key. So a topic's
 * keys outlive the log, and count for RC_KEYS_MAX. A key costs 144 to 160 bytes, and, while the log does not have its
 * message, the message with a header of up to 10 bytes and 16 bytes more. When all kept values together are more than
 * rc_config.state_max, the one that has been kept for longest is dropped, whatever its topic, and counted
 * (rc_stats.state_dropped): states of that topic are then told to be incomplete, until it gets a base.
 * A state is made as bytes once for all who begin at about the same time, so a reader costs no copy. All of these bytes
 * together are at most rc_config.state_max too: beyond, a subscription is refused with -ENOMEM.
 *
 * Slow readers. Under RC_POLICY_CONFLATE who cannot keep up gets the newest of each key of what waits for it, in order.
 * Under RC_POLICY_RESYNC it gets everything, until it is overrun; then handlers.resync says so, and it goes on from the
 * state. Nothing is queued for it in either case.
 *
 * Numbers. Forms on the wire that tell numbers give each message as (epoch, sequence, previous), where `previous` is
 * the sequence of the topic's message before it. A reader that has everything has each message's `previous` before it.
 * Wherever it is given less on purpose, a mark comes first, which says up to which number that is so:
 *     state      what it knows is void. What follows, up to this number, is the state
 *     resync     likewise, because it was overrun
 *     conflated  what follows, up to this number, is the newest of each key
 *     heartbeat  nothing follows: this is the number of the topic's newest message (rc_topic_options.heartbeat_ms)
 * Behind that number `previous` counts again. A gap that no mark has told is a loss.
 */
#ifndef RINGCAST_FEED_H
#define RINGCAST_FEED_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Calls visit for the topic's state, in the order of the log, until it returns false. A key that gets a newer message
 * meanwhile may be visited again with that, which then counts, also when it is a removal. Any thread. visit runs under
 * the log's lock: it copies what it wants and may not call any function here. `age_ns`, `time_ns` and `except` are 0.
 * *epoch and *sequence are those of the state: a subscription that resumes since *sequence goes on right behind it.
 * *complete is false when a value of it was dropped. Each of these may be null. Returns for how many messages it was
 * called (0 for an unknown topic too), -EINVAL (the name) or -ENOMEM. */
RC_API int64_t rc_topic_state(rc_server *server, const char *topic, size_t topic_size, uint64_t *epoch,
                              uint64_t *sequence, bool *complete,
                              bool (*visit)(void *context, const struct rc_past *past), void *context);

#ifdef __cplusplus
}
#endif
#endif
