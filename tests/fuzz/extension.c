/* SPDX-License-Identifier: MIT
 *
 * extension.c - negotiating permessage-deflate. Each line is the value of a Sec-WebSocket-Extensions header: as a
 * client's offers, of which exactly the first that the grammar of RFC 7692 allows must be accepted, and as a server's
 * answer, which must be taken exactly when it is one to our offer. The grammar is written down as a regular expression.
 */
#include "extension.h"

#include "check.h"
#include "fuzz.h"

#include <regex.h>
#include <strings.h>

#define BLANKS "[ \t]*"
#define BITS "(8|9|1[0-5]|\"(8|9|1[0-5])\")"
#define VALUE BLANKS "=" BLANKS BITS
#define GRAMMAR                                                                                                        \
	"^" BLANKS "permessage-deflate(" BLANKS ";" BLANKS                                                             \
	"((server|client)_no_context_takeover|server_max_window_bits" VALUE "|client_max_window_bits(" VALUE           \
	")?))*" BLANKS "$"

struct reading {
	bool server_no_takeover, client_no_takeover;
	unsigned server_bits, client_bits; /* 0: not there; 1: without a value */
};

/* The one place where a name stands, or null; *many when there are more. */
static const char *find(const char *text, const char *name, bool *many)
{
	const char *at = strcasestr(text, name);
	*many |= at && strcasestr(at + 1, name);
	return at;
}

static unsigned bits_at(const char *at)
{
	if (!at)
		return 0;
	at += strcspn(at, "=;");
	return *at == '=' ? (unsigned)strtoul(at + 1 + strspn(at + 1, " \t\""), NULL, 10) : 1;
}

static bool read_one(struct reading *reading, const char *text)
{
	static regex_t grammar;
	static bool made;
	bool many = false;
	if (!made)
		HOLDS(regcomp(&grammar, GRAMMAR, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0, "the grammar");
	made = true;
	if (regexec(&grammar, text, 0, NULL, 0) != 0)
		return false;
	reading->server_no_takeover = find(text, "server_no_context_takeover", &many);
	reading->client_no_takeover = find(text, "client_no_context_takeover", &many);
	reading->server_bits = bits_at(find(text, "server_max_window_bits", &many));
	reading->client_bits = bits_at(find(text, "client_max_window_bits", &many));
	return !many;
}

/* Cuts the next element of a list off: commas between quotes part nothing. */
static char *next_element(char **rest)
{
	char *begin = *rest;
	bool quoted = false;
	if (!begin)
		return NULL;
	for (char *c = begin; *c; c++) {
		if (quoted && *c == '\\' && c[1])
			c++;
		else if (*c == '"')
			quoted = !quoted;
		else if (*c == ',' && !quoted) {
			*c = 0;
			*rest = c + 1;
			return begin;
		}
	}
	*rest = NULL;
	return begin;
}

static void check_accept(char *const *lines, unsigned count, const struct rc_deflate_wish *wish)
{
	struct rc_http_request request = { .websocket = true };
	struct reading offer = { 0 };
	struct rc_deflate agreed, judged = { 0 };
	char answer[RC_EXTENSION_SIZE_MAX];
	bool found = false;
	for (unsigned i = 0; i < count; i++) {
		request.headers[request.header_count++] = (struct rc_header){ i % 2 ? "X" : "Host", lines[i] };
		request.headers[request.header_count++] = (struct rc_header){ "Sec-WebSocket-Extensions", lines[i] };
		char *copy = strdup(lines[i]), *rest = copy;
		for (char *element; !found && (element = next_element(&rest));)
			found = read_one(&offer, element);
		free(copy);
	}
	rc_extension_accept(&agreed, answer, &request, wish);
	HOLDS(agreed.on == found && (answer[0] != 0) == found, "accepted %d, not %d", agreed.on, found);
	if (!found)
		return;
	unsigned bits = offer.server_bits ? RC_MIN(offer.server_bits, wish->bits) : wish->bits;
	HOLDS(agreed.server_bits == bits, "%u bits, not %u", agreed.server_bits, bits);
	HOLDS(agreed.client_bits == (offer.client_bits > 1 ? offer.client_bits : 15), "%u bits", agreed.client_bits);
	HOLDS(agreed.server_takeover == (wish->server_takeover && !offer.server_no_takeover), "the server's takeover");
	HOLDS(agreed.client_takeover == (wish->client_takeover && !offer.client_no_takeover), "the client's takeover");
	/* Who offered that must be able to take the answer, whatever it is. */
	const struct rc_deflate_wish theirs = { !offer.server_no_takeover, !offer.client_no_takeover, 15 };
	HOLDS(rc_extension_judge(&judged, answer, strlen(answer), &theirs), "%s", answer);
	HOLDS(judged.server_bits == bits && judged.server_takeover == agreed.server_takeover, "%s", answer);
	HOLDS(!judged.client_takeover || agreed.client_takeover, "%s", answer);
	HOLDS(!offer.server_bits || strstr(answer, "server_max_window_bits"), "section 7.1.2.1: %s", answer);
}

static void check_judge(const char *line, const struct rc_deflate_wish *wish)
{
	struct reading answer = { 0 };
	struct rc_deflate agreed = { 0 };
	char *copy = strdup(line), *rest = copy, *element = next_element(&rest);
	bool right = read_one(&answer, element) && !rest && answer.client_bits != 1 &&
	             (wish->server_takeover || answer.server_no_takeover);
	size_t size = strlen(line);
	char *exact = exact_copy(line, size);
	HOLDS(rc_extension_judge(&agreed, exact, size, wish) == right, "taken %d, not %d", agreed.on, right);
	HOLDS(agreed.on == right, "agreed to nothing");
	if (right) {
		HOLDS(agreed.server_bits == (answer.server_bits ? answer.server_bits : 15), "%u bits",
		      agreed.server_bits);
		HOLDS(agreed.client_bits >= 8 && agreed.client_bits <= wish->bits, "%u bits", agreed.client_bits);
		HOLDS(!rc_extension_judge(&agreed, exact, size, wish), "a second time");
	}
	free(exact);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { LINES_MAX = RC_REQUEST_HEADERS_MAX / 2 };
	uint64_t chances = hash_of(data, size);
	char *text = malloc(size + 1), *lines[LINES_MAX], *rest = text;
	unsigned count = 0;
	if (size)
		memcpy(text, data, size);
	text[size] = 0;
	for (char *line; count < LINES_MAX && (line = strsep(&rest, "\n"));)
		lines[count++] = line;
	const struct rc_deflate_wish wish = { draw(&chances) & 1, draw(&chances) & 1,
		                              (uint8_t)(8 + draw(&chances) % 8) };
	check_accept(lines, count, &wish);
	for (unsigned i = 0; i < count; i++)
		check_judge(lines[i], &wish);
	free(text);
	return 0;
}
