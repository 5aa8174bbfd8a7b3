/* SPDX-License-Identifier: MIT
 *
 * session_model.c - random streams, mostly right, some with a flipped bit, against a model that has the whole stream at
 * once and reads it with no eye on speed. RC_SEED=number repeats a run, RC_ROUNDS=number makes it longer.
 */
#include "session_feed.h"

#include <time.h>

#define STREAM_SIZE 8192
#define MESSAGE_SIZE_MAX 700
#define FRAGMENTS_MAX 5

static uint64_t random_state;

static uint32_t random_below(uint32_t bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32) % bound;
}

/* ---- the model ---- */

static size_t character_size(const uint8_t *text, size_t size)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length = text[0] < 0x80       ? 1
	                : text[0] >> 5 == 6  ? 2
	                : text[0] >> 4 == 14 ? 3
	                : text[0] >> 3 == 30 ? 4
	                                     : 0;
	if (length == 0 || length > size)
		return 0;
	uint32_t point = length == 1 ? text[0] : text[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if (text[i] >> 6 != 2)
			return 0;
		point = point << 6 | (text[i] & 0x3f);
	}
	return point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000) ? 0 : length;
}

/* What is not a whole text may still become one: then some continuation bytes complete its last character. */
static bool is_text(const uint8_t *text, size_t size, bool complete)
{
	while (size) {
		size_t length = character_size(text, size);
		if (length == 0) {
			bool open = false;
			for (int filler = 0; filler < 2 && size < 4; filler++) {
				uint8_t guess[8];
				memset(guess, filler ? 0xbf : 0x80, sizeof guess);
				memcpy(guess, text, size);
				open |= character_size(guess, sizeof guess) > size;
			}
			return open && !complete;
		}
		text += length;
		size -= length;
	}
	return true;
}

static void model_fail(struct transcript *t, unsigned code)
{
	note(t, "%sfail(%u)", t->size ? " " : "", code);
}

static void model_control(struct transcript *t, unsigned opcode, uint8_t *payload, size_t size)
{
	struct rc_event event = { .kind = opcode == 9 ? RC_EVENT_PING : RC_EVENT_PONG, .data = payload, .size = size };
	if (opcode == 8) {
		event.kind = RC_EVENT_CLOSE;
		event.code = size ? (uint16_t)(payload[0] * 256 + payload[1]) : 1005;
		event.data += size ? 2 : 0;
		event.size -= size ? 2 : 0;
		if (size && !rc_close_code_valid(event.code))
			return model_fail(t, 1002);
		if (!is_text(event.data, event.size, true))
			return model_fail(t, 1007);
	}
	note_event(t, &event);
}

struct model {
	uint8_t message[STREAM_SIZE];
	size_t size;
	unsigned opcode, fragment_count; /* 0 outside a message */
};

/* One frame at the beginning of the stream. Returns its size, or 0 when nothing follows: it is incomplete, wrong, or a
 * Close. *unsure is set where the stream ends inside a header, which the session may already refuse. */
