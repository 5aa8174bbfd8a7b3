/* SPDX-License-Identifier: MIT
 *
 * publisher.c - see node.h: the thread that appends what the outbox has, and holds the node's lease. While one append
 * is on its way, what is published meanwhile gathers for the next: so packets are small when there is time, and large
 * when there is none.
 */
#include <errno.h>
#include <stdlib.h>

#include "node.h"

#define TICK_NS UINT64_C(200000000)
#define CONFIRM_NS UINT64_C(2000000000) /* what was appended and has not come back by then is appended again */
#define GONE_REST_MS 10                 /* for the follower to see that the stream is gone */

/* What was published first is not overtaken: members are written before calls that came after them. */
static int write_members(struct backplane *backplane, char why[static ENGINE_WHY_SIZE])
{
	const struct engine *engine = backplane->engine;
	for (const struct engine_member *member; (member = outbox_member(&backplane->outbox));) {
		int code = engine->members_write ? engine->members_write(backplane->state, member, 1, why) : 0;
		if (code)
			return code;
		outbox_member_written(&backplane->outbox);
	}
	return 0;
}

/* The answer to what was handed over directly is read even if there is nothing else. */
static int append(struct backplane *backplane, struct outbox_sending *sending, char why[static ENGINE_WHY_SIZE])
{
	uint64_t epoch = atomic_load(&backplane->epoch);
	int count = epoch ? outbox_pack(&backplane->outbox, sending, backplane->node, epoch, state_day_ns()) : 0;
	if (count < 0 || (!count && !backplane->engine->append_now))
		return 0;
	int code = backplane->engine->append(backplane->state, sending->packets, (size_t)count, why), refused = -1;
	for (int i = 0; i < count; i++) {
		if (sending->packets[i].appended)
			atomic_fetch_add(&backplane->counters.sent_bytes, sending->packets[i].size);
		else if (refused < 0)
			refused = i;
	}
	outbox_sent(&backplane->outbox, sending, (size_t)count, state_clock_ns());
	if (code == -EMSGSIZE && refused >= 0) {
		outbox_refuse(&backplane->outbox, sending->tokens[refused], code);
		return 0;
	}
	if (code == -ENOENT) {
		atomic_store(&backplane->look_again, true);
		state_wake(backplane);
		state_rest(backplane, GONE_REST_MS);
		return 0;
	}
	return code;
}

/* Without a change of threads, which would take longer than the engine does. */
void publisher_direct(struct backplane *backplane)
{
	struct outbox_sending *sending = &backplane->direct;
	uint64_t epoch = atomic_load(&backplane->epoch), token = 0;
	int count = epoch ? outbox_pack(&backplane->outbox, sending, backplane->node, epoch, state_day_ns()) : 0;
	if (count > 0 && backplane->engine->append_now(backplane->state, &sending->packets[0]))
		token = sending->tokens[0];
	outbox_handed(&backplane->outbox, token);
}

/* Who has waited for too long is told. With a queue, waiting is what was asked for. */
static void expire(struct backplane *backplane, uint64_t now_ns)
{
	uint64_t limit_ns = (uint64_t)backplane->settings.confirm_ms * 1000000;
	if (backplane->settings.away == BACKPLANE_REFUSE && now_ns > limit_ns)
		outbox_expire(&backplane->outbox, now_ns - limit_ns, -EAGAIN);
	if (now_ns > CONFIRM_NS && outbox_again(&backplane->outbox, now_ns - CONFIRM_NS)) {
		/* Perhaps it is the follower that stands elsewhere. */
		atomic_store(&backplane->look_again, true);
		state_wake(backplane);
	}
}

static int work(struct backplane *backplane, struct outbox_sending *sending, char why[static ENGINE_WHY_SIZE])
{
	uint64_t now_ns = state_clock_ns(), until_ns = now_ns + TICK_NS, lease_ns = presence_next_ns(backplane);
	outbox_wait(&backplane->outbox, until_ns < lease_ns ? until_ns : lease_ns, atomic_load(&backplane->epoch) != 0);
	int code = presence_tick(backplane, state_clock_ns(), why);
	if (!code)
		code = write_members(backplane, why);
	return code ? code : append(backplane, sending, why);
}

void *publisher_run(void *argument)
{
	struct backplane *backplane = argument;
	struct outbox_sending sending = { 0 };
	char why[ENGINE_WHY_SIZE] = "";
	unsigned rest_ms = 0;
	state_thread();
	while (!atomic_load(&backplane->ending)) {
		int code = backplane->engine->connect(backplane->state, why);
		if (!code)
			state_set(backplane, PART_PUBLISHING, true, NULL);
		while (!code && !atomic_load(&backplane->ending)) {
			code = work(backplane, &sending, why);
			rest_ms = code ? rest_ms : 0;
			expire(backplane, state_clock_ns());
		}
		if (atomic_load(&backplane->ending))
			break;
		state_set(backplane, PART_PUBLISHING, false, why);
		expire(backplane, state_clock_ns());
		state_rest(backplane, rest_ms);
		rest_ms = state_next_rest(rest_ms);
	}
	if (backplane->presence && backplane->engine->forget)
		backplane->engine->forget(backplane->state, backplane->node, why);
	free(sending.bytes);
	return NULL;
}
