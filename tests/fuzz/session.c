/* SPDX-License-Identifier: MIT
 *
 * session.c - a stream of frames, read in both roles: whole, cut in two at every place, byte by byte, and in pieces.
 * Each way must give the same events; they must be what a reader gives that has all of the stream at once and knows
 * nothing of pieces; and no event may break a promise of session.h.
 */
#include "session.h"

#include "../unit/text_check.h"
#include "bounds.h"
#include "check.h"
#include "fuzz.h"

#define MESSAGE_SIZE_MAX 3000
#define FRAGMENTS_MAX 6
#define EVENTS_MAX 512
#define SPLITS_ALL 400 /* longer streams are cut at so many places only */

struct note {
	enum rc_event_kind kind;
	unsigned opcode, code;
	size_t size;
	uint64_t hash;
};

struct notes {
	struct note at[EVENTS_MAX];
	unsigned count;
	bool full; /* the rest was not written down */
};

static struct rc_pool pool;
static struct rc_session_rules rules = { .message_size_max = MESSAGE_SIZE_MAX,
	                                 .fragments_max = FRAGMENTS_MAX,
	                                 .pool = &pool };

static void add(struct notes *notes, enum rc_event_kind kind, unsigned opcode, unsigned code, const uint8_t *data,
                size_t size)
{
	if (notes->count == EVENTS_MAX) {
		notes->full = true;
		return;
	}
	notes->at[notes->count++] = (struct note){ kind, opcode, code, size, size ? hash_of(data, size) : 0 };
}

static bool is_text(const uint8_t *data, size_t size)
{
	const struct verdict verdict = judged(data, size);
	return verdict.wrong == NEVER && verdict.complete;
}

/* ---- the naive reader ---- */

struct reader {
	uint8_t message[MESSAGE_SIZE_MAX];
	size_t size;
	unsigned opcode, frames;
};

enum { GOES_ON, NEEDS_MORE, REFUSES, ENDS };

static int read_control(struct notes *notes, unsigned opcode, const uint8_t *payload, size_t size)
{
	unsigned code = size < 2 ? 1005 : (unsigned)(payload[0] << 8 | payload[1]);
	if (opcode != 8) {
		add(notes, opcode == 9 ? RC_EVENT_PING : RC_EVENT_PONG, opcode, 0, payload, size);
		return GOES_ON;
	}
	if (size && (!rc_close_code_valid(code) || !is_text(payload + 2, size - 2)))
		return REFUSES;
	add(notes, RC_EVENT_CLOSE, 8, code, size ? payload + 2 : payload, size ? size - 2 : 0);
	return ENDS;
}

static int read_data(struct reader *reader, struct notes *notes, bool fin, unsigned opcode, const uint8_t *payload,
                     size_t size)
{
	bool within = reader->frames > 0;
	if ((opcode == 0) != within || size > MESSAGE_SIZE_MAX - reader->size)
		return REFUSES;
	if ((within || !fin) && reader->frames == FRAGMENTS_MAX)
		return REFUSES;
	memcpy(reader->message + reader->size, payload, size);
	reader->size += size;
	reader->frames++;
	reader->opcode = within ? reader->opcode : opcode;
	if (!fin)
		return reader->opcode == 1 && judged(reader->message, reader->size).wrong != NEVER ? REFUSES : GOES_ON;
	if (reader->opcode == 1 && !is_text(reader->message, reader->size))
		return REFUSES;
	add(notes, RC_EVENT_MESSAGE, reader->opcode, 0, reader->message, reader->size);
	reader->size = reader->frames = 0;
	return GOES_ON;
}

