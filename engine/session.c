/* SPDX-License-Identifier: MIT
 *
 * session.c - see session.h. Two ways through it: a whole message in the bytes of a session at rest, which is nearly
 * every message, is judged and returned where it lies; all else goes piece by piece. The events never show which way a
 * message went: a fault is found at the same byte of the stream, however the stream was cut.
 *
 * Invariants between two calls, which rc_session_check() asserts:
 *   - either a part of a header is kept, or a frame is open with bytes still to come, or neither
 *   - gathered_size is what came of the message's frames so far, and what is announced stays within message_size_max
 *   - a block is kept while something is gathered: in a message, in a frame, or right after its MESSAGE event; empty it
 *     is kept only for the frame that is open
 *   - once it is over, nothing is kept
 */
#include "session.h"

#include "check.h"
#include "ringcast.h"

#include <string.h>

/* The memory that a large frame gets before its bytes come. Beyond it a peer gets at most four times what it has
 * filled, or what it filled before (rules.ahead): enough that little is copied on the way, and nothing for an
 * announcement alone. */
#define FIRST_BLOCK_SIZE (64 * RC_KIB)

static bool is_control(const struct rc_frame *frame)
{
	return frame->opcode >= RC_FRAME_CLOSE;
}

static void release(struct rc_session *s, struct rc_pool *pool)
{
	rc_pool_give(pool, s->gathered, s->gathered_capacity);
	s->gathered = NULL;
	s->gathered_size = s->gathered_capacity = 0;
}

void rc_session_reset(struct rc_session *s, struct rc_pool *pool)
{
	release(s, pool);
	memset(s, 0, sizeof *s);
}

static enum rc_event_kind fail(struct rc_session *s, const struct rc_session_rules *rules, struct rc_event *event,
                               uint16_t code, const char *why)
{
	rc_session_reset(s, rules->pool);
	s->over = true;
	*event = (struct rc_event){ .kind = RC_EVENT_FAIL, .code = code, .why = why };
	return RC_EVENT_FAIL;
}

/* What is wrong with the first byte, by RFC 6455, sections 5.2, 5.4 and 5.5; or null. */
static const char *first_byte_fault(const struct rc_session *s, const struct rc_session_rules *rules, uint16_t *code)
{
	const struct rc_frame *frame = &s->frame;
	*code = RC_CLOSE_PROTOCOL_ERROR;
	bool begins = frame->opcode == RC_FRAME_TEXT || frame->opcode == RC_FRAME_BINARY;
	if (frame->rsv & (rules->deflate && begins ? ~RC_FRAME_RSV1 : ~0))
		return "reserved bit set";
	if (is_control(frame)) {
		if (frame->opcode > RC_FRAME_PONG)
			return "reserved opcode";
		return frame->fin ? NULL : "control frame in fragments";
	}
	if (frame->opcode > RC_FRAME_BINARY)
		return "reserved opcode";
	if (frame->opcode == RC_FRAME_CONTINUATION && !s->in_message)
		return "continuation of no message";
	if (frame->opcode != RC_FRAME_CONTINUATION && s->in_message)
		return "new message inside a message";
	if ((s->in_message || !frame->fin) && s->fragment_count >= rules->fragments_max) {
		*code = RC_CLOSE_TOO_BIG;
		return "too many fragments";
	}
	return NULL;
}

/* Bytes that do not shrink grow a little: a message of the largest size must still come through. */
static size_t size_limit(const struct rc_session_rules *rules, bool compressed)
{
	size_t size_max = rules->message_size_max;
	return compressed ? size_max + size_max / 16 + 64 : size_max;
}

/* Judges as much of a header as `known` bytes say; a size cut short is the least it can become. */
static const char *header_fault(const struct rc_session *s, const struct rc_session_rules *rules, size_t known,
                                uint16_t *code)
{
	const struct rc_frame *frame = &s->frame;
	const char *why = first_byte_fault(s, rules, code);
	if (why || known < 2)
		return why;
	if (frame->masked == rules->client)
		return rules->client ? "masked frame from a server" : "unmasked frame from a client";
	if (is_control(frame)) {
		if (frame->size > RC_CONTROL_SIZE_MAX)
			return "control frame too long";
		return frame->opcode == RC_FRAME_CLOSE && frame->size == 1 ? "close frame of one byte" : NULL;
	}
	size_t size_max = size_limit(rules, s->in_message ? s->compressed : frame->rsv != 0);
	if (frame->size > size_max || s->gathered_size > size_max - frame->size) {
		*code = RC_CLOSE_TOO_BIG;
		return "message too big";
	}
	return NULL;
}

/* Reads the header of the next frame, out of `header` when it comes in pieces. Returns a fault, or null with in_frame
 * set when it is complete. */
