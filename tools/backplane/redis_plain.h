/* SPDX-License-Identifier: MIT
 *
 * redis_plain.h - entries of the nodes' stream in Redis that are no packets: plain records, with the fields to, data
 * and perhaps key, in any order; and entries of streams of others, which begin with the field `from`, the stream's
 * name, and have the fields that they had there.
 */
#ifndef BACKPLANE_REDIS_PLAIN_H
#define BACKPLANE_REDIS_PLAIN_H

#include "built.h"

#ifdef BACKPLANE_REDIS

#include <hiredis/hiredis.h>

#include "engine.h"

/* Hands an entry on, if it is one. False: it is none. */
bool redis_plain_take(const struct engine_setup *setup, engine_take *take, void *context,
                      struct engine_position position, const redisReply *fields);

#endif
#endif
