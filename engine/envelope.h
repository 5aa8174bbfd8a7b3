/* SPDX-License-Identifier: MIT
 *
 * envelope.h - a message with what is known of it, in each of the forms in which readers get it; and marks, which say
 * that a reader is not given every message from here on.
 *
 *      json     {"t":"book.A","s":17,"e":1763760000123,"p":16,"k":"bid:7","r":true,"b":true,"d":PAYLOAD}
 *               r, b: removed, a base; only where they are so. The payload stands in it as it is when it is one JSON
 *               value; other text is a string; a binary payload is "x":"BASE64" instead of d. A key that is no text is
 *               "kx":"BASE64". A removal without payload has no d.
 *               {"m":"resync","t":"book.A","s":17,"e":1763760000123,"i":true}     a mark; i: of a state, values were
 *               dropped
 *      binary   u8 kind, u8 flags, u8 key size, u8 topic size, u64 sequence, u64 epoch, u64 previous, topic, key,
 * payload in network order. Kind 0 is a message, enum rc_mark_kind + 1 a mark; flags are enum rc_envelope_flags.
 *
 * It must not know where the message lies. Invariant: whatever topic, key and payload are, a reader of the form finds
 * each of them where it belongs.
 */
#ifndef RC_ENVELOPE_H
#define RC_ENVELOPE_H

#include "encoding.h"
#include "ringcast_form.h"
#include "value.h"

#define RC_ENVELOPE_BINARY_SIZE 28 /* of the binary form, before the topic */

/* As they stand in the binary form. */
enum rc_envelope_flags {
	RC_ENVELOPE_TEXT = 1,
	RC_ENVELOPE_REMOVED = 2,
	RC_ENVELOPE_BASE = 4,
	RC_ENVELOPE_INCOMPLETE = 8,
};

/* How the payload stands in the json form: found out once, however often the message is written. */
enum rc_payload {
	RC_PAYLOAD_UNKNOWN,
	RC_PAYLOAD_NONE,
	RC_PAYLOAD_VALUE,
	RC_PAYLOAD_STRING,
	RC_PAYLOAD_BASE64,
};

/* Writes a message as it leaves in an encoding that some read alone, or in RC_ENCODING_LOG as the log's own frame, and
 * returns the size; 0: it has no such form. A null `to` asks for the size. `id` is that of an event; zeroed: it has
 * none. *payload is unknown at first, and then handed in again for the same message. */
size_t rc_envelope_write(uint8_t *to, enum rc_encoding_id encoding, const struct rc_value *value, struct rc_event_id id,
                         enum rc_payload *payload);

/* The same for a mark; at most RC_MARK_SIZE_MAX. Plain messages and plain events have none. */
size_t rc_mark_write(uint8_t *to, enum rc_encoding_id encoding, const struct rc_mark *mark);

/* Writes a message in a form, without what frames it. */
size_t rc_envelope_form(uint8_t *to, enum rc_form form, const struct rc_value *value, enum rc_payload *payload);

#endif
