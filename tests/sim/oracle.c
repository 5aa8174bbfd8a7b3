/* SPDX-License-Identifier: MIT
 *
 * oracle.c - the truth: what was published, in which order, and what each subscriber must have got of it. It looks into
 * the production code for four things only, and reads them in the plainest way: where a message lies (to know how far
 * back is too far), what is still there when somebody resumes, where rounds end, and what the counters say.
 */
#include "ringcast_stats.h"
#include "sim.h"

#include <string.h>

struct message oracle_messages[MESSAGES_MAX];
unsigned oracle_message_count;
const char *const oracle_topics[TOPICS] = { "close/a", "close/b", "close/c", "skip/a",
	                                    "skip/b",  "conf/a",  "conf/b",  "last/a" };
struct rc_topic_options oracle_options[TOPICS];

/* The least and the most that may have been counted. */
struct tally {
	uint64_t low, high;
};

static struct truth {
	unsigned ids[MESSAGES_MAX]; /* by sequence, from the last time it was made anew */
	uint64_t sequence;
	bool made_anew;
	struct tally deliveries, dropped, conflated;
} truths[TOPICS];

/* Messages before and behind that number were published as one. */
#define NUMBERS 65536
static bool inseparable[NUMBERS];

void oracle_reset(void)
{
	memset(truths, 0, sizeof truths);
	memset(inseparable, 0, sizeof inseparable);
	oracle_message_count = 0;
}

uint64_t oracle_sequence(unsigned topic)
{
	return truths[topic].sequence;
}

/* ---- publishing ---- */

unsigned oracle_new_message(unsigned topic, size_t size, bool binary)
{
	if (oracle_message_count + 1 >= MESSAGES_MAX)
		return 0;
	oracle_messages[++oracle_message_count] =
	    (struct message){ .topic = (uint8_t)topic, .size = (uint32_t)size, .binary = binary };
	return oracle_message_count;
}

static void forget_topic(unsigned topic)
{
	TRACE("%s is another topic now", oracle_topics[topic]);
	truths[topic].sequence = 0;
	truths[topic].made_anew = true;
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		for (unsigned j = 0; j < peers[i].interest_count[topic]; j++) {
			struct interest *interest = &peers[i].interests[topic][j];
			interest->forgotten = !interest->posted || interest->got;
			/* What was cut short before must still be finished, and a copy is not of the log. */
			interest->may_come = peers[i].secure || (interest->copied && !interest->got) ||
			                     peers[i].payload_size != UINT64_MAX || peers[i].header_size;
			interest->first = interest->posted && !interest->got
			                      ? 1
			                      : interest->first; /* it may begin only now */
			interest->made_anew = true;
		}
	}
}

void oracle_published(unsigned id, int64_t result, unsigned behind)
{
	struct message *message = &oracle_messages[id];
	struct truth *truth = &truths[message->topic];
	const struct rc_log *log = &sim.server->log;
	if (result <= 0) {
		CHECK(result == -EAGAIN || (result == -ENOMEM && sim.struck_here[FAULT_ALLOCATION]), "publish gives %d",
		      (int)result);
		return;
	}
	if (result == 1 && truth->sequence)
		forget_topic(message->topic);
	TRACE("published %u as %s %d", id, oracle_topics[message->topic], (int)result);
	CHECK((uint64_t)result == truth->sequence + 1, "%s: sequence %d after %llu", oracle_topics[message->topic],
	      (int)result, (unsigned long long)truth->sequence);
	truth->sequence = (uint64_t)result;
	truth->ids[result] = id;
	message->sequence = (uint64_t)result;
	message->number = rc_log_head(log) - 1 - behind;
	inseparable[(message->number + 1) % NUMBERS] = behind > 0;
	message->position = rc_log_entry(log, message->number)->position;
	message->time_ns = rc_log_entry(log, message->number)->time_ns; /* before the publisher waited for the lock */
	CHECK(message->time_ns <= sim.now_ns, "a message of the future");
	sim_mix(id);
}

/* Where rounds stand is the production code's; between which messages none may, is known here. */
void oracle_check_rounds(void)
{
	for (unsigned i = 0; i < sim.server->worker_count; i++) {
		const struct worker *worker = &sim.server->workers[i];
		CHECK(!inseparable[worker->round.end % NUMBERS],
		      "worker %u: a round ends between what was published as one", i);
		/* Unless it is in the middle of making them. */
		if (worker->ring && ring_waits(worker->ring))
			CHECK(!inseparable[worker->encoder.end % NUMBERS],
			      "worker %u: encodings end between what was published as one", i);
	}
}

