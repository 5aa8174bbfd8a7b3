/* SPDX-License-Identifier: MIT
 *
 * timeout.h - what happens when a connection's time is up.
 */
#ifndef RC_TIMEOUT_H
#define RC_TIMEOUT_H

#include <stdint.h>

struct worker;

void rc_timeout(struct worker *worker, uint32_t slot);

#endif