static size_t model_frame(struct model *m, struct transcript *t, const uint8_t *bytes, size_t size, bool client,
                          bool *unsure)
{
	size_t at = 2, length_size = size < 2 || (bytes[1] & 127) < 126 ? 0 : (bytes[1] & 127) == 126 ? 2 : 8;
	size_t header_size = 2 + length_size + (client ? 0 : 4);
	*unsure = size < header_size;
	if (*unsure)
		return 0;
	bool fin = bytes[0] & 128, masked = bytes[1] & 128;
	unsigned opcode = bytes[0] & 15;
	uint64_t length = length_size ? 0 : bytes[1] & 127;
	while (at < 2 + length_size)
		length = length << 8 | bytes[at++];
	/* In the order of the bytes: a header with two faults is refused for the first. */
	bool wrong = bytes[0] & 0x70 || (opcode > 2 && opcode < 8) || opcode > 10 || (opcode >= 8 && !fin);
	if (wrong || (opcode < 8 && (opcode == 0) != (m->fragment_count > 0)))
		return model_fail(t, 1002), 0;
	if (opcode < 8 && (opcode == 0 || !fin) && m->fragment_count == FRAGMENTS_MAX)
		return model_fail(t, 1009), 0;
	if (masked == client || (opcode >= 8 && ((bytes[1] & 127) > 125 || (opcode == 8 && length == 1))))
		return model_fail(t, 1002), 0;
	/* The first byte of a length in long form says already that it is not below 126 or 65536. */
	if (length_size == 8 && MESSAGE_SIZE_MAX < 65536)
		return model_fail(t, 1009), 0;
	if (length_size == 2 && (length < 126 || m->size + 126 > MESSAGE_SIZE_MAX))
		return model_fail(t, m->size + 126 > MESSAGE_SIZE_MAX ? 1009 : 1002), 0;
	if (opcode < 8 && m->size + length > MESSAGE_SIZE_MAX)
		return model_fail(t, 1009), 0;
	size_t here = RC_MIN(length, size - header_size);
	uint8_t payload[STREAM_SIZE], *to = opcode < 8 ? m->message + m->size : payload;
	for (size_t i = 0; i < here; i++)
		to[i] = bytes[header_size + i] ^ (client ? 0 : bytes[header_size - 4 + i % 4]);
	if (opcode == 8 && here < length) {
		*unsure = true;
		return 0;
	}
	if (opcode >= 8) {
		if (here == length)
			model_control(t, opcode, payload, here);
		return here < length || opcode == 8 ? 0 : header_size + here;
	}
	m->opcode = opcode ? opcode : m->opcode;
	m->size += here;
	bool complete = fin && here == length;
	if (m->opcode == 1 && !is_text(m->message, m->size, complete))
		return model_fail(t, 1007), 0;
	m->fragment_count++;
	if (!complete)
		return here < length ? 0 : header_size + here;
	note_event(t,
	           &(struct rc_event){
		       .kind = RC_EVENT_MESSAGE, .opcode = (uint8_t)m->opcode, .data = m->message, .size = m->size });
	m->size = m->fragment_count = 0;
	return header_size + here;
}

static bool model_stream(struct transcript *t, const uint8_t *bytes, size_t size, bool client)
{
	struct model *m = calloc(1, sizeof *m);
	memset(t, 0, sizeof *t);
	bool unsure = false;
	size_t frame;
	while (size && (frame = model_frame(m, t, bytes, size, client, &unsure))) {
		bytes += frame;
		size -= frame;
	}
	free(m);
	return !unsure;
}

/* ---- the streams ---- */

static size_t random_payload(uint8_t *to, size_t size, bool text)
{
	size_t at = 0;
	while (at < size) {
		static const char *const characters[] = {
			"a", "z", "0", "\xc3\xa4", "\xe2\x82\xac", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"
		};
		const char *next = characters[random_below(7)];
		if (at + strlen(next) > size)
			next = "b";
		memcpy(to + at, next, strlen(next));
		at += strlen(next);
		if (!text)
			to[at - 1] = (uint8_t)random_below(256);
	}
	return size;
}

static size_t random_frame(uint8_t *to, unsigned opcode, bool fin, const uint8_t *payload, size_t size, bool client)
{
	struct rc_frame frame = { .size = size, .opcode = (uint8_t)opcode, .fin = fin, .masked = !client };
	frame.mask = client || random_below(8) == 0 ? 0 : random_below(UINT32_MAX);
	size_t header = rc_frame_write(to, &frame);
	for (size_t i = 0; i < size; i++)
		to[header + i] = payload[i] ^ (uint8_t)(frame.mask >> 8 * (i % 4));
	return header + size;
}

static size_t random_control(uint8_t *to, bool client)
{
	uint8_t payload[RC_CONTROL_SIZE_MAX];
	size_t size = random_payload(payload, random_below(4) ? random_below(20) : random_below(126), true);
	if (random_below(30))
		return random_frame(to, 9 + random_below(2), true, payload, size, client);
	size = RC_MAX(size, 2);
	payload[0] = 0x03;
	payload[1] = (uint8_t)(0xe8 + random_below(8));
	return random_frame(to, 8, true, payload, size, client);
}

