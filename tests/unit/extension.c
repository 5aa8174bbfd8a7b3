/* SPDX-License-Identifier: MIT
 *
 * extension.c - negotiating permessage-deflate (RFC 7692, section 7.1), as tables: what a client offers and what it
 * gets, what a server answers and whether a client may take it.
 */
#include "extension.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define ANSWER "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

static struct rc_http_request with(const char *first, const char *second)
{
	struct rc_http_request request = { .websocket = true };
	request.headers[request.header_count++] = (struct rc_header){ "Host", "permessage-deflate" };
	if (first)
		request.headers[request.header_count++] = (struct rc_header){ "sec-websocket-EXTENSIONS", first };
	if (second)
		request.headers[request.header_count++] = (struct rc_header){ "Sec-WebSocket-Extensions", second };
	return request;
}

static const char *accepts(const char *offer, const struct rc_deflate_wish *wish, struct rc_deflate *agreed)
{
	static char answer[RC_EXTENSION_SIZE_MAX];
	const struct rc_http_request request = with(offer, NULL);
	memset(answer, 'x', sizeof answer);
	memset(agreed, 0xff, sizeof *agreed);
	rc_extension_accept(agreed, answer, &request, wish);
	cr_assert_eq(agreed->on, answer[0] != 0, "%s", offer);
	if (!agreed->on) {
		static const struct rc_deflate nothing;
		cr_assert_eq(memcmp(agreed, &nothing, sizeof nothing), 0, "%s", offer);
	}
	return answer;
}

/* Our default: no context is taken over, by either side, and the window is as large as it can be. */
static const struct rc_deflate_wish plain = { .bits = 15 };

Test(extension, offers_and_answers)
{
	static const struct {
		const char *offer, *answer;
		unsigned server_bits, client_bits;
	} rows[] = {
		{ "permessage-deflate", ANSWER, 15, 15 },
		{ "  permessage-deflate\t", ANSWER, 15, 15 },
		{ "Permessage-Deflate", ANSWER, 15, 15 },
		{ "permessage-deflate; client_max_window_bits", ANSWER, 15, 15 },
		{ "permessage-deflate;client_max_window_bits=10", ANSWER, 15, 10 },
		{ "permessage-deflate; client_max_window_bits=\"10\"", ANSWER, 15, 10 },
		{ "permessage-deflate ; client_max_window_bits = 8", ANSWER, 15, 8 },
		{ "permessage-deflate; server_max_window_bits=15", ANSWER "; server_max_window_bits=15", 15, 15 },
		{ "permessage-deflate; server_max_window_bits=8", ANSWER "; server_max_window_bits=8", 8, 15 },
		{ "permessage-deflate; SERVER_MAX_WINDOW_BITS=\"11\"", ANSWER "; server_max_window_bits=11", 11, 15 },
		{ "permessage-deflate; server_no_context_takeover; client_no_context_takeover", ANSWER, 15, 15 },
		{ "permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9; "
		  "client_no_context_takeover",
		  ANSWER "; server_max_window_bits=9", 9, 15 },
		/* several, in order */
		{ "permessage-deflate; server_max_window_bits=10, permessage-deflate",
		  ANSWER "; server_max_window_bits=10", 10, 15 },
		{ "permessage-deflate; server_max_window_bits=7, permessage-deflate", ANSWER, 15, 15 },
		{ "permessage-deflate; unknown, permessage-deflate; client_max_window_bits=9", ANSWER, 15, 9 },
		{ "permessage-bzip2, x-webkit-deflate-frame, permessage-deflate", ANSWER, 15, 15 },
		{ "a; b=\"permessage-deflate, \\\" permessage-deflate\", permessage-deflate", ANSWER, 15, 15 },
		{ ", ,permessage-deflate", ANSWER, 15, 15 },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rc_deflate agreed;
		cr_expect_str_eq(accepts(rows[i].offer, &plain, &agreed), rows[i].answer, "%s", rows[i].offer);
		cr_expect_eq(agreed.server_bits, rows[i].server_bits, "%s", rows[i].offer);
		cr_expect_eq(agreed.client_bits, rows[i].client_bits, "%s", rows[i].offer);
		cr_expect_not(agreed.server_takeover || agreed.client_takeover);
	}
}

