/* SPDX-License-Identifier: MIT
 *
 * ring_limit.c - how many connections the descriptor limit leaves a ring. It must not know what kind of ring that is.
 */
#include "ring_kinds.h"

#include <sys/resource.h>

#define SPARED 24       /* of the process, for files that are no connections, where connections take some too */
#define SPARED_A_RING 4 /* itself, its eventfd, its listeners */

uint64_t rc_ring_descriptor_limit(void)
{
	struct rlimit limit = { 0 };
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		getrlimit(RLIMIT_NOFILE, &limit);
	}
	return limit.rlim_cur;
}

uint64_t rc_ring_descriptors(unsigned ring_count)
{
	/* Slots run out before descriptors do: then a connection too many is accepted and refused, and does not wait.
	 */
	uint64_t most = rc_ring_descriptor_limit(), others = SPARED + SPARED_A_RING * (uint64_t)ring_count;
	return most > others ? (most - others) / ring_count : 0;
}