static size_t random_message(uint8_t *to, bool client)
{
	uint8_t payload[MESSAGE_SIZE_MAX + 16];
	bool text = random_below(2);
	size_t size = random_below(60) == 0 ? MESSAGE_SIZE_MAX + random_below(8)
	              : random_below(3)     ? random_below(40)
	                                    : random_below(400);
	size_t at = 0, done = 0, count = random_below(2) ? 1 : 1 + random_below(random_below(20) ? 5 : 6);
	random_payload(payload, size, text);
	if (text && size && random_below(60) == 0)
		payload[size - 1] = 0xe2;
	for (size_t i = 0; i < count; i++) {
		bool fin = i + 1 == count;
		size_t piece = fin ? size - done : random_below((uint32_t)(size - done) + 1);
		at += random_frame(to + at, i ? 0 : text ? 1 : 2, fin, payload + done, piece, client);
		done += piece;
		while (random_below(4) == 0)
			at += random_control(to + at, client);
	}
	return at;
}

static void one_round(struct transcript *expected, struct transcript *t, const struct rc_session_rules *rules,
                      uint64_t seed, unsigned round)
{
	uint8_t stream[STREAM_SIZE];
	size_t size = 0, cuts[8], cut_count = random_below(9);
	for (uint32_t i = 1 + random_below(6); i && size + 3000 < sizeof stream; i--)
		size += random_message(stream + size, rules->client);
	if (random_below(2))
		for (uint32_t i = random_below(3); i; i--)
			stream[random_below((uint32_t)size)] ^= (uint8_t)(1u << random_below(8));
	if (random_below(3) == 0)
		size = random_below((uint32_t)size + 1);
	bool sure = model_stream(expected, stream, size, rules->client);
	for (int way = 0; way < 4; way++) {
		size_t step = way == 0 ? 0 : way == 1 ? 1 : 1 + random_below(50), at = 0;
		for (size_t i = 0; i < cut_count; i++)
			cuts[i] = at += random_below((uint32_t)(size - at) + 1) / (cut_count - i);
		feed_cut(t, rules, stream, size, cuts, way == 3 ? cut_count : 0, way == 3 ? 0 : step);
		bool same = strcmp(t->text, expected->text) == 0;
		/* Inside the last header, or the last Close, the session may know more than the model. */
		if (!sure && !same)
			same = strncmp(t->text, expected->text, expected->size) == 0 &&
			       strncmp(t->text + expected->size + (expected->size > 0), "fail(100", 8) == 0;
		cr_assert(same, "seed %llu, round %u, way %d, client %d:\n  got   %s\n  model %s",
		          (unsigned long long)seed, round, way, rules->client, t->text, expected->text);
	}
}

Test(session_model, random_streams)
{
	const char *seed_text = getenv("RC_SEED"), *rounds_text = getenv("RC_ROUNDS");
	uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
	unsigned rounds = rounds_text ? (unsigned)strtoul(rounds_text, NULL, 10) : 5000;
	printf("# session_model: RC_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	random_state = (seed + 1) * 0x9e3779b97f4a7c15u;
	struct rc_pool pool;
	rc_pool_init(&pool, 1 * RC_MIB, 16 * RC_MIB);
	struct rc_session_rules rules = { .message_size_max = MESSAGE_SIZE_MAX,
		                          .fragments_max = FRAGMENTS_MAX,
		                          .pool = &pool };
	struct transcript *expected = malloc(sizeof *expected), *t = malloc(sizeof *t);
	size_t events = 0, failures = 0;
	for (unsigned round = 0; round < rounds; round++) {
		static const char *const kernels[] = { "scalar", "avx2", "avx512", "neon" };
		rc_text_choose(kernels[random_below(4)]); /* one that is not here changes nothing */
		rules.client = random_below(2);
		one_round(expected, t, &rules, seed, round);
		events += expected->size > 0;
		failures += strstr(expected->text, "fail(") != NULL;
	}
	/* A generator that makes only one kind would prove nothing. */
	cr_expect(rounds < 1000 || (events > rounds / 2 && failures > rounds / 20 && failures < rounds / 2),
	          "%zu with events, %zu with failures of %u", events, failures, rounds);
	free(t);
	free(expected);
	rc_pool_destroy(&pool);
}
