/* SPDX-License-Identifier: MIT
 *
 * keyed.c - the forms with numbers and keys, as a client reads them: what is one, what is none, and that a payload
 * comes back byte for byte.
 */
#include "lib/keyed.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "lib/keep.h"
#include "lib/url.h"
#include "seed.h"

Test(keyed, json)
{
	static const struct {
		const char *text, *topic, *key, *payload;
		enum follow_kind kind;
		bool removed, base, good;
	} cases[] = {
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"k\":\"a\",\"d\":{\"x\": [1.50, \"d\"]}}", "T", "a",
		  "{\"x\": [1.50, \"d\"]}", FOLLOW_MESSAGE, false, false, true },
		{ "{\"t\":\"\\\"d\\\":\",\"s\":2,\"e\":3,\"p\":1,\"k\":\"d\",\"d\": 12.0 }", "\"d\":", "d", " 12.0 ",
		  FOLLOW_MESSAGE, false, false, true },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"d\":[{\"d\":1},2],\"z\":0}", "T", "", "[{\"d\":1},2]",
		  FOLLOW_MESSAGE, false, false, true },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"k\":\"a\",\"r\":true}", "T", "a", "", FOLLOW_MESSAGE, true,
		  false, true },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"b\":true,\"d\":\"t\\u00e9\"}", "T", "", "t\303\251",
		  FOLLOW_MESSAGE, false, true, true },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"kx\":\"/w==\",\"x\":\"AAECAw==\"}", "T", "\377", "\0\1\2\3",
		  FOLLOW_MESSAGE, false, false, true },
		{ "{\"m\":\"state\",\"t\":\"T\",\"s\":2,\"e\":3}", "T", "", "", FOLLOW_STATE, false, false, true },
		{ "{\"m\":\"heartbeat\",\"t\":\"T\",\"s\":2,\"e\":3}", "T", "", "", FOLLOW_HEARTBEAT, false, false,
		  true },
		{ "{\"m\":\"other\",\"t\":\"T\",\"s\":2,\"e\":3}", .good = false },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"d\":1}", .good = false },
		{ "{\"s\":2,\"e\":3,\"p\":1,\"d\":1}", .good = false },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"k\":7,\"d\":1}", .good = false },
		{ "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"x\":\"!\"}", .good = false },
		{ "[1]", .good = false },
		{ "{\"t\":\"T\"", .good = false },
		{ "", .good = false },
	};
	struct keyed_scratch scratch = { 0 };
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct keyed_message message;
		bool good = keyed_read_json(cases[i].text, strlen(cases[i].text), &message, &scratch);
		cr_assert_eq(good, cases[i].good, "%s", cases[i].text);
		if (!good)
			continue;
		cr_expect_eq(message.kind, cases[i].kind, "%s", cases[i].text);
		cr_expect_str_eq(message.topic, cases[i].topic);
		cr_expect_str_eq(message.key, cases[i].key);
		cr_expect(message.removed == cases[i].removed && message.base == cases[i].base, "%s", cases[i].text);
		size_t size = cases[i].payload[0] ? strlen(cases[i].payload) : message.payload_size;
		cr_expect_eq(message.payload_size, size, "%s: %zu", cases[i].text, message.payload_size);
		cr_expect(!memcmp(message.payload, cases[i].payload, size), "%s", cases[i].text);
		cr_expect(message.sequence == 2 && message.epoch == 3);
	}
	free(scratch.bytes);
}

Test(keyed, binary)
{
	static const uint8_t bytes[] = { 0, 3, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2,   0,   0,   0,   0,   0,
		                         0, 0, 7, 0, 0, 0, 0, 0, 0, 1, 1, 'T', 'k', '1', 'p', 'a', 'y' };
	struct keyed_message message;
	cr_assert(keyed_read_binary(bytes, sizeof bytes, &message));
	cr_assert(message.kind == FOLLOW_MESSAGE && message.removed && !message.base);
	cr_assert(message.sequence == 258 && message.epoch == 7 && message.previous == 257);
	cr_assert_str_eq(message.topic, "T");
	cr_assert_str_eq(message.key, "k1");
	cr_assert(message.payload_size == 3 && !memcmp(message.payload, "pay", 3));
	for (size_t size = 0; size < 31; size++)
		cr_expect_not(keyed_read_binary(bytes, size, &message), "%zu bytes", size);
	uint8_t wrong[sizeof bytes];
	memcpy(wrong, bytes, sizeof bytes);
	wrong[0] = FOLLOW_KIND_COUNT;
	cr_expect_not(keyed_read_binary(wrong, sizeof wrong, &message), "an unknown kind");
	wrong[0] = 0, wrong[3] = 0;
	cr_expect_not(keyed_read_binary(wrong, sizeof wrong, &message), "no topic");
}

