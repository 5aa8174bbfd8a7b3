/* SPDX-License-Identifier: MIT
 *
 * options.c - the command line: arguments separated by line ends, given to a table with an option of each kind. What is
 * stored must be what a second reading of the words gives, refusals must be refusals for a reason, and quantities must
 * survive being written and read. Also what else users type: addresses to listen on, patterns of topics, URLs.
 */
#include "lib/options.h"

#include "../uring/worker.h"
#include "fuzz.h"
#include "lib/units.h"
#include "lib/url.h"

#include <ctype.h>
#include <math.h>
#include <netinet/in.h>
#include <strings.h>

#define ARGUMENTS_MAX 40

static struct {
	bool flag;
	const char *text;
	struct option_list list;
	unsigned count, size32, ms;
	uint64_t count64, ns;
	double number;
	size_t size;
	int choice;
} got;

#define CHOICES "one|two|three"

static const struct option_entry options[] = {
	{ "flag", OPTION_FLAG, &got.flag, NULL, "a flag" },
	{ "text", OPTION_TEXT, &got.text, "TEXT", "a text" },
	{ "list", OPTION_LIST, &got.list, "WORD", "a list\nin two lines" },
	{ "count", OPTION_COUNT, &got.count, "N", "a count" },
	{ "count64", OPTION_COUNT64, &got.count64, "N", "a larger one" },
	{ "number", OPTION_NUMBER, &got.number, "X", "a number" },
	{ "size", OPTION_SIZE, &got.size, "SIZE", "a size" },
	{ "size32", OPTION_SIZE32, &got.size32, "SIZE", "a smaller one" },
	{ "ms", OPTION_MS, &got.ms, "TIME", "milliseconds" },
	{ "ns", OPTION_NS, &got.ns, "TIME", "nanoseconds" },
	{ "choice", OPTION_CHOICE, &got.choice, CHOICES, "a choice" },
	{ 0 },
};

static const struct subcommand command = {
	.name = "fuzz", .summary = "summary", .usage = "usage", .about = "about", .examples = "examples"
};

/* ---- quantities ---- */

/* digits [. digits] unit, exactly: 1 with the value, 0 when it is none, -1 when this does not judge it. */
static int exact(const char *text, const char *const *units, const uint64_t *factors, uint64_t *value)
{
	unsigned __int128 digits = 0, scale = 1;
	const char *at = text;
	for (; isdigit((unsigned char)*at); at++)
		digits = digits * 10 + (unsigned)(*at - '0');
	if (at == text)
		return 0;
	bool point = *at == '.';
	for (at += point; point && isdigit((unsigned char)*at); at++, scale *= 10)
		digits = digits * 10 + (unsigned)(*at - '0');
	if (at - text > 20)
		return -1;
	if (!*at && !digits)
		return *value = 0, 1;
	for (unsigned i = 0; units[i]; i++) {
		if (strcasecmp(at, units[i]))
			continue;
		if (scale > 1000000000000)
			return -1;
		unsigned __int128 product = digits * factors[i];
		*value = (uint64_t)(product / scale);
		return product % scale == 0 && product / scale <= UINT64_MAX;
	}
	return 0;
}

static const char *const time_units[] = { "ns", "us", "ms", "s", "m", "h", NULL };
static const uint64_t time_factors[] = { 1, 1000, 1000000, 1000000000, 60000000000, 3600000000000 };
static const char *const size_units[] = { "", "k", "m", "g", NULL };
static const uint64_t size_factors[] = { 1, 1 << 10, 1 << 20, 1 << 30 };

static void check_quantity(const char *text, const char *(*parse)(const char *, uint64_t *), const char *const *units,
                           const uint64_t *factors)
{
	uint64_t value = 0xdeadbeef, expected = 0;
	const char *error = parse(text, &value);
	HOLDS(!error || (value == 0xdeadbeef && *error), "'%s' is refused, and changed the value", text);
	int judged = exact(text, units, factors, &expected);
	HOLDS(judged < 0 || judged == !error, "'%s': %s", text, error ? error : "taken");
	HOLDS(judged < 1 || value == expected, "'%s' is %llu", text, (unsigned long long)value);
	if (error)
		return;
	char written[UNITS_SIZE], plain[UNITS_SIZE];
	uint64_t again = 0;
	snprintf(plain, sizeof plain, "%llu%s", (unsigned long long)value, units[0]);
	HOLDS(!parse(plain, &again) && again == value, "'%s' does not read back", plain);
	/* Nothing is cut off, whatever the magnitude. */
	HOLDS(strlen(units_format_time(written, value)) < UNITS_SIZE - 1, "%s", written);
	HOLDS(strlen(units_format_size(written, value)) < UNITS_SIZE - 1, "%s", written);
	HOLDS(strlen(units_format_count(written, (double)value)) < UNITS_SIZE - 1, "%s", written);
}

static void check_number(const char *text)
{
	double number = -1;
	const char *error = units_parse_number(text, &number);
	HOLDS(error ? number == -1 : isfinite(number) && number >= 0, "'%s' is %g", text, number);
}

/* ---- the table ---- */

static bool is_count(uint64_t value, const char *text)
{
	uint64_t whole;
	return !units_parse_count(text, &whole) && whole == value;
}

/* "name=argument" with a name of the table. */
static bool is_whole(const char *word)
{
	size_t size = strcspn(word, "=");
	for (const struct option_entry *option = options; option->name; option++)
		if (word[size] && strlen(option->name) == size && !strncmp(option->name, word, size))
			return true;
	return false;
}

