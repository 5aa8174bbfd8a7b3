/* SPDX-License-Identifier: MIT
 *
 * check.h - assertions. They catch our own faults, never a peer's: what a peer does wrong ends in a close code or a
 * status. An assertion that fails writes its expression, file and line to standard error and aborts, because going on
 * would corrupt streams. Nothing else in the library prints or ends the process.
 *
 *      RC_ASSERT(x)      in every build, so it costs a comparison or two
 *      RC_VERIFY(call)   only where RC_CHECK_EACH is defined: in the simulator, the fuzzers, the sanitizer builds
 *
 * What RC_VERIFY() calls is a module's check function, such as rc_log_check(). It asserts the module's invariant,
 * however long that takes, and is called after each change of the module's state.
 */
#ifndef RC_CHECK_H
#define RC_CHECK_H

#define RC_LIKELY(x) __builtin_expect(!!(x), 1)
#define RC_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define RC_ASSERT(x) (RC_LIKELY(x) ? (void)0 : rc_assert_failed(#x, __FILE__, __LINE__, __func__))

#ifdef RC_CHECK_EACH
#define RC_VERIFY(call) (call)
#else
#define RC_VERIFY(call) ((void)0)
#endif

#define RC_MIN(a, b) ((a) < (b) ? (a) : (b))
#define RC_MAX(a, b) ((a) > (b) ? (a) : (b))

__attribute__((cold)) _Noreturn void rc_assert_failed(const char *expression, const char *file, unsigned line,
                                                      const char *function);

#endif