/* It keeps publishers waiting. Of a message that was refused, nobody here knows whether it was still waiting when the
 * worker looked, nor how large it was. */
static bool in_the_way(const struct message *message)
{
	const struct rc_log *log = &sim.server->log;
	uint64_t wanted = log->refused ? log->size / 2 : 0;
	return log->write_position + wanted - message->position > log->size / 64 * 48 ||
	       rc_log_head(log) - message->number > log->entry_count / 64 * 48;
}

static bool too_far(const struct message *message)
{
	const struct rc_log *log = &sim.server->log;
	const struct rc_topic_options *options = &oracle_options[message->topic];
	uint64_t size_max = options->lag_size_max ? options->lag_size_max : sim.server->config.lag_size_max;
	unsigned ms_max = options->lag_ms_max ? options->lag_ms_max : sim.server->config.lag_ms_max;
	uint64_t back = log->write_position - message->position;
	return in_the_way(message) || back > size_max ||
	       (ms_max && sim.now_ns - message->time_ns > (uint64_t)ms_max * 1000000);
}

/* ---- subscribing ---- */

struct interest *oracle_interest(struct peer *peer, unsigned topic)
{
	unsigned count = peer->interest_count[topic];
	return count ? &peer->interests[topic][count - 1] : NULL;
}

static struct interest *new_interest(struct peer *peer, unsigned topic)
{
	CHECK(peer->interest_count[topic] < INTERESTS_MAX, "the application subscribes too often");
	struct interest *interest = &peer->interests[topic][peer->interest_count[topic]++];
	*interest = (struct interest){ .active = true };
	return interest;
}

/* By reading the whole log: what a subscription begins with. */
static uint64_t first_of(unsigned topic, const struct rc_start *start, bool *copied)
{
	struct rc_server *server = sim.server;
	const char *name = oracle_topics[topic];
	const struct rc_topic *made = rc_topics_find(&server->topics, name, strlen(name),
	                                             rc_topic_hash(&server->topics, name, strlen(name)));
	CHECK(made, "a topic that somebody subscribes to does not exist");
	uint64_t sequence = atomic_load(&made->sequence), readable = rc_log_readable(&server->log), newest = 0,
		 first = 0;
	*copied = false;
	CHECK(sequence == truths[topic].sequence || sequence == 0, "%s has a wrong sequence", name);
	if (!sequence && truths[topic].sequence)
		forget_topic(topic);
	for (uint64_t number = rc_log_head(&server->log); number-- > readable;) {
		const struct rc_entry *entry = rc_log_entry(&server->log, number);
		if (entry->topic != made->id)
			continue;
		newest = RC_MAX(newest, entry->sequence);
		if (start->resume && entry->sequence > start->since)
			first = entry->sequence;
	}
	if (start->resume)
		return first ? first : sequence + 1;
	if (!start->last || !sequence)
		return sequence + 1;
	*copied = !newest;
	return newest || made->kept || atomic_load(&made->newest) != RC_NONE ? sequence : sequence + 1;
}

void oracle_subscribed(struct peer *peer, unsigned topic, const struct rc_start *start, unsigned marker)
{
	bool copied;
	uint64_t first = first_of(topic, start, &copied);
	struct interest *interest = new_interest(peer, topic);
	bool lost = copied && start->first == truths[topic].sequence + 1; /* the copy found no room */
	CHECK(start->first == first || lost, "%s: a subscription begins with %llu instead of %llu",
	      oracle_topics[topic], (unsigned long long)start->first, (unsigned long long)first);
	interest->first = start->first;
	interest->copied = copied && start->first <= truths[topic].sequence;
	interest->marker = marker;
	TRACE("peer %u: subscribed %s from %llu", peer->index, oracle_topics[topic], (unsigned long long)start->first);
}

void oracle_posted(struct peer *peer, unsigned topic)
{
	struct interest *interest = new_interest(peer, topic);
	interest->posted = true;
	interest->first = truths[topic].sequence + 1;
}

void oracle_unsubscribed(struct peer *peer, unsigned topic)
{
	struct interest *interest = oracle_interest(peer, topic);
	if (!interest || !interest->active)
		return;
	interest->active = false;
	interest->end = truths[topic].sequence;
	TRACE("peer %u: unsubscribed %s", peer->index, oracle_topics[topic]);
}

void oracle_marked(struct peer *peer, unsigned topic, unsigned marker)
{
	for (unsigned i = 0; i < peer->interest_count[topic]; i++)
		if (peer->interests[topic][i].marker == marker)
			peer->interest_at[topic] = i;
}

/* ---- receiving ---- */

static bool may_have_gaps(unsigned topic)
{
	return oracle_options[topic].policy != RC_POLICY_CLOSE;
}