static const char *take_header(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **at,
                               const uint8_t *end, uint16_t *code)
{
	size_t known = (size_t)(end - *at), kept = s->header_size;
	int size = 0;
	if (kept == 0)
		size = rc_frame_read(&s->frame, *at, known);
	if (size == 0) {
		size_t piece = RC_MIN(known, sizeof s->header - kept);
		/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): only called while *at < end */
		memcpy(s->header + kept, *at, piece);
		known = kept + piece;
		if (kept)
			size = rc_frame_read(&s->frame, s->header, known);
	}
	const char *why = header_fault(s, rules, known, code);
	if (why || size < 0) {
		*code = why ? *code : RC_CLOSE_PROTOCOL_ERROR;
		return why ? why : "length not in its shortest form";
	}
	if (size == 0) {
		s->header_size = (uint8_t)known;
		*at += known - kept;
		return NULL;
	}
	*at += (size_t)size - kept;
	s->header_size = 0;
	s->frame_done = 0;
	s->in_frame = true;
	if (!is_control(&s->frame)) {
		s->fragment_count++;
		if (!s->in_message) {
			s->message_opcode = s->frame.opcode;
			s->compressed = s->frame.rsv != 0;
		}
	}
	/* A Close ends every message, so its reason may use the validator of one that is left unfinished. */
	if (!s->in_message || s->frame.opcode == RC_FRAME_CLOSE)
		s->utf8 = (struct rc_utf8){ 0 };
	return NULL;
}

/* Section 7.4: judges payload[from, to) of a Close; the bytes before `from` have been judged. */
static const char *close_fault(struct rc_session *s, const uint8_t *payload, size_t from, size_t to, uint16_t *code)
{
	*code = RC_CLOSE_PROTOCOL_ERROR;
	/* The first byte of a valid code is 0x03 or 0x0b to 0x13, so it can be wrong by itself. */
	if (from == 0 && to > 0 && payload[0] != 0x03 && (payload[0] < 0x0b || payload[0] > 0x13))
		return "close code not allowed";
	if (from < 2 && to >= 2 && !rc_close_code_valid((unsigned)payload[0] << 8 | payload[1]))
		return "close code not allowed";
	*code = RC_CLOSE_INVALID_DATA;
	from = RC_MAX(from, 2);
	if (to > from && !rc_utf8_check(&s->utf8, payload + from, to - from))
		return "close reason is not UTF-8";
	if (to == s->frame.size && !rc_utf8_complete(&s->utf8))
		return "close reason is not UTF-8";
	return NULL;
}

static enum rc_event_kind take_control(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **at,
                                       const uint8_t *end, struct rc_event *event)
{
	size_t size = (size_t)s->frame.size, done = (size_t)s->frame_done;
	size_t piece = RC_MIN(size - done, (size_t)(end - *at));
	uint8_t *payload = piece == size ? *at : s->control;
	if (piece)
		rc_unmask(payload + done, *at, piece, rc_mask_rotate(s->frame.mask, done));
	*at += piece;
	s->frame_done += piece;
	if (s->frame.opcode == RC_FRAME_CLOSE) {
		uint16_t code;
		const char *why = close_fault(s, payload, done, done + piece, &code);
		if (why)
			return fail(s, rules, event, code, why);
	}
	if (s->frame_done < size)
		return RC_EVENT_NONE;
	s->in_frame = false;
	*event = (struct rc_event){ .opcode = s->frame.opcode, .data = payload, .size = size };
	if (s->frame.opcode != RC_FRAME_CLOSE)
		return event->kind = s->frame.opcode == RC_FRAME_PING ? RC_EVENT_PING : RC_EVENT_PONG;
	event->code = RC_CLOSE_NO_CODE;
	if (size) {
		event->code = (uint16_t)(payload[0] << 8 | payload[1]);
		event->data += 2;
		event->size -= 2;
	}
	release(s, rules->pool);
	s->over = true;
	return event->kind = RC_EVENT_CLOSE;
}

/* Room for `piece` more bytes of a frame that has `rest` to come. */
static bool reserve(struct rc_session *s, const struct rc_session_rules *rules, size_t piece, size_t rest)
{
	struct rc_pool *pool = rules->pool;
	size_t needed = RC_GATHERED_HEADROOM + s->gathered_size + piece, capacity;
	if (needed <= s->gathered_capacity)
		return true;
	size_t all = RC_GATHERED_HEADROOM + s->gathered_size + rest;
	size_t ahead = RC_MAX(FIRST_BLOCK_SIZE, 4 * s->gathered_size);
	ahead = RC_MIN(all, RC_MAX(ahead, RC_GATHERED_HEADROOM + rules->ahead));
	uint8_t *block = rc_pool_take(pool, RC_MAX(needed, ahead), &capacity);
	if (!block)
		return false;
	if (s->gathered_size)
		memcpy(block + RC_GATHERED_HEADROOM, s->gathered + RC_GATHERED_HEADROOM, s->gathered_size);
	rc_pool_give(pool, s->gathered, s->gathered_capacity);
	s->gathered = block;
	s->gathered_capacity = capacity;
	return true;
}

