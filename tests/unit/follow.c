/* SPDX-License-Identifier: MIT
 *
 * follow.c - what a reader may conclude from numbers: scripts with the verdict on each message, and runs in which a
 * server conflates, gives the state, and loses what it should not lose. Whenever the follower says that it has the
 * whole, it must have it.
 */
#include "lib/follow.h"

#include <criterion/criterion.h>
#include <string.h>

#include "seed.h"

struct step {
	enum follow_kind kind;
	uint64_t epoch, sequence, previous;
	enum follow_verdict verdict;
	bool whole;
};

static void play(const char *name, const struct step *steps, size_t count, uint64_t gaps, uint64_t missing)
{
	struct follow follow = { 0 };
	for (size_t i = 0; i < count; i++) {
		const struct step *step = &steps[i];
		enum follow_verdict verdict = step->kind == FOLLOW_MESSAGE
		                                  ? follow_message(&follow, step->epoch, step->sequence, step->previous)
		                                  : follow_mark(&follow, step->kind, step->epoch, step->sequence);
		cr_expect_eq(verdict, step->verdict, "%s, step %zu: %d", name, i, (int)verdict);
		cr_expect_eq(follow_is_whole(&follow), step->whole, "%s, step %zu", name, i);
	}
	cr_expect_eq(follow.gaps, gaps, "%s: %llu gaps", name, (unsigned long long)follow.gaps);
	cr_expect_eq(follow.missing, missing, "%s: %llu missing", name, (unsigned long long)follow.missing);
}
#define PLAY(name, gaps, missing, ...)                                                                                 \
	play(name, (const struct step[]){ __VA_ARGS__ },                                                               \
	     sizeof((const struct step[]){ __VA_ARGS__ }) / sizeof(struct step), gaps, missing)

#define M FOLLOW_MESSAGE
#define S FOLLOW_STATE

Test(follow, scripts)
{
	PLAY("from the first message", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true }, { M, 1, 2, 1, FOLLOW_TAKE, true });
	PLAY("numbers with holes that the log has too", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { M, 1, 5, 1, FOLLOW_TAKE, true });
	PLAY("in the middle, without a state", 0, 0, { M, 1, 7, 6, FOLLOW_TAKE, false },
	     { M, 1, 8, 7, FOLLOW_TAKE, false });
	PLAY("the state, then what comes", 0, 0, { S, 1, 9, 0, FOLLOW_FORGET, false },
	     { M, 1, 3, 2, FOLLOW_TAKE, false }, { M, 1, 9, 8, FOLLOW_TAKE, true }, { M, 1, 10, 9, FOLLOW_TAKE, true });
	PLAY("a state whose newest entry is no key's", 0, 0, { S, 1, 9, 0, FOLLOW_FORGET, false },
	     { M, 1, 3, 2, FOLLOW_TAKE, false }, { M, 1, 10, 9, FOLLOW_TAKE, true });
	PLAY("likewise, and a heartbeat proves it", 0, 0, { S, 1, 9, 0, FOLLOW_FORGET, false },
	     { M, 1, 3, 2, FOLLOW_TAKE, false }, { FOLLOW_HEARTBEAT, 1, 9, 0, FOLLOW_TAKE, true });
	PLAY("an empty state", 0, 0, { S, 1, 0, 0, FOLLOW_FORGET, true }, { M, 1, 1, 0, FOLLOW_TAKE, true });
	PLAY("one is missing", 1, 1, { M, 1, 1, 0, FOLLOW_TAKE, true }, { M, 1, 3, 2, FOLLOW_GAP, false },
	     { M, 1, 4, 3, FOLLOW_TAKE, false });
	PLAY("the first behind a state is missing", 1, 2, { S, 1, 1, 0, FOLLOW_FORGET, false },
	     { M, 1, 1, 0, FOLLOW_TAKE, true }, { M, 1, 4, 3, FOLLOW_GAP, false });
	PLAY("the tail is missing, and a heartbeat tells", 1, 4, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { FOLLOW_HEARTBEAT, 1, 5, 0, FOLLOW_GAP, false }, { M, 1, 6, 5, FOLLOW_TAKE, false });
	PLAY("a state makes it right again", 1, 1, { M, 1, 1, 0, FOLLOW_TAKE, true }, { M, 1, 3, 2, FOLLOW_GAP, false },
	     { FOLLOW_RESYNC, 1, 3, 0, FOLLOW_FORGET, false }, { M, 1, 3, 2, FOLLOW_TAKE, true });
	PLAY("conflated, and whole at its end", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { FOLLOW_CONFLATED, 1, 9, 0, FOLLOW_TAKE, false }, { M, 1, 4, 3, FOLLOW_TAKE, false },
	     { M, 1, 9, 8, FOLLOW_TAKE, true }, { M, 1, 10, 9, FOLLOW_TAKE, true });
	PLAY("conflated makes nothing right that was not", 0, 0, { FOLLOW_CONFLATED, 1, 9, 0, FOLLOW_FORGET, false },
	     { M, 1, 9, 8, FOLLOW_TAKE, false });
	PLAY("resumed, and the same once more", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { M, 1, 2, 1, FOLLOW_TAKE, true }, { M, 1, 2, 1, FOLLOW_OLD, true }, { M, 1, 3, 2, FOLLOW_TAKE, true });
	PLAY("a new epoch that no mark told", 1, 1, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { M, 2, 1, 0, FOLLOW_GAP, false });
	PLAY("a new epoch that a mark told", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { S, 2, 1, 0, FOLLOW_FORGET, false }, { M, 2, 1, 0, FOLLOW_TAKE, true });
	PLAY("a heartbeat of another epoch", 1, 1, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { FOLLOW_HEARTBEAT, 2, 0, 0, FOLLOW_GAP, false });
	PLAY("an old heartbeat says nothing", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { M, 1, 2, 1, FOLLOW_TAKE, true }, { FOLLOW_HEARTBEAT, 1, 1, 0, FOLLOW_OLD, true });
	PLAY("reset: what comes fits, but what was is not known", 0, 0, { M, 1, 1, 0, FOLLOW_TAKE, true },
	     { FOLLOW_RESET, 1, 5, 0, FOLLOW_FORGET, false }, { M, 1, 6, 5, FOLLOW_TAKE, false });
	PLAY("reset of an empty topic", 0, 0, { FOLLOW_RESET, 1, 0, 0, FOLLOW_FORGET, true },
	     { M, 1, 1, 0, FOLLOW_TAKE, true });
}