Test(extension, every_window)
{
	for (unsigned mine = 8; mine <= 15; mine++) {
		for (unsigned theirs = 8; theirs <= 15; theirs++) {
			const struct rc_deflate_wish wish = { .bits = (uint8_t)mine };
			struct rc_deflate agreed;
			char offer[128], expected[160];
			unsigned least = mine < theirs ? mine : theirs;
			snprintf(offer, sizeof offer,
			         "permessage-deflate; server_max_window_bits=%u; client_max_window_bits=%u", theirs,
			         mine);
			snprintf(expected, sizeof expected, ANSWER "; server_max_window_bits=%u", least);
			cr_expect_str_eq(accepts(offer, &wish, &agreed), expected);
			cr_expect_eq(agreed.server_bits, least);
			cr_expect_eq(agreed.client_bits, mine);
		}
		/* Unasked, a smaller window than the largest is told. */
		const struct rc_deflate_wish wish = { .bits = (uint8_t)mine };
		struct rc_deflate agreed;
		const char *answer = accepts("permessage-deflate", &wish, &agreed);
		cr_expect_eq(strstr(answer, "server_max_window_bits") != NULL, mine < 15);
	}
}

Test(extension, takeover_needs_both_sides)
{
	for (unsigned i = 0; i < 16; i++) {
		const struct rc_deflate_wish wish = { .server_takeover = i & 1, .client_takeover = i & 2, .bits = 15 };
		struct rc_deflate agreed;
		char offer[128];
		snprintf(offer, sizeof offer, "permessage-deflate%s%s", i & 4 ? "; server_no_context_takeover" : "",
		         i & 8 ? "; client_no_context_takeover" : "");
		const char *answer = accepts(offer, &wish, &agreed);
		cr_expect_eq(agreed.server_takeover, (i & 5) == 1);
		cr_expect_eq(agreed.client_takeover, (i & 10) == 2);
		/* What is not said is allowed: the answer must forbid what was not agreed. */
		cr_expect_eq(!strstr(answer, "server_no_context_takeover"), agreed.server_takeover);
		cr_expect_eq(!strstr(answer, "client_no_context_takeover"), agreed.client_takeover);
	}
}

Test(extension, declined)
{
	static const char *const offers[] = {
		"",
		" ",
		",",
		"permessage-deflat",
		"permessage-deflate2",
		"permessage_deflate",
		"x; permessage-deflate",
		"\"permessage-deflate\"",
		"permessage-deflate=1",
		/* malformed */
		"permessage-deflate;",
		"permessage-deflate; ; client_max_window_bits",
		"permessage-deflate; =15",
		"permessage-deflate client_max_window_bits",
		"permessage-deflate; client_max_window_bits 15",
		"permessage-deflate; client_max_window_bits=\"15",
		"permessage-deflate; client_max_window_bits=1 5",
		/* unknown */
		"permessage-deflate; unknown",
		"permessage-deflate; client_max_window_bits; unknown=1",
		"permessage-deflate; client_max_window_bit",
		/* repeated */
		"permessage-deflate; client_no_context_takeover; client_no_context_takeover",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
		"permessage-deflate; client_max_window_bits; client_max_window_bits",
		"permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
		"permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
		/* a value where none may be, or none where one must */
		"permessage-deflate; client_no_context_takeover=true",
		"permessage-deflate; server_no_context_takeover=",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=",
		"permessage-deflate; client_max_window_bits=",
		/* not 8 to 15 without leading zeros */
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=08",
		"permessage-deflate; server_max_window_bits=015",
		"permessage-deflate; server_max_window_bits=+9",
		"permessage-deflate; server_max_window_bits=-9",
		"permessage-deflate; server_max_window_bits=9.0",
		"permessage-deflate; server_max_window_bits=0x9",
		"permessage-deflate; server_max_window_bits=4294967305",
		"permessage-deflate; server_max_window_bits=\"\"",
		"permessage-deflate; server_max_window_bits=\"9",
		"permessage-deflate; client_max_window_bits=0",
		"permessage-deflate; client_max_window_bits=1",
		"permessage-deflate; client_max_window_bits=100",
	};
	for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
		struct rc_deflate agreed;
		cr_expect_str_empty(accepts(offers[i], &plain, &agreed), "%s", offers[i]);
	}
}

Test(extension, headers_of_the_request)
{
	struct rc_deflate agreed;
	char answer[RC_EXTENSION_SIZE_MAX];
	struct rc_http_request request = with(NULL, NULL);
	rc_extension_accept(&agreed, answer, &request, &plain);
	cr_expect_not(agreed.on);
	request = with("x", "permessage-deflate; server_max_window_bits=12");
	rc_extension_accept(&agreed, answer, &request, &plain);
	cr_expect_eq(agreed.server_bits, 12, "the list goes on in the next header");
	request = with("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=12");
	rc_extension_accept(&agreed, answer, &request, &plain);
	cr_expect_eq(agreed.server_bits, 9);
}

/* ---- client role ---- */

