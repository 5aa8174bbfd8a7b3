/* SPDX-License-Identifier: MIT
 *
 * growing.c - see growing.h.
 */
#include "growing.h"

#include "check.h"

#include <errno.h>
#include <string.h>

int rc_growing_take(void *known, size_t known_size, const void *given, size_t given_size)
{
	const unsigned char *bytes = given;
	if (!given_size)
		return -EINVAL;
	if (given_size > RC_STRUCT_SIZE_MAX)
		return -E2BIG;
	for (size_t i = known_size; i < given_size; i++)
		if (bytes[i])
			return -E2BIG;
	memcpy(known, given, RC_MIN(known_size, given_size));
	return 0;
}

void rc_growing_give(void *given, size_t given_size, const void *known, size_t known_size)
{
	size_t common = RC_MIN(known_size, given_size);
	memcpy(given, known, common);
	memset((unsigned char *)given + common, 0, given_size - common);
}