/* A compressed message is text only once it is inflated. */
static uint8_t judged_as(const struct rc_session *s)
{
	return s->compressed ? RC_FRAME_BINARY : s->message_opcode;
}

/* The only pass over a data payload. A mask of 0 changes nothing: bytes that stay where they are are then only judged.
 */
static bool unmask(struct rc_utf8 *utf8, uint8_t opcode, uint8_t *to, const uint8_t *from, size_t size, uint32_t mask)
{
	if (opcode == RC_FRAME_TEXT)
		return to == from && !mask ? rc_utf8_check(utf8, to, size) : rc_unmask_utf8(utf8, to, from, size, mask);
	if (to != from || mask)
		rc_unmask(to, from, size, mask);
	return true;
}

/* A message of one frame whose payload lies whole at `data`. */
static enum rc_event_kind whole_message(struct rc_session *s, const struct rc_session_rules *rules,
                                        const struct rc_frame *frame, uint8_t *data, struct rc_event *event)
{
	struct rc_utf8 utf8 = { 0 };
	size_t size = (size_t)frame->size;
	uint8_t as = frame->rsv ? RC_FRAME_BINARY : frame->opcode;
	if (RC_UNLIKELY(!unmask(&utf8, as, data, data, size, frame->mask) || !rc_utf8_complete(&utf8)))
		return fail(s, rules, event, RC_CLOSE_INVALID_DATA, "text is not UTF-8");
	event->kind = RC_EVENT_MESSAGE;
	event->opcode = frame->opcode;
	event->compressed = frame->rsv != 0;
	event->data = data;
	event->size = size;
	return RC_EVENT_MESSAGE;
}

/* Takes the next bytes of the open frame's payload from `data`, which may be where they belong. */
static enum rc_event_kind gather(struct rc_session *s, const struct rc_session_rules *rules, uint8_t *data, size_t size,
                                 struct rc_event *event)
{
	const struct rc_frame *frame = &s->frame;
	if (size) {
		RC_ASSERT(RC_GATHERED_HEADROOM + s->gathered_size + size <= s->gathered_capacity);
		uint8_t *to = s->gathered + RC_GATHERED_HEADROOM + s->gathered_size;
		uint32_t mask = rc_mask_rotate(frame->mask, (size_t)s->frame_done);
		if (!unmask(&s->utf8, judged_as(s), to, data, size, mask))
			return fail(s, rules, event, RC_CLOSE_INVALID_DATA, "text is not UTF-8");
		s->gathered_size += size;
		s->frame_done += size;
	}
	if (s->frame_done < frame->size)
		return RC_EVENT_NONE;
	s->in_frame = false;
	s->in_message = !frame->fin;
	if (s->in_message)
		return RC_EVENT_NONE;
	if (!rc_utf8_complete(&s->utf8))
		return fail(s, rules, event, RC_CLOSE_INVALID_DATA, "text is not UTF-8");
	s->fragment_count = 0;
	event->kind = RC_EVENT_MESSAGE;
	event->opcode = s->message_opcode;
	event->compressed = s->compressed;
	event->data = s->gathered ? s->gathered + RC_GATHERED_HEADROOM : data;
	event->size = s->gathered_size;
	return RC_EVENT_MESSAGE;
}

static enum rc_event_kind take_data(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **at,
                                    const uint8_t *end, struct rc_event *event)
{
	const struct rc_frame *frame = &s->frame;
	size_t rest = (size_t)(frame->size - s->frame_done), piece = RC_MIN(rest, (size_t)(end - *at));
	uint8_t *data = *at;
	*at += piece;
	if (frame->fin && !s->in_message && s->frame_done == 0 && piece == rest) {
		s->in_frame = false;
		s->fragment_count = 0;
		return whole_message(s, rules, frame, data, event);
	}
	if (piece && !reserve(s, rules, piece, rest))
		return fail(s, rules, event, RC_CLOSE_INTERNAL, "out of memory");
	return gather(s, rules, data, piece, event);
}

