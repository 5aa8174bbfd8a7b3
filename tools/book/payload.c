/* SPDX-License-Identifier: MIT
 *
 * payload.c - see payload.h.
 */
#include "payload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

size_t payload_write(const struct payload *payload, char out[PAYLOAD_MAX])
{
	return (size_t)snprintf(out, PAYLOAD_MAX, "{\"q\":\"%s\",\"n\":%" PRIu64 ",\"c\":%" PRIu32 "}",
	                        payload->quantity, payload->number, payload->checksum);
}

bool payload_read(const char *text, size_t size, struct payload *payload)
{
	char copy[PAYLOAD_MAX], again[PAYLOAD_MAX];
	if (size >= sizeof copy)
		return false;
	memcpy(copy, text, size);
	copy[size] = 0;
	if (sscanf(copy, "{\"q\":\"%24[0-9.]\",\"n\":%" SCNu64 ",\"c\":%" SCNu32 "}", payload->quantity,
	           &payload->number, &payload->checksum) != 3)
		return false;
	/* A number that was cut, or a byte too many, does not come back the same. */
	return payload_write(payload, again) == size && !memcmp(copy, again, size);
}
