/* SPDX-License-Identifier: MIT
 *
 * units.c - see units.h. Numbers are read digit by digit into integers, so that `0.1s` is exactly 100,000,000 ns.
 */
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const char too_large[] = "too large";

/* A decimal number: `whole` + `fraction` / `scale`. */
struct decimal {
	uint64_t whole;
	uint64_t fraction;
	uint64_t scale;
};

/* Reads digits [. digits]. Returns where it stopped, or null when there is no digit or it does not fit. */
static const char *read_decimal(const char *text, struct decimal *out, const char **error)
{
	*out = (struct decimal){ .scale = 1 };
	if (!isdigit((unsigned char)*text)) {
		*error = "expected a number";
		return NULL;
	}
	for (; isdigit((unsigned char)*text); text++) {
		if (__builtin_mul_overflow(out->whole, 10, &out->whole) ||
		    __builtin_add_overflow(out->whole, (uint64_t)(*text - '0'), &out->whole)) {
			*error = too_large;
			return NULL;
		}
	}
	if (*text != '.')
		return text;
	for (text++; isdigit((unsigned char)*text); text++) {
		if (out->scale >= 1000000000000) {
			*error = "too many digits after the point";
			return NULL;
		}
		out->fraction = out->fraction * 10 + (uint64_t)(*text - '0');
		out->scale *= 10;
	}
	return text;
}

/* value = decimal * factor, when that is whole. */
static const char *multiply(const struct decimal *decimal, uint64_t factor, uint64_t *value)
{
	unsigned __int128 part = (unsigned __int128)decimal->fraction * factor;
	if (part % decimal->scale)
		return "not a whole number of the smallest unit";
	unsigned __int128 sum = (unsigned __int128)decimal->whole * factor + part / decimal->scale;
	if (sum > UINT64_MAX)
		return too_large;
	*value = (uint64_t)sum;
	return NULL;
}

static const char *parse(const char *text, const struct unit *units, const char *expected, uint64_t *value)
{
	struct decimal decimal;
	const char *error = NULL;
	const char *rest = read_decimal(text, &decimal, &error);
	if (!rest)
		return error;
	if (!*rest && !decimal.whole && !decimal.fraction) {
		*value = 0;
		return NULL;
	}
	for (const struct unit *unit = units; unit->name; unit++) {
		if (!strcasecmp(rest, unit->name))
			return multiply(&decimal, unit->factor, value);
	}
	return expected;
}

const char *units_parse_time(const char *text, uint64_t *ns)
{
	static const struct unit units[] = {
		{ "ns", 1 },          { "us", 1000 },         { "ms", 1000000 }, { "s", 1000000000 },
		{ "m", 60000000000 }, { "h", 3600000000000 }, { NULL, 0 },
	};
	return parse(text, units, "expected a unit: ns, us, ms, s, m or h, as in 250ms", ns);
}

const char *units_parse_size(const char *text, uint64_t *size)
{
	static const struct unit units[] = {
		{ "", 1 }, { "k", 1024 }, { "m", 1 << 20 }, { "g", 1 << 30 }, { NULL, 0 },
	};
	return parse(text, units, "expected bytes, or k, m or g after the number, as in 64k", size);
}

const char *units_parse_count(const char *text, uint64_t *count)
{
	static const struct unit units[] = { { "", 1 }, { NULL, 0 } };
	return parse(text, units, "expected a whole number", count);
}

const char *units_parse_number(const char *text, double *number)
{
	char *end;
	if (!isdigit((unsigned char)*text) && *text != '.')
		return "expected a number";
	errno = 0;
	double value = strtod(text, &end);
	if (*end || end == text)
		return "expected a number";
	if (errno == ERANGE || !isfinite(value))
		return too_large;
	*number = value;
	return NULL;
}

/* Three significant digits, whatever the magnitude. */
static int places(double value)
{
	return value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
}

char *units_format_time(char out[UNITS_SIZE], uint64_t ns)
{
	static const char *const names[] = { "ns", "us", "ms", "s" };
	double value = (double)ns;
	unsigned index = 0;
	for (; index < 3 && value >= 999.5; index++)
		value /= 1000;
	snprintf(out, UNITS_SIZE, "%.*f %s", index ? places(value) : 0, value, names[index]);
	return out;
}

char *units_format_size(char out[UNITS_SIZE], uint64_t size)
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)size;
	unsigned index = 0;
	for (; index < 4 && value >= 1023.5; index++)
		value /= 1024;
	snprintf(out, UNITS_SIZE, "%.*f %s", index ? places(value) : 0, value, names[index]);
	return out;
}

char *units_format_count(char out[UNITS_SIZE], double count)
{
	static const char *const names[] = { "", "k", "M", "G", "T" };
	unsigned index = 0;
	for (; index < 4 && count >= 999.5; index++)
		count /= 1000;
	snprintf(out, UNITS_SIZE, "%.*f%s", index ? places(count) : 0, count, names[index]);
	return out;
}
