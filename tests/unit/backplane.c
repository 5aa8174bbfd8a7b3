/* SPDX-License-Identifier: MIT
 *
 * backplane.c - the parts of a node that need no engine: URLs, packets and what a node remembers of them, and the line
 * of what is on its way, each beside a table or a naive model.
 */
#include "backplane/outbox.h"
#include "backplane/packet.h"
#include "backplane/url.h"
#include "seed.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

static unsigned below_of(unsigned bound)
{
	return (unsigned)below(&seed, bound);
}

/* ---- URLs ---- */

Test(backplane, urls_are_taken_apart)
{
	struct backplane_url url;
	cr_assert_null(
	    backplane_url_parse(&url, "redis://us%65r:p%40ss%2F@one:1,[::1]:2,three/4?prefix=x&ca=%2Fa%20b"));
	cr_assert_str_eq(url.scheme, "redis");
	cr_assert_str_eq(url.user, "user");
	cr_assert_str_eq(url.password, "p@ss/");
	cr_assert_eq(url.host_count, 3);
	cr_assert_str_eq(url.hosts[0].name, "one");
	cr_assert_eq(url.hosts[0].port, 1);
	cr_assert_str_eq(url.hosts[1].name, "::1");
	cr_assert_eq(url.hosts[1].port, 2);
	cr_assert_eq(url.hosts[2].port, 0);
	cr_assert_str_eq(url.path, "4");
	cr_assert_str_eq(backplane_url_value(&url, "prefix", ""), "x");
	cr_assert_str_eq(backplane_url_value(&url, "ca", ""), "/a b");
	cr_assert_str_eq(backplane_url_value(&url, "none", "-"), "-");
	char shown[64];
	backplane_url_show(&url, shown, sizeof shown);
	cr_assert_str_eq(shown, "redis://one:1,[::1]:2,three/4");
	const char *const known[] = { "prefix", NULL };
	cr_assert_str_eq(backplane_url_unknown(&url, known), "ca");
}

Test(backplane, urls_that_are_none)
{
	static const char *const wrong[] = { "",
		                             "redis",
		                             "://h",
		                             "redis://",
		                             "redis://h:0",
		                             "redis://h:65536",
		                             "redis://h:1x",
		                             "redis://%zz",
		                             "redis://h,",
		                             "redis://h?x",
		                             "redis://h?=1",
		                             "redis://[::1",
		                             "redis://[::1]x",
		                             "redis://u:%@h",
		                             "redis://h/%00",
		                             "r://1,2,3,4,5,6,7,8,9" };
	struct backplane_url url;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		cr_assert_not_null(backplane_url_parse(&url, wrong[i]), "'%s'", wrong[i]);
	char text[BACKPLANE_URL_SIZE + 16] = "redis://";
	memset(text + 8, 'h', sizeof text - 9);
	text[sizeof text - 1] = 0;
	cr_assert_not_null(backplane_url_parse(&url, text));
}

Test(backplane, numbers_of_urls)
{
	struct backplane_url url;
	unsigned long number = 7;
	backplane_url_parse(&url, "r://h?a=12&b=&c=-1&d=99999999999999999999");
	cr_assert(backplane_url_number(&url, "none", 1, 20, &number));
	cr_assert_eq(number, 7);
	cr_assert(backplane_url_number(&url, "a", 1, 20, &number));
	cr_assert_eq(number, 12);
	cr_assert_not(backplane_url_number(&url, "a", 13, 20, &number));
	for (const char *name = "bcd"; *name; name++) {
		const char text[2] = { *name, 0 };
		cr_assert_not(backplane_url_number(&url, text, 0, UINT64_MAX - 1, &number), "%s", text);
	}
}

/* ---- packets ---- */

static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789";

static struct backplane_message some_message(void)
{
	struct backplane_message message = { .kind = below_of(256),
		                             .channel = letters,
		                             .channel_size = below_of(40),
		                             .data = letters,
		                             .size = below_of(60),
		                             .time_ns = seed,
		                             .tag = seed ^ 1 };
	if (below_of(2)) {
		message.key = letters;
		message.key_size = 1 + below_of(RC_KEY_MAX - 1);
		message.flags = below_of(2) ? RC_PUBLISH_REMOVE : 0;
	}
	return message;
}

static size_t some_packet(uint8_t *bytes, struct backplane_message *messages, uint32_t count)
{
	const struct packet_head head = { .node = 5, .token = 9, .epoch = 3, .time_ns = 4, .count = count };
	packet_write_head(bytes, &head);
	uint8_t *at = bytes + PACKET_HEAD_SIZE;
	for (uint32_t i = 0; i < count; i++) {
		messages[i] = some_message();
		at = packet_write_message(at, &messages[i]);
	}
	return (size_t)(at - bytes);
}

