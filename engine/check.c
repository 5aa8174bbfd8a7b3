/* SPDX-License-Identifier: MIT
 *
 * check.c - see check.h. The C library's own assert() has the words and the way out.
 */
#include "check.h"

#undef NDEBUG
#include <assert.h>

void rc_assert_failed(const char *expression, const char *file, unsigned line, const char *function)
{
	__assert_fail(expression, file, line, function);
}
