/* SPDX-License-Identifier: MIT
 *
 * units.h - quantities as people write them: `25s`, `250ms`, `64k`, `1.5m`. Pure: text in, numbers out, and back.
 *
 * A parser returns null and sets its result, or returns words that say what was expected and leaves it alone. Nothing
 * is rounded silently: a quantity that is not a whole number of nanoseconds or bytes is an error.
 */
#ifndef LIB_UNITS_H
#define LIB_UNITS_H

#include <stddef.h>
#include <stdint.h>

/* A number and one of ns, us, ms, s, m, h. Only 0 may stand without a unit: a bare 25 could be anything. */
const char *units_parse_time(const char *text, uint64_t *ns);

/* A number of bytes, or of KiB, MiB, GiB with k, m, g (either case). */
const char *units_parse_size(const char *text, uint64_t *size);

/* A whole number without a unit. */
const char *units_parse_count(const char *text, uint64_t *count);

/* A decimal number that is neither negative, infinite nor NaN. */
const char *units_parse_number(const char *text, double *number);

/* Long enough for whatever the functions below write, with its terminating zero. */
#define UNITS_SIZE 32

/* Three significant digits: "412 ns", "3.42 us", "1.20 s". Each returns `out`. */
char *units_format_time(char out[UNITS_SIZE], uint64_t ns);
/* "512 B", "64.0 KiB". */
char *units_format_size(char out[UNITS_SIZE], uint64_t size);
/* "980", "12.3k", "4.56M". */
char *units_format_count(char out[UNITS_SIZE], double count);

#endif