static enum rc_event_kind next_by_pieces(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **at,
                                         uint8_t *end, struct rc_event *event)
{
	event->kind = RC_EVENT_NONE;
	if (s->over) {
		*at = end;
		return RC_EVENT_NONE;
	}
	if (s->gathered && !s->in_message && !s->in_frame)
		release(s, rules->pool);
	for (;;) {
		if (!s->in_frame && *at < end) {
			uint16_t code;
			const char *why = take_header(s, rules, at, end, &code);
			if (why)
				return fail(s, rules, event, code, why);
		}
		if (!s->in_frame)
			return RC_EVENT_NONE;
		enum rc_event_kind kind = is_control(&s->frame) ? take_control(s, rules, at, end, event)
		                                                : take_data(s, rules, at, end, event);
		if (kind != RC_EVENT_NONE || s->in_frame)
			return kind;
	}
}

enum rc_event_kind rc_session_next(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **at,
                                   uint8_t *end, struct rc_event *event)
{
	if (RC_LIKELY(rc_session_at_rest(s))) {
		struct rc_frame frame;
		size_t size = (size_t)(end - *at);
		int header = rc_frame_read(&frame, *at, size);
		/* Only a whole header has set all fields: an empty piece sets none of the first byte's. */
		bool message = header > 0 && (frame.fin & !(frame.rsv & ~(rules->deflate ? RC_FRAME_RSV1 : 0)) &
		                              ((unsigned)frame.opcode - RC_FRAME_TEXT < 2));
		if (RC_LIKELY(message && frame.masked != rules->client && frame.size <= rules->message_size_max &&
		              frame.size <= size - (size_t)header)) {
			uint8_t *data = *at + header;
			*at = data + frame.size;
			return whole_message(s, rules, &frame, data, event);
		}
	}
	enum rc_event_kind kind = next_by_pieces(s, rules, at, end, event);
	RC_VERIFY(rc_session_check(s, rules));
	return kind;
}

size_t rc_session_place(struct rc_session *s, const struct rc_session_rules *rules, uint8_t **to)
{
	if (!s->in_frame || is_control(&s->frame) || (!s->gathered_size && !rules->ahead))
		return 0;
	size_t rest = (size_t)(s->frame.size - s->frame_done);
	if (rest < RC_PLACED_SIZE_MIN || !reserve(s, rules, RC_PLACED_SIZE_MIN, rest))
		return 0;
	size_t begin = RC_GATHERED_HEADROOM + s->gathered_size;
	*to = s->gathered + begin;
	return RC_MIN(rest, s->gathered_capacity - begin);
}

enum rc_event_kind rc_session_placed(struct rc_session *s, const struct rc_session_rules *rules, size_t size,
                                     struct rc_event *event)
{
	RC_ASSERT(s->in_frame && !is_control(&s->frame) && size <= s->frame.size - s->frame_done);
	event->kind = RC_EVENT_NONE;
	uint8_t *place = s->gathered + RC_GATHERED_HEADROOM + s->gathered_size;
	enum rc_event_kind kind = gather(s, rules, place, size, event);
	RC_VERIFY(rc_session_check(s, rules));
	return kind;
}

/* ---- the invariants ---- */

static void check_open_frame(const struct rc_session *s, const struct rc_session_rules *rules)
{
	const struct rc_frame *frame = &s->frame;
	RC_ASSERT(s->header_size == 0 && s->frame_done < frame->size);
	RC_ASSERT(frame->masked != rules->client);
	if (is_control(frame)) {
		RC_ASSERT(frame->fin && frame->size <= sizeof s->control);
		return;
	}
	RC_ASSERT(s->in_message ? s->gathered_size >= s->frame_done : s->gathered_size == s->frame_done);
	RC_ASSERT(s->gathered_size + (frame->size - s->frame_done) <= size_limit(rules, s->compressed));
}

void rc_session_check(const struct rc_session *s, const struct rc_session_rules *rules)
{
	bool in_data = s->in_message || (s->in_frame && !is_control(&s->frame));
	RC_ASSERT(s->header_size < sizeof s->header);
	RC_ASSERT(s->utf8.open_size <= sizeof s->utf8.open);
	if (s->gathered)
		RC_ASSERT((s->gathered_size > 0 || s->in_frame) &&
		          RC_GATHERED_HEADROOM + s->gathered_size <= s->gathered_capacity);
	else
		RC_ASSERT(s->gathered_size == 0 && s->gathered_capacity == 0);
	if (s->over)
		RC_ASSERT(!s->in_frame && !s->header_size && !s->gathered);
	if (s->in_frame)
		check_open_frame(s, rules);
	if (in_data) {
		RC_ASSERT(s->message_opcode == RC_FRAME_TEXT || s->message_opcode == RC_FRAME_BINARY);
		RC_ASSERT(s->fragment_count > 0 && s->fragment_count <= RC_MAX(rules->fragments_max, 1u));
		RC_ASSERT(s->gathered_size <= size_limit(rules, s->compressed));
		RC_ASSERT(rules->deflate || !s->compressed);
	}
}
