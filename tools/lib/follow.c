/* SPDX-License-Identifier: MIT
 *
 * follow.c - see follow.h.
 */
#include "follow.h"

/* The number that the message before the next must not be above. It may be below: numbers have holes, and a mark may
 * tell of one that no message has. */
static uint64_t expected(const struct follow *follow)
{
	return follow->last > follow->until ? follow->last : follow->until;
}

static enum follow_verdict lose(struct follow *follow, uint64_t to)
{
	uint64_t from = expected(follow);
	follow->gaps++;
	follow->missing += to > from ? to - from : 1;
	follow->partial = true;
	return FOLLOW_GAP;
}

/* A position that nothing before it belongs to. */
static void begin(struct follow *follow, uint64_t epoch, uint64_t until)
{
	follow->begun = true;
	follow->epoch = epoch;
	follow->until = until;
	follow->last = 0;
}

enum follow_verdict follow_message(struct follow *follow, uint64_t epoch, uint64_t sequence, uint64_t previous)
{
	enum follow_verdict verdict = FOLLOW_TAKE;
	if (!follow->begun) {
		/* Who did not ask for the state has all of it only when this is the topic's first message. */
		begin(follow, epoch, previous);
		follow->partial = previous != 0;
	} else if (epoch != follow->epoch) {
		/* A new epoch that no mark announced. */
		verdict = lose(follow, 0);
		begin(follow, epoch, previous);
	} else if (sequence <= follow->last) {
		return FOLLOW_OLD;
	} else if (sequence > follow->until && previous > expected(follow)) {
		verdict = lose(follow, previous);
	}
	follow->last = sequence;
	follow->settled = sequence >= follow->until;
	return verdict;
}

/* A state is on its way, and all else is over. */
static enum follow_verdict renew(struct follow *follow, uint64_t epoch, uint64_t sequence)
{
	follow->resyncs += follow->begun;
	begin(follow, epoch, sequence);
	follow->partial = false;
	follow->settled = sequence == 0; /* then there is nothing to wait for */
	return FOLLOW_FORGET;
}

/* The newest of each key follow, up to a number. In an epoch that is not ours, they are no whole. */
static enum follow_verdict conflate(struct follow *follow, uint64_t epoch, uint64_t sequence)
{
	enum follow_verdict verdict = FOLLOW_TAKE;
	if (!follow->begun || epoch != follow->epoch) {
		verdict = follow->begun ? lose(follow, 0) : FOLLOW_FORGET;
		begin(follow, epoch, sequence);
		follow->partial = true;
	}
	if (sequence > expected(follow)) {
		follow->until = sequence;
		follow->settled = false;
	}
	return verdict;
}

static enum follow_verdict heartbeat(struct follow *follow, uint64_t epoch, uint64_t sequence)
{
	enum follow_verdict verdict = FOLLOW_TAKE;
	if (!follow->begun) {
		begin(follow, epoch, sequence);
		follow->partial = sequence != 0;
	} else if (epoch != follow->epoch) {
		verdict = lose(follow, 0);
		begin(follow, epoch, sequence);
	} else if (sequence > expected(follow)) {
		verdict = lose(follow, sequence);
		follow->last = sequence;
	} else if (sequence < expected(follow)) {
		return FOLLOW_OLD;
	}
	follow->settled = true;
	return verdict;
}

enum follow_verdict follow_mark(struct follow *follow, enum follow_kind kind, uint64_t epoch, uint64_t sequence)
{
	switch (kind) {
	case FOLLOW_STATE:
	case FOLLOW_RESYNC:
		return renew(follow, epoch, sequence);
	case FOLLOW_RESET:
		renew(follow, epoch, sequence);
		follow->settled = true;
		follow->partial = sequence != 0;
		return FOLLOW_FORGET;
	case FOLLOW_CONFLATED:
		return conflate(follow, epoch, sequence);
	default:
		return heartbeat(follow, epoch, sequence);
	}
}

bool follow_is_whole(const struct follow *follow)
{
	return follow->begun && !follow->partial && follow->settled;
}

/* In the middle of a run everything behind the last message will do, because its end is behind that too. */
bool follow_position(const struct follow *follow, uint64_t *epoch, uint64_t *since)
{
	*epoch = follow->epoch;
	*since = follow->settled ? expected(follow) : follow->last;
	return follow->begun && !follow->partial && *since > 0;
}