void oracle_got(struct peer *peer, unsigned id, unsigned topic, size_t size, bool binary)
{
	CHECK(topic < TOPICS && id && id <= oracle_message_count, "peer %u: message %u, which was never published",
	      peer->index, id);
	const struct message *message = &oracle_messages[id];
	const char *name = oracle_topics[topic];
	CHECK(message->topic == topic && message->size == size && message->binary == binary && message->sequence,
	      "peer %u: message %u is not what was published", peer->index, id);
	CHECK(peer->interest_count[topic], "peer %u: a message of %s, which it never subscribed to", peer->index, name);
	struct interest *interest = &peer->interests[topic][peer->interest_at[topic]];
	uint64_t sequence = message->sequence, wanted = interest->next ? interest->next : interest->first;
	TRACE("peer %u: %s %llu", peer->index, name, (unsigned long long)sequence);
	CHECK(sequence >= wanted, "peer %u: %s %llu came again, %llu was to come", peer->index, name,
	      (unsigned long long)sequence, (unsigned long long)wanted);
	CHECK(interest->active || interest->forgotten || sequence <= interest->end,
	      "peer %u: %s %llu after it unsubscribed at %llu", peer->index, name, (unsigned long long)sequence,
	      (unsigned long long)interest->end);
	CHECK(!interest->forgotten || interest->may_come, "peer %u: %s %llu of a topic made anew", peer->index, name,
	      (unsigned long long)sequence);
	bool first_unsure = interest->posted && !interest->next;
	if (sequence > wanted && !first_unsure) {
		CHECK(may_have_gaps(topic), "peer %u: %s %llu is missing, %llu came", peer->index, name,
		      (unsigned long long)wanted, (unsigned long long)sequence);
		const struct message *missing = &oracle_messages[truths[topic].ids[wanted]];
		CHECK(oracle_options[topic].policy != RC_POLICY_SKIP || interest->forgotten || too_far(missing),
		      "peer %u: %s %llu was skipped too early", peer->index, name, (unsigned long long)wanted);
		interest->gap += sequence - wanted;
	} else if (first_unsure) {
		interest->first = sequence; /* what came before it may have been skipped: see settle_interest() */
	}
	interest->may_come &= peer->secure; /* of what was sealed before, all comes */
	interest->next = sequence + 1;
	interest->got++;
}

void oracle_before_send(struct peer *peer)
{
	for (unsigned topic = 0; topic < TOPICS; topic++) {
		for (unsigned i = 0; i < peer->interest_count[topic]; i++) {
			struct interest *interest = &peer->interests[topic][i];
			interest->got_before = interest->got;
			interest->gap_before = interest->gap;
		}
	}
}

/* Whether some message that has not come is further back than its policy allows. */
static bool may_be_slow(const struct peer *peer)
{
	bool half = peer->payload_size != UINT64_MAX || peer->header_size || secret_is_half(peer);
	for (unsigned topic = 0; topic < TOPICS; topic++) {
		for (unsigned i = 0; i < peer->interest_count[topic]; i++) {
			const struct interest *interest = &peer->interests[topic][i];
			uint64_t next = interest->next ? interest->next : interest->first;
			if ((half || !may_have_gaps(topic)) &&
			    (interest->forgotten ||
			     (next <= truths[topic].sequence && too_far(&oracle_messages[truths[topic].ids[next]]))))
				return true;
		}
	}
	return false;
}

void oracle_close_code(struct peer *peer, uint16_t code)
{
	uint16_t echo = peer->close_sent;
	if (code == peer->violation || code == echo || (code == peer->app_close && code))
		return;
	if ((code == RC_CLOSE_GOING_AWAY && sim.stopping) || (code == RC_CLOSE_INTERNAL && sim_memory_lacks()))
		return;
	if (code == RC_CLOSE_TRY_LATER && sim.config.memory_max)
		return;
	CHECK(code == RC_CLOSE_POLICY && (may_be_slow(peer) || books_may_close(peer)),
	      "peer %u: closed with %u, without a reason", peer->index, code);
}

/* ---- at rest ---- */

bool oracle_caught_up(struct peer *peer)
{
	for (unsigned topic = 0; topic < TOPICS; topic++) {
		const struct interest *interest = oracle_interest(peer, topic);
		if (!interest || !interest->active || interest->posted)
			continue;
		uint64_t next = interest->next ? interest->next : interest->first, last = truths[topic].sequence;
		if (next > last || interest->forgotten)
			continue;
		/* Its newest may have been given up too, when it stood in the way of the log. */
		if (may_have_gaps(topic) && in_the_way(&oracle_messages[truths[topic].ids[last]]))
			continue;
		return false;
	}
	return true;
}