/* What a server that is not ours may send: nothing of it is read beyond its end. */
Test(keyed, any_bytes)
{
	static const char seedling[] = "{\"t\":\"T\",\"s\":2,\"e\":3,\"p\":1,\"k\":\"a\",\"kx\":\"YQ==\",\"d\":{\"x\":["
				       "1,\"\\\\\"]},\"x\":\"YQ==\"}";
	uint64_t seed = seed_of("keyed");
	struct keyed_scratch scratch = { 0 };
	for (unsigned n = 0; n < 20000; n++) {
		size_t size = below(&seed, sizeof seedling);
		char *text = malloc(size + 1);
		memcpy(text, seedling, size);
		for (uint64_t i = below(&seed, 4); size && i > 0; i--)
			text[below(&seed, size)] = (char)chance(&seed);
		struct keyed_message message;
		keyed_read_json(text, size, &message, &scratch);
		keyed_read_binary(text, size, &message);
		free(text);
	}
	free(scratch.bytes);
}

/* ------------------------------------------------------------------------------------------------- a state kept -- */

static int give(struct keep *keep, const char *text)
{
	static struct keyed_scratch scratch;
	struct keyed_message message;
	cr_assert(keyed_read_json(text, strlen(text), &message, &scratch), "%s", text);
	return keep_take(keep, &message);
}

static void expect_table(const struct keep_topic *topic, const char *table)
{
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	keep_write(topic, to);
	fclose(to);
	cr_expect_str_eq(text, table);
	free(text);
}

Test(keyed, a_state_kept)
{
	struct keep keep = { 0 };
	cr_assert_eq(give(&keep, "{\"m\":\"state\",\"t\":\"T\",\"s\":2,\"e\":1}"), FOLLOW_FORGET);
	cr_assert_eq(give(&keep, "{\"t\":\"T\",\"s\":1,\"e\":1,\"p\":0,\"k\":\"b\",\"d\":1}"), FOLLOW_TAKE);
	cr_assert_eq(give(&keep, "{\"t\":\"T\",\"s\":2,\"e\":1,\"p\":1,\"k\":\"a\",\"d\":\"x y\"}"), FOLLOW_TAKE);
	cr_assert(follow_is_whole(&keep.topic->follow) && keep.topic->key_count == 2);
	expect_table(keep.topic, "a\tx y\nb\t1\n");
	give(&keep, "{\"t\":\"T\",\"s\":3,\"e\":1,\"p\":2,\"k\":\"b\",\"d\":{\"v\":2}}");
	give(&keep, "{\"t\":\"T\",\"s\":4,\"e\":1,\"p\":3,\"k\":\"a\",\"r\":true}");
	give(&keep, "{\"t\":\"T\",\"s\":5,\"e\":1,\"p\":4,\"d\":\"no key\"}");
	expect_table(keep.topic, "b\t{\"v\":2}\n");
	cr_assert_eq(give(&keep, "{\"t\":\"T\",\"s\":7,\"e\":1,\"p\":6,\"k\":\"c\",\"d\":3}"), FOLLOW_GAP);
	cr_assert_eq(keep.topic->follow.missing, 1);
	give(&keep, "{\"t\":\"T\",\"s\":8,\"e\":1,\"p\":7,\"b\":true,\"d\":{}}");
	expect_table(keep.topic, "");
	give(&keep, "{\"t\":\"U\",\"s\":1,\"e\":1,\"p\":0,\"k\":\"z\",\"d\":0}");
	cr_assert_str_eq(keep.topic->name, "U");
	expect_table(keep.topic, "z\t0\n");
	keep_free(&keep);
}

Test(keyed, queries)
{
	static const struct {
		const char *url, *name, *made;
	} cases[] = {
		{ "ws://h/topic/a", "form", "ws://h/topic/a?form=json" },
		{ "ws://h/topic/a?last=1", "form", "ws://h/topic/a?last=1&form=json" },
		{ "ws://h/topic/a?form=binary", "form", "ws://h/topic/a?form=binary" },
		{ "ws://h/topic/a?x=1&form", "form", "ws://h/topic/a?x=1&form" },
		{ "ws://h/topic/a?xform=1", "form", "ws://h/topic/a?xform=1&form=json" },
	};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *made = url_with_query(cases[i].url, cases[i].name, "json");
		cr_expect_str_eq(made, cases[i].made);
		free(made);
	}
}
