/* SPDX-License-Identifier: MIT
 *
 * cursor_model.h - a naive reader beside a subscriber's place: for each message of the log a yes or no, whether it must
 * still get it. What leaves is compared byte by byte: every such message, in the order of the log, once and whole; and
 * in its cohort's form only where its reader has what that refers to. It knows no cursor.
 */
#ifndef RC_TESTS_CURSOR_MODEL_H
#define RC_TESTS_CURSOR_MODEL_H

#include "encoding.h"
#include "log_model.h"
#include "plan.h"

enum { NAIVE_MESSAGES_MAX = 8192 };

struct naive {
	struct model m;
	struct rc_encoding form; /* messages once more, shorter, some as if one compressor went on through a topic's */
	bool fresh[NAIVE_MESSAGES_MAX];
	bool due[NAIVE_MESSAGES_MAX];
	struct naive_frame {
		uint64_t number;
		bool encoded;
	} leaving[RC_PLAN_TAKEN_MAX], half; /* what may come next, in order; what has come in part, or RC_NONE */
	size_t leaving_count, half_size;
	uint64_t read;     /* the last message that came in the other form, or RC_NONE */
	uint64_t referred; /* messages that could be read only because of the one before */
};

static inline void naive_begin(struct naive *n)
{
	memset(n, 0, sizeof *n);
	model_begin(&n->m, RC_LOG_SIZE_MIN, 512, 1, 0);
	struct rc_extent *extents = calloc(n->m.log.entry_count, sizeof *extents);
	uint8_t *bytes = malloc(RC_LOG_SIZE_MIN);
	cr_assert(extents && bytes);
	rc_encoding_init(&n->form, bytes, RC_LOG_SIZE_MIN, extents, n->m.log.entry_count);
	n->half.number = n->read = RC_NONE;
}

static inline void naive_end(struct naive *n)
{
	free(n->form.bytes);
	free(n->form.extents);
	model_end(&n->m);
}

static inline unsigned naive_name(const struct naive *n, uint64_t number)
{
	return n->m.messages[number].name;
}

/* Writes a message's frame into m.frame. */
static inline size_t naive_frame(struct naive *n, struct naive_frame of)
{
	const struct model_message *message = &n->m.messages[of.number];
	if (!of.encoded)
		return model_frame(n->m.frame, message);
	size_t size = 1 + message->size / 3, header_size = model_header(n->m.frame, size, RC_BINARY);
	model_payload(n->m.frame + header_size, size, 1000, of.number);
	return header_size + size;
}

/* The newest message in the other form as well. */
static inline void naive_encode(struct naive *n, bool fresh)
{
	const struct naive_frame newest = { n->m.head - 1, true };
	size_t size = naive_frame(n, newest);
	cr_assert(rc_extent_claim(&n->form, newest.number));
	rc_encoding_put(&n->form, &n->m.log, newest.number, "", 0, n->m.frame, size, fresh);
	n->fresh[newest.number] = fresh;
}

/* What was to leave before does not come any more, but for the rest of a frame. */
static inline void naive_leaves(struct naive *n, const struct naive_frame *frames, size_t count)
{
	memcpy(n->leaving, frames, count * sizeof *frames);
	n->leaving_count = count;
}

/* The plan has all that is due up to its end, and no more. */
static inline void naive_planned(struct naive *n, const struct rc_plan *plan)
{
	static struct naive_frame frames[RC_PLAN_TAKEN_MAX];
	size_t count = 0;
	unsigned at = plan->partial > 0;
	uint64_t size = at ? naive_frame(n, n->half) - n->half_size : 0;
	for (uint64_t number = plan->begin; number < plan->end; number++) {
		if (!n->due[number])
			continue;
		cr_assert_lt(at, plan->taken_count, "message %lu is due and not planned", number);
		cr_assert_eq(plan->begin + (plan->taken[at] & RC_PLAN_OFFSET), number);
		frames[count] = (struct naive_frame){ number, plan->taken[at++] & RC_PLAN_ENCODED };
		size += naive_frame(n, frames[count++]);
	}
	cr_assert_eq(at, plan->taken_count, "[%lu, %lu) has what is not due", plan->begin, plan->end);
	cr_assert_eq(size, plan->size);
	naive_leaves(n, frames, count);
}

/* Unless it is fresh, it can be read only behind the one before it. */
static inline void naive_check_referred(struct naive *n, uint64_t number)
{
	if (n->fresh[number])
		return;
	cr_assert_neq(n->read, RC_NONE, "message %lu refers to what never came", number);
	const struct model_message *message = &n->m.messages[number], *before = &n->m.messages[n->read];
	cr_assert(before->name == message->name && before->epoch == message->epoch, "message %lu, after %lu", number,
	          n->read);
	cr_assert_eq(before->sequence + 1, message->sequence, "message %lu, after %lu", number, n->read);
	n->referred++;
}

static inline void naive_receive(struct naive *n, const uint8_t *bytes, size_t size)
{
	for (size_t done = 0, at = 0; done < size;) {
		if (n->half.number == RC_NONE) {
			cr_assert_lt(at, n->leaving_count, "more came than was to leave");
			n->half = n->leaving[at++];
			n->due[n->half.number] = false;
			if (n->half.encoded) {
				naive_check_referred(n, n->half.number);
				n->read = n->half.number;
			}
		}
		size_t frame_size = naive_frame(n, n->half), some = RC_MIN(frame_size - n->half_size, size - done);
		cr_assert(memcmp(bytes + done, n->m.frame + n->half_size, some) == 0, "not message %lu from byte %zu",
		          n->half.number, n->half_size);
		done += some;
		n->half_size += some;
		if (n->half_size == frame_size) {
			n->half.number = RC_NONE;
			n->half_size = 0;
		}
	}
}

/* Messages of a topic are due from here on, or are not any more before there. */
static inline void naive_want(struct naive *n, unsigned name, uint64_t from)
{
	for (uint64_t number = from; number < n->m.head; number++)
		n->due[number] = n->due[number] || naive_name(n, number) == name;
}

static inline void naive_drop(struct naive *n, unsigned name, uint64_t end)
{
	for (uint64_t number = 0; number < end; number++)
		n->due[number] = n->due[number] && naive_name(n, number) != name;
}

#endif
