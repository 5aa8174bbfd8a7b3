/* SPDX-License-Identifier: MIT
 *
 * error.c - see error.h.
 */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int rc_fail(struct rc_error *error, int code, const char *format, ...)
{
	if (error) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(error->text, sizeof error->text, format, arguments);
		va_end(arguments);
		error->code = code;
	}
	return code;
}
