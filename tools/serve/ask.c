/* SPDX-License-Identifier: MIT
 *
 * ask.c - see ask.h.
 */
#include "ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"

#define WAIT_S 25

/* A number alone; false when it is none. */
static bool take_number(const char *text, uint64_t max, uint64_t *number)
{
	char *end;
	errno = 0;
	*number = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && !*end && !errno && *number <= max;
}

static bool take_flag(rc_request *request, const char *name, bool *flag)
{
	const char *value = rc_request_query(request, name);
	*flag = value && !strcmp(value, "1");
	return !value || *flag || !strcmp(value, "0");
}

/* "5,,7": numbers or nothing between commas. */
static bool are_numbers(const char *list)
{
	for (; list && *list; list += *list == ',') {
		char *end;
		if (*list == ',')
			continue;
		errno = 0;
		strtoull(list, &end, 10);
		if (*list < '0' || *list > '9' || errno || (*end && *end != ','))
			return false;
		list = end;
	}
	return true;
}

/* The number at `index`, or one that stands alone. False when there is none. */
static bool number_at(const char *list, unsigned index, uint64_t *number)
{
	if (!list)
		return false;
	if (strchr(list, ','))
		for (; index && list; index--)
			list = (list = strchr(list, ',')) ? list + 1 : NULL;
	if (!list || *list < '0' || *list > '9')
		return false;
	*number = strtoull(list, NULL, 10);
	return true;
}

static bool take_form(rc_request *request, enum rc_form *form)
{
	static const char *const names[] = {
		[RC_FORM_PLAIN] = "raw", [RC_FORM_JSON] = "json", [RC_FORM_BINARY] = "binary"
	};
	const char *value = rc_request_query(request, "form");
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		if (value && strcmp(value, names[i]) != 0)
			continue;
		*form = (enum rc_form)i;
		return true;
	}
	return false;
}

const char *serve_ask_read(struct serve_ask *ask, rc_request *request)
{
	const char *rate = rc_request_query(request, "rate"), *wait = rc_request_query(request, "wait");
	uint64_t number = 0, wait_s = WAIT_S;
	*ask = (struct serve_ask){ .since = rc_request_query(request, "since"),
		                   .epoch = rc_request_query(request, "epoch") };
	if (!take_form(request, &ask->form))
		return "form is raw, json or binary\n";
	if (!take_flag(request, "last", &ask->start.last) || !take_flag(request, "state", &ask->start.state) ||
	    !take_flag(request, "snapshot", &ask->start.snapshot))
		return "last, state and snapshot are 1 or 0\n";
	if (!are_numbers(ask->since) || (ask->since && !*ask->since) || !are_numbers(ask->epoch))
		return "expected since=SEQUENCE and epoch=EPOCH, or a list of them, one for each topic: since=5,,7\n";
	if (rate && (!take_number(rate, RC_RATE_MAX, &number) || !number))
		return "rate is a number of updates a second, from 1 to 1000\n";
	ask->start.rate = (unsigned)number;
	if (wait && !take_number(wait, SERVE_WAIT_S_MAX, &wait_s))
		return "wait is a number of seconds, at most 60\n";
	ask->wait_s = (unsigned)wait_s;
	return NULL;
}

struct rc_start serve_ask_start(const struct serve_ask *ask, unsigned index)
{
	struct rc_start start = ask->start;
	start.resume = number_at(ask->since, index, &start.since);
	if (start.resume)
		number_at(ask->epoch, index, &start.epoch);
	return start;
}

int serve_ask_name(const char *names)
{
	size_t size = strcspn(names, ",");
	return size <= RC_TOPIC_NAME_MAX && text_is_name(names, size) ? (int)size : -1;
}
