/* SPDX-License-Identifier: MIT
 *
 * budget.c - see budget.h. It must not know what the memory is for. Each worker shows what its pool has given out
 * (rc_stats.memory_held), adds up what all show, and bounds its pool by its part of what is left until the next look.
 * So there is no count that all write to.
 *
 * Invariant: between two looks a worker's pool gives out large blocks no further than its part of what was left. Small
 * ones it always gives, so that who keeps little does not suffer from who keeps much; a tick does not receive enough
 * for them to matter.
 */
#include "budget.h"

#include "form.h"
#include "worker.h"

#define SHORT_EIGHTHS 6      /* of the budget: from here on it is short ... */
#define ENOUGH_EIGHTHS 5     /* ... until it is down to this */
#define LOOKED_AT 1024       /* connections in a look */
#define AGAIN_NS 10000000    /* while it is short */
#define REFUSED_NS 100000000 /* afterwards: those who were closed are back at once */

void rc_budget_open(struct worker *worker)
{
	size_t max = worker->server->config.memory_max;
	if (max) /* free blocks that are kept for reuse come on top */
		worker->pool.free_size_max = RC_MIN(RC_POOL_CACHE_SIZE, max / 8 / worker->server->worker_count);
}

static uint64_t held_by(const struct worker *worker)
{
	return __atomic_load_n(&worker->stats.memory_held, __ATOMIC_RELAXED);
}

static size_t outbox_capacity(const struct rc_outbox *outbox)
{
	return outbox ? outbox->sending_capacity + outbox->filling_capacity : 0;
}

/* What is kept because of its peer, who does not read, or has not sent the rest. */
static size_t kept_for(const struct worker *worker, uint32_t slot)
{
	const struct connection *conn = &worker->connections[slot];
	size_t size = 0;
	if (conn->polling || conn->state == CONNECTION_ENDING)
		size = outbox_capacity(conn->outbox);
	if (conn->polling && conn->secure)
		size += outbox_capacity(worker->secure.of_slot[slot].aside);
	if (rc_form_has_handshake(conn, (enum connection_state)conn->state))
		size += conn->handshake->capacity;
	else if (conn->session)
		size += conn->session->gathered_capacity;
	return size;
}

static void close_one(struct worker *worker, uint32_t slot, enum ending_kind kind)
{
	static const char reason[] = "memory is short";
	const struct ending ending = { .kind = kind,
		                       .slot = slot,
		                       .code = RC_CLOSE_TRY_LATER,
		                       .reason = reason,
		                       .reason_size = sizeof reason - 1 };
	if (rc_ending_note(worker, &ending))
		rc_count(&worker->stats.memory_closed, 1);
}

void rc_budget_refuse(struct worker *worker, uint32_t slot)
{
	close_one(worker, slot, ENDING_CLOSE);
}

/* What is kept for the connections of a look. */
struct sight {
	uint64_t leaving; /* for those that end already */
	uint64_t sum;     /* for all others */
	uint32_t count;   /* of those others for whom anything is */
	size_t most;
};

static struct sight look_at(const struct worker *worker, uint32_t begin, uint32_t count)
{
	struct sight sight = { 0 };
	for (uint32_t i = 0; i < count; i++) {
		uint32_t slot = (begin + i) % worker->slot_high;
		uint8_t state = worker->connections[slot].state;
		size_t kept = state == CONNECTION_FREE ? 0 : kept_for(worker, slot);
		if (state == CONNECTION_ENDING) {
			sight.leaving += kept;
			continue;
		}
		sight.sum += kept;
		sight.count += kept > 0;
		sight.most = RC_MAX(sight.most, kept);
	}
	return sight;
}

/* Looks at a number of connections, and closes those for whom most is kept until `wanted` bytes will be free. */
static void make_room(struct worker *worker, uint64_t wanted)
{
	struct budget *budget = &worker->budget;
	uint32_t count = RC_MIN(worker->slot_high, LOOKED_AT), begin = budget->next_slot;
	struct sight sight = look_at(worker, begin, count);
	size_t least = RC_MAX(sight.most / 2, sight.count ? (size_t)(sight.sum / sight.count) : 1);
	for (uint32_t i = 0; i < count && sight.leaving < wanted; i++) {
		uint32_t slot = (begin + i) % worker->slot_high;
		uint8_t state = worker->connections[slot].state;
		size_t kept = state == CONNECTION_FREE || state == CONNECTION_ENDING ? 0 : kept_for(worker, slot);
		if (!kept || kept < least)
			continue;
		sight.leaving += kept;
		close_one(worker, slot, ENDING_CUT);
	}
	budget->next_slot = count ? (begin + count) % worker->slot_high : 0;
}

/* Those who keep more than their part may sleep, because nothing happens to them. */
static void wake_others(struct worker *worker, uint64_t sum)
{
	struct rc_server *server = worker->server;
	if (worker->now_ns < worker->budget.woke_ns + AGAIN_NS)
		return;
	worker->budget.woke_ns = worker->now_ns;
	for (unsigned i = 0; i < server->worker_count; i++)
		if (i != worker->index && held_by(&server->workers[i]) >= sum / server->worker_count)
			rc_mailbox_wake(&server->workers[i].mailbox);
}

void rc_budget_look(struct worker *worker)
{
	const struct rc_server *server = worker->server;
	uint64_t max = server->config.memory_max, own = worker->pool.used_size, sum = 0;
	__atomic_store_n(&worker->stats.memory_held, own, __ATOMIC_RELAXED);
	if (!max)
		return;
	RC_ASSERT(server->worker_count);
	for (unsigned i = 0; i < server->worker_count; i++)
		sum += held_by(&server->workers[i]);
	uint64_t part = max > sum ? (max - sum) / server->worker_count : 0;
	worker->pool.large_size_max = RC_MIN(own + part, RC_POOL_SIZE_MAX);
	if (sum >= max / 8 * SHORT_EIGHTHS && !worker->budget.is_short)
		rc_worker_report(worker, REPORT_MEMORY_SHORT,
		                 "worker %u: memory is short: %llu bytes are kept for connections, of %llu; those with "
		                 "most are closed",
		                 worker->index, (unsigned long long)sum, (unsigned long long)max);
	struct budget *budget = &worker->budget;
	bool enough = sum < max / 8 * (budget->is_short ? ENOUGH_EIGHTHS : SHORT_EIGHTHS);
	if (!enough)
		budget->short_until_ns = worker->now_ns + REFUSED_NS;
	budget->is_short = worker->now_ns < budget->short_until_ns;
	if (enough)
		return;
	/* Each worker frees the part that it holds. */
	uint64_t wanted = sum - max / 8 * ENOUGH_EIGHTHS;
	make_room(worker, (uint64_t)((double)wanted * ((double)own / (double)sum)));
	wake_others(worker, sum);
}

uint64_t rc_budget_next_look_ns(const struct worker *worker)
{
	return worker->budget.is_short ? worker->now_ns + AGAIN_NS : UINT64_MAX;
}