Test(backplane, packets_come_back_as_they_were)
{
	static uint8_t bytes[1 << 16];
	struct backplane_message messages[20], read;
	struct packet_head head;
	seed = seed_of("packets_come_back_as_they_were");
	for (unsigned round = 0; round < 1000; round++) {
		uint32_t count = below_of(20);
		size_t size = some_packet(bytes, messages, count);
		const uint8_t *at = bytes + PACKET_HEAD_SIZE, *end = bytes + size;
		cr_assert(packet_read_head(&head, bytes, size));
		cr_assert(head.node == 5 && head.token == 9 && head.epoch == 3 && head.time_ns == 4 &&
		          head.count == count);
		for (uint32_t i = 0; i < count; i++) {
			cr_assert(packet_read_message(&read, &at, end));
			const struct backplane_message *sent = &messages[i];
			cr_assert(read.kind == sent->kind && read.flags == sent->flags && read.tag == sent->tag &&
			          read.time_ns == sent->time_ns && read.channel_size == sent->channel_size &&
			          read.key_size == sent->key_size && read.size == sent->size);
			cr_assert_eq(memcmp(read.channel, letters, read.channel_size), 0);
			cr_assert_eq(memcmp(read.data, letters, read.size), 0);
		}
		cr_assert_eq(at, end);
	}
}

/* Whatever stands there, nothing beyond the bytes is read: they lie at the end of what was allocated. */
Test(backplane, packets_of_strangers)
{
	static uint8_t whole[1 << 16];
	struct backplane_message messages[8], read;
	struct packet_head head;
	seed = seed_of("packets_of_strangers");
	for (unsigned round = 0; round < 20000; round++) {
		size_t size = some_packet(whole, messages, 1 + below_of(7)), cut = below_of((unsigned)size + 1);
		uint8_t *bytes = malloc(cut ? cut : 1);
		memcpy(bytes, whole, cut);
		for (unsigned change = below_of(4); change && cut; change--)
			bytes[below_of((unsigned)cut)] = (uint8_t)below_of(256);
		if (packet_read_head(&head, bytes, cut)) {
			const uint8_t *at = bytes + PACKET_HEAD_SIZE, *end = bytes + cut;
			for (uint32_t i = 0; i < head.count && packet_read_message(&read, &at, end); i++)
				cr_assert(at <= end && (const uint8_t *)read.data + read.size <= end);
		}
		free(bytes);
	}
}

/* ---- what was seen ---- */

Test(backplane, what_was_seen_beside_a_set)
{
	enum { TOKENS = 4000 };
	static bool seen[3][TOKENS];
	struct packet_memory memory = { 0 };
	uint64_t newest[3] = { 0 };
	seed = seed_of("what_was_seen_beside_a_set");
	for (unsigned step = 0; step < 30000; step++) {
		unsigned node = below_of(3);
		uint64_t token = newest[node] + below_of(6);
		token = token > 300 && below_of(3) == 0 ? token - below_of(300) : token;
		token = token ? token : 1;
		if (token >= TOKENS)
			break;
		cr_assert_eq(packet_seen(&memory, node + 1, token), seen[node][token], "node %u token %lu", node,
		             token);
		seen[node][token] = true;
		newest[node] = token > newest[node] ? token : newest[node];
	}
	cr_assert(packet_seen(&memory, 1, newest[0] > PACKET_WINDOW ? newest[0] - PACKET_WINDOW : newest[0]));
	packet_memory_free(&memory);
}

Test(backplane, what_was_seen_is_bounded)
{
	struct packet_memory memory = { 0 };
	for (uint64_t node = 1; node <= 3 * PACKET_ORIGINS_MAX; node++)
		cr_assert_not(packet_seen(&memory, node, 1));
	cr_assert(memory.room <= PACKET_ORIGINS_MAX);
	cr_assert(packet_seen(&memory, 3 * PACKET_ORIGINS_MAX, 1));
	cr_assert(packet_seen(&memory, 2 * PACKET_ORIGINS_MAX + 1, 1));
	cr_assert_not(packet_seen(&memory, 2, 1), "it was silent for longest");
	cr_assert_not(packet_seen(&memory, 7, INT64_MAX));
	cr_assert_not(packet_seen(&memory, 7, INT64_MAX - 1));
	cr_assert(packet_seen(&memory, 7, 1));
	packet_memory_free(&memory);
}

/* ---- the line ---- */

struct told {
	unsigned count;
	int code;
	int64_t first;
};

static void note(void *context, int code, const struct backplane_number *numbers, size_t count)
{
	struct told *told = context;
	told->count++;
	told->code = code;
	told->first = count ? numbers[0].sequence : -1;
}

static struct outbox line;
static struct outbox_sending sending;

static int add(struct told *told, uint64_t now_ns, size_t size)
{
	static char data[1 << 17];
	const struct backplane_message message = { .channel = "t", .channel_size = 1, .data = data, .size = size };
	return outbox_add(&line, &message, 1, now_ns, note, told, NULL);
}

static void begin(void)
{
	cr_assert_eq(outbox_init(&line, 1 << 18), 0);
}

static void end(void)
{
	outbox_free(&line);
	free(sending.bytes);
}

static void mark(int count)
{
	for (int i = 0; i < count; i++)
		sending.packets[i].appended = true;
	outbox_sent(&line, &sending, (size_t)count, 100);
}

