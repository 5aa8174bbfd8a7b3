/* SPDX-License-Identifier: MIT
 *
 * own.c - see own.h.
 */
#include "own.h"

#include "check.h"
#include "frame.h"
#include "publish.h"
#include "server.h"

#include <string.h>

int rc_server_form(rc_server *server, enum rc_form form, rc_form_writer *write, void *context)
{
	if ((form != RC_FORM_OWN && form != RC_FORM_OWN_2) || !write)
		return -EINVAL;
	if (atomic_load(&server->started))
		return -EBUSY;
	server->own[form - RC_FORM_OWN] = (struct own_form){ .write = write, .context = context };
	return 0;
}

size_t rc_own_payload(const struct rc_server *server, enum rc_encoding_id encoding, uint8_t *to, size_t room,
                      const struct rc_value *value)
{
	const struct own_form *own = &server->own[encoding - RC_ENCODING_OWN];
	const struct rc_past past = rc_history_past(value);
	return own->write(own->context, &past, to, room);
}

size_t rc_own_write(const struct rc_server *server, enum rc_encoding_id encoding, uint8_t *to,
                    const struct rc_value *value)
{
	uint8_t header[RC_FRAME_HEADER_MAX];
	size_t size = rc_own_payload(server, encoding, NULL, 0, value);
	if (!size)
		return 0;
	const struct rc_frame frame = { .fin = true, .opcode = RC_FRAME_BINARY, .size = size };
	size_t header_size = rc_frame_write(header, &frame);
	if (to) {
		memcpy(to, header, header_size);
		size_t written = rc_own_payload(server, encoding, to + header_size, size, value);
		RC_ASSERT(written == size); /* as ringcast_form.h wants it */
	}
	return header_size + size;
}
