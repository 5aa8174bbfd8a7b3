/* SPDX-License-Identifier: MIT
 *
 * follower.c - see node.h: the thread that reads what the engine has, and repairs. After each break it reads on *with*
 * the last packet that it has. So one read both fills what was missed and proves that the stream is still the one that
 * was read before:
 *
 *      that packet comes first          nothing is lost: its clients see nothing
 *      a later one, of the same epoch   the engine has let go of some meanwhile: all topics begin anew here
 *      none, and the stream goes on     it has let go of all there was: likewise
 *      another one in its place,        the engine has lost its end (a failover, an older file): a new epoch,
 * everywhere or the stream ends before it one of a later epoch             somebody else has seen that first
 *
 * Invariant: what was delivered is never delivered again, and nothing is left out without the library being told.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "node.h"
#include "ringcast_replica.h"

#define READ_MS 500
#define TRIES_MAX 100                  /* of about 15 ms, while others are about to do the same */
#define CORRECT_NS UINT64_C(100000000) /* between two words to who is behind */
/* Without a packet that must be there, the engine is asked again; and after as long once more it is believed lost. */
#define SILENCE_NS UINT64_C(2000000000)

static bool is_before(struct engine_position one, struct engine_position other)
{
	return one.epoch != other.epoch ? one.epoch < other.epoch : one.sequence < other.sequence;
}

/* ---- epochs ---- */

/* From here on, everything that was known of numbers up to this one is void. */
static void begin_numbers(struct backplane *backplane, uint64_t epoch, uint64_t sequence)
{
	const struct backplane_handlers *handlers = &backplane->handlers;
	bool another = atomic_exchange(&backplane->epoch, epoch) != epoch;
	int code = rc_server_begin(backplane->server, epoch, sequence);
	if (code)
		log_say(LEVEL_ERROR, "backplane", NULL, "not all topics can begin anew: %s", rc_strerror(code));
	if (another && backplane->follower.begun)
		atomic_fetch_add(&backplane->counters.epochs, 1);
	if (another)
		outbox_again(&backplane->outbox, UINT64_MAX);
	if (backplane->follower.begun && handlers->begun)
		handlers->begun(handlers->context, epoch);
	backplane->follower.begun = true;
}

/* Makes the stream, or says in it that what came before counts no more. Others may be about to do the same. */
static int begin_epoch(struct backplane *backplane, struct engine_position newest, char why[static ENGINE_WHY_SIZE])
{
	uint8_t bytes[PACKET_HEAD_SIZE];
	uint64_t epoch = state_day_ns() / 1000000, known = atomic_load(&backplane->epoch);
	epoch = epoch > known ? epoch : known + 1;
	epoch = epoch > newest.epoch ? epoch : newest.epoch + 1;
	packet_write_head(bytes,
	                  &(struct packet_head){ .node = backplane->node, .epoch = epoch, .time_ns = state_day_ns() });
	const struct engine_packet packet = { .data = bytes, .size = sizeof bytes, .epoch = epoch };
	int code = backplane->engine->begin(backplane->state, &packet, newest, why);
	if (!code)
		log_say(LEVEL_WARNING, "backplane", NULL, "the stream begins anew: epoch %llu",
		        (unsigned long long)epoch);
	return code;
}

/* ---- what was read ---- */

static void hear(struct follower *follower)
{
	follower->heard_ns = state_clock_ns();
	follower->silent = false;
}

/* A packet that says nothing but the epoch that this node knows. */
static void tell_epoch(struct backplane *backplane)
{
	const struct backplane_message message = { .kind = KIND_EPOCH, .channel = "", .data = "" };
	outbox_add(&backplane->outbox, &message, 1, state_clock_ns(), NULL, NULL, NULL);
}

/* Of the records that programs publish without us, none tells the epoch. So a packet does, now and then. */
static void follow_plain(struct backplane *backplane)
{
	if (backplane->follower.starting || ++backplane->follower.plain_count < PLAIN_COUNT_MAX)
		return;
	backplane->follower.plain_count = 0;
	tell_epoch(backplane);
}

/* A packet of an epoch that is over. Its node sends it again when it reads that; one that has lost the beginning of the
 * epoch in a gap has to be told. */
static void correct(struct backplane *backplane, const struct packet_head *head)
{
	struct follower *follower = &backplane->follower;
	const uint64_t now_ns = state_clock_ns();
	if (head->node == backplane->node) {
		outbox_again(&backplane->outbox, UINT64_MAX);
	} else if (!follower->starting && now_ns > follower->corrected_ns + CORRECT_NS) {
		follower->corrected_ns = now_ns;
		tell_epoch(backplane);
	}
}

