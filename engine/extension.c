/* SPDX-License-Identifier: MIT
 *
 * extension.c - see extension.h. Invariant: what is agreed never allows a compressor more than the other side allowed.
 */
#include "extension.h"

#include "http.h"

#include <stdio.h>
#include <string.h>

#define NAME "permessage-deflate"
#define BITS_MIN 8
#define BITS_MAX 15

/* The parameters of one offer or answer, each at most once. */
struct parameters {
	bool server_no_takeover, client_no_takeover, server_has_bits, client_has_bits;
	uint8_t server_bits, client_bits; /* client_bits 0: named without a value */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static struct rc_span trim(struct rc_span span)
{
	while (span.size && is_space(span.text[0])) {
		span.text++;
		span.size--;
	}
	while (span.size && is_space(span.text[span.size - 1]))
		span.size--;
	return span;
}

/* Takes the part before the next `by` that stands outside quotes; false at the end. */
static bool next_part(struct rc_span *list, char by, struct rc_span *part)
{
	if (!list->text)
		return false;
	bool quoted = false;
	size_t i = 0;
	for (; i < list->size && (quoted || list->text[i] != by); i++) {
		if (list->text[i] == '"')
			quoted = !quoted;
		else if (quoted && list->text[i] == '\\')
			i++;
	}
	i = i < list->size ? i : list->size;
	*part = trim((struct rc_span){ list->text, i });
	bool last = i == list->size;
	list->text = last ? NULL : list->text + i + 1;
	list->size = last ? 0 : list->size - i - 1;
	return true;
}

/* A number of window bits, bare or quoted, without leading zeros; 0 for anything else. */
static uint8_t parse_bits(struct rc_span value)
{
	if (value.size >= 2 && value.text[0] == '"' && value.text[value.size - 1] == '"')
		value = (struct rc_span){ value.text + 1, value.size - 2 };
	unsigned bits = 0;
	if (value.size == 0 || value.size > 2 || value.text[0] == '0')
		return 0;
	for (size_t i = 0; i < value.size; i++) {
		if (value.text[i] < '0' || value.text[i] > '9')
			return 0;
		bits = bits * 10 + (unsigned)(value.text[i] - '0');
	}
	return bits >= BITS_MIN && bits <= BITS_MAX ? (uint8_t)bits : 0;
}

static bool take_flag(bool *flag, bool has_value)
{
	bool first = !*flag;
	*flag = true;
	return first && !has_value;
}

static bool take_bits(bool *has, uint8_t *bits, bool has_value, struct rc_span value, bool value_optional)
{
	if (*has)
		return false;
	*has = true;
	*bits = has_value ? parse_bits(value) : 0;
	return *bits || (!has_value && value_optional);
}

/* RFC 7692, section 7.1; in an answer client_max_window_bits must have a value (section 7.1.2.2). */
static bool parse_one(struct parameters *parameters, struct rc_span text, bool answer)
{
	struct rc_span part;
	memset(parameters, 0, sizeof *parameters);
	if (!next_part(&text, ';', &part) || !rc_span_is(part, NAME))
		return false;
	while (next_part(&text, ';', &part)) {
		const char *equals = part.size ? memchr(part.text, '=', part.size) : NULL;
		struct rc_span name = part, value = { 0 };
		if (equals) {
			name = trim((struct rc_span){ part.text, (size_t)(equals - part.text) });
			value = trim((struct rc_span){ equals + 1, part.size - (size_t)(equals + 1 - part.text) });
		}
		bool has_value = equals != NULL, right = false;
		if (rc_span_is(name, "server_no_context_takeover"))
			right = take_flag(&parameters->server_no_takeover, has_value);
		else if (rc_span_is(name, "client_no_context_takeover"))
			right = take_flag(&parameters->client_no_takeover, has_value);
		else if (rc_span_is(name, "server_max_window_bits"))
			right = take_bits(&parameters->server_has_bits, &parameters->server_bits, has_value, value,
			                  false);
		else if (rc_span_is(name, "client_max_window_bits"))
			right = take_bits(&parameters->client_has_bits, &parameters->client_bits, has_value, value,
			                  !answer);
		if (!right)
			return false;
	}
	return true;
}

static void agree(struct rc_deflate *agreed, char to[RC_EXTENSION_SIZE_MAX], const struct parameters *offer,
                  const struct rc_deflate_wish *wish)
{
	*agreed = (struct rc_deflate){
		.on = true,
		.server_takeover = wish->server_takeover && !offer->server_no_takeover,
		.client_takeover = wish->client_takeover && !offer->client_no_takeover,
		.server_bits = wish->bits,
		.client_bits = offer->client_bits ? offer->client_bits : BITS_MAX,
	};
	if (offer->server_has_bits && offer->server_bits < agreed->server_bits)
		agreed->server_bits = offer->server_bits;
	char server_bits[32] = "";
	if (offer->server_has_bits || agreed->server_bits < BITS_MAX)
		snprintf(server_bits, sizeof server_bits, "; server_max_window_bits=%u", (unsigned)agreed->server_bits);
	snprintf(to, RC_EXTENSION_SIZE_MAX, NAME "%s%s%s",
	         agreed->server_takeover ? "" : "; server_no_context_takeover",
	         agreed->client_takeover ? "" : "; client_no_context_takeover", server_bits);
}

void rc_extension_accept(struct rc_deflate *agreed, char to[RC_EXTENSION_SIZE_MAX],
                         const struct rc_http_request *request, const struct rc_deflate_wish *wish)
{
	struct parameters offer;
	*agreed = (struct rc_deflate){ 0 };
	to[0] = 0;
	for (unsigned i = 0; i < request->header_count; i++) {
		struct rc_span name = { request->headers[i].name, strlen(request->headers[i].name) }, part;
		struct rc_span list = { request->headers[i].value, strlen(request->headers[i].value) };
		if (!rc_span_is(name, "Sec-WebSocket-Extensions"))
			continue;
		while (next_part(&list, ',', &part)) {
			if (parse_one(&offer, part, false)) {
				agree(agreed, to, &offer, wish);
				return;
			}
		}
	}
}

void rc_extension_offer(char to[RC_EXTENSION_SIZE_MAX], const struct rc_deflate_wish *wish)
{
	char bits[32] = "; client_max_window_bits";
	if (wish->bits < BITS_MAX)
		snprintf(bits, sizeof bits, "; client_max_window_bits=%u", (unsigned)wish->bits);
	snprintf(to, RC_EXTENSION_SIZE_MAX, NAME "%s%s%s", bits,
	         wish->server_takeover ? "" : "; server_no_context_takeover",
	         wish->client_takeover ? "" : "; client_no_context_takeover");
}

bool rc_extension_judge(struct rc_deflate *agreed, const char *value, size_t size, const struct rc_deflate_wish *wish)
{
	struct parameters answer;
	struct rc_span list = { value, size }, part;
	if (agreed->on || !next_part(&list, ',', &part) || list.text || !parse_one(&answer, part, true))
		return false;
	if (!wish->server_takeover && !answer.server_no_takeover)
		return false; /* section 7.1.1.1: it must agree to what was demanded */
	*agreed = (struct rc_deflate){
		.on = true,
		.server_takeover = !answer.server_no_takeover,
		.client_takeover = wish->client_takeover && !answer.client_no_takeover,
		.server_bits = answer.server_has_bits ? answer.server_bits : BITS_MAX,
		.client_bits = answer.client_has_bits && answer.client_bits < wish->bits ? answer.client_bits
		                                                                         : wish->bits,
	};
	return true;
}