/* One whole frame, *used bytes long. A frame that is not all there is left to the session: it may refuse it already. */
static int read_frame(struct reader *reader, struct notes *notes, const uint8_t *at, size_t size, size_t *used)
{
	if (size < 2)
		return NEEDS_MORE;
	unsigned first = at[1] & 127, wide = first == 126 ? 2 : first == 127 ? 8 : 0;
	bool masked = at[1] & 128;
	size_t head = 2 + wide + (masked ? 4 : 0);
	if (size < head)
		return NEEDS_MORE;
	uint64_t length = wide ? 0 : first;
	for (unsigned i = 0; i < wide; i++)
		length = length << 8 | at[2 + i];
	if (length > size - head)
		return NEEDS_MORE;
	unsigned opcode = at[0] & 15;
	bool reserved = at[0] & 0x70 || (opcode > 2 && opcode < 8) || opcode > 10;
	bool short_form = length > 125 || !wide, shortest = wide != 8 || length > 65535;
	if (reserved || masked == rules.client || !short_form || !shortest)
		return REFUSES;
	if (opcode >= 8 && (!(at[0] & 128) || length > 125 || (opcode == 8 && length == 1)))
		return REFUSES;
	uint8_t *payload = malloc((size_t)length + 1);
	for (size_t i = 0; i < length; i++)
		payload[i] = at[head + i] ^ (masked ? at[head - 4 + i % 4] : 0);
	*used = head + (size_t)length;
	int verdict = opcode >= 8 ? read_control(notes, opcode, payload, (size_t)length)
	                          : read_data(reader, notes, at[0] & 128, opcode, payload, (size_t)length);
	free(payload);
	return verdict;
}

static int read_stream(struct notes *notes, const uint8_t *at, size_t size)
{
	static struct reader reader;
	size_t used = 0;
	int verdict = GOES_ON;
	reader.size = reader.frames = 0;
	notes->count = notes->full = 0;
	while (size && verdict == GOES_ON) {
		verdict = read_frame(&reader, notes, at, size, &used);
		at += used;
		size -= used;
	}
	return verdict;
}

/* ---- the session ---- */

static void check_event(const struct rc_event *event)
{
	switch (event->kind) {
	case RC_EVENT_MESSAGE:
		HOLDS(event->size <= MESSAGE_SIZE_MAX, "%zu bytes", event->size);
		HOLDS(event->opcode == 2 || (event->opcode == 1 && is_text(event->data, event->size)), "opcode %d",
		      event->opcode);
		break;
	case RC_EVENT_CLOSE:
		HOLDS(event->code == 1005 ? event->size == 0 : rc_close_code_valid(event->code), "code %d",
		      event->code);
		HOLDS(is_text(event->data, event->size) && event->size <= 123, "%zu bytes of reason", event->size);
		break;
	case RC_EVENT_FAIL:
		HOLDS(event->code == 1002 || event->code == 1007 || event->code == 1009, "code %d", event->code);
		HOLDS(event->why && strlen(event->why) <= 123, "no reason");
		break;
	default:
		HOLDS(event->size <= RC_CONTROL_SIZE_MAX, "%zu bytes", event->size);
	}
}

/* Feeds one piece, in a block of its own that is gone afterwards. */
static void feed(struct rc_session *session, struct notes *notes, const uint8_t *bytes, size_t size, bool *over)
{
	uint8_t *block = exact_copy(bytes, size), *at = block;
	struct rc_event event;
	while (rc_session_next(session, &rules, &at, block + size, &event) != RC_EVENT_NONE) {
		HOLDS(!*over, "an event after the last");
		HOLDS(at >= block && at <= block + size, "beside the bytes");
		check_event(&event);
		bool fails = event.kind == RC_EVENT_FAIL, ends = fails || event.kind == RC_EVENT_CLOSE;
		add(notes, event.kind, fails ? 0 : event.opcode, ends ? event.code : 0, event.data,
		    fails ? 0 : event.size);
		*over = ends;
		if (!fails && event.size)
			memset(event.data, 0xdd, event.size); /* it may be changed */
	}
	HOLDS(at == block + size, "%zu bytes are left", (size_t)(block + size - at));
	/* What a peer may make us keep: one message, in a block that is at most doubled, and one more while it moves.
	 */
	HOLDS(pool.used_size <= 4 * MESSAGE_SIZE_MAX + 64 * RC_KIB, "%zu bytes are kept", pool.used_size);
	free(block);
}

