/* SPDX-License-Identifier: MIT
 *
 * check.h - assertions, on in every build: they catch our own faults, never a peer's. The handler is the program's
 * last word before it stops, and the only place in the library that ends a process: going on would corrupt a stream.
 */
#ifndef RC_CHECK_H
#define RC_CHECK_H

#include <stdlib.h>

#define RC_LIKELY(x) __builtin_expect(!!(x), 1)
#define RC_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define RC_ASSERT(x) (RC_LIKELY(x) ? (void)0 : abort())

#define RC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RC_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
