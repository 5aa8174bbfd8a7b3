/* SPDX-License-Identifier: MIT
 *
 * beat.c - see beat.h. It must not know what a form's bytes are. Invariant: an audience that `beats` is in the wheel,
 * or is being walked.
 */
#include "beat.h"

#include "form.h"
#include "worker.h"

void rc_beats_close(struct worker *worker)
{
	rc_unmap(worker->beats.wheel.links, RC_TOPICS_MAX * sizeof *worker->beats.wheel.links);
	worker->beats = (struct beats){ 0 };
}

static void set(struct worker *worker, uint32_t topic, uint64_t due_ns)
{
	rc_wheel_set(&worker->beats.wheel, topic, (due_ns + RC_TICK_NS - 1) / RC_TICK_NS);
}

static uint64_t period_ns(const struct rc_topic *topic)
{
	return (uint64_t)topic->options.heartbeat_ms * 1000000;
}

void rc_beats_add(struct worker *worker, const struct rc_topic *topic)
{
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, topic->id);
	if (!topic->options.heartbeat_ms || audience->beats)
		return;
	if (!worker->beats.wheel.links) {
		/* Pages of topics that have none take no memory. */
		struct rc_wheel_link *links = rc_map(RC_TOPICS_MAX * sizeof *links);
		if (!links)
			return;
		rc_wheel_init(&worker->beats.wheel, links, worker->now_ns / RC_TICK_NS);
	}
	audience->beats = true;
	set(worker, topic->id, worker->now_ns + period_ns(topic));
}

/* What a mark says to all. */
struct saying {
	struct rc_mark mark;
	uint64_t newest; /* entry */
	size_t sizes[FORM_COUNT];
	uint8_t bytes[FORM_COUNT][RC_MARK_SIZE_MAX];
};

/* Notes what there is to say of a topic. Returns when its newest message was published. */
static uint64_t note(struct worker *worker, const struct rc_topic *topic, struct saying *saying)
{
	const struct rc_log *log = &worker->server->log;
	uint64_t time_ns = 0;
	pthread_mutex_lock(&worker->server->log_lock);
	saying->newest = atomic_load_explicit(&topic->newest, memory_order_relaxed);
	if (saying->newest != RC_NONE)
		time_ns = rc_log_entry(log, saying->newest)->time_ns;
	saying->mark = (struct rc_mark){ .kind = RC_MARK_HEARTBEAT,
		                         .topic = topic->name,
		                         .topic_size = topic->name_size,
		                         .epoch = topic->epoch,
		                         .sequence = atomic_load_explicit(&topic->sequence, memory_order_relaxed) };
	pthread_mutex_unlock(&worker->server->log_lock);
	return time_ns;
}

/* Whether it has had the newest message, and nothing is on its way. */
static bool rests(const struct worker *worker, const struct rc_member *member, const struct saying *saying)
{
	const struct connection *conn = &worker->connections[member->slot];
	const struct rc_feed *feed = rc_feed_at(&worker->subscribers, member->subscription);
	if (!rc_connection_is_open(conn) || !rc_form_of(conn)->mark || conn->cursor.behind ||
	    rc_form_is_busy(worker, member->slot))
		return false;
	if (feed && feed->had > saying->mark.sequence)
		return false;
	if (feed && feed->rate && feed->until_sequence != saying->mark.sequence)
		return false;
	return saying->newest == RC_NONE || saying->newest < rc_cursor_place(&conn->cursor, worker->round.begin);
}

static void say_to(struct worker *worker, const struct rc_member *member, struct saying *saying)
{
	const struct connection *conn = &worker->connections[member->slot];
	if (!rests(worker, member, saying))
		return;
	size_t *size = &saying->sizes[conn->form];
	if (!*size)
		*size = rc_form_of(conn)->mark(saying->bytes[conn->form], &saying->mark);
	rc_connection_put(worker, member->slot, saying->bytes[conn->form], *size);
}

/* Begins with the next topic that is due, if its silence has lasted. Returns whether there was one. */
static bool next_topic(struct worker *worker)
{
	struct beats *beats = &worker->beats;
	struct saying saying;
	if (!beats->wheel.links || !rc_wheel_next(&beats->wheel, worker->now_ns / RC_TICK_NS, &beats->topic))
		return false;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, beats->topic);
	if (!audience)
		return true;
	if (!atomic_load_explicit(&audience->member_count, memory_order_relaxed)) {
		audience->beats = false;
		return true;
	}
	const struct rc_topic *topic = rc_topic_at(&worker->server->topics, beats->topic); /* its members keep it */
	uint64_t silent_until_ns = note(worker, topic, &saying) + period_ns(topic);
	beats->walks = silent_until_ns <= worker->now_ns && saying.mark.sequence;
	beats->at = 0;
	if (!beats->walks)
		set(worker, beats->topic, RC_MAX(silent_until_ns, worker->now_ns + RC_TICK_NS));
	return true;
}

/* Returns how many it looked at. */
static unsigned walk(struct worker *worker, unsigned budget)
{
	struct beats *beats = &worker->beats;
	struct rc_audience *audience = rc_audience_at(&worker->subscribers, beats->topic);
	uint32_t count = audience ? atomic_load_explicit(&audience->member_count, memory_order_relaxed) : 0;
	unsigned looked = 0;
	if (count) {
		const struct rc_topic *topic = rc_topic_at(&worker->server->topics, beats->topic);
		struct saying saying = { 0 };
		note(worker, topic, &saying);
		for (; beats->at < count && looked < budget; looked++)
			say_to(worker, &audience->members[beats->at++], &saying);
		if (beats->at >= count)
			set(worker, beats->topic, worker->now_ns + period_ns(topic));
	} else if (audience) {
		audience->beats = false;
	}
	beats->walks = beats->at < count;
	return looked + 1;
}

void rc_beats_look(struct worker *worker)
{
	for (unsigned budget = RC_SLICE_SENDS; budget && (worker->beats.walks || next_topic(worker));)
		budget -= worker->beats.walks ? RC_MIN(budget, walk(worker, budget)) : 1;
}

uint64_t rc_beats_next_ns(const struct worker *worker)
{
	if (worker->beats.walks)
		return worker->now_ns;
	uint64_t tick = worker->beats.wheel.links ? rc_wheel_first(&worker->beats.wheel) : UINT64_MAX;
	return tick == UINT64_MAX ? UINT64_MAX : tick * RC_TICK_NS;
}
