/* SPDX-License-Identifier: MIT
 *
 * trust.c - the pure parts of who is believed: what is text, which addresses are in a block, what is loopback, which
 * keys are keys, and how often an address may knock.
 */
#include "app/gate.h"
#include "lib/address.h"
#include "lib/keys.h"
#include "lib/local.h"
#include "lib/options.h"
#include "lib/text.h"

#include "seed.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)

Test(trust, names)
{
	static const struct {
		const char *text;
		bool utf8, name;
	} cases[] = {
		{ "", true, false },
		{ "a b", true, true },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true, true },
		{ "a\tb", true, false },
		{ "a\n", true, false },
		{ "\x7f", true, false },
		{ "\xc2\x80", true, false }, /* C1 */
		{ "\xc2\x9f", true, false },
		{ "\xc2\xa0", true, true },
		{ "\xff\xfe", false, false },
		{ "\xc0\xaf", false, false },         /* too long for its character */
		{ "\xed\xa0\x80", false, false },     /* half of a surrogate pair */
		{ "\xf4\x90\x80\x80", false, false }, /* past the last character */
		{ "a\xc3", false, false },
		{ "\xe2\x82", false, false },
		{ "\x80", false, false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		cr_expect_eq(text_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].utf8, "%zu", i);
		cr_expect_eq(text_is_name(cases[i].text, strlen(cases[i].text)), cases[i].name, "%zu", i);
	}
	cr_expect(text_is_utf8("a\0b", 3));
	cr_expect_not(text_is_name("a\0b", 3), "a zero is a control character");
}

