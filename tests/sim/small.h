/* SPDX-License-Identifier: MIT
 *
 * small.h - included before everything else in a build for the simulator: bounds of bounds.h made so small that a run
 * of some dozen connections meets them all the time. The code is the production code; only what it fills up is smaller.
 */
#ifndef SIM_SMALL_H
#define SIM_SMALL_H

#ifndef RC_CHECK_EACH /* see check.h */
#define RC_CHECK_EACH
#endif

#include "../../engine/bounds.h"

#undef RC_PUBLISH_MANY_MAX
#undef RC_PLACES_MAX
#undef RC_SLICE_SENDS
#undef RC_SLICE_ENCODE_SIZE
#undef RC_PLAN_WINDOW
#undef RC_ROUND_TOUCHES_MAX
#undef RC_PLAN_TAKEN_MAX
#undef RC_PLAN_RANGES_MAX
#undef RC_PLAN_FRAMES_MAX
#undef RC_PLAN_SIZE_MAX
#undef RC_REST_SIZE_MAX
#undef RC_PONGS_QUEUED_MAX
#undef RC_POOL_CACHE_SIZE
#undef RC_COMMANDS_MAX
#undef RC_MEMORY_MAX_LEAST
#undef RC_REFUSALS_MAX
#undef RC_RECEIVE_BUFFERS
#undef RC_RECEIVE_BUFFER_SIZE
#undef RC_FRAGMENTS_DEFAULT
#undef RC_BULK_SIZE_MIN
#undef RC_PLACED_SIZE_MIN
#undef RC_TLS_HANDSHAKES_A_TICK
#undef RC_TLS_SEND_SIZE_MAX
#undef RC_TLS_STAGE_SIZE
#undef RC_TLS_STAGES
#undef RC_TLS_RECORDS_A_KEY
#undef RC_TLS_RECORDS_SHARED
#undef RC_DIALS_MAX

#define RC_PUBLISH_MANY_MAX 12
#define RC_PLACES_MAX 3
#define RC_SLICE_SENDS 4
#define RC_SLICE_ENCODE_SIZE (4 * RC_KIB)
#define RC_PLAN_WINDOW 64
#define RC_ROUND_TOUCHES_MAX 24
#define RC_PLAN_TAKEN_MAX 24
#define RC_PLAN_RANGES_MAX 4
#define RC_PLAN_FRAMES_MAX 16
#define RC_PLAN_SIZE_MAX (8 * RC_KIB)
#define RC_REST_SIZE_MAX (2 * RC_KIB)
#define RC_PONGS_QUEUED_MAX 4
#define RC_POOL_CACHE_SIZE (32 * RC_KIB)
#define RC_COMMANDS_MAX 48
#define RC_MEMORY_MAX_LEAST (8 * RC_KIB)
#define RC_REFUSALS_MAX 4
#define RC_RECEIVE_BUFFERS 16
#define RC_RECEIVE_BUFFER_SIZE (2 * RC_KIB)
#define RC_FRAGMENTS_DEFAULT 8
#define RC_BULK_SIZE_MIN 500
#define RC_PLACED_SIZE_MIN 100
#define RC_TLS_HANDSHAKES_A_TICK 2
#define RC_TLS_SEND_SIZE_MAX (4 * RC_KIB)
#define RC_TLS_STAGE_SIZE (12 * RC_KIB)
#define RC_TLS_STAGES 3
#define RC_TLS_RECORDS_A_KEY 10
#define RC_TLS_RECORDS_SHARED 3
#define RC_DIALS_MAX 2

#endif