static void add(struct tally *tally, uint64_t low, uint64_t high)
{
	tally->low += low;
	tally->high += high;
}

static void settle_interest(struct peer *peer, unsigned topic, struct interest *interest, bool alive)
{
	struct truth *truth = &truths[topic];
	uint64_t copied = interest->copied && interest->got, copied_before = interest->copied && interest->got_before;
	uint64_t next = interest->next ? interest->next : interest->first;
	uint64_t last = interest->active ? truth->sequence : interest->end;
	uint64_t tail = last >= next ? last - next + 1 : 0, unsure = interest->posted ? truth->sequence : 0;
	if (interest->made_anew)
		unsure += MESSAGES_MAX; /* of the topic that there was before */
	bool surely = alive && interest->active && !interest->posted && !interest->forgotten;
	if (alive)
		add(&truth->deliveries, interest->got - copied, interest->got - copied);
	else /* the outcome of its last send may not have been looked at; half a frame kept aside counts as whole */
		add(&truth->deliveries, interest->got_before - copied_before,
		    interest->got - copied + 1 +
		        (peer->secure || peer->events ? tail : 0)); /* what was sealed counts, whether it left or not */
	CHECK(!surely || !tail || may_have_gaps(topic), "peer %u: %s %llu never came", peer->index,
	      oracle_topics[topic], (unsigned long long)next);
	uint64_t gap_low = alive || oracle_options[topic].policy == RC_POLICY_SKIP ? interest->gap
	                                                                           : interest->gap_before;
	uint64_t low = surely ? interest->gap + tail : gap_low, high = interest->gap + tail + unsure;
	if (oracle_options[topic].policy == RC_POLICY_SKIP)
		add(&truth->dropped, low, high);
	else if (oracle_options[topic].policy == RC_POLICY_CONFLATE)
		add(&truth->conflated, low, high);
}

void oracle_settle(struct peer *peer, bool alive)
{
	for (unsigned topic = 0; topic < TOPICS; topic++)
		for (unsigned i = 0; i < peer->interest_count[topic]; i++)
			settle_interest(peer, topic, &peer->interests[topic][i], alive);
}

static void check(const char *what, const char *topic, uint64_t counted, struct tally truth)
{
	CHECK(counted >= truth.low && counted <= truth.high, "%s %s: %llu counted, it must be %llu to %llu", topic,
	      what, (unsigned long long)counted, (unsigned long long)truth.low, (unsigned long long)truth.high);
}

static void check_topic(unsigned topic)
{
	struct rc_topic_stats stats;
	const struct truth *truth = &truths[topic];
	const char *name = oracle_topics[topic];
	if (rc_topic_stats(sim.server, name, strlen(name), &stats) < 0 || truth->made_anew ||
	    stats.sequence != truth->sequence)
		return;
	check("deliveries", name, stats.deliveries, truth->deliveries);
	check("dropped", name, stats.dropped, truth->dropped);
	check("conflated", name, stats.conflated, truth->conflated);
}

void oracle_check_counters(void)
{
	struct rc_stats stats;
	struct tally deliveries = { 0, 0 }, dropped = { 0, 0 }, conflated = { 0, 0 };
	uint64_t published = books_published_count() + streams_published_count();
	for (unsigned id = 1; id <= oracle_message_count; id++)
		published += oracle_messages[id].sequence != 0;
	for (unsigned topic = 0; topic < TOPICS; topic++) {
		const struct truth *truth = &truths[topic];
		check_topic(topic);
		add(&deliveries, truth->deliveries.low, truth->deliveries.high);
		add(&dropped, truth->dropped.low, truth->dropped.high);
		add(&conflated, truth->conflated.low, truth->conflated.high);
	}
	rc_server_stats(sim.server, &stats);
	if (!sim.books) {
		check("deliveries", "all", stats.deliveries, deliveries);
		check("conflated", "all", stats.conflated, conflated);
	}
	check("dropped", "all", stats.dropped, dropped);
	check("published", "all", stats.published, (struct tally){ published, published });
	check("sends", "all", stats.sends, (struct tally){ ring_counts.sends, ring_counts.sends });
	if (!sim.secure) /* there it is what was sealed that counts, here what came */
		check("bytes_received", "all", stats.bytes_received,
		      (struct tally){ ring_counts.received_size, ring_counts.received_size });
	check("receive_starved", "all", stats.receive_starved,
	      (struct tally){ ring_counts.starved, ring_counts.starved });
	check("messages_received", "all", stats.messages_received,
	      (struct tally){ application_messages, application_messages });
	check("behind", "all", stats.behind, (struct tally){ 0, 0 });
}