/* What this node published may lie in what was lost: it is sent again before its tokens are too old to be known. And if
 * an epoch began there, others say so when they hear of this one. */
static void count_gap(struct backplane *backplane)
{
	atomic_fetch_add(&backplane->counters.gaps, 1);
	log_say(LEVEL_ERROR, "backplane", NULL,
	        "the engine has let go of messages that this node had not read: its clients are told to begin anew");
	outbox_again(&backplane->outbox, UINT64_MAX);
	tell_epoch(backplane);
}

/* The packet that must come first. Returns whether it may be gone on with. */
static bool compare(struct backplane *backplane, const struct packet_head *head, struct engine_position position)
{
	struct follower *follower = &backplane->follower;
	follower->expecting = false;
	if (position.epoch == follower->at.epoch && position.sequence == follower->at.sequence) {
		bool same = head->node == follower->at_node && head->token == follower->at_token;
		follower->fit = same || follower->at_unseen ? FIT : BEGIN_AGAIN;
		return false;
	}
	if (is_before(position, follower->at) || position.epoch != follower->at.epoch) {
		follower->fit = FOLLOW_AGAIN;
		return false;
	}
	count_gap(backplane);
	begin_numbers(backplane, atomic_load(&backplane->epoch), arrival_before(position.sequence));
	return true;
}

/* What lies between this node and the newest does not come any more: it stands where that was. An epoch may have begun
 * there unseen: an engine that does not tell which is in force gets another one. */
static void skip_to_target(struct backplane *backplane)
{
	struct follower *follower = &backplane->follower;
	/* Who had nothing has lost nothing. */
	if (follower->at.sequence)
		count_gap(backplane);
	follower->at = follower->target;
	follower->at_unseen = true;
	follower->expecting = false;
	if (follower->target.epoch)
		begin_numbers(backplane, follower->target.epoch, arrival_before(follower->target.sequence + 1));
	else
		follower->fit = BEGIN_AGAIN;
}

static void take(void *context, struct engine_position position, const void *data, size_t size)
{
	struct backplane *backplane = context;
	struct follower *follower = &backplane->follower;
	struct packet_head head = { 0 };
	uint64_t now_ns = state_day_ns();
	bool good = packet_read_head(&head, data, size);
	hear(follower);
	if (follower->fit != FIT || (follower->expecting && !compare(backplane, &head, position)))
		return;
	/* It was believed lost, and its numbers are void. */
	if (follower->at_unseen && !is_before(follower->at, position))
		return;
	follower->at = position;
	follower->at_unseen = false;
	follower->at_node = head.node;
	follower->at_token = head.token;
	atomic_fetch_add(&backplane->counters.received_bytes, size);
	uint64_t known = atomic_load(&backplane->epoch);
	bool plain = good && head.node == PACKET_PLAIN;
	uint64_t epoch = position.epoch ? position.epoch : plain ? known : head.epoch;
	/* Before the packet that begins an epoch there was nothing, so nothing of it can be missing. */
	if (epoch > known)
		begin_numbers(backplane, epoch, good && !head.count ? 0 : arrival_before(position.sequence));
	if (!good) {
		atomic_fetch_add(&backplane->counters.broken, 1);
		return;
	}
	if (epoch < known) {
		correct(backplane, &head);
		return;
	}
	if (!head.count)
		return;
	if (plain) {
		follow_plain(backplane);
		if (epoch)
			arrival_take(backplane, &head, position, data, size);
		return;
	}
	follower->plain_count = 0;
	if (packet_seen(&follower->memory, head.node, head.token)) {
		atomic_fetch_add(&backplane->counters.duplicates, 1);
		return;
	}
	atomic_store(&backplane->counters.lag_ns, now_ns > head.time_ns ? now_ns - head.time_ns : 0);
	arrival_take(backplane, &head, position, data, size);
}

/* ---- the thread ---- */