Test(extension, what_a_client_offers)
{
	static const struct {
		struct rc_deflate_wish wish;
		const char *offer;
	} rows[] = {
		{ { .server_takeover = true, .client_takeover = true, .bits = 15 },
		  "permessage-deflate; client_max_window_bits" },
		{ { .server_takeover = true, .client_takeover = true, .bits = 8 },
		  "permessage-deflate; client_max_window_bits=8" },
		{ { .server_takeover = true, .bits = 15 },
		  "permessage-deflate; client_max_window_bits; client_no_context_takeover" },
		{ { .bits = 10 },
		  "permessage-deflate; client_max_window_bits=10; server_no_context_takeover; "
		  "client_no_context_takeover" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char offer[RC_EXTENSION_SIZE_MAX];
		rc_extension_offer(offer, &rows[i].wish);
		cr_expect_str_eq(offer, rows[i].offer);
	}
}

static bool judges(const char *answer, const struct rc_deflate_wish *wish, struct rc_deflate *agreed)
{
	memset(agreed, 0, sizeof *agreed);
	return rc_extension_judge(agreed, answer, strlen(answer), wish);
}

Test(extension, answers_a_client_takes)
{
	static const struct rc_deflate_wish wish = { .server_takeover = true, .bits = 15 };
	static const struct {
		const char *answer;
		struct rc_deflate agreed;
	} rows[] = {
		{ "permessage-deflate", { true, true, false, 15, 15 } },
		{ "permessage-deflate; server_no_context_takeover", { true, false, false, 15, 15 } },
		{ "permessage-deflate; client_no_context_takeover", { true, true, false, 15, 15 } },
		{ "permessage-deflate; client_max_window_bits=9", { true, true, false, 15, 9 } },
		{ "permessage-deflate; server_max_window_bits=10; client_max_window_bits=\"15\"",
		  { true, true, false, 10, 15 } },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rc_deflate agreed;
		cr_expect(judges(rows[i].answer, &wish, &agreed), "%s", rows[i].answer);
		cr_expect_eq(memcmp(&agreed, &rows[i].agreed, sizeof agreed), 0, "%s", rows[i].answer);
	}
	struct rc_deflate agreed;
	const struct rc_deflate_wish takeover = { .client_takeover = true, .bits = 10 };
	cr_assert(judges("permessage-deflate; server_no_context_takeover", &takeover, &agreed));
	cr_expect(agreed.client_takeover && !agreed.server_takeover);
	cr_expect_eq(agreed.client_bits, 10, "we said that we use no more");
}

Test(extension, answers_a_client_refuses)
{
	static const struct rc_deflate_wish wish = { .server_takeover = true, .bits = 15 };
	static const char *const answers[] = {
		"",
		"permessage-bzip2",
		"permessage-deflate, permessage-deflate",
		"permessage-deflate, x",
		"permessage-deflate;",
		"permessage-deflate; unknown",
		"permessage-deflate; client_max_window_bits",
		"permessage-deflate; client_max_window_bits=7",
		"permessage-deflate; client_max_window_bits=16",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover",
		"permessage-deflate; server_no_context_takeover=1",
	};
	struct rc_deflate agreed;
	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		cr_expect_not(judges(answers[i], &wish, &agreed), "%s", answers[i]);
		cr_expect_not(agreed.on, "%s", answers[i]);
	}
	static const struct rc_deflate_wish demands = { .bits = 15 };
	cr_expect_not(judges("permessage-deflate", &demands, &agreed),
	              "section 7.1.1.1: what was demanded must be agreed to");
	cr_expect(judges("permessage-deflate; server_no_context_takeover", &demands, &agreed));
	cr_expect_not(rc_extension_judge(&agreed, "permessage-deflate; server_no_context_takeover", 46, &demands),
	              "a second answer");
}

/* Whatever the two of us wish, they take what the other answers, and mean the same by it. */
Test(extension, our_two_roles_agree)
{
	for (unsigned i = 0; i < 8 * 8 * 16; i++) {
		const struct rc_deflate_wish server = { i & 1, i & 2, (uint8_t)(8 + i / 16 % 8) };
		const struct rc_deflate_wish client = { i & 4, i & 8, (uint8_t)(8 + i / 128) };
		struct rc_deflate theirs, ours = { 0 };
		char offer[RC_EXTENSION_SIZE_MAX];
		rc_extension_offer(offer, &client);
		const char *answer = accepts(offer, &server, &theirs);
		cr_assert(rc_extension_judge(&ours, answer, strlen(answer), &client), "%s to %s", answer, offer);
		cr_expect_eq(ours.server_takeover, theirs.server_takeover);
		cr_expect_eq(ours.server_bits, theirs.server_bits);
		cr_expect_leq(ours.client_bits, theirs.client_bits, "we write with no more than they read with");
		cr_expect(!ours.client_takeover || theirs.client_takeover);
	}
}