Test(backplane, a_call_is_told_its_number, .init = begin, .fini = end)
{
	struct told one = { 0 }, two = { 0 };
	const struct backplane_number numbers[] = { { 3, 77 }, { 3, 78 } };
	cr_assert_eq(add(&one, 1, 10), 0);
	cr_assert_eq(add(&two, 2, 10), 0);
	cr_assert_eq(outbox_pack(&line, &sending, 5, 3, 1), 1, "both in one packet");
	mark(1);
	cr_assert_eq(outbox_pack(&line, &sending, 5, 3, 1), 0, "it has been appended");
	outbox_confirm(&line, 99, numbers, 2);
	cr_assert_eq(one.count, 0, "another token");
	outbox_confirm(&line, 1, numbers, 2);
	outbox_confirm(&line, 1, numbers, 2);
	cr_assert(one.count == 1 && one.code == 0 && one.first == 77);
	cr_assert(two.count == 1 && two.code == 0 && two.first == 78);
	cr_assert(outbox_is_empty(&line));
	cr_assert_eq(line.size, 0);
	cr_assert_eq(line.count, 0);
}

Test(backplane, what_is_not_confirmed_is_sent_again, .init = begin, .fini = end)
{
	struct told told = { 0 };
	struct packet_head head;
	add(&told, 1, 10);
	outbox_pack(&line, &sending, 5, 3, 1);
	cr_assert_eq(outbox_pack(&line, &sending, 5, 3, 1), 1, "nobody said that it was appended");
	mark(1);
	cr_assert_not(outbox_again(&line, 100), "not for so long yet");
	cr_assert(outbox_again(&line, 101));
	cr_assert_eq(outbox_pack(&line, &sending, 5, 8, 1), 1);
	cr_assert(packet_read_head(&head, sending.packets[0].data, sending.packets[0].size));
	cr_assert(head.token == 1 && head.epoch == 8, "the same packet, in the epoch of now");
	outbox_refuse(&line, 1, -EMSGSIZE);
	cr_assert(told.count == 1 && told.code == -EMSGSIZE);
}

Test(backplane, who_waits_too_long_is_told, .init = begin, .fini = end)
{
	struct told sent = { 0 }, waiting = { 0 }, late = { 0 };
	add(&sent, 1, 10);
	outbox_pack(&line, &sending, 5, 3, 1);
	add(&waiting, 2, 10);
	add(&late, 50, 10);
	cr_assert_eq(outbox_expire(&line, 10, -EAGAIN), 2);
	cr_assert(sent.code == -ETIMEDOUT && waiting.code == -EAGAIN && late.count == 0);
	cr_assert_eq(outbox_pack(&line, &sending, 5, 3, 1), 1, "the one that is left");
	outbox_close(&line);
	cr_assert_eq(add(&late, 60, 10), -ECANCELED);
}

Test(backplane, the_line_is_bounded, .init = begin, .fini = end)
{
	struct told told = { 0 };
	unsigned taken = 0;
	int code;
	while (!(code = add(&told, 1, 1000)))
		taken++;
	cr_assert_eq(code, -EAGAIN);
	cr_assert(taken > 200 && taken < 262);
	const struct engine_member member = { .room = "r", .room_size = 1, .name = "n", .name_size = 1 };
	while (!(code = outbox_add_member(&line, &member)))
		taken++;
	cr_assert_eq(code, -EAGAIN);
	for (const struct engine_member *at; (at = outbox_member(&line));)
		outbox_member_written(&line);
	cr_assert_eq(outbox_expire(&line, 10, -EAGAIN), told.count);
	cr_assert_eq(line.size, 0);
}

/* Calls of all sizes, packets that are lost, doubled and confirmed in any order: each call is told once. */
Test(backplane, each_call_is_told_once, .init = begin, .fini = end)
{
	enum { CALLS = 3000 };
	static struct told told[CALLS];
	static struct backplane_number numbers[BACKPLANE_MESSAGES_MAX];
	unsigned added = 0;
	seed = seed_of("each_call_is_told_once");
	for (uint64_t now = 1; added < CALLS; now++) {
		unsigned size = below_of(20) ? below_of(300) : below_of(70000);
		if (below_of(3) && add(&told[added], now, size) == 0)
			added++;
		int count = outbox_pack(&line, &sending, 5, 1, now);
		for (int i = 0; i < count; i++) {
			struct packet_head head;
			cr_assert(packet_read_head(&head, sending.packets[i].data, sending.packets[i].size));
			sending.packets[i].appended = below_of(2);
			if (below_of(2))
				outbox_confirm(&line, head.token, numbers, head.count);
		}
		outbox_sent(&line, &sending, (size_t)(count > 0 ? count : 0), now);
		if (!below_of(5))
			outbox_again(&line, now + 1);
		if (!below_of(50) && now > 40)
			outbox_expire(&line, now - 40, -EAGAIN);
	}
	outbox_expire(&line, UINT64_MAX, -ECANCELED);
	for (unsigned i = 0; i < CALLS; i++)
		cr_assert_eq(told[i].count, 1, "call %u", i);
	cr_assert(outbox_is_empty(&line));
	cr_assert_eq(line.size, 0);
}