/* Stands where the node is, or, where that is no more, begins anew. Returns 0 when there is something to read. */
static int settle(struct backplane *backplane, char why[static ENGINE_WHY_SIZE])
{
	struct follower *follower = &backplane->follower;
	for (unsigned tries = 0; tries < TRIES_MAX && !atomic_load(&backplane->ending); tries++) {
		struct engine_place place = { .at = follower->at, .tail_max = backplane->tail_max };
		bool again = follower->fit == BEGIN_AGAIN;
		if (follower->fit != FIT)
			place.at = (struct engine_position){ 0 };
		int code = backplane->engine->follow(backplane->state, &place, why);
		if (code)
			return code;
		bool gone = !place.newest.sequence, lost = place.at.sequence && is_before(place.newest, place.at);
		if (!gone && !lost && !again) {
			if (is_before(follower->target, place.newest))
				hear(follower);
			follower->spent = place.spent;
			follower->at = place.at;
			follower->target = place.newest;
			follower->expecting = place.at.sequence;
			follower->repairing = place.at.sequence && is_before(place.at, place.newest);
			follower->fit = FIT;
			if (follower->repairing)
				atomic_fetch_add(&backplane->counters.repairs, 1);
			return 0;
		}
		/* Of several nodes that see this at once, most find in a moment that it is done. */
		state_rest(backplane, state_next_rest(10));
		code = backplane->engine->follow(backplane->state, &place, why);
		if (!code && place.newest.epoch <= atomic_load(&backplane->epoch))
			code = begin_epoch(backplane, place.newest, why);
		if (code == -EEXIST)
			continue;
		if (code)
			return code;
		follower->fit = FOLLOW_AGAIN;
		follower->at = (struct engine_position){ 0 };
	}
	snprintf(why, ENGINE_WHY_SIZE, "the stream does not stay");
	return -EAGAIN;
}

/* What must come does not: the engine may have let go of it, and a node that waited for it would wait for ever. */
static void look_for_loss(struct backplane *backplane)
{
	struct follower *follower = &backplane->follower;
	if (follower->fit != FIT || !is_before(follower->at, follower->target))
		return;
	const bool late = state_clock_ns() - follower->heard_ns > SILENCE_NS;
	if (follower->spent || (late && follower->silent)) {
		skip_to_target(backplane);
	} else if (late) {
		hear(follower);
		follower->silent = true;
		atomic_store(&backplane->look_again, true);
	}
}

static void look_whether_whole(struct backplane *backplane)
{
	struct follower *follower = &backplane->follower;
	look_for_loss(backplane);
	if (follower->expecting || follower->fit != FIT || is_before(follower->at, follower->target))
		return;
	/* Others may have written to the stream, and no node yet. */
	if (!atomic_load(&backplane->epoch)) {
		follower->fit = BEGIN_AGAIN;
		return;
	}
	follower->starting = false;
	follower->repairing = false;
	state_set(backplane, PART_FOLLOWING | PART_WHOLE, true, NULL);
}

static void clear_wake(struct backplane *backplane)
{
	uint64_t count;
	ssize_t got = read(backplane->wake_fd, &count, sizeof count);
	(void)got; /* it does not block, and may be empty */
}

/* Reads until the connection breaks, and why it did is said in `why`, or until the node ends. */
static void read_on(struct backplane *backplane, char why[static ENGINE_WHY_SIZE])
{
	struct follower *follower = &backplane->follower;
	while (!atomic_load(&backplane->ending)) {
		look_whether_whole(backplane);
		int code = backplane->engine->read(backplane->state, READ_MS, take, backplane, why);
		if (code == -EINTR)
			clear_wake(backplane);
		/* A packet that was trimmed, with none behind it, does not come. */
		if (code == 0 && !is_before(follower->at, follower->target))
			follower->expecting = false;
		presence_tell(backplane, state_clock_ns());
		bool again = atomic_exchange(&backplane->look_again, false);
		if (code < 0 && code != -EINTR && code != -ENOENT)
			return;
		if (code != -ENOENT && !again && follower->fit == FIT)
			continue;
		state_set(backplane, PART_WHOLE, false, "the stream is not what it was");
		if (settle(backplane, why))
			return;
	}
}

void *follower_run(void *argument)
{
	struct backplane *backplane = argument;
	char why[ENGINE_WHY_SIZE] = "";
	unsigned rest_ms = 0;
	state_thread();
	backplane->follower.starting = true;
	for (bool first = true; !atomic_load(&backplane->ending); first = false) {
		if (!settle(backplane, why)) {
			hear(&backplane->follower);
			if (!first)
				atomic_fetch_add(&backplane->counters.reconnects, 1);
			rest_ms = 0;
			read_on(backplane, why);
		}
		if (atomic_load(&backplane->ending))
			break;
		state_set(backplane, PART_FOLLOWING | PART_WHOLE, false, why);
		state_rest(backplane, rest_ms);
		rest_ms = state_next_rest(rest_ms);
	}
	return NULL;
}