/* Against another reading of UTF-8, with bytes that are mostly nearly right. */
Test(trust, random_text)
{
	static const unsigned char edges[] = { 0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
		                               0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
		                               0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
	uint64_t seed = seed_of("text");
	for (unsigned i = 0; i < 200000; i++) {
		char text[6];
		size_t size = chance(&seed) % (sizeof text + 1);
		for (size_t at = 0; at < size; at++)
			text[at] = (char)edges[chance(&seed) % sizeof edges];
		json_t *other = json_stringn(text, size);
		cr_assert_eq(text_is_utf8(text, size), other != NULL, "%02x %02x %02x %02x %02x %02x, %zu of them",
		             text[0] & 255, text[1] & 255, text[2] & 255, text[3] & 255, text[4] & 255, text[5] & 255,
		             size);
		json_decref(other);
	}
}

Test(trust, blocks_of_addresses)
{
	static const struct {
		const char *network, *address;
		bool held;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.1.2", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.128/25", "10.0.0.129", true },
		{ "10.0.0.128/25", "10.0.0.127", false },
		{ "1.2.3.4", "1.2.3.4", true },
		{ "1.2.3.4", "1.2.3.5", false },
		{ "1.2.3.4", "::ffff:1.2.3.4", true },
		{ "2001:db8::/32", "2001:db8:1::1", true },
		{ "2001:db8::/32", "2001:db9::", false },
		{ "0.0.0.0/0", "1.2.3.4", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "127.0.0.1", "unix", true },
		{ "10.0.0.1", "unix", false },
		{ "1.2.3.4", "1.2.3.4 ", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct networks networks = { 0 };
		cr_assert(networks_add(&networks, cases[i].network), "%s", cases[i].network);
		cr_expect_eq(networks_hold(&networks, cases[i].address), cases[i].held, "%s in %s", cases[i].address,
		             cases[i].network);
	}
	struct networks none = { 0 };
	cr_expect_not(networks_hold(&none, "127.0.0.1"));
	for (const char *const *wrong = (const char *const[]){ "", "a", "1.2.3", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/-1",
	                                                       "::/129", "1.2.3.4/8x", "/8", NULL };
	     *wrong; wrong++)
		cr_expect_not(networks_add(&none, *wrong), "'%s'", *wrong);
	for (unsigned i = 0; i < NETWORKS_MAX; i++)
		cr_assert(networks_add(&none, "1.1.1.1"));
	cr_expect_not(networks_add(&none, "1.1.1.1"), "one too many");
}

Test(trust, listeners)
{
	static const struct {
		const char *address;
		bool loopback;
	} cases[] = {
		{ "127.0.0.1:80", true },
		{ "127.9.9.9:0", true },
		{ "ws://127.0.0.1:80", true },
		{ "wss://[::1]:443", true },
		{ "localhost:80", true },
		{ "unix:/run/x", true },
		{ "proxy+127.0.0.1:80", true },
		{ "127.0.0.1:80?deflate=on", true },
		{ "0.0.0.0:80", false },
		{ ":80", false },
		{ "*:80", false },
		{ "ws://:80", false },
		{ "proxy+wss://*:443", false },
		{ ":80?deflate=on", false },
		{ "example.org:80", false },
		{ "[::]:80", false },
		{ "10.0.0.1:80", false },
		{ "[::2]:80", false },
		{ "127.0.0.1.example:80", false },
		{ "128.0.0.1:80", false },
		{ "fd:999", false },
		{ "nonsense", false },
		{ "[::1", false },
		{ "[127.0.0.1]:80", false },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		cr_expect_eq(local_address_is_loopback(cases[i].address), cases[i].loopback, "%s", cases[i].address);
	struct local_listeners listeners = { 0 };
	for (unsigned i = 0; i < RC_LISTENERS_MAX + 5; i++)
		local_listeners_add(&listeners, "127.0.0.1:1");
	cr_expect_eq(listeners.count, RC_LISTENERS_MAX);
}

Test(trust, keys)
{
	struct keys keys = { 0 };
	cr_expect_not_null(keys_add(&keys, ""));
	cr_expect_not_null(keys_add(&keys, "fifteen bytes.."));
	cr_expect_not_null(keys_add(&keys, "sixteen bytes\n.."));
	cr_expect_not_null(keys_add(&keys, "sixteen bytes \xff.."));
	cr_expect_eq(keys.count, 0);
	cr_expect_null(keys_add(&keys, "sixteen bytes..."));
	while (keys.count < KEYS_MAX)
		cr_assert_null(keys_add(&keys, "sixteen bytes..."));
	cr_expect_not_null(keys_add(&keys, "sixteen bytes..."));
	keys_free(&keys);
	cr_expect_eq(keys.count, 0);
}

Test(trust, flags_in_words)
{
	bool flag = false;
	const char *text = NULL;
	const struct option_entry option = { .name = "x", .kind = OPTION_FLAG, .target = &flag };
	const struct option_entry words = { .name = "x", .kind = OPTION_TEXT, .target = &text };
	cr_expect_null(option_store(&option, NULL));
	cr_expect(flag);
	static const char *const no[] = { "no", "false", "off", "0" }, *const yes[] = { "yes", "true", "on", "1" };
	for (unsigned i = 0; i < 4; i++) {
		cr_expect_null(option_store(&option, no[i]));
		cr_expect_not(flag, "%s", no[i]);
		cr_expect_null(option_store(&option, yes[i]));
		cr_expect(flag, "%s", yes[i]);
	}
	cr_expect_not_null(option_store(&option, "maybe"));
	cr_expect_not_null(option_store(&option, ""));
	cr_expect_null(option_store(&words, ""), "an empty text is one");
	cr_expect_not_null(option_store(&words, "\xff"));
	cr_expect_not_null(option_store(&words, "a\nb"));
}

Test(trust, gate)
{
	struct app_gate gate;
	uint64_t now = SECOND;
	cr_assert(app_gate_init(&gate, 7));
	for (unsigned i = 0; i < 10; i++)
		cr_expect(app_gate_pass(&gate, "1.1.1.1", 2, now), "%u: as many as five seconds have", i);
	cr_expect_not(app_gate_pass(&gate, "1.1.1.1", 2, now));
	cr_expect(app_gate_pass(&gate, "1.1.1.1", 0, now), "0 is no limit");
	cr_expect(app_gate_pass(&gate, "1.1.1.2", 2, now), "somebody else");
	now += SECOND / 2;
	cr_expect(app_gate_pass(&gate, "1.1.1.1", 2, now), "one more, after half a second");
	cr_expect_not(app_gate_pass(&gate, "1.1.1.1", 2, now));
	app_gate_destroy(&gate);
}

/* However many addresses come, one that knocks now and then gets in, and one that knocks all the time does not. */
Test(trust, gate_in_a_crowd)
{
	struct app_gate gate;
	uint64_t now = SECOND;
	unsigned refused = 0, let_in = 0;
	cr_assert(app_gate_init(&gate, 7));
	for (unsigned i = 0; i < 1000000; i++) {
		char address[32];
		now += 1000;
		snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		cr_assert(app_gate_pass(&gate, address, 2, now), "%s is new", address);
		if (i % 200000 == 0)
			refused += !app_gate_pass(&gate, "192.0.2.1", 2, now);
		if (i % 10 == 0)
			let_in += app_gate_pass(&gate, "192.0.2.2", 2, now);
	}
	cr_expect_eq(refused, 0);
	cr_expect_leq(let_in, 20, "of 100,000 in one second: %u", let_in);
	app_gate_destroy(&gate);
}
