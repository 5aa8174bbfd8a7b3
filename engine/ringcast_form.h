/* SPDX-License-Identifier: MIT
 *
 * ringcast_form.h - the forms in which connections get what they are subscribed to: the payload alone, or a message
 * that names its topic, numbers and key. Part of the public contract; the conventions at the head of ringcast.h hold
 * here too.
 */
#ifndef RINGCAST_FORM_H
#define RINGCAST_FORM_H

#include "ringcast.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each form is made once for all who read in it, and only while somebody does. A message:
 *
 *   RC_FORM_PLAIN   the payload, as text or binary. It has no marks.
 *   RC_FORM_JSON    text: {"t":TOPIC,"s":SEQUENCE,"e":EPOCH,"p":PREVIOUS,"k"?:KEY,"r"?:true,"b"?:true,"d":PAYLOAD}.
 *                   PREVIOUS is the sequence number of the topic's message before it; "r" a key that was removed, "b"
 *                   a base. Text that is one JSON value stands there as it is, other text as a string. A binary
 *                   payload is "x":BASE64 instead of "d", a key that is no text "kx":BASE64 instead of "k".
 *   RC_FORM_BINARY  binary: 28 bytes, the topic, the key, the payload. The 28 bytes are, in network order: u8 kind (0),
 *                   u8 flags (1 the payload is text, 2 removed, 4 a base), u8 size of the key, u8 size of the topic,
 *                   u64 sequence, u64 epoch, u64 previous.
 *   RC_FORM_OWN     binary: what rc_server_form() says of payload, key and numbers; RC_FORM_OWN_2 is another one.
 *                   They have no marks.
 *
 * A mark comes before what is not every message of a topic: {"m":KIND,"t":TOPIC,"s":SEQUENCE,"e":EPOCH}, or in binary
 * the same 28 bytes with the kind's number, and the topic. Behind SEQUENCE, each message's PREVIOUS is the one before
 * it again, and the first has SEQUENCE.
 *
 *   1 "state"      forget the topic: up to SEQUENCE its state follows
 *   2 "resync"     the same, because this reader was overrun
 *   3 "conflated"  up to SEQUENCE only the newest message of each key follows
 *   4 "heartbeat"  nothing follows: SEQUENCE is the topic's newest
 *   5 "reset"      forget the topic: what follows begins behind SEQUENCE */
enum rc_form {
	RC_FORM_PLAIN,
	RC_FORM_JSON,
	RC_FORM_BINARY,
	RC_FORM_OWN,
	RC_FORM_OWN_2,
};

/* Writes a message as the application wants it: puts it into `to`, which has room for so many bytes, and returns its
 * size. When that is more than `room` (which may be 0, and `to` null), it has written nothing, and is called again; the
 * same message always has the same bytes. 0: it has no such form, and its readers do not get it. Called on workers,
 * perhaps by several at once and under the log's lock: it may call no function here. */
typedef size_t rc_form_writer(void *context, const struct rc_past *message, void *to, size_t room);

/* Says what a form of the application's own (RC_FORM_OWN, RC_FORM_OWN_2) is, before the start. Returns 0, -EINVAL
 * (another form, or no function), -EBUSY (after the start). */
RC_API int rc_server_form(rc_server *server, enum rc_form form, rc_form_writer *write, void *context);

/* Says in which form the connection of this request gets what it is subscribed to, before it is subscribed to anything:
 * a WebSocket in any, a stream of rc_request_events() plain or as JSON. What rc_send() sends stays as it is. Messages
 * in another form than the plain one are not compressed. Inside handlers.request only. Returns 0, -EINVAL (no such
 * form, or one that this kind of connection, or this server, has not), -EBUSY (it is subscribed). */
RC_API int rc_request_form(rc_request *request, enum rc_form form);

/* Writes a message that rc_topic_read() found in a form, as its subscribers get it, and returns the size; a null `to`
 * asks for it. Any thread, inside the visit too. Returns 0 for what is no form, and for a name of no topic. */
RC_API size_t rc_form_write(enum rc_form form, void *to, const char *topic, size_t topic_size,
                            const struct rc_past *past, size_t struct_size);
#define rc_form_write(...) rc_form_write(__VA_ARGS__, sizeof(struct rc_past))

#ifdef __cplusplus
}
#endif
#endif