/* After a success: the last use of each option says what its target holds. Words are found here by hand. */
static void check_targets(int argc, char **argv, int operand)
{
	unsigned listed = 0;
	const char *text = NULL, *count = NULL;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--"))
			break;
		if (!strncmp(argv[i], "--list=", 7))
			HOLDS(got.list.items[listed++] == argv[i] + 7, "item %u", listed);
		if (!strncmp(argv[i], "--text=", 7))
			text = argv[i] + 7;
		if (!strncmp(argv[i], "--count=", 8))
			count = argv[i] + 8;
		/* Nothing is said of words that stand apart from their option, which may look like one, or of shortened
		 * names. */
		if (!strncmp(argv[i], "--", 2) && !is_whole(argv[i] + 2))
			return;
	}
	HOLDS(got.list.count == listed, "%u items, not %u", got.list.count, listed);
	HOLDS(!text || got.text == text, "text '%s'", got.text);
	HOLDS(!count || is_count(got.count, count), "count %u from '%s'", got.count, count);
	HOLDS(got.choice >= 0 && got.choice < 3, "choice %d", got.choice);
	for (int i = operand; i < argc; i++)
		HOLDS(argv[i], "an operand is missing");
}

static void check_table(char **words, int count)
{
	char *argv[ARGUMENTS_MAX + 2] = { (char *)"fuzz" };
	FILE *out = stdout, *err = stderr, *quiet = fopen("/dev/null", "w");
	int operand = -1;
	for (int i = 0; i < count; i++)
		argv[i + 1] = words[i];
	memset(&got, 0, sizeof got);
	stdout = stderr = quiet; /* help and complaints */
	int status = options_parse(&command, options, count + 1, argv, &operand);
	stdout = out;
	stderr = err;
	fclose(quiet);
	HOLDS(status == -1 || status == EXIT_OK || status == EXIT_USAGE, "status %d", status);
	HOLDS(got.list.count <= OPTION_LIST_MAX && got.choice >= 0 && got.choice < 3, "beyond the table");
	if (status != -1)
		return;
	HOLDS(operand >= 1 && operand <= count + 1, "operand %d", operand);
	check_targets(count + 1, argv, operand);
}

/* ---- what else is typed ---- */

static void check_address(const char *text)
{
	struct listener listener;
	struct rc_error error = { 0 };
	int code = rc_listen_parse(&listener, text, &(struct rc_deflate_options){ 0 }, &error);
	HOLDS(code == 0 || (code == error.code && code == -EINVAL && error.text[0]), "%d for '%s'", code, text);
	if (code == 0)
		HOLDS(listener.socket_address_size > 0 && listener.socket_address.ss_family != AF_UNSPEC, "'%s'", text);
	if (code == 0 && listener.socket_address.ss_family != AF_UNIX) {
		/* sockaddr_in and sockaddr_in6 have the port in the same place. */
		const struct sockaddr_in *address = (const struct sockaddr_in *)&listener.socket_address;
		const char *colon = NULL;
		for (const char *c = text; *c && *c != '?'; c++)
			colon = *c == ':' ? c : colon;
		HOLDS(colon && strtoull(colon + 1, NULL, 10) == ntohs(address->sin_port), "the port of '%s'", text);
	}
}

static void check_pattern(const char *text)
{
	static const struct rc_topic_options defaults = { .lag_ms_max = 1 }, marked = { .lag_ms_max = 2 };
	struct rc_topics *topics = malloc(sizeof *topics);
	int error;
	HOLDS(topics && rc_topics_init(topics, &defaults, 0, 1, 1) == 0, "no memory");
	const char *star = strchr(text, '*');
	bool is_pattern = *text && strlen(text) <= RC_TOPIC_NAME_MAX && (!star || !star[1]);
	HOLDS((rc_topics_add_rule(topics, text, &marked) == 0) == is_pattern, "'%s'", text);
	static const char *const names[] = { "a", "ab", "quote.x" };
	for (unsigned i = 0; i < 3 && is_pattern; i++) {
		size_t size = strlen(names[i]);
		struct rc_topic *topic = rc_topics_get(topics, names[i], size, rc_topic_hash(topics, names[i], size),
		                                       &error);
		bool matches = star ? !strncmp(names[i], text, (size_t)(star - text)) : !strcmp(names[i], text);
		HOLDS(topic->options.lag_ms_max == (matches ? 2 : 1), "'%s' and %s", text, names[i]);
	}
	rc_topics_destroy(topics);
	free(topics);
}

static void check_url(const char *text)
{
	size_t size = url_base_size(text);
	HOLDS(size <= strlen(text), "%zu of '%s'", size, text);
	char *url = url_join(text, size, "/topic/", text, strlen(text));
	HOLDS(url && !strncmp(url, text, size) && !strncmp(url + size, "/topic/", 7), "'%s'", text);
	for (const char *c = url + size + 7; *c; c++)
		HOLDS(*c > ' ' && *c < 0x7f && !strchr("/?#,\"<>\\", *c), "'%s'", url);
	HOLDS(option_choice(CHOICES, text) < 3, "'%s'", text);
	free(url);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *words[ARGUMENTS_MAX] = { 0 }, *text = malloc(size + 1), *rest = text;
	int count = 0;
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	while (rest && count < ARGUMENTS_MAX)
		words[count++] = strsep(&rest, "\n");
	for (int i = 0; i < count; i++) {
		/* Each argument, and each value in one, is also a word of its own. */
		for (char *word = words[i]; word; word = strchr(word, '=') ? strchr(word, '=') + 1 : NULL) {
			check_quantity(word, units_parse_time, time_units, time_factors);
			check_quantity(word, units_parse_size, size_units, size_factors);
			check_number(word);
			check_address(word);
			check_pattern(word);
			check_url(word);
		}
	}
	check_table(words, count);
	free(text);
	return 0;
}
