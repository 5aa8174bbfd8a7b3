/* SPDX-License-Identifier: MIT
 *
 * own.h - messages in a form that the application writes (rc_server_form()). It must not know where they lie.
 */
#ifndef RC_OWN_H
#define RC_OWN_H

#include "encoding.h"
#include "ringcast_form.h"
#include "value.h"

struct rc_server;

#define RC_OWN_FORMS 2

struct own_form {
	rc_form_writer *write; /* null: there is no such form */
	void *context;
};

static inline bool rc_own_is(enum rc_encoding_id encoding)
{
	return encoding == RC_ENCODING_OWN || encoding == RC_ENCODING_OWN_2;
}

/* Writes a payload in an encoding that is one of these, and returns its size; more than `room`: nothing was written. */
size_t rc_own_payload(const struct rc_server *server, enum rc_encoding_id encoding, uint8_t *to, size_t room,
                      const struct rc_value *value);

/* The same for a whole frame. A null `to` asks for the size. */
size_t rc_own_write(const struct rc_server *server, enum rc_encoding_id encoding, uint8_t *to,
                    const struct rc_value *value);

#endif
