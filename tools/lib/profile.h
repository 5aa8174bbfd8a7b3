/* SPDX-License-Identifier: MIT
 *
 * profile.h - where this process spends its processor time, sampled while it runs, for pprof: `pprof ringcast FILE`. It
 * costs nothing while nobody asks for one.
 */
#ifndef LIB_PROFILE_H
#define LIB_PROFILE_H

#include "ringcast.h"

#define PROFILE_SECONDS_MAX 60

/* Answers /profile: with ?seconds=N it begins a profile, without it hands out the last one. Returns 0, or an HTTP
 * status to refuse with. */
int profile_answer(rc_request *request);

#endif