/* A topic of a few keys, all that it ever was, and a reader of it. */
enum { KEYS = 5, MESSAGES = 400 };
struct world {
	uint64_t seed;
	uint64_t head;
	unsigned key[MESSAGES + 1];
	uint64_t values[MESSAGES + 1][KEYS]; /* of each key behind each message: the number that set it */
	uint64_t mine[KEYS];
	struct follow follow;
	uint64_t sent; /* the number up to which the reader was served */
	uint64_t lost; /* on the way, by a server that is wrong */
	bool pending;  /* the last that was sent was lost: nothing tells it yet */
};

static void publish(struct world *world)
{
	uint64_t sequence = ++world->head;
	world->key[sequence] = (unsigned)below(&world->seed, KEYS);
	memcpy(world->values[sequence], world->values[sequence - 1], sizeof world->values[0]);
	world->values[sequence][world->key[sequence]] = sequence;
}

static void deliver(struct world *world, uint64_t sequence)
{
	enum follow_verdict verdict = follow_message(&world->follow, 1, sequence, sequence - 1);
	cr_assert_eq(verdict, world->pending ? FOLLOW_GAP : FOLLOW_TAKE);
	world->pending = false;
	world->mine[world->key[sequence]] = sequence;
}

/* The newest of each key from a number on. */
static void deliver_newest(struct world *world, uint64_t from)
{
	for (uint64_t sequence = from; sequence <= world->head; sequence++) {
		if (world->values[world->head][world->key[sequence]] == sequence)
			deliver(world, sequence);
	}
	world->sent = world->head;
}

static void tell(struct world *world)
{
	enum follow_verdict verdict = follow_mark(&world->follow, FOLLOW_HEARTBEAT, 1, world->sent);
	cr_assert_eq(verdict, world->pending ? FOLLOW_GAP : FOLLOW_TAKE);
	world->pending = false;
}

static void renew(struct world *world)
{
	cr_assert_eq(follow_mark(&world->follow, FOLLOW_RESYNC, 1, world->head), FOLLOW_FORGET);
	memset(world->mine, 0, sizeof world->mine);
	world->pending = false;
	deliver_newest(world, 1);
}

static void serve(struct world *world, unsigned loss)
{
	switch (below(&world->seed, 12)) {
	case 0:
		renew(world);
		break;
	case 1:
		tell(world); /* a run in which something is missing from before shows by the checksum alone */
		cr_assert_eq(follow_mark(&world->follow, FOLLOW_CONFLATED, 1, world->head), FOLLOW_TAKE);
		deliver_newest(world, world->sent + 1);
		break;
	case 2:
		tell(world);
		break;
	default:
		while (world->sent < world->head) {
			world->sent++;
			if (loss && below(&world->seed, loss) == 0) {
				world->lost++;
				world->pending = true;
			} else {
				deliver(world, world->sent);
			}
		}
	}
	const struct follow *follow = &world->follow;
	if (follow_is_whole(follow)) {
		uint64_t at = follow->last > follow->until ? follow->last : follow->until;
		cr_assert_arr_eq(world->mine, world->values[at], sizeof world->mine);
	}
	if (!world->lost)
		cr_assert(!follow->gaps && !follow->partial && follow_is_whole(follow));
}

Test(follow, random)
{
	uint64_t seed = seed_of("follow");
	for (unsigned run = 0; run < 400; run++) {
		static struct world world;
		world = (struct world){ .seed = chance(&seed) };
		renew(&world);
		while (world.head < MESSAGES - 8) {
			for (uint64_t n = below(&world.seed, 8); n > 0; n--)
				publish(&world);
			serve(&world, run % 2 ? 20 : 0);
		}
		tell(&world);
		cr_assert_eq(world.lost > 0 && world.follow.gaps == 0 && !follow_is_whole(&world.follow), 0);
		cr_assert_leq(world.follow.missing, world.lost);
	}
}