/* In two pieces when step is 0, or in pieces of `step` bytes. */
static void feed_cut(struct notes *notes, const uint8_t *bytes, size_t size, size_t cut, size_t step)
{
	struct rc_session session = { 0 };
	bool over = false;
	notes->count = notes->full = 0;
	for (size_t at = 0; step && at < size; at += RC_MIN(step, size - at))
		feed(&session, notes, bytes + at, RC_MIN(step, size - at), &over);
	if (!step) {
		feed(&session, notes, bytes, cut, &over);
		feed(&session, notes, bytes + cut, size - cut, &over);
	}
	rc_session_reset(&session, &pool);
	HOLDS(rc_session_at_rest(&session) && pool.used_size == 0, "something is kept");
}

static void same(const struct notes *notes, const struct notes *whole, size_t cut, size_t step)
{
	HOLDS(notes->count == whole->count, "%u events for %u, client %d, cut at %zu, step %zu", notes->count,
	      whole->count, rules.client, cut, step);
	for (unsigned i = 0; i < whole->count; i++) {
		const struct note *a = &notes->at[i], *b = &whole->at[i];
		HOLDS(a->kind == b->kind && a->opcode == b->opcode && a->code == b->code && a->size == b->size &&
		          a->hash == b->hash,
		      "event %u (%d, %u, %zu for %d, %u, %zu), client %d, cut at %zu, step %zu", i, a->kind, a->code,
		      a->size, b->kind, b->code, b->size, rules.client, cut, step);
	}
}

static void against_the_reader(const struct notes *whole, const uint8_t *data, size_t size)
{
	static struct notes read;
	int verdict = read_stream(&read, data, size);
	bool failed = whole->count && whole->at[whole->count - 1].kind == RC_EVENT_FAIL;
	if (whole->full || read.full)
		return;
	HOLDS(verdict != REFUSES || failed, "the session took what is wrong after %u events", read.count);
	/* Only in a frame that is not all there may the session know what the reader cannot. */
	HOLDS(verdict == REFUSES || verdict == NEEDS_MORE || !failed, "refused: %u", whole->at[whole->count - 1].code);
	struct notes *cut = malloc(sizeof *cut);
	*cut = *whole;
	cut->count -= failed;
	/* A control frame's events do not wait for the message around it, so both have them in the same order. */
	same(&read, cut, size, 0);
	free(cut);
}

/* A header reads the same whatever follows it, is written back byte by byte, and never shrinks as bytes come. */
static void check_header(const uint8_t *data, size_t size)
{
	struct rc_frame whole = { 0 }, frame = { 0 };
	int length = rc_frame_read(&whole, data, RC_MIN(size, (size_t)RC_FRAME_HEADER_MAX)), before = 0;
	for (size_t known = 0; known <= RC_MIN(size, (size_t)RC_FRAME_HEADER_MAX); known++) {
		int here = rc_frame_read(&frame, data, known);
		HOLDS(before == 0 || here == before, "%d bytes, then %d", before, here);
		HOLDS(here <= (int)known, "%d bytes of %zu", here, known);
		HOLDS(here || length < 0 || frame.size <= whole.size || length == 0, "%llu and then less",
		      (unsigned long long)frame.size);
		before = here;
	}
	if (length > 0) {
		uint8_t written[RC_FRAME_HEADER_MAX];
		HOLDS(rc_frame_write(written, &whole) == (size_t)length && !memcmp(written, data, (size_t)length),
		      "written otherwise");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct notes whole, notes;
	uint64_t chances = hash_of(data, size);
	if (size > 16 * RC_KIB)
		return 0;
	rc_pool_init(&pool, 0, 16 * RC_MIB);
	check_header(data, size);
	for (int client = 0; client < 2; client++) {
		rules.client = client;
		rc_text_choose(text_kernels[draw(&chances) % COUNT(text_kernels)]); /* or what was, where it is not */
		feed_cut(&whole, data, size, size, 0);
		against_the_reader(&whole, data, size);
		for (size_t i = 0; i < RC_MIN(size, (size_t)SPLITS_ALL); i++) {
			size_t cut = size <= SPLITS_ALL ? i : draw(&chances) % size;
			feed_cut(&notes, data, size, cut, 0);
			same(&notes, &whole, cut, 0);
		}
		for (size_t step = 1; step < 40; step = step * 2 + draw(&chances) % 3) {
			feed_cut(&notes, data, size, 0, step);
			same(&notes, &whole, 0, step);
		}
	}
	rc_pool_destroy(&pool);
	return 0;
}
